"""What became of each message we sent: sent, delivered, opened, clicked, bounced, unsubscribed."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    clean,
    earliest,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)


def standardise_email_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """What became of each message, one row per event; webhooks deliver an event more than once, the first counts."""
    return (
        records.pipe(with_clean_ids, "event_id", "campaign_id")
        .pipe(without_null_keys, "event_id")
        .pipe(without_impossible_times, "event_at")
        .pipe(earliest, ("_source", "event_id"), within_days=EMAIL_EVENTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .with_columns(clean("campaign_name"))
        .pipe(rows_of, EMAIL_EVENTS)
    )


EMAIL_EVENTS = Table(
    layer=Layer.SILVER,
    name="email_events",
    description="What became of each message we sent: sent, delivered, opened, clicked, bounced, unsubscribed.",
    grain="one row per event",
    key=("source", "event_id"),
    columns=(
        f.source.required,
        f.event_id.required,
        f.node_id,
        f.email_key,
        f.campaign_id,
        f.campaign_name,
        f.email_event.required,
        f.event_at.required,
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
        f.campaign_id,
        f.campaign_name,
        f.email_event,
        f.event_at,
    ),
    build=standardise_email_events,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
