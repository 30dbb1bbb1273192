"""Shopify: orders with their lines and refunds, account holders, products, and which of them were destroyed.

API: Admin GraphQL 2026-10, https://shopify.dev/docs/api/admin-graphql, by bulk operations; `base_url` is your shop
(https://NAME.myshopify.com). A bulk operation costs no query points and knows no pages, within an order neither, so a
day and ten years are asked for alike: it is run, looked at until it is done, and its file of JSON lines fetched, which
stands on Google's storage and gets no secret. Three requests are more than a small window would need by pages; in
return a record has one shape, whichever way it was read.

- A line is one object. Those of a list within (an order's lines) name their `__parentId`, in any order; they are put
  back here, to the byte. `objectCount` says whether the file is whole, and a `url` of null that nothing was found.
- So many operations a shop runs at once, one until 2025-10: another one is a quota, and waited for.
- What is wrong stands in `userErrors` or `errors` of an answer 200; a failed operation may have `partialDataUrl`, which
  is not taken for the whole. A file larger than an answer may be is asked for in halves of its window.
- Money is taken in the currency the buyer saw (`presentmentMoney`), since that is what was charged.
- Deletes are told by the events endpoint (Admin REST, verb=destroy), of orders and products only: that a customer was
  deleted is told to webhooks alone. Orders of more than 60 days ago are left out, without a word, unless the app has
  the scope read_all_orders.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Http, Kind, Limits, Line, Own, Paging, Pick, Source, Stream, Window

API = "/admin/api/2026-10"
#: Seconds between two looks at an operation: short ones first, since most windows are small.
LOOKS = (1.0, 2.0, 4.0, 8.0, 15.0, *[30.0] * 480)
_UNDER_WAY = frozenset({"CREATED", "RUNNING", "CANCELING"})

# --- what is asked for ------------------------------------------------------------------------------------------------

_MONEY = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
ORDER = f"""
  id legacyResourceId name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test email phone sourceName
  displayFinancialStatus displayFulfillmentStatus currencyCode presentmentCurrencyCode discountCodes
  totalPriceSet {_MONEY} currentTotalPriceSet {_MONEY} totalDiscountsSet {_MONEY} totalRefundedSet {_MONEY}
  customAttributes {{ key value }} customer {{ legacyResourceId }}
  refunds {{ legacyResourceId createdAt totalRefundedSet {_MONEY} }}
  lineItems {{ edges {{ node {{
    id title sku vendor quantity product {{ legacyResourceId }} variant {{ legacyResourceId }}
    originalUnitPriceSet {_MONEY} discountAllocations {{ allocatedAmountSet {_MONEY} }}
  }} }} }}
"""
CUSTOMER = """
  id legacyResourceId createdAt updatedAt firstName lastName locale state
  defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber }
  defaultAddress { address1 zip city province countryCodeV2 company }
"""
PRODUCT = "id legacyResourceId createdAt updatedAt title vendor productType status"

RUN = """
mutation ($query: String!) {
  bulkOperationRunQuery(query: $query) { bulkOperation { id status } userErrors { field message code } }
}
"""
LOOK = """
query ($id: ID!) {
  node(id: $id) { ... on BulkOperation { id status errorCode objectCount fileSize url partialDataUrl } }
}
"""


def query_of(things: str, fields: str, window: Window) -> str:
    """The things updated in the window, half open."""
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (window.start, window.end))
    between = f"updated_at:>='{start}' AND updated_at:<'{end}'"
    return f'{{ {things}(query: "{between}") {{ edges {{ node {{ {fields} }} }} }} }}'


# --- a bulk operation -------------------------------------------------------------------------------------------------


def read(line: Line, window: Window, *, things: str, fields: str, within: str = "") -> Iterator[Sequence[bytes]]:
    """The things updated in the window in one page, those of the list `within` put back into theirs."""
    asked = {"query": RUN, "variables": {"query": query_of(things, fields, window)}}
    told = json.loads(line.ask(Ask(f"{API}/graphql.json", method="POST", json=asked)).body)
    operation = finished(line, told["data"]["bulkOperationRunQuery"]["bulkOperation"]["id"])
    if not operation["url"]:
        return
    lines = line.ask(Ask(operation["url"], headers={"Accept": "*/*"})).body.splitlines()
    if len(lines) != int(operation["objectCount"]):
        raise SourceError(
            f"shopify {things}: the file holds {len(lines)} objects, the operation says {operation['objectCount']}; "
            "nothing was written; run the window again"
        )
    yield put_together(lines, within)


def finished(line: Line, number: str) -> dict[str, str]:
    """The operation, once it is complete. Raises: SourceError when it ends otherwise, or not within four hours."""
    looked = {"query": LOOK, "variables": {"id": number}}
    for pause in LOOKS:
        told = json.loads(line.ask(Ask(f"{API}/graphql.json", method="POST", json=looked)).body)
        operation: dict[str, str] = told["data"]["node"] or {"status": "NOT_FOUND"}
        if operation["status"] == "COMPLETED":
            return operation
        if operation["status"] not in _UNDER_WAY:
            part = "a part of it is there, which is not taken for the whole" if operation.get("partialDataUrl") else ""
            raise SourceError(
                f"shopify: the bulk operation ended as {operation['status']} "
                f"({', '.join(filter(None, (operation.get('errorCode'), part))) or 'no reason given'}); "
                "nothing was written; run the window again"
            )
        line.wait(pause)
    raise SourceError(f"shopify: a bulk operation took longer than {sum(LOOKS) / 3600:.0f} hours")


def put_together(lines: Sequence[bytes], within: str) -> list[bytes]:
    """The objects that have no parent, each with its children in `within`; all to the byte, in the file's order.

    Raises: SourceError when a line is no object, or a child's parent is not in the file.
    """
    owners: dict[str, list[bytes]] = {}
    children: list[tuple[str, bytes]] = []
    found: list[tuple[bytes, list[bytes]]] = []
    for each in lines:
        try:
            told = json.loads(each)
            parent = told.get("__parentId")
        except (ValueError, AttributeError):
            raise SourceError("shopify: a line of the file is no JSON object; run the window again") from None
        if parent:
            children.append((parent, each))
        else:
            found.append((each.strip(), owners.setdefault(told.get("id"), [])))
    for parent, child in children:
        if parent not in owners:
            raise SourceError("shopify: a line of the file names a parent that is not there; run the window again")
        owners[parent].append(child.strip())
    if not within:
        return [each for each, _ in found]
    return [each[:-1] + b', "%s": [%s]}' % (within.encode(), b", ".join(inner)) for each, inner in found]


# --- the streams ------------------------------------------------------------------------------------------------------


def updated(things: str, fields: str, *feeds: Feed, within: str = "") -> Stream:
    """The things of one kind as they are updated."""
    return Stream(
        name=things,
        kind=Kind.ENTITY,
        request=Own(partial(read, things=things, fields=fields, within=within)),
        id=("legacyResourceId",),
        at=Pick("updatedAt", "timestamp"),
        cursor=Pick("updatedAt", "timestamp"),
        feeds=feeds,
    )


def destroyed(of: str, subject: str, *feeds: Feed) -> Stream:
    """Those destroyed in the window, as tombstones of the stream `of`. `created_at_max` may include its moment."""
    return Stream(
        name=f"{of}_destroyed",
        kind=Kind.ENTITY,
        request=Http(
            path=f"{API}/events.json",
            records="events",
            params={
                "filter": subject,
                "verb": "destroy",
                "created_at_min": "{start_iso}",
                "created_at_max": "{end_iso}",
            },
            paging=Paging(style="link", size_param="limit", size=250),
            trims=True,
        ),
        id=("subject_id",),
        at=Pick("created_at", "timestamp"),
        cursor=Pick("created_at", "timestamp"),
        # Nothing else is asked for.
        deleted=Pick(const="true"),
        feeds=feeds,
        speaks_for=of,
    )


# Shopify's words for the state of the money, in ours.
STATUS = {
    "PENDING": "open",
    "AUTHORIZED": "open",
    "PARTIALLY_PAID": "open",
    "PAID": "paid",
    "PARTIALLY_REFUNDED": "partially_refunded",
    "REFUNDED": "refunded",
    "VOIDED": "cancelled",
    "EXPIRED": "cancelled",
}


def _charged(name: str) -> Pick:
    return Pick(f"{name}.presentmentMoney.amount", "number")


def _attribute(name: str, *, of_record: bool = False) -> Pick:
    return Pick(f"{'^' if of_record else ''}customAttributes[key={name}].value")


_ORDER = Feed(
    subject="orders",
    fields={
        "order_id": Pick("legacyResourceId"),
        "ordered_at": Pick("processedAt", "timestamp"),
        "order_status": Pick("displayFinancialStatus", values=STATUS),
        "currency": Pick("totalPriceSet.presentmentMoney.currencyCode"),
        "gross_amount": _charged("totalPriceSet"),
        "net_amount": _charged("currentTotalPriceSet"),
        "discount_amount": _charged("totalDiscountsSet"),
        "coupon_code": Pick("discountCodes[0]"),
        "email": Pick("email"),
        "phone": Pick("phone"),
        "login": Pick("customer.legacyResourceId"),
        "card": _attribute("loyalty_card"),
        "utm_source": _attribute("utm_source"),
        "utm_medium": _attribute("utm_medium"),
        "utm_campaign": _attribute("utm_campaign"),
    },
    unless={"test": ("true",)},
)
_LINES = Feed(
    subject="order_lines",
    explode="lineItems",
    fields={
        "order_line_id": Pick("id"),
        "order_id": Pick("^legacyResourceId"),
        "ordered_at": Pick("^processedAt", "timestamp"),
        "product_id": Pick("product.legacyResourceId"),
        "product_name": Pick("title"),
        "quantity": Pick("quantity", "number"),
        "unit_price_amount": _charged("originalUnitPriceSet"),
        "discount_amount": _charged("discountAllocations[0].allocatedAmountSet"),
        "currency": Pick("originalUnitPriceSet.presentmentMoney.currencyCode"),
        "email": Pick("^email"),
        "login": Pick("^customer.legacyResourceId"),
        "card": _attribute("loyalty_card", of_record=True),
    },
    unless={"^test": ("true",)},
)
_PERSON = Feed(
    subject="person_records",
    fields={
        "login": Pick("legacyResourceId"),
        "email": Pick("defaultEmailAddress.emailAddress"),
        "phone": Pick("defaultPhoneNumber.phoneNumber"),
        "given_name": Pick("firstName"),
        "family_name": Pick("lastName"),
        "street": Pick("defaultAddress.address1"),
        "postal_code": Pick("defaultAddress.zip"),
        "city": Pick("defaultAddress.city"),
        "region": Pick("defaultAddress.province"),
        "country": Pick("defaultAddress.countryCodeV2"),
        "language": Pick("locale"),
        "company": Pick("defaultAddress.company"),
        "created_at": Pick("createdAt", "timestamp"),
        "updated_at": Pick("updatedAt", "timestamp"),
    },
)
_PRODUCT = Feed(
    subject="products",
    fields={
        "product_id": Pick("legacyResourceId"),
        "product_name": Pick("title"),
        "brand": Pick("vendor"),
        "category": Pick("productType"),
    },
)

ORDERS = updated("orders", ORDER, _ORDER, _LINES, within="lineItems")
CUSTOMERS = updated("customers", CUSTOMER, _PERSON)
PRODUCTS = updated("products", PRODUCT, _PRODUCT)
ORDERS_DESTROYED = destroyed("orders", "Order", _ORDER, _LINES)
PRODUCTS_DESTROYED = destroyed(
    "products", "Product", Feed(subject="products", fields={"product_id": Pick("subject_id")})
)

SOURCE = Source(
    name="shopify",
    title="Shopify",
    auth=Auth(scheme="header", header="X-Shopify-Access-Token"),
    # A bucket of 40 that leaks 2 a second.
    limits=Limits(requests=40, seconds=20.0, concurrency=1),
    errors="shopify",
    files_from=("storage.googleapis.com",),
    streams=(ORDERS, CUSTOMERS, PRODUCTS, ORDERS_DESTROYED, PRODUCTS_DESTROYED),
)
