"""A run killed in the middle, again and again, ends as an undisturbed one: nothing half-written, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etl.run.house import open_house
from tests.conftest import ROOT
from tests.pipeline.conftest import DAYS, PEOPLE, Ran, settings_at
from tests.pipeline.test_first_light import assert_same_tables

KEY = "0123456789abcdef" * 4


def start(home: Path) -> subprocess.Popen[bytes]:
    """`c360 run` as a process of its own, over the same company and windows as the undisturbed run."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "run"],
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "C360_HOME": str(home),
            "C360_DEMO_PEOPLE": str(PEOPLE),
            "C360_DEMO_DAYS": str(DAYS),
            "C360_PSEUDONYM_KEY": KEY,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_during(home: Path, moment: float) -> bool:
    """Kill a run `moment` seconds after its lake has its first table; True when it was still running."""
    process = start(home)
    deadline = time.monotonic() + 120
    while process.poll() is None and not (home / "lake" / "bronze").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(moment)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return was_running


def check_after_kills(ran: Ran, home: Path, kills: int, seed: int) -> None:
    moments = random.Random(seed)
    killed = sum(kill_during(home, moments.uniform(0.0, 12.0)) for _ in range(kills))
    ended = start(home).wait(timeout=240)
    house = open_house(settings_at(home))

    assert ended == 0
    assert killed >= 1
    assert [finding for finding in house.lake.fsck() if finding.severity == "damage"] == []
    assert_same_tables(ran, Ran(house, []))


def test_a_run_killed_in_the_middle_is_finished_by_the_next(ran: Ran, tmp_path: Path) -> None:
    check_after_kills(ran, tmp_path, kills=2, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_run_killed_twenty_times_is_finished_by_the_next(ran: Ran, tmp_path: Path) -> None:
    check_after_kills(ran, tmp_path, kills=20, seed=2)
