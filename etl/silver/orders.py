"""Orders as they stand now, refunds deducted, in the reporting currency."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.exchange_rates import EXCHANGE_RATES
from etl.silver.identifiers import with_keys
from etl.silver.order_lines import ORDER_LINES
from etl.silver.standardise import (
    ZERO,
    Verdict,
    amount,
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


def standardise_orders(
    records: pl.LazyFrame,
    order_lines: pl.LazyFrame,
    exchange_rates: pl.LazyFrame,
    *,
    key: bytes,
    country: str,
    currency: str,
) -> pl.LazyFrame:
    """Orders, one row each, as they stand now: those their systems send, and those known only by their lines.

    Gross is what was charged, refunds are deducted in `revenue_amount`, which is in the reporting currency at the
    latest rate on or before the order's day, at most seven days old. A currency without such a rate is quarantined.
    """
    # What the source itself said of an order decides, even that it is deleted or refused: its lines do not revive it.
    judged_orders = (
        records.pipe(with_clean_ids, "order_id", "coupon_code")
        .pipe(newest_version)
        .pipe(without_deleted)
        .pipe(without_null_keys, "order_id")
        .pipe(without_impossible_times, "ordered_at")
        .pipe(latest, ("_source", "order_id"))
        .pipe(with_amounts, currency=currency)
        .pipe(with_keys, key=key, country=country)
    )
    lines = of_lines(order_lines)
    told = records.pipe(with_clean_ids, "order_id").select(source="_source", order_id="order_id").unique()
    from_lines = lines.join(told, on=["source", "order_id"], how="anti").with_columns(
        _source="source", _fate=pl.lit("derived")
    )
    counted = judged_orders.with_columns(source="_source").join(
        lines.select("source", "order_id", "line_count"), on=["source", "order_id"], how="left", maintain_order="left"
    )
    return (
        pl.concat([counted, from_lines], how="diagonal_relaxed")
        .pipe(with_revenue, exchange_rates, currency=currency)
        .pipe(rows_of, ORDERS)
    )


def with_amounts(records: pl.LazyFrame, *, currency: str) -> pl.LazyFrame:
    """Orders with gross, refund and discount as positive numbers, and a status where the source gives none.

    Some systems give the gross amount, some what is left of it (`net_amount`); the refund is the difference.
    """
    gross, net, refund = wide("gross_amount"), wide("net_amount"), wide("refund_amount").abs()
    return (
        records.with_columns(
            amount(pl.coalesce(gross, net + refund.fill_null(ZERO))).alias("gross_amount"),
            amount(pl.coalesce(refund, pl.max_horizontal(gross - net, ZERO), ZERO)).alias("refund_amount"),
            pl.col("discount_amount").abs(),
            pl.col("currency").str.strip_chars().str.to_uppercase().fill_null(currency),
        )
        .with_columns(pl.col("order_status").str.strip_chars().str.to_lowercase())
        .with_columns(pl.coalesce("order_status", _status()).alias("order_status"))
    )


def of_lines(order_lines: pl.LazyFrame) -> pl.LazyFrame:
    """Orders as their lines tell them: gross the lines sold, refund the lines taken back, the surest identity node.

    An order whose lines are in several currencies is told in the first of them: its other lines are not counted
    here, and stay to be seen in `order_lines`.
    """
    line = wide("line_amount")
    first = pl.col("currency").sort_by("ordered_at", "order_line_id").first().over("source", "order_id")
    return (
        order_lines.filter(pl.col("currency") == first)
        .group_by("source", "order_id")
        .agg(
            pl.col("ordered_at").min(),
            pl.col("currency").first(),
            amount(pl.when(line > 0).then(line).sum()).alias("gross_amount"),
            amount(pl.when(line < 0).then(-line).sum()).alias("refund_amount"),
            amount(wide("discount_amount").sum()).alias("discount_amount"),
            pl.len().cast(pl.Int64).alias("line_count"),
            *(pl.col(name).drop_nulls().sort().first() for name in ("node_id", "card_key", "login_key")),
        )
        .with_columns(_status().alias("order_status"))
    )


def with_revenue(orders: pl.LazyFrame, exchange_rates: pl.LazyFrame, *, currency: str) -> pl.LazyFrame:
    """Orders with `revenue_amount`: gross less refunds, in `currency`.

    Rates are units of a currency for one unit of their base. An order in the reporting currency needs none, and stays
    exact; others go over the base: amount / rate(own) * rate(reporting), rounded to four places.
    """
    left = amount(wide("gross_amount") - wide("refund_amount"))
    factor = pl.col("_reporting_rate") / pl.col("_own_rate")
    converted = amount((left.cast(pl.Float64) * factor).round(4))
    is_own = pl.col("currency") == currency
    has_none = ~is_own & pl.col("currency").is_not_null() & pl.col("ordered_at").is_not_null() & factor.is_null()
    # A derived row keeps its fate while it goes on; without a rate it is quarantined as any other.
    return (
        orders.pipe(_with_rates, exchange_rates, currency=currency)
        .with_columns(pl.when(is_own).then(left).otherwise(converted).alias("revenue_amount"))
        .pipe(
            judged,
            Verdict("quarantined", "currency.no_rate", has_none, "no rate of the seven days up to the order's day"),
            going=("out", "derived"),
        )
        .drop("_own_rate", "_reporting_rate")
    )


def _with_rates(orders: pl.LazyFrame, exchange_rates: pl.LazyFrame, *, currency: str) -> pl.LazyFrame:
    rates = exchange_rates.select("rate_date", "base_currency", "currency", "rate")
    # One unit of a base is one unit of it, on every day it is quoted.
    itself = rates.select("rate_date", "base_currency", currency="base_currency", rate=pl.lit(1.0)).unique()
    quoted = pl.concat([rates, itself], how="diagonal").unique(["rate_date", "base_currency", "currency"], keep="any")
    reporting = quoted.filter(pl.col("currency") == currency).select(
        "rate_date", "base_currency", _reporting_rate="rate"
    )
    # Both rates of one day and one base; of several bases the first by name, so that the choice is no accident.
    crossed = (
        quoted.join(reporting, on=["rate_date", "base_currency"])
        .sort("base_currency")
        .unique(["rate_date", "currency"], keep="first", maintain_order=True)
        .select("currency", "_reporting_rate", _own_rate="rate", _rate_date="rate_date")
        .sort("_rate_date")
    )
    return (
        orders.with_row_index("_place")
        .with_columns(pl.col("ordered_at").dt.date().alias("_order_date"))
        .sort("_order_date", nulls_last=True)
        .join_asof(
            crossed,
            left_on="_order_date",
            right_on="_rate_date",
            by="currency",
            strategy="backward",
            tolerance="7d",
            check_sortedness=False,
        )
        .sort("_place")
        .drop("_place", "_order_date", "_rate_date", strict=False)
    )


def _status() -> pl.Expr:
    gross, refund = pl.col("gross_amount"), pl.col("refund_amount")
    return (
        pl.when(refund <= 0)
        .then(pl.lit("paid"))
        .when(refund >= gross)
        .then(pl.lit("refunded"))
        .otherwise(pl.lit("partially_refunded"))
    )


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
        f.email_key,
        f.phone_key,
        f.login_key,
        f.card_key,
        f.cookie_key,
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
        f.net_amount,
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
