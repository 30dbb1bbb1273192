"""X before its recorded traffic, and every quirk of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from etl.connect.reader import refuse_too_old
from etl.connect.resets import seconds_until_reset
from etl.errors import QuotaExhausted, SourceError, SourceRefused, WindowRefused
from etl.model import Stream, Window
from etl.silver.social_posts import SOCIAL_POSTS, standardise_social_posts
from etl.sources.x import MENTIONS, SEARCH, SOURCE, TIMELINE
from tests.sources.judges import NOW, Talk, one_by_one, talk
from tests.sources.vendors import landed, recorded, rows, told

DAY = Window.parse("2026-01-02")


def tweet(ident: str, at: str = "2026-01-02T12:00:00.000Z", **more: Any) -> dict[str, Any]:
    return {"id": ident, "text": "hello", "author_id": "5", "created_at": at, **more}


def page(*tweets: dict[str, Any], token: str = "") -> dict[str, Any]:
    users = [{"id": "5", "username": "Ann", "name": "Ann"}]
    meta = {"result_count": len(tweets), **({"next_token": token} if token else {})}
    return {"meta": meta, **({"data": list(tweets), "includes": {"users": users}} if tweets else {})}


def asked(stream: Stream, *pages: dict[str, Any]) -> Talk:
    return talk(SOURCE, stream, one_by_one(list(pages)), window=DAY, account="783214")


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_pages_are_walked_by_next_token_past_an_empty_page(stream: Stream) -> None:
    kept = asked(stream, page(tweet("1"), token="t1"), page(token="t2"), page(tweet("2")))
    param = "next_token" if stream is SEARCH else "pagination_token"

    assert ["1", "2"] == [record["tweet"]["id"] for record in kept.records]
    assert [None, "t1", "t2"] == [request.url.params.get(param) for request in kept.requests]


def test_each_list_has_its_address_and_the_windows_ends() -> None:
    paths = {stream.name: asked(stream, page()).requests[0].url for stream in SOURCE.streams}

    assert {
        "search": "/2/tweets/search/recent",
        "mentions": "/2/users/783214/mentions",
        "timeline": "/2/users/783214/tweets",
    } == {name: url.path for name, url in paths.items()}
    for url in paths.values():
        assert ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z") == (url.params["start_time"], url.params["end_time"])
    assert "nordlicht -is:retweet" == paths["search"].params["query"]


def test_a_token_that_comes_twice_is_an_error() -> None:
    with pytest.raises(SourceError, match="same next_token came twice"):
        asked(MENTIONS, page(tweet("1"), token="t1"), page(tweet("2"), token="t1"))


def test_a_window_without_posts_is_empty_and_no_error() -> None:
    assert [] == asked(SEARCH, page()).records


def test_the_boundary_is_in_one_window() -> None:
    edges = ["2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00.000Z", "2026-01-02T23:59:59.999Z", "2026-01-03T00:00:00Z"]
    kept = asked(TIMELINE, page(*(tweet(str(at), moment) for at, moment in enumerate(edges))))
    wrapped = landed(SOURCE, TIMELINE, kept.pages, window=DAY)

    assert (["1", "2"], 2, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_ids_beyond_a_floats_reach_stay_as_they_are() -> None:
    kept = asked(SEARCH, page(tweet("1293593516040269825")))

    assert ["1293593516040269825"] == landed(SOURCE, SEARCH, kept.pages, window=DAY).rows["_id"].to_list()


@pytest.mark.parametrize(("stream", "days"), [(SEARCH, 7), (MENTIONS, 30), (TIMELINE, 365)], ids=["7", "30", "365"])
def test_a_window_beyond_what_x_tells_is_refused(stream: Stream, days: int) -> None:
    oldest = DAY.start + timedelta(days=days)

    refuse_too_old(SOURCE, stream, DAY, now=oldest)
    with pytest.raises(WindowRefused, match=f"keeps {days} days"):
        refuse_too_old(SOURCE, stream, DAY, now=oldest + timedelta(seconds=1))


def test_a_post_is_picked_whole_and_a_long_one_with_all_its_text() -> None:
    whole = tweet(
        "9",
        lang="en",
        note_tweet={"text": "hello and much more"},
        public_metrics={"retweet_count": 1, "reply_count": 2, "like_count": 3, "quote_count": 4},
    )
    (row,) = rows(SOURCE, MENTIONS, SOCIAL_POSTS, asked(MENTIONS, page(whole)).pages, window=DAY).to_dicts()

    assert {
        "network": "x",
        "post_id": "9",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "Ann@x.com",
        "text": "hello and much more",
        "language": "en",
        "reply_count": 2,
        "share_count": 1,
        "like_count": 3,
        "day": date(2026, 1, 2),
    } == told(row)


def test_a_post_that_was_searched_and_mentions_us_counts_once() -> None:
    found = rows(SOURCE, SEARCH, SOCIAL_POSTS, asked(SEARCH, page(tweet("9"))).pages, window=DAY)
    mention = rows(SOURCE, MENTIONS, SOCIAL_POSTS, asked(MENTIONS, page(tweet("9"))).pages, window=DAY)
    both = standardise_social_posts(pl.concat([found, mention]).lazy(), key=b"key", country="DE").collect()

    assert ["deduplicated", "out"] == sorted(both["_fate"])


def test_a_post_without_a_told_author_is_nobodys() -> None:
    kept = asked(SEARCH, page(tweet("9", author_id="6")))

    assert [None] == rows(SOURCE, SEARCH, SOCIAL_POSTS, kept.pages, window=DAY)["handle"].to_list()


def failing(status: int, body: dict[str, Any], **headers: str) -> Talk:
    told_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return talk(SOURCE, SEARCH, lambda _: httpx.Response(status, json=body, headers=told_headers), window=DAY)


def test_refusals_are_xs_own_words() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*Unauthorized"):
        failing(401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"})
    with pytest.raises(SourceRefused, match="403: When authenticating requests"):
        failing(403, {"title": "Client Forbidden", "detail": "When authenticating requests you must use keys"})
    with pytest.raises(SourceError, match="HTTP 200: Could not find user"):
        failing(200, {"errors": [{"title": "Not Found Error", "detail": "Could not find user with id: [1]."}]})


def test_a_spent_window_gives_the_slot_back_until_its_reset() -> None:
    reset = NOW + timedelta(minutes=14)
    with pytest.raises(QuotaExhausted, match="Too Many Requests") as spent:
        failing(
            429,
            {"title": "Too Many Requests", "detail": "Too Many Requests"},
            x_rate_limit_reset=str(int(reset.timestamp())),
            x_rate_limit_remaining="0",
        )
    with pytest.raises(QuotaExhausted, match="Monthly product cap") as capped:
        failing(
            429,
            {"detail": "Usage cap exceeded: Monthly product cap", "type": "https://api.x.com/2/problems/usage-capped"},
            x_rate_limit_reset="1",
        )

    assert 1 > abs((spent.value.until - reset).total_seconds())
    assert 86_400 == round((capped.value.until - NOW).total_seconds(), -1)


def test_an_end_of_just_now_is_waited_for() -> None:
    early = {"errors": [{"message": "Invalid 'end_time'. must be a minimum of 10 seconds prior to the request time."}]}
    answers = [httpx.Response(400, json=early)]
    kept = talk(SOURCE, SEARCH, lambda _: answers.pop() if answers else httpx.Response(200, json=page()), window=DAY)

    assert [True] == [10 <= seconds < 12 for seconds in kept.waited]


RECORDED = {"search_recent_tweets": SEARCH, "get_users_mentions": MENTIONS, "get_users_tweets": TIMELINE}


@pytest.mark.parametrize("name", RECORDED)
def test_what_x_answered_once_is_read_to_the_last_post(name: str, shared: Path) -> None:
    stream = RECORDED[name]
    ((request, response),) = recorded(shared / "specs" / "x" / f"test_client_{name}.yaml")
    said = response.json()
    last = {**said, "meta": {name: value for name, value in said["meta"].items() if name != "next_token"}}
    kept = talk(SOURCE, stream, one_by_one([said, last] if "next_token" in said["meta"] else [said]), account="783214")

    assert request.url.path == kept.requests[0].url.path
    assert [each["id"] for each in said["data"]] == [record["tweet"]["id"] for record in kept.records][
        : len(said["data"])
    ]
    assert all(record["text"] for record in kept.records)


def test_the_reset_x_named_once_is_understood(shared: Path) -> None:
    ((_, response),) = recorded(shared / "specs" / "x" / "test_client_search_recent_tweets.yaml")
    asked_at = datetime(2022, 10, 7, 22, 43, 19, tzinfo=UTC)
    headers = {name.lower(): value for name, value in response.headers.items()}

    assert seconds_until_reset(headers, now=asked_at) is None, "the window was not spent"
    headers["x-rate-limit-remaining"] = "0"
    # A quarter of an hour at most.
    assert 0 < (seconds_until_reset(headers, now=asked_at) or 0) <= 900
