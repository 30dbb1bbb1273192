"""Lines of orders as they stand now: what was bought, how many, for how much."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_order_lines(records: pl.LazyFrame, *, key: bytes, country: str, currency: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


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
