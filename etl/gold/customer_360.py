"""Everything we know of a customer in one wide row, without saying who it is.

Read by analysts, segments and models. Names and addresses are in `gold.contacts`.

Only what happened before `as_of` counts; `as_of_date` is the last day counted, and the windows of 30 and 90 days end
with it. An order counts once it was paid, also when it was refunded later: what was given back lowers its revenue.
Counts are 0 where there was nothing to count; shares, means and dates are null.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from etl import fields as f
from etl.gold.consent_flags import consent_flags
from etl.gold.reporting_currency import AMOUNT, in_reporting_currency
from etl.model import Check, Layer, Table, Type
from etl.model.frames import schema_of
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.silver.consents import CONSENTS
from etl.silver.customers import CUSTOMERS
from etl.silver.device_events import DEVICE_EVENTS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.exchange_rates import EXCHANGE_RATES
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS
from etl.silver.products import PRODUCTS
from etl.silver.sessions import SESSIONS
from etl.silver.social_posts import SOCIAL_POSTS

PAID = ("paid", "partially_refunded", "refunded")


def build_customer_360(
    customers: pl.LazyFrame,
    orders: pl.LazyFrame,
    order_lines: pl.LazyFrame,
    products: pl.LazyFrame,
    exchange_rates: pl.LazyFrame,
    sessions: pl.LazyFrame,
    email_events: pl.LazyFrame,
    social_posts: pl.LazyFrame,
    campaign_interactions: pl.LazyFrame,
    device_events: pl.LazyFrame,
    consents: pl.LazyFrame,
    *,
    as_of: datetime,
    currency: str,
) -> pl.LazyFrame:
    """The profile of every known customer as of `as_of` (exclusive), amounts in `currency`.

    One row per known customer. Each row depends on that customer's own rows alone, so any split of the customers
    gives the same rows.
    """
    placed = before(orders, "ordered_at", as_of)
    facets = [
        purchases(placed, exchange_rates, as_of=as_of, currency=currency),
        baskets(placed, order_lines, products, exchange_rates, currency=currency),
        visits(before(sessions, "started_at", as_of), as_of=as_of),
        mailings(before(email_events, "event_at", as_of), as_of=as_of),
        posts(before(social_posts, "posted_at", as_of)),
        interactions(before(campaign_interactions, "event_at", as_of)),
        readings(before(device_events, "event_at", as_of)),
        consent_flags(consents, as_of=as_of),
    ]
    profiles = customers.filter(pl.col("is_known"))
    for facet in facets:
        profiles = profiles.join(facet, on="customer_id", how="left")
    return (
        profiles.pipe(with_ages, as_of=as_of)
        .pipe(with_reachability)
        .pipe(with_zeros)
        .select([pl.col(name).cast(kind) for name, kind in schema_of(CUSTOMER_360.columns).items()])
    )


def before(rows: pl.LazyFrame, at: str, as_of: datetime) -> pl.LazyFrame:
    """The rows whose customer is settled and that happened before `as_of`."""
    return rows.filter(pl.col("customer_id").is_not_null(), pl.col(at) < as_of)


def purchases(orders: pl.LazyFrame, exchange_rates: pl.LazyFrame, *, as_of: datetime, currency: str) -> pl.LazyFrame:
    """Frequency, monetary value and dates of each customer's paid orders. One row per customer with an order."""
    paid, at = pl.col("order_status").is_in(PAID), pl.col("ordered_at")
    last_30, last_90 = paid & _within(at, as_of, 30), paid & _within(at, as_of, 90)
    revenue = pl.col("revenue_amount")
    in_one_currency = in_reporting_currency(
        # No discount is a discount of nothing; after the conversion null says only that there is no rate.
        orders.with_columns(at.dt.date().alias("_date"), pl.col("discount_amount").fill_null(0)),
        exchange_rates,
        amounts=("refund_amount", "discount_amount"),
        on="_date",
        currency=currency,
    )
    return (
        in_one_currency.group_by("customer_id")
        .agg(
            paid.sum().alias("order_count"),
            last_30.sum().alias("order_30d_count"),
            last_90.sum().alias("order_90d_count"),
            pl.col("order_status").is_in(("partially_refunded", "refunded")).sum().alias("refunded_order_count"),
            (pl.col("order_status") == "cancelled").sum().alias("cancelled_order_count"),
            (paid & pl.col("coupon_code").is_not_null()).sum().alias("coupon_order_count"),
            at.filter(paid).min().alias("_first_order_at"),
            at.filter(paid).max().alias("_last_order_at"),
            revenue.filter(paid).sum().cast(AMOUNT).alias("revenue_amount"),
            revenue.filter(last_30).sum().cast(AMOUNT).alias("revenue_30d_amount"),
            revenue.filter(last_90).sum().cast(AMOUNT).alias("revenue_90d_amount"),
            _whole_sum("refund_amount", paid),
            _whole_sum("discount_amount", paid),
            pl.col("currency").filter(paid).n_unique().alias("currency_count"),
        )
        .with_columns(
            pl.col("_first_order_at").dt.date().alias("first_order_date"),
            pl.col("_last_order_at").dt.date().alias("last_order_date"),
            _share(pl.col("revenue_amount").cast(pl.Float64), pl.col("order_count"))
            .round(4)
            .cast(AMOUNT)
            .alias("monetary_amount"),
        )
        .with_columns(
            _share(
                (pl.col("last_order_date") - pl.col("first_order_date")).dt.total_days(), pl.col("order_count") - 1
            ).alias("days_between_orders")
        )
    )


def baskets(
    orders: pl.LazyFrame,
    order_lines: pl.LazyFrame,
    products: pl.LazyFrame,
    exchange_rates: pl.LazyFrame,
    *,
    currency: str,
) -> pl.LazyFrame:
    """What was in each customer's paid orders. One row per customer with a line.

    A line is the customer's whose order it is. Its category is the line's own, else the product's in the catalogue.
    """
    paid = orders.filter(pl.col("order_status").is_in(PAID)).select("source", "order_id", "customer_id")
    catalogue = products.select("source", "product_id", pl.col("category").alias("_category"))
    lines = (
        order_lines.select(
            "source",
            "order_id",
            "product_id",
            "category",
            "currency",
            "line_amount",
            # Decimals add up to the same sum in any order; floats do not.
            pl.col("quantity").cast(AMOUNT),
            pl.col("ordered_at").dt.date().alias("_date"),
        )
        .join(paid, on=["source", "order_id"])
        .group_by("customer_id", "source", "product_id", "category", "currency", "_date")
        .agg(pl.col("line_amount").sum().cast(AMOUNT), pl.col("quantity").sum().cast(AMOUNT))
        .pipe(in_reporting_currency, exchange_rates, amounts=("line_amount",), on="_date", currency=currency)
        .join(catalogue, on=["source", "product_id"], how="left")
        .with_columns(pl.coalesce("category", "_category").alias("category"))
    )
    by_product = lines.group_by("customer_id", "source", "product_id").agg(pl.col("quantity").sum())
    by_category = lines.drop_nulls("category").group_by("customer_id", "category").agg(pl.col("line_amount").sum())
    counted = by_product.group_by("customer_id").agg(
        pl.col("quantity").sum().cast(pl.Float64).alias("item_count"),
        pl.col("product_id").count().alias("product_count"),
    )
    categories = by_category.group_by("customer_id").agg(pl.len().alias("category_count"))
    top = _most(by_category, "category", by="line_amount").rename({"category": "top_category"})
    return counted.join(categories, on="customer_id", how="left").join(top, on="customer_id", how="left")


def visits(sessions: pl.LazyFrame, *, as_of: datetime) -> pl.LazyFrame:
    """Sessions, channels, first and last touch. One row per customer with a session."""
    in_time = sessions.sort("started_at", "session_id")  # rows keep this order within groups
    started = pl.col("started_at")
    counted = in_time.group_by("customer_id").agg(
        pl.len().alias("session_count"),
        _within(started, as_of, 30).sum().alias("session_30d_count"),
        _within(started, as_of, 90).sum().alias("session_90d_count"),
        started.min().dt.date().alias("first_session_date"),
        started.max().dt.date().alias("last_session_date"),
        pl.col("ended_at").filter(pl.col("ended_at") < as_of).max().alias("_last_visit_at"),
        pl.col("event_count").sum().alias("web_event_count"),
        pl.col("page_view_count").sum(),
        pl.col("channel").drop_nulls().first().alias("first_touch_channel"),
        pl.col("channel").drop_nulls().last().alias("last_touch_channel"),
        pl.col("channel").drop_nulls().n_unique().alias("channel_count"),
        pl.col("utm_campaign").drop_nulls().first().alias("first_touch_campaign"),
        pl.col("utm_campaign").drop_nulls().last().alias("last_touch_campaign"),
        pl.col("device_type").drop_nulls().unique().sort().alias("device_types"),
    )
    by_device_type = (
        sessions.drop_nulls("device_type").group_by("customer_id", "device_type").agg(pl.len().alias("_sessions"))
    )
    main = _most(by_device_type, "device_type", by="_sessions").rename({"device_type": "main_device_type"})
    return counted.join(main, on="customer_id", how="left").with_columns(
        _share(pl.col("page_view_count"), pl.col("session_count")).alias("page_views_per_session")
    )


def mailings(email_events: pl.LazyFrame, *, as_of: datetime) -> pl.LazyFrame:
    """What became of our e-mails to each customer. One row per customer with an e-mail event.

    The shares count e-mails, not openings: a person gets one e-mail of a campaign, so delivered campaigns are the
    whole, and those of them that were opened (clicked) at least once the part. Events of no campaign stay out of both.
    """
    kind, at = pl.col("email_event"), pl.col("event_at")
    counted = email_events.group_by("customer_id").agg(
        *[
            (kind == event).sum().alias(f"email_{event}_count")
            for event in ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")
        ],
        *[
            ((kind == event) & _within(at, as_of, days)).sum().alias(f"email_{event}_{days}d_count")
            for event in ("opened", "clicked")
            for days in (30, 90)
        ],
        at.filter(kind == "opened").max().alias("last_email_opened_at"),
        at.filter(kind.is_in(("opened", "clicked"))).max().alias("_last_read_at"),
        at.filter(kind.is_in(("delivered", "opened", "clicked"))).max().alias("_last_delivered_at"),
        at.filter(kind == "bounced").max().alias("_last_bounced_at"),
        at.filter(kind.is_in(("unsubscribed", "complained"))).max().alias("_last_refused_at"),
    )
    by_email = (
        email_events.drop_nulls("campaign_id")
        .group_by("customer_id", "source", "campaign_id")
        .agg(*[(kind == event).any().alias(f"_{event}") for event in ("delivered", "opened", "clicked")])
        .filter("_delivered")
    )
    shares = by_email.group_by("customer_id").agg(
        (100 * pl.col("_opened").mean()).alias("email_open_pct"),
        (100 * pl.col("_clicked").mean()).alias("email_click_pct"),
    )
    return counted.join(shares, on="customer_id", how="left")


def posts(social_posts: pl.LazyFrame) -> pl.LazyFrame:
    """What each customer posted, and its echo. One row per customer with a post."""
    return social_posts.group_by("customer_id").agg(
        pl.len().alias("post_count"),
        pl.col("like_count").sum().alias("post_like_count"),
        pl.col("posted_at").max().alias("last_posted_at"),
    )


def interactions(campaign_interactions: pl.LazyFrame) -> pl.LazyFrame:
    """Contacts between campaigns or experiments and each customer. One row per customer with a contact."""
    kind = pl.col("interaction_type")
    return campaign_interactions.group_by("customer_id").agg(
        *[(kind == contact).sum().alias(f"{contact}_count") for contact in ("targeted", "exposed", "redeemed")],
        pl.col("event_at").filter(kind == "redeemed").max().alias("_last_redeemed_at"),
    )


def readings(device_events: pl.LazyFrame) -> pl.LazyFrame:
    """Readings of each customer's devices. One row per customer with a reading."""
    return device_events.group_by("customer_id").agg(
        pl.len().alias("device_reading_count"), pl.col("event_at").max().alias("last_device_at")
    )


def with_ages(profiles: pl.LazyFrame, *, as_of: datetime) -> pl.LazyFrame:
    """`as_of_date`, and how long ago things were on that day."""
    last_day = pl.lit((as_of - timedelta(microseconds=1)).date())
    return profiles.with_columns(
        last_day.alias("as_of_date"),
        (last_day - pl.col("last_order_date")).dt.total_days().alias("recency_days"),
        (last_day - pl.col("first_order_date")).dt.total_days().alias("tenure_days"),
        pl.max_horizontal(
            "_last_order_at",
            "_last_visit_at",
            "_last_read_at",
            "last_posted_at",
            "_last_redeemed_at",
            "last_device_at",
        ).alias("last_seen_at"),
    )


def with_reachability(profiles: pl.LazyFrame) -> pl.LazyFrame:
    """Whether there is an address, and whether an e-mail may be sent to it and would arrive.

    An unsubscription or complaint outweighs consent until consent is given anew; a bounce, until the mailbox answers.
    """
    consented = pl.col("has_consent_email_marketing").fill_null(value=False)
    refused = (pl.col("_last_refused_at") >= pl.col("_email_marketing_at")).fill_null(value=False)
    bounced = pl.col("_last_bounced_at").is_not_null() & (
        pl.col("_last_delivered_at").is_null() | (pl.col("_last_bounced_at") >= pl.col("_last_delivered_at"))
    )
    return profiles.with_columns(
        pl.col("email").is_not_null().alias("has_email"), pl.col("phone").is_not_null().alias("has_phone")
    ).with_columns((pl.col("has_email") & consented & ~refused & ~bounced).alias("is_email_reachable"))


def with_zeros(profiles: pl.LazyFrame) -> pl.LazyFrame:
    """Counts and sums are 0 for customers whose subject has no row at all; a sum nobody knows stays null."""
    counted = [
        column.name
        for column in CUSTOMER_360.columns
        if column.is_required and column.type in (Type.INT, Type.FLOAT, Type.AMOUNT)
    ]
    has_no_order = pl.col("order_count").is_null()
    return profiles.with_columns(
        pl.when(has_no_order).then(pl.lit(0).cast(AMOUNT)).otherwise(pl.col("refund_amount")).alias("refund_amount"),
        pl.when(has_no_order)
        .then(pl.lit(0).cast(AMOUNT))
        .otherwise(pl.col("discount_amount"))
        .alias("discount_amount"),
        *[pl.col(name).fill_null(0) for name in counted],
    )


def _within(at: pl.Expr, as_of: datetime, days: int) -> pl.Expr:
    """True in the `days` days that end at `as_of`; what comes later is already left out."""
    return at >= as_of - timedelta(days=days)


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`part / whole`, null where the whole is not positive."""
    return pl.when(whole > 0).then(part / whole)


def _whole_sum(amount: str, counted: pl.Expr) -> pl.Expr:
    """The sum over the counted rows; null when one of them is: its currency has no rate, so nobody knows the sum."""
    values = pl.col(amount).filter(counted)
    return pl.when(values.null_count() == 0).then(values.sum()).cast(AMOUNT).alias(amount)


def _most(counted: pl.LazyFrame, what: str, *, by: str) -> pl.LazyFrame:
    """Each customer's `what` with the highest `by`; where two are level, the first by name."""
    ranked = counted.sort("customer_id", by, what, descending=[False, True, False], nulls_last=True)
    return ranked.group_by("customer_id", maintain_order=True).agg(pl.col(what).first())


def _never_less(larger: str, smaller: str) -> Check:
    return Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": larger, "column_B": smaller, "or_equal": True},
        why=f"`{smaller}` counts a part of `{larger}`",
    )


CUSTOMER_360 = Table(
    layer=Layer.GOLD,
    name="customer_360",
    description="Everything known of a customer in one wide row, without saying who it is.",
    grain="one row per known customer",
    key=("customer_id",),
    columns=(
        f.customer_id.required,
        f.as_of_date.required,
        # who it is, in general
        f.country,
        f.region,
        f.language,
        f.lifecycle_stage,
        f.first_seen_at,
        f.last_seen_at,
        f.record_count.required,
        f.source_count.required,
        # recency, frequency, monetary value
        f.order_count.required,
        f.order_30d_count.required,
        f.order_90d_count.required,
        f.refunded_order_count.required,
        f.cancelled_order_count.required,
        f.coupon_order_count.required,
        f.first_order_date,
        f.last_order_date,
        f.recency_days,
        f.tenure_days,
        f.days_between_orders,
        f.total_revenue_amount.required,
        f.revenue_30d_amount.required,
        f.revenue_90d_amount.required,
        f.monetary_amount,
        f.total_refund_amount,
        f.total_discount_amount,
        f.currency_count.required,
        # what was bought
        f.item_count.required,
        f.product_count.required,
        f.category_count.required,
        f.top_category,
        # visits
        f.session_count.required,
        f.session_30d_count.required,
        f.session_90d_count.required,
        f.web_event_count.required,
        f.page_view_count.required,
        f.page_views_per_session,
        f.first_session_date,
        f.last_session_date,
        f.first_touch_channel,
        f.last_touch_channel,
        f.channel_count.required,
        f.first_touch_campaign,
        f.last_touch_campaign,
        f.main_device_type,
        f.device_types,
        # e-mail
        f.email_sent_count.required,
        f.email_delivered_count.required,
        f.email_opened_count.required,
        f.email_opened_30d_count.required,
        f.email_opened_90d_count.required,
        f.email_clicked_count.required,
        f.email_clicked_30d_count.required,
        f.email_clicked_90d_count.required,
        f.email_bounced_count.required,
        f.email_unsubscribed_count.required,
        f.email_open_pct,
        f.email_click_pct,
        f.last_email_opened_at,
        # social, campaigns, devices
        f.post_count.required,
        f.post_like_count.required,
        f.last_posted_at,
        f.targeted_count.required,
        f.exposed_count.required,
        f.redeemed_count.required,
        f.device_reading_count.required,
        f.last_device_at,
        # what may be done
        f.has_email.required,
        f.has_phone.required,
        f.has_consent_email_marketing,
        f.has_consent_sms_marketing,
        f.has_consent_analytics,
        f.has_consent_personalisation,
        f.has_consent_ads,
        f.is_email_reachable.required,
    ),
    inputs=(
        CUSTOMERS,
        ORDERS,
        ORDER_LINES,
        PRODUCTS,
        EXCHANGE_RATES,
        SESSIONS,
        EMAIL_EVENTS,
        SOCIAL_POSTS,
        CAMPAIGN_INTERACTIONS,
        DEVICE_EVENTS,
        CONSENTS,
    ),
    build=build_customer_360,
    checks=(
        _never_less("order_count", "order_90d_count"),
        _never_less("order_90d_count", "order_30d_count"),
        _never_less("session_count", "session_90d_count"),
        _never_less("session_90d_count", "session_30d_count"),
        _never_less("email_opened_count", "email_opened_90d_count"),
        _never_less("email_opened_90d_count", "email_opened_30d_count"),
    ),
)
