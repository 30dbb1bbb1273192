"""The job in Polars: lazy plans on the streaming engine, payloads decoded with a schema, joins instead of windows.

    python -m benchmarks.peers.polars_peer LAKE OUT

What pays here: each stream is decoded once into the few columns needed, `_event_at` of the envelope spares reading
times again, only repeated ids are looked at for twins, and only events of known customers are made into sessions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.c360_lake import CURRENCY
from benchmarks.peers import given
from benchmarks.peers.given import AS_OF, DEVICES, METRICS, OUT, PAID, PURPOSES, STATUS
from etl.privacy.pseudonyms import KINDS

AMOUNT = pl.Decimal(18, 4)
_INVISIBLE = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"

_T = pl.String()
_MONEY = pl.Struct({"presentmentMoney": pl.Struct({"amount": _T, "currencyCode": _T})})


def run(lake: Path) -> pl.DataFrame:
    """`gold.customer_360` of the bronze in `lake`."""
    records = person_records(lake)
    web = web_events(lake)
    orders, lines = orders_and_lines(lake)
    mails, posts, decisions = mail_events(lake), social_posts(lake), consents(lake)
    rate = factors(lake, orders)
    priced = orders.join(rate, on=["currency", "date"], how="left").filter(
        (pl.col("currency") == CURRENCY) | pl.col("factor").is_not_null()
    )
    nodes, sources = settled(records, web, priced, lines, mails, posts, decisions)
    known = nodes.filter("is_known")
    placed = whose(priced.with_columns(revenue=converted(pl.col("gross") - pl.col("refund"))), known)
    facets = [
        purchases(placed),
        baskets(placed, lines, rate, products(lake)),
        visits(whose(web, known)),
        mailings(whose(mails, known)),
        echoes(whose(posts, known)),
        flags(whose(decisions, known)),
    ]
    profiles = customers(records, known, sources)
    plan = profiles.lazy()
    for facet in facets:
        plan = plan.join(facet.lazy(), on="customer_id", how="left")
    return finished(plan).collect(engine="streaming")


# --- reading ----------------------------------------------------------------------------------------------------------


def scan(lake: Path, table: str, payload: Mapping[str, pl.DataType], *envelope: str) -> pl.LazyFrame:
    """The wanted columns of the envelope, and the members of `payload` beside them."""
    landed = pl.scan_parquet(given.bronze_files(lake, table), hive_partitioning=True)
    decode = pl.col("_payload").str.json_decode(pl.Struct(payload)).alias("_p")
    return landed.select(*envelope, decode).unnest("_p")


def clean(name: str) -> pl.Expr:
    """Text in NFC without invisible characters, single blanks, trimmed; blank is null."""
    tidy = (
        pl.col(name).str.normalize("NFC").str.replace_all(_INVISIBLE, "").str.replace_all(r"\s+", " ").str.strip_chars()
    )
    return pl.when(tidy != "").then(tidy).alias(name)


def trimmed(name: str) -> pl.Expr:
    """Trimmed; blank is null."""
    return pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name).str.strip_chars()).alias(name)


def moment(name: str) -> pl.Expr:
    """ISO 8601 in UTC, as these sources write it, with milliseconds or without."""
    text = pl.col(name)
    return (
        pl.coalesce(
            text.str.slice(0, 23).str.to_datetime("%Y-%m-%dT%H:%M:%S%.3f", time_unit="us", strict=False),
            text.str.slice(0, 19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False),
        )
        .dt.replace_time_zone("UTC")
        .alias(name)
    )


def possible(name: str) -> pl.Expr:
    """Not more than a day after the record's own day, and not before 1971."""
    end = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=2)
    return pl.col(name).is_null() | ((pl.col(name) <= end) & (pl.col(name).dt.year() >= 1971))


def newest(versions: pl.LazyFrame, key: str = "_id") -> pl.DataFrame:
    """The newest version of each record."""
    ordered = ["_cursor", "_extracted_at", "_hash"]
    return (
        versions.collect(engine="streaming")
        .sort(*ordered, descending=True)
        .unique(key, keep="first", maintain_order=True)
    )


def first_told(events: pl.DataFrame, key: str, days: int) -> pl.DataFrame:
    """Without twins told again at most `days` after the one before."""
    twins = events.lazy().select(key, "day", "_event_at", "_hash").with_row_index("_at")
    repeated = twins.group_by(key).agg(pl.len()).filter(pl.col("len") > 1).select(key)
    later = (
        twins.join(repeated, on=key, how="semi")
        .sort("day", "_event_at", "_hash", maintain_order=True)
        .filter(pl.col("day") - pl.col("day").shift().over(key) <= timedelta(days=days))
        .select("_at")
        .collect()
    )
    return events.with_row_index("_at").join(later, on="_at", how="anti", maintain_order="left").drop("_at", "_hash")


def with_key(rows: pl.DataFrame, kind: str, column: str | None = None) -> pl.DataFrame:
    """Rows with `<kind>_key` in place of the identifier."""
    column = column or kind
    found = given.identified(kind, rows[column].drop_nulls().unique())
    return rows.join(
        found.select(pl.col("value").alias(column), pl.col("key").alias(f"{kind}_key")), on=column, how="left"
    ).drop(column)


def with_node(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the key of their surest identifier."""
    keys = [f"{kind}_key" for kind in KINDS if f"{kind}_key" in rows.columns]
    return rows.with_columns(pl.coalesce(keys).alias("node_id"))


# --- people -----------------------------------------------------------------------------------------------------------


def person_records(lake: Path) -> pl.DataFrame:
    """Every record of a person in its latest state, with node, keys, and what the profile takes of it."""
    envelope = ("_id", "_op", "_cursor", "_extracted_at", "_hash", "day")
    texts = dict.fromkeys(
        ("email", "firstname", "lastname", "phone", "address", "zip", "city", "country", "hs_language",
         "lifecyclestage", "loyalty_card", "shop_customer_id", "mastodon_handle"), _T)  # fmt: skip
    contact = {"properties": pl.Struct(texts), "createdAt": _T}
    contacts = pl.concat(
        [scan(lake, f"hubspot_{name}", contact, *envelope) for name in ("contacts", "contacts_archived")]
    ).unnest("properties")
    customer = dict.fromkeys(
        ("email", "mobile", "card_no", "first_name", "last_name", "street", "zip", "city", "country", "status",
         "created_at"), _T)  # fmt: skip
    hubspot = newest(contacts).select(
        *envelope,
        "email",
        "phone",
        "zip",
        "city",
        "country",
        source=pl.lit("hubspot"),
        stream=pl.lit("contacts"),
        given_name="firstname",
        family_name="lastname",
        street="address",
        language="hs_language",
        lifecycle_stage="lifecyclestage",
        card="loyalty_card",
        login="shop_customer_id",
        handle="mastodon_handle",
        created_at="createdAt",
    )
    crm = newest(scan(lake, "crm_db_customers", customer, *envelope)).select(
        *envelope,
        "email",
        "zip",
        "city",
        "country",
        "street",
        "created_at",
        source=pl.lit("crm_db"),
        stream=pl.lit("customers"),
        phone="mobile",
        given_name="first_name",
        family_name="last_name",
        language=pl.lit(None, pl.String),
        lifecycle_stage="status",
        card="card_no",
        login=pl.lit(None, pl.String),
        handle=pl.lit(None, pl.String),
    )
    texts_kept = ("given_name", "family_name", "street", "zip", "city", "country", "lifecycle_stage")
    rows = (
        pl.concat([hubspot, crm], how="diagonal")
        .with_columns(moment("created_at"), *(clean(name) for name in texts_kept))
        .filter(possible("created_at"), possible("_cursor"))
    )
    codes = given.countries(rows["country"].drop_nulls().unique())
    rows = rows.with_columns(
        pl.col("country").replace_strict(codes, return_dtype=pl.String),
        pl.col("lifecycle_stage").str.to_lowercase(),
        pl.col("language").str.strip_chars().str.to_lowercase().str.extract(r"^([a-z]{2})(?:[-_].*)?$"),
        is_deleted=pl.col("_op") == "delete",
        node_id=given.record_nodes(rows.select(pl.concat_str("source", "stream", "_id", separator=":")).to_series()),
    )
    address = given.identified("email", rows["email"].drop_nulls().unique())
    rows = rows.join(
        address.rename({"value": "email", "is_there": "has_email", "key": "email_key"}), on="email", how="left"
    )
    dialled = rows.filter(pl.col("phone").is_not_null()).select("phone", "country").unique()
    numbers = given.identified("phone", dialled["phone"], dialled["country"])
    rows = rows.join(
        numbers.rename({"value": "phone", "is_there": "has_phone", "key": "phone_key"}),
        on=["phone", "country"],
        how="left",
        nulls_equal=True,
    )
    for kind in ("card", "login", "handle"):
        rows = with_key(rows, kind)
    return rows


def customers(records: pl.DataFrame, known: pl.DataFrame, sources: pl.DataFrame) -> pl.DataFrame:
    """One row per known customer with the attributes of its best records."""
    mine = records.join(known.select("node_id", "customer_id"), on="node_id")
    living = mine.filter(~pl.col("is_deleted"))
    counted = mine.group_by("customer_id").agg(pl.len().alias("record_count"))
    contact = living.group_by("customer_id").agg(pl.col("has_email", "has_phone").any())
    leading = pl.sum_horizontal(pl.col(name).is_not_null() for name in ("street", "zip", "city", "country"))
    trust = pl.when(pl.col("source") == "hubspot").then(0).otherwise(1)
    best = [
        _best(living, leading, pl.lit(0), ["country"]),
        _best(living, pl.col("language").is_not_null().cast(pl.Int64), pl.lit(0), ["language"]),
        _best(living, pl.col("lifecycle_stage").is_not_null().cast(pl.Int64), trust, ["lifecycle_stage"]),
    ]
    rows = known.group_by("customer_id").agg(first_seen_at=pl.col("valid_from").min())
    for facet in (sources, counted, contact, *best):
        rows = rows.join(facet, on="customer_id", how="left")
    return rows


def _best(living: pl.DataFrame, filled: pl.Expr, trust: pl.Expr, names: list[str]) -> pl.DataFrame:
    return (
        living.select("customer_id", "node_id", "_cursor", *names, _filled=filled, _trust=trust)
        .filter(pl.col("_filled") > 0)
        .sort("_trust", "_filled", "_cursor", "node_id", descending=[False, True, True, False], nulls_last=True)
        .unique("customer_id", keep="first", maintain_order=True)
        .select("customer_id", *names)
    )


# --- events -----------------------------------------------------------------------------------------------------------


def web_events(lake: Path) -> pl.DataFrame:
    """Events that are told once and not too late in their session: who, when, and what a session keeps of them."""
    properties = ("$device_id", "$user_id", "$session_id", "$current_url", "$referrer", "utm_source", "utm_medium",
                  "utm_campaign", "$device_type", "$raw_user_agent")  # fmt: skip
    payload = {"id": _T, "event": _T, "properties": pl.Struct(dict.fromkeys(properties, _T))}
    url, tags = pl.col("$current_url"), ("source", "medium", "campaign")
    host = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/:?#]+)"
    events = (
        scan(lake, "posthog_events", payload, "_event_at", "_hash", "day")
        .unnest("properties")
        .with_columns(trimmed("id"), trimmed("event"), trimmed("$session_id"))
        .filter(pl.col("id").is_not_null() & pl.col("event").is_not_null())
        .select(
            "day",
            "_event_at",
            "_hash",
            event_id="id",
            is_view=pl.col("event").is_in(["$pageview", "$screen", "page_view", "screen_view"]),
            session="$session_id",
            cookie="$device_id",
            login="$user_id",
            page_host=url.str.extract(host).str.to_lowercase(),
            referrer_host=pl.col("$referrer").str.extract(host).str.to_lowercase(),
            device=pl.col("$device_type").cast(pl.Categorical),
            user_agent=pl.col("$raw_user_agent").cast(pl.Categorical),
            **{f"utm_{tag}": pl.col(f"utm_{tag}") for tag in tags},
            **{f"_url_{tag}": url.str.extract(rf"[?&]utm_{tag}=([^&#]*)") for tag in tags},
        )
        .collect(engine="streaming")
    )
    events = first_told(events, "event_id", 4).pipe(within_days_of_session).pipe(with_channel).pipe(with_device)
    return events.pipe(with_key, "cookie").pipe(with_key, "login").pipe(with_node)


def within_days_of_session(events: pl.DataFrame) -> pl.DataFrame:
    """Without events over three days after the first of their session in the four days before; those after the first
    of all are marked `is_beyond`."""
    longest = timedelta(days=3)
    per_day = events.drop_nulls("session").group_by("session", "day").agg(pl.col("_event_at").min().alias("first"))
    several = per_day.filter(pl.len().over("session") > 1)
    first = (
        several.join(several, on="session", suffix="_before")
        .filter(pl.col("day_before").is_between(pl.col("day") - timedelta(days=4), pl.col("day")))
        .group_by("session", "day")
        .agg(pl.col("first_before").min().alias("began"), pl.col("first").min())
    )
    began = first.with_columns(overall=pl.col("first").min().over("session")).drop("first")
    late = (pl.col("_event_at") - pl.col("began") > longest).fill_null(False)
    return (
        events.join(began, on=["session", "day"], how="left")
        .filter(~late)
        .with_columns(is_beyond=(pl.col("_event_at") - pl.col("overall") > longest).fill_null(False))
        .drop("session", "began", "overall")
    )


def with_channel(events: pl.DataFrame) -> pl.DataFrame:
    """Events with their channel and campaign, by fields, the page's address or where they came from."""
    told = ["_url_source", "_url_medium", "_url_campaign", "utm_source", "utm_medium", "utm_campaign"]
    combinations = events.select(*told, "referrer_host", "page_host").unique()
    words = pl.concat([combinations[name] for name in told[:3]]).drop_nulls().unique()
    plain = given.decoded(words)
    tags = combinations.with_columns(
        pl.coalesce(
            _cleaned(pl.col(f"utm_{tag}")),
            _cleaned(pl.col(f"_url_{tag}").replace_strict(plain, return_dtype=pl.String)),
        ).alias(tag)
        for tag in ("source", "medium", "campaign")
    ).with_columns(came_from=pl.when(pl.col("referrer_host").ne_missing(pl.col("page_host"))).then("referrer_host"))
    asked = ["source", "medium", "campaign", "came_from"]
    channels = given.channels(tags.select(asked).unique())
    answer = tags.join(channels, on=asked, how="left", nulls_equal=True).select(
        *told, "referrer_host", "page_host", "channel", pl.col("campaign").alias("tag")
    )
    return (
        events.join(answer, on=[*told, "referrer_host", "page_host"], how="left", nulls_equal=True)
        .drop(*told, "referrer_host", "page_host")
        .rename({"tag": "utm_campaign"})
    )


def _cleaned(text: pl.Expr) -> pl.Expr:
    tidy = text.str.normalize("NFC").str.replace_all(_INVISIBLE, "").str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(tidy != "").then(tidy)


def with_device(events: pl.DataFrame) -> pl.DataFrame:
    """Events with the kind of device, and whether a robot sent them."""
    said = pl.col("device").cast(pl.String).str.strip_chars().str.to_lowercase()
    words = events.select("device", "user_agent").unique()
    agents = given.agents(words["user_agent"].drop_nulls().cast(pl.String).unique())
    words = (
        words.with_columns(agent=pl.col("user_agent").cast(pl.String))
        .join(agents.rename({"user_agent": "agent"}), on="agent", how="left")
        .with_columns(
            pl.col("is_bot").fill_null(False),
            device_type=pl.when(said.is_not_null() & (said != ""))
            .then(said.replace_strict(DEVICES, default="other", return_dtype=pl.String))
            .otherwise("agent_device"),
        )
    )
    return events.join(
        words.select("device", "user_agent", "device_type", "is_bot"), on=["device", "user_agent"], how="left",
        nulls_equal=True,
    ).drop("device", "user_agent")  # fmt: skip


def orders_and_lines(lake: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Orders as they stand, amounts as they were charged; and their lines."""
    line = pl.Struct(
        {
            "product": pl.Struct({"legacyResourceId": _T}),
            "quantity": pl.Int64,
            "originalUnitPriceSet": _MONEY,
            "discountAllocations": pl.List(pl.Struct({"allocatedAmountSet": _MONEY})),
        }
    )
    payload: dict[str, pl.DataType] = {
        "legacyResourceId": _T,
        "processedAt": _T,
        "displayFinancialStatus": _T,
        "totalPriceSet": _MONEY,
        "currentTotalPriceSet": _MONEY,
        "totalDiscountsSet": _MONEY,
        "discountCodes": pl.List(_T),
        "email": _T,
        "customer": pl.Struct({"legacyResourceId": _T}),
        "customAttributes": pl.List(pl.Struct({"key": _T, "value": _T})),
        "lineItems": pl.List(line),
        "test": pl.Boolean(),
    }
    card = pl.col("customAttributes").list.eval(
        pl.element().filter(pl.element().struct.field("key") == "loyalty_card").struct.field("value")
    )
    rows = (
        newest(scan(lake, "shopify_orders", payload, "_id", "_cursor", "_extracted_at", "_hash", "day"))
        .with_columns(moment("processedAt"))
        .filter(~pl.col("test").fill_null(False), possible("processedAt"), pl.col("processedAt").is_not_null())
        .with_columns(
            card=card.list.get(0, null_on_oob=True), login=pl.col("customer").struct.field("legacyResourceId")
        )
        .with_columns(trimmed("card"))
        .pipe(with_key, "card")
        .pipe(with_key, "login")
        .pipe(with_key, "email")
        .pipe(with_node)
    )
    gross, net = _amount("totalPriceSet"), _amount("currentTotalPriceSet")
    state = pl.col("displayFinancialStatus").str.strip_chars().str.to_lowercase()
    currency = pl.col("totalPriceSet").struct.field("presentmentMoney").struct.field("currencyCode")
    keys = ("node_id", "card_key", "login_key", "email_key")
    orders = rows.select(
        *keys,
        order_id="legacyResourceId",
        at="processedAt",
        date=pl.col("processedAt").dt.date(),
        status=state.replace(STATUS),
        currency=currency.str.strip_chars().str.to_uppercase().fill_null(CURRENCY),
        gross=gross,
        refund=pl.max_horizontal(gross - net, pl.lit(0, AMOUNT)).cast(AMOUNT),
        discount=_amount("totalDiscountsSet").abs(),
        coupon=pl.col("discountCodes").list.get(0, null_on_oob=True),
    ).with_columns(trimmed("coupon"))
    unit, off = _amount("originalUnitPriceSet"), _amount("allocatedAmountSet").abs().fill_null(pl.lit(0, AMOUNT))
    lines = (
        rows.select("node_id", "card_key", "login_key", "lineItems", order_id="legacyResourceId", at="processedAt")
        .explode("lineItems")
        .unnest("lineItems")
        .with_columns(pl.col("discountAllocations").list.get(0, null_on_oob=True))
        .unnest("discountAllocations")
        .with_columns(
            unit=unit,
            currency=pl.col("originalUnitPriceSet")
            .struct.field("presentmentMoney")
            .struct.field("currencyCode")
            .str.to_uppercase()
            .fill_null(CURRENCY),
            off=off,
        )
        .filter(pl.col("unit") > 0)
        .select(
            "node_id",
            "card_key",
            "login_key",
            "order_id",
            "at",
            "currency",
            "quantity",
            product_id=pl.col("product").struct.field("legacyResourceId"),
            date=pl.col("at").dt.date(),
            amount=(pl.col("unit").cast(pl.Float64) * pl.col("quantity")).round(4).cast(AMOUNT) - pl.col("off"),
        )
    )
    return orders, lines


def _amount(name: str) -> pl.Expr:
    text = pl.col(name).struct.field("presentmentMoney").struct.field("amount")
    return (
        text.str.strip_chars().cast(pl.Decimal(38, 10), strict=False).round(4, mode="half_away_from_zero").cast(AMOUNT)
    )


def mail_events(lake: Path) -> pl.DataFrame:
    """What became of each message, told once."""
    payload = {
        "id": _T,
        "attributes": pl.Struct(
            {"event_properties": pl.Struct(dict.fromkeys(("Recipient Email Address", "$message"), _T))}
        ),
        "relationships": pl.Struct({"metric": pl.Struct({"data": pl.Struct({"id": _T})})}),
    }
    metric = pl.col("relationships").struct.field("metric").struct.field("data").struct.field("id")
    said = pl.col("attributes").struct.field("event_properties").struct
    events = (
        scan(lake, "klaviyo_events", payload, "_event_at", "_hash", "day")
        .select(
            "_event_at",
            "_hash",
            "day",
            event_id=pl.col("id"),
            email=said.field("Recipient Email Address"),
            campaign_id=said.field("$message"),
            kind=metric.replace_strict(METRICS, default=None, return_dtype=pl.Enum(list(METRICS.values()))),
        )
        .with_columns(trimmed("event_id"), trimmed("campaign_id"))
        .filter(pl.col("event_id").is_not_null() & pl.col("kind").is_not_null())
        .collect(engine="streaming")
    )
    return first_told(events, "event_id", 3).pipe(with_key, "email").pipe(with_node)


def social_posts(lake: Path) -> pl.DataFrame:
    """Posts as first told."""
    payload = {"id": _T, "account": pl.Struct({"acct": _T}), "favourites_count": pl.Int64()}
    posts = (
        scan(lake, "mastodon_statuses", payload, "_event_at", "_hash", "day")
        .with_columns(trimmed("id"))
        .filter(pl.col("id").is_not_null())
        .unnest("account")
        .rename({"acct": "handle"})
        .collect(engine="streaming")
    )
    return first_told(posts, "id", 3).pipe(with_key, "handle").pipe(with_node)


def consents(lake: Path) -> pl.DataFrame:
    """Decisions as they were made."""
    payload = dict.fromkeys(("consent_id", "email", "login", "purpose", "status", "decided_at"), _T)
    decisions = (
        scan(lake, "consent_consents", payload, "_event_at", "_hash", "day")
        .with_columns(moment("decided_at"), *(trimmed(name) for name in ("consent_id", "purpose", "status")))
        .filter(
            possible("decided_at"),
            pl.col("decided_at").is_not_null(),
            pl.col("consent_id").is_not_null(),
            pl.col("purpose").is_in(PURPOSES),
            pl.col("status").is_in(["granted", "withdrawn"]),
        )
        .collect(engine="streaming")
    )
    return (
        first_told(decisions, "consent_id", 3)
        .drop("_event_at")
        .rename({"decided_at": "_event_at"})
        .pipe(with_key, "email")
        .pipe(with_key, "login")
        .pipe(with_node)
    )


def products(lake: Path) -> pl.DataFrame:
    """The catalogue's categories."""
    payload = {"legacyResourceId": _T, "productType": _T}
    rows = newest(scan(lake, "shopify_products", payload, "_id", "_cursor", "_extracted_at", "_hash"))
    return rows.select(clean("productType").alias("category"), product_id="legacyResourceId")


def factors(lake: Path, orders: pl.DataFrame) -> pl.DataFrame:
    """What one unit of a currency is worth in ours on an order's date: the last rate of the seven days up to it."""
    rates = (
        scan(
            lake,
            "ecb_rates_rates",
            dict.fromkeys(("rate_date", "currency", "rate"), _T),
            "day",
            "_extracted_at",
            "_hash",
        )
        .select(
            "day",
            "_extracted_at",
            "_hash",
            pl.col("rate_date").str.to_date(),
            "currency",
            pl.col("rate").cast(pl.Float64),
        )
        .filter(pl.col("rate") > 0, pl.col("rate_date") <= pl.col("day") + timedelta(days=2))
        .collect()
        .sort("_extracted_at", "_hash", descending=True)
        .unique(["rate_date", "currency"], keep="first", maintain_order=True)
        .sort("rate_date")
    )
    asked = orders.filter(pl.col("currency") != CURRENCY).select("currency", "date").unique().sort("date")
    return (
        asked.join_asof(
            rates.select("currency", "rate_date", "rate"),
            left_on="date",
            right_on="rate_date",
            by="currency",
            strategy="backward",
            tolerance="7d",
            check_sortedness=False,
        )
        .drop_nulls("rate")
        .select("currency", "date", factor=1.0 / pl.col("rate"))
    )


def converted(amount: pl.Expr) -> pl.Expr:
    """An amount in our currency."""
    foreign = (amount.cast(pl.Float64) * pl.col("factor")).round(4).cast(AMOUNT)
    return pl.when(pl.col("currency") == CURRENCY).then(amount.cast(AMOUNT)).otherwise(foreign)


# --- identity ---------------------------------------------------------------------------------------------------------


def settled(
    records: pl.DataFrame, web: pl.DataFrame, orders: pl.DataFrame, lines: pl.DataFrame, *others: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every node's customer; and in how many systems each customer was seen."""
    mails, posts, decisions = others
    seen_at = pl.min_horizontal("created_at", "_cursor").alias("_at")
    parts = [
        evidence(records.with_columns(seen_at), "_at", is_record=True),
        evidence(web.with_columns(source=pl.lit("posthog")), "_event_at"),
        evidence(orders.with_columns(source=pl.lit("shopify")), "at"),
        evidence(lines.with_columns(source=pl.lit("shopify")), "at"),
        evidence(mails.with_columns(source=pl.lit("klaviyo")), "_event_at"),
        evidence(posts.with_columns(source=pl.lit("mastodon")), "_event_at"),
        evidence(decisions.with_columns(source=pl.lit("consent")), "_event_at"),
    ]
    told = pl.concat(parts)
    rank = pl.col("node_kind").replace_strict(
        {kind: number for number, kind in enumerate(("record", *KINDS, "unknown"))}, return_dtype=pl.Int8
    )
    seen = told.group_by("left_node_id", "right_node_id").agg(
        pl.col("node_kind").sort_by(rank).first(), pl.col("edge_kind").min(), pl.col("first_at").min()
    )
    nodes = given.resolved(seen, records.select("node_id", "given_name", "family_name"))
    systems = (
        told.filter(pl.col("edge_kind").is_null())
        .select("source", node_id="left_node_id")
        .unique()
        .join(nodes.filter("is_known").select("node_id", "customer_id"), on="node_id")
        .group_by("customer_id")
        .agg(pl.col("source").n_unique().alias("source_count"))
    )
    return nodes, systems


def evidence(rows: pl.DataFrame, at: str, *, is_record: bool = False) -> pl.DataFrame:
    """Pairs of a row's node and its other identifiers, and every node by itself."""
    kinds = [kind for kind in KINDS if f"{kind}_key" in rows.columns]
    own: pl.Expr = pl.lit("unknown")
    for kind in reversed(kinds):
        own = pl.when(pl.col("node_id") == pl.col(f"{kind}_key")).then(pl.lit(kind)).otherwise(own)
    stars = (
        rows.drop_nulls("node_id")
        .group_by("source", "node_id", *(f"{kind}_key" for kind in kinds))
        .agg(first_at=pl.col(at).min())
        .with_columns(node_kind=pl.lit("record") if is_record else own)
    )
    nobody = pl.lit(None, pl.String)
    parts = [
        stars.select(
            "source", "first_at", "node_kind", left_node_id="node_id", right_node_id="node_id", edge_kind=nobody
        )
    ]
    for kind in kinds:
        key = f"{kind}_key"
        others = stars.filter(pl.col(key).is_not_null() & (pl.col(key) != pl.col("node_id")))
        parts.append(
            others.select(
                "source", "first_at", "node_kind", left_node_id="node_id", right_node_id=key, edge_kind=pl.lit(kind)
            )
        )
        parts.append(
            others.select(
                "source", "first_at", node_kind=pl.lit(kind), left_node_id=key, right_node_id=key, edge_kind=nobody
            )
        )
    return pl.concat(parts, how="vertical")


def whose(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows of known customers before the end, with their customer."""
    return rows.join(known.select("node_id", "customer_id"), on="node_id")


# --- profiles ---------------------------------------------------------------------------------------------------------


def within(at: str, days: int) -> pl.Expr:
    """In the last `days` days."""
    return pl.col(at) >= AS_OF - timedelta(days=days)


def purchases(orders: pl.DataFrame) -> pl.DataFrame:
    """Frequency, monetary value and dates of each customer's orders."""
    paid, at, revenue = pl.col("status").is_in(PAID), pl.col("at"), pl.col("revenue")
    return (
        orders.lazy()
        .filter(at < AS_OF)
        .with_columns(refund=converted(pl.col("refund")), discount=converted(pl.col("discount").fill_null(0)))
        .group_by("customer_id")
        .agg(
            order_count=paid.sum(),
            order_30d_count=(paid & within("at", 30)).sum(),
            order_90d_count=(paid & within("at", 90)).sum(),
            refunded_order_count=pl.col("status").is_in(["partially_refunded", "refunded"]).sum(),
            cancelled_order_count=(pl.col("status") == "cancelled").sum(),
            coupon_order_count=(paid & pl.col("coupon").is_not_null()).sum(),
            _first_order_at=at.filter(paid).min(),
            _last_order_at=at.filter(paid).max(),
            revenue_amount=revenue.filter(paid).sum(),
            revenue_30d_amount=revenue.filter(paid & within("at", 30)).sum(),
            revenue_90d_amount=revenue.filter(paid & within("at", 90)).sum(),
            refund_amount=pl.col("refund").filter(paid).sum(),
            discount_amount=pl.col("discount").filter(paid).sum(),
            currency_count=pl.col("currency").filter(paid).n_unique(),
        )
        .with_columns(
            first_order_date=pl.col("_first_order_at").dt.date(), last_order_date=pl.col("_last_order_at").dt.date()
        )
        .with_columns(
            monetary_amount=pl.when(pl.col("order_count") > 0).then(
                (pl.col("revenue_amount").cast(pl.Float64) / pl.col("order_count")).round(4).cast(AMOUNT)
            ),
            days_between_orders=pl.when(pl.col("order_count") > 1).then(
                (pl.col("last_order_date") - pl.col("first_order_date")).dt.total_days() / (pl.col("order_count") - 1)
            ),
        )
        .collect(engine="streaming")
    )


def baskets(orders: pl.DataFrame, lines: pl.DataFrame, rate: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    """What was in each customer's paid orders."""
    paid = orders.filter(pl.col("status").is_in(PAID), pl.col("at") < AS_OF).select("order_id", "customer_id")
    bought = (
        lines.lazy()
        .join(paid.lazy(), on="order_id")
        .group_by("customer_id", "product_id", "currency", "date")
        .agg(pl.col("amount").sum(), pl.col("quantity").sum())
        .join(rate.lazy(), on=["currency", "date"], how="left")
        .with_columns(amount=converted(pl.col("amount")))
        .join(catalogue.lazy(), on="product_id", how="left")
        .collect(engine="streaming")
    )
    counted = bought.group_by("customer_id").agg(
        item_count=pl.col("quantity").sum().cast(pl.Float64), product_count=pl.col("product_id").n_unique()
    )
    by_category = bought.drop_nulls("category").group_by("customer_id", "category").agg(pl.col("amount").sum())
    return counted.join(
        by_category.group_by("customer_id").agg(category_count=pl.len()), on="customer_id", how="left"
    ).join(most(by_category, "category", "amount", "top_category"), on="customer_id", how="left")


def most(counted: pl.DataFrame, what: str, by: str, name: str) -> pl.DataFrame:
    """Each customer's `what` with the highest `by`; where two are level, the first by name."""
    return (
        counted.sort(by, what, descending=[True, False], nulls_last=True)
        .unique("customer_id", keep="first", maintain_order=True)
        .select("customer_id", pl.col(what).alias(name))
    )


def visits(events: pl.DataFrame) -> pl.DataFrame:
    """Sessions of thirty minutes, channels, first and last touch."""
    ordered = (
        events.filter(~pl.col("is_bot") & ~pl.col("is_beyond"))
        .select("customer_id", "_event_at", "event_id", "is_view", "channel", "utm_campaign", "device_type")
        .sort("customer_id", "_event_at", "event_id")
    )
    at, said = pl.col("_event_at"), pl.col("channel") != "direct"
    new = (pl.col("customer_id") != pl.col("customer_id").shift()) | (at - at.shift() > timedelta(minutes=30))
    sessions = (
        ordered.lazy()
        .with_columns(_session=new.fill_null(True).cum_sum())
        .group_by("_session", maintain_order=True)
        .agg(
            pl.col("customer_id").first(),
            started=at.first(),
            ended=at.last(),
            events=pl.len(),
            views=pl.col("is_view").sum(),
            channel=pl.col("channel").filter(said).first().fill_null("direct"),
            campaign=pl.col("utm_campaign").filter(said).first(),
            device=pl.col("device_type").drop_nulls().first(),
        )
        .filter(pl.col("started") < AS_OF)
        .collect()
    )
    devices = sessions.drop_nulls("device").group_by("customer_id", "device").agg(sessions=pl.len())
    return (
        sessions.group_by("customer_id", maintain_order=True)
        .agg(
            session_count=pl.len(),
            session_30d_count=within("started", 30).sum(),
            session_90d_count=within("started", 90).sum(),
            first_session_date=pl.col("started").min().dt.date(),
            last_session_date=pl.col("started").max().dt.date(),
            _last_visit_at=pl.col("ended").filter(pl.col("ended") < AS_OF).max(),
            web_event_count=pl.col("events").sum(),
            page_view_count=pl.col("views").sum(),
            first_touch_channel=pl.col("channel").first(),
            last_touch_channel=pl.col("channel").last(),
            channel_count=pl.col("channel").n_unique(),
            first_touch_campaign=pl.col("campaign").drop_nulls().first(),
            last_touch_campaign=pl.col("campaign").drop_nulls().last(),
            device_types=pl.col("device").drop_nulls().unique().sort(),
        )
        .join(most(devices, "device", "sessions", "main_device_type"), on="customer_id", how="left")
        .with_columns(page_views_per_session=pl.col("page_view_count") / pl.col("session_count"))
    )


def mailings(events: pl.DataFrame) -> pl.DataFrame:
    """What became of our e-mails to each customer."""
    kind, at = pl.col("kind"), pl.col("_event_at")
    in_time = events.lazy().filter(at < AS_OF)
    counted = in_time.group_by("customer_id").agg(
        **{
            f"email_{event}_count": (kind == event).sum()
            for event in ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")
        },
        **{
            f"email_{event}_{days}d_count": ((kind == event) & within("_event_at", days)).sum()
            for event in ("opened", "clicked")
            for days in (30, 90)
        },
        last_email_opened_at=at.filter(kind == "opened").max(),
        _last_read_at=at.filter(kind.is_in(["opened", "clicked"])).max(),
        _last_delivered_at=at.filter(kind.is_in(["delivered", "opened", "clicked"])).max(),
        _last_bounced_at=at.filter(kind == "bounced").max(),
        _last_refused_at=at.filter(kind.is_in(["unsubscribed", "complained"])).max(),
    )
    shares = (
        in_time.drop_nulls("campaign_id")
        .group_by("customer_id", "campaign_id")
        .agg(**{event: (kind == event).any() for event in ("delivered", "opened", "clicked")})
        .filter("delivered")
        .group_by("customer_id")
        .agg(email_open_pct=100 * pl.col("opened").mean(), email_click_pct=100 * pl.col("clicked").mean())
    )
    return counted.join(shares, on="customer_id", how="left").collect(engine="streaming")


def echoes(posts: pl.DataFrame) -> pl.DataFrame:
    """What each customer posted."""
    in_time = posts.filter(pl.col("_event_at") < AS_OF)
    return in_time.group_by("customer_id").agg(
        post_count=pl.len(), post_like_count=pl.col("favourites_count").sum(), last_posted_at=pl.col("_event_at").max()
    )


def flags(decisions: pl.DataFrame) -> pl.DataFrame:
    """The latest decision on every purpose; of two at one moment the withdrawal."""
    latest = (
        decisions.filter(pl.col("_event_at") < AS_OF)
        .sort("_event_at", "status", descending=True)
        .unique(["customer_id", "purpose"], keep="first", maintain_order=True)
    )
    is_about = [pl.col("purpose") == purpose for purpose in PURPOSES]
    return latest.group_by("customer_id").agg(
        *(
            (pl.col("status").filter(about).first() == "granted").alias(f"has_consent_{purpose}")
            for purpose, about in zip(PURPOSES, is_about, strict=True)
        ),
        _email_marketing_at=pl.col("_event_at").filter(is_about[0]).first(),
    )


def finished(profiles: pl.LazyFrame) -> pl.LazyFrame:
    """Ages, reachability, zeros where nothing was counted, and every column of the answer in order."""
    last_day = pl.lit((AS_OF - timedelta(microseconds=1)).date())
    consented = pl.col("has_consent_email_marketing").fill_null(False)
    refused = (pl.col("_last_refused_at") >= pl.col("_email_marketing_at")).fill_null(False)
    bounced = pl.col("_last_bounced_at").is_not_null() & (
        pl.col("_last_delivered_at").is_null() | (pl.col("_last_bounced_at") >= pl.col("_last_delivered_at"))
    )
    rows = profiles.with_columns(
        pl.col("has_email", "has_phone").fill_null(False),
        as_of_date=last_day,
        recency_days=(last_day - pl.col("last_order_date")).dt.total_days(),
        tenure_days=(last_day - pl.col("first_order_date")).dt.total_days(),
        last_seen_at=pl.max_horizontal("_last_order_at", "_last_visit_at", "_last_read_at", "last_posted_at"),
        region=pl.lit(None, pl.String),
        last_device_at=pl.lit(None, OUT["last_device_at"]),
    ).with_columns(is_email_reachable=pl.col("has_email") & consented & ~refused & ~bounced)
    nowhere = ("targeted_count", "exposed_count", "redeemed_count", "device_reading_count")
    rows = rows.with_columns(pl.lit(0, pl.Int64).alias(name) for name in nowhere)
    zeros = [name for name in OUT if name.endswith("_count")] + ["refund_amount", "discount_amount"]
    zeros += ["revenue_amount", "revenue_30d_amount", "revenue_90d_amount"]
    return rows.with_columns(pl.col(name).fill_null(0) for name in zeros).select(
        pl.col(name).cast(kind) for name, kind in OUT.items()
    )


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    lake, out = map(Path, arguments)
    run(lake).write_delta(out, mode="overwrite")


if __name__ == "__main__":
    main(sys.argv[1:])
