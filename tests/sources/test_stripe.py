"""Stripe: every quirk of it, and its objects before Stripe's own examples."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from etl.connect.reader import refuse_too_old
from etl.errors import QuotaExhausted, SourceError, SourceRefused, SourceUnreachable, WindowRefused
from etl.model import Source, Stream, Window
from etl.model.frames import dtype
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS, standardise_orders
from etl.silver.standardise import picked
from etl.sources.stripe import (
    CHARGE_CHANGES,
    CHARGES,
    CUSTOMER_CHANGES,
    CUSTOMERS,
    REFUND_CHANGES,
    REFUNDS,
    SOURCE,
)
from tests.sources.fed import fed, landed
from tests.sources.judges import NOW, Answer, Talk, talk

DAY = Window.parse("2026-01-02")
START, END = int(DAY.start.timestamp()), int(DAY.end.timestamp())
NOON = START + 43_200

LISTS = {
    "customers": "customer",
    "charges": "charge",
    "refunds": "refund",
    "customer_changes": "event",
    "charge_changes": "event",
    "refund_changes": "event",
}


def customer(ident: str = "cus_1", created: int = NOON, **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "customer",
        "created": created,
        "email": "ann@example.com",
        "name": "Ann Lee",
        "phone": "+493012345678",
        "address": {
            "line1": "Am Markt 1",
            "line2": None,
            "postal_code": "10115",
            "city": "Berlin",
            "state": "BE",
            "country": "DE",
        },
        "preferred_locales": ["de"],
        "metadata": {},
        "livemode": False,
        **more,
    }


def charge(ident: str = "ch_1", created: int = NOON, **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "charge",
        "created": created,
        "amount": 1999,
        "amount_captured": 1999,
        "amount_refunded": 0,
        "currency": "eur",
        "customer": "cus_1",
        "billing_details": {"email": "ann@example.com", "name": "Ann Lee", "phone": "+493012345678", "address": None},
        "captured": True,
        "paid": True,
        "refunded": False,
        "status": "succeeded",
        "livemode": False,
        "metadata": {},
        **more,
    }


def refund(ident: str = "re_1", created: int = NOON) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "refund",
        "created": created,
        "amount": 500,
        "currency": "eur",
        "charge": "ch_1",
        "status": "succeeded",
        "metadata": {},
    }


def event(ident: str, kind: str, of: dict[str, Any], created: int = NOON) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "event",
        "api_version": "2025-08-27.basil",
        "created": created,
        "type": kind,
        "data": {"object": of},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": None, "idempotency_key": None},
    }


def stripe(*objects: dict[str, Any]) -> Answer:
    """Lists as Stripe gives them: newest first, filtered by created and by types, `limit` to a page (here three)."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        types = [value for name, value in asked.multi_items() if name.startswith("types[")]
        since, until = int(asked["created[gte]"]), int(asked["created[lt]"])
        found = [
            one
            for one in sorted(objects, key=lambda each: -int(each["created"]))
            if since <= one["created"] < until and (not types or one["type"] in types)
        ]
        ids = [one["id"] for one in found]
        at = ids.index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        page = found[at : at + 3]
        return httpx.Response(
            200,
            json={
                "object": "list",
                "url": request.url.path,
                "has_more": at + 3 < len(found),
                "data": page,
            },
        )

    return answer


def asked(stream: Stream, *objects: dict[str, Any]) -> Talk:
    return talk(SOURCE, stream, stripe(*objects), window=DAY)


def example(stream: Stream, ident: str, created: int) -> dict[str, Any]:
    makers: dict[str, Any] = {"customer": customer, "charge": charge, "refund": refund}
    if LISTS[stream.name] != "event":
        made: dict[str, Any] = makers[LISTS[stream.name]](ident, created)
        return made
    kind = next(iter(stream.request.params.values()))  # type: ignore[union-attr]
    return event(ident, kind, makers[kind.partition(".")[0]](f"of_{ident}", created), created)


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_lists_are_walked_to_the_end_by_the_last_id(stream: Stream) -> None:
    kept = asked(stream, *(example(stream, f"x_{at}", START + at) for at in range(7)))

    assert [f"x_{at}" for at in reversed(range(7))] == [record["id"] for record in kept.records]
    assert [None, "x_4", "x_1"] == [request.url.params.get("starting_after") for request in kept.requests]
    assert {"100"} == {request.url.params["limit"] for request in kept.requests}


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_the_boundary_is_in_one_window(stream: Stream) -> None:
    edges = [START - 1, START, END - 1, END]
    kept = asked(stream, *(example(stream, f"x_{at}", at) for at in edges))

    assert [f"x_{END - 1}", f"x_{START}"] == [record["id"] for record in kept.records]
    assert 2 == landed(SOURCE, stream, kept.records, DAY).height


def test_every_request_names_the_version_and_shows_the_key() -> None:
    (request,) = asked(CUSTOMERS).requests

    assert "2025-08-27.basil" == request.headers["Stripe-Version"]
    assert "Bearer secret" == request.headers["Authorization"]
    assert "/v1/customers" == request.url.path


def test_changes_leave_the_events_of_other_objects_alone() -> None:
    other = event("evt_2", "customer.subscription.created", {"id": "sub_1", "object": "subscription"})
    kept = asked(CUSTOMER_CHANGES, event("evt_1", "customer.updated", customer()), other)

    assert ["evt_1"] == [record["id"] for record in kept.records]
    assert {
        "types[0]": "customer.created",
        "types[1]": "customer.updated",
        "types[2]": "customer.deleted",
    } == {name: value for name, value in kept.requests[0].url.params.items() if name.startswith("types")}


def test_a_list_that_promises_more_and_gives_none_is_an_error() -> None:
    with pytest.raises(SourceError, match="'has_more' is true"):
        talk(SOURCE, CHARGES, lambda _: httpx.Response(200, json={"data": [], "has_more": True}), window=DAY)


@pytest.mark.parametrize("stream", [CUSTOMER_CHANGES, CHARGE_CHANGES, REFUND_CHANGES], ids=lambda one: one.name)
def test_events_beyond_thirty_days_are_refused(stream: Stream) -> None:
    oldest = DAY.start + timedelta(days=30)

    refuse_too_old(SOURCE, stream, DAY, now=oldest)
    with pytest.raises(WindowRefused, match="keeps 30 days"):
        refuse_too_old(SOURCE, stream, DAY, now=oldest + timedelta(seconds=1))


# --- what becomes of them ---------------------------------------------------------------------------------------------


ANN = {
    "_fate": "out",
    "login": "cus_1",
    "email": "ann@example.com",
    "phone": "+493012345678",
    "full_name": "Ann Lee",
    "street": "Am Markt 1",
    "postal_code": "10115",
    "city": "Berlin",
    "region": "BE",
    "country": "DE",
    "language": "de",
    "created_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    "updated_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
}


def test_a_customer_is_picked_whole() -> None:
    assert [ANN] == fed(SOURCE, CUSTOMERS, "person_records", [customer()], DAY)


def test_a_change_is_a_newer_version_of_the_customer() -> None:
    told = event("evt_1", "customer.updated", customer(email="new@example.com"), NOON + 60)
    (row,) = fed(SOURCE, CUSTOMER_CHANGES, "person_records", [told], DAY)
    bronze = landed(SOURCE, CUSTOMER_CHANGES, [told], DAY)

    assert {**ANN, "email": "new@example.com", "updated_at": datetime(2026, 1, 2, 12, 1, tzinfo=UTC)} == row
    assert [("customers", "cus_1", "upsert")] == bronze.select("_stream", "_id", "_op").rows()


def test_a_deleted_customer_is_a_tombstone_of_the_same_record() -> None:
    bronze = landed(SOURCE, CUSTOMER_CHANGES, [event("evt_1", "customer.deleted", customer())], DAY)

    assert [("customers", "cus_1", "delete")] == bronze.select("_stream", "_id", "_op").rows()


def orders(stream: Stream, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of both feeds that are not left to the other."""
    found = []
    for one in stream.feeds:
        rows = fed(SOURCE, replace(stream, feeds=(one,)), "orders", list(records), DAY)
        found += [row for row in rows if row["_fate"] != "filtered"]
    return found


def test_a_charge_is_an_order_in_hundredths() -> None:
    assert [
        {
            "_fate": "out",
            "order_id": "ch_1",
            "ordered_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
            "currency": "eur",
            "gross_amount": Decimal("19.9900"),
            "refund_amount": Decimal("5.0000"),
            "email": "ann@example.com",
            "phone": "+493012345678",
            "login": "cus_1",
        }
    ] == orders(CHARGES, charge(amount_refunded=500))


@pytest.mark.parametrize(
    ("currency", "expected"),
    [
        ("usd", ["19.99"]),
        ("isk", ["19.99"]),
        ("huf", ["19.99"]),
        ("jpy", ["1999"]),
        ("krw", ["1999"]),
        ("xof", ["1999"]),
        ("kwd", []),
        ("ugx", []),
    ],
)
@pytest.mark.parametrize("stream", [CHARGES, CHARGE_CHANGES], ids=lambda one: one.name)
def test_a_currencys_smallest_unit_decides_the_amount(stream: Stream, currency: str, expected: list[str]) -> None:
    one = charge(currency=currency)
    record = one if stream is CHARGES else event("evt_1", "charge.updated", one)

    assert [Decimal(amount) for amount in expected] == [row["gross_amount"] for row in orders(stream, record)]


def test_what_failed_or_was_only_authorised_is_no_order() -> None:
    assert [] == orders(CHARGES, charge(status="failed", captured=False), charge("ch_2", captured=False))


def test_a_refund_told_later_is_deducted_from_its_charge() -> None:
    first = charge()
    later = event("evt_1", "charge.refunded", charge(amount_refunded=1999, refunded=True), NOON + 60)
    versions = [rows_of(CHARGES, first), rows_of(CHARGE_CHANGES, later)]
    rates = pl.DataFrame(
        schema={"rate_date": pl.Date, "base_currency": pl.String, "currency": pl.String, "rate": pl.Float64}
    )
    judged = standardise_orders(
        pl.concat(versions).lazy(), no_lines(), rates.lazy(), key=b"key", country="DE", currency="EUR"
    ).collect()
    (row,) = judged.filter(pl.col("_fate") == "out").to_dicts()

    assert ("ch_1", "refunded", Decimal(0)) == (row["order_id"], row["order_status"], row["revenue_amount"])


def rows_of(stream: Stream, record: dict[str, Any]) -> pl.DataFrame:
    bronze = landed(SOURCE, stream, [record], DAY).lazy()
    both = [picked(bronze, source=SOURCE, stream=stream, feed=feed, table=ORDERS).collect() for feed in stream.feeds]
    return pl.concat(both, how="diagonal")


def no_lines() -> pl.LazyFrame:
    return pl.DataFrame(schema={column.name: dtype(column.type) for column in ORDER_LINES.columns}).lazy()


def test_refunds_land_with_their_changes_as_versions() -> None:
    changed = event("evt_1", "refund.updated", refund())

    assert ["re_1"] == landed(SOURCE, REFUNDS, [refund()], DAY)["_id"].to_list()
    assert [("refunds", "re_1")] == landed(SOURCE, REFUND_CHANGES, [changed], DAY).select("_stream", "_id").rows()


# --- refusals ---------------------------------------------------------------------------------------------------------


def failing(status: int, error: dict[str, Any], source: Source = SOURCE, secret: str = "secret", **more: str) -> Talk:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return talk(
        source,
        CHARGES,
        lambda _: httpx.Response(status, json={"error": error}, headers=headers),
        window=DAY,
        secret=secret,
    )


def passing_once(status: int, error: dict[str, Any], **more: str) -> Talk:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    answers = [httpx.Response(status, json={"error": error}, headers=headers)]
    return talk(SOURCE, CHARGES, lambda request: answers.pop() if answers else stripe(charge())(request), window=DAY)


def test_an_invalid_key_is_stripes_own_words_and_not_shown() -> None:
    key = "rk_live_abc123"
    with pytest.raises(SourceRefused, match=r"does not take the secret.*Invalid API Key provided") as refused:
        failing(401, {"type": "invalid_request_error", "message": f"Invalid API Key provided: {key}"}, secret=key)

    assert key not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_restricted_key_without_the_permission_is_refused() -> None:
    with pytest.raises(SourceRefused, match=r"403: .*does not have the required permissions"):
        failing(
            403,
            {
                "type": "invalid_request_error",
                "message": "The provided key does not have the required permissions for this endpoint. "
                "Having the 'rak_charge_read' permission would allow this request to continue.",
            },
        )


def test_a_bad_request_and_a_card_error_are_not_tried_again() -> None:
    with pytest.raises(SourceError, match="400: resource_missing: No such charge"):
        failing(400, {"type": "invalid_request_error", "code": "resource_missing", "message": "No such charge: 'x'"})
    with pytest.raises(SourceRefused, match="402: card_declined: Your card was declined"):
        failing(402, {"type": "card_error", "code": "card_declined", "message": "Your card was declined."})


def test_a_rate_limit_is_waited_for() -> None:
    limited = {"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"}

    assert [True] == [1 <= seconds < 2 for seconds in passing_once(429, limited).waited]
    assert [True] == [5 <= seconds < 7 for seconds in passing_once(429, limited, retry_after="5").waited]
    with pytest.raises(QuotaExhausted, match="rate_limit: Too many requests") as spent:
        failing(429, limited, retry_after="3600")
    assert 3600 == round((spent.value.until - NOW).total_seconds(), -1)


@pytest.mark.parametrize(
    ("status", "error", "headers"),
    [
        (429, {"type": "invalid_request_error", "code": "lock_timeout", "message": "in use"}, {}),
        (409, {"type": "idempotency_error", "message": "conflict"}, {}),
        (500, {"type": "api_error", "message": "An unknown error occurred"}, {}),
        (400, {"type": "api_error", "message": "try again"}, {"stripe_should_retry": "true"}),
    ],
    ids=["lock_timeout", "conflict", "api_error", "should_retry"],
)
def test_passing_trouble_is_tried_again(status: int, error: dict[str, Any], headers: dict[str, str]) -> None:
    kept = passing_once(status, error, **headers)

    assert ["ch_1"] == [record["id"] for record in kept.records]
    assert 2 == len(kept.requests)


def test_an_object_that_stays_in_use_is_no_spent_quota() -> None:
    with pytest.raises((SourceError, SourceUnreachable), match="lock_timeout: in use") as stuck:
        failing(429, {"type": "invalid_request_error", "code": "lock_timeout", "message": "in use"})

    assert not isinstance(stuck.value, QuotaExhausted)


# --- Stripe's own examples --------------------------------------------------------------------------------------------


@pytest.fixture
def examples(shared: Path) -> dict[str, Any]:
    """Stripe's example of each object."""
    held: dict[str, Any] = json.loads((shared / "specs" / "stripe" / "fixtures3.json").read_text())["resources"]
    return held


def unlike(told: Any, shown: Any, path: str = "") -> list[str]:
    """Where `told` has a member the example does not show, or one of another type; null says nothing of a type."""
    if isinstance(told, dict) and isinstance(shown, dict) and shown:
        strange = [f"{path}.{name}" for name in told if name not in shown]
        return strange + [
            fault for name in told if name in shown for fault in unlike(told[name], shown[name], f"{path}.{name}")
        ]
    return [] if told is None or shown is None or type(told) is type(shown) else [path]


@pytest.mark.parametrize("kind", ["customer", "charge", "refund", "event"])
def test_our_fakes_objects_are_like_stripes(kind: str, examples: dict[str, Any]) -> None:
    ours = {"customer": customer(), "charge": charge(), "refund": refund()}
    ours["event"] = {**event("evt_1", "plan.created", {}), "data": {"object": {}}}

    assert [] == unlike(ours[kind], examples[kind])


@pytest.mark.parametrize("stream", [CUSTOMERS, CHARGES, REFUNDS], ids=lambda one: one.name)
def test_stripes_examples_land_and_are_picked(stream: Stream, examples: dict[str, Any]) -> None:
    kind = LISTS[stream.name]
    shown = {**examples[kind], "created": NOON}
    kept = asked(stream, shown)

    assert [shown["id"]] == landed(SOURCE, stream, kept.records, DAY)["_id"].to_list()
    if kind == "customer":
        assert ["out"] == [row["_fate"] for row in fed(SOURCE, stream, "person_records", [shown], DAY)]
    if kind == "charge":
        captured = {**shown, "captured": True}
        assert [(Decimal(1), "usd")] == [(row["gross_amount"], row["currency"]) for row in orders(stream, captured)]
