"""What happened on our sites and apps, one event a row, robots flagged."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import unquote_plus

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.channels import with_channel
from etl.silver.countries import normalised_country
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    Verdict,
    clean,
    earliest,
    judged,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)

# An event sent this long after it happened tells of a device that was off, not of a visit now.
_LATE = timedelta(days=3)
#: A "session" that lasts longer is a browser left open, or a robot.
LONGEST_SESSION = timedelta(days=3)


def standardise_web_events(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Events of sites and apps, one row each, duplicates of the collector removed; robots flagged and kept.

    Quarantined: events sent more than three days after they happened (`sent_late`), and those more than three days
    after the first event of their source's session (`session_overlong`).
    Method: https://docs.snowplow.io/docs/modeling-your-data/, the web model's base events this run.
    """
    return (
        records.pipe(with_clean_ids, "event_id", "event_name", "source_session_id", "page_view_id", "product_id")
        .pipe(without_null_keys, "event_id")
        .pipe(without_impossible_times, "event_at", "received_at")
        .pipe(
            judged,
            Verdict(
                "quarantined",
                "sent_late",
                pl.col("sent_at") - pl.col("device_at") > _LATE,
                "sent more than three days after it happened",
            ),
        )
        .pipe(earliest, ("_source", "event_id"), within_days=WEB_EVENTS.dedupe_days)
        .pipe(without_overlong_sessions)
        .with_columns(normalised_country(), clean("category"))
        .pipe(with_page)
        .pipe(with_channel)
        .pipe(with_device)
        .pipe(with_keys, key=key, country=country, hint="country")
        .pipe(rows_of, WEB_EVENTS)
    )


def without_overlong_sessions(records: pl.LazyFrame) -> pl.LazyFrame:
    """Events more than three days after the first event of their source's session are quarantined.

    The first event is looked for among the days a build looks back, counted from each event's own day: a day built
    alone and many days built at once find the same one. Of a session that comes back later than that, `silver.sessions`
    leaves the later events out: there all days are in sight.
    """
    session = ["_source", "source_session_id"]
    happened = pl.coalesce("received_at", "event_at")
    back = WEB_EVENTS.dedupe_days
    events = records.collect()
    per_day = (
        events.lazy()
        .filter((pl.col("_fate") == "out") & pl.col("source_session_id").is_not_null())
        .group_by(*session, "day")
        .agg(happened.min().alias("_first"))
    )
    first = (
        per_day.join(per_day, on=session, suffix="_before")
        .filter(pl.col("day_before").is_between(pl.col("day") - timedelta(days=back), pl.col("day")))
        .group_by(*session, "day")
        .agg(pl.col("_first_before").min().alias("_session_began"))
    )
    return (
        events.lazy()
        .join(first, on=[*session, "day"], how="left", maintain_order="left")
        .pipe(
            judged,
            Verdict(
                "quarantined",
                "session_overlong",
                happened - pl.col("_session_began") > LONGEST_SESSION,
                "more than three days after the first event of its session",
            ),
        )
        .drop("_session_began")
    )


_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/:?#]+)"
_PATH = r"^(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?([^?#]*)"


def with_page(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events with host and path of the page, host of the referrer, and campaign tags from fields or the page's query.

    Query and fragment are left behind, and a path segment that holds an @ becomes `-`: addresses in links to
    unsubscribe or to confirm are personal, a path is not.
    """
    path = pl.col("page_url").str.extract(_PATH).str.replace_all(r"[^/]*(?:@|%40)[^/]*", "-")
    return events.with_columns(
        pl.col("page_url").str.extract(_HOST).str.to_lowercase().alias("page_host"),
        pl.when(pl.col("page_url").is_not_null())
        .then(pl.when(path == "").then(pl.lit("/")).otherwise(path))
        .alias("page_path"),
        pl.col("referrer_url").str.extract(_HOST).str.to_lowercase().alias("referrer_host"),
        *(
            pl.coalesce(clean(tag), _parameter("page_url", tag)).alias(tag)
            for tag in ("utm_source", "utm_medium", "utm_campaign")
        ),
    )


def _parameter(url: str, name: str) -> pl.Expr:
    """A parameter of the URL's query, decoded; the first of twins."""
    value = pl.col(url).str.extract(rf"[?&]{name}=([^&#]*)")
    return clean(value.map_batches(_decoded, return_dtype=pl.String))


def _decoded(values: pl.Series) -> pl.Series:
    distinct = values.drop_nulls().unique()
    if distinct.is_empty():
        return values
    plain = pl.Series([unquote_plus(value) for value in distinct.to_list()], dtype=pl.String)
    return values.replace_strict(distinct, plain, default=None, return_dtype=pl.String)


# Robots that say so. `cubot` is a telephone.
_ROBOT = re.compile(
    r"(?<!cu)bot(?:\b|[/;_-])|crawl|spider|slurp|scrap|headless|phantomjs|lighthouse|pagespeed|pingdom|uptime|monitor|"
    r"facebookexternalhit|whatsapp/|preview|curl/|wget/|python-requests|python-httpx|aiohttp|go-http-client|okhttp-bot|"
    r"java/|libwww|axios/|node-fetch|feedfetcher|archive\.org",
    re.IGNORECASE,
)
_DEVICES = {
    "desktop": "desktop", "computer": "desktop", "pc": "desktop", "mobile": "mobile", "phone": "mobile",
    "smartphone": "mobile", "tablet": "tablet",
}  # fmt: skip


def is_robot(user_agent: str) -> bool:
    """True when a browser's description is that of a program that fetches pages by itself."""
    return _ROBOT.search(user_agent) is not None


def device_of(user_agent: str) -> str:
    """desktop, mobile, tablet or other, by the browser's description."""
    said = user_agent.casefold()
    if is_robot(said):
        return "other"
    if any(word in said for word in ("ipad", "tablet", "kindle", "silk/", "playbook")):
        return "tablet"
    if "mobi" in said or "iphone" in said or "ipod" in said:
        return "mobile"
    if "android" in said:
        return "tablet"  # Android says `Mobile` on telephones only
    return "desktop" if any(word in said for word in ("windows", "macintosh", "x11", "linux", "cros")) else "other"


def with_device(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events with `device_type`, from the field or else the user agent, and `is_bot`, from the user agent."""
    field = pl.col("device_type").str.strip_chars().str.to_lowercase()
    named = field.replace_strict(_DEVICES, default="other", return_dtype=pl.String)
    return events.with_columns(
        pl.col("user_agent").map_batches(_robots, return_dtype=pl.Boolean).fill_null(False).alias("is_bot"),
        pl.when(field.is_not_null() & (field != ""))
        .then(named)
        .otherwise(pl.col("user_agent").map_batches(_devices, return_dtype=pl.String))
        .alias("device_type"),
    )


def _robots(agents: pl.Series) -> pl.Series:
    distinct = agents.drop_nulls().unique()
    if distinct.is_empty():
        return pl.Series(agents.name, [None] * len(agents), dtype=pl.Boolean)
    said = pl.Series([is_robot(agent) for agent in distinct.to_list()], dtype=pl.Boolean)
    return agents.replace_strict(distinct, said, default=None, return_dtype=pl.Boolean)


def _devices(agents: pl.Series) -> pl.Series:
    distinct = agents.drop_nulls().unique()
    if distinct.is_empty():
        return agents
    said = pl.Series([device_of(agent) for agent in distinct.to_list()], dtype=pl.String)
    return agents.replace_strict(distinct, said, default=None, return_dtype=pl.String)


WEB_EVENTS = Table(
    layer=Layer.SILVER,
    name="web_events",
    description="What happened on our sites and apps, one event a row, robots flagged.",
    grain="one row per event",
    key=("source", "event_id"),
    columns=(
        f.source.required,
        f.event_id.required,
        f.event_name.required,
        f.event_at.required,
        f.received_at,
        f.node_id,
        f.cookie_key,
        f.login_key,
        f.email_key,
        f.source_session_id,
        f.page_view_id,
        f.page_host,
        f.page_path,
        f.referrer_host,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
        f.channel.required,
        f.device_type,
        f.country,
        f.product_id,
        f.category,
        f.is_bot.required,
        f.day.required,
    ),
    accepts=(
        f.email,
        f.email_sha256,
        f.phone,
        f.login,
        f.card,
        f.cookie,
        f.device,
        f.handle,
        f.event_id,
        f.event_name,
        f.event_at,
        f.received_at,
        f.sent_at,
        f.device_at,
        f.source_session_id,
        f.page_view_id,
        f.page_url,
        f.referrer_url,
        f.utm_source,
        f.utm_medium,
        f.utm_campaign,
        f.device_type,
        f.country,
        f.product_id,
        f.category,
        f.user_agent,
    ),
    build=standardise_web_events,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    # One more than a session may last, so that its first event is in sight on the day it becomes too long.
    dedupe_days=4,
)
