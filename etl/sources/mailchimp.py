"""Mailchimp: the members of every audience with their consent, campaigns, and what became of every message.

API: Marketing API 3.0, https://mailchimp.com/developer/marketing/api/. Parameters, paths and members of the answers are
those of the vendor's own client (mailchimp-marketing 3.0.80). `base_url` is the data centre at the end of the key: one
that ends in -us21 belongs to https://us21.api.mailchimp.com. Errors are problems (RFC 7807), at most ten connections
may be open at once, and a 429 says no time.

- `since_...` and `before_...` do not say whether they include their moment: a second more is asked for and set aside.
- Members who change while their list is read leave the window, and the rest moves up: as many are asked for again.
  Archived members are asked for by name.
- A member tells its state, not when it was decided: a subscription is dated by its confirmation, an end by the last
  change. So each record is {decision, decided_at, member}, the member to the byte; `decision` is one decision's id.
- A campaign cannot be asked for by its changes: it is known from when it was sent on.
- Activity is asked for campaign by campaign: for those sent `FOLLOWED_DAYS` before the window's start or later, and
  those still sending. What happens to older messages is not read. Each activity, recipient, unsubscription and
  complaint is a record made here, known by its content: the one id there is hashes an address without a key.

How far back Mailchimp answers is not documented, so no `max_age_days`. Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

API = "/3.0"
#: The most that one page may hold.
SIZE = 1000
#: So long after it was sent a campaign is asked for its activity.
FOLLOWED_DAYS = 90

_SECOND = timedelta(seconds=1)

# --- pages ------------------------------------------------------------------------------------------------------------


def walked(line: Line, path: str, things: str, **params: str) -> Iterator[Sequence[bytes]]:
    """The pages of a list, to its `total_items`; none where it is gone.

    Raises: SourceError when fewer came than there are. A list asked for `since` may count what it leaves out.
    """
    offset = total = came = 0
    while True:
        asked = {**params, "exclude_fields": f"{things}._links,_links", "count": str(SIZE), "offset": str(offset)}
        told = line.ask(Ask(f"{API}{path}", records=things, params=asked))
        if told.skipped:
            return
        yield told.records
        came += len(told.records)
        before, total = total, int(json.loads(told.body)["total_items"])
        # What left the list before this page moved the rest towards its start: it is read from there again.
        offset = max(0, offset - (before - total)) if total < before else offset + SIZE
        if offset >= total:
            break
    if came < total and "since" not in params:
        raise SourceError(
            f"mailchimp: a list of {total} {things} gave only {came}; nothing was written; run the window again"
        )


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}+00:00"


# --- members ----------------------------------------------------------------------------------------------------------


def read_members(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The members of every audience who changed in the window."""
    changed = {
        "since_last_changed": _iso(window.start - _SECOND),
        "before_last_changed": _iso(window.end),
        "sort_field": "last_changed",
        "sort_dir": "ASC",
    }
    audiences = [json.loads(one)["id"] for page in walked(line, "/lists", "lists") for one in page]
    for audience in audiences:
        for status in ({}, {"status": "archived"}):
            for page in walked(line, f"/lists/{audience}/members", "members", **changed, **status):
                yield [with_decision(member) for member in page]


def with_decision(member: bytes) -> bytes:
    """The member to the byte, beside the decision its state tells of, and when that was made."""
    told = json.loads(member)
    moments = ("timestamp_opt", "timestamp_signup") if told.get("status") == "subscribed" else ()
    decided_at = next((told[name] for name in moments if told.get(name)), told.get("last_changed"))
    parts = (told.get("list_id"), told.get("contact_id"), told.get("status"), decided_at)
    before = {"decision": ":".join(map(str, parts)), "decided_at": decided_at}
    return json.dumps(before, ensure_ascii=False)[:-1].encode() + b', "member": ' + member + b"}"


#: Consent as the state of a member tells it. Cleaned addresses bounced for good. Who is pending has not decided yet,
#: and a transactional member was never asked.
CONSENT = {"subscribed": "granted", "unsubscribed": "withdrawn", "cleaned": "withdrawn", "archived": "withdrawn"}

MEMBERS = Stream(
    name="members",
    kind=Kind.ENTITY,
    request=Own(read_members, trims=True),
    # `id` is a hash of the address, and changes with it.
    id=("member.list_id", "member.contact_id"),
    at=Pick("member.last_changed", "timestamp"),
    cursor=Pick("member.last_changed", "timestamp"),
    feeds=(
        Feed(
            subject="person_records",
            fields={
                "email": Pick("member.email_address"),
                "phone": Pick("member.merge_fields.PHONE"),
                "full_name": Pick("member.full_name"),
                "given_name": Pick("member.merge_fields.FNAME"),
                "family_name": Pick("member.merge_fields.LNAME"),
                "street": Pick("member.merge_fields.ADDRESS.addr1"),
                "postal_code": Pick("member.merge_fields.ADDRESS.zip"),
                "city": Pick("member.merge_fields.ADDRESS.city"),
                "region": Pick("member.merge_fields.ADDRESS.state"),
                "country": Pick("member.merge_fields.ADDRESS.country"),
                "language": Pick("member.language"),
                "created_at": Pick("member.timestamp_signup", "timestamp"),
                "updated_at": Pick("member.last_changed", "timestamp"),
            },
        ),
        Feed(
            subject="consents",
            fields={
                "consent_id": Pick("decision"),
                "email": Pick("member.email_address"),
                "purpose": Pick(const="email_marketing"),
                "consent_status": Pick("member.status", values=CONSENT),
                "lawful_basis": Pick(const="consent"),
                "event_at": Pick("decided_at", "timestamp"),
            },
            where={"member.status": tuple(CONSENT)},
        ),
    ),
)

# --- campaigns, and what became of their messages ---------------------------------------------------------------------


def read_campaigns(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The campaigns sent in the window."""
    yield from walked(line, "/campaigns", "campaigns", **_sent(window.start, window.end))


def _sent(start: datetime, end: datetime) -> dict[str, str]:
    return {
        "since_send_time": _iso(start - _SECOND),
        "before_send_time": _iso(end),
        "sort_field": "send_time",
        "sort_dir": "ASC",
    }


def read_sends(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Whom the campaigns of the window were sent to; a message that bounced was sent too."""
    for page in read_campaigns(line, window):
        for campaign in map(json.loads, page):
            sent = {"campaign_id": campaign["id"], "action": "sent", "timestamp": campaign["send_time"]}
            for recipients in walked(line, f"/reports/{campaign['id']}/sent-to", "sent_to"):
                yield [_record(json.loads(one), sent) for one in recipients]


def read_activity(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """What happened to the messages of each campaign since the window's start: opens, clicks and bounces, and who
    unsubscribed or complained.
    """
    since = {"since": _iso(window.start - _SECOND)}
    for campaign in _followed(line, window):
        for page in walked(line, f"/reports/{campaign}/email-activity", "emails", **since):
            members = map(json.loads, page)
            yield [_record(one, activity) for one in members for activity in one.get("activity") or ()]
        for page in walked(line, f"/reports/{campaign}/unsubscribed", "unsubscribes"):
            yield [
                _record(one, {"action": "unsubscribe", "timestamp": one["timestamp"]}) for one in map(json.loads, page)
            ]
        for page in walked(line, f"/reports/{campaign}/abuse-reports", "abuse_reports"):
            yield [_record(one, {"action": "complaint", "timestamp": one["date"]}) for one in map(json.loads, page)]


def _followed(line: Line, window: Window) -> list[str]:
    """The campaigns whose messages may still meet with something, in the order they were sent."""
    lists = (_sent(window.start - timedelta(days=FOLLOWED_DAYS), window.end), {"status": "sending"})
    pages = (page for params in lists for page in walked(line, "/campaigns", "campaigns", **params))
    return list(dict.fromkeys(json.loads(one)["id"] for page in pages for one in page))


def _record(member: dict[str, Any], happened: dict[str, Any]) -> bytes:
    """One thing that happened to one message; only what does not change when it is read again."""
    of = {name: member.get(name) for name in ("campaign_id", "list_id", "email_id", "email_address")}
    return json.dumps({**of, **happened}, ensure_ascii=False).encode()


CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.ENTITY,
    request=Own(read_campaigns, trims=True),
    id=("id",),
    at=Pick("send_time", "timestamp"),
    cursor=Pick("send_time", "timestamp"),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("id"),
                "campaign_name": Pick("settings.title"),
                "campaign_type": Pick(const="mailing"),
                "campaign_channel": Pick(const="email"),
                "starts_on": Pick("send_time", "date"),
                "ends_on": Pick("send_time", "date"),
            },
        ),
    ),
)

#: Mailchimp's words for what happened, in ours.
ACTIONS = {
    "open": "opened",
    "click": "clicked",
    "bounce": "bounced",
    "unsubscribe": "unsubscribed",
    "complaint": "complained",
}

_EMAIL_EVENT = Feed(
    subject="email_events",
    fields={
        "email": Pick("email_address"),
        "campaign_id": Pick("campaign_id"),
        "email_event": Pick("action", values=ACTIONS),
        "event_at": Pick("timestamp", "timestamp"),
    },
)

#: The moment somebody said no, which the member's own record does not keep.
_REFUSAL = Feed(
    subject="consents",
    fields={
        "email": Pick("email_address"),
        "purpose": Pick(const="email_marketing"),
        "consent_status": Pick(const="withdrawn"),
        "event_at": Pick("timestamp", "timestamp"),
    },
    where={"action": ("unsubscribe", "complaint")},
)

SENDS = Stream(
    name="sends",
    kind=Kind.EVENTS,
    request=Own(read_sends, trims=True),
    id=(),
    at=Pick("timestamp", "timestamp"),
    feeds=(_EMAIL_EVENT,),
)

ACTIVITY = Stream(
    name="activity",
    kind=Kind.EVENTS,
    request=Own(read_activity, trims=True),
    id=(),
    at=Pick("timestamp", "timestamp"),
    feeds=(_EMAIL_EVENT, _REFUSAL),
)

SOURCE = Source(
    name="mailchimp",
    title="Mailchimp",
    auth=Auth(scheme="basic", prefix="key:"),
    # Ten connections at once, whatever their number: ours leave room for others.
    limits=Limits(requests=50, seconds=10.0, concurrency=2),
    errors="mailchimp",
    streams=(MEMBERS, CAMPAIGNS, SENDS, ACTIVITY),
)
