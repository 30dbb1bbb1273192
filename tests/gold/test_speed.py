"""The customer at a glance of a whole company is a matter of seconds, also where lines are many and customers few."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from etl.gold.customer_360 import CUSTOMER_360
from etl.model.frames import schema_of

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)


def many(name: str, count: int, **columns: pl.Expr) -> pl.LazyFrame:
    """`count` rows of an input, the named columns as given, the others null."""
    table = next(one for one in CUSTOMER_360.inputs if one.name == name)
    schema: dict[str, Any] = {
        **schema_of(table.columns),
        **({"customer_id": pl.String()} if table.carries_customer else {}),
    }
    rows = pl.select(pl.int_range(count).alias("n")).lazy()
    return (
        rows.select([columns.get(c, pl.lit(None)).cast(kind).alias(c) for c, kind in schema.items()]).collect().lazy()
    )


def numbered(prefix: str, modulo: int) -> pl.Expr:
    """Ids that come round again after `modulo` rows, well mixed."""
    return pl.format("{}{}", pl.lit(prefix), (pl.col("n") * 7919) % modulo)


def spread() -> pl.Expr:
    """Moments of the last hundred days."""
    return pl.lit(AS_OF) - pl.duration(minutes=(pl.col("n") * 7919) % (100 * 1440) + 1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("customers", "orders", "lines", "events", "limit_s"),
    [(5_000, 20_000, 40_000, 60_000, 0.5), (2_500, 156_000, 1_500_000, 0, 3.0)],
    ids=["the demo company", "a year of groceries"],
)
def test_a_company_is_built_in_time(customers: int, orders: int, lines: int, events: int, limit_s: float) -> None:
    whose, one, paid = numbered("c_", customers), pl.lit(1), pl.lit("paid")
    at = spread()
    order_id = pl.format("o{}", pl.col("n") % orders)
    inputs = {
        "customers": many(
            "customers", customers, customer_id=whose, is_known=pl.lit(value=True), record_count=one, source_count=one
        ),
        "orders": many(
            "orders", orders, source=pl.lit("shop"), order_id=order_id, customer_id=whose, ordered_at=at,
            order_status=paid, currency=pl.lit("EUR"), gross_amount=one, refund_amount=one, revenue_amount=one,
        ),
        "order_lines": many(
            "order_lines", lines, source=pl.lit("shop"), order_id=order_id, order_line_id=order_id, ordered_at=at,
            product_id=numbered("p", 30_000), category=numbered("k", 40), quantity=one, line_amount=one,
            currency=pl.lit("EUR"),
        ),
        "sessions": many(
            "sessions", events, session_id=numbered("s", 10**9), customer_id=whose, started_at=at, ended_at=at,
            event_count=one, page_view_count=one, channel=pl.lit("direct"), device_type=pl.lit("mobile"),
        ),
        "email_events": many(
            "email_events", events, source=pl.lit("mail"), campaign_id=numbered("m", 20), customer_id=whose,
            email_event=pl.lit("delivered"), event_at=at,
        ),
    }  # fmt: skip
    for table in CUSTOMER_360.inputs:
        inputs.setdefault(table.name, many(table.name, 0))

    took = []
    for _ in range(3):
        began = time.perf_counter()
        assert CUSTOMER_360.build is not None
        rows = CUSTOMER_360.build(**inputs, as_of=AS_OF, currency="EUR").collect()
        took.append(time.perf_counter() - began)

    assert customers == rows.height
    assert orders == rows["order_count"].sum()
    assert min(took) < limit_s
