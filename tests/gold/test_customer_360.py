"""What always holds of the customer at a glance, and a plain way to the same numbers."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl.gold.contacts import CONTACTS
from etl.gold.customer_360 import CUSTOMER_360, PAID
from etl.model import Privacy, Type
from etl.model.frames import empty, schema_of
from tests.gold.worlds import AS_OF, PEOPLE, World, a_world, made, mixed, of

seeds = st.integers(0, 2**32)
few = settings(max_examples=25, deadline=None)


def test_it_has_the_width_that_was_promised_and_every_column_its_meaning() -> None:
    assert len(CUSTOMER_360.columns) >= 45
    assert all(column.meaning for column in CUSTOMER_360.columns)
    counts = [c for c in CUSTOMER_360.columns if c.name.endswith(("_count", "_days", "_pct"))]
    assert [] == [column.name for column in counts if not column.unit]


def test_it_names_nobody() -> None:
    near = {c.name for c in CUSTOMER_360.columns if c.privacy in (Privacy.PERSONAL, Privacy.SENSITIVE)}

    assert set() == near
    assert {"customer_id"} == {c.name for c in CUSTOMER_360.columns if c.privacy is Privacy.PSEUDONYM}


@pytest.mark.parametrize("table", [CUSTOMER_360, CONTACTS], ids=lambda table: table.name)
def test_no_input_gives_an_empty_table_of_the_declared_columns(table: Any) -> None:
    nothing: World = {one.name: [] for one in table.inputs}

    assert_frame_equal(empty(table.columns), made(table, nothing))


@few
@given(seeds)
def test_rows_fit_the_declaration(seed: int) -> None:
    rows = made(CUSTOMER_360, a_world(seed))

    assert schema_of(CUSTOMER_360.columns) == dict(rows.schema)
    for column in CUSTOMER_360.columns:
        values = rows[column.name]
        assert not (column.is_required and values.null_count()), column.name
        if column.minimum is not None and values.drop_nulls().len():
            assert float(values.cast(pl.Float64).min()) >= column.minimum, column.name  # type: ignore[arg-type]
        if column.maximum is not None and values.drop_nulls().len():
            assert float(values.cast(pl.Float64).max()) <= column.maximum, column.name  # type: ignore[arg-type]
        if column.allowed:
            assert set(values.drop_nulls()) <= set(column.allowed), column.name


@few
@given(seeds)
def test_every_known_customer_has_one_row(seed: int) -> None:
    world = a_world(seed)
    known = sorted(customer["customer_id"] for customer in world["customers"] if customer["is_known"])

    assert known == made(CUSTOMER_360, world)["customer_id"].to_list()
    assert known == made(CONTACTS, world)["customer_id"].to_list()


@few
@given(seeds)
def test_no_cent_of_a_known_customer_is_lost_or_counted_twice(seed: int) -> None:
    world = a_world(seed)
    known = {customer["customer_id"] for customer in world["customers"] if customer["is_known"]}
    theirs = [
        order["revenue_amount"]
        for order in world["orders"]
        if order["customer_id"] in known and order["order_status"] in PAID and order["ordered_at"] < AS_OF
    ]

    rows = made(CUSTOMER_360, world)

    assert sum(theirs, Decimal(0)) == sum(rows["revenue_amount"], Decimal(0))
    assert len(theirs) == rows["order_count"].sum()


@few
@given(seeds, seeds)
def test_the_order_of_rows_changes_nothing(seed: int, order: int) -> None:
    world = a_world(seed)

    assert_frame_equal(made(CUSTOMER_360, world), made(CUSTOMER_360, mixed(world, order)), check_exact=True)


@few
@given(seeds, st.sets(st.sampled_from(PEOPLE)))
def test_customers_built_in_two_buckets_equal_the_whole(seed: int, some: set[str]) -> None:
    world = a_world(seed)
    others = set(PEOPLE) - some

    buckets = pl.concat([made(CUSTOMER_360, of(world, bucket)) for bucket in (some, others)]).sort("customer_id")

    assert_frame_equal(made(CUSTOMER_360, world), buckets, check_exact=True)


@few
@given(seeds)
def test_the_tables_equal_what_a_plain_loop_finds(seed: int) -> None:
    world = a_world(seed)
    plain = [plainly(world, c) for c in world["customers"] if c["is_known"]]

    rows = made(CUSTOMER_360, world)

    for wanted, came in zip(plain, rows.iter_rows(named=True), strict=True):
        for name in ("monetary_amount", "refund_amount", "discount_amount"):
            assert is_near(wanted.pop(name), came[name], orders=wanted["order_count"]), name
        assert wanted == {name: came[name] for name in wanted}


def is_near(wanted: Decimal | None, came: Decimal | None, *, orders: int) -> bool:
    """True when both are unknown, or apart by no more than one rounding of each order."""
    if wanted is None or came is None:
        return wanted is came
    return abs(wanted - came) <= Decimal("0.0001") * orders


def plainly(world: World, customer: dict[str, Any]) -> dict[str, Any]:
    """Some attributes of one customer, one loop each."""

    def theirs(name: str, at: str) -> list[dict[str, Any]]:
        return sorted(
            (row for row in world[name] if row["customer_id"] == customer["customer_id"] and row[at] < AS_OF),
            key=lambda row: (row[at], row.get("session_id", "")),
        )

    def since(days: int, moment: datetime) -> bool:
        return moment >= AS_OF - timedelta(days=days)

    orders = [order for order in theirs("orders", "ordered_at") if order["order_status"] in PAID]
    sessions = theirs("sessions", "started_at")
    mails = theirs("email_events", "event_at")
    bought = {(order["source"], order["order_id"]): order for order in orders}
    lines = [line for line in world["order_lines"] if (line["source"], line["order_id"]) in bought]
    revenue = sum((order["revenue_amount"] for order in orders), Decimal(0))
    delivered = {m["campaign_id"] for m in mails if m["email_event"] == "delivered"} - {None}
    opened = {m["campaign_id"] for m in mails if m["email_event"] == "opened"} & delivered
    decided: bool | None = None
    latest = datetime.min.replace(tzinfo=AS_OF.tzinfo)
    for decision in theirs("consents", "event_at"):
        if decision["purpose"] == "ads" and decision["event_at"] >= latest:
            granted = decision["consent_status"] == "granted"
            decided = granted and (decision["event_at"] > latest or decided is not False)
            latest = decision["event_at"]
    days = [order["ordered_at"].date() for order in orders]
    return {
        "customer_id": customer["customer_id"],
        "order_count": len(orders),
        "order_30d_count": sum(since(30, order["ordered_at"]) for order in orders),
        "revenue_amount": revenue,
        "revenue_90d_amount": sum((o["revenue_amount"] for o in orders if since(90, o["ordered_at"])), Decimal(0)),
        "last_order_date": max(days, default=None),
        "recency_days": (date(2026, 3, 31) - max(days)).days if days else None,
        "days_between_orders": (max(days) - min(days)).days / (len(days) - 1) if len(days) > 1 else None,
        "monetary_amount": rounded(revenue, len(orders)),
        "refund_amount": converted(world, orders, "refund_amount"),
        "discount_amount": converted(world, orders, "discount_amount"),
        "product_count": len({(line["source"], line["product_id"]) for line in lines if line["product_id"]}),
        "item_count": float(sum((Decimal(str(line["quantity"] or 0)) for line in lines), Decimal(0))),
        "session_count": len(sessions),
        "session_90d_count": sum(since(90, session["started_at"]) for session in sessions),
        "page_view_count": sum(session["page_view_count"] for session in sessions),
        "first_touch_channel": sessions[0]["channel"] if sessions else None,
        "last_touch_channel": sessions[-1]["channel"] if sessions else None,
        "email_opened_30d_count": sum(m["email_event"] == "opened" and since(30, m["event_at"]) for m in mails),
        "email_open_pct": 100 * (len(opened) / len(delivered)) if delivered else None,
        "post_count": len(theirs("social_posts", "posted_at")),
        "device_reading_count": len(theirs("device_events", "event_at")),
        "has_consent_ads": decided,
    }


def rounded(total: Decimal, count: int) -> Decimal | None:
    """The mean in ten-thousandths, halves to even, as floats round."""
    if not count:
        return None
    return Decimal(float(total) / count).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


def converted(world: World, orders: list[dict[str, Any]], amount: str) -> Decimal | None:
    """The sum in euro at the last rate on or before each day, the first one where there is none before."""
    total = Decimal(0)
    for order in orders:
        value = order[amount] or Decimal(0)
        if order["currency"] == "XTS":
            return None
        if order["currency"] == "USD":
            day = order["ordered_at"].date()
            rates = sorted((r["rate_date"], r["rate"]) for r in world["exchange_rates"])
            rate = next((r for d, r in reversed(rates) if d <= day), rates[0][1])
            value = Decimal(float(value) * (1.0 / rate)).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
        total += value
    return total


def test_types_of_amounts_are_exact() -> None:
    amounts = [column for column in CUSTOMER_360.columns if column.name.endswith("_amount")]

    assert {Type.AMOUNT} == {column.type for column in amounts}


def test_ten_tenths_of_a_piece_are_one_piece() -> None:
    world = {name: [] for name in (one.name for one in CUSTOMER_360.inputs)}
    at = AS_OF - timedelta(days=1)
    world["customers"] = [{"customer_id": PEOPLE[0], "is_known": True, "record_count": 1, "source_count": 1}]
    world["orders"] = [
        {"source": "shop", "order_id": "o", "customer_id": PEOPLE[0], "ordered_at": at, "order_status": "paid"}
    ]
    world["order_lines"] = [
        {"source": "shop", "order_id": "o", "product_id": f"p{n}", "quantity": 0.1, "ordered_at": at} for n in range(10)
    ]

    assert [1.0] == made(CUSTOMER_360, world)["item_count"].to_list()
