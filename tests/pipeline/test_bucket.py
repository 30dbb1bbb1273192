"""The whole pipeline with its lake in a bucket of a real S3 store: the same tables, and the same answers by SQL."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from etl.model import Window
from etl.run import pipeline
from etl.run.house import House
from etl.serve.query import run_sql
from tests.pipeline.conftest import FIRST, HISTORY, Ran, company_at, run_at, settings_at
from tests.s3 import Store

pytestmark = pytest.mark.timeout(900)

LAKE = "s3://lake/c360"


def contents(house: House) -> Mapping[str, object]:
    """Of every table that is built, the digest of its content, day by day."""
    return {table.full_name: house.lake.digests(table) for table in house.catalog.tables}


def test_the_pipeline_makes_the_same_tables_in_a_bucket(s3: Store, at_once: Ran, tmp_path: Path) -> None:
    here = run_at(settings_at(tmp_path, C360_LAKE=LAKE), [Window.of_days(FIRST, HISTORY[-1].days[-1])])

    assert [outcome for outcome in here.outcomes if outcome.why] == []
    assert contents(here.house) == contents(at_once.house)
    assert here.house.lake.fsck() == []
    asked = "SELECT country, count(*), sum(revenue_amount) FROM gold.customer_360 GROUP BY ALL ORDER BY ALL"
    in_bucket, in_folder = (
        run_sql(ran.house.settings.catalogue_path, asked, timeout_s=60, max_rows=100) for ran in (here, at_once)
    )
    assert in_bucket == in_folder
    assert len(in_bucket[1]) > 3


def ingest_days(home: Path, environ: Mapping[str, str], days: tuple[int, int]) -> None:
    """The ingestion of some days, in a process of its own."""
    os.environ.update(environ)
    with company_at(settings_at(home, C360_LAKE="s3://lake/two")) as house:
        window = Window.of_days(FIRST.replace(day=days[0]), FIRST.replace(day=days[1]))
        outcomes = pipeline.run(house, [window], run_id=f"from-{days[0]}")
    assert [outcome for outcome in outcomes if outcome.exit_code] == []


def test_two_runs_of_different_days_at_once_leave_what_one_run_leaves(s3: Store, at_once: Ran, tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    runs = [
        spawned.Process(target=ingest_days, args=(tmp_path / str(days[0]), s3.environ, days))
        for days in ((1, 4), (5, 8))
    ]
    for days in ((1, 4), (5, 8)):
        (tmp_path / str(days[0])).mkdir()
    for run in runs:
        run.start()
    for run in runs:
        run.join(600)

    with company_at(settings_at(tmp_path / "1", C360_LAKE="s3://lake/two")) as house:
        after = pipeline.run(house, [Window.of_days(FIRST, HISTORY[-1].days[-1])], run_id="after")
        subjects = [table.full_name for table in house.catalog.tables if table.is_subject]
        found = contents(house)

    assert [run.exitcode for run in runs] == [0, 0]
    assert [outcome for outcome in after if outcome.exit_code] == []
    assert {name: found[name] for name in subjects} == {name: contents(at_once.house)[name] for name in subjects}
    assert house.lake.fsck() == []
