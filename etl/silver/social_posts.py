"""Posts that mention us or are ours, with their text and echo."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    clean,
    earliest,
    language_code,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)


def standardise_social_posts(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Posts, one row each, as first landed, with their text without markup.

    `language` is the first subtag of the network's own (BCP 47), null when that is no two-letter code.
    """
    return (
        records.pipe(with_clean_ids, "post_id", "network")
        .pipe(without_null_keys, "post_id")
        .pipe(without_impossible_times, "posted_at")
        .pipe(earliest, ("_source", "post_id"), within_days=SOCIAL_POSTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .with_columns(plain_text("text").alias("text"), language_code("language").alias("language"))
        .pipe(rows_of, SOCIAL_POSTS)
    )


_BREAK = r"(?i)<br\s*/?>|</p>\s*<p[^>]*>"
_TAG = r"<[^>]*>"
_ENTITIES = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&amp;": "&"}


def plain_text(column: str) -> pl.Expr:
    """HTML as the text a reader sees: breaks become spaces, tags go, the common entities are resolved (once)."""
    text = pl.col(column).str.replace_all(_BREAK, " ").str.replace_all(_TAG, "")
    for entity, sign in _ENTITIES.items():
        text = text.str.replace_all(entity, sign, literal=True)
    return clean(text)


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
