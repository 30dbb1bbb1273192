"""Records picked by a feed: typed, judged by its conditions, exploded, and never lost."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from etl.errors import DeclarationError
from etl.model import Feed, Files, Kind, Pick, Source, Stream
from etl.silver.ad_spend import AD_SPEND
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS
from etl.silver.standardise import picked

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def landed(*payloads: dict[str, Any], ops: tuple[str, ...] = ()) -> pl.LazyFrame:
    """Payloads as bronze rows with the ids r0, r1 ..."""
    size = len(payloads)
    return pl.LazyFrame(
        {
            "_source": ["shop"] * size,
            "_account": ["default"] * size,
            "_stream": ["orders"] * size,
            "_id": [f"r{number}" for number in range(size)],
            "_op": ops or ["upsert"] * size,
            "_cursor": [MOMENT] * size,
            "_event_at": [MOMENT] * size,
            "_payload": [json.dumps(payload) for payload in payloads],
            "_hash": [f"h{number}" for number in range(size)],
            "_extracted_at": [MOMENT] * size,
            "_run_id": ["run"] * size,
            "_page": [0] * size,
            "day": [date(2026, 1, 1)] * size,
        },
        schema_overrides={
            "_cursor": pl.Datetime("us", "UTC"),
            "_event_at": pl.Datetime("us", "UTC"),
            "_extracted_at": pl.Datetime("us", "UTC"),
        },
    )


def picks(feed: Feed, bronze: pl.LazyFrame, table: Any) -> pl.DataFrame:
    stream = Stream("orders", Kind.SNAPSHOT, Files("orders.jsonl"), id=("id",), feeds=(feed,))
    source = Source("shop", "Shop", (stream,))
    return picked(bronze, source=source, stream=stream, feed=feed, table=table).collect()


def test_an_unreadable_value_is_quarantined_and_an_absent_one_is_null() -> None:
    feed = Feed("orders", {"order_id": Pick("id"), "gross_amount": Pick("total", "number")})

    rows = picks(feed, landed({"id": 1, "total": "9.90"}, {"id": 2, "total": "much"}, {"id": 3}), ORDERS)

    assert rows.select("order_id", "gross_amount", "_fate", "_rule").rows() == [
        ("1", Decimal("9.9000"), "out", None),
        ("2", None, "quarantined", "gross_amount.unreadable"),
        ("3", None, "out", None),
    ]
    assert "much" not in rows["_reason"].drop_nulls().to_list()[0]


def test_conditions_leave_records_to_other_feeds_but_not_their_deletion() -> None:
    feed = Feed("orders", {"order_id": Pick("id")}, where={"kind": ("sale",)}, unless={"test": ("true",)})
    sale, other, trial = {"id": 1, "kind": "sale"}, {"id": 2, "kind": "quote"}, {"id": 3, "kind": "sale", "test": True}

    rows = picks(feed, landed(sale, other, trial, {"id": 4}, {"id": 5}, ops=("upsert",) * 4 + ("delete",)), ORDERS)

    assert rows.select("_id", "_rule").rows() == [
        ("r0", None),
        ("r1", "not_this_feed"),
        ("r2", "not_this_feed"),
        ("r3", "not_this_feed"),
        ("r4", None),
    ]


def test_one_path_may_be_asked_for_and_against() -> None:
    feed = Feed("orders", {"order_id": Pick("id")}, where={"kind": ("a", "b")}, unless={"kind": ("b",)})

    rows = picks(feed, landed({"id": 1, "kind": "a"}, {"id": 2, "kind": "b"}, {"id": 3, "kind": "c"}), ORDERS)

    assert ["out", "filtered", "filtered"] == rows["_fate"].to_list()


def test_a_list_gives_a_row_per_element_and_an_empty_one_a_filtered_row() -> None:
    feed = Feed("order_lines", {"order_id": Pick("^id"), "quantity": Pick("n", "number")}, explode="lines")

    rows = picks(feed, landed({"id": "A", "lines": [{"n": 2}, {"n": 3}]}, {"id": "B", "lines": []}), ORDER_LINES)

    assert rows.sort("_row", "quantity").select("_row", "order_id", "order_line_id", "quantity", "_rule").rows() == [
        (0, "A", "r0:0", 2.0, None),
        (0, "A", "r0:1", 3.0, None),
        (1, None, None, None, "no_elements"),
    ]


def test_the_records_id_is_the_subjects_where_the_feed_names_none() -> None:
    rows = picks(Feed("orders", {"gross_amount": Pick("t", "number")}), landed({"t": 1}), ORDERS)
    of_two_parts = picks(Feed("ad_spend", {"click_count": Pick("t", "number")}), landed({"t": 1}), AD_SPEND)

    assert ["r0"] == rows["order_id"].to_list()
    assert [None] == of_two_parts["ad_id"].to_list()


def test_a_column_the_table_does_not_accept_is_refused_by_name() -> None:
    with pytest.raises(DeclarationError, match=r"shop\.orders feeds silver\.orders with colour"):
        picks(Feed("orders", {"colour": Pick("c")}), landed(), ORDERS)


def test_no_records_give_typed_columns() -> None:
    rows = picks(Feed("orders", {"order_id": Pick("id")}, explode="lines"), landed(), ORDERS)

    assert (0, pl.Decimal(18, 4), pl.Int64()) == (rows.height, rows.schema["gross_amount"], rows.schema["_row"])
