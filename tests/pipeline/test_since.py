"""A build that knows what changed since the last one gives what a build from everything gives, in a house that runs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from etl.model import Window
from etl.run import freshness
from etl.run.demo import demo_company
from etl.run.house import House, open_house
from etl.run.pipeline import State, run
from etl.run.rulings import link, rule
from etl.run.steps import build_table
from etl.settings import load_settings
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.increment import Since

DAYS = [Window.of_day(date(2026, 1, 1) + timedelta(days=day)) for day in range(3)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A small company after three days, a run each."""
    home = tmp_path_factory.mktemp("since")
    (home / "lakehouse.toml").write_text('[lakehouse]\nhome = "."\n[demo]\npeople = 60\ndays = 4\n', encoding="utf-8")
    made = load_settings({"C360_CONFIG": str(home / "lakehouse.toml")}, cwd=home)
    with demo_company(made) as reached:
        opened = open_house(made, reached)
        for number, window in enumerate(DAYS):
            assert {each.state for each in run(opened, [window], run_id=f"day-{number}")} == {State.DONE}
    return opened


def since(house: House) -> Since | None:
    return freshness.since(house, IDENTITY_EDGES, {"rules": house.settings.identity})


def edges(house: House) -> pl.DataFrame:
    return house.lake.read(IDENTITY_EDGES).collect()


def built(house: House, run_id: str) -> pl.DataFrame:
    build_table(house, IDENTITY_EDGES.full_name, DAYS[-1], run_id=run_id)
    return edges(house)


def forget(house: House) -> None:
    """Without its memory a table is built from everything."""
    (house.lake.root / "_builds" / f"{IDENTITY_EDGES.full_name}.json").unlink()


def test_three_days_one_by_one_are_the_edges_of_all_three(house: House) -> None:
    by_day = edges(house)
    told = since(house)
    assert told is not None
    assert told.changes == {}
    forget(house)
    assert since(house) is None

    assert built(house, "whole").equals(by_day)


def test_of_what_changed_only_that_is_told_and_the_edges_are_those_of_a_full_build(house: House) -> None:
    people = house.lake.read(house.catalog.table("silver.person_records")).collect().sort("source", "record_id")
    one, other = (
        f"{row['source']}:{row['record_id']}" for row in (people.row(0, named=True), people.row(-1, named=True))
    )
    before = edges(house)
    rule(house, link(house, "always", one, other), now=datetime(2026, 3, 1, tzinfo=UTC))
    told = since(house)
    assert told is not None
    assert set(told.changes) == {"identity_rulings"}
    ruled = built(house, "ruled")
    assert not ruled.equals(before)
    forget(house)

    assert built(house, "ruled-whole").equals(ruled)


def test_other_rules_build_everything(house: House) -> None:
    assert freshness.since(house, IDENTITY_EDGES, {"rules": "others"}) is None
