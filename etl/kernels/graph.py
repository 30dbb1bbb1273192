"""Connected components and claims over node numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etl.kernels.compiled import compiled

Numbers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


def smallest_of_each(node_count: int, left: Numbers, right: Numbers) -> Numbers:
    """The smallest node of each node's component, (node_count,).

    left, right: (n_edges,), node numbers from 0. Union-find with path halving (Tarjan & van Leeuwen 1984); the smaller
    root stays the root, so the answer does not depend on the order of the edges.
    """
    root = np.arange(node_count, dtype=np.int32)
    _unite(root, left, right)
    return root


def components(node_count: int, left: Numbers, right: Numbers) -> Numbers:
    """The component of each node, (node_count,): numbered from 0 in the order of their smallest nodes."""
    smallest = smallest_of_each(node_count, left, right)
    is_root = smallest == np.arange(node_count, dtype=np.int32)
    number: Numbers = np.cumsum(is_root, dtype=np.int32) - np.int32(1)
    return number[smallest]


@compiled
def _unite(root: Numbers, left: Numbers, right: Numbers) -> None:
    for edge in range(len(left)):
        one, other = left[edge], right[edge]
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        while root[other] != other:
            root[other] = root[root[other]]
            other = root[other]
        if one < other:
            root[other] = one
        elif other < one:
            root[one] = other
    # A root is never larger than what hangs on it, so one pass in the order of the nodes flattens all.
    for node in range(len(root)):
        root[node] = root[root[node]]


#: What a claim comes to.
SOLE, AMBIGUOUS = 0, 1


def settle_claims(left: Numbers, right: Numbers, is_strong: Flags, owner: Numbers) -> Numbers:
    """What each claim on a browser or device comes to, (n_claims,): SOLE or AMBIGUOUS.

    left claims right; the claims on one node stand together. is_strong: (n_claims,), a claim by a surer node: where
    there are such, the others do not count. owner: (n_nodes,), the component of each node; a node with one claimant
    component becomes its own: `owner` is altered.
    """
    verdict = np.empty(len(left), dtype=np.int32)
    _settle_claims(left, right, is_strong, owner, verdict)
    return verdict


@compiled
def _settle_claims(left: Numbers, right: Numbers, is_strong: Flags, owner: Numbers, verdict: Numbers) -> None:
    begin = 0
    while begin < len(left):
        end = begin
        any_strong = False
        while end < len(left) and right[end] == right[begin]:
            any_strong = any_strong or is_strong[end]
            end += 1
        sole = np.int32(-1)
        is_one = True
        for claim in range(begin, end):
            if is_strong[claim] or not any_strong:
                if sole < 0:
                    sole = owner[left[claim]]
                elif owner[left[claim]] != sole:
                    is_one = False
        for claim in range(begin, end):
            verdict[claim] = 0 if is_one and owner[left[claim]] == sole else 1
        if is_one:
            owner[right[begin]] = sole
        begin = end
