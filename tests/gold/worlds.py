"""Small random companies for the gold tables' properties: few customers, so that everything collides."""

from __future__ import annotations

import inspect
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from etl.model import Table
from etl.model.frames import schema_of
from tests.golden import frame_of

Rows = list[dict[str, Any]]
World = dict[str, Rows]

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
PEOPLE = [f"c_{name * 24}" for name in "abcdef"]


def a_world(seed: int, events: int = 30) -> World:
    """The inputs of the gold tables by name, as plain rows; the same seed, the same company."""
    dice = random.Random(seed)

    def at() -> datetime:
        # Some of it on the very edges of the windows, some in the future.
        edge = dice.choice([0, 30, 90])
        moment = AS_OF - timedelta(days=edge, microseconds=dice.choice([-1, 0, 1]))
        return moment if dice.random() < 0.3 else AS_OF - timedelta(seconds=dice.randrange(-86400, 150 * 86400))

    def who() -> str | None:
        return dice.choice([*PEOPLE, None])

    def many(row: Any) -> Rows:
        return [row(number) for number in range(dice.randrange(events))]

    def money() -> Decimal:
        return Decimal(dice.randrange(0, 100_000)) / 10_000

    orders = many(
        lambda n: {
            "source": dice.choice(["shop", "till"]),
            "order_id": f"o{n}",
            "customer_id": who(),
            "ordered_at": at(),
            "order_status": dice.choice(["paid", "paid", "partially_refunded", "refunded", "open", "cancelled"]),
            "currency": dice.choice(["EUR", "EUR", "USD", "XTS"] if seed % 2 else ["EUR", "USD"]),
            "gross_amount": money(),
            "refund_amount": money(),
            "discount_amount": dice.choice([None, money()]),
            "revenue_amount": money() - 3,
            "coupon_code": dice.choice([None, "X"]),
            "utm_campaign": dice.choice([None, "k1", "Winter", "winter ", "other"]),
        }
    )
    lines = [
        {
            "source": order["source"],
            "order_id": order["order_id"],
            "order_line_id": f"{order['order_id']}-{number}",
            "ordered_at": order["ordered_at"],
            "product_id": dice.choice([None, "p1", "p2", "p3"]),
            "category": dice.choice([None, "books", "toys"]),
            "quantity": dice.choice([None, -1.0, 0.1, 0.2, 3.0]),
            "line_amount": money() - 2,
            "currency": order["currency"],
        }
        for order in orders
        for number in range(dice.randrange(4))
    ]
    return {
        "customers": [
            {
                "customer_id": person,
                "is_known": dice.random() < 0.8,
                "email": dice.choice([None, f"{person[-1]}@example.org"]),
                "country": dice.choice([None, "DE"]),
                "record_count": dice.randrange(4),
                "source_count": 1,
            }
            for person in PEOPLE
        ],
        "orders": orders,
        "order_lines": lines,
        "products": [
            {"source": "shop", "product_id": "p1", "category": "books"},
            {"source": "shop", "product_id": "p2", "category": None},
            {"source": "till", "product_id": "p2", "category": "games"},
        ],
        "exchange_rates": [
            {
                "rate_date": date(2025, 11, 3) + timedelta(days=7 * n),
                "base_currency": "EUR",
                "currency": "USD",
                "rate": r,
            }
            for n, r in enumerate([1.1, 1.2, 1.3, 0.9])
        ],
        "sessions": many(
            lambda n: {
                "session_id": f"s{n}",
                "customer_id": who(),
                "started_at": (started := at()),
                "ended_at": started + timedelta(minutes=5),
                "event_count": dice.randrange(1, 9),
                "page_view_count": dice.randrange(9),
                "channel": dice.choice(["direct", "email", "display"]),
                "utm_campaign": dice.choice([None, "Winter"]),
                "device_type": dice.choice([None, "mobile", "desktop"]),
            }
        ),
        "email_events": many(
            lambda n: {
                "source": "mail",
                "event_id": f"m{n}",
                "customer_id": who(),
                "node_id": None,
                "campaign_id": dice.choice([None, "m1", "m2"]),
                "email_event": dice.choice(
                    ["sent", "delivered", "delivered", "opened", "clicked", "bounced", "unsubscribed"]
                ),
                "event_at": at(),
            }
        ),
        "social_posts": many(
            lambda n: {
                "post_id": f"p{n}",
                "customer_id": who(),
                "posted_at": at(),
                "like_count": dice.choice([None, 2]),
            }
        ),
        "campaign_interactions": many(
            lambda n: {
                "source": "crm",
                "interaction_id": f"i{n}",
                "customer_id": who(),
                "campaign_id": dice.choice([None, "k1", "k2"]),
                "interaction_type": dice.choice(["targeted", "exposed", "redeemed"]),
                "event_at": at(),
            }
        ),
        "device_events": many(lambda n: {"reading_id": f"r{n}", "customer_id": who(), "event_at": at()}),
        "consents": many(
            lambda n: {
                "consent_id": f"d{n}",
                "customer_id": who(),
                "purpose": dice.choice(["email_marketing", "ads"]),
                "consent_status": dice.choice(["granted", "withdrawn"]),
                "event_at": at(),
            }
        ),
        "campaigns": [{"source": "crm", "campaign_id": "k1", "campaign_name": "Winter"}],
        "ad_spend": many(
            lambda n: {
                "source": "meta",
                "ad_date": at().date(),
                "network": "facebook",
                "campaign_id": dice.choice(["a1", "a2"]),
                "campaign_name": dice.choice([None, "Winter"]),
                "ad_id": f"ad{n}",
                "impression_count": dice.choice([0, 100]),
                "click_count": dice.choice([0, 3]),
                "lead_count": dice.choice([None, 0, 1]),
                "currency": dice.choice(["EUR", "USD"]),
                "cost_amount": dice.choice([Decimal(0), money()]),
            }
        ),
    }


def frames(table: Table, world: World) -> dict[str, pl.LazyFrame]:
    """What the runner hands to the table's builder: its declared inputs, with their customer."""
    assert table.build is not None
    asked = inspect.signature(table.build).parameters
    handed = {}
    for one in (each for each in table.inputs if each.name in asked):
        schema = schema_of(one.columns)
        if one.carries_customer:
            schema["customer_id"] = pl.String()
        handed[one.name] = frame_of(world[one.name], schema).lazy()
    return handed


def made(table: Table, world: World) -> pl.DataFrame:
    """The table of that company, sorted by its key."""
    arguments: dict[str, Any] = {"as_of": AS_OF}
    if table.name != "contacts":
        arguments["currency"] = "EUR"
    assert table.build is not None
    rows: pl.DataFrame = table.build(**frames(table, world), **arguments).collect()
    return rows.sort(table.key)


def mixed(world: World, seed: int) -> World:
    """The same company, every table's rows in another order."""
    dice = random.Random(seed)
    return {name: dice.sample(rows, len(rows)) for name, rows in world.items()}


def of(world: World, people: set[str]) -> World:
    """What there is of these customers alone; what is nobody's own stays."""
    return {
        name: [row for row in rows if name in ("products", "exchange_rates") or row.get("customer_id") in people]
        if name not in ("order_lines", "campaigns", "ad_spend")
        else rows
        for name, rows in world.items()
    }
