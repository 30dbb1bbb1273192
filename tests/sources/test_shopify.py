"""Shopify: bulk operations from their start to their file on another host, what is wrong in a good answer, and deletes.

No description is at hand to judge by: shapes are the portal's; what is asked for is held against what the demo gives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.connect import Connection
from etl.connect.addresses import Guard
from etl.connect.http import TRIES, HttpClient, Rhythm, open_client
from etl.connect.paging import Request
from etl.demo.bulk import OBJECTS
from etl.demo.company import build_company
from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Auth, Feed, Limits, Table, Window
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS as ORDERS_TABLE
from etl.silver.products import PRODUCTS as PRODUCTS_TABLE
from etl.silver.standardise import picked
from etl.sources import shopify
from etl.sources.shopify import CUSTOMERS, ORDERS, ORDERS_DESTROYED, PRODUCTS, PRODUCTS_DESTROYED, SOURCE
from tests.sources.fed import in_turn
from tests.sources.judges import NOW, Talk, talk
from tests.sources.vendors import landed

SHOP = "https://nordlicht.myshopify.com"
STORE = "storage.googleapis.com"
FILE = f"https://{STORE}/shopify/bulk-1?X-Goog-Signature=0123456789abcdef"
DAY = Window.parse("2026-01-02")
NOON = "2026-01-02T12:00:00Z"


class Shop:
    """A shop whose operations give these lines, after `looks` looks; `ends` is how they end."""

    def __init__(self, *lines: dict[str, Any], **more: Any) -> None:
        self.lines = lines
        self.looks: int = more.get("looks", 0)
        self.ends: dict[str, Any] = {"status": "COMPLETED", "errorCode": None, "partialDataUrl": None}
        self.ends |= more.get("ends", {})
        self.started: list[str] = []
        self.files = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == STORE:
            assert "x-shopify-access-token" not in request.headers
            self.files += 1
            return httpx.Response(200, content=b"".join(json.dumps(line).encode() + b"\n" for line in self.lines))
        assert ("/admin/api/2026-10/graphql.json", "POST") == (request.url.path, request.method)
        assert "secret" == request.headers["x-shopify-access-token"]
        asked = json.loads(request.content)
        if "bulkOperationRunQuery" in asked["query"]:
            self.started.append(asked["variables"]["query"])
            return run({"id": "gid://shopify/BulkOperation/1", "status": "CREATED"})
        assert {"id": "gid://shopify/BulkOperation/1"} == asked["variables"]
        if self.looks:
            self.looks -= 1
            return node(status="RUNNING", objectCount="1", url=None, fileSize=None)
        count = {"objectCount": str(len(self.lines)), "fileSize": "100", "url": FILE if self.lines else None}
        return node(**{**count, **self.ends})


def node(**operation: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": {"node": {"id": "gid://shopify/BulkOperation/1", **operation}}})


def run(operation: dict[str, Any] | None, *errors: dict[str, Any]) -> httpx.Response:
    told = {"bulkOperation": operation, "userErrors": list(errors)}
    return httpx.Response(200, json={"data": {"bulkOperationRunQuery": told}})


def order(number: int, at: str = NOON, **more: Any) -> dict[str, Any]:
    ident = f"gid://shopify/Order/{number}"
    return {"id": ident, "legacyResourceId": str(number), "updatedAt": at, "processedAt": at, **more}


def line(number: int, of: int, **more: Any) -> dict[str, Any]:
    return {"id": f"gid://shopify/LineItem/{number}", **more, "__parentId": f"gid://shopify/Order/{of}"}


def orders(answer: Callable[[httpx.Request], httpx.Response], window: Window = DAY) -> Talk:
    return talk(SOURCE, ORDERS, answer, window=window, base_url=SHOP)


# --- an operation -----------------------------------------------------------------------------------------------------


def test_the_window_stands_half_open_in_the_query() -> None:
    shop = Shop()
    orders(shop)

    assert shop.started[0].startswith(
        """{ orders(query: "updated_at:>='2026-01-02T00:00:00Z' AND updated_at:<'2026-01-03T00:00:00Z'") """
    )


def test_an_operation_is_looked_at_until_it_is_done() -> None:
    kept = orders(Shop(order(1), looks=4))

    assert [1.0, 2.0, 4.0, 8.0] == kept.waited
    assert ["1"] == [one["legacyResourceId"] for one in kept.records]


def test_nothing_found_has_no_file() -> None:
    shop = Shop()

    assert [] == orders(shop).pages
    assert 0 == shop.files


def test_lines_come_back_to_their_order_in_any_order() -> None:
    lines = [line(11, 1), order(2), line(21, 2), order(1), line(12, 1), order(3)]
    found = {
        one["legacyResourceId"]: [each["id"][-2:] for each in one["lineItems"]] for one in orders(Shop(*lines)).records
    }

    assert {"1": ["11", "12"], "2": ["21"], "3": []} == found


@given(st.lists(st.integers(0, 3), max_size=8), st.randoms(use_true_random=False))
def test_no_object_is_lost_or_doubled_however_the_file_is_ordered(counts: list[int], shuffled: Random) -> None:
    parents = [order(number) for number in range(len(counts))]
    children = [line(100 * of + at, of) for of, count in enumerate(counts) for at in range(count)]
    lines = [json.dumps(one).encode() for one in parents + children]
    shuffled.shuffle(lines)
    found = [json.loads(one) for one in shopify.put_together(lines, "lineItems")]

    assert {one["id"]: count for one, count in zip(parents, counts, strict=True)} == {
        one["id"]: len(one["lineItems"]) for one in found
    }
    assert all(each["__parentId"] == one["id"] for one in found for each in one["lineItems"])


def test_objects_are_kept_to_the_byte() -> None:
    told, child = b'{"id":"gid://shopify/Order/1","note": "1.0"}', b'{"id":"l",  "__parentId":"gid://shopify/Order/1"}'

    assert [told[:-1] + b', "lineItems": [' + child + b"]}"] == shopify.put_together([told, child], "lineItems")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([b'{"id": "gid'], "no JSON object"),
        ([b"[]"], "no JSON object"),
        ([b'{"id": "l", "__parentId": "o"}'], "not there"),
    ],
)
def test_a_file_that_cannot_be_put_together_is_an_error(lines: list[bytes], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        shopify.put_together(lines, "lineItems")


def test_a_file_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(SourceError, match="the file holds 1 objects, the operation says 2"):
        orders(Shop(order(1), ends={"objectCount": "2"}))


@pytest.mark.parametrize("status", ["CANCELED", "FAILED", "EXPIRED"])
def test_an_operation_that_ends_badly_says_so_and_its_part_is_not_taken(status: str) -> None:
    shop = Shop(order(1), ends={"status": status, "errorCode": "TIMEOUT", "url": None, "partialDataUrl": FILE})

    with pytest.raises(SourceError, match=rf"ended as {status} \(TIMEOUT, a part of it is there") as caught:
        orders(shop)
    assert 0 == shop.files
    assert "Signature" not in str(caught.value)


def test_an_operation_that_is_gone_is_an_error() -> None:
    shop = Shop()

    def answer(request: httpx.Request) -> httpx.Response:
        return shop(request) if b"RunQuery" in request.content else httpx.Response(200, json={"data": {"node": None}})

    with pytest.raises(SourceError, match="NOT_FOUND"):
        orders(answer)


def test_an_operation_is_not_waited_for_for_ever() -> None:
    with pytest.raises(SourceError, match="longer than 4 hours"):
        orders(Shop(looks=10_000))


BUSY = {
    "field": None,
    "message": "A bulk query operation for this app and shop is already in progress: gid://shopify/BulkOperation/7.",
    "code": "OPERATION_IN_PROGRESS",
}


@pytest.mark.parametrize("code", ["OPERATION_IN_PROGRESS", "LIMIT_REACHED", None])
def test_another_operation_under_way_is_waited_for(code: str | None) -> None:
    kept = orders(in_turn(lambda _: run(None, {**BUSY, "code": code}), Shop(order(1))))

    assert 1 == len(kept.records)
    assert 30.0 <= kept.waited[0] < 32.0


def test_another_operation_for_long_gives_the_slot_back() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return run(None, BUSY)

    with pytest.raises(QuotaExhausted, match="already in progress"):
        orders(answer)
    assert TRIES == len(asked)


def test_a_query_the_shop_does_not_know_is_refused_in_its_words() -> None:
    wrong = {"field": ["query"], "message": "Field 'colour' doesn't exist on type 'Order'", "code": "INVALID"}

    with pytest.raises(SourceError, match="Field 'colour' doesn't exist"):
        orders(lambda _: run(None, wrong))


def test_an_error_in_a_good_answer_is_an_error() -> None:
    denied = {"errors": [{"message": "Access denied for orders field.", "extensions": {"code": "ACCESS_DENIED"}}]}

    with pytest.raises(SourceError, match="Access denied for orders"):
        orders(lambda _: httpx.Response(200, json=denied))


@pytest.mark.parametrize(("code", "waits"), [("THROTTLED", 2.0), ("INTERNAL_SERVER_ERROR", 0.2)])
def test_passing_trouble_in_a_good_answer_passes(code: str, waits: float) -> None:
    trouble = {"errors": [{"message": "later", "extensions": {"code": code}}]}
    kept = orders(in_turn(lambda _: httpx.Response(200, json=trouble), Shop(order(1))))

    assert 1 == len(kept.records)
    assert waits <= kept.waited[0]


def test_a_file_too_large_for_an_answer_is_asked_for_in_halves() -> None:
    """Each half is an operation of its own; no file is begun that would not end."""
    shop = Shop(ends={"fileSize": None})

    def answer(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        is_whole = shop.started and "2026-01-02T00:00:00Z' AND updated_at:<'2026-01-04" in shop.started[-1]
        if b"RunQuery" not in request.content and is_whole:
            return node(status="COMPLETED", objectCount="9", url=FILE, fileSize=str(300 * 1024 * 1024))
        return response

    orders(answer, Window.parse("2026-01-02--2026-01-03"))

    assert ["2026-01-04", "2026-01-03", "2026-01-04"] == [
        re.findall(r"<'([\d-]{10})", asked)[0] for asked in shop.started
    ]
    assert 0 == shop.files


# --- the file's host --------------------------------------------------------------------------------------------------


def files(answer: Callable[[httpx.Request], httpx.Response], url: str, auth: Auth, **how: Any) -> bytes:
    """A file asked for by a client that may have it from the store."""
    connection = Connection(SHOP, "secret")
    with open_client(
        connection, auth=auth, limits=Limits(), dialect="standard", where="shopify.orders", files_from=(STORE,),
        transport=httpx.MockTransport(answer), rhythm=Rhythm(now=lambda: NOW, sleep=lambda _: None), **how,
    ) as client:  # fmt: skip
        return HttpClient.ask(client, Request("GET", url), None)[1]


AUTHS = [Auth(scheme="bearer"), Auth(scheme="query", param="token"), Auth(scheme="basic"),
         Auth(scheme="header", header="X-Key")]  # fmt: skip


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: auth.scheme)
@pytest.mark.parametrize("is_sent_on", [False, True], ids=["asked for", "sent on to"])
def test_a_file_elsewhere_gets_no_secret_in_any_form(auth: Auth, is_sent_on: bool) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != STORE:
            return httpx.Response(302, headers={"location": FILE})
        seen.append(str(request.url) + str(dict(request.headers)))
        return httpx.Response(200, content=b"{}")

    assert b"{}" == files(answer, f"{SHOP}/file" if is_sent_on else FILE, auth)
    assert "secret" not in seen[0]
    assert "c2VjcmV0" not in seen[0]


@pytest.mark.parametrize(
    "url", [f"http://{STORE}/a", f"https://{STORE}:8443/a", f"https://x.{STORE}/a", "https://store.example/a"]
)
def test_a_file_on_any_other_host_is_refused(url: str) -> None:
    with pytest.raises(SourceRefused, match="only its own host is asked"):
        files(lambda _: httpx.Response(200, content=b"{}"), url, AUTHS[0])


def test_a_host_of_files_gets_nothing_posted() -> None:
    connection = Connection(SHOP, "secret")
    with (
        open_client(
            connection, auth=AUTHS[0], limits=Limits(), dialect="standard", where="shopify.orders", files_from=(STORE,),
            transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"{}")),
        ) as client,
        pytest.raises(SourceRefused, match="only its own host is asked"),
    ):  # fmt: skip
        client.ask(Request("POST", FILE, json={}), None)


def test_a_store_that_turns_out_to_be_a_private_address_is_refused() -> None:
    with pytest.raises(SourceRefused, match="private address"):
        Guard("shopify", resolve=lambda *_: ["169.254.169.254"]).allowed(STORE, 443)


# --- what becomes of it -----------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_what_the_demo_shop_gives_and_nothing_else() -> None:
    company = build_company(people=60, days=6)
    told = {"orders": shopify.ORDER, "customers": shopify.CUSTOMER, "products": shopify.PRODUCT}

    def names(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(names, value))
        return set(value).union(*map(names, value.values())) if isinstance(value, dict) else set()

    for things, fields in told.items():
        payloads = [version.payload for version in company.records["shopify", things] if version.payload]
        given = names([one for payload in payloads for one in OBJECTS[things](payload)]) - {"__parentId"}
        assert given == set(re.findall(r"\w+", fields)) - {"edges", "node", "lineItems"}


def subject(table: Table, *told: tuple[Any, list[dict[str, Any]]]) -> pl.DataFrame:
    """What a subject makes of streams' records, those that speak for another among them."""
    rows = []
    for stream, records in told:
        bronze = landed(SOURCE, stream, [[json.dumps(one).encode() for one in records]], window=DAY).rows
        feeds: list[Feed] = [feed for feed in stream.feeds if feed.subject == table.name]
        rows += [picked(bronze.lazy(), source=SOURCE, stream=stream, feed=feed, table=table) for feed in feeds]
    assert table.build is not None
    keyed = {"key": b"golden", "country": "DE", "currency": "EUR"} if table is ORDER_LINES else {}
    return table.build(pl.concat(rows), **keyed).collect()


def destroyed(kind: str, number: int, at: str = "2026-01-02T18:00:00Z") -> dict[str, Any]:
    return {"id": 900 + number, "subject_id": number, "subject_type": kind, "verb": "destroy", "created_at": at}


def test_a_destroyed_order_takes_its_lines_with_it() -> None:
    price = {"presentmentMoney": {"amount": "5.00", "currencyCode": "EUR"}}
    told = [order(n, lineItems=[line(n, n, quantity=1, originalUnitPriceSet=price)]) for n in (1, 2)]
    rows = subject(ORDER_LINES, (ORDERS, told), (ORDERS_DESTROYED, [destroyed("Order", 1)]))

    assert ["2"] == rows.filter(_fate="out")["order_id"].to_list()


def test_a_destroyed_product_stays_for_the_orders_that_name_it_and_is_marked() -> None:
    told = {"legacyResourceId": "5", "updatedAt": NOON, "title": "Boots"}
    rows = subject(PRODUCTS_TABLE, (PRODUCTS, [told]), (PRODUCTS_DESTROYED, [destroyed("Product", 5)]))

    assert [("5", True)] == rows.filter(_fate="out").select("product_id", "is_deleted").rows()


def test_what_was_destroyed_is_asked_for_by_its_kind_and_is_a_tombstone_of_its_list() -> None:
    kept = talk(SOURCE, ORDERS_DESTROYED, lambda _: httpx.Response(200, json={"events": [destroyed("Order", 1)]}),
                window=DAY, base_url=SHOP)  # fmt: skip
    rows = landed(SOURCE, ORDERS_DESTROYED, kept.pages, window=DAY).rows

    assert {
        "filter": "Order", "verb": "destroy", "created_at_min": "2026-01-02T00:00:00Z",
        "created_at_max": "2026-01-03T00:00:00Z", "limit": "250",
    } == dict(kept.requests[0].url.params)  # fmt: skip
    assert [("orders", "1", "delete")] == rows.select("_stream", "_id", "_op").rows()


def test_a_customer_is_told_by_the_number_the_orders_name() -> None:
    assert ("legacyResourceId",) == CUSTOMERS.id
    assert "customer.legacyResourceId" == ORDERS.feeds[0].fields["login"].path


def test_every_state_of_money_is_one_of_ours() -> None:
    allowed = next(column.allowed for column in ORDERS_TABLE.columns if column.name == "order_status")

    assert set(shopify.STATUS.values()) <= set(allowed)
