"""Mentions on Mastodon, replayed from a real server's answers, and to the end of the window."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceRefused
from etl.model import Window
from etl.silver.social_posts import SOCIAL_POSTS
from etl.sources import mastodon
from etl.sources.mastodon_mentions import MENTIONS, SOURCE
from tests.sources.judges import NOW, talk
from tests.sources.vendors import landed, recorded, rows, told

DAY = Window.parse("2026-01-02")
LIST = "https://mastodon.social/api/v1/notifications"


def mention(ident: str, at: str = "2026-01-02T12:00:00.000Z", **status: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "type": "mention",
        "created_at": at,
        "account": {"acct": "ann@fjord.example"},
        "status": {"id": f"s{ident}", "created_at": at, "content": "<p>Hello</p>", "tags": [], **status},
    }


def test_pages_are_walked_by_the_link_header_which_ends() -> None:
    pages = {"": ([mention("3"), mention("2")], "2"), "2": ([mention("1")], "")}

    def answer(request: httpx.Request) -> httpx.Response:
        held, older = pages[request.url.params.get("max_id", "")]
        link = f'<{LIST}?max_id={older}&types%5B%5D=mention>; rel="next"' if older else ""
        return httpx.Response(200, json=held, headers={"link": link} if link else {})

    kept = talk(SOURCE, MENTIONS, answer, window=DAY)

    assert ["3", "2", "1"] == [record["id"] for record in kept.records]
    assert ["mention", "mention"] == [request.url.params["types[]"] for request in kept.requests]


def test_the_boundary_is_in_one_window() -> None:
    edges = ["2026-01-01T23:59:59.999Z", "2026-01-02T00:00:00.000Z", "2026-01-02T23:59:59.999Z", "2026-01-03T00:00:00Z"]
    page = [json.dumps(mention(str(at), moment)).encode() for at, moment in enumerate(edges)]
    wrapped = landed(SOURCE, MENTIONS, [page], window=DAY)

    assert (["1", "2"], 2, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)
    assert landed(SOURCE, MENTIONS, [page[:1]], window=DAY).is_before


def test_a_mention_is_picked_whole_and_one_with_the_hashtag_left_to_its_source() -> None:
    whole = mention("1", language="de", replies_count=1, reblogs_count=2, favourites_count=3)
    tagged = mention("2", tags=[{"name": "boots"}, {"name": "nordlicht"}])
    page = [json.dumps(one).encode() for one in (whole, tagged)]
    picked = rows(SOURCE, MENTIONS, SOCIAL_POSTS, [page], window=DAY)

    assert [None, "not_this_feed"] == picked["_rule"].to_list()
    assert {
        "network": "mastodon",
        "post_id": "s1",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "ann@fjord.example",
        "text": "<p>Hello</p>",
        "language": "de",
        "reply_count": 1,
        "share_count": 2,
        "like_count": 3,
        "day": date(2026, 1, 2),
    } == told(picked.to_dicts()[0])


def test_a_real_servers_mentions_are_read(shared: Path) -> None:
    exchanges = recorded(shared / "specs" / "mastodon" / "test_notifications_mentions_only.yaml")
    asked = [(request, response) for request, response in exchanges if request.url.params.get("types[]") == "mention"]
    pages = [response for _, response in asked]

    def replayed(_: httpx.Request) -> httpx.Response:
        return pages.pop(0) if pages else httpx.Response(200, json=[])

    window = Window.parse("2026-08-01")
    kept = talk(SOURCE, MENTIONS, replayed, window=window, base_url="http://localhost:3000")
    picked = rows(SOURCE, MENTIONS, SOCIAL_POSTS, kept.pages, window=window)

    assert asked
    assert {request.url.path for request, _ in asked} == {request.url.path for request in kept.requests}
    assert picked.height == len(kept.records) > 0
    assert 0 == picked.select("post_id", "posted_at", "handle", "text").null_count().sum_horizontal().item()


def test_a_real_servers_hashtag_is_walked_to_its_end(shared: Path) -> None:
    exchanges = recorded(shared / "specs" / "mastodon" / "test_pagination_iterator.yaml")
    pages = {
        request.url.params.get("max_id", ""): response
        for request, response in exchanges
        if "/timelines/tag/" in request.url.path and "min_id" not in request.url.params
    }
    recorded_ids = {status["id"] for response in pages.values() for status in response.json()}
    kept = talk(
        mastodon.SOURCE,
        mastodon.STATUSES,
        lambda request: pages[request.url.params.get("max_id", "")],
        base_url="http://localhost:3000",
    )
    read = [status["id"] for status in kept.records]

    assert len(kept.requests) > 2
    assert len(read) == len(set(read))
    assert recorded_ids == set(read)


def test_refusals_and_resets_are_mastodons_own() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*access token is invalid"):
        talk(SOURCE, MENTIONS, lambda _: httpx.Response(401, json={"error": "The access token is invalid"}))
    with pytest.raises(SourceRefused, match="403: This action is outside the authorized scopes"):
        talk(
            SOURCE,
            MENTIONS,
            lambda _: httpx.Response(403, json={"error": "This action is outside the authorized scopes"}),
        )
    reset = {"x-ratelimit-reset": "2026-02-01T02:00:00.500000Z", "x-ratelimit-remaining": "0"}
    with pytest.raises(QuotaExhausted, match="Too many requests") as spent:
        talk(SOURCE, MENTIONS, lambda _: httpx.Response(429, json={"error": "Too many requests"}, headers=reset))
    assert 1 > abs((spent.value.until - NOW - timedelta(hours=2)).total_seconds())
