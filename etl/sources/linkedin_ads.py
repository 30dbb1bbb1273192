"""LinkedIn ads: what each ad cost and brought, day by day; to whom it was shown; and the campaigns.

API: Marketing API, https://learn.microsoft.com/en-us/linkedin/marketing/integrations/ads-reporting/ads-reporting.
Every request names the version of a month, which is served for about a year (then 426). Queries are Rest.li tuples and
lists, whose brackets must not be escaped. adAnalytics has no pages: an answer of 15,000 rows was cut without a word,
so the days are halved until it is shorter. At most 20 fields a question: longer lists are asked in pieces and joined.
One question for each pivot; ads are asked with their campaign, as statistics by two pivots. Who sees ads is told
roughly and not at all for few people. Calls are counted per day and counted anew at midnight UTC. Conversions are
credited for 30 days after a click, so those days are read again. `account` is the ad account's number.

Records of reports are joined here and hold, beside the metrics, `date`, `campaign_id`, `creative_id` or `pivot`, and
the account's `currency`. Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

VERSION = {"Linkedin-Version": "202610", "X-Restli-Protocol-Version": "2.0.0"}
MOST_FIELDS = 20
MOST_ROWS = 15_000

#: Asked in every piece, so that no row of any piece lacks them.
ALWAYS = ("impressions", "clicks", "costInLocalCurrency", "oneClickLeads")
METRICS = (*ALWAYS, "approximateMemberReach", "landingPageClicks", "likes", "comments", "shares", "follows",
    "reactions", "totalEngagements", "companyPageClicks", "externalWebsiteConversions",
    "externalWebsitePostClickConversions", "externalWebsitePostViewConversions", "conversionValueInLocalCurrency",
    "oneClickLeadFormOpens", "sends", "opens", "videoStarts", "videoViews", "videoCompletions", "viralImpressions",
    "viralClicks", "viralLikes", "viralComments", "viralShares")  # fmt: skip
PEOPLE = ("impressions", "clicks", "costInLocalCurrency", "oneClickLeads", "externalWebsiteConversions")

_Row = dict[str, Any]


def read(
    line: Line, window: Window, *, pivots: Sequence[str], metrics: Sequence[str], most: int = MOST_ROWS
) -> Iterator[Sequence[bytes]]:
    """The window's days by pivot, each row joined of its pieces. An answer of `most` rows was cut."""
    account = json.loads(line.ask(Ask(f"/rest/adAccounts/{line.account}", headers=VERSION)).body)
    last = (window.end - timedelta(microseconds=1)).date()
    for rows in spans(line, window.start.date(), last, pivots, metrics, most):
        yield [json.dumps({**row, "currency": account["currency"]}, ensure_ascii=False).encode() for row in rows]


def spans(
    line: Line, first: date, last: date, pivots: Sequence[str], metrics: Sequence[str], most: int
) -> Iterator[Sequence[_Row]]:
    """The rows of the days from `first` to `last`, halved where an answer would be cut."""
    joined: dict[tuple[str, ...], _Row] = {}
    for piece in pieces(metrics):
        told = line.ask(question(line.account, first, last, pivots, piece))
        if len(told.records) >= most:
            if first == last:
                raise SourceError(f"linkedin_ads: {first} alone has {most} rows or more, which are cut unseen")
            middle = first + (last - first) // 2
            yield from spans(line, first, middle, pivots, metrics, most)
            yield from spans(line, middle + timedelta(days=1), last, pivots, metrics, most)
            return
        for record in told.records:
            row = json.loads(record)
            start, values = row.pop("dateRange")["start"], row.pop("pivotValues")
            day = date(start["year"], start["month"], start["day"]).isoformat()
            joined.setdefault((day, *values), {"date": day, **_named(pivots, values)}).update(row)
    yield list(joined.values())


def pieces(metrics: Sequence[str]) -> Iterator[Sequence[str]]:
    """The metrics in as few pieces as the cap allows: two fields name the row, and `ALWAYS` comes in each."""
    room = MOST_FIELDS - 2 - len(ALWAYS)
    others = [name for name in metrics if name not in ALWAYS]
    for at in range(0, max(1, len(others)), room):
        yield (*ALWAYS, *others[at : at + room])


def question(account: str, first: date, last: date, pivots: Sequence[str], metrics: Sequence[str]) -> Ask:
    """The question for one piece. Brackets, commas and colons of tuples stay as they are, those of names do not."""
    finder = f"q=analytics&pivot={pivots[0]}" if len(pivots) == 1 else f"q=statistics&pivots=List({','.join(pivots)})"
    urn = quote(f"urn:li:sponsoredAccount:{account}", safe="")
    dates = f"dateRange=(start:{_tuple(first)},end:{_tuple(last)})"
    fields = ",".join(("dateRange", "pivotValues", *metrics))
    query = f"{finder}&timeGranularity=DAILY&{dates}&accounts=List({urn})&fields={fields}"
    return Ask(f"/rest/adAnalytics?{query}", records="elements", headers=VERSION)


def _tuple(day: date) -> str:
    return f"(year:{day.year},month:{day.month},day:{day.day})"


def _named(pivots: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """What a row is of: urn:li:sponsoredCampaign:1 and the like, by the number at its end."""
    names = {"CAMPAIGN": "campaign_id", "CREATIVE": "creative_id"}
    return {names.get(pivot, "pivot"): value.rpartition(":")[2] for pivot, value in zip(pivots, values, strict=True)}


def read_campaigns(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    """Every campaign as it is now."""
    token, seen = "", set[str]()
    while True:
        params = {"q": "search", "pageSize": "1000", **({"pageToken": token} if token else {})}
        path = f"/rest/adAccounts/{line.account}/adCampaigns"
        told = line.ask(Ask(path, records="elements", params=params, headers=VERSION))
        yield told.records
        token = (json.loads(told.body).get("metadata") or {}).get("nextPageToken") or ""
        if not token:
            return
        if token in seen:
            raise SourceError("linkedin_ads: the same page token came twice, so the pages would never end")
        seen.add(token)


AD_DAYS = Stream(
    name="ad_days",
    kind=Kind.REPORT,
    request=Own(partial(read, pivots=("CAMPAIGN", "CREATIVE"), metrics=METRICS)),
    id=("creative_id", "date"),
    at=Pick("date", "date"),
    restate_days=30,
    feeds=(
        Feed(
            subject="ad_spend",
            fields={
                "ad_date": Pick("date", "date"),
                "network": Pick(const="linkedin"),
                "campaign_id": Pick("campaign_id"),
                "ad_id": Pick("creative_id"),
                "impression_count": Pick("impressions", "number"),
                "click_count": Pick("clicks", "number"),
                "lead_count": Pick("oneClickLeads", "number"),
                "currency": Pick("currency"),
                "cost_amount": Pick("costInLocalCurrency", "number"),
            },
        ),
    ),
)


def audience(name: str, pivot: str) -> Stream:
    """To whom ads were shown, by one trait of members, day by day."""
    return Stream(
        name=name,
        kind=Kind.REPORT,
        request=Own(partial(read, pivots=(pivot,), metrics=PEOPLE)),
        id=("pivot", "date"),
        at=Pick("date", "date"),
        restate_days=30,
    )


CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.SNAPSHOT,
    request=Own(read_campaigns),
    id=("id",),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("id"),
                "campaign_name": Pick("name"),
                "campaign_type": Pick("type"),
                "campaign_channel": Pick(const="ads"),
                "starts_on": Pick("runSchedule.start", "epoch_ms"),
                "ends_on": Pick("runSchedule.end", "epoch_ms"),
            },
            unless={"test": ("true",)},
        ),
    ),
)

SOURCE = Source(
    name="linkedin_ads",
    title="LinkedIn ads",
    base_url="https://api.linkedin.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="linkedin",
    streams=(
        AD_DAYS,
        audience("country_days", "MEMBER_COUNTRY_V2"),
        audience("industry_days", "MEMBER_INDUSTRY"),
        audience("seniority_days", "MEMBER_SENIORITY"),
        CAMPAIGNS,
    ),
)
