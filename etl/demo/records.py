"""The nouns the demo's modules share: a record's versions, and the truth written down as it is invented."""

from __future__ import annotations

import gc
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000
_HOURS = tuple(hour for hour, weight in enumerate(
    (1, 1, 0, 0, 0, 1, 2, 4, 5, 6, 6, 6, 7, 6, 5, 5, 6, 7, 8, 9, 9, 7, 4, 2)) for _ in range(weight))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """What one record said from `at` (ms) on. `payload` None: the record is gone without a trace."""

    id: str
    at: int
    payload: Mapping[str, Any] | None
    is_archived: bool = False


@dataclass(frozen=True, slots=True)
class Answerable:
    """Records as an API would list them at one moment: latest version each, ordered by (at, id).

    `times[i]` is the update time of `payloads[i]`, which are JSON bytes; `ids` likewise.
    """

    times: tuple[int, ...]
    ids: tuple[str, ...]
    payloads: tuple[Mapping[str, Any], ...]
    encoded: tuple[bytes, ...]

    def between(self, start: int, end: int) -> range:
        """Positions of records with start <= time < end."""
        return range(bisect_left(self.times, start), bisect_left(self.times, end))

    def after(self, start: int, end: int) -> range:
        """Positions of records with start < time < end."""
        return range(bisect_right(self.times, start), bisect_left(self.times, end))


def answerable(versions: list[Version], as_of: int, *, archived: bool = False) -> Answerable:
    """The latest version of every record known before `as_of`; only archived ones, or only live ones."""
    latest: dict[str, Version] = {}
    for version in versions:
        if version.at < as_of:
            held = latest.get(version.id)
            if held is None or version.at >= held.at:
                latest[version.id] = version
    listed = sorted(
        (v for v in latest.values() if v.payload is not None and v.is_archived is archived), key=lambda v: (v.at, v.id)
    )
    payloads = tuple(v.payload for v in listed if v.payload is not None)
    return Answerable(
        times=tuple(v.at for v in listed),
        ids=tuple(v.id for v in listed),
        payloads=payloads,
        encoded=tuple(msgspec.json.encode(payload) for payload in payloads),
    )


@dataclass(slots=True)
class Truth:
    """What really is: whose each record and identifier is, and which rows were spoilt on purpose."""

    record_links: list[tuple[str, str, str, str]] = field(default_factory=list)
    identifier_links: set[tuple[str, str, str]] = field(default_factory=set)
    bad: list[tuple[str, str, str, str]] = field(default_factory=list)  # source, stream, kind, record id

    def link(self, source: str, stream: str, record_id: str, person_id: str) -> None:
        """The record is about this person."""
        self.record_links.append((source, stream, record_id, person_id))

    def identify(self, kind: str, value: str, person_id: str) -> None:
        """The identifier is, or is among others, this person's. Empty values are nobody's."""
        if value:
            self.identifier_links.add((kind, value, person_id))

    def spoil(self, source: str, stream: str, kind: str, record_id: str = "") -> None:
        """One row of this stream was made bad on purpose."""
        self.bad.append((source, stream, kind, record_id))


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Python's cycle collector pauses: a million small values without one cycle cost it more than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@lru_cache(maxsize=4096)
def iso_day(number: int) -> str:
    """The ISO date of a day since 1970. Kept: the same few come a hundred thousand times."""
    return (EPOCH + timedelta(days=number)).date().isoformat()


def clock(moment: int) -> str:
    """`10:20:30`, UTC."""
    second = moment // 1000 % 86_400
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def iso_ms(moment: int) -> str:
    """`2026-01-05T10:20:30.123Z`."""
    return f"{iso_day(moment // DAY_MS)}T{clock(moment)}.{moment % 1000:03d}Z"


def iso_s(moment: int) -> str:
    """`2026-01-05T10:20:30Z`."""
    return f"{iso_day(moment // DAY_MS)}T{clock(moment)}Z"


def iso_offset(moment: int) -> str:
    """`2026-01-05T10:20:30+00:00`."""
    return f"{iso_day(moment // DAY_MS)}T{clock(moment)}+00:00"


def compact_day(moment: int) -> str:
    """`20260105`."""
    return iso_day(moment // DAY_MS).replace("-", "")


def ms_of(moment: datetime) -> int:
    """Milliseconds since 1970 of a UTC time."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_between(rng: Random, start: int, end: int) -> int:
    """A time in [start, end): any day alike, the hour as people live; at the edges any moment alike."""
    anywhere = start + int(rng.random() * max(end - start, 1))
    moment = anywhere - anywhere % DAY_MS + rng.choice(_HOURS) * 3_600_000 + int(rng.random() * 3_600_000)
    return moment if start <= moment < end else anywhere


def poisson(rng: Random, mean: float) -> int:
    """A Poisson draw (Knuth); for small means."""
    limit, product, count = 2.718281828459045 ** (-min(mean, 50.0)), rng.random(), 0
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def new_uuid(rng: Random) -> str:
    """A version 4 UUID from the seed."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_ulid(rng: Random, moment: int) -> str:
    """A ULID: 48 bits of milliseconds, 80 bits from the seed."""
    number = (moment << 80) | rng.getrandbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
