"""Google Analytics 4: aggregated reports of traffic, pages and events, day by day.

API: Analytics Data API v1beta, runReport,
https://developers.google.com/analytics/devguides/reporting/data/v1/rest/v1beta/properties/runReport. The account is the
number of the property. Quirks:

- A report of one day is sampled and folded into "(other)" least, so every day is asked for by itself. Days are those
  of the property's zone, which `_meta.timeZone` names.
- Rows hold values only; each becomes an object with the names of its headers, all values texts as they came. A row has
  no id: `key` is the list of its dimensions' values.
- Numbers are restated for about two days (late hits), key events for longer; three days are read again.
- What the answer says of sampling, thresholds, "(other)" and cut-off stands in each of its records as `_meta`, and is
  warned of. A day without any row has nobody to carry it: then only the warning says why. What is left of the quota
  is no part of it: it differs each time the same numbers are read.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etl.model import Ask, Auth, Kind, Limits, Line, Own, Pick, Source, Stream, Window

#: Rows a page; the API's own limit is 250,000.
PAGE = 100_000
TRAFFIC = (
    ("date", "sessionSource", "sessionMedium", "sessionCampaignName", "sessionDefaultChannelGroup", "deviceCategory"),
    ("sessions", "engagedSessions", "totalUsers", "newUsers", "keyEvents", "totalRevenue"),
)
PAGES = (("date", "hostName", "pagePath"), ("screenPageViews", "activeUsers", "userEngagementDuration"))
EVENTS = (("date", "eventName"), ("eventCount", "totalUsers", "eventValue"))


def report(dimensions: Sequence[str], metrics: Sequence[str]) -> Callable[[Line, Window], Iterator[Sequence[bytes]]]:
    """A reader of that report."""

    def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
        for day in window.days:
            offset = rows = 0
            while offset == 0 or offset < rows:
                told = line.ask(
                    Ask(
                        path=f"/v1beta/properties/{line.account}:runReport",
                        method="POST",
                        records="rows",
                        json={
                            "dateRanges": [{"startDate": day.isoformat(), "endDate": day.isoformat()}],
                            "dimensions": [{"name": name} for name in dimensions],
                            "metrics": [{"name": name} for name in metrics],
                            "orderBys": [{"dimension": {"dimensionName": name}} for name in dimensions],
                            "keepEmptyRows": True,
                            "returnPropertyQuota": True,
                            "limit": str(PAGE),
                            "offset": str(offset),
                        },
                    )
                )
                answer = json.loads(told.body)
                if offset == 0:
                    for what in lessened(answer):
                        line.note(what, Window.of_day(day))
                yield named_rows(answer)
                rows, got = int(answer.get("rowCount", 0)), len(told.records)
                if not got:
                    break
                offset += got

    return read


def named_rows(answer: dict[str, Any]) -> list[bytes]:
    """The rows of an answer, each an object of header names and values, with its `key` and the answer's `_meta`."""
    dimensions = [header["name"] for header in answer.get("dimensionHeaders", ())]
    metrics = [header["name"] for header in answer.get("metricHeaders", ())]
    meta = answer.get("metadata", {})
    named = []
    for row in answer.get("rows", ()):
        of = [cell.get("value", "") for cell in row.get("dimensionValues", ())]
        values = [cell.get("value", "") for cell in row.get("metricValues", ())]
        key = json.dumps(of, ensure_ascii=False)
        record = {
            **dict(zip(dimensions, of, strict=True)),
            **dict(zip(metrics, values, strict=True)),
            "key": key,
            "_meta": meta,
        }
        named.append(json.dumps(record, ensure_ascii=False).encode())
    return named


def lessened(answer: dict[str, Any]) -> Iterator[str]:
    """What makes a report less than whole, or will soon make it none."""
    metadata = answer.get("metadata", {})
    said = {
        "subjectToThresholding": "small groups of users are left out (thresholding)",
        "samplingMetadatas": "counted from a sample of the events",
        "dataLossFromOtherRow": 'rare values are summed up as "(other)"',
        "dataTruncationReasons": "cut off",
        "emptyReason": "empty for a reason of the property's, not for want of visits",
    }
    for name, meaning in said.items():
        if metadata.get(name):
            yield f"{meaning} ({name})"
    for name, quota in answer.get("propertyQuota", {}).items():
        # What is nothing (or zero) may be left out of an answer.
        if quota.get("consumed") and not quota.get("remaining"):
            yield f"the property's quota is spent ({name})"


def _stream(name: str, shape: tuple[Sequence[str], Sequence[str]]) -> Stream:
    return Stream(
        name=name,
        kind=Kind.REPORT,
        request=Own(report(*shape)),
        id=("key",),
        at=Pick("date", "yyyymmdd"),
        restate_days=3,
    )


SOURCE = Source(
    name="ga4_reports",
    title="Google Analytics 4 reports",
    base_url="https://analyticsdata.googleapis.com",
    auth=Auth(scheme="bearer"),
    # 14,000 tokens an hour for one project at about 10 a report; 10 requests at once.
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="google",
    streams=(_stream("traffic", TRAFFIC), _stream("pages", PAGES), _stream("events", EVENTS)),
)
