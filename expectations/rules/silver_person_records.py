"""Person records: a record is changed after it was created."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_at_most_hours_after_b",
        {"column_A": "created_at", "column_B": "updated_at", "hours": 24},
        severity=Severity.WARNING,
        why="created more than a day after its last change: an import wrote the wrong date, and recency follows it",
    ),
)
