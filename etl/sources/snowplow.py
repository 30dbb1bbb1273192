"""Snowplow: enriched events as CSV with the canonical columns, one file a day of the collector's clock.

Columns: https://docs.snowplow.io/docs/fundamentals/canonical-event/. The collector's clock decides the window: a
device's may be hours off, and events wait on it for days. Contexts are cells that hold JSON, read through.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Files(pattern="events_{yyyymmdd}.csv", format="csv"),
    id=("event_id",),
    at=Pick("collector_tstamp", "timestamp"),
    feeds=(
        Feed(
            subject="web_events",
            fields={
                "event_id": Pick("event_id"),
                "event_name": Pick("event_name"),
                "event_at": Pick("derived_tstamp", "timestamp"),
                "received_at": Pick("collector_tstamp", "timestamp"),
                "sent_at": Pick("dvce_sent_tstamp", "timestamp"),
                "device_at": Pick("dvce_created_tstamp", "timestamp"),
                "cookie": Pick("domain_userid"),
                "login": Pick("user_id"),
                "email_sha256": Pick("contexts_com_nordlicht_identity_1_0_0[0].email_sha256"),
                "source_session_id": Pick("domain_sessionid"),
                "page_view_id": Pick("contexts_com_snowplowanalytics_snowplow_web_page_1_0_0[0].id"),
                "page_url": Pick("page_url"),
                "referrer_url": Pick("page_referrer"),
                "utm_source": Pick("mkt_source"),
                "utm_medium": Pick("mkt_medium"),
                "utm_campaign": Pick("mkt_campaign"),
                "device_type": Pick("dvce_type"),
                "country": Pick("geo_country"),
                "user_agent": Pick("useragent"),
            },
        ),
    ),
)

SOURCE = Source(name="snowplow", title="Snowplow", streams=(EVENTS,))
