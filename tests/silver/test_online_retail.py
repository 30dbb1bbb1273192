"""Online Retail (UCI 352): 541,909 real invoice lines, every one accounted for."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from etl.model.frames import empty
from etl.silver.exchange_rates import EXCHANGE_RATES
from etl.silver.order_lines import ORDER_LINES, standardise_order_lines
from etl.silver.orders import ORDERS, standardise_orders
from tests.golden import KEY, records_of
from tests.silver.real_sources import retail_lines

EXACT_DUPLICATES = 5_268


@pytest.fixture(scope="module")
def retail(shared: Path) -> pl.DataFrame:
    return pl.read_parquet(shared / "data" / "online_retail" / "online_retail.parquet")


@pytest.fixture(scope="module")
def lines(retail: pl.DataFrame) -> pl.DataFrame:
    records = retail_lines(retail)
    return standardise_order_lines(records, key=KEY, country="GB", currency="GBP").collect()


@pytest.fixture(scope="module")
def orders(lines: pl.DataFrame) -> pl.DataFrame:
    kept = lines.lazy().filter(pl.col("_fate") == "out").select(ORDER_LINES.column_names)
    rates = empty(EXCHANGE_RATES.columns).lazy()
    none = records_of(ORDERS, []).lazy()
    return standardise_orders(none, kept, rates, key=KEY, country="GB", currency="GBP").collect()


def test_every_line_is_out_quarantined_or_deduplicated_by_a_counted_rule(
    retail: pl.DataFrame, lines: pl.DataFrame
) -> None:
    once = retail.unique()
    unpriced = once.filter(pl.col("UnitPrice") <= 0).height

    fates = dict(lines.group_by(pl.concat_str("_fate", "_rule", separator=" ", ignore_nulls=True)).len().iter_rows())

    assert retail.height == 541_909
    assert retail.filter(pl.col("UnitPrice") == 0).height == 2_515
    assert retail.filter(pl.col("UnitPrice") < 0).height == 2
    assert fates == {
        "out": 541_909 - EXACT_DUPLICATES - unpriced,
        "quarantined unit_price.not_positive": unpriced,
        "deduplicated older_version": EXACT_DUPLICATES,
    }


def test_amounts_are_exact_to_the_thousandth_of_a_penny(retail: pl.DataFrame, lines: pl.DataFrame) -> None:
    price = pl.col("UnitPrice").round(4).cast(pl.Decimal(18, 4))
    by_hand = retail.unique().filter(pl.col("UnitPrice") > 0).select((price * pl.col("Quantity")).sum()).item()

    kept = lines.filter(pl.col("_fate") == "out")["line_amount"].cast(pl.Decimal(38, 4)).sum()

    assert Decimal(by_hand) == Decimal(kept)


def test_invoices_are_told_by_their_lines(retail: pl.DataFrame, orders: pl.DataFrame, lines: pl.DataFrame) -> None:
    priced = retail.filter(pl.col("UnitPrice") > 0)
    cancelled = orders.filter(pl.col("order_id").str.starts_with("C"))

    assert retail["InvoiceNo"].n_unique() == 25_900
    assert priced["InvoiceNo"].n_unique() == orders.height
    assert set(orders["_fate"]) == {"derived"}
    assert set(cancelled["order_status"]) == {"refunded"}
    assert lines.filter(pl.col("_fate") == "out")["line_amount"].sum() == orders["revenue_amount"].sum()


def test_customers_are_known_and_lines_without_one_name_nobody(retail: pl.DataFrame, lines: pl.DataFrame) -> None:
    assert retail["CustomerID"].n_unique() - 1 == 4_372
    assert retail["CustomerID"].null_count() == 135_080
    assert lines["login_key"].drop_nulls().n_unique() == 4_372
    assert lines["node_id"].null_count() == 135_080
