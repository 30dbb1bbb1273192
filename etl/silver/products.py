"""The shop's catalogue: what a product is called and where it belongs."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.silver.standardise import (
    Verdict,
    clean,
    judged,
    latest,
    newest_version,
    rows_of,
    with_clean_ids,
    without_null_keys,
)


def standardise_products(records: pl.LazyFrame) -> pl.LazyFrame:
    """Products, one row each, as they are now; one the source deleted stays, marked, for the orders that name it."""
    return (
        records.pipe(with_clean_ids, "product_id")
        .with_columns(
            clean("product_name"),
            clean("brand"),
            clean("category"),
            (pl.col("_op") == "delete").alias("is_deleted"),
        )
        .pipe(newest_version)
        .pipe(
            judged,
            # A tombstone that does not repeat the product's id has nothing left to say.
            Verdict(
                "filtered", "deleted", pl.col("is_deleted") & pl.col("product_id").is_null(), "the source deleted it"
            ),
        )
        .pipe(without_null_keys, "product_id")
        .pipe(latest, ("_source", "product_id"))
        .pipe(rows_of, PRODUCTS)
    )


PRODUCTS = Table(
    layer=Layer.SILVER,
    name="products",
    description="The shop's catalogue: what a product is called and where it belongs.",
    grain="one row per product of a source",
    key=("source", "product_id"),
    columns=(
        f.source.required,
        f.product_id.required,
        f.product_name,
        f.brand,
        f.category,
        f.is_deleted.required,
    ),
    accepts=(f.product_id, f.product_name, f.brand, f.category),
    build=standardise_products,
    partition=Partition.WHOLE,
    conserves="records",
)
