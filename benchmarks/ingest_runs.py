"""One contender lands the whole once, in its own process: `python -m benchmarks.ingest_runs NAME ADDRESS FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.ingest_source import DAY, PATH
from etl.model import Source

NOW = datetime(2026, 1, 3, tzinfo=UTC)


def c360_rest(address: str, folder: Path) -> None:
    """The product: a stream of an API into bronze."""
    land(crm(), address, folder)


def crm() -> Source:
    """The API as the product has it declared."""
    from etl.model import Http, Kind, Limits, Paging, Pick, Stream

    paging = Paging("cursor", next_at="paging.next.after", param="after", size_param="limit", size=100)
    contacts = Stream(
        name="contacts",
        kind=Kind.ENTITY,
        request=Http(PATH, "results", paging=paging),
        id=("id",),
        at=Pick("updatedAt", "timestamp"),
    )
    return Source("crm", "CRM", (contacts,), limits=Limits(requests=100_000, seconds=1.0))


def c360_sql(address: str, folder: Path) -> None:
    """The product: a table of a database into bronze."""
    land(orders(), address, folder)


def land(source: Source, address: str, folder: Path) -> None:
    """The source's one stream, the day all records are of."""
    from etl.connect import Connection
    from etl.lake import Lake
    from etl.model import Window
    from etl.run.ingest import ingest

    connection = Connection(address, allow_private=True)
    ingest(Lake(folder), source, source.streams[0], connection, Window.of_day(DAY), run_id="bench", now=NOW)


def orders() -> Source:
    """The table as the product has it declared."""
    from etl.model import Kind, Pick, Sql, Stream

    stream = Stream(
        name="orders",
        kind=Kind.ENTITY,
        request=Sql("orders", "updated_at", "text"),
        id=("order_id",),
        at=Pick("updated_at", "timestamp"),
    )
    return Source("shop", "Shop", (stream,))


RUNS: Mapping[str, Callable[[str, Path], None]] = {"c360-rest": c360_rest, "c360-sql": c360_sql}

if __name__ == "__main__":
    RUNS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
