"""Posts that mention us or are ours, with their text and echo."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_social_posts(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


SOCIAL_POSTS = Table(
    layer=Layer.SILVER,
    name="social_posts",
    description="Posts that mention us or are ours, with their text and echo.",
    grain="one row per post",
    key=("source", "post_id"),
    columns=(
        f.source.required,
        f.network.required,
        f.post_id.required,
        f.node_id,
        f.handle_key,
        f.posted_at.required,
        f.text,
        f.language,
        f.reply_count,
        f.share_count,
        f.like_count,
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
        f.network,
        f.post_id,
        f.posted_at,
        f.text,
        f.language,
        f.reply_count,
        f.share_count,
        f.like_count,
    ),
    build=standardise_social_posts,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
