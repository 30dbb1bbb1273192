"""Times as nearly every system writes them, off their bytes: `2026-01-31T23:59:59.123Z`, `2026-01-31 23:59:59+01:00`.

Only these, and only real ones: whatever else a text holds is for a reader with more patience (`etl.bronze.picks`).
NumPy's loops, not a compiled kernel: loading one costs each process a third of a second and a hundred megabytes, which
only millions of times would earn back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_SHORTEST = len("2026-01-31T23:59:59")
_LONGEST = 40
_OFFSET = len("+01:00")
_DASH, _COLON, _POINT, _PLUS, _T, _Z, _SPACE = b"-:.+TZ "


def usual_moments(texts: pl.Series) -> tuple[Ints, Flags, Flags]:
    """Microseconds since 1970, whether the text was read, and whether it names no zone; (len(texts),) each.

    texts: String; null is not read. A text that names no zone is read as it stands, any other in UTC.
    """
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    at = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)
    # What stands under a null in the buffer is anybody's.
    lengths = np.where(texts.is_not_null().to_numpy(), np.diff(at), 0)
    micros = np.zeros(len(array), dtype=np.int64)
    is_read, is_bare = np.zeros(len(array), dtype=np.bool_), np.zeros(len(array), dtype=np.bool_)
    for length in np.unique(lengths):
        if _SHORTEST <= length <= _LONGEST:
            rows = np.flatnonzero(lengths == length)
            signs = text[at[rows][:, None] + np.arange(length)]
            micros[rows], is_read[rows], is_bare[rows] = _alike(signs)
    return micros, is_read, is_bare


def _alike(signs: Bytes) -> tuple[Ints, Flags, Flags]:
    """The same of texts of one length, (n_texts, length)."""
    year, month, day = (_number(signs[:, part]) for part in (slice(0, 4), slice(5, 7), slice(8, 10)))
    hour, minute, second = (_number(signs[:, part]) for part in (slice(11, 13), slice(14, 16), slice(17, 19)))
    fine = (signs[:, 4] == _DASH) & (signs[:, 7] == _DASH) & (signs[:, 13] == _COLON) & (signs[:, 16] == _COLON)
    fine &= (signs[:, 10] == _T) | (signs[:, 10] == _SPACE)
    fine &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    for number, most in ((hour, 23), (minute, 59), (second, 59)):
        fine &= (number >= 0) & (number <= most)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    fine &= days < (months + 1).astype("datetime64[D]").astype(np.int64)

    length = signs.shape[1]
    in_utc = signs[:, -1] == _Z
    ahead = np.zeros(len(signs), dtype=np.int64)
    has_offset = np.zeros(len(signs), dtype=np.bool_)
    if length >= _SHORTEST + _OFFSET:
        hours, minutes = _number(signs[:, -5:-3]), _number(signs[:, -2:])
        is_west = signs[:, -_OFFSET] == _DASH
        has_offset = (is_west | (signs[:, -_OFFSET] == _PLUS)) & (signs[:, -3] == _COLON)
        has_offset &= (hours >= 0) & (hours <= 18) & (minutes >= 0) & (minutes <= 59)
        ahead[has_offset] = np.where(is_west, -1, 1)[has_offset] * (60 * hours + minutes)[has_offset]
    is_bare = ~(in_utc | has_offset)
    fraction = np.zeros(len(signs), dtype=np.int64)
    for those, end in ((in_utc, length - 1), (has_offset, length - _OFFSET), (is_bare, length)):
        if end > _SHORTEST and those.any():
            digits = _number(signs[:, _SHORTEST + 1 : min(end, _SHORTEST + 7)])
            whole = _number(signs[:, _SHORTEST + 1 : end]) >= 0 if end > _SHORTEST + 7 else digits >= 0
            fine &= ~those | ((signs[:, _SHORTEST] == _POINT) & whole & (end > _SHORTEST + 1))
            # From the seventh place on nothing is added.
            fraction[those] = (digits * 10 ** max(0, 6 - (end - _SHORTEST - 1)))[those]
    seconds = 86_400 * days + 3600 * hour + 60 * (minute - ahead) + second
    return 1_000_000 * seconds + fraction, fine, is_bare


def _number(signs: Bytes) -> Ints:
    """The number each row of digits is, (n_texts,); -1 where a sign is no digit. Only of up to 18 is it the number."""
    digits = signs - np.uint8(48)  # what comes before 0 wraps around, to more than 9
    value = np.zeros(len(signs), dtype=np.int64)
    for place in range(signs.shape[1]):
        value = 10 * value + digits[:, place]
    value &= np.iinfo(np.int64).max
    value[(digits > 9).any(axis=1)] = -1
    return value
