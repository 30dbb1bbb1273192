"""Shopify: orders with their lines and refunds, account holders, products.

API: Admin REST 2026-10, https://shopify.dev/docs/api/admin-rest. Orders need `status=any`, or closed ones stay away;
`updated_at_max` includes its moment, which belongs to the next window and is set aside. Money is taken in the
currency the buyer saw (`presentment_money`), since that is what was charged. Deletes are only told by the events
endpoint (verb=destroy), which is not read here.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

API = "/admin/api/2026-10"
_CHANGED = {"updated_at_min": "{start_iso}", "updated_at_max": "{end_iso}"}
_PAGES = Paging(style="link", size_param="limit", size=250)

# Shopify's words for the state of the money, in ours. `refunded` and the like are the same word in both.
STATUS = {
    "pending": "open",
    "authorized": "open",
    "partially_paid": "open",
    "voided": "cancelled",
    "expired": "cancelled",
}


def _charged(name: str) -> Pick:
    return Pick(f"{name}.presentment_money.amount", "number")


def _attribute(name: str, *, of_record: bool = False) -> Pick:
    return Pick(f"{'^' if of_record else ''}note_attributes[name={name}].value")


ORDERS = Stream(
    name="orders",
    kind=Kind.ENTITY,
    request=Http(
        path=f"{API}/orders.json", records="orders", params={"status": "any", **_CHANGED}, paging=_PAGES, trims=True
    ),
    id=("id",),
    at=Pick("updated_at", "timestamp"),
    cursor=Pick("updated_at", "timestamp"),
    feeds=(
        Feed(
            subject="orders",
            fields={
                "order_id": Pick("id"),
                "ordered_at": Pick("processed_at", "timestamp"),
                "order_status": Pick("financial_status", values=STATUS),
                "currency": Pick("total_price_set.presentment_money.currency_code"),
                "gross_amount": _charged("total_price_set"),
                "net_amount": _charged("current_total_price_set"),
                "discount_amount": _charged("total_discounts_set"),
                "coupon_code": Pick("discount_codes[0].code"),
                "email": Pick("email"),
                "phone": Pick("phone"),
                "login": Pick("customer.id"),
                "card": _attribute("loyalty_card"),
                "utm_source": _attribute("utm_source"),
                "utm_medium": _attribute("utm_medium"),
                "utm_campaign": _attribute("utm_campaign"),
            },
            unless={"test": ("true",)},
        ),
        Feed(
            subject="order_lines",
            explode="line_items",
            fields={
                "order_line_id": Pick("id"),
                "order_id": Pick("^id"),
                "ordered_at": Pick("^processed_at", "timestamp"),
                "product_id": Pick("product_id"),
                "product_name": Pick("title"),
                "quantity": Pick("quantity", "number"),
                "unit_price_amount": _charged("price_set"),
                "discount_amount": _charged("discount_allocations[0].amount_set"),
                "currency": Pick("price_set.presentment_money.currency_code"),
                "email": Pick("^email"),
                "login": Pick("^customer.id"),
                "card": _attribute("loyalty_card", of_record=True),
            },
            unless={"^test": ("true",)},
        ),
    ),
)

CUSTOMERS = Stream(
    name="customers",
    kind=Kind.ENTITY,
    request=Http(path=f"{API}/customers.json", records="customers", params=_CHANGED, paging=_PAGES, trims=True),
    id=("id",),
    at=Pick("updated_at", "timestamp"),
    cursor=Pick("updated_at", "timestamp"),
    feeds=(
        Feed(
            subject="person_records",
            fields={
                "login": Pick("id"),
                "email": Pick("email"),
                "phone": Pick("phone"),
                "given_name": Pick("first_name"),
                "family_name": Pick("last_name"),
                "street": Pick("default_address.address1"),
                "postal_code": Pick("default_address.zip"),
                "city": Pick("default_address.city"),
                "region": Pick("default_address.province"),
                "country": Pick("default_address.country_code"),
                "company": Pick("default_address.company"),
                "created_at": Pick("created_at", "timestamp"),
                "updated_at": Pick("updated_at", "timestamp"),
            },
        ),
    ),
)

PRODUCTS = Stream(
    name="products",
    kind=Kind.ENTITY,
    request=Http(path=f"{API}/products.json", records="products", params=_CHANGED, paging=_PAGES, trims=True),
    id=("id",),
    at=Pick("updated_at", "timestamp"),
    cursor=Pick("updated_at", "timestamp"),
    feeds=(
        Feed(
            subject="products",
            fields={
                "product_id": Pick("id"),
                "product_name": Pick("title"),
                "brand": Pick("vendor"),
                "category": Pick("product_type"),
            },
        ),
    ),
)

SOURCE = Source(
    name="shopify",
    title="Shopify",
    auth=Auth(scheme="header", header="X-Shopify-Access-Token"),
    # A bucket of 40 that leaks 2 a second.
    limits=Limits(requests=40, seconds=20.0, concurrency=1),
    errors="shopify",
    streams=(ORDERS, CUSTOMERS, PRODUCTS),
)
