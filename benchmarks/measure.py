"""Runs a command and tells what it took: CPU-seconds, wall time and the most memory of its process and all below it.

CPU-seconds are the kernel's own account of the process and the children it waited for. Those it did not wait for (a
JVM that ends when its client has gone) become children of this process, which waits for them; what still runs after
some seconds is added as last seen. Memory is sampled: PSS counts a page shared by several processes once, RSS once in
each. What the kernel says of a child's greatest RSS is not used: it counts the parent's memory too, from before the
child's program.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

#: Seconds between two looks at the memory.
EVERY = 0.05
#: Seconds that processes have to end in, after the one that was started has.
LINGER = 10.0
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run took. `cpu` and `wall` in seconds, memory in bytes, `load` the machine's one-minute load before.

    `threads` is the most of them seen at once, `output` what it printed (errors apart).
    """

    cpu: float
    wall: float
    peak_rss: int
    peak_pss: int
    threads: int
    load: float
    exit_code: int
    output: str
    errors: str

    def figures(self) -> dict[str, Any]:
        """All but the texts, for a results file."""
        return {name: value for name, value in asdict(self).items() if name not in {"output", "errors"}}


def measured(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 1800.0,
) -> Measured:
    """Run `command` to its end, `env` added to this process's environment.

    Raises: TimeoutExpired after `timeout` seconds; then the command and all below it are ended.
    """
    _adopt_orphans()
    load = os.getloadavg()[0]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = _Watch(process.pid)
    watch.start()
    texts: dict[str, str] = {}
    pipes = {"output": process.stdout, "errors": process.stderr}
    readers = [threading.Thread(target=_read, args=(pipe, name, texts), daemon=True) for name, pipe in pipes.items()]
    for reader in readers:
        reader.start()
    exit_code = -9
    try:
        exit_code, usage = _waited(process.pid, began + timeout, command)
    finally:
        wall = time.perf_counter() - began
        watch.stop()
        for reader in readers:
            reader.join(timeout=10)
        process.returncode = exit_code  # it was waited for here, not by Popen
    return Measured(
        cpu=usage.ru_utime + usage.ru_stime + watch.cpu_left_behind(),
        wall=wall,
        peak_rss=watch.peak_rss,
        peak_pss=watch.peak_pss,
        threads=watch.threads,
        load=load,
        exit_code=exit_code,
        output=texts.get("output", ""),
        errors=texts.get("errors", ""),
    )


def _adopt_orphans() -> None:
    """From now on processes whose parent is gone are this process's children, where Linux can do that (prctl(2))."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _most_so_far(pid: int) -> int:
    """The greatest RSS of one process since its program began, where Linux tells it; so no peak of it is missed."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _read(pipe: IO[str], name: str, texts: dict[str, str]) -> None:
    with pipe:
        texts[name] = pipe.read()


def _waited(pid: int, deadline: float, command: Sequence[str]) -> tuple[int, Any]:
    """Exit code and resource usage of a child, looked for every 10 ms so that it can be given up."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        if time.perf_counter() > deadline:
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                for each in [*root.children(recursive=True), root]:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            os.waitpid(pid, 0)
            raise subprocess.TimeoutExpired(list(command), deadline)
        time.sleep(0.01)


class _Watch(threading.Thread):
    """Looks at a process and all below it, again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self._below: dict[int, psutil.Process] = {}
        self.peak_rss = self.peak_pss = self.threads = 0

    def run(self) -> None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._pid)
            while not self._ended.is_set():
                self._look(root)
                self._ended.wait(EVERY)

    def _look(self, root: psutil.Process) -> None:
        rss = pss = threads = 0
        self.peak_rss = max(self.peak_rss, _most_so_far(root.pid))
        self._below |= {each.pid: each for each in root.children(recursive=True)}
        for each in [root, *self._below.values()]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = each.memory_full_info()
                rss += memory.rss
                pss += getattr(memory, "pss", memory.rss)
                threads += each.num_threads()
        self.peak_rss, self.peak_pss = max(self.peak_rss, rss), max(self.peak_pss, pss)
        self.threads = max(self.threads, threads)

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)

    def cpu_left_behind(self) -> float:
        """CPU-seconds of those nobody waited for: of the ended all of them, of the others as last seen."""
        total, left, until = 0.0, dict(self._below), time.perf_counter() + LINGER
        while left and time.perf_counter() < until:
            for pid in list(left):
                took = _ended(pid)
                if took is not None:
                    total += took
                    del left[pid]
            time.sleep(0.01)
        for each in left.values():
            with suppress(psutil.NoSuchProcess):
                if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                    times = each.cpu_times()
                    total += times.user + times.system
        return total


def _ended(pid: int) -> float | None:
    """CPU-seconds of a child of this process that has ended; 0 where its own parent waited for it; None till then."""
    try:
        ended, _, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return None if psutil.pid_exists(pid) else 0.0
    return usage.ru_utime + usage.ru_stime if ended else None


def machine(*packages: str) -> dict[str, Any]:
    """The machine and the versions a result was measured with."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None
