"""YouTube: our videos, videos of others that speak of us, and what is written under ours.

API: YouTube Data API v3, https://developers.google.com/youtube/v3/docs. The account is the id of our channel (UC...);
`QUERY` is what is searched for. Quirks:

- Units are counted per day: 1 for a list, 100 for a search. Our own videos are therefore read from the channel's list
  of uploads. A spent day is 403 `quotaExceeded`, and full again at midnight in California.
- Uploads come newest first, but a video that was made public late stands where it was uploaded: reading goes on for
  `LATE_DAYS` before the window. A search is exact in time, but not complete.
- Comments have no filter of time either. A thread stands at its first comment's time and shows at most five replies,
  so threads of `LATE_DAYS` before the window are read too, and missing replies asked for. A reply to an older thread
  is not seen.
- Records are {handle, text, video} and {handle, reply_count, comment}: the author is known by channel,
  `UC...@youtube.com`, since names are not unique. Statistics are texts, and those of the moment of reading.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

QUERY = "nordlicht"
LATE_DAYS = 30
_API = "/youtube/v3"


def videos(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The channel's own videos published in the window."""
    channel = line.ask(Ask(f"{_API}/channels", "items", params={"part": "contentDetails", "id": line.account}))
    uploads = json.loads(channel.records[0])["contentDetails"]["relatedPlaylists"]["uploads"] if channel.records else ""
    if not uploads:
        raise SourceError("youtube: the account is no channel; expected its id, which begins with UC")
    asked = {"part": "contentDetails", "playlistId": uploads, "maxResults": "50"}
    for page in _pages(line, "playlistItems", asked):
        published = {
            item["contentDetails"]["videoId"]: _moment(item["contentDetails"]["videoPublishedAt"])
            for item in page
            if "videoPublishedAt" in item["contentDetails"]  # what is private has no such time
        }
        yield _watched(line, [video for video, at in published.items() if window.start <= at < window.end])
        if published and max(published.values()) < window.start - timedelta(days=LATE_DAYS):
            break


def mentions(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Videos of other channels that speak of us, published in the window."""
    asked = {
        "part": "snippet",
        "q": QUERY,
        "type": "video",
        "order": "date",
        "publishedAfter": f"{window.start:%Y-%m-%dT%H:%M:%SZ}",
        "publishedBefore": f"{window.end:%Y-%m-%dT%H:%M:%SZ}",
        "maxResults": "50",
    }
    for page in _pages(line, "search", asked):
        yield _watched(
            line, [found["id"]["videoId"] for found in page if found["snippet"]["channelId"] != line.account]
        )


def comments(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Comments and replies under the channel's videos."""
    asked = {
        "part": "snippet,replies",
        "allThreadsRelatedToChannelId": line.account,
        "order": "time",
        "textFormat": "plainText",
        "maxResults": "100",
    }
    for page in _pages(line, "commentThreads", asked):
        written: list[bytes] = []
        for thread in page:
            snippet, replies = thread["snippet"], thread.get("replies", {}).get("comments", [])
            if snippet["totalReplyCount"] > len(replies):
                more = {"part": "snippet", "parentId": thread["id"], "textFormat": "plainText", "maxResults": "100"}
                replies = [reply for told in _pages(line, "comments", more) for reply in told]
            written.append(_comment(snippet["topLevelComment"], snippet["totalReplyCount"]))
            written += [_comment(reply, 0) for reply in replies]
        yield written
        began = [_moment(thread["snippet"]["topLevelComment"]["snippet"]["publishedAt"]) for thread in page]
        if began and max(began) < window.start - timedelta(days=LATE_DAYS):
            break


def _pages(line: Line, what: str, params: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Every page of a list. Raises: SourceError when a page's token repeats."""
    asked, seen = dict(params), set[str]()
    while True:
        told = line.ask(Ask(f"{_API}/{what}", "items", params=asked))
        yield [json.loads(item) for item in told.records]
        token = json.loads(told.body).get("nextPageToken", "")
        if not token:
            return
        if token in seen:
            raise SourceError(f"youtube: {what} gave the same nextPageToken twice; nothing was written; run it again")
        seen.add(token)
        asked["pageToken"] = token


def _watched(line: Line, ids: Sequence[str]) -> list[bytes]:
    """The videos (50 at most, as a page holds) with what is said and counted of them."""
    if not ids:
        return []
    told = line.ask(Ask(f"{_API}/videos", "items", params={"part": "snippet,statistics", "id": ",".join(ids)}))
    found: list[bytes] = []
    for video in map(json.loads, told.records):
        snippet = video["snippet"]
        text = "\n".join(part for part in (snippet.get("title"), snippet.get("description")) if part)
        record = {"handle": f"{snippet['channelId']}@youtube.com", "text": text, "video": video}
        found.append(json.dumps(record, ensure_ascii=False).encode())
    return found


def _comment(comment: Mapping[str, Any], replies: int) -> bytes:
    author = comment["snippet"].get("authorChannelId", {}).get("value")
    record = {"handle": f"{author}@youtube.com" if author else None, "reply_count": replies, "comment": comment}
    return json.dumps(record, ensure_ascii=False).encode()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


_VIDEO = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="youtube"),
        "post_id": Pick("video.id"),
        "posted_at": Pick("video.snippet.publishedAt", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("text"),
        "language": Pick("video.snippet.defaultAudioLanguage"),
        "reply_count": Pick("video.statistics.commentCount", "number"),
        "like_count": Pick("video.statistics.likeCount", "number"),
    },
)
_COMMENT = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="youtube"),
        "post_id": Pick("comment.id"),
        "posted_at": Pick("comment.snippet.publishedAt", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("comment.snippet.textDisplay"),
        "reply_count": Pick("reply_count", "number"),
        "like_count": Pick("comment.snippet.likeCount", "number"),
    },
)
_PUBLISHED = Pick("video.snippet.publishedAt", "timestamp")

VIDEOS = Stream("videos", Kind.EVENTS, Own(videos), id=("video.id",), at=_PUBLISHED, feeds=(_VIDEO,))
MENTIONS = Stream("mentions", Kind.EVENTS, Own(mentions, trims=True), id=("video.id",), at=_PUBLISHED, feeds=(_VIDEO,))
COMMENTS = Stream(
    name="comments",
    kind=Kind.EVENTS,
    request=Own(comments, trims=True),
    id=("comment.id",),
    at=Pick("comment.snippet.publishedAt", "timestamp"),
    feeds=(_COMMENT,),
)

SOURCE = Source(
    name="youtube",
    title="YouTube",
    base_url="https://youtube.googleapis.com",
    # A key of the project is enough for what is public.
    auth=Auth(scheme="header", header="X-Goog-Api-Key"),
    limits=Limits(requests=100, seconds=60.0, concurrency=1),
    errors="google",
    streams=(VIDEOS, MENTIONS, COMMENTS),
)
