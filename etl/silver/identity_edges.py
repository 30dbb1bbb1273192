"""Who was seen with which identifier: the evidence identity is settled from."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Table
from etl.silver.consents import CONSENTS
from etl.silver.device_events import DEVICE_EVENTS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.orders import ORDERS
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.web_events import WEB_EVENTS


def build_identity_edges(
    person_records: pl.LazyFrame,
    web_events: pl.LazyFrame,
    # TO WRITE: orders etc.; see the brief
) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError
