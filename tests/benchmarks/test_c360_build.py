"""The gate of the benchmark: every peer gives the product's profiles, and a single changed value is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from benchmarks.c360_build import exponent
from benchmarks.c360_gate import differences
from benchmarks.c360_lake import bench_house, copy_of, history, job
from benchmarks.c360_plot import drawn
from benchmarks.c360_product import build_job, unchecked
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


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_gives_every_column_of_every_customer(
    peer: Callable[[Path], pl.DataFrame], profiles: pl.DataFrame, company: Path
) -> None:
    assert differences(profiles, peer(company / "lake")) == []


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
