"""From the demo's sources to a customer 360 that answers SQL: what must hold after a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from etl.catalog import quarantine_of
from etl.errors import ConservationError, QualityError
from etl.model import Table, Window
from etl.run import build as build_module
from etl.run import freshness, pipeline
from etl.run.build import build
from etl.run.pipeline import State
from etl.serve.query import run_sql
from tests.pipeline.conftest import FIRST, HISTORY, Ran, company_at, run_at, settings_at

#: Says when a build knew something, not what: a backfill knows later than a daily run did.
KNOWN = ("known_from", "known_to", "identity_event_id")


def truth(ran: Ran, name: str) -> pl.DataFrame:
    return pl.read_parquet(ran.house.settings.home / "demo" / "truth" / f"{name}.parquet")


def table_of(ran: Ran, name: str) -> pl.DataFrame:
    return ran.house.lake.read(ran.house.catalog.table(name)).collect()


def test_every_step_of_every_window_is_done(ran: Ran) -> None:
    assert [o for o in ran.outcomes if o.state is not State.DONE] == []


#: Two hundred people are too few to learn from, so nothing is compared by a model.
UNLEARNT = ["silver.identity_model", "silver.identity_matches"]


def test_every_table_holds_rows(ran: Ran) -> None:
    empty = [table.full_name for table in ran.house.catalog.tables if table_of(ran, table.full_name).is_empty()]

    assert empty == UNLEARNT


def test_rows_that_came_in_are_rows_that_went_out_or_have_a_name(at_once: Ran) -> None:
    """Counted anew in the lake, table by table: bronze in, silver and quarantine out, and the reports agree."""
    house = at_once.house
    reports = {o.step: o.report for o in at_once.outcomes if o.report is not None}
    for table in house.catalog.tables:
        if not table.is_subject:
            continue
        report, feds = reports[table.full_name], house.catalog.feeds[table.full_name]
        if not any(fed.feed.explode for fed in feds):
            assert report.rows_in == sum(house.lake.rows(fed.bronze) for fed in feds), table.full_name
        assert report.rows_out == house.lake.rows(table), table.full_name
        assert report.quarantined == house.lake.rows(quarantine_of(table)), table.full_name
        named = report.quarantined + report.deduplicated + report.filtered
        assert report.rows_in + report.derived == report.rows_out + named, table.full_name


def test_the_planted_bad_rows_are_turned_away(at_once: Ran) -> None:
    """Every subject with bad rows planted in its sources has them in quarantine, each with a rule and a reason."""
    lake = at_once.house.lake
    held = [lake.read(quarantine_of(t)).collect() for t in at_once.house.catalog.tables if t.is_subject]
    rows = pl.concat(held)

    assert rows.height > 10
    assert rows.filter((pl.col("rule") == "") | (pl.col("reason") == "")).is_empty()
    assert rows["source"].n_unique() >= 5


def test_running_again_writes_nothing_new(ran: Ran) -> None:
    before = {t.full_name: ran.house.lake.version(t) for t in ran.house.catalog.tables}
    again = run_at(ran.house.settings)

    assert [o.step for o in again.outcomes if o.report is not None and o.report.written] == []
    assert before == {t.full_name: ran.house.lake.version(t) for t in ran.house.catalog.tables}


def test_the_customer_360_has_one_row_per_known_customer_and_no_name_in_it(ran: Ran) -> None:
    customers = table_of(ran, "silver.customers").filter("is_known")
    profile = ran.house.catalog.table("gold.customer_360")

    assert (
        table_of(ran, "gold.customer_360")["customer_id"].sort().to_list() == customers["customer_id"].sort().to_list()
    )
    assert len(profile.columns) >= 40
    assert {c.privacy.value for c in profile.columns} <= {"none", "pseudonym"}


def test_revenue_is_conserved_to_the_cent(ran: Ran) -> None:
    """What is in no profile are orders of nobody: no identifier, or a mailbox that several people share."""
    orders = table_of(ran, "silver.orders").filter(
        pl.col("order_status").is_in(["paid", "partially_refunded", "refunded"])
    )
    known = table_of(ran, "silver.customers").filter("is_known")
    now = table_of(ran, "silver.identity_map").filter(pl.col("known_to").is_null() & pl.col("valid_to").is_null())
    theirs = orders.join(now.select("node_id", "customer_id"), on="node_id").join(known, on="customer_id", how="semi")
    profile = table_of(ran, "gold.customer_360")

    assert theirs["revenue_amount"].sum() == profile["revenue_amount"].sum()
    assert theirs.height == profile["order_count"].sum()
    assert theirs.height / orders.height > 0.9


def test_identity_is_nearly_never_wrong_against_the_hidden_truth(ran: Ran) -> None:
    precision, recall = identity_quality(ran)
    print(f"identity on the demo: precision {precision:.4f}, recall {recall:.4f}")

    assert precision >= 0.99
    assert recall >= 0.85


def identity_quality(ran: Ran) -> tuple[float, float]:
    """Pairwise precision and recall over person records, by counting pairs within customers and people."""
    links = truth(ran, "record_links")
    records = table_of(ran, "silver.person_records")
    now = table_of(ran, "silver.identity_map").filter(pl.col("known_to").is_null() & pl.col("valid_to").is_null())
    joined = (
        records.join(now.select("node_id", "customer_id"), on="node_id")
        .join(links, on=["source", "stream", "record_id"])
        .select("customer_id", "person_id")
    )

    def pairs(*by: str) -> int:
        sizes = joined.group_by(*by).len()["len"].cast(pl.Int64)
        return int((sizes * (sizes - 1) // 2).sum())

    both = pairs("customer_id", "person_id")
    assert joined.height > 100
    return both / pairs("customer_id"), both / pairs("person_id")


def test_sql_answers_over_the_published_catalogue(ran: Ran) -> None:
    columns, rows = run_sql(
        ran.house.settings.catalogue_path,
        "select count(*) as customers, count(distinct customer_id) as ids from gold.customer_360",
        timeout_s=30,
        max_rows=10,
    )

    assert list(columns) == ["customers", "ids"]
    assert rows[0][0] == rows[0][1] == table_of(ran, "gold.customer_360").height


def test_silver_views_show_the_customer(ran: Ran) -> None:
    _, rows = run_sql(
        ran.house.settings.catalogue_path,
        "select count(*) from silver.orders o join gold.customer_360 c using (customer_id)",
        timeout_s=30,
        max_rows=10,
    )

    assert rows[0][0] > 0


def test_the_lake_is_what_its_ledger_says(ran: Ran) -> None:
    assert [finding for finding in ran.house.lake.fsck() if finding.severity == "damage"] == []


# --- the same tables, however the days were run ---------------------------------------------------------------------


def comparable(ran: Ran, table: Table) -> pl.DataFrame:
    """A table with customers named by their smallest node, so that two histories of one truth compare."""
    frame = ran.house.lake.read(table).collect()
    if "customer_id" in frame.columns:
        now = table_of(ran, "silver.identity_map").filter(pl.col("known_to").is_null() & pl.col("valid_to").is_null())
        names = now.group_by("customer_id").agg(pl.col("node_id").min().alias("_name"))
        frame = (
            frame.join(names, on="customer_id", how="left")
            .with_columns(pl.col("_name").alias("customer_id"))
            .drop("_name")
        )
    if "session_id" in frame.columns:
        frame = frame.drop("session_id")  # made of the customer's id
    frame = frame.drop(*(name for name in KNOWN if name in frame.columns))
    return frame.sort(frame.columns)


def assert_same_tables(one: Ran, other: Ran) -> None:
    for table in one.house.catalog.tables:
        if table.name == "identity_events":
            continue  # a history of what was known when, which is what differs
        if table.name == "identity_map":
            continue  # bitemporal; its present is compared through every customer_id
        assert_frame_equal(comparable(one, table), comparable(other, table), check_exact=True)


def test_a_load_of_all_days_is_the_same_tables_as_day_by_day(ran: Ran, at_once: Ran) -> None:
    assert_same_tables(ran, at_once)


def test_days_in_another_order_end_in_the_same_tables(ran: Ran, tmp_path: Path) -> None:
    shuffled = run_at(settings_at(tmp_path), [HISTORY[2], HISTORY[0], HISTORY[3], HISTORY[1], HISTORY[2]])

    assert_same_tables(ran, shuffled)


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_dead_source_stops_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    with company_at(settings) as house:
        unreachable = {
            **house.reached,
            "klaviyo": type(house.reached["klaviyo"])(base_url="http://127.0.0.1:9", allow_private=True),
        }
        broken = type(house)(settings, house.catalog, house.lake, unreachable)
        outcomes = pipeline.run(broken, HISTORY[:1], run_id="test")

    ended = {o.step: o.state for o in outcomes}
    assert ended["bronze.klaviyo_events"] is State.FAILED
    assert ended["silver.email_events"] is State.STOPPED
    assert ended["gold.customer_360"] is State.STOPPED
    assert ended["silver.orders"] is State.DONE
    assert ended["silver.ad_spend"] is State.DONE
    why = next(o.why for o in outcomes if o.step == "bronze.klaviyo_events")
    assert "klaviyo" in why
    assert "\n" not in why


def test_a_later_stretch_that_fails_leaves_no_file_of_the_ones_before(
    at_once: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = at_once.house.catalog.table("silver.web_events")
    window = Window.of_days(FIRST, HISTORY[-1].days[-1])
    made = table.build
    assert made is not None
    seen: list[int] = []

    def fail_in_the_third(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
        seen.append(len(at_once.house.lake.fsck([table])))
        if len(seen) == 3:
            raise ConservationError("lost a row")
        rows: pl.LazyFrame = made(records, key=key, country=country)
        return rows.with_columns(event_name=pl.lit("another"))

    monkeypatch.setattr(build_module, "DAYS_A_PIECE", 2)
    # Another program: all days are due again.
    monkeypatch.setattr(freshness, "program", lambda: "another")
    with pytest.raises(ConservationError):
        build(at_once.house, replace(table, build=fail_in_the_third), window, run_id="fails", audit=lambda *_: None)

    assert seen[-1] > 0, "a stretch wrote its days before the next began"
    assert at_once.house.lake.fsck([table]) == []


@pytest.mark.parametrize("step", ["silver.web_events", "gold.customer_360"])
def test_a_critical_failure_keeps_the_old_version(ran: Ran, step: str) -> None:
    table = ran.house.catalog.table(step)
    before = ran.house.lake.version(table)
    # Other pseudonyms and another currency: rows that would be news.
    settings = replace(ran.house.settings, pseudonym_key=b"another key" * 4, reporting_currency="USD")
    house = replace(ran.house, settings=settings)

    def refuse(*_: object) -> None:
        raise QualityError("refused")

    with pytest.raises(QualityError):
        build(house, table, HISTORY[-1], run_id="refused", audit=refuse)

    assert ran.house.lake.version(table) == before
