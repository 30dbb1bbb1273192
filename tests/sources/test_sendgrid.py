"""SendGrid's suppressions: offsets to the end, a window that includes its end, its own words when it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl
import pytest

from etl.errors import QuotaExhausted, SourceRefused
from etl.model import Stream, Window
from etl.silver.consents import CONSENTS, standardise_consents
from etl.silver.standardise import picked
from etl.sources.sendgrid import BLOCKS, BOUNCES, GROUP_UNSUBSCRIBES, SOURCE, SPAM_REPORTS, UNSUBSCRIBES
from tests.sources.fed import in_turn, landed
from tests.sources.judges import NOW, Answer, Talk, talk
from tests.sources.vendors import landed as wrapped

DAY = Window.parse("2026-01-02")
START, END = int(DAY.start.timestamp()), int(DAY.end.timestamp())


def bounce(number: int, created: int = START) -> dict[str, Any]:
    return {"created": created, "email": f"a{number}@example.com", "reason": "550 no such user", "status": "5.1.1"}


def lists(records: list[dict[str, Any]]) -> Answer:
    """A list of suppressions that filters and pages as the vendor says it does: both ends belong to the answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = {name: int(value) for name, value in request.url.params.items()}
        held = [one for one in records if asked["start_time"] <= one["created"] <= asked["end_time"]]
        first = asked.get("offset", 0)
        return httpx.Response(200, json=held[first : first + asked["limit"]])

    return answer


def refusing(status: int, message: str, **headers: str) -> Answer:
    return lambda _: httpx.Response(status, json={"errors": [{"field": None, "message": message}]}, headers=headers)


def bounces(answer: Answer) -> Talk:
    return talk(SOURCE, BOUNCES, answer, window=DAY)


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1203])
def test_offsets_are_walked_to_the_end(count: int) -> None:
    kept = bounces(lists([bounce(number) for number in range(count)]))

    assert count == len({one["email"] for one in kept.records}) == len(kept.records)


LISTS = [stream for stream in SOURCE.streams if stream is not GROUP_UNSUBSCRIBES]


@pytest.mark.parametrize("stream", LISTS, ids=lambda stream: stream.name)
def test_the_window_is_asked_for_in_seconds(stream: Stream) -> None:
    request = talk(SOURCE, stream, lists([]), window=DAY).requests[0]

    assert f"/v3/suppression/{stream.name}" == request.url.path
    assert {"start_time": str(START), "end_time": str(END), "limit": "500"} == dict(request.url.params)
    assert "Bearer secret" == request.headers["authorization"]


def test_a_boundary_is_in_one_window_only() -> None:
    edges = [START - 1, START, END - 1, END]
    kept = bounces(lists([bounce(number, created) for number, created in enumerate(edges)]))
    page = wrapped(SOURCE, BOUNCES, kept.pages, window=DAY)

    assert ([START, END - 1], 1, 0) == (
        [int(at.timestamp()) for at in page.rows["_event_at"]],
        page.aside,
        page.dead.height,
    )


def test_a_record_from_before_the_window_is_a_dead_letter() -> None:
    """The start is filtered exactly, so an answer from before it is a mistake of the source."""
    page = wrapped(SOURCE, BOUNCES, [[json.dumps(bounce(1, START - 1)).encode()]], window=DAY)

    assert (0, ["outside_window"]) == (page.rows.height, page.dead["reason"].to_list())


def test_an_address_that_bounced_twice_is_two_records() -> None:
    rows = landed(SOURCE, BOUNCES, [bounce(1), bounce(1, START + 60), bounce(2)], DAY)

    assert 3 == rows["_id"].n_unique()


def test_a_spent_quota_is_waited_for_as_long_as_its_reset_says() -> None:
    reset = str(int(NOW.timestamp()) + 42)
    spent = refusing(429, "too many requests", **{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})
    kept = bounces(in_turn(spent, lists([bounce(1)])))

    (waited,) = kept.waited

    assert 42.0 <= waited < 43.5
    assert 1 == len(kept.records)


def test_a_long_quota_gives_the_slot_back() -> None:
    reset = str(int(NOW.timestamp()) + 3600)

    with pytest.raises(QuotaExhausted, match="2026-02-01T01:00:00Z"):
        bounces(refusing(429, "too many requests", **{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(401, "The provided authorization grant is invalid, expired, or revoked", id="wrong key"),
        pytest.param(403, "access forbidden", id="missing scope"),
    ],
)
def test_a_refusal_is_one_line_in_the_vendors_words_without_the_key(status: int, message: str) -> None:
    with pytest.raises(SourceRefused, match=message) as refusal:
        talk(SOURCE, BOUNCES, refusing(status, f"{message} SG.hidden"), window=DAY, secret="SG.hidden")

    assert "SG.hidden" not in str(refusal.value)
    assert 1 == len(str(refusal.value).splitlines())


# --- consent ----------------------------------------------------------------------------------------------------------


def consents(*told: tuple[Stream, list[dict[str, Any]]]) -> pl.DataFrame:
    """What the streams' records withdraw, as the table of consents has it."""
    rows = [
        picked(landed(SOURCE, stream, records, DAY).lazy(), source=SOURCE, stream=stream, feed=feed, table=CONSENTS)
        for stream, records in told
        for feed in stream.feeds
    ]
    return standardise_consents(pl.concat(rows), key=b"golden", country="DE").collect()


def test_who_left_complained_or_bounced_withdrew_consent_to_mail_at_that_moment() -> None:
    told = [
        (BOUNCES, [bounce(1, START + 60)]),
        (SPAM_REPORTS, [{"created": START + 120, "email": "a2@example.com", "ip": "192.0.2.1"}]),
        (UNSUBSCRIBES, [{"created": START + 180, "email": "a3@example.com"}]),
        (
            GROUP_UNSUBSCRIBES,
            [{"created_at": START + 240, "email": "a4@example.com", "group_id": 7, "group_name": "News"}],
        ),
    ]
    rows = consents(*told).select("source", "purpose", "consent_status", "event_at", "_fate").rows()

    assert [
        ("sendgrid", "email_marketing", "withdrawn", datetime(2026, 1, 2, 0, minute, tzinfo=UTC), "out")
        for minute in (1, 2, 3, 4)
    ] == rows


def test_a_suppression_finds_its_person_and_its_id_does_not_tell_the_address() -> None:
    rows = consents((UNSUBSCRIBES, [{"created": START, "email": "A1@Example.com"}]), (BOUNCES, [bounce(1)]))

    assert 1 == rows["email_key"].drop_nulls().n_unique()
    assert not [one for one in rows["consent_id"] if "@" in one]


def test_a_suppression_read_again_is_one_decision() -> None:
    rows = consents((UNSUBSCRIBES, [{"created": START, "email": "a1@example.com"}] * 2))

    assert ["deduplicated", "out"] == rows["_fate"].sort().to_list()


def test_a_block_passes_and_withdraws_nothing() -> None:
    assert () == BLOCKS.feeds


def test_the_list_of_those_who_left_a_group_is_cut_to_the_window() -> None:
    edges = [START - 1, START, END - 1, END]
    told = [{"created_at": at, "email": f"a{at}@example.com", "group_id": 7, "group_name": "News"} for at in edges]
    kept = talk(SOURCE, GROUP_UNSUBSCRIBES, lambda _: httpx.Response(200, json=told), window=DAY)
    page = wrapped(SOURCE, GROUP_UNSUBSCRIBES, kept.pages, window=DAY)

    assert ({}, 2, 2, 0) == (dict(kept.requests[0].url.params), page.rows.height, page.aside, page.dead.height)
