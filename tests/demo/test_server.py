"""The systems over HTTP: the vendors' own descriptions judge the answers, paging loses and repeats nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from etl.demo import Company, DemoServer, Fault, build_company, serve
from etl.demo.records import ms_of
from tests.demo.conftest import TOKENS

SEARCH = "/hubspot/crm/v3/objects/contacts/search"
INSIGHTS = "/meta/v24.0/act_1002003004/insights"


# --- how each vendor is walked, in the plainest way -----------------------------------------------------------------


def search(
    client: httpx.Client, start: datetime, end: datetime, *, after: str = "0", limit: int = 200
) -> httpx.Response:
    """One page of a HubSpot search for contacts changed in [start, end)."""
    return client.post(SEARCH, json=search_body(start, end, after=after, limit=limit), headers=TOKENS["hubspot"])


def search_body(start: datetime, end: datetime, *, after: str = "0", limit: int = 200) -> dict[str, Any]:
    """The body of such a search."""
    filters = [
        {"propertyName": "lastmodifieddate", "operator": operator, "value": str(ms_of(moment))}
        for operator, moment in (("GTE", start), ("LT", end))
    ]
    return {
        "filterGroups": [{"filters": filters}],
        "properties": ["email", "firstname", "phone"],
        "sorts": ["hs_object_id"],
        "limit": limit,
        "after": after,
    }


def hubspot_walk(client: httpx.Client, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """Every contact of a search, page by page."""
    after: str | None = "0"
    while after is not None:
        page = search(client, start, end, after=after).raise_for_status().json()
        yield from page["results"]
        after = page.get("paging", {}).get("next", {}).get("after")


def klaviyo_walk(client: httpx.Client, path: str, **params: str) -> Iterator[dict[str, Any]]:
    """Every record of a Klaviyo list, following links.next."""
    page = client.get(path, params=params, headers=TOKENS["klaviyo"]).raise_for_status().json()
    while True:
        yield from page["data"]
        if "next" not in page["links"]:
            return
        page = client.get(page["links"]["next"], headers=TOKENS["klaviyo"]).raise_for_status().json()


def link_walk(client: httpx.Client, vendor: str, path: str, **params: str) -> Iterator[list[dict[str, Any]]]:
    """Every page of a list that pages by the Link header."""
    answer = client.get(path, params=params, headers=TOKENS[vendor]).raise_for_status()
    while True:
        body = answer.json()
        yield body if isinstance(body, list) else next(iter(body.values()))
        if "next" not in answer.links:
            return
        answer = client.get(answer.links["next"]["url"], headers=TOKENS[vendor]).raise_for_status()


def insights(client: httpx.Client, since: str, until: str, **more: str) -> list[dict[str, Any]]:
    """Every insights row of the days, following paging.next."""
    params = {
        "level": "ad",
        "time_increment": "1",
        "time_range": json.dumps({"since": since, "until": until}),
        "fields": "ad_id,spend,clicks,actions",
    }
    headers = {**TOKENS["meta"], **more}
    page = client.get(INSIGHTS, params=params, headers=headers).raise_for_status().json()
    rows = page["data"]
    while "next" in page.get("paging", {}):
        page = client.get(page["paging"]["next"], headers=headers).raise_for_status().json()
        rows += page["data"]
    return rows


# --- the vendors' own descriptions judge ----------------------------------------------------------------------------


def without_null_examples(spec: Any) -> Any:
    """The description without `"example": null`, which HubSpot writes everywhere and validators trip over."""
    if isinstance(spec, dict):
        return {k: without_null_examples(v) for k, v in spec.items() if not (k == "example" and v is None)}
    return [without_null_examples(item) for item in spec] if isinstance(spec, list) else spec


@pytest.fixture(scope="module")
def hubspot_spec(shared: Path) -> OpenAPI:
    """HubSpot's description of contacts; its security schemes are left out, tokens are tested apart."""
    spec = without_null_examples(json.loads((shared / "specs" / "hubspot" / "v3-contacts.json").read_text()))
    for path in spec["paths"].values():
        for operation in path.values():
            operation.pop("security", None)
    return OpenAPI.from_dict(spec)


def klaviyo_spec(shared: Path, name: str) -> OpenAPI:
    """Klaviyo's description of one endpoint.

    Its alternatives of send and tracking options (SMS, push, e-mail) have no required key to tell them apart, so
    every campaign fits several of them: `oneOf` is read as `anyOf`.
    """
    text = (shared / "specs" / "klaviyo" / f"get_{name}.json").read_text()
    return OpenAPI.from_dict(json.loads(text.replace('"oneOf"', '"anyOf"')))


def mock_of(request: httpx.Request, host: str, prefix: str) -> MockRequest:
    """The request as it went to us, told to the judge as if it went to the vendor."""
    return MockRequest(
        host,
        request.method.lower(),
        request.url.path.removeprefix(prefix),
        args=dict(request.url.params),
        headers=dict(request.headers),
        data=request.content or None,
        content_type=request.headers.get("content-type", "application/json").partition(";")[0],
    )


def judged(spec: OpenAPI, answer: httpx.Response, host: str, prefix: str) -> None:
    """Raises what the description has against the request or the answer."""
    request = mock_of(answer.request, host, prefix)
    spec.validate_request(request)
    kind = answer.headers["content-type"].partition(";")[0]
    spec.validate_response(request, MockResponse(answer.content, status_code=answer.status_code, content_type=kind))


def test_hubspot_describes_our_search_and_its_answer(
    client: httpx.Client, company: Company, hubspot_spec: OpenAPI
) -> None:
    answer = search(client, company.start, company.end)

    judged(hubspot_spec, answer, "https://api.hubapi.com", "/hubspot")


def test_hubspot_describes_the_archived_list(client: httpx.Client, hubspot_spec: OpenAPI) -> None:
    answer = client.get(
        "/hubspot/crm/v3/objects/contacts",
        params={"archived": "true", "limit": "5", "properties": "email"},
        headers=TOKENS["hubspot"],
    )

    judged(hubspot_spec, answer, "https://api.hubapi.com", "/hubspot")
    assert answer.json()["results"]


def test_hubspots_judge_sees_what_is_wrong(client: httpx.Client, company: Company, hubspot_spec: OpenAPI) -> None:
    answer = search(client, company.start, company.end)
    del (broken := answer.json())["results"][0]["updatedAt"]
    request = mock_of(answer.request, "https://api.hubapi.com", "/hubspot")

    with pytest.raises(Exception, match="InvalidData"):
        hubspot_spec.validate_response(
            request, MockResponse(json.dumps(broken).encode(), content_type="application/json")
        )


def test_a_bad_token_is_refused_in_hubspots_shape(
    client: httpx.Client, company: Company, hubspot_spec: OpenAPI
) -> None:
    answer = client.post(SEARCH, json=search_body(company.start, company.end), headers={"Authorization": "Bearer x"})
    error = answer.json()

    assert answer.status_code == 401
    assert {"category", "correlationId", "message"} <= set(error)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        (
            "events",
            {
                "filter": "greater-or-equal(datetime,2026-01-01T00:00:00Z),less-than(datetime,2026-01-02T00:00:00Z)",
                "page[size]": "1000",
                "sort": "datetime",
                "include": "metric",
            },
        ),
        ("profiles", {"filter": "greater-than(updated,2025-12-31T23:59:59Z)", "page[size]": "100"}),
        (
            "campaigns",
            {"filter": "and(equals(messages.channel,'email'),greater-or-equal(updated_at,2026-01-01T00:00:00Z))"},
        ),
        ("metrics", {}),
    ],
)
def test_klaviyo_describes_our_request_and_its_answer(
    client: httpx.Client, shared: Path, name: str, params: dict[str, str]
) -> None:
    answer = client.get(f"/klaviyo/api/{name}", params=params, headers=TOKENS["klaviyo"])

    judged(klaviyo_spec(shared, name), answer, "https://a.klaviyo.com", "/klaviyo")
    assert answer.json()["data"]


def test_klaviyo_wants_a_revision_and_knows_no_inclusive_filter_on_profiles(client: httpx.Client) -> None:
    token = {"Authorization": TOKENS["klaviyo"]["Authorization"]}
    without = client.get("/klaviyo/api/events", headers=token)
    inclusive = client.get(
        "/klaviyo/api/profiles",
        params={"filter": "greater-or-equal(updated,2026-01-01T00:00:00Z)"},
        headers=TOKENS["klaviyo"],
    )

    assert (without.status_code, inclusive.status_code) == (400, 400)
    assert "revision" in without.json()["errors"][0]["detail"]


def test_a_status_has_every_key_of_a_recorded_one(client: httpx.Client, shared: Path) -> None:
    yaml = pytest.importorskip("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tape = yaml.load((shared / "specs" / "mastodon" / "test_pagination_iterator.yaml").read_text(), Loader=loader)
    recorded = next(
        json.loads(turn["response"]["body"]["string"])[0]
        for turn in tape["interactions"]
        if turn["request"]["method"] == "GET" and "/timelines/tag/" in turn["request"]["uri"]
    )
    ours = client.get("/mastodon/api/v1/timelines/tag/nordlicht", headers=TOKENS["mastodon"]).json()[0]

    assert kinds_of(ours) == kinds_of(recorded)
    assert kinds_of(ours["account"]) == kinds_of(recorded["account"])


def kinds_of(value: dict[str, Any]) -> dict[str, str]:
    """Key -> kind of value; `edited_at` and `application` may be null, so only their presence counts."""
    loose = ("edited_at", "hide_collections")
    return {key: "any" if key in loose else type(item).__name__ for key, item in value.items()}


def test_insights_hold_only_fields_the_vendor_names(client: httpx.Client, company: Company, shared: Path) -> None:
    spec = json.loads((shared / "specs" / "meta" / "AdsInsights.json").read_text())
    named = {entry["name"]: entry["type"] for entry in spec["fields"]}
    rows = [row for ages in company.insights.values() for age in ages for row in age]

    assert {key for row in rows for key in row} <= set(named)
    assert all(isinstance(row[key], str) for row in rows for key in row if named[key] == "string")


# --- paging: every record once --------------------------------------------------------------------------------------


def test_hubspot_pages_give_every_live_contact_once(client: httpx.Client, company: Company) -> None:
    found = Counter(contact["id"] for contact in hubspot_walk(client, company.start, company.end))
    last = {version.id: version for version in company.records["hubspot", "contacts"]}
    live = {ident for ident, version in last.items() if version.payload and not version.is_archived}

    assert set(found) == live
    assert set(found.values()) == {1}


def test_daily_windows_of_hubspot_add_up_to_the_month(client: httpx.Client, company: Company) -> None:
    whole = [contact["id"] for contact in hubspot_walk(client, company.start, company.end)]
    days = [company.start + timedelta(days=n) for n in range(company.days)]
    pieces = [c["id"] for day in days for c in hubspot_walk(client, day, day + timedelta(days=1))]

    assert sorted(pieces) == sorted(whole)


def test_archived_contacts_are_only_in_the_archived_list(client: httpx.Client, company: Company) -> None:
    archived = []
    after = "0"
    while True:
        params = {"archived": "true", "limit": "3", "after": after}
        page = client.get("/hubspot/crm/v3/objects/contacts", params=params, headers=TOKENS["hubspot"]).json()
        archived += page["results"]
        if "paging" not in page:
            break
        after = page["paging"]["next"]["after"]
    live = {contact["id"] for contact in hubspot_walk(client, company.start, company.end)}

    assert len(archived) > 3
    assert all(contact["archived"] and contact["archivedAt"] for contact in archived)
    assert not live & {contact["id"] for contact in archived}


def test_hubspot_returns_the_asked_properties_and_nothing_empty(client: httpx.Client, company: Company) -> None:
    contacts = list(hubspot_walk(client, company.start, company.end))
    names = {name for contact in contacts for name in contact["properties"]}

    assert names == {"email", "firstname", "phone", "createdate", "lastmodifieddate", "hs_object_id"}
    assert all(value for contact in contacts for value in contact["properties"].values())


def test_hubspot_refuses_to_go_beyond_ten_thousand(client: httpx.Client, company: Company) -> None:
    last = search(client, company.start, company.end, after="9800")
    beyond = search(client, company.start, company.end, after="9801")

    assert (last.status_code, beyond.status_code) == (200, 400)
    assert beyond.json()["category"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "change",
    [{"limit": 201}, {"filterGroups": "all"}, {"after": "x"}, {"filterGroups": [{"filters": [
        {"propertyName": "lastmodifieddate", "operator": "BIGGER", "value": "1"}]}]}],
    ids=["limit above 200", "groups that are no list", "a cursor that is no number", "an unknown operator"],
)  # fmt: skip
def test_hubspot_refuses_a_bad_search(client: httpx.Client, company: Company, change: dict[str, Any]) -> None:
    body = {**search_body(company.start, company.end), **change}
    answer = client.post(SEARCH, json=body, headers=TOKENS["hubspot"])

    assert answer.status_code == 400


def test_klaviyo_pages_give_every_event_once(client: httpx.Client, company: Company) -> None:
    found = Counter(
        event["id"]
        for event in klaviyo_walk(client, "/klaviyo/api/events", **{"page[size]": "777", "sort": "datetime"})
    )

    assert set(found) == {version.id for version in company.records["klaviyo", "events"]}
    assert set(found.values()) == {1}


def test_klaviyo_windows_are_half_open(client: httpx.Client, company: Company) -> None:
    days = [company.start + timedelta(days=n) for n in range(company.days)]
    pieces = Counter(
        event["id"]
        for day in days
        for event in klaviyo_walk(
            client,
            "/klaviyo/api/events",
            filter=f"greater-or-equal(datetime,{day:%Y-%m-%dT%H:%M:%SZ}),"
            f"less-than(datetime,{day + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ})",
        )
    )

    assert set(pieces) == {version.id for version in company.records["klaviyo", "events"]}
    assert set(pieces.values()) == {1}


@pytest.mark.parametrize("stream", ["orders", "customers", "products"])
def test_shopify_pages_give_every_record_once(client: httpx.Client, company: Company, stream: str) -> None:
    path = f"/shopify/admin/api/2026-10/{stream}.json"
    pages = list(link_walk(client, "shopify", path, status="any", limit="17"))
    found = Counter(str(record["updated_at"]) + str(record["id"]) for page in pages for record in page)

    assert len(found) == len({version.id for version in company.records["shopify", stream]})
    assert set(found.values()) == {1}
    assert all(len(page) == 17 for page in pages[:-1])


def test_shopify_wants_only_a_limit_beside_page_info(client: httpx.Client) -> None:
    path = "/shopify/admin/api/2026-10/orders.json"
    first = client.get(path, params={"status": "any", "limit": "5"}, headers=TOKENS["shopify"])
    info = re.search(r"page_info=([^&>]+)", first.headers["link"])
    assert info is not None
    second = client.get(path, params={"page_info": info[1], "status": "any"}, headers=TOKENS["shopify"])

    assert second.status_code == 400


def test_shopify_hides_cancelled_orders_unless_any_status_is_asked_for(client: httpx.Client) -> None:
    path = "/shopify/admin/api/2026-10/orders.json"
    usual = [order for page in link_walk(client, "shopify", path, limit="250") for order in page]
    every = [order for page in link_walk(client, "shopify", path, limit="250", status="any") for order in page]

    assert len(usual) < len(every)
    assert not [order["id"] for order in usual if order["cancelled_at"]]


def test_mastodon_pages_run_newest_first_to_the_end(client: httpx.Client, company: Company) -> None:
    pages = list(link_walk(client, "mastodon", "/mastodon/api/v1/timelines/tag/nordlicht", limit="40"))
    ids = [status["id"] for page in pages for status in page]

    assert ids == sorted((version.id for version in company.records["mastodon", "statuses"]), key=int, reverse=True)
    assert {len(page) for page in pages[:-1]} == {40}


def test_an_unknown_hashtag_is_an_empty_timeline(client: httpx.Client) -> None:
    answer = client.get("/mastodon/api/v1/timelines/tag/other", headers=TOKENS["mastodon"])

    assert (answer.status_code, answer.json()) == (200, [])


def test_insights_give_every_ad_and_day_once(client: httpx.Client, company: Company) -> None:
    rows = insights(client, "2026-01-01", "2026-01-14")
    found = Counter((row["ad_id"], row["date_start"]) for row in rows)

    assert len(found) == 20 * company.days
    assert set(found.values()) == {1}


# --- what changes with the day it is asked --------------------------------------------------------------------------


def test_ads_are_restated_for_three_days_and_then_stay(client: httpx.Client, server: DemoServer) -> None:
    def spent_as_of(day: int) -> float:
        server.as_of = datetime(2026, 1, day, tzinfo=UTC)
        return sum(float(row["spend"]) for row in insights(client, "2026-01-02", "2026-01-02"))

    answers = [spent_as_of(day) for day in (3, 4, 5, 6, 7, 14)]

    assert len(set(answers[:4])) == 4
    assert len(set(answers[3:])) == 1
    assert answers == sorted(answers, reverse=True)


def test_a_day_that_has_not_ended_has_no_insights(client: httpx.Client) -> None:
    asked = {"X-Demo-As-Of": "2026-01-05T00:00:00Z"}
    rows = insights(client, "2026-01-03", "2026-01-06", **asked)

    assert {row["date_start"] for row in rows} == {"2026-01-03", "2026-01-04"}


def test_a_moment_that_is_no_time_is_refused(client: httpx.Client) -> None:
    answer = client.get(INSIGHTS, headers={**TOKENS["meta"], "X-Demo-As-Of": "yesterday"})

    assert answer.status_code == 400


def test_the_same_window_later_gives_the_same_numbers(client: httpx.Client) -> None:
    first = insights(client, "2026-01-13", "2026-01-14")
    insights(client, "2026-01-01", "2026-01-05")

    assert insights(client, "2026-01-13", "2026-01-14") == first


def test_a_refund_moves_the_order_to_a_later_window(client: httpx.Client, server: DemoServer, company: Company) -> None:
    order = next(o for o in company.orders if o.refund_at and o.refund_at < ms_of(company.end) and o.number > 1010)
    placed = datetime.fromtimestamp(order.at / 1000, UTC)
    path = "/shopify/admin/api/2026-10/orders.json"

    def standing(as_of: datetime) -> tuple[str, str]:
        server.as_of = as_of
        pages = link_walk(client, "shopify", path, status="any", limit="250")
        held = next(o for page in pages for o in page if o["id"] == order.id)
        return held["financial_status"], held["updated_at"]

    before, after = standing(placed + timedelta(hours=1)), standing(company.today)

    assert before[0] == "paid"
    assert after[0] in ("refunded", "partially_refunded")
    assert after[1] > before[1]


def test_a_merged_contact_is_gone_and_its_winner_says_so(
    client: httpx.Client, server: DemoServer, company: Company
) -> None:
    merge = next(v for v in company.records["hubspot", "contacts"] if v.payload is None)

    def ids_as_of(moment: int) -> set[str]:
        server.as_of = datetime.fromtimestamp(moment / 1000, UTC)
        return {contact["id"] for contact in hubspot_walk(client, company.start, company.end)}

    assert merge.id in ids_as_of(merge.at)
    assert merge.id not in ids_as_of(merge.at + 1000)


# --- refusals and faults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/hubspot/crm/v3/objects/contacts", "category"),
        ("/klaviyo/api/events", "errors"),
        ("/shopify/admin/api/2026-10/orders.json", "errors"),
        ("/mastodon/api/v1/timelines/tag/nordlicht", "error"),
        (INSIGHTS, "error"),
    ],
)
def test_a_wrong_token_is_refused_in_the_vendors_shape(client: httpx.Client, path: str, key: str) -> None:
    wrong = {"Authorization": "Bearer wrong", "X-Shopify-Access-Token": "wrong", "revision": "2026-07-15"}
    answer = client.get(path, headers=wrong)

    assert answer.status_code == 401
    assert key in answer.json()


@pytest.mark.parametrize("vendor", ["hubspot", "klaviyo", "shopify", "mastodon", "meta", "nobody"])
def test_an_unknown_path_is_not_found(client: httpx.Client, vendor: str) -> None:
    answer = client.get(f"/{vendor}/x", headers=TOKENS.get(vendor, {}))

    assert answer.status_code in (400, 404)


def test_faults_strike_the_nth_request_and_only_it(company: Company) -> None:
    faults = (
        Fault(2, status=429, retry_after="1", prefix="/mastodon"),
        Fault(3, kind="ok_with_error", prefix="/mastodon"),
        Fault(1, status=500, prefix="/shopify"),
    )
    with serve(company, faults=faults) as server, httpx.Client(base_url=server.base_url, trust_env=False) as client:
        path = "/mastodon/api/v1/timelines/tag/nordlicht"
        answers = [client.get(path, headers=TOKENS["mastodon"]) for _ in range(4)]
        shop = client.get("/shopify/admin/api/2026-10/orders.json", headers=TOKENS["shopify"])

    assert [answer.status_code for answer in answers] == [200, 429, 200, 200]
    assert answers[1].headers["retry-after"] == "1"
    assert "error" in answers[2].json()
    assert len(answers[3].json()) == 20
    assert shop.status_code == 500
    assert server.requests == 5


@pytest.mark.parametrize("kind", ["truncated", "closed"])
def test_a_broken_connection_is_felt_by_the_client(company: Company, kind: str) -> None:
    faults = (Fault(1, kind=kind),)
    path = "/mastodon/api/v1/timelines/tag/nordlicht"
    with serve(company, faults=faults) as server, httpx.Client(base_url=server.base_url, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(path, headers=TOKENS["mastodon"])
        again = client.get(path, headers=TOKENS["mastodon"])

    assert again.status_code == 200


def test_one_connection_serves_many_requests(client: httpx.Client) -> None:
    path = "/mastodon/api/v1/timelines/tag/nordlicht"
    with httpx.stream("GET", f"{client.base_url}{path}", headers=TOKENS["mastodon"]) as first:
        version = first.http_version

    assert version == "HTTP/1.1"
    assert [client.get(path, headers=TOKENS["mastodon"]).status_code for _ in range(20)] == [200] * 20


def test_a_company_of_one_still_answers() -> None:
    with serve(build_company(people=1, days=1)) as server, httpx.Client(base_url=server.base_url) as client:
        statuses = [
            client.get("/shopify/admin/api/2026-10/orders.json", headers=TOKENS["shopify"]).status_code,
            client.get("/klaviyo/api/events", headers=TOKENS["klaviyo"]).status_code,
            client.get("/mastodon/api/v1/timelines/tag/nordlicht", headers=TOKENS["mastodon"]).status_code,
        ]

    assert statuses == [200, 200, 200]
