"""The three things a scheduler may ask for: ingest a stream, build a table, publish. Same functions everywhere.

`c360 run` calls them in one process, Airflow's tasks each in its own. They are told a window, and hand back counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from etl.model import Window
from etl.run.build import build
from etl.run.house import House, open_house
from etl.run.ingest import ingest
from etl.run.publish import publish
from etl.run.quality import gate
from etl.run.report import Report
from etl.settings import load_settings
from expectations.checkpoint import Verdict


def ingest_stream(
    house: House,
    source_name: str,
    stream_name: str,
    window: Window,
    *,
    run_id: str,
    note: Callable[[Verdict], None] = lambda _: None,
) -> Report:
    """Land one stream's window in bronze. Raises: NameRefused, SourceError, QualityError, LakeError."""
    source = house.catalog.source(source_name)
    stream = house.catalog.stream(source, stream_name)
    audit = gate(house.settings.docs_path, run_id=run_id, note=note)
    return ingest(
        house.lake,
        source,
        stream,
        house.connection(source),
        window,
        run_id=run_id,
        now=datetime.now(UTC),
        audit=lambda table, frame: audit(table, [frame], window.key),
    )


def build_table(
    house: House, table_name: str, window: Window, *, run_id: str, note: Callable[[Verdict], None] = lambda _: None
) -> Report:
    """Build one silver or gold table for a window. Raises: NameRefused, ConservationError, QualityError, LakeError."""
    return build(
        house,
        house.catalog.table(table_name),
        window,
        run_id=run_id,
        audit=gate(house.settings.docs_path, run_id=run_id, note=note),
    )


# --- for a scheduler: names and keys in, counts out -------------------------------------------------------------------


def ingest_task(source: str, stream: str, key: str, run_id: str) -> dict[str, Any]:
    """`ingest_stream`, by window key; what goes to XCom is counts."""
    return _counts(ingest_stream(_house(), source, stream, Window.parse(key), run_id=run_id))


def build_task(table: str, key: str, run_id: str) -> dict[str, Any]:
    """`build_table`, by window key; what goes to XCom is counts."""
    return _counts(build_table(_house(), table, Window.parse(key), run_id=run_id))


def publish_task() -> dict[str, Any]:
    """Publish the SQL catalogue and the Data Docs."""
    return {"views": publish(_house())}


def _house() -> House:
    from etl.run.demo import reached_by_airflow

    settings = load_settings()
    return open_house(settings, reached_by_airflow(settings) if settings.is_demo else None)


def _counts(report: Report) -> dict[str, Any]:
    return asdict(report)
