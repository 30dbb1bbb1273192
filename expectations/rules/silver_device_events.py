"""Device readings: they are received after they are taken."""

from __future__ import annotations

from etl.model import Check, Severity

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_at_most_hours_after_b",
        {"column_A": "event_at", "column_B": "received_at", "hours": 24},
        severity=Severity.WARNING,
        why="received more than a day before it was taken: the device's clock was believed",
    ),
)
