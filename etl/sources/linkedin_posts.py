"""LinkedIn posts: what an organisation posted, with its echo, and the comments on it.

API: Posts, Social Metadata and Comments,
https://learn.microsoft.com/en-us/linkedin/marketing/community-management/shares/posts-api. Versions, queries and the
daily quota are as in `linkedin_ads`. Posts cannot be filtered by time: they come newest first by their making, and
a planned one is out up to 90 days after that, so reading stops 90 days before the window. Reactions and comments are
counts of the moment of reading: a week is read again. Comments are asked for on posts of the last 30 days; what is said
under an older post is not found. `account` is the organisation's number. LinkedIn's terms say how long what members
did may be kept: set the retention to it.

A record of a post holds, beside it, `reactionCount` and `commentCount`. Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

VERSION = {"Linkedin-Version": "202610", "X-Restli-Protocol-Version": "2.0.0"}
SIZE = 50
PLANNED = timedelta(days=90)
TALKED_ABOUT = timedelta(days=30)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_posts(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The organisation's posts with their echo, newest first."""
    for posts in posts_since(line, window.start):
        yield [json.dumps(post, ensure_ascii=False).encode() for post in posts]


def read_comments(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The comments on recent posts, and the answers to them, whenever they were made."""
    since = _millis(window.start - TALKED_ABOUT)
    for posts in posts_since(line, window.start - TALKED_ABOUT):
        for post in posts:
            if post["commentCount"] and post.get("publishedAt", 0) >= since:
                yield from comments_on(line, post["id"])


def posts_since(line: Line, moment: datetime) -> Iterator[list[dict[str, Any]]]:
    """Pages of posts with their echo, until those made so long before `moment` that they were out by then."""
    author = quote(f"urn:li:organization:{line.account}", safe="")
    oldest, start = _millis(moment - PLANNED), 0
    while True:
        query = f"q=author&author={author}&sortBy=CREATED&count={SIZE}&start={start}"
        told = line.ask(Ask(f"/rest/posts?{query}", records="elements", headers=VERSION))
        posts = [json.loads(record) for record in told.records]
        if posts:
            echo = echoes(line, [post["id"] for post in posts])
            yield [{**post, **echo.get(post["id"], _SILENCE)} for post in posts]
        if len(posts) < SIZE or posts[-1]["createdAt"] < oldest:
            return
        start += SIZE


_SILENCE = {"reactionCount": 0, "commentCount": 0}


def echoes(line: Line, urns: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many reactions, of whatever kind, and comments each post has."""
    listed = ",".join(quote(urn, safe="") for urn in urns)
    told = json.loads(line.ask(Ask(f"/rest/socialMetadata?ids=List({listed})", headers=VERSION)).body)
    return {
        urn: {
            "reactionCount": sum(kind["count"] for kind in (social.get("reactionSummaries") or {}).values()),
            "commentCount": (social.get("commentSummary") or {}).get("count", 0),
        }
        for urn, social in told["results"].items()
    }


def comments_on(line: Line, urn: str) -> Iterator[Sequence[bytes]]:
    """The comments on a post, and below them the answers to each."""
    start = 0
    while True:
        path = f"/rest/socialActions/{quote(urn, safe='')}/comments?start={start}&count={SIZE}"
        told = line.ask(Ask(path, records="elements", headers=VERSION))
        yield told.records
        for comment in map(json.loads, told.records):
            if (comment.get("commentsSummary") or {}).get("aggregatedTotalComments"):
                yield from comments_on(line, comment["commentUrn"])
        if len(told.records) < SIZE:
            return
        start += SIZE


def _millis(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


POSTS = Stream(
    name="posts",
    kind=Kind.EVENTS,
    request=Own(read_posts, trims=True),
    id=("id",),
    at=Pick("publishedAt", "epoch_ms"),
    restate_days=7,
    feeds=(
        Feed(
            subject="social_posts",
            fields={
                "post_id": Pick("id"),
                "network": Pick(const="linkedin"),
                "posted_at": Pick("publishedAt", "epoch_ms"),
                "text": Pick("commentary"),
                "reply_count": Pick("commentCount", "number"),
                "like_count": Pick("reactionCount", "number"),
            },
        ),
    ),
)

COMMENTS = Stream(
    name="comments",
    kind=Kind.EVENTS,
    request=Own(read_comments, trims=True),
    id=("commentUrn",),
    at=Pick("created.time", "epoch_ms"),
    feeds=(
        Feed(
            subject="social_posts",
            fields={
                "post_id": Pick("commentUrn"),
                "network": Pick(const="linkedin"),
                "posted_at": Pick("created.time", "epoch_ms"),
                "text": Pick("message.text"),
                "reply_count": Pick("commentsSummary.aggregatedTotalComments", "number"),
                "like_count": Pick("likesSummary.totalLikes", "number"),
            },
        ),
    ),
)

SOURCE = Source(
    name="linkedin_posts",
    title="LinkedIn posts",
    base_url="https://api.linkedin.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="linkedin",
    streams=(POSTS, COMMENTS),
)
