"""Campaigns as their systems describe them."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_campaigns(records: pl.LazyFrame) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


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
    build=standardise_campaigns,
    partition=Partition.WHOLE,
    conserves="records",
)
