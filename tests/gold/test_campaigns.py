"""What always holds of campaign results."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl.gold.campaigns import CAMPAIGNS
from etl.gold.customer_360 import PAID
from etl.model.frames import empty, schema_of
from tests.gold.worlds import AS_OF, a_world, made, mixed

seeds = st.integers(0, 2**32)
few = settings(max_examples=25, deadline=None)

RATIOS = {
    "click_through_pct": "impression_count",
    "cost_per_click_amount": "click_count",
    "cost_per_lead_amount": "lead_count",
    "cost_per_conversion_amount": "conversion_count",
    "return_on_ad_spend": "cost_amount",
}


def test_no_input_gives_an_empty_table_of_the_declared_columns() -> None:
    assert_frame_equal(empty(CAMPAIGNS.columns), made(CAMPAIGNS, {one.name: [] for one in CAMPAIGNS.inputs}))


@few
@given(seeds)
def test_rows_fit_the_declaration_and_its_key(seed: int) -> None:
    rows = made(CAMPAIGNS, a_world(seed))

    assert schema_of(CAMPAIGNS.columns) == dict(rows.schema)
    assert rows.height == rows.select(CAMPAIGNS.key).n_unique()
    required = [column.name for column in CAMPAIGNS.columns if column.is_required]
    assert 0 == rows.select(required).null_count().sum_horizontal().sum()


@few
@given(seeds)
def test_a_ratio_is_null_exactly_where_there_is_nothing_to_divide(seed: int) -> None:
    rows = made(CAMPAIGNS, a_world(seed))

    for ratio, whole in RATIOS.items():
        cost_is_known = pl.lit(value=True) if ratio == "click_through_pct" else pl.col("cost_amount").is_not_null()
        wanted = rows.select((pl.col(whole).fill_null(0) > 0) & cost_is_known).to_series()
        assert wanted.to_list() == rows[ratio].is_not_null().to_list(), ratio


@few
@given(seeds)
def test_what_the_networks_report_is_what_the_campaigns_add_up_to(seed: int) -> None:
    world = a_world(seed)
    shown = [ad for ad in world["ad_spend"] if ad["ad_date"] < AS_OF.date()]

    rows = made(CAMPAIGNS, world)

    for column in ("impression_count", "click_count"):
        assert sum(ad[column] for ad in shown) == rows[column].sum()
    assert sum(ad["lead_count"] or 0 for ad in shown) == rows["lead_count"].sum()


@few
@given(seeds)
def test_no_campaign_claims_an_order_twice(seed: int) -> None:
    world = a_world(seed)
    paid = [o for o in world["orders"] if o["order_status"] in PAID and o["ordered_at"] < AS_OF]
    winter = made(CAMPAIGNS, world).row(by_predicate=pl.col("campaign_id") == "k1", named=True)
    redeemed = {
        (met["customer_id"], met["event_at"].date())
        for met in world["campaign_interactions"]
        if met["campaign_id"] == "k1" and met["interaction_type"] == "redeemed" and met["event_at"] < AS_OF
    }
    claimed = [
        order["revenue_amount"]
        for order in paid
        if (order["utm_campaign"] or "").strip().lower() in ("k1", "winter")
        or (order["customer_id"] and (order["customer_id"], order["ordered_at"].date()) in redeemed)
    ]

    assert len(claimed) == winter["conversion_count"]
    assert sum(claimed, Decimal(0)) == winter["conversion_revenue_amount"]


@few
@given(seeds, seeds)
def test_the_order_of_rows_changes_nothing(seed: int, order: int) -> None:
    world = a_world(seed)

    assert_frame_equal(made(CAMPAIGNS, world), made(CAMPAIGNS, mixed(world, order)), check_exact=True)
