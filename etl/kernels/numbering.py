"""Numbers in place of pseudonyms: 32 hexadecimal digits are 128 bits, and a table of those gives each its number.

A pseudonym is held as two halves of 64 bits, `high` and `low`, in the order of its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.kernels.compiled import compiled

Halves = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

DIGITS = 32
NONE = -1

_LEAST = 1 << 10


def halves(nodes: pl.Series) -> tuple[Halves, Halves, Flags]:
    """Both halves of each pseudonym and whether there is one; (len(nodes),) each.

    Raises: ValueError when a value is not 32 hexadecimal digits in lower case; never with the value.
    """
    array = nodes.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    at = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    present = nodes.is_not_null().to_numpy()
    high, low = np.empty(len(array), dtype=np.uint64), np.empty(len(array), dtype=np.uint64)
    if not _parse(text, at, present, high, low):
        raise ValueError(f"{nodes.name}: expected pseudonyms of {DIGITS} hexadecimal digits, came something else")
    return high, low, present


def spelt(high: Halves, low: Halves) -> pl.Series:
    """The pseudonyms of these halves, as text."""
    import pyarrow as pa

    text = np.empty(DIGITS * len(high), dtype=np.uint8)
    _spell(high, low, text)
    offsets = np.arange(0, DIGITS * (len(high) + 1), DIGITS, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pl.Series(pa.Array.from_buffers(pa.large_string(), len(high), buffers))


@dataclass(slots=True)
class Numbering:
    """Numbers given in the order pseudonyms are first met; `ranks` turns them into the order of the pseudonyms."""

    count: int = 0
    _high: Halves = field(default_factory=lambda: np.empty(_LEAST, dtype=np.uint64))
    _low: Halves = field(default_factory=lambda: np.empty(_LEAST, dtype=np.uint64))
    _slots: Numbers = field(default_factory=lambda: np.full(2 * _LEAST, NONE, dtype=np.int32))

    def numbers(self, nodes: pl.Series) -> Numbers:
        """The number of each pseudonym, new ones numbered on; -1 for null. (len(nodes),). Raises: as `halves`."""
        return self.numbers_of(*halves(nodes))

    def numbers_of(self, high: Halves, low: Halves, present: Flags) -> Numbers:
        """The same of values that are 128 bits already; those of `low` decide where a value stands in the table."""
        self._make_room(len(high))
        numbers = np.empty(len(high), dtype=np.int32)
        self.count = _number(high, low, present, self._slots, self._high, self._low, self.count, numbers)
        return numbers

    def known(self, nodes: pl.Series) -> Numbers:
        """The number of each pseudonym; -1 for null and for one never met. (len(nodes),). Raises: as `halves`."""
        high, low, present = halves(nodes)
        numbers = np.empty(len(nodes), dtype=np.int32)
        _look_up(high, low, present, self._slots, self._high, self._low, numbers)
        return numbers

    @property
    def met(self) -> tuple[Halves, Halves]:
        """Both halves of every pseudonym, by number."""
        return self._high[: self.count], self._low[: self.count]

    def _make_room(self, more: int) -> None:
        """Room for `more` new pseudonyms: at most half of the slots are ever taken."""
        room = len(self._high)
        while room < self.count + more:
            room *= 2
        if room == len(self._high):
            return
        self._high, self._low = (_grown(held, room) for held in (self._high, self._low))
        self._slots = np.full(2 * room, NONE, dtype=np.int32)
        _fill(self._slots, self._low, self.count)


def mixed(values: Halves) -> Halves:
    """Other values, as unlike as random ones where these are near each other: the last step of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _grown(held: Halves, room: int) -> Halves:
    """`held` with room for more; what is not used yet is not touched, and so takes no memory."""
    grown = np.empty(room, dtype=np.uint64)
    grown[: len(held)] = held
    return grown


def order(high: Halves, low: Halves) -> npt.NDArray[np.int64]:
    """The positions of the pseudonyms in their order, (len(high),)."""
    by_high = np.argsort(high)
    ordered = high[by_high]
    # Two pseudonyms of 10 million share a half once in 400,000 times; only then the other half is looked at.
    return np.lexsort((low, high)) if (ordered[1:] == ordered[:-1]).any() else by_high


@compiled
def _parse(text: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], present: Flags, high: Halves, low: Halves) -> bool:
    for row in range(len(present)):
        high[row] = low[row] = np.uint64(0)
        if not present[row]:
            continue
        begin = at[row]
        if at[row + 1] - begin != 32:
            return False
        for half in range(2):
            value = np.uint64(0)
            for place in range(begin + 16 * half, begin + 16 * half + 16):
                digit = text[place]
                if 48 <= digit <= 57:
                    value = (value << np.uint64(4)) | np.uint64(digit - 48)
                elif 97 <= digit <= 102:
                    value = (value << np.uint64(4)) | np.uint64(digit - 87)
                else:
                    return False
            if half == 0:
                high[row] = value
            else:
                low[row] = value
    return True


@compiled
def _spell(high: Halves, low: Halves, text: npt.NDArray[np.uint8]) -> None:
    for row in range(len(high)):
        for half in range(2):
            value = high[row] if half == 0 else low[row]
            for place in range(16):
                digit = (value >> np.uint64(60 - 4 * place)) & np.uint64(15)
                text[32 * row + 16 * half + place] = digit + (48 if digit < 10 else 87)


@compiled
def _number(
    high: Halves,
    low: Halves,
    present: Flags,
    slots: Numbers,
    known_high: Halves,
    known_low: Halves,
    count: int,
    numbers: Numbers,
) -> int:
    last = len(slots) - 1
    for row in range(len(high)):
        if not present[row]:
            numbers[row] = -1
            continue
        one, other = high[row], low[row]
        slot = np.int64(other & np.uint64(last))
        while slots[slot] >= 0 and (known_high[slots[slot]] != one or known_low[slots[slot]] != other):
            slot = (slot + 1) & last
        if slots[slot] < 0:
            slots[slot] = count
            known_high[count], known_low[count] = one, other
            count += 1
        numbers[row] = slots[slot]
    return count


@compiled
def _look_up(
    high: Halves,
    low: Halves,
    present: Flags,
    slots: Numbers,
    known_high: Halves,
    known_low: Halves,
    numbers: Numbers,
) -> None:
    last = len(slots) - 1
    for row in range(len(high)):
        numbers[row] = -1
        if not present[row]:
            continue
        one, other = high[row], low[row]
        slot = np.int64(other & np.uint64(last))
        while slots[slot] >= 0 and (known_high[slots[slot]] != one or known_low[slots[slot]] != other):
            slot = (slot + 1) & last
        numbers[row] = slots[slot]


@compiled
def _fill(slots: Numbers, known_low: Halves, count: int) -> None:
    last = len(slots) - 1
    for number in range(count):
        slot = np.int64(known_low[number] & np.uint64(last))
        while slots[slot] >= 0:
            slot = (slot + 1) & last
        slots[slot] = number
