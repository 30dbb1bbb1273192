"""The customer 360: figures that stand beside each other must agree."""

from __future__ import annotations

from etl.model import Check, Severity


def _never_before(later: str, earlier: str, why: str) -> Check:
    return Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": later,
            "column_B": earlier,
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        why=why,
    )


RULES = (
    Check(
        "expect_table_row_count_to_be_between",
        {"min_value": 1},
        severity=Severity.WARNING,
        why="without a single known customer no source of persons was read",
    ),
    _never_before("last_order_date", "first_order_date", "first and last are of the same orders"),
    _never_before("as_of_date", "last_order_date", "nothing later than the day of the table may be in it"),
    _never_before("last_session_date", "first_session_date", "first and last are of the same sessions"),
    _never_before("last_seen_at", "first_seen_at", "first and last are of the same traces"),
    _never_before("web_event_count", "session_count", "a session has at least one event"),
    _never_before("web_event_count", "page_view_count", "a page view is an event"),
    Check(
        "expect_column_pair_values_sum_to_be_at_least",
        # A cent: revenue and refunds are converted and rounded apart.
        {"column_A": "revenue_amount", "column_B": "refund_amount", "min_value": -0.01},
        severity=Severity.WARNING,
        why="revenue is never below minus the refunds, unless returns are booked as orders below zero",
    ),
)
