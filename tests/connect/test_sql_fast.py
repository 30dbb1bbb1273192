"""The fast way through connectorx: the same rows to the byte, or SQLAlchemy's way; never one row more or less."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.connect import Connection, read_pages, sql, sql_fast
from etl.connect.sql import encoded_rows
from etl.connect.sql_fast import FastPathError, Member, fast_plan, payloads_of
from etl.model import Kind, Pick, Source, Sql, Stream, Window
from etl.run.ingest import Landing, read_landing
from tests.connect.both_ways import as_text, both_ways

DAY = Window.parse("2026-01-02")
NASTY = "".join(map(chr, range(1, 128))) + "\x80é李\u2028\ufeff\U0001f600"
COLUMNS = (
    "id INTEGER, whole INT, big BIGINT, part REAL, note TEXT, word VARCHAR(9), made DATETIME, born DATE, "
    "vip BOOLEAN, raw BLOB, changed TEXT"
)
T = "2026-01-02 10:00:00"
ROWS: list[tuple[Any, ...]] = [
    (1, 2, 2**63 - 1, 0.1, NASTY, "x", T, "2026-01-02", 1, b"\x00\xff", T),
    (2, None, None, None, None, None, None, None, None, None, "2026-01-02T00:00:00Z"),
    (3, -(2**63), 0, 1e16, "", "", "2026-01-02T10:00:00.123+02:00", "x", 0, b"", "2026-01-02 23:59:59.999"),
    (4, 0, 0, float("inf"), "long" * 9_000, "y", T, "2026-01-02", 1, b"x", T),
    (5, 0, 0, -0.0, "\x00 in it", "y", "no \" date", "2026-01-02", 1, b"x", T),
    (6, "text", 0, 1.5, "a", "y", T, "2026-01-02", 1, b"x", T),
    (7, 1, 0, "text", "a", "y", T, "2026-01-02", 1, b"x", T),
    (8, 1, 0, 1.5, b"blob", "y", T, 20260102, 1, "text", T),
    (9, 1.5, 0, 1.5, "a", 7, 1767312000, "2026-01-02", "yes", b"x", T),
    (10, 1, 0, 1e-7, "a", "y", T, "2026-01-02", 1, b"x", "2026-01-03 00:00:00"),
    (11, 1, 0, 123456789.125, "a", "y", T, "2026-01-02", 1, b"x", "2026-01-01 23:59:59"),
]  # fmt: skip
FAST = {1, 2, 3, 4, 10, 11}  # the others have a value that is not of its column


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "crm of Zoë %41.sqlite"


def filled(path: Path, rows: list[tuple[Any, ...]] = ROWS, columns: str = COLUMNS) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE people ({columns})")
        connection.executemany(f"INSERT INTO people VALUES ({','.join('?' * len(rows[0]))})", rows)
    return f"sqlite:///{path}".replace("%", "%25")


def source_of(cursor: str = "changed") -> Source:
    stream = Stream("people", Kind.ENTITY, Sql("people", cursor, "text"), ("id",), Pick("changed", "timestamp"))
    return Source("crm", "CRM", (stream,))


def landed(address: str) -> Landing:
    source = source_of()
    return read_landing(
        source, source.streams[0], Connection(address), DAY, run_id="r", now=datetime(2026, 2, 1, tzinfo=UTC)
    )


def told(landing: Landing) -> tuple[list[Any], list[Any], int]:
    """Rows and dead letters in an order of their own, and how many were set aside."""
    rows = landing.rows.drop("_page").sort("_id", "_hash").rows()
    return rows, landing.dead.drop("page").sort("hash").rows(), landing.aside


def test_rows_of_sqlite_are_to_the_byte_what_sqlalchemy_reads(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = filled(database)
    fast, count = both_ways(sql, monkeypatch, lambda: landed(address))
    slow, none = both_ways(sql, monkeypatch, lambda: landed(address), is_fast=False)

    assert told(slow) == told(fast)
    assert (len(FAST), 0) == (count, none)
    assert 9 == fast.rows.height
    assert 2 == fast.aside


def test_only_values_that_are_what_their_column_says_are_read_fast(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, payloads = filled(database), sql.fast_payloads
    seen: list[str] = []

    def looked(*given: Any) -> Iterator[pl.Series]:
        for one in payloads(*given):
            seen.extend(one)
            yield one

    monkeypatch.setattr(sql, "fast_payloads", looked)
    source = source_of("")
    pages = read_pages(source, source.streams[0], Connection(address), DAY)
    records = [as_text(record) for page in pages for record in page.records]

    assert {json.loads(each)["id"] for each in seen} == FAST
    assert list(range(1, 12)) == sorted(json.loads(each)["id"] for each in records)


def test_a_table_that_holds_nothing_has_no_page(database: Path) -> None:
    address = filled(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM people WHERE id <> 6")
    source = source_of("")

    def sizes() -> list[int]:
        return [len(page.records) for page in read_pages(source, source.streams[0], Connection(address), DAY)]

    assert [1] == sizes()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM people")
    assert [] == sizes()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_fast_way_that_breaks_off_neither_loses_nor_doubles_a_row(
    after: int, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, payloads = filled(database), sql.fast_payloads
    whole = told(landed(address))

    def breaks(*given: Any) -> Iterator[pl.Series]:
        for at, row in enumerate(one for batch in payloads(*given) for one in batch.to_frame().iter_slices(1)):
            if at == after:
                raise FastPathError("PanicException")
            yield row.to_series()

    monkeypatch.setattr(sql, "fast_payloads", breaks)

    assert whole == told(landed(address))


def test_a_panic_is_an_end_of_the_fast_way_only(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the condition that keeps such values out, connectorx panics: that too is no row lost."""
    address = filled(database)
    whole = told(landed(address))
    monkeypatch.setattr(sql_fast, "_kept", lambda column, _kind: sa.or_(column.is_(None), column.is_not(None)))

    assert whole == told(landed(address))


def test_without_connectorx_and_for_other_types_sqlalchemy_reads(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(kind: str) -> object:
        table = sa.Table("t", sa.MetaData(), sa.Column("a", getattr(sa, kind)()))
        return fast_plan(table, sa.true(), sa.create_engine("sqlite://").dialect)

    assert [True, True, False, False] == [plan(kind) is not None for kind in ("INTEGER", "TEXT", "NUMERIC", "JSON")]
    monkeypatch.setattr(sql_fast.importlib.util, "find_spec", lambda _: None)
    assert plan("INTEGER") is None
    assert 9 == landed(filled(database)).rows.height


VALUES = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.booleans(),
)
NAMES = ["id", 'a "part"', "tëxt\n", "is"]
KINDS = [pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()]


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(VALUES, min_size=1, max_size=12))
@example(rows=[(None, x, NASTY, None) for x in (0.0, -0.0, 1e15, 9999999999999998.0, 1e-5, 1e-4, 1e-7, 5e-324, 0.1)])
@example(rows=[(None, x, None, True) for x in (1e16, -1e16, 1e300, float("nan"), float("inf"), 1.0)])
def test_polars_writes_json_as_msgspec_does(rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict(zip("abcd", KINDS, strict=True)), orient="row")
    members = [Member(name, sa.null(), kind) for name, kind in zip(NAMES, KINDS, strict=True)]

    assert [line.decode() for line in encoded_rows(NAMES, rows)] == payloads_of(frame, members).to_list()
