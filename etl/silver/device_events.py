"""Readings of connected devices, duplicates of the transport removed."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_device_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


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
