"""The example of Tryton, against the database of a real one: windows, changes, archived and merged parties, deletes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from etl.connect import Connection
from etl.model import Window
from etl.run import pipeline
from etl.run.house import House, open_house
from etl.run.ingest import ingest, read_landing
from etl.settings import load_settings
from tests.conftest import ROOT
from tests.real_servers.tryton import database
from tests.sources.landings import NOW

STREAMS = ("parties", "contacts", "subscriptions", "opportunities")
TABLES = ("party_party", "party_contact_mechanism", "party_address", "marketing_email", "sale_opportunity")


@pytest.fixture(scope="module")
def tryton() -> Path:
    return database()


def house_of(folder: Path, crm: Path) -> House:
    """The example beside a copy of the database."""
    shutil.copy(ROOT / "examples/tryton/lakehouse.toml", folder)
    shutil.copy(crm, folder / "crm.sqlite")
    return open_house(load_settings({"C360_PSEUDONYM_KEY": "0123456789abcdef" * 4}, cwd=folder))


def asked(crm: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(crm)) as connection:
        return [row[0] if len(row) == 1 else row for row in connection.execute(query)]


def changes(crm: Path) -> list[datetime]:
    """When the rows of the tables last changed, as Tryton tells it."""
    times = [each for table in TABLES for each in asked(crm, f"SELECT coalesce(write_date, create_date) FROM {table}")]
    return [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in times]


def last_change(crm: Path) -> datetime:
    return max(changes(crm))


def days(crm: Path) -> Window:
    """All the days somebody worked on."""
    return Window.of_days(min(changes(crm)).date(), max(changes(crm)).date())


@dataclass(frozen=True)
class Ran:
    """The house, the days that were read, what each of the three runs wrote, and what bronze held after it."""

    house: House
    window: Window
    written: tuple[frozenset[str], ...]
    bronze: tuple[dict[str, pl.DataFrame], ...]

    def rows(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        return self.house.lake.read(self.house.catalog.table(name)).select(columns).sort(columns).collect().rows()


@pytest.fixture(scope="module")
def ran(tryton: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """The days as they were before, twice; then what changed since, landed as a window of its own."""
    folder = tmp_path_factory.mktemp("tryton")
    house = house_of(folder, tryton / "before.sqlite")
    window = days(tryton / "after.sqlite")
    written, bronze = [], []
    for number in (1, 2):
        written.append(all_went_well(pipeline.run(house, [window], run_id=f"run-{number}")))
        bronze.append(in_bronze(house))
    shutil.copy(tryton / "after.sqlite", folder / "crm.sqlite")
    source = house.catalog.source("tryton")
    later = Window(last_change(tryton / "before.sqlite") + timedelta(microseconds=1), window.end)
    for stream in source.streams:
        ingest(house.lake, source, stream, house.connection(source), later, run_id="run-3", now=datetime.now(UTC))
    written.append(all_went_well(pipeline.run(house, [window], run_id="run-3", only_sources=())))
    bronze.append(in_bronze(house))
    yield Ran(house, window, tuple(written), tuple(bronze))
    shutil.rmtree(folder)


def all_went_well(outcomes: Sequence[pipeline.Outcome]) -> frozenset[str]:
    """What was written."""
    assert [] == [(each.step, each.why) for each in outcomes if each.state is not pipeline.State.DONE]
    return frozenset(each.step for each in outcomes if each.report and each.report.written)


def in_bronze(house: House) -> dict[str, pl.DataFrame]:
    return {name: house.lake.read(house.catalog.bronze[f"bronze.tryton_{name}"][2]).collect() for name in STREAMS}


def test_every_row_is_landed_and_a_second_reading_writes_nothing(ran: Ran) -> None:
    first, second, _ = ran.bronze

    assert {"parties": 6, "contacts": 8, "subscriptions": 2, "opportunities": 3} == {
        name: frame.height for name, frame in first.items()
    }
    assert all(first[name].equals(second[name]) for name in STREAMS)
    assert frozenset() == ran.written[1]


@pytest.mark.parametrize("name", STREAMS)
def test_the_row_on_the_edge_of_two_windows_is_in_the_later_alone(name: str, ran: Ran) -> None:
    """Every time a row of the stream has is an edge, to the microsecond."""
    source = ran.house.catalog.source("tryton")
    stream = ran.house.catalog.stream(source, name)
    address = ran.house.connection(source).base_url
    known = read_landing(source, stream, Connection(address), ran.window, run_id="run", now=NOW).rows
    edges = sorted({ran.window.start, *known["_event_at"], ran.window.end})
    for start, end in pairwise(edges):
        landed = read_landing(source, stream, Connection(address), Window(start, end), run_id="run", now=NOW).rows

        assert known.filter(pl.col("_event_at") == start)["_id"].to_list() == landed["_id"].to_list()


def test_a_row_that_was_never_changed_has_the_time_it_was_made(ran: Ran, tryton: Path) -> None:
    made = asked(
        tryton / "before.sqlite", "SELECT create_date FROM sale_opportunity WHERE write_date IS NULL ORDER BY id"
    )

    assert [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in made] == (
        ran.bronze[0]["opportunities"].sort("_id")["_event_at"].to_list()
    )
    assert 3 == len(made)


def test_a_changed_row_appears_again_and_what_did_not_change_does_not(ran: Ran) -> None:
    states = {
        name: frame.group_by("_id").len().filter(pl.col("len") > 1)["_id"].sort().to_list()
        for name, frame in ran.bronze[-1].items()
    }
    boat = ran.bronze[-1]["opportunities"].filter(pl.col("_id") == "3").sort("_cursor")["_payload"]

    # The merged party and the archived one; their contacts, and Bo's new address; his newsletter; his boat.
    assert {
        "parties": ["3", "5"],
        "contacts": ["5", "6", "8"],
        "subscriptions": ["2"],
        "opportunities": ["3"],
    } == states
    assert ["1000.00", "900.00"] == boat.str.json_path_match("$.amount").to_list()


def test_a_merge_moves_an_opportunity_without_a_trace_in_its_time(ran: Ran, tryton: Path) -> None:
    """As the example says: it keeps the number of the party that was merged."""
    tent = ran.bronze[-1]["opportunities"].filter(pl.col("_id") == "2")["_payload"]

    query = "SELECT party, write_date FROM sale_opportunity WHERE id = 2"

    assert [[(3, None)], [(2, None)]] == [asked(tryton / f"{file}.sqlite", query) for file in ("before", "after")]
    assert ["3"] == tent.str.json_path_match("$.party").to_list()


def test_archived_and_merged_parties_are_tombstones_and_a_deleted_one_stays_as_it_was(ran: Ran, tryton: Path) -> None:
    parties = [
        row[1:]
        for row in ran.rows("silver.person_records", "stream", "given_name", "is_deleted")
        if row[0] == "parties"
    ]

    assert [
        ("A.", True),
        ("Ada", False),
        ("Bo", False),
        ("Cy", True),
        ("Di", False),
        ("Ed", False),
        ("Fi", False),
    ] == parties
    assert [] == asked(tryton / "after.sqlite", "SELECT id FROM party_party WHERE name = 'Di Deters'")


def test_contacts_of_who_is_archived_are_archived_with_him(ran: Ran) -> None:
    contacts = ran.rows("silver.person_records", "email", "is_deleted")

    assert [
        ("a.ahlers@example.net", True), ("ada@example.com", False), ("ahlers@example.org", False),
        ("bo.brandt@example.com", False), ("cy@example.com", True), ("di@example.com", False),
        ("fi@example.com", False),
    ] == [row for row in contacts if row[0]]  # fmt: skip


def test_we_are_not_a_customer_of_our_own(ran: Ran) -> None:
    assert "nordlicht" not in str(ran.bronze[-1]["contacts"]["_payload"].to_list())
    assert "Nordlicht" not in str(ran.bronze[-1]["parties"]["_payload"].to_list())


def test_a_merge_in_the_crm_is_one_customer_with_everything_either_was_seen_with(ran: Ran) -> None:
    records = ran.house.lake.read(ran.house.catalog.table("silver.person_records")).collect()
    settled = ran.house.lake.read(ran.house.catalog.table("silver.identity_map")).collect()
    standing = settled.filter(pl.col("valid_to").is_null() & pl.col("known_to").is_null())
    known = records.join(standing.select("node_id", "customer_id"), on="node_id")
    of_ada = known.filter(pl.col("email") == "ada@example.com")["customer_id"].item()

    assert {"ada@example.com", "ahlers@example.org", "a.ahlers@example.net"} == set(
        known.filter(pl.col("customer_id") == of_ada)["email"].drop_nulls()
    )


def test_a_customer_is_a_party_with_its_contacts_and_an_archived_one_has_no_name(ran: Ran) -> None:
    customers = ran.rows("silver.customers", "given_name", "record_count", "email", "city")

    assert [
        (None, 2, None, None),  # Cy
        ("Bo", 3, "bo.brandt@example.com", None),
        ("Di", 2, "di@example.com", None),
        ("Ed", 1, None, None),
        ("Fi", 2, "fi@example.com", None),
    ] == [row for row in customers if row[1] and row[0] != "Ada"]
    assert [("Ada", 6, "Kiel")] == [(row[0], row[1], row[3]) for row in customers if row[0] == "Ada"]


def test_each_answer_to_the_newsletter_is_a_decision(ran: Ran) -> None:
    assert ["granted", "granted", "withdrawn"] == sorted(
        row[0] for row in ran.rows("silver.consents", "consent_status")
    )
