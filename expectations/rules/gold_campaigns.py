"""Campaigns: shares are shares, and nobody opens what did not arrive."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_values_to_be_between",
        {"column": "click_through_pct", "min_value": 0, "max_value": 100},
        severity=Severity.WARNING,
        why="more clicks than impressions: a network counts other clicks, or a day is missing",
    ),
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "email_delivered_count", "column_B": "email_opened_count", "or_equal": True},
        severity=Severity.WARNING,
        why="opened but never delivered: the sender's delivery events are missing",
    ),
)
