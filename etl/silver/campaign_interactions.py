"""Who was targeted by, exposed to, or redeemed what: campaigns and experiments."""

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


def standardise_campaign_interactions(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Who was targeted by, exposed to or redeemed what: one row per contact, repeats of the transport removed."""
    return (
        records.pipe(with_clean_ids, "interaction_id", "campaign_id", "experiment_id", "variant", "coupon_code")
        .pipe(without_null_keys, "interaction_id")
        .pipe(without_impossible_times, "event_at")
        .pipe(earliest, ("_source", "interaction_id"), within_days=CAMPAIGN_INTERACTIONS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, CAMPAIGN_INTERACTIONS)
    )


CAMPAIGN_INTERACTIONS = Table(
    layer=Layer.SILVER,
    name="campaign_interactions",
    description="Who was targeted by, exposed to, or redeemed what: campaigns and experiments.",
    grain="one row per contact",
    key=("source", "interaction_id"),
    columns=(
        f.source.required,
        f.interaction_id.required,
        f.node_id,
        f.email_key,
        f.login_key,
        f.card_key,
        f.cookie_key,
        f.interaction_type.required,
        f.campaign_id,
        f.experiment_id,
        f.variant,
        f.coupon_code,
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
        f.interaction_id,
        f.interaction_type,
        f.campaign_id,
        f.experiment_id,
        f.variant,
        f.coupon_code,
        f.event_at,
    ),
    build=standardise_campaign_interactions,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
