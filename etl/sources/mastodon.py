"""Mastodon: public posts under our hashtag.

API: https://docs.joinmastodon.org/methods/timelines/#tag. Newest first, no filter by date, paged by the Link header.
A status can be edited and its counts move; what is kept is what it said when its day was read.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

STATUSES = Stream(
    name="statuses",
    kind=Kind.EVENTS,
    request=Http(
        path="/api/v1/timelines/tag/nordlicht",
        records="",
        paging=Paging(style="link", size_param="limit", size=40),
        trims=True,
        newest_first=True,
    ),
    id=("id",),
    at=Pick("created_at", "timestamp"),
    feeds=(
        Feed(
            subject="social_posts",
            fields={
                "network": Pick(const="mastodon"),
                "post_id": Pick("id"),
                "posted_at": Pick("created_at", "timestamp"),
                "handle": Pick("account.acct"),
                "text": Pick("content"),
                "language": Pick("language"),
                "reply_count": Pick("replies_count", "number"),
                "share_count": Pick("reblogs_count", "number"),
                "like_count": Pick("favourites_count", "number"),
            },
        ),
    ),
)

SOURCE = Source(
    name="mastodon",
    title="Mastodon",
    base_url="https://mastodon.social",
    auth=Auth(scheme="bearer"),
    # 300 requests in 5 minutes.
    limits=Limits(requests=300, seconds=300.0, concurrency=1),
    errors="mastodon",
    streams=(STATUSES,),
)
