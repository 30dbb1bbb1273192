"""Background processes: started detached, known by a mark in their environment, ended to the last one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships none

MARK = "C360_BACKGROUND_OF"


def launch(command: Sequence[str], *, log: Path, environ: Mapping[str, str], mark: str) -> int:
    """Start `command` in a session of its own with its output in `log`; it outlives us. Gives its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # setproctitle would write the title over the environment, where our mark stands.
    marked = {**environ, MARK: mark, "SPT_NOENV": "1", "PYTHONUNBUFFERED": "1"}
    # Not subprocess.Popen: its handle would warn, when collected, of a process that is meant to outlive it.
    return os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", 'cd / && exec "$@"', "sh", *command],
        marked,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def is_alive(pid: int, mark: str) -> bool:
    """True while process `pid` runs and is ours: pids are used again."""
    try:
        process = psutil.Process(pid)
        for _ in range(40):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            environ = process.environ()
            if environ:
                return bool(environ.get(MARK) == mark)
            time.sleep(0.05)  # between two programs (exec) a process shows no environment; ask again
    except psutil.Error:
        pass
    return False


def marked(mark: str) -> list[psutil.Process]:
    """Every living process that carries our mark, children of children included, except ourselves."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return found


def end(leaders: Sequence[int], mark: str, *, patience: float = 20.0) -> int:
    """End the `leaders` with SIGTERM, wait, then SIGKILL whatever of ours still runs. Gives how many were ended."""
    before = marked(mark)
    for pid in leaders:
        if is_alive(pid, mark):
            _signal(pid, signal.SIGTERM)
    _gone(mark, patience)
    for process in marked(mark):
        _signal(process.pid, signal.SIGKILL)
    _gone(mark, 5.0)
    return len(before)


def _gone(mark: str, patience: float) -> None:
    """Wait until nothing of ours runs, at most `patience` seconds; collect our own dead children on the way."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        living = [process for process in marked(mark) if _status(process) != psutil.STATUS_ZOMBIE]
        if not living:
            return
        time.sleep(0.2)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_ZOMBIE)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
