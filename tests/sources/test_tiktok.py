"""TikTok, ads and posts: errors in HTTP 200, pages that are counted, deleted ads, videos newest first. No description
is at hand to judge by: shapes are the portal's.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Stream, Window
from etl.sources import tiktok_ads, tiktok_posts
from tests.sources.fed import fed, in_turn
from tests.sources.judges import WINDOW, Answer, Talk, talk


def day_of_ad(ad: int, day: str = "2026-01-02") -> dict[str, Any]:
    return {
        "dimensions": {"ad_id": str(ad), "stat_time_day": f"{day} 00:00:00"},
        "metrics": {
            "campaign_id": "77",
            "campaign_name": "Spring",
            "currency": "EUR",
            "spend": "12.34",
            "impressions": "1000",
            "clicks": "10",
        },
    }


def business(rows: list[dict[str, Any]], *, told: int | None = None) -> Answer:
    """The Business API holding these rows."""

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        page, size = int(params["page"]), int(params["page_size"])
        assert "token-1" == request.headers["access-token"]
        assert 1 <= size <= 1000
        first, last = params.get("start_date"), params.get("end_date")
        if first and last:
            assert date.fromisoformat(last) - date.fromisoformat(first) < timedelta(days=30)
        info = {"page": page, "page_size": size, "total_number": len(rows) if told is None else told,
                "total_page": -(-len(rows) // size)}  # fmt: skip
        data = {"list": rows[(page - 1) * size : page * size], "page_info": info}
        return httpx.Response(200, json={"code": 0, "message": "OK", "request_id": "r", "data": data})

    return answer


def saying(code: int, message: str) -> Answer:
    return lambda _: httpx.Response(200, json={"code": code, "message": message, "request_id": "r", "data": {}})


def ads(answer: Answer, stream: Stream = tiktok_ads.ADS, window: Window = WINDOW) -> Talk:
    return talk(tiktok_ads.SOURCE, stream, answer, window=window, secret="token-1", account="700")


@pytest.mark.parametrize(("rows", "sizes"), [(2500, [1000, 1000, 500]), (2000, [1000, 1000]), (0, [0])])
def test_pages_are_walked_as_they_are_counted(rows: int, sizes: list[int]) -> None:
    kept = ads(business([day_of_ad(number) for number in range(rows)]))

    assert sizes == [len(page) for page in kept.pages]
    assert rows == len({one["dimensions"]["ad_id"] for one in kept.records})


def test_the_days_are_asked_for_whole_and_deleted_ads_with_them() -> None:
    (request,) = ads(business([])).requests
    (condition,) = json.loads(request.url.params["filtering"])

    assert ("2026-01-02", "2026-01-03") == (request.url.params["start_date"], request.url.params["end_date"])
    assert ["STATUS_ALL"] == json.loads(condition["filter_value"])
    assert "/open_api/v1.3/report/integrated/get/" == request.url.path
    assert "STATUS_ALL" in ads(business([]), tiktok_ads.CAMPAIGNS).requests[0].url.params["filtering"]


def test_a_long_window_is_asked_in_stretches_without_gap_or_overlap() -> None:
    requests = ads(business([]), window=Window.parse("2026-01-01--2026-03-05")).requests

    assert [("2026-01-01", "2026-01-30"), ("2026-01-31", "2026-03-01"), ("2026-03-02", "2026-03-05")] == [
        (request.url.params["start_date"], request.url.params["end_date"]) for request in requests
    ]


def test_the_days_clicks_are_credited_for_are_read_again() -> None:
    assert 28 == tiktok_ads.ADS.restate_days


def test_a_row_that_was_told_of_and_did_not_come_is_an_error() -> None:
    with pytest.raises(SourceError, match="3 records were told of and 2 came"):
        ads(business([day_of_ad(1), day_of_ad(2)], told=3))


def test_too_many_requests_in_a_200_is_waited_for() -> None:
    kept = ads(in_turn(saying(40100, "Requests made too frequently"), business([day_of_ad(1)])))

    assert 1 == len(kept.records)
    assert 60 <= kept.waited[0] < 62


def test_too_many_requests_again_and_again_is_a_quota() -> None:
    with pytest.raises(QuotaExhausted, match="40100: Requests made too frequently"):
        ads(saying(40100, "Requests made too frequently"))


def test_a_revoked_token_in_a_200_asks_for_a_valid_secret() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*40105: Access token \*\*\* is revoked"):
        ads(saying(40105, "Access token token-1 is revoked"))


def test_a_missing_permission_is_told_in_the_vendors_words() -> None:
    with pytest.raises(SourceError, match="40001: No permission to operate advertiser 700"):
        ads(saying(40001, "No permission to operate advertiser 700"))


def test_trouble_of_their_own_passes() -> None:
    assert 1 == len(ads(in_turn(saying(50000, "System error"), business([day_of_ad(1)]))).records)


def test_a_day_of_an_ad_is_ad_spend() -> None:
    assert fed(tiktok_ads.SOURCE, tiktok_ads.ADS, "ad_spend", [day_of_ad(9)]) == [
        {
            "_fate": "out",
            "ad_date": date(2026, 1, 2),
            "network": "tiktok",
            "campaign_id": "77",
            "campaign_name": "Spring",
            "ad_id": "9",
            "impression_count": 1000,
            "click_count": 10,
            "currency": "EUR",
            "cost_amount": Decimal("12.3400"),
        }
    ]


def test_a_campaign_is_described() -> None:
    told = {"campaign_id": "77", "campaign_name": "Spring", "objective_type": "TRAFFIC"}

    assert fed(tiktok_ads.SOURCE, tiktok_ads.CAMPAIGNS, "campaigns", [told]) == [
        {
            "_fate": "out",
            "campaign_id": "77",
            "campaign_name": "Spring",
            "campaign_type": "TRAFFIC",
            "campaign_channel": "ads",
        }
    ]


# --- posts -----------------------------------------------------------------------------------------------------------

START = int(WINDOW.start.timestamp())
DAY = 86_400


def video(number: int, at: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "create_time": at, "like_count": 1, **more}


def display(videos: list[dict[str, Any]], *, stuck: bool = False) -> Answer:
    """The Display API holding these videos, newest first."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert 1 <= asked["max_count"] <= 20
        left = sorted((v for v in videos if v["create_time"] * 1000 < asked["cursor"]), key=lambda v: -v["create_time"])
        page = left[: asked["max_count"]]
        cursor = page[-1]["create_time"] * 1000 if page and not stuck else asked["cursor"]
        data = {"videos": page, "cursor": cursor, "has_more": len(left) > len(page)}
        return httpx.Response(200, json={"data": data, "error": {"code": "ok", "message": "", "log_id": "l"}})

    return answer


def failing(status: int, code: str, message: str) -> Answer:
    return lambda _: httpx.Response(status, json={"error": {"code": code, "message": message, "log_id": "l"}})


def posts(answer: Answer) -> Talk:
    return talk(tiktok_posts.SOURCE, tiktok_posts.POSTS, answer)


def test_videos_are_read_from_the_end_of_the_window_to_its_start_and_no_further() -> None:
    videos = [video(number, START - 5 * DAY + number * DAY // 8) for number in range(80)]
    kept = posts(display(videos))
    inside = {one["id"] for one in videos if START <= one["create_time"] < START + 2 * DAY}

    assert inside <= {one["id"] for one in kept.records}
    assert max(one["create_time"] for one in kept.records) < START + 2 * DAY
    assert 2 == len(kept.requests)


def test_reading_ends_where_there_are_no_more_videos() -> None:
    assert [["1"]] == [[json.loads(one)["id"] for one in page] for page in posts(display([video(1, START)])).pages]
    assert [[]] == posts(display([])).pages


def test_a_cursor_that_stands_still_is_an_error() -> None:
    with pytest.raises(SourceError, match="does not go back in time"):
        posts(display([video(number, START + number) for number in range(30)], stuck=True))


def test_a_missing_scope_is_told_in_the_vendors_words_though_it_is_a_401() -> None:
    with pytest.raises(SourceError, match="scope_not_authorized: The user did not authorize the scope") as caught:
        posts(failing(401, "scope_not_authorized", "The user did not authorize the scope required"))

    assert "does not take the secret" not in str(caught.value)


def test_an_invalid_token_of_posts_asks_for_a_valid_secret() -> None:
    with pytest.raises(SourceRefused, match="does not take the secret.*access_token_invalid"):  # noqa: RUF043
        posts(failing(401, "access_token_invalid", "The access token is invalid"))


def test_the_rate_of_posts_is_waited_for() -> None:
    answer = in_turn(failing(429, "rate_limit_exceeded", "slow down"), display([video(1, START)]))

    assert 60 <= posts(answer).waited[0] < 62


def test_a_video_is_a_post() -> None:
    told = video(5, START + 60, video_description="New boots", comment_count=3, share_count=2, like_count=40)

    assert fed(tiktok_posts.SOURCE, tiktok_posts.POSTS, "social_posts", [told]) == [
        {
            "_fate": "out",
            "post_id": "5",
            "network": "tiktok",
            "posted_at": datetime(2026, 1, 2, 0, 1, tzinfo=UTC),
            "text": "New boots",
            "reply_count": 3,
            "share_count": 2,
            "like_count": 40,
        }
    ]
