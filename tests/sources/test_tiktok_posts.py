"""TikTok posts: videos newest first, an error in every answer. No description is at hand to judge by: shapes are the
portal's.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from etl.errors import SourceError, SourceRefused
from etl.sources import tiktok_posts
from tests.sources.fed import fed, in_turn
from tests.sources.judges import WINDOW, Answer, Talk, talk

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
