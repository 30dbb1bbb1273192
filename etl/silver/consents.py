"""Consent decisions as they were made: granted or withdrawn, per purpose."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    earliest,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)


def standardise_consents(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Consent decisions, one row each, as they were made.

    A decision is never overwritten by a later one: what held at a moment must be told for that moment
    (GDPR Art. 7(1) and 7(3)).
    """
    return (
        records.pipe(with_clean_ids, "consent_id", "purpose", "consent_status", "lawful_basis")
        .pipe(without_null_keys, "consent_id")
        .pipe(without_impossible_times, "event_at")
        .pipe(earliest, ("_source", "consent_id"), within_days=CONSENTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, CONSENTS)
    )


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
        f.email_key,
        f.phone_key,
        f.login_key,
        f.card_key,
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
