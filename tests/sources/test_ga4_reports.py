"""GA4's reports before Google's own description of the Data API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from etl.errors import QuotaExhausted, SourceRefused
from etl.model import Kind, Stream, Window
from etl.sources import ga4_reports
from etl.sources.ga4_reports import PAGE, SOURCE, named_rows
from tests.sources.judges import Talk, talk
from tests.sources.vendors import asked_well, discovery, judged, landed

TRAFFIC = SOURCE.streams[0]
DAY = Window.parse("2026-01-02")


def report(request: httpx.Request, *, held: int = 2, most: int = PAGE, **metadata: Any) -> dict[str, Any]:
    """An answer of a property that holds so many rows for the day, each told apart by its last dimension."""
    asked = json.loads(request.content)
    offset, limit = int(asked["offset"]), min(int(asked["limit"]), most)
    day = asked["dateRanges"][0]["startDate"].replace("-", "")
    dimensions = [one["name"] for one in asked["dimensions"]]
    rows = [
        {
            "dimensionValues": [{"value": day}, *({"value": f"{name}{at}"} for name in dimensions[1:])],
            "metricValues": [{"value": str(at)} for _ in asked["metrics"]],
        }
        for at in range(offset, min(offset + limit, held))
    ]
    answer = {
        "kind": "analyticsData#runReport",
        "dimensionHeaders": [{"name": name} for name in dimensions],
        "metricHeaders": [{"name": one["name"], "type": "TYPE_INTEGER"} for one in asked["metrics"]],
        "metadata": {"currencyCode": "EUR", "timeZone": "Europe/Berlin", **metadata},
        "propertyQuota": {"tokensPerHour": {"consumed": 5, "remaining": 39_995}},
    }
    return {**answer, "rows": rows, "rowCount": held} if rows else answer


def asked(stream: Stream = TRAFFIC, window: Window = DAY, **said: Any) -> Talk:
    return talk(SOURCE, stream, lambda request: httpx.Response(200, json=report(request, **said)), window=window)


@pytest.mark.parametrize("stream", SOURCE.streams, ids=lambda stream: stream.name)
def test_google_knows_what_we_ask_and_what_our_fake_answers(stream: Stream, shared: Path) -> None:
    document = discovery(shared, "analyticsdata.v1beta.json")
    kept = asked(stream)

    for request, response in zip(kept.requests, kept.responses, strict=True):
        asked_well(document, "properties.runReport", request)
        judged(document, "RunReportResponse", response.json())
    assert ["/v1beta/properties/1002003004:runReport"] == [request.url.path for request in kept.requests]


def test_the_judge_sees_a_wrong_member(shared: Path) -> None:
    with pytest.raises(jsonschema.ValidationError, match="dateRange"):
        judged(discovery(shared, "analyticsdata.v1beta.json"), "RunReportRequest", {"dateRange": []})


def test_pages_are_walked_to_the_last_row() -> None:
    kept = asked(held=7, most=3)
    offsets = [json.loads(request.content)["offset"] for request in kept.requests]

    assert ["0", "3", "6"] == offsets
    assert 7 == len({json.loads(record)["key"] for page in kept.pages for record in page})


def test_every_day_is_a_report_of_its_own() -> None:
    kept = asked(window=Window.parse("2026-01-02--2026-01-04"))
    ranges = [json.loads(request.content)["dateRanges"] for request in kept.requests]

    assert [[{"startDate": f"2026-01-0{day}", "endDate": f"2026-01-0{day}"}] for day in (2, 3, 4)] == ranges


def test_a_row_carries_its_names_its_key_and_what_the_answer_says_of_itself() -> None:
    kept = asked(held=1, subjectToThresholding=True)
    (row,) = kept.records

    assert ("20260102", "sessionSource0", "0") == (row["date"], row["sessionSource"], row["sessions"])
    assert ["20260102", "sessionSource0"] == json.loads(row["key"])[:2]
    assert {"subjectToThresholding": True, "currencyCode": "EUR", "timeZone": "Europe/Berlin"} == row["_meta"]


def test_the_same_numbers_read_again_are_the_same_bytes_whatever_is_left_of_the_quota() -> None:
    answer = report(asked().requests[0])
    spent = {**answer, "propertyQuota": {"tokensPerHour": {"consumed": 9, "remaining": 1}}}

    assert named_rows(answer) == named_rows(spent)


def test_a_report_restates_the_three_days_before_and_lands_by_its_key() -> None:
    wrapped = landed(SOURCE, TRAFFIC, asked().pages, window=DAY)

    assert (Kind.REPORT, 3) == (TRAFFIC.kind, TRAFFIC.restate_days)
    assert (2, 0, 0) == (wrapped.rows["_id"].n_unique(), wrapped.dead.height, wrapped.aside)


SAID = {
    "subjectToThresholding": True,
    "samplingMetadatas": [{"samplesReadCount": "10", "samplingSpaceSize": "100"}],
    "dataLossFromOtherRow": True,
    "emptyReason": "SECRET WORDS",
}


@pytest.mark.parametrize("name", SAID)
def test_what_makes_a_report_less_than_whole_is_noted_of_its_day_without_a_value(name: str) -> None:
    (note,) = asked(**{name: SAID[name]}).notes

    assert (True, DAY) == (f"({name})" in note.what, note.of)
    assert "SECRET" not in note.what
    assert "sessionSource0" not in note.what


def test_a_day_without_rows_says_why_though_no_row_carries_it() -> None:
    kept = asked(held=0, emptyReason="SECRET WORDS")

    assert [] == kept.records
    assert [DAY] == [note.of for note in kept.notes]


def test_a_whole_report_has_no_note() -> None:
    assert [] == asked().notes


def test_a_spent_quota_is_noted_before_it_refuses() -> None:
    quota = {"tokensPerHour": {"consumed": 12}, "tokensPerDay": {"consumed": 12, "remaining": 9}}
    kept = talk(SOURCE, TRAFFIC, lambda asked: httpx.Response(200, json=report(asked) | {"propertyQuota": quota}))

    assert {"the property's quota is spent (tokensPerHour)"} == {note.what for note in kept.notes}


def test_a_day_without_rows_is_empty_and_no_error() -> None:
    assert [] == asked(held=0).records


def refused(status: int, error: dict[str, Any], **headers: str) -> Talk:
    return talk(SOURCE, TRAFFIC, lambda _: httpx.Response(status, json={"error": error}, headers=headers), window=DAY)


def test_a_quota_of_the_hour_gives_the_slot_back_and_one_of_the_day_waits_for_california() -> None:
    hourly = {"code": 429, "message": "Exhausted property tokens per hour.", "status": "RESOURCE_EXHAUSTED"}
    daily = {**hourly, "message": "Exhausted property tokens per day."}

    with pytest.raises(QuotaExhausted, match="Exhausted property tokens per hour") as hour:
        refused(429, hourly)
    with pytest.raises(QuotaExhausted, match="per day") as day:
        refused(429, daily, date="Fri, 02 Jan 2026 20:00:00 GMT")
    apart = (day.value.until - hour.value.until).total_seconds()

    assert 12 * 3600 - 3600 == round(apart)


def test_a_refusal_says_googles_own_words_in_one_line() -> None:
    missing = {"code": 403, "message": "User does not have sufficient permissions for this property.", "status": "X"}
    expired = {"code": 401, "message": "Request had invalid authentication credentials secret", "status": "X"}

    with pytest.raises(SourceRefused, match=r"ga4_reports\.traffic: .*403: User does not have sufficient perm"):
        refused(403, missing)
    with pytest.raises(SourceRefused, match=r"does not take the secret.*credentials \*\*\*\)"):
        refused(401, expired)


def test_what_was_cut_off_is_asked_for_again() -> None:
    answers = [b'{"kind": "analyticsData#runReport", "rows": [{"dim', None]

    def answer(request: httpx.Request) -> httpx.Response:
        content = answers.pop(0)
        return httpx.Response(200, content=content) if content else httpx.Response(200, json=report(request))

    assert 2 == len(talk(SOURCE, TRAFFIC, answer, window=DAY).records)


def test_every_dimension_of_a_report_is_part_of_its_key() -> None:
    assert all("date" == shape[0][0] for shape in (ga4_reports.TRAFFIC, ga4_reports.PAGES, ga4_reports.EVENTS))
