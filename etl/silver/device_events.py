"""Readings of connected devices, duplicates of the transport removed."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    earliest,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)


def standardise_device_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Readings of devices, one row each.

    MQTT delivers at least once (QoS 1) and re-delivers retained messages: the reading received first counts.
    """
    return (
        records.pipe(with_clean_ids, "reading_id", "metric")
        .pipe(without_null_keys, "reading_id")
        .pipe(without_impossible_times, "event_at", "received_at")
        .pipe(earliest, ("_source", "reading_id"), within_days=DEVICE_EVENTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, DEVICE_EVENTS)
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
    dedupe_days=3,
)
