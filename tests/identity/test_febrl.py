"""Febrl 1: a thousand published person records, half of them corrupted copies, with the truth in their ids.

Source: Christen, Febrl (Freely Extensible Biomedical Record Linkage), dataset 1. Its one identifier is the social
security number, which stands where a company has its loyalty card: unique to a person. Nothing else in it is an
identifier, so what is scored here is the exact part of identity; names and addresses join nobody, and copies whose
number was corrupted stay apart. The floors are what was measured.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from etl.silver.identity_edges import IDENTITY_EDGES
from tests.identity.evidence import Evidence, customer_of, record, resolved
from tests.identity.scoring import Score, pairwise


def febrl(folder: Path, number: int) -> pl.DataFrame:
    rows = pl.read_csv(folder / "data" / "febrl" / f"dataset{number}.csv", infer_schema=False)
    return rows.rename(str.strip).with_columns(pl.all().str.strip_chars())


def score(people: pl.DataFrame) -> Score:
    evidence = Evidence()
    truth = {}
    for rec_id, given_name, soc_sec_id in people.select("rec_id", "given_name", "soc_sec_id").iter_rows():
        evidence.record(f"febrl:{rec_id}", given_name or None, card=soc_sec_id or None)
        truth[rec_id] = rec_id.split("-")[1]
    customers = customer_of(resolved(evidence))
    return pairwise(truth, {rec_id: customers[record(f"febrl:{rec_id}")] for rec_id in truth})


@pytest.mark.parametrize(("number", "least"), [(1, 0.947), (2, 0.931)])
def test_febrl_is_linked_as_well_as_its_numbers_are_written(
    shared: Path, number: int, least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    came = score(febrl(shared, number))
    with capsys.disabled():
        print(f"\nFebrl {number}: pairwise precision {came.precision:.4f}, recall {came.recall:.4f}, F1 {came.f1:.4f}")

    assert came.precision == 1.0
    assert came.f1 >= least


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
