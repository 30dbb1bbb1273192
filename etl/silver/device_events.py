"""Readings of connected devices, duplicates of the transport removed."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    Verdict,
    earliest,
    judged,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)

# By its clock a reading may be taken this long before it is received, or (the clock runs ahead) after.
_BEHIND = timedelta(days=7)
_AHEAD = timedelta(days=1)


def standardise_device_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Readings of devices, one row each.

    MQTT delivers at least once (QoS 1) and re-delivers retained messages: the reading received first counts. A clock
    more than a day ahead of the receipt, or a week behind it, is no clock: `event_at.ahead`, `event_at.behind`.
    """
    return (
        records.pipe(with_clean_ids, "reading_id", "metric")
        .pipe(without_null_keys, "reading_id")
        .pipe(without_impossible_times, "event_at", "received_at")
        .pipe(without_skewed_clocks)
        .pipe(earliest, ("_source", "reading_id"), within_days=DEVICE_EVENTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, DEVICE_EVENTS)
    )


def without_skewed_clocks(records: pl.LazyFrame) -> pl.LazyFrame:
    """Readings whose device's clock is too far from the receipt are quarantined; without a receipt, nothing is said."""
    return judged(
        records,
        Verdict(
            "quarantined",
            "event_at.ahead",
            pl.col("event_at") > pl.col("received_at") + _AHEAD,
            "the device's clock is more than a day ahead of the receipt",
        ),
        Verdict(
            "quarantined",
            "event_at.behind",
            pl.col("event_at") < pl.col("received_at") - _BEHIND,
            "by the device's clock received more than a week after it was measured",
        ),
    )


DEVICE_EVENTS = Table(
    layer=Layer.SILVER,
    name="device_events",
    description="Readings of connected devices, duplicates of the transport removed.",
    grain="one row per reading",
    key=("source", "reading_id"),
    columns=(
        f.source.required,
        f.reading_id.required,
        f.node_id,
        f.login_key,
        f.device_key,
        f.event_at.required,
        f.received_at,
        f.metric.required,
        f.metric_value,
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
        f.reading_id,
        f.event_at,
        f.received_at,
        f.metric,
        f.metric_value,
    ),
    build=standardise_device_events,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    # Twins that pass the clocks' rule are received from a day before their time to a week after it.
    dedupe_days=8,
)
