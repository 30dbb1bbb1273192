"""WooCommerce: orders with their lines and refunds, account holders, products.

API: REST v3, https://woocommerce.github.io/woocommerce-rest-api-docs, WooCommerce 5.8 or later; base_url is the address
of your own shop, the secret is `consumer key:consumer secret`. Quirks:

- `modified_after` and `modified_before` leave their own moments out: a second more is asked for. A time with an offset
  or Z is turned into the shop's zone before it meets the GMT column, so times are written bare, with dates_are_gmt.
- An order that changes while the pages are read leaves the window, and all behind it move up. Pages are therefore read
  from the last to the first: then one may come twice, which counts once, but none is missed once the window is over.
- What was deleted stands under status=trash, which status=any leaves out. Trash that was emptied is never told.
- An order tells its refunds one by one: `refund_total` beside it is their sum, as a positive amount.
  Which lines were sent back is not read.
- Customers know no filter by date: they are read whole. A guest has customer_id 0.
- A customer's number is small, and other systems count from 1 too: `login` is the number behind `woocommerce:`. To
  join what a tracker calls by the same number, give its pick the same prefix.
- Lines are without tax and after discounts, the order's total is with both and with shipping.

Not verified against a live shop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Told, Window

API = "/wp-json/wc/v3"
PAGE = 100


def read_changed(line: Line, window: Window, path: str) -> Iterator[Sequence[bytes]]:
    """What was modified in the window, then what was put in the trash in it."""
    for status in ("any", "trash"):
        asked = {
            "status": status,
            "modified_after": _bare(window.start - timedelta(seconds=1)),
            "modified_before": _bare(window.end),
            "dates_are_gmt": "true",
        }
        yield from _pages(line, path, asked)


def read_orders(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Orders changed in the window, each with the sum of its refunds beside it."""
    for records in read_changed(line, window, "/orders"):
        yield [_with_refunds(record) for record in records]


def read_customers(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    """All who have an account, staff among them."""
    yield from _pages(line, "/customers", {"role": "all"})


def _pages(line: Line, path: str, asked: dict[str, str]) -> Iterator[Sequence[bytes]]:
    """The pages from the last to the first; the first comes again at the end, since it may have filled up meanwhile."""

    def page(number: int) -> Told:
        ordered = {"orderby": "id", "order": "asc", "per_page": str(PAGE), "page": str(number)}
        return line.ask(Ask(path=f"{API}{path}", records="", params={**asked, **ordered}))

    first = page(1)
    said = first.headers.get("x-wp-totalpages", "")
    if not said.isdecimal():
        raise SourceError(
            f"woocommerce{path}: the answer lacks the header X-WP-TotalPages, so pages may be missing; "
            "look for a cache or firewall before the shop that removes it"
        )
    seen: set[str] = set()
    yield _new(first.records, seen)
    for number in range(int(said), 0, -1) if int(said) > 1 else ():
        yield _new(page(number).records, seen)


def _new(records: Sequence[bytes], seen: set[str]) -> list[bytes]:
    """The records that did not come before on this walk."""
    new = []
    for record in records:
        held = json.loads(record)
        ident = str(held.get("id", "")) if isinstance(held, dict) else ""
        if not ident or ident not in seen:
            new.append(record)
        seen.add(ident)
    return new


def _with_refunds(record: bytes) -> bytes:
    """The order to the byte, with the sum of its refunds; unknown (null) where one of them is no number."""
    held = json.loads(record)
    refunds = held.get("refunds") if isinstance(held, dict) else None
    try:
        total = f'"{-sum((Decimal(str(refund["total"])) for refund in refunds or ()), Decimal(0)) + 0}"'
    except (InvalidOperation, KeyError, TypeError):
        total = "null"
    return b'{"refund_total":' + total.encode() + b',"order":' + record + b"}"


def _bare(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


# WooCommerce's words for the state of an order, in ours; where it was paid, the amounts tell if some was given back.
STATUS = {
    "pending": "open",
    "on-hold": "open",
    "processing": "",
    "completed": "",
    "failed": "cancelled",
    "cancelled": "cancelled",
}
_TRASHED = {"trash": "true"}
_GUEST = {"0": ""}
# Every shop counts its people from 1, and so do other systems: as it stands the number would join strangers.
_OWN = "woocommerce:"


def _attribution(name: str) -> Pick:
    return Pick(f"order.meta_data[key=_wc_order_attribution_{name}].value")


ORDERS = Stream(
    name="orders",
    kind=Kind.ENTITY,
    request=Own(read_orders, trims=True),
    id=("order.id",),
    at=Pick("order.date_modified_gmt", "timestamp"),
    cursor=Pick("order.date_modified_gmt", "timestamp"),
    deleted=Pick("order.status", values=_TRASHED),
    feeds=(
        Feed(
            subject="orders",
            fields={
                "order_id": Pick("order.id"),
                "ordered_at": Pick("order.date_created_gmt", "timestamp"),
                "order_status": Pick("order.status", values=STATUS),
                "currency": Pick("order.currency"),
                "gross_amount": Pick("order.total", "number"),
                "refund_amount": Pick("refund_total", "number"),
                "discount_amount": Pick("order.discount_total", "number"),
                "coupon_code": Pick("order.coupon_lines[0].code"),
                "email": Pick("order.billing.email"),
                "phone": Pick("order.billing.phone"),
                "login": Pick("order.customer_id", values=_GUEST, prefix=_OWN),
                "utm_source": _attribution("utm_source"),
                "utm_medium": _attribution("utm_medium"),
                "utm_campaign": _attribution("utm_campaign"),
            },
            unless={"order.status": ("checkout-draft", "auto-draft")},
        ),
        Feed(
            subject="order_lines",
            explode="order.line_items",
            fields={
                "order_line_id": Pick("id"),
                "order_id": Pick("^order.id"),
                "ordered_at": Pick("^order.date_created_gmt", "timestamp"),
                "product_id": Pick("product_id"),
                "product_name": Pick("name"),
                "quantity": Pick("quantity", "number"),
                "unit_price_amount": Pick("price", "number"),
                "line_amount": Pick("total", "number"),
                "currency": Pick("^order.currency"),
                "email": Pick("^order.billing.email"),
                "phone": Pick("^order.billing.phone"),
                "login": Pick("^order.customer_id", values=_GUEST, prefix=_OWN),
            },
            unless={"^order.status": ("checkout-draft", "auto-draft")},
        ),
    ),
)

CUSTOMERS = Stream(
    name="customers",
    kind=Kind.SNAPSHOT,
    request=Own(read_customers),
    id=("id",),
    feeds=(
        Feed(
            subject="person_records",
            fields={
                "login": Pick("id", prefix=_OWN),
                "email": Pick("email"),
                "phone": Pick("billing.phone"),
                "given_name": Pick("first_name"),
                "family_name": Pick("last_name"),
                "street": Pick("billing.address_1"),
                "postal_code": Pick("billing.postcode"),
                "city": Pick("billing.city"),
                "region": Pick("billing.state"),
                "country": Pick("billing.country"),
                "company": Pick("billing.company"),
                "created_at": Pick("date_created_gmt", "timestamp"),
                "updated_at": Pick("date_modified_gmt", "timestamp"),
            },
            unless={"role": ("administrator", "shop_manager", "editor", "author", "contributor")},
        ),
    ),
)

PRODUCTS = Stream(
    name="products",
    kind=Kind.ENTITY,
    request=Own(partial(read_changed, path="/products"), trims=True),
    id=("id",),
    at=Pick("date_modified_gmt", "timestamp"),
    cursor=Pick("date_modified_gmt", "timestamp"),
    deleted=Pick("status", values=_TRASHED),
    feeds=(
        Feed(
            subject="products",
            fields={
                "product_id": Pick("id"),
                "product_name": Pick("name"),
                "brand": Pick("brands[0].name"),
                "category": Pick("categories[0].name"),
            },
        ),
    ),
)

SOURCE = Source(
    name="woocommerce",
    title="WooCommerce",
    auth=Auth(scheme="basic"),
    # WooCommerce sets no limit; the shop's own server answers, beside its customers.
    limits=Limits(requests=5, seconds=1.0, concurrency=1),
    errors="woocommerce",
    streams=(ORDERS, CUSTOMERS, PRODUCTS),
)
