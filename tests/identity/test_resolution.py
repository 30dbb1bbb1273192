"""Components, guards and lasting ids, against slower plain ways."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

import networkx as nx
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.silver.given_names import Name
from etl.silver.resolution import Codes, Rulings, Verdict, components, guarded, joinable, keep_ids, new_id

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
def test_components_are_those_of_networkx(graph: tuple[int, list[tuple[int, int]]]) -> None:
    node_count, edges = graph
    theirs: nx.Graph[int] = nx.Graph(edges)
    theirs.add_nodes_from(range(node_count))
    ours: dict[int, set[int]] = {}
    for each, number in enumerate(components(node_count, *_ends(edges)).tolist()):
        ours.setdefault(number, set()).add(each)

    assert sorted(map(sorted, ours.values())) == sorted(map(sorted, nx.connected_components(theirs)))
    assert [min(nodes) for nodes in ours.values()] == sorted(min(nodes) for nodes in ours.values())


def test_components_of_a_large_random_graph_are_those_of_networkx() -> None:
    theirs = nx.gnm_random_graph(20_000, 9_000, seed=7)
    ours = components(20_000, *_ends(list(theirs.edges)))
    members = (
        pl.DataFrame({"node": range(20_000), "component": ours}).group_by("component").agg("node")["node"].to_list()
    )

    assert sorted(map(sorted, members)) == sorted(map(sorted, nx.connected_components(theirs)))


def _ends(edges: list[tuple[int, int]]) -> tuple[Codes, Codes]:
    """The edges as the two arrays that `components` takes."""
    left, right = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return left, right


SIDES = st.tuples(*[st.sets(st.integers(0, 24), min_size=1, max_size=3)] * 2).filter(lambda two: not two[0] & two[1])


@STEADY
@given(GRAPHS, st.lists(SIDES, max_size=4))
def test_what_is_ruled_apart_never_meets_and_every_edge_refused_would_have_made_it(
    graph: tuple[int, list[tuple[int, int]]], sides: list[tuple[set[int], set[int]]]
) -> None:
    node_count, edges = graph
    apart = [({n for n in left if n < node_count}, {n for n in right if n < node_count}) for left, right in sides]
    fine = joinable(node_count, *_ends(edges), Rulings(never=apart)).tolist()
    groups = {each: frozenset([each]) for each in range(node_count)}
    expected = []
    for left, right in edges:
        both = groups[left] | groups[right]
        expected.append(not any(both & one and both & other for one, other in apart))
        if expected[-1]:
            groups |= dict.fromkeys(both, both)

    assert expected == fine


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
