"""The shop's catalogue: what a product is called and where it belongs."""

from __future__ import annotations

import polars as pl

from etl import fields as f
from etl.model import Layer, Partition, Table


def standardise_products(records: pl.LazyFrame) -> pl.LazyFrame:
    """TO WRITE."""
    raise NotImplementedError


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
