"""One step of the pipeline with its gate: land a stream, build a table. The same for every caller.

`c360 run` calls these in one process, Airflow's tasks each in its own (`etl.run.tasks`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from etl.model import Window
from etl.run.build import build
from etl.run.house import House
from etl.run.ingest import ingest
from etl.run.quality import gate
from etl.run.report import Report
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
        audit=lambda table, frames: audit(table, frames, window.key),
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
