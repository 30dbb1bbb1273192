"""A Facebook page's posts and comments: cursors without their token, comments under posts of long ago."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Stream, Window
from etl.silver.social_posts import SOCIAL_POSTS
from etl.sources.facebook_pages import COMMENTS, MENTIONS, POSTS, SOURCE
from tests.sources.judges import NOW, Talk, talk
from tests.sources.vendors import landed, rows, told

DAY = Window.parse("2026-01-02")
NOON = "2026-01-02T12:00:00+0000"
HOST = "https://graph.facebook.com"


def post(ident: str, at: str = NOON, comments: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": ident, "created_time": at, "comments": {"data": [], "summary": {"total_count": comments}}, **more}


def comment(ident: str, at: str = NOON, **more: Any) -> dict[str, Any]:
    return {"id": ident, "message": "Nice boots", "created_time": at, **more}


class Graph:
    """Edges with their pages; a next page's address repeats what was asked and the token, as Facebook's do."""

    def __init__(self, **edges: list[list[dict[str, Any]]]) -> None:
        self.edges = edges

    def __call__(self, request: httpx.Request) -> httpx.Response:
        edge = request.url.path.removeprefix("/v24.0/").replace("/", "_")
        at = int(request.url.params.get("after", "0"))
        pages = self.edges[edge]
        paging = {"cursors": {"before": str(at), "after": str(at + 1)}}
        if at + 1 < len(pages):
            url = request.url.copy_merge_params({"access_token": "THE-TOKEN", "after": str(at + 1)})
            paging |= {"next": str(url)}  # type: ignore[dict-item]
        return httpx.Response(200, json={"data": pages[at], "paging": paging})


def asked(stream: Stream, **edges: list[list[dict[str, Any]]]) -> Talk:
    return talk(SOURCE, stream, Graph(**edges), window=DAY, account="77")


@pytest.mark.parametrize(
    ("stream", "edge"), [(POSTS, "published_posts"), (MENTIONS, "tagged")], ids=["posts", "tagged"]
)
def test_facebook_knows_the_lists_and_parameters_we_ask_for(stream: Stream, edge: str, shared: Path) -> None:
    page = json.loads((shared / "specs" / "meta" / "Page.json").read_text())
    described = next(api for api in page["apis"] if api.get("endpoint") == edge and api["method"] == "GET")
    (request,) = asked(stream, **{f"77_{edge}": [[]]}).requests
    # What every edge knows: which fields, and where in time and list.
    common = {"fields", "since", "until", "after", "limit"}

    assert "PagePost" == described["return"]
    assert common | {one["name"] for one in described["params"]} >= set(request.url.params)


def test_pages_are_walked_to_the_end_and_the_token_of_the_next_address_is_left_out() -> None:
    kept = asked(POSTS, **{"77_published_posts": [[post("1")], [post("2")], [post("3")]]})

    assert ["1", "2", "3"] == [record["post"]["id"] for record in kept.records]
    assert ["1", "2"] == [request.url.params["after"] for request in kept.requests[1:]]
    for request in kept.requests:
        assert "THE-TOKEN" not in str(request.url)
        assert "Bearer secret" == request.headers["authorization"]
        assert str(int(DAY.start.timestamp())) == request.url.params["since"]
        assert str(int(DAY.end.timestamp())) == request.url.params["until"]


def test_the_boundary_is_in_one_window() -> None:
    edges = [
        "2026-01-01T23:59:59+0000",
        "2026-01-02T00:00:00+0000",
        "2026-01-02T23:59:59+0000",
        "2026-01-03T00:00:00+0000",
    ]
    kept = asked(POSTS, **{"77_published_posts": [[post(str(at), moment) for at, moment in enumerate(edges)]]})
    wrapped = landed(SOURCE, POSTS, kept.pages, window=DAY)

    assert (["1", "2"], 2, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_comments_under_posts_of_the_last_days_are_read_until_they_are_too_old() -> None:
    older = "2026-01-01T00:00:00+0000"
    kept = asked(
        COMMENTS,
        **{
            "77_published_posts": [[post("1", older, comments=3), post("2", comments=0)], [post("3", comments=1)]],
            "1_comments": [[comment("a")], [comment("b", older)], [comment("never asked", older)]],
            "3_comments": [[comment("c")]],
        },
    )
    wrapped = landed(SOURCE, COMMENTS, kept.pages, window=DAY)
    since = datetime.fromtimestamp(int(kept.requests[0].url.params["since"]), UTC)

    assert (["a", "c"], 1) == (wrapped.rows["_id"].to_list(), wrapped.aside)
    assert datetime(2025, 12, 3, tzinfo=UTC) == since


def test_a_post_is_picked_whole() -> None:
    whole = post(
        "77_1",
        message="New boots",
        shares={"count": 2},
        reactions={"data": [], "summary": {"total_count": 3}},
        comments=1,
        **{"from": {"id": "77", "name": "Nordlicht"}},
    )
    for stream, edge in ((POSTS, "77_published_posts"), (MENTIONS, "77_tagged")):
        kept = asked(stream, **{edge: [[whole]]})
        (row,) = rows(SOURCE, stream, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

        assert {
            "network": "facebook",
            "post_id": "77_1",
            "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
            "handle": "77@facebook.com",
            "text": "New boots",
            "reply_count": 1,
            "share_count": 2,
            "like_count": 3,
            "day": date(2026, 1, 2),
        } == told(row)


def test_a_comment_is_picked_whole_and_one_whose_author_is_not_told_is_nobodys() -> None:
    whole = comment("a", comment_count=1, like_count=2, **{"from": {"id": "5", "name": "Ann"}})
    kept = asked(COMMENTS, **{"77_published_posts": [[post("1", comments=2)]], "1_comments": [[whole, comment("b")]]})
    first, second = rows(SOURCE, COMMENTS, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

    assert {
        "network": "facebook",
        "post_id": "a",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "5@facebook.com",
        "text": "Nice boots",
        "reply_count": 1,
        "like_count": 2,
        "day": date(2026, 1, 2),
    } == told(first)
    assert ("b", None) == (second["post_id"], second["handle"])


def failing(status: int, headers: dict[str, str] | None = None, **error: Any) -> Talk:
    return talk(
        SOURCE, POSTS, lambda _: httpx.Response(status, json={"error": error}, headers=headers or {}), window=DAY
    )


def test_refusals_are_facebooks_own_words() -> None:
    with pytest.raises(SourceRefused, match=r"does not take the secret.*Session has expired for \*\*\*"):
        failing(400, code=190, message="Session has expired for secret")
    with pytest.raises(SourceError, match=r"\(#10\) This endpoint requires the 'pages_read_user_content' permission"):
        failing(403, code=10, message="(#10) This endpoint requires the 'pages_read_user_content' permission")


def test_a_spent_page_says_in_minutes_when_to_come_again() -> None:
    usage = {"x-business-use-case-usage": '{"77": [{"type": "pages", "estimated_time_to_regain_access": 20}]}'}
    with pytest.raises(QuotaExhausted, match="too many calls") as spent:
        failing(400, usage, code=80001, message="There have been too many calls")

    assert 20 * 60 == round((spent.value.until - NOW).total_seconds(), -1)


def test_a_next_page_that_comes_twice_is_an_error() -> None:
    circle = {"data": [post("1")], "paging": {"next": f"{HOST}/v24.0/77/published_posts?after=1"}}

    with pytest.raises(SourceError, match="same next page came twice"):
        talk(SOURCE, POSTS, lambda _: httpx.Response(200, json=circle), window=DAY, account="77")
