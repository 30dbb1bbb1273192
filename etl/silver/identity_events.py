"""What happened to customers as such: created, merged, split, retired. The ledger of identity, read off the map.

Every id has one `create` and, when its last node leaves it, one `retire`: customers alive = creates - retires.
Beside them `merge` says that all of another customer came over, `split` that a part of one did, which lives on.
"""

from __future__ import annotations

import hashlib

import polars as pl

from etl import fields as f
from etl.model import Layer, Table
from etl.model.frames import empty
from etl.silver.identity_map import IDENTITY_MAP


def build_identity_events(identity_map: pl.LazyFrame, *, previous: pl.LazyFrame) -> pl.LazyFrame:
    """One row per change of a customer: earlier rows as they were, then what the map learned since.

    Sorted by time and id. The map's own times decide; nothing else is asked.
    """
    before = previous.collect()
    since = before["known_from"].max() if before.height else None
    learned = changes(identity_map.collect())
    if since is not None:
        learned = learned.filter(pl.col("known_from") > since)
    return pl.concat([before, learned]).sort("known_from", "identity_event_id").lazy()


def changes(identity_map: pl.DataFrame) -> pl.DataFrame:
    """Every change the bitemporal map records, from its first instant on."""
    opened = identity_map.select("node_id", "customer_id", at="known_from")
    closed = identity_map.filter(pl.col("known_to").is_not_null()).select("node_id", "customer_id", at="known_to")
    # A node whose row was rewritten under the same customer came and went at one instant: no change of customer.
    came = opened.join(closed, on=["node_id", "customer_id", "at"], how="anti")
    went = closed.join(opened, on=["node_id", "customer_id", "at"], how="anti")

    steps = pl.concat(
        [
            came.group_by("customer_id", "at").agg(pl.len().cast(pl.Int64).alias("change")),
            went.group_by("customer_id", "at").agg(-pl.len().cast(pl.Int64).alias("change")),
        ]
    )
    sizes = (
        steps.group_by("customer_id", "at")
        .agg(pl.col("change").sum())
        .sort("customer_id", "at")
        .with_columns(after=pl.col("change").cum_sum().over("customer_id"))
        .with_columns(prior=pl.col("after") - pl.col("change"))
    )
    # An id is never used again, so it leaves nothing once and comes to nothing once.
    created = sizes.filter((pl.col("prior") == 0) & (pl.col("after") > 0)).select(
        "customer_id", "at", identity_event=pl.lit("create"), node_count="after"
    )
    retired = sizes.filter((pl.col("prior") > 0) & (pl.col("after") == 0)).select(
        "customer_id", "at", identity_event=pl.lit("retire"), node_count="prior"
    )
    moved = (
        came.join(went, on=["node_id", "at"], suffix="_left")
        .group_by("customer_id", "at", other_customer_id="customer_id_left")
        .agg(pl.len().cast(pl.Int64).alias("node_count"))
        .join(
            retired.select(other_customer_id="customer_id", at="at", gone=True),
            on=["other_customer_id", "at"],
            how="left",
        )
        .with_columns(identity_event=pl.when(pl.col("gone")).then(pl.lit("merge")).otherwise(pl.lit("split")))
    )
    told = pl.concat([created, retired, moved.drop("gone")], how="diagonal").rename({"at": "known_from"})
    names = [
        _event_id(*row)
        for row in told.select("identity_event", "customer_id", "other_customer_id", "known_from").iter_rows()
    ]
    columns = IDENTITY_EVENTS.column_names
    told = told.with_columns(pl.Series("identity_event_id", names, dtype=pl.String))
    return pl.concat([empty(IDENTITY_EVENTS.columns), told.select(columns)]).sort("known_from", "identity_event_id")


def _event_id(event: str, customer_id: str, other_customer_id: str | None, known_from: object) -> str:
    said = f"{event}:{customer_id}:{other_customer_id or ''}:{known_from}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


IDENTITY_EVENTS = Table(
    layer=Layer.SILVER,
    name="identity_events",
    description="What happened to customers as such: created, merged, split, retired, and when that became known.",
    grain="one row per change of a customer",
    key=("identity_event_id",),
    columns=(
        f.identity_event_id.required,
        f.known_from.required,
        f.identity_event.required,
        f.customer_id.required,
        f.other_customer_id,
        f.node_count.required,
    ),
    inputs=(IDENTITY_MAP,),
    build=build_identity_events,
)
