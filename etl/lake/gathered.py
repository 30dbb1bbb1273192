"""Rows on their way into a table by day: gathered from many batches in any order, given back in portions of a file.

While they are few they are held in memory. Beyond that they stand, as Arrow, in a file of the lake's folder that has
no name: when this process ends, however it ends, the system takes the file back, and nothing is left to sweep.

What comes back does not depend on how it came. A day's rows are cut only where the hex hashes in one of their columns
pass from one of 256 ranges to the next, and where a portion is full, which is told from its own rows alone.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.lake.files import DAY
from etl.lake.layout import storage_error

#: Bytes of rows held in memory, and of one portion: `Gathered.size` tells them.
FULL = 16 * 1024 * 1024
#: What a row takes beside its longest column.
ROW_BYTES = 256
RANGES = 256

_RANGE = "_range"
_Ranges = npt.NDArray[np.uint8]

#: (rows that are there, rows that came) -> what shall stand.
Unite = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows as Arrow has them in the file, by day and range. `days`: day -> its first row, the range of each row."""

    rows: Any
    days: Mapping[date, tuple[int, _Ranges]]

    def part(self, day: date, low: int, high: int) -> Any:
        """The day's rows in the ranges from `low` up to before `high`."""
        first, ranges = self.days.get(day, (0, np.empty(0, np.uint8)))
        start, end = np.searchsorted(ranges, [low, high])
        return self.rows.slice(first + int(start), int(end - start))


class Gathered:
    """Rows of one table by day; `by` is its column of hex hashes, `weight` the text column most bytes are in.

    `folder` is where the file stands; None: all is held in memory. A context manager: leaving it forgets the rows.
    """

    def __init__(self, schema: Mapping[str, pl.DataType], *, by: str, weight: str, folder: Path | None = None) -> None:
        self._empty = pl.DataFrame(schema=dict(schema))
        self._by, self._weight, self._folder = by, weight, folder
        self._file: IO[bytes] | None = None
        self._begin()

    def _begin(self) -> None:
        self.height = 0
        self._sizes: dict[date, int] = {}
        self._held: list[pl.DataFrame] = []
        self._held_size = 0
        self._writer: Any = None
        self._days: list[Mapping[date, tuple[int, _Ranges]]] = []
        self._mapped: mmap.mmap | None = None
        self._batches: list[_Batch] = []

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, *_: object) -> None:
        height = self.height
        self.clear()
        self.height = height  # how many there were is still told

    @property
    def days(self) -> tuple[date, ...]:
        """The days that have rows, ascending."""
        return tuple(sorted(self._sizes))

    def clear(self) -> None:
        """Forget all rows."""
        self._begin()
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, rows: pl.DataFrame) -> None:
        """More rows; none once they were asked for. Raises: LakeFull, LakeError when they cannot be put down."""
        assert self._mapped is None, "rows are gathered first, then asked for"
        if rows.is_empty():
            return
        self.height += rows.height
        for day, size in rows.group_by(DAY).agg(self._size()).iter_rows():
            self._sizes[day] = self._sizes.get(day, 0) + size
            self._held_size += size
        self._held.append(rows)
        if self._folder is not None and self._held_size > FULL:
            try:
                self._put_down()
            except OSError as problem:
                raise storage_error("gathered rows", problem) from problem

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows, a batch at a time, in any order."""
        self._settle()
        yield from self._held
        for batch in self._batches:
            yield self._framed([batch.rows])
            self._let_go()

    def rows(self) -> pl.DataFrame:
        """All rows in one frame."""
        return pl.concat([self._empty, *self.frames()])

    def portions(
        self, day: date, there: pl.LazyFrame | None = None, unite: Unite | None = None
    ) -> Iterator[pl.DataFrame]:
        """The day's rows in portions of a file's size; with those `there`, as `unite(those, ours)` makes them one.

        `unite` is called with all rows of a hash at once, and leaves the column of hashes as it is.
        """
        self._settle()
        if there is None and day not in self._sizes:
            return iter(())
        rows_there = 0 if there is None else there.select(pl.len()).collect().item()
        size = self._sizes.get(day, 0) + rows_there * self._usual_row()
        # Looked at in stretches of about half a portion: how many rows unite into one is only known then.
        stretches = min(RANGES, 1 << max(0, 2 * size // FULL).bit_length())
        step = RANGES // stretches
        return self._filled(self._stretch(day, low, low + step, there, unite) for low in range(0, RANGES, step))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _stretch(self, day: date, low: int, high: int, there: pl.LazyFrame | None, unite: Unite | None) -> pl.DataFrame:
        is_inside = pl.col(self._by).is_between(pl.lit(f"{low:02x}"), pl.lit(f"{high - 1:02x}g"))
        if self._batches:
            ours = self._framed(batch.part(day, low, high) for batch in self._batches)
            self._let_go()
        else:
            of_day = [rows.filter(pl.col(DAY) == day) for rows in self._held]
            ours = pl.concat([self._empty, *of_day]).filter(is_inside)
        if there is None or unite is None:
            return ours
        return unite(there.filter(is_inside).collect(), ours)

    def _filled(self, stretches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Stretches, which go up through the ranges, as portions: each ends with the range that fills it."""
        waiting: list[pl.DataFrame] = []
        size = 0
        for rows in stretches:
            whole = int(rows.select(self._size()).item())
            start = 0
            if size + whole < FULL:
                size += whole
            else:
                sizes = rows.group_by(self._range()).agg(self._size()).sort(_RANGE)
                for at, more in sizes.iter_rows():
                    size += more
                    if size >= FULL:
                        yield pl.concat([*waiting, rows.filter(self._range().is_between(start, at))])
                        waiting, size, start = [], 0, at + 1
            waiting.append(rows.filter(self._range() >= start) if start else rows)
        if any(rows.height for rows in waiting):
            yield pl.concat(waiting)

    def _put_down(self) -> None:
        """What is held goes into the file, by day and range."""
        import pyarrow as pa

        for rows in self._held:
            ordered = rows.with_columns(self._range()).sort(DAY, _RANGE)
            runs = ordered.group_by(DAY, maintain_order=True).len().rows()
            ranges = ordered[_RANGE].to_numpy()
            table = ordered.select(self._empty.columns).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed when the rows are forgotten
                self._writer = pa.ipc.new_stream(self._file, table.schema)
            (batch,) = table.combine_chunks().to_batches()
            self._writer.write_batch(batch)
            days, first = {}, 0
            for day, count in runs:
                days[day] = (first, ranges[first : first + count])
                first += count
            self._days.append(days)
        self._held, self._held_size = [], 0

    def _settle(self) -> None:
        """No more rows come: the file, where there is one, is ready to be read."""
        import pyarrow as pa

        if self._file is None or self._mapped is not None:
            return
        try:
            self._put_down()
            self._writer.close()
            self._file.flush()
            self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as problem:
            raise storage_error("gathered rows", problem) from problem
        batches = list(pa.ipc.open_stream(pa.py_buffer(self._mapped)))
        self._batches = [_Batch(rows, days) for rows, days in zip(batches, self._days, strict=True)]

    def _framed(self, parts: Iterable[Any]) -> pl.DataFrame:
        """Arrow rows of the file as a frame; their bytes are copied, so that the file's own may leave the memory."""
        import pyarrow as pa

        return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(list(parts)).combine_chunks()))

    def _let_go(self) -> None:
        """What was read of the file need not stay in memory: it stands in the file."""
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _range(self) -> pl.Expr:
        return pl.col(self._by).str.slice(0, 2).str.to_integer(base=16, dtype=pl.UInt8).alias(_RANGE)

    def _size(self) -> pl.Expr:
        return (pl.col(self._weight).str.len_bytes().cast(pl.Int64).sum() + pl.len() * ROW_BYTES).alias("_size")

    def _usual_row(self) -> int:
        return sum(self._sizes.values()) // self.height if self.height else ROW_BYTES
