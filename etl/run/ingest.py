"""One stream, one window: read, wrapped, audited, landed in one version; or nothing at all.

The stream's kind decides what a landing replaces:

    EVENTS    the window: whole days, or the hours of a day the window covers
    REPORT    the window's whole days, and `restate_days` before
    ENTITY    nothing: what came is united with what is there, by (id, hash, op)
    SNAPSHOT  the window's last day

Reading the same window again, in any order, in pieces or whole, gives the same table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256

import polars as pl

from etl.bronze.envelope import Batch, covers, enveloped, no_dead, whole_days
from etl.bronze.tables import DEAD_LETTERS, ENVELOPE, INGEST_LOG, VOLATILE, bronze_table
from etl.connect import Connection, Note, Page, read_pages
from etl.connect.reader import refuse_too_old
from etl.errors import SourceError
from etl.lake import Commit, Gathered, Lake, Staged, StagedFile
from etl.model import Kind, Source, Stream, Table, Window
from etl.model.frames import schema_of
from etl.run.contract import judged, keep, named
from etl.run.report import Report, shortfalls

#: Sees the rows that would become visible, a frame a file, and raises QualityError to keep the old version.
Audit = Callable[[Table, Sequence[pl.LazyFrame]], None]

#: A handful of bad records is life; more than this, and more than the stream's share, is a broken source.
FEW_DEAD = 20

#: Small pages are wrapped together, up to so many records or bytes: what a batch costs, it costs once.
BATCH_RECORDS, BATCH_BYTES = 25_000, 8 * 1024 * 1024

_ENTITY_KEY = ["_id", "_hash", "_op"]
_GATHERED: Mapping[str, str] = {"by": "_hash", "weight": "_payload"}


@dataclass(frozen=True, slots=True)
class Landing:
    """All that one reading brought: rows `gathered` in the envelope, `dead` letters, records set aside, pages.

    `skipped` are questions that were not answered, `notes` what else made the answer less than whole.
    """

    gathered: Gathered
    dead: pl.DataFrame
    aside: int
    pages: int
    skipped: int = 0
    notes: tuple[Note, ...] = ()

    @property
    def rows(self) -> pl.DataFrame:
        """All rows in one frame."""
        return self.gathered.rows()

    @property
    def records(self) -> int:
        """How many records were read."""
        return self.gathered.height + self.dead.height + self.aside


def ingest(
    lake: Lake,
    source: Source,
    stream: Stream,
    connection: Connection,
    window: Window,
    *,
    run_id: str,
    now: datetime,
    audit: Audit | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Land one window of a stream in bronze, in one version of its table.

    `now` is the time of reading. `audit` sees the rows that would become visible and raises to keep the old version;
    `progress` hears how many records were read so far.

    Raises: WindowRefused, SourceUnreachable, SourceRefused, QuotaExhausted, SourceError, QualityError, LakeError;
    then the version readers see is the one from before.
    """
    began = time.perf_counter()
    refuse_too_old(source, stream, window, now=now)
    asked = asked_window(stream, window, now=now)
    table = bronze_table(source, stream)
    with lake.gather(table, **_GATHERED) as came, lake.gather(table, **_GATHERED) as let_in:
        landing = read_landing(source, stream, connection, asked, run_id=run_id, now=now, progress=progress, into=came)
        _refuse_too_many_dead(source, stream, window, landing)
        told = judged(lake, source, stream, window, came, into=let_in, run_id=run_id, now=now)
        landing = replace(landing, gathered=told.rows, dead=pl.concat([landing.dead, told.dead]))
        load_id = f"{run_id}:{table.full_name}:{window.start:%Y%m%dT%H%M%SZ}-{window.end:%Y%m%dT%H%M%SZ}"
        commit, known = _land(lake, table, stream, asked, told.rows, load_id=load_id, audit=audit)
    _keep_dead(lake, source, stream, landing.dead, load_id=load_id)
    keep(lake, source, stream, window, told, load_id=load_id)
    short = tuple(shortfalls(f"{source.name}.{stream.name} {named(window)}", landing.skipped, landing.notes))
    _log(lake, source, stream, window, landing, commit, short, run_id=run_id, now=now, load_id=load_id)
    return Report(
        table=table.full_name,
        window=named(window),
        rows_in=landing.records,
        rows_out=landing.gathered.height - known,
        quarantined=landing.dead.height,
        deduplicated=known,
        filtered=landing.aside,
        seconds=time.perf_counter() - began,
        version=commit.version,
        written=commit.written,
        warnings=(*told.warnings, *short),
    ).balanced()


def asked_window(stream: Stream, window: Window, *, now: datetime) -> Window:
    """What is asked of the source: the window, the days that may have been restated, and for reports whole days."""
    asked = window.reaching_back(stream.restate_days)
    if stream.max_age_days is not None:
        asked = Window(max(asked.start, min(window.start, now - timedelta(days=stream.max_age_days))), asked.end)
    return whole_days(asked) if stream.kind is Kind.REPORT else asked


# --- reading ----------------------------------------------------------------------------------------------------------


def read_landing(
    source: Source,
    stream: Stream,
    connection: Connection,
    window: Window,
    *,
    run_id: str,
    now: datetime,
    progress: Callable[[int], None] | None = None,
    into: Gathered | None = None,
) -> Landing:
    """Every page of the window, wrapped. Raises as the readers do; a page that fails fails it all.

    The rows are gathered `into` a place of the lake; without one, in memory.
    """
    gathered = into if into is not None else Gathered(schema_of(ENVELOPE), folder=None, **_GATHERED)
    dead = [no_dead()]
    aside = pages = read = skipped = 0
    notes: list[Note] = []
    ends_early = getattr(stream.request, "newest_first", False)

    def heard() -> Iterator[Page]:
        nonlocal pages, read, skipped
        for page in reading:
            pages += 1
            skipped += page.skipped
            notes.extend(page.notes)
            read += len(page.records) + len(page.rejected)
            if progress is not None:
                progress(read)
            yield page

    with closing(read_pages(source, stream, connection, window)) as reading:
        for batch in batches(heard(), one_by_one=ends_early):
            if batch is None:  # the reader has begun again
                gathered.clear()
                dead, aside, pages, read, skipped = [no_dead()], 0, 0, 0, 0
                notes.clear()
                continue
            wrapped = enveloped(
                batch,
                source,
                stream,
                window,
                account=connection.account or source.account,
                run_id=run_id,
                extracted_at=now,
            )
            gathered.add(wrapped.rows)
            dead.append(wrapped.dead)
            aside += wrapped.aside
            if wrapped.is_before and ends_early:
                break
    return Landing(gathered, pl.concat(dead), aside, pages, skipped, tuple(notes))


def batches(pages: Iterable[Page], *, one_by_one: bool = False) -> Iterator[Batch | None]:
    """The pages' records in the same order, those of small pages together; None where the reader begins anew.

    A page that is more than a list of records (of a file, or with rejected ones) stays by itself.
    """
    waiting: list[Page] = []
    count = size = 0
    for page in pages:
        if page.anew:
            waiting, count, size = [], 0, 0
            yield None
        is_plain = isinstance(page.records, list) and not (page.rejected or page.ordinals or page.day or one_by_one)
        if waiting and not is_plain:
            yield _together(waiting)
            waiting, count, size = [], 0, 0
        if not is_plain:
            yield Batch(page.number, page.records, page.rejected, page.ordinals, page.day)
            continue
        waiting.append(page)
        count += len(page.records)
        size += sum(map(len, page.records))
        if count >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield _together(waiting)
            waiting, count, size = [], 0, 0
    if waiting:
        yield _together(waiting)


def _together(pages: Sequence[Page]) -> Batch:
    return Batch(
        pages[0].number,
        [record for page in pages for record in page.records],
        pages=[page.number for page in pages for _ in page.records],
    )


def _refuse_too_many_dead(source: Source, stream: Stream, window: Window, landing: Landing) -> None:
    dead = landing.dead.height
    if dead <= FEW_DEAD or dead <= stream.max_dead_fraction * landing.records:
        return
    (reason, count) = landing.dead.group_by("reason").len().sort("len", "reason", descending=True).row(0)
    raise SourceError(
        f"{source.name}.{stream.name} {window}: {dead} of {landing.records} records cannot be landed, mostly "
        f"{reason} ({count}); at most {stream.max_dead_fraction:.0%} may; nothing was written; check the "
        "stream's id and at paths, or raise its max_dead_fraction"
    )


# --- landing ----------------------------------------------------------------------------------------------------------


def _land(
    lake: Lake, table: Table, stream: Stream, window: Window, rows: Gathered, *, load_id: str, audit: Audit | None
) -> tuple[Commit, int]:
    """The commit, and how many of the rows were there before (entities)."""
    known = 0
    days = _days(stream, window, rows)

    def unite(there: pl.DataFrame, came: pl.DataFrame) -> pl.DataFrame:
        nonlocal known
        both = pl.concat([there, came])
        if stream.kind is not Kind.ENTITY:
            return both
        united = both.unique(_ENTITY_KEY, keep="first", maintain_order=True)
        known += both.height - united.height
        return united

    def build(version: int | None) -> Staged:
        nonlocal known
        known = 0
        files: list[StagedFile] = []
        try:
            for day in sorted({*days, *rows.days}):  # rows of a day that is not replaced are refused, not left out
                staying = _staying(lake, table, stream, window, day, version)
                for portion in rows.portions(day, staying, unite):
                    files.append(lake.write_file(table, portion, day, volatile=VOLATILE))
            staged = Staged(table.full_name, tuple(files), days)
            if audit is not None and not lake.holds(table, staged):
                audit(table, lake.read_staged(table, staged))
        except BaseException:
            lake.discard(table, files)
            raise
        return staged

    commit = lake.update(table, build, load_id=load_id, replaces="days" if days else "nothing", days=days)
    return commit, known


def _staying(
    lake: Lake, table: Table, stream: Stream, window: Window, day: date, version: int | None
) -> pl.LazyFrame | None:
    """What the day holds and keeps: of an entity everything, of events what is not in the window; else None."""
    if version is None or stream.kind not in {Kind.ENTITY, Kind.EVENTS}:
        return None
    held = lake.read(table, days=[day], version=version)
    if stream.kind is Kind.ENTITY:
        return held
    if covers(window, day):
        return None
    inside = pl.col("_event_at").is_between(window.start, window.end, closed="left")
    return held.filter(~inside.fill_null(False))


def _days(stream: Stream, window: Window, rows: Gathered) -> tuple[date, ...]:
    """The days a landing replaces."""
    if stream.kind is Kind.ENTITY:
        return rows.days
    return window.days[-1:] if stream.kind is Kind.SNAPSHOT else window.days


def _keep_dead(lake: Lake, source: Source, stream: Stream, dead: pl.DataFrame, *, load_id: str) -> None:
    """Dead letters that are not kept yet. A log: nothing is taken away when a record is mended later."""
    if dead.is_empty():
        return
    same = ["hash", "reason", "day"]
    kept = (
        lake.read(DEAD_LETTERS, days=dead["day"].unique().to_list())
        .filter(pl.col("source") == source.name, pl.col("stream") == stream.name)
        .select(same)
        .collect()
    )
    new = dead.join(kept, on=same, how="anti")
    if new.height:
        staged = lake.stage(DEAD_LETTERS, new)
        lake.commit(DEAD_LETTERS, staged, replaces="nothing", load_id=f"{load_id}:dead:{_mark(new['hash'])}")


def _log(
    lake: Lake,
    source: Source,
    stream: Stream,
    window: Window,
    landing: Landing,
    commit: Commit,
    short: Sequence[str],
    *,
    run_id: str,
    now: datetime,
    load_id: str,
) -> None:
    """One line in the ingest log, when something was written, another warning came, or this window has none yet."""
    lines = (
        lake.read(INGEST_LOG)
        .filter(
            pl.col("source") == source.name,
            pl.col("stream") == stream.name,
            pl.col("window_start") == window.start,
            pl.col("window_end") == window.end,
        )
        .collect()
    )
    warning = "; ".join(short) or None
    latest = lines.filter(pl.col("loaded_at") == pl.col("loaded_at").max())
    is_news = commit.written or warning not in latest["warning"].to_list()
    if lines.height and (not is_news or run_id in lines["run_id"]):
        return
    line = {
        "source": source.name,
        "stream": stream.name,
        "kind": stream.kind.value,
        "window_start": window.start,
        "window_end": window.end,
        "row_count": landing.gathered.height,
        "dead_count": landing.dead.height,
        "page_count": landing.pages,
        "skipped_count": landing.skipped,
        "warning": warning,
        "run_id": run_id,
        "version": commit.version or 0,
        "loaded_at": now,
    }
    staged = lake.stage(INGEST_LOG, pl.DataFrame([line], schema=schema_of(INGEST_LOG.columns)))
    lake.commit(INGEST_LOG, staged, replaces="nothing", load_id=f"{load_id}:log")


def _mark(hashes: pl.Series) -> str:
    """Tells one set of dead letters from another, for the load id."""
    return sha256("".join(hashes.sort()).encode()).hexdigest()[:16]
