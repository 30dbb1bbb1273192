"""Orders of the fictional shop: lines, coupons, refunds, currencies, guests; and their versions as Shopify tells them.

Amounts are integer cents. `eur` is shop money, `own` is what the buyer paid in (presentment money), converted at the
last reference rate published on or before the order's day.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from etl.demo.names import GOODS
from etl.demo.people import Person, spelled
from etl.demo.records import DAY_MS, EPOCH, Truth, Version, iso_offset

COUPONS = {"WINTER10": 10, "FREUNDE15": 15, "NEU5": 5}


@dataclass(frozen=True, slots=True)
class Product:
    """One product with its one variant."""

    id: int
    variant_id: int
    title: str
    brand: str
    category: str
    cents: int
    sku: str


@dataclass(slots=True)
class Line:
    """One line in cents after the line's discount share: `eur`, `own`; `pieces` of `product`."""

    id: int
    product: Product
    pieces: int
    own_price: int
    own_discount: int
    eur_price: int
    eur_discount: int


@dataclass(slots=True)
class Order:
    """One order. `utm` is (source, medium, campaign) of the visit that made it, empty strings without."""

    id: int
    number: int
    person: Person
    at: int
    currency: str
    rate: float
    is_guest: bool
    email: str
    coupon: str
    utm: tuple[str, str, str]
    lines: list[Line] = field(default_factory=list)
    refund_at: int | None = None
    refund_lines: int = 0  # how many of the lines go back; all of them: a full refund
    cancelled_at: int | None = None

    @property
    def own_gross(self) -> int:
        """What was charged, in the buyer's cents."""
        return sum(line.own_price * line.pieces - line.own_discount for line in self.lines)

    @property
    def eur_gross(self) -> int:
        """What was charged, in euro cents."""
        return sum(line.eur_price * line.pieces - line.eur_discount for line in self.lines)

    def refunded(self) -> tuple[int, int]:
        """What goes back in the end: (buyer's cents, euro cents)."""
        if self.cancelled_at is not None:
            return self.own_gross, self.eur_gross
        back = self.lines[: self.refund_lines] if self.refund_at is not None else []
        return (
            sum(line.own_price * line.pieces - line.own_discount for line in back),
            sum(line.eur_price * line.pieces - line.eur_discount for line in back),
        )


class Rates:
    """Reference rates by day; a day without one takes the last before it."""

    def __init__(self, rates: list[tuple[date, str, float]]) -> None:
        self._days: dict[str, list[date]] = {}
        self._values: dict[str, list[float]] = {}
        for day, currency, rate in rates:
            self._days.setdefault(currency, []).append(day)
            self._values.setdefault(currency, []).append(rate)

    def on(self, day: date, currency: str) -> float:
        """Units of `currency` for one euro."""
        if currency == "EUR":
            return 1.0
        return self._values[currency][max(bisect_right(self._days[currency], day) - 1, 0)]


def build_products() -> tuple[Product, ...]:
    """The catalogue, in the order of `GOODS`."""
    products: list[Product] = []
    for category, brand, goods in GOODS:
        for title, price in goods:
            number = len(products) + 1
            products.append(
                Product(
                    8_100_000_000_000 + number * 101,
                    44_100_000_000_000 + number * 103,
                    title,
                    brand,
                    category,
                    round(price * 100),
                    f"NL-{number:04d}",
                )
            )
    return tuple(products)


class Till:
    """Rings up orders one after the other, numbering them as the shop does."""

    def __init__(self, rng: Random, products: tuple[Product, ...], rates: Rates, end: int) -> None:
        self._rng, self._products, self._rates, self._end = rng, products, rates, end
        self.orders: list[Order] = []

    def ring_up(self, person: Person, at: int, utm: tuple[str, str, str]) -> Order:
        """One order of `person` at `at`, refunded or cancelled later now and then."""
        rng, number = self._rng, 1001 + len(self.orders)
        currency = person.land.currency
        rate = self._rates.on((EPOCH + timedelta(milliseconds=at)).date(), currency)
        is_guest = not person.login or rng.random() < 0.08
        email = spelled(rng, person).email.strip() or person.email
        coupon = rng.choice(tuple(COUPONS)) if rng.random() < 0.18 else ""
        order = Order(
            5_900_000_000_000 + number * 32_768, number, person, at, currency, rate, is_guest, email, coupon, utm
        )
        percent = COUPONS.get(coupon, 0)
        for place in range(1 + (rng.random() < 0.45) + (rng.random() < 0.2) + (rng.random() < 0.1)):
            product = rng.choice(self._products)
            pieces = 1 if rng.random() < 0.8 else 2
            own_price = round(product.cents * rate)
            order.lines.append(
                Line(
                    id=order.id * 8 + place,
                    product=product,
                    pieces=pieces,
                    own_price=own_price,
                    own_discount=own_price * pieces * percent // 100,
                    eur_price=product.cents,
                    eur_discount=product.cents * pieces * percent // 100,
                )
            )
        roll = rng.random()
        later = at + DAY_MS + int(rng.random() * 12 * DAY_MS)
        if roll < 0.07 and later < self._end:
            order.refund_at = later
            order.refund_lines = len(order.lines) if rng.random() < 0.5 else 1
        elif roll < 0.085 and at + 7_200_000 < self._end:
            order.cancelled_at = at + 3_600_000
        self.orders.append(order)
        return order


def order_versions(orders: list[Order], truth: Truth, end: int) -> list[Version]:
    """Every order as the shop told it over time: placed, fulfilled the next day, refunded or cancelled later."""
    versions: list[Version] = []
    for order in orders:
        truth.link("shopify", "orders", str(order.id), order.person.person_id)
        moments = [order.at]
        if order.cancelled_at is not None:
            moments.append(order.cancelled_at)
        else:
            moments.extend(at for at in (order.at + DAY_MS - 7_000_000, order.refund_at) if at is not None)
        versions.extend(Version(str(order.id), at, order_payload(order, at)) for at in moments if at < end)
    return _with_broken_orders(versions, truth)


def product_versions(products: tuple[Product, ...], start: int) -> list[Version]:
    """The catalogue as Shopify lists it; all products were last touched on the first day."""
    versions = []
    for place, product in enumerate(products):
        at = start + place * 1000
        variant = {
            "id": product.variant_id, "product_id": product.id, "title": "Default Title",
            "price": _euros(product.cents), "sku": product.sku, "position": 1,
            "created_at": iso_offset(start - 90 * DAY_MS), "updated_at": iso_offset(at), "inventory_quantity": 100,
        }  # fmt: skip
        payload = {
            "id": product.id, "title": product.title, "body_html": f"<p>{product.title}</p>", "vendor": product.brand,
            "product_type": product.category, "created_at": iso_offset(start - 90 * DAY_MS),
            "handle": product.sku.lower(), "updated_at": iso_offset(at),
            "published_at": iso_offset(start - 90 * DAY_MS),
            "status": "active", "tags": product.category.lower(), "variants": [variant], "options": [], "images": [],
            "image": None, "admin_graphql_api_id": f"gid://shopify/Product/{product.id}",
        }  # fmt: skip
        versions.append(Version(str(product.id), at, payload))
    return versions


def customer_versions(orders: list[Order], truth: Truth) -> list[Version]:
    """The shop's account holders who ordered: first version at their first order, then at each further one."""
    versions: list[Version] = []
    spent: dict[str, tuple[int, int]] = {}
    first_email: dict[str, str] = {}
    for order in sorted(orders, key=lambda order: (order.at, order.id)):
        if order.is_guest:
            continue
        login, person = order.person.login, order.person
        count, cents = spent.get(login, (0, 0))
        if not count:
            truth.link("shopify", "customers", login, person.person_id)
            first_email[login] = order.email
        spent[login] = (count + 1, cents + order.eur_gross)
        payload = {
            **_customer(order, first_email[login]),
            "orders_count": count + 1,
            "total_spent": _euros(cents + order.eur_gross),
            "updated_at": iso_offset(order.at),
            "default_address": _address(person),
        }
        versions.append(Version(login, order.at, payload))
    return versions


def order_payload(order: Order, at: int) -> dict[str, Any]:
    """The order as the REST Admin API gave it at `at`. Sums follow Shopify: `total_price` never changes, refunds
    stand in `refunds`, and `current_total_price` is what is left.
    """
    person, is_cancelled = order.person, order.cancelled_at is not None and at >= order.cancelled_at
    is_refunded = order.refund_at is not None and at >= order.refund_at
    own_back, eur_back = order.refunded() if is_cancelled or is_refunded else (0, 0)
    own, eur, code = order.own_gross, order.eur_gross, order.currency
    own_discount = sum(line.own_discount for line in order.lines)
    eur_discount = sum(line.eur_discount for line in order.lines)
    status = "paid" if not eur_back else "refunded" if own_back == own else "partially_refunded"
    refunds = []
    if eur_back:
        back_at = order.cancelled_at if is_cancelled else order.refund_at
        assert back_at is not None
        refunds.append(_refund(order, back_at, own_back, eur_back, all_lines=is_cancelled))
    attributes = [
        {"name": name, "value": value}
        for name, value in zip(("utm_source", "utm_medium", "utm_campaign"), order.utm, strict=True)
        if value
    ]
    if person.card and order.number % 3 == 0:
        attributes.append({"name": "loyalty_card", "value": person.card})
    coupon = {"code": order.coupon, "amount": _euros(eur_discount), "type": "percentage"}
    source, medium, campaign = order.utm
    query = f"?utm_source={source}&utm_medium={medium}&utm_campaign={campaign}" if source else ""
    return {
        "id": order.id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order.id}",
        "name": f"#{order.number}",
        "order_number": order.number,
        "number": order.number - 1000,
        "email": order.email,
        "contact_email": order.email,
        "phone": person.mobile if order.number % 4 == 0 else None,
        "created_at": iso_offset(order.at),
        "processed_at": iso_offset(order.at),
        "updated_at": iso_offset(at),
        "cancelled_at": iso_offset(order.cancelled_at) if is_cancelled and order.cancelled_at is not None else None,
        "cancel_reason": "customer" if is_cancelled else None,
        "closed_at": None,
        "currency": "EUR",
        "presentment_currency": code,
        "financial_status": status,
        "fulfillment_status": None if is_cancelled or at < order.at + DAY_MS - 7_000_000 else "fulfilled",
        "subtotal_price": _euros(eur),
        "subtotal_price_set": _money(eur, own, code),
        "total_line_items_price": _euros(eur + eur_discount),
        "total_discounts": _euros(eur_discount),
        "total_discounts_set": _money(eur_discount, own_discount, code),
        "total_tax": "0.00",
        "total_price": _euros(eur),
        "total_price_set": _money(eur, own, code),
        "current_total_price": _euros(eur - eur_back),
        "current_total_price_set": _money(eur - eur_back, own - own_back, code),
        "taxes_included": True,
        "test": False,
        "source_name": "web",
        "landing_site": f"/{query}",
        "referring_site": "",
        "note_attributes": attributes,
        "discount_codes": [coupon] if order.coupon else [],
        "customer": None if order.is_guest else _customer(order, order.email),
        "billing_address": _address(person),
        "shipping_address": _address(person),
        "line_items": [_line_item(line, code) for line in order.lines],
        "refunds": refunds,
    }  # fmt: skip


def _euros(cents: int) -> str:
    return f"{cents / 100:.2f}"


def _money(eur: int, own: int, code: str) -> dict[str, dict[str, str]]:
    return {
        "shop_money": {"amount": _euros(eur), "currency_code": "EUR"},
        "presentment_money": {"amount": _euros(own), "currency_code": code},
    }


def _customer(order: Order, email: str) -> dict[str, Any]:
    person = order.person
    return {
        "id": int(person.login),
        "email": email,
        "first_name": person.given,
        "last_name": person.family,
        "phone": person.mobile if person.number % 2 else None,
        "state": "enabled",
        "verified_email": True,
        "currency": order.currency,
        "tags": "",
        "created_at": iso_offset(person.joined_at),
        "updated_at": iso_offset(order.at),
        "admin_graphql_api_id": f"gid://shopify/Customer/{person.login}",
    }


def _address(person: Person) -> dict[str, Any]:
    return {
        "first_name": person.given,
        "last_name": person.family,
        "name": f"{person.given} {person.family}",
        "company": person.firm or None,
        "address1": person.street,
        "address2": None,
        "city": person.city,
        "zip": person.postal,
        "province": None,
        "country": person.land.title,
        "country_code": person.land.code,
        "phone": person.mobile if person.number % 3 == 0 else None,
    }


def _line_item(line: Line, code: str) -> dict[str, Any]:
    product = line.product
    discount = _money(line.eur_discount, line.own_discount, code)
    return {
        "id": line.id,
        "product_id": product.id,
        "variant_id": product.variant_id,
        "title": product.title,
        "name": product.title,
        "sku": product.sku,
        "vendor": product.brand,
        "quantity": line.pieces,
        "price": _euros(line.eur_price),
        "price_set": _money(line.eur_price, line.own_price, code),
        "total_discount": "0.00",
        "total_discount_set": _money(0, 0, code),
        "discount_allocations": [
            {"amount": _euros(line.eur_discount), "amount_set": discount, "discount_application_index": 0}
        ]
        if line.eur_discount
        else [],
        "gift_card": False,
        "taxable": True,
        "requires_shipping": True,
    }


def _refund(order: Order, at: int, own: int, eur: int, *, all_lines: bool) -> dict[str, Any]:
    back = order.lines if all_lines else order.lines[: order.refund_lines]
    return {
        "id": order.id + 5,
        "order_id": order.id,
        "created_at": iso_offset(at),
        "processed_at": iso_offset(at),
        "note": None,
        "refund_line_items": [
            {
                "id": line.id + 4,
                "line_item_id": line.id,
                "quantity": line.pieces,
                "restock_type": "return",
                "subtotal": (line.eur_price * line.pieces - line.eur_discount) / 100,
                "subtotal_set": _money(
                    line.eur_price * line.pieces - line.eur_discount,
                    line.own_price * line.pieces - line.own_discount,
                    order.currency,
                ),
            }
            for line in back
        ],
        "transactions": [
            {
                "id": order.id + 7,
                "order_id": order.id,
                "kind": "refund",
                "status": "success",
                "amount": _euros(own),
                "currency": order.currency,
                "amount_set": _money(eur, own, order.currency),
                "created_at": iso_offset(at),
            }
        ],
    }


def _with_broken_orders(versions: list[Version], truth: Truth) -> list[Version]:
    """The same, with a few single-version orders made unreadable."""
    counts: dict[str, int] = {}
    for version in versions:
        counts[version.id] = counts.get(version.id, 0) + 1
    kinds = ["unparsable_amount", "unparsable_amount", "unknown_currency", "unknown_currency", "negative_price",
             "far_future_created_at", "missing_id"]  # fmt: skip
    for place, version in enumerate(versions):
        if not kinds:
            break
        if counts[version.id] > 1 or version.payload is None:
            continue
        kind = kinds.pop(0)
        truth.spoil("shopify", "orders", kind, "" if kind == "missing_id" else version.id)
        versions[place] = Version(version.id, version.at, _broken(dict(version.payload), kind))
    return versions


def _broken(payload: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "unparsable_amount":
        wrong = {"amount": "12,O0", "currency_code": payload["presentment_currency"]}
        payload["total_price"] = "12,O0"
        payload["total_price_set"] = {**payload["total_price_set"], "presentment_money": wrong, "shop_money": wrong}
    elif kind == "unknown_currency":
        wrong = {**payload["total_price_set"]["presentment_money"], "currency_code": "XQX"}
        payload["currency"] = payload["presentment_currency"] = "XQX"
        payload["total_price_set"] = {"shop_money": wrong, "presentment_money": wrong}
    elif kind == "negative_price":
        line = payload["line_items"][0]
        wrong = {"amount": "-49.00", "currency_code": payload["presentment_currency"]}
        broken = {**line, "price": "-49.00", "price_set": {"shop_money": wrong, "presentment_money": wrong}}
        payload["line_items"] = [broken, *payload["line_items"][1:]]
    elif kind == "far_future_created_at":
        payload["created_at"] = payload["processed_at"] = "2099-12-31T00:00:00+00:00"
    else:
        payload["id"] = None
    return payload
