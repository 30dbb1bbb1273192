"""Matomo: visits with everything done in them.

API: Reporting API, Live.getLastVisitsDetails, https://developer.matomo.org/api-reference/reporting-api. The account is
the site's number; base_url is the address of your own Matomo. Quirks:

- The token goes into the body of a POST: in an address it would stand in the logs of every server on the way.
- Errors are HTTP 200 with {"result": "error"}.
- A visit belongs to the window of its last action. One that goes on past midnight moves to the next day, so the day
  before is read again and gives it up.
- Dates are those of the site's own zone: a day more is asked for on both sides, and what lies outside the window is set
  aside. `minTimestamp` keeps the answer to visits active since the window's start.
- Pages are offsets into a list that is sorted by last action. A visit told twice, since the list moved, counts once.

Not verified against a live server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

PAGE = 500


def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """The visits last active in the window, and some around it."""
    first, last = window.days[0] - timedelta(days=1), window.days[-1] + timedelta(days=1)
    seen: set[str] = set()
    offset = 0
    while True:
        told = line.ask(
            Ask(
                path="/index.php",
                records="",
                method="POST",
                form={
                    "module": "API",
                    "method": "Live.getLastVisitsDetails",
                    "format": "JSON",
                    "idSite": line.account,
                    "period": "range",
                    "date": f"{first},{last}",
                    "minTimestamp": str(int(window.start.timestamp())),
                    "filter_limit": str(PAGE),
                    "filter_offset": str(offset),
                },
            )
        )
        new: list[bytes] = []
        for visit in told.records:
            ident = str(json.loads(visit).get("idVisit", ""))
            if not ident or ident not in seen:
                new.append(visit)
            seen.add(ident)
        yield new
        if len(told.records) < PAGE:
            break
        if not new:
            raise SourceError("matomo: the same page came twice; nothing was written; run the window again")
        offset += len(told.records)


VISITS = Stream(
    name="visits",
    kind=Kind.EVENTS,
    request=Own(read, trims=True),
    id=("idVisit",),
    at=Pick("lastActionTimestamp", "epoch_s"),
    restate_days=1,
    feeds=(
        Feed(
            subject="web_events",
            explode="actionDetails",
            fields={
                "event_name": Pick("type", values={"action": "page_view"}),
                "event_at": Pick("timestamp", "epoch_s"),
                "cookie": Pick("^visitorId"),
                "login": Pick("^userId"),
                "source_session_id": Pick("^idVisit"),
                "page_view_id": Pick("idpageview"),
                "page_url": Pick("url"),
                "referrer_url": Pick("^referrerUrl"),
                # Of the plugin for campaigns; else the tags in the page's address tell.
                "utm_source": Pick("^campaignSource"),
                "utm_medium": Pick("^campaignMedium"),
                "utm_campaign": Pick("^campaignName"),
                "device_type": Pick("^deviceType"),
                "country": Pick("^countryCode"),
            },
        ),
    ),
)

SOURCE = Source(
    name="matomo",
    title="Matomo",
    base_url="https://matomo.example.org",
    account="1",
    auth=Auth(scheme="form", param="token_auth"),
    # Your own server: no limit but its patience.
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="matomo",
    streams=(VISITS,),
)
