"""How well clusters match the truth, by pairs: how many of those put together belong, how many that belong are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """precision, recall and their harmonic mean, 0..1; 1.0 where there was nothing to find."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def pairwise(truth: Mapping[str, Hashable], clusters: Mapping[str, Hashable]) -> Score:
    """The score of `clusters` (record -> cluster) against `truth` (record -> person), over the same records.

    Counts pairs from the sizes of the classes, so a million records are no matter (Menestrina et al. 2010, pairwise).
    """
    assert truth.keys() == clusters.keys(), "the truth and the clusters speak of different records"
    both = _pairs(Counter((truth[record], clusters[record]) for record in truth))
    found, true = _pairs(Counter(clusters.values())), _pairs(Counter(truth.values()))
    return Score(both / found if found else 1.0, both / true if true else 1.0)


def _pairs(sizes: Counter[Hashable]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())
