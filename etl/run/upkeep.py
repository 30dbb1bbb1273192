"""What stands in the lake, for the person who looks after it: landed windows, versions, rejected rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from etl.bronze.tables import INGEST_LOG
from etl.catalog import quarantine_of
from etl.model import Table, days_of
from etl.run.house import House


def landed(house: House) -> dict[tuple[str, str], tuple[str, str, str, str]]:
    """Per (source, stream): first and last landed day, days missing between them, rows landed; from the ingest log."""
    log = house.lake.read(INGEST_LOG).collect()
    found: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    for source in house.catalog.sources:
        for stream in source.streams:
            rows = log.filter((pl.col("source") == source.name) & (pl.col("stream") == stream.name))
            if rows.is_empty():
                found[source.name, stream.name] = ("never", "", "", "")
                continue
            windows = rows.select("window_start", "window_end").unique().rows()
            days = {day for start, end in windows for day in days_of(start, end)}
            missing = (max(days) - min(days)).days + 1 - len(days)
            there = house.lake.read(house.catalog.bronze[f"bronze.{source.name}_{stream.name}"][2])
            count = there.select(pl.len()).collect().item()
            found[source.name, stream.name] = (min(days).isoformat(), max(days).isoformat(), str(missing), f"{count:,}")
    return found


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
