"""The shop's records as Shopify's Admin GraphQL tells them: one object a line, children naming their parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Payload = Mapping[str, Any]


def order_objects(order: Payload) -> Iterator[dict[str, Any]]:
    """An order, then each of its lines."""
    yield {
        "id": order["admin_graphql_api_id"],
        "legacyResourceId": _text(order["id"]),
        "name": order["name"],
        "createdAt": order["created_at"],
        "processedAt": order["processed_at"],
        "updatedAt": order["updated_at"],
        "cancelledAt": order["cancelled_at"],
        "cancelReason": order["cancel_reason"] and order["cancel_reason"].upper(),
        "closedAt": order["closed_at"],
        "test": order["test"],
        "email": order["email"],
        "phone": order["phone"],
        "sourceName": order["source_name"],
        "displayFinancialStatus": order["financial_status"].upper(),
        "displayFulfillmentStatus": (order["fulfillment_status"] or "unfulfilled").upper(),
        "currencyCode": order["currency"],
        "presentmentCurrencyCode": order["presentment_currency"],
        "discountCodes": [discount["code"] for discount in order["discount_codes"]],
        "totalPriceSet": _money(order["total_price_set"]),
        "currentTotalPriceSet": _money(order["current_total_price_set"]),
        "totalDiscountsSet": _money(order["total_discounts_set"]),
        "totalRefundedSet": _refunded(order),
        "customAttributes": [{"key": one["name"], "value": one["value"]} for one in order["note_attributes"]],
        "customer": order["customer"] and {"legacyResourceId": _text(order["customer"]["id"])},
        "refunds": [_refund(refund) for refund in order["refunds"]],
    }
    for line in order["line_items"]:
        yield {**_line(line), "__parentId": order["admin_graphql_api_id"]}


def customer_objects(customer: Payload) -> Iterator[dict[str, Any]]:
    """An account holder."""
    address = customer["default_address"]
    yield {
        "id": customer["admin_graphql_api_id"],
        "legacyResourceId": _text(customer["id"]),
        "createdAt": customer["created_at"],
        "updatedAt": customer["updated_at"],
        "firstName": customer["first_name"],
        "lastName": customer["last_name"],
        "locale": None,
        "state": customer["state"].upper(),
        "defaultEmailAddress": customer["email"] and {"emailAddress": customer["email"]},
        "defaultPhoneNumber": customer["phone"] and {"phoneNumber": customer["phone"]},
        "defaultAddress": address
        and {
            "address1": address["address1"],
            "zip": address["zip"],
            "city": address["city"],
            "province": address["province"],
            "countryCodeV2": address["country_code"],
            "company": address["company"],
        },
    }


def product_objects(product: Payload) -> Iterator[dict[str, Any]]:
    """A product."""
    yield {
        "id": f"gid://shopify/Product/{product['id']}",
        "legacyResourceId": _text(product["id"]),
        "createdAt": product["created_at"],
        "updatedAt": product["updated_at"],
        "title": product["title"],
        "vendor": product["vendor"],
        "productType": product["product_type"],
        "status": product["status"].upper(),
    }


OBJECTS: Mapping[str, Callable[[Payload], Iterator[dict[str, Any]]]] = {
    "orders": order_objects,
    "customers": customer_objects,
    "products": product_objects,
}


def _line(line: Payload) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/LineItem/{line['id']}",
        "title": line["title"],
        "sku": line["sku"],
        "vendor": line["vendor"],
        "quantity": line["quantity"],
        "product": {"legacyResourceId": _text(line["product_id"])},
        "variant": {"legacyResourceId": _text(line["variant_id"])},
        "originalUnitPriceSet": _money(line["price_set"]),
        "discountAllocations": [
            {"allocatedAmountSet": _money(one["amount_set"])} for one in line["discount_allocations"]
        ],
    }


def _refund(refund: Payload) -> dict[str, Any]:
    return {
        "legacyResourceId": _text(refund["id"]),
        "createdAt": refund["created_at"],
        "totalRefundedSet": _money(refund["transactions"][0]["amount_set"]),
    }


def _refunded(order: Payload) -> dict[str, Any]:
    """What was given back in all; an order is refunded once at most here, or not at all."""
    if order["refunds"]:
        return _money(order["refunds"][-1]["transactions"][0]["amount_set"])
    nothing = {"amount": "0.00"}
    return {
        "shopMoney": {**nothing, "currencyCode": order["currency"]},
        "presentmentMoney": {**nothing, "currencyCode": order["presentment_currency"]},
    }


def _money(both: Payload) -> dict[str, Any]:
    return {
        "shopMoney": _amount(both["shop_money"]),
        "presentmentMoney": _amount(both["presentment_money"]),
    }


def _amount(money: Payload) -> dict[str, Any]:
    return {"amount": money["amount"], "currencyCode": money["currency_code"]}


def _text(number: Any) -> str | None:
    return None if number is None else str(number)
