"""A small company run once; tests that change something work on a copy of its home."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from etl.model import Window
from etl.run.demo import demo_company
from etl.run.house import House, open_house
from etl.run.pipeline import State, run
from etl.run.rulings import rule, undoing
from etl.settings import load_settings
from etl.silver.identity_events import IDENTITY_EVENTS

EARLIER, LAST = Window.parse("2026-01-01--2026-01-02"), Window.parse("2026-01-03--2026-01-04")
LATER = datetime(2026, 3, 1, tzinfo=UTC)
HOUSE = '[lakehouse]\nhome = "."\n[demo]\npeople = 120\ndays = 4\n'


@dataclass(frozen=True)
class Company:
    """Its home after all days; `never_merged`: a home where a merge of the last days was ruled out before them."""

    home: Path
    never_merged: Path
    merge: dict[str, Any]


def environ(home: Path) -> dict[str, str]:
    return {"C360_CONFIG": str(home / "lakehouse.toml"), "C360_PSEUDONYM_KEY": "0123456789abcdef" * 4}


def house_at(home: Path) -> House:
    return open_house(load_settings(environ(home), cwd=home))


def ran(house: House, window: Window, *, only_sources: list[str] | None = None) -> None:
    outcomes = run(house, [window], run_id="test", only_sources=only_sources)
    assert [(each.step, each.why) for each in outcomes if each.state is not State.DONE] == []


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    home = tmp_path_factory.mktemp("company") / "home"
    home.mkdir()
    (home / "lakehouse.toml").write_text(HOUSE, encoding="utf-8")
    settings = load_settings(environ(home), cwd=home)
    with demo_company(settings) as reached:
        ran(open_house(settings, reached), EARLIER)
        other = Path(shutil.copytree(home, home.with_name("never_merged")))
        house = open_house(settings, reached)
        ran(house, LAST)
        merges = house.lake.read(IDENTITY_EVENTS).filter(
            (pl.col("identity_event") == "merge") & (pl.col("known_from") == LAST.end)
        )
        merge = merges.sort("node_count", "identity_event_id", descending=[True, False]).collect().row(0, named=True)
        apart = open_house(load_settings(environ(other), cwd=other), reached)
        rule(apart, undoing(house, merge["identity_event_id"]), now=LATER)
        ran(apart, LAST)
    return Company(home, other, merge)


@pytest.fixture
def copied(company: Company, tmp_path: Path) -> Callable[[], House]:
    """Gives the house in a copy of the company's home, each time another."""

    def copy() -> House:
        number = len(list(tmp_path.iterdir()))
        return house_at(Path(shutil.copytree(company.home, tmp_path / f"home{number}")))

    return copy
