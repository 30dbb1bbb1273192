"""Reference rates against a base currency, as published."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_exchange_rates(records: pl.LazyFrame) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


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
