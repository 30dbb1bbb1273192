"""A stretch of time every extraction, build and backfill is told: UTC, half-open, never empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from etl.errors import WindowRefused


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """[start, end) in UTC.

    Raises: WindowRefused when an end is naive, not UTC, or not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment.tzinfo is None or moment.utcoffset() != timedelta(0):
                raise WindowRefused(f"window {name} {moment.isoformat()}: expected a UTC time, e.g. 2026-01-01T00:00Z")
        if self.end <= self.start:
            raise WindowRefused(
                f"window {self.start.isoformat()} to {self.end.isoformat()}: it must end after it starts; "
                "both ends are UTC and the end is exclusive"
            )

    @classmethod
    def of_day(cls, day: date) -> Window:
        """The whole UTC day `day`."""
        start = datetime.combine(day, time(), UTC)
        return cls(start, start + timedelta(days=1))

    @classmethod
    def of_days(cls, first: date, last: date) -> Window:
        """The UTC days from `first` to `last`, both included."""
        if last < first:
            raise WindowRefused(f"window {first} to {last}: the last day is before the first")
        return cls(cls.of_day(first).start, cls.of_day(last).end)

    @classmethod
    def parse(cls, text: str) -> Window:
        """A window from its key: a day `2026-01-31`, or days `2026-01-01--2026-01-31`, both included.

        The inverse of `key`. Raises: WindowRefused when it is neither.
        """
        try:
            first, _, last = text.partition("--")
            return cls.of_days(date.fromisoformat(first), date.fromisoformat(last or first))
        except ValueError:
            raise WindowRefused(
                f"window {text!r}: expected a day like 2026-01-31 or days like 2026-01-01--2026-01-31"
            ) from None

    @property
    def key(self) -> str:
        """The window as a partition key of Airflow: `2026-01-31` or `2026-01-01--2026-01-31`.

        Raises: WindowRefused when the window is not made of whole days.
        """
        if self.start.time() != time() or self.end.time() != time():
            raise WindowRefused(f"window {self}: only whole UTC days have a key")
        last = (self.end - timedelta(days=1)).date()
        first = self.start.date()
        return first.isoformat() if first == last else f"{first.isoformat()}--{last.isoformat()}"

    @property
    def days(self) -> tuple[date, ...]:
        """Every UTC day the window touches, in order."""
        return tuple(days_of(self.start, self.end))

    def reaching_back(self, days: int) -> Window:
        """The same window, starting `days` earlier (restated reports, late events)."""
        return Window(self.start - timedelta(days=days), self.end)

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"


def days_of(start: datetime, end: datetime) -> Iterator[date]:
    """The UTC days touched by [start, end)."""
    day = start.date()
    last = (end - timedelta(microseconds=1)).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def moment_of(text: str) -> datetime:
    """The UTC time `text` says: `2026-01-31T12:00`, or a day, which means its end: when all of it had happened.

    Raises: WindowRefused when it is neither.
    """
    try:
        if len(text) == len("2026-01-31"):
            return Window.of_day(date.fromisoformat(text)).end
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WindowRefused(f"time {text!r}: expected a day like 2026-01-31 or a time like 2026-01-31T12:00") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
