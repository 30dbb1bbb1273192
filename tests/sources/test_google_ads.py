"""Google Ads: one stream of batches a query, micros, conversions that come late. Shapes are the reference's."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Stream
from etl.sources import google_ads
from tests.sources.fed import fed, in_turn
from tests.sources.judges import NOW, Answer, Talk, talk

SECRET = json.dumps({"token": "ya29.token", "developer_token": "dev-token"})


def row(ad: str = "9", day: str = "2026-01-02", **metrics: Any) -> dict[str, Any]:
    return {
        "customer": {"resourceName": "customers/4445556666", "id": "4445556666", "currencyCode": "EUR"},
        "campaign": {"resourceName": "customers/4445556666/campaigns/7", "id": "7", "name": "Brand"},
        "adGroupAd": {"resourceName": f"customers/4445556666/adGroupAds/5~{ad}", "ad": {"id": ad}},
        "segments": {"date": day},
        "metrics": {"impressions": "1000", "clicks": "10", "costMicros": "1234567", "conversions": 2.5, **metrics},
    }


def streamed(*batches: list[dict[str, Any]]) -> Answer:
    return lambda _: httpx.Response(
        200, json=[{"results": batch, "fieldMask": "segments.date", "requestId": "r"} for batch in batches]
    )


def refusal(status: int, name: str, message: str, *failures: dict[str, Any]) -> Answer:
    error: dict[str, Any] = {"code": status, "status": name, "message": message}
    if failures:
        kind = "type.googleapis.com/google.ads.googleads.v23.errors.GoogleAdsFailure"
        error["details"] = [{"@type": kind, "errors": list(failures)}]
    return lambda _: httpx.Response(status, json=[{"error": error}])


def asked(answer: Answer, stream: Stream = google_ads.ADS, account: str = "111-222-3333/444-555-6666") -> Talk:
    return talk(google_ads.SOURCE, stream, answer, secret=SECRET, account=account)


def test_one_question_with_both_tokens_and_the_manager_brings_every_batch() -> None:
    kept = asked(streamed([row("1"), row("2")], [row("3")]))
    (request,) = kept.requests

    assert "https://googleads.googleapis.com/v23/customers/4445556666/googleAds:searchStream" == str(request.url)
    assert ("Bearer ya29.token", "dev-token", "1112223333") == tuple(
        request.headers[name] for name in ("authorization", "developer-token", "login-customer-id")
    )
    assert json.loads(request.content)["query"].endswith("BETWEEN '2026-01-02' AND '2026-01-03'")
    assert [2, 1] == [len(page) for page in kept.pages]


def test_without_a_manager_none_is_named() -> None:
    assert "login-customer-id" not in asked(streamed([]), account="4445556666").requests[0].headers


def test_campaigns_are_listed_without_a_date() -> None:
    assert "segments" not in json.loads(asked(streamed([]), google_ads.CAMPAIGNS).requests[0].content)["query"]


def test_a_stream_that_breaks_off_is_an_error_and_gives_nothing() -> None:
    broken = [{"results": [row()]}, {"error": {"code": 500, "status": "INTERNAL", "message": "Internal error"}}]

    with pytest.raises(SourceError, match=r"broke off \(Internal error\)"):
        asked(lambda _: httpx.Response(200, json=broken))


def test_conversions_are_read_again_for_two_weeks() -> None:
    assert [14, 14, 0] == [stream.restate_days for stream in google_ads.SOURCE.streams]


def test_a_spent_quota_waits_as_long_as_its_failure_says() -> None:
    spent = {
        "errorCode": {"quotaError": "RESOURCE_EXHAUSTED"},
        "message": "Too many requests. Retry in 7200 seconds.",
        "details": {"quotaErrorDetails": {"rateScope": "DEVELOPER", "retryDelay": "7200s"}},
    }
    with pytest.raises(QuotaExhausted, match="Retry in 7200 seconds") as caught:
        asked(refusal(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", spent))

    assert 7100 < (caught.value.until - NOW).total_seconds() <= 7200


def test_a_short_quota_is_waited_for() -> None:
    short = {
        "errorCode": {"quotaError": "RESOURCE_TEMPORARILY_EXHAUSTED"},
        "details": {"quotaErrorDetails": {"retryDelay": "30s"}},
    }
    kept = asked(in_turn(refusal(429, "RESOURCE_EXHAUSTED", "slow down", short), streamed([row()])))

    assert 1 == len(kept.records)
    assert 30 <= kept.waited[0] < 32


def test_an_expired_token_asks_for_a_valid_secret() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*for \*\*\* and \*\*\*") as caught:
        asked(refusal(401, "UNAUTHENTICATED", "invalid credentials for ya29.token and dev-token"))

    assert not {"ya29", "dev-token"} & set(str(caught.value).split())


def test_a_missing_permission_is_told_in_the_vendors_words() -> None:
    told = {"errorCode": {"authorizationError": "USER_PERMISSION_DENIED"}, "message": "User doesn't have permission"}

    with pytest.raises(SourceRefused, match="User doesn't have permission"):
        asked(refusal(403, "PERMISSION_DENIED", "The caller does not have permission", told))


def test_a_secret_without_the_developer_token_says_what_is_missing() -> None:
    with pytest.raises(SourceRefused, match="the secret lacks token, developer_token"):
        talk(google_ads.SOURCE, google_ads.ADS, streamed([]), secret="ya29.token")


def test_a_day_of_an_ad_is_ad_spend() -> None:
    assert fed(google_ads.SOURCE, google_ads.ADS, "ad_spend", [row()]) == [
        {
            "_fate": "out",
            "ad_date": date(2026, 1, 2),
            "network": "google",
            "campaign_id": "7",
            "campaign_name": "Brand",
            "ad_id": "9",
            "impression_count": 1000,
            "click_count": 10,
            "currency": "EUR",
            "cost_amount": Decimal("1.2346"),
        }
    ]


def test_a_campaign_is_described() -> None:
    told = {
        "campaign": {
            "resourceName": "customers/4/campaigns/7",
            "id": "7",
            "name": "Brand",
            "advertisingChannelType": "SEARCH",
            "startDateTime": "2026-01-01 00:00:00",
            "endDateTime": "2026-06-30 23:59:59",
        }
    }
    assert fed(google_ads.SOURCE, google_ads.CAMPAIGNS, "campaigns", [told]) == [
        {
            "_fate": "out",
            "campaign_id": "7",
            "campaign_name": "Brand",
            "campaign_type": "SEARCH",
            "campaign_channel": "ads",
            "starts_on": date(2026, 1, 1),
            "ends_on": date(2026, 6, 30),
        }
    ]
