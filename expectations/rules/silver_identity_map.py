"""The identity map: both of its times run forwards."""

from __future__ import annotations

from etl.model import Check

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "known_to", "column_B": "known_from", "ignore_row_if": "either_value_is_missing"},
        why="an answer that was never known cannot be asked for again",
    ),
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "valid_to",
            "column_B": "valid_from",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        why="a stretch of time ends after it starts",
    ),
)
