"""The lake as it would be: frames laid over some of its tables, and nothing written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, NoReturn

import polars as pl

from etl.errors import LakeError
from etl.lake.files import DAY, gated
from etl.lake.store import Lake
from etl.model import Partition, Table


class Overlay(Lake):
    """Reads what is laid over a table where something is, and what stands in the lake beneath where nothing is.

    Kept in memory; nothing can be written through it. Raises: LakeError on any attempt to.
    """

    def __init__(self, beneath: Lake) -> None:
        self.storage = beneath.storage
        self._beneath = beneath
        self._laid: dict[str, pl.DataFrame] = {}

    def lay(self, table: Table, rows: pl.DataFrame) -> None:
        """From here on `table` reads as `rows`. Raises: SchemaError when they do not fit it."""
        self._laid[table.full_name] = gated(table, rows)

    def is_laid(self, table: Table) -> bool:
        """True when something is laid over the table."""
        return table.full_name in self._laid

    def read(self, table: Table, *, days: Iterable[date] | None = None, version: int | None = None) -> pl.LazyFrame:
        """The rows laid over the table, else those beneath; arguments as of `Lake.read`."""
        if version is not None or not self.is_laid(table):
            return self._beneath.read(table, days=days, version=version)
        rows = self._laid[table.full_name].lazy()
        is_by_day = days is not None and table.partition is Partition.DAY
        return rows.filter(pl.col(DAY).is_in(list(days or ()))) if is_by_day else rows

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise LakeError("this is the lake as it would be; nothing is written to it")

    write_file = stage = commit = update = discard = sweep = keep_note = _refuse
