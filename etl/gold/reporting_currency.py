"""Amounts in the reporting currency, at the rate of their day. Read by every gold table that adds up money."""

from __future__ import annotations

import polars as pl

from etl.model import Type
from etl.model.frames import dtype

AMOUNT = dtype(Type.AMOUNT)


def in_reporting_currency(
    rows: pl.LazyFrame, exchange_rates: pl.LazyFrame, *, amounts: tuple[str, ...], on: str, currency: str
) -> pl.LazyFrame:
    """`rows` with `amounts` in `currency` instead of in each row's own `currency`.

    `on` is the date whose rate holds: the last one published on or before it (weekends have none), else the first
    one after. An amount whose currency has no rate at all is null: a sum over it must not pass for complete.
    Amounts already in `currency` are left as they are, to the last digit.
    """
    pairs = rows.select("currency", pl.col(on).alias("rate_date")).filter(pl.col("currency") != currency).unique()
    factors = _factors(pairs, exchange_rates, currency).rename({"rate_date": on})
    converted = [
        pl.when(pl.col("currency") == currency)
        .then(pl.col(amount))
        .otherwise((pl.col(amount).cast(pl.Float64) * pl.col("_factor")).round(4).cast(AMOUNT))
        .alias(amount)
        for amount in amounts
    ]
    return rows.join(factors, on=["currency", on], how="left").with_columns(converted).drop("_factor")


def _factors(pairs: pl.LazyFrame, exchange_rates: pl.LazyFrame, currency: str) -> pl.LazyFrame:
    """`currency`, `rate_date`, `_factor`: what one unit of each pair's currency is worth in the reporting currency.

    Through the base both are quoted against; a base is worth one of itself. With several bases the first by name
    that knows both currencies decides.
    """
    bases = exchange_rates.select(
        "base_currency", pl.col("base_currency").alias("currency"), "rate_date", pl.lit(1.0).alias("rate")
    )
    quotes = (
        pl.concat([exchange_rates.select("base_currency", "currency", "rate_date", "rate"), bases.unique()])
        .filter(pl.col("rate") > 0)
        .sort("rate_date", "base_currency", "currency")
    )
    asked = pairs.join(exchange_rates.select("base_currency").unique(), how="cross").sort("rate_date")
    own = _quoted(asked, quotes, "_own")
    both = _quoted(own.with_columns(pl.lit(currency).alias("_reporting")), quotes, "_reported", by="_reporting")
    return (
        both.with_columns((pl.col("_reported") / pl.col("_own")).alias("_factor"))
        .drop_nulls("_factor")
        .sort("base_currency")
        .group_by("currency", "rate_date")
        .agg(pl.col("_factor").first())
    )


def _quoted(asked: pl.LazyFrame, quotes: pl.LazyFrame, name: str, *, by: str = "currency") -> pl.LazyFrame:
    """`asked` with the rate of the currency in column `by` as `name`: the last on or before, else the first after."""
    rates = quotes.select("base_currency", pl.col("currency").alias(by), "rate_date", pl.col("rate").alias(name))
    found = asked
    for strategy, column in (("backward", name), ("forward", f"{name}_after")):
        found = found.join_asof(
            rates.rename({name: column}),
            on="rate_date",
            by=["base_currency", by],
            strategy="backward" if strategy == "backward" else "forward",
            # Both sides are sorted by date above; Polars cannot check it within groups and would only warn.
            check_sortedness=False,
        )
    return found.with_columns(pl.coalesce(name, f"{name}_after").alias(name)).drop(f"{name}_after")
