"""Every landing table with an envelope: what a record says of its own time."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_at_most_hours_after_b",
        {"column_A": "_event_at", "column_B": "_extracted_at", "hours": 24},
        severity=Severity.WARNING,
        why="a record from the future: the source's clock or its time zone is wrong",
    ),
)
