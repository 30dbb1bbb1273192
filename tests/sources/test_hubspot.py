"""HubSpot, by v3 and by its dated paths: search beyond its cap, merges, archives, associations; requests and answers
judged by HubSpot's own descriptions. Of associations none is at hand: their shapes are the reference's.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Source, Stream
from etl.silver.person_records import PERSON_RECORDS, standardise_person_records
from etl.silver.standardise import picked
from etl.sources import hubspot, hubspot_2026_09
from tests.identity.evidence import KEY, Evidence, customer_of, ledger, node, resolved
from tests.sources.fed import fed, in_turn, landed
from tests.sources.judges import NOW, WINDOW, Answer, Talk, judge, judge_of_answers, talk

SOURCES = (hubspot.SOURCE, hubspot_2026_09.SOURCE)
STREAMS = [(source, stream) for source in SOURCES for stream in source.streams]
NAMES = [f"{source.name}.{stream.name}" for source, stream in STREAMS]
DURING = "2026-01-02T10:00:00.000Z"
START, END = (int(moment.timestamp() * 1000) for moment in (WINDOW.start, WINDOW.end))


def record(number: int, at: str = DURING, **properties: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "properties": {"hs_object_id": str(number), **properties},
        "createdAt": "2025-12-01T08:00:00.000Z",
        "updatedAt": at,
        "archived": False,
    }


class Portal:
    """A HubSpot that holds these records of every kind, and what belongs to what by its number."""

    def __init__(self, records: list[dict[str, Any]], belonging: dict[str, list[str]] | None = None) -> None:
        self.records, self.belonging = records, belonging or {}
        self.archived: list[dict[str, Any]] = []
        self.found: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert "Bearer secret" == request.headers["authorization"]
        if request.url.path.endswith("/batch/read"):
            return self.batch(json.loads(request.content)["inputs"])
        if request.url.path.endswith("/search"):
            return self.search(json.loads(request.content))
        assert "true" == request.url.params["archived"]
        return self.page(self.archived, int(request.url.params.get("after", "0")), int(request.url.params["limit"]))

    def search(self, asked: dict[str, Any]) -> httpx.Response:
        first, size = int(asked["after"]), asked["limit"]
        assert size <= 200
        if first + size > 10_000:
            return refusal(400, "VALIDATION_ERROR", "The maximum number of results is 10000.")(
                httpx.Request("GET", "/")
            )
        (group,) = asked["filterGroups"]
        known = json.dumps(group)
        if known not in self.found:
            found = [one for one in self.records if all(_meets(one, test) for test in group["filters"])]
            self.found[known] = sorted(found, key=lambda one: int(one["id"]))
        return self.page(self.found[known], first, size, total=len(self.found[known]))

    def page(self, found: list[dict[str, Any]], first: int, size: int, **more: Any) -> httpx.Response:
        body: dict[str, Any] = {"results": found[first : first + size], **more}
        if first + size < len(found):
            body["paging"] = {"next": {"after": str(first + size)}}
        return httpx.Response(200, json=body)

    def batch(self, inputs: list[dict[str, str]]) -> httpx.Response:
        """Two of what belongs to a record at a time; of what belongs to nothing an error, in a 207."""
        results: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for one in inputs:
            held, first = self.belonging.get(one["id"], []), int(one.get("after", "0"))
            if not held:
                told = {"category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
                errors.append({"status": "error", "message": f"No company for {one['id']}", **told})
                continue
            kinds = [{"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None}]
            result: dict[str, Any] = {
                "from": {"id": one["id"]},
                "to": [{"toObjectId": to, "associationTypes": kinds} for to in held[first : first + 2]],
            }
            if first + 2 < len(held):
                result["paging"] = {"next": {"after": str(first + 2)}}
            results.append(result)
        body = {"status": "COMPLETE", "results": results, **({"errors": errors, "numErrors": 1} if errors else {})}
        return httpx.Response(207 if errors else 200, json=body)


def _meets(one: dict[str, Any], test: dict[str, str]) -> bool:
    name, operator = test["propertyName"], test["operator"]
    if operator == "HAS_PROPERTY":
        return bool(one["properties"].get(name))
    moment = int(datetime.fromisoformat(one["updatedAt"]).timestamp() * 1000)
    value = int(one["id"]) if name == "hs_object_id" else moment
    return {"GTE": value >= int(test["value"]), "LT": value < int(test["value"]), "GT": value > int(test["value"])}[
        operator
    ]


def refusal(status: int, category: str, message: str, **more: str) -> Answer:
    body = {"status": "error", "category": category, "message": message, "correlationId": "c" * 8, **more}
    return lambda _: httpx.Response(status, json=body)


def of(name: str, source: Source = hubspot.SOURCE) -> Stream:
    return next(stream for stream in source.streams if stream.name == name)


def asked(answer: Answer, name: str = "contacts", source: Source = hubspot.SOURCE) -> Talk:
    return talk(source, of(name, source), answer)


# --- judged ----------------------------------------------------------------------------------------------------------


@functools.cache
def judges(path: Path) -> tuple[Callable[[httpx.Request], None], Callable[[httpx.Request, httpx.Response], None]]:
    return judge(path), judge_of_answers(path)


@pytest.mark.parametrize(("source", "stream"), STREAMS, ids=NAMES)
def test_hubspot_knows_what_we_ask_and_our_portal_answers(source: Source, stream: Stream, shared: Path) -> None:
    portal = Portal([record(number, hs_merged_object_ids="7;8") for number in range(1, 402)], {"1": ["9", "10", "11"]})
    portal.archived = [{**record(1), "archived": True, "archivedAt": DURING}] * 101
    portal.archived = [{**one, "id": str(number)} for number, one in enumerate(portal.archived)]
    kept = talk(source, stream, portal)
    version = "v3" if source is hubspot.SOURCE else "2026-09"
    judged = 0
    for request, response in zip(kept.requests, kept.responses, strict=True):
        kind = re.search(r"/(contacts|companies|0-3)", request.url.path)
        assert kind is not None
        if "associations" in request.url.path:
            continue
        ask, answer = judges(shared / "specs" / "hubspot" / f"{version}-{kind[1].replace('0-3', 'deals')}.json")
        ask(request)
        if not judged:
            answer(request, response)
        judged += 1
    assert 2 <= judged <= 3


def test_the_judges_see_an_answer_that_is_none(shared: Path) -> None:
    _, answer = judges(shared / "specs" / "hubspot" / "v3-contacts.json")
    kept = asked(Portal([]))

    with pytest.raises(Exception, match=r"[Ii]nvalid|validation"):
        answer(kept.requests[0], httpx.Response(200, json={"results": [{"id": 1}]}))


@pytest.mark.parametrize(("source", "stream"), STREAMS, ids=NAMES)
def test_the_version_is_a_choice_of_source(source: Source, stream: Stream) -> None:
    paths = {request.url.path for request in talk(source, stream, Portal([record(1)])).requests}
    starts = ("/crm/v3/objects/", "/crm/v4/associations/") if source is hubspot.SOURCE else (
        "/crm/objects/2026-09/", "/crm/associations/2026-09/")  # fmt: skip

    assert all(path.startswith(starts) for path in paths)


# --- search ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contacts", "contacts_merged"])
def test_10001_hits_all_arrive_though_search_ends_at_10000(name: str) -> None:
    hits = [record(number, hs_merged_object_ids=str(100_000 + number)) for number in range(1, 10_002)]
    kept = asked(Portal(hits), name)

    assert 10_001 == len({one["id"] for one in kept.records}) == len(kept.records)
    assert 51 == len(kept.requests)


@pytest.mark.parametrize("name", ["contacts", "companies", "deals", "deal_contacts"])
def test_a_record_on_the_stroke_of_midnight_is_in_one_window(name: str) -> None:
    before, first, last, after = (
        record(number, moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        for number, moment in enumerate(
            (
                WINDOW.start - timedelta(milliseconds=1),
                WINDOW.start,
                WINDOW.end - timedelta(milliseconds=1),
                WINDOW.end,
            ),
            start=1,
        )
    )
    kept = asked(Portal([before, first, last, after]), name)

    assert ["2", "3"] == [one["id"] for one in kept.records]


@pytest.mark.parametrize(
    ("name", "by"),
    [("contacts", "lastmodifieddate"), ("companies", "hs_lastmodifieddate"), ("deals", "hs_lastmodifieddate")],
)
def test_each_kind_has_its_own_modified_date(name: str, by: str) -> None:
    (request,) = asked(Portal([]), name).requests
    filters = json.loads(request.content)["filterGroups"][0]["filters"]

    assert [(by, str(START)), (by, str(END)), ("hs_object_id", "0")] == [
        (one["propertyName"], one["value"]) for one in filters
    ]


# --- archived, merged, associated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["contacts", "companies", "deals"])
def test_the_archived_are_tombstones_of_their_kind(kind: str) -> None:
    portal = Portal([])
    portal.archived = [
        {**record(number), "archived": True, "archivedAt": DURING, "updatedAt": DURING} for number in range(150)
    ]
    kept = asked(portal, f"{kind}_archived")
    rows = landed(hubspot.SOURCE, of(f"{kind}_archived"), kept.records)

    assert (150, {"delete"}, {kind}) == (rows.height, set(rows["_op"]), set(rows["_stream"]))


@pytest.mark.parametrize("kind", ["contacts", "companies", "deals"])
def test_the_losers_of_a_merge_are_tombstones_of_their_kind(kind: str) -> None:
    kept = asked(Portal([record(5, hs_merged_object_ids="3;4"), record(6)]), f"{kind}_merged")
    rows = landed(hubspot.SOURCE, of(f"{kind}_merged"), kept.records)

    assert [("3", "delete", kind), ("4", "delete", kind)] == rows.select("_id", "_op", "_stream").rows()
    assert {"5"} == {one["mergedInto"] for one in kept.records}


def test_associations_are_whole_for_each_record_that_changed() -> None:
    kept = asked(Portal([record(1), record(2), record(3)], {"1": ["9", "10", "11"], "3": ["9"]}), "contact_companies")

    assert {"1": ["9", "10", "11"], "2": [], "3": ["9"]} == {
        one["id"]: [to["toObjectId"] for to in one["to"]] for one in kept.records
    }
    assert [{"id": "1", "after": "2"}] == json.loads(kept.requests[-1].content)["inputs"]
    assert 3 == landed(hubspot.SOURCE, of("contact_companies"), kept.records).height


def test_a_batch_that_went_wrong_in_part_is_an_error() -> None:
    portal = Portal([record(1)])
    broken = {"status": "COMPLETE", "results": [], "errors": [{"category": "INTERNAL", "message": "Internal error"}]}

    def answer(request: httpx.Request) -> httpx.Response:
        is_batch = request.url.path.endswith("/batch/read")
        return httpx.Response(207, json=broken) if is_batch else portal(request)

    with pytest.raises(SourceError, match=r"did not come \(Internal error\)"):
        asked(answer, "contact_companies")


# --- no, and not now --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "seconds"), [("SECONDLY", 1.0), ("TEN_SECONDLY_ROLLING", 10.0)])
def test_a_short_limit_without_retry_after_is_waited_for(policy: str, seconds: float) -> None:
    busy = refusal(429, "RATE_LIMITS", "You have reached your limit.", policyName=policy)
    kept = asked(in_turn(busy, Portal([record(1)])))

    assert 1 == len(kept.records)
    assert seconds <= kept.waited[0] < seconds + 1.2


def test_the_limit_of_ten_seconds_is_as_long_as_its_header_says() -> None:
    headers = {"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "7000"}
    busy = refusal(429, "RATE_LIMITS", "You have reached your limit.", policyName="TEN_SECONDLY_ROLLING")
    limited = httpx.Response(429, content=busy(httpx.Request("GET", "/")).content, headers=headers)
    kept = asked(in_turn(lambda _: limited, Portal([record(1)])))

    assert 7 <= kept.waited[0] < 8


def test_the_daily_limit_gives_the_slot_back() -> None:
    with pytest.raises(QuotaExhausted, match="You have reached your daily limit") as caught:
        asked(refusal(429, "RATE_LIMITS", "You have reached your daily limit.", policyName="DAILY"))

    assert 3500 < (caught.value.until - NOW).total_seconds() <= 3600


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_gives_up_is_throttling(status: int) -> None:
    assert 1 == len(asked(in_turn(lambda _: httpx.Response(status, text="<html>"), Portal([record(1)]))).records)


@pytest.mark.parametrize("name", ["contacts", "contacts_merged", "deal_companies", "companies_archived"])
def test_wrong_credentials_ask_for_a_valid_secret(name: str) -> None:
    answer = refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials pat-secret not found")

    with pytest.raises(SourceRefused, match=r"does not take the secret.*credentials pat-\*\*\* not found") as caught:
        talk(hubspot.SOURCE, of(name), answer)

    assert "pat-secret" not in str(caught.value)


def test_a_missing_scope_is_told_in_the_vendors_words() -> None:
    told = "This app hasn't been granted all required scopes to make this call."

    with pytest.raises(SourceRefused, match="granted all required scopes"):
        asked(refusal(403, "MISSING_SCOPES", told), "deals")


# --- into silver ------------------------------------------------------------------------------------------------------


CONTACT = {
    "email": "ann@example.org",
    "phone": "+49 30 1",
    "shop_customer_id": "u1",
    "loyalty_card": "K1",
    "mastodon_handle": "ann@social.example",
    "firstname": "Ann",
    "lastname": "Ott",
    "date_of_birth": "1990-05-06",
    "address": "Weg 1",
    "zip": "01067",
    "city": "Dresden",
    "state": "SN",
    "country": "Germany",
    "hs_language": "de",
    "company": "Nord AG",
    "lifecyclestage": "customer",
}
PERSON = {
    "_fate": "out",
    "email": "ann@example.org",
    "phone": "+49 30 1",
    "login": "u1",
    "card": "K1",
    "handle": "ann@social.example",
    "given_name": "Ann",
    "family_name": "Ott",
    "birth_date": date(1990, 5, 6),
    "street": "Weg 1",
    "postal_code": "01067",
    "city": "Dresden",
    "region": "SN",
    "country": "Germany",
    "language": "de",
    "company": "Nord AG",
    "lifecycle_stage": "customer",
    "created_at": datetime(2025, 12, 1, 8, tzinfo=UTC),
    "updated_at": datetime(2026, 1, 2, 10, tzinfo=UTC),
}


def test_a_contact_is_a_person_archived_too() -> None:
    contact = record(1, **CONTACT)
    gone = {**contact, "archived": True, "archivedAt": DURING}

    assert [PERSON] == fed(hubspot.SOURCE, hubspot.CONTACTS, "person_records", [contact])
    assert [PERSON] == fed(hubspot.SOURCE, hubspot.CONTACTS_ARCHIVED, "person_records", [gone])


def people(contacts: list[dict[str, Any]], merged: list[dict[str, Any]]) -> pl.DataFrame:
    """The records of persons that contacts and merges make."""
    told = ((hubspot.CONTACTS, contacts), (hubspot.CONTACTS_MERGED, merged))
    rows = [
        picked(landed(hubspot.SOURCE, stream, records).lazy(), source=hubspot.SOURCE, stream=stream,
               feed=stream.feeds[0], table=PERSON_RECORDS)
        for stream, records in told
    ]  # fmt: skip
    return standardise_person_records(pl.concat(rows), key=KEY, country="DE").collect()


def evidence_of(records: pl.DataFrame) -> Evidence:
    """These records, as identity is handed them."""
    evidence = Evidence()
    evidence.rows["person_records"] = records.filter(_fate="out").select(PERSON_RECORDS.column_names).to_dicts()
    return evidence


def customers(records: pl.DataFrame) -> dict[str, str]:
    """node -> customer, as identity settles these records alone."""
    return customer_of(resolved(evidence_of(records)))


def merges(winner: int, losers: range) -> list[dict[str, Any]]:
    told = record(winner, hs_merged_object_ids=";".join(map(str, losers)))
    return asked(Portal([told]), "contacts_merged").records


def test_76_merged_away_contacts_nobody_ever_saw_are_76_tombstones_and_no_customer() -> None:
    records = people([record(1, email="ann@example.org")], merges(1, range(100, 176)))

    assert {"out": 1, "filtered": 76} == dict(records.group_by("_fate").len().iter_rows())
    assert 1 == len(set(customers(records).values()))


def test_a_contact_merged_away_leads_to_the_one_it_was_merged_into_by_all_it_was_known_by() -> None:
    """Nothing but the merge joins the two: no name, no address, no card of theirs is alike."""
    seen = [record(1, email="ann@example.org"), record(2, email="annie@example.org", loyalty_card="K-7")]
    apart = customers(people(seen, []))
    joined = customers(people(seen, merges(1, range(2, 3))))
    names = [node("email", "ann@example.org"), node("email", "annie@example.org"), node("card", "K7")]

    assert 2 == len({apart[name] for name in names})
    assert 1 == len({joined[name] for name in names})


def test_a_merge_in_the_crm_is_a_merge_of_customers_and_the_older_one_stays() -> None:
    seen = [record(1, email="ann@example.org"), record(2, email="annie@example.org", loyalty_card="K-7")]
    before = resolved(evidence_of(people(seen, [])))
    after = resolved(evidence_of(people(seen, merges(1, range(2, 3)))), before, on=3)
    changes = ledger(after, ledger(before))

    assert set(customer_of(after).values()) < set(customer_of(before).values())
    assert ["merge"] == changes.filter(pl.col("identity_event") == "merge")["identity_event"].to_list()


def test_a_merge_told_after_the_contact_changed_once_more_holds() -> None:
    """The merge is dated by its winner, whose last change may be long before the loser's."""
    late = record(2, at="2026-01-02T11:00:00.000Z", email="annie@example.org")
    records = people([record(1, email="ann@example.org"), late], merges(1, range(2, 3)))

    assert 1 == records.filter(_fate="out")["node_id"].n_unique()
