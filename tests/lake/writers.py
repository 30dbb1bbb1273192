"""What the processes of the lake's tests do. Started by a fork server that has not used Delta, never after."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl

from etl.lake import Lake, Staged
from etl.model.frames import schema_of
from tests.lake.tables import COUNTS, MARKS, counts, day, mark

ACCOUNTS = ("a", "b", "c", "d")


def server() -> ForkServerContext:
    """Processes that start in milliseconds: forked from one that has imported the libraries and used none."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["polars", "pyarrow.parquet", "deltalake", "numpy"])
    return context


@contextmanager
def running(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """A process per tuple of arguments; killed when the block ends, if they still run."""
    processes = [server().Process(target=target, args=each, daemon=True) for each in arguments]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join(30)


def run_all(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[int | None]:
    """Run all to their end at the same time; gives their exit codes."""
    with running(target, arguments) as processes:
        for process in processes:
            process.join(240)
        return [process.exitcode for process in processes]


# --- many writers of one table --------------------------------------------------------------------------------------


def append(root: Path, writer: int, turns: int) -> None:
    """Ten rows a turn; every third turn is sent twice, as a task that was started again would."""
    lake = Lake(root)
    for turn in range(turns):
        for _ in range(2 if turn % 3 == 0 else 1):
            staged = lake.stage(MARKS, mark(writer, turn, 1 + turn % 3, rows=10))
            lake.commit(MARKS, staged, replaces="nothing", load_id=f"w{writer}-{turn}")


def replace_one_day(root: Path, writer: int, turns: int) -> None:
    """All writers replace the same day, each time in two files."""
    lake = Lake(root)
    for turn in range(turns):
        files = [lake.write_file(MARKS, mark(writer, turn, 1, rows=rows), day(1)) for rows in (3, 2)]
        lake.commit(MARKS, files, load_id=f"w{writer}-{turn}")


def replace_two_days(root: Path, writer: int, turns: int) -> None:
    """All writers replace the same two days in one commit."""
    lake = Lake(root)
    for turn in range(turns):
        rows = pl.concat([mark(writer, turn, 1, rows=2), mark(writer, turn, 2, rows=3)])
        lake.commit(MARKS, lake.stage(MARKS, rows), load_id=f"w{writer}-{turn}")


def replace_own_day(root: Path, writer: int, turns: int) -> None:
    """Each writer replaces a day of its own."""
    lake = Lake(root)
    for turn in range(turns):
        lake.commit(MARKS, lake.stage(MARKS, mark(writer, turn, 1 + writer)), load_id=f"w{writer}-{turn}")


def fill_new_days(root: Path, writer: int, turns: int, together: Barrier) -> None:
    """All writers fill the same empty day at the same moment: there is nothing to remove that could collide."""
    lake = Lake(root)
    for turn in range(turns):
        staged = lake.stage(MARKS, mark(writer, turn, 1 + turn % 28))
        together.wait(120)
        lake.commit(MARKS, staged, load_id=f"w{writer}-{turn}")


def count_up(root: Path, writer: int, turns: int) -> None:
    """Read the counter, add one, replace the table."""
    lake = Lake(root)

    def one_more(version: int | None) -> Staged:
        now = lake.read(COUNTS, version=version).collect()
        before = now["count"].sum() if version is not None else 0
        return lake.stage(COUNTS, counts(total=before + 1))

    for turn in range(turns):
        lake.update(COUNTS, one_more, load_id=f"w{writer}-{turn}")


def transfer(root: Path, writer: int, turns: int) -> None:
    """Move a random amount between two accounts."""
    lake = Lake(root)
    chance = random.Random(writer)

    def moved(version: int | None) -> Staged:
        now = dict(lake.read(COUNTS, version=version).collect().rows())
        giver, taker = chance.sample(ACCOUNTS, 2)
        amount = chance.randint(1, 50)
        return lake.stage(COUNTS, counts(**{**now, giver: now[giver] - amount, taker: now[taker] + amount}))

    for turn in range(turns):
        lake.update(COUNTS, moved, load_id=f"w{writer}-{turn}")


# --- one writer, killed ---------------------------------------------------------------------------------------------

#: Rows of an append, kept small; the rest of a turn's size does not matter to the order of its steps.
ROWS = 3


def take_turns(root: Path, first: int, acknowledged: Path) -> None:
    """Turn after turn from `first`, each noted when it is done, until somebody ends us."""
    lake = Lake(root)
    note = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(note, b"ready\n")
    turn = first
    while True:
        take_turn(lake, turn)
        os.write(note, f"{turn}\n".encode())
        turn += 1


def take_turn(lake: Lake, turn: int) -> None:
    """One of four kinds of write. Taking the same turn twice is the same as once."""
    if turn % 4 == 0:
        staged = lake.stage(MARKS, mark(0, turn, 1 + turn % 3, rows=ROWS))
        lake.commit(MARKS, staged, replaces="nothing", load_id=f"turn-{turn}")
    elif turn % 4 == 1:
        lake.commit(MARKS, lake.stage(MARKS, mark(1, turn, 4)), load_id=f"turn-{turn}")
    elif turn % 4 == 2:
        rows = pl.concat([mark(2, turn, 5), mark(2, turn, 6)]) if turn % 8 == 2 else mark(2, turn, 5)
        lake.commit(MARKS, lake.stage(MARKS, rows, days=[day(5), day(6)]), load_id=f"turn-{turn}")
    else:
        lake.update(COUNTS, lambda version: _counted(lake, version, turn), load_id=f"turn-{turn}")


def _counted(lake: Lake, version: int | None, turn: int) -> Staged:
    now = dict(lake.read(COUNTS, version=version).collect().rows()) if version is not None else {}
    if now.get("turn") == turn:
        return lake.stage(COUNTS, counts(**now))
    return lake.stage(COUNTS, counts(turn=turn, count=now.get("count", 0) + 1))


def after(turns: int) -> tuple[list[tuple[int, int, int]], dict[str, int]]:
    """The model: what both tables hold after so many turns, worked out without a lake.

    Rows of MARKS as (writer, turn, day of the month), sorted; COUNTS as name -> count.
    """
    marks: list[tuple[int, int, int]] = []
    counted: dict[str, int] = {}
    for turn in range(turns):
        if turn % 4 == 0:
            marks += [(0, turn, 1 + turn % 3)] * ROWS
        elif turn % 4 == 1:
            marks = [row for row in marks if row[2] != 4] + [(1, turn, 4)]
        elif turn % 4 == 2:
            marks = [row for row in marks if row[2] not in {5, 6}] + [(2, turn, 5)]
            marks += [(2, turn, 6)] if turn % 8 == 2 else []
        else:
            counted = {"turn": turn, "count": counted.get("count", 0) + 1}
    return sorted(marks), counted


def seen(lake: Lake) -> tuple[list[tuple[int, int, int]], dict[str, int]]:
    """What both tables hold now, as the model says it."""
    marks = lake.read(MARKS).with_columns(pl.col("day").dt.day().cast(pl.Int64)).collect()
    counted = lake.read(COUNTS).collect()
    assert dict(counted.schema) == schema_of(COUNTS.columns)
    return sorted(marks.rows()), dict(counted.rows())
