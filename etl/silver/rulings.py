"""What people ruled of identity, read off the log of rulings: what stands, and what would contradict it."""

from __future__ import annotations

import polars as pl


def standing(rulings: pl.DataFrame) -> pl.DataFrame:
    """The rulings nobody withdrew: ruling_id, ruling (always, never), left_node_id, right_node_id, made_at.

    Sorted by time and id. A withdrawal may be withdrawn too: then what it withdrew stands again.
    """
    withdrawn: set[str] = set()
    # The latest first: a withdrawal counts unless a later one took it back.
    for ruling_id, withdraws in (
        rulings.filter(pl.col("ruling") == "withdraw")
        .sort("made_at", "ruling_id", descending=True)
        .select("ruling_id", "withdraws")
        .iter_rows()
    ):
        if ruling_id not in withdrawn:
            withdrawn.add(withdraws)
    return (
        rulings.filter((pl.col("ruling") != "withdraw") & ~pl.col("ruling_id").is_in(list(withdrawn)))
        .sort("made_at", "ruling_id")
        .select("ruling_id", "ruling", "left_node_id", "right_node_id", "made_at")
    )


def contradicted(stands: pl.DataFrame, ruling: str, left: str, right: str) -> list[str]:
    """The ids of standing rulings that a new one would contradict; none when it fits.

    Two that are ruled to be one customer, by one ruling or by several in a row, cannot be ruled apart, nor the reverse.
    """
    always = stands.filter(pl.col("ruling") == "always").select("ruling_id", "left_node_id", "right_node_id").rows()
    if ruling == "never":
        return _way(always, left, right) or []
    joined = [*always, ("", left, right)]
    for ruling_id, one, other in (
        stands.filter(pl.col("ruling") == "never").select("ruling_id", "left_node_id", "right_node_id").iter_rows()
    ):
        way = _way(joined, one, other)
        if way is not None:
            return [ruling_id, *(each for each in way if each)]
    return []


def _way(pairs: list[tuple[str, str, str]], one: str, other: str) -> list[str] | None:
    """The rulings that lead from one node to the other, fewest first; None when none do."""
    ways: dict[str, list[str]] = {one: []}
    frontier = [one]
    while frontier and other not in ways:
        wider = []
        for node in frontier:
            for ruling_id, left, right in pairs:
                for here, there in ((left, right), (right, left)):
                    if here == node and there not in ways:
                        ways[there] = [*ways[node], ruling_id]
                        wider.append(there)
        frontier = wider
    return ways.get(other)
