"""YouTube before Google's own description of its API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Stream, Window
from etl.silver.social_posts import SOCIAL_POSTS
from etl.sources.youtube import COMMENTS, MENTIONS, SOURCE, VIDEOS
from tests.sources.judges import NOW, Talk, talk
from tests.sources.vendors import asked_well, discovery, judged, landed, rows, told

DAY = Window.parse("2026-01-02")
OURS = "UCours"
METHODS = {
    "channels": ("channels.list", "ChannelListResponse"),
    "playlistItems": ("playlistItems.list", "PlaylistItemListResponse"),
    "search": ("search.list", "SearchListResponse"),
    "videos": ("videos.list", "VideoListResponse"),
    "commentThreads": ("commentThreads.list", "CommentThreadListResponse"),
    "comments": ("comments.list", "CommentListResponse"),
}


def comment(ident: str, at: str, text: str = "Nice boots", author: str | None = "UCann") -> dict[str, Any]:
    snippet = {
        "videoId": "v1",
        "textDisplay": text,
        "authorDisplayName": "@ann",
        "likeCount": 2,
        "publishedAt": at,
        "updatedAt": at,
        **({"authorChannelId": {"value": author}} if author else {}),
    }
    return {"kind": "youtube#comment", "id": ident, "snippet": snippet}


def thread(ident: str, at: str, *replies: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    snippet = {
        "channelId": OURS,
        "videoId": "v1",
        "topLevelComment": comment(ident, at),
        "totalReplyCount": len(replies) if count is None else count,
        "canReply": True,
        "isPublic": True,
    }
    shown = {"replies": {"comments": list(replies)}} if replies else {}
    return {"kind": "youtube#commentThread", "id": ident, "snippet": snippet, **shown}


class YouTube:
    """A channel with videos (id -> when made public), those of others, and pages of threads."""

    def __init__(
        self,
        videos: dict[str, str] | None = None,
        others: dict[str, str] | None = None,
        threads: list[list[dict[str, Any]]] | None = None,
        replies: list[list[dict[str, Any]]] | None = None,
        size: int = 50,
    ) -> None:
        self.videos, self.others, self.size = videos or {}, others or {}, size
        self.threads, self.replies = threads or [[]], replies or [[]]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        what = request.url.path.removeprefix("/youtube/v3/")
        asked = request.url.params
        at = int(asked.get("pageToken", "0"))
        match what:
            case "channels":
                pages = [[{"id": OURS, "contentDetails": {"relatedPlaylists": {"uploads": "UUours"}}}]]
            case "playlistItems":
                pages = self.cut([{"contentDetails": self.uploaded(*one)} for one in self.videos.items()])
            case "search":
                pages = self.cut(
                    [
                        {"id": {"kind": "youtube#video", "videoId": ident}, "snippet": {"channelId": channel}}
                        for ident, channel in self.others.items()
                    ]
                )
            case "videos":
                pages = [[self.video(ident) for ident in asked["id"].split(",")]]
            case "commentThreads":
                pages = self.threads
            case "comments":
                pages = self.replies
            case _:
                raise AssertionError(what)
        more = {"nextPageToken": str(at + 1)} if at + 1 < len(pages) else {}
        kind = METHODS[what][1]
        return httpx.Response(200, json={"kind": f"youtube#{kind[0].lower()}{kind[1:]}", "items": pages[at], **more})

    def cut(self, items: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        return [items[at : at + self.size] for at in range(0, len(items), self.size)] or [[]]

    def uploaded(self, ident: str, at: str) -> dict[str, Any]:
        return {"videoId": ident, **({"videoPublishedAt": at} if at else {})}

    def video(self, ident: str) -> dict[str, Any]:
        snippet = {
            "title": "Boots",
            "description": "For winter",
            "channelId": OURS if ident in self.videos else "UCother",
            "publishedAt": self.videos.get(ident) or "2026-01-02T12:00:00Z",
            "defaultAudioLanguage": "en-GB",
        }
        statistics = {"viewCount": "9", "likeCount": "3", "commentCount": "1"}
        return {"kind": "youtube#video", "id": ident, "snippet": snippet, "statistics": statistics}


def asked(stream: Stream, server: YouTube) -> Talk:
    return talk(SOURCE, stream, server, window=DAY, account=OURS)


def methods(kept: Talk) -> list[str]:
    return [request.url.path.rpartition("/")[2] for request in kept.requests]


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_google_knows_what_we_ask_and_what_our_fake_answers(stream: Stream, shared: Path) -> None:
    document = discovery(shared, "youtube.v3.json")
    at = "2026-01-02T12:00:00Z"
    server = YouTube({"v1": at, "v2": at}, {"o1": "UCother"}, [[thread("c1", at, count=1)]], [[comment("c1.r", at)]], 1)
    kept = asked(stream, server)

    for request, response, what in zip(kept.requests, kept.responses, methods(kept), strict=True):
        method, schema = METHODS[what]
        asked_well(document, method, request)
        judged(document, schema, response.json())
        assert "secret" == request.headers["x-goog-api-key"]
    assert 2 <= len(kept.requests)


def test_uploads_are_read_until_long_before_the_window() -> None:
    videos = {
        "late": "2025-12-31T00:00:00Z",
        "private": "",
        "in": "2026-01-02T23:59:59Z",
        "next": "2026-01-03T00:00:00Z",
        "first": "2026-01-02T00:00:00Z",
        "old": "2025-11-01T00:00:00Z",
        "never asked": "2025-10-01T00:00:00Z",
    }
    kept = asked(VIDEOS, YouTube(videos, size=1))

    assert ["in", "first"] == [record["video"]["id"] for record in kept.records]
    assert 6 == methods(kept).count("playlistItems")


def test_mentions_are_videos_of_others() -> None:
    kept = asked(MENTIONS, YouTube(others={"mine": OURS, "o1": "UCother", "o2": "UCthird"}, size=2))
    search = kept.requests[0].url.params

    assert ["o1", "o2"] == [record["video"]["id"] for record in kept.records]
    assert ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z") == (search["publishedAfter"], search["publishedBefore"])


def test_replies_that_a_thread_does_not_show_are_asked_for() -> None:
    at = "2026-01-02T12:00:00Z"
    shown, hidden = comment("c1.r1", at), comment("c1.r2", at)
    server = YouTube(threads=[[thread("c1", at, shown, count=2)], [thread("c2", at)]], replies=[[shown], [hidden]])
    kept = asked(COMMENTS, server)

    assert ["c1", "c1.r1", "c1.r2", "c2"] == [record["comment"]["id"] for record in kept.records]
    assert "c1" == kept.requests[1].url.params["parentId"]


def test_threads_are_read_until_long_before_the_window_for_the_sake_of_late_replies() -> None:
    late = comment("c2.r", "2026-01-02T12:00:00Z")
    pages = [
        [thread("c1", "2026-01-03T00:00:00Z")],
        [thread("c2", "2025-12-20T00:00:00Z", late)],
        [thread("c3", "2025-11-01T00:00:00Z")],
        [thread("never asked", "2025-10-01T00:00:00Z")],
    ]
    kept = asked(COMMENTS, YouTube(threads=pages))
    wrapped = landed(SOURCE, COMMENTS, kept.pages, window=DAY)

    assert (["c2.r"], 3, 0) == (wrapped.rows["_id"].to_list(), wrapped.aside, wrapped.dead.height)


def test_a_video_is_picked_whole() -> None:
    kept = asked(VIDEOS, YouTube({"v1": "2026-01-02T12:00:00Z"}))
    (row,) = rows(SOURCE, VIDEOS, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

    assert {
        "network": "youtube",
        "post_id": "v1",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "UCours@youtube.com",
        "text": "Boots\nFor winter",
        "language": "en-GB",
        "reply_count": 1,
        "like_count": 3,
        "day": date(2026, 1, 2),
    } == told(row)


def test_a_comment_is_picked_whole_and_one_of_a_closed_account_is_nobodys() -> None:
    at = "2026-01-02T12:00:00Z"
    gone = comment("c1.r", at, author=None)
    kept = asked(COMMENTS, YouTube(threads=[[thread("c1", at, gone)]]))
    first, second = rows(SOURCE, COMMENTS, SOCIAL_POSTS, kept.pages, window=DAY).to_dicts()

    assert {
        "network": "youtube",
        "post_id": "c1",
        "posted_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "handle": "UCann@youtube.com",
        "text": "Nice boots",
        "reply_count": 1,
        "like_count": 2,
        "day": date(2026, 1, 2),
    } == told(first)
    assert ("c1.r", None) == (second["post_id"], second["handle"])


def failing(status: int, reason: str, message: str) -> Talk:
    error = {"code": status, "message": message, "errors": [{"message": message, "domain": "x", "reason": reason}]}
    headers = {"date": "Fri, 02 Jan 2026 20:00:00 GMT"}
    return talk(SOURCE, COMMENTS, lambda _: httpx.Response(status, json={"error": error}, headers=headers), window=DAY)


def test_a_spent_day_is_full_again_at_midnight_in_california() -> None:
    with pytest.raises(QuotaExhausted, match="exceeded your quota") as spent:
        failing(403, "quotaExceeded", "The request cannot be completed because you have exceeded your quota.")

    # 20:00 UTC is noon there.
    assert 12 * 3600 == round((spent.value.until - NOW).total_seconds(), -2)


def test_refusals_are_youtubes_own_words() -> None:
    with pytest.raises(SourceRefused, match=r"403: The API key is not allowed"):
        failing(403, "forbidden", "The API key is not allowed")
    with pytest.raises(SourceRefused, match=r"does not take the secret.*API key not valid"):
        failing(400, "keyInvalid", "API key not valid. Please pass a valid API key.")


def test_a_page_that_comes_twice_is_an_error() -> None:
    def circle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": [thread("c1", "2026-01-02T12:00:00Z")], "nextPageToken": "again"})

    with pytest.raises(SourceError, match="same nextPageToken twice"):
        talk(SOURCE, COMMENTS, circle, window=DAY)


def test_an_account_that_is_no_channel_is_an_error() -> None:
    with pytest.raises(SourceError, match="no channel"):
        talk(SOURCE, VIDEOS, lambda _: httpx.Response(200, json={"items": []}), window=DAY)
