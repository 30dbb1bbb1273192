"""What an answer means: read from its body, not only from its status, in the dialect of its source.

Vendors hide errors in HTTP 200, quotas in 400 and 403, and passing trouble in 4xx. One function per dialect, named
by `Source.errors`; whatever a dialect does not know is judged by the standard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from etl.connect.resets import seconds_until_reset


class Means(Enum):
    """OK read it; RETRY soon, it passes; QUOTA come again later; REAUTH the secret is not taken; SPLIT too much for one
    answer, ask for less; SKIP this one is gone or not ours to see, the walk goes on; FATAL no.
    """

    OK = "ok"
    RETRY = "retry"
    QUOTA = "quota"
    REAUTH = "reauth"
    SPLIT = "split"
    SKIP = "skip"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wait` is seconds until it may work again, where the answer says so; `why` the vendor's own words."""

    means: Means
    wait: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as judged: status, headers (lower-case names), body, and whether the records are where expected.

    `has_records` None: no list is expected, the body itself is what was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    has_records: bool | None

    @property
    def is_good(self) -> bool:
        """True for the statuses of success."""
        return 200 <= self.status < 300


PASSING = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})


def verdict_of(answer: Answer, dialect: str, *, now: datetime) -> Verdict:
    """The verdict on an answer, in the source's dialect."""
    if answer.is_good and answer.has_records:
        return Verdict(Means.OK)
    body = _decoded(answer.body)
    wait = seconds_until_reset(answer.headers, body, now=now)
    why = vendor_message(body)
    special = DIALECTS.get(dialect, _no_dialect)(answer, body, wait, why)
    if special is None and answer.is_good and answer.has_records is None:
        return Verdict(Means.OK)
    return special or _standard(answer, body, wait, why)


def _standard(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict:
    if answer.status == 401:
        return Verdict(Means.REAUTH, why=why)
    if answer.status == 429:
        return Verdict(Means.QUOTA, wait, why)
    if answer.status in PASSING:
        return Verdict(Means.RETRY, wait, why)
    if answer.status == 410:
        return Verdict(Means.SKIP, why=why)
    if answer.status >= 400:
        return Verdict(Means.FATAL, why=why)
    if answer.is_good and body is _UNREADABLE:
        # Cut off on its way: the next try usually arrives whole.
        return Verdict(Means.RETRY, wait, "the answer is not whole JSON")
    return Verdict(Means.FATAL, why=why or "the records are not where they are declared to be")


_Dialect = Callable[[Answer, Any, float | None, str], Verdict | None]


def _no_dialect(_answer: Answer, _body: Any, _wait: float | None, _why: str) -> Verdict | None:
    return None


def _hubspot(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """429 carries policyName (SECONDLY, TEN_SECONDLY_ROLLING, DAILY) and often no Retry-After; 477 is a migration."""
    if answer.status == 429:
        policy = str(body.get("policyName", "")) if isinstance(body, dict) else ""
        if policy == "DAILY":
            return Verdict(Means.QUOTA, 3600.0 if wait is None else wait, why)
        return Verdict(Means.QUOTA, (1.0 if policy == "SECONDLY" else 10.0) if wait is None else wait, why)
    if answer.status == 477:
        return Verdict(Means.QUOTA, wait, why)
    if answer.status == 200 and isinstance(body, dict) and body.get("status") == "error":
        return Verdict(Means.RETRY, wait, why)
    return None


# Marketing API, "Error Codes" and "Rate Limiting": throttling is 400 or 403 with one of these codes.
_META_THROTTLED = frozenset({4, 17, 32, 613, *range(80000, 80015)})
_META_PASSING = frozenset({1, 2})
_META_REAUTH = frozenset({102, 190, 463, 467})
_META_TOO_MUCH = 1487534
_META_GONE = (100, 33)  # "does not exist, cannot be loaded due to missing permissions"


def _meta(_answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    code, subcode = error.get("code"), error.get("error_subcode")
    if code in _META_THROTTLED or subcode == 2446079:
        return Verdict(Means.QUOTA, 60.0 if wait is None else wait, why)
    if code in _META_REAUTH:
        return Verdict(Means.REAUTH, why=why)
    # Insights also say it as the passing code 1, and then no waiting helps.
    if subcode == _META_TOO_MUCH or (code == 1 and "reduce the amount of data" in why.lower()):
        return Verdict(Means.SPLIT, why=why)
    if (code, subcode) == _META_GONE:
        return Verdict(Means.SKIP, why=why)
    if code in _META_PASSING or error.get("is_transient") is True:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


def _shopify(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """430 is Shopify's own throttle; GraphQL answers errors in 200; 402 and 423 are frozen and locked shops.

    `userErrors` of a mutation are told beside good `data`: as many bulk operations as may be under way are a quota. A
    file of an operation that is too large for an answer is not begun with.
    """
    if answer.status in {429, 430}:
        return Verdict(Means.QUOTA, 2.0 if wait is None else wait, why)
    if answer.status in {402, 423}:
        return Verdict(Means.FATAL, why=why)
    errors = body.get("errors") if isinstance(body, dict) else None
    codes = {_code_of(error) for error in errors} if isinstance(errors, list) else set()
    if "THROTTLED" in codes:
        return Verdict(Means.QUOTA, 2.0 if wait is None else wait, why)
    if "INTERNAL_SERVER_ERROR" in codes:
        return Verdict(Means.RETRY, wait, why)
    if errors and answer.is_good:
        return Verdict(Means.FATAL, why=why or "an error without a word")
    return _shopify_bulk(body)


#: One answer holds at most so many bytes (`Limits.max_bytes`).
_SHOPIFY_FILE = 256 * 1024 * 1024
_SHOPIFY_BUSY = frozenset({"OPERATION_IN_PROGRESS", "LIMIT_REACHED"})


def _shopify_bulk(body: Any) -> Verdict | None:
    data = body.get("data") if isinstance(body, dict) else None
    for told in data.values() if isinstance(data, dict) else ():
        if not isinstance(told, dict):
            continue
        errors = [error for error in told.get("userErrors") or () if isinstance(error, dict)]
        why = "; ".join(str(error.get("message")) for error in errors)
        if any(error.get("code") in _SHOPIFY_BUSY for error in errors) or "already in progress" in why:
            return Verdict(Means.QUOTA, 30.0, why)
        if errors:
            return Verdict(Means.FATAL, why=why)
        if int(told.get("fileSize") or 0) > _SHOPIFY_FILE:
            return Verdict(Means.SPLIT, why=f"a file of {told['fileSize']} bytes")
    return None


def _code_of(error: Any) -> Any:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    return extensions.get("code") if isinstance(extensions, dict) else None


def _klaviyo(_answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """JSON:API errors carry their own `status` and `code`; `throttled` is a quota whatever the status says."""
    errors = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(errors, list):
        return None
    codes = {str(error.get("code")) for error in errors if isinstance(error, dict)}
    if codes & {"throttled", "rate_limit_exceeded"}:
        return Verdict(Means.QUOTA, wait, why)
    if codes & {"not_authenticated", "authentication_failed"}:
        return Verdict(Means.REAUTH, why=why)
    return None


def _salesforce(_answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Errors are a list of {errorCode, message}. Quotas of a rolling day come in 403 and in 400, and say no time."""
    first = body[0] if isinstance(body, list) and body else body
    code = first.get("errorCode") if isinstance(first, dict) else None
    if not isinstance(code, str):
        return None
    why = f"{code}: {vendor_message(first) or why}"
    if code in {"REQUEST_LIMIT_EXCEEDED", "LIMIT_EXCEEDED"}:
        return Verdict(Means.QUOTA, 3600.0 if wait is None else wait, why)
    if code in {"INVALID_SESSION_ID", "INVALID_AUTH_HEADER"}:
        return Verdict(Means.REAUTH, why=why)
    if code in {"SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT"}:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


def _google_ads(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """A stream's error is an element of its list. The failure's details hold the reason and, as text, the delay."""
    first = body[0] if isinstance(body, list) and body else body
    error = first.get("error") if isinstance(first, dict) else None
    if not isinstance(error, dict):
        return None
    failures = [
        failure
        for detail in error.get("details") or ()
        if isinstance(detail, dict)
        for failure in detail.get("errors") or ()
        if isinstance(failure, dict)
    ]
    codes = {str(code) for failure in failures for code in (failure.get("errorCode") or {}).values()}
    why = vendor_message(failures[0] if failures else first) or why
    if answer.status == 429 or error.get("status") == "RESOURCE_EXHAUSTED" or codes & _GOOGLE_QUOTA:
        told = [
            (((failure.get("details") or {}).get("quotaErrorDetails") or {}).get("retryDelay") or "").rstrip("s")
            for failure in failures
        ]
        delays = [float(delay) for delay in told if re.fullmatch(r"\d+(\.\d+)?", delay)]
        return Verdict(Means.QUOTA, max(delays) if delays else wait, why)
    if error.get("status") == "UNAUTHENTICATED":
        return Verdict(Means.REAUTH, why=why)
    if error.get("status") in {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"}:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


# https://developers.google.com/google-ads/api/reference/rpc/v23/QuotaErrorEnum.QuotaError
_GOOGLE_QUOTA = frozenset({"RESOURCE_EXHAUSTED", "RESOURCE_TEMPORARILY_EXHAUSTED"})


def _linkedin(answer: Answer, _body: Any, wait: float | None, why: str) -> Verdict | None:
    """Calls are counted per day and counted anew at midnight UTC, which a 429 does not say; its Date says the time."""
    if answer.status != 429:
        return None
    if wait is not None:
        return Verdict(Means.QUOTA, wait, why)
    try:
        now = parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC)
    except ValueError:
        return Verdict(Means.QUOTA, 3600.0, why)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return Verdict(Means.QUOTA, (midnight - now).total_seconds(), why)


def _tiktok(_answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """The Business API answers 200 and says in `code` what it means: 0 is good, 40100 too many requests."""
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, int) or code == 0:
        return None
    why = f"{code}: {why}"
    if code == 40100:
        return Verdict(Means.QUOTA, 60.0 if wait is None else wait, why)
    if code in {40102, 40104, 40105}:
        return Verdict(Means.REAUTH, why=why)
    if code >= 50000:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


def _tiktok_display(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Every answer has `error`, with the code `ok` when there is none. A missing scope is a 401 as well."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if code in {None, "ok"}:
        return None
    why = f"{code}: {why}"
    if code == "rate_limit_exceeded":
        return Verdict(Means.QUOTA, 60.0 if wait is None else wait, why)
    if code == "access_token_invalid":
        return Verdict(Means.REAUTH, why=why)
    if code == "internal_error" or answer.status >= 500:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


# Lists that Google leaves out when they are empty, by the `kind` of the answer.
_GOOGLE_MAY_BE_EMPTY = frozenset({"analyticsData#runReport", "bigquery#tableList"})
_GOOGLE_BRIEF = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "jobRateLimitExceeded"})
_GOOGLE_DAILY = frozenset({"quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"})
_GOOGLE_REAUTH = frozenset({"API_KEY_INVALID", "keyInvalid", "authError", "ACCESS_TOKEN_EXPIRED"})


def _google(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Quotas come as 403 or 429, told apart by `reason`, or (Analytics) by the words of the message.

    A quota of a day is full again at midnight in California, one of an hour within the hour.
    """
    if answer.is_good:
        if body is _UNREADABLE and answer.has_records is None:
            return Verdict(Means.RETRY, wait, "the answer is not whole JSON")
        is_empty = isinstance(body, dict) and body.get("kind") in _GOOGLE_MAY_BE_EMPTY and "error" not in body
        return Verdict(Means.OK) if is_empty else None
    reasons = _google_reasons(body)
    if reasons & _GOOGLE_REAUTH:
        return Verdict(Means.REAUTH, why=why)
    if answer.status == 429 or reasons & (_GOOGLE_BRIEF | _GOOGLE_DAILY):
        if wait is None and (reasons & _GOOGLE_DAILY or "per day" in why):
            wait = _until_midnight(answer.headers.get("date", ""), "America/Los_Angeles")
        elif wait is None and "per hour" in why:
            wait = 3600.0
        return Verdict(Means.QUOTA, 10.0 if wait is None else wait, why)
    return None


def _google_reasons(body: Any) -> set[str]:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return set()
    told = [*(error.get("errors") or ()), *(error.get("details") or ())]
    return {str(one["reason"]) for one in told if isinstance(one, dict) and "reason" in one}


def _until_midnight(date: str, zone: str) -> float:
    """Seconds from the answer's Date header to the next midnight in `zone`; an hour where there is no such header."""
    try:
        here = parsedate_to_datetime(date).astimezone(ZoneInfo(zone))
    except ValueError:
        return 3600.0
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), ZoneInfo(zone))
    return midnight.timestamp() - here.timestamp()


def _matomo(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Every error is HTTP 200 with {"result": "error", "message": ...}."""
    if not isinstance(body, dict) or body.get("result") != "error":
        return None
    if "token_auth" in why or "authenticate" in why:
        return Verdict(Means.REAUTH, why=why)
    return Verdict(Means.RETRY if answer.status in PASSING else Means.FATAL, wait, why)


def _x(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """No `data` where nothing was found. `end_time` may not be within the last ten seconds. A cap for the month is 429
    too, and its reset header is not about it.
    """
    if not isinstance(body, dict):
        return None
    if answer.is_good:
        meta = body.get("meta")
        return Verdict(Means.OK) if isinstance(meta, dict) and meta.get("result_count") == 0 else None
    if str(body.get("type", "")).endswith("/usage-capped"):
        return Verdict(Means.QUOTA, 86_400.0, why)
    if answer.status == 429:
        return Verdict(Means.QUOTA, 900.0 if wait is None else wait, why)
    if answer.status == 400 and "10 seconds prior" in why:
        return Verdict(Means.RETRY, 10.0, why)
    return None


def _stripe(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Errors are {error: {type, code, message}}. A 429 is a rate, or (lock_timeout) an object in use just now; 409 and
    stripe-should-retry pass as well.
    """
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    why = f"{code or error.get('type')}: {why}"
    if answer.status == 401:
        return Verdict(Means.REAUTH, why=why)
    if answer.status == 429 and code != "lock_timeout":
        return Verdict(Means.QUOTA, 1.0 if wait is None else wait, why)
    if answer.status == 409 or answer.headers.get("stripe-should-retry") == "true":
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.RETRY if answer.status in PASSING else Means.FATAL, wait, why)


def _woocommerce(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """Errors are {code, message, data: {status}}; some hosts send them as 200, and then data.status counts."""
    code = body.get("code") if isinstance(body, dict) else None
    if not isinstance(code, str):
        return None
    data = body.get("data")
    said = data.get("status") if isinstance(data, dict) else None
    status = said if answer.is_good and isinstance(said, int) else answer.status
    why = f"{code.removeprefix('woocommerce_')}: {why}"
    if status == 401:
        return Verdict(Means.REAUTH, why=why)
    if status == 429:
        return Verdict(Means.QUOTA, 10.0 if wait is None else wait, why)
    return Verdict(Means.RETRY if status in PASSING else Means.FATAL, wait, why)


def _mailchimp(answer: Answer, body: Any, _wait: float | None, why: str) -> Verdict | None:
    """Errors are problems (RFC 7807): {title, status, detail}. A campaign deleted since it was listed is 404."""
    if answer.status != 404 or not isinstance(body, dict) or "title" not in body:
        return None
    return Verdict(Means.SKIP, why=f"{body['title']}: {why}")


DIALECTS: Mapping[str, _Dialect] = {
    "standard": _no_dialect,
    "hubspot": _hubspot,
    "meta": _meta,
    "shopify": _shopify,
    "klaviyo": _klaviyo,
    "mastodon": _no_dialect,
    "salesforce": _salesforce,
    "google_ads": _google_ads,
    "linkedin": _linkedin,
    "tiktok": _tiktok,
    "tiktok_display": _tiktok_display,
    "google": _google,
    "matomo": _matomo,
    "x": _x,
    "stripe": _stripe,
    "woocommerce": _woocommerce,
    "mailchimp": _mailchimp,
}

_UNREADABLE = object()


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _UNREADABLE


# --- the vendor's own words, fit for a log ---------------------------------------------------------------------------

_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_\-]{32,}")
_IN_QUERY = re.compile(
    r"(?i)\b(access_token|refresh_token|token_auth|token|client_secret|secret|api_key|apikey|key|password|signature)"
    r"=[^&\s]+"
)


def vendor_message(body: Any) -> str:
    """The message of an error body in one line of at most 200 characters; empty when there is none."""
    for text in _messages(body):
        if isinstance(text, str) and text.strip():
            return masked(" ".join(text.split()))[:200]
    return ""


def _messages(body: Any) -> Iterable[Any]:
    if isinstance(body, str):
        yield body
    if not isinstance(body, dict):
        return
    error, errors = body.get("error"), body.get("errors")
    if isinstance(error, dict):
        yield error.get("error_user_msg")
        yield error.get("message")
    if isinstance(errors, list):
        for each in errors:
            yield from (
                (each.get("detail"), each.get("message"), each.get("title")) if isinstance(each, dict) else [each]
            )
    if isinstance(errors, dict):
        yield "; ".join(f"{name}: {value}" for name, value in errors.items())
    yield from (
        body.get("error_description"),
        body.get("message"),
        body.get("detail"),
        error,
        errors,
        body.get("title"),
    )


def masked(text: str, *secrets: str) -> str:
    """`text` without the secrets, without anything that looks like one, and without e-mail addresses."""
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    text = _IN_QUERY.sub(lambda match: f"{match[1]}=***", text)
    return _LONG_TOKEN.sub("***", _EMAIL.sub("***", text))
