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
    Verdict,
    clean,
    judged,
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

    A record the source merged into another one is that other one's: it keeps its last state, as deleted, and has the
    other's node, so that every identifier it had leads to the person. No evidence is surer. What tells of the merge
    (`merged_into`) is no state of the record, and makes no row: of one never seen there is nothing to say.
    """
    told = records.collect()
    is_merge = pl.col("merged_into").is_not_null()
    merges = told.filter(is_merge)
    states = (
        told.filter(~is_merge)
        .lazy()
        .pipe(newest_version)
        .pipe(without_null_keys, "_id")
        .pipe(without_impossible_times, "created_at", "updated_at")
        .pipe(latest, ("_source", "_stream", "_id"))
        .pipe(with_tidy_attributes)
        .pipe(with_keys, key=key, country=country, hint="country")
        .pipe(with_survivors, merges)
        .with_columns(
            _record_node(key), is_deleted=(pl.col("_op") == "delete") | (pl.col("_survivor") != pl.col("_id"))
        )
        .pipe(rows_of, PERSON_RECORDS)
    )
    told_elsewhere = Verdict("filtered", "merged_away", is_merge, "the record it names keeps its last state")
    return pl.concat([states, judged(merges.lazy(), told_elsewhere).pipe(rows_of, PERSON_RECORDS)])


def with_survivors(records: pl.LazyFrame, merges: pl.DataFrame) -> pl.LazyFrame:
    """Records with `_survivor`: the id of the record that stands for each now, its own where it was never merged.

    Of two merges of one record the later counts; merges of merges are followed to their end.
    """
    record = ("_source", "_stream", "_id")
    latest_first = merges.sort("_cursor", "_extracted_at", "_hash", descending=True, nulls_last=True)
    into = {
        (source, stream, loser): winner
        for source, stream, loser, winner in latest_first.reverse().select(*record, "merged_into").iter_rows()
    }

    def survivor(source: str, stream: str, ident: str) -> str:
        passed = {ident}
        while (winner := into.get((source, stream, ident))) is not None and winner not in passed:
            passed.add(winner)
            ident = winner
        return ident

    survivors = pl.DataFrame(
        [(*loser, survivor(*loser)) for loser in into],
        schema=dict.fromkeys((*record, "_survivor"), pl.String()),
        orient="row",
    )
    return records.join(survivors.lazy(), on=record, how="left", maintain_order="left").with_columns(
        pl.coalesce("_survivor", "_id").alias("_survivor")
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
    told = pl.concat_str([pl.col("_source"), pl.col("_stream"), pl.col("_survivor")], separator=":")
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
        f.merged_into,
    ),
    build=standardise_person_records,
    partition=Partition.WHOLE,
    conserves="records",
    carries_customer=True,
)
