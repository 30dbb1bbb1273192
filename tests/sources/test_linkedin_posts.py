"""LinkedIn posts: pages by their making, the echo beside them, comments and the answers to them. No description is at
hand to judge by: shapes are the guide's.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx

from etl.model import Stream
from etl.sources import linkedin_posts
from tests.sources.fed import fed
from tests.sources.judges import WINDOW, Answer, Talk, talk

START = int(WINDOW.start.timestamp() * 1000)
HOUR, DAY = 3_600_000, 86_400_000


def post(number: int, created: int, published: int | None = None) -> dict[str, Any]:
    return {
        "id": f"urn:li:share:{number}",
        "author": "urn:li:organization:500",
        "commentary": f"Post {number}",
        "createdAt": created,
        "publishedAt": created if published is None else published,
        "lifecycleState": "PUBLISHED",
    }


def comment(name: str, at: int, below: int = 0) -> dict[str, Any]:
    return {
        "commentUrn": f"urn:li:comment:(urn:li:activity:1,{name})",
        "message": {"text": f"said {name}"},
        "created": {"time": at},
        "likesSummary": {"totalLikes": 2},
        "commentsSummary": {"aggregatedTotalComments": below},
    }


def organisation(posts: list[dict[str, Any]], comments: dict[str, list[dict[str, Any]]] | None = None) -> Answer:
    """An organisation with these posts, and comments by what they are on."""
    said = comments or {}

    def answer(request: httpx.Request) -> httpx.Response:
        assert "202610" == request.headers["linkedin-version"]
        params = request.url.params
        if request.url.path == "/rest/posts":
            assert ("author", "urn:li:organization:500", "CREATED") == (params["q"], params["author"], params["sortBy"])
            listed = sorted(posts, key=lambda one: -one["createdAt"])
            first = int(params["start"])
            return httpx.Response(200, json={"elements": listed[first : first + int(params["count"])]})
        if request.url.path == "/rest/socialMetadata":
            assert request.url.query.decode().startswith("ids=List(urn%3Ali%3Ashare%3A")
            urns = params["ids"].removeprefix("List(").removesuffix(")").split(",")
            reactions = {"LIKE": {"count": 3}, "PRAISE": {"count": 2}}
            social = {urn: {"reactionSummaries": reactions, "commentSummary": {"count": len(said.get(urn, ()))}}
                      for urn in urns}  # fmt: skip
            return httpx.Response(200, json={"results": social, "statuses": {}, "errors": {}})
        urn = request.url.path.removeprefix("/rest/socialActions/").removesuffix("/comments")
        assert b"%3A" in request.url.raw_path
        return httpx.Response(200, json={"elements": said[urn][int(params["start"]) :][: int(params["count"])]})

    return answer


def posted(answer: Answer, stream: Stream = linkedin_posts.POSTS) -> Talk:
    return talk(linkedin_posts.SOURCE, stream, answer, account="500")


def test_reading_stops_where_planned_posts_can_be_no_more() -> None:
    posts = [post(number, START + DAY - number * DAY) for number in range(150)]
    kept = posted(organisation(posts))

    assert 100 == len(kept.records)


def test_a_post_planned_long_ago_is_found_when_it_is_out() -> None:
    planned = post(999, START - 80 * DAY, START + HOUR)
    posts = [*(post(number, START - number * HOUR) for number in range(60)), planned]

    assert planned["id"] in {one["id"] for one in posted(organisation(posts)).records}


def test_comments_and_the_answers_to_them_are_read_of_recent_posts() -> None:
    said = {
        "urn:li:share:1": [*(comment(f"c{n}", START + n) for n in range(60)), comment("d", START + HOUR, below=1)],
        "urn:li:comment:(urn:li:activity:1,d)": [comment("e", START + 2 * HOUR)],
        "urn:li:share:2": [comment("x", START)],
    }
    posts = [post(1, START - DAY), post(2, START - 40 * DAY), post(3, START)]
    kept = posted(organisation(posts, said), linkedin_posts.COMMENTS)

    assert 62 == len({one["commentUrn"] for one in kept.records})
    assert "said e" in {one["message"]["text"] for one in kept.records}
    assert "said x" not in {one["message"]["text"] for one in kept.records}


def test_a_post_is_a_post_with_all_reactions() -> None:
    records = posted(organisation([post(1, START + HOUR)], {"urn:li:share:1": [comment("c", START)]})).records

    assert fed(linkedin_posts.SOURCE, linkedin_posts.POSTS, "social_posts", records) == [
        {
            "_fate": "out",
            "post_id": "urn:li:share:1",
            "network": "linkedin",
            "posted_at": datetime(2026, 1, 2, 1, tzinfo=UTC),
            "text": "Post 1",
            "reply_count": 1,
            "like_count": 5,
        }
    ]


def test_a_comment_is_a_post_of_its_own() -> None:
    told = json.loads(json.dumps(comment("c", START + HOUR, below=4)))

    assert fed(linkedin_posts.SOURCE, linkedin_posts.COMMENTS, "social_posts", [told]) == [
        {
            "_fate": "out",
            "post_id": "urn:li:comment:(urn:li:activity:1,c)",
            "network": "linkedin",
            "posted_at": datetime(2026, 1, 2, 1, tzinfo=UTC),
            "text": "said c",
            "reply_count": 4,
            "like_count": 2,
        }
    ]
