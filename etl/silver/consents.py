"""Consent decisions as they were made: granted or withdrawn, per purpose."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_consents(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


CONSENTS = Table(
    layer=Layer.SILVER,
    name="consents",
    description="Consent decisions as they were made: granted or withdrawn, per purpose.",
    grain="one row per decision",
    key=("source", "consent_id"),
    columns=(
        f.source.required,
        f.consent_id.required,
        f.node_id,
        f.purpose.required,
        f.consent_status.required,
        f.lawful_basis,
        f.event_at.required,
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
        f.consent_id,
        f.purpose,
        f.consent_status,
        f.lawful_basis,
        f.event_at,
    ),
    build=standardise_consents,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
