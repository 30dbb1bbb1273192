"""Ad spend: nobody clicks what was not shown."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "impression_count",
            "column_B": "click_count",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        severity=Severity.WARNING,
        why="a click without an impression: the network counts other clicks too, or restates the day later",
    ),
)
