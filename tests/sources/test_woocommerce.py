"""WooCommerce: every quirk of it, before a small shop that answers as one does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused, SourceUnreachable
from etl.model import Stream, Window
from etl.sources.woocommerce import CUSTOMERS, ORDERS, PRODUCTS, SOURCE
from tests.sources.fed import fed, landed
from tests.sources.judges import NOW, Answer, Talk, talk

DAY = Window.parse("2026-01-02")
SHOP = "https://shop.example"
SECRET = "ck_123abc:cs_456def"
CHANGED = [ORDERS, PRODUCTS]


def order(ident: int = 7, modified: str = "2026-01-02T12:00:00", **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "status": "completed",
        "currency": "EUR",
        "date_created": "2026-01-01T11:30:00",
        "date_created_gmt": "2026-01-01T10:30:00",
        "date_modified": "2026-01-02T13:00:00",
        "date_modified_gmt": modified,
        "total": "53.90",
        "discount_total": "5.00",
        "customer_id": 26,
        "billing": {"email": "ann@example.com", "phone": "030 123456", "first_name": "Ann"},
        "coupon_lines": [{"id": 3, "code": "spring"}],
        "meta_data": [
            {"id": 1, "key": "_wc_order_attribution_utm_source", "value": "newsletter"},
            {"id": 2, "key": "_wc_order_attribution_utm_medium", "value": "email"},
            {"id": 3, "key": "_wc_order_attribution_utm_campaign", "value": "spring_sale"},
            {"id": 4, "key": "_other", "value": {"a": ["b"]}},
        ],
        "line_items": [
            {
                "id": 315,
                "name": "Tea",
                "product_id": 93,
                "quantity": 2,
                "subtotal": "50.00",
                "total": "45.00",
                "price": 22.5,
            },
        ],
        "refunds": [],
        **more,
    }


def product(ident: int = 93, modified: str = "2026-01-02T12:00:00", **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "name": "Tea",
        "status": "publish",
        "date_modified": "2026-01-02T13:00:00",
        "date_modified_gmt": modified,
        "brands": [{"id": 1, "name": "Leaf", "slug": "leaf"}],
        "categories": [{"id": 9, "name": "Drinks", "slug": "drinks"}],
        **more,
    }


def customer(ident: int = 26, **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "date_created": "2025-12-01T09:00:00",
        "date_created_gmt": "2025-12-01T08:00:00",
        "date_modified": None,
        "date_modified_gmt": None,
        "email": "ann@example.com",
        "first_name": "Ann",
        "last_name": "Lee",
        "role": "customer",
        "billing": {
            "company": "Leaf & Co",
            "address_1": "Am Markt 1",
            "city": "Berlin",
            "state": "DE-BE",
            "postcode": "10115",
            "country": "DE",
            "phone": "030 123456",
        },
        **more,
    }


MAKERS: dict[str, Callable[..., dict[str, Any]]] = {"orders": order, "products": product, "customers": customer}


def shop(things: list[dict[str, Any]], *, meanwhile: Callable[[int], None] = lambda _: None) -> Answer:
    """Lists as WooCommerce gives them: bare GMT times with both ends outside, any without trash, pages by id.

    `meanwhile` is told the page that was just answered, for what happens before the next.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        found = things
        if "status" in asked:
            assert "true" == asked["dates_are_gmt"]
            is_trash = asked["status"] == "trash"
            found = [
                one
                for one in things
                if asked["modified_after"] < one["date_modified_gmt"] < asked["modified_before"]
                and (one["status"] == "trash") is is_trash
            ]
        found = sorted(found, key=lambda one: int(one["id"]))
        size, page = int(asked["per_page"]), int(asked["page"])
        pages = -(-len(found) // size)
        told = httpx.Response(
            200,
            json=found[(page - 1) * size : page * size],
            headers={"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(pages)},
        )
        meanwhile(page)
        return told

    return answer


def asked(stream: Stream, answer: Answer) -> Talk:
    return talk(SOURCE, stream, answer, window=DAY, secret=SECRET, base_url=SHOP)


def ids(kept: Talk) -> list[int]:
    return [record.get("order", record)["id"] for record in kept.records]


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_every_page_is_read_and_everything_comes_once(stream: Stream) -> None:
    kept = asked(stream, shop([MAKERS[stream.name](at) for at in range(1, 251)]))
    pages = [request.url.params["page"] for request in kept.requests]

    assert list(range(1, 251)) == sorted(ids(kept))
    assert ["1", "3", "2", "1"] == pages[:4]
    assert ["1"] * (1 if stream in CHANGED else 0) == pages[4:]


@pytest.mark.parametrize("stream", CHANGED, ids=lambda stream: stream.name)
@pytest.mark.parametrize("after_request", [1, 2, 3])
def test_what_changes_while_it_is_read_hides_nothing_else(stream: Stream, after_request: int) -> None:
    things = [MAKERS[stream.name](at) for at in range(1, 251)]
    count = 0

    def meanwhile(_page: int) -> None:
        nonlocal count
        count += 1
        if count == after_request:
            things[4]["date_modified_gmt"] = "2026-02-01T00:00:00"

    kept = asked(stream, shop(things, meanwhile=meanwhile))

    assert set(range(1, 251)) - {5} <= set(ids(kept))
    assert len(ids(kept)) == len(set(ids(kept)))


@pytest.mark.parametrize("stream", CHANGED, ids=lambda stream: stream.name)
def test_the_boundary_is_in_one_window(stream: Stream) -> None:
    edges = ["2026-01-01T23:59:59", "2026-01-02T00:00:00", "2026-01-02T23:59:59", "2026-01-03T00:00:00"]
    kept = asked(stream, shop([MAKERS[stream.name](at, edge) for at, edge in enumerate(edges, start=1)]))

    assert [2, 3] == ids(kept)
    assert ["2", "3"] == landed(SOURCE, stream, kept.records, DAY)["_id"].to_list()


def test_times_are_bare_since_an_offset_would_be_moved_to_the_shops_zone() -> None:
    params = asked(ORDERS, shop([])).requests[0].url.params

    assert ("2026-01-01T23:59:59", "2026-01-03T00:00:00") == (params["modified_after"], params["modified_before"])
    assert ("any", "true", "id", "asc", "100") == tuple(
        params[name] for name in ("status", "dates_are_gmt", "orderby", "order", "per_page")
    )


@pytest.mark.parametrize("stream", CHANGED, ids=lambda stream: stream.name)
def test_what_is_in_the_trash_is_a_tombstone(stream: Stream) -> None:
    kept = asked(stream, shop([MAKERS[stream.name](1), MAKERS[stream.name](2, status="trash")]))
    bronze = landed(SOURCE, stream, kept.records, DAY)

    assert ["any", "trash"] == [request.url.params["status"] for request in kept.requests]
    assert [("1", "upsert"), ("2", "delete")] == bronze.select("_id", "_op").rows()


def test_customers_are_read_whole_with_every_role() -> None:
    kept = asked(CUSTOMERS, shop([customer(1), customer(2, role="subscriber")]))

    assert [1, 2] == ids(kept)
    assert "all" == kept.requests[0].url.params["role"]
    assert "modified_after" not in kept.requests[0].url.params


def test_a_missing_count_of_pages_is_an_error() -> None:
    with pytest.raises(SourceError, match="lacks the header X-WP-TotalPages"):
        asked(ORDERS, lambda _: httpx.Response(200, json=[]))


def test_the_key_goes_into_the_header_and_not_into_the_address() -> None:
    request = asked(PRODUCTS, shop([])).requests[0]

    assert "Basic " + base64.b64encode(SECRET.encode()).decode() == request.headers["Authorization"]
    assert "/wp-json/wc/v3/products" == request.url.path
    assert "ck_123abc" not in str(request.url)


# --- what becomes of them ---------------------------------------------------------------------------------------------


def picked_orders(*orders: dict[str, Any]) -> list[dict[str, Any]]:
    return fed(SOURCE, ORDERS, "orders", asked(ORDERS, shop(list(orders))).records, DAY)


ORDER = {
    "_fate": "out",
    "order_id": "7",
    "ordered_at": datetime(2026, 1, 1, 10, 30, tzinfo=UTC),
    "order_status": None,
    "currency": "EUR",
    "gross_amount": Decimal("53.9000"),
    "refund_amount": Decimal("0.0000"),
    "discount_amount": Decimal("5.0000"),
    "coupon_code": "spring",
    "email": "ann@example.com",
    "phone": "030 123456",
    "login": "woocommerce:26",
    "utm_source": "newsletter",
    "utm_medium": "email",
    "utm_campaign": "spring_sale",
}


def test_an_order_is_picked_whole_and_its_amounts_tell_that_it_is_paid() -> None:
    assert [ORDER] == picked_orders(order())


def test_all_refunds_of_an_order_are_summed() -> None:
    refunds = [{"id": 1, "reason": "", "total": "-10.10"}, {"id": 2, "reason": "late", "total": "-4.95"}]

    assert [{**ORDER, "refund_amount": Decimal("15.0500")}] == picked_orders(order(refunds=refunds))


def test_a_refund_that_is_no_number_leaves_the_sum_unknown() -> None:
    assert [None] == [row["refund_amount"] for row in picked_orders(order(refunds=[{"id": 1, "total": "?"}]))]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("pending", "open"),
        ("on-hold", "open"),
        ("processing", None),
        ("completed", None),
        ("refunded", "refunded"),
        ("cancelled", "cancelled"),
        ("failed", "cancelled"),
    ],
)
def test_the_state_of_an_order_is_in_our_words(said: str, status: str | None) -> None:
    assert [status] == [row["order_status"] for row in picked_orders(order(status=said))]


@pytest.mark.parametrize("subject", ["orders", "order_lines"])
def test_a_draft_of_the_checkout_is_no_order(subject: str) -> None:
    kept = asked(ORDERS, shop([order(status="checkout-draft")]))

    assert ["filtered"] == [row["_fate"] for row in fed(SOURCE, ORDERS, subject, kept.records, DAY)]


def test_guests_share_no_login() -> None:
    assert [None, None] == [row["login"] for row in picked_orders(order(7, customer_id=0), order(8, customer_id=0))]


def test_an_orders_lines_are_picked_whole() -> None:
    kept = asked(ORDERS, shop([order()]))

    assert [
        {
            "_fate": "out",
            "order_line_id": "315",
            "order_id": "7",
            "ordered_at": datetime(2026, 1, 1, 10, 30, tzinfo=UTC),
            "product_id": "93",
            "product_name": "Tea",
            "quantity": 2.0,
            "unit_price_amount": Decimal("22.5000"),
            "line_amount": Decimal("45.0000"),
            "currency": "EUR",
            "email": "ann@example.com",
            "phone": "030 123456",
            "login": "woocommerce:26",
        }
    ] == fed(SOURCE, ORDERS, "order_lines", kept.records, DAY)


def test_a_customer_is_picked_whole_and_staff_is_none() -> None:
    records = [customer(date_modified_gmt="2026-01-02T12:00:00"), customer(1, role="shop_manager")]
    ann, staff = fed(SOURCE, CUSTOMERS, "person_records", records, DAY)

    assert "filtered" == staff["_fate"]
    assert {
        "_fate": "out",
        "login": "woocommerce:26",
        "email": "ann@example.com",
        "phone": "030 123456",
        "given_name": "Ann",
        "family_name": "Lee",
        "street": "Am Markt 1",
        "postal_code": "10115",
        "city": "Berlin",
        "region": "DE-BE",
        "country": "DE",
        "company": "Leaf & Co",
        "created_at": datetime(2025, 12, 1, 8, tzinfo=UTC),
        "updated_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    } == ann


def test_a_customer_who_was_never_changed_lands() -> None:
    assert 1 == landed(SOURCE, CUSTOMERS, [customer()], DAY).height


def test_a_product_is_picked_whole() -> None:
    assert [{"_fate": "out", "product_id": "93", "product_name": "Tea", "brand": "Leaf", "category": "Drinks"}] == fed(
        SOURCE, PRODUCTS, "products", [product()], DAY
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


def failing(http_status: int, code: str, message: str, status: int | None = None, **headers: str) -> Talk:
    body = {"code": code, "message": message, "data": {"status": status or http_status}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked(ORDERS, lambda _: httpx.Response(http_status, json=body, headers=named))


def test_a_wrong_key_is_the_shops_own_words_and_not_shown() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*Consumer key is invalid") as refused:
        failing(401, "woocommerce_rest_authentication_error", "Consumer key is invalid. ck_123abc")

    assert "ck_123abc" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_that_may_only_write_or_see_nothing_is_refused() -> None:
    with pytest.raises(SourceRefused, match="does not have read permissions"):
        failing(401, "woocommerce_rest_authentication_error", "The API key provided does not have read permissions.")
    with pytest.raises(SourceRefused, match="403: rest_cannot_view: Sorry, you cannot list resources"):
        failing(403, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")


def test_an_error_in_a_200_is_judged_by_its_own_status() -> None:
    with pytest.raises(SourceRefused, match="does not take the secret"):
        failing(200, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.", status=401)
    with pytest.raises(SourceError, match="rest_invalid_param: Invalid parameter"):
        failing(200, "rest_invalid_param", "Invalid parameter(s): per_page", status=400)


def test_a_shop_without_the_api_is_refused() -> None:
    with pytest.raises(SourceRefused, match="404: rest_no_route: No route was found"):
        failing(404, "rest_no_route", "No route was found matching the URL and request method.")


def test_a_hosts_limit_gives_the_slot_back_until_its_reset() -> None:
    with pytest.raises(QuotaExhausted, match="slow down") as spent:
        failing(429, "too_many_requests", "slow down", retry_after="3600")

    assert 3600 == round((spent.value.until - NOW).total_seconds(), -1)


def after_one(first: httpx.Response) -> Talk:
    left, answer = [first], shop([product()])
    return asked(PRODUCTS, lambda request: left.pop() if left else answer(request))


def test_a_limit_without_a_time_waits_ten_seconds() -> None:
    kept = after_one(httpx.Response(429, json={"code": "too_many_requests", "message": "slow down"}))

    assert ([93], [True]) == (ids(kept), [10 <= seconds < 12 for seconds in kept.waited])


@pytest.mark.parametrize(
    "first",
    [
        httpx.Response(503, html="<h1>Briefly unavailable for scheduled maintenance.</h1>"),
        httpx.Response(500, json={"code": "internal_server_error", "message": "critical", "data": {"status": 500}}),
        httpx.Response(200, html="<p>One moment, please</p>"),
    ],
    ids=["maintenance", "critical", "page"],
)
def test_passing_trouble_is_tried_again(first: httpx.Response) -> None:
    assert [93] == ids(after_one(first))


def test_a_shop_that_stays_down_is_unreachable() -> None:
    with pytest.raises((SourceUnreachable, SourceError), match="503"):
        asked(ORDERS, lambda _: httpx.Response(503, html="<h1>Briefly unavailable</h1>"))


def test_customer_5_of_the_shop_is_not_user_5_of_another_system() -> None:
    ordered = picked_orders(order(7, customer_id=5))

    assert [row["login"] for row in ordered] == ["woocommerce:5"]
