"""Sessions: they end after they start, and nobody browses for a day without a pause."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "ended_at", "column_B": "started_at", "or_equal": True},
        why="a session holds its events in order",
    ),
    Check(
        "expect_column_pair_values_a_to_be_at_most_hours_after_b",
        {"column_A": "ended_at", "column_B": "started_at", "hours": 24},
        severity=Severity.WARNING,
        why="a day without a pause of 30 minutes is a robot we took for a person, or a shared browser",
    ),
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "event_count", "column_B": "page_view_count", "or_equal": True},
        why="a page view is an event",
    ),
)
