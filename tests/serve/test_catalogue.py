"""What the published catalogue holds, and that it is replaced whole while people read it."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from etl import fields as f
from etl.catalog import load_catalog
from etl.errors import C360Error, LakeError
from etl.serve.catalogue import publish, shown
from etl.serve.query import connect, run_sql
from tests.serve.conftest import ANN, BOB, MAP, NODE_OF_ANN, NODE_OF_BOB, PROFILES, TABLES, VISITS, stored


def ask(catalogue: Path, sql: str) -> list[tuple[object, ...]]:
    return run_sql(catalogue, sql, timeout_s=30, max_rows=1000)[1]


def test_every_table_that_was_built_has_a_view_and_no_other_does(catalogue: Path) -> None:
    views = ask(catalogue, "select schema_name || '.' || view_name from duckdb_views() where not internal order by 1")

    assert [("gold.profiles",), ("silver.identity_map",), ("silver.visits",)] == views


def test_values_come_back_as_they_were_written(catalogue: Path) -> None:
    rows = ask(catalogue, "select * from gold.profiles order by customer_id")

    assert [
        (ANN, 2, Decimal("10.5000"), date(2026, 1, 1), ["desktop", "mobile"]),
        (BOB, 0, Decimal("0.1000"), None, None),
    ] == rows


def test_times_are_shown_in_utc(catalogue: Path) -> None:
    rows = ask(catalogue, "select event_at, event_at::date from silver.visits where event_id = 'e1'")

    assert [(datetime(2026, 1, 1, 23, 30, tzinfo=UTC), date(2026, 1, 1))] == rows
    assert "UTC" == str(rows[0][0].tzinfo)  # type: ignore[attr-defined]


def test_the_customer_stands_first_and_is_who_the_node_belongs_to_now(catalogue: Path) -> None:
    columns, rows = run_sql(catalogue, "select * from silver.visits order by event_id", timeout_s=30, max_rows=9)

    assert "customer_id" == columns[0]
    assert [ANN, BOB, None, None] == [row[0] for row in rows]


def test_no_row_is_doubled_by_what_was_once_held_true_of_a_node(catalogue: Path) -> None:
    assert [(4,)] == ask(catalogue, "select count(*) from silver.visits")


def test_a_view_shows_what_was_committed_after_publishing(own_catalogue: Path, own_lake: Path) -> None:
    stored(own_lake, PROFILES, [{"customer_id": ANN, "order_count": 1, "revenue_amount": Decimal(1)}], mode="append")

    assert [(3,)] == ask(own_catalogue, "select count(*) from gold.profiles")


def test_without_an_identity_map_the_customer_is_unknown(lake: Path, tmp_path: Path) -> None:
    target = tmp_path / "lakehouse.duckdb"
    publish(lake, [VISITS], target)

    assert [(4, 0)] == ask(target, "select count(*), count(customer_id) from silver.visits")


@pytest.mark.parametrize(
    ("asked", "customers"),
    [
        ("'2025-12-31'", []),
        ("'2026-01-01 12:00:00Z'", [BOB, BOB]),
        ("timestamp '2026-01-02 00:00:00'", [ANN, BOB]),
        ("now(), date '2026-01-01'", [ANN, BOB]),
        ("now(), valid := timestamptz '2025-12-31 23:59:59Z'", [BOB]),
    ],
)
def test_the_map_is_asked_as_it_was_known_at_any_time(catalogue: Path, asked: str, customers: list[str]) -> None:
    query = f"select customer_id from silver.identity_map_at({asked}) order by all"

    assert [(customer,) for customer in customers] == ask(catalogue, query)


def test_a_column_declared_after_the_last_build_is_null(lake: Path, tmp_path: Path) -> None:
    import dataclasses

    target = tmp_path / "lakehouse.duckdb"
    grown = dataclasses.replace(PROFILES, columns=(*PROFILES.columns, f.page_view_count, f.is_email_reachable))
    publish(lake, [grown], target)

    rows = ask(target, "select distinct page_view_count, is_email_reachable from gold.profiles")
    assert [(None, None)] == rows


def test_comments_say_meaning_unit_and_privacy(catalogue: Path) -> None:
    comments = dict(
        ask(catalogue, "select column_name, comment from duckdb_columns() where table_name in ('profiles', 'visits')")
    )
    view = ask(catalogue, "select comment from duckdb_views() where view_name = 'profiles'")

    assert "paid orders, later refunded ones included [orders]" == comments["order_count"]
    assert "text of the post, without markup (personal)" == comments["text"]
    assert "one person across all sources; stable, never reused (pseudonym)" == comments["customer_id"]
    assert [("It's a customer at a glance. Grain: one row per customer.",)] == view


def test_the_catalogue_tells_what_it_holds(catalogue: Path) -> None:
    rows = ask(catalogue, "select table_name, grain, key from catalogue.published order by 1")

    assert [
        ("gold.profiles", "one row per customer", "customer_id"),
        ("silver.identity_map", "one row per node and stretch of time", "node_id, known_from"),
        ("silver.visits", "one row per event", "event_id"),
    ] == rows


def test_an_empty_lake_has_an_empty_catalogue(tmp_path: Path) -> None:
    target = tmp_path / "lakehouse.duckdb"
    publish(tmp_path / "lake", TABLES, target)

    assert [] == ask(target, "select * from catalogue.published")


def test_publishing_leaves_nothing_beside_the_catalogue(own_catalogue: Path, own_lake: Path) -> None:
    publish(own_lake, TABLES, own_catalogue)

    assert ["lakehouse.duckdb"] == [path.name for path in own_catalogue.parent.iterdir()]


def test_a_table_that_cannot_be_read_leaves_the_old_catalogue(own_catalogue: Path, own_lake: Path) -> None:
    before = own_catalogue.read_bytes()
    for entry in (own_lake / "gold" / "profiles" / "_delta_log").glob("*.json"):
        entry.write_text("{ this is no log")

    with pytest.raises(LakeError) as raised:
        publish(own_lake, TABLES, own_catalogue)

    assert before == own_catalogue.read_bytes()
    assert 1 == len(str(raised.value).splitlines())
    assert ["lakehouse.duckdb"] == [path.name for path in own_catalogue.parent.iterdir()]


def test_identity_that_moves_on_is_seen_without_publishing_anew(own_catalogue: Path, own_lake: Path) -> None:
    at = datetime(2026, 1, 3, tzinfo=UTC)
    stored(
        own_lake,
        MAP,
        [
            {"node_id": NODE_OF_ANN, "customer_id": ANN, "known_from": at},
            {"node_id": NODE_OF_BOB, "customer_id": ANN, "known_from": at},
        ],
    )

    assert [(ANN, 2), (None, 2)] == ask(
        own_catalogue, "select customer_id, count(*) from silver.visits group by 1 order by 1 nulls last"
    )


def test_people_who_read_while_it_is_published_notice_nothing(own_catalogue: Path, own_lake: Path) -> None:
    done, answers, errors = threading.Event(), [], []

    def read() -> None:
        while not done.is_set():
            try:
                answers.extend(ask(own_catalogue, "select count(*), sum(order_count) from gold.profiles"))
            except C360Error as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    with connect(own_catalogue) as opened_before:
        for reader in readers:
            reader.start()
        for _ in range(5):
            publish(own_lake, TABLES, own_catalogue)
        done.set()
        for reader in readers:
            reader.join()
        still = opened_before.execute("select count(*) from gold.profiles").fetchall()

    assert [] == errors
    assert {(2, 2)} == set(answers)
    assert [(2,)] == still


def test_every_declared_table_can_be_published_and_explains_itself(tmp_path: Path) -> None:
    tables = load_catalog().tables
    for table in tables:
        stored(tmp_path / "lake", table, [])
    target = tmp_path / "lakehouse.duckdb"
    publish(tmp_path / "lake", tables, target)

    rows = ask(
        target,
        "select schema_name || '.' || table_name, list(column_name order by column_index), count(comment)"
        " from duckdb_columns() where database_name = 'lakehouse' and schema_name in ('silver', 'gold') group by 1",
    )

    wanted = {table.full_name: [column.name for column in shown(table)] for table in tables}
    assert wanted == {str(name): columns for name, columns, _ in rows}
    assert [] == [name for name, columns, comments in rows if len(columns) != comments]  # type: ignore[arg-type]
