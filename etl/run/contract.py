"""A stream's schema before it lands: what this window has that earlier ones had not, and what its contract says to it.

`bronze.schema_log` holds the changes. What each recent window looked like is remembered in a small file beside the
lake; without it nothing is lost but the notice of vanished paths, until three more windows have come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import polars as pl

from etl.bronze.drift import Change, Fingerprint, Known, breaking, changes, fingerprint, topmost
from etl.bronze.envelope import covers
from etl.bronze.tables import DEAD_LETTERS, SCHEMA_LOG
from etl.errors import SourceError
from etl.lake import Gathered, Lake
from etl.model import Source, Stream, Window
from etl.model.frames import schema_of

#: At most so many records of a window are looked at, of a large one a twentieth.
MOST, ALL_OF, SHARE = 20_000, 2_000, 20
#: How many windows are remembered: a month of days, and a day of hours.
REMEMBERED = 60
#: How many changes of a window are told one by one; all stand in the log.
TOLD = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """A window's rows as its contract lets them land, the rest as dead letters, and what is to be told and kept."""

    rows: Gathered
    dead: pl.DataFrame
    warnings: tuple[str, ...] = ()
    log: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=schema_of(SCHEMA_LOG.columns)))
    seen: Fingerprint | None = None


def judged(
    lake: Lake,
    source: Source,
    stream: Stream,
    window: Window,
    rows: Gathered,
    *,
    into: Gathered,
    run_id: str,
    now: datetime,
) -> Judged:
    """The rows before they land, in the sight of earlier windows; where some may not, the others are gathered `into`.

    `evolve` looks at a sample and lets everything in; `quarantine` and `freeze` look at every record.

    Raises: SourceError naming the paths, when the contract is `freeze` and there is a new path or type.
    """
    no_dead = pl.DataFrame(schema=schema_of(DEAD_LETTERS.columns))
    if not rows.height:
        return Judged(rows, no_dead)
    log = _log_of(lake, source, stream)
    known, memory = known_from(log), remembered(lake, source, stream)
    if stream.contract == "evolve":
        seen = fingerprint(sample(rows.frames(), rows.height))
    else:
        seen = fingerprint(payload for frame in rows.frames() for payload in frame["_payload"])
    earlier = sorted((ends, starts) for starts, ends in memory if ends <= window.start)
    before = [(starts, ends) for ends, starts in earlier][-3:]
    found = changes(known, seen, [memory[each] for each in before])
    where = f"{source.name}.{stream.name} {named(window)}"
    broken = [each for each in found if each.breaks]
    dead = no_dead
    if broken and stream.contract == "freeze":
        raise SourceError(
            f"{where}: its schema is frozen, and there came {_listed(broken)}; nothing was written; let it in with "
            'contract="evolve" on the stream, or ask the vendor'
        )
    if broken and stream.contract == "quarantine":
        rows, dead = _parted(source, stream, rows, known, seen, into=into, run_id=run_id)
    lines = _lines(source, stream, window, found, log, _previous(found, memory, window), run_id=run_id, now=now)
    new = [each for each in found if (each.path, each.json_type, each.change) in _keys(lines)]
    return Judged(rows, dead, _warnings(where, stream, new, known, before, _previous(new, memory, window)), lines, seen)


def keep(lake: Lake, source: Source, stream: Stream, window: Window, told: Judged, *, load_id: str) -> None:
    """The changes into the log, the window into the memory: after its rows have landed."""
    if told.log.height:
        staged = lake.stage(SCHEMA_LOG, told.log)
        mark = sha256(repr(sorted(_keys(told.log))).encode()).hexdigest()[:16]
        lake.commit(SCHEMA_LOG, staged, replaces="nothing", load_id=f"{load_id}:schema:{mark}")
    if told.seen is not None and told.seen.records:
        _remember(lake, source, stream, window, told.seen)


def sample(frames: Iterable[pl.DataFrame], height: int) -> pl.Series:
    """The payloads looked at of `height` rows: chosen by hash, so from every page alike, and the same in any order."""
    looked_at = pl.col("_hash", "_payload")
    if height <= ALL_OF:
        return pl.concat(frame.select(looked_at) for frame in frames)["_payload"]
    wanted = min(MOST, max(ALL_OF, height // SHARE))
    below = f"{min(0xFFFFFFFF, (wanted << 32) // height):08x}"
    chosen = pl.concat(frame.filter(pl.col("_hash") < below).select(looked_at) for frame in frames)
    return chosen.sort("_hash").head(MOST)["_payload"]


def named(window: Window) -> str:
    """The window's key, or where it is not made of whole days, its ends."""
    return window.key if all(covers(window, day) for day in window.days) else str(window)


def known_from(log: pl.DataFrame) -> Known:
    """What the log's lines, in the order they were written, leave known. What a contract kept out stays unknown."""
    types: dict[str, frozenset[str]] = {}
    gone: set[str] = set()
    for path, json_type, change, contract, severity in log.select(
        "path", "json_type", "change", "contract", "severity"
    ).iter_rows():
        if change == "vanished":
            gone.add(path)
        elif contract == "evolve" or change == "first" or severity == "info":
            types[path] = types.get(path, frozenset()) | {json_type}
            gone.discard(path)
    return Known(types, frozenset(gone))


def _log_of(lake: Lake, source: Source, stream: Stream) -> pl.DataFrame:
    mine = (pl.col("source") == source.name) & (pl.col("stream") == stream.name)
    return lake.read(SCHEMA_LOG).filter(mine).collect().sort("seen_at", "window_start", "window_end")


def _parted(
    source: Source, stream: Stream, rows: Gathered, known: Known, seen: Fingerprint, *, into: Gathered, run_id: str
) -> tuple[Gathered, pl.DataFrame]:
    """The rows that are as known, and dead letters of the others."""
    dead = [pl.DataFrame(schema=schema_of(DEAD_LETTERS.columns))]
    for frame in rows.frames():
        breaks = pl.Series(breaking(frame["_payload"].to_list(), known, seen), dtype=pl.Boolean)
        into.add(frame.filter(~breaks))
        lost = frame.filter(breaks).select(
            pl.lit(source.name).alias("source"),
            pl.lit(stream.name).alias("stream"),
            pl.lit("schema_drift").alias("reason"),
            pl.col("_hash").alias("hash"),
            pl.col("_page").alias("page"),
            pl.lit(run_id).alias("run_id"),
            "day",
            pl.col("_payload").str.slice(0, 1024 * 1024).alias("raw"),
        )
        dead.append(lost.cast(schema_of(DEAD_LETTERS.columns)))  # type: ignore[arg-type]
    return into, pl.concat(dead)


def _lines(
    source: Source,
    stream: Stream,
    window: Window,
    found: Sequence[Change],
    log: pl.DataFrame,
    previous: dict[str, tuple[datetime, datetime]],
    *,
    run_id: str,
    now: datetime,
) -> pl.DataFrame:
    """One line per change that this window has not been said to have before."""
    same_window = (pl.col("window_start") == window.start) & (pl.col("window_end") == window.end)
    said = _keys(log.filter(same_window & (pl.col("contract") == stream.contract)))
    lines = [
        {
            "source": source.name,
            "stream": stream.name,
            "window_start": window.start,
            "window_end": window.end,
            "path": each.path,
            "json_type": each.json_type,
            "change": each.change,
            "severity": _severity(stream, each),
            "contract": stream.contract,
            "previous_start": previous.get(each.path, (None, None))[0],
            "previous_end": previous.get(each.path, (None, None))[1],
            "run_id": run_id,
            "seen_at": now,
        }
        for each in found
        if (each.path, each.json_type, each.change) not in said
    ]
    return pl.DataFrame(lines, schema=schema_of(SCHEMA_LOG.columns))


def _severity(stream: Stream, change: Change) -> str:
    return "warning" if change.breaks and stream.contract != "evolve" else change.severity


def _keys(log: pl.DataFrame) -> set[tuple[str, str, str]]:
    return set(log.select("path", "json_type", "change").iter_rows())


def _previous(
    found: Sequence[Change], memory: dict[tuple[datetime, datetime], Fingerprint], window: Window
) -> dict[str, tuple[datetime, datetime]]:
    """Per changed path, the latest window before this one that had it as it was."""
    before = sorted((each for each in memory if each[1] <= window.start), key=lambda each: each[::-1], reverse=True)
    last: dict[str, tuple[datetime, datetime]] = {}
    for change in found:
        if change.change in {"type_changed", "vanished"}:
            had = next((each for each in before if change.path in memory[each].paths), None)
            if had is not None:
                last[change.path] = had
    return last


def _warnings(
    where: str,
    stream: Stream,
    found: Sequence[Change],
    known: Known,
    before: Sequence[tuple[datetime, datetime]],
    previous: dict[str, tuple[datetime, datetime]],
) -> tuple[str, ...]:
    """One line per change that is a warning; paths that only follow from one above them are not told again."""
    told = topmost(each for each in found if _severity(stream, each) == "warning")
    lines = []
    for each in told[:TOLD]:
        then = previous.get(each.path) or (before[-1] if before else None)
        last = f" in {named(Window(*then))}" if then else " before"
        if each.change == "vanished":
            what = f"{each.path} has vanished; last seen{last}"
        elif each.change == "type_changed":
            old = " or ".join(sorted(known.types.get(each.path, frozenset()) - {"null"})) or "another type"
            what = f"{each.path} is now {each.json_type}; was {old}{last}"
        else:
            what = f"{each.path} ({each.json_type}) is new; unknown{last}"
        kept_out = (
            "; its records are dead letters (schema_drift)" if each.breaks and stream.contract != "evolve" else ""
        )
        lines.append(f"{where}: {what}{kept_out}")
    if len(told) > TOLD:
        lines.append(f"{where}: {len(told) - TOLD} more warnings of its schema, see bronze.schema_log")
    return tuple(lines)


def _listed(broken: Sequence[Change]) -> str:
    named = [f"{each.path} ({each.json_type}{'' if each.change == 'new' else ', another type'})" for each in broken]
    return ", ".join(named[:TOLD]) + (f" and {len(named) - TOLD} more" if len(named) > TOLD else "")


# --- the memory -------------------------------------------------------------------------------------------------------


def remembered(lake: Lake, source: Source, stream: Stream) -> dict[tuple[datetime, datetime], Fingerprint]:
    """What the windows read last looked like, by (start, end); nothing where there is no memory, or one unreadable."""
    try:
        kept = json.loads(lake.note(_note(source, stream)) or "[]")
        return {
            (datetime.fromisoformat(each["start"]), datetime.fromisoformat(each["end"])): Fingerprint(
                each["records"], each["paths"]
            )
            for each in kept
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _remember(lake: Lake, source: Source, stream: Stream, window: Window, seen: Fingerprint) -> None:
    memory = remembered(lake, source, stream)
    key = (window.start, window.end)
    if memory.get(key) == seen:
        return
    memory.pop(key, None)
    memory[key] = seen
    latest = list(memory.items())[-REMEMBERED:]
    kept = [
        {"start": start.isoformat(), "end": end.isoformat(), "records": each.records, "paths": each.paths}
        for (start, end), each in latest
    ]
    lake.keep_note(_note(source, stream), json.dumps(kept))


def _note(source: Source, stream: Stream) -> str:
    return f"_schemas/{source.name}_{stream.name}.json"
