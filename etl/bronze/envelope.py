"""Records into rows: each payload untouched, wrapped in where it comes from, whose it is and when; or a dead letter.

Nothing is lost here: records in = rows + dead letters + those set aside because another window reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import sha256

import polars as pl

from etl.bronze.picks import picked_and_readable, present, typed
from etl.bronze.tables import DEAD_LETTERS, ENVELOPE
from etl.model import Files, Http, Kind, Own, Pick, Source, Sql, Stream, Type, Window
from etl.model.frames import empty, schema_of

#: A record longer than this is no record of a person or an event.
LONGEST_RECORD = 16 * 1024 * 1024
#: How much of a dead letter is kept.
LONGEST_RAW = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Enveloped:
    """`rows` in the envelope, `dead` in the columns of bronze.dead_letters, and how many were set aside.

    `is_before` is true when every record lies before the window (and there is one).
    """

    rows: pl.DataFrame
    dead: pl.DataFrame
    aside: int
    is_before: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Records as they came, what was none at all (bytes, reason), their positions in a file, and the file's day.

    Of one page, the `number`th; or of several, and then `pages` says of each record on which it stood.
    """

    number: int
    records: Sequence[bytes] | pl.Series
    rejected: Sequence[tuple[bytes, str]] = ()
    ordinals: Sequence[int] = ()
    day: date | None = None
    pages: Sequence[int] = ()


def enveloped(
    batch: Batch,
    source: Source,
    stream: Stream,
    window: Window,
    *,
    account: str,
    run_id: str,
    extracted_at: datetime,
) -> Enveloped:
    """A batch's records in their envelope, dead letters with their reason, the rest counted.

    Dead: unreadable_json (or not an object), not_utf8, oversize, no_time, outside_window, no_id, ragged_row. A record
    outside the window is set aside where that is expected: the source cannot filter exactly, the window is part of
    a file's day, or an entity changed again while it was read, and a later window gets it.
    """
    judged = _judged(batch, stream, window)
    last_day = (window.end - timedelta(microseconds=1)).date()
    is_row = pl.col("reason").is_null() & ~pl.col("aside")
    rows = judged.filter(is_row).select(
        pl.lit(source.name).alias("_source"),
        pl.lit(account).alias("_account"),
        pl.lit(stream.identity).alias("_stream"),
        pl.col("id").alias("_id"),
        pl.when("deleted").then(pl.lit("delete")).otherwise(pl.lit("upsert")).alias("_op"),
        pl.col("cursor").alias("_cursor"),
        pl.col("at").alias("_event_at"),
        pl.col("payload").alias("_payload"),
        pl.col("hash").alias("_hash"),
        pl.lit(extracted_at).cast(pl.Datetime("us", "UTC")).alias("_extracted_at"),
        pl.lit(run_id).alias("_run_id"),
        pl.col("page").alias("_page"),
        pl.coalesce(pl.col("at").dt.date(), pl.lit(last_day)).alias("day"),
    )
    lost = judged.filter(pl.col("reason").is_not_null() & ~pl.col("aside"))
    in_window = pl.col("at").is_between(window.start, window.end, closed="left")
    days = lost.select(pl.when(in_window).then(pl.col("at").dt.date()).otherwise(batch.day or last_day)).to_series()
    dead = [
        _dead(source, stream, page, run_id, text, reason, digest, day)
        for page, text, reason, digest, day in zip(
            lost["page"], lost["payload"], lost["reason"], lost["hash"], days.to_list(), strict=True
        )
    ]
    dead += [
        _dead(source, stream, batch.number, run_id, _shown(raw), reason, _digest(raw), batch.day or last_day)
        for raw, reason in batch.rejected
    ]
    return Enveloped(
        rows=rows.cast(schema_of(ENVELOPE)),  # type: ignore[arg-type]
        dead=pl.DataFrame(dead, schema=schema_of(DEAD_LETTERS.columns), orient="row") if dead else no_dead(),
        aside=int(judged["aside"].sum()),
        is_before=judged.height > 0
        and bool(judged.select((pl.col("at") < window.start).fill_null(False).all()).item()),
    )


def no_rows() -> pl.DataFrame:
    """No envelope at all."""
    return empty(ENVELOPE)


def no_dead() -> pl.DataFrame:
    """No dead letter."""
    return empty(DEAD_LETTERS.columns)


def _judged(batch: Batch, stream: Stream, window: Window) -> pl.DataFrame:
    """Per record: payload, page, hash, id, at, cursor, deleted, `aside`, and the `reason` it is dead for, or null."""
    picks = {f"id_{at}": Pick(path) for at, path in enumerate(stream.id)}
    for name, pick in (("at", stream.at), ("cursor", stream.cursor), ("deleted", stream.deleted)):
        if pick is not None:
            picks[name] = pick
    payload, raw, undecoded = _texts(batch.records)
    texts, is_object = picked_and_readable(payload if undecoded else raw, picks)
    known = texts.with_columns(
        payload,
        pl.Series("hash", [_digest(each) for each in raw], dtype=pl.String),
        pl.Series("is_object", is_object, dtype=pl.Boolean),
        pl.int_range(pl.len()).is_in(undecoded).alias("is_undecoded"),
        pl.Series("page", batch.pages, dtype=pl.Int64) if batch.pages else pl.lit(batch.number, pl.Int64).alias("page"),
        _typed(stream.at, "at", Type.TIMESTAMP),
        *([_typed(stream.cursor, "cursor", Type.TIMESTAMP)] if stream.cursor else []),
        _typed(stream.deleted, "deleted", Type.BOOL).fill_null(False),
    ).with_columns(_id(stream, batch.ordinals).alias("id"), pl.col("cursor" if stream.cursor else "at").alias("cursor"))
    return known.with_columns(reason=_reason(stream, batch), aside=pl.lit(False)).pipe(_windowed, batch, stream, window)


def _reason(stream: Stream, batch: Batch) -> pl.Expr:
    """The first thing that is wrong with a record, its place in time aside."""
    reason = (
        pl.when("is_undecoded")
        .then(pl.lit("not_utf8"))
        .when(pl.col("payload").str.len_bytes() > LONGEST_RECORD)
        .then(pl.lit("oversize"))
        .when(~pl.col("is_object"))
        .then(pl.lit("unreadable_json"))
    )
    if stream.kind is not Kind.SNAPSHOT:
        reason = reason.when(pl.col("at").is_null()).then(pl.lit("no_time"))
    if batch.day is not None and stream.at is not None:
        # A file of a day holds that day: else days and one long window would not land the same rows.
        reason = reason.when(pl.col("at").dt.date() != batch.day).then(pl.lit("outside_window"))
    return reason.when(pl.col("id").is_null()).then(pl.lit("no_id"))


def _windowed(judged: pl.DataFrame, batch: Batch, stream: Stream, window: Window) -> pl.DataFrame:
    """What lies outside the window is set aside where another window reads it, else it is dead."""
    if stream.kind is Kind.SNAPSHOT:
        return judged
    outside = ~pl.col("at").is_between(window.start, window.end, closed="left").fill_null(True)
    is_timed = ~pl.col("reason").is_in(["outside_window"]).fill_null(False)
    expected = pl.lit(True) if _trims(stream, batch) else pl.lit(False)
    if stream.kind is Kind.ENTITY:
        expected = expected | (pl.col("at") >= window.end)
    return judged.with_columns(aside=outside & is_timed & expected).with_columns(
        reason=pl.when(outside & ~pl.col("aside") & pl.col("reason").is_null())
        .then(pl.lit("outside_window"))
        .otherwise("reason")
    )


def _trims(stream: Stream, batch: Batch) -> bool:
    match stream.request:
        case Http(trims=trims) | Own(trims=trims):
            return trims
        case Files() | Sql():
            return True
    return batch.day is not None


def _typed(pick: Pick | None, name: str, as_type: Type) -> pl.Expr:
    if pick is None:
        return pl.lit(None).cast(pl.Boolean if as_type is Type.BOOL else pl.Datetime("us", "UTC")).alias(name)
    written = "bool" if as_type is Type.BOOL else pick.written
    return typed(pl.col(name), written, zone=pick.zone, as_type=as_type).alias(name)


def _id(stream: Stream, ordinals: Sequence[int]) -> pl.Expr:
    """The record's id: its paths joined by colons, or its hash, with its position in the file where asked for."""
    if not stream.id:
        identity = pl.col("hash")
    elif len(stream.id) == 1:
        identity = pl.when(present(pl.col("id_0"))).then(pl.col("id_0"))
    else:
        parts = [pl.col(f"id_{at}") for at in range(len(stream.id))]
        whole = pl.all_horizontal(present(part) for part in parts)
        # A colon within a part is written %3A, so that a:b + c and a + b:c stay two ids.
        joined = pl.concat_str([part.str.replace_all(":", "%3A", literal=True) for part in parts], separator=":")
        identity = pl.when(whole).then(joined)
    if stream.ordinal_id and len(ordinals):
        identity = pl.concat_str(identity, pl.lit(pl.Series(ordinals, dtype=pl.Int64)).cast(pl.String), separator=":")
    return identity


def _texts(records: Sequence[bytes] | pl.Series) -> tuple[pl.Series, Sequence[bytes], list[int]]:
    """The payloads as text, and as bytes; and the positions of those that are no text."""
    if isinstance(records, pl.Series):
        return records.alias("payload"), records.cast(pl.Binary).to_list(), []
    raw = pl.Series("payload", records, dtype=pl.Binary)
    try:
        return raw.cast(pl.String), records, []
    except pl.exceptions.PolarsError:
        pass
    undecoded = [at for at, record in enumerate(records) if not _is_text(record)]
    shown = [_shown(record) for record in records]  # is the record itself, where it is text
    return pl.Series("payload", shown, dtype=pl.String), records, undecoded


def _is_text(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _dead(
    source: Source, stream: Stream, page: int, run_id: str, text: str, reason: str, digest: str, day: date
) -> tuple[str, str, str, str, int, str, date, str]:
    return source.name, stream.name, reason, digest, page, run_id, day, text[:LONGEST_RAW]


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()


def whole_days(window: Window) -> Window:
    """The window, widened to whole UTC days: a report has no hours."""
    first, last = window.days[0], window.days[-1]
    return Window.of_days(first, last)


def covers(window: Window, day: date) -> bool:
    """True when the whole of `day` lies in the window."""
    start = datetime.combine(day, time(), window.start.tzinfo)
    return window.start <= start and start + timedelta(days=1) <= window.end
