"""Hypothesis frames from a table's declaration: the one home of strategies for rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl
from hypothesis import strategies as st

from etl.model import Column, Table, Type
from etl.model.frames import schema_of
from tests.golden import records_of

# What really stands in such columns: the values that make rules meet rows.
_WORDS = (
    *(
        "a",
        "b",
        " a ",
        "",
        "null",
        "Ann@Example.org",
        "info@example.org",
        "ann+x@gmail.com",
        "030 1234567",
        "0000000000",
    ),
    *("EUR", "usd", "XXX", "granted", "https://shop.example/a?utm_source=google&utm_medium=cpc", "de", "Deutschland"),
    *(
        "van der Berg, Ann",
        "\u202eevil\x00",
        "<p>hi &amp; bye</p>",
        "é",
        "e\u0301",
        "1970",
        "((",
        "a@b@c",
        "\U0001f600",
    ),
)
_POOLS: dict[Type, tuple[Any, ...]] = {
    Type.STRING: _WORDS,
    Type.INT: (-5, 0, 1, 7, 10**6),
    Type.FLOAT: (-2.0, 0.0, 0.5, 1.0, 3.25, 1e300),
    Type.BOOL: (True, False),
    Type.DATE: (date(1899, 1, 1), date(2026, 1, 1), date(2026, 1, 3), date(2199, 1, 1)),
    Type.TIMESTAMP: tuple(
        datetime(*told, tzinfo=UTC)
        for told in (
            *((2025, 12, 28), (2026, 1, 1), (2026, 1, 1, 0, 20), (2026, 1, 2), (2026, 1, 5, 1), (2026, 1, 6)),
            *((2026, 1, 12), (1970, 1, 1), (9999, 1, 1)),
        )
    ),
    Type.AMOUNT: tuple(Decimal(told) for told in ("-3.5", "0", "0.0001", "19.99", "100", "99999999999999.9999")),
    Type.STRINGS: ([], ["a"], ["a", "b"]),
}
_DAYS = tuple(date(2026, 1, day) for day in range(1, 8))


def value_of(column: Column, luck: Random, *, nulls: bool = True) -> Any:
    """A value a source may bring for `column`, clean or dirty, or null."""
    if nulls and luck.random() < 0.3:
        return None
    if column.allowed and luck.random() < 0.7:
        return luck.choice(column.allowed)
    return luck.choice(_POOLS[column.type])


@st.composite
def records(draw: st.DrawFn, table: Table, max_size: int = 12) -> pl.DataFrame:
    """Dirty records of a subject: few ids, so that they meet; deletions, versions, days, and earlier quarantines.

    Drawn is a seed and a size; a failing case is replayed by them, and shrinks in size.
    """
    size, luck = draw(st.integers(0, max_size)), Random(draw(st.integers(0, 2**32)))
    moment = Column("at", Type.TIMESTAMP, "any time")
    rows = []
    for _ in range(size):
        fate = luck.choice(("out", "out", "out", "out", "quarantined", "filtered"))
        rows.append(
            {
                "_source": luck.choice(("shop", "crm")),
                "_id": luck.choice("123"),
                "_hash": luck.choice(("h1", "h2", "h3")),
                "_op": luck.choice(("upsert", "upsert", "upsert", "delete")),
                "_cursor": value_of(moment, luck),
                "_event_at": value_of(moment, luck),
                "day": luck.choice(_DAYS),
                "_fate": fate,
                "_rule": None if fate == "out" else "before",
                "_reason": None if fate == "out" else "before",
                **{column.name: value_of(column, luck) for column in table.accepts},
            }
        )
    return records_of(table, rows)


@st.composite
def frames(draw: st.DrawFn, table: Table, max_size: int = 8) -> pl.DataFrame:
    """Rows of a table as its declaration admits them: required columns filled, allowed values only, keys unique."""
    size, luck = draw(st.integers(0, max_size)), Random(draw(st.integers(0, 2**32)))
    rows = []
    for _ in range(size):
        row = {}
        for column in table.columns:
            value = value_of(column, luck, nulls=not column.is_required)
            row[column.name] = luck.choice(column.allowed) if column.allowed and value is not None else value
        rows.append(row)
    schema = schema_of(table.columns)
    made = pl.DataFrame({name: [row[name] for row in rows] for name in schema}, schema=schema)
    return made.unique(list(table.key), keep="first", maintain_order=True)
