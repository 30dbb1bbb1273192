"""Meta ads: what each ad cost and brought, day by day.

API: Marketing API, https://developers.facebook.com/docs/marketing-api/insights. Numbers are restated for up to 28
days; how far back every run reads again is `restate_days`. At most 37 months back.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

FIELDS = (
    "account_id", "account_currency", "campaign_id", "campaign_name", "ad_id", "ad_name", "impressions", "clicks",
    "spend", "actions", "date_start", "date_stop",
)  # fmt: skip

INSIGHTS = Stream(
    name="insights",
    kind=Kind.REPORT,
    request=Http(
        path="/v24.0/act_{account}/insights",
        records="data",
        params={
            "level": "ad",
            "time_increment": "1",
            "time_range": '{"since":"{first_date}","until":"{last_date}"}',
            "fields": ",".join(FIELDS),
        },
        paging=Paging(style="cursor", next_at="paging.cursors.after", param="after", size_param="limit", size=500),
    ),
    id=("ad_id", "date_start"),
    at=Pick("date_start", "date"),
    restate_days=3,
    max_age_days=37 * 30,
    feeds=(
        Feed(
            subject="ad_spend",
            fields={
                "ad_date": Pick("date_start", "date"),
                "network": Pick(const="meta"),
                "campaign_id": Pick("campaign_id"),
                "campaign_name": Pick("campaign_name"),
                "ad_id": Pick("ad_id"),
                "impression_count": Pick("impressions", "number"),
                "click_count": Pick("clicks", "number"),
                "lead_count": Pick("actions[action_type=lead].value", "number"),
                "currency": Pick("account_currency"),
                "cost_amount": Pick("spend", "number"),
            },
        ),
    ),
)

SOURCE = Source(
    name="meta_ads",
    title="Meta ads",
    base_url="https://graph.facebook.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="meta",
    streams=(INSIGHTS,),
)
