"""Visits: a customer's web events with no pause over 30 minutes, whatever browser or device they came from.

Read by gold for visits, channels and landing pages. The pause is Google Analytics' (support.google.com/analytics,
"About Analytics sessions"): half an hour without an event ends a session; midnight and a new campaign do not.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from etl import fields as f
from etl.model import Layer, Table
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.web_events import LONGEST_SESSION, WEB_EVENTS

PAUSE = timedelta(minutes=30)
PAGE_VIEWS = ("page_view", "screen_view")

# An event that names nobody (no cookie was allowed) cannot be put beside another: it is a visit of its own.
_WHO = pl.coalesce(
    pl.col("customer_id"),
    pl.concat_str([pl.col("source"), pl.col("event_id")], separator=":"),
)


def events_left_out(web_events: pl.LazyFrame) -> pl.LazyFrame:
    """The events that make no visit: those of robots, and those more than three days after the first of their session.

    The first is that of the source's own session, however long ago: an id that comes back after months is a browser
    that never forgot it. Method: `silver.web_events`, which turns away those it can see in its few days.
    """
    return web_events.filter(_is_left_out())


def _is_left_out() -> pl.Expr:
    happened = pl.coalesce("received_at", "event_at")
    began = happened.min().over("source", "source_session_id")
    is_beyond = pl.col("source_session_id").is_not_null() & (happened - began > LONGEST_SESSION)
    return pl.col("is_bot") | is_beyond


def build_sessions(web_events: pl.LazyFrame, identity_map: pl.LazyFrame) -> pl.LazyFrame:
    """One row per session; `event_count` adds up to all events but those left out. Sorted by session.

    The channel and campaign tags are those of the session's first event that is not direct; a session of direct
    events only is direct. The landing page is the first page any event names.
    """
    in_order = (
        web_events.filter(~_is_left_out())
        .with_columns(_WHO.alias("_who"))
        .sort("_who", "event_at", "source", "event_id")
    )
    pause = pl.col("event_at") - pl.col("event_at").shift().over("_who")
    is_first = pause.is_null() | (pause > PAUSE)
    said = pl.col("channel") != "direct"
    known = current(identity_map).select("customer_id", "is_known").unique()
    return (
        in_order.with_columns(is_first.cum_sum().over("_who").alias("_session"))
        .group_by("_who", "_session")
        .agg(
            pl.col("customer_id").first(),
            pl.col("event_at").min().alias("started_at"),
            pl.col("event_at").max().alias("ended_at"),
            pl.len().cast(pl.Int64).alias("event_count"),
            pl.col("event_name").is_in(PAGE_VIEWS).sum().cast(pl.Int64).alias("page_view_count"),
            pl.col("cookie_key").drop_nulls().n_unique().cast(pl.Int64).alias("browser_count"),
            pl.col("channel").filter(said).first().fill_null("direct"),
            *(pl.col(tag).filter(said).first() for tag in ("utm_source", "utm_medium", "utm_campaign")),
            pl.col("page_path").drop_nulls().first().alias("landing_page_path"),
            pl.col("device_type").drop_nulls().first(),
        )
        .join(known, on="customer_id", how="left")
        .with_columns(
            # Two sessions of one customer never start at one time, so who and when name the session.
            pl.concat_str([pl.col("_who"), pl.col("started_at").dt.epoch("us").cast(pl.String)], separator="_").alias(
                "session_id"
            ),
            pl.col("is_known").fill_null(False),
        )
        .select(SESSIONS.column_names)
        .sort("session_id")
    )


SESSIONS = Table(
    layer=Layer.SILVER,
    name="sessions",
    description="Visits to our sites and apps: a customer's events with no pause over 30 minutes, on any device.",
    grain="one row per session",
    key=("session_id",),
    columns=(
        f.session_id.required,
        f.customer_id,
        f.is_known.required,
        f.started_at.required,
        f.ended_at.required,
        f.event_count.required,
        f.page_view_count.required,
        f.browser_count.required,
        f.channel.required,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
        f.landing_page_path,
        f.device_type,
    ),
    inputs=(WEB_EVENTS, IDENTITY_MAP),
    build=build_sessions,
    conserves="web_events",
    weight="event_count",
    leaves_out=events_left_out,
)
