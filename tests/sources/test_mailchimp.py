"""Mailchimp: lists that shrink while they are read, consent as a member's state tells it, activity of old campaigns.

No description is at hand to judge by: paths, parameters and shapes are those of the vendor's own client.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from etl.connect.http import TRIES
from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Stream, Window
from etl.sources.mailchimp import ACTIVITY, CAMPAIGNS, MEMBERS, SENDS, SIZE, SOURCE
from tests.sources.fed import fed, in_turn
from tests.sources.fed import landed as landed_as_they_are
from tests.sources.judges import Talk, talk
from tests.sources.vendors import landed

BASE = "https://us21.api.mailchimp.com"
DAY = Window.parse("2026-01-02")
NOON = "2026-01-02T12:00:00+00:00"

_PAGES = {"count", "offset", "fields", "exclude_fields"}
_SORTED = {"sort_field", "sort_dir"}
#: What each path knows, of what we use.
PARAMETERS = {
    r"/3\.0/lists": _PAGES | _SORTED,
    r"/3\.0/lists/(?P<list>\w+)/members": _PAGES | _SORTED | {"since_last_changed", "before_last_changed", "status"},
    r"/3\.0/campaigns": _PAGES | _SORTED | {"since_send_time", "before_send_time", "status"},
    r"/3\.0/reports/(?P<campaign>\w+)/email-activity": _PAGES | {"since"},
    r"/3\.0/reports/(?P<campaign>\w+)/(?P<rest>sent-to|unsubscribed|abuse-reports)": _PAGES,
}


class Mailchimp:
    """An account that filters, sorts and pages as the vendor's client says it does. `missing`: campaigns that are
    listed, but whose reports are gone.
    """

    def __init__(self, **held: Any) -> None:
        self.members: dict[str, list[dict[str, Any]]] = held.get("members", {})
        self.campaigns: list[dict[str, Any]] = held.get("campaigns", [])
        self.reports: dict[tuple[str, str], list[dict[str, Any]]] = held.get("reports", {})
        self.missing: set[str] = held.get("missing", set())
        self.after_page: Callable[[], None] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = dict(request.url.params)
        known = next((names for path, names in PARAMETERS.items() if re.fullmatch(path, request.url.path)), None)
        if known is None:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        assert known >= set(asked)
        assert 1 <= int(asked["count"]) <= 1000
        _, _, *parts = request.url.path.split("/")
        if parts == ["lists"]:
            return self._page("lists", [{"id": name} for name in self.members], asked)
        if parts[0] == "lists":
            return self._page("members", self._changed(parts[1], asked), asked)
        if parts[0] == "campaigns":
            return self._page("campaigns", self._sent(asked), asked)
        if parts[1] in self.missing:
            return problem(404, "Resource Not Found", "The requested resource could not be found.")
        things = {"sent-to": "sent_to", "email-activity": "emails", "unsubscribed": "unsubscribes"}
        return self._page(things.get(parts[2], "abuse_reports"), self.reports.get((parts[1], parts[2]), []), asked)

    def _changed(self, audience: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        between = (asked["since_last_changed"], asked["before_last_changed"])
        found = [one for one in self.members[audience] if between[0] < one["last_changed"] <= between[1]]
        is_archived = asked.get("status") == "archived"
        return sorted(
            (one for one in found if (one["status"] == "archived") is is_archived), key=lambda one: one["last_changed"]
        )

    def _sent(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        if "status" in asked:
            return [one for one in self.campaigns if one["status"] == asked["status"]]
        return [
            one for one in self.campaigns if asked["since_send_time"] < one["send_time"] <= asked["before_send_time"]
        ]

    def _page(self, things: str, held: list[dict[str, Any]], asked: dict[str, str]) -> httpx.Response:
        first = int(asked["offset"])
        answer = {things: held[first : first + int(asked["count"])], "total_items": len(held)}
        if things == "members":
            self.after_page()
        return httpx.Response(200, json=answer)


def problem(status: int, title: str, detail: str) -> httpx.Response:
    body = {"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status,
            "detail": detail, "instance": "9d741ebc-c22a-4e34-af47-5463c4f5cd25"}  # fmt: skip
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json; charset=utf-8"})


def member(number: int, status: str = "subscribed", changed: str = NOON, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:032x}",
        "contact_id": f"c{number}",
        "list_id": "a1",
        "email_address": f"m{number}@example.com",
        "full_name": "",
        "status": status,
        "merge_fields": {"FNAME": "Ann", "LNAME": "Berg", "PHONE": "", "ADDRESS": ""},
        "timestamp_signup": "",
        "timestamp_opt": "2025-03-01T08:00:00+00:00",
        "language": "de",
        "last_changed": changed,
        **more,
    }


def campaign(ident: str, sent: str = NOON, **more: Any) -> dict[str, Any]:
    return {"id": ident, "status": "sent", "send_time": sent, "settings": {"title": f"News {ident}"}, **more}


def recipient(number: int, campaign: str = "k1", **more: Any) -> dict[str, Any]:
    return {"campaign_id": campaign, "list_id": "a1", "email_id": f"{number:032x}",
            "email_address": f"m{number}@example.com", **more}  # fmt: skip


def asked(stream: Stream, vendor: Callable[[httpx.Request], httpx.Response]) -> Talk:
    return talk(SOURCE, stream, vendor, window=DAY, base_url=BASE, secret="0123abcd-us21")


# --- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, SIZE, SIZE + 1, 2 * SIZE + 7])
def test_every_member_of_every_audience_comes(count: int) -> None:
    half = {"a1": [member(number) for number in range(count)], "b2": [member(-1, list_id="b2")]}
    kept = asked(MEMBERS, Mailchimp(members=half))

    assert count + 1 == len(kept.records) == len({one["decision"] for one in kept.records})


def test_members_who_change_while_they_are_read_hide_nobody() -> None:
    """Whoever changes leaves the window, and everybody behind moves up: across the end of the page that was read."""
    members = [member(number, changed=f"2026-01-02T12:{number % 60:02}:00+00:00") for number in range(SIZE + 50)]
    vendor = Mailchimp(members={"a1": members})
    left = members[:30]

    def some_leave() -> None:
        for one in left:
            one["last_changed"] = "2026-01-09T00:00:00+00:00"

    vendor.after_page = some_leave
    kept = asked(MEMBERS, vendor)

    assert {one["contact_id"] for one in members[30:]} <= {one["member"]["contact_id"] for one in kept.records}


def test_archived_members_are_asked_for_by_name() -> None:
    kept = asked(MEMBERS, Mailchimp(members={"a1": [member(1), member(2, "archived")]}))

    assert ["c1", "c2"] == [one["member"]["contact_id"] for one in kept.records]


def test_the_boundary_is_in_one_window() -> None:
    edges = ["2026-01-01T23:59:59", "2026-01-02T00:00:00", "2026-01-02T23:59:59", "2026-01-03T00:00:00"]
    vendor = Mailchimp(members={"a1": [member(at, changed=f"{edge}+00:00") for at, edge in enumerate(edges)]})
    wrapped = landed(SOURCE, MEMBERS, asked(MEMBERS, vendor).pages, window=DAY)

    assert (["a1:c1", "a1:c2"], 0) == (wrapped.rows["_id"].to_list(), wrapped.dead.height)


def test_a_member_is_kept_to_the_byte() -> None:
    told = b'{"list_id":"a1", "contact_id": "c1","status":"pending",  "last_changed":"2026-01-02T12:00:00+00:00"}'

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/3.0/lists":
            return httpx.Response(200, json={"lists": [{"id": "a1"}], "total_items": 1})
        held = told if "status" not in request.url.params else b""
        return httpx.Response(200, content=b'{"members":[' + held + b'],"total_items":%d}' % bool(held))

    assert told in asked(MEMBERS, answer).pages[0][0]


def test_a_list_that_gives_less_than_it_says_is_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/3.0/lists":
            return httpx.Response(200, json={"lists": [{"id": "a1"}], "total_items": 1})
        return httpx.Response(200, json={"members": [member(1)], "total_items": 5})

    with pytest.raises(SourceError, match="a list of 5 members gave only 1"):
        asked(MEMBERS, answer)


def members_fed(subject: str, *members: dict[str, Any]) -> list[dict[str, Any]]:
    kept = asked(MEMBERS, Mailchimp(members={"a1": list(members)}))
    return fed(SOURCE, MEMBERS, subject, [record for page in kept.pages for record in page], DAY)


def test_a_member_becomes_a_person() -> None:
    address = {"addr1": "Weg 1", "zip": "10115", "city": "Berlin", "state": "BE", "country": "DE"}
    fields = {"FNAME": "Ann", "LNAME": "Berg", "PHONE": "030 1234567", "ADDRESS": address}
    (row,) = members_fed("person_records", member(1, merge_fields=fields))

    assert {
        "_fate": "out", "email": "m1@example.com", "phone": "030 1234567", "full_name": None, "given_name": "Ann",
        "family_name": "Berg", "street": "Weg 1", "postal_code": "10115", "city": "Berlin", "region": "BE",
        "country": "DE", "language": "de", "created_at": None, "updated_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    } == row  # fmt: skip


def test_a_member_without_an_address_is_still_a_person() -> None:
    """An address nobody gave is an empty text where an object would stand."""
    (row,) = members_fed("person_records", member(1))

    assert ("out", None, None) == (row["_fate"], row["street"], row["country"])


@pytest.mark.parametrize(
    ("status", "says", "at"),
    [
        ("subscribed", "granted", datetime(2025, 3, 1, 8, tzinfo=UTC)),
        ("unsubscribed", "withdrawn", datetime(2026, 1, 2, 12, tzinfo=UTC)),
        ("cleaned", "withdrawn", datetime(2026, 1, 2, 12, tzinfo=UTC)),
        ("archived", "withdrawn", datetime(2026, 1, 2, 12, tzinfo=UTC)),
    ],
)
def test_a_members_state_is_a_decision_on_mail(status: str, says: str, at: datetime) -> None:
    (row,) = members_fed("consents", member(1, status))

    assert ("out", says, "email_marketing", at) == (
        row["_fate"],
        row["consent_status"],
        row["purpose"],
        row["event_at"],
    )


@pytest.mark.parametrize("status", ["pending", "transactional"])
def test_who_has_not_decided_has_no_consent_row(status: str) -> None:
    (row,) = members_fed("consents", member(1, status))

    assert "filtered" == row["_fate"]


def test_a_change_of_name_is_no_new_decision_and_a_change_of_mind_is() -> None:
    """Else a later edit of the name would outweigh a withdrawal told by another system."""
    states = [member(1), member(1, changed="2026-01-02T13:00:00+00:00"), member(1, "unsubscribed")]
    rows = [members_fed("consents", state)[0]["consent_id"] for state in states]

    assert rows[0] == rows[1] != rows[2]


# --- campaigns, and what became of their messages ---------------------------------------------------------------------


def test_a_campaign_is_known_from_when_it_was_sent() -> None:
    vendor = Mailchimp(campaigns=[campaign("k1"), campaign("k2", "2026-01-03T00:00:00+00:00")])
    wrapped = landed(SOURCE, CAMPAIGNS, asked(CAMPAIGNS, vendor).pages, window=DAY)

    assert (["k1"], 1, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_each_recipient_was_sent_a_message() -> None:
    reports = {("k1", "sent-to"): [recipient(1, status="sent", open_count=3), recipient(2, status="hard")]}
    kept = asked(SENDS, Mailchimp(campaigns=[campaign("k1")], reports=reports))
    rows = fed(SOURCE, SENDS, "email_events", [record for page in kept.pages for record in page], DAY)

    assert [("m1@example.com", "sent", "k1"), ("m2@example.com", "sent", "k1")] == [
        (row["email"], row["email_event"], row["campaign_id"]) for row in rows
    ]


def activity(*happened: dict[str, Any], **reports: list[dict[str, Any]]) -> Mailchimp:
    lists = {("k1", name.replace("_", "-")): held for name, held in reports.items()}
    told = {("k1", "email-activity"): [recipient(1, activity=list(happened))], **lists}
    return Mailchimp(campaigns=[campaign("k1")], reports=told)


def test_what_happened_to_messages_is_one_event_each() -> None:
    vendor = activity(
        {"action": "open", "timestamp": NOON, "ip": "192.0.2.1"},
        {"action": "click", "timestamp": NOON, "url": "https://shop.example/"},
        {"action": "bounce", "type": "soft", "timestamp": NOON},
        unsubscribed=[recipient(2, timestamp=NOON, reason="None given")],
        abuse_reports=[recipient(3, id=7, date=NOON)],
    )
    records = [record for page in asked(ACTIVITY, vendor).pages for record in page]
    events = fed(SOURCE, ACTIVITY, "email_events", records, DAY)
    refusals = [row for row in fed(SOURCE, ACTIVITY, "consents", records, DAY) if row["_fate"] == "out"]

    assert ["opened", "clicked", "bounced", "unsubscribed", "complained"] == [row["email_event"] for row in events]
    assert [("m2@example.com", "withdrawn"), ("m3@example.com", "withdrawn")] == [
        (row["email"], row["consent_status"]) for row in refusals
    ]


def test_an_event_read_again_has_the_same_id_and_none_tells_the_address() -> None:
    happened = {"action": "open", "timestamp": NOON, "ip": "192.0.2.1"}
    ids = []
    for opens in (1, 2):
        vendor = activity(happened, unsubscribed=[recipient(1, timestamp=NOON, list_is_active=opens == 1)])
        records = [record for page in asked(ACTIVITY, vendor).pages for record in page]
        ids.append(landed_as_they_are(SOURCE, ACTIVITY, records, DAY)["_id"].to_list())

    assert ids[0] == ids[1]
    assert not [one for one in ids[0] if "@" in one or recipient(1)["email_id"] in one]


def test_campaigns_are_followed_for_a_while_and_as_long_as_they_are_sending() -> None:
    campaigns = [
        campaign("old", "2025-01-01T00:00:00+00:00"),
        campaign("auto", "2025-01-01T00:00:00+00:00", status="sending"),
        campaign("new", "2025-12-24T00:00:00+00:00"),
    ]
    kept = asked(ACTIVITY, Mailchimp(campaigns=campaigns))
    reports = [request.url.path.split("/")[3] for request in kept.requests if "/reports/" in request.url.path]

    assert ["new", "auto"] == list(dict.fromkeys(reports))


def test_activity_after_the_window_is_of_a_later_one() -> None:
    late = {"action": "open", "timestamp": "2026-01-03T00:00:00+00:00"}
    wrapped = landed(SOURCE, ACTIVITY, asked(ACTIVITY, activity(late)).pages, window=DAY)

    assert (0, 1, 0) == (wrapped.rows.height, wrapped.aside, wrapped.dead.height)


def test_a_campaign_deleted_since_it_was_listed_stops_nothing() -> None:
    vendor = activity({"action": "open", "timestamp": NOON})
    vendor.campaigns.append(campaign("gone"))
    vendor.missing.add("gone")

    assert 1 == len(asked(ACTIVITY, vendor).records)


# --- the account ------------------------------------------------------------------------------------------------------


def test_the_key_is_a_password_whose_user_does_not_matter() -> None:
    (request,) = asked(MEMBERS, Mailchimp()).requests

    assert b"key:0123abcd-us21" == base64.b64decode(request.headers["authorization"].removeprefix("Basic "))


def test_a_wrong_key_is_one_line_without_it() -> None:
    refusal = problem(401, "API Key Invalid", "Your API key may be invalid, or you've attempted the wrong datacenter.")

    with pytest.raises(SourceRefused, match="wrong datacenter") as caught:
        asked(MEMBERS, lambda _: refusal)
    assert "0123abcd" not in str(caught.value)


def test_an_address_of_something_else_is_refused() -> None:
    with pytest.raises(SourceRefused, match="Resource Not Found"):
        asked(MEMBERS, lambda _: problem(404, "Resource Not Found", "The requested resource could not be found."))


def too_many(_: httpx.Request) -> httpx.Response:
    return problem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")


def test_too_many_connections_are_waited_for() -> None:
    kept = asked(MEMBERS, in_turn(too_many, too_many, Mailchimp(members={"a1": [member(1)]})))

    assert (1, 2) == (len(kept.records), len(kept.waited))


def test_too_many_connections_for_long_give_the_slot_back() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return too_many(request)

    with pytest.raises(QuotaExhausted, match="simultaneous connections"):
        asked(MEMBERS, answer)
    assert TRIES == len(requests)


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_a_window_without_anything_is_empty_and_no_error(stream: Stream) -> None:
    assert [] == asked(stream, Mailchimp()).records


def test_records_made_here_are_json_of_the_members_that_stay() -> None:
    reports = {("k1", "sent-to"): [recipient(1, status="sent", open_count=3, last_open=NOON)]}
    (page,) = asked(SENDS, Mailchimp(campaigns=[campaign("k1")], reports=reports)).pages

    assert [{**recipient(1), "action": "sent", "timestamp": NOON}] == [json.loads(one) for one in page]
