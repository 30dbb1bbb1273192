"""Published data as a user would declare it: Online Retail (UCI) and Snowplow's web events; and how it lands."""

from __future__ import annotations

import hashlib
from datetime import datetime, time, timedelta
from functools import partial

import polars as pl

from etl.bronze.picks import picked_columns, typed
from etl.connect.files import json_of_rows
from etl.model import Feed, Files, Kind, Pick, Source, Stream, Table, Type
from etl.silver.order_lines import ORDER_LINES
from etl.silver.standardise import picked

ONLINE_RETAIL = Source(
    name="online_retail",
    title="Online Retail (UCI 352)",
    streams=(
        Stream(
            name="invoice_lines",
            kind=Kind.EVENTS,
            request=Files("online_retail.parquet", format="parquet"),
            id=(),  # lines have no number: a line is its content, and an exact repeat the same line sent twice
            at=Pick("InvoiceDate", "timestamp"),
            feeds=(
                Feed(
                    "order_lines",
                    {
                        "order_id": Pick("InvoiceNo"),
                        "ordered_at": Pick("InvoiceDate", "timestamp"),
                        "product_id": Pick("StockCode"),
                        "product_name": Pick("Description"),
                        "quantity": Pick("Quantity", "number"),
                        "unit_price_amount": Pick("UnitPrice", "number"),
                        "currency": Pick(const="GBP"),
                        "login": Pick("CustomerID"),
                    },
                ),
            ),
        ),
    ),
)

SNOWPLOW = Source(
    name="snowplow",
    title="Snowplow web events",
    streams=(
        Stream(
            name="events",
            kind=Kind.EVENTS,
            request=Files("snowplow_web_events.csv", format="csv"),
            id=("event_id",),
            at=Pick("collector_tstamp", "timestamp"),
            feeds=(
                Feed(
                    "web_events",
                    {
                        "event_id": Pick("event_id"),
                        "event_name": Pick("event_name"),
                        "event_at": Pick("derived_tstamp", "timestamp"),
                        "received_at": Pick("collector_tstamp", "timestamp"),
                        "sent_at": Pick("dvce_sent_tstamp", "timestamp"),
                        "device_at": Pick("dvce_created_tstamp", "timestamp"),
                        "source_session_id": Pick("domain_sessionid"),
                        "cookie": Pick("domain_userid"),
                        "login": Pick("user_id"),
                        "page_url": Pick("page_url"),
                        "referrer_url": Pick("page_referrer"),
                        "utm_source": Pick("mkt_source"),
                        "utm_medium": Pick("mkt_medium"),
                        "utm_campaign": Pick("mkt_campaign"),
                        "country": Pick("geo_country"),
                        "user_agent": Pick("useragent"),
                    },
                ),
            ),
        ),
    ),
)


def landed(rows: pl.DataFrame, source: Source) -> pl.LazyFrame:
    """Rows of a file as the bronze table of the source's first stream holds them."""
    stream = source.streams[0]
    assert stream.at is not None
    payload = json_of_rows(rows).alias("_payload")
    hashes = pl.Series("_hash", [hashlib.sha256(text.encode()).hexdigest() for text in payload.to_list()])
    asked = {"at": stream.at, **{f"id{number}": Pick(path) for number, path in enumerate(stream.id)}}
    texts = picked_columns(payload, asked)
    at = texts.select(typed(pl.col("at"), stream.at.written, zone=stream.at.zone, as_type=Type.TIMESTAMP)).to_series()
    ids = texts.select(pl.concat_str(pl.col("^id\\d+$"), separator="|")).to_series() if stream.id else hashes
    day = at.dt.date()
    return pl.LazyFrame(
        {
            "_source": pl.Series([source.name]).new_from_index(0, rows.height),
            "_account": pl.Series(["default"]).new_from_index(0, rows.height),
            "_stream": pl.Series([stream.name]).new_from_index(0, rows.height),
            "_id": ids,
            "_op": pl.Series(["upsert"]).new_from_index(0, rows.height),
            "_cursor": pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, rows.height),
            "_event_at": at,
            "_payload": payload,
            "_hash": hashes,
            "_extracted_at": pl.Series([datetime.combine(day.max(), time()) + timedelta(days=1)])
            .dt.replace_time_zone("UTC")
            .new_from_index(0, rows.height),
            "_run_id": pl.Series(["run"]).new_from_index(0, rows.height),
            "_page": pl.Series([0]).new_from_index(0, rows.height),
            "day": day,
        }
    )


def records_for(table: Table, rows: pl.DataFrame, source: Source) -> pl.LazyFrame:
    """What `table` is handed of a file's rows."""
    stream = source.streams[0]
    (feed,) = (feed for feed in stream.feeds if feed.subject == table.name)
    return picked(landed(rows, source), source=source, stream=stream, feed=feed, table=table)


retail_lines = partial(records_for, ORDER_LINES, source=ONLINE_RETAIL)
