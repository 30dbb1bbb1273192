"""Instagram's posts, tags and comments, before Meta's own description of a post."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceRefused
from etl.model import Stream, Window
from etl.silver.social_posts import SOCIAL_POSTS
from etl.sources.instagram import COMMENTS, MEDIA, MEDIA_FIELDS, MENTIONS, SOURCE, TAG_FIELDS
from tests.sources.judges import Talk, talk
from tests.sources.test_facebook_pages import Graph
from tests.sources.vendors import landed, rows, told

DAY = Window.parse("2026-01-02")
NOON = "2026-01-02T12:00:00+0000"


def post(ident: str, at: str = NOON, **more: Any) -> dict[str, Any]:
    return {"id": ident, "timestamp": at, "username": "nordlicht", "comments_count": 0, **more}


def comment(ident: str, at: str = NOON, **more: Any) -> dict[str, Any]:
    return {"id": ident, "timestamp": at, "text": "Nice boots", "username": "Ann", "like_count": 2, **more}


def asked(stream: Stream, **edges: list[list[dict[str, Any]]]) -> Talk:
    return talk(SOURCE, stream, Graph(**edges), window=DAY, account="88")


def test_instagram_knows_the_fields_we_ask_for(shared: Path) -> None:
    described = json.loads((shared / "specs" / "meta" / "IGMedia.json").read_text())
    known = {field["name"] for field in described["fields"]}

    assert known >= {*MEDIA_FIELDS, *TAG_FIELDS}
    assert "IGComment" == next(api["return"] for api in described["apis"] if api.get("endpoint") == "comments")


def test_a_field_of_our_fake_is_one_of_instagrams(shared: Path) -> None:
    described = json.loads((shared / "specs" / "meta" / "IGMedia.json").read_text())

    assert {field["name"] for field in described["fields"]} >= set(post("1"))


def test_posts_are_read_until_a_page_lies_before_the_window() -> None:
    old = "2026-01-01T23:59:59+0000"
    pages = [
        [post("next", "2026-01-03T00:00:00+0000")],
        [post("a"), post("pinned", old)],
        [post("b", old)],
        [post("no")],
    ]
    kept = asked(MEDIA, **{"88_media": pages})
    wrapped = landed(SOURCE, MEDIA, kept.pages, window=DAY)

    assert 3 == len(kept.requests)
    assert (["a"], 3, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_tags_are_all_read_since_nothing_is_promised_of_their_order() -> None:
    old = "2020-01-01T00:00:00+0000"
    kept = asked(MENTIONS, **{"88_tags": [[post("old", old)], [post("a")]]})

    assert ["a"] == landed(SOURCE, MENTIONS, kept.pages, window=DAY).rows["_id"].to_list()


def test_comments_under_posts_of_the_last_days_are_read_with_all_their_replies() -> None:
    older, ancient = "2025-12-20T00:00:00+0000", "2025-11-01T00:00:00+0000"
    shown = {"data": [comment("a.1")], "paging": {"next": "https://graph.facebook.com/v24.0/a/replies?after=1"}}
    few = {"data": [comment("b.1")]}
    kept = asked(
        COMMENTS,
        **{
            "88_media": [[post("1", older, comments_count=4), post("quiet")], [post("2", ancient, comments_count=1)]],
            "1_comments": [[comment("a", replies=shown)], [comment("b", replies=few), comment("c", older)]],
            "a_replies": [[comment("a.1")], [comment("a.2")]],
        },
    )
    wrapped = landed(SOURCE, COMMENTS, kept.pages, window=DAY)

    assert (["a", "a.1", "a.2", "b", "b.1"], 1) == (wrapped.rows["_id"].to_list(), wrapped.aside)


def test_a_post_is_picked_whole() -> None:
    for stream, edge in ((MEDIA, "88_media"), (MENTIONS, "88_tags")):
        kept = asked(stream, **{edge: [[post("1", caption="New boots", like_count=3, comments_count=1)]]})
        (row,) = rows(SOURCE, stream, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

        assert {
            "network": "instagram",
            "post_id": "1",
            "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
            "handle": "nordlicht@instagram.com",
            "text": "New boots",
            "reply_count": 1,
            "like_count": 3,
            "day": date(2026, 1, 2),
        } == told(row)


def test_a_comment_is_picked_whole() -> None:
    kept = asked(COMMENTS, **{"88_media": [[post("1", comments_count=1)]], "1_comments": [[comment("a")]]})
    (row,) = rows(SOURCE, COMMENTS, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

    assert {
        "network": "instagram",
        "post_id": "a",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "Ann@instagram.com",
        "text": "Nice boots",
        "like_count": 2,
        "day": date(2026, 1, 2),
    } == told(row)


def test_refusals_and_quotas_are_in_the_codes_of_meta() -> None:
    def failing(**error: Any) -> None:
        usage = {"x-business-use-case-usage": '{"88": [{"estimated_time_to_regain_access": 60}]}'}
        talk(SOURCE, MEDIA, lambda _: httpx.Response(403, json={"error": error}, headers=usage), window=DAY)

    with pytest.raises(SourceRefused, match=r"does not take the secret.*Error validating access token"):
        failing(code=190, message="Error validating access token")
    with pytest.raises(SourceRefused, match=r"403: \(#10\) Application does not have permission"):
        failing(code=10, message="(#10) Application does not have permission for this action")
    with pytest.raises(QuotaExhausted, match="request limit reached"):
        failing(code=4, message="Application request limit reached")
