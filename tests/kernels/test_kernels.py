"""Every kernel beside its plain twin: the same answer, in Python anyone can read."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels import graph
from etl.kernels.numbering import Numbering, halves, mixed, order, spelt
from etl.kernels.tally import NO_FIRST, NO_LAST, Tally

STEADY = settings(deadline=None, derandomize=True, database=None)

# Few values of each half, so that some share one of the two.
HALF = st.integers(0, 3) | st.integers(0, 2**64 - 1)
NODES = st.builds(lambda high, low: f"{high:016x}{low:016x}", HALF, HALF)
COLUMNS = st.lists(st.lists(st.none() | NODES, max_size=20), max_size=5)


@STEADY
@given(COLUMNS)
def test_numbers_are_given_in_the_order_pseudonyms_are_met(columns: list[list[str | None]]) -> None:
    numbering, plainly = Numbering(), dict[str, int]()
    for column in columns:
        numbers = numbering.numbers(pl.Series(column, dtype=pl.String))
        expected = [-1 if node is None else plainly.setdefault(node, len(plainly)) for node in column]

        assert numbers.tolist() == expected
    assert numbering.count == len(plainly)
    assert spelt(*numbering.met).to_list() == list(plainly)


@STEADY
@given(st.lists(NODES, max_size=20), st.lists(st.none() | NODES, max_size=20))
def test_a_pseudonym_that_was_never_met_has_no_number(met: list[str], asked: list[str | None]) -> None:
    numbering = Numbering()
    plainly = dict(zip(met, numbering.numbers(pl.Series(met, dtype=pl.String)).tolist(), strict=True))

    assert numbering.known(pl.Series(asked, dtype=pl.String)).tolist() == [
        plainly.get(node or "", -1) for node in asked
    ]


def test_many_pseudonyms_keep_their_numbers_when_the_table_grows() -> None:
    nodes = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}" for number in range(5000)]
    numbering = Numbering()
    for at in range(0, 5000, 300):
        numbering.numbers(pl.Series(nodes[at : at + 300]))

    assert numbering.known(pl.Series(nodes)).tolist() == list(range(5000))


@STEADY
@given(st.lists(NODES, unique=True, max_size=20))
def test_pseudonyms_are_ordered_as_their_text(nodes: list[str]) -> None:
    high, low, _ = halves(pl.Series(nodes, dtype=pl.String))

    assert [nodes[at] for at in order(high, low)] == sorted(nodes)


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "G" + "0" * 31, "A" + "0" * 31, "0" * 31 + "é"])
def test_what_is_no_pseudonym_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(ValueError, match="node_id: expected pseudonyms of 32 hexadecimal digits") as refused:
        halves(pl.Series("node_id", ["0" * 32, text]))

    assert not text or text not in str(refused.value)


def test_a_slice_of_a_column_with_nulls_gives_its_own_rows() -> None:
    column = pl.Series(["0" * 32, None, "f" * 32, None, "1" * 32])
    high, _, present = halves(column[1:4])

    assert present.tolist() == [False, True, False]
    assert high.tolist() == [0, 2**64 - 1, 0]


GRAPHS = st.integers(0, 30).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, max(n - 1, 0)), st.integers(0, max(n - 1, 0))), max_size=40 if n else 0),
    )
)


@STEADY
@given(GRAPHS)
def test_components_are_networkxs(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = drawn
    network = nx.Graph(edges)
    network.add_nodes_from(range(count))
    label = {node: min(members) for members in nx.connected_components(network) for node in members}
    left, right = (np.array([edge[end] for edge in edges], dtype=np.int32) for end in (0, 1))

    assert graph.smallest_of_each(count, left, right).tolist() == [label[node] for node in range(count)]
    assert graph.components(count, left, right).tolist() == [
        sorted(set(label.values())).index(label[n]) for n in range(count)
    ]


CLAIMS = st.lists(st.tuples(st.integers(0, 7), st.integers(8, 12), st.booleans()), max_size=20)


@STEADY
@given(CLAIMS, st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_claims_are_settled_as_one_by_one(claims: list[tuple[int, int, bool]], owners: list[int]) -> None:
    claims = sorted(claims, key=lambda claim: claim[1])
    owner = np.array([*owners, *range(8, 13)], dtype=np.int32)
    plainly = owner.tolist()
    expected = []
    for node in dict.fromkeys(right for _, right, _ in claims):
        claimants = [(left, strong) for left, right, strong in claims if right == node]
        claiming = {plainly[left] for left, strong in claimants if strong} or {plainly[left] for left, _ in claimants}
        expected += [graph.SOLE if claiming == {plainly[left]} else graph.AMBIGUOUS for left, _ in claimants]
        if len(claiming) == 1:
            (plainly[node],) = claiming
    left, right = (np.array([claim[end] for claim in claims], dtype=np.int32) for end in (0, 1))
    strong = np.array([claim[2] for claim in claims], dtype=np.bool_)

    assert graph.settle_claims(left, right, strong, owner).tolist() == expected
    assert owner.tolist() == plainly


def test_where_nothing_can_be_kept_on_disk_a_kernel_is_compiled_all_the_same(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"  # what Numba finds where neither code nor home can be written
        "import numpy as np\n"
        "from etl.kernels import graph\n"
        "one = np.array([0], dtype=np.int32)\n"
        "print(graph.components(2, one, one + 1).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("[0, 0]\n", 0), done.stderr


TIMES = st.none() | st.integers(-5, 5)
ADDED = st.lists(st.tuples(st.integers(-1, 5_000), st.integers(0, 8), TIMES, st.integers(0, 130)), max_size=20)


@STEADY
@given(st.lists(ADDED, max_size=4))
def test_a_tally_is_what_adding_up_one_by_one_gives(batches: list[list[tuple[int, int, int | None, int]]]) -> None:
    tally, plainly = Tally(), dict[int, list[tuple[int, int | None, int]]]()
    for batch in batches:
        at, kind, system = (np.array([row[of] for row in batch], dtype=np.int32) for of in (0, 1, 3))
        times = [
            np.array([none if row[2] is None else row[2] for row in batch], dtype=np.int64)
            for none in (NO_FIRST, NO_LAST)
        ]
        tally.add(at, kind.astype(np.uint8), *times, system)
        for number, *told in batch:
            plainly.setdefault(number, []).append((told[0], told[1], told[2]))
    plainly.pop(-1, None)

    assert tally.count == max(plainly, default=-1) + 1
    for number, rows in plainly.items():
        seen = [time for _, time, _ in rows if time is not None]
        bits = sum(int(word) << 64 * at for at, word in enumerate(tally.systems[:, number]))
        assert min(kind for kind, _, _ in rows) == tally.kind[number]
        assert len(rows) == tally.times[number]
        assert (min(seen, default=NO_FIRST), max(seen, default=NO_LAST)) == (tally.first[number], tally.last[number])
        assert sum({1 << system for *_, system in rows}) == bits


def test_no_two_values_are_mixed_into_one_and_near_ones_are_far_apart() -> None:
    values = mixed(np.arange(100_000, dtype=np.uint64) << np.uint64(32))

    assert len(np.unique(values)) == 100_000
    assert len(np.unique(values & np.uint64(0xFFFF))) > 50_000
