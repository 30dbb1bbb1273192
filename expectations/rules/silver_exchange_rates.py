"""Exchange rates: amounts are divided by them."""

from __future__ import annotations

from etl.model import Check

RULES = (
    Check(
        "expect_column_values_to_be_between",
        {"column": "rate", "min_value": 0, "strict_min": True},
        why="a rate of zero makes every amount infinite",
    ),
)
