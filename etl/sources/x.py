"""X: posts about us, posts that mention our account, and our own.

API: X API v2, https://docs.x.com/x-api/posts/recent-search. The account is the number of our user; `QUERY` is what is
searched for. Quirks:

- Recent search knows seven days; a timeline ends after 3,200 posts, mentions after 800. What lies beyond is told as if
  there were nothing, and an empty answer would empty a day: so windows of long ago are refused.
- Ids are texts: as numbers they lose their last digits in most readers of JSON.
- An answer without posts has no `data` at all. What could not be given stands in `errors` beside good `data`.
- Authors stand beside the posts (`includes.users`), so each record is {handle, text, tweet}: the author's name as
  `name@x.com`, so that nobody of another network is taken for him, and the whole text of a long post.
- Metrics are those of the moment of reading. A post that was deleted is not told again: a window read anew drops it.
- 429 names the reset as an epoch (15-minute windows per endpoint); the cap of posts a month is 429 too.

Not verified against the live API, which is paid per post.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

QUERY = "nordlicht -is:retweet"
TWEET_FIELDS = (
    "author_id", "conversation_id", "created_at", "in_reply_to_user_id", "lang", "note_tweet", "public_metrics",
    "referenced_tweets",
)  # fmt: skip


def posts(path: str, token_param: str, **params: str) -> Callable[[Line, Window], Iterator[Sequence[bytes]]]:
    """A reader of that list of posts."""

    def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
        asked = {
            **params,
            "start_time": f"{window.start:%Y-%m-%dT%H:%M:%SZ}",
            "end_time": f"{window.end:%Y-%m-%dT%H:%M:%SZ}",
            "max_results": "100",
            "tweet.fields": ",".join(TWEET_FIELDS),
            "expansions": "author_id",
            "user.fields": "username",
        }
        seen: set[str] = set()
        while True:
            told = line.ask(Ask(path.replace("{account}", line.account), records="data", params=asked))
            answer = json.loads(told.body)
            users = {user["id"]: user["username"] for user in answer.get("includes", {}).get("users", ())}
            yield [_with_author(tweet, users) for tweet in told.records]
            token = answer.get("meta", {}).get("next_token", "")
            if not token:
                break
            if token in seen:
                raise SourceError("x: the same next_token came twice; nothing was written; run the window again")
            seen.add(token)
            asked[token_param] = token

    return read


def _with_author(tweet: bytes, users: dict[str, str]) -> bytes:
    """The post to the byte, with its author's handle and its whole text before it."""
    told = json.loads(tweet)
    name = users.get(told.get("author_id", ""))
    before = {
        "handle": f"{name}@x.com" if name else None,
        "text": told.get("note_tweet", {}).get("text") or told.get("text"),
    }
    return json.dumps(before, ensure_ascii=False)[:-1].encode() + b', "tweet": ' + tweet + b"}"


_FEED = Feed(
    subject="social_posts",
    fields={
        "network": Pick(const="x"),
        "post_id": Pick("tweet.id"),
        "posted_at": Pick("tweet.created_at", "timestamp"),
        "handle": Pick("handle"),
        "text": Pick("text"),
        "language": Pick("tweet.lang"),
        "reply_count": Pick("tweet.public_metrics.reply_count", "number"),
        "share_count": Pick("tweet.public_metrics.retweet_count", "number"),
        "like_count": Pick("tweet.public_metrics.like_count", "number"),
    },
)


def _stream(name: str, read: Callable[[Line, Window], Iterator[Sequence[bytes]]], max_age_days: int) -> Stream:
    return Stream(
        name=name,
        kind=Kind.EVENTS,
        request=Own(read, trims=True),
        id=("tweet.id",),
        at=Pick("tweet.created_at", "timestamp"),
        max_age_days=max_age_days,
        feeds=(_FEED,),
    )


SEARCH = _stream("search", posts("/2/tweets/search/recent", "next_token", query=QUERY), max_age_days=7)
MENTIONS = _stream("mentions", posts("/2/users/{account}/mentions", "pagination_token"), max_age_days=30)
TIMELINE = _stream(
    "timeline", posts("/2/users/{account}/tweets", "pagination_token", exclude="retweets"), max_age_days=365
)

SOURCE = Source(
    name="x",
    title="X",
    base_url="https://api.x.com",
    auth=Auth(scheme="bearer"),
    # 450 searches in 15 minutes for an app; mentions 300 for a user.
    limits=Limits(requests=300, seconds=900.0, concurrency=1),
    errors="x",
    streams=(SEARCH, MENTIONS, TIMELINE),
)
