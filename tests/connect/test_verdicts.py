"""What an answer means in every dialect, windows that hold too much, and what is skipped on the way."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.connect import Connection, Page
from etl.connect.rest import halves, read_http, read_own
from etl.connect.verdicts import DIALECTS, Answer, Means, verdict_of
from etl.errors import SourceError, SourceRefused
from etl.model import Ask, Auth, Http, Kind, Limits, Line, Own, Paging, Pick, Source, Stream, Window

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
OK, RETRY, QUOTA, REAUTH = Means.OK, Means.RETRY, Means.QUOTA, Means.REAUTH
SPLIT, SKIP, FATAL = Means.SPLIT, Means.SKIP, Means.FATAL
HUBSPOT_FULL = {"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}


def meta(code: int, subcode: int = 0, message: str = "no", **more: object) -> dict[str, object]:
    return {"error": {"code": code, "error_subcode": subcode, "message": message, **more}}


THROTTLED_COST = {
    "errors": [{"extensions": {"code": "THROTTLED"}}],
    "extensions": {
        "cost": {"requestedQueryCost": 400, "throttleStatus": {"currentlyAvailable": 100, "restoreRate": 50.0}}
    },
}

# dialect, status, body (None: HTML), headers, verdict, wait
TABLE: list[tuple[str, int, object, dict[str, str], Means, float | None]] = [
    ("standard", 200, {"data": []}, {}, OK, None),
    ("standard", 200, {"rows": []}, {}, FATAL, None),
    ("standard", 200, None, {}, RETRY, None),
    ("standard", 400, {"message": "no"}, {}, FATAL, None),
    ("standard", 401, {"message": "no"}, {}, REAUTH, None),
    ("standard", 403, None, {}, FATAL, None),
    ("standard", 404, {"message": "no"}, {}, FATAL, None),
    ("standard", 408, None, {}, RETRY, None),
    ("standard", 410, {"message": "gone"}, {}, SKIP, None),
    ("standard", 429, None, {"retry-after": "5"}, QUOTA, 5.0),
    ("standard", 429, None, {}, QUOTA, None),
    ("standard", 500, None, {}, RETRY, None),
    ("standard", 503, None, {"retry-after": "5"}, RETRY, 5.0),
    ("hubspot", 429, {"policyName": "DAILY"}, {}, QUOTA, 3600.0),
    ("hubspot", 429, {"policyName": "SECONDLY"}, {}, QUOTA, 1.0),
    ("hubspot", 429, {"policyName": "TEN_SECONDLY_ROLLING"}, {}, QUOTA, 10.0),
    ("hubspot", 429, {"policyName": "SECONDLY"}, HUBSPOT_FULL, QUOTA, 10.0),
    ("hubspot", 477, {"message": "moving"}, {"retry-after": "60"}, QUOTA, 60.0),
    ("hubspot", 502, None, {}, RETRY, None),
    ("hubspot", 200, {"status": "error"}, {}, RETRY, None),
    ("hubspot", 401, {"message": "no"}, {}, REAUTH, None),
    ("hubspot", 400, {"message": "no"}, {}, FATAL, None),
    ("meta", 400, meta(17), {}, QUOTA, 60.0),
    ("meta", 400, meta(100, 2446079), {}, QUOTA, 60.0),
    ("meta", 403, meta(4), {"x-ad-account-usage": '{"reset_time_duration": 90}'}, QUOTA, 90.0),
    ("meta", 400, meta(80004), {}, QUOTA, 60.0),
    ("meta", 400, meta(190), {}, REAUTH, None),
    ("meta", 400, meta(100, 1487534), {}, SPLIT, None),
    ("meta", 500, meta(1, 0, "Please reduce the amount of data you're asking for"), {}, SPLIT, None),
    ("meta", 400, meta(100, 33), {}, SKIP, None),
    ("meta", 500, meta(1), {}, RETRY, None),
    ("meta", 500, meta(2), {}, RETRY, None),
    ("meta", 400, meta(999, is_transient=True), {}, RETRY, None),
    ("meta", 400, meta(100), {}, FATAL, None),
    ("meta", 502, None, {}, RETRY, None),
    ("shopify", 430, None, {}, QUOTA, 2.0),
    ("shopify", 429, None, {"retry-after": "3"}, QUOTA, 3.0),
    ("shopify", 402, {"errors": "frozen"}, {}, FATAL, None),
    ("shopify", 423, {"errors": "locked"}, {}, FATAL, None),
    ("shopify", 200, {"errors": [{"extensions": {"code": "THROTTLED"}}]}, {}, QUOTA, 2.0),
    ("shopify", 200, THROTTLED_COST, {}, QUOTA, 6.0),
    ("shopify", 401, {"errors": "no"}, {}, REAUTH, None),
    ("klaviyo", 400, {"errors": [{"code": "throttled"}]}, {"retry-after": "4"}, QUOTA, 4.0),
    ("klaviyo", 403, {"errors": [{"code": "authentication_failed"}]}, {}, REAUTH, None),
    ("klaviyo", 403, {"errors": [{"code": "permission_denied"}]}, {}, FATAL, None),
    ("mastodon", 429, {"error": "no"}, {"x-ratelimit-reset": "2026-01-03T12:05:00.000Z"}, QUOTA, 300.0),
    ("mastodon", 401, {"error": "no"}, {}, REAUTH, None),
    ("mailchimp", 401, {"title": "API Key Invalid", "detail": "no"}, {}, REAUTH, None),
    ("mailchimp", 403, {"title": "Forbidden", "detail": "no"}, {}, FATAL, None),
    ("mailchimp", 404, {"title": "Resource Not Found", "detail": "no"}, {}, SKIP, None),
    ("mailchimp", 404, None, {}, FATAL, None),
    ("mailchimp", 429, {"title": "Too Many Requests", "detail": "no"}, {}, QUOTA, None),
]


@pytest.mark.parametrize(
    ("dialect", "status", "body", "headers", "means", "wait"),
    TABLE,
    ids=[f"{dialect} {status} {json.dumps(body)[:60]}" for dialect, status, body, *_ in TABLE],
)
def test_an_answer_means_what_its_vendor_says(
    dialect: str, status: int, body: object, headers: dict[str, str], means: Means, wait: float | None
) -> None:
    text = b"<html>" if body is None else json.dumps(body).encode()
    has_records = isinstance(body, dict) and "data" in body
    verdict = verdict_of(Answer(status, headers, text, has_records), dialect, now=NOW)

    assert (means, wait) == (verdict.means, verdict.wait)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    status=st.integers(200, 599),
    body=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "errors", "code", "message", "extensions", "status", "cost"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_answer_upsets_a_dialect(dialect: str, status: int, body: bytes) -> None:
    verdict = verdict_of(Answer(status, {}, body, False), dialect, now=NOW)

    assert verdict.means is not OK
    assert len(verdict.why) <= 200


# --- windows that hold too much ---------------------------------------------------------------------------------------

TOO_MUCH = httpx.Response(400, json=meta(100, 1487534, "Please reduce the amount of data"))


class Store:
    """Records by their hour; answers at most `most` of them for one window, and counts what it was asked."""

    def __init__(self, moments: Sequence[datetime], most: int, *, page: int = 0, after: int = 0) -> None:
        self.records = [{"id": n, "at": moment.isoformat()} for n, moment in enumerate(moments)]
        self.most = most
        self.page, self.after = page, after
        self.asked: list[tuple[str, str]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        since, until = (params["since"], params["until"])
        at = int(params.get("after", "0"))
        self.asked.append((since[5:13], until[5:13]))
        hits = [r for r in self.records if since <= str(r["at"]).replace("+00:00", "Z") < until]
        if len(hits) > self.most and at >= self.after:
            return TOO_MUCH
        size = self.page or len(hits) or 1
        more = {"next": str(at + size)} if at + size < len(hits) else {}
        return httpx.Response(200, json={"data": hits[at : at + size], **more})


def read(store: Store, window: Window, kind: Kind = Kind.EVENTS, **changes: object) -> list[int]:
    asked = {"since": "{start_iso}", "until": "{end_iso}"}
    paging = Paging(style="cursor", next_at="next", param="after")
    request = Http(**{"path": "/things", "records": "data", "params": asked, "paging": paging, **changes})  # type: ignore[arg-type]
    stream = Stream(name="things", kind=kind, request=request, id=("id",), at=Pick("at", "timestamp"))
    pages = read_http(
        source_of(stream), stream, request, Connection("https://api.example", "secret"), window,
        transport=httpx.MockTransport(store.answer),
    )  # fmt: skip
    numbered = list(pages)
    assert [page.number for page in numbered] == list(range(1, len(numbered) + 1))
    return [json.loads(record)["id"] for page in numbered for record in page.records]


def source_of(stream: Stream) -> Source:
    auth, limits = Auth(scheme="bearer"), Limits(requests=10_000)
    return Source(name="shop", title="Shop", streams=(stream,), auth=auth, limits=limits, errors="meta")


DAY = Window.parse("2026-01-02")
HOURS = [DAY.start + timedelta(hours=hour) for hour in range(24)]


def test_a_window_that_holds_too_much_is_read_in_halves() -> None:
    store = Store(HOURS, most=12)

    assert list(range(24)) == read(store, DAY)
    assert [("01-02T00", "01-03T00"), ("01-02T00", "01-02T12"), ("01-02T12", "01-03T00")] == store.asked


def test_halves_are_halved_down_to_an_hour() -> None:
    assert list(range(24)) == read(Store(HOURS, most=1), DAY)


def test_an_hour_that_holds_too_much_is_the_end_in_the_vendors_words() -> None:
    store = Store([HOURS[3]] * 2, most=1)

    with pytest.raises(SourceError, match=r"shop\.things: .* too much data .* Please reduce the amount of data"):
        read(store, DAY)
    assert ("01-02T03", "01-02T04") == store.asked[-1]


def test_a_report_is_halved_at_midnights_and_no_further_than_a_day() -> None:
    days = Window.parse("2026-01-01--2026-01-03")
    moments = [days.start + timedelta(hours=hour) for hour in range(72)]
    store = Store(moments, most=24)

    assert list(range(72)) == read(store, days, Kind.REPORT)
    assert ("01-02T00", "01-03T00") in store.asked
    with pytest.raises(SourceError, match="too much data"):
        read(Store(moments, most=23), days, Kind.REPORT)


def test_what_came_before_the_source_said_too_much_comes_once() -> None:
    store = Store([*HOURS, HOURS[0], HOURS[20]], most=13, page=5, after=10)

    assert sorted(read(store, DAY)) == list(range(26))


def test_true_repeats_within_an_answer_stay() -> None:
    store = Store([*HOURS, HOURS[2]], most=13, page=5, after=5)
    store.records[24] = store.records[2]

    assert sorted([*range(24), 2]) == sorted(read(store, DAY))


def test_halves_that_overlap_bring_a_record_once() -> None:
    """An API that filters by whole days answers both halves of days with the day between them."""
    days = Window.parse("2026-01-01--2026-01-02")
    store = Store([days.start + timedelta(hours=hour) for hour in range(48)], most=36)
    plain = store.answer

    def generous(request: httpx.Request) -> httpx.Response:
        until = request.url.params["until"].replace("01-02T00", "01-02T12")
        return plain(httpx.Request("GET", request.url.copy_set_param("until", until)))

    store.answer = generous  # type: ignore[method-assign]

    assert sorted(read(store, days, trims=True)) == list(range(48))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Kind.SNAPSHOT, {}),
        (Kind.EVENTS, {"params": {"since": "2026-01-01", "until": "2026-02-01"}}),
        (Kind.EVENTS, {"params": {"since": "2026-01-01", "until": "{end_iso}"}}),
        (Kind.EVENTS, {"newest_first": True}),
    ],
    ids=["snapshot", "no window asked", "only one end asked", "newest first"],
)
def test_where_halving_would_bring_the_same_again_too_much_is_the_end(kind: Kind, changes: dict[str, object]) -> None:
    store = Store(HOURS, most=1)

    with pytest.raises(SourceError, match="too much data"):
        read(store, DAY, kind, **changes)
    assert 1 == len(store.asked)


@given(hours=st.integers(1, 24 * 40), start=st.integers(0, 24 * 7), kind=st.sampled_from(Kind))
@settings(deadline=None, derandomize=True)
def test_halves_meet_and_are_never_too_short(hours: int, start: int, kind: Kind) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * start)
    window = Window(begin, begin + timedelta(minutes=30 * hours))
    found = halves(window, kind)
    least = timedelta(days=1) if kind is Kind.REPORT else timedelta(hours=1)

    if found is None:
        assert kind is Kind.SNAPSHOT or window.end - window.start < 2 * least + timedelta(days=1)
    else:
        first, second = found
        assert (window.start, first.end, second.end) == (first.start, second.start, window.end)
        assert min(half.end - half.start for half in found) >= least


@given(
    hours=st.lists(st.integers(0, 71), max_size=60),
    most=st.integers(1, 60),
    page=st.integers(1, 7),
    after=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_window_in_halves_is_the_whole_or_an_error(hours: list[int], most: int, page: int, after: int) -> None:
    window = Window.parse("2026-01-01--2026-01-03")
    store = Store([window.start + timedelta(hours=hour) for hour in hours], most, page=page, after=after)
    fullest = max((hours.count(hour) for hour in hours), default=0)
    if fullest <= most:
        assert sorted(read(store, window)) == list(range(len(hours)))
        return
    with contextlib.suppress(SourceError):
        assert sorted(read(store, window)) == list(range(len(hours)))


# --- skipped ----------------------------------------------------------------------------------------------------------


def insights(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    """Posts, and each post's numbers."""
    for post in line.ask(Ask("/posts", records="data")).records:
        told = line.ask(Ask(f"/posts/{json.loads(post)['id']}/insights", records="data"))
        if not told.skipped:
            yield told.records


def only_jobs(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    for job in range(3):
        yield line.ask(Ask(f"/gone/{job}", records="data")).records


def posts(request: httpx.Request) -> httpx.Response:
    """Posts 2, 3 and 5 are gone, each in another way."""
    if request.url.path == "/posts":
        return httpx.Response(200, json={"data": [{"id": n} for n in range(1, 6)]})
    if request.url.path.startswith(("/posts/2/", "/posts/5/")):
        return httpx.Response(400, json=meta(100, 33, "Object with ID '2' does not exist"))
    if request.url.path.startswith(("/posts/3/", "/gone")):
        return httpx.Response(410, json={"message": "deleted"})
    return httpx.Response(200, json={"data": [{"post": request.url.path}]})


def own(reader: Own) -> list[Page]:
    stream = Stream(name="things", kind=Kind.SNAPSHOT, request=reader, id=("post",))
    connection = Connection("https://api.example", "secret")
    return list(read_own(source_of(stream), stream, reader, connection, DAY, transport=httpx.MockTransport(posts)))


def test_what_is_gone_is_skipped_and_counted_and_the_walk_goes_on() -> None:
    pages = own(Own(insights))

    assert [b'{"post":"/posts/1/insights"}', b'{"post":"/posts/4/insights"}'] == [r for p in pages for r in p.records]
    assert [0, 2, 1] == [page.skipped for page in pages]


def test_when_all_there_was_to_ask_for_is_gone_it_is_no_empty_answer() -> None:
    with pytest.raises(SourceRefused, match=r"api\.example has no /gone/2 for us \(HTTP 410: deleted\)"):
        own(Own(only_jobs))


def test_a_declared_request_that_is_gone_is_refused() -> None:
    stream = Stream(name="things", kind=Kind.SNAPSHOT, request=Http("/gone", "data"), id=("id",))
    assert isinstance(stream.request, Http)

    with pytest.raises(SourceRefused, match="HTTP 410: deleted"):
        list(read_http(
            source_of(stream), stream, stream.request, Connection("https://api.example", "secret"), DAY,
            transport=httpx.MockTransport(posts),
        ))  # fmt: skip


def test_a_protocol_of_its_own_is_asked_in_halves_too() -> None:
    store = Store(HOURS, most=6)

    def reader(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
        since, until = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (window.start, window.end))
        yield line.ask(Ask("/things", records="data", params={"since": since, "until": until})).records

    stream = Stream(name="things", kind=Kind.EVENTS, request=Own(reader), id=("id",), at=Pick("at", "timestamp"))
    pages = read_own(
        source_of(stream), stream, Own(reader), Connection("https://api.example", "secret"), DAY,
        transport=httpx.MockTransport(store.answer),
    )  # fmt: skip

    assert list(range(24)) == [json.loads(record)["id"] for page in pages for record in page.records]
