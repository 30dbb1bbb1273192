"""What stands in the lake, for the person who looks after it: versions, rejected rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from etl.catalog import quarantine_of
from etl.model import Table
from etl.run.house import House


def standing(house: House) -> list[tuple[str, str, str]]:
    """(table, visible version, rows) of every table that exists."""
    tables = [*(table for _, _, table in house.catalog.bronze.values()), *house.catalog.tables]
    there = [table for table in tables if house.lake.exists(table)]
    return [(table.full_name, str(house.lake.version(table)), f"{house.lake.rows(table):,}") for table in there]


def turned_away(house: House, only: Table | None) -> Sequence[Sequence[object]]:
    """(table, source, stream, rule, rows, first day, last day) of the quarantine, most frequent first."""
    found: list[Sequence[object]] = []
    for table in house.catalog.tables:
        if not table.is_subject or (only is not None and table is not only):
            continue
        counted = (
            house.lake.read(quarantine_of(table))
            .group_by("source", "stream", "rule")
            .agg(pl.len().alias("rows"), pl.col("day").min().alias("first"), pl.col("day").max().alias("last"))
            .sort("rows", "source", "stream", "rule", descending=[True, False, False, False])
            .collect()
        )
        found.extend((table.full_name, *row) for row in counted.iter_rows())
    return found
