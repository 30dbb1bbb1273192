"""From a vendor's records to the rows a feed makes of them: landed as a window lands, picked as silver picks."""

from __future__ import annotations

import importlib
import json
from typing import Any

import httpx
import polars as pl

from etl.model import Source, Stream, Table, Window
from etl.silver.standardise import picked
from tests.sources.judges import WINDOW, Answer
from tests.sources.vendors import landed as wrapped


def landed(source: Source, stream: Stream, records: list[Any], window: Window = WINDOW) -> pl.DataFrame:
    """The bronze rows of records, given as objects or as bytes. Every one must land: none dead, none set aside."""
    encoded = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
    page = wrapped(source, stream, [encoded], window=window)
    assert (len(encoded), 0, 0) == (page.rows.height, page.dead.height, page.aside)
    return page.rows


def fed(
    source: Source, stream: Stream, subject: str, records: list[Any], window: Window = WINDOW
) -> list[dict[str, Any]]:
    """What the stream's feed of `subject` makes of records: per row its fate and each column the feed fills."""
    feed = next(feed for feed in stream.feeds if feed.subject == subject)
    table: Table = getattr(importlib.import_module(f"etl.silver.{subject}"), subject.upper())
    bronze = landed(source, stream, records, window).lazy()
    rows = picked(bronze, source=source, stream=stream, feed=feed, table=table).collect()
    return rows.select("_fate", *feed.fields).to_dicts()


def in_turn(*answers: Answer) -> Answer:
    """Answers one after the other; the last one stays."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer
