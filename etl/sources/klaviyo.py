"""Klaviyo: profiles, what became of every message, and the campaigns.

API: https://developers.klaviyo.com/en/reference, revision 2026-07-15, which every request must name. Profiles can
only be asked for as changed *after* a moment, so a second more is asked for and set aside. The metrics an event
belongs to have ids of the account's own: `METRICS` names this account's (GET /api/metrics lists yours).
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

REVISION = {"revision": "2026-07-15", "Accept": "application/vnd.api+json"}

METRICS = {
    "SentEm": "sent",
    "RecvEm": "delivered",
    "OpenEm": "opened",
    "ClckEm": "clicked",
    "BncdEm": "bounced",
    "UnsbEm": "unsubscribed",
    "SpamEm": "complained",
}

PROFILES = Stream(
    name="profiles",
    kind=Kind.ENTITY,
    request=Http(
        path="/api/profiles",
        records="data",
        params={"filter": "greater-than(updated,{before_start_iso}),less-than(updated,{end_iso})"},
        headers=REVISION,
        paging=Paging(style="next_url", next_at="links.next", size_param="page[size]", size=100),
        trims=True,
    ),
    id=("id",),
    at=Pick("attributes.updated", "timestamp"),
    cursor=Pick("attributes.updated", "timestamp"),
    feeds=(
        Feed(
            subject="person_records",
            fields={
                "email": Pick("attributes.email"),
                "phone": Pick("attributes.phone_number"),
                "login": Pick("attributes.external_id"),
                "card": Pick("attributes.properties.loyalty_card"),
                "given_name": Pick("attributes.first_name"),
                "family_name": Pick("attributes.last_name"),
                "street": Pick("attributes.location.address1"),
                "postal_code": Pick("attributes.location.zip"),
                "city": Pick("attributes.location.city"),
                "region": Pick("attributes.location.region"),
                "country": Pick("attributes.location.country"),
                "language": Pick("attributes.locale"),
                "company": Pick("attributes.organization"),
                "created_at": Pick("attributes.created", "timestamp"),
                "updated_at": Pick("attributes.updated", "timestamp"),
            },
        ),
    ),
)

EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Http(
        path="/api/events",
        records="data",
        params={
            "filter": "greater-or-equal(datetime,{start_iso}),less-than(datetime,{end_iso})",
            "sort": "datetime",
        },
        headers=REVISION,
        paging=Paging(style="next_url", next_at="links.next", size_param="page[size]", size=1000),
    ),
    id=("id",),
    at=Pick("attributes.datetime", "timestamp"),
    feeds=(
        Feed(
            subject="email_events",
            fields={
                "event_id": Pick("id"),
                "email": Pick("attributes.event_properties.Recipient Email Address"),
                "campaign_id": Pick("attributes.event_properties.$message"),
                "campaign_name": Pick("attributes.event_properties.Campaign Name"),
                "email_event": Pick("relationships.metric.data.id", values=METRICS),
                "event_at": Pick("attributes.datetime", "timestamp"),
            },
        ),
    ),
)

CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.ENTITY,
    request=Http(
        path="/api/campaigns",
        records="data",
        params={
            "filter": "and(equals(messages.channel,'email'),greater-or-equal(updated_at,{start_iso}),"
            "less-than(updated_at,{end_iso}))",
            "sort": "id",
        },
        headers=REVISION,
        paging=Paging(style="next_url", next_at="links.next", size_param="page[size]", size=100),
    ),
    id=("id",),
    at=Pick("attributes.updated_at", "timestamp"),
    cursor=Pick("attributes.updated_at", "timestamp"),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("id"),
                "campaign_name": Pick("attributes.name"),
                "campaign_type": Pick(const="mailing"),
                "campaign_channel": Pick(const="email"),
                "starts_on": Pick("attributes.send_time", "date"),
                "ends_on": Pick("attributes.send_time", "date"),
            },
        ),
    ),
)

SOURCE = Source(
    name="klaviyo",
    title="Klaviyo",
    base_url="https://a.klaviyo.com",
    auth=Auth(scheme="header", prefix="Klaviyo-API-Key "),
    # Steady 700 a minute for profiles, the slowest of the three.
    limits=Limits(requests=700, seconds=60.0, concurrency=1),
    errors="klaviyo",
    streams=(PROFILES, EVENTS, CAMPAIGNS),
)
