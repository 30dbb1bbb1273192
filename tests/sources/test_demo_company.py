"""Every stream we declare, read from the demo company over HTTP, SQL and files, as clean and as spoilt as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from etl import demo
from etl.bronze.tables import DEAD_LETTERS, bronze_table
from etl.catalog import load_catalog
from etl.connect import Connection
from etl.demo.company import build_company
from etl.demo.files import sources_config, write_files
from etl.demo.server import DemoServer, Fault, serve
from etl.lake import Lake
from etl.model import Kind, Source, Stream, Window
from etl.run.ingest import ingest
from etl.run.report import Report
from etl.sources import BUILTIN, hubspot

MONTH = Window.of_days(date(2026, 1, 1), date(2026, 1, 6))
STREAMS = [(source, stream) for source in BUILTIN if source.name in demo.SOURCES for stream in source.streams]
NAMES = [f"{source.name}.{stream.name}" for source, stream in STREAMS]
#: Nobody need have left or been merged in a week; the company keeps no companies and no deals, and destroys nothing.
QUIET = {f"hubspot.{stream.name}" for stream in hubspot.SOURCE.streams} - {"hubspot.contacts"}
QUIET |= {"shopify.orders_destroyed", "shopify.products_destroyed"}


@dataclass
class Reached:
    """The demo company on the line."""

    server: DemoServer
    config: dict[str, dict[str, str]]

    def ingest(self, lake: Lake, source: Source, stream: Stream, window: Window, run_id: str = "run-1") -> Report:
        known = self.config[source.name]
        account = known.get("account") or source.account
        connection = Connection(known["base_url"], known.get("secret", ""), account, allow_private=True)
        now = datetime(2026, 2, 1, tzinfo=UTC)
        return ingest(lake, source, stream, connection, window, run_id=run_id, now=now)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    company = build_company(people=150, days=6)
    files = write_files(tmp_path_factory.mktemp("demo"), company)
    with serve(company) as server:
        yield Reached(server, sources_config(server.base_url, files.root))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", fsync=False)


@pytest.mark.parametrize(("source", "stream"), STREAMS, ids=NAMES)
def test_every_stream_lands_days_one_by_one_as_in_one_go(
    source: Source, stream: Stream, company: Reached, tmp_path: Path
) -> None:
    table = bronze_table(source, stream)
    whole, pieces = Lake(tmp_path / "whole", fsync=False), Lake(tmp_path / "pieces", fsync=False)
    report = company.ingest(whole, source, stream, MONTH)
    for day in reversed(MONTH.days):
        company.ingest(pieces, source, stream, Window.of_day(day))

    def landed(lake: Lake) -> pl.DataFrame:
        rows = lake.read(table).select("_id", "_op", "_hash", "_event_at", "day").collect()
        # A list of what is now there stands on every day it was read.
        rows = rows.filter(pl.col("day") == MONTH.days[-1]) if stream.kind is Kind.SNAPSHOT else rows
        return rows.sort(pl.all())

    assert landed(whole).equals(landed(pieces))
    assert 0 < report.rows_in or f"{source.name}.{stream.name}" in QUIET
    assert {stream.identity} >= set(whole.read(table).collect()["_stream"])


def test_only_what_cannot_be_keyed_is_a_dead_letter(company: Reached, lake: Lake) -> None:
    for source, stream in STREAMS:
        company.ingest(lake, source, stream, MONTH)
    dead = lake.read(DEAD_LETTERS).group_by("source", "stream", "reason").len().collect()

    assert {
        ("crm_db", "customers", "no_id"),
        ("ga4", "events", "unreadable_json"),
        ("snowplow", "events", "no_id"),
    } == set(dead.select("source", "stream", "reason").rows())


FAULTS = {
    "busy": Fault(1, "status", 429, retry_after="0"),
    "broken": Fault(2, "status", 500),
    "cut off": Fault(1, "truncated"),
    "error in a 200": Fault(1, "ok_with_error"),
    "hung up": Fault(1, "closed"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_passing_trouble_of_a_vendor_changes_nothing(fault: Fault, company: Reached, tmp_path: Path) -> None:
    source = next(source for source in BUILTIN if source.name == "hubspot")
    stream, table = source.streams[0], bronze_table(source, source.streams[0])
    calm, stormy = Lake(tmp_path / "calm", fsync=False), Lake(tmp_path / "stormy", fsync=False)
    company.ingest(calm, source, stream, MONTH)
    company.server.faults = (fault,)
    company.server._seen.clear()
    try:
        company.ingest(stormy, source, stream, MONTH)
    finally:
        company.server.faults = ()

    assert calm.read(table).collect()["_hash"].sort().equals(stormy.read(table).collect()["_hash"].sort())


def test_every_feed_finds_what_it_picks(company: Reached, lake: Lake) -> None:
    """A path that never leads anywhere in a whole month is a typing error."""
    from etl.silver.standardise import picked

    lost: list[str] = []
    catalog = load_catalog()
    for source, stream in STREAMS:
        company.ingest(lake, source, stream, MONTH)
        rows = lake.read(bronze_table(source, stream)).collect()
        for feed in stream.feeds if rows.height else ():
            records = picked(
                rows.lazy(), source=source, stream=stream, feed=feed, table=catalog.table(f"silver.{feed.subject}")
            ).collect()
            empty = [name for name in feed.fields if records[name].null_count() == records.height]
            lost += [f"{source.name}.{stream.name}.{feed.subject}.{name}" for name in empty]

    # What this company's systems never say.
    assert {
        "hubspot.contacts.person_records.region",
        "klaviyo.profiles.person_records.region",
        "shopify.customers.person_records.language",
        "shopify.customers.person_records.region",
    } >= {name for name in lost if "contacts_archived" not in name and "contacts_merged" not in name}
