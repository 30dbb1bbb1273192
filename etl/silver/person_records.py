"""Every source's record of a person, standardised: the latest state of each."""

from __future__ import annotations

from datetime import date

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.privacy.pseudonyms import RECORD, pseudonyms
from etl.silver.countries import normalised_country
from etl.silver.identifiers import with_keys
from etl.silver.standardise import (
    clean,
    language_code,
    latest,
    newest_version,
    rows_of,
    without_impossible_times,
    without_null_keys,
)


def standardise_person_records(records: pl.LazyFrame, *, key: bytes, country: str) -> pl.LazyFrame:
    """Records of persons, one row per source, stream and record id, in their latest state.

    `node_id` is the record's own node: it stands for itself, and identity joins it by the keys beside it. A record the
    source deleted stays as a tombstone (`is_deleted`). What cannot be told of a value (a country nobody knows, a birth
    date before 1900 or after the record) is null; the person stands.
    """
    return (
        records.pipe(newest_version)
        .pipe(without_null_keys, "_id")
        .pipe(without_impossible_times, "created_at", "updated_at")
        .pipe(latest, ("_source", "_stream", "_id"))
        .pipe(with_tidy_attributes)
        .pipe(with_keys, key=key, country=country, hint="country")
        .with_columns(_record_node(key), (pl.col("_op") == "delete").alias("is_deleted"))
        .pipe(rows_of, PERSON_RECORDS)
    )


def with_tidy_attributes(records: pl.LazyFrame) -> pl.LazyFrame:
    """Records with their attributes in comparable form; names as written, without what cannot be seen."""
    texts = (
        "given_name",
        "family_name",
        "full_name",
        "street",
        "postal_code",
        "city",
        "region",
        "company",
        "national_id",
    )
    words = ("lifecycle_stage", "age_band", "income_band", "household_size")
    return (
        records.with_columns(clean(name) for name in texts + words)
        .with_columns(
            pl.coalesce("given_name", given_of("full_name")).alias("given_name"),
            pl.coalesce("family_name", family_of("full_name")).alias("family_name"),
            normalised_country(),
            language_code("language").alias("language"),
            pl.col("lifecycle_stage").str.to_lowercase(),
        )
        .with_columns(pl.when(pl.col("birth_date").is_between(date(1900, 1, 2), "day")).then("birth_date"))
    )


# "van der Berg" is one family name: the particles that stand before one, in the languages of Europe.
_FAMILY = (
    r"(?i)^(?:(?P<given>.*?)\s+)?"
    r"(?P<family>(?:(?:von|van|vom|zu|zum|zur|de|del|della|der|den|di|da|do|dos|das|du|la|le|ter|ten|af|av|bin|al|el)\s+)*"
    r"\S+(?:\s+(?:jr\.?|sr\.?|ii|iii))?)$"
)


def given_of(full_name: str) -> pl.Expr:
    """The given name in a full one: what stands before the family name, or after its comma. A single word is a given
    name.
    """
    name = pl.col(full_name)
    after_comma = name.str.extract(r"^[^,]+,\s*(.+)$")
    alone = pl.when(~name.str.contains(" ")).then(name)
    return pl.coalesce(after_comma, alone, name.str.extract(_FAMILY, 1))


def family_of(full_name: str) -> pl.Expr:
    """The family name in a full one: the last word with its particles (`van der Berg`), or what a comma ends."""
    name = pl.col(full_name)
    before_comma = name.str.extract(r"^([^,]+),\s*.+$")
    return pl.coalesce(before_comma, pl.when(name.str.contains(" ")).then(name.str.extract(_FAMILY, 2)))


def _record_node(key: bytes) -> pl.Expr:
    told = pl.concat_str([pl.col("_source"), pl.col("_stream"), pl.col("_id")], separator=":")
    return told.map_batches(lambda texts: pseudonyms(texts, RECORD, key=key), return_dtype=pl.String).alias("node_id")


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
        f.national_id,
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
        f.national_id,
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
