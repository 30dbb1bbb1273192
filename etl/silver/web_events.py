"""What happened on our sites and apps, one event a row, robots flagged."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_web_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


WEB_EVENTS = Table(
    layer=Layer.SILVER,
    name="web_events",
    description="What happened on our sites and apps, one event a row, robots flagged.",
    grain="one row per event",
    key=("source", "event_id"),
    columns=(
        f.source.required,
        f.event_id.required,
        f.event_name.required,
        f.event_at.required,
        f.received_at,
        f.node_id,
        f.cookie_key,
        f.login_key,
        f.email_key,
        f.source_session_id,
        f.page_view_id,
        f.page_host,
        f.page_path,
        f.referrer_host,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
        f.channel.required,
        f.device_type,
        f.country,
        f.product_id,
        f.category,
        f.is_bot.required,
        f.day.required,
    ),
    accepts=(
        f.email,
        f.email_sha256,
        f.phone,
        f.login,
        f.card,
        f.cookie,
        f.device,
        f.handle,
        f.event_id,
        f.event_name,
        f.event_at,
        f.received_at,
        f.sent_at,
        f.device_at,
        f.source_session_id,
        f.page_view_id,
        f.page_url,
        f.referrer_url,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
        f.device_type,
        f.country,
        f.product_id,
        f.category,
        f.user_agent,
    ),
    build=standardise_web_events,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
