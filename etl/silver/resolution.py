"""How identity is settled: components of a graph under guards, and names (`customer_id`) that outlive every rebuild.

Pure and deterministic: nodes are numbered in the order of their pseudonyms, edges are taken in one declared order, so
the same evidence gives the same answer in whatever order it came. Nothing here knows tables; `identity_edges` and
`identity_map` bring the frames.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from itertools import combinations, repeat

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.kernels import graph
from etl.silver.given_names import Name, same_person, sides_agree

Codes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

_ID_HEX = 24


def components(node_count: int, left: npt.NDArray[np.integer], right: npt.NDArray[np.integer]) -> Numbers:
    """The component of each node, (node_count,), int32: numbered by their smallest node, so order-independent.

    left, right: (n_edges,), node numbers from 0.
    """
    return graph.components(node_count, left.astype(np.int32, copy=False), right.astype(np.int32, copy=False))


class Verdict(Enum):
    """What became of a candidate edge."""

    USED = "used"
    VETOED = "vetoed"
    CONFLICT = "conflict"
    RULED_OUT = "ruled_out"


@dataclass(slots=True)
class _Side:
    """What the guards need to know of a component under way."""

    cards: set[int] = field(default_factory=set)
    names: set[Name] = field(default_factory=set)
    ruled: set[tuple[int, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Rulings:
    """What people ruled, by node numbers: pairs that are one customer whatever guards say, and sides that never meet.

    Of the two sides of `never` no node of the one is ever one customer with a node of the other.
    """

    always: Sequence[tuple[int, int]] = ()
    never: Sequence[tuple[Collection[int], Collection[int]]] = ()

    @property
    def nodes(self) -> set[int]:
        """Every node somebody ruled about."""
        return {node for pair in self.always for node in pair} | set(self.ends)

    @property
    def ends(self) -> dict[int, set[tuple[int, int]]]:
        """node -> which sides it is on: (the number of the ruling, 0 or 1)."""
        found: dict[int, set[tuple[int, int]]] = {}
        for number, sides in enumerate(self.never):
            for end, nodes in enumerate(sides):
                for node in nodes:
                    found.setdefault(node, set()).add((number, end))
        return found


def are_apart(one: Set[tuple[int, int]], other: Set[tuple[int, int]]) -> bool:
    """True when what stands on sides `one` may not be one customer with what stands on sides `other`."""
    return any((number, 1 - end) in other for number, end in one)


def guarded(
    edges: Iterable[tuple[int, int, bool]],
    cards: Set[int],
    name_of: Mapping[int, Name],
    rulings: Rulings = Rulings(),
) -> list[Verdict]:
    """The verdict on each edge, taken in the order given: an edge joins its two sides unless a guard objects.

    edges: (left, right, asks_names); `asks_names` for kinds a household shares. cards: the nodes that are unique
    identifiers, of which one customer has at most one. name_of: the name of the records that have a given name.
    A constrained union-find: what was joined by earlier (surer) edges is never taken apart by a later one; rulings come
    first of all, and who rules two records one customer has seen both their cards.
    """
    ruled = rulings.ends
    parent: dict[int, int] = {}
    side: dict[int, _Side] = {}

    def root(node: int) -> int:
        if node not in parent:
            parent[node] = node
            name = name_of.get(node)
            side[node] = _Side({node} & cards, {name} if name else set(), ruled.get(node, set()).copy())
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    def join(one: int, other: int) -> None:
        parent[other] = one
        side[one].cards |= side[other].cards
        side[one].ruled |= side[other].ruled
        side[one].names |= side.pop(other).names

    ruled_one = {node for pair in rulings.always for node in pair}
    for left, right in rulings.always:
        one, other = sorted((root(left), root(right)))
        if one != other:
            join(one, other)
    verdicts = []
    for left, right, asks_names in edges:
        one, other = sorted((root(left), root(right)))
        if one == other:
            verdicts.append(Verdict.USED)
        elif are_apart(side[one].ruled, side[other].ruled):
            verdicts.append(Verdict.RULED_OUT)
        elif len(side[one].cards | side[other].cards) > 1 and ruled_one.isdisjoint((left, right)):
            verdicts.append(Verdict.VETOED)
        elif asks_names and not sides_agree(side[one].names, side[other].names):
            verdicts.append(Verdict.CONFLICT)
        else:
            join(one, other)
            verdicts.append(Verdict.USED)
    return verdicts


def joinable(
    node_count: int, left: npt.NDArray[np.integer], right: npt.NDArray[np.integer], rulings: Rulings
) -> npt.NDArray[np.bool_]:
    """Which of the edges, (n_edges,), join no two sides that are ruled apart, when taken in the order given."""
    fine = np.ones(len(left), dtype=np.bool_)
    if not rulings.never:
        return fine
    component = components(node_count, left, right)
    touched = np.isin(component[left], component[sorted(rulings.nodes)])
    edges = zip(left[touched].tolist(), right[touched].tolist(), repeat(False))
    fine[touched] = [verdict is Verdict.USED for verdict in guarded(edges, set(), {}, rulings)]
    return fine


def keep_ids(overlaps: pl.DataFrame) -> dict[int, str]:
    """Which component keeps which customer's id: component -> customer_id.

    overlaps: component, customer_id, shared (nodes both have), born_at (when the id was first known), own (of the
    shared nodes, those that never had another id to go back to). The largest overlap goes first, then the older id,
    then the lexically smaller; of two components with as much of one id the one with more of its own. A component gets
    one id, an id one component.
    """
    kept: dict[int, str] = {}
    given: set[str] = set()
    ordered = overlaps.sort(
        "shared", "born_at", "customer_id", "own", "component", descending=[True, False, False, True, False]
    ).select("component", "customer_id")
    for component, customer_id in ordered.iter_rows():
        if component not in kept and customer_id not in given:
            kept[component] = customer_id
            given.add(customer_id)
    return kept


def new_id(earliest_node: str, taken: Set[str], *, key: bytes) -> str:
    """A customer_id never used before, made from the component's earliest node.

    HMAC-SHA256 under the tenant's key, 24 hexadecimal digits. A component that was split off may have the same
    earliest node as an id that lives on elsewhere: a counter is added until the id is free.
    """
    counter = 0
    while True:
        message = f"customer:{earliest_node}" + (f":{counter}" if counter else "")
        customer_id = "c_" + hmac.digest(key, message.encode(), "sha256").hex()[:_ID_HEX]
        if customer_id not in taken:
            return customer_id
        counter += 1


def suspects(
    component: Numbers,
    cards: Codes,
    given: Numbers,
    name: Numbers,
    names: Sequence[Name],
    ruled: Collection[int] = (),
) -> npt.NDArray[np.bool_]:
    """For each component, whether a guard could object: two cards, names that are not one person's, somebody's ruling.

    component: (n_nodes,). cards: node numbers, each once. given, name: (n_nodes,), which given name and which of
    `names` a node has, -1 for none. Every other component is what its edges say; only these are walked edge by edge.
    """
    count = int(component.max()) + 1 if len(component) else 0
    found = np.bincount(component[cards], minlength=count) > 1
    found[component[np.array(sorted(ruled), dtype=np.int64)]] = True
    named = np.flatnonzero(given >= 0)
    # One given name of each component; only where somebody has another one are names compared.
    one_given = np.full(count, -1, dtype=np.int32)
    one_given[component[named]] = given[named]
    differs = np.zeros(count, dtype=np.bool_)
    differs[component[named[one_given[component[named]] != given[named]]]] = True
    compared = named[(differs & ~found)[component[named]]]
    beside: dict[int, set[int]] = {}
    for at, each in zip(component[compared].tolist(), name[compared].tolist(), strict=True):
        beside.setdefault(at, set()).add(each)
    for at, several in beside.items():
        found[at] = not all(same_person(names[one], names[other]) for one, other in combinations(several, 2))
    return found
