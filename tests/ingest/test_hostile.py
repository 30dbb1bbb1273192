"""Sessions with a source that misbehaves in every way we know, against a model that only knows what was served.

Each session is a small company's day or three: windows read in some order, some twice, while the source throttles in
every dialect, breaks off, answers errors in HTTP 200, repeats pages, runs in circles, moves records between pages,
forgets our token, restates its numbers; and our process is killed in the middle. Whatever happens, a window lands
whole or not at all, and in the end bronze holds what the last whole answer said, no record more and none less.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from etl.bronze.tables import VOLATILE, bronze_table
from etl.connect import Connection, Page
from etl.connect.http import Rhythm
from etl.connect.rest import read_http
from etl.errors import C360Error
from etl.lake import Lake, gathered
from etl.model import Auth, Http, Kind, Limits, Paging, Pick, Source, Stream, Window
from etl.run import ingest as ingesting
from etl.run.ingest import ingest

FIRST = date(2026, 1, 1)
DAYS = 3
SESSIONS = 500  # the first hundred in every run of the suite, the others among the slow proofs
PER_TEST = 50
PAGE = 3
NOW = datetime(2026, 2, 1, tzinfo=UTC)

PAGINGS = {
    "cursor": Paging(style="cursor", next_at="next", param="after", size_param="limit", size=PAGE),
    "next_url": Paging(style="next_url", next_at="next_url", size_param="limit", size=PAGE),
    "link": Paging(style="link", size_param="limit", size=PAGE),
    "offset": Paging(style="offset", param="offset", size_param="limit", size=PAGE),
    "page": Paging(style="page", param="page", size_param="limit", size=PAGE),
    "keyset": Paging(style="keyset", next_at="next", param="after", size_param="limit", size=PAGE, key="id", cap=7),
}
# Walked by the last id seen, so that a record that leaves the answer on the way takes no other one's place.
BY_KEY = ("cursor", "next_url", "link", "keyset")


class Killed(BaseException):
    """Our process ends here."""


def throttled(rng: random.Random, dialect: str) -> httpx.Response:
    """`come again later`, as the dialect says it."""
    now = NOW
    said: list[httpx.Response] = [
        httpx.Response(429, headers={"retry-after": "2"}),
        httpx.Response(
            429, headers={"retry-after": (now + timedelta(seconds=3)).strftime("%a, %d %b %Y %H:%M:%S GMT")}
        ),
        httpx.Response(
            429, headers={"x-rate-limit-reset": str(int(now.timestamp()) + 4), "x-rate-limit-remaining": "0"}
        ),
        httpx.Response(429, headers={"x-ratelimit-reset": (now + timedelta(seconds=5)).isoformat()}),
        httpx.Response(503, headers={"retry-after": "1"}),
    ]
    if dialect == "hubspot":
        said.append(httpx.Response(429, json={"status": "error", "policyName": "SECONDLY", "message": "slow"}))
        said.append(httpx.Response(200, json={"status": "error", "message": "Timeout"}))
    if dialect == "meta":
        said.append(httpx.Response(400, json={"error": {"code": 17, "message": "User request limit reached"}}))
        said.append(httpx.Response(403, json={"error": {"code": 4, "error_subcode": 2446079, "message": "too many"}}))
    if dialect == "shopify":
        said.append(httpx.Response(200, json={"errors": [{"message": "T", "extensions": {"code": "THROTTLED"}}]}))
        said.append(httpx.Response(430, text="slow"))
    if dialect == "klaviyo":
        said.append(httpx.Response(400, json={"errors": [{"code": "throttled", "status": 400, "detail": "slow"}]}))
    return rng.choice(said)


PASSING: dict[str, Callable[[random.Random, str, httpx.Response], httpx.Response]] = {
    "throttled": lambda rng, dialect, _: throttled(rng, dialect),
    "broken": lambda rng, _dialect, _good: httpx.Response(rng.choice([500, 502, 504])),
    "cut off": lambda rng, _dialect, good: httpx.Response(200, content=good.content[: rng.randrange(1, 12)]),
    "a login page": lambda _rng, _dialect, _good: httpx.Response(200, text="<html>Sign in</html>"),
    "lost": lambda _rng, _dialect, _good: (_ for _ in ()).throw(httpx.ReadError("gone")),
}
ENDING = ("token", "always broken", "page again", "circle", "killed")


@dataclass
class Vendor:
    """A source of things: `things` maps an id to (time, revision). Answers a window in pages, by one way of paging.

    `served` are the records of the walk under way; `trouble` is what the next requests meet, by their number.
    """

    style: str
    dialect: str
    rng: random.Random
    things: dict[int, tuple[datetime, int]] = field(default_factory=dict)
    served: list[dict[str, Any]] = field(default_factory=list)
    trouble: dict[int, str] = field(default_factory=dict)
    moves: bool = False
    asked: int = 0
    previous: httpx.Response | None = None

    def begin(self, trouble: dict[int, str]) -> None:
        """A walk begins that meets this trouble."""
        self.served, self.trouble, self.asked, self.previous = [], dict(trouble), 0, None

    def within(self, start: datetime, end: datetime) -> list[dict[str, Any]]:
        found = [(n, at, revision) for n, (at, revision) in sorted(self.things.items()) if start <= at < end]
        return [{"id": n, "at": at.isoformat(), "revision": revision} for n, at, revision in found]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        trouble = self.trouble.get(self.asked) or self.trouble.get(0)
        if trouble == "killed":
            raise Killed
        if trouble == "token":
            return httpx.Response(401, json={"message": "the token expired"})
        if trouble == "always broken":
            self.trouble[0] = trouble
            return httpx.Response(500)
        if trouble in ("page again", "circle") and self.previous is not None:
            return self.previous
        if trouble in PASSING:
            # The same request is tried again, and then answered.
            return PASSING[trouble](self.rng, self.dialect, httpx.Response(200, json={"data": [], "more": "text"}))
        return self._page(request)

    def _page(self, request: httpx.Request) -> httpx.Response:
        asked = dict(request.url.params)
        all_of_it = self.within(datetime.fromisoformat(asked["start"]), datetime.fromisoformat(asked["end"]))
        position = int(asked.get("after") or asked.get("offset") or 0)
        if self.style == "page":
            position = (int(asked.get("page", "1")) - 1) * PAGE
        if self.style in BY_KEY:
            left = [one for one in all_of_it if one["id"] > max(position, int(asked["above"]))]
        else:
            left = all_of_it[position:]
        page, more = left[:PAGE], len(left) > PAGE
        self.served += page
        body: dict[str, Any] = {"data": page}
        headers = {}
        if more and self.style in BY_KEY:
            following = request.url.copy_merge_params({"after": str(page[-1]["id"])})
            body |= {"next": str(page[-1]["id"]), "next_url": str(following)}
            headers = {"link": f'<{following}>; rel="next"'}
        if self.moves and more and self.rng.random() < 0.5:
            self._change_one()
        self.previous = httpx.Response(200, json=body, headers=headers)
        return httpx.Response(200, json=body, headers=headers)

    def _change_one(self) -> None:
        """Somebody changes a record while we read: from now on it is of a later time."""
        number = self.rng.choice(sorted(self.things))
        self.things[number] = (moment(self.rng, DAYS - 1), self.things[number][1] + 1)


def moment(rng: random.Random, day: int) -> datetime:
    """A time of that day; now and then its first instant."""
    start = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day)
    return start + timedelta(seconds=rng.choice([0, 0, 1, 3_600, 86_399, rng.randrange(86_400)]))


@dataclass
class Session:
    """One seeded story of a stream: the vendor, the lake, and the model of what the lake must hold."""

    seed: int
    folder: Path
    vendor: Vendor = field(init=False)
    kind: Kind = field(init=False)
    lake: Lake = field(init=False)
    model: dict[tuple[int, int], date] = field(default_factory=dict)
    runs: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.kind = self.rng.choice([Kind.EVENTS, Kind.REPORT, Kind.ENTITY])
        style = self.rng.choice(sorted(PAGINGS))
        self.vendor = Vendor(style, self.rng.choice(["standard", "hubspot", "meta", "shopify", "klaviyo"]), self.rng)
        for number in range(1, self.rng.randrange(2, 22)):
            self.vendor.things[number] = (moment(self.rng, self.rng.randrange(DAYS)), 1)
        self.lake = Lake(self.folder, fsync=False)
        request = Http(
            path="/things",
            records="data",
            params={"start": "{start_iso}", "end": "{end_iso}", "above": "{above}"},
            paging=PAGINGS[style],
        )
        self.stream = Stream(
            name="things",
            kind=self.kind,
            request=request,
            id=("id",),
            at=Pick("at", "timestamp"),
            cursor=Pick("at", "timestamp") if self.kind is Kind.ENTITY else None,
            restate_days=1 if self.kind is Kind.REPORT else 0,
        )
        self.source = Source(
            name="vendor",
            title="Vendor",
            streams=(self.stream,),
            auth=Auth(scheme="bearer"),
            errors=self.vendor.dialect,
            limits=Limits(requests=10_000),
        )

    def read(self, window: Window, trouble: dict[int, str]) -> bool:
        """The window once; True when it landed. The model follows what was served."""
        self.vendor.begin(trouble)
        self.runs += 1
        version = self.lake.version(self.table)
        try:
            ingest(
                self.lake, self.source, self.stream, Connection("https://api.example", "token"), window,
                run_id=f"run-{self.runs}", now=NOW,
            )  # fmt: skip
        except (C360Error, Killed):
            self.failures += 1
            assert self.lake.version(self.table) == version, "a window that failed must not be seen"
            return False
        self._learn(window)
        return True

    def _learn(self, window: Window) -> None:
        came = {(one["id"], one["revision"]): datetime.fromisoformat(one["at"]).date() for one in self.vendor.served}
        if self.kind is not Kind.ENTITY:
            replaced = window.reaching_back(self.stream.restate_days).days
            self.model = {known: day for known, day in self.model.items() if day not in replaced}
        self.model |= came

    @property
    def table(self) -> Any:
        return bronze_table(self.source, self.stream)

    def rows(self) -> pl.DataFrame:
        return self.lake.read(self.table).collect().drop(VOLATILE).sort("_id", "_hash", "_op", "day")

    def landed(self) -> dict[tuple[int, int], date]:
        """What bronze holds, as the model says it; a row twice is an error."""
        found: dict[tuple[int, int], date] = {}
        for payload, day in self.rows().select("_payload", "day").iter_rows():
            record = json.loads(payload)
            known = (record["id"], record["revision"])
            assert known not in found, f"{known} stands in bronze twice"
            found[known] = day
        return found


@pytest.fixture(autouse=True)
def through_the_vendor(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """What `ingest` reads is answered by the session at hand, without a net and without waiting."""
    at_hand: list[Session] = []

    def read(source: Source, stream: Stream, connection: Connection, window: Window) -> Iterator[Page]:
        assert isinstance(stream.request, Http)
        return read_http(
            source, stream, stream.request, connection, window,
            transport=httpx.MockTransport(at_hand[-1].vendor),
            rhythm=Rhythm(now=lambda: NOW, sleep=lambda _: None, jitter=lambda: 0.0),
        )  # fmt: skip

    monkeypatch.setattr(ingesting, "read_pages", read)
    return at_hand


def day(number: int) -> Window:
    return Window.of_day(FIRST + timedelta(days=number))


def some_trouble(rng: random.Random) -> dict[int, str]:
    """What a walk meets: nothing, things that pass, or something that ends it."""
    trouble = {}
    for request in range(1, 9):
        if rng.random() < 0.25:
            trouble[request] = rng.choice(sorted(PASSING))
    if rng.random() < 0.35:
        trouble[rng.randrange(1, 6)] = rng.choice(ENDING)
    return trouble


def play(session: Session) -> None:
    """Windows in some order, with trouble; what failed is run again until it lands; restatements in between."""
    rng = session.rng
    windows = [day(number) for number in range(DAYS)]
    if rng.random() < 0.3:
        windows = [Window.of_days(FIRST, FIRST + timedelta(days=DAYS - 1))]
    rng.shuffle(windows)
    if rng.random() < 0.3:
        windows.append(rng.choice(windows))
    session.vendor.moves = session.kind is Kind.ENTITY and session.vendor.style in BY_KEY
    for window in windows:
        if session.kind is Kind.REPORT and rng.random() < 0.5:
            for number, (at, revision) in session.vendor.things.items():
                if rng.random() < 0.3:
                    session.vendor.things[number] = (at, revision + 1)
        while not session.read(window, some_trouble(rng)):
            pass
        assert session.landed() == session.model
    # At rest, a last quiet look at every day: now bronze knows everything the vendor says.
    session.vendor.moves = False
    for number in range(DAYS):
        assert session.read(day(number), {})
    assert session.landed() == session.model
    told = {(number, revision) for number, (_, revision) in session.vendor.things.items()}
    assert told <= set(session.model)
    if session.kind is not Kind.ENTITY:
        assert told == set(session.model)


@pytest.mark.parametrize(
    "batch",
    [pytest.param(batch, marks=pytest.mark.long if batch > 1 else ()) for batch in range(SESSIONS // PER_TEST)],
)
def test_whatever_a_source_does_bronze_holds_what_it_said(
    batch: int, tmp_path: Path, through_the_vendor: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0
    for seed in range(batch * PER_TEST, (batch + 1) * PER_TEST):
        # Every other session with places for a few rows only: most of a window then stands on the disk, in many files.
        monkeypatch.setattr(gathered, "FULL", 1_200 if seed % 2 else 16 << 20)
        monkeypatch.setattr(ingesting, "BATCH_RECORDS", 4 if seed % 2 else 25_000)
        session = Session(seed, tmp_path / str(seed))
        through_the_vendor.append(session)
        try:
            play(session)
        except AssertionError as problem:
            raise AssertionError(f"session {seed}: {problem}") from problem
        failures += session.failures

    assert failures > PER_TEST // 10, "sessions in which nothing fails prove nothing"


@pytest.mark.parametrize("seed", range(1_000, 1_012))
def test_windows_in_any_order_give_the_same_rows(seed: int, tmp_path: Path, through_the_vendor: list[Session]) -> None:
    orders = [list(range(DAYS)), list(range(DAYS))]
    random.Random(seed).shuffle(orders[1])
    rows = []
    for at, order in enumerate(orders):
        session = Session(seed, tmp_path / str(at))
        through_the_vendor.append(session)
        for number in order:
            assert session.read(day(number), {})
        rows.append(session.rows())

    assert rows[0].equals(rows[1])
