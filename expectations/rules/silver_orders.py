"""Orders: what may be given back."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "gross_amount", "column_B": "refund_amount", "or_equal": True},
        severity=Severity.WARNING,
        why="more was given back than was charged: goodwill, or a refund counted twice",
    ),
)
