"""Orders as they stand now, refunds deducted, in the reporting currency."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.exchange_rates import EXCHANGE_RATES
from etl.silver.order_lines import ORDER_LINES


def standardise_orders(
    records: pl.LazyFrame,
    order_lines: pl.LazyFrame,
    exchange_rates: pl.LazyFrame,
    *,
    key: bytes,
    country: str,
    currency: str,
) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


ORDERS = Table(
    layer=Layer.SILVER,
    name="orders",
    description="Orders as they stand now, refunds deducted, in the reporting currency.",
    grain="one row per order",
    key=("source", "order_id"),
    columns=(
        f.source.required,
        f.order_id.required,
        f.node_id,
        f.ordered_at.required,
        f.order_status.required,
        f.currency.required,
        f.gross_amount.required,
        f.refund_amount.required,
        f.discount_amount,
        f.revenue_amount.required,
        f.line_count,
        f.coupon_code,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
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
        f.order_id,
        f.ordered_at,
        f.order_status,
        f.currency,
        f.gross_amount,
        f.refund_amount,
        f.discount_amount,
        f.coupon_code,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
    ),
    inputs=(ORDER_LINES, EXCHANGE_RATES),
    build=standardise_orders,
    partition=Partition.WHOLE,
    conserves="records",
    carries_customer=True,
)
