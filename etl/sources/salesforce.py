"""Salesforce: accounts, contacts, leads, opportunities, campaigns and their members, with what was deleted.

API: REST v62.0, https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/, and Bulk API 2.0 query
jobs, https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/. `base_url` is the address of your
own org (https://NAME.my.salesforce.com).

`query` hides what was deleted, `queryAll` tells of it with IsDeleted. SystemModstamp decides the window: it moves with
every change, a deletion too. A window with more than `MANY` records is fetched by a Bulk job, whose answer is CSV; its
records then say every value as text, and an empty one not at all. Bulk takes no compound fields (MailingAddress): a
query that names one falls back to REST. The daily quota is told in 403 as well as in 400.

Not verified against the live API.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

API = "/services/data/v62.0"

#: From so many records on, a job costs fewer calls than pages of 2,000 do.
MANY = 20_000
#: Records in one answer of a job.
ROWS = 50_000
#: A job looked at every ten seconds is given up after two hours.
LOOK_SECONDS, LOOKS = 10.0, 720
#: Longer addresses are refused with 414 or 431.
LONGEST_URL = 16_384

_STAMPS = ("Id", "IsDeleted", "CreatedDate", "SystemModstamp")
ACCOUNT = (*_STAMPS, "Name", "Type", "Industry", "Website", "Phone", "NumberOfEmployees", "BillingStreet",
    "BillingCity", "BillingState", "BillingPostalCode", "BillingCountry", "ParentId", "MasterRecordId",
    "OwnerId")  # fmt: skip
CONTACT = (*_STAMPS, "AccountId", "FirstName", "LastName", "Email", "Phone", "MobilePhone", "Birthdate", "Title",
    "MailingStreet", "MailingCity", "MailingState", "MailingPostalCode", "MailingCountry", "HasOptedOutOfEmail",
    "MasterRecordId", "OwnerId")  # fmt: skip
LEAD = (*_STAMPS, "FirstName", "LastName", "Email", "Phone", "MobilePhone", "Company", "Status", "LeadSource",
    "Street", "City", "State", "PostalCode", "Country", "HasOptedOutOfEmail", "IsConverted", "ConvertedContactId",
    "ConvertedAccountId", "MasterRecordId", "OwnerId")  # fmt: skip
OPPORTUNITY = (*_STAMPS, "AccountId", "CampaignId", "ContactId", "Name", "StageName", "Amount", "Probability",
    "CloseDate", "IsClosed", "IsWon", "LeadSource", "Type", "OwnerId")  # fmt: skip
CAMPAIGN = (*_STAMPS, "Name", "Type", "Status", "StartDate", "EndDate", "IsActive", "ParentId", "BudgetedCost",
    "ActualCost")  # fmt: skip
MEMBER = (*_STAMPS, "CampaignId", "ContactId", "LeadId", "LeadOrContactId", "Status", "HasResponded",
    "FirstRespondedDate", "Email", "Phone")  # fmt: skip


def query_of(thing: str, fields: Sequence[str], by: str, window: Window) -> str:
    """The records of `thing` whose time `by` lies in the window, half open."""
    return (
        f"SELECT {', '.join(fields)} FROM {thing} "  # noqa: S608 - names we declare, times of our own
        f"WHERE {by} >= {window.start:%Y-%m-%dT%H:%M:%SZ} AND {by} < {window.end:%Y-%m-%dT%H:%M:%SZ}"
    )


def read(
    line: Line, window: Window, *, thing: str, fields: Sequence[str], by: str = "SystemModstamp"
) -> Iterator[Sequence[bytes]]:
    """By pages where they are few, by a Bulk job where they are many and it can say them."""
    query = query_of(thing, fields, by, window)
    first = Ask(f"{API}/queryAll?q={quote(query, safe='')}", records="records")
    if len(first.path) > LONGEST_URL - 200:
        raise SourceError(f"salesforce {thing}: the query is longer than an address may be; ask for fewer fields")
    told = line.ask(first)
    answer = json.loads(told.body)
    job = started(line, query) if answer.get("totalSize", 0) > MANY else None
    if job:
        yield from results(line, job)
        return
    seen: set[str] = set()
    while True:
        yield told.records
        following = answer.get("nextRecordsUrl")
        if answer.get("done") is not False and not following:
            return
        if not following or following in seen:
            raise SourceError(f"salesforce {thing}: the next page is one that came before, or none though more remain")
        seen.add(following)
        told = line.ask(Ask(following, records="records"))
        answer = json.loads(told.body)


def started(line: Line, query: str) -> str | None:
    """The id of a Bulk job for the query; None when Bulk cannot answer it, since it names a compound field."""
    job = {
        "operation": "queryAll",
        "query": query,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    try:
        told = line.ask(Ask(f"{API}/jobs/query", method="POST", json=job))
    except SourceError as refusal:
        if "compound data not supported" in str(refusal):
            return None
        raise
    number = str(json.loads(told.body)["id"])
    for _ in range(LOOKS):
        state = json.loads(line.ask(Ask(f"{API}/jobs/query/{number}")).body)
        if state["state"] == "JobComplete":
            return number
        if state["state"] in {"Failed", "Aborted"}:
            why = str(state.get("errorMessage") or "no reason given")
            if "compound data not supported" in why:
                return None
            raise SourceError(f"salesforce: the Bulk job ended as {state['state']} ({why}); run the window again")
        line.wait(LOOK_SECONDS)
    raise SourceError(f"salesforce: a Bulk job took longer than {LOOKS * LOOK_SECONDS / 3600:.0f} hours")


def results(line: Line, job: str) -> Iterator[Sequence[bytes]]:
    """The job's records, until the locator in the header is the word null."""
    locator, seen = "", set[str]()
    while True:
        params = {"maxRecords": str(ROWS), **({"locator": locator} if locator else {})}
        told = line.ask(Ask(f"{API}/jobs/query/{job}/results", params=params, headers={"Accept": "text/csv"}))
        yield list(_rows(told.body))
        locator = told.headers.get("sforce-locator", "null")
        if locator == "null":
            return
        if locator in seen:
            raise SourceError("salesforce: a Bulk job gives the same locator twice, so it would never end")
        seen.add(locator)


_MILLIS = re.compile(r"-?\d{12,14}")


def _rows(body: bytes) -> Iterator[bytes]:
    """Lines of CSV as JSON objects; empty cells are absent, times written in milliseconds become ISO ones."""
    for row in csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")):
        if None in row or None in row.values():
            raise SourceError("salesforce: a line of a Bulk result has more or fewer cells than its header")
        yield json.dumps(
            {
                name: _iso(value) if name in {"CreatedDate", "SystemModstamp"} and _MILLIS.fullmatch(value) else value
                for name, value in row.items()
                if value != ""
            },
            ensure_ascii=False,
        ).encode()


def _iso(millis: str) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(millis))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entity(name: str, thing: str, fields: Sequence[str], *feeds: Feed) -> Stream:
    """The records of one object as they change, those deleted as tombstones."""
    return Stream(
        name=name,
        kind=Kind.ENTITY,
        request=Own(partial(read, thing=thing, fields=fields)),
        id=("Id",),
        at=Pick("SystemModstamp", "timestamp"),
        cursor=Pick("SystemModstamp", "timestamp"),
        deleted=Pick("IsDeleted", "bool"),
        feeds=feeds,
    )


_NAMED = {
    "email": Pick("Email"),
    "phone": Pick("Phone"),
    "given_name": Pick("FirstName"),
    "family_name": Pick("LastName"),
    "created_at": Pick("CreatedDate", "timestamp"),
    "updated_at": Pick("SystemModstamp", "timestamp"),
}

ACCOUNTS = entity("accounts", "Account", ACCOUNT)
CONTACTS = entity(
    "contacts",
    "Contact",
    CONTACT,
    Feed(
        subject="person_records",
        fields={
            **_NAMED,
            "birth_date": Pick("Birthdate", "date"),
            "street": Pick("MailingStreet"),
            "postal_code": Pick("MailingPostalCode"),
            "city": Pick("MailingCity"),
            "region": Pick("MailingState"),
            "country": Pick("MailingCountry"),
        },
    ),
)
LEADS = entity(
    "leads",
    "Lead",
    LEAD,
    Feed(
        subject="person_records",
        fields={
            **_NAMED,
            "street": Pick("Street"),
            "postal_code": Pick("PostalCode"),
            "city": Pick("City"),
            "region": Pick("State"),
            "country": Pick("Country"),
            "company": Pick("Company"),
            "lifecycle_stage": Pick("Status"),
        },
    ),
)
OPPORTUNITIES = entity("opportunities", "Opportunity", OPPORTUNITY)
CAMPAIGNS = entity(
    "campaigns",
    "Campaign",
    CAMPAIGN,
    Feed(
        subject="campaigns",
        fields={
            "campaign_id": Pick("Id"),
            "campaign_name": Pick("Name"),
            "campaign_type": Pick("Type"),
            "starts_on": Pick("StartDate", "date"),
            "ends_on": Pick("EndDate", "date"),
        },
    ),
)
CAMPAIGN_MEMBERS = entity("campaign_members", "CampaignMember", MEMBER)

#: That somebody was put on a campaign happens once, whatever becomes of the membership: an event of its own time.
CAMPAIGN_ADDITIONS = Stream(
    name="campaign_additions",
    kind=Kind.EVENTS,
    request=Own(partial(read, thing="CampaignMember", fields=MEMBER, by="CreatedDate")),
    id=("Id",),
    at=Pick("CreatedDate", "timestamp"),
    feeds=(
        Feed(
            subject="campaign_interactions",
            fields={
                "interaction_id": Pick("Id"),
                "interaction_type": Pick(const="targeted"),
                "campaign_id": Pick("CampaignId"),
                "email": Pick("Email"),
                "phone": Pick("Phone"),
                "event_at": Pick("CreatedDate", "timestamp"),
            },
        ),
    ),
)

SOURCE = Source(
    name="salesforce",
    title="Salesforce",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=25, seconds=20.0, concurrency=1),
    errors="salesforce",
    streams=(ACCOUNTS, CONTACTS, LEADS, OPPORTUNITIES, CAMPAIGNS, CAMPAIGN_MEMBERS, CAMPAIGN_ADDITIONS),
)
