"""Facebook: our page's posts, posts that mention the page, and the comments under ours.

API: Graph API v24.0, https://developers.facebook.com/docs/graph-api/reference/page. The account is the page's number;
the secret is the page's token. Quirks:

- Pages are walked by `paging.next`, which repeats the token in its address: only its cursor is taken from it.
- `since` and `until` are seconds; whether their moments belong to them is not promised, so what lies outside the window
  is set aside.
- Comments have no filter of time and come to posts of long ago: those of the last `COMMENTED_DAYS` are looked at, the
  newest comments first.
- Who wrote (`from`) is told only where the person allowed it. Records are {handle, post} and {handle, comment}, the
  author as `id@facebook.com`, an id that is this page's own name for the person.
- Throttling is HTTP 400 or 403 with a code. Counts are those of the moment of reading.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

VERSION = "v24.0"
COMMENTED_DAYS = 30
POST_FIELDS = (
    "id,message,created_time,updated_time,from,permalink_url,shares,"
    "reactions.limit(0).summary(true),comments.limit(0).summary(true)"
)
COMMENT_FIELDS = "id,message,created_time,from,like_count,comment_count,parent"


def graph(line: Line, path: str, params: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Every page of an edge of the graph. Raises: SourceError when a cursor repeats."""
    asked, seen = dict(params), set[str]()
    while True:
        told = line.ask(Ask(f"/{VERSION}/{path}", "data", params=asked))
        yield [json.loads(record) for record in told.records]
        following = json.loads(told.body).get("paging", {}).get("next", "")
        if not following:
            return
        if following in seen:
            raise SourceError(f"{path}: the same next page came twice; nothing was written; run the window again")
        seen.add(following)
        # Everything of the address but the secret, which goes into the header.
        asked = {name: value for name, value in parse_qsl(urlsplit(following).query) if name != "access_token"}


def posts(edge: str) -> Callable[[Line, Window], Iterator[Sequence[bytes]]]:
    """A reader of one of the page's lists of posts."""

    def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
        asked = {"fields": POST_FIELDS, **_between(window.start, window.end), "limit": "100"}
        for page in graph(line, f"{line.account}/{edge}", asked):
            yield [_authored("post", post) for post in page]

    return read


def comments(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Comments and replies under the posts of the last days."""
    since = window.start - timedelta(days=COMMENTED_DAYS)
    asked = {"fields": "id,comments.limit(0).summary(true)", **_between(since, window.end), "limit": "100"}
    for page in graph(line, f"{line.account}/published_posts", asked):
        for post in page:
            if post.get("comments", {}).get("summary", {}).get("total_count"):
                yield from _under(line, post["id"], window)


def _under(line: Line, post: str, window: Window) -> Iterator[Sequence[bytes]]:
    asked = {"fields": COMMENT_FIELDS, "filter": "stream", "order": "reverse_chronological", "limit": "100"}
    for page in graph(line, f"{post}/comments", asked):
        yield [_authored("comment", comment) for comment in page]
        if page and all(datetime.fromisoformat(comment["created_time"]) < window.start for comment in page):
            return


def _between(start: datetime, end: datetime) -> dict[str, str]:
    return {"since": str(int(start.timestamp())), "until": str(int(end.timestamp()))}


def _authored(name: str, record: Mapping[str, Any]) -> bytes:
    author = record.get("from", {}).get("id")
    told = {"handle": f"{author}@facebook.com" if author else None, name: record}
    return json.dumps(told, ensure_ascii=False).encode()


_POST = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="facebook"),
        "post_id": Pick("post.id"),
        "posted_at": Pick("post.created_time", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("post.message"),
        "reply_count": Pick("post.comments.summary.total_count", "number"),
        "share_count": Pick("post.shares.count", "number"),
        "like_count": Pick("post.reactions.summary.total_count", "number"),
    },
)
_COMMENT = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="facebook"),
        "post_id": Pick("comment.id"),
        "posted_at": Pick("comment.created_time", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("comment.message"),
        "reply_count": Pick("comment.comment_count", "number"),
        "like_count": Pick("comment.like_count", "number"),
    },
)


def _stream(name: str, edge: str) -> Stream:
    at = Pick("post.created_time", "timestamp")
    return Stream(name, Kind.EVENTS, Own(posts(edge), trims=True), id=("post.id",), at=at, feeds=(_POST,))


POSTS = _stream("posts", "published_posts")
MENTIONS = _stream("mentions", "tagged")
COMMENTS = Stream(
    name="comments",
    kind=Kind.EVENTS,
    request=Own(comments, trims=True),
    id=("comment.id",),
    at=Pick("comment.created_time", "timestamp"),
    feeds=(_COMMENT,),
)

SOURCE = Source(
    name="facebook_pages",
    title="Facebook pages",
    base_url="https://graph.facebook.com",
    auth=Auth(scheme="bearer"),
    # The page's share is 4,800 calls a day for each person engaged; a call a second stays below it for most.
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="meta",
    streams=(POSTS, MENTIONS, COMMENTS),
)
