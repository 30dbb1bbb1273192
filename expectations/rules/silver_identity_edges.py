"""Identity edges: seen first, then last."""

from __future__ import annotations

from etl.model import Check

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "last_at",
            "column_B": "first_at",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        why="the age of an edge decides which identifier is believed",
    ),
)
