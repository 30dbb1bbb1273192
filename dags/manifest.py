"""The sources and tables the DAGs are made from: `manifest.json` in the state folder, written by `c360`.

Parsing a DAG file happens in every task, so it reads this small file and loads no engine.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any


@cache
def manifest() -> dict[str, Any]:
    """The manifest; without one there is nothing to schedule yet."""
    path = Path(os.environ.get("C360_HOME", "var")) / "manifest.json"
    if not path.is_file():
        return {"sources": [], "tables": [], "first_day": "2026-01-01"}
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def first_moment() -> datetime:
    """Midnight of the first day the company has data of; schedules and backfills start here."""
    return datetime.fromisoformat(manifest()["first_day"]).replace(tzinfo=UTC)


def last_moment() -> datetime | None:
    """When the last day's run is due, for a company whose history has ended; None while it goes on."""
    last = manifest().get("last_day")
    return datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1) if last else None
