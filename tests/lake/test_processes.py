"""What a lake promises when many processes write at once, and when one is killed: nothing lost, twice or mixed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from etl.lake import Lake
from tests.lake.tables import COUNTS, MARKS, counts, day
from tests.lake.writers import (
    ACCOUNTS,
    after,
    append,
    count_up,
    fill_new_days,
    replace_one_day,
    replace_own_day,
    replace_two_days,
    run_all,
    running,
    seen,
    server,
    take_turns,
    transfer,
)

#: Many processes on a machine that may be busy with others: what counts here is the result, not the time.
pytestmark = pytest.mark.timeout(900)

SIZES = [
    pytest.param(8, 15, id="8 processes x 15 commits"),
    pytest.param(16, 50, id="16 processes x 50 commits", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
]
many = pytest.mark.parametrize(("processes", "turns"), SIZES)


def marks_of(lake: Lake, version: int) -> set[tuple[int, int]]:
    """Who wrote the rows of that version, and on which turn."""
    return set(lake.read(MARKS, version=version).select("writer", "turn").collect().rows())


@many
def test_appends_of_many_processes_all_land_once(tmp_path: Path, processes: int, turns: int) -> None:
    codes = run_all(append, [(tmp_path, writer, turns) for writer in range(processes)])
    lake = Lake(tmp_path)
    rows = lake.read(MARKS).group_by("writer", "turn").len().collect()

    assert codes == [0] * processes
    assert rows.height == processes * turns
    assert set(rows["len"]) == {10}
    assert lake.version(MARKS) == processes * turns - 1
    assert lake.fsck() == []


@many
def test_writers_of_one_day_follow_each_other_and_never_mix(tmp_path: Path, processes: int, turns: int) -> None:
    codes = run_all(replace_one_day, [(tmp_path, writer, turns) for writer in range(processes)])
    lake = Lake(tmp_path)
    versions = range(processes * turns)
    writers = [marks_of(lake, version) for version in versions]

    assert codes == [0] * processes
    assert lake.version(MARKS) == versions[-1]
    assert [len(of_version) for of_version in writers] == [1] * len(versions)
    assert {lake.read(MARKS, version=version).collect().height for version in versions} == {5}
    assert set.union(*writers) == {(writer, turn) for writer in range(processes) for turn in range(turns)}
    assert lake.fsck() == []


@many
def test_two_days_replaced_together_are_seen_together(tmp_path: Path, processes: int, turns: int) -> None:
    codes = run_all(replace_two_days, [(tmp_path, writer, turns) for writer in range(processes)])
    lake = Lake(tmp_path)
    versions = range(processes * turns)

    assert codes == [0] * processes
    assert lake.version(MARKS) == versions[-1]
    assert [len(marks_of(lake, version)) for version in versions] == [1] * len(versions)
    assert lake.days(MARKS) == (day(1), day(2))
    assert lake.fsck() == []


@many
def test_writers_of_different_days_all_stay(tmp_path: Path, processes: int, turns: int) -> None:
    codes = run_all(replace_own_day, [(tmp_path, writer, turns) for writer in range(processes)])
    lake = Lake(tmp_path)
    expected = [(writer, turns - 1, day(1 + writer)) for writer in range(processes)]

    assert codes == [0] * processes
    assert expected == sorted(lake.read(MARKS).collect().rows())
    assert lake.version(MARKS) == processes * turns - 1
    assert lake.fsck() == []


@many
def test_an_empty_day_filled_by_many_at_once_holds_one_of_them(tmp_path: Path, processes: int, turns: int) -> None:
    together = server().Barrier(processes)
    codes = run_all(fill_new_days, [(tmp_path, writer, turns, together) for writer in range(processes)])
    lake = Lake(tmp_path)
    heights = {lake.read(MARKS, days=[each]).collect().height for each in lake.days(MARKS)}

    assert codes == [0] * processes
    assert len(lake.days(MARKS)) == min(turns, 28)
    assert heights == {1}
    assert lake.fsck() == []


@many
def test_a_counter_read_and_written_by_many_is_exact(tmp_path: Path, processes: int, turns: int) -> None:
    codes = run_all(count_up, [(tmp_path, writer, turns) for writer in range(processes)])
    lake = Lake(tmp_path)

    assert codes == [0] * processes
    assert lake.read(COUNTS).collect().rows() == [("total", processes * turns)]
    assert lake.fsck() == []


@many
def test_transfers_between_accounts_conserve_their_sum(tmp_path: Path, processes: int, turns: int) -> None:
    lake = Lake(tmp_path)
    lake.commit(COUNTS, lake.stage(COUNTS, counts(**dict.fromkeys(ACCOUNTS, 1000))), load_id="opening")
    codes = run_all(transfer, [(tmp_path, writer, turns) for writer in range(processes)])
    latest = lake.version(COUNTS)
    sums = {lake.read(COUNTS, version=version).collect()["count"].sum() for version in range(processes * turns + 1)}

    assert codes == [0] * processes
    assert latest == processes * turns
    assert sums == {4000}
    assert lake.fsck() == []


def test_of_many_first_writers_one_makes_the_table_and_all_rows_are_in(tmp_path: Path) -> None:
    for lap in range(3):
        root = tmp_path / f"lake{lap}"
        codes = run_all(append, [(root, writer, 1) for writer in range(8)])

        assert codes == [0] * 8
        assert Lake(root).read(MARKS).collect().height == 80
        assert Lake(root).fsck() == []


def killed_at_random(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill a writer `kills` times, each time comparing what is there with the model; gives what was counted."""
    chance = random.Random(seed)
    tally = {"turns": 0, "landed without saying so": 0, "adopted by the ledger": 0}
    lake, root, done = None, folder, 0
    for kill in range(kills):
        if kill % 40 == 0:  # a fresh lake now and then, so that first commits are killed too
            root, done = folder / f"lake{kill}", 0
        acknowledged = folder / f"acknowledged{kill}"
        with running(take_turns, [(root, done, acknowledged)]):
            turns = chance.choice([0, 1, 1, 2, 2, 3])
            while not acknowledged.exists() or acknowledged.read_bytes().count(b"\n") <= turns:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.06))
        said = [int(line) for line in acknowledged.read_text().split() if line != "ready"]
        done = max([done, *(turn + 1 for turn in said)])
        lake = Lake(root)
        now = seen(lake)
        assert now in (after(done), after(done + 1)), f"kill {kill} of seed {seed}: neither old nor new"
        tally["landed without saying so"] += now != after(done)
        tally["turns"] += len(said)
        if kill % 10 == 9 or kill == kills - 1:
            findings = lake.fsck()
            assert [finding for finding in findings if finding.severity == "damage"] == []
            tally["adopted by the ledger"] += any(finding.file.endswith(".jsonl") for finding in findings)
    return tally


@pytest.mark.parametrize(
    ("kills", "seed"),
    [
        pytest.param(200, 20260101, id="200 kills"),
        pytest.param(2000, 20260102, id="2,000 kills", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_a_writer_killed_at_any_moment_leaves_the_old_state_or_the_new(tmp_path: Path, kills: int, seed: int) -> None:
    tally = killed_at_random(tmp_path, kills, seed)

    print(tally)
    assert tally["turns"] > kills  # the writer did get to write
    assert tally["landed without saying so"] > 0  # and was met between landing and saying so
