"""Mastodon: what people write to our account, replies to our posts among it.

API: https://docs.joinmastodon.org/methods/notifications/ with the scope read:notifications, asked of the server our
account lives on (base_url), where `mastodon` may ask any server for the hashtag. Newest first, no filter by date,
paged by the Link header, which is left out at the end. A status that was deleted takes its notification with it.

Posts that also carry the hashtag are left to `mastodon`, or they would count twice: the servers' ids of one post
differ. A `acct` without a host is of our own server.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

MENTIONS = Stream(
    name="mentions",
    kind=Kind.EVENTS,
    request=Http(
        path="/api/v1/notifications",
        records="",
        params={"types[]": "mention"},
        paging=Paging(style="link", size_param="limit", size=80),
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
                "post_id": Pick("status.id"),
                "posted_at": Pick("status.created_at", "timestamp"),
                "handle": Pick("account.acct"),
                "text": Pick("status.content"),
                "language": Pick("status.language"),
                "reply_count": Pick("status.replies_count", "number"),
                "share_count": Pick("status.reblogs_count", "number"),
                "like_count": Pick("status.favourites_count", "number"),
            },
            unless={"status.tags[name=nordlicht].name": ("nordlicht",)},
        ),
    ),
)

SOURCE = Source(
    name="mastodon_mentions",
    title="Mastodon mentions",
    base_url="https://mastodon.social",
    auth=Auth(scheme="bearer"),
    # 300 requests in 5 minutes.
    limits=Limits(requests=300, seconds=300.0, concurrency=1),
    errors="mastodon",
    streams=(MENTIONS,),
)
