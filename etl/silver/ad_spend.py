"""What each ad cost and brought, per day, as last restated by the network."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.standardise import (
    clean,
    latest,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)


def standardise_ad_spend(records: pl.LazyFrame) -> pl.LazyFrame:
    """What each ad cost and brought, one row per day, source and ad, as last restated.

    A network counts what happened on an ad day again for days afterwards; the numbers read last stand.
    """
    return (
        records.pipe(with_clean_ids, "network", "campaign_id", "ad_id")
        .with_columns(clean("campaign_name"), pl.col("currency").str.strip_chars().str.to_uppercase())
        .pipe(without_null_keys, "ad_date", "ad_id")
        .pipe(without_impossible_times, "ad_date")
        .pipe(latest, ("_source", "ad_date", "ad_id"))
        .pipe(rows_of, AD_SPEND)
    )


AD_SPEND = Table(
    layer=Layer.SILVER,
    name="ad_spend",
    description="What each ad cost and brought, per day, as last restated by the network.",
    grain="one row per day, network, account and ad",
    key=("source", "ad_date", "ad_id"),
    columns=(
        f.source.required,
        f.ad_date.required,
        f.network.required,
        f.campaign_id.required,
        f.campaign_name,
        f.ad_id.required,
        f.impression_count.required,
        f.click_count.required,
        f.lead_count,
        f.currency.required,
        f.cost_amount.required,
        f.day.required,
    ),
    accepts=(
        f.ad_date,
        f.network,
        f.campaign_id,
        f.campaign_name,
        f.ad_id,
        f.impression_count,
        f.click_count,
        f.lead_count,
        f.currency,
        f.cost_amount,
    ),
    build=standardise_ad_spend,
    partition=Partition.DAY,
    conserves="records",
)
