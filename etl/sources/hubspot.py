"""HubSpot CRM: contacts, companies and deals as they change, those archived or merged away, and who belongs to what.

API: CRM objects v3, https://developers.hubspot.com/docs/api/crm/contacts and .../crm/search. The same under HubSpot's
dated paths is the source `hubspot_2026_09`: activate one of the two. Search answers at most 10,000 results, so it is
walked by `hs_object_id`: sorting by the modified date can repeat pages for ever when many contacts share one. Archived
records stay listed for 90 days. A merge takes its losers away without a trace of their own; the winner names them in
`hs_merged_object_ids`, and each becomes a tombstone here that says whose it is now. Search tells nothing of
associations: they are a second question about the records that changed (batch/read, version 4), and a record of them is
made here: `id`, `updatedAt` and all of `to`, so that the next one takes back what is no more. That an association moves
the modified date of its first record is not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Http, Kind, Limits, Line, Own, Paging, Pick, Source, Stream, Told, Window

PROPERTIES = (
    "email", "firstname", "lastname", "phone", "mobilephone", "address", "zip", "city", "state", "country",
    "hs_language", "date_of_birth", "company", "lifecyclestage", "loyalty_card", "shop_customer_id",
    "mastodon_handle", "createdate", "lastmodifieddate", "hs_object_id",
)  # fmt: skip

COMPANY_PROPERTIES = (
    "name", "domain", "website", "industry", "phone", "address", "zip", "city", "state", "country", "numberofemployees",
    "annualrevenue", "lifecyclestage", "hs_parent_company_id", "createdate", "hs_lastmodifieddate", "hs_object_id",
)  # fmt: skip

DEAL_PROPERTIES = (
    "dealname", "dealstage", "pipeline", "dealtype", "amount", "deal_currency_code", "closedate", "hs_is_closed_won",
    "hs_is_closed", "createdate", "hs_lastmodifieddate", "hs_object_id",
)  # fmt: skip

#: Search answers no further than this.
CAP = 10_000
SIZE = 200
#: The number HubSpot's own description knows deals by.
DEALS_TYPE = "0-3"

_PERSON = Feed(
    subject="person_records",
    fields={
        "email": Pick("properties.email"),
        "phone": Pick("properties.phone"),
        "login": Pick("properties.shop_customer_id"),
        "card": Pick("properties.loyalty_card"),
        "handle": Pick("properties.mastodon_handle"),
        "given_name": Pick("properties.firstname"),
        "family_name": Pick("properties.lastname"),
        "birth_date": Pick("properties.date_of_birth", "date"),
        "street": Pick("properties.address"),
        "postal_code": Pick("properties.zip"),
        "city": Pick("properties.city"),
        "region": Pick("properties.state"),
        "country": Pick("properties.country"),
        "language": Pick("properties.hs_language"),
        "company": Pick("properties.company"),
        "lifecycle_stage": Pick("properties.lifecyclestage"),
        "created_at": Pick("createdAt", "timestamp"),
        "updated_at": Pick("updatedAt", "timestamp"),
    },
)

#: Who was merged away is the winner, with every identifier it had; of one never seen there is nothing to say.
_MERGED = Feed(subject="person_records", fields={"merged_into": Pick("mergedInto")})

# --- what changed, and what was archived ------------------------------------------------------------------------------


def changed(name: str, path: str, properties: Sequence[str], by: str, *feeds: Feed) -> Stream:
    """The records of one kind whose modified date `by` lies in the window."""
    return Stream(
        name=name,
        kind=Kind.ENTITY,
        request=Http(
            method="POST",
            path=f"{path}/search",
            records="results",
            json={
                "filterGroups": [
                    {
                        "filters": [
                            {"propertyName": by, "operator": "GTE", "value": "{start_ms}"},
                            {"propertyName": by, "operator": "LT", "value": "{end_ms}"},
                            {"propertyName": "hs_object_id", "operator": "GT", "value": "{above}"},
                        ]
                    }
                ],
                "sorts": ["hs_object_id"],
                "properties": list(properties),
                "after": "0",
            },
            paging=Paging(
                style="keyset",
                next_at="paging.next.after",
                param="after",
                size_param="limit",
                size=SIZE,
                key="id",
                cap=CAP,
            ),
        ),
        id=("id",),
        at=Pick("updatedAt", "timestamp"),
        cursor=Pick("updatedAt", "timestamp"),
        feeds=feeds,
    )


def archived(of: str, path: str, properties: Sequence[str], *feeds: Feed) -> Stream:
    """Those archived in the window, as tombstones of the stream `of`."""
    return Stream(
        name=f"{of}_archived",
        kind=Kind.ENTITY,
        request=Http(
            path=path,
            records="results",
            params={"archived": "true", "properties": ",".join(properties)},
            paging=Paging(style="cursor", next_at="paging.next.after", param="after", size_param="limit", size=100),
            trims=True,
        ),
        id=("id",),
        at=Pick("archivedAt", "timestamp"),
        cursor=Pick("archivedAt", "timestamp"),
        deleted=Pick("archived", "bool"),
        feeds=feeds,
        speaks_for=of,
    )


# --- what was merged away, and what belongs to what -------------------------------------------------------------------


def merged(of: str, path: str, by: str, *feeds: Feed) -> Stream:
    """Those that a merge took away, as tombstones of the stream `of`: told again whenever their winner changes."""
    return Stream(
        name=f"{of}_merged",
        kind=Kind.ENTITY,
        request=Own(partial(read_merged, path=path, by=by)),
        id=("id",),
        at=Pick("updatedAt", "timestamp"),
        cursor=Pick("updatedAt", "timestamp"),
        deleted=Pick("archived", "bool"),
        feeds=feeds,
        speaks_for=of,
    )


def associated(name: str, path: str, by: str, batch: str) -> Stream:
    """For every record that changed, all the records of another kind it belongs to."""
    return Stream(
        name=name,
        kind=Kind.ENTITY,
        request=Own(partial(read_associations, path=path, by=by, batch=batch)),
        id=("id",),
        at=Pick("updatedAt", "timestamp"),
        cursor=Pick("updatedAt", "timestamp"),
    )


def read_merged(line: Line, window: Window, *, path: str, by: str) -> Iterator[Sequence[bytes]]:
    """One record per loser of the winners that changed."""
    has_losers = {"propertyName": "hs_merged_object_ids", "operator": "HAS_PROPERTY"}
    for page in searched(line, window, path, by, ["hs_merged_object_ids"], has_losers):
        losers: list[bytes] = []
        for winner in page:
            for loser in (winner["properties"].get("hs_merged_object_ids") or "").split(";"):
                if loser.strip():
                    told = {"id": loser.strip(), "mergedInto": winner["id"], "updatedAt": winner["updatedAt"]}
                    losers.append(json.dumps({**told, "archived": True}).encode())
        yield losers


def read_associations(line: Line, window: Window, *, path: str, by: str, batch: str) -> Iterator[Sequence[bytes]]:
    """One record per record that changed, those that belong to nothing too."""
    for page in searched(line, window, path, by, ["hs_object_id"]):
        belonging: dict[str, list[Any]] = {record["id"]: [] for record in page}
        asked = [{"id": number} for number in belonging]
        while asked:
            told = line.ask(Ask(batch, records="results", method="POST", json={"inputs": asked}))
            asked = []
            for one in map(json.loads, told.records):
                belonging[one["from"]["id"]] += one["to"]
                after = ((one.get("paging") or {}).get("next") or {}).get("after")
                if after and one["to"]:
                    asked.append({"id": one["from"]["id"], "after": after})
            _refuse_errors(told)
        yield [
            json.dumps(
                {"id": record["id"], "updatedAt": record["updatedAt"], "to": belonging[record["id"]]},
                ensure_ascii=False,
            ).encode()
            for record in page
        ]


def _refuse_errors(told: Told) -> None:
    """A batch answers 207 with what went wrong beside what went well; that a record belongs to nothing is not wrong."""
    for error in json.loads(told.body).get("errors") or ():
        if "NO_ASSOCIATIONS_FOUND" not in str(error.get("subCategory")):
            raise SourceError(
                f"hubspot: a part of the associations did not come ({error.get('message')}); run it again"
            )


def searched(
    line: Line, window: Window, path: str, by: str, properties: Sequence[str], *conditions: dict[str, str]
) -> Iterator[list[dict[str, Any]]]:
    """Pages of a search for what changed in the window, begun anew above the last id where the cap comes near."""
    above, after, walked = "0", "0", 0
    while True:
        filters = [
            {"propertyName": by, "operator": "GTE", "value": str(_millis(window.start))},
            {"propertyName": by, "operator": "LT", "value": str(_millis(window.end))},
            {"propertyName": "hs_object_id", "operator": "GT", "value": above},
            *conditions,
        ]
        question = {
            "filterGroups": [{"filters": filters}],
            "sorts": ["hs_object_id"],
            "properties": list(properties),
            "after": after,
            "limit": SIZE,
        }
        told = line.ask(Ask(f"{path}/search", records="results", method="POST", json=question))
        page = [json.loads(record) for record in told.records]
        if page:
            yield page
        following = ((json.loads(told.body).get("paging") or {}).get("next") or {}).get("after")
        if not following or not page:
            return
        walked += len(page)
        if int(page[-1]["id"]) <= int(above):
            raise SourceError("hubspot: a search came to an id it had passed, so its pages would never end")
        if walked + SIZE > CAP:
            above, after, walked = page[-1]["id"], "0", 0
        else:
            after = following


def _millis(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


# --- the source -------------------------------------------------------------------------------------------------------


def hubspot(name: str, title: str, objects: str, associations: str) -> Source:
    """HubSpot by one of its families of paths: `objects` and `associations` are what they start with."""
    contacts, companies, deals = f"{objects}/contacts", f"{objects}/companies", f"{objects}/{DEALS_TYPE}"
    contact_by, other_by = "lastmodifieddate", "hs_lastmodifieddate"
    return Source(
        name=name,
        title=title,
        base_url="https://api.hubapi.com",
        auth=Auth(scheme="bearer"),
        # Private apps: 100 requests in 10 seconds; search 4 a second, one account.
        limits=Limits(requests=4, seconds=1.0, concurrency=1),
        errors="hubspot",
        streams=(
            changed("contacts", contacts, PROPERTIES, contact_by, _PERSON),
            archived("contacts", contacts, PROPERTIES, _PERSON),
            merged("contacts", contacts, contact_by, _MERGED),
            changed("companies", companies, COMPANY_PROPERTIES, other_by),
            archived("companies", companies, COMPANY_PROPERTIES),
            merged("companies", companies, other_by),
            changed("deals", deals, DEAL_PROPERTIES, other_by),
            archived("deals", deals, DEAL_PROPERTIES),
            merged("deals", deals, other_by),
            associated("contact_companies", contacts, contact_by, f"{associations}/contacts/companies/batch/read"),
            associated("deal_contacts", deals, other_by, f"{associations}/{DEALS_TYPE}/contacts/batch/read"),
            associated("deal_companies", deals, other_by, f"{associations}/{DEALS_TYPE}/companies/batch/read"),
        ),
    )


SOURCE = hubspot("hubspot", "HubSpot CRM", objects="/crm/v3/objects", associations="/crm/v4/associations")
CONTACTS, CONTACTS_ARCHIVED, CONTACTS_MERGED = SOURCE.streams[:3]
