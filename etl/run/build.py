"""One table of silver or gold for one window: read, build, account, audit, publish.

Nothing is visible before its suite has passed, and nothing is lost without a name: the rows that came in are the
rows that went out plus the quarantined, the deduplicated and the filtered, or the build fails.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import polars as pl

from etl.bronze.tables import INGEST_LOG
from etl.catalog import Fed, quarantine_of
from etl.compute import over
from etl.errors import ConservationError
from etl.lake import Lake, Staged
from etl.model import Column, Partition, Table, Window
from etl.model.frames import dtype
from etl.run import freshness
from etl.run.freshness import WHOLE, Built, Counts, unit_of
from etl.run.house import House
from etl.run.report import Report
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.standardise import no_records, picked

Part = TypeVar("Part")

#: Sees every frame before it is published, and raises QualityError to keep the old version.
Audit = Callable[[Table, Sequence[pl.LazyFrame], str], None]

#: Days one task of a day-partitioned table builds at once; results do not depend on it.
DAYS_A_PIECE = 31

_BROKEN = "the value is not what the column's declaration admits"
_ENVELOPE = ("_source", "_stream", "_hash")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one task made: files nobody sees yet, rows turned away, and each unit's counts."""

    staged: Staged
    rejected: pl.DataFrame
    counts: Mapping[str, Counts]


def build(house: House, table: Table, window: Window, *, run_id: str, audit: Audit) -> Report:
    """`table` for `window`, published when its suite passes.

    A DAY table replaces the window's days, with the days its sources restate and those whose duplicates may stand
    in them; a WHOLE table is built from everything known. Of these, only what is made of other inputs than before is
    built at all; and rows equal to what is visible write nothing.

    Raises: ConservationError, SchemaError, QualityError, LakeError; in each case the old version stays visible.
    """
    began = time.perf_counter()
    days = _days(house, table, window) if table.partition is Partition.DAY else None
    offered = _offered(house, table, window)
    made_of, read = freshness.fingerprints(house, table, days, offered), freshness.versions(house, table)
    known, held = freshness.remembered(house, table), house.lake.digests(table)
    units: list[date | None] = [None] if days is None else list(days)
    stale = [
        day for day in units if not freshness.is_fresh(known.get(unit_of(day)), made_of[unit_of(day)], held.get(day))
    ]
    counts = {unit_of(day): known[unit_of(day)].counts for day in units if day not in stale}
    if not stale:
        report = _report(table, window, counts)
        return replace(report, version=house.lake.version(table), seconds=time.perf_counter() - began)

    due = None if days is None else [day for day in stale if day is not None]
    if _wanted(table, {"since": None}):
        offered["since"] = freshness.since(house, table, offered)
    pieces = _subject(house, table, due, offered) if table.is_subject else _derived(house, table, offered)
    staged = _together(table, pieces)
    new = {unit: each for piece in pieces for unit, each in piece.counts.items()}
    try:
        report = _report(table, window, {**counts, **new})
        if not house.lake.holds(table, staged):
            audit(table, house.lake.read_staged(table, staged), window.key)
        if table.is_subject:
            _keep_rejected(house, table, _rejected(pieces, run_id), due, load_id=run_id)
    except BaseException:
        house.lake.discard(table, staged)
        raise
    commit = house.lake.commit(table, staged, load_id=f"{run_id}:{table.full_name}:{window.key}")
    held, made_by = house.lake.digests(table), freshness.made_by(table, offered)
    stood_still = read if read == freshness.versions(house, table) else None
    freshness.remember(
        house,
        table,
        {
            unit: Built(made_of[unit], held.get(day, ""), new[unit], made_by, stood_still)
            for unit, day in ((unit_of(day), day) for day in stale)
        },
    )
    return replace(report, version=commit.version, written=commit.written, seconds=time.perf_counter() - began)


def _together(table: Table, pieces: Sequence[_Piece]) -> Staged:
    """The files of all pieces, to be published in one version."""
    return Staged(
        table.full_name,
        tuple(file for piece in pieces for file in piece.staged.files),
        tuple(sorted({day for piece in pieces for day in piece.staged.days})),
    )


def _report(table: Table, window: Window, counts: Mapping[str, Counts]) -> Report:
    """The counts of every unit of the window, added up and balanced."""

    def total(name: str) -> int:
        return sum(getattr(each, name) for each in counts.values())

    return Report(
        table=table.full_name,
        window=window.key,
        rows_in=total("rows_in"),
        rows_out=total("rows_out"),
        quarantined=total("quarantined"),
        deduplicated=total("deduplicated"),
        filtered=total("filtered"),
        derived=total("derived"),
        accounted=None if table.weight is None else total("accounted"),
    ).balanced()


def _keep_rejected(
    house: House, table: Table, rejected: pl.DataFrame, days: Sequence[date] | None, *, load_id: str
) -> None:
    """The rows turned away, in the quarantine, in place of those an earlier build of the same days turned away."""
    quarantine = quarantine_of(table)
    if days is None:
        days = sorted({*house.lake.days(quarantine), *rejected["day"].unique().to_list()})
    staged = house.lake.stage(quarantine, rejected, days=days, volatile=("batch",))
    house.lake.commit(quarantine, staged, days=days, load_id=f"{load_id}:{quarantine.full_name}")


# --- subjects: fed by sources ---------------------------------------------------------------------------------------


def _days(house: House, table: Table, window: Window) -> list[date]:
    """The days a build of `window` replaces: its own, those the sources restated, and those after it whose
    duplicates may now stand in it."""
    feds = house.catalog.feeds.get(table.full_name, ())
    back = window.reaching_back(max((fed.stream.restate_days for fed in feds), default=0))
    landed = {day for fed in feds for day in house.lake.days(fed.bronze)}
    after = {window.end.date() + timedelta(days=ahead) for ahead in range(table.dedupe_days)}
    return sorted({*back.days, *(after & landed)})


def _subject(house: House, table: Table, days: Sequence[date] | None, offered: Mapping[str, Any]) -> list[_Piece]:
    """The pieces of a subject: the whole of it, or the given days in stretches."""
    inputs = _inputs(house, table)
    feds = house.catalog.feeds.get(table.full_name, ())

    def build_stretch(stretch: list[date] | None) -> _Piece:
        if stretch is None:
            return _accounted(house.lake, table, _records(house, table, feds, None), inputs, offered, keep=None)
        earlier = {day - timedelta(days=back) for day in stretch for back in range(1, table.dedupe_days + 1)}
        records = _records(house, table, feds, sorted({*earlier, *stretch}))
        return _accounted(house.lake, table, records, inputs, offered, keep=stretch)

    if days is None:
        return _over(house, table, build_stretch, [None])
    stretches = [list(days[at : at + DAYS_A_PIECE]) for at in range(0, len(days), DAYS_A_PIECE)]
    return _over(house, table, build_stretch, stretches)


def _over(house: House, table: Table, build_piece: Callable[[Part], _Piece], parts: Sequence[Part]) -> list[_Piece]:
    """Every part of the table built, here or on the cluster the settings name."""
    ground = partial(_ground, house.lake)
    return over(
        build_piece,
        parts,
        name=table.full_name,
        scheduler=house.settings.dask_scheduler,
        ground=ground,
        undo=lambda piece: house.lake.discard(table, piece.staged),
    )


def _ground(lake: Lake) -> str:
    """What rows depend on beside their inputs: the program, and that the lake is to be seen."""
    return f"program {freshness.program()[:12]}, {'the lake' if lake.is_there else f'no lake at {lake}'}"


def _records(house: House, table: Table, feds: Sequence[Fed], days: Sequence[date] | None) -> pl.DataFrame:
    """Every feed's rows, one frame: envelope, one typed column per accepted column, fates so far.

    Raises: ConservationError when a record of bronze left no row behind.
    """
    frames: list[pl.DataFrame] = [no_records(table)]
    for fed in feds:
        landed = house.lake.read(fed.bronze, days=days).collect()
        rows = picked(landed.lazy(), source=fed.source, stream=fed.stream, feed=fed.feed, table=table).collect()
        if rows.select(pl.col("_row").n_unique()).item() != landed.height:
            raise ConservationError(
                f"{table.full_name}: {landed.height} records of {fed.bronze.full_name} went in, and not all left a row"
            )
        frames.append(rows)
    return pl.concat(frames, how="vertical")


def _accounted(
    lake: Lake,
    table: Table,
    records: pl.DataFrame,
    inputs: Mapping[str, pl.LazyFrame],
    offered: Mapping[str, Any],
    *,
    keep: Sequence[date] | None,
) -> _Piece:
    """Build, hold back what breaks the declaration, count every row's fate (by day where it is by day), and stage."""
    assert table.build is not None
    built: pl.LazyFrame = table.build(records.lazy(), **_wanted(table, {**inputs, **offered}))
    frame = built.collect() if keep is None else built.filter(pl.col("day").is_in(keep)).collect()
    judged = hold_back(frame, table)
    counts = _counts(records, frame, judged, by_day=keep)
    out = judged.filter(pl.col("_fate").is_in(["out", "derived"]))
    rejected = judged.filter(pl.col("_fate") == "quarantined").select(*_ENVELOPE, "_rule", "_reason", "day")
    return _Piece(lake.stage(table, out.select(_cast(table.columns)), days=keep), rejected, counts)


def _counts(
    records: pl.DataFrame, built: pl.DataFrame, judged: pl.DataFrame, *, by_day: Sequence[date] | None
) -> dict[str, Counts]:
    """What became of each unit's records. Rows made here count as derived even when they are then held back."""
    came = _by_unit(records, by_day)
    made = _by_unit(built.filter(pl.col("_fate") == "derived"), by_day)
    fates = {fate: _by_unit(rows, by_day) for (fate,), rows in judged.select("_fate", "day").group_by("_fate")}

    def became(fate: str, unit: str) -> int:
        return fates.get(fate, {}).get(unit, 0)

    return {
        unit: Counts(
            rows_in=came.get(unit, 0),
            rows_out=became("out", unit) + became("derived", unit),
            quarantined=became("quarantined", unit),
            deduplicated=became("deduplicated", unit),
            filtered=became("filtered", unit),
            derived=made.get(unit, 0),
        )
        for unit in map(unit_of, [None] if by_day is None else by_day)
    }


def _by_unit(rows: pl.DataFrame, by_day: Sequence[date] | None) -> dict[str, int]:
    if by_day is None:
        return {WHOLE: rows.height}
    return {unit_of(day): count for day, count in rows.group_by("day").len().iter_rows()}


def hold_back(built: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`built` with the rows that break the columns' own declaration, or repeat a key, marked `quarantined`.

    The first rule in column order is the one named. Of rows with one key the first in the frame's order stays; in a
    table by day, of rows with one key and day, so that building days together or apart judges them alike.
    """
    going = pl.col("_fate").is_in(["out", "derived"])
    broken = [pl.when(going & breaks).then(pl.lit(f"{column}.{what}")) for column, what, breaks in _rules(table)]
    ruled = built.with_columns(pl.coalesce(*broken, pl.lit(None, pl.String)).alias("_broken"))
    whole = going & pl.col("_broken").is_null()
    unique = dict.fromkeys((*table.key, "day") if table.partition is Partition.DAY else table.key)
    repeated = whole & (pl.int_range(pl.len()).over(*unique, whole) > 0)
    ruled = ruled.with_columns(pl.when(repeated).then(pl.lit("key.repeated")).otherwise("_broken").alias("_broken"))
    is_broken = pl.col("_broken").is_not_null()
    return ruled.with_columns(
        pl.when(is_broken).then(pl.lit("quarantined")).otherwise("_fate").alias("_fate"),
        pl.when(is_broken).then("_broken").otherwise("_rule").alias("_rule"),
        pl.when(is_broken).then(pl.lit(_BROKEN)).otherwise("_reason").alias("_reason"),
    ).drop("_broken")


def _rules(table: Table) -> Iterable[tuple[str, str, pl.Expr]]:
    """(column, what, expression true for rows that break it), in column order."""
    for column in table.columns:
        value = pl.col(column.name)
        if column.is_required:
            yield column.name, "missing", value.is_null()
        if column.allowed:
            yield column.name, "unknown_value", ~value.is_in(list(column.allowed))
        if column.minimum is not None:
            yield column.name, "too_small", value < column.minimum
        if column.maximum is not None:
            yield column.name, "too_large", value > column.maximum
        if column.pattern:
            yield column.name, "malformed", ~value.str.contains(column.pattern)


def _rejected(pieces: Sequence[_Piece], run_id: str) -> pl.DataFrame:
    """The rows turned away, in the quarantine's own columns."""
    return pl.concat([piece.rejected for piece in pieces]).select(
        pl.col("_source").alias("source"),
        pl.col("_stream").alias("stream"),
        pl.col("_hash").alias("record_hash"),
        pl.col("_rule").alias("rule"),
        pl.col("_reason").alias("reason"),
        pl.lit(run_id).alias("batch"),
        "day",
    )


# --- tables built from tables ---------------------------------------------------------------------------------------


def derived(house: House, table: Table, window: Window) -> pl.DataFrame:
    """The rows a build of `table`, a table made from tables, would publish for `window`; nothing is written."""
    return _whole(table, _inputs(house, table), _offered(house, table, window))


def _derived(house: House, table: Table, offered: Mapping[str, Any]) -> list[_Piece]:
    """The one piece of a table that needs all its history."""
    inputs = _inputs(house, table)

    def build_whole(_: None) -> _Piece:
        rows = _whole(table, inputs, offered)
        counts = {WHOLE: _conserved(table, rows, inputs)}
        return _Piece(house.lake.stage(table, rows), pl.DataFrame(), counts)

    return _over(house, table, build_whole, [None])


def _whole(table: Table, inputs: Mapping[str, pl.LazyFrame], offered: Mapping[str, Any]) -> pl.DataFrame:
    assert table.build is not None
    built: pl.LazyFrame = table.build(**_wanted(table, {**inputs, **offered}))
    return built.collect().select(_cast(table.columns))


def _conserved(table: Table, rows: pl.DataFrame, inputs: Mapping[str, pl.LazyFrame]) -> Counts:
    """The rows of the conserved input against what the output says it stands for."""
    if table.conserves is None:
        return Counts(rows_in=rows.height, rows_out=rows.height, accounted=rows.height if table.weight else None)
    conserved = inputs[table.conserves]
    filtered = 0
    if table.leaves_out is not None:
        filtered = table.leaves_out(conserved).select(pl.len()).collect().item()
    return Counts(
        rows_in=conserved.select(pl.len()).collect().item(),
        rows_out=rows.height,
        filtered=filtered,
        accounted=int(rows[table.weight].sum()) if table.weight else None,
    )


def _inputs(house: House, table: Table) -> dict[str, pl.LazyFrame]:
    """What the table is built from, by name; downstream of identity with `customer_id` beside `node_id`."""
    bound = house.catalog.knows_customers(table)
    frames = {}
    for each in table.inputs:
        frame = house.lake.read(each)
        if bound and each.carries_customer:
            frame = with_customer(frame, house.lake.read(IDENTITY_MAP))
        frames[each.name] = frame
    return frames


def with_customer(frame: pl.LazyFrame, identity_map: pl.LazyFrame) -> pl.LazyFrame:
    """`frame` with the customer its node belongs to now; null where the row names nobody."""
    now = identity_map.filter(pl.col("known_to").is_null() & pl.col("valid_to").is_null()).select(
        "node_id", "customer_id"
    )
    return frame.join(now, on="node_id", how="left")


def _offered(house: House, table: Table, window: Window) -> dict[str, Any]:
    """What the runner has for a builder beside its inputs; of it, only what this one asks for is looked up."""
    settings = house.settings
    offers: dict[str, Callable[[], Any]] = {
        "as_of": lambda: as_of(house, window),
        "window": lambda: window,
        "key": lambda: settings.pseudonym_key,
        "currency": lambda: settings.reporting_currency,
        "country": lambda: settings.default_country,
        "rules": lambda: settings.identity,
        "previous": lambda: house.lake.read(table),
        "versions": lambda: {each.full_name: house.lake.version(each) for each in table.inputs},
    }
    return {name: offer() for name, offer in _wanted(table, offers).items()}


def as_of(house: House, window: Window) -> datetime:
    """The end of the latest window ever landed: a backfill of an old day does not turn the clock back."""
    latest = house.lake.read(INGEST_LOG).select(pl.col("window_end").max()).collect().item()
    return max(window.end, latest) if latest is not None else window.end


def _wanted(table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    assert table.build is not None
    return {name: given[name] for name in inspect.signature(table.build).parameters if name in given}


def _cast(columns: Sequence[Column]) -> list[pl.Expr]:
    return [pl.col(column.name).cast(dtype(column.type)) for column in columns]
