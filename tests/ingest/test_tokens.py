"""Refresh tokens that are given out anew: kept between runs, whoever is killed, and shown to nobody."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from etl.connect import Connection, read_pages
from etl.errors import SettingsError, SourceRefused
from etl.model import Auth, Http, Kind, Limits, Pick, Source, Stream, Window
from etl.run.house import House, open_house
from etl.run.tokens import RefreshTokens
from etl.settings import SourceSettings, load_settings
from tests.conftest import ROOT

THINGS = Stream("things", Kind.EVENTS, Http("/things", "data"), id=("id",), at=Pick("at", "timestamp"))
SHOP = Source(
    "shop", "Shop", (THINGS,), auth=Auth(scheme="oauth2_refresh", token_url="/token"), limits=Limits(concurrency=8)
)
DAY = Window.parse("2026-01-02")

CHILD = """
import sys
from pathlib import Path
from tests.ingest.test_tokens import read_once
read_once(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
"""


class Provider(ThreadingHTTPServer):
    """Takes each refresh token once. `victim` is killed while it waits for its first record."""

    daemon_threads = True
    victim: subprocess.Popen[bytes] | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.good, self.given = "r-0000000", 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def renewed(self, token: str) -> tuple[int, dict[str, str]]:
        with self.lock:
            if token != self.good:
                return 400, {"error": "invalid_grant", "error_description": f"{token} was used before"}
            self.given += 1
            self.good = f"r-{self.given:07}"
            return 200, {"access_token": f"access-{self.given}", "refresh_token": self.good}


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self._say(*self.server.renewed(form["refresh_token"][0]))

    def do_GET(self) -> None:
        victim, self.server.victim = self.server.victim, None
        if victim:
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        self._say(200, {"data": [{"id": 1, "at": "2026-01-02T00:00:00Z"}]})

    def _say(self, status: int, body: object) -> None:
        told = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)
        except OSError:
            pass  # the one who asked is no more

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def secret_of(token: str) -> str:
    return json.dumps({"client_id": "client-1", "client_secret": "hush-hush", "refresh_token": token})


def read_once(url: str, path: Path, token: str = "r-0000000") -> int:
    """How many records a run brings whose configured refresh token is `token`."""
    connection = Connection(url, secret_of(token), allow_private=True, tokens=RefreshTokens(path))
    return sum(len(page.records) for page in read_pages(SHOP, THINGS, connection, DAY))


def test_the_next_run_goes_on_with_the_token_that_was_given_last(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "shop.json"

    assert [1, 1, 1] == [read_once(provider.url, path) for _ in range(3)]
    assert 3 == provider.given


def test_without_a_place_to_keep_it_the_next_run_is_refused(provider: Provider) -> None:
    """What every run of such a source came to before: the vendor is as strict as it should be."""
    connection = Connection(provider.url, secret_of("r-0000000"), allow_private=True)
    assert list(read_pages(SHOP, THINGS, connection, DAY))

    with pytest.raises(SourceRefused, match="was used before"):
        list(read_pages(SHOP, THINGS, connection, DAY))


def test_a_process_killed_between_the_token_and_its_use_loses_nothing(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "shop.json"
    command = [sys.executable, "-c", CHILD, provider.url, str(path), "r-0000000"]
    # Held until the provider knows whom to kill.
    with provider.lock:
        provider.victim = subprocess.Popen(
            command, cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
        )
        victim = provider.victim

    assert -signal.SIGKILL == victim.wait(timeout=120)
    assert 1 == provider.given
    assert 1 == read_once(provider.url, path)


def test_a_token_configured_anew_is_used_from_then_on(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    read_once(provider.url, path)
    provider.good = "r-of-a-person"

    assert [1, 1] == [read_once(provider.url, path, "r-of-a-person") for _ in range(2)]


def test_runs_at_the_same_time_do_not_spend_one_token_twice(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_once(provider.url, path), range(16)))

    assert [1] * 16 == found
    assert 16 == provider.given


def test_the_file_is_its_owners_and_tells_nothing_of_the_configured_token(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "refresh_tokens" / "shop.json"
    read_once(provider.url, path)

    assert (0o600, 0o700) == (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777)
    assert "r-0000000" not in path.read_text()
    assert [path.name, "shop.lock"] == sorted(each.name for each in path.parent.iterdir())


def test_two_files_of_one_token_do_not_show_that_it_is_one(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.json" for name in ("one", "other")]
    for path in paths:
        RefreshTokens(path).keep("same", "new")

    assert 2 == len({json.loads(path.read_text())["of"] for path in paths})


def test_neither_token_is_in_a_log_or_in_the_refusal(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "shop.json"
    read_once(provider.url, path)
    provider.good = "elsewhere"

    with pytest.raises(SourceRefused, match=r"\*\*\* was used before") as caught:
        read_once(provider.url, path)
    for token in ("r-0000000", "r-0000001"):
        assert token not in str(caught.value) + caplog.text + repr(RefreshTokens(path))


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"of": 1}', '{"of": "x", "salt": null, "refresh_token": "r"}'])
def test_a_file_that_tells_no_token_is_as_none(kept: str, tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text(kept)

    assert "configured" == RefreshTokens(tmp_path / "shop.json").newest("configured")


def test_a_state_folder_that_cannot_be_used_is_said_in_one_line(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where a folder should be")

    with pytest.raises(SettingsError, match="the refresh token of shop cannot be kept") as caught:
        read_once(provider.url, tmp_path / "keys" / "shop.json")
    assert 0 == provider.given
    assert str(tmp_path) not in str(caught.value)


def test_the_house_keeps_the_tokens_of_each_source_apart(tmp_path: Path) -> None:
    house: House = open_house(load_settings({"C360_HOME": str(tmp_path)}, cwd=tmp_path), {"shop": SourceSettings()})
    tokens = house.connection(SHOP).tokens

    assert RefreshTokens(tmp_path / "keys" / "refresh_tokens" / "shop.json") == tokens
