"""What one account allows all clients together, and what no answer may do to us."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import httpx
import pytest

from etl.connect import Connection
from etl.connect.accounts import ACCOUNTS
from etl.connect.body import DEEPEST, is_too_deep
from etl.connect.http import HttpClient, Rhythm, open_client
from etl.connect.paging import Request
from etl.errors import SourceError
from etl.model import Auth, Limits

BASE = "https://api.example"


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 3, 12, tzinfo=UTC)
        self.rhythm = Rhythm(now=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.0)
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def good(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": 1}]})


def client(
    rhythm: Rhythm | None = None, *, where: str = "shop.things", account: str = "acme", base: str = BASE,
    answer: httpx.BaseTransport | None = None, **limits: float,
) -> AbstractContextManager[HttpClient]:  # fmt: skip
    return open_client(
        Connection(base, "secret", account, allow_private=True), auth=Auth(scheme="bearer"), limits=Limits(**limits),  # type: ignore[arg-type]
        dialect="standard", where=where, transport=answer, rhythm=rhythm,
    )  # fmt: skip


def ask(one: HttpClient, base: str = BASE) -> list[bytes]:
    return one.ask(Request("GET", f"{base}/things"), "data")[0]


# --- an account's limits ----------------------------------------------------------------------------------------------


def test_the_streams_of_an_account_keep_its_rhythm_together_one_after_the_other_and_side_by_side() -> None:
    clock, answers = Clock(), httpx.MockTransport(good)
    for stream in ("things", "others"):
        with client(clock.rhythm, where=f"shop.{stream}", answer=answers, requests=2, seconds=10.0) as one:
            ask(one)
    with (
        client(clock.rhythm, answer=answers, requests=2, seconds=10.0) as one,
        client(clock.rhythm, where="shop.more", answer=answers, requests=2, seconds=10.0) as other,
    ):
        ask(one)
        ask(other)
        ask(one)

    assert [10.0, 10.0] == clock.slept


def test_another_account_and_another_source_have_a_rhythm_of_their_own() -> None:
    clock, answers = Clock(), httpx.MockTransport(good)
    for where, account in (("shop.things", "acme"), ("shop.things", "umbrella"), ("crm.things", "acme")):
        with client(clock.rhythm, where=where, account=account, answer=answers, requests=1, seconds=10.0) as one:
            ask(one)

    assert [] == clock.slept


def test_any_stretch_of_time_holds_no_more_requests_than_allowed() -> None:
    clock, moments, chance = Clock(), [], Random(7)

    def answer(request: httpx.Request) -> httpx.Response:
        moments.append(clock.now)
        clock.now += timedelta(seconds=chance.choice([0.0, 0.1, 3.0]))
        return good(request)

    with client(clock.rhythm, answer=httpx.MockTransport(answer), requests=3, seconds=2.0) as one:
        for _ in range(60):
            ask(one)

    assert all((later - first).total_seconds() >= 2.0 for first, later in zip(moments, moments[3:], strict=False))


def test_no_more_than_allowed_are_asked_at_once_by_all_clients_of_an_account() -> None:
    lock, rhythm = threading.Lock(), Rhythm()
    here: list[int] = [0, 0]
    full = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        with lock:
            here[0] += 1
            here[1] = max(here)
            if here[0] == 2:
                full.set()
        full.wait(5.0)
        with lock:
            here[0] -= 1
        return good(request)

    def work(stream: int) -> None:
        with client(rhythm, where=f"shop.s{stream}", answer=httpx.MockTransport(answer), concurrency=2) as one:
            ask(one)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)

    assert [0, 2] == here


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: list[tuple[str, int]] = []  # noqa: RUF012 - the server makes the handlers, so they share it

    def do_GET(self) -> None:
        self.connections.append(self.client_address)
        body = b'{"data":[{"id":1}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Handler.connections.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        ACCOUNTS.close()


def test_the_streams_of_an_account_use_one_connection(server: str) -> None:
    for stream in ("things", "others", "more"):
        with client(where=f"shop.{stream}", base=server) as one:
            ask(one, server)

    assert 3 == len(_Handler.connections)
    assert 1 == len(set(_Handler.connections))


# --- what no answer may do --------------------------------------------------------------------------------------------


def told(body: bytes, **headers: str) -> list[bytes]:
    answer = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(body), headers=headers))
    with client(Clock().rhythm, answer=answer) as one:
        return ask(one)


def test_an_answer_that_unpacks_to_many_times_its_size_is_refused() -> None:
    bomb = gzip.compress(b'{"data":["' + b"0" * 5_000_000 + b'"]}')

    with pytest.raises(SourceError, match="unpacks to more than 200 times its size"):
        told(bomb, **{"content-encoding": "gzip"})


def test_a_small_answer_may_be_packed_as_well_as_it_can() -> None:
    tight = gzip.compress(b'{"data":["' + b"0" * 900_000 + b'"]}')

    assert 900_002 == len(told(tight, **{"content-encoding": "gzip"})[0])


def test_a_large_answer_that_is_packed_as_data_is_comes_whole() -> None:
    chance = Random(7)
    records = [{"id": n, "name": f"{chance.random()}"} for n in range(40_000)]
    body = gzip.compress(json.dumps({"data": records}).encode())

    assert 40_000 == len(told(body, **{"content-encoding": "gzip"}))


def nested(levels: int) -> bytes:
    """A body of so many levels."""
    return b'{"data":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize("levels", [DEEPEST + 1, 1_000, 1_000_000])
def test_an_answer_that_nests_too_deep_is_refused_and_asked_for_once(levels: int) -> None:
    asked: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, content=nested(levels))

    deep = pytest.raises(SourceError, match=r"shop\.things: .* nested more than 64 levels deep")
    with client(Clock().rhythm, answer=httpx.MockTransport(answer)) as one, deep:
        ask(one)
    assert 1 == len(asked)


def test_an_error_that_nests_too_deep_is_refused_too() -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(400, content=b'{"error":' * 5_000))
    with client(Clock().rhythm, answer=answer) as one, pytest.raises(SourceError, match="nested more than"):
        ask(one)


@pytest.mark.parametrize(
    "body",
    [
        nested(DEEPEST),
        b'{"data":["' + b"[{" * 500 + b'"]}',
        b'{"data":["\\\\", "' + b'\\"[' * 500 + b'"]}',
        b'{"data":["' + b"[" * 500 + b'","' + b'\\\\\\"]' * 500 + b'"]}',
        b'{"data":[' + b'{"a":[{}]},' * 500 + b"{}]}",
    ],
    ids=["just so deep", "in a string", "after escapes", "escaped escapes", "side by side"],
)
def test_what_is_not_too_deep_is_read(body: bytes) -> None:
    assert told(body)


def test_the_depth_is_the_one_a_parser_finds() -> None:
    chance = Random(11)

    def value(levels: int) -> object:
        if levels == 0:
            return chance.choice(["", '"', "\\", '\\"[[{', "]}", "a", 1, None, "ä[", '"{"'])
        inner = [value(levels - 1), *(value(chance.randrange(min(levels, 3))) for _ in range(chance.randrange(3)))]
        chance.shuffle(inner)
        return inner if chance.random() < 0.5 else {f'k"{n}[': one for n, one in enumerate(inner)}

    for levels in [*range(1, 90, 4), DEEPEST, DEEPEST + 1] * 3:
        told = value(levels)
        body = json.dumps(told if isinstance(told, dict | list) else [told]).encode()
        assert is_too_deep(body) == (levels > DEEPEST)


def test_what_is_not_json_has_no_depth() -> None:
    assert not is_too_deep(b"name,note\n" + b"a,[[[[{{\n" * 500)
    assert not is_too_deep(b"")
