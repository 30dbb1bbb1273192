"""What Airflow needs to know of the catalogue, as a small JSON file: DAGs parse with no engine loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etl.catalog import Catalog
from etl.run.demo import last_day
from etl.run.house import House
from etl.run.whole import write_whole

NAME = "manifest.json"


def manifest(catalog: Catalog, *, first_day: str, last_day: str | None = None) -> dict[str, Any]:
    """Sources with their streams, and tables in build order with their inputs; `last_day` None: it goes on."""
    return {
        "first_day": first_day,
        "last_day": last_day,
        "sources": [
            {
                "name": source.name,
                "title": source.title,
                "owner": source.owner,
                "account": source.account,
                "concurrency": source.limits.concurrency,
                "streams": [
                    {
                        "name": stream.name,
                        "kind": stream.kind.value,
                        "table": f"bronze.{source.name}_{stream.name}",
                        "restate_days": stream.restate_days,
                        "max_age_days": stream.max_age_days,
                    }
                    for stream in source.streams
                ],
            }
            for source in catalog.sources
        ],
        "tables": [
            {
                "name": table.full_name,
                "layer": table.layer.value,
                "owner": table.owner,
                "description": table.description,
                "grain": table.grain,
                "partition": table.partition.value,
                "inputs": list(catalog.inputs(table)),
                "columns": len(table.columns),
            }
            for table in catalog.tables
        ],
    }


def write_manifest(house: House) -> Path:
    """The manifest in the state folder, replaced whole."""
    path = house.settings.home / NAME
    settings = house.settings
    last = last_day(settings) if settings.is_demo else settings.last_day
    declared = manifest(
        house.catalog, first_day=settings.first_day.isoformat(), last_day=last.isoformat() if last else None
    )
    write_whole(path, json.dumps(declared, indent=1) + "\n")
    return path
