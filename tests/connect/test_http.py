"""The HTTP client against every way an API says no, later, or half of it. Answers come from a function, not a net."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from etl.connect import Connection, Page
from etl.connect.http import TRIES, Rhythm
from etl.connect.rest import read_http, read_own
from etl.errors import QuotaExhausted, SourceError, SourceRefused, SourceUnreachable
from etl.model import Ask, Auth, Http, Kind, Limits, Line, Own, Paging, Pick, Source, Stream, Window
from etl.sources.hubspot import CONTACTS
from etl.sources.hubspot import SOURCE as HUBSPOT

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
DAY = Window.parse("2026-01-02")
SECRET = "very-secret-token"
Answer = Callable[[httpx.Request], httpx.Response]


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm(now=lambda: self.now, sleep=self.sleep, jitter=lambda: 0.0)


def things(**changes: object) -> Stream:
    request = Http(path="/things", records="data", **changes)  # type: ignore[arg-type]
    return Stream(name="things", kind=Kind.EVENTS, request=request, id=("id",), at=Pick("at", "timestamp"))


def source_of(stream: Stream, errors: str = "standard", **limits: object) -> Source:
    return Source(
        name="shop",
        title="Shop",
        streams=(stream,),
        auth=Auth(scheme="bearer"),
        errors=errors,
        limits=Limits(**limits),  # type: ignore[arg-type]
    )


def read(answer: Answer, stream: Stream | None = None, clock: Clock | None = None, **source: object) -> list[Page]:
    return list(reading(answer, stream, clock, **source))


def reading(
    answer: Answer, stream: Stream | None = None, clock: Clock | None = None, errors: str = "standard", **limits: object
) -> Iterator[Page]:
    stream = stream or things()
    assert isinstance(stream.request, Http)
    return read_http(
        source_of(stream, errors, **limits),
        stream,
        stream.request,
        Connection("https://api.example", SECRET, "acme"),
        DAY,
        transport=httpx.MockTransport(answer),
        rhythm=(clock or Clock()).rhythm,
    )


def after(*failures: httpx.Response, then: str = '{"data":[{"id":1}]}') -> Answer:
    """The failures one by one, then a good answer."""
    left = list(failures)

    def answer(_request: httpx.Request) -> httpx.Response:
        return left.pop(0) if left else httpx.Response(200, text=then)

    return answer


# --- payloads ---------------------------------------------------------------------------------------------------------


def test_records_are_handed_on_to_the_byte() -> None:
    body = b'{"meta": {}, "data": [ {"id": 1,  "price": 1.10, "n\\u00e4me": null} ,{"b":[1 ,2]}]}'
    pages = read(lambda _: httpx.Response(200, content=body))

    assert [b'{"id": 1,  "price": 1.10, "n\\u00e4me": null}', b'{"b":[1 ,2]}'] == list(pages[0].records)


def test_the_window_the_account_and_the_secret_reach_the_request() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text='{"data":[]}')

    asked = {"since": "{start_iso}", "until_ms": "{end_ms}", "range": '{"a":"{first_date}"}', "who": "{account}"}
    read(answer, things(params=asked))

    assert {
        "since": "2026-01-02T00:00:00Z",
        "until_ms": "1767398400000",
        "range": '{"a":"2026-01-02"}',
        "who": "acme",
    } == dict(seen[0].url.params)
    assert f"Bearer {SECRET}" == seen[0].headers["authorization"]


# --- trouble that passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "errors", "waits"),
    [
        pytest.param(httpx.Response(429, headers={"retry-after": "7"}), "standard", 7.0, id="429 seconds"),
        pytest.param(
            httpx.Response(429, headers={"retry-after": "Sat, 03 Jan 2026 12:00:09 GMT"}),
            "standard",
            9.0,
            id="429 date",
        ),
        pytest.param(
            httpx.Response(429, headers={"x-ratelimit-reset": "2026-01-03T12:00:30.000Z"}), "mastodon", 30.0, id="ISO"
        ),
        pytest.param(
            httpx.Response(429, json={"policyName": "TEN_SECONDLY_ROLLING", "message": "slow"}),
            "hubspot",
            10.0,
            id="ten",
        ),
        pytest.param(
            httpx.Response(429, json={"policyName": "SECONDLY"}), "hubspot", 1.0, id="search limit, no header"
        ),
        pytest.param(httpx.Response(430, headers={"retry-after": "2.0"}), "shopify", 2.0, id="shopify 430"),
        pytest.param(
            httpx.Response(200, json={"errors": [{"extensions": {"code": "THROTTLED"}}]}),
            "shopify",
            2.0,
            id="throttled",
        ),
        pytest.param(
            httpx.Response(
                400,
                json={"error": {"code": 17, "message": "User request limit reached"}},
                headers={"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":2}]}'},
            ),
            "meta",
            120.0,
            id="quota in a 400, in minutes",
        ),
        pytest.param(httpx.Response(500), "standard", 0.25, id="500"),
        pytest.param(httpx.Response(502), "hubspot", 0.25, id="502 is throttling"),
        pytest.param(httpx.Response(200, text='{"data":[{"id":1},{"i'), "standard", 0.25, id="cut off"),
        pytest.param(
            httpx.Response(200, json={"status": "error", "message": "try later"}), "hubspot", 0.25, id="error in a 200"
        ),
    ],
)
def test_trouble_that_passes_is_waited_for_as_long_as_the_source_says(
    trouble: httpx.Response, errors: str, waits: float
) -> None:
    clock = Clock()
    pages = read(after(trouble), clock=clock, errors=errors)

    assert [b'{"id":1}'] == list(pages[0].records)
    assert [waits] == [pytest.approx(seconds) for seconds in clock.slept]


def test_a_long_quota_is_no_wait_but_a_time_to_come_again() -> None:
    with pytest.raises(QuotaExhausted, match=r"shop\.things: the quota of api\.example is spent until") as caught:
        read(after(httpx.Response(429, headers={"retry-after": "900"})))

    assert NOW + timedelta(seconds=900) == caught.value.until


def test_a_quota_that_stays_spent_is_a_time_to_come_again_too() -> None:
    with pytest.raises(QuotaExhausted) as caught:
        read(lambda _: httpx.Response(429, headers={"retry-after": "20"}))

    assert NOW + timedelta(seconds=TRIES * 20) == caught.value.until


def test_tries_are_bounded_and_the_last_word_is_the_sources_own() -> None:
    asked: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(503, json={"message": "we are moving house"})

    with pytest.raises(SourceError, match=r"HTTP 503: we are moving house"):
        read(answer)
    assert TRIES == len(asked)


def test_a_source_that_is_not_there_is_unreachable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused", request=request)

    with pytest.raises(SourceUnreachable, match=r"no good answer from api\.example in 6 tries .*refused"):
        read(answer)


# --- no ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "errors", "kind"),
    [
        (httpx.Response(401, json={"message": "bad token"}), "standard", SourceRefused),
        (httpx.Response(400, json={"error": {"code": 190, "message": "expired"}}), "meta", SourceRefused),
        (httpx.Response(403, json={"errors": [{"detail": "missing scope"}]}), "klaviyo", SourceRefused),
        (httpx.Response(400, json={"message": "no such property"}), "hubspot", SourceError),
        (httpx.Response(200, json={"errors": "Not what you asked"}), "shopify", SourceError),
        (httpx.Response(200, json={"rows": []}), "standard", SourceError),
        (
            httpx.Response(400, json={"error": {"code": 100, "error_subcode": 1487534, "message": "too much"}}),
            "meta",
            SourceError,
        ),
    ],
)
def test_a_no_is_final_and_said_once(refusal: httpx.Response, errors: str, kind: type[Exception]) -> None:
    asked: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return refusal

    with pytest.raises(kind):
        read(answer, errors=errors)
    assert 1 == len(asked)


def test_neither_secret_nor_address_nor_e_mail_is_in_a_message() -> None:
    said = f"token {SECRET} of ada@example.org is bad, see https://x.example/?access_token=abc&a=1"

    with pytest.raises(SourceRefused) as caught:
        read(lambda _: httpx.Response(401, json={"message": said}))
    message = str(caught.value)

    assert not [word for word in (SECRET, "ada@example.org", "abc&") if word in message]
    assert "\n" not in message


def test_without_a_secret_nothing_is_asked() -> None:
    stream = things()
    assert isinstance(stream.request, Http)

    with pytest.raises(SourceRefused, match="C360_SECRET_"):
        list(read_http(source_of(stream), stream, stream.request, Connection("https://api.example"), DAY))


def test_a_redirect_to_another_host_does_not_get_the_secret() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert "api.example" == request.url.host
        return httpx.Response(302, headers={"location": "https://elsewhere.example/things"})

    with pytest.raises(SourceRefused, match=r"sends us on to elsewhere\.example"):
        read(answer)


def test_a_next_link_to_another_host_does_not_get_the_secret() -> None:
    stream = things(paging=Paging(style="next_url", next_at="links.next"))

    with pytest.raises(SourceRefused, match=r"sends us on to evil\.example"):
        read(
            lambda _: httpx.Response(200, json={"data": [{"id": 1}], "links": {"next": "https://evil.example/"}}),
            stream,
        )


def test_a_redirect_within_the_host_is_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/things":
            return httpx.Response(301, headers={"location": "/v2/things"})
        return httpx.Response(200, text='{"data":[{"id":1}]}')

    assert [b'{"id":1}'] == list(read(answer)[0].records)


def test_redirects_in_circles_end() -> None:
    with pytest.raises(SourceError, match="redirects in circles"):
        read(lambda _: httpx.Response(302, headers={"location": "/things"}))


def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut_short() -> None:
    bomb = gzip.compress(b'{"data":["' + b"0" * 5_000_000 + b'"]}')

    with pytest.raises(SourceError, match="larger than 1000000 bytes unpacked"):
        read(lambda _: httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"}), max_bytes=1_000_000)


def test_requests_keep_to_the_limit() -> None:
    clock = Clock()
    stream = things(paging=Paging(style="page", param="page", size_param="size", size=1))
    pages = read(
        lambda request: (
            httpx.Response(
                200,
                json={
                    "data": [{"id": request.url.params["page"]}] if int(request.url.params.get("page", 1)) < 8 else []
                },
            )
            if "page" in request.url.params
            else httpx.Response(200, json={"data": [{"id": "1"}]})
        ),
        stream,
        clock,
        requests=2,
        seconds=1.0,
    )

    assert 8 == len(pages)
    assert 3.0 <= (clock.now - NOW).total_seconds()


# --- pages ------------------------------------------------------------------------------------------------------------


def pages_of(paging: Paging, answer: Answer) -> list[list[int]]:
    return [[json.loads(r)["id"] for r in page.records] for page in read(answer, things(paging=paging))]


def test_cursors_are_followed_to_the_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("after", "0"))
        rest = {"next": {"after": str(at + 1)}} if at < 2 else {}
        return httpx.Response(200, json={"data": [{"id": at}], "paging": rest})

    assert [[0], [1], [2]] == pages_of(Paging(style="cursor", next_at="paging.next.after", param="after"), answer)


def test_links_are_followed_by_their_relation() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("max_id", "0"))
        things = "https://api.example/things"
        link = f'<{things}?min_id=9>; rel="prev", <{things}?max_id={at + 1}>; rel="next"'
        return httpx.Response(200, json={"data": [{"id": at}]}, headers={"link": link} if at < 2 else {})

    assert [[0], [1], [2]] == pages_of(Paging(style="link"), answer)


def test_offsets_count_what_was_walked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("offset", "0"))
        return httpx.Response(200, json={"data": [{"id": n} for n in range(5)][at : at + 2]})

    paging = Paging(style="offset", param="offset", size_param="limit", size=2)

    assert [[0, 1], [2, 3], [4], []] == pages_of(paging, answer)
    assert [[0, 1], [2, 3], [4]] == pages_of(replace(paging, is_short_last=True), answer)


@pytest.mark.parametrize(
    ("paging", "body", "headers"),
    [
        (Paging(style="cursor", next_at="next", param="after"), {"next": "same"}, {}),
        (Paging(style="next_url", next_at="next"), {"next": "/things?page=2"}, {}),
        (Paging(style="link"), {}, {"link": "</things?page=2>; rel=next"}),
    ],
    ids=["cursor", "next_url", "link"],
)
def test_a_walk_in_a_circle_is_an_error_and_never_silence(
    paging: Paging, body: dict[str, str], headers: dict[str, str]
) -> None:
    count = iter(range(100))

    with pytest.raises(SourceError, match="came twice"):
        pages_of(paging, lambda _: httpx.Response(200, json={"data": [{"id": next(count)}], **body}, headers=headers))


def test_a_page_that_repeats_is_an_error() -> None:
    count = iter(range(100))
    paging = Paging(style="cursor", next_at="next", param="after")

    with pytest.raises(SourceError, match="the same page came twice"):
        pages_of(paging, lambda _: httpx.Response(200, json={"data": [{"id": 1}], "next": str(next(count))}))


def test_search_goes_past_its_ten_thousand_results_by_key() -> None:
    """HubSpot's search answers 400 past 10,000 results; 10,001 contacts share one modified date."""
    contacts = [{"id": str(100 + n), "updatedAt": "2026-01-02T10:00:00Z"} for n in range(10_001)]
    assert isinstance(CONTACTS.request, Http)

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        above = int(next(f["value"] for f in asked["filterGroups"][0]["filters"] if f["operator"] == "GT"))
        at, size = int(asked["after"]), asked["limit"]
        if at + size > 10_000:
            return httpx.Response(400, json={"message": "ask for less than 10000"})
        hits = [c for c in contacts if int(c["id"]) > above]
        more = {"paging": {"next": {"after": str(at + size)}}} if at + size < len(hits) else {}
        return httpx.Response(200, json={"total": len(hits), "results": hits[at : at + size], **more})

    pages = read_http(
        HUBSPOT,
        CONTACTS,
        CONTACTS.request,
        Connection("https://api.example", SECRET),
        DAY,
        transport=httpx.MockTransport(answer),
        rhythm=Clock().rhythm,
    )

    assert [c["id"] for c in contacts] == [json.loads(record)["id"] for page in pages for record in page.records]


# --- protocols of their own -------------------------------------------------------------------------------------------


def exported(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """A job that is started, looked at until it is done, and fetched."""
    started = json.loads(line.ask(Ask("/jobs", method="POST", form={"day": str(window.days[0])})).body)
    while json.loads(line.ask(Ask(f"/jobs/{started['job']}")).body)["state"] != "done":
        line.wait(5.0)
    yield line.ask(Ask(f"/jobs/{started['job']}/rows", records="rows", headers={"X-Account": line.account})).records


def test_a_protocol_of_its_own_asks_through_the_same_client() -> None:
    clock = Clock()
    asked: list[httpx.Request] = []
    answers = iter(
        [
            httpx.Response(201, json={"job": 7}),
            httpx.Response(429, headers={"retry-after": "3"}),
            httpx.Response(200, json={"state": "running"}),
            httpx.Response(200, json={"state": "done"}),
            httpx.Response(200, json={"rows": [{"id": 1}]}),
        ]
    )

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        asked.append(request)
        return next(answers)

    stream = Stream(name="things", kind=Kind.EVENTS, request=Own(exported), id=("id",), at=Pick("at", "timestamp"))
    pages = read_own(
        source_of(stream), stream, Own(exported), Connection("https://api.example/v1", SECRET, "acme"), DAY,
        transport=httpx.MockTransport(answer), rhythm=clock.rhythm,
    )  # fmt: skip

    assert [list(page.records) for page in pages] == [[b'{"id":1}']]
    assert [request.url.path for request in asked] == ["/v1/jobs", *["/v1/jobs/7"] * 3, "/v1/jobs/7/rows"]
    assert asked[0].content == b"day=2026-01-02"
    assert asked[-1].headers["x-account"] == "acme"
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {SECRET}"}
    assert clock.slept == [3.0, 5.0]


def test_a_stream_with_a_protocol_of_its_own_shows_the_same_in_every_process() -> None:
    assert "0x" not in repr(Own(exported))


def test_what_could_not_be_reached_a_moment_ago_is_tried_once_by_the_next_stream() -> None:
    clock = Clock()
    asked: list[float] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(clock.now.timestamp())
        raise httpx.ConnectError("refused")

    rhythm = clock.rhythm
    stream = things()
    assert isinstance(stream.request, Http)
    for expected in (TRIES, TRIES + 1):
        with pytest.raises(SourceUnreachable):
            list(
                read_http(
                    source_of(stream), stream, stream.request, Connection("https://api.example", SECRET, "lost"), DAY,
                    transport=httpx.MockTransport(answer), rhythm=rhythm,
                )
            )  # fmt: skip
        assert len(asked) == expected
