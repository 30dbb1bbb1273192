"""Campaigns: a share is a share."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_values_to_be_between",
        {"column": "click_through_pct", "min_value": 0, "max_value": 100},
        severity=Severity.WARNING,
        why="more clicks than impressions: a network counts other clicks, or a day is missing",
    ),
)
