"""Stripe: customers, charges and refunds, and what became of them since.

API: https://docs.stripe.com/api, version 2025-08-27.basil, named in every request. Quirks:

- Lists are newest first and know `created` only, which never changes. What changed is told by /v1/events, kept for 30
  days: the streams `*_changes`, whose records are versions of the list's. An event's object has the shape of the
  version the account had when it happened.
- A gap of more than 30 days loses changes: reading `customers` again brings their state of now, but ranks it by
  `created`, below any event of before the gap.
- Amounts are in a currency's smallest unit: hundredths, whole units for `WHOLE`, thousandths for `THOUSANDTHS`. The
  last, and UGX, of which Stripe's page says both, feed no orders and stay in bronze.
- An order is a charge that succeeded and was captured; a part that was never captured counts as refunded (not
  verified against the live API). A shop that takes payment by Stripe tells the same sales as its own orders: declare
  one of the two.
- The key needs to read customers, charges and refunds, and events.

Not verified against the live API.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

VERSION = {"Stripe-Version": "2025-08-27.basil"}
_CREATED = {"created[gte]": "{start_s}", "created[lt]": "{end_s}"}
_PAGES = Paging(
    style="starting_after", param="starting_after", key="id", more_at="has_more", size_param="limit", size=100
)

# https://docs.stripe.com/currencies, "Zero-decimal currencies", "Three-decimal currencies", "Special cases".
WHOLE = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"),
)
THOUSANDTHS = ("bhd", "jod", "kwd", "omr", "tnd")
CONTRADICTED = ("ugx",)


def _listed(path: str) -> Http:
    return Http(path=path, records="data", params=_CREATED, headers=VERSION, paging=_PAGES)


def _told(*types: str) -> Http:
    """Events of some types; a bare `charge.*` would bring disputes too."""
    asked = {f"types[{at}]": name for at, name in enumerate(types)}
    return Http(path="/v1/events", records="data", params={**asked, **_CREATED}, headers=VERSION, paging=_PAGES)


def _persons(at: str, updated: str) -> Feed:
    """The feed of customers that stand at `at`; `updated` is the path of the time they stood so."""
    return Feed(
        subject="person_records",
        fields={
            "login": Pick(f"{at}id"),
            "email": Pick(f"{at}email"),
            "phone": Pick(f"{at}phone"),
            "full_name": Pick(f"{at}name"),
            "street": Pick(f"{at}address.line1"),
            "postal_code": Pick(f"{at}address.postal_code"),
            "city": Pick(f"{at}address.city"),
            "region": Pick(f"{at}address.state"),
            "country": Pick(f"{at}address.country"),
            "language": Pick(f"{at}preferred_locales[0]"),
            "created_at": Pick(f"{at}created", "epoch_s"),
            "updated_at": Pick(updated, "epoch_s"),
        },
    )


def _orders(at: str) -> tuple[Feed, Feed]:
    """The feeds of charges that stand at `at`: those in hundredths, and those in whole units."""

    def feed(written: str, where: dict[str, tuple[str, ...]], unless: dict[str, tuple[str, ...]]) -> Feed:
        return Feed(
            subject="orders",
            fields={
                "order_id": Pick(f"{at}id"),
                "ordered_at": Pick(f"{at}created", "epoch_s"),
                "currency": Pick(f"{at}currency"),
                "gross_amount": Pick(f"{at}amount", written),
                "refund_amount": Pick(f"{at}amount_refunded", written),
                "email": Pick(f"{at}billing_details.email"),
                "phone": Pick(f"{at}billing_details.phone"),
                "login": Pick(f"{at}customer"),
            },
            where={f"{at}status": ("succeeded",), f"{at}captured": ("true",), **where},
            unless=unless,
        )

    currency = f"{at}currency"
    return (
        feed("minor", {}, {currency: (*WHOLE, *THOUSANDTHS, *CONTRADICTED)}),
        feed("number", {currency: WHOLE}, {}),
    )


def _changes(of: str, *types: str, feeds: tuple[Feed, ...] = (), deleted: Pick | None = None) -> Stream:
    """What events tell of the stream `of`: each a version of one of its records, as it stood then."""
    return Stream(
        name=f"{of.removesuffix('s')}_changes",
        kind=Kind.ENTITY,
        request=_told(*types),
        id=("data.object.id",),
        at=Pick("created", "epoch_s"),
        cursor=Pick("created", "epoch_s"),
        deleted=deleted,
        max_age_days=30,
        feeds=feeds,
        speaks_for=of,
    )


CUSTOMERS = Stream(
    name="customers",
    kind=Kind.ENTITY,
    request=_listed("/v1/customers"),
    id=("id",),
    at=Pick("created", "epoch_s"),
    cursor=Pick("created", "epoch_s"),
    feeds=(_persons("", "created"),),
)

CUSTOMER_CHANGES = _changes(
    "customers",
    "customer.created",
    "customer.updated",
    "customer.deleted",
    feeds=(_persons("data.object.", "created"),),
    deleted=Pick("type", values={"customer.deleted": "true"}),
)

CHARGES = Stream(
    name="charges",
    kind=Kind.EVENTS,
    request=_listed("/v1/charges"),
    id=("id",),
    at=Pick("created", "epoch_s"),
    feeds=_orders(""),
)

CHARGE_CHANGES = _changes(
    "charges",
    "charge.captured",
    "charge.expired",
    "charge.failed",
    "charge.refunded",
    "charge.succeeded",
    "charge.updated",
    feeds=_orders("data.object."),
)

REFUNDS = Stream(
    name="refunds",
    kind=Kind.EVENTS,
    request=_listed("/v1/refunds"),
    id=("id",),
    at=Pick("created", "epoch_s"),
)

REFUND_CHANGES = _changes("refunds", "refund.created", "refund.failed", "refund.updated")

SOURCE = Source(
    name="stripe",
    title="Stripe",
    base_url="https://api.stripe.com",
    auth=Auth(scheme="bearer"),
    # A sandbox's 25 a second; a live account may ask 100.
    limits=Limits(requests=25, seconds=1.0, concurrency=2),
    errors="stripe",
    streams=(CUSTOMERS, CUSTOMER_CHANGES, CHARGES, CHARGE_CHANGES, REFUNDS, REFUND_CHANGES),
)
