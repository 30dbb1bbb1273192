"""Servers as processes of their own: a port nobody has, and waiting for what must come, with an end."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def free_port() -> int:
    return free_ports(1)[0]


def is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def until(
    is_so: Callable[[], bool],
    *,
    what: str,
    seconds: float = 60.0,
    process: subprocess.Popen[Any] | None = None,
    log: Path | None = None,
) -> None:
    """Returns when it is so. Fails when `process` ended before, or after `seconds`, with what `log` says."""
    end = time.monotonic() + seconds
    while not is_so():
        told = log.read_text() if log else ""
        assert process is None or process.poll() is None, f"it ended while we waited for {what}: {told}"
        assert time.monotonic() < end, f"waited {seconds} s for {what}: {told}"
        time.sleep(0.02)
