"""What follows what, read off the manifest."""

from __future__ import annotations

from etl.run.cascade import Cascade, Step
from tests.airflow.conftest import MANIFEST


def test_the_steps_are_the_tasks_of_the_dags() -> None:
    cascade = Cascade.of(MANIFEST)

    assert cascade.steps == (
        Step("bronze.shop_orders", "ingest_shop", "orders", ()),
        Step("bronze.shop_visits", "ingest_shop", "visits", ()),
        Step("silver.orders", "silver_orders", "build", ("bronze.shop_orders",)),
        Step("silver.visits", "silver_visits", "build", ("bronze.shop_visits",)),
        Step("gold.funnel", "gold_funnel", "build", ("silver.orders", "silver.visits")),
    )
    assert cascade.publish == Step("publish", "publish", "publish", ("gold.funnel",))


def test_a_window_is_triggered_once_per_source() -> None:
    assert Cascade.of(MANIFEST).ingest_dags == ("ingest_shop",)
