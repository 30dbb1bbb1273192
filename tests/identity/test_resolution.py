"""Components, guards and lasting ids, against slower plain ways."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.silver.given_names import Name
from etl.silver.resolution import Verdict, components, guarded, keep_ids, new_id

STEADY = settings(deadline=None, derandomize=True, database=None)
GRAPHS = st.integers(1, 25).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
)


def by_walking(node_count: int, edges: list[tuple[int, int]]) -> list[int]:
    """Components the plain way: breadth first, in the order of the nodes."""
    near: dict[int, set[int]] = {node: set() for node in range(node_count)}
    for left, right in edges:
        near[left].add(right)
        near[right].add(left)
    label: dict[int, int] = {}
    for start in range(node_count):
        if start in label:
            continue
        number, queue = len(set(label.values())), deque([start])
        label[start] = number
        while queue:
            for other in near[queue.popleft()]:
                if other not in label:
                    label[other] = number
                    queue.append(other)
    return [label[node] for node in range(node_count)]


@STEADY
@given(GRAPHS)
def test_components_are_those_found_by_walking(graph: tuple[int, list[tuple[int, int]]]) -> None:
    node_count, edges = graph
    left = np.array([one for one, _ in edges], dtype=np.int64)
    right = np.array([other for _, other in edges], dtype=np.int64)

    assert components(node_count, left, right).tolist() == by_walking(node_count, edges)


@STEADY
@given(GRAPHS, st.sets(st.integers(0, 24), max_size=6))
def test_guards_never_let_two_cards_together_and_refuse_nothing_else(
    graph: tuple[int, list[tuple[int, int]]], cards: set[int]
) -> None:
    node_count, edges = graph
    verdicts = guarded([(left, right, True) for left, right in edges], cards, {})
    used = [edge for edge, verdict in zip(edges, verdicts, strict=True) if verdict is Verdict.USED]
    label = by_walking(node_count, used)

    held = [label[card] for card in cards if card < node_count]
    assert len(set(held)) == len(held)
    for edge, verdict in zip(edges, verdicts, strict=True):
        both = {label[edge[0]], label[edge[1]]}
        assert verdict is Verdict.USED or (len(both) == 2 and both <= set(held))


def test_without_guards_every_edge_is_used() -> None:
    assert guarded([(0, 1, True), (1, 2, False)], set(), {0: Name("jan", "")}) == [Verdict.USED, Verdict.USED]


def overlaps(*rows: tuple[int, str, int, int]) -> pl.DataFrame:
    schema = {"component": pl.Int64, "customer_id": pl.String, "shared": pl.UInt32, "born": pl.Int64}
    made = pl.DataFrame(rows, schema=schema, orient="row")
    return made.with_columns(
        own=pl.lit(0), born_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)) + pl.duration(days="born", time_unit="us")
    ).drop("born")


def test_the_largest_overlap_keeps_the_id() -> None:
    assert keep_ids(overlaps((0, "c_a", 1, 0), (0, "c_b", 2, 5))) == {0: "c_b"}


def test_of_equal_overlaps_the_older_id_stays() -> None:
    assert keep_ids(overlaps((0, "c_a", 2, 5), (0, "c_b", 2, 1))) == {0: "c_b"}


def test_of_equal_overlaps_and_ages_the_smaller_id_stays() -> None:
    assert keep_ids(overlaps((0, "c_b", 2, 1), (0, "c_a", 2, 1))) == {0: "c_a"}


def test_an_id_goes_to_one_part_only() -> None:
    assert keep_ids(overlaps((0, "c_a", 1, 0), (1, "c_a", 2, 0))) == {1: "c_a"}


def test_an_id_lost_by_the_larger_part_is_kept_by_the_next() -> None:
    kept = keep_ids(overlaps((0, "c_z", 9, 0), (0, "c_a", 5, 0), (1, "c_a", 2, 0)))

    assert kept == {0: "c_z", 1: "c_a"}


def test_a_new_id_is_never_one_that_was_used() -> None:
    first = new_id("node", set(), key=b"k")
    second = new_id("node", {first}, key=b"k")
    third = new_id("node", {first, second}, key=b"k")

    assert len({first, second, third}) == 3
    assert all(len(one) == 26 and one.startswith("c_") for one in (first, second, third))


def test_ids_of_two_companies_never_tell_of_the_same_person() -> None:
    assert new_id("node", set(), key=b"one") != new_id("node", set(), key=b"other")
