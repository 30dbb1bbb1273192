"""When to come again: every vendor's spelling of it, as seconds from now.

Seen in the wild: Retry-After as seconds, fractions of seconds or a date (RFC 9110 10.2.3); Mastodon's
X-RateLimit-Reset as an ISO time; X's x-rate-limit-reset as an epoch; HubSpot's window length in milliseconds;
Meta's X-Business-Use-Case-Usage with minutes, X-Ad-Account-Usage with seconds; Shopify's GraphQL with what the
query costs, what is left and how fast it comes back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

#: No quota lasts longer than a month; a number beyond is not one of seconds.
LONGEST_SAID = 31 * 86400.0


def seconds_until_reset(headers: Mapping[str, str], body: Any = None, *, now: datetime) -> float | None:
    """Seconds to wait, at least 0; None when the answer does not say (in sense). `headers` are looked up in lower case.

    `body` is the decoded answer. A window's end counts only when the window is spent: some write it on every answer.
    """
    for name, read in (
        ("retry-after", _retry_after),
        ("x-ratelimit-reset", _moment),
        ("x-rate-limit-reset", _moment),
        ("x-business-use-case-usage", _business_use_case),
        ("x-ad-account-usage", _ad_account),
    ):
        left = headers.get(name.removesuffix("-reset") + "-remaining", "0") if name.endswith("-reset") else "0"
        if name in headers and not (_number(left) or 0.0):
            seconds = read(headers[name], now)
            if seconds is not None and seconds <= LONGEST_SAID:
                return max(0.0, seconds)
    if headers.get("x-hubspot-ratelimit-remaining") == "0":
        return _number(headers.get("x-hubspot-ratelimit-interval-milliseconds", ""), 0.001)
    return _until_affordable(body)


def _until_affordable(body: Any) -> float | None:
    """Shopify: extensions.cost with requestedQueryCost and, in throttleStatus, currentlyAvailable and restoreRate.

    The bucket refills by `restoreRate` points a second; None when the query is affordable already.
    https://shopify.dev/docs/api/usage/limits
    """
    cost = _inner(_inner(body, "extensions"), "cost")
    bucket = _inner(cost, "throttleStatus")
    numbers = [
        value if isinstance(value, int | float) and math.isfinite(value) else None
        for value in (
            _inner(cost, "requestedQueryCost"),
            _inner(bucket, "currentlyAvailable"),
            _inner(bucket, "restoreRate"),
        )
    ]
    asked, left, rate = numbers
    if asked is None or left is None or not rate or rate < 0 or asked <= left:
        return None
    return min(LONGEST_SAID, (asked - left) / rate)


def _inner(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, dict) else None


def _number(text: str, factor: float = 1.0) -> float | None:
    try:
        number = float(text) * factor
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _retry_after(text: str, now: datetime) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return _since(moment, now)


def _moment(text: str, now: datetime) -> float | None:
    """An epoch, an ISO time, or (small numbers) plain seconds."""
    number = _number(text)
    if number is not None:
        return number - now.timestamp() if number > 1_000_000_000 else number
    try:
        return _since(datetime.fromisoformat(text.strip()), now)
    except ValueError:
        return None


def _since(moment: datetime, now: datetime) -> float:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


def _business_use_case(text: str, _now: datetime) -> float | None:
    """{"<account>": [{"estimated_time_to_regain_access": <minutes>, ...}]}: the longest of them."""
    minutes = [
        float(usage["estimated_time_to_regain_access"])
        for usages in _values(text)
        if isinstance(usages, list)
        for usage in usages
        if isinstance(usage, dict) and isinstance(usage.get("estimated_time_to_regain_access"), int | float)
    ]
    return max(minutes) * 60 if minutes and max(minutes) > 0 else None


def _ad_account(text: str, _now: datetime) -> float | None:
    """{"reset_time_duration": <seconds>, ...}."""
    try:
        seconds = json.loads(text).get("reset_time_duration")
    except (ValueError, AttributeError):
        return None
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None


def _values(text: str) -> Iterator[Any]:
    try:
        usage = json.loads(text)
    except ValueError:
        return
    if isinstance(usage, dict):
        yield from usage.values()
