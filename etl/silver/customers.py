"""The golden record: one row per customer, each attribute from the record that knows it best.

Read by gold: `contacts` takes the names and addresses, `customer_360` what is not personal. Anonymous customers (a
browser nobody signed in on) have a row too, without attributes and with no records.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from etl import fields as f
from etl.model import Layer, Table
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.person_records import PERSON_RECORDS


@dataclass(frozen=True, slots=True)
class Survivorship:
    """Which record an attribute comes from, among those of one customer that have it.

    `together`: attributes taken from one record, so that no address is half of one and half of another; the record
    with more of `leading` filled goes first. `trusted`: sources believed before all others, best first. Then the
    most recently updated record, then the smallest node, so that the choice never depends on the order of rows.
    """

    together: tuple[str, ...]
    leading: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()


#: The customer-care database is kept by hand and checked on the telephone; HubSpot is what people typed in forms.
_KEPT_BY_HAND = ("crm_db", "hubspot")

SURVIVORSHIP = (
    Survivorship(("email", "email_key"), leading=("email",)),
    Survivorship(("phone", "phone_key"), leading=("phone",)),
    Survivorship(("given_name", "family_name"), leading=("given_name", "family_name"), trusted=_KEPT_BY_HAND),
    Survivorship(("birth_date",), trusted=_KEPT_BY_HAND),
    Survivorship(
        ("street", "postal_code", "city", "region", "country"), leading=("street", "postal_code", "city", "country")
    ),
    Survivorship(("language",)),
    Survivorship(("company",)),
    Survivorship(("lifecycle_stage",), trusted=("hubspot",)),
    Survivorship(("age_band",)),
    Survivorship(("income_band",)),
    Survivorship(("household_size",)),
)
ATTRIBUTES = tuple(name for rule in SURVIVORSHIP for name in rule.together)


def build_customers(
    person_records: pl.LazyFrame, identity_map: pl.LazyFrame, identity_edges: pl.LazyFrame
) -> pl.LazyFrame:
    """One row per current customer; `record_count` adds up to all person records, deleted ones included.

    Deleted records count and date the customer, but give no values. Sorted by customer.
    """
    records = person_records.collect()
    living = records.filter(~pl.col("is_deleted"))
    now = current(identity_map).collect()
    customers = (
        now.group_by("customer_id")
        .agg(pl.col("is_known").any(), pl.col("valid_from").min().alias("first_seen_at"))
        .join(_systems(now, identity_edges.collect()), on="customer_id", how="left")
        .join(_counts(records), on="customer_id", how="left")
        .with_columns(pl.col("record_count", "source_count").fill_null(0))
    )
    for rule in SURVIVORSHIP:
        customers = customers.join(_survivors(living, rule), on="customer_id", how="left")
    named = customers.with_columns(_provenance())
    return named.select(CUSTOMERS.column_names).sort("customer_id").lazy()


def _systems(now: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """customer_id, source_count: the systems any node of the customer was seen in."""
    seen = edges.filter(pl.col("left_node_id") == pl.col("right_node_id")).select("sources", node_id="left_node_id")
    return (
        seen.explode("sources")
        .join(now.select("node_id", "customer_id"), on="node_id")
        .group_by("customer_id")
        .agg(pl.col("sources").n_unique().cast(pl.Int64).alias("source_count"))
    )


def _counts(records: pl.DataFrame) -> pl.DataFrame:
    return records.group_by("customer_id").agg(
        pl.len().cast(pl.Int64).alias("record_count"),
        pl.col("created_at").min(),
        pl.col("updated_at").max(),
    )


def _survivors(living: pl.DataFrame, rule: Survivorship) -> pl.DataFrame:
    """customer_id, the rule's attributes, and for each the record it came from (`_from_<attribute>`)."""
    leading = rule.leading or rule.together
    trust = {source: rank for rank, source in enumerate(rule.trusted)}
    rank = pl.col("source").replace_strict(trust, default=len(trust), return_dtype=pl.Int64)
    filled = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int64) for name in leading)
    origin = pl.struct(
        "source", "node_id", pl.col("updated_at").dt.to_string("%Y-%m-%dT%H:%M:%SZ").alias("updated_at")
    ).struct.json_encode()
    return (
        living.with_columns(rank.alias("_rank"), filled.alias("_filled"))
        .filter(pl.col("_filled") > 0)
        .sort(
            "_rank",
            "_filled",
            "updated_at",
            "node_id",
            descending=[False, True, True, False],
            nulls_last=True,
        )
        .group_by("customer_id", maintain_order=True)
        .first()
        .select(
            "customer_id",
            *rule.together,
            *(pl.when(pl.col(name).is_not_null()).then(origin).alias(f"_from_{name}") for name in rule.together),
        )
    )


def _provenance() -> pl.Expr:
    """JSON of attribute -> record, of the attributes that have a value; null when none has."""
    said = [pl.lit(f'"{name}":') + pl.col(f"_from_{name}") for name in ATTRIBUTES if not name.endswith("_key")]
    some = pl.any_horizontal(*(each.is_not_null() for each in said))
    inside = pl.concat_str(said, separator=",", ignore_nulls=True)
    return pl.when(some).then(pl.lit("{") + inside + pl.lit("}")).alias("provenance")


CUSTOMERS = Table(
    layer=Layer.SILVER,
    name="customers",
    description="Who each customer is, by the best record of each attribute, and where each was taken from.",
    grain="one row per customer, known or anonymous",
    key=("customer_id",),
    columns=(
        f.customer_id.required,
        f.is_known.required,
        f.email,
        f.email_key,
        f.phone,
        f.phone_key,
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
        f.first_seen_at,
        f.record_count.required,
        f.source_count.required,
        f.provenance,
    ),
    inputs=(PERSON_RECORDS, IDENTITY_MAP, IDENTITY_EDGES),
    build=build_customers,
    conserves="person_records",
    weight="record_count",
)
