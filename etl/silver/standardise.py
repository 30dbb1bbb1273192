"""From landed records to rows of a subject: picked out of the payload, judged, latest or earliest of their twins.

Every row carries its fate: `out` (goes on), `derived` (made here, from no record of its own), `quarantined`,
`deduplicated` or `filtered`, with `_rule` (short, counted) and `_reason` (a sentence, without any value of the row).
No row is ever dropped: a rule changes the fate of rows still `out`, and the first rule that meets a row stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from etl.bronze.picks import BAD, picked_columns, typed_columns
from etl.bronze.tables import ENVELOPE as LANDED
from etl.errors import DeclarationError
from etl.model import Feed, Pick, Source, Stream, Table, Type
from etl.model.frames import dtype, schema_of

ENVELOPE = ("_source", "_account", "_stream", "_id", "_hash", "_row", "day")
FATES = ("_fate", "_rule", "_reason")
# A device's clock may run ahead by hours; a day ahead of the window is no time at all.
_AHEAD = timedelta(days=2)  # from the start of the record's day: the day itself, and one more
_FIRST_YEAR = 1971  # 1970-01-01 is what an unset clock says


# --- payload -> typed rows --------------------------------------------------------------------------------------------


def picked(bronze: pl.LazyFrame, *, source: Source, stream: Stream, feed: Feed, table: Table) -> pl.LazyFrame:
    """The rows one feed makes of a stream's landed records, typed as `table` accepts them.

    One row per record, or per element of the feed's exploded list; `_row` is the record's position in `bronze`.
    Columns the feed does not fill are null; but the subject's own id (`event_id`, `order_line_id`) is then the record's
    id, with the element's number where one record holds several.

    Fates so far: `not_this_feed` (filtered by `where` or `unless`; deletions are not asked), `no_elements` (filtered,
    the list is empty), `<column>.unreadable` (quarantined).

    Raises: DeclarationError when the feed fills a column the table does not accept.
    """
    accepted = {column.name: column for column in table.accepts}
    strangers = sorted(set(feed.fields) - set(accepted))
    if strangers:
        raise DeclarationError(
            f"{source.name}.{stream.name} feeds {table.full_name} with {', '.join(strangers)}; "
            f"it accepts {', '.join(accepted)}"
        )
    landed = bronze.with_row_index("_row").with_columns(pl.col("_row").cast(pl.Int64)).collect()
    asked = {path: f"_asked_{number}" for number, path in enumerate(dict.fromkeys((*feed.where, *feed.unless)))}
    picks = {**feed.fields, **{name: Pick(path) for path, name in asked.items()}}
    texts = picked_columns(landed.select("_payload"), picks, feed.explode)
    values = typed_columns(texts, feed.fields, table.accepts)
    envelope = landed.drop("_payload")
    rows = envelope[values["_row"]] if feed.explode else envelope
    rows = rows.hstack(values.drop("_row"))
    if feed.explode:
        childless = envelope.join(values.select("_row").unique(), on="_row", how="anti", maintain_order="left")
        rows = pl.concat([rows.with_columns(_is_childless=False), childless.with_columns(_is_childless=True)],
                         how="diagonal")  # fmt: skip
    own_id = pl.concat_str("_id", pl.lit(":"), "_element") if feed.explode else pl.col("_id")
    is_other = _among(asked, feed.where, turned=True) | _among(asked, feed.unless, turned=False)
    childless_too = [Verdict("filtered", "no_elements", pl.col("_is_childless"), "the list it brings is empty")]
    verdicts = [
        Verdict("filtered", "not_this_feed", is_other & (pl.col("_op") != "delete"), "the feed's condition leaves it"),
        *(childless_too if feed.explode else ()),
        *(
            Verdict(
                "quarantined",
                f"{name}.unreadable",
                pl.col(f"{name}{BAD}"),
                f"expected {accepted[name].type.value} written as {pick.written}",
            )
            for name, pick in feed.fields.items()
        ),
    ]
    return (
        rows.lazy()
        .with_columns(
            pl.lit("out").alias("_fate"),
            pl.lit(None, pl.String).alias("_rule"),
            pl.lit(None, pl.String).alias("_reason"),
        )
        .pipe(judged, *verdicts)
        .select(
            *envelope.columns,
            *(
                pl.col(name)
                if name in feed.fields
                else own_id.alias(name)
                if name == _own_id(table)
                else pl.lit(None, dtype(column.type)).alias(name)
                for name, column in accepted.items()
            ),
            *FATES,
        )
    )


def no_records(table: Table) -> pl.DataFrame:
    """What `picked` gives where nothing was landed: no rows, every column. Subjects known only by others start here."""
    envelope = schema_of(column for column in LANDED if column.name != "_payload")
    fates = dict.fromkeys(FATES, pl.String())
    return pl.DataFrame(schema={"_row": pl.Int64(), **envelope, **schema_of(table.accepts), **fates})


def _own_id(table: Table) -> str | None:
    """The one accepted column that is the table's key within a source; None where the key is more than an id."""
    accepted = {column.name for column in table.accepts}
    own = [name for name in table.key if name in accepted]
    return own[0] if len(own) == 1 and own[0].endswith("_id") else None


def _among(asked: Mapping[str, str], conditions: Mapping[str, tuple[str, ...]], *, turned: bool) -> pl.Expr:
    """True where any of the conditions' paths holds one of its values; `turned`: where any holds none of them."""
    met = [pl.col(asked[path]).is_in(list(values)).fill_null(False) for path, values in conditions.items()]
    return pl.any_horizontal(*(~one if turned else one for one in met)) if met else pl.lit(False)


# --- fates ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the rows that meet `condition`; null is no."""

    fate: str
    rule: str
    condition: pl.Expr
    reason: str


def judged(records: pl.LazyFrame, *verdicts: Verdict, going: tuple[str, ...] = ("out",)) -> pl.LazyFrame:
    """Records with the first verdict that meets each row still `out` (or of another fate in `going`)."""
    if not verdicts:
        return records
    is_going = pl.col("_fate").is_in(list(going))
    conditions = [verdict.condition.fill_null(False) for verdict in verdicts]
    which = pl.coalesce(
        pl.when(condition).then(pl.lit(number, pl.UInt32)) for number, condition in enumerate(conditions)
    )
    told = {
        "_fate": [verdict.fate for verdict in verdicts],
        "_rule": [verdict.rule for verdict in verdicts],
        "_reason": [verdict.reason for verdict in verdicts],
    }
    return (
        records.with_columns(pl.when(is_going).then(which).alias("_which"))
        .with_columns(
            pl.when(pl.col("_which").is_null()).then(name).otherwise(_choice(texts)).alias(name)
            for name, texts in told.items()
        )
        .drop("_which")
    )


def _choice(texts: Sequence[str]) -> pl.Expr:
    return pl.col("_which").replace_strict(list(range(len(texts))), list(texts), default=None, return_dtype=pl.String)


def without_null_keys(records: pl.LazyFrame, *key: str) -> pl.LazyFrame:
    """Rows without a key are quarantined: they would meet each other, and nothing could be said of them again."""
    return judged(
        records,
        *(Verdict("quarantined", "null_key", pl.col(name).is_null(), f"{name} is missing") for name in key),
    )


def without_impossible_times(records: pl.LazyFrame, *columns: str) -> pl.LazyFrame:
    """Times more than a day after the record's own day are quarantined `<column>.future`, those before 1971
    `<column>.ancient`.
    """
    schema = records.collect_schema()
    verdicts: list[Verdict] = []
    for name in columns:
        end = pl.col("day").cast(schema[name].base_type() if schema[name] == pl.Date() else pl.Datetime("us"))
        if schema[name] != pl.Date():
            end = end.dt.replace_time_zone("UTC")
        verdicts += [
            Verdict("quarantined", f"{name}.future", pl.col(name) > end + _AHEAD, "more than a day after its window"),
            Verdict("quarantined", f"{name}.ancient", pl.col(name).dt.year() < _FIRST_YEAR, "before 1971"),
        ]
    return judged(records, *verdicts)


def without_deleted(records: pl.LazyFrame) -> pl.LazyFrame:
    """Tombstones, once they have displaced what they delete, are filtered."""
    return judged(records, Verdict("filtered", "deleted", pl.col("_op") == "delete", "the source deleted it"))


# --- one of many ------------------------------------------------------------------------------------------------------

# When the source last touched a version: by its own word, else by when it was read.
_TOUCHED = pl.coalesce("_cursor", "_event_at", "_extracted_at")


def newest_version(records: pl.LazyFrame) -> pl.LazyFrame:
    """Only the newest version of each record (source, stream, id) goes on, whole: a line that the newest version of
    an order does not have any more is gone, and so is a record that stopped being this feed's.

    By (cursor, read at, hash); of versions read at one time and alike in all three it does not matter which. Older
    ones are deduplicated. A version that could not be read does not displace one that could.
    """
    frame = records.with_row_index("_at").collect()
    record = ["_source", "_stream", "_id"]
    version = [*record, "_hash", "_op"]
    # Most ids have one version: only those with several are sorted.
    known = (
        frame.lazy()
        .filter(pl.col("_fate") != "quarantined")
        .select("_at", *version, "_extracted_at", _TOUCHED.alias("_touched"))
    )
    several = known.filter(pl.struct(record).is_duplicated()).collect()
    newest = (
        several.sort(
            "_touched", "_extracted_at", "_hash", "_op", descending=[True, True, True, False], maintain_order=True
        )
        .unique(record, keep="first", maintain_order=True)
        .select(version)
    )
    older = several.join(newest, on=version, how="anti")["_at"]
    return _deduplicated(frame, older, "older_version", "a newer version of the record stands")


def latest(records: pl.LazyFrame, key: Sequence[str]) -> pl.LazyFrame:
    """Of rows with one key the newest goes on, by (cursor, read at, hash); the others are deduplicated."""
    frame = records.with_row_index("_at").collect()
    twins = _twins(frame, key, _TOUCHED.alias("_touched"), "_extracted_at", "_hash")
    kept = twins.sort("_touched", "_extracted_at", "_hash", descending=True, nulls_last=True, maintain_order=True)
    losers = kept.filter(~pl.struct(key).is_first_distinct())["_at"]
    return _deduplicated(frame, losers, "older_version", "a newer row with this key stands")


def earliest(records: pl.LazyFrame, key: Sequence[str], *, within_days: int) -> pl.LazyFrame:
    """Of rows with one key the first goes on, by (day, received, happened, hash); a later twin is deduplicated when
    it stands at most `within_days` days after the one before it.

    Days come first, and only the nearest earlier twin counts, so that a day built alone, looking back
    `within_days`, and many days built at once judge alike.
    """
    frame = records.with_row_index("_at").collect()
    columns = frame.columns
    times = [name for name in ("received_at", "_event_at", "event_at", "_extracted_at") if name in columns]
    twins = _twins(frame, key, "day", pl.coalesce(times).alias("_came"), "_hash")
    ordered = twins.sort("day", "_came", "_hash", nulls_last=True, maintain_order=True)
    before = pl.col("day").shift(1).over(list(key))
    losers = ordered.filter((pl.col("day") - before) <= timedelta(days=within_days))["_at"]
    return _deduplicated(frame, losers, "repeated", "an earlier row with this key stands")


def _twins(frame: pl.DataFrame, key: Sequence[str], *others: str | pl.Expr) -> pl.DataFrame:
    going = frame.lazy().filter(pl.col("_fate") == "out").select("_at", *key, *others)
    return going.filter(pl.struct(list(key)).is_duplicated()).collect()


def _deduplicated(frame: pl.DataFrame, at: pl.Series, rule: str, reason: str) -> pl.LazyFrame:
    if at.is_empty():
        return frame.lazy().drop("_at")
    is_loser = pl.col("_at").is_in(at.implode())
    return judged(frame.lazy(), Verdict("deduplicated", rule, is_loser, reason)).drop("_at")


# --- text -------------------------------------------------------------------------------------------------------------

# NUL and other controls, bidi controls (they reorder what stands beside them), zero-width marks and the BOM.
_INVISIBLE = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"


def clean(column: str | pl.Expr) -> pl.Expr:
    """Text in NFC without invisible characters, runs of white space as one, trimmed; blank becomes null."""
    text = pl.col(column) if isinstance(column, str) else column
    tidy = text.str.normalize("NFC").str.replace_all(_INVISIBLE, "").str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(tidy != "").then(tidy)


def language_code(column: str) -> pl.Expr:
    """The language of a BCP 47 tag (`de-AT` -> `de`); null when it is no two-letter code."""
    return pl.col(column).str.strip_chars().str.to_lowercase().str.extract(r"^([a-z]{2})(?:[-_].*)?$")


def with_clean_ids(records: pl.LazyFrame, *columns: str) -> pl.LazyFrame:
    """Ids trimmed; a blank one is null."""
    return records.with_columns(
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name).str.strip_chars()).alias(name)
        for name in columns
    )


# --- money ------------------------------------------------------------------------------------------------------------

_WIDE = pl.Decimal(38, 4)
_AMOUNT = dtype(Type.AMOUNT)
ZERO = pl.lit(0, _AMOUNT)


def wide(name: str) -> pl.Expr:
    """An amount with room for sums: arithmetic on Decimal(18, 4) raises where it does not fit, and stops the build."""
    return pl.col(name).cast(_WIDE)


def amount(value: pl.Expr) -> pl.Expr:
    """A computed value as an amount; null where it does not fit, which a required column then quarantines."""
    return value.cast(_AMOUNT, strict=False)


# --- the end of every subject -----------------------------------------------------------------------------------------


def rows_of(records: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """The table's columns, in its order, with what quarantine needs to point the way back, and the fates."""
    names: Iterable[str] = dict.fromkeys([*ENVELOPE, *table.column_names, *FATES])
    renamed = {"source": "_source", "stream": "_stream", "record_id": "_id"}
    present = set(records.collect_schema().names())
    kinds = {"_row": Type.INT, "day": Type.DATE, **{column.name: column.type for column in table.columns}}
    return records.select(
        pl.col(name)
        if name in present
        else pl.col(renamed[name]).alias(name)
        if name in renamed
        else pl.lit(None, dtype(kinds.get(name, Type.STRING))).alias(name)
        for name in names
    )
