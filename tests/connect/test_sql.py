"""A table over SQL: the boundary row in exactly one window however its time is stored, and rows as JSON to the cent."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from etl.bronze.envelope import Batch, enveloped
from etl.connect import Connection, read_pages
from etl.connect.sql import encoded_rows
from etl.errors import DeclarationError, SourceError, SourceRefused, SourceUnreachable
from etl.model import Kind, Pick, Source, Sql, Stream, Window


def source_of(request: Sql, written: str = "timestamp", zone: str | None = None) -> Source:
    stream = Stream(
        name="people", kind=Kind.ENTITY, request=request, id=("id",), at=Pick("changed", written, zone=zone)
    )
    return Source(name="crm", title="CRM", streams=(stream,))


def landed(source: Source, address: str, day: str) -> list[Any]:
    """Ids of the rows of one day, as bronze judges them."""
    (stream,) = source.streams
    window = Window.parse(day)
    rows = [
        enveloped(
            Batch(page.number, page.records), source, stream, window, account="a", run_id="r", extracted_at=window.end
        ).rows
        for page in read_pages(source, stream, Connection(address), window)
    ]
    return sorted(pl.concat(rows)["_id"].to_list()) if rows else []


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "crm.sqlite"


def filled(path: Path, kind: str, *changed: Any) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE people (id INTEGER, name TEXT, changed {kind})")
        connection.executemany("INSERT INTO people VALUES (?, 'x', ?)", list(enumerate(changed)))
    connection.close()
    return f"sqlite:///{path}"


TEXTS = (
    "2026-01-01T23:59:59.999999Z",
    "2026-01-02 00:00:00",
    "2026-01-02T00:00:00",
    "2026-01-02T00:00:00.000000",
    "2026-01-02T00:00:00Z",
    "2026-01-02T01:30:00+02:00",
    "2026-01-02 23:59:59.999",
    "2026-01-03",
    "2026-01-03T00:00:00Z",
    "2026-01-02T23:30:00-08:00",
)


@pytest.mark.parametrize("kind", ["TEXT", "DATETIME", "TIMESTAMP"])
@pytest.mark.parametrize("written", ["text", "timestamp"])
def test_a_time_kept_as_text_is_in_exactly_one_window(kind: str, written: str, database: Path) -> None:
    address = filled(database, kind, *TEXTS)
    source = source_of(Sql("people", "changed", written))
    per_day = {day: landed(source, address, day) for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")}

    assert {
        "2026-01-01": ["0", "5"],
        "2026-01-02": ["1", "2", "3", "4", "6"],
        "2026-01-03": ["7", "8", "9"],
        "2026-01-04": [],
    } == per_day


@pytest.mark.parametrize(("written", "factor"), [("epoch_s", 1), ("epoch_ms", 1000)])
def test_a_time_kept_as_a_number_is_in_exactly_one_window(written: str, factor: int, database: Path) -> None:
    start = 1767312000 * factor  # 2026-01-02
    address = filled(database, "INTEGER", start - 1, start, start + 86_400 * factor - 1, start + 86_400 * factor)
    source = source_of(Sql("people", "changed", written), written)

    assert [["0"], ["1", "2"], ["3"]] == [landed(source, address, f"2026-01-0{day}") for day in (1, 2, 3)]


def test_local_times_are_in_the_window_of_their_moment(database: Path) -> None:
    address = filled(database, "TEXT", "2026-01-02 00:30:00", "2026-01-03 00:30:00")
    source = source_of(Sql("people", "changed", "text"), zone="Europe/Berlin")

    assert [["0"], ["1"], []] == [landed(source, address, f"2026-01-0{day}") for day in (1, 2, 3)]


def test_a_table_without_a_cursor_is_read_whole(database: Path) -> None:
    address = filled(database, "TEXT", *TEXTS)
    stream = Stream(name="people", kind=Kind.SNAPSHOT, request=Sql("people"), id=("id",))
    source = Source(name="crm", title="CRM", streams=(stream,))

    assert len(TEXTS) == len(landed(source, address, "2026-05-05"))


def test_a_query_is_read_like_a_table(database: Path) -> None:
    address = filled(database, "TEXT", *TEXTS)
    query = """
        SELECT id, name AS "Name: it's 100%", coalesce(NULL, changed) AS changed FROM people  -- :not_ours, 12:30
        ;"""
    source = source_of(Sql(query=query, cursor="changed", written="text"))
    table = source_of(Sql("people", "changed", "text"))
    days = [f"2026-01-0{day}" for day in (1, 2, 3, 4)]
    window = Window.parse("2026-01-02")
    (page,) = read_pages(source, source.streams[0], Connection(address), window)

    assert [landed(table, address, day) for day in days] == [landed(source, address, day) for day in days]
    assert b'{"id":0,"Name: it\'s 100%":"x","changed":"2026-01-01T23:59:59.999999Z"}' == page.records[0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "SELECT nam FROM people",
            r"crm\.people: the database cannot answer the query: no such column: nam; check req",
        ),
        ("SELECT id FROM people", "the query's answer has no column 'changed', which its window needs"),
        ("DELETE FROM people", "cannot answer the query: near .*; check request.query"),
        ("SELECT id, 'ann@example.org' + FROM people", "cannot answer the query: near"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_in_one_line(query: str, message: str, database: Path) -> None:
    address = filled(database, "TEXT", *TEXTS)

    with pytest.raises(SourceError, match=message) as error:
        landed(source_of(Sql(query=query, cursor="changed")), address, "2026-01-02")
    assert "ann@" not in str(error.value)


@pytest.mark.parametrize("what", [{}, {"table": "people", "query": "SELECT 1"}, {"query": " "}])
def test_a_request_is_a_table_or_a_query(what: dict[str, str]) -> None:
    with pytest.raises(DeclarationError, match="give a table or a query, one of the two"):
        Sql(**what)


def test_rows_are_the_same_json_each_time_and_decimals_are_no_floats() -> None:
    names = ["id", "price", "at", "day", "raw", "gone", "is_vip", "ratio", "uid"]
    row = (7, Decimal("12.50"), datetime(2026, 1, 2, 3, tzinfo=UTC), date(2026, 1, 2), b"\xff", None, True,
           float("nan"), UUID(int=1))  # fmt: skip

    first = (
        b'{"id":7,"price":12.50,"at":"2026-01-02T03:00:00Z","day":"2026-01-02","raw":"ff","gone":null,"is_vip":true,'
        b'"ratio":null,"uid":"00000000-0000-0000-0000-000000000001"}'
    )
    second = (
        b'{"id":"a\\nb","price":null,"at":null,"day":null,"raw":null,"gone":null,"is_vip":null,"ratio":null,"uid":null}'
    )

    assert [first, second] == encoded_rows(names, [row, ("a\nb", *[None] * 8)])
    assert [] == encoded_rows(names, [])
    assert [b'{"a\\"b":1,"\xc3\xa9\\n":null}'] == encoded_rows(['a"b', "é\n"], [(1, None)])


def test_what_sqlite_keeps_is_taken_as_it_is(database: Path) -> None:
    address = filled(database, "DATETIME", "not a time", 5, None)
    stream = Stream(name="people", kind=Kind.SNAPSHOT, request=Sql("people"), id=("id",))
    source = Source(name="crm", title="CRM", streams=(stream,))
    pages = read_pages(source, stream, Connection(address), Window.parse("2026-01-02"))
    kept = {record["id"]: record["changed"] for page in pages for record in map(json.loads, page.records)}

    assert {0: "not a time", 1: 5, 2: None} == kept


def test_a_missing_file_is_unreachable_and_is_not_made(database: Path) -> None:
    with pytest.raises(SourceUnreachable, match="there is no database file"):
        landed(source_of(Sql("people", "changed", "text")), f"sqlite:///{database}", "2026-01-02")
    assert not database.exists()


def test_reading_takes_no_lock_that_keeps_others_from_writing(database: Path) -> None:
    address = filled(database, "TEXT", *TEXTS)
    source = source_of(Sql("people", "changed", "text"))
    reading = read_pages(source, source.streams[0], Connection(address), Window.parse("2026-01-02"))
    next(reading)
    reading.close()
    with sqlite3.connect(database, timeout=0.1) as connection:
        connection.execute("INSERT INTO people VALUES (99, 'y', '2026-01-02')")
    connection.close()

    assert "99" in landed(source, address, "2026-01-02")


@pytest.mark.parametrize(
    ("request_", "address", "kind", "message"),
    [
        (Sql("persons", "changed", "text"), None, SourceError, "there is no table 'persons'"),
        (Sql("people", "modified", "text"), None, SourceError, "has no column 'modified'"),
        (Sql("people"), "no address", SourceRefused, "is no database address"),
        (Sql("people"), "oracle+nodriver://u@h/d", SourceRefused, "no driver"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    request_: Sql, address: str | None, kind: type[Exception], message: str, database: Path
) -> None:
    known = filled(database, "TEXT", *TEXTS)

    with pytest.raises(kind, match=message):
        landed(source_of(request_), address or known, "2026-01-02")


def test_a_file_that_is_no_database_is_named_without_a_traceback(database: Path) -> None:
    database.write_bytes(b"this is not a database, it is a letter" * 100)

    with pytest.raises(SourceError, match=r"crm\.people: the database says no: file is not a database"):
        landed(source_of(Sql("people")), f"sqlite:///{database}", "2026-01-02")
