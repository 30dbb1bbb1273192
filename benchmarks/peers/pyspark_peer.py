"""The job in PySpark: `local[2]`, SQL over the Parquet files of bronze, adaptive plans, few shuffle partitions.

    python -m benchmarks.peers.pyspark_peer LAKE OUT

What pays here: payloads read by `from_json` with a schema, subjects cached once they are keyed, the identity map
broadcast, Arrow to and from the driver. Text that is landed in NFC stays so: Spark has no normalisation of its own.
"""

# ruff: noqa: S608 - the SQL is put together of the house's own words, never of a record's
from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import write_deltalake

from benchmarks.c360_lake import CURRENCY
from benchmarks.peers import given
from benchmarks.peers.given import AS_OF, DEVICES, METRICS, OUT, PAID, PURPOSES, STATUS
from etl.privacy.pseudonyms import KINDS

_END = f"timestamp '{AS_OF:%Y-%m-%d %H:%M:%S}'"
_MONEY = "struct<presentmentMoney: struct<amount: string, currencyCode: string>>"
_ENVELOPE = "_id, _op, _cursor, _extracted_at, _hash, day"


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _mapped(column: str, words: dict[str, str], default: str) -> str:
    cases = " ".join(f"when '{word}' then '{ours}'" for word, ours in words.items())
    return f"case {column} {cases} else {default} end"


def _tidy(x: str) -> str:
    return f"nullif(trim(regexp_replace({x}, '\\\\s+', ' ')), '')"


def _trimmed(x: str) -> str:
    return f"nullif(trim({x}), '')"


def _host(url: str) -> str:
    pattern = "^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/:?#]+)"
    return f"lower(nullif(regexp_extract({url}, '{pattern}', 1), ''))"


def _possible(at: str) -> str:
    return f"({at} is null or ({at} <= cast(day as timestamp) + interval 2 days and year({at}) >= 1971))"


def _charged(x: str) -> str:
    return f"cast(round(cast({x}.presentmentMoney.amount as decimal(38, 10)), 4) as decimal(18, 4))"


def _rounded(x: str) -> str:
    return f"cast(rint(({x}) * 10000) / 10000 as decimal(18, 4))"


def _converted(amount: str, currency: str, factor: str) -> str:
    ours = f"cast({amount} as decimal(18, 4))"
    return f"case when {currency} = '{CURRENCY}' then {ours} else {_rounded(f'cast({ours} as double) * {factor}')} end"


def _within(at: str, days: int) -> str:
    return f"{at} >= {_END} - interval {days} days"


class _Job:
    """A session and the lake it reads."""

    def __init__(self, spark: Any, lake: Path) -> None:
        self.spark = spark
        self.lake = lake

    def bronze(self, name: str, *tables: str) -> str:
        """A view of the files of bronze tables; `day` comes from their paths."""
        parts = []
        for table in tables:
            reader = self.spark.read.option("basePath", str(self.lake / "bronze" / table))
            parts.append(reader.parquet(*given.bronze_files(self.lake, table)))
        rows = parts[0]
        for more in parts[1:]:
            rows = rows.unionByName(more)
        rows.createOrReplaceTempView(name)
        return name

    def view(self, name: str, sql: str, *, keep: bool = False) -> None:
        """A query under a name; `keep` computes it once."""
        rows = self.spark.sql(sql)
        (rows.cache() if keep else rows).createOrReplaceTempView(name)

    def polars(self, sql: str) -> pl.DataFrame:
        """What a query answers."""
        answer = pl.from_arrow(self.spark.sql(sql).toArrow())
        assert isinstance(answer, pl.DataFrame)
        return answer

    def put(self, name: str, frame: pl.DataFrame) -> None:
        """A frame as a view."""
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        self.spark.createDataFrame(arrow).createOrReplaceTempView(name)

    def newest(self, name: str) -> str:
        """The newest version of each record."""
        order = "order by _cursor desc, _extracted_at desc, _hash desc"
        numbered = f"select *, row_number() over (partition by _id {order}) as version from {name}"
        return f"(select * from ({numbered}) where version = 1)"

    def first_told(self, name: str, key: str, days: int) -> str:
        """Without twins told again at most `days` after the one before."""
        since = f"datediff(day, lag(day) over (partition by {key} order by day, _event_at, _hash))"
        return f"(select * from (select *, {since} as since from {name}) where coalesce(since, {days + 1}) > {days})"

    def keyed(self, name: str, source: str, *kinds: str) -> None:
        """`source` with `<kind>_key` in place of each identifier, and its node; computed once."""
        joins, keys = [], []
        for kind in kinds:
            values = self.polars(f"select distinct {kind} from {source} where {kind} is not null")[kind]
            known = given.identified(kind, values).select("value", "key")
            self.put(f"{name}_{kind}", known)
            joins.append(f"left join {name}_{kind} on t.{kind} = {name}_{kind}.value")
            keys.append(f"{name}_{kind}.key as {kind}_key")
        surest = [f"{kind}_key" for kind in KINDS if kind in kinds]
        self.view(
            name,
            f"select *, coalesce({', '.join(surest)}) as node_id from "
            f"(select t.*, {', '.join(keys)} from {source} t {' '.join(joins)})",
            keep=True,
        )


def run(lake: Path) -> pl.DataFrame:
    """`gold.customer_360` of the bronze in `lake`, by a session of its own."""
    spark = (
        import_module("pyspark.sql")
        .SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "6g")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:
        job = _Job(spark, lake)
        for step in (person_records, web_events, orders_and_lines, mail_events, social_posts, consents, settle):
            step(job)
        for facet in (customers, purchases, baskets, visits, mailings, echoes, flags):
            facet(job)
        return finished(job)
    finally:
        spark.stop()


# --- people -----------------------------------------------------------------------------------------------------------


def person_records(job: _Job) -> None:
    """Every record of a person in its latest state."""
    job.bronze("landed_contacts", "hubspot_contacts", "hubspot_contacts_archived")
    job.bronze("landed_customers", "crm_db_customers")
    contact = (
        "createdAt string, properties struct<email: string, firstname: string, lastname: string, phone: string, "
        "address: string, zip: string, city: string, country: string, hs_language: string, lifecyclestage: string, "
        "loyalty_card: string, shop_customer_id: string, mastodon_handle: string>"
    )
    customer = (
        "email string, mobile string, card_no string, first_name string, last_name string, street string, zip string, "
        "city string, country string, status string, created_at string"
    )
    language = "nullif(regexp_extract(lower(trim(language)), '^([a-z]{2})(?:[-_].*)?$', 1), '')"
    texts = ", ".join(f"{_tidy(name)} as {name}" for name in ("given_name", "family_name", "street", "zip", "city"))
    job.view(
        "persons",
        f"""
        select source, concat_ws(':', source, stream, _id) as told, _op = 'delete' as is_deleted, _cursor, email, phone,
            {texts}, {_tidy("country")} as word, {language} as language, lower({_tidy("stage")}) as stage, card, login,
            handle, created_at
        from (
            select 'hubspot' as source, 'contacts' as stream, _id, _op, _cursor, day, q.email, q.phone,
                q.firstname as given_name, q.lastname as family_name, q.address as street, q.zip, q.city, q.country,
                q.hs_language as language, q.lifecyclestage as stage, q.loyalty_card as card,
                q.shop_customer_id as login, q.mastodon_handle as handle, cast(p.createdAt as timestamp) as created_at
            from (select {_ENVELOPE}, p, p.properties as q from (
                select {_ENVELOPE}, from_json(_payload, '{contact}') as p from {job.newest("landed_contacts")}))
            union all
            select 'crm_db', 'customers', _id, _op, _cursor, day, p.email, p.mobile, p.first_name, p.last_name,
                p.street, p.zip, p.city, p.country, null, p.status, p.card_no, null, null,
                cast(p.created_at as timestamp)
            from (select {_ENVELOPE}, from_json(_payload, '{customer}') as p from {job.newest("landed_customers")}))
        where {_possible("created_at")} and {_possible("_cursor")}
        """,
        keep=True,
    )
    codes = given.countries(job.polars("select distinct word from persons where word is not null")["word"])
    job.put("codes", pl.DataFrame({"word": list(codes), "country": list(codes.values())}))
    told = job.polars("select told from persons")["told"]
    job.put("person_nodes", pl.DataFrame({"told": told, "node_id": given.record_nodes(told)}))
    job.view(
        "people",
        "select p.*, country, node_id from persons p join person_nodes using (told) left join codes using (word)",
        keep=True,
    )
    emails = job.polars("select distinct email from people where email is not null")["email"]
    numbers = job.polars("select distinct phone, country from people where phone is not null")
    job.put("known_emails", given.identified("email", emails))
    job.put("known_phones", given.identified("phone", numbers["phone"], numbers["country"]))
    joins, keys = [], []
    for kind in ("card", "login", "handle"):
        values = job.polars(f"select distinct {kind} from people where {kind} is not null")[kind]
        job.put(f"known_{kind}s", given.identified(kind, values))
        joins.append(f"left join known_{kind}s on p.{kind} = known_{kind}s.value")
        keys.append(f"known_{kind}s.key as {kind}_key")
    job.view(
        "records",
        f"""
        select p.node_id, p.source, p.is_deleted, p._cursor, p.created_at, p.given_name, p.family_name, p.street, p.zip,
            p.city, p.country, p.language, p.stage, e.key as email_key, e.is_there as has_email, n.key as phone_key,
            n.is_there as has_phone, {", ".join(keys)}
        from people p left join known_emails e on p.email = e.value
        left join known_phones n on p.phone = n.value and p.country <=> n.country {" ".join(joins)}
        """,
        keep=True,
    )


def customers(job: _Job) -> None:
    """One row per known customer with the attributes of its best records."""
    filled = " + ".join(f"cast({name} is not null as int)" for name in ("street", "zip", "city", "country"))

    def best(name: str, trust: str, having: str) -> str:
        order = f"order by {trust}, {having} desc, _cursor desc nulls last, node_id"
        numbered = f"select customer_id, {name}, row_number() over (partition by customer_id {order}) as n from living"
        return f"(select customer_id, {name} from ({numbered} where {having} > 0) where n = 1)"

    job.view("mine", "select r.*, customer_id from records r join known using (node_id)", keep=True)
    job.view("living", f"select *, {filled} as filled from mine where not is_deleted")
    job.view(
        "customers",
        f"""
        select f.customer_id, first_seen_at, coalesce(record_count, 0) as record_count, source_count, country, language,
            stage as lifecycle_stage, coalesce(has_email, false) as has_email, coalesce(has_phone, false) as has_phone
        from (select customer_id, min(valid_from) as first_seen_at from known group by customer_id) f
        left join (select customer_id, count(*) as record_count from mine group by customer_id) using (customer_id)
        left join (select customer_id, bool_or(has_email) as has_email, bool_or(has_phone) as has_phone
            from living group by customer_id) using (customer_id)
        left join {best("country", "0", "filled")} using (customer_id)
        left join {best("language", "0", "cast(language is not null as int)")} using (customer_id)
        left join {best("stage", "source <> 'hubspot'", "cast(stage is not null as int)")} using (customer_id)
        left join systems using (customer_id)
        """,
    )


# --- events -----------------------------------------------------------------------------------------------------------


def web_events(job: _Job) -> None:
    """Events told once and not too late in their session, with channel, device and keys."""
    job.bronze("landed_web", "posthog_events")
    schema = (
        "id string, event string, properties struct<`$device_id`: string, `$user_id`: string, `$session_id`: string, "
        "`$current_url`: string, `$referrer`: string, utm_source: string, utm_medium: string, utm_campaign: string, "
        "`$device_type`: string, `$raw_user_agent`: string>"
    )
    tags = ", ".join(
        f"q.utm_{tag}, regexp_extract(q.`$current_url`, '[?&]utm_{tag}=([^&#]*)', 1) as url_{tag}"
        for tag in ("source", "medium", "campaign")
    )
    job.view(
        "told_web",
        f"""
        select day, _event_at, _hash, {_trimmed("p.id")} as event_id, {_trimmed("p.event")} as name,
            {_trimmed("q.`$session_id`")} as session, q.`$device_id` as cookie, q.`$user_id` as login,
            {_host("q.`$current_url`")} as page_host, {_host("q.`$referrer`")} as referrer_host,
            q.`$device_type` as device, q.`$raw_user_agent` as user_agent, {tags}
        from (select *, p.properties as q from (
            select day, _event_at, _hash, from_json(_payload, '{schema}') as p from landed_web))
        where {_trimmed("p.id")} is not null and {_trimmed("p.event")} is not null
        """,
    )
    job.view("once_web", f"select * from {job.first_told('told_web', 'event_id', 4)}", keep=True)
    job.view(
        "began",
        """
        with per_day as (
            select session, day, min(_event_at) as first from once_web where session is not null group by session, day),
        several as (
            select * from (select *, count(*) over (partition by session) as days from per_day) where days > 1)
        select session, day, began, min(own) over (partition by session) as overall from (
            select a.session, a.day, min(b.first) as began, min(a.first) as own from several a join several b
            on a.session = b.session and b.day between date_sub(a.day, 4) and a.day group by a.session, a.day)
        """,
    )
    told = ["utm_source", "utm_medium", "utm_campaign", "url_source", "url_medium", "url_campaign", "referrer_host",
            "page_host"]  # fmt: skip
    combinations = job.polars(f"select distinct {', '.join(told)} from once_web")
    _put_channels(job, combinations)
    agents = job.polars("select distinct user_agent from once_web where user_agent is not null")["user_agent"]
    job.put("agents", given.agents(agents))
    same = " and ".join(f"w.{name} <=> c.{name}" for name in told)
    device = _mapped("lower(trim(device))", DEVICES, "'other'")
    job.view(
        "shaped_web",
        f"""
        select w.day, _event_at, event_id, name in ('$pageview', '$screen', 'page_view', 'screen_view') as is_view,
            cookie, login, c.channel, c.tag as utm_campaign, coalesce(is_bot, false) as is_bot,
            case when {_trimmed("device")} is not null then {device} else agent_device end as device_type,
            coalesce(_event_at > overall + interval 3 days, false) as is_beyond
        from once_web w left join began using (session, day) join channels c on {same}
        left join agents using (user_agent)
        where not coalesce(_event_at > began + interval 3 days, false)
        """,
    )
    job.keyed("web", "shaped_web", "cookie", "login")


def _put_channels(job: _Job, combinations: pl.DataFrame) -> None:
    """The distinct ways to come, with channel and campaign."""
    words = pl.concat([combinations[f"url_{tag}"] for tag in ("source", "medium", "campaign")]).drop_nulls().unique()
    plain = given.decoded(words)

    def tidy(text: pl.Expr) -> pl.Expr:
        bare = text.str.normalize("NFC").str.replace_all(r"\s+", " ").str.strip_chars()
        return pl.when(bare != "").then(bare)

    tags = combinations.with_columns(
        pl.coalesce(
            tidy(pl.col(f"utm_{tag}")), tidy(pl.col(f"url_{tag}").replace_strict(plain, return_dtype=pl.String))
        ).alias(tag)
        for tag in ("source", "medium", "campaign")
    ).with_columns(came_from=pl.when(pl.col("referrer_host").ne_missing(pl.col("page_host"))).then("referrer_host"))
    asked = ["source", "medium", "campaign", "came_from"]
    answer = tags.join(given.channels(tags.select(asked).unique()), on=asked, how="left", nulls_equal=True)
    job.put("channels", answer.select(*combinations.columns, "channel", pl.col("campaign").alias("tag")))


def orders_and_lines(job: _Job) -> None:
    """Orders as they stand with what a unit of their currency is worth, their lines, and the catalogue."""
    job.bronze("landed_orders", "shopify_orders")
    schema = (
        f"legacyResourceId string, processedAt string, displayFinancialStatus string, totalPriceSet {_MONEY}, "
        f"currentTotalPriceSet {_MONEY}, totalDiscountsSet {_MONEY}, "
        "discountCodes array<string>, email string, customer struct<legacyResourceId: string>, "
        "customAttributes array<struct<key: string, value: string>>, test boolean, "
        "lineItems array<struct<product: struct<legacyResourceId: string>, quantity: bigint, "
        f"originalUnitPriceSet: {_MONEY}, discountAllocations: array<struct<allocatedAmountSet: {_MONEY}>>>>"
    )
    card = "get(filter(p.customAttributes, a -> a.key = 'loyalty_card'), 0).value"
    job.view(
        "told_orders",
        f"""
        select p.legacyResourceId as order_id, at, lower(trim(p.displayFinancialStatus)) as state,
            coalesce(upper(trim(p.totalPriceSet.presentmentMoney.currencyCode)), '{CURRENCY}') as currency,
            {_charged("p.totalPriceSet")} as gross, {_charged("p.currentTotalPriceSet")} as net,
            abs({_charged("p.totalDiscountsSet")}) as discount,
            {_trimmed("get(p.discountCodes, 0)")} as coupon, p.email as email, p.customer.legacyResourceId as login,
            p.lineItems as line_items, {_trimmed(card)} as card
        from (select day, p, cast(p.processedAt as timestamp) as at from (
            select day, from_json(_payload, '{schema}') as p from {job.newest("landed_orders")}))
        where not coalesce(p.test, false) and at is not null and {_possible("at")}
        """,
        keep=True,
    )
    job.keyed("bought", "told_orders", "card", "login", "email")
    job.bronze("landed_rates", "ecb_rates_rates")
    job.view(
        "factors",
        f"""
        with rates as (
            select p.currency, cast(p.rate_date as date) as rate_date,
                max_by(cast(p.rate as double), struct(_extracted_at, _hash)) as rate
            from (select *, from_json(_payload, 'rate_date string, currency string, rate string') as p
                from landed_rates)
            where cast(p.rate as double) > 0 and cast(p.rate_date as date) <= date_add(day, 2)
            group by p.currency, cast(p.rate_date as date))
        select a.currency, a.date, 1.0D / max_by(rate, rate_date) as factor
        from (select distinct currency, to_date(at) as date from bought where currency <> '{CURRENCY}') a
        join rates r on a.currency = r.currency and r.rate_date between date_sub(a.date, 7) and a.date
        group by a.currency, a.date
        """,
        keep=True,
    )
    job.view(
        "orders",
        f"""
        select b.*, {_mapped("state", STATUS, "state")} as status,
            cast(greatest(gross - net, 0) as decimal(18, 4)) as refund, factor
        from bought b left join factors f on b.currency = f.currency and to_date(b.at) = f.date
        where b.currency = '{CURRENCY}' or factor is not null
        """,
        keep=True,
    )
    amount = f"{_rounded('cast(unit as double) * quantity')} - coalesce(off, 0)"
    job.view(
        "lines",
        f"""
        select node_id, card_key, login_key, order_id, at, product_id, currency, quantity,
            cast({amount} as decimal(18, 4)) as amount
        from (
            select node_id, card_key, login_key, order_id, at, l.product.legacyResourceId as product_id, l.quantity,
                {_charged("l.originalUnitPriceSet")} as unit,
                abs({_charged("get(l.discountAllocations, 0).allocatedAmountSet")}) as off,
                coalesce(upper(trim(l.originalUnitPriceSet.presentmentMoney.currencyCode)), '{CURRENCY}') as currency
            from (select node_id, card_key, login_key, order_id, at, explode(line_items) as l from bought))
        where unit > 0
        """,
        keep=True,
    )
    job.bronze("landed_products", "shopify_products")
    job.view(
        "products",
        f"""
        select p.legacyResourceId as product_id, {_tidy("p.productType")} as category
        from (select from_json(_payload, 'legacyResourceId string, productType string') as p
            from {job.newest("landed_products")})
        """,
    )


def mail_events(job: _Job) -> None:
    """What became of each message, told once."""
    job.bronze("landed_mails", "klaviyo_events")
    schema = (
        "id string, "
        "attributes struct<event_properties: struct<`Recipient Email Address`: string, `$message`: string>>, "
        "relationships struct<metric: struct<data: struct<id: string>>>"
    )
    job.view(
        "told_mails",
        f"""
        select * from (
            select day, _event_at, _hash, {_trimmed("p.id")} as event_id,
                {_trimmed("p.attributes.event_properties.`$message`")} as campaign_id,
                p.attributes.event_properties.`Recipient Email Address` as email,
                {_mapped("p.relationships.metric.data.id", METRICS, "null")} as kind
            from (select *, from_json(_payload, '{schema}') as p from landed_mails))
        where event_id is not null and kind is not null
        """,
    )
    job.view("once_mails", f"select * from {job.first_told('told_mails', 'event_id', 3)}", keep=True)
    job.keyed("mails", "once_mails", "email")


def social_posts(job: _Job) -> None:
    """Posts as first told."""
    job.bronze("landed_posts", "mastodon_statuses")
    job.view(
        "told_posts",
        f"""
        select day, _event_at, _hash, {_trimmed("p.id")} as post_id, p.account.acct as handle,
            p.favourites_count as likes
        from (select *, from_json(_payload, 'id string, account struct<acct: string>, favourites_count bigint') as p
            from landed_posts)
        where {_trimmed("p.id")} is not null
        """,
    )
    job.view("once_posts", f"select * from {job.first_told('told_posts', 'post_id', 3)}")
    job.keyed("posts", "once_posts", "handle")


def consents(job: _Job) -> None:
    """Decisions as they were made."""
    job.bronze("landed_consents", "consent_consents")
    schema = ", ".join(f"{n} string" for n in ("consent_id", "email", "login", "purpose", "status", "decided_at"))
    job.view(
        "told_consents",
        f"""
        select * from (
            select day, _event_at, _hash, {_trimmed("p.consent_id")} as consent_id, p.email, p.login,
                {_trimmed("p.purpose")} as purpose, {_trimmed("p.status")} as status,
                cast(p.decided_at as timestamp) as decided_at
            from (select *, from_json(_payload, '{schema}') as p from landed_consents))
        where consent_id is not null and decided_at is not null and {_possible("decided_at")}
            and purpose in ({_quoted(PURPOSES)}) and status in ('granted', 'withdrawn')
        """,
    )
    job.view("once_consents", f"select * from {job.first_told('told_consents', 'consent_id', 3)}")
    job.keyed("decisions", "once_consents", "email", "login")


# --- identity ---------------------------------------------------------------------------------------------------------


def settle(job: _Job) -> None:
    """Every node's customer; and in how many systems each known customer was seen."""
    subjects = [
        ("records", "source", "least(created_at, _cursor)", ("card", "login", "email", "phone", "handle")),
        ("web", "'posthog'", "_event_at", ("login", "cookie")),
        ("orders", "'shopify'", "at", ("card", "login", "email")),
        ("lines", "'shopify'", "at", ("card", "login")),
        ("mails", "'klaviyo'", "_event_at", ("email",)),
        ("posts", "'mastodon'", "_event_at", ("handle",)),
        ("decisions", "'consent'", "decided_at", ("login", "email")),
    ]
    parts = []
    for table, source, at, kinds in subjects:
        keys = [f"{kind}_key" for kind in kinds]
        own = " ".join(f"when node_id = {kind}_key then '{kind}'" for kind in kinds)
        kind_of = "'record'" if table == "records" else f"case {own} else 'unknown' end"
        told = ", ".join(
            f"struct({pair[0]} as l, {pair[1]} as kind, {pair[2]} as r, {pair[3]} as edge)"
            for pair in [
                ("node_id", "kind", "node_id", "cast(null as string)"),
                *(("node_id", "kind", key, f"'{kind}'") for kind, key in zip(kinds, keys, strict=True)),
                *((key, f"'{kind}'", key, "cast(null as string)") for kind, key in zip(kinds, keys, strict=True)),
            ]
        )
        parts.append(f"""
            select source, at, e.* from (
                select source, at, node_id, explode(array({told})) as e from (
                    select {source} as source, node_id, {", ".join(keys)}, min({at}) as at, {kind_of} as kind
                    from {table} where node_id is not null group by {"source, " if table == "records" else ""}node_id,
                    {", ".join(keys)}))
            where e.l is not null and e.r is not null and (e.edge is null or e.l <> e.r)
        """)
    job.view("told", " union all ".join(parts), keep=True)
    ranks = " ".join(f"when '{kind}' then {rank}" for rank, kind in enumerate(("record", *KINDS, "unknown")))
    seen = job.polars(f"""
        select l as left_node_id, min_by(kind, case kind {ranks} end) as node_kind, r as right_node_id,
            min(edge) as edge_kind, min(at) as first_at
        from told group by l, r
    """).with_columns(pl.col("first_at").cast(pl.Datetime("us", "UTC")))
    nodes = given.resolved(seen, job.polars("select node_id, given_name, family_name from records"))
    job.put("all_known", nodes.filter("is_known").select("node_id", "customer_id", "valid_from"))
    job.view("known", "select * from all_known", keep=True)
    job.view(
        "systems",
        """
        select customer_id, count(distinct source) as source_count
        from told join known on l = node_id where edge is null group by customer_id
        """,
    )


# --- profiles ---------------------------------------------------------------------------------------------------------


def purchases(job: _Job) -> None:
    """Frequency, monetary value and dates of each customer's orders."""
    job.view(
        "placed",
        f"""
        select o.*, customer_id, status in ({_quoted(PAID)}) as is_paid,
            {_converted("gross - refund", "currency", "factor")} as revenue,
            {_converted("refund", "currency", "factor")} as given_back,
            {_converted("coalesce(discount, 0)", "currency", "factor")} as let_off
        from orders o join known using (node_id) where at < {_END}
        """,
        keep=True,
    )
    in_30, in_90 = f"is_paid and {_within('at', 30)}", f"is_paid and {_within('at', 90)}"
    job.view(
        "purchases",
        f"""
        select *, case when order_count > 0
                then {_rounded("cast(revenue_amount as double) / order_count")} end as monetary_amount,
            case when order_count > 1 then
                datediff(last_order_date, first_order_date) / cast(order_count - 1 as double) end as days_between_orders
        from (
            select customer_id, count_if(is_paid) as order_count, count_if({in_30}) as order_30d_count,
                count_if({in_90}) as order_90d_count,
                count_if(status in ('partially_refunded', 'refunded')) as refunded_order_count,
                count_if(status = 'cancelled') as cancelled_order_count,
                count_if(is_paid and coupon is not null) as coupon_order_count,
                to_date(min(at) filter (where is_paid)) as first_order_date,
                to_date(max(at) filter (where is_paid)) as last_order_date,
                max(at) filter (where is_paid) as _last_order_at,
                sum(revenue) filter (where is_paid) as revenue_amount,
                sum(revenue) filter (where {in_30}) as revenue_30d_amount,
                sum(revenue) filter (where {in_90}) as revenue_90d_amount,
                sum(given_back) filter (where is_paid) as refund_amount,
                sum(let_off) filter (where is_paid) as discount_amount,
                count(distinct case when is_paid then currency end) as currency_count
            from placed group by customer_id)
        """,
    )


def baskets(job: _Job) -> None:
    """What was in each customer's paid orders."""
    job.view(
        "priced",
        f"""
        select customer_id, product_id, quantity, category, {_converted("amount", "b.currency", "factor")} as amount
        from (select customer_id, product_id, l.currency, to_date(l.at) as date, sum(amount) as amount,
                sum(quantity) as quantity
            from lines l join placed p using (order_id) where is_paid
            group by customer_id, product_id, l.currency, to_date(l.at)) b
        left join factors f on b.currency = f.currency and b.date = f.date left join products using (product_id)
        """,
        keep=True,
    )
    job.view(
        "baskets",
        """
        select customer_id, item_count, product_count, category_count, top_category
        from (select customer_id, cast(sum(quantity) as double) as item_count,
            count(distinct product_id) as product_count from priced group by customer_id)
        left join (
            select customer_id, category as top_category, category_count from (
                select customer_id, category, count(*) over (partition by customer_id) as category_count,
                    row_number() over (partition by customer_id order by amount desc, category) as n
                from (select customer_id, category, sum(amount) as amount from priced where category is not null
                    group by customer_id, category))
            where n = 1) using (customer_id)
        """,
    )


def visits(job: _Job) -> None:
    """Sessions of thirty minutes, channels, first and last touch."""
    job.view(
        "sessions",
        f"""
        with ordered as (
            select customer_id, _event_at as at, is_view, channel, utm_campaign, device_type,
                row_number() over (partition by customer_id order by _event_at, event_id) as place,
                coalesce(_event_at > lag(_event_at) over (partition by customer_id order by _event_at, event_id)
                    + interval 30 minutes, true) as is_new
            from web join known using (node_id) where not is_bot and not is_beyond),
        numbered as (
            select *, sum(cast(is_new as int)) over (partition by customer_id order by place) as session from ordered),
        grouped as (
            select customer_id, min(at) as started, max(at) as ended, count(*) as events, count_if(is_view) as views,
                coalesce(min_by(channel, place) filter (where channel <> 'direct'), 'direct') as channel,
                min_by(utm_campaign, place) filter (where channel <> 'direct') as campaign,
                min_by(device_type, place) filter (where device_type is not null) as device
            from numbered group by customer_id, session)
        select * from grouped where started < {_END}
        """,
        keep=True,
    )
    job.view(
        "visits",
        f"""
        select * from (
            select customer_id, count(*) as session_count, count_if({_within("started", 30)}) as session_30d_count,
                count_if({_within("started", 90)}) as session_90d_count,
                to_date(min(started)) as first_session_date, to_date(max(started)) as last_session_date,
                max(ended) filter (where ended < {_END}) as _last_visit_at,
                sum(events) as web_event_count, sum(views) as page_view_count,
                sum(views) / cast(count(*) as double) as page_views_per_session,
                min_by(channel, started) as first_touch_channel, max_by(channel, started) as last_touch_channel,
                count(distinct channel) as channel_count,
                min_by(campaign, started) filter (where campaign is not null) as first_touch_campaign,
                max_by(campaign, started) filter (where campaign is not null) as last_touch_campaign,
                sort_array(collect_set(device)) as device_types
            from sessions group by customer_id)
        left join (
            select customer_id, device as main_device_type from (
                select customer_id, device,
                    row_number() over (partition by customer_id order by n desc, device) as place
                from (select customer_id, device, count(*) as n from sessions where device is not null
                    group by customer_id, device))
            where place = 1) using (customer_id)
        """,
    )


def mailings(job: _Job) -> None:
    """What became of our e-mails to each customer."""
    counts = [
        f"count_if(kind = '{event}') as email_{event}_count"
        for event in ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")
    ] + [
        f"count_if(kind = '{event}' and {_within('_event_at', days)}) as email_{event}_{days}d_count"
        for event in ("opened", "clicked")
        for days in (30, 90)
    ]
    job.view(
        "got", f"select customer_id, m.* from mails m join known using (node_id) where _event_at < {_END}", keep=True
    )
    job.view(
        "mailings",
        f"""
        select * from (
            select customer_id, {", ".join(counts)},
                max(_event_at) filter (where kind = 'opened') as last_email_opened_at,
                max(_event_at) filter (where kind in ('opened', 'clicked')) as _last_read_at,
                max(_event_at) filter (where kind in ('delivered', 'opened', 'clicked')) as _last_delivered_at,
                max(_event_at) filter (where kind = 'bounced') as _last_bounced_at,
                max(_event_at) filter (where kind in ('unsubscribed', 'complained')) as _last_refused_at
            from got group by customer_id)
        left join (
            select customer_id, 100 * avg(cast(opened as int)) as email_open_pct,
                100 * avg(cast(clicked as int)) as email_click_pct
            from (select customer_id, bool_or(kind = 'opened') as opened, bool_or(kind = 'clicked') as clicked
                from got where campaign_id is not null group by customer_id, campaign_id
                having bool_or(kind = 'delivered'))
            group by customer_id) using (customer_id)
        """,
    )


def echoes(job: _Job) -> None:
    """What each customer posted."""
    job.view(
        "echoes",
        f"""
        select customer_id, count(*) as post_count, sum(likes) as post_like_count, max(_event_at) as last_posted_at
        from posts join known using (node_id) where _event_at < {_END} group by customer_id
        """,
    )


def flags(job: _Job) -> None:
    """The latest decision on every purpose; of two at one moment the withdrawal."""
    latest = ", ".join(
        f"max_by(status, struct(decided_at, status)) filter (where purpose = '{purpose}') = 'granted' "
        f"as has_consent_{purpose}"
        for purpose in PURPOSES
    )
    job.view(
        "flags",
        f"""
        select customer_id, {latest}, max(decided_at) filter (where purpose = 'email_marketing') as _email_marketing_at
        from decisions join known using (node_id) where decided_at < {_END} group by customer_id
        """,
    )


def finished(job: _Job) -> pl.DataFrame:
    """Ages, reachability, zeros where nothing was counted, and every column of the answer in order."""
    zeros = [name for name in OUT if name.endswith("_count")]
    zeros += ["revenue_amount", "revenue_30d_amount", "revenue_90d_amount", "refund_amount", "discount_amount"]
    nowhere = ("targeted_count", "exposed_count", "redeemed_count", "device_reading_count")
    chosen = ", ".join(
        f"0 as {name}" if name in nowhere else f"coalesce({name}, 0) as {name}" if name in zeros else name
        for name in OUT
    )
    joined = " ".join(
        f"left join {facet} using (customer_id)"
        for facet in ("purchases", "baskets", "visits", "mailings", "echoes", "flags")
    )
    last_day = f"date_sub(to_date({_END}), 1)"
    answer = job.polars(f"""
        select {chosen} from (
            select *, {last_day} as as_of_date, cast(null as string) as region,
                cast(null as timestamp) as last_device_at,
                datediff({last_day}, last_order_date) as recency_days,
                datediff({last_day}, first_order_date) as tenure_days,
                greatest(_last_order_at, _last_visit_at, _last_read_at, last_posted_at) as last_seen_at,
                has_email and coalesce(has_consent_email_marketing, false)
                    and not coalesce(_last_refused_at >= _email_marketing_at, false)
                    and not (_last_bounced_at is not null and (_last_delivered_at is null
                        or _last_bounced_at >= _last_delivered_at)) as is_email_reachable
            from customers {joined})
    """)
    return answer.select(pl.col(name).cast(kind) for name, kind in OUT.items())


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    lake, out = map(Path, arguments)
    write_deltalake(out, run(lake).to_arrow(), mode="overwrite")


if __name__ == "__main__":
    main(sys.argv[1:])
