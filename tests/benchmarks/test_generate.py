"""The benchmark's company: the same size gives the same rows, and every kind of dirt is in them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.c360_lake import Size, bench_house
from benchmarks.generate import generated


def test_the_same_size_gives_the_same_rows(company: Path, tmp_path: Path) -> None:
    again = bench_house(generated(Size.of("2k"), tmp_path / "again"))
    house = bench_house(company)

    for _, _, table in house.catalog.bronze.values():
        assert again.lake.digests(table) == house.lake.digests(table)


def test_there_are_as_many_events_as_the_size_says(company: Path) -> None:
    house = bench_house(company)
    events = next(table for _, stream, table in house.catalog.bronze.values() if table.name == "posthog_events")

    assert house.lake.rows(events) == pytest.approx(Size.of("2k").events, rel=0.1)


def test_the_day_after_waits_beside_the_lake(company: Path) -> None:
    days = {
        day
        for path in (company / "next_day").glob("*.parquet")
        for day in pl.read_parquet(path, columns=["day"])["day"].unique()
    }

    assert [str(day) for day in days] == ["2026-04-01"]


@pytest.mark.parametrize("name", ["", "L", "20", "m", "-5k"])
def test_a_size_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected XS, S, M, or a number of events"):
        Size.of(name)
