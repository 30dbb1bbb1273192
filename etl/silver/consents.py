"""Consent decisions as they were made: granted or withdrawn, per purpose."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    Verdict,
    earliest,
    judged,
    rows_of,
    with_clean_ids,
    without_impossible_times,
    without_null_keys,
)
from etl.silver.tcf import with_tcf_decisions


def standardise_consents(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Consent decisions, one row each, as they were made.

    A decision is never overwritten by a later one: what held at a moment must be told for that moment
    (GDPR Art. 7(1) and 7(3)). Where a record brings a consent string (IAB TCF), the string says what was decided.
    """
    return (
        records.pipe(with_clean_ids, "consent_id", "purpose", "consent_status", "lawful_basis")
        .pipe(without_null_keys, "consent_id")
        .pipe(without_impossible_times, "event_at")
        .pipe(without_undecided)
        .pipe(with_tcf_decisions)
        .pipe(earliest, ("_source", "consent_id"), within_days=CONSENTS.dedupe_days)
        .pipe(with_keys, key=key, country=country)
        .pipe(rows_of, CONSENTS)
    )


def without_undecided(records: pl.LazyFrame) -> pl.LazyFrame:
    """Records that bring neither a status nor a consent string are quarantined, each of them."""
    is_undecided = pl.col("consent_status").is_null() & pl.col("tc_string").is_null()
    return judged(
        records,
        Verdict("quarantined", "consent_status.missing", is_undecided, "neither a status nor a consent string came"),
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
        f.tc_string,
        f.event_at,
    ),
    build=standardise_consents,
    partition=Partition.DAY,
    conserves="records",
    carries_customer=True,
    dedupe_days=3,
)
