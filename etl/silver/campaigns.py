"""Campaigns as their systems describe them."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.ad_spend import AD_SPEND
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.standardise import (
    clean,
    latest,
    newest_version,
    rows_of,
    with_clean_ids,
    without_deleted,
    without_null_keys,
)


def standardise_campaigns(
    records: pl.LazyFrame,
    ad_spend: pl.LazyFrame,
    email_events: pl.LazyFrame,
    campaign_interactions: pl.LazyFrame,
) -> pl.LazyFrame:
    """Campaigns, one row per campaign of a source: as their systems describe them, and those that only their costs,
    messages or interactions name (derived, with the latest name seen there).
    """
    described = (
        records.pipe(with_clean_ids, "campaign_id")
        .with_columns(clean("campaign_name"), clean("campaign_type"), clean("campaign_channel"))
        .pipe(newest_version)
        .pipe(without_deleted)
        .pipe(without_null_keys, "campaign_id")
        .pipe(latest, ("_source", "campaign_id"))
        .pipe(rows_of, CAMPAIGNS)
    )
    named = named_elsewhere(ad_spend, email_events, campaign_interactions)
    known = described.select("source", "campaign_id")
    return pl.concat(
        [described, named.join(known, on=["source", "campaign_id"], how="anti").pipe(rows_of, CAMPAIGNS)],
        how="vertical_relaxed",
    )


def named_elsewhere(
    ad_spend: pl.LazyFrame, email_events: pl.LazyFrame, campaign_interactions: pl.LazyFrame
) -> pl.LazyFrame:
    """Campaigns as other subjects name them: one row per (source, campaign), the latest name and the channel."""
    mentions = pl.concat(
        [
            _mentions(
                ad_spend, pl.col("campaign_name"), pl.lit("ads"), pl.col("ad_date").cast(pl.Datetime("us", "UTC"))
            ),
            _mentions(email_events, pl.col("campaign_name"), pl.lit("email"), pl.col("event_at")),
            _mentions(campaign_interactions, pl.lit(None, pl.String), pl.lit(None, pl.String), pl.col("event_at")),
        ]
    )
    return (
        mentions.sort("_at", "campaign_name", nulls_last=True)
        .group_by("source", "campaign_id", maintain_order=True)
        .agg(
            pl.col("campaign_name").drop_nulls().last(),
            pl.col("campaign_channel").drop_nulls().last(),
        )
        .sort("source", "campaign_id")
        .with_columns(_source="source", _fate=pl.lit("derived"))
    )


def _mentions(frame: pl.LazyFrame, name: pl.Expr, channel: pl.Expr, at: pl.Expr) -> pl.LazyFrame:
    return frame.filter(pl.col("campaign_id").is_not_null()).select(
        "source",
        "campaign_id",
        name.alias("campaign_name"),
        channel.alias("campaign_channel"),
        at.alias("_at"),
    )


CAMPAIGNS = Table(
    layer=Layer.SILVER,
    name="campaigns",
    description="Campaigns as their systems describe them.",
    grain="one row per campaign of a source",
    key=("source", "campaign_id"),
    columns=(
        f.source.required,
        f.campaign_id.required,
        f.campaign_name,
        f.campaign_type,
        f.campaign_channel,
        f.starts_on,
        f.ends_on,
    ),
    accepts=(
        f.campaign_id,
        f.campaign_name,
        f.campaign_type,
        f.campaign_channel,
        f.starts_on,
        f.ends_on,
    ),
    inputs=(AD_SPEND, EMAIL_EVENTS, CAMPAIGN_INTERACTIONS),
    build=standardise_campaigns,
    partition=Partition.WHOLE,
    conserves="records",
)
