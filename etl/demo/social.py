"""Posts about the company on Mastodon, in German and English, some by customers whose handle the CRM knows."""

from __future__ import annotations

from random import Random
from typing import Any

from etl.demo.names import GOODS, POSTS
from etl.demo.people import Person
from etl.demo.records import DAY_MS, Truth, Version, iso_ms, moment_between

HASHTAG = "nordlicht"
POSTS_PER_PERSON = 0.4
_HOST = "https://fjord.example"


def build_posts(rng: Random, people: list[Person], truth: Truth, start: int, end: int) -> list[Version]:
    """About two posts for every five people in 30 days; half by known customers, ids are snowflakes of their time."""
    customers = [person for person in people if person.handle]
    names = [title for _, _, goods in GOODS for title, _ in goods]
    count = int(len(people) * POSTS_PER_PERSON * (end - start) / (30 * DAY_MS))
    moments = sorted(moment_between(rng, start, end) for _ in range(count))
    posts = []
    for serial, at in enumerate(moments):
        author = rng.choice(customers) if customers and rng.random() < 0.5 else None
        if author is not None and author.left_at is not None and at > author.left_at:
            author = None
        acct = author.handle if author else f"wanderer{int(rng.random() ** 2 * 900)}@tundra.example"
        account_id = 10_000 + author.number if author else 900_000 + int(acct[8:].split("@")[0])
        language, _, text = rng.choice(POSTS)
        ident = str((at << 16) | (serial & 0xFFFF))
        posts.append(
            Version(ident, at, _status(rng, ident, at, acct, account_id, language, text.format(rng.choice(names))))
        )
        if author is not None:
            truth.link("mastodon", "statuses", ident, author.person_id)
    return posts


def _status(rng: Random, ident: str, at: int, acct: str, account_id: int, language: str, text: str) -> dict[str, Any]:
    """A status in Mastodon's shape, every key a current server sends."""
    name, host = acct.split("@")
    approval = {"automatic": ["public"], "manual": [], "current_user": "automatic"}
    return {
        "id": ident,
        "created_at": iso_ms(at),
        "in_reply_to_id": None,
        "in_reply_to_account_id": None,
        "sensitive": False,
        "spoiler_text": "",
        "visibility": "public",
        "language": language,
        "uri": f"https://{host}/users/{name}/statuses/{ident}",
        "url": f"https://{host}/@{name}/{ident}",
        "replies_count": int(rng.expovariate(0.8)),
        "reblogs_count": int(rng.expovariate(0.6)),
        "favourites_count": int(rng.expovariate(0.2)),
        "quotes_count": 0,
        "edited_at": iso_ms(at + 300_000) if rng.random() < 0.03 else None,
        "favourited": False,
        "reblogged": False,
        "muted": False,
        "bookmarked": False,
        "pinned": False,
        "content": f'<p>{text} <a href="{_HOST}/tags/{HASHTAG}" class="mention hashtag" rel="tag">'
        f"#<span>{HASHTAG}</span></a></p>",
        "filtered": [],
        "reblog": None,
        "application": {"name": "Web", "website": None},
        "account": {
            "id": str(account_id),
            "username": name,
            "acct": acct,
            "display_name": name.replace("_", " ").title(),
            "locked": False,
            "bot": False,
            "discoverable": True,
            "indexable": True,
            "group": False,
            "created_at": "2024-05-01T00:00:00.000Z",
            "note": "",
            "url": f"https://{host}/@{name}",
            "uri": f"https://{host}/users/{name}",
            "avatar": f"{_HOST}/avatars/original/missing.png",
            "avatar_static": f"{_HOST}/avatars/original/missing.png",
            "avatar_description": "",
            "header": f"{_HOST}/headers/original/missing.png",
            "header_static": f"{_HOST}/headers/original/missing.png",
            "header_description": "",
            "followers_count": account_id % 311,
            "following_count": account_id % 97,
            "statuses_count": 1 + account_id % 53,
            "last_status_at": iso_ms(at)[:10],
            "hide_collections": None,
            "show_media": True,
            "show_media_replies": True,
            "show_featured": True,
            "noindex": False,
            "feature_approval": approval,
            "emojis": [],
            "roles": [],
            "fields": [],
        },
        "media_attachments": [],
        "mentions": [],
        "tags": [{"name": HASHTAG, "url": f"{_HOST}/tags/{HASHTAG}"}],
        "emojis": [],
        "tagged_collections": [],
        "quote": None,
        "card": None,
        "poll": None,
        "quote_approval": approval,
    }
