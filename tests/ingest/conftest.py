"""A lake in a folder of its own, a source of files, and a small API that a test can make misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from etl.bronze.tables import VOLATILE, bronze_table
from etl.connect import Connection
from etl.lake import Lake
from etl.model import Auth, Files, Http, Kind, Paging, Pick, Source, Stream, Window
from etl.run.ingest import ingest
from etl.run.report import Report

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@dataclass
class Landing:
    """One stream, how it is reached and the lake it lands in; runs are numbered."""

    lake: Lake
    source: Source
    base_url: str
    runs: int = 0

    @property
    def stream(self) -> Stream:
        return self.source.streams[0]

    def run(self, window: Window | str, **options: Any) -> Report:
        self.runs += 1
        window = Window.parse(window) if isinstance(window, str) else window
        connection = Connection(self.base_url, "token", allow_private=True)
        return ingest(
            self.lake, self.source, self.stream, connection, window, run_id=f"run-{self.runs}", now=NOW, **options
        )

    def rows(self) -> pl.DataFrame:
        """What readers see, without what differs from run to run, in one order."""
        table = bronze_table(self.source, self.stream)
        return self.lake.read(table).collect().drop(VOLATILE).sort("_id", "_hash", "_op", "day")

    def ids(self) -> list[str]:
        return self.rows()["_id"].to_list()

    def version(self) -> int | None:
        return self.lake.version(bronze_table(self.source, self.stream))


def stream_of(kind: Kind, request: Files | Http, **changes: Any) -> Stream:
    known: dict[str, Any] = {"id": ("id",), "at": Pick("at", "timestamp"), **changes}
    return Stream(name="things", kind=kind, request=request, **known)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", fsync=False)


@dataclass
class Folder:
    """Files of a source, written as a test wants them."""

    path: Path

    def lines(self, name: str, *records: dict[str, Any] | str) -> None:
        self.path.mkdir(exist_ok=True)
        texts = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (self.path / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "files")


@pytest.fixture
def from_files(lake: Lake, folder: Folder) -> Callable[..., Landing]:
    """A stream of JSON lines: one file a day (`things_20260102.jsonl`), or one for all."""

    def landing(kind: Kind = Kind.EVENTS, *, pattern: str = "things_{yyyymmdd}.jsonl", **changes: Any) -> Landing:
        source = Source(name="files", title="Files", streams=(stream_of(kind, Files(pattern), **changes),))
        return Landing(lake, source, str(folder.path))

    return landing


@dataclass
class Api:
    """Answers GET /things?after=n from `pages`; `trouble` maps a page's number to (status, body)."""

    url: str = ""
    pages: list[list[Any]] = field(default_factory=list)
    trouble: dict[int, tuple[int, str]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def answer(self, number: int) -> tuple[int, str]:
        self.asked.append(number)
        if number in self.trouble:
            return self.trouble[number]
        more = {"next": str(number + 1)} if number + 1 < len(self.pages) else {}
        return 200, json.dumps({"data": self.pages[number] if self.pages else [], **more})


@pytest.fixture
def api() -> Iterator[Api]:
    answering = Api()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answering.answer(int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    answering.url = f"http://127.0.0.1:{server.server_port}"
    yield answering
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def from_api(lake: Lake, api: Api) -> Callable[..., Landing]:
    """A stream of the API."""

    def landing(kind: Kind = Kind.EVENTS, *, request: dict[str, Any] | None = None, **changes: Any) -> Landing:
        paging = Paging(style="cursor", next_at="next", param="after")
        http = Http(path="/things", records="data", paging=paging, **(request or {}))
        source = Source(name="api", title="API", auth=Auth("bearer"), streams=(stream_of(kind, http, **changes),))
        return Landing(lake, source, api.url)

    return landing
