"""No personal value leaves the tables: not into logs, results, ledgers, statistics, file names or what is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from etl.bronze.tables import DEAD_LETTERS, IDENTITY_RULINGS, INGEST_LOG, SCHEMA_LOG
from etl.catalog import quarantine_of
from etl.model import Privacy
from tests.pipeline.conftest import Ran


def secrets_of(ran: Ran) -> list[bytes]:
    """Every e-mail address, telephone number, card, browser and device of the hidden truth, as sources write them."""
    links = pl.read_parquet(ran.house.settings.home / "demo" / "truth" / "identifier_links.parquet")
    contacts = ran.house.lake.read(ran.house.catalog.table("gold.contacts")).collect()
    values = {*links["value"].to_list(), *contacts["email"].to_list(), *contacts["phone"].to_list()}
    return sorted(value.encode() for value in values if value and len(value) >= 8)


def finds(secrets: list[bytes], text: bytes) -> bytes | None:
    """The first secret that stands in `text` as a word of its own."""
    pattern = re.compile(rb"(?<![\w.])(?:" + b"|".join(re.escape(secret) for secret in secrets) + rb")(?![\w])")
    found = pattern.search(text)
    return found.group(0) if found else None


def outside_tables(home: Path) -> Iterator[Path]:
    """Every file of the state folder that is not a table's data, the demo's own files, or an answer to SQL."""
    for path in home.rglob("*"):
        is_data = path.suffix == ".parquet" and path.parent.name != "_delta_log"
        if path.is_file() and not is_data and home / "demo" not in path.parents:
            yield path


def test_no_personal_value_in_logs_results_ledgers_or_the_catalogue(ran: Ran) -> None:
    home, secrets = ran.house.settings.home, secrets_of(ran)
    leaks = [str(path.relative_to(home)) for path in outside_tables(home) if finds(secrets, path.read_bytes())]

    assert len(secrets) > 300
    assert leaks == []


def test_the_search_finds_what_is_there(ran: Ran) -> None:
    """The same search over the tables' own data: were it blind, the test above could not fail."""
    contacts = ran.house.lake.read(ran.house.catalog.table("gold.contacts")).collect()
    secrets = secrets_of(ran)

    assert finds(secrets, " ".join(contacts["email"].drop_nulls()).encode()) is not None


def test_no_personal_value_in_a_file_name(ran: Ran) -> None:
    secrets = secrets_of(ran)

    assert [path for path in (ran.house.settings.home / "lake").rglob("*") if finds(secrets, str(path).encode())] == []


def test_no_statistics_of_personal_columns_in_any_parquet_footer(ran: Ran) -> None:
    house = ran.house
    tables = [*house.catalog.tables, *(table for _, _, table in house.catalog.bronze.values())]
    tables += [
        DEAD_LETTERS,
        IDENTITY_RULINGS,
        INGEST_LOG,
        SCHEMA_LOG,
        *(quarantine_of(table) for table in house.catalog.tables),
    ]
    open_columns = {c.name for t in tables for c in t.columns if c.privacy is Privacy.NONE}
    told = set()
    for path in (house.settings.home / "lake").rglob("*.parquet"):
        if path.parent.name == "_delta_log":
            continue  # a checkpoint: its columns are the log's, and the log is searched whole above
        footer = pq.read_metadata(path)
        for group in range(footer.num_row_groups):
            for place in range(footer.num_columns):
                column = footer.row_group(group).column(place)
                if column.statistics is not None and column.statistics.has_min_max:
                    told.add(column.path_in_schema.split(".")[0])

    assert told <= open_columns
    assert len(told) > 50


def test_no_personal_value_in_what_a_run_says(ran: Ran) -> None:
    said = " ".join(outcome.why for outcome in ran.outcomes).encode() + repr(ran.house).encode()

    assert finds(secrets_of(ran), said) is None
    assert ran.house.settings.pseudonym_key not in said
