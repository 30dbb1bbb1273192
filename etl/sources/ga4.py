"""Google Analytics 4: the BigQuery export, one file of JSON lines a day.

Shape: https://support.google.com/analytics/answer/7029846. The property's day (`event_date`) names the file and is
the window, since a property's day need not be UTC's. A day's table is written anew for up to three days, so the last
three are read again. `event_timestamp` is shared by the events of one batch and cookies may be absent, so an event
is known by its content.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream


def _param(key: str, kind: str = "string_value", written: str = "text") -> Pick:
    return Pick(f"event_params[key={key}].value.{kind}", written)


EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Files(pattern="events_{yyyymmdd}.jsonl"),
    id=(),
    at=Pick("event_date", "yyyymmdd"),
    restate_days=3,
    feeds=(
        Feed(
            subject="web_events",
            fields={
                "event_name": Pick("event_name"),
                "event_at": Pick("event_timestamp", "epoch_us"),
                "cookie": Pick("user_pseudo_id"),
                "login": Pick("user_id"),
                "email_sha256": Pick("user_properties[key=email_sha256].value.string_value"),
                "source_session_id": _param("ga_session_id", "int_value"),
                "page_url": _param("page_location"),
                "referrer_url": _param("page_referrer"),
                "utm_source": Pick("collected_traffic_source.manual_source"),
                "utm_medium": Pick("collected_traffic_source.manual_medium"),
                "utm_campaign": Pick("collected_traffic_source.manual_campaign_name"),
                "device_type": Pick("device.category"),
                "country": Pick("geo.country"),
                "product_id": Pick("items[0].item_id"),
                "category": Pick("items[0].item_category"),
            },
        ),
    ),
)

SOURCE = Source(name="ga4", title="Google Analytics 4", streams=(EVENTS,))
