"""Campaigns as described: they end after they start."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "ends_on",
            "column_B": "starts_on",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        severity=Severity.WARNING,
        why="a campaign that ends before it starts has its dates swapped in the source",
    ),
)
