"""The house's types as Polars knows them. The only module of `model` that imports Polars, so that DAGs need not."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from etl.model.column import Column, Type

DTYPES: dict[Type, pl.DataType] = {
    Type.STRING: pl.String(),
    Type.INT: pl.Int64(),
    Type.FLOAT: pl.Float64(),
    Type.BOOL: pl.Boolean(),
    Type.DATE: pl.Date(),
    Type.TIMESTAMP: pl.Datetime("us", "UTC"),
    Type.AMOUNT: pl.Decimal(18, 4),
    Type.STRINGS: pl.List(pl.String()),
}


def dtype(kind: Type) -> pl.DataType:
    """The Polars type of a house type."""
    return DTYPES[kind]


def schema_of(columns: Iterable[Column]) -> dict[str, pl.DataType]:
    """Name -> Polars type, in order."""
    return {column.name: DTYPES[column.type] for column in columns}


def empty(columns: Iterable[Column]) -> pl.DataFrame:
    """No rows, the declared columns."""
    return pl.DataFrame(schema=schema_of(columns))
