"""What a scheduler may ask for: names and window keys in, counts out. Each call opens the house anew.

Counts, and warnings that name a field of a source, are all that goes back to the scheduler's own database (XCom): no
row, no name of a person, no path.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from etl.model import Window
from etl.run.demo import reached_by_airflow
from etl.run.house import House, open_house
from etl.run.publish import publish as publish_house
from etl.run.report import Report
from etl.run.steps import build_table, ingest_stream
from etl.settings import load_settings

_log = logging.getLogger(__name__)


def ingest(source: str, stream: str, key: str, run_id: str) -> dict[str, Any]:
    """Land one stream's window in bronze; the report's counts.

    Raises: NameRefused, SourceError, QualityError, LakeError.
    """
    report = ingest_stream(_house(), source, stream, Window.parse(key), run_id=run_id)
    for warning in report.warnings:
        _log.warning(warning)
    return told(report)


def build(table: str, key: str, run_id: str) -> dict[str, Any]:
    """Build one table for a window; the report's counts. Raises: ConservationError, QualityError, LakeError."""
    return told(build_table(_house(), table, Window.parse(key), run_id=run_id))


def told(report: Report) -> dict[str, Any]:
    """The report as what JSON has: of a tuple, XCom makes a dict of its own words."""
    return {**asdict(report), "warnings": list(report.warnings)}


def publish(run_id: str) -> dict[str, Any]:
    """Publish the SQL catalogue and the Data Docs; gives the number of views."""
    return {"views": publish_house(_house()), "run_id": run_id}


def _house() -> House:
    settings = load_settings()
    return open_house(settings, reached_by_airflow(settings) if settings.is_demo else None)
