"""What an answer means: read from its body, not only from its status, in the dialect of its source.

Vendors hide errors in HTTP 200, quotas in 400 and 403, and passing trouble in 4xx. One function per dialect, named
by `Source.errors`; whatever a dialect does not know is judged by the standard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from etl.connect.resets import seconds_until_reset


class Means(Enum):
    """OK read it; RETRY soon, it passes; QUOTA come again later; REAUTH the secret is not taken; FATAL no."""

    OK = "ok"
    RETRY = "retry"
    QUOTA = "quota"
    REAUTH = "reauth"
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
    wait = seconds_until_reset(answer.headers, now=now)
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
    if answer.status >= 400:
        return Verdict(Means.FATAL, why=why)
    if body is _UNREADABLE:
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


def _meta(_answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    code, subcode = error.get("code"), error.get("error_subcode")
    if code in _META_THROTTLED or subcode == 2446079:
        return Verdict(Means.QUOTA, 60.0 if wait is None else wait, why)
    if code in _META_REAUTH:
        return Verdict(Means.REAUTH, why=why)
    if subcode == 1487534:
        return Verdict(Means.FATAL, why=f"too much data for one answer ({why}); choose a shorter window")
    if code in _META_PASSING or error.get("is_transient") is True:
        return Verdict(Means.RETRY, wait, why)
    return Verdict(Means.FATAL, why=why)


def _shopify(answer: Answer, body: Any, wait: float | None, why: str) -> Verdict | None:
    """430 is Shopify's own throttle; GraphQL answers THROTTLED in 200; 402 and 423 are frozen and locked shops."""
    if answer.status in {429, 430}:
        return Verdict(Means.QUOTA, 2.0 if wait is None else wait, why)
    if answer.status in {402, 423}:
        return Verdict(Means.FATAL, why=why)
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list) and any(
        isinstance(e, dict) and (e.get("extensions") or {}).get("code") == "THROTTLED" for e in errors
    ):
        return Verdict(Means.QUOTA, 2.0 if wait is None else wait, why)
    return None


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


DIALECTS: Mapping[str, _Dialect] = {
    "standard": _no_dialect,
    "hubspot": _hubspot,
    "meta": _meta,
    "shopify": _shopify,
    "klaviyo": _klaviyo,
    "mastodon": _no_dialect,
    "google": _google,
    "matomo": _matomo,
    "x": _x,
}

_UNREADABLE = object()


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return _UNREADABLE


# --- the vendor's own words, fit for a log ---------------------------------------------------------------------------

_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_\-]{32,}")
_IN_QUERY = re.compile(r"(?i)\b(access_token|token|api_key|apikey|key|secret|password|signature)=[^&\s]+")


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
    yield from (body.get("error_description"), body.get("message"), body.get("detail"), error, errors)


def masked(text: str, secret: str = "") -> str:
    """`text` without the secret, without anything that looks like one, and without e-mail addresses."""
    if secret:
        text = text.replace(secret, "***")
    text = _IN_QUERY.sub(lambda match: f"{match[1]}=***", text)
    return _LONG_TOKEN.sub("***", _EMAIL.sub("***", text))
