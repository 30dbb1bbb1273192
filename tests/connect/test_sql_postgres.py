"""A table of a real PostgreSQL: its types as JSON, views and schemas, the boundary row; MySQL only as SQL text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from etl.bronze.envelope import Batch, Enveloped, enveloped
from etl.connect import Connection, read_pages, sql
from etl.connect.sql import _in_window
from etl.errors import SourceError, SourceRefused
from etl.model import Kind, Pick, Source, Sql, Stream, Window
from etl.run.postgres import Postgres
from tests.connect.both_ways import as_text, both_ways
from tests.processes import free_port

DAY = Window.parse("2026-01-02")

ROWS = """
CREATE SCHEMA sales;
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE sales.orders (
    shop int, no text, changed timestamptz, local timestamp, amount numeric(12, 2), ratio float8, raw bytea, doc jsonb,
    uid uuid, tags text[], prices numeric[], is_gone bool, day date, how mood, PRIMARY KEY (shop, no));
INSERT INTO sales.orders VALUES
    (1, 'a', '2026-01-02T00:00:00Z', '2026-01-02 00:00:00', 12.50, 'NaN', '\\xff00', '{"b": [1, null]}',
     '00000000-0000-0000-0000-000000000001', '{x,NULL}', '{1.10,NaN}', false, '2026-01-02', 'glad'),
    (1, 'b', '2026-01-02T23:59:59.999999Z', '2026-01-02 23:59:59.999999', 'NaN', 0.1, NULL, 'null', NULL, '{}', NULL,
     true, NULL, NULL),
    (2, 'a', '2026-01-03T00:00:00Z', '2026-01-03 00:00:00', -0.01, 1e300, '', '7', NULL, NULL, NULL, NULL, NULL, 'sad'),
    (2, 'b', NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL);
CREATE TABLE sales.lines (
    no int PRIMARY KEY, big bigint, small smallint, changed timestamptz, local timestamp, day date,
    amount numeric(12, 2), free numeric, ratio float8, half float4, uid uuid, how mood, note text, word varchar(40),
    is_gone bool, "od%d ""name" text);
INSERT INTO sales.lines VALUES
    (1, 9223372036854775807, -1, '2026-01-02T00:00:00Z', '2026-01-02 00:00:00', '2026-01-02', 12.50, 12.5, 0.1, 0.1,
     '00000000-0000-0000-0000-00000000000A', 'glad', E'"a"\\b\n\u0001\u2028', 'Zoë 李', true, 'x'),
    (2, NULL, NULL, '2026-01-02T12:30:00.120Z', '0099-01-02 23:59:59.000001', '0001-02-03', -0.01, 0.000001, 1e16, 1e20,
     NULL, NULL, NULL, '', false, NULL),
    (3, 0, 0, '2026-01-02T23:59:59.999999Z', NULL, NULL, 'NaN', 0.00000012, 'NaN', '-Infinity', NULL, 'sad', '%%', '%s',
     NULL, NULL),
    (4, 1, 1, '2026-01-02T05:00:00Z', '2026-01-02 00:00:00', '2026-01-02', 0, 0.0000000, -0.0, 3.4e38, NULL, 'sad', '',
     NULL, NULL, NULL),
    (5, 1, 1, '2026-01-03T00:00:00Z', NULL, NULL, 1, 1e40, 1, 1, NULL, NULL, NULL, NULL, NULL, NULL),
    (6, 1, 1, NULL, NULL, NULL, 99999.99, 7, 1e-7, 1e-7, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE VIEW sales.paid AS SELECT * FROM sales.orders WHERE amount > 0 AND amount <> 'NaN';
ALTER ROLE airflow SET timezone = 'Asia/Kolkata';
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("postgres")
    cluster = Postgres(home)
    try:
        told = cluster.start(free_port(), "open-sesame")
        engine = sa.create_engine(told)
        with engine.begin() as connection:
            connection.exec_driver_sql(ROWS.replace("%", "%%"))
        engine.dispose()
        yield told.replace(":open-sesame@", "@")
    finally:
        cluster.stop()
        if not cluster.folder.is_relative_to(home):
            shutil.rmtree(cluster.folder.parent)


def landed(address: str, table: str, cursor: str, day: str, secret: str = "open-sesame") -> Enveloped:
    """The rows of one day, as bronze judges them; of a query, where `table` has more than one word."""
    request = Sql(query=table, cursor=cursor) if " " in table else Sql(table, cursor)
    at, window = Pick(cursor, "timestamp"), Window.parse(day)
    stream = Stream("orders", Kind.ENTITY, request, ("shop", "no"), at, deleted=Pick("is_gone", "bool"))
    source = Source("erp", "ERP", (stream,))
    (page,) = read_pages(source, stream, Connection(address, secret), window)
    return enveloped(
        Batch(page.number, page.records), source, stream, window, account="a", run_id="r", extracted_at=window.end
    )


@pytest.mark.parametrize("cursor", ["changed", "local"])
def test_the_boundary_row_is_in_exactly_one_window(address: str, cursor: str) -> None:
    days = [landed(address, "sales.orders", cursor, f"2026-01-0{day}").rows["_id"].sort().to_list() for day in (2, 3)]

    assert [["1:a", "1:b"], ["2:a"]] == days


def test_a_row_without_a_time_is_a_dead_letter(address: str) -> None:
    dead = landed(address, "sales.orders", "changed", "2026-01-02").dead

    assert ["no_time"] == dead["reason"].to_list()
    assert "b" == json.loads(dead["raw"][0])["no"]


def test_a_flag_is_a_tombstone(address: str) -> None:
    rows = landed(address, "sales.orders", "changed", "2026-01-02").rows

    assert {"1:a": "upsert", "1:b": "delete"} == dict(rows.select("_id", "_op").iter_rows())


def test_every_type_is_json_whatever_zone_the_session_has(address: str) -> None:
    rows = landed(address, "sales.orders", "changed", "2026-01-02").rows.filter(pl.col("_id") == "1:a")

    assert (
        '{"shop":1,"no":"a","changed":"2026-01-02T00:00:00Z","local":"2026-01-02T00:00:00","amount":12.50,"ratio":null,'
        '"raw":"ff00","doc":{"b":[1,null]},"uid":"00000000-0000-0000-0000-000000000001","tags":["x",null],'
        '"prices":[1.10,null],"is_gone":false,"day":"2026-01-02","how":"glad"}'
    ) == rows["_payload"].item()


@pytest.mark.parametrize("cursor", ["changed", "local", "day", ""])
def test_what_is_read_fast_is_to_the_byte_what_sqlalchemy_reads(
    address: str, cursor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, by_fast = both_ways(sql, monkeypatch, lambda: payloads(address, "sales.lines", cursor))
    slow, _ = both_ways(sql, monkeypatch, lambda: payloads(address, "sales.lines", cursor), is_fast=False)

    assert slow == fast
    assert (3 if cursor else 4) == by_fast  # not those with a NaN, or a number Python writes with an exponent


def payloads(address: str, table: str, cursor: str) -> list[str]:
    stream = Stream("lines", Kind.SNAPSHOT, Sql(table, cursor), ("no",))
    pages = read_pages(Source("erp", "ERP", (stream,)), stream, Connection(address, "open-sesame"), DAY)
    return sorted(as_text(record) for page in pages for record in page.records)


def test_a_view_is_read_as_a_table(address: str) -> None:
    assert ["1:a"] == landed(address, "sales.paid", "changed", "2026-01-02").rows["_id"].to_list()


@pytest.mark.parametrize("cursor", ["changed", "local"])
def test_a_query_answers_what_its_table_does(address: str, cursor: str) -> None:
    query = "SELECT o.*, 'a:b %' AS more FROM sales.orders o WHERE how::text <> 'x' OR how IS NULL"
    for day in ("2026-01-02", "2026-01-03"):
        table, asked = (landed(address, what, cursor, day) for what in ("sales.orders", query))

        assert table.rows["_payload"].to_list() == [
            payload.replace(',"more":"a:b %"}', "}") for payload in asked.rows["_payload"]
        ]
        assert table.dead["reason"].to_list() == asked.dead["reason"].to_list() == ["no_time"]


def test_a_query_cannot_change_data(address: str) -> None:
    changing = "WITH gone AS (DELETE FROM sales.orders RETURNING *) SELECT * FROM gone"

    with pytest.raises(SourceError, match=r"cannot answer the query: WITH clause .* must be at the top level"):
        landed(address, changing, "changed", "2026-01-02")


def test_two_columns_of_one_name_are_one_too_many(address: str) -> None:
    with pytest.raises(SourceError, match="the query answers 'no' twice; name the columns apart with AS"):
        landed(address, "SELECT no, shop, no, changed FROM sales.orders", "changed", "2026-01-02")


def test_what_the_server_refuses_is_one_line_without_the_secret(address: str) -> None:
    with pytest.raises(SourceRefused, match=r"erp\.orders: .*password authentication failed") as error:
        landed(address, "sales.orders", "changed", "2026-01-02", secret="wrong-sesame")

    assert "wrong-sesame" not in str(error.value)
    with pytest.raises(SourceError, match=r"there is no table 'sales\.order'"):
        landed(address, "sales.order", "changed", "2026-01-02")


def test_mysql_is_asked_in_its_own_words() -> None:
    """Compiled only: no MySQL server answers in these tests."""
    table = sa.Table("orders", sa.MetaData(), sa.Column("changed", mysql.DATETIME(fsp=6)), schema="sales")
    asked = _in_window(table, Sql("sales.orders", "changed"), Window.parse("2026-01-02"), is_sqlite=False)
    text = sa.select(table).where(asked).compile(dialect=mysql.dialect())  # type: ignore[no-untyped-call]

    assert " ".join(str(text).split()) == (
        "SELECT sales.orders.changed FROM sales.orders WHERE sales.orders.changed >= %s AND sales.orders.changed < %s "
        "OR sales.orders.changed IS NULL"
    )
