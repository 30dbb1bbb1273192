"""Matomo's visits: the token in a form, errors in HTTP 200, offsets that move, visits that go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from etl.errors import SourceError, SourceRefused
from etl.model import Window
from etl.silver.web_events import WEB_EVENTS
from etl.sources.matomo import PAGE, SOURCE, VISITS
from tests.sources.judges import Talk, talk
from tests.sources.vendors import landed, rows, told

DAY = Window.parse("2026-01-02")
NOON = 1_767_355_200


def visit(number: int, last_action: int = NOON, **more: Any) -> dict[str, Any]:
    return {"idVisit": str(number), "lastActionTimestamp": last_action, "actionDetails": [], **more}


def form(request: httpx.Request) -> Mapping[str, str]:
    return {name: values[0] for name, values in parse_qs(request.content.decode()).items()}


def site(visits: list[dict[str, Any]]) -> Any:
    """A Matomo that holds these visits."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = form(request)
        offset, limit = int(asked["filter_offset"]), int(asked["filter_limit"])
        return httpx.Response(200, json=visits[offset : offset + limit])

    return answer


def asked(visits: list[dict[str, Any]]) -> Talk:
    return talk(SOURCE, VISITS, site(visits), window=DAY)


def test_the_token_is_in_the_form_and_nowhere_else() -> None:
    (request,) = asked([]).requests

    assert "secret" == form(request)["token_auth"]
    assert "secret" not in str(request.url)
    assert "authorization" not in request.headers


def test_a_day_more_is_asked_for_on_both_sides_since_the_site_has_a_zone_of_its_own() -> None:
    (request,) = asked([]).requests

    assert ("POST", "/index.php") == (request.method, request.url.path)
    assert {
        "module": "API",
        "method": "Live.getLastVisitsDetails",
        "format": "JSON",
        "idSite": "1002003004",
        "period": "range",
        "date": "2026-01-01,2026-01-03",
        "minTimestamp": str(NOON - 12 * 3600),
        "filter_limit": str(PAGE),
        "filter_offset": "0",
        "token_auth": "secret",
    } == form(request)


def test_pages_are_walked_to_the_end_and_a_visit_that_moved_counts_once() -> None:
    visits = [visit(at) for at in range(PAGE)]
    kept = asked([*visits, visits[-1], visit(PAGE)])

    assert ["0", str(PAGE)] == [form(request)["filter_offset"] for request in kept.requests]
    assert [PAGE, 1] == [len(page) for page in kept.pages]


def test_a_server_that_knows_no_offsets_is_an_error_and_no_endless_walk() -> None:
    page = [visit(at) for at in range(PAGE)]

    with pytest.raises(SourceError, match="same page came twice"):
        talk(SOURCE, VISITS, lambda _: httpx.Response(200, json=page), window=DAY)


def test_a_visit_is_of_the_window_of_its_last_action() -> None:
    start = NOON - 12 * 3600
    edges = {"before": start - 1, "first": start, "last": start + 86_399, "after": start + 86_400}
    kept = asked([visit(at, moment) for at, moment in enumerate(edges.values())])
    wrapped = landed(SOURCE, VISITS, kept.pages, window=DAY)

    assert (["1", "2"], 2, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)
    # A visit that goes on past midnight is given up by the day before, which is read again.
    assert 1 == VISITS.restate_days


def refused(message: str, status: int = 200) -> Talk:
    return talk(
        SOURCE, VISITS, lambda _: httpx.Response(status, json={"result": "error", "message": message}), window=DAY
    )


def test_an_error_in_http_200_is_one() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret \(HTTP 200: Unable to authenticate with"):
        refused("Unable to authenticate with the provided token secret.")
    with pytest.raises(SourceError, match="requires 'view' access for the website id = 1"):
        refused("You can't access this resource as it requires 'view' access for the website id = 1.")


def test_the_token_is_masked_in_what_the_vendor_says() -> None:
    with pytest.raises(SourceRefused, match=r"token \*\*\*"):
        refused("Unable to authenticate with the provided token secret.")


def test_without_a_token_nothing_is_asked() -> None:
    with pytest.raises(SourceRefused, match="no secret"):
        talk(SOURCE, VISITS, site([]), window=DAY, secret="")


def test_each_action_of_a_visit_is_a_web_event() -> None:
    action = {"type": "action", "timestamp": NOON - 60, "url": "https://shop.example/boots", "idpageview": "pv1"}
    search = {"type": "search", "timestamp": NOON, "url": None}
    whole = visit(
        7,
        visitorId="c0ffee",
        userId="login-7",
        referrerUrl="https://search.example/",
        campaignSource="news",
        campaignMedium="email",
        campaignName="winter",
        deviceType="Smartphone",
        countryCode="de",
    )
    kept = asked([{**whole, "actionDetails": [action, search]}])
    first, second = rows(SOURCE, VISITS, WEB_EVENTS, kept.pages, window=DAY).to_dicts()
    of_visit = {
        "cookie": "c0ffee",
        "login": "login-7",
        "source_session_id": "7",
        "referrer_url": "https://search.example/",
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "winter",
        "device_type": "Smartphone",
        "country": "de",
        "day": date(2026, 1, 2),
    }

    assert {
        **of_visit,
        "event_id": "7:0",
        "event_name": "page_view",
        "event_at": datetime(2026, 1, 2, 11, 59, tzinfo=UTC),
        "page_url": "https://shop.example/boots",
        "page_view_id": "pv1",
    } == told(first)
    assert {
        **of_visit,
        "event_id": "7:1",
        "event_name": "search",
        "event_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    } == told(second)
