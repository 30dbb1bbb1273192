"""PostHog's events: whole addresses of next pages, a filter that leaves its start out, persons that are merged."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceRefused
from etl.model import Window
from etl.silver.web_events import WEB_EVENTS
from etl.sources.posthog import EVENTS, SOURCE
from tests.sources.judges import Talk, one_by_one, talk
from tests.sources.vendors import landed, rows, told

DAY = Window.parse("2026-01-02")
LIST = "https://us.posthog.com/api/projects/1002003004/events/"


def event(ident: str, at: str = "2026-01-02T12:00:00.123000+00:00", **more: Any) -> dict[str, Any]:
    return {"id": ident, "distinct_id": "d1", "event": "$pageview", "timestamp": at, "properties": {}, **more}


def asked(*pages: list[dict[str, Any]]) -> Talk:
    answers = [
        {"results": page, "next": f"{LIST}?before={number}" if number < len(pages) else None}
        for number, page in enumerate(pages, start=1)
    ]
    return talk(SOURCE, EVENTS, one_by_one(answers), window=DAY)


def test_pages_are_walked_by_whole_addresses_to_the_end() -> None:
    kept = asked([event("a")], [event("b")], [event("c")])

    assert ["a", "b", "c"] == [record["id"] for record in kept.records]
    assert [f"{LIST}?before=1", f"{LIST}?before=2"] == [str(request.url) for request in kept.requests[1:]]
    assert "Bearer secret" == kept.requests[2].headers["authorization"]


def test_a_second_more_is_asked_for_and_the_boundary_is_in_one_window() -> None:
    edges = ["2026-01-01T23:59:59.500Z", "2026-01-02T00:00:00Z", "2026-01-02T23:59:59.999Z", "2026-01-03T00:00:00Z"]
    kept = asked([event(str(at), moment) for at, moment in enumerate(edges)])
    wrapped = landed(SOURCE, EVENTS, kept.pages, window=DAY)

    assert {"after": "2026-01-01T23:59:59Z", "before": "2026-01-03T00:00:00Z", "limit": "100"} == dict(
        kept.requests[0].url.params
    )
    assert (["1", "2"], 2, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_an_event_of_a_browser_and_of_a_known_person_is_picked_whole() -> None:
    properties = {
        "$device_id": "browser-1",
        "$user_id": "login-7",
        "$session_id": "s1",
        "$pageview_id": "pv1",
        "$current_url": "https://shop.example/boots",
        "$referrer": "https://search.example/",
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "winter",
        "$device_type": "Mobile",
        "$geoip_country_code": "DE",
        "$raw_user_agent": "Mozilla/5.0",
    }
    (row,) = rows(SOURCE, EVENTS, WEB_EVENTS, asked([event("a", properties=properties)]).pages, window=DAY).to_dicts()

    assert {
        "event_id": "a",
        "event_name": "page_view",
        "event_at": datetime(2026, 1, 2, 12, 0, 0, 123_000, tzinfo=UTC),
        "cookie": "browser-1",
        "login": "login-7",
        "source_session_id": "s1",
        "page_view_id": "pv1",
        "page_url": "https://shop.example/boots",
        "referrer_url": "https://search.example/",
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "winter",
        "device_type": "Mobile",
        "country": "DE",
        "user_agent": "Mozilla/5.0",
        "day": date(2026, 1, 2),
    } == told(row)


def test_a_merge_of_persons_changes_nothing_of_whose_event_it_was() -> None:
    own = {"$device_id": "browser-1"}
    before = asked([event("a", properties=own, person={"distinct_ids": ["d1"]})])
    after = asked([event("a", distinct_id="d1", properties=own, person={"distinct_ids": ["d1", "login-7"]})])
    (first,) = rows(SOURCE, EVENTS, WEB_EVENTS, before.pages, window=DAY).to_dicts()
    (second,) = rows(SOURCE, EVENTS, WEB_EVENTS, after.pages, window=DAY).to_dicts()

    assert told(first) == told(second)
    assert ("browser-1", None) == (second["cookie"], second["login"])


def test_refusals_and_quotas_are_posthogs_own_words() -> None:
    def says(status: int, detail: str, **headers: str) -> Any:
        body = {"type": "x", "code": "y", "detail": detail, "attr": None}
        return lambda _: httpx.Response(status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    with pytest.raises(SourceRefused, match=r"does not take the secret.*Personal API key found \(\*\*\*\)"):
        talk(SOURCE, EVENTS, says(401, "Personal API key found (secret) is invalid."), window=DAY)
    with pytest.raises(SourceRefused, match="403: API key missing required scope 'event:read'"):
        talk(SOURCE, EVENTS, says(403, "API key missing required scope 'event:read'"), window=DAY)
    with pytest.raises(QuotaExhausted, match="Expected available in 400 seconds"):
        talk(SOURCE, EVENTS, says(429, "Expected available in 400 seconds.", retry_after="400"), window=DAY)


def test_a_short_wait_is_slept_and_the_page_comes() -> None:
    answers = [httpx.Response(429, json={"detail": "slow"}, headers={"retry-after": "7"})]
    good = {"results": [event("a")], "next": None}
    kept = talk(SOURCE, EVENTS, lambda _: answers.pop() if answers else httpx.Response(200, json=good), window=DAY)

    assert ([True], 1) == ([7 <= seconds <= 8 for seconds in kept.waited], len(kept.records))
