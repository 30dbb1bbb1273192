"""What people ruled of identity, read off the log of rulings: what stands, and what would contradict it.

A ruling has two sides. `always` and `never` have one node on each; `undo` has on each all nodes one of the two
customers had just before the merge it takes back. Between the sides of `never` and of `undo` nothing may join.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

APART = ("never", "undo")

Sides = tuple[list[str], list[str]]


def standing(rulings: pl.DataFrame) -> pl.DataFrame:
    """The rulings nobody withdrew: ruling_id, ruling, left_node_ids, right_node_ids, made_at.

    Of an undone merge also undoes (its id), customer_id (who stayed) and other_customer_id (who went).

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
        .select(
            "ruling_id",
            "ruling",
            "left_node_ids",
            "right_node_ids",
            "undoes",
            "customer_id",
            "other_customer_id",
            "made_at",
        )
    )


def ruled_apart(stands: pl.DataFrame, there: Collection[str]) -> list[Sides]:
    """The sides that may not meet, of each only the nodes that are there; none of a ruling with an empty side."""
    apart = stands.filter(pl.col("ruling").is_in(APART)).select("left_node_ids", "right_node_ids")
    known = frozenset(there)
    found = [([n for n in left if n in known], [n for n in right if n in known]) for left, right in apart.iter_rows()]
    return [(left, right) for left, right in found if left and right]


def contradicted(stands: pl.DataFrame, ruling: str, left: Collection[str], right: Collection[str]) -> list[str]:
    """The ids of standing rulings that a new one would contradict; none when it fits.

    What is ruled to be one customer, by one ruling or by several in a row, cannot be ruled apart, nor the reverse.
    """
    always = [
        (ruling_id, one, other)
        for ruling_id, ones, others in _sides(stands, ("always",))
        for one, other in zip(ones, others, strict=True)
    ]
    if ruling in APART:
        return _way(always, left, right) or []
    joined = [*always, *(("", one, other) for one, other in zip(left, right, strict=True))]
    for ruling_id, ones, others in _sides(stands, APART):
        way = _way(joined, ones, others)
        if way is not None:
            return [ruling_id, *(each for each in way if each)]
    return []


def _sides(stands: pl.DataFrame, rulings: Collection[str]) -> Iterable[tuple[str, list[str], list[str]]]:
    chosen = stands.filter(pl.col("ruling").is_in(list(rulings)))
    yield from chosen.select("ruling_id", "left_node_ids", "right_node_ids").iter_rows()


def _way(pairs: list[tuple[str, str, str]], ones: Collection[str], others: Collection[str]) -> list[str] | None:
    """The rulings that lead from a node of the one side to one of the other, fewest first; None when none do."""
    ways: dict[str, list[str]] = {one: [] for one in ones}
    sought = set(others)
    frontier = list(ways)
    while frontier and sought.isdisjoint(ways):
        wider = []
        for node in frontier:
            for ruling_id, left, right in pairs:
                for here, there in ((left, right), (right, left)):
                    if here == node and there not in ways:
                        ways[there] = [*ways[node], ruling_id]
                        wider.append(there)
        frontier = wider
    return next((way for node, way in ways.items() if node in sought), None)
