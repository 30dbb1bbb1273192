"""TikTok ads: what each ad cost and brought, day by day, and the campaigns.

API: Business API v1.3, https://business-api.tiktok.com/portal/docs. Everything is answered with HTTP 200; `code` says
what it means (0 good, 40100 too many requests). Reports by day reach over at most 30 days a question and leave deleted
ads out unless STATUS_ALL is asked for. Clicks are credited with what follows for up to 28 days, so those days are read
again. Days are those of the advertiser's time zone. `account` is the advertiser's number.

Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

API = "/open_api/v1.3"
SIZE = 1000
LONGEST_DAYS = 30

METRICS = ("campaign_id", "campaign_name", "adgroup_id", "adgroup_name", "ad_name", "currency", "spend", "impressions",
    "clicks", "conversion", "reach", "video_play_actions", "likes", "comments", "shares", "follows")  # fmt: skip
CAMPAIGN = ("campaign_id", "campaign_name", "objective_type", "operation_status", "secondary_status", "create_time",
    "modify_time")  # fmt: skip
ALSO_DELETED = [{"field_name": "ad_status", "filter_type": "IN", "filter_value": '["STATUS_ALL"]'}]


def spans(window: Window) -> Iterator[tuple[date, date]]:
    """The window's days in stretches of at most `LONGEST_DAYS`, both ends included."""
    days = window.days
    for first in range(0, len(days), LONGEST_DAYS):
        stretch = days[first : first + LONGEST_DAYS]
        yield stretch[0], stretch[-1]


def read_ads(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Every ad and day of the window, deleted ads too."""
    for first, last in spans(window):
        yield from pages(
            line,
            f"{API}/report/integrated/get/",
            {
                "advertiser_id": line.account,
                "report_type": "BASIC",
                "service_type": "AUCTION",
                "data_level": "AUCTION_AD",
                "dimensions": json.dumps(["ad_id", "stat_time_day"]),
                "metrics": json.dumps(METRICS),
                "filtering": json.dumps(ALSO_DELETED),
                "start_date": first.isoformat(),
                "end_date": last.isoformat(),
            },
        )


def read_campaigns(line: Line, _window: Window) -> Iterator[Sequence[bytes]]:
    """Every campaign as it is now, deleted ones too."""
    filtering = json.dumps({"primary_status": "STATUS_ALL"})
    asked = {"advertiser_id": line.account, "fields": json.dumps(CAMPAIGN), "filtering": filtering}
    yield from pages(line, f"{API}/campaign/get/", asked)


def pages(line: Line, path: str, params: Mapping[str, str]) -> Iterator[Sequence[bytes]]:
    """Page after page as page_info counts them. Raises: SourceError when fewer records came than it told of."""
    number, walked = 1, 0
    while True:
        told = line.ask(Ask(path, records="data.list", params={**params, "page": str(number), "page_size": str(SIZE)}))
        walked += len(told.records)
        yield told.records
        info = json.loads(told.body)["data"].get("page_info") or {}
        if number >= int(info.get("total_page") or 0):
            if walked < int(info.get("total_number") or 0):
                raise SourceError(
                    f"tiktok_ads: {info['total_number']} records were told of and {walked} came; nothing was "
                    "written; run the window again"
                )
            return
        number += 1


ADS = Stream(
    name="ad_days",
    kind=Kind.REPORT,
    request=Own(read_ads),
    id=("dimensions.ad_id", "dimensions.stat_time_day"),
    at=Pick("dimensions.stat_time_day", "timestamp"),
    restate_days=28,
    feeds=(
        Feed(
            subject="ad_spend",
            fields={
                "ad_date": Pick("dimensions.stat_time_day", "date"),
                "network": Pick(const="tiktok"),
                "campaign_id": Pick("metrics.campaign_id"),
                "campaign_name": Pick("metrics.campaign_name"),
                "ad_id": Pick("dimensions.ad_id"),
                "impression_count": Pick("metrics.impressions", "number"),
                "click_count": Pick("metrics.clicks", "number"),
                "currency": Pick("metrics.currency"),
                "cost_amount": Pick("metrics.spend", "number"),
            },
        ),
    ),
)

CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.SNAPSHOT,
    request=Own(read_campaigns),
    id=("campaign_id",),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("campaign_id"),
                "campaign_name": Pick("campaign_name"),
                "campaign_type": Pick("objective_type"),
                "campaign_channel": Pick(const="ads"),
            },
        ),
    ),
)

SOURCE = Source(
    name="tiktok_ads",
    title="TikTok ads",
    base_url="https://business-api.tiktok.com",
    auth=Auth(scheme="header", header="Access-Token"),
    limits=Limits(requests=10, seconds=1.0, concurrency=1),
    errors="tiktok",
    streams=(ADS, CAMPAIGNS),
)
