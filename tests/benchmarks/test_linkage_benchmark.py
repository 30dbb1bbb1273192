"""The benchmark of linkage takes the product's own steps, at a small size: what it measures is what is built."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import identity_linkage
from etl.serve.identity import scored


def test_its_steps_link_a_small_register_as_well_as_it_asks_of_a_million(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity_linkage._prepare(tmp_path, 3_000)
    identity_linkage._learn(tmp_path)
    identity_linkage._check_changed(tmp_path)
    identity_linkage._link(tmp_path)
    identity_linkage._build(tmp_path)

    apart, whole = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert apart == whole
    assert whole["states"]["link"] > 0
    linked = scored(pl.read_parquet(tmp_path / "customers.parquet").select("customer_id", person_id="person"))
    assert linked.precision >= identity_linkage.LEAST_PRECISION
    assert linked.recall >= identity_linkage.LEAST_RECALL
