"""Instagram: our posts, posts of others that tag us, and the comments under ours.

API: Instagram Graph API v24.0, https://developers.facebook.com/docs/instagram-platform. The account is the number of
the professional account; the secret a token of the page it belongs to. Quirks:

- No list can be asked for by time. Posts come newest first, so reading stops at the first page that lies wholly before
  what is looked for. Tagged posts are listed in the order they were tagged, of which nothing is promised: all are read.
- Comments come to posts of long ago: posts of the last `COMMENTED_DAYS` are looked at, where they have any comments.
- A comment brings its first replies with it; where there are more, they are asked for.
- Records are {handle, media} and {handle, comment}, the author as `name@instagram.com`. Like counts are absent where
  the author hides them. Stories are not posts, and a mention in a caption or story is only told by webhook.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from etl.model import Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window
from etl.sources.facebook_pages import graph

COMMENTED_DAYS = 30
MEDIA_FIELDS = (
    "id", "caption", "comments_count", "like_count", "media_product_type", "media_type", "permalink", "timestamp",
    "username",
)  # fmt: skip
TAG_FIELDS = ("id", "caption", "comments_count", "like_count", "media_type", "permalink", "timestamp", "username")
COMMENT_FIELDS = ("id", "text", "timestamp", "username", "like_count", "parent_id")


def media(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Our posts."""
    for page in graph(line, f"{line.account}/media", {"fields": ",".join(MEDIA_FIELDS), "limit": "100"}):
        yield [_authored("media", post) for post in page]
        if _is_before(page, window.start):
            return


def mentions(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    """Posts in which we are tagged, of all times; the envelope sets aside what is of another window."""
    for page in graph(line, f"{line.account}/tags", {"fields": ",".join(TAG_FIELDS), "limit": "100"}):
        yield [_authored("media", post) for post in page]


def comments(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Comments and replies under our posts of the last days."""
    since = window.start - timedelta(days=COMMENTED_DAYS)
    asked = {"fields": "id,timestamp,comments_count", "limit": "100"}
    for page in graph(line, f"{line.account}/media", asked):
        for post in page:
            if since <= datetime.fromisoformat(post["timestamp"]) < window.end and post.get("comments_count"):
                yield from _under(line, post["id"])
        if _is_before(page, since):
            return


def _under(line: Line, post: str) -> Iterator[Sequence[bytes]]:
    own = ",".join(COMMENT_FIELDS)
    for page in graph(line, f"{post}/comments", {"fields": f"{own},replies{{{own}}}", "limit": "50"}):
        written: list[bytes] = []
        for comment in page:
            replies = comment.pop("replies", {})
            answers = replies.get("data", [])
            if replies.get("paging", {}).get("next"):
                asked = {"fields": own, "limit": "50"}
                answers = [reply for told in graph(line, f"{comment['id']}/replies", asked) for reply in told]
            written += [_authored("comment", one) for one in (comment, *answers)]
        yield written


def _is_before(page: Sequence[Mapping[str, Any]], moment: datetime) -> bool:
    return bool(page) and all(datetime.fromisoformat(post["timestamp"]) < moment for post in page)


def _authored(name: str, record: Mapping[str, Any]) -> bytes:
    author = record.get("username")
    told = {"handle": f"{author}@instagram.com" if author else None, name: record}
    return json.dumps(told, ensure_ascii=False).encode()


_MEDIA = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="instagram"),
        "post_id": Pick("media.id"),
        "posted_at": Pick("media.timestamp", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("media.caption"),
        "reply_count": Pick("media.comments_count", "number"),
        "like_count": Pick("media.like_count", "number"),
    },
)
_COMMENT = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="instagram"),
        "post_id": Pick("comment.id"),
        "posted_at": Pick("comment.timestamp", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("comment.text"),
        "like_count": Pick("comment.like_count", "number"),
    },
)
_POSTED = Pick("media.timestamp", "timestamp")

MEDIA = Stream("media", Kind.EVENTS, Own(media, trims=True), id=("media.id",), at=_POSTED, feeds=(_MEDIA,))
MENTIONS = Stream("mentions", Kind.EVENTS, Own(mentions, trims=True), id=("media.id",), at=_POSTED, feeds=(_MEDIA,))
COMMENTS = Stream(
    name="comments",
    kind=Kind.EVENTS,
    request=Own(comments, trims=True),
    id=("comment.id",),
    at=Pick("comment.timestamp", "timestamp"),
    feeds=(_COMMENT,),
)

SOURCE = Source(
    name="instagram",
    title="Instagram",
    base_url="https://graph.facebook.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="meta",
    streams=(MEDIA, MENTIONS, COMMENTS),
)
