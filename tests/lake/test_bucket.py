"""A lake in a bucket of a real S3 store: the same promises, kept by conditional puts instead of locks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from etl.errors import LakeError
from etl.lake import Lake
from tests.lake.tables import COUNTS, MARKS, counts, mark
from tests.lake.writers import ACCOUNTS, after, append, count_up, replace_two_days, seen, take_turn, transfer
from tests.s3 import KEY, Store, careless_store

pytestmark = pytest.mark.timeout(600)

PROCESSES, TURNS, KILLS = 4, 6, 3


@pytest.fixture
def address(s3: Store) -> str:
    """A lake nobody else uses."""
    return f"s3://lake/{uuid4().hex}"


def told(environ: Mapping[str, str], target: Callable[..., None], *arguments: Any) -> None:
    os.environ.update(environ)
    target(*arguments)


def run_all(store: Store, target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[int | None]:
    """Run all to their end at the same time, in processes that know the store; gives their exit codes."""
    spawned = multiprocessing.get_context("spawn")
    processes = [spawned.Process(target=told, args=(store.environ, target, *each), daemon=True) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def test_appends_of_many_processes_all_land_once(s3: Store, address: str) -> None:
    codes = run_all(s3, append, [(address, writer, TURNS) for writer in range(PROCESSES)])
    lake = Lake(address)
    rows = lake.read(MARKS).group_by("writer", "turn").len().collect()

    assert codes == [0] * PROCESSES
    assert rows.height == PROCESSES * TURNS
    assert set(rows["len"]) == {10}
    assert lake.version(MARKS) == PROCESSES * TURNS - 1
    assert lake.fsck() == []


def test_two_days_replaced_together_are_seen_together(s3: Store, address: str) -> None:
    codes = run_all(s3, replace_two_days, [(address, writer, TURNS) for writer in range(PROCESSES)])
    lake = Lake(address)
    writers = [
        set(lake.read(MARKS, version=version).select("writer", "turn").collect().rows())
        for version in range(PROCESSES * TURNS)
    ]

    assert codes == [0] * PROCESSES
    assert [len(each) for each in writers] == [1] * (PROCESSES * TURNS)
    assert lake.fsck() == []


def test_counters_and_transfers_are_exact(s3: Store, address: str) -> None:
    lake = Lake(address)
    codes = run_all(s3, count_up, [(address, writer, TURNS) for writer in range(PROCESSES)])
    assert codes == [0] * PROCESSES
    assert lake.read(COUNTS).collect().rows() == [("total", PROCESSES * TURNS)]

    lake.commit(COUNTS, lake.stage(COUNTS, counts(**dict.fromkeys(ACCOUNTS, 100))), load_id="begin")
    codes = run_all(s3, transfer, [(address, writer, TURNS) for writer in range(PROCESSES)])
    assert codes == [0] * PROCESSES
    assert lake.read(COUNTS).collect()["count"].sum() == 400
    assert lake.fsck() == []


def trouble(store: Store, took: Any, is_over: Any) -> None:
    """In a process of its own, since an engine that waits for an answer may keep the interpreter to itself."""
    for _ in range(KILLS):
        took.wait()
        took.clear()
        store.kill()
        store.start()
    is_over.set()


def test_a_store_that_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned = multiprocessing.get_context("spawn")
    took, is_over = spawned.Event(), spawned.Event()
    store = Store(tmp_path)
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    killing = spawned.Process(target=trouble, args=(store, took, is_over))
    store.start()
    lake = Lake("s3://lake/here")
    killing.start()
    try:
        turns = 0
        while turns < 12 or not is_over.is_set():
            took.set()
            try:
                take_turn(lake, turns)
            except LakeError:
                continue  # the store was away; the same turn again is the same as once
            turns += 1
        assert seen(lake) == after(turns)
        assert [finding for finding in lake.fsck() if finding.severity == "damage"] == []
    finally:
        killing.kill()
        store.kill()


def test_what_was_changed_behind_our_back_is_found(address: str) -> None:
    lake = Lake(address)
    lake.commit(MARKS, lake.stage(MARKS, mark(1, 1, 1, rows=5)), load_id="one")
    (part,) = [entry for entry in lake.storage.files("silver/marks", deep=True) if entry.name.endswith(".parquet")]
    data = lake.storage.read(part.key)

    lake.storage.replace(part.key, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])

    assert [(found.file, found.severity) for found in lake.fsck()] == [(part.key, "damage")]


def test_a_store_that_ignores_conditions_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with careless_store() as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(LakeError, match="ignores conditional puts") as refused:
            Lake("s3://lake/here")
    assert "\n" not in str(refused.value)


def test_the_way_around_conditions_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")

    with pytest.raises(LakeError, match="unset it"):
        Lake(address)


def test_a_store_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEY, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(LakeError, match="the storage refused: no answer; check AWS_ENDPOINT_URL") as refused:
        Lake("s3://lake/here")
    assert "\n" not in str(refused.value)
