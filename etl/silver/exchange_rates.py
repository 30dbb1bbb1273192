"""Reference rates against a base currency, as published."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.standardise import Verdict, judged, latest, rows_of, without_impossible_times, without_null_keys


def standardise_exchange_rates(records: pl.LazyFrame) -> pl.LazyFrame:
    """Rates, one row per day, base and currency, as published last; a rate that is not positive is quarantined."""
    return (
        records.with_columns(
            pl.col("currency").str.strip_chars().str.to_uppercase(),
            pl.col("base_currency").str.strip_chars().str.to_uppercase(),
        )
        .pipe(without_null_keys, "rate_date", "base_currency", "currency")
        .pipe(without_impossible_times, "rate_date")
        .pipe(judged, Verdict("quarantined", "rate.not_positive", ~(pl.col("rate") > 0), "a rate is above zero"))
        .pipe(latest, ("rate_date", "base_currency", "currency"))
        .pipe(rows_of, EXCHANGE_RATES)
    )


EXCHANGE_RATES = Table(
    layer=Layer.SILVER,
    name="exchange_rates",
    description="Reference rates against a base currency, as published.",
    grain="one row per day, base and currency",
    key=("rate_date", "base_currency", "currency"),
    columns=(
        f.rate_date.required,
        f.base_currency.required,
        f.currency.required,
        f.rate.required,
    ),
    accepts=(f.rate_date, f.base_currency, f.currency, f.rate),
    build=standardise_exchange_rates,
    partition=Partition.WHOLE,
    conserves="records",
)
