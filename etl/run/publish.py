"""After gold: the SQL catalogue and the Data Docs, each replaced whole."""

from __future__ import annotations

from etl.bronze.tables import DEAD_LETTERS, INGEST_LOG, SCHEMA_LOG
from etl.catalog import quarantine_of
from etl.run.house import House
from etl.serve import catalogue
from expectations.docs import build_docs


def publish(house: House) -> int:
    """Publish views over every silver, gold and quarantine table and the logs of ingestion; gives how many."""
    subjects = [table for table in house.catalog.tables if table.is_subject]
    logs = [DEAD_LETTERS, INGEST_LOG, SCHEMA_LOG]
    tables = [*house.catalog.tables, *(quarantine_of(table) for table in subjects), *logs]
    there = [table for table in tables if house.lake.exists(table)]
    catalogue.publish(house.settings.lake, there, house.settings.catalogue_path)
    build_docs(house.settings.docs_path)
    return len(there)
