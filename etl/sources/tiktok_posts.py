"""TikTok posts: the videos of one account, with their echo.

API: Display API v2, https://developers.tiktok.com/doc/tiktok-api-v2-video-list, scope video.list. Videos come newest
first, 20 a page; the cursor is a time in milliseconds, so reading starts at the window's end and stops at its start.
It knows the account that gave the token and no comments. Counts are those of the moment of reading: `restate_days`
reads a week again. Every answer has an `error`, whose code is `ok` when there is none.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

FIELDS = ("id", "create_time", "title", "video_description", "duration", "share_url", "like_count", "comment_count",
    "share_count", "view_count")  # fmt: skip
SIZE = 20


def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Page after page from the window's end back to its start."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    start, cursor = (window.start - epoch) // timedelta(seconds=1), (window.end - epoch) // timedelta(milliseconds=1)
    while True:
        told = line.ask(
            Ask(
                "/v2/video/list/",
                records="data.videos",
                method="POST",
                params={"fields": ",".join(FIELDS)},
                json={"max_count": SIZE, "cursor": cursor},
            )
        )
        yield told.records
        data = json.loads(told.body)["data"]
        times = [int(video["create_time"]) for video in data["videos"]]
        if not data.get("has_more") or (times and max(times) < start):
            return
        if int(data["cursor"]) >= cursor:
            raise SourceError("tiktok_posts: the cursor does not go back in time, so the pages would never end")
        cursor = int(data["cursor"])


POSTS = Stream(
    name="posts",
    kind=Kind.EVENTS,
    request=Own(read, trims=True),
    id=("id",),
    at=Pick("create_time", "epoch_s"),
    restate_days=7,
    feeds=(
        Feed(
            subject="social_posts",
            fields={
                "post_id": Pick("id"),
                "network": Pick(const="tiktok"),
                "posted_at": Pick("create_time", "epoch_s"),
                "text": Pick("video_description"),
                "reply_count": Pick("comment_count", "number"),
                "share_count": Pick("share_count", "number"),
                "like_count": Pick("like_count", "number"),
            },
        ),
    ),
)

SOURCE = Source(
    name="tiktok_posts",
    title="TikTok posts",
    base_url="https://open.tiktokapis.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=600, seconds=60.0, concurrency=1),
    errors="tiktok_display",
    streams=(POSTS,),
)
