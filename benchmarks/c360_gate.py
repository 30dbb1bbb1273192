"""The gate: two answers are one when every column of every customer is equal; floats to a billionth.

Before it is open no time is printed. What is wrong is said in counts and column names, never in values.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from benchmarks.peers.given import OUT

_NEAR = 1e-9


def differences(expected: pl.DataFrame, came: pl.DataFrame) -> list[str]:
    """What is different, one line each; nothing when the answers are equal in every column of every customer."""
    if missing := [name for name in OUT if name not in came.columns]:
        return [f"{len(missing)} column(s) missing: {', '.join(missing)}"]
    expected, came = (_canonical(frame) for frame in (expected, came))
    if came["customer_id"].is_duplicated().any():
        return ["customers stand twice"]
    both = expected.join(came, on="customer_id", how="inner", suffix="_came", maintain_order="left")
    said = []
    if both.height != expected.height or both.height != came.height:
        said.append(
            f"{both.height:,} customers in common, of {expected.height:,} expected and {came.height:,} that came"
        )
    for name, kind in OUT.items():
        if name == "customer_id":
            continue
        unequal = both.filter(~_equal(name, kind)).height
        if unequal:
            said.append(f"{name}: {unequal:,} of {both.height:,} customers")
    return said


def _canonical(frame: pl.DataFrame) -> pl.DataFrame:
    """The declared columns in the declared types; lists as text, so that they compare."""
    cast: Mapping[str, pl.DataType] = OUT
    return frame.select(
        pl.col(name).cast(kind).list.join("\n") if isinstance(kind, pl.List) else pl.col(name).cast(kind)
        for name, kind in cast.items()
    )


def _equal(name: str, kind: pl.DataType) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name}_came")
    if kind.is_float():
        near = (one - other).abs() <= _NEAR * pl.max_horizontal(one.abs(), other.abs(), pl.lit(1.0))
        return near.fill_null(one.is_null() & other.is_null())
    return one.eq_missing(other)
