"""The sources as their keeper sees them: what is landed and what is missing, whether they answer, and filling up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from etl.bronze.envelope import Batch, covers, enveloped
from etl.bronze.tables import INGEST_LOG
from etl.catalog import declared_sources
from etl.connect import read_pages
from etl.connect.reader import refuse_too_old
from etl.connect.verdicts import masked
from etl.errors import C360Error, NameRefused, QuotaExhausted, SourceUnreachable, WindowRefused
from etl.model import Dlt, Http, Own, Source, Stream, Window
from etl.run.contract import named
from etl.run.demo import last_day
from etl.run.house import House
from etl.run.pipeline import Outcome, State, attempt, defect
from etl.run.steps import ingest_stream
from etl.run.whole import write_whole
from etl.settings import Settings

#: How long a backfill's windows may be.
EVERY = ("day", "week", "month")


def expected_day(settings: Settings, *, today: date) -> date:
    """The last day whose records should be here: the demo's last, the company's, or yesterday."""
    return last_day(settings) if settings.is_demo else settings.last_day or today - timedelta(days=1)


# --- what is landed ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """One stream of a declared source. Days are UTC; `gaps` are the days missing between the first and last landed.

    `lag_days` counts from the last landed day to the last expected one; None where nothing has landed.
    `quota` is what the account allows in requests; empty for files and databases. `warning` says what made the last
    window's answer less than whole.
    """

    source: str
    is_active: bool
    stream: str
    kind: str
    last_window: str
    first_day: date | None
    last_day: date | None
    gaps: tuple[date, ...]
    lag_days: int | None
    quota: str
    warning: str

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "source": self.source,
            "active": self.is_active,
            "stream": self.stream,
            "kind": self.kind,
            "last_window": self.last_window or None,
            "first_day": self.first_day and self.first_day.isoformat(),
            "last_day": self.last_day and self.last_day.isoformat(),
            "gaps": [day.isoformat() for day in self.gaps],
            "lag_days": self.lag_days,
            "quota": self.quota,
            "warning": self.warning or None,
        }


def standings(house: House, *, today: date) -> list[StreamStanding]:
    """Every stream of every declared source, the active sources first."""
    active = {source.name for source in house.catalog.sources}
    others = [s for s in declared_sources(house.settings.declarations) if s.name not in active]
    log = house.lake.read(INGEST_LOG).collect()
    expected = expected_day(house.settings, today=today)
    return [
        _standing(source, stream, source.name in active, log, expected)
        for source in (*house.catalog.sources, *others)
        for stream in source.streams
    ]


def _standing(source: Source, stream: Stream, is_active: bool, log: pl.DataFrame, expected: date) -> StreamStanding:
    windows = _windows(log, source, stream)
    days = landed_days(windows)
    missing = _days(days[0], days[-1]) - set(days) if days else set()
    latest = max(windows, key=lambda window: (window.end, window.start), default=None)
    of_latest = _lines(log, source, stream).sort("window_end", "window_start", "loaded_at").tail(1)
    # What dlt asks, it asks as often as it likes.
    limits, is_asked = source.limits, isinstance(stream.request, Http | Own) and not _is_of_dlt(stream.request)
    return StreamStanding(
        source=source.name,
        is_active=is_active,
        stream=stream.name,
        kind=stream.kind.value,
        last_window=named(latest) if latest else "",
        first_day=days[0] if days else None,
        last_day=days[-1] if days else None,
        gaps=tuple(sorted(missing)),
        lag_days=max(0, (expected - days[-1]).days) if days else None,
        quota=f"{limits.requests} per {limits.seconds:g} s, {limits.concurrency} at once" if is_asked else "",
        warning="".join(of_latest["warning"].drop_nulls()),
    )


def _is_of_dlt(request: Http | Own) -> bool:
    return isinstance(request, Own) and isinstance(request.read, Dlt)


def landed_days(windows: Sequence[Window]) -> list[date]:
    """The whole days the windows cover together: 24 hours are a day, 23 are none."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return sorted({day for window in merged for day in window.days if covers(window, day)})


def shown_days(days: Sequence[date]) -> str:
    """Days as a person reads them: how many, and the stretches they lie in (the first three)."""
    if not days:
        return ""
    stretches = [named(window) for window in _stretches(days)]
    return f"{len(days)}: {', '.join(stretches[:3])}{', ...' if len(stretches) > 3 else ''}"


def _windows(log: pl.DataFrame, source: Source, stream: Stream) -> list[Window]:
    mine = _lines(log, source, stream).select("window_start", "window_end").unique()
    return [Window(start, end) for start, end in mine.iter_rows()]


def _lines(log: pl.DataFrame, source: Source, stream: Stream) -> pl.DataFrame:
    return log.filter((pl.col("source") == source.name) & (pl.col("stream") == stream.name))


def _days(first: date, last: date) -> set[date]:
    return {first + timedelta(days=ahead) for ahead in range((last - first).days + 1)}


def _stretches(days: Sequence[date]) -> list[Window]:
    found: list[list[date]] = []
    for day in sorted(days):
        if found and day - found[-1][-1] == timedelta(days=1):
            found[-1].append(day)
        else:
            found.append([day])
    return [Window.of_days(each[0], each[-1]) for each in found]


# --- whether they answer ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """How one stream answered: `said` is one line without a secret in it."""

    stream: str
    is_ok: bool
    said: str


def check(house: House, name: str, *, now: datetime) -> Iterator[Answered]:
    """Every stream of a source, asked for the first page of its last expected day; nothing is written.

    Raises: NameRefused when there is no such active source.
    """
    source = house.catalog.source(name)
    window = Window.of_day(expected_day(house.settings, today=now.date()))
    unreachable = ""
    for stream in source.streams:
        if unreachable:
            yield Answered(stream.name, False, f"not asked, {source.name} cannot be reached")
            continue
        try:
            said = _first_page(house, source, stream, window, now=now)
            yield Answered(stream.name, True, said)
        except C360Error as error:
            said = _line(str(error), house.connection(source).secret)
            if isinstance(error, QuotaExhausted):
                said += f" (not before {error.until:%Y-%m-%d %H:%M} UTC)"
            unreachable = said if isinstance(error, SourceUnreachable) else ""
            yield Answered(stream.name, False, said)
        except Exception as error:  # noqa: BLE001 - one stream's defect hides no other's answer
            yield Answered(stream.name, False, defect(error))


def _first_page(house: House, source: Source, stream: Stream, window: Window, *, now: datetime) -> str:
    refuse_too_old(source, stream, window, now=now)
    connection = house.connection(source)
    with closing(read_pages(source, stream, connection, window)) as pages:
        page = next(pages, None)
    if page is None:
        return f"OK, no records of {named(window)}"
    wrapped = enveloped(
        Batch(page.number, page.records, page.rejected, page.ordinals, page.day),
        source,
        stream,
        window,
        account=connection.account,
        run_id="check",
        extracted_at=now,
    )
    count = wrapped.rows.height + wrapped.dead.height + wrapped.aside
    reasons = ", ".join(sorted(wrapped.dead["reason"].unique().to_list()))
    lost = f"; {wrapped.dead.height} could not be landed ({reasons})" if reasons else ""
    return f"OK, {count:,} record{'' if count == 1 else 's'} on the first page of {named(window)}{lost}"


def _line(text: str, secret: str) -> str:
    return masked(" ".join(text.split()), secret)


# --- filling up -------------------------------------------------------------------------------------------------------

Step = tuple[str, Window]


def plan(
    house: House, source: Source, streams: Sequence[str], days: Window, *, every: str = "day", only_gaps: bool = False
) -> list[Step]:
    """(stream, window) of a backfill in the order they are filled: window by window, every stream of it.

    `only_gaps` leaves out the days the ingest log has. Raises: NameRefused, for an unknown stream or length.
    """
    if every not in EVERY:
        raise NameRefused(f"--every {every}: expected one of {', '.join(EVERY)}")
    chosen = [house.catalog.stream(source, name) for name in streams] or list(source.streams)
    log = house.lake.read(INGEST_LOG).collect() if only_gaps else None
    found: list[tuple[Window, int, str]] = []
    for place, stream in enumerate(chosen):
        there = set(landed_days(_windows(log, source, stream))) if log is not None else set()
        for piece in pieces(days, every):
            wanted = [day for day in piece.days if day not in there]
            found += [(window, place, stream.name) for window in _stretches(wanted)]
    return [(name, window) for window, _, name in sorted(found)]


def pieces(days: Window, every: str) -> list[Window]:
    """The days cut at midnight, on Mondays or on the first of the month."""
    marks: dict[tuple[int, ...], list[date]] = {}
    for day in days.days:
        key = {"day": (day.toordinal(),), "week": day.isocalendar()[:2], "month": (day.year, day.month)}[every]
        marks.setdefault(key, []).append(day)
    return [Window.of_days(each[0], each[-1]) for each in marks.values()]


@dataclass(frozen=True, slots=True)
class Notes:
    """What an unfinished backfill has done, so that the same one goes on when it is run again."""

    path: Path

    def read(self) -> tuple[str, frozenset[tuple[str, str]]]:
        """(when it began, the (stream, window) it has filled); empty when there is no unfinished one."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            return str(kept["began"]), frozenset((stream, window) for stream, window in kept["done"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", frozenset()

    def write(self, began: str, done: frozenset[tuple[str, str]]) -> None:
        """What was filled so far."""
        write_whole(self.path, json.dumps({"began": began, "done": sorted(done)}))

    def finish(self) -> None:
        """Nothing is left to go on with."""
        self.path.unlink(missing_ok=True)


def notes_of(house: House, source: Source, streams: Sequence[str], days: Window, every: str) -> Notes:
    """Where this very backfill keeps its notes."""
    mark = hashlib.sha256(json.dumps([sorted(streams), days.key, every]).encode()).hexdigest()[:12]
    return Notes(house.settings.home / "backfills" / f"{source.name}-{mark}.json")


def fill(
    house: House,
    source: Source,
    steps: Sequence[Step],
    notes: Notes,
    *,
    run_id: str,
    now: datetime,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """The steps one after the other, each as the DAGs do it; those its notes say are done are not done again.

    A window that fails stops the later ones of its stream, which end as stopped; a window that is too old does not.
    """
    began, done = notes.read()
    began = began or now.isoformat(timespec="minutes")
    outcomes: list[Outcome] = []
    failed: dict[str, str] = {}
    for name, window in steps:
        if (name, window.key) in done:
            continue
        table = f"bronze.{source.name}_{name}"
        if name in failed:
            outcome = Outcome(table, window.key, State.STOPPED, why=f"waits for {failed[name]}")
        else:
            refused: list[WindowRefused] = []
            act = partial(_fill_one, house, source, name, window, run_id, refused)
            outcome = attempt(table, window.key, act)
            if outcome.state is State.DONE:
                done = done | {(name, window.key)}
                notes.write(began, done)
            elif not refused:
                failed[name] = window.key
        outcomes.append(outcome)
        progress(outcome)
    if all(outcome.state is State.DONE for outcome in outcomes):
        notes.finish()
    return outcomes


def _fill_one(
    house: House, source: Source, stream: str, window: Window, run_id: str, refused: list[WindowRefused]
) -> Any:
    try:
        return ingest_stream(house, source.name, stream, window, run_id=run_id)
    except WindowRefused as error:
        refused.append(error)
        raise
