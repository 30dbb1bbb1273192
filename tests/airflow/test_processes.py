"""Background processes: detached, found by their mark, ended to the last child."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from etl.run import processes

# A parent that ignores SIGTERM, with a child in a session of its own: the worst case of a task runner.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return str(tmp_path / "mark")


def wait_for(log: Path, text: str) -> str:
    """What stands in `log` once `text` does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if log.exists() and text in (said := log.read_text()):
            return said
        time.sleep(0.05)
    raise AssertionError(f"{text!r} never came")


def launched(program: str, log: Path, mark: str) -> int:
    return processes.launch([sys.executable, "-c", program], log=log, environ=os.environ, mark=mark)


def test_a_launched_process_stands_in_a_session_of_its_own_and_writes_its_log(tmp_path: Path, mark: str) -> None:
    log = tmp_path / "logs" / "one.log"
    pid = launched("import os; print('session', os.getsid(0), os.getcwd(), flush=True)", log, mark)

    assert wait_for(log, "session").split() == ["session", str(pid), "/"]
    os.waitpid(pid, 0)


def test_a_process_that_ignores_sigterm_ends_with_all_its_children(tmp_path: Path, mark: str) -> None:
    log = tmp_path / "stubborn.log"
    pid = launched(STUBBORN, log, mark)
    child = int(wait_for(log, "child").split()[1])
    assert processes.is_alive(pid, mark)
    assert processes.is_alive(child, mark)

    assert processes.end([pid], mark, patience=1.0) == 2

    assert not processes.is_alive(pid, mark)
    assert not processes.is_alive(child, mark)
    os.waitpid(pid, 0)


def test_children_left_behind_by_a_parent_that_died_are_found_and_ended(tmp_path: Path, mark: str) -> None:
    log = tmp_path / "orphan.log"
    pid = launched(STUBBORN, log, mark)
    child = int(wait_for(log, "child").split()[1])
    os.kill(pid, 9)
    os.waitpid(pid, 0)

    processes.end([pid], mark, patience=0.5)

    assert not processes.is_alive(child, mark)


def test_a_process_of_somebody_else_is_never_ours(tmp_path: Path, mark: str) -> None:
    log = tmp_path / "other.log"
    pid = launched("import time; print('up', flush=True); time.sleep(600)", log, f"{mark}-other")
    wait_for(log, "up")
    try:
        assert not processes.is_alive(pid, mark)
        assert processes.end([pid], mark, patience=0.5) == 0
        assert processes.is_alive(pid, f"{mark}-other")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_process_is_alive_from_its_first_moment_on(tmp_path: Path, mark: str) -> None:
    """The shell that launches becomes the program: in between it shows no environment, and is alive all the same."""
    pids = [launched("import time; time.sleep(60)", tmp_path / f"{number}.log", mark) for number in range(15)]
    try:
        seen = [processes.is_alive(pid, mark) for _ in range(60) for pid in pids]
    finally:
        processes.end(pids, mark)

    assert all(seen)
