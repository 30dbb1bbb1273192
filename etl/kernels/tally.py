"""Counts, first and last times, kinds and systems of numbered things, added up as they come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from etl.kernels.compiled import compiled
from etl.kernels.numbering import Numbers

Number = TypeVar("Number", np.uint8, np.int64)
Measures = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]

#: No time: the largest is no first one, the smallest no last.
NO_FIRST, NO_LAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
WORD = 64

_NO_KIND = np.iinfo(np.uint8).max
_LEAST = 1 << 10


@dataclass(slots=True)
class Tally:
    """Of each number from 0: its smallest kind, how often it came, its first and last time, and the systems it is of.

    kind, times, first, last: (room,), of which the first `count` numbers have been added. systems: (words, room), bits.
    """

    count: int = 0
    kind: Ranks = field(default_factory=lambda: np.full(_LEAST, _NO_KIND, dtype=np.uint8))
    times: Measures = field(default_factory=lambda: np.zeros(_LEAST, dtype=np.int64))
    first: Measures = field(default_factory=lambda: np.full(_LEAST, NO_FIRST, dtype=np.int64))
    last: Measures = field(default_factory=lambda: np.full(_LEAST, NO_LAST, dtype=np.int64))
    systems: Bits = field(default_factory=lambda: np.zeros((1, _LEAST), dtype=np.uint64))

    def add(self, at: Numbers, kind: Ranks, first: Measures, last: Measures, system: Numbers) -> None:
        """One more time for each number `at`, -1 for none; (n_rows,) each. system: places from 0."""
        self._make_room(int(at.max(initial=-1)) + 1, int(system.max(initial=0)) // WORD + 1)
        _add(at, kind, first, last, system, self.kind, self.times, self.first, self.last, self.systems)

    def _make_room(self, count: int, words: int) -> None:
        self.count = max(self.count, count)
        room, wide = len(self.kind), len(self.systems)
        if room < count:
            room = max(count, room + room // 2)
        if room > len(self.kind) or words > wide:
            self.kind = _grown(self.kind, room, _NO_KIND)
            self.times = _grown(self.times, room, 0)
            self.first, self.last = _grown(self.first, room, NO_FIRST), _grown(self.last, room, NO_LAST)
            systems = np.zeros((max(words, wide), room), dtype=np.uint64)
            systems[:wide, : self.systems.shape[1]] = self.systems
            self.systems = systems


def _grown(held: npt.NDArray[Number], room: int, value: int) -> npt.NDArray[Number]:
    grown = np.full(room, value, dtype=held.dtype)
    grown[: len(held)] = held
    return grown


@compiled
def _add(
    at: Numbers,
    kind: Ranks,
    first: Measures,
    last: Measures,
    system: Numbers,
    kinds: Ranks,
    times: Measures,
    firsts: Measures,
    lasts: Measures,
    systems: Bits,
) -> None:
    for row in range(len(at)):
        number = at[row]
        if number < 0:
            continue
        kinds[number] = min(kinds[number], kind[row])
        times[number] += 1
        firsts[number] = min(firsts[number], first[row])
        lasts[number] = max(lasts[number], last[row])
        systems[system[row] // 64, number] |= np.uint64(1) << np.uint64(system[row] % 64)
