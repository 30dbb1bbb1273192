"""What every campaign cost and brought, over its whole life so far. Read by marketers.

Ratios are sums over sums, never means of daily ratios, and null where there is nothing to divide by.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from etl import fields as f
from etl.gold.customer_360 import PAID
from etl.gold.reporting_currency import AMOUNT, in_reporting_currency
from etl.model import Check, Layer, Severity, Table, Type
from etl.model.frames import schema_of
from etl.silver.ad_spend import AD_SPEND
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.silver.campaigns import CAMPAIGNS as DESCRIBED_CAMPAIGNS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.exchange_rates import EXCHANGE_RATES
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.orders import ORDERS

CAMPAIGN = ("source", "campaign_id")


def build_campaigns(
    campaigns: pl.LazyFrame,
    ad_spend: pl.LazyFrame,
    email_events: pl.LazyFrame,
    campaign_interactions: pl.LazyFrame,
    orders: pl.LazyFrame,
    exchange_rates: pl.LazyFrame,
    *,
    as_of: datetime,
    currency: str,
) -> pl.LazyFrame:
    """Every campaign anyone knows of, with what happened before `as_of`; amounts in `currency`.

    One row per campaign of a source: described there, advertised, mailed or met. Ads count by the day of their report.
    """
    ads = ad_spend.filter(pl.col("ad_date") <= (as_of - timedelta(microseconds=1)).date())
    mails = email_events.filter(pl.col("campaign_id").is_not_null(), pl.col("event_at") < as_of)
    contacts = campaign_interactions.filter(pl.col("campaign_id").is_not_null(), pl.col("event_at") < as_of)
    paid = orders.filter(pl.col("order_status").is_in(PAID), pl.col("ordered_at") < as_of)

    named = names(campaigns, ads, mails, contacts)
    facets = [
        advertising(ads, exchange_rates, currency=currency),
        mailing(mails),
        meetings(contacts),
        conversions(named, paid, contacts),
    ]
    measured = named
    for facet in facets:
        measured = measured.join(facet, on=CAMPAIGN, how="left")
    return (
        measured.pipe(with_zeros)
        .pipe(with_ratios)
        .select([pl.col(name).cast(kind) for name, kind in schema_of(CAMPAIGNS.columns).items()])
    )


def names(campaigns: pl.LazyFrame, ads: pl.LazyFrame, mails: pl.LazyFrame, contacts: pl.LazyFrame) -> pl.LazyFrame:
    """Every campaign once, with the best description there is: its system's, else the latest ad's, else an e-mail's."""
    advertised = (
        ads.sort("ad_date", "ad_id", "campaign_name")
        .group_by(CAMPAIGN)
        .agg(pl.col("campaign_name").drop_nulls().last().alias("_ad_name"), pl.col("network").last())
    )
    mailed = mails.group_by(CAMPAIGN).agg(
        pl.col("campaign_name").sort_by("event_at", "campaign_name").drop_nulls().last().alias("_mail_name"),
        pl.lit("email").alias("_mail_channel"),
    )
    everyone = pl.concat([rows.select(CAMPAIGN) for rows in (campaigns, ads, mails, contacts)]).unique()
    return (
        everyone.join(campaigns, on=CAMPAIGN, how="left")
        .join(advertised, on=CAMPAIGN, how="left")
        .join(mailed, on=CAMPAIGN, how="left")
        .with_columns(
            pl.coalesce("campaign_name", "_ad_name", "_mail_name").alias("campaign_name"),
            pl.coalesce("campaign_channel", "network", "_mail_channel").alias("campaign_channel"),
        )
    )


def advertising(ads: pl.LazyFrame, exchange_rates: pl.LazyFrame, *, currency: str) -> pl.LazyFrame:
    """Impressions, clicks, leads and cost of each advertised campaign.

    Cost is null when any day of it is in a currency without a rate: half a cost would flatter every ratio.
    Leads are null when the network reports none at all.
    """
    return (
        in_reporting_currency(ads, exchange_rates, amounts=("cost_amount",), on="ad_date", currency=currency)
        .group_by(CAMPAIGN)
        .agg(
            pl.col("impression_count").sum(),
            pl.col("click_count").sum(),
            _sum_of_known("lead_count"),
            pl.when(pl.col("cost_amount").null_count() == 0)
            .then(pl.col("cost_amount").sum())
            .cast(AMOUNT)
            .alias("cost_amount"),
        )
    )


def mailing(mails: pl.LazyFrame) -> pl.LazyFrame:
    """What became of the e-mails of each campaign; the shares count persons delivered to, opened by and clicked by."""
    kind, whose = pl.col("email_event"), pl.coalesce("customer_id", "node_id")
    counted = mails.group_by(CAMPAIGN).agg(
        *[
            (kind == event).sum().alias(f"email_{event}_count")
            for event in ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")
        ]
    )
    per_person = (
        mails.with_columns(whose.alias("_person"))
        .drop_nulls("_person")
        .group_by(*CAMPAIGN, "_person")
        .agg(*[(kind == event).any().alias(f"_{event}") for event in ("delivered", "opened", "clicked")])
        .filter("_delivered")
    )
    shares = per_person.group_by(CAMPAIGN).agg(
        (100 * pl.col("_opened").mean()).alias("email_open_pct"),
        (100 * pl.col("_clicked").mean()).alias("email_click_pct"),
    )
    return counted.join(shares, on=CAMPAIGN, how="left")


def meetings(contacts: pl.LazyFrame) -> pl.LazyFrame:
    """How often each campaign targeted, met or was redeemed by somebody."""
    kind = pl.col("interaction_type")
    return contacts.group_by(CAMPAIGN).agg(
        *[(kind == contact).sum().alias(f"{contact}_count") for contact in ("targeted", "exposed", "redeemed")]
    )


def conversions(named: pl.LazyFrame, paid: pl.LazyFrame, contacts: pl.LazyFrame) -> pl.LazyFrame:
    """The paid orders each campaign may claim, and their revenue.

    An order converts for a campaign when its campaign tag is the campaign's id or name (letter case and outer blanks
    aside), or when its customer redeemed something of the campaign on the order's UTC day. Each order counts once per
    campaign, and for every campaign that may claim it: to share it out is the attribution's task, so the revenue of
    several campaigns does not add up.
    """
    order = ("order_source", "order_id")
    revenue = paid.select(
        pl.col("source").alias("order_source"),
        "order_id",
        "customer_id",
        pl.col("ordered_at").dt.date().alias("_date"),
        _spelled(pl.col("utm_campaign")).alias("_tag"),
        "revenue_amount",
    )
    tags = pl.concat(
        [named.select(*CAMPAIGN, _spelled(pl.col(column)).alias("_tag")) for column in ("campaign_id", "campaign_name")]
    ).drop_nulls("_tag")
    redeemed = contacts.filter(pl.col("interaction_type") == "redeemed", pl.col("customer_id").is_not_null()).select(
        *CAMPAIGN, "customer_id", pl.col("event_at").dt.date().alias("_date")
    )
    claimed = [
        revenue.drop_nulls("_tag").join(tags.unique(), on="_tag"),
        revenue.drop_nulls("customer_id").join(redeemed.unique(), on=["customer_id", "_date"]),
    ]
    return (
        pl.concat([claim.select(*CAMPAIGN, *order, "revenue_amount") for claim in claimed])
        .unique([*CAMPAIGN, *order])
        .group_by(CAMPAIGN)
        .agg(
            pl.len().alias("conversion_count"),
            pl.col("revenue_amount").sum().cast(AMOUNT).alias("conversion_revenue_amount"),
        )
    )


def with_zeros(measured: pl.LazyFrame) -> pl.LazyFrame:
    """Counts are 0 where nothing was counted. Cost stays null where no source reports one: unknown is not free."""
    counted = [
        column.name for column in CAMPAIGNS.columns if column.is_required and column.type in (Type.INT, Type.AMOUNT)
    ]
    return measured.with_columns([pl.col(name).fill_null(0) for name in counted])


def with_ratios(measured: pl.LazyFrame) -> pl.LazyFrame:
    """CTR, CPC, CPL, cost per conversion and ROAS, each a sum over a sum."""
    cost, revenue = pl.col("cost_amount").cast(pl.Float64), pl.col("conversion_revenue_amount").cast(pl.Float64)
    return measured.with_columns(
        _over(100 * pl.col("click_count"), pl.col("impression_count")).alias("click_through_pct"),
        _over(cost, pl.col("click_count")).round(4).cast(AMOUNT).alias("cost_per_click_amount"),
        _over(cost, pl.col("lead_count")).round(4).cast(AMOUNT).alias("cost_per_lead_amount"),
        _over(cost, pl.col("conversion_count")).round(4).cast(AMOUNT).alias("cost_per_conversion_amount"),
        _over(revenue, cost).alias("return_on_ad_spend"),
    )


def _over(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`part / whole`, null where the whole is zero or unknown."""
    return pl.when(whole > 0).then(part / whole)


def _sum_of_known(column: str) -> pl.Expr:
    """The sum of the values there are; null when there is none."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)


def _spelled(tag: pl.Expr) -> pl.Expr:
    """A tag as it is compared: lower case, no outer blanks; null when empty."""
    spelled = tag.str.strip_chars().str.to_lowercase()
    return pl.when(spelled != "").then(spelled)


CAMPAIGNS = Table(
    layer=Layer.GOLD,
    name="campaigns",
    description="What every campaign cost and brought; ratios are sums over sums.",
    grain="one row per campaign of a source",
    key=CAMPAIGN,
    columns=(
        f.source.required,
        f.campaign_id.required,
        f.campaign_name,
        f.campaign_type,
        f.campaign_channel,
        f.network,
        f.starts_on,
        f.ends_on,
        f.impression_count.required,
        f.click_count.required,
        f.lead_count,
        f.total_cost_amount,
        f.email_sent_count.required,
        f.email_delivered_count.required,
        f.email_opened_count.required,
        f.email_clicked_count.required,
        f.email_bounced_count.required,
        f.email_unsubscribed_count.required,
        f.email_open_pct,
        f.email_click_pct,
        f.targeted_count.required,
        f.exposed_count.required,
        f.redeemed_count.required,
        f.conversion_count.required,
        f.conversion_revenue_amount.required,
        f.click_through_pct,
        f.cost_per_click_amount,
        f.cost_per_lead_amount,
        f.cost_per_conversion_amount,
        f.return_on_ad_spend,
    ),
    # Identity is named though no row of it is read here: it is what puts a customer beside every contact and order.
    inputs=(DESCRIBED_CAMPAIGNS, AD_SPEND, EMAIL_EVENTS, CAMPAIGN_INTERACTIONS, ORDERS, EXCHANGE_RATES, IDENTITY_MAP),
    build=build_campaigns,
    checks=(
        Check(
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "impression_count", "column_B": "click_count", "or_equal": True},
            severity=Severity.WARNING,
            why="a click without an impression: a network counts other clicks, or a day is missing",
        ),
    ),
)
