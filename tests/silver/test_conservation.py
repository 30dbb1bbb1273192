"""Whatever a source sends, every row keeps a named fate, and none is lost or made up."""

from __future__ import annotations

import inspect
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.model import Partition, Table
from etl.model.frames import dtype, empty
from etl.silver.standardise import FATES
from tests.golden import ARGUMENTS, table_named
from tests.strategies import frames, records

SUBJECTS = [
    table_named(f"silver.{name}")
    for name in (
        *("ad_spend", "campaign_interactions", "campaigns", "consents", "device_events", "email_events"),
        *("exchange_rates", "order_lines", "orders", "person_records", "products", "social_posts", "web_events"),
    )
]
RELAXED = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def build(table: Table, rows: pl.DataFrame, **inputs: pl.DataFrame) -> pl.DataFrame:
    assert table.build is not None
    others = {one.name: inputs.get(one.name, empty(one.columns)).lazy() for one in table.inputs}
    offered = {"records": rows.lazy(), **others, **ARGUMENTS}
    return table.build(**{name: offered[name] for name in inspect.signature(table.build).parameters}).collect()


@pytest.mark.parametrize("table", SUBJECTS, ids=lambda table: table.name)
@RELAXED
@given(data=st.data())
def test_fates_partition_the_rows_exactly(table: Table, data: st.DataObject) -> None:
    rows = data.draw(records(table))
    inputs = {one.name: data.draw(frames(one, max_size=4)) for one in table.inputs}

    built = build(table, rows, **inputs)

    made_here = built.filter(pl.col("_row").is_null())
    kept = built.filter(pl.col("_row").is_not_null())
    assert rows["_row"].sort().to_list() == kept["_row"].sort().to_list()
    assert set(built["_fate"]) <= {"out", "derived", "quarantined", "deduplicated", "filtered"}
    assert set(made_here["_fate"]) <= {"derived", "quarantined"}
    named = built["_fate"].is_in(["out", "derived"])
    assert built.filter(named)["_rule"].null_count() == named.sum()
    assert built.filter(~named)["_rule"].null_count() == 0
    assert built.filter(~named)["_reason"].null_count() == 0


@pytest.mark.parametrize("table", SUBJECTS, ids=lambda table: table.name)
@RELAXED
@given(data=st.data())
def test_the_order_records_arrive_in_changes_nothing(table: Table, data: st.DataObject) -> None:
    rows = data.draw(records(table)).unique(["_source", "_id", "_hash", "_op", "day"], keep="first")
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=7)
    # Content that differs has another hash: that is what a hash is.
    rows, shuffled = (each.with_columns(pl.concat_str("_hash", "_row").alias("_hash")) for each in (rows, shuffled))

    first, second = (build(table, each).sort("_row", nulls_last=True) for each in (rows, shuffled))

    assert first.rows() == second.rows()


@pytest.mark.parametrize(
    "table", [table for table in SUBJECTS if table.partition is Partition.DAY], ids=lambda table: table.name
)
@RELAXED
@given(data=st.data())
def test_many_days_at_once_equal_the_days_built_alone(table: Table, data: st.DataObject) -> None:
    rows = data.draw(records(table))
    at_once = build(table, rows).sort("_row")

    alone = [
        build(table, rows.filter(pl.col("day").is_between(day - timedelta(days=table.dedupe_days), day))).filter(
            pl.col("day") == day
        )
        for day in rows["day"].unique()
    ]

    assert at_once.rows() == (pl.concat(alone).sort("_row").rows() if alone else [])


@pytest.mark.parametrize("table", SUBJECTS, ids=lambda table: table.name)
def test_no_records_give_the_declared_columns_and_fates(table: Table) -> None:
    built = build(table, pl.DataFrame(schema={**_records_schema(table)}))

    assert built.is_empty()
    assert {column.name: dtype(column.type) for column in table.columns} == {
        column.name: built.schema[column.name] for column in table.columns
    }
    assert set(FATES) <= set(built.columns)


def _records_schema(table: Table) -> dict[str, pl.DataType]:
    from tests.golden import records_of

    return dict(records_of(table, []).schema)
