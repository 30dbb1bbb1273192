"""Published registers through the product's own configuration: a source file, a column mapping, and nothing else.

Febrl 1 and 2 (Christen, Freely Extensible Biomedical Record Linkage): a thousand and five thousand persons' records,
half and a fifth of them corrupted copies. fake_1000 (Splink's): a thousand records of 251 people, badly typed. The
truth is in the files. All three hold unrelated people, so their configuration says that nobody shares a household.

fake_1000's names, birth dates and addresses are corrupted so badly that few of its pairs are surer than .99; its owner
would link from .7 on, and says so.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from etl.run.house import House
from etl.run.steps import ingest_stream
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.person_records import PERSON_RECORDS
from tests.identity.registers import DAY, register, settled
from tests.identity.scoring import Score, pairwise

FEBRL = """
[sources.register.streams.feeds.fields]
given_name = " given_name"
family_name = " surname"
street = " address_1"
city = " suburb"
postal_code = " postcode"
region = " state"
birth_date = { path = " date_of_birth", written = "yyyymmdd", is_lenient = true }
national_id = " soc_sec_id"
country = { const = "AU" }
"""

FAKE_1000 = """
[sources.register.streams.feeds.fields]
given_name = "first_name"
family_name = "surname"
birth_date = { path = "dob", written = "date" }
city = "city"
email = "email"
"""


def scored(house: House, truth: dict[str, str]) -> Score:
    """Every step from the file to the map, against the truth (record -> person).

    A record that was turned away on its way would be nobody's: it counts as not linked.
    """
    ingest_stream(house, "register", "people", DAY, run_id="t")
    settled(house)
    records = house.lake.read(PERSON_RECORDS).select("record_id", "node_id")
    found = records.join(current(house.lake.read(IDENTITY_MAP)), on="node_id").select("record_id", "customer_id")
    customers = dict(found.collect().iter_rows())
    return pairwise(truth, {record: customers.get(record, record) for record in truth})


def told(capsys: pytest.CaptureFixture[str], name: str, came: Score) -> None:
    with capsys.disabled():
        print(f"\n{name}: precision {came.precision:.4f}, recall {came.recall:.4f}, F1 {came.f1:.4f}")


@pytest.mark.parametrize("number", [1, 2])
def test_febrl_is_linked_as_published(
    shared: Path, tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files = shared / "data" / "febrl"
    house = register(tmp_path, files, f"dataset{number}.csv", "rec_id", FEBRL, "household_kinds = []")
    ids = pl.read_csv(files / f"dataset{number}.csv", infer_schema=False)["rec_id"].to_list()

    came = scored(house, {record: record.split("-")[1] for record in ids})
    told(capsys, f"Febrl {number}", came)

    assert came.f1 >= 0.99


def test_fake_1000_is_linked_as_published(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = shared / "data" / "fake_1000"
    rules = "household_kinds = []\nlink_at = 0.7\nreview_at = 0.5"
    house = register(tmp_path, files, "fake_1000.csv", "unique_id", FAKE_1000, rules)
    rows = pl.read_csv(files / "fake_1000.csv", infer_schema=False)

    came = scored(house, dict(rows.select("unique_id", "cluster").iter_rows()))
    told(capsys, "fake_1000", came)

    assert came.f1 >= 0.91


def test_pairs_are_counted_from_class_sizes() -> None:
    truth = {"a": 1, "b": 1, "c": 1, "d": 2}
    clusters = {"a": "x", "b": "x", "c": "y", "d": "y"}

    assert pairwise(truth, clusters) == Score(precision=1 / 2, recall=1 / 3)


def test_evidence_reaches_identity_from_every_subject_that_carries_a_customer() -> None:
    assert {table.name for table in IDENTITY_EDGES.inputs} == {
        "person_records",
        "web_events",
        "orders",
        "order_lines",
        "email_events",
        "social_posts",
        "consents",
        "campaign_interactions",
        "device_events",
        "identity_rulings",
    }
    assert all(table.carries_customer for table in IDENTITY_EDGES.inputs if table.name != "identity_rulings")
