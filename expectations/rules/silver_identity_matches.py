"""Identity matches: a pair of representatives is written once."""

from __future__ import annotations

from etl.model import Check

RULES = (
    Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "right_node_id", "column_B": "left_node_id", "or_equal": True},
        why="the same two written both ways round would count twice, and wait twice for review",
    ),
)
