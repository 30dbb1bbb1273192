"""A source read the way it is ingested, without a lake: from files or a database to bronze rows, and to its subject."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from etl.connect import Connection
from etl.model import Source, Stream, Table, Window
from etl.run.ingest import Landing, read_landing
from etl.silver.standardise import picked

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def landing(source: Source, stream: Stream, base_url: str | Path, window: str) -> Landing:
    """What one window brings: rows, dead letters, and how many records were set aside."""
    connection = Connection(str(base_url))
    return read_landing(source, stream, connection, Window.parse(window), run_id="run", now=NOW)


def subject(source: Source, stream: Stream, table: Table, *landings: Landing) -> pl.DataFrame:
    """The subject's rows of everything the landings brought, every feed of the stream asked."""
    assert table.build is not None
    bronze = pl.concat([one.rows for one in landings])
    fed = [
        picked(bronze.lazy(), source=source, stream=stream, feed=feed, table=table)
        for feed in stream.feeds
        if feed.subject == table.name
    ]
    return table.build(pl.concat(fed), key=b"golden", country="DE").collect()


def ids(landed: Landing) -> list[str]:
    """The ids of the rows, in the order they came."""
    return landed.rows["_id"].to_list()


def dead(landed: Landing) -> Sequence[tuple[str, str]]:
    """(reason, what is kept of the record) of the dead letters, in the order they came."""
    return list(landed.dead.select("reason", "raw").iter_rows())
