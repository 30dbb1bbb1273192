"""Every source's record of a person, standardised: the latest state of each."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_person_records(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


PERSON_RECORDS = Table(
    layer=Layer.SILVER,
    name="person_records",
    description="Every source's record of a person, standardised: the latest state of each.",
    grain="one row per record of a source",
    key=("source", "stream", "record_id"),
    columns=(
        f.node_id.required,
        f.source.required,
        f.stream.required,
        f.record_id.required,
        f.email,
        f.email_key,
        f.phone,
        f.phone_key,
        f.login_key,
        f.card_key,
        f.cookie_key,
        f.device_key,
        f.handle_key,
        f.given_name,
        f.family_name,
        f.birth_date,
        f.street,
        f.postal_code,
        f.city,
        f.region,
        f.country,
        f.language,
        f.company,
        f.lifecycle_stage,
        f.age_band,
        f.income_band,
        f.household_size,
        f.created_at,
        f.updated_at,
        f.is_deleted.required,
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
        f.given_name,
        f.family_name,
        f.full_name,
        f.birth_date,
        f.street,
        f.postal_code,
        f.city,
        f.region,
        f.country,
        f.language,
        f.company,
        f.lifecycle_stage,
        f.age_band,
        f.income_band,
        f.household_size,
        f.created_at,
        f.updated_at,
    ),
    build=standardise_person_records,
    partition=Partition.WHOLE,
    conserves="records",
    carries_customer=True,
)
