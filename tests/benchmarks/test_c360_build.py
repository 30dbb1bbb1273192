"""The gate of the benchmark: every peer gives the product's profiles, and a single changed value is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from benchmarks.c360_build import exponent, missing, peer
from benchmarks.c360_gate import differences
from benchmarks.c360_lake import LINKAGE, Size, bench_house, copy_of, history, job
from benchmarks.c360_plot import bars, drawn
from benchmarks.c360_product import build_job, unchecked
from benchmarks.c360_told import START, Run, by_table, placed, section, summary
from benchmarks.measure import Measured
from benchmarks.peers import duckdb_peer, pandas_peer, polars_peer
from benchmarks.peers.given import OUT
from etl.gold.customer_360 import CUSTOMER_360

PEERS = {"polars": polars_peer.run, "duckdb": duckdb_peer.run, "pandas": pandas_peer.run}


@pytest.fixture(scope="module")
def profiles(company: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What the product makes of the company, by its own build."""
    house = bench_house(copy_of(company, tmp_path_factory.mktemp("product") / "home"))
    build_job(house, history(), unchecked)
    return house.lake.read(CUSTOMER_360).collect()


@pytest.mark.parametrize("build", PEERS.values(), ids=PEERS)
def test_a_peer_gives_every_column_of_every_customer(
    build: Callable[[Path], pl.DataFrame], profiles: pl.DataFrame, company: Path
) -> None:
    assert differences(profiles, build(company / "lake")) == []


@pytest.mark.parametrize("engine", ["dask", "pyspark"])
def test_an_engine_with_processes_of_its_own_gives_the_same(
    engine: str, profiles: pl.DataFrame, company: Path, tmp_path: Path
) -> None:
    if why := missing(engine, Size.of("2k")):
        pytest.skip(why)
    run, came = peer(engine, company / "lake", tmp_path / "out")

    assert differences(profiles, came) == []
    assert run.took.cpu > 0


@pytest.mark.parametrize("column", [name for name in OUT if name != "customer_id"])
def test_one_changed_value_is_seen(profiles: pl.DataFrame, column: str) -> None:
    first = pl.int_range(pl.len()) == 0
    kind = OUT[column]
    other: pl.Expr = pl.lit("another", pl.String)
    if kind.is_numeric():
        other = pl.col(column).fill_null(0) + 1
    elif kind == pl.Boolean:
        other = pl.col(column).is_null() | ~pl.col(column)
    elif kind.is_temporal():
        other = pl.lit(None, kind) if profiles[column][0] is not None else pl.lit(0).cast(kind)
    elif isinstance(kind, pl.List):
        other = pl.lit(["another"], kind)
    changed = profiles.with_columns(pl.when(first).then(other).otherwise(column).cast(kind).alias(column))

    assert differences(profiles, changed) == [f"{column}: 1 of {profiles.height:,} customers"]


def test_a_customer_too_few_or_twice_is_seen(profiles: pl.DataFrame) -> None:
    assert differences(profiles, profiles[1:]) != []
    assert differences(profiles[1:], profiles) != []
    assert differences(profiles, pl.concat([profiles, profiles[:1]])) != []


def test_floats_may_differ_by_less_than_a_billionth(profiles: pl.DataFrame) -> None:
    near = profiles.with_columns(pl.col("email_open_pct") * (1 + 1e-12))
    far = profiles.with_columns(pl.col("email_open_pct") * (1 + 1e-6))

    assert differences(profiles, near) == []
    assert differences(profiles, far) != []


def test_the_company_fills_every_column_its_sources_can_fill(profiles: pl.DataFrame) -> None:
    empty = {name for name in OUT if profiles[name].n_unique() == 1}

    assert empty == {"as_of_date", "region", "last_device_at", "targeted_count", "exposed_count", "redeemed_count",
                     "device_reading_count"}  # fmt: skip


def test_the_job_ends_with_customer_360_and_has_nothing_it_does_not_need(company: Path) -> None:
    names = [table.full_name for table in job(bench_house(company))]

    assert names[-1] == "gold.customer_360"
    assert {"gold.contacts", "gold.campaigns", "silver.identity_events", "silver.campaigns"}.isdisjoint(names)


def test_linkage_is_what_the_job_leaves_out_and_nothing_else(company: Path) -> None:
    house = bench_house(company)
    linked, identified = ([table.full_name for table in job(house, with_linkage=asked)] for asked in (True, False))

    assert [name for name in linked if name not in identified] == [table.full_name for table in LINKAGE]
    assert set(identified) < set(linked)


def _took(cpu: float, load: float = 1.0) -> Measured:
    return Measured(cpu, 2 * cpu, 3_000_000, 2_000_000, 4, load, 0, "", "")


def _runs() -> list[Run]:
    tables = [{"table": f"silver.{name}", "rows": 1000, "cpu": cpu, "wall": cpu} for name, cpu in (("a", 1), ("b", 4))]
    slower = [{**each, "cpu": each["cpu"] + 2} for each in tables]
    return [
        Run("product", _took(8.0), tuple(tables)),
        Run("polars", _took(4.0)),
        Run("product", _took(12.0, 9.5), tuple(slower)),
    ]


def test_the_product_is_told_by_table_and_what_is_left_is_the_start() -> None:
    told = {row["table"]: row["cpu"] for row in by_table(_runs())}

    assert told == {"silver.a": 2.0, "silver.b": 5.0, START: 3.0}
    assert by_table(_runs(), "polars") == []


def test_a_section_of_the_page_has_medians_and_every_load() -> None:
    told = {"size": "S", "people": 9, "events": 99, "customers": 8, "columns": 7, "cores": 2, "python": "3.11.7",
            "measured_at": "2026-11-26T04:25:03+00:00", "packages": {"polars": "2.1.0", "pyspark": None},
            "summary": summary(_runs()), "tables": by_table(_runs())}  # fmt: skip
    text = section(told, "c360_S.svg")

    assert "| product | 2 | 10.0 | 20.0 | 2 | 1.00 | 1.0 9.5 |" in text
    assert "| polars | 1 | 4.0 | 8.0 | 2 | 0.40 | 1.0 |" in text
    assert "| silver.b | 1,000 | 5.0 | 50% | 4.0 |" in text
    assert "pyspark" not in text


def test_a_section_takes_the_place_of_the_one_before_and_of_nothing_else() -> None:
    page = "a\n<!-- c360 S -->\nold\n<!-- /c360 S -->\nb\n"

    assert placed(page, "S", "new\n") == "a\n<!-- c360 S -->\nnew\n<!-- /c360 S -->\nb\n"
    assert placed(page, "M", "new\n") == page


def test_one_size_is_drawn_with_a_bar_for_every_engine_and_table() -> None:
    picture = ET.fromstring(bars(summary(_runs()), by_table(_runs())))

    assert len(picture.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 2 + 2 + 3


def test_what_grows_in_step_has_the_exponent_one() -> None:
    assert exponent([(1, 3), (10, 30), (100, 300)]) == pytest.approx(1.0)
    assert exponent([(1, 2), (10, 200)]) == pytest.approx(2.0)


def test_the_plot_has_a_line_for_every_engine() -> None:
    rows = [
        {"engine": engine, "events": events, "cpu": events / speed, "peak_pss": events * 100}
        for engine, speed in (("product", 1e4), ("polars", 3e4))
        for events in (250_000, 1_000_000)
    ]
    picture = ET.fromstring(drawn(rows))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")

    assert len(lines) == 4
    assert {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")} >= {"product", "polars", "0.25 M"}
