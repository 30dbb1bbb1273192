"""Google Ads: what each ad and each campaign cost and brought, day by day, and the campaigns.

API: v23, https://developers.google.com/google-ads/api/rest/common/search: one `searchStream` answers a whole query, as
a list of batches; an error may be the last of them. Beside the token goes the developer token: the secret is JSON,
{"token": ..., "developer_token": ...}. `account` is the customer's number, or `MANAGER/CUSTOMER` where a manager
account signs in (its number goes into login-customer-id); numbers are without hyphens.

Days are those of the account's time zone. Money is in millionths of the account's currency, 64-bit numbers are text.
Conversions count on the day of the click, for 14 days and more after it: those days are read again. Ads without any
impression on a day have no row; campaigns that make their ads themselves (Performance Max) only have rows of campaigns.
`metrics.conversions` are not only leads, so no lead count is taken from them.

Not verified against the live API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from etl.errors import SourceError
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Window

API = "/v23"

_DAILY = ("customer.id", "customer.currency_code", "customer.time_zone", "campaign.id", "campaign.name",
    "segments.date", "metrics.impressions", "metrics.clicks", "metrics.cost_micros", "metrics.conversions",
    "metrics.conversions_value", "metrics.all_conversions")  # fmt: skip
AD_DAYS = ("ad_group_ad.resource_name", "ad_group_ad.ad.id", "ad_group_ad.ad.name", "ad_group.id", "ad_group.name",
    *_DAILY)  # fmt: skip
CAMPAIGN_DAYS = ("campaign.resource_name", *_DAILY)
CAMPAIGN = ("campaign.resource_name", "campaign.id", "campaign.name", "campaign.status",
    "campaign.advertising_channel_type", "campaign.start_date_time", "campaign.end_date_time")  # fmt: skip


class _Batch(msgspec.Struct):
    results: list[msgspec.Raw] = []
    error: Any = None


def read(line: Line, window: Window, *, of: str, fields: Sequence[str]) -> Iterator[Sequence[bytes]]:
    """The rows of one query, batch by batch. Where the fields hold a date, the window picks by it."""
    query = f"SELECT {', '.join(fields)} FROM {of}"  # noqa: S608 - names we declare
    if "segments.date" in fields:
        last = (window.end - timedelta(microseconds=1)).date()
        query += f" WHERE segments.date BETWEEN '{window.start.date()}' AND '{last}'"
    manager, _, customer = line.account.replace("-", "").rpartition("/")
    headers = {"login-customer-id": manager} if manager else {}
    path = f"{API}/customers/{customer}/googleAds:searchStream"
    told = line.ask(Ask(path, records="", method="POST", json={"query": query}, headers=headers))
    batches = [msgspec.json.decode(batch, type=_Batch) for batch in told.records]
    for batch in batches:
        if batch.error is not None:
            why = batch.error.get("message") if isinstance(batch.error, dict) else None
            raise SourceError(f"google_ads {of}: the answer broke off ({why or 'no reason given'}); run it again")
    for batch in batches:
        yield [bytes(row) for row in batch.results]


def report(name: str, of: str, fields: Sequence[str], key: str, *feeds: Feed) -> Stream:
    """A daily report, the days in which conversions still arrive read again."""
    return Stream(
        name=name,
        kind=Kind.REPORT,
        request=Own(partial(read, of=of, fields=fields)),
        id=(key, "segments.date"),
        at=Pick("segments.date", "date"),
        restate_days=14,
        feeds=feeds,
    )


ADS = report(
    "ad_days",
    "ad_group_ad",
    AD_DAYS,
    "adGroupAd.resourceName",
    Feed(
        subject="ad_spend",
        fields={
            "ad_date": Pick("segments.date", "date"),
            "network": Pick(const="google"),
            "campaign_id": Pick("campaign.id"),
            "campaign_name": Pick("campaign.name"),
            "ad_id": Pick("adGroupAd.ad.id"),
            "impression_count": Pick("metrics.impressions", "number"),
            "click_count": Pick("metrics.clicks", "number"),
            "currency": Pick("customer.currencyCode"),
            "cost_amount": Pick("metrics.costMicros", "micros"),
        },
    ),
)

CAMPAIGN_REPORT = report("campaign_days", "campaign", CAMPAIGN_DAYS, "campaign.resourceName")

CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.SNAPSHOT,
    request=Own(partial(read, of="campaign", fields=CAMPAIGN)),
    id=("campaign.id",),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("campaign.id"),
                "campaign_name": Pick("campaign.name"),
                "campaign_type": Pick("campaign.advertisingChannelType"),
                "campaign_channel": Pick(const="ads"),
                "starts_on": Pick("campaign.startDateTime", "date"),
                "ends_on": Pick("campaign.endDateTime", "date"),
            },
        ),
    ),
)

SOURCE = Source(
    name="google_ads",
    title="Google Ads",
    base_url="https://googleads.googleapis.com",
    auth=Auth(scheme="bearer", extra_headers={"developer-token": "developer_token"}),
    limits=Limits(requests=10, seconds=10.0, concurrency=1),
    errors="google_ads",
    streams=(ADS, CAMPAIGN_REPORT, CAMPAIGNS),
)
