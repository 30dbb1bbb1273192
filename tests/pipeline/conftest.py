"""One small company run through the whole house once; the tests look at what it left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from etl.model import Window
from etl.run import pipeline
from etl.run.demo import demo_company
from etl.run.house import House, open_house
from etl.settings import Settings, load_settings

PEOPLE, DAYS = 200, 8
FIRST = date(2026, 1, 1)
HISTORY = (Window.of_days(FIRST, date(2026, 1, 5)), *(Window.of_day(date(2026, 1, day)) for day in (6, 7, 8)))


def settings_at(home: Path, **environ: str) -> Settings:
    """Settings of a small demo company with a fixed key, so that two homes give the same pseudonyms."""
    return load_settings(
        {
            "C360_HOME": str(home),
            "C360_DEMO_PEOPLE": str(PEOPLE),
            "C360_DEMO_DAYS": str(DAYS),
            "C360_PSEUDONYM_KEY": "0123456789abcdef" * 4,
            **environ,
        },
        cwd=home,
    )


@dataclass(frozen=True)
class Ran:
    """A house after a run, and how each step ended."""

    house: House
    outcomes: list[pipeline.Outcome]


@contextmanager
def company_at(settings: Settings) -> Iterator[House]:
    """The demo company on the line, and the house that reaches it."""
    with demo_company(settings) as reached:
        yield open_house(settings, reached)


def run_at(settings: Settings, windows: Sequence[Window] = HISTORY) -> Ran:
    """The pipeline over `windows`, in a home of its own."""
    with company_at(settings) as house:
        return Ran(house, pipeline.run(house, windows, run_id="test"))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """History as one load, then three days; read-only for tests."""
    return run_at(settings_at(tmp_path_factory.mktemp("company")))


@pytest.fixture(scope="session")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All days as one load; read-only for tests."""
    return run_at(settings_at(tmp_path_factory.mktemp("at_once")), [Window.of_days(FIRST, HISTORY[-1].days[-1])])
