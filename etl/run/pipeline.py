"""The whole day in one process: every source, then every table in order, then publish.

A failure stops what depends on it and nothing else; it ends as an `Outcome` with its one line, never as silence.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from functools import partial
from pathlib import Path

from etl.errors import C360Error, LakeFull
from etl.model import Window
from etl.run.house import House
from etl.run.publish import publish
from etl.run.report import Report
from etl.run.steps import build_table, ingest_stream

#: Exit code of a defect of the program itself, as sysexits.h has it.
DEFECT = 70


class State(Enum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # something it depends on failed


@dataclass(frozen=True, slots=True)
class Outcome:
    """One step: `step` is the table's full name; `why` one line for a failed or stopped one."""

    step: str
    window: str
    state: State
    report: Report | None = None
    why: str = ""
    exit_code: int = 0


def history_and_days(first: date, last: date, *, daily: int = 3) -> tuple[Window, ...]:
    """One initial load over the history, then the last `daily` days, each a run of its own."""
    split = last - timedelta(days=daily)
    if split < first:
        return (Window.of_days(first, last),)
    days = [Window.of_day(split + timedelta(days=ahead)) for ahead in range(1, daily + 1)]
    return (Window.of_days(first, split), *days)


def steps(house: House) -> list[tuple[str, tuple[str, ...]]]:
    """(table, what it is built from), in an order that works: bronze, then silver and gold."""
    return [
        *((name, ()) for name in house.catalog.bronze),
        *((t.full_name, house.catalog.inputs(t)) for t in house.catalog.tables),
    ]


def run(
    house: House,
    windows: Sequence[Window],
    *,
    run_id: str,
    only_sources: Sequence[str] | None = None,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Every step of every window, in order, then one publish; `progress` hears of each as it ends.

    `only_sources` pulls just those sources; the tables are built all the same, from everything that is there.
    """
    outcomes: list[Outcome] = []
    for window in windows:
        for outcome in _one_window(house, window, run_id=run_id, only_sources=only_sources):
            outcomes.append(outcome)
            progress(outcome)
    outcome = attempt("publish", windows[-1].key, lambda: _published(house))
    progress(outcome)
    return [*outcomes, outcome]


def _one_window(house: House, window: Window, *, run_id: str, only_sources: Sequence[str] | None) -> Iterator[Outcome]:
    broken: set[str] = set()
    for name, inputs in steps(house):
        lost = [each for each in inputs if each in broken]
        if lost:
            outcome = Outcome(name, window.key, State.STOPPED, why=f"waits for {', '.join(lost)}")
        elif name in house.catalog.bronze:
            source, stream, _ = house.catalog.bronze[name]
            if only_sources is not None and source.name not in only_sources:
                continue
            outcome = attempt(
                name, window.key, partial(ingest_stream, house, source.name, stream.name, window, run_id=run_id)
            )
        else:
            outcome = attempt(name, window.key, partial(build_table, house, name, window, run_id=run_id))
        if outcome.state is not State.DONE:
            broken.add(name)
        yield outcome


def attempt(step: str, window: str, act: Callable[[], Report | None]) -> Outcome:
    """How the step ended; an error is its one line and its exit code."""
    try:
        return Outcome(step, window, State.DONE, act())
    except C360Error as error:
        return Outcome(step, window, State.FAILED, why=str(error), exit_code=error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return Outcome(step, window, State.FAILED, why=defect(error), exit_code=DEFECT)
        full = LakeFull(f"{step}: no space left on the device; free some and run again, nothing was half-written")
        return Outcome(step, window, State.FAILED, why=str(full), exit_code=full.exit_code)
    except Exception as error:  # noqa: BLE001 - a defect in one table stops what depends on it and nothing else
        return Outcome(step, window, State.FAILED, why=defect(error), exit_code=DEFECT)


def defect(error: Exception) -> str:
    """A defect in one line: its kind and where, never its message, which may quote a person's data."""
    where = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in where if "/site-packages/" not in frame.filename] or where
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return (
        f"a defect of this program: {type(error).__name__} at {place}; the old version stays visible, please report it"
    )


def _published(house: House) -> None:
    publish(house)
