"""The job in DuckDB: SQL over the Parquet files of bronze, one database in memory, a table per subject.

    python -m benchmarks.peers.duckdb_peer LAKE OUT

What pays here: payloads are transformed once with a structure, twins are looked for among repeated ids only, distinct
identifiers go out and come back as a table to join, sessions are numbered in one window and then grouped, and firsts
and lasts are `arg_min` and `arg_max` rather than ordered lists.
"""

# ruff: noqa: S608 - the SQL is put together of the house's own words, never of a record's
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl
from deltalake import write_deltalake

from benchmarks.c360_lake import CURRENCY
from benchmarks.peers import given
from benchmarks.peers.given import AS_OF, DEVICES, METRICS, OUT, PAID, PURPOSES, STATUS
from etl.privacy.pseudonyms import KINDS

_INVISIBLE = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
_MONEY = '{"presentmentMoney":{"amount":"VARCHAR","currencyCode":"VARCHAR"}}'


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _mapped(column: str, words: dict[str, str], default: str) -> str:
    cases = " ".join(f"when '{word}' then '{ours}'" for word, ours in words.items())
    return f"case {column} {cases} else {default} end"


def _macros() -> str:
    return f"""
    set TimeZone = 'UTC';
    set preserve_insertion_order = false;
    create macro tidy(x) as nullif(trim(regexp_replace(regexp_replace(
        nfc_normalize(x), '{_INVISIBLE}', '', 'g'), '\\s+', ' ', 'g')), '');
    create macro trimmed(x) as nullif(trim(x), '');
    create macro possible(moment, day) as
        moment is null or (moment <= day::timestamptz + interval 2 day and year(moment) >= 1971);
    create macro host(url) as lower(nullif(
        regexp_extract(url, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/:?#]+)', 1), ''));
    create macro charged(x) as round(x.presentmentMoney.amount::decimal(38, 10), 4)::decimal(18, 4);
    create macro rounded(x) as (round_even(x * 10000, 0) / 10000)::decimal(18, 4);
    create macro converted(amount, currency, factor) as case when currency = '{CURRENCY}' then amount::decimal(18, 4)
        else rounded(amount::double * factor) end;
    create macro within(moment, days) as moment >= timestamptz '{AS_OF:%Y-%m-%d %H:%M:%S+00}' - to_days(days);
    create macro in_time(moment) as moment < timestamptz '{AS_OF:%Y-%m-%d %H:%M:%S+00}';
    """


def run(lake: Path) -> pl.DataFrame:
    """`gold.customer_360` of the bronze in `lake`."""
    con = duckdb.connect()
    con.execute(_macros())
    for step in (person_records, web_events, orders_and_lines, mail_events, social_posts, consents, products):
        step(con, lake)
    settle(con)
    for facet in (customers, purchases, baskets, visits, mailings, posts, flags):
        facet(con)
    return finished(con)


# --- reading ----------------------------------------------------------------------------------------------------------


def bronze(lake: Path, *tables: str) -> str:
    """The files of bronze tables, as a relation; `day` comes from their paths."""
    files = [file for table in tables for file in given.bronze_files(lake, table)]
    return f"read_parquet([{_quoted(files)}], hive_partitioning = true, hive_types = {{'day': date}})"


def newest(relation: str) -> str:
    """The newest version of each record."""
    order = "order by _cursor desc, _extracted_at desc, _hash desc"
    return f"(select * from {relation} qualify row_number() over (partition by _id {order}) = 1)"


def drop_twins(con: duckdb.DuckDBPyConnection, table: str, key: str, days: int) -> None:
    """Take out what is told again at most `days` after the one before."""
    con.execute(f"""
        delete from {table} where rowid in (
            select rid from (
                select rowid as rid, day - lag(day) over (partition by {key} order by day, _event_at, _hash) as since
                from {table}
                where {key} in (select {key} from {table} group by {key} having count(*) > 1))
            where since <= {days});
        alter table {table} drop column _hash
    """)


def add_key(con: duckdb.DuckDBPyConnection, table: str, kind: str) -> None:
    """Put `<kind>_key` in place of the identifier."""
    values = con.sql(f"select distinct {kind} from {table} where {kind} is not null").pl()[kind]
    known = given.identified(kind, values)
    con.register("known", known.to_arrow())
    con.execute(f"""
        create or replace table {table} as
        select t.* exclude ({kind}), known.key as {kind}_key from {table} t left join known on t.{kind} = known.value
    """)
    con.unregister("known")


def add_node(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Add the key of the surest identifier."""
    con.execute(f"""
        alter table {table} add column node_id varchar;
        update {table} set node_id = coalesce({", ".join(keys_of(con, table))})
    """)


def keys_of(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The table's keys, the surest first."""
    present = {row[0] for row in con.execute(f"describe {table}").fetchall()}
    return [f"{kind}_key" for kind in KINDS if f"{kind}_key" in present]


# --- people -----------------------------------------------------------------------------------------------------------


def person_records(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """Every record of a person in its latest state."""
    contacts = newest(bronze(lake, "hubspot_contacts", "hubspot_contacts_archived"))
    con.execute(f"""
        create table records as
        with contacts as (
            select _id, _op, _cursor, day, from_json(_payload, '{{"createdAt":"VARCHAR","properties":{{
                "email":"VARCHAR","firstname":"VARCHAR","lastname":"VARCHAR","phone":"VARCHAR","address":"VARCHAR",
                "zip":"VARCHAR","city":"VARCHAR","country":"VARCHAR","hs_language":"VARCHAR",
                "lifecyclestage":"VARCHAR","loyalty_card":"VARCHAR","shop_customer_id":"VARCHAR",
                "mastodon_handle":"VARCHAR"}}}}') as p from {contacts}),
        customers as (
            select _id, _op, _cursor, day, from_json(_payload, '{{"email":"VARCHAR","mobile":"VARCHAR",
                "card_no":"VARCHAR","first_name":"VARCHAR","last_name":"VARCHAR","street":"VARCHAR","zip":"VARCHAR",
                "city":"VARCHAR","country":"VARCHAR","status":"VARCHAR","created_at":"VARCHAR"}}') as p
            from {newest(bronze(lake, "crm_db_customers"))}),
        both_systems as (
            select 'hubspot' as source, 'contacts' as stream, _id, _op, _cursor, day, p.properties.email as email,
                p.properties.phone as phone, p.properties.firstname as given_name, p.properties.lastname as family_name,
                p.properties.address as street, p.properties.zip as zip, p.properties.city as city,
                p.properties.country as country, p.properties.hs_language as language,
                p.properties.lifecyclestage as stage, p.properties.loyalty_card as card,
                p.properties.shop_customer_id as login, p.properties.mastodon_handle as handle,
                p.createdAt as created_at
            from contacts
            union all by name
            select 'crm_db' as source, 'customers' as stream, _id, _op, _cursor, day, p.email as email,
                p.mobile as phone, p.first_name as given_name, p.last_name as family_name, p.street as street,
                p.zip as zip, p.city as city, p.country as country, p.status as stage, p.card_no as card,
                p.created_at as created_at
            from customers)
        select source, source || ':' || stream || ':' || _id as told, _op = 'delete' as is_deleted, _cursor, email,
            phone, tidy(given_name) as given_name, tidy(family_name) as family_name, tidy(street) as street,
            tidy(zip) as zip,
            tidy(city) as city, tidy(country) as country,
            nullif(regexp_extract(lower(trim(language)), '^([a-z]{{2}})(?:[-_].*)?$', 1), '') as language,
            lower(tidy(stage)) as stage, card, login, handle, created_at::timestamptz as created_at
        from both_systems
        where possible(created_at::timestamptz, day) and possible(_cursor, day)
    """)
    words = con.sql("select distinct country from records where country is not null").pl()["country"]
    codes = given.countries(words)
    told = con.sql("select told from records").pl()["told"]
    nodes = pl.DataFrame({"told": told, "node_id": given.record_nodes(told)})
    con.register("codes", pl.DataFrame({"word": list(codes), "code": list(codes.values())}).to_arrow())
    con.register("nodes", nodes.to_arrow())
    con.execute("""
        create or replace table records as
        select r.* exclude (country, told), code as country, node_id
        from records r join nodes using (told) left join codes on r.country = word
    """)
    emails = con.sql("select distinct email from records where email is not null").pl()["email"]
    numbers = con.sql("select distinct phone, country from records where phone is not null").pl()
    con.register("emails", given.identified("email", emails).to_arrow())
    con.register("numbers", given.identified("phone", numbers["phone"], numbers["country"]).to_arrow())
    con.execute("""
        create or replace table records as
        select r.* exclude (email, phone), emails.key as email_key, emails.is_there as has_email,
            numbers.key as phone_key, numbers.is_there as has_phone
        from records r
        left join emails on r.email = emails.value
        left join numbers on r.phone = numbers.value and r.country is not distinct from numbers.country
    """)
    for kind in ("card", "login", "handle"):
        add_key(con, "records", kind)


def customers(con: duckdb.DuckDBPyConnection) -> None:
    """One row per known customer with the attributes of its best records."""
    con.execute("""
        create table mine as select * from records join known using (node_id);
        create table customers as
        with best as (
            select customer_id,
                arg_max(coalesce(country, ''), row(filled, _cursor, -place)) filter (where filled > 0) as country,
                arg_max(language, row(_cursor, -place)) filter (where language is not null) as language,
                arg_max(stage, row(source = 'hubspot', _cursor, -place)) filter (where stage is not null) as stage,
                coalesce(bool_or(has_email), false) as has_email, coalesce(bool_or(has_phone), false) as has_phone
            from (
                select *, (street is not null)::int + (zip is not null)::int + (city is not null)::int
                    + (country is not null)::int as filled, row_number() over (order by node_id) as place
                from mine where not is_deleted)
            group by customer_id),
        counted as (select customer_id, count(*) as record_count from mine group by customer_id),
        first_seen as (select customer_id, min(valid_from) as first_seen_at from known group by customer_id)
        select f.customer_id, first_seen_at, coalesce(record_count, 0) as record_count, source_count,
            nullif(country, '') as country, language, stage as lifecycle_stage,
            coalesce(has_email, false) as has_email, coalesce(has_phone, false) as has_phone
        from first_seen f
        left join counted using (customer_id) left join best using (customer_id) left join systems using (customer_id)
    """)


# --- events -----------------------------------------------------------------------------------------------------------


def web_events(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """Events told once and not too late in their session, with channel, device and keys."""
    con.execute(f"""
        create table web as
        select day, _event_at, _hash, trimmed(p.id) as event_id,
            trimmed(p.event) in ('$pageview', '$screen', 'page_view', 'screen_view') as is_view,
            trimmed(q."$session_id") as session, q."$device_id" as cookie, q."$user_id" as login,
            host(q."$current_url") as page_host, host(q."$referrer") as referrer_host,
            q."$device_type" as device, q."$raw_user_agent" as user_agent,
            q.utm_source as utm_source, q.utm_medium as utm_medium, q.utm_campaign as utm_campaign,
            regexp_extract(q."$current_url", '[?&]utm_source=([^&#]*)', 1) as url_source,
            regexp_extract(q."$current_url", '[?&]utm_medium=([^&#]*)', 1) as url_medium,
            regexp_extract(q."$current_url", '[?&]utm_campaign=([^&#]*)', 1) as url_campaign
        from (
            select day, _event_at, _hash, p, p.properties as q from (
                select day, _event_at, _hash, from_json(_payload, '{{"id":"VARCHAR","event":"VARCHAR","properties":{{
                    "$device_id":"VARCHAR","$user_id":"VARCHAR","$session_id":"VARCHAR","$current_url":"VARCHAR",
                    "$referrer":"VARCHAR","utm_source":"VARCHAR","utm_medium":"VARCHAR","utm_campaign":"VARCHAR",
                    "$device_type":"VARCHAR","$raw_user_agent":"VARCHAR"}}}}') as p
                from {bronze(lake, "posthog_events")}))
        where trimmed(p.id) is not null and trimmed(p.event) is not null
    """)
    drop_twins(con, "web", "event_id", 4)
    _without_overlong_sessions(con)
    _with_channel(con)
    _with_device(con)
    add_key(con, "web", "cookie")
    add_key(con, "web", "login")
    add_node(con, "web")


def _without_overlong_sessions(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        create or replace table web as
        with per_day as (
            select session, day, min(_event_at) as first from web where session is not null group by session, day),
        several as (select * from per_day qualify count(*) over (partition by session) > 1),
        began as (
            select a.session, a.day, min(b.first) as began from several a join several b
            on a.session = b.session and b.day between a.day - 4 and a.day group by a.session, a.day),
        overall as (select session, min(first) as overall from several group by session)
        select web.* exclude (session), coalesce(_event_at - overall > interval 3 day, false) as is_beyond
        from web left join began using (session, day) left join overall using (session)
        where not coalesce(_event_at - began > interval 3 day, false)
    """)


def _with_channel(con: duckdb.DuckDBPyConnection) -> None:
    told = "utm_source, utm_medium, utm_campaign, url_source, url_medium, url_campaign, referrer_host, page_host"
    words = con.sql("""
        select distinct unnest([url_source, url_medium, url_campaign]) as word from (
            select distinct url_source, url_medium, url_campaign from web)
    """).pl()["word"]
    plain = given.decoded(words.drop_nulls())
    con.register("plain", pl.DataFrame({"word": list(plain), "meant": list(plain.values())}).to_arrow())
    con.execute(f"""
        create table tags as
        select c.*, coalesce(tidy(utm_source), tidy(s.meant)) as source,
            coalesce(tidy(utm_medium), tidy(m.meant)) as medium,
            coalesce(tidy(utm_campaign), tidy(n.meant)) as campaign,
            case when referrer_host is distinct from page_host then referrer_host end as came_from
        from (select distinct {told} from web) c
        left join plain s on s.word = url_source
        left join plain m on m.word = url_medium
        left join plain n on n.word = url_campaign
    """)
    asked = con.sql("select distinct source, medium, campaign, came_from from tags").pl()
    con.register("channels", given.channels(asked).to_arrow())
    same = " and ".join(f"w.{name.strip()} is not distinct from t.{name.strip()}" for name in told.split(","))
    both = " and ".join(f"t.{name} is not distinct from c.{name}" for name in asked.columns)
    con.execute(f"""
        create or replace table web as
        select w.* exclude ({told}), channel, t.campaign as utm_campaign
        from web w join tags t on {same} join channels c on {both}
    """)


def _with_device(con: duckdb.DuckDBPyConnection) -> None:
    words = con.sql("select distinct user_agent from web where user_agent is not null").pl()["user_agent"]
    con.register("agents", given.agents(words).to_arrow())
    device = _mapped("lower(trim(device))", DEVICES, "'other'")
    con.execute(f"""
        create or replace table web as
        select w.* exclude (device, user_agent), coalesce(is_bot, false) as is_bot,
            case when trimmed(device) is not null then {device} else agent_device end as device_type
        from web w left join agents using (user_agent)
    """)


def orders_and_lines(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """Orders as they stand with what a unit of their currency is worth, and their lines."""
    con.execute(f"""
        create table bought as
        select p.legacyResourceId as order_id, p.processedAt::timestamptz as moment,
            lower(trim(p.displayFinancialStatus)) as state,
            coalesce(upper(trim(p.totalPriceSet.presentmentMoney.currencyCode)), '{CURRENCY}') as currency,
            charged(p.totalPriceSet) as gross, charged(p.currentTotalPriceSet) as net,
            abs(charged(p.totalDiscountsSet)) as discount, trimmed(p.discountCodes[1]) as coupon,
            p.email as email, p.customer.legacyResourceId as login, p.lineItems as line_items,
            trimmed(list_filter(p.customAttributes, lambda a: a.key = 'loyalty_card')[1].value) as card
        from (
            select day, from_json(_payload, '{{"legacyResourceId":"VARCHAR","processedAt":"VARCHAR",
                "displayFinancialStatus":"VARCHAR","totalPriceSet":{_MONEY},"currentTotalPriceSet":{_MONEY},
                "totalDiscountsSet":{_MONEY},"discountCodes":["VARCHAR"],"email":"VARCHAR",
                "customer":{{"legacyResourceId":"VARCHAR"}},"test":"BOOLEAN",
                "customAttributes":[{{"key":"VARCHAR","value":"VARCHAR"}}],
                "lineItems":[{{"product":{{"legacyResourceId":"VARCHAR"}},"quantity":"BIGINT",
                    "originalUnitPriceSet":{_MONEY},
                    "discountAllocations":[{{"allocatedAmountSet":{_MONEY}}}]}}]}}') as p
            from {newest(bronze(lake, "shopify_orders"))})
        where not coalesce(p.test, false) and p.processedAt is not null and possible(p.processedAt::timestamptz, day)
    """)
    for kind in ("card", "login", "email"):
        add_key(con, "bought", kind)
    add_node(con, "bought")
    con.execute(f"""
        create table rates as
        select currency, rate_date, arg_max(rate, row(_extracted_at, _hash)) as rate from (
            select day, _extracted_at, _hash, p.rate_date::date as rate_date, p.currency as currency,
                p.rate::double as rate
            from (select *, from_json(_payload, '{{"rate_date":"VARCHAR","currency":"VARCHAR","rate":"VARCHAR"}}') as p
                from {bronze(lake, "ecb_rates_rates")}))
        where rate > 0 and rate_date <= day + 2
        group by currency, rate_date;
        create table factors as
        select a.currency, a.date, 1.0 / r.rate as factor
        from (select distinct currency, moment::date as date from bought where currency <> '{CURRENCY}') a
        asof join rates r on a.currency = r.currency and a.date >= r.rate_date
        where a.date - r.rate_date <= 7;
        create table orders as
        select b.* exclude (line_items), {_mapped("state", STATUS, "state")} as status,
            greatest(gross - net, 0)::decimal(18, 4) as refund, factor
        from bought b left join factors f on b.currency = f.currency and moment::date = f.date
        where b.currency = '{CURRENCY}' or factor is not null;
        create table lines as
        select node_id, card_key, login_key, order_id, moment, product_id, currency, quantity,
            (rounded(unit::double * quantity) - coalesce(off, 0))::decimal(18, 4) as amount
        from (
            select *, l.product.legacyResourceId as product_id, l.quantity as quantity,
                charged(l.originalUnitPriceSet) as unit,
                abs(charged(l.discountAllocations[1].allocatedAmountSet)) as off,
                coalesce(upper(trim(l.originalUnitPriceSet.presentmentMoney.currencyCode)), '{CURRENCY}') as currency
            from (select node_id, card_key, login_key, order_id, moment, unnest(line_items) as l from bought))
        where unit > 0
    """)


def mail_events(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """What became of each message, told once."""
    con.execute(f"""
        create table mails as
        select * from (
            select day, _event_at, _hash, trimmed(p.id) as event_id,
                trimmed(p.attributes.event_properties."$message") as campaign_id,
                p.attributes.event_properties."Recipient Email Address" as email,
                {_mapped("p.relationships.metric.data.id", METRICS, "null")} as kind
            from (
                select day, _event_at, _hash, from_json(_payload, '{{"id":"VARCHAR",
                    "attributes":{{"event_properties":{{"Recipient Email Address":"VARCHAR","$message":"VARCHAR"}}}},
                    "relationships":{{"metric":{{"data":{{"id":"VARCHAR"}}}}}}}}') as p
                from {bronze(lake, "klaviyo_events")}))
        where event_id is not null and kind is not null
    """)
    drop_twins(con, "mails", "event_id", 3)
    add_key(con, "mails", "email")
    add_node(con, "mails")


def social_posts(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """Posts as first told."""
    con.execute(f"""
        create table posts as
        select day, _event_at, _hash, trimmed(p.id) as post_id, p.account.acct as handle, p.favourites_count as likes
        from (select *, from_json(_payload, '{{"id":"VARCHAR","account":{{"acct":"VARCHAR"}},
            "favourites_count":"BIGINT"}}') as p from {bronze(lake, "mastodon_statuses")})
        where trimmed(p.id) is not null
    """)
    drop_twins(con, "posts", "post_id", 3)
    add_key(con, "posts", "handle")
    add_node(con, "posts")


def consents(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """Decisions as they were made."""
    con.execute(f"""
        create table decisions as
        select day, _event_at, _hash, trimmed(p.consent_id) as consent_id, p.email as email, p.login as login,
            trimmed(p.purpose) as purpose, trimmed(p.status) as status, p.decided_at::timestamptz as decided_at
        from (select *, from_json(_payload, '{{"consent_id":"VARCHAR","email":"VARCHAR","login":"VARCHAR",
            "purpose":"VARCHAR","status":"VARCHAR","decided_at":"VARCHAR"}}') as p
            from {bronze(lake, "consent_consents")})
        where trimmed(p.consent_id) is not null and p.decided_at is not null
            and possible(p.decided_at::timestamptz, day)
            and trimmed(p.purpose) in ({_quoted(PURPOSES)}) and trimmed(p.status) in ('granted', 'withdrawn')
    """)
    drop_twins(con, "decisions", "consent_id", 3)
    add_key(con, "decisions", "email")
    add_key(con, "decisions", "login")
    add_node(con, "decisions")


def products(con: duckdb.DuckDBPyConnection, lake: Path) -> None:
    """The catalogue's categories."""
    con.execute(f"""
        create table products as
        select p.legacyResourceId as product_id, tidy(p.productType) as category
        from (select from_json(_payload, '{{"legacyResourceId":"VARCHAR","productType":"VARCHAR"}}') as p
            from {newest(bronze(lake, "shopify_products"))})
    """)


# --- identity ---------------------------------------------------------------------------------------------------------


def settle(con: duckdb.DuckDBPyConnection) -> None:
    """Every node's customer; and in how many systems each known customer was seen."""
    stars = [
        ("records", "source", "least(created_at, _cursor)"),
        ("web", "'posthog'", "_event_at"),
        ("orders", "'shopify'", "moment"),
        ("lines", "'shopify'", "moment"),
        ("mails", "'klaviyo'", "_event_at"),
        ("posts", "'mastodon'", "_event_at"),
        ("decisions", "'consent'", "decided_at"),
    ]
    con.execute(
        "create table told (source varchar, l varchar, kind varchar, r varchar, edge varchar, moment timestamptz)"
    )
    for table, source, moment in stars:
        keys = keys_of(con, table)
        own = " ".join(f"when node_id = {key} then '{key.removesuffix('_key')}'" for key in keys)
        con.execute(f"""
            create or replace temp table stars as
            select {source} as source, node_id, {", ".join(keys)}, min({moment}) as moment,
                {"'record'" if table == "records" else f"case {own} else 'unknown' end"} as kind
            from {table} where node_id is not null group by all;
            insert into told select source, node_id, kind, node_id, null, moment from stars
        """)
        for key in keys:
            edge = key.removesuffix("_key")
            con.execute(f"""
                insert into told
                select source, node_id, kind, {key}, '{edge}', moment from stars where {key} <> node_id;
                insert into told select source, {key}, '{edge}', {key}, null, moment from stars where {key} <> node_id
            """)
    ranks = " ".join(f"when '{kind}' then {rank}" for rank, kind in enumerate(("record", *KINDS, "unknown")))
    seen = con.sql(f"""
        select l as left_node_id, arg_min(kind, case kind {ranks} end) as node_kind, r as right_node_id,
            min(edge) as edge_kind, min(moment) as first_at
        from told group by l, r
    """).pl()
    names = con.sql("select node_id, given_name, family_name from records").pl()
    seen = seen.with_columns(pl.col("first_at").cast(pl.Datetime("us", "UTC")))
    nodes = given.resolved(seen, names)
    con.register("nodes", nodes.to_arrow())
    con.execute("""
        create table known as select node_id, customer_id, valid_from from nodes where is_known;
        create table systems as
        select customer_id, count(distinct source) as source_count
        from told join known on l = node_id where edge is null group by customer_id
    """)


# --- profiles ---------------------------------------------------------------------------------------------------------


def purchases(con: duckdb.DuckDBPyConnection) -> None:
    """Frequency, monetary value and dates of each customer's orders."""
    con.execute(f"""
        create table placed as
        select o.*, customer_id, status in ({_quoted(PAID)}) as is_paid,
            converted(gross - refund, currency, factor) as revenue
        from orders o join known using (node_id) where in_time(moment);
        create table purchases as
        with counted as (
            select customer_id, count(*) filter (is_paid) as order_count,
                count(*) filter (is_paid and within(moment, 30)) as order_30d_count,
                count(*) filter (is_paid and within(moment, 90)) as order_90d_count,
                count(*) filter (status in ('partially_refunded', 'refunded')) as refunded_order_count,
                count(*) filter (status = 'cancelled') as cancelled_order_count,
                count(*) filter (is_paid and coupon is not null) as coupon_order_count,
                min(moment) filter (is_paid)::date as first_order_date,
                max(moment) filter (is_paid)::date as last_order_date,
                max(moment) filter (is_paid) as _last_order_at,
                sum(revenue) filter (is_paid) as revenue_amount,
                sum(revenue) filter (is_paid and within(moment, 30)) as revenue_30d_amount,
                sum(revenue) filter (is_paid and within(moment, 90)) as revenue_90d_amount,
                sum(converted(refund, currency, factor)) filter (is_paid) as refund_amount,
                sum(converted(coalesce(discount, 0), currency, factor)) filter (is_paid) as discount_amount,
                count(distinct currency) filter (is_paid) as currency_count
            from placed group by customer_id)
        select *, case when order_count > 0
                then rounded(revenue_amount::double / order_count) end as monetary_amount,
            case when order_count > 1
                then (last_order_date - first_order_date) / (order_count - 1)::double end as days_between_orders
        from counted
    """)


def baskets(con: duckdb.DuckDBPyConnection) -> None:
    """What was in each customer's paid orders."""
    con.execute("""
        create table baskets as
        with bought as (
            select customer_id, product_id, l.currency, l.moment::date as date, sum(amount) as amount,
                sum(quantity) as quantity
            from lines l join placed p using (order_id) where is_paid group by all),
        priced as (
            select customer_id, product_id, quantity, category, converted(amount, b.currency, factor) as amount
            from bought b left join factors f on b.currency = f.currency and b.date = f.date
            left join products using (product_id)),
        by_category as (
            select customer_id, category, sum(amount) as amount from priced where category is not null group by all),
        top as (
            select customer_id, category as top_category, count(*) over (partition by customer_id) as category_count
            from by_category
            qualify row_number() over (partition by customer_id order by amount desc, category) = 1)
        select customer_id, item_count, product_count, category_count, top_category
        from (select customer_id, sum(quantity)::double as item_count, count(distinct product_id) as product_count
            from priced group by customer_id)
        left join top using (customer_id)
    """)


def visits(con: duckdb.DuckDBPyConnection) -> None:
    """Sessions of thirty minutes, channels, first and last touch."""
    con.execute("""
        create table sessions as
        with ordered as (
            select customer_id, _event_at as moment, is_view, channel, utm_campaign, device_type,
                row_number() over w as place,
                coalesce(_event_at - lag(_event_at) over w > interval 30 minute, true) as is_new
            from web join known using (node_id) where not is_bot and not is_beyond
            window w as (partition by customer_id order by _event_at, event_id)),
        numbered as (
            select *, sum(is_new::int) over (partition by customer_id order by place
                rows between unbounded preceding and current row) as session
            from ordered)
        select customer_id, min(moment) as started, max(moment) as ended, count(*) as events,
            count(*) filter (is_view) as views,
            coalesce(arg_min(channel, place) filter (channel <> 'direct'), 'direct') as channel,
            arg_min_null(utm_campaign, place) filter (channel <> 'direct') as campaign,
            arg_min(device_type, place) as device
        from numbered group by customer_id, session;
        create table visits as
        with devices as (
            select customer_id, device as main_device_type from (
                select customer_id, device, count(*) as n from sessions
                where device is not null and in_time(started) group by all)
            qualify row_number() over (partition by customer_id order by n desc, device) = 1)
        select s.*, main_device_type from (
            select customer_id, count(*) as session_count,
                count(*) filter (within(started, 30)) as session_30d_count,
                count(*) filter (within(started, 90)) as session_90d_count,
                min(started)::date as first_session_date, max(started)::date as last_session_date,
                max(ended) filter (in_time(ended)) as _last_visit_at,
                sum(events) as web_event_count, sum(views) as page_view_count,
                sum(views) / count(*)::double as page_views_per_session,
                arg_min(channel, started) as first_touch_channel, arg_max(channel, started) as last_touch_channel,
                count(distinct channel) as channel_count,
                arg_min(campaign, started) as first_touch_campaign, arg_max(campaign, started) as last_touch_campaign,
                coalesce(list_sort(list(distinct device) filter (device is not null)), []) as device_types
            from sessions where in_time(started) group by customer_id) s
        left join devices using (customer_id)
    """)


def mailings(con: duckdb.DuckDBPyConnection) -> None:
    """What became of our e-mails to each customer."""
    counts = [
        f"count(*) filter (kind = '{event}') as email_{event}_count"
        for event in ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")
    ]
    counts += [
        f"count(*) filter (kind = '{event}' and within(_event_at, {days})) as email_{event}_{days}d_count"
        for event in ("opened", "clicked")
        for days in (30, 90)
    ]
    con.execute(f"""
        create table got as
        select customer_id, _event_at, campaign_id, kind from mails join known using (node_id) where in_time(_event_at);
        create table mailings as
        with by_campaign as (
            select customer_id, bool_or(kind = 'opened') as opened, bool_or(kind = 'clicked') as clicked
            from got where campaign_id is not null group by customer_id, campaign_id
            having bool_or(kind = 'delivered')),
        shares as (
            select customer_id, 100 * avg(opened::int) as email_open_pct, 100 * avg(clicked::int) as email_click_pct
            from by_campaign group by customer_id)
        select * from (
            select customer_id, {", ".join(counts)},
                max(_event_at) filter (kind = 'opened') as last_email_opened_at,
                max(_event_at) filter (kind in ('opened', 'clicked')) as _last_read_at,
                max(_event_at) filter (kind in ('delivered', 'opened', 'clicked')) as _last_delivered_at,
                max(_event_at) filter (kind = 'bounced') as _last_bounced_at,
                max(_event_at) filter (kind in ('unsubscribed', 'complained')) as _last_refused_at
            from got group by customer_id)
        left join shares using (customer_id)
    """)


def posts(con: duckdb.DuckDBPyConnection) -> None:
    """What each customer posted."""
    con.execute("""
        create table echoes as
        select customer_id, count(*) as post_count, sum(likes) as post_like_count, max(_event_at) as last_posted_at
        from posts join known using (node_id) where in_time(_event_at) group by customer_id
    """)


def flags(con: duckdb.DuckDBPyConnection) -> None:
    """The latest decision on every purpose; of two at one moment the withdrawal."""
    latest = ", ".join(
        f"arg_max(status, row(decided_at, status)) filter (purpose = '{purpose}') = 'granted' as has_consent_{purpose}"
        for purpose in PURPOSES
    )
    con.execute(f"""
        create table flags as
        select customer_id, {latest}, max(decided_at) filter (purpose = 'email_marketing') as _email_marketing_at
        from decisions join known using (node_id) where in_time(decided_at) group by customer_id
    """)


def finished(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Ages, reachability, zeros where nothing was counted, and every column of the answer in order."""
    zeros = [name for name in OUT if name.endswith("_count")]
    zeros += ["revenue_amount", "revenue_30d_amount", "revenue_90d_amount", "refund_amount", "discount_amount"]
    nowhere = ("targeted_count", "exposed_count", "redeemed_count", "device_reading_count")
    chosen = ", ".join(
        f"0 as {name}" if name in nowhere else f"coalesce({name}, 0) as {name}" if name in zeros else name
        for name in OUT
    )
    answer = con.sql(f"""
        with all_facets as (
            select *, date '{AS_OF:%Y-%m-%d}' - 1 as as_of_date, null::varchar as region,
                null::timestamptz as last_device_at,
                as_of_date - last_order_date as recency_days, as_of_date - first_order_date as tenure_days,
                greatest(_last_order_at, _last_visit_at, _last_read_at, last_posted_at) as last_seen_at,
                has_email and coalesce(has_consent_email_marketing, false)
                    and not coalesce(_last_refused_at >= _email_marketing_at, false)
                    and not (_last_bounced_at is not null
                        and (_last_delivered_at is null or _last_bounced_at >= _last_delivered_at))
                    as is_email_reachable
            from customers left join purchases using (customer_id) left join baskets using (customer_id)
            left join visits using (customer_id) left join mailings using (customer_id)
            left join echoes using (customer_id) left join flags using (customer_id))
        select {chosen} from all_facets
    """).pl()
    return answer.select(pl.col(name).cast(kind) for name, kind in OUT.items())


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    lake, out = map(Path, arguments)
    write_deltalake(out, run(lake).to_arrow(), mode="overwrite")


if __name__ == "__main__":
    main(sys.argv[1:])
