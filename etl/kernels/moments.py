"""Times as nearly every system writes them, off their bytes: `2026-01-31T23:59:59.123Z`, `2026-01-31 23:59:59+01:00`.

Only these, and only real ones: whatever else a text holds is for a reader with more patience.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.kernels.compiled import compiled

Flags = npt.NDArray[np.bool_]
Micros = npt.NDArray[np.int64]


def usual_moments(texts: pl.Series) -> tuple[Micros, Flags, Flags]:
    """Microseconds since 1970, whether the text was read, and whether it names no zone; (len(texts),) each.

    texts: String; null is not read. A text that names no zone is read as it stands, any other in UTC.
    """
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    at = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    micros = np.zeros(len(array), dtype=np.int64)
    is_read, is_bare = np.zeros(len(array), dtype=np.bool_), np.zeros(len(array), dtype=np.bool_)
    # What stands under a null in the buffer is anybody's.
    _read(text, at, texts.is_not_null().to_numpy(), micros, is_read, is_bare)
    return micros, is_read, is_bare


@compiled
def _number(text: npt.NDArray[np.uint8], begin: int, end: int) -> int:
    value = 0
    for place in range(begin, end):
        digit = text[place]
        if digit < 48 or digit > 57:
            return -1
        value = 10 * value + (digit - 48)
    return value


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; `days_from_civil` of https://howardhinnant.github.io/date_algorithms.html."""
    year = year - 1 if month <= 2 else year
    era = year // 400
    of_era = year - 400 * era
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return 146097 * era + 365 * of_era + of_era // 4 - of_era // 100 + of_year - 719468


@compiled
def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month in (4, 6, 9, 11) else 31


@compiled
def _read(
    text: npt.NDArray[np.uint8],
    at: npt.NDArray[np.int64],
    present: Flags,
    micros: Micros,
    is_read: Flags,
    is_bare: Flags,
) -> None:
    for row in range(len(present)):
        begin, end = at[row], at[row + 1]
        if not present[row] or end - begin < 19:
            continue
        if text[begin + 4] != 45 or text[begin + 7] != 45 or text[begin + 13] != 58 or text[begin + 16] != 58:
            continue
        if text[begin + 10] != 84 and text[begin + 10] != 32:  # T or a space
            continue
        year, month, day = (
            _number(text, begin, begin + 4),
            _number(text, begin + 5, begin + 7),
            _number(text, begin + 8, begin + 10),
        )
        hour, minute, second = (
            _number(text, begin + 11, begin + 13),
            _number(text, begin + 14, begin + 16),
            _number(text, begin + 17, begin + 19),
        )
        if year < 1 or month < 1 or month > 12 or day < 1 or day > _days_in(year, month):
            continue
        if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
            continue
        place = begin + 19
        fraction = 0
        if place < end and text[place] == 46:
            place += 1
            first, scale = place, 100_000
            while place < end and 48 <= text[place] <= 57:
                fraction += scale * (text[place] - 48)
                scale //= 10  # from the seventh place on nothing is added
                place += 1
            if place == first:
                continue
        ahead = 0
        if place == end:
            is_bare[row] = True
        elif text[place] == 90 and place + 1 == end:  # Z
            pass
        elif (text[place] == 43 or text[place] == 45) and place + 6 == end and text[place + 3] == 58:
            hours, minutes = _number(text, place + 1, place + 3), _number(text, place + 4, place + 6)
            if hours < 0 or hours > 18 or minutes < 0 or minutes > 59:
                continue
            ahead = (60 * hours + minutes) * (1 if text[place] == 43 else -1)
        else:
            continue
        seconds = 86_400 * _days(year, month, day) + 3600 * hour + 60 * (minute - ahead) + second
        micros[row] = 1_000_000 * seconds + fraction
        is_read[row] = True
