"""When to come again, in every vendor's spelling."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.connect.resets import LONGEST_SAID, seconds_until_reset
from etl.connect.verdicts import Answer, Means, verdict_of

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


def reset(headers: dict[str, str], body: object = None) -> float | None:
    return seconds_until_reset(headers, body, now=NOW)


def throttled(asked: object, left: object, rate: object) -> dict[str, object]:
    """A throttled answer of Shopify's GraphQL."""
    status = {"maximumAvailable": 2000.0, "currentlyAvailable": left, "restoreRate": rate}
    return {
        "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
        "extensions": {"cost": {"requestedQueryCost": asked, "actualQueryCost": None, "throttleStatus": status}},
    }


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("7", 7.0), ("2.0", 2.0), ("0.5", 0.5), ("-3", 0.0)])
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert seconds == reset({"retry-after": text})


def test_retry_after_as_a_date() -> None:
    assert 90.0 == reset({"retry-after": "Sat, 03 Jan 2026 12:01:30 GMT"})
    assert 90.0 == reset({"retry-after": "Saturday, 03-Jan-26 12:01:30 GMT"})
    assert 90.0 == reset({"retry-after": "Sat Jan  3 12:01:30 2026"})
    assert 0.0 == reset({"retry-after": "Sat, 03 Jan 2026 11:00:00 GMT"})


def test_x_says_the_second_its_window_ends() -> None:
    headers = {"x-rate-limit-limit": "450", "x-rate-limit-remaining": "0", "x-rate-limit-reset": str(EPOCH + 613)}

    assert 613.0 == reset(headers)


def test_mastodon_says_the_moment_in_iso() -> None:
    spelled = ["2026-01-03T12:05:00.250Z", "2026-01-03T13:05:00.250+01:00", "2026-01-03 12:05:00.250"]

    assert [300.25] * 3 == [reset({"x-ratelimit-remaining": "0", "x-ratelimit-reset": text}) for text in spelled]


def test_the_end_of_a_window_that_is_not_spent_is_no_wait() -> None:
    """Mastodon and X write it on every answer: a 500 must not wait for it."""
    later = {"x-ratelimit-remaining": "299", "x-ratelimit-reset": "2026-01-03T12:05:00Z"}

    assert reset(later) is None
    assert reset({"x-rate-limit-remaining": "12", "x-rate-limit-reset": str(EPOCH + 613)}) is None
    assert 5.0 == reset({**later, "retry-after": "5"})


def test_hubspot_says_how_long_its_window_is_in_milliseconds() -> None:
    headers = {"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}

    assert 10.0 == reset(headers)
    assert reset({**headers, "x-hubspot-ratelimit-remaining": "93"}) is None


def test_meta_says_minutes_for_a_business_use_case_and_the_longest_counts() -> None:
    usage = {
        "1": [{"type": "ads_insights", "estimated_time_to_regain_access": 3}],
        "2": [{"type": "ads_management", "estimated_time_to_regain_access": 19}],
    }

    assert 19 * 60.0 == reset({"x-business-use-case-usage": json.dumps(usage)})


def test_meta_says_seconds_for_an_ad_account() -> None:
    usage = {"acc_id_util_pct": 100, "reset_time_duration": 300, "ads_api_access_tier": "standard_access"}

    assert 300.0 == reset({"x-ad-account-usage": json.dumps(usage)})


def test_usage_that_is_not_spent_is_no_wait() -> None:
    assert reset({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": 0}]}'}) is None
    assert reset({"x-ad-account-usage": '{"acc_id_util_pct": 9.67, "reset_time_duration": 0}'}) is None


def test_shopify_says_what_the_query_costs_and_how_fast_it_can_be_paid() -> None:
    body = throttled(2020, 20.0, 100.0)
    verdict = verdict_of(Answer(200, {}, json.dumps(body).encode(), False), "shopify", now=NOW)

    assert 20.0 == reset({}, body)
    assert (Means.QUOTA, 20.0, "Throttled") == (verdict.means, verdict.wait, verdict.why)


@pytest.mark.parametrize(
    "cost", [(10, 20.0, 50.0), (10, 5, 0), (10, 5, -1), (None, 5, 1), ("10", "5", "1"), (9, 5, [])]
)
def test_a_cost_that_says_nothing_is_no_wait(cost: tuple[object, object, object]) -> None:
    assert reset({}, throttled(*cost)) is None


@pytest.mark.parametrize("name", ["retry-after", "x-ratelimit-reset", "x-rate-limit-reset"])
@given(text=st.text(max_size=20) | st.floats().map(str))
@example(text="nan")
@example(text="inf")
@example(text="1767441600000000")
@example(text="Mon, 99 Foo 2026 99:99:99 GMT")
@example(text="9999-12-31T23:59:59-23:59")
@settings(max_examples=50, deadline=None, derandomize=True)
def test_nonsense_is_no_wait_and_no_error(name: str, text: str) -> None:
    seconds = reset({name: text})

    assert seconds is None or 0.0 <= seconds <= LONGEST_SAID


@given(body=st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2) | (
    st.dictionaries(st.sampled_from(["extensions", "cost", "throttleStatus", "restoreRate"]), inner, max_size=3)
)))  # fmt: skip
@settings(max_examples=50, deadline=None, derandomize=True)
def test_no_body_upsets_the_cost(body: object) -> None:
    seconds = reset({"x-business-use-case-usage": json.dumps(body), "x-ad-account-usage": json.dumps(body)}, body)

    assert seconds is None or 0.0 <= seconds <= LONGEST_SAID
