"""The job in pandas: whole columns in memory, payloads read by msgspec, customers as numbers, masks instead of filters.

    python -m benchmarks.peers.pandas_peer LAKE OUT

What pays here: one decode per stream into lists, distinct identifiers mapped by a hash table, amounts as whole
ten-thousandths, customers factorised once so that every later group is one of integers, `first` after one sort.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from benchmarks.c360_lake import CURRENCY
from benchmarks.peers import given
from benchmarks.peers.given import AS_OF, DEVICES, METRICS, OUT, PAID, PURPOSES, STATUS
from etl.privacy.pseudonyms import KINDS

_INVISIBLE = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
_END = pd.Timestamp(AS_OF)
_TEXT = pd.StringDtype("pyarrow", np.nan)
_UNIT = 10_000


def run(lake: Path) -> pl.DataFrame:
    """`gold.customer_360` of the bronze in `lake`."""
    records = person_records(lake)
    web = web_events(lake)
    orders, lines, rate = orders_and_lines(lake)
    mails, posts, decisions = mail_events(lake), social_posts(lake), consents(lake)
    known, systems = settled(records, web, orders, lines, mails, posts, decisions)
    orders = whose(orders, known)
    facets = [
        customers(records, known, systems),
        purchases(orders),
        baskets(orders, lines, rate, products(lake)),
        visits(whose(web, known)),
        mailings(whose(mails, known)),
        echoes(whose(posts, known)),
        flags(whose(decisions, known)),
    ]
    return finished(facets, known)


# --- reading ----------------------------------------------------------------------------------------------------------


def bronze(lake: Path, table: str, *envelope: str) -> tuple[pd.DataFrame, list[str]]:
    """Columns of the envelope and `day`, and the payloads."""
    return of_files(given.bronze_files(lake, table), *envelope)


def of_files(files: Sequence[str], *envelope: str) -> tuple[pd.DataFrame, list[str]]:
    """The same of some of a table's files."""
    days = [np.datetime64(file.rpartition("day=")[2][:10], "D") for file in files]
    parts = [pq.read_table(file, columns=[*envelope, "_payload"], partitioning=None) for file in files]
    landed = pa.concat_tables(parts)
    payloads = landed.column("_payload").to_pylist()
    rows = landed.drop_columns(["_payload"]).to_pandas(types_mapper={pa.string(): _TEXT}.get)
    rows["day"] = np.repeat(np.array(days, "datetime64[s]"), [part.num_rows for part in parts])
    return rows, payloads


def members(payloads: Sequence[str], kind: Any) -> list[Any]:
    """Every payload as a `kind`, which names the members that are wanted."""
    decode = msgspec.json.Decoder(kind).decode
    return [decode(payload) for payload in payloads]


def texts(values: Iterable[Any]) -> pd.Series:
    """A column of text."""
    return pd.Series(pa.array(values, pa.string()), dtype=_TEXT)


def trimmed(values: pd.Series) -> pd.Series:
    """Trimmed; blank is missing."""
    bare = values.str.strip()
    return bare.mask(bare == "")


def tidy(values: pd.Series) -> pd.Series:
    """Text in NFC without invisible characters, single blanks, trimmed; blank is missing."""
    bare = values.str.normalize("NFC").str.replace(_INVISIBLE, "", regex=True).str.replace(r"\s+", " ", regex=True)
    return trimmed(bare)


def possible(at: pd.Series, day: pd.Series) -> pd.Series:
    """Not more than a day after the record's own day, and not before 1971."""
    end = day.dt.tz_localize("UTC") + pd.Timedelta(days=2)
    return at.isna() | ((at <= end) & (at.dt.year >= 1971))


def moment(values: pd.Series) -> pd.Series:
    """ISO 8601 as a time."""
    return pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce").astype("datetime64[us, UTC]")


def newest(rows: pd.DataFrame) -> pd.DataFrame:
    """The newest version of each record."""
    ordered = rows.sort_values(["_cursor", "_extracted_at", "_hash"], ascending=False)
    return ordered.drop_duplicates("_id", keep="first")


def first_told(events: pd.DataFrame, key: str, days: int) -> pd.DataFrame:
    """Without twins told again at most `days` after the one before."""
    return events.drop(index=told_again(events, key, days), columns="_hash")


def told_again(events: pd.DataFrame, key: str, days: int) -> pd.Index:
    """The places of those."""
    twins = events.loc[events.duplicated(key, keep=False), [key, "day", "_event_at", "_hash"]]
    ordered = twins.sort_values(["day", "_event_at", "_hash"])
    since = ordered.groupby(key, sort=False)["day"].diff()
    return since.index[since <= pd.Timedelta(days=days)]


def with_key(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows with `<kind>_key` in place of the identifier."""
    codes, distinct = pd.factorize(rows[kind])
    known = given.identified(kind, pl.Series(distinct.to_numpy(dtype=object), dtype=pl.String))["key"]
    keys = np.array([*known, None], dtype=object)
    rows[f"{kind}_key"] = texts(keys[codes]).set_axis(rows.index)
    return rows.drop(columns=kind)


def with_node(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the key of their surest identifier."""
    keys = [f"{kind}_key" for kind in KINDS if f"{kind}_key" in rows]
    node = rows[keys[0]]
    for key in keys[1:]:
        node = node.fillna(rows[key])
    rows["node_id"] = node
    return rows


# --- people -----------------------------------------------------------------------------------------------------------


class _Properties(msgspec.Struct):
    email: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    phone: str | None = None
    address: str | None = None
    zip: str | None = None
    city: str | None = None
    country: str | None = None
    hs_language: str | None = None
    lifecyclestage: str | None = None
    loyalty_card: str | None = None
    shop_customer_id: str | None = None
    mastodon_handle: str | None = None


class _Contact(msgspec.Struct, rename="camel"):
    properties: _Properties
    created_at: str | None = None


class _Customer(msgspec.Struct):
    email: str | None = None
    mobile: str | None = None
    card_no: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    street: str | None = None
    zip: str | None = None
    city: str | None = None
    country: str | None = None
    status: str | None = None
    created_at: str | None = None


_CONTACT = {
    "email": "email", "given_name": "firstname", "family_name": "lastname", "phone": "phone", "street": "address",
    "zip": "zip", "city": "city", "country": "country", "language": "hs_language", "stage": "lifecyclestage",
    "card": "loyalty_card", "login": "shop_customer_id", "handle": "mastodon_handle",
}  # fmt: skip
_CUSTOMER = {
    "email": "email", "given_name": "first_name", "family_name": "last_name", "phone": "mobile", "street": "street",
    "zip": "zip", "city": "city", "country": "country", "stage": "status", "card": "card_no",
    "created_at": "created_at",
}  # fmt: skip


def person_records(lake: Path) -> pd.DataFrame:
    """Every record of a person in its latest state, with node, keys, and what the profile takes of it."""
    envelope = ("_id", "_op", "_cursor", "_extracted_at", "_hash")
    parts = []
    for table in ("hubspot_contacts", "hubspot_contacts_archived"):
        rows, payloads = bronze(lake, table, *envelope)
        contacts = members(payloads, _Contact)
        columns = {name: texts([getattr(c.properties, member) for c in contacts]) for name, member in _CONTACT.items()}
        parts.append(rows.assign(**columns, created_at=texts([c.created_at for c in contacts])))
    hubspot = newest(pd.concat(parts, ignore_index=True)).assign(source="hubspot", stream="contacts")
    rows, payloads = bronze(lake, "crm_db_customers", *envelope)
    customers = members(payloads, _Customer)
    columns = {name: texts([getattr(c, member) for c in customers]) for name, member in _CUSTOMER.items()}
    crm = newest(rows.assign(**columns)).assign(source="crm_db", stream="customers")
    records = pd.concat([hubspot, crm], ignore_index=True)
    records["created_at"] = moment(records["created_at"])
    records = records[possible(records["created_at"], records["day"]) & possible(records["_cursor"], records["day"])]
    for name in ("given_name", "family_name", "street", "zip", "city", "country", "stage"):
        records[name] = tidy(records[name])
    codes = given.countries(records["country"].dropna().unique())
    records["country"] = records["country"].map(codes)
    records["stage"] = records["stage"].str.lower()
    language = records["language"].str.strip().str.lower()
    records["language"] = language.str.extract(r"^([a-z]{2})(?:[-_].*)?$")[0]
    records["is_deleted"] = records["_op"] == "delete"
    told = records["source"] + ":" + records["stream"] + ":" + records["_id"]
    nodes = given.record_nodes(pl.Series(told.to_numpy(dtype=object), dtype=pl.String))
    records["node_id"] = texts(nodes.to_list()).set_axis(records.index)
    numbers = records.loc[records["phone"].notna(), ["phone", "country"]].drop_duplicates()
    dialled = [pl.Series(numbers[name].astype(object).where(numbers[name].notna(), None), dtype=pl.String)
               for name in ("phone", "country")]  # fmt: skip
    found = given.identified("phone", *dialled).rename({"value": "phone", "is_there": "has_phone", "key": "phone_key"})
    records = records.merge(_pandas(found), on=["phone", "country"], how="left")
    emails = given.identified("email", pl.Series(records["email"].dropna().unique().to_numpy(dtype=object)))
    emails = emails.rename({"value": "email", "is_there": "has_email", "key": "email_key"})
    records = records.merge(_pandas(emails), on="email", how="left").drop(columns=["email", "phone"])
    for kind in ("card", "login", "handle"):
        records = with_key(records, kind)
    return records


def _pandas(frame: pl.DataFrame) -> pd.DataFrame:
    text = {pa.string(): _TEXT, pa.large_string(): _TEXT}
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).to_pandas(types_mapper=text.get)


def customers(records: pd.DataFrame, known: pd.DataFrame, systems: pd.Series) -> pd.DataFrame:
    """One row per known customer with the attributes of its best records."""
    mine = whose(records, known)
    living = mine[~mine["is_deleted"]]
    rows = pd.DataFrame({"first_seen_at": known.groupby("customer")["valid_from"].min(), "source_count": systems})
    rows["record_count"] = mine.groupby("customer").size()
    for name in ("has_email", "has_phone"):
        rows[name] = rows.index.isin(living.loc[living[name].fillna(False).astype(bool), "customer"])
    filled = living[["street", "zip", "city", "country"]].notna().sum(axis=1)
    rows["country"] = _best(living, filled, 0)["country"]
    rows["language"] = _best(living, living["language"].notna(), 0)["language"]
    rows["lifecycle_stage"] = _best(living, living["stage"].notna(), living["source"] != "hubspot")["stage"]
    return rows


def _best(living: pd.DataFrame, filled: pd.Series, trust: Any) -> pd.DataFrame:
    ranked = living.assign(_filled=filled.astype(int), _trust=trust)[filled > 0]
    ordered = ranked.sort_values(
        ["_trust", "_filled", "_cursor", "node_id"], ascending=[True, False, False, True], na_position="last"
    )
    return ordered.drop_duplicates("customer").set_index("customer")


# --- events -----------------------------------------------------------------------------------------------------------


class _Seen(msgspec.Struct):
    device_id: str | None = msgspec.field(default=None, name="$device_id")
    user_id: str | None = msgspec.field(default=None, name="$user_id")
    session_id: str | None = msgspec.field(default=None, name="$session_id")
    current_url: str | None = msgspec.field(default=None, name="$current_url")
    referrer: str | None = msgspec.field(default=None, name="$referrer")
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    device_type: str | None = msgspec.field(default=None, name="$device_type")
    raw_user_agent: str | None = msgspec.field(default=None, name="$raw_user_agent")


class _Event(msgspec.Struct):
    properties: _Seen
    id: str | None = None
    event: str | None = None


def web_events(lake: Path) -> pd.DataFrame:
    """Events told once and not too late in their session, with channel, device and keys."""
    rows = first_told(web_columns(*bronze(lake, "posthog_events", "_event_at", "_hash")), "event_id", 4)
    return within_days_of_session(rows).pipe(with_channel).pipe(with_device).pipe(with_web_keys)


def with_web_keys(events: pd.DataFrame) -> pd.DataFrame:
    """Events with their keys and node."""
    return events.pipe(with_key, "cookie").pipe(with_key, "login").pipe(with_node)


def web_columns(rows: pd.DataFrame, payloads: Sequence[str]) -> pd.DataFrame:
    """Events as they were told, with the members a session needs."""
    told = members(payloads, _Event)
    seen = [event.properties for event in told]
    names = texts([event.event for event in told])
    rows = rows.assign(
        event_id=trimmed(texts([event.id for event in told])),
        is_view=trimmed(names).isin(["$pageview", "$screen", "page_view", "screen_view"]),
        has_name=trimmed(names).notna(),
        session=trimmed(texts([each.session_id for each in seen])),
        cookie=texts([each.device_id for each in seen]),
        login=texts([each.user_id for each in seen]),
        url=texts([each.current_url for each in seen]),
        referrer=texts([each.referrer for each in seen]),
        utm_source=texts([each.utm_source for each in seen]),
        utm_medium=texts([each.utm_medium for each in seen]),
        utm_campaign=texts([each.utm_campaign for each in seen]),
        device=texts([each.device_type for each in seen]),
        user_agent=texts([each.raw_user_agent for each in seen]),
    )
    return rows[rows["event_id"].notna() & rows["has_name"]].drop(columns="has_name")


def within_days_of_session(events: pd.DataFrame) -> pd.DataFrame:
    """Without events over three days after the first of their session in the four days before; those after the first
    of all are marked `is_beyond`."""
    return judged_by_session(events, began_of(per_day(events)))


def per_day(events: pd.DataFrame) -> pd.DataFrame:
    """The first event of every session and day."""
    return events.groupby(["session", "day"], sort=False)["_event_at"].min().reset_index(name="first")


def began_of(per_day: pd.DataFrame) -> pd.DataFrame:
    """When a session of several days began, as each of its days sees it, and on the whole."""
    several = per_day[per_day.duplicated("session", keep=False)]
    pairs = several.merge(several, on="session", suffixes=("", "_before"))
    since = pairs["day"] - pairs["day_before"]
    near = pairs[(since >= pd.Timedelta(0)) & (since <= pd.Timedelta(days=4))]
    began = near.groupby(["session", "day"], as_index=False)["first_before"].min()
    began["overall"] = began["session"].map(several.groupby("session")["first"].min())
    return began


def judged_by_session(events: pd.DataFrame, began: pd.DataFrame) -> pd.DataFrame:
    """Without the events that come too late in their session; `is_beyond` where it is so on the whole."""
    longest = pd.Timedelta(days=3)
    is_of_several = events["session"].isin(began["session"].unique())
    judged = events.loc[is_of_several, ["session", "day", "_event_at"]].reset_index()
    judged = judged.merge(began, on=["session", "day"], how="left").set_index("index")
    late = judged.index[judged["_event_at"] - judged["first_before"] > longest]
    beyond = judged.index[judged["_event_at"] - judged["overall"] > longest]
    events["is_beyond"] = events.index.isin(beyond)
    return events.drop(index=late, columns="session")


def with_channel(events: pd.DataFrame) -> pd.DataFrame:
    """Events with their channel and campaign, by fields, the page's address or where they came from."""
    host = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/:?#]+)"
    told = ["url", "referrer", "utm_source", "utm_medium", "utm_campaign"]
    # An address stands in many events: look at each once.
    codes = [pd.factorize(events[name]) for name in told]
    parts = []
    for (code, distinct), name in zip(codes, told, strict=True):
        words = pd.Series(distinct)
        if name == "url":
            found = pd.DataFrame({"page_host": words.str.extract(host)[0].str.lower()})
            for tag in ("source", "medium", "campaign"):
                value = words.str.extract(rf"[?&]utm_{tag}=([^&#]*)")[0]
                found[f"_url_{tag}"] = tidy(value.map(given.decoded(value.dropna().unique())).astype(_TEXT))
        elif name == "referrer":
            found = pd.DataFrame({"referrer_host": words.str.extract(host)[0].str.lower()})
        else:
            found = pd.DataFrame({name: tidy(words)})
        shrunk = pd.DataFrame({word: pd.factorize(column)[0] for word, column in found.items()})
        label, groups = pd.factorize(pd.MultiIndex.from_frame(shrunk))
        first = pd.Series(np.arange(len(label))).groupby(label).first()
        of_none = len(groups)  # stands at the end, where the code -1 finds it
        parts.append((np.append(label, of_none)[code], found.iloc[first].reset_index(drop=True)))
    number = np.zeros(len(events), dtype=np.int64)
    for label, found in parts:
        number = number * (len(found) + 1) + label
    distinct_at = pd.Series(np.arange(len(events))).groupby(number).first()
    tags = pd.concat(
        [found.reindex(label[distinct_at.to_numpy()]).reset_index(drop=True) for label, found in parts], axis=1
    )
    words = ("source", "medium", "campaign")
    asked = pd.DataFrame({tag: tags[f"utm_{tag}"].fillna(tags[f"_url_{tag}"]) for tag in words})
    asked["came_from"] = tags["referrer_host"].mask(tags["referrer_host"] == tags["page_host"])
    channels = given.channels(pl.DataFrame({name: _polars(texts(asked[name])) for name in asked}))
    place = distinct_at.index.get_indexer(number)
    events["channel"] = texts(channels["channel"].to_numpy()[place]).set_axis(events.index)
    events["utm_campaign"] = texts(channels["campaign"].to_numpy()[place]).set_axis(events.index)
    return events.drop(columns=["url", "referrer", "utm_source", "utm_medium"])


def with_device(events: pd.DataFrame) -> pd.DataFrame:
    """Events with the kind of device, and whether a robot sent them."""
    agents = _pandas(given.agents(events["user_agent"].dropna().unique())).set_index("user_agent")
    said = trimmed(events["device"]).str.lower()
    by_word = said.map({word: DEVICES.get(word, "other") for word in said.dropna().unique()})
    events["device_type"] = by_word.fillna(events["user_agent"].map(agents["agent_device"]))
    events["is_bot"] = events["user_agent"].map(agents["is_bot"]) == True  # noqa: E712 - missing is no
    return events.drop(columns=["device", "user_agent"])


class _Charged(msgspec.Struct, rename="camel"):
    amount: str
    currency_code: str | None = None


class _Money(msgspec.Struct, rename="camel"):
    presentment_money: _Charged


class _Numbered(msgspec.Struct, rename="camel"):
    legacy_resource_id: str | None = None


class _Attribute(msgspec.Struct):
    key: str
    value: str | None = None


class _Allocation(msgspec.Struct, rename="camel"):
    allocated_amount_set: _Money


class _LineItem(msgspec.Struct, rename="camel"):
    product: _Numbered
    quantity: int
    original_unit_price_set: _Money
    discount_allocations: list[_Allocation] = []


class _Order(msgspec.Struct, rename="camel"):
    legacy_resource_id: str
    total_price_set: _Money
    current_total_price_set: _Money
    total_discounts_set: _Money
    processed_at: str | None = None
    display_financial_status: str | None = None
    discount_codes: list[str] = []
    email: str | None = None
    customer: _Numbered | None = None
    custom_attributes: list[_Attribute] = []
    line_items: list[_LineItem] = []
    test: bool = False


def units(amounts: Iterable[_Money]) -> Any:
    """Amounts as whole ten-thousandths."""
    return np.rint(np.array([float(each.presentment_money.amount) for each in amounts]) * _UNIT).astype(np.int64)


def rounded(values: Any) -> Any:
    """Amounts as whole ten-thousandths, of floats."""
    return np.rint(np.rint(values * _UNIT) / _UNIT * _UNIT)


def converted(amount: pd.Series, rows: pd.DataFrame) -> pd.Series:
    """Ten-thousandths in our currency."""
    foreign = rounded(amount / _UNIT * rows["factor"].fillna(0.0))
    return amount.where(rows["currency"] == CURRENCY, foreign).astype("int64")


def orders_and_lines(lake: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Orders as they stand with what a unit of their currency is worth, their lines, and those factors."""
    rows, payloads = bronze(lake, "shopify_orders", "_id", "_cursor", "_extracted_at", "_hash")
    rows = newest(rows)
    told = members([payloads[at] for at in rows.index], _Order)
    cards = [next((a.value for a in each.custom_attributes if a.key == "loyalty_card"), None) for each in told]
    orders = pd.DataFrame(
        {
            "order_id": texts([each.legacy_resource_id for each in told]),
            "day": rows["day"].to_numpy(),
            "at": moment(texts([each.processed_at for each in told])),
            "status": texts([each.display_financial_status for each in told]).str.strip().str.lower().replace(STATUS),
            "currency": texts([each.total_price_set.presentment_money.currency_code for each in told]),
            "gross": units(each.total_price_set for each in told),
            "net": units(each.current_total_price_set for each in told),
            "discount": abs(units(each.total_discounts_set for each in told)),
            "coupon": trimmed(texts([each.discount_codes[0] if each.discount_codes else None for each in told])),
            "email": texts([each.email for each in told]),
            "login": texts([each.customer.legacy_resource_id if each.customer else None for each in told]),
            "card": trimmed(texts(cards)),
            "test": [each.test for each in told],
        }
    )
    orders["currency"] = orders["currency"].str.strip().str.upper().fillna(CURRENCY)
    orders = orders[~orders["test"] & orders["at"].notna() & possible(orders["at"], orders["day"])]
    for kind in ("card", "login", "email"):
        orders = with_key(orders, kind)
    orders = with_node(orders)
    orders["date"] = orders["at"].dt.tz_localize(None).dt.normalize()
    items = [(at, item) for at in orders.index for item in told[at].line_items]
    lines = pd.DataFrame(
        {
            "at_order": [at for at, _ in items],
            "product_id": texts([item.product.legacy_resource_id for _, item in items]),
            "quantity": [item.quantity for _, item in items],
            "unit": units(item.original_unit_price_set for _, item in items),
            "off": [
                units([item.discount_allocations[0].allocated_amount_set])[0] if item.discount_allocations else 0
                for _, item in items
            ],
            "currency": texts([item.original_unit_price_set.presentment_money.currency_code for _, item in items]),
        }
    )
    lines = lines[lines["unit"] > 0].join(orders[["order_id", "node_id", "card_key", "login_key", "at", "date"]],
                                          on="at_order")  # fmt: skip
    lines["currency"] = lines["currency"].str.strip().str.upper().fillna(CURRENCY)
    lines["amount"] = (rounded(lines["unit"] / _UNIT * lines["quantity"]) - abs(lines["off"])).astype("int64")
    rate = factors(lake, orders)
    orders = orders.merge(rate, on=["currency", "date"], how="left")
    orders = orders[(orders["currency"] == CURRENCY) | orders["factor"].notna()]
    orders["refund"] = (orders["gross"] - orders["net"]).clip(lower=0)
    return orders, lines, rate


class _Rate(msgspec.Struct):
    rate_date: str
    currency: str
    rate: str


def factors(lake: Path, orders: pd.DataFrame) -> pd.DataFrame:
    """What one unit of a currency is worth in ours on an order's date: the last rate of the seven days up to it."""
    rows, payloads = bronze(lake, "ecb_rates_rates", "_extracted_at", "_hash")
    told = members(payloads, _Rate)
    rates = rows.assign(
        rate_date=pd.to_datetime([each.rate_date for each in told]).astype("datetime64[us]"),
        currency=texts([each.currency for each in told]),
        rate=[float(each.rate) for each in told],
    )
    rates = rates[(rates["rate"] > 0) & (rates["rate_date"] <= rates["day"] + pd.Timedelta(days=2))]
    rates = rates.sort_values(["_extracted_at", "_hash"], ascending=False).drop_duplicates(["rate_date", "currency"])
    asked = orders.loc[orders["currency"] != CURRENCY, ["currency", "date"]].drop_duplicates().sort_values("date")
    met = pd.merge_asof(
        asked,
        rates[["rate_date", "currency", "rate"]].sort_values("rate_date"),
        left_on="date",
        right_on="rate_date",
        by="currency",
        tolerance=pd.Timedelta(days=7),
    ).dropna(subset="rate")
    return met.assign(factor=1.0 / met["rate"])[["currency", "date", "factor"]]


class _Product(msgspec.Struct, rename="camel"):
    legacy_resource_id: str
    product_type: str | None = None


def products(lake: Path) -> pd.DataFrame:
    """The catalogue's categories."""
    rows, payloads = bronze(lake, "shopify_products", "_id", "_cursor", "_extracted_at", "_hash")
    rows = newest(rows)
    told = members([payloads[at] for at in rows.index], _Product)
    return pd.DataFrame(
        {
            "product_id": texts([each.legacy_resource_id for each in told]),
            "category": tidy(texts([each.product_type for each in told])),
        }
    )


class _Letter(msgspec.Struct):
    recipient: str | None = msgspec.field(default=None, name="Recipient Email Address")
    message: str | None = msgspec.field(default=None, name="$message")


class _Letters(msgspec.Struct):
    event_properties: _Letter


class _Named(msgspec.Struct):
    id: str


class _Data(msgspec.Struct):
    data: _Named


class _Relations(msgspec.Struct):
    metric: _Data


class _Mail(msgspec.Struct):
    attributes: _Letters
    relationships: _Relations
    id: str | None = None


def mail_events(lake: Path) -> pd.DataFrame:
    """What became of each message, told once."""
    rows = first_told(mail_columns(*bronze(lake, "klaviyo_events", "_event_at", "_hash")), "event_id", 3)
    return rows.pipe(with_key, "email").pipe(with_node)


def mail_columns(rows: pd.DataFrame, payloads: Sequence[str]) -> pd.DataFrame:
    """Events of messages as they were told."""
    told = members(payloads, _Mail)
    rows = rows.assign(
        event_id=trimmed(texts([each.id for each in told])),
        campaign_id=trimmed(texts([each.attributes.event_properties.message for each in told])),
        email=texts([each.attributes.event_properties.recipient for each in told]),
        kind=pd.Categorical([METRICS.get(each.relationships.metric.data.id) for each in told], list(METRICS.values())),
    )
    return rows[rows["event_id"].notna() & rows["kind"].notna()]


class _Author(msgspec.Struct):
    acct: str | None = None


class _Post(msgspec.Struct):
    account: _Author
    id: str | None = None
    favourites_count: int = 0


def social_posts(lake: Path) -> pd.DataFrame:
    """Posts as first told."""
    rows, payloads = bronze(lake, "mastodon_statuses", "_event_at", "_hash")
    told = members(payloads, _Post)
    rows = rows.assign(
        post_id=trimmed(texts([each.id for each in told])),
        handle=texts([each.account.acct for each in told]),
        likes=[each.favourites_count for each in told],
    )
    return first_told(rows[rows["post_id"].notna()], "post_id", 3).pipe(with_key, "handle").pipe(with_node)


class _Decision(msgspec.Struct):
    consent_id: str | None = None
    email: str | None = None
    login: str | None = None
    purpose: str | None = None
    status: str | None = None
    decided_at: str | None = None


def consents(lake: Path) -> pd.DataFrame:
    """Decisions as they were made."""
    rows, payloads = bronze(lake, "consent_consents", "_event_at", "_hash")
    told = members(payloads, _Decision)
    columns = {name: texts([getattr(each, name) for each in told]) for name in _Decision.__struct_fields__}
    rows = rows.assign(**columns)
    for name in ("consent_id", "purpose", "status"):
        rows[name] = trimmed(rows[name])
    rows["decided_at"] = moment(rows["decided_at"])
    rows = rows[
        rows["consent_id"].notna()
        & rows["decided_at"].notna()
        & possible(rows["decided_at"], rows["day"])
        & rows["purpose"].isin(PURPOSES)
        & rows["status"].isin(["granted", "withdrawn"])
    ]
    return first_told(rows, "consent_id", 3).pipe(with_key, "email").pipe(with_key, "login").pipe(with_node)


# --- identity ---------------------------------------------------------------------------------------------------------


def settled(records: pd.DataFrame, *subjects: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The nodes of known customers with `customer`, their number; and in how many systems each was seen."""
    named = (("posthog", "_event_at"), ("shopify", "at"), ("shopify", "at"), ("klaviyo", "_event_at"),
             ("mastodon", "_event_at"), ("consent", "decided_at"))  # fmt: skip
    parts = [evidence(rows, at, source) for rows, (source, at) in zip(subjects, named, strict=True)]
    return resolved(records, pd.concat([evidence_of_records(records), *parts], ignore_index=True))


def evidence_of_records(records: pd.DataFrame) -> pd.DataFrame:
    """As `evidence`, of records of persons."""
    seen_at = records[["created_at", "_cursor"]].min(axis=1)
    return evidence(records.assign(_at=seen_at), "_at", None, is_record=True)


def resolved(records: pd.DataFrame, told: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """As `settled`, of all the evidence."""
    rank = {kind: number for number, kind in enumerate(("record", *KINDS, "unknown"))}
    told["rank"] = told["node_kind"].map(rank).astype("int8")
    edges = sorted(KINDS)
    told["edge_rank"] = told["edge_kind"].map(dict(zip(edges, range(7), strict=True))).fillna(len(edges)).astype("int8")
    seen = told.groupby(["left_node_id", "right_node_id"], sort=False, as_index=False).agg(
        {"rank": "min", "edge_rank": "min", "first_at": "min"}
    )
    frame = pl.DataFrame(
        {
            "left_node_id": _polars(seen["left_node_id"]),
            "right_node_id": _polars(seen["right_node_id"]),
            "node_kind": _polars(texts(np.array(list(rank), dtype=object)[seen["rank"]])),
            "edge_kind": _polars(texts(np.array([*edges, None], dtype=object)[seen["edge_rank"]])),
            "first_at": pl.Series(seen["first_at"].to_numpy(dtype="datetime64[us]")).dt.replace_time_zone("UTC"),
        }
    )
    names = pl.DataFrame({name: _polars(records[name]) for name in ("node_id", "given_name", "family_name")})
    nodes = given.resolved(frame, names).filter("is_known")
    known = _pandas(nodes.drop("is_known"))
    known["customer"], ids = pd.factorize(known["customer_id"])
    known.attrs["ids"] = list(ids)
    alone = told.loc[told["edge_kind"].isna(), ["left_node_id", "source"]].drop_duplicates()
    alone = alone.merge(known[["node_id", "customer"]], left_on="left_node_id", right_on="node_id")
    return known, alone.groupby("customer")["source"].nunique()


def _polars(values: pd.Series) -> pl.Series:
    return pl.Series(values.name, pl.from_arrow(pa.array(values, pa.large_string(), from_pandas=True)))


def evidence(rows: pd.DataFrame, at: str, source: str | None, *, is_record: bool = False) -> pd.DataFrame:
    """Pairs of a row's node and its other identifiers, and every node by itself."""
    kinds = [kind for kind in KINDS if f"{kind}_key" in rows]
    keys = [f"{kind}_key" for kind in kinds]
    rows = rows.rename(columns={at: "first_at"}) if source is None else rows.rename(columns={at: "first_at"}).assign(
        source=source)  # fmt: skip
    by = ["source", "node_id", *keys]
    stars = (
        rows.loc[rows["node_id"].notna(), [*by, "first_at"]]
        .sort_values("first_at")
        .drop_duplicates(by, keep="first")
        .reset_index(drop=True)
    )
    own = texts(np.full(len(stars), "record" if is_record else "unknown", dtype=object))
    for kind, key in [] if is_record else reversed(list(zip(kinds, keys, strict=True))):
        own = own.mask(stars["node_id"] == stars[key], kind)
    stars["node_kind"] = own
    parts = [_pairs(stars, "node_id", "node_id", own, None)]
    for kind, key in zip(kinds, keys, strict=True):
        others = stars[stars[key].notna() & (stars[key] != stars["node_id"])]
        parts.append(_pairs(others, "node_id", key, others["node_kind"], kind))
        parts.append(_pairs(others, key, key, kind, None))
    return pd.concat(parts, ignore_index=True)


def _pairs(stars: pd.DataFrame, left: str, right: str, node_kind: Any, edge_kind: str | None) -> pd.DataFrame:
    pairs = pd.DataFrame(
        {"left_node_id": stars[left], "right_node_id": stars[right], "source": stars["source"],
         "first_at": stars["first_at"], "node_kind": node_kind}
    )  # fmt: skip
    pairs["edge_kind"] = texts([edge_kind] * len(pairs)).set_axis(pairs.index)
    return pairs


def whose(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows of known customers, with the customer's number."""
    of_node = pd.Index(known["node_id"])
    place = of_node.get_indexer(rows["node_id"])
    mine = rows[place >= 0].copy()
    mine["customer"] = known["customer"].to_numpy()[place[place >= 0]]
    return mine


# --- profiles ---------------------------------------------------------------------------------------------------------


def within(at: pd.Series, days: int) -> pd.Series:
    """In the last `days` days."""
    return at >= _END - pd.Timedelta(days=days)


def purchases(orders: pd.DataFrame) -> pd.DataFrame:
    """Frequency, monetary value and dates of each customer's orders."""
    orders = orders[orders["at"] < _END]
    paid, at = orders["status"].isin(PAID), orders["at"]
    revenue = converted(orders["gross"] - orders["refund"], orders)
    refunds, discounts = converted(orders["refund"], orders), converted(orders["discount"], orders)
    in_30, in_90 = paid & within(at, 30), paid & within(at, 90)
    counted = pd.DataFrame(
        {
            "customer": orders["customer"],
            "order_count": paid,
            "order_30d_count": in_30,
            "order_90d_count": in_90,
            "refunded_order_count": orders["status"].isin(["partially_refunded", "refunded"]),
            "cancelled_order_count": orders["status"] == "cancelled",
            "coupon_order_count": paid & orders["coupon"].notna(),
            "revenue_amount": revenue.where(paid, 0),
            "revenue_30d_amount": revenue.where(in_30, 0),
            "revenue_90d_amount": revenue.where(in_90, 0),
            "refund_amount": refunds.where(paid, 0),
            "discount_amount": discounts.where(paid, 0),
        }
    )
    sums = counted.astype("int64").groupby("customer").sum()
    bought = orders[paid].groupby("customer")
    first, last = bought["at"].min(), bought["at"].max()
    rows = sums.assign(_last_order_at=last, first_order_date=_date(first), last_order_date=_date(last))
    rows["currency_count"] = bought["currency"].nunique()
    count = rows["order_count"]
    rows["monetary_amount"] = rounded(rows["revenue_amount"] / _UNIT / count.where(count > 0))
    days = (rows["last_order_date"] - rows["first_order_date"]).dt.days
    rows["days_between_orders"] = days / (count - 1).where(count > 1)
    return rows


def _date(at: pd.Series) -> pd.Series:
    return at.dt.tz_localize(None).dt.normalize()


def baskets(orders: pd.DataFrame, lines: pd.DataFrame, rate: pd.DataFrame, catalogue: pd.DataFrame) -> pd.DataFrame:
    """What was in each customer's paid orders."""
    paid = orders.loc[orders["status"].isin(PAID) & (orders["at"] < _END), ["order_id", "customer"]]
    by = ["customer", "product_id", "currency", "date"]
    bought = lines.merge(paid, on="order_id").groupby(by, as_index=False, sort=False)[["amount", "quantity"]].sum()
    bought = bought.merge(rate, on=["currency", "date"], how="left").merge(catalogue, on="product_id", how="left")
    bought["amount"] = converted(bought["amount"], bought)
    per_customer = bought.groupby("customer")
    rows = per_customer["quantity"].sum().astype(float).to_frame("item_count")
    rows["product_count"] = per_customer["product_id"].nunique()
    by_category = bought.groupby(["customer", "category"], as_index=False)["amount"].sum()
    rows["category_count"] = by_category.groupby("customer").size()
    rows["top_category"] = most(by_category, "category", "amount")
    return rows


def most(counted: pd.DataFrame, what: str, by: str) -> pd.Series:
    """Each customer's `what` with the highest `by`; where two are level, the first by name."""
    ordered = counted.sort_values([by, what], ascending=[False, True])
    return ordered.drop_duplicates("customer").set_index("customer")[what]


def visits(events: pd.DataFrame) -> pd.DataFrame:
    """Sessions of thirty minutes, channels, first and last touch."""
    events = events[~events["is_bot"] & ~events["is_beyond"]].sort_values(["customer", "_event_at", "event_id"])
    at, customer = events["_event_at"], events["customer"]
    new = (customer != customer.shift()) | (at.diff() > pd.Timedelta(minutes=30))
    number = new.cumsum().to_numpy()
    grouped = events.groupby(number, sort=False)
    sessions = pd.DataFrame(
        {
            "customer": grouped["customer"].first(),
            "started": grouped["_event_at"].first(),
            "ended": grouped["_event_at"].last(),
            "events": grouped.size(),
            "views": grouped["is_view"].sum(),
            "device": grouped["device_type"].first(),
        }
    )
    said = (events["channel"] != "direct").to_numpy()
    first_said = events.loc[said, ["channel", "utm_campaign"]].assign(_number=number[said]).drop_duplicates("_number")
    sessions = sessions.join(first_said.set_index("_number"))
    sessions["channel"] = sessions["channel"].fillna("direct")
    sessions = sessions[sessions["started"] < _END]
    per_customer = sessions.groupby("customer", sort=False)
    rows = pd.DataFrame(
        {
            "session_count": per_customer.size(),
            "first_session_date": _date(per_customer["started"].first()),
            "last_session_date": _date(per_customer["started"].last()),
            "_last_visit_at": sessions[sessions["ended"] < _END].groupby("customer")["ended"].max(),
            "web_event_count": per_customer["events"].sum(),
            "page_view_count": per_customer["views"].sum(),
            "first_touch_channel": per_customer["channel"].first(),
            "last_touch_channel": per_customer["channel"].last(),
            "channel_count": per_customer["channel"].nunique(),
            "first_touch_campaign": per_customer["utm_campaign"].first(),
            "last_touch_campaign": per_customer["utm_campaign"].last(),
        }
    )
    for days in (30, 90):
        is_in = within(sessions["started"], days).astype("int64")
        rows[f"session_{days}d_count"] = is_in.groupby(sessions["customer"]).sum()
    rows["page_views_per_session"] = rows["page_view_count"] / rows["session_count"]
    devices = sessions.dropna(subset="device").groupby(["customer", "device"]).size().reset_index(name="sessions")
    rows["main_device_type"] = most(devices, "device", "sessions")
    types = devices.sort_values("device").groupby("customer")["device"].agg("\n".join)
    rows["device_types"] = types.reindex(rows.index).fillna("")
    return rows


def mailings(events: pd.DataFrame) -> pd.DataFrame:
    """What became of our e-mails to each customer."""
    events = events[events["_event_at"] < _END]
    kind, at = events["kind"], events["_event_at"]
    counts = events.groupby(["customer", "kind"], observed=False).size().unstack(fill_value=0)
    kinds = [event for event in METRICS.values() if event != "complained"]
    rows = pd.DataFrame({f"email_{event}_count": counts.get(event, 0) for event in kinds}, index=counts.index)
    for event in ("opened", "clicked"):
        for days in (30, 90):
            met = events[(kind == event) & within(at, days)]
            rows[f"email_{event}_{days}d_count"] = met.groupby("customer").size()
    for name, kinds in {
        "last_email_opened_at": ["opened"],
        "_last_read_at": ["opened", "clicked"],
        "_last_delivered_at": ["delivered", "opened", "clicked"],
        "_last_bounced_at": ["bounced"],
        "_last_refused_at": ["unsubscribed", "complained"],
    }.items():
        rows[name] = events[kind.isin(kinds)].groupby("customer")["_event_at"].max()
    named = events.loc[events["campaign_id"].notna(), ["customer", "campaign_id"]]
    for event in ("delivered", "opened", "clicked"):
        named[event] = kind[named.index] == event
    per_campaign = named.groupby(["customer", "campaign_id"], sort=False).any()
    shares = per_campaign[per_campaign["delivered"]].groupby("customer")[["opened", "clicked"]].mean() * 100
    rows["email_open_pct"], rows["email_click_pct"] = shares["opened"], shares["clicked"]
    return rows


def echoes(posts: pd.DataFrame) -> pd.DataFrame:
    """What each customer posted."""
    per_customer = posts[posts["_event_at"] < _END].groupby("customer")
    return pd.DataFrame(
        {
            "post_count": per_customer.size(),
            "post_like_count": per_customer["likes"].sum(),
            "last_posted_at": per_customer["_event_at"].max(),
        }
    )


def flags(decisions: pd.DataFrame) -> pd.DataFrame:
    """The latest decision on every purpose; of two at one moment the withdrawal."""
    decisions = decisions[decisions["decided_at"] < _END]
    latest = decisions.sort_values(["decided_at", "status"], ascending=False).drop_duplicates(["customer", "purpose"])
    status = latest.pivot_table(index="customer", columns="purpose", values="status", aggfunc="first", observed=False)
    rows = pd.DataFrame(index=status.index)
    for purpose in PURPOSES:
        said = status.get(purpose, pd.Series(np.nan, index=status.index))
        rows[f"has_consent_{purpose}"] = (said == "granted").astype("boolean").mask(said.isna())
    about = latest[latest["purpose"] == "email_marketing"]
    rows["_email_marketing_at"] = about.set_index("customer")["decided_at"]
    return rows


def finished(facets: Sequence[pd.DataFrame], known: pd.DataFrame) -> pl.DataFrame:
    """Ages, reachability, zeros where nothing was counted, and every column of the answer in order."""
    rows = facets[0]
    for facet in facets[1:]:
        rows = rows.join(facet)
    last_day = pd.Timestamp(AS_OF.replace(tzinfo=None)) - pd.Timedelta(days=1)
    consented = rows["has_consent_email_marketing"].fillna(False).astype(bool)
    refused = rows["_last_refused_at"] >= rows["_email_marketing_at"]
    bounced = rows["_last_bounced_at"].notna() & (
        rows["_last_delivered_at"].isna() | (rows["_last_bounced_at"] >= rows["_last_delivered_at"])
    )
    seen = ["_last_order_at", "_last_visit_at", "_last_read_at", "last_posted_at"]
    rows["customer_id"] = np.array(known.attrs["ids"], dtype=object)[rows.index]
    rows["as_of_date"] = last_day
    rows["recency_days"] = (last_day - rows["last_order_date"]).dt.days
    rows["tenure_days"] = (last_day - rows["first_order_date"]).dt.days
    rows["last_seen_at"] = rows[seen].max(axis=1)
    rows["is_email_reachable"] = rows["has_email"] & consented & ~refused & ~bounced
    return pl.DataFrame([_answer(name, kind, rows) for name, kind in OUT.items()])


def _answer(name: str, kind: pl.DataType, rows: pd.DataFrame) -> pl.Series:
    """One column of the answer; what nobody counted is 0, what no source brings is missing."""
    zeros: Mapping[str, int] = dict.fromkeys(
        [each for each in OUT if each.endswith("_count")]
        + ["revenue_amount", "revenue_30d_amount", "revenue_90d_amount", "refund_amount", "discount_amount"],
        0,
    )
    if name not in rows:
        return pl.Series(name, [zeros.get(name)] * len(rows), dtype=kind)
    values = rows[name].fillna(zeros[name]) if name in zeros else rows[name]
    if isinstance(kind, pl.List):
        joined = _polars(values)
        return joined.str.split("\n").list.eval(pl.element().filter(pl.element() != ""))
    if isinstance(kind, pl.Decimal):
        amounts = pl.Series(name, values.to_numpy(float)).fill_nan(None)
        return (amounts.cast(kind) / _UNIT).cast(kind)
    return pl.Series(name, pl.from_arrow(pa.array(values, from_pandas=True))).cast(kind)


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    lake, out = map(Path, arguments)
    write_deltalake(out, run(lake).to_arrow(), mode="overwrite")


if __name__ == "__main__":
    main(sys.argv[1:])
