"""Data files: the strict gate rows pass, and how a file is written so that no change of it stays unseen.

A file is Parquet (zstd) with a checksum on every page, rows in a fixed order, and statistics on columns of
Privacy.NONE only. Nobody sees it before a commit names it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, BinaryIO
from uuid import uuid4

import polars as pl

from etl.errors import SchemaError
from etl.lake.layout import Place, day_folder, storage_error
from etl.model import Column, Partition, Privacy, Table, Type
from etl.model.frames import DTYPES, schema_of

DAY = "day"

#: Longer texts say too much for a log, and help no query: no least and greatest value is kept of them.
_TEXT_LIMIT = 64

#: How many rows tell whether a column's values repeat.
_SAMPLE_ROWS = 1000

#: Types whose least and greatest value the log can hold exactly.
_BOUNDED = {Type.STRING, Type.INT, Type.FLOAT, Type.DATE, Type.TIMESTAMP}


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file written and not yet visible. Can be sent from a worker to whoever commits.

    `path` from the table's folder on; `size` in bytes; `sha256` of the bytes; `stats` as Delta's log has them;
    `digest` of the content without the `volatile` columns, the same for the same rows in any order.
    """

    path: str
    size: int
    sha256: str
    rows: int
    stats: str
    digest: str
    day: date | None
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Staged:
    """Files of one table, not yet visible. `days` are those a commit of it replaces, with rows or without."""

    table: str
    files: tuple[StagedFile, ...]
    days: tuple[date, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all its files."""
        return sum(file.rows for file in self.files)


def gated(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the table's columns in order, if they are exactly of its declaration.

    Nothing is cast: a value that does not fit is an error here, never a silent change.

    Raises: SchemaError naming every column at fault, what was expected and what came; never a value.
    """
    faults = [*_faults_of_names(table, rows), *_faults_of_types(table, rows), *_faults_of_nulls(table, rows)]
    if faults:
        raise SchemaError(
            f"{table.full_name}: {'; '.join(faults)}; nothing was written; mend what builds the table, or its columns"
        )
    return rows.select(table.column_names)


def _faults_of_names(table: Table, rows: pl.DataFrame) -> Iterable[str]:
    came = rows.columns
    yield from (f"column {name}: declared, but missing" for name in table.column_names if name not in came)
    strange = sorted(set(came) - set(table.column_names))
    if strange:
        # Only how many: a column name that nobody declared may be data (a pivot by e-mail address).
        yield f"{len(strange)} column(s) that are not declared"


def _faults_of_types(table: Table, rows: pl.DataFrame) -> Iterable[str]:
    for column in table.columns:
        if column.name in rows.columns and rows.schema[column.name] != DTYPES[column.type]:
            yield f"column {column.name}: expected {DTYPES[column.type]}, came {rows.schema[column.name]}"


def _faults_of_nulls(table: Table, rows: pl.DataFrame) -> Iterable[str]:
    for column in table.columns:
        if column.is_required and column.name in rows.columns and (nulls := rows[column.name].null_count()):
            yield f"column {column.name}: expected a value in every row, came {nulls:,} nulls in {rows.height:,} rows"


def write(
    place: Place, table: Table, rows: pl.DataFrame, day: date | None, *, volatile: Sequence[str] = ()
) -> StagedFile:
    """Write one file of `table`, and sync it with its folder. May run in several threads.

    Raises: SchemaError, LakeFull, LakeError; then no file is left.
    """
    ordered = in_order(table, _of_day(table, gated(table, rows), day), volatile)
    path = f"{day_folder(day)}part-{uuid4().hex}.parquet"
    try:
        size, sha256 = place.storage.write(place.key(path), partial(_write_parquet, table, ordered))
    except OSError as problem:
        raise storage_error(place.name, problem) from problem
    return StagedFile(
        path=path,
        size=size,
        sha256=sha256,
        rows=ordered.height,
        stats=json.dumps(stats_of(table, ordered)),
        digest=digest_of(ordered, volatile),
        day=day,
        volatile=tuple(volatile),
    )


def check_days(table: Table, rows: pl.DataFrame) -> None:
    """Every row of a table by day says which day. Raises: SchemaError."""
    if DAY not in rows.columns:
        raise SchemaError(f"{table.full_name}: the table is by day; expected a column `day` in its declaration")
    if nulls := rows[DAY].null_count():
        raise SchemaError(f"{table.full_name}: column day: expected a day in every row, came {nulls:,} nulls")


def _of_day(table: Table, rows: pl.DataFrame, day: date | None) -> pl.DataFrame:
    """`rows` as a file has them: without the partition column, after checking that it says `day` everywhere."""
    if table.partition is Partition.WHOLE:
        if day is not None:
            raise SchemaError(f"{table.full_name}: the table is in one piece; expected no day, came {day}")
        return rows
    if day is None or DAY not in table.column_names:
        raise SchemaError(f"{table.full_name}: the table is by day; expected a column `day` and the day of the file")
    others = rows.filter(pl.col(DAY).is_null() | (pl.col(DAY) != day)).height
    if others:
        raise SchemaError(f"{table.full_name}: expected rows of {day} only, came {others:,} of other days")
    return rows.drop(DAY)


def in_order(table: Table, rows: pl.DataFrame, volatile: Sequence[str]) -> pl.DataFrame:
    """`rows` sorted by key, then by every other column, volatile ones last: the same rows, the same order."""
    key = [name for name in table.key if name in rows.columns and name not in volatile]
    if key and rows.select(pl.struct(key).n_unique()).item() == rows.height:
        return rows.sort(key, nulls_last=True)
    steady = [name for name in rows.columns if name not in volatile and name not in key]
    order = [*key, *steady, *(name for name in rows.columns if name in volatile)]
    return rows.sort(order, nulls_last=True) if order else rows


def digest_of(ordered: pl.DataFrame, volatile: Sequence[str]) -> str:
    """SHA-256 over the content of rows already in order, without the volatile columns.

    Over values, not over a file format: names, types, nulls and values of each column in turn, so that the digest
    outlives a change of writer or library.
    """
    sum256 = hashlib.sha256()
    for column in ordered.get_columns():
        if column.name not in volatile:
            sum256.update(f"{column.name}:{column.dtype}:{len(column)}\n".encode())
            _hash_values(sum256, column)
    return sum256.hexdigest()


def _hash_values(sum256: Any, column: pl.Series) -> None:
    sum256.update(_bytes(column.is_null().cast(pl.UInt8)))
    kind = column.dtype
    if isinstance(kind, pl.List):
        lists = column.drop_nulls()
        sum256.update(_bytes(lists.list.len().cast(pl.UInt32)))
        _hash_values(sum256, lists.filter(lists.list.len() > 0).explode())
    elif kind == pl.String:
        texts = column.drop_nulls()
        lengths = texts.str.len_bytes()
        sum256.update(_bytes(lengths.cast(pl.UInt32)))
        sum256.update(_buffer(texts, int(lengths.sum())))
    elif isinstance(kind, pl.Decimal):
        amounts = column.drop_nulls()
        sum256.update(_buffer(amounts, 16 * len(amounts)))  # 128-bit integers have no numpy type
    else:
        values = column.drop_nulls()
        sum256.update(_bytes((values.cast(pl.UInt8) if kind == pl.Boolean else values).to_physical()))


def _bytes(values: pl.Series) -> bytes:
    return bytes(values.to_numpy().tobytes())


def _buffer(values: pl.Series, size: int) -> Any:
    """The `size` bytes of the values themselves, as Arrow has them one after the other; no nulls among them."""
    if not size:
        return b""
    array = values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    buffers = array.buffers()
    if len(buffers) == 2:
        return memoryview(buffers[1])[16 * array.offset :][:size]
    offsets = memoryview(buffers[1]).cast("q")
    return memoryview(buffers[2])[offsets[array.offset] :][:size]


def _write_parquet(table: Table, rows: pl.DataFrame, target: BinaryIO) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(
        target,
        arrow_schema(column for column in table.columns if column.name in rows.columns),
        compression="zstd",
        use_dictionary=_repetitive(rows),
        write_page_checksum=True,
        write_statistics=[column.name for column in _open_columns(table) if column.name in rows.columns],
        store_schema=False,
    ) as writer:
        writer.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(writer.schema))


def _repetitive(rows: pl.DataFrame) -> list[str]:
    """The columns where a dictionary pays, told by a thousand rows from all over the file.

    Of values that hardly repeat the writer first makes a dictionary, then gives it up: twice the CPU, a larger file.
    """
    sample = rows.gather_every(max(1, rows.height // _SAMPLE_ROWS))
    return [
        f"{column.name}.list.element" if isinstance(column.dtype, pl.List) else column.name
        for column in sample.get_columns()
        if isinstance(column.dtype, pl.List) or column.n_unique() <= len(column) // 2
    ]


def _open_columns(table: Table) -> list[Column]:
    """The columns that may have statistics: they say nothing of one person."""
    return [column for column in table.columns if column.privacy is Privacy.NONE and column.type is not Type.STRINGS]


def arrow_schema(columns: Iterable[Column]) -> Any:
    """The Arrow schema of some columns; every field may be null (the gate, not the file, says what is required)."""
    import pyarrow as pa

    kinds = {
        Type.STRING: pa.string(),
        Type.INT: pa.int64(),
        Type.FLOAT: pa.float64(),
        Type.BOOL: pa.bool_(),
        Type.DATE: pa.date32(),
        Type.TIMESTAMP: pa.timestamp("us", "UTC"),
        Type.AMOUNT: pa.decimal128(18, 4),
        Type.STRINGS: pa.list_(pa.field("element", pa.string())),
    }
    return pa.schema([pa.field(column.name, kinds[column.type]) for column in columns])


def statistics_columns(table: Table) -> tuple[str, ...]:
    """The columns Delta may keep statistics on, for the table's own property."""
    return tuple(column.name for column in _open_columns(table) if column.name != DAY)


def stats_of(table: Table, rows: pl.DataFrame) -> dict[str, Any]:
    """Row count, and for open columns the nulls and, where the log can say them exactly, least and greatest value."""
    columns = [column for column in _open_columns(table) if column.name in rows.columns]
    bounds = {column.name: _bounds(column, rows[column.name]) for column in columns if column.type in _BOUNDED}
    known = {name: pair for name, pair in bounds.items() if pair is not None}
    return {
        "numRecords": rows.height,
        "minValues": {name: pair[0] for name, pair in known.items()},
        "maxValues": {name: pair[1] for name, pair in known.items()},
        "nullCount": {column.name: rows[column.name].null_count() for column in columns},
    }


def _bounds(column: Column, values: pl.Series) -> tuple[Any, Any] | None:
    if column.type is Type.FLOAT and values.is_nan().any():
        return None
    least, greatest = values.min(), values.max()
    if least is None or greatest is None:
        return None
    pair = _plain(least), _plain(greatest)
    if any(isinstance(end, str) and len(end) > _TEXT_LIMIT for end in pair):
        return None
    return None if any(isinstance(end, float) and not math.isfinite(end) for end in pair) else pair


def _plain(value: Any) -> Any:
    """A value as the Delta protocol writes it in statistics."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def file_schema(table: Table) -> dict[str, pl.DataType]:
    """Name -> type of what stands in the data files of `table`."""
    inside = (column for column in table.columns if table.partition is Partition.WHOLE or column.name != DAY)
    return schema_of(inside)
