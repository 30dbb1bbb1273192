"""Meta ads: answers at once, jobs where there is too much, split by days and then by campaigns; judged by Meta's own
descriptions of the account, the job, the rows and the campaign.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from etl.connect.reader import refuse_too_old
from etl.errors import QuotaExhausted, SourceError, SourceRefused, WindowRefused
from etl.model import Stream, Window
from etl.sources import meta_ads
from tests.sources.fed import fed, in_turn
from tests.sources.judges import NOW, Answer, Talk, talk

WEEK = Window.parse("2026-01-01--2026-01-07")
TOO_MUCH = {"code": 100, "error_subcode": 1487534, "message": "Please reduce the amount of data you're asking for"}


def failing(status: int, error: dict[str, Any], **headers: str) -> Answer:
    return lambda _: httpx.Response(status, json={"error": error}, headers=headers)


class Account:
    """An account with two campaigns of two ads each. An answer at once holds at most `at_once` rows, a job `by_job`."""

    def __init__(self, at_once: int = 10_000, by_job: int = 10_000, page: int = 3, looks: int = 0) -> None:
        self.at_once, self.by_job, self.page, self.looks = at_once, by_job, page, looks
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.asked: dict[str, int] = {}
        self.headers: dict[str, str] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert "Bearer secret" == request.headers["authorization"]
        version, owner, *edge = request.url.path.strip("/").split("/")
        assert "v24.0" == version
        if request.method == "POST":
            number = str(700 + len(self.jobs))
            self.jobs[number] = self.rows(owner, dict(parse_qsl(request.content.decode())))
            return self.told({"report_run_id": number})
        if owner in self.jobs:
            return self.job(owner, request) if not edge else self.paged(self.jobs[owner], request)
        if edge == ["campaigns"]:
            return self.paged([{"id": "c0", "name": "A"}, {"id": "c1", "name": "B"}], request)
        rows = self.rows(owner, dict(request.url.params))
        return self.paged(rows, request) if len(rows) <= self.at_once else failing(400, TOO_MUCH)(request)

    def job(self, number: str, _request: httpx.Request) -> httpx.Response:
        self.asked[number] = self.asked.get(number, 0) + 1
        state = {"id": number, "account_id": "1", "async_percent_completion": 10}
        if self.asked[number] <= self.looks:
            return self.told({**state, "async_status": "Job Running"})
        done = "Job Completed" if len(self.jobs[number]) <= self.by_job else "Job Failed"
        return self.told({**state, "async_status": done, "async_percent_completion": 100})

    def paged(self, rows: list[dict[str, Any]], request: httpx.Request) -> httpx.Response:
        first = int(request.url.params.get("after", "0"))
        last = first + self.page
        body: dict[str, Any] = {"data": rows[first:last]}
        if rows[first:last]:
            body["paging"] = {"cursors": {"before": str(first), "after": str(last)}}
            if last < len(rows):
                body["paging"]["next"] = str(request.url.copy_set_param("after", str(last)))
        return self.told(body)

    def told(self, body: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json=body, headers=self.headers)

    def rows(self, owner: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        days = {name: date.fromisoformat(day) for name, day in json.loads(asked["time_range"]).items()}
        length = (days["until"] - days["since"]).days + 1
        return [
            row(ad, (days["since"] + timedelta(days=n)).isoformat())
            for n in range(length)
            for ad in range(4)
            if owner.startswith("act_") or owner == f"c{ad // 2}"
        ]


def row(ad: int, day: str) -> dict[str, Any]:
    return {
        "account_id": "1002003004",
        "account_currency": "EUR",
        "campaign_id": f"c{ad // 2}",
        "campaign_name": "Spring",
        "ad_id": f"a{ad}",
        "ad_name": "Boots",
        "impressions": "1000",
        "clicks": "10",
        "spend": "12.34",
        "actions": [{"action_type": "purchase", "value": "2"}, {"action_type": "lead", "value": "3", "7d_click": "3"}],
        "date_start": day,
        "date_stop": day,
    }


def insights(answer: Answer, window: Window = WEEK, stream: Stream = meta_ads.INSIGHTS) -> Talk:
    return talk(meta_ads.SOURCE, stream, answer, window=window)


def owners(kept: Talk) -> list[tuple[str, str, str]]:
    """Of which owner a job was started, from when to when."""
    found = []
    for request in kept.requests:
        if request.method == "POST":
            days = json.loads(dict(parse_qsl(request.content.decode()))["time_range"])
            found.append((request.url.path.split("/")[2], days["since"][-2:], days["until"][-2:]))
    return found


def days_and_ads(kept: Talk) -> list[tuple[str, str]]:
    return sorted((one["date_start"], one["ad_id"]) for one in kept.records)


EVERYTHING = [(f"2026-01-0{day}", f"a{ad}") for day in range(1, 8) for ad in range(4)]


def test_a_small_answer_comes_at_once_page_after_page() -> None:
    kept = insights(Account())

    assert days_and_ads(kept) == EVERYTHING
    assert {"GET"} == {request.method for request in kept.requests}
    assert [3] * 9 + [1] == [len(page) for page in kept.pages]


@pytest.mark.parametrize("code", [TOO_MUCH, {**TOO_MUCH, "code": 1, "error_subcode": 99}], ids=["subcode", "code 1"])
def test_too_much_for_one_answer_is_done_by_a_job(code: dict[str, Any]) -> None:
    account = Account(looks=2)
    kept = insights(in_turn(failing(400, code), account))

    assert days_and_ads(kept) == EVERYTHING
    assert [("act_1002003004", "01", "07")] == owners(kept)
    assert [meta_ads.LOOK_SECONDS] * 2 == kept.waited


def test_pages_before_the_one_that_is_too_much_are_not_told_twice() -> None:
    account = Account()
    kept = insights(in_turn(account, failing(400, TOO_MUCH), account))

    assert days_and_ads(kept) == EVERYTHING


def test_a_job_that_fails_is_halved_by_days() -> None:
    kept = insights(Account(at_once=0, by_job=8))

    assert days_and_ads(kept) == EVERYTHING
    assert [("01", "07"), ("01", "04"), ("01", "02"), ("03", "04"), ("05", "07"), ("05", "06"), ("07", "07")] == [
        (first, last) for _, first, last in owners(kept)
    ]


def test_a_day_that_fails_is_done_campaign_by_campaign() -> None:
    kept = insights(Account(at_once=0, by_job=2), Window.parse("2026-01-02"))

    assert [("2026-01-02", f"a{ad}") for ad in range(4)] == days_and_ads(kept)
    assert ["act_1002003004", "c0", "c1"] == [owner for owner, _, _ in owners(kept)]


def test_a_campaign_that_fails_on_a_day_alone_is_an_error() -> None:
    with pytest.raises(SourceError, match="one campaign alone failed .Job Failed"):  # noqa: RUF043
        insights(Account(at_once=0, by_job=1), Window.parse("2026-01-02"))


def test_a_cursor_that_comes_again_is_an_error() -> None:
    paging = {"cursors": {"after": "x"}, "next": "https://graph.facebook.com/v24.0/x"}

    with pytest.raises(SourceError, match="came twice"):
        insights(
            lambda request: httpx.Response(
                200, json={"data": [row(len(request.url.params.get("after", "")), "2026-01-02")], "paging": paging}
            )
        )


@pytest.mark.parametrize(
    ("header", "usage", "pause"),
    [
        ("x-ad-account-usage", {"acc_id_util_pct": 90.5, "reset_time_duration": 10}, 60.0),
        ("x-fb-ads-insights-throttle", {"app_id_util_pct": 96, "acc_id_util_pct": 1}, 300.0),
        ("x-business-use-case-usage", {"1": [{"type": "ads_insights", "call_count": 86, "total_time": 1}]}, 60.0),
        ("x-app-usage", {"call_count": 84, "total_time": 2, "total_cputime": 3}, None),
    ],
)
def test_reading_pauses_before_the_quota_is_spent(header: str, usage: dict[str, Any], pause: float | None) -> None:
    account = Account(page=100)
    account.headers = {header: json.dumps(usage)}

    assert ([pause] if pause else []) == insights(account).waited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": 19}]}'}, 19 * 60),  # minutes
        ({"x-ad-account-usage": '{"acc_id_util_pct": 100, "reset_time_duration": 900}'}, 900),  # seconds
    ],
)
def test_a_spent_quota_is_told_in_minutes_or_in_seconds(headers: dict[str, str], seconds: int) -> None:
    with pytest.raises(QuotaExhausted, match="User request limit reached") as caught:
        insights(
            failing(400, {"code": 17, "error_subcode": 2446079, "message": "User request limit reached"}, **headers)
        )

    assert seconds - 10 < (caught.value.until - NOW).total_seconds() <= seconds


def test_an_expired_token_asks_for_a_valid_secret() -> None:
    with pytest.raises(SourceRefused, match="does not take the secret.*Error validating access token"):  # noqa: RUF043
        insights(failing(400, {"code": 190, "message": "Error validating access token: Session has expired"}))


def test_a_missing_permission_is_told_in_the_vendors_words() -> None:
    told = "(#200) Ad account owner has NOT grant ads_management or ads_read permission"

    with pytest.raises(SourceError, match="has NOT grant ads_management or ads_read"):
        insights(failing(403, {"code": 200, "message": told}))


def test_an_unknown_account_is_told_in_the_vendors_words() -> None:
    told = "Unsupported get request. Object with ID 'act_1002003004' does not exist"

    with pytest.raises(SourceRefused, match="act_1002003004/insights is not there for us .Unsupported get"):  # noqa: RUF043
        insights(failing(400, {"code": 100, "error_subcode": 33, "message": told}))


def test_a_window_of_more_than_37_months_ago_is_refused() -> None:
    with pytest.raises(WindowRefused, match="starts before"):
        refuse_too_old(
            meta_ads.SOURCE, meta_ads.INSIGHTS, Window.parse("2022-11-01"), now=datetime(2026, 1, 2, tzinfo=UTC)
        )


def test_four_weeks_are_read_again() -> None:
    assert 28 == meta_ads.INSIGHTS.restate_days


def described(shared: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((shared / "specs" / "meta" / f"{name}.json").read_text())
    return read


def names(described: list[dict[str, Any]]) -> set[str]:
    return {one["name"] for one in described}


def params(described: dict[str, Any], endpoint: str, method: str) -> set[str]:
    edge = next(one for one in described["apis"] if one.get("endpoint") == endpoint and one["method"] == method)
    return names(edge["params"])


def test_meta_knows_everything_we_ask_and_our_account_answers(shared: Path) -> None:
    account, campaign = described(shared, "AdAccount"), described(shared, "Campaign")
    kept = insights(Account(at_once=0, by_job=2), Window.parse("2026-01-02"))
    kinds = set()
    for request, response in zip(kept.requests, kept.responses, strict=True):
        owner, *edge = request.url.path.split("/")[2:]
        asked = set(dict(parse_qsl(request.content.decode()))) | set(request.url.params)
        body = response.json()
        kinds.add((request.method, *edge, owner[:1]))
        match request.method, edge:
            case "POST", ["insights"]:
                assert asked <= params(account if owner.startswith("act_") else campaign, "insights", "POST")
            case "GET", ["insights"] if owner.startswith("act_"):
                assert asked <= params(account, "insights", "GET")
            case "GET", ["insights"]:
                assert asked <= {"limit", "after"}
                assert {name for one in body["data"] for name in one} <= names(
                    described(shared, "AdsInsights")["fields"]
                )
            case "GET", ["campaigns"]:
                assert asked - {"fields", "limit", "after"} <= params(account, "campaigns", "GET")
                assert set(request.url.params["fields"].split(",")) <= names(campaign["fields"])
            case _:
                assert set(body) <= names(described(shared, "AdReportRun")["fields"])
    assert 6 == len(kinds)


def test_a_day_of_an_ad_is_ad_spend() -> None:
    assert fed(meta_ads.SOURCE, meta_ads.INSIGHTS, "ad_spend", [row(1, "2026-01-02")]) == [
        {
            "_fate": "out",
            "ad_date": date(2026, 1, 2),
            "network": "meta",
            "campaign_id": "c0",
            "campaign_name": "Spring",
            "ad_id": "a1",
            "impression_count": 1000,
            "click_count": 10,
            "lead_count": 3,
            "currency": "EUR",
            "cost_amount": Decimal("12.3400"),
        }
    ]


def test_a_campaign_is_described() -> None:
    told = {
        "id": "c0",
        "name": "Spring",
        "objective": "OUTCOME_SALES",
        "start_time": "2026-01-01T00:00:00+0100",
        "stop_time": "2026-01-31T23:59:59+0100",
    }
    assert fed(meta_ads.SOURCE, meta_ads.CAMPAIGNS, "campaigns", [told]) == [
        {
            "_fate": "out",
            "campaign_id": "c0",
            "campaign_name": "Spring",
            "campaign_type": "OUTCOME_SALES",
            "campaign_channel": "ads",
            "starts_on": date(2026, 1, 1),
            "ends_on": date(2026, 1, 31),
        }
    ]
