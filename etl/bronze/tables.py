"""The tables of bronze: one per stream, plus what could not be landed and what was landed when."""

from __future__ import annotations

from etl import fields as f
from etl.bronze.drift import CHANGES, JSON_TYPES
from etl.model import Column, Kind, Layer, Partition, Privacy, Source, Stream, Table, Type
from etl.model.source import CONTRACTS

ENVELOPE = (
    Column("_source", Type.STRING, "system the record comes from").required,
    Column("_account", Type.STRING, "account of that system").required,
    Column("_stream", Type.STRING, "stream whose records these are").required,
    Column("_id", Type.STRING, "the source's own id of the record", privacy=Privacy.PERSONAL).required,
    Column("_op", Type.STRING, "what the record says happened", allowed=("upsert", "delete")).required,
    Column("_cursor", Type.TIMESTAMP, "when the source last changed the record"),
    Column("_event_at", Type.TIMESTAMP, "the time that decides which window the record belongs to"),
    Column("_payload", Type.STRING, "the record as it came, to the byte", privacy=Privacy.PERSONAL).required,
    Column("_hash", Type.STRING, "SHA-256 of the payload", pattern=r"^[0-9a-f]{64}$").required,
    Column("_extracted_at", Type.TIMESTAMP, "when it was read").required,
    Column("_run_id", Type.STRING, "the run that read it").required,
    Column("_page", Type.INT, "page of the answer it stood on, from 1", minimum=1).required,
    f.day.required,
)

#: What differs between two readings of the same record, and so is no news.
VOLATILE = ("_extracted_at", "_run_id", "_page")

_GRAIN = {
    Kind.EVENTS: "one row per record as it arrived; twins are removed in silver",
    Kind.REPORT: "one row per record of the latest reading of its day",
    Kind.ENTITY: "one row per state of a record that was ever seen",
    Kind.SNAPSHOT: "one row per record of the day's list",
}


def bronze_table(source: Source, stream: Stream) -> Table:
    """Where the records of one stream land, untouched, in their envelope."""
    return Table(
        layer=Layer.BRONZE,
        name=f"{source.name}_{stream.name}",
        description=f"{source.title}: {stream.name}, as it came ({stream.kind.value}).",
        grain=_GRAIN[stream.kind],
        key=("_id", "_hash", "_op") if stream.kind is Kind.ENTITY else (),
        columns=ENVELOPE,
        partition=Partition.DAY,
        owner=source.owner,
    )


#: Why a record cannot be landed.
REASONS = (
    "no_id",
    "no_time",
    "outside_window",
    "oversize",
    "ragged_row",
    "unreadable_json",
    "not_utf8",
    "schema_drift",
    "bad_signature",
)

DEAD_LETTERS = Table(
    layer=Layer.BRONZE,
    name="dead_letters",
    description="Records that could not be landed, with the reason and the record as it came. A log: rows stay "
    "when a later reading finds the record mended.",
    grain="one row per record and reason",
    key=(),
    columns=(
        f.source.required,
        f.stream.required,
        Column("reason", Type.STRING, "why the record could not be landed", allowed=REASONS).required,
        Column("hash", Type.STRING, "SHA-256 of the record", pattern=r"^[0-9a-f]{64}$").required,
        Column("page", Type.INT, "page of the answer it stood on, from 1", minimum=1).required,
        Column("run_id", Type.STRING, "the run that read it").required,
        f.day.required,
        Column("raw", Type.STRING, "the record as it came; cut where it was too long", privacy=Privacy.PERSONAL),
    ),
    partition=Partition.DAY,
    retention_days=365,
)

IDENTITY_RULINGS = Table(
    layer=Layer.BRONZE,
    name="identity_rulings",
    description="What people ruled of identity: two are one customer, or never are; a merge is undone: what the two "
    "customers were before it is apart; or an earlier ruling is withdrawn. A log: every build keeps to what stands.",
    grain="one row per ruling",
    key=("ruling_id",),
    columns=(
        Column("ruling_id", Type.STRING, "one ruling").required,
        Column("ruling", Type.STRING, "what was ruled", allowed=("always", "never", "undo", "withdraw")).required,
        f.left_node_ids,
        f.right_node_ids,
        Column("undoes", Type.STRING, "the merge in silver.identity_events that is undone", privacy=Privacy.PSEUDONYM),
        f.customer_id.named("customer_id", "of a merge that is undone the customer that stayed, the left side"),
        f.customer_id.named("other_customer_id", "of a merge that is undone the customer that went, the right side"),
        Column("withdraws", Type.STRING, "the ruling that stands no longer"),
        Column("made_at", Type.TIMESTAMP, "when it was ruled").required,
    ),
    partition=Partition.WHOLE,
)

INGEST_LOG = Table(
    layer=Layer.BRONZE,
    name="ingest_log",
    description="What was landed when: the only state of ingestion. Gaps are windows missing from it.",
    grain="one row per stream and window whose landing changed something, or was the first of that window",
    key=("source", "stream", "window_start", "window_end", "run_id"),
    columns=(
        f.source.required,
        f.stream.required,
        Column("kind", Type.STRING, "what the stream's records are", allowed=tuple(k.value for k in Kind)).required,
        Column("window_start", Type.TIMESTAMP, "start of the window, included").required,
        Column("window_end", Type.TIMESTAMP, "end of the window, excluded").required,
        Column("row_count", Type.INT, "records read that belong to the window", unit="records", minimum=0).required,
        Column("dead_count", Type.INT, "records that could not be landed", unit="records", minimum=0).required,
        Column("page_count", Type.INT, "pages read", unit="pages", minimum=0).required,
        Column("skipped_count", Type.INT, "questions whose answer is gone or not ours to see", minimum=0),
        Column("warning", Type.STRING, "what made the answer less than whole, and of which windows"),
        Column("run_id", Type.STRING, "the run that landed it").required,
        Column("version", Type.INT, "version of the bronze table after it", minimum=0).required,
        Column("loaded_at", Type.TIMESTAMP, "when it was landed").required,
    ),
    partition=Partition.WHOLE,
)

SCHEMA_LOG = Table(
    layer=Layer.BRONZE,
    name="schema_log",
    description="How the records of each stream changed their shape: JSON paths and types, never a value. A stream's "
    "first window is there whole, of later ones only what was not so before.",
    grain="one row per stream, window, path and change",
    key=("source", "stream", "window_start", "window_end", "path", "json_type", "change", "contract"),
    columns=(
        f.source.required,
        f.stream.required,
        Column("window_start", Type.TIMESTAMP, "start of the window it was seen in, included").required,
        Column("window_end", Type.TIMESTAMP, "end of that window, excluded").required,
        Column("path", Type.STRING, "dotted path; [] any element of a list, * a key that is data").required,
        Column("json_type", Type.STRING, "the type it has; of a vanished path, had", allowed=JSON_TYPES).required,
        Column("change", Type.STRING, "what is different", allowed=CHANGES).required,
        Column("severity", Type.STRING, "whether somebody should look", allowed=("info", "warning")).required,
        Column("contract", Type.STRING, "the stream's contract then", allowed=CONTRACTS).required,
        Column("previous_start", Type.TIMESTAMP, "start of the last window that had the path as it was"),
        Column("previous_end", Type.TIMESTAMP, "end of that window, excluded"),
        Column("run_id", Type.STRING, "the run that saw it").required,
        Column("seen_at", Type.TIMESTAMP, "when it was seen").required,
    ),
    partition=Partition.WHOLE,
)
