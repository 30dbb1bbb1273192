"""Lines of orders as they stand now: what was bought, how many, for how much."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    ZERO,
    Verdict,
    amount,
    clean,
    judged,
    latest,
    newest_version,
    rows_of,
    wide,
    with_clean_ids,
    without_deleted,
    without_impossible_times,
    without_null_keys,
)


def standardise_order_lines(records: pl.LazyFrame, *, key: bytes, country: str, currency: str) -> pl.LazyFrame:
    """Lines, one row each, of the newest version of their order. Returns have a negative quantity and line amount.

    A line amount that is not given is quantity times unit price, less the discount. A unit price of zero or less is
    quarantined: what is given away or written off is no sale. Where no currency stands it is the reporting currency.
    """
    return (
        records.pipe(with_clean_ids, "order_line_id", "order_id", "product_id")
        .with_columns(
            clean("product_name"),
            clean("category"),
            pl.col("discount_amount").abs(),
            pl.col("currency").str.strip_chars().str.to_uppercase().fill_null(currency),
        )
        .with_columns(pl.coalesce("line_amount", _line_amount()).alias("line_amount"))
        .pipe(newest_version)
        .pipe(without_deleted)
        .pipe(without_null_keys, "order_line_id", "order_id")
        .pipe(without_impossible_times, "ordered_at")
        .pipe(latest, ("_source", "order_line_id"))
        .pipe(
            judged,
            Verdict(
                "quarantined",
                "unit_price.not_positive",
                pl.col("unit_price_amount") <= 0,
                "a line is sold for more than nothing; a return has a negative quantity, not a negative price",
            ),
        )
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, ORDER_LINES)
    )


def _line_amount() -> pl.Expr:
    # Doubles hold a line's amount to the hundredth of a cent up to 10^11.
    full = (pl.col("unit_price_amount").cast(pl.Float64) * pl.col("quantity")).round(4)
    return amount(full.cast(pl.Decimal(38, 4), strict=False) - wide("discount_amount").fill_null(ZERO))


ORDER_LINES = Table(
    layer=Layer.SILVER,
    name="order_lines",
    description="Lines of orders as they stand now: what was bought, how many, for how much.",
    grain="one row per order line",
    key=("source", "order_line_id"),
    columns=(
        f.source.required,
        f.order_line_id.required,
        f.order_id.required,
        f.node_id,
        f.card_key,
        f.login_key,
        f.ordered_at.required,
        f.product_id,
        f.product_name,
        f.category,
        f.quantity,
        f.unit_price_amount,
        f.line_amount.required,
        f.discount_amount,
        f.currency.required,
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
        f.order_line_id,
        f.order_id,
        f.ordered_at,
        f.product_id,
        f.product_name,
        f.category,
        f.quantity,
        f.unit_price_amount,
        f.line_amount,
        f.discount_amount,
        f.currency,
    ),
    build=standardise_order_lines,
    partition=Partition.WHOLE,
    conserves="records",
    carries_customer=True,
)
