"""What happened to customers as such: created, merged, split, come out of a merge again, retired; and what was ruled.

The ledger of identity, read off the map and the log of rulings. An id begins with `create`, comes back with `undo`, and
ends, when its last node leaves it, with `retire`: customers alive = creates + undos - retires. Beside them `merge` says
that all of another customer came over, `split` that a part of one did, which lives on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.model import Layer, Table
from etl.model.frames import empty
from etl.silver.identity_map import IDENTITY_MAP, known_at
from etl.silver.rulings import Sides

RULING = "ruling"


def build_identity_events(
    identity_map: pl.LazyFrame, identity_rulings: pl.LazyFrame, *, previous: pl.LazyFrame
) -> pl.LazyFrame:
    """One row per change of a customer and per ruling: earlier rows as they were, then what was learned or ruled since.

    Sorted by time and id. Changes have the map's times, rulings the time they were made.
    """
    before = previous.collect()
    since = before.filter(pl.col("identity_event") != RULING)["known_from"].max()
    settled = identity_map.collect()
    learned = changes(settled)
    if since is not None:
        learned = learned.filter(pl.col("known_from") > since)
    ruled = rulings_of(identity_rulings.collect(), settled).join(before, on="identity_event_id", how="anti")
    return pl.concat([before, learned, ruled]).sort("known_from", "identity_event_id").lazy()


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
    # An id is never given to anyone else: it comes a second time only to nodes it was merged away from.
    begun = sizes.filter((pl.col("prior") == 0) & (pl.col("after") > 0)).with_columns(
        is_first=pl.col("at") == pl.col("at").min().over("customer_id")
    )
    created = begun.filter("is_first").select("customer_id", "at", identity_event=pl.lit("create"), node_count="after")
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
    came_back = (
        begun.filter(~pl.col("is_first"))
        .sort("at")
        .join_asof(
            moved.filter(pl.col("identity_event") == "merge")
            .sort("at", "node_count", "customer_id")
            .select("at", into="customer_id", customer_id="other_customer_id"),
            on="at",
            by="customer_id",
            check_sortedness=False,
        )
        .select("customer_id", "at", identity_event=pl.lit("undo"), node_count="after", other_customer_id="into")
    )
    told = pl.concat([created, came_back, retired, moved.drop("gone")], how="diagonal").rename({"at": "known_from"})
    names = [
        _event_id(*row)
        for row in told.select("identity_event", "customer_id", "other_customer_id", "known_from").iter_rows()
    ]
    columns = IDENTITY_EVENTS.column_names
    told = told.with_columns(pl.Series("identity_event_id", names, dtype=pl.String))
    return pl.concat([empty(IDENTITY_EVENTS.columns), told.select(columns)]).sort("known_from", "identity_event_id")


def rulings_of(rulings: pl.DataFrame, identity_map: pl.DataFrame) -> pl.DataFrame:
    """Every ruling as a row of the ledger: its id, when it was made, and whose the first node of each side was then.

    A withdrawal is about what it withdraws. A customer is null where the map knew no such node.
    """
    about = rulings.select("ruling_id", "left_node_ids", "right_node_ids")
    withdrawn = rulings.select("ruling_id", "withdraws").join(about, left_on="withdraws", right_on="ruling_id")
    sides = about.join(withdrawn.select("ruling_id"), on="ruling_id", how="anti")
    sides = pl.concat([sides, withdrawn.select(sides.columns)]).join(
        rulings.select("ruling_id", "made_at"), on="ruling_id"
    )
    spans = identity_map.select("node_id", "customer_id", "known_from", "known_to")
    for side in ("left", "right"):
        then = (
            sides.select("ruling_id", "made_at", node_id=pl.col(f"{side}_node_ids").list.first())
            .join(spans, on="node_id")
            .filter(
                (pl.col("known_from") <= pl.col("made_at"))
                & (pl.col("known_to").is_null() | (pl.col("known_to") > pl.col("made_at")))
            )
            .select("ruling_id", pl.col("customer_id").alias(f"{side}_customer"))
        )
        sides = sides.join(then, on="ruling_id", how="left")
    return sides.select(
        identity_event_id="ruling_id",
        known_from="made_at",
        identity_event=pl.lit(RULING),
        customer_id="left_customer",
        other_customer_id="right_customer",
        node_count=pl.sum_horizontal(pl.col("left_node_ids").list.len(), pl.col("right_node_ids").list.len()).cast(
            pl.Int64
        ),
    )


def before_merge(identity_map: pl.LazyFrame, merge: Mapping[str, Any]) -> Sides:
    """The nodes of the customer that stayed and of the one that went, as the map knew them just before the merge."""
    then = known_at(identity_map, merge["known_from"] - timedelta(microseconds=1)).select("node_id", "customer_id")
    nodes = then.sort("node_id").collect()
    stayed, gone = (
        nodes.filter(pl.col("customer_id") == merge[name])["node_id"].to_list()
        for name in ("customer_id", "other_customer_id")
    )
    return stayed, gone


def _event_id(event: str, customer_id: str, other_customer_id: str | None, known_from: object) -> str:
    said = f"{event}:{customer_id}:{other_customer_id or ''}:{known_from}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


IDENTITY_EVENTS = Table(
    layer=Layer.SILVER,
    name="identity_events",
    description="What happened to customers as such: created, merged, split, come out of a merge again, retired; and "
    "what was ruled about them. With the time it became known, of a ruling when it was made.",
    grain="one row per change of a customer, and one per ruling",
    key=("identity_event_id",),
    columns=(
        f.identity_event_id.required,
        f.known_from.required,
        f.identity_event.required,
        f.customer_id,
        f.other_customer_id,
        f.node_count.required,
    ),
    inputs=(IDENTITY_MAP, IDENTITY_RULINGS),
    build=build_identity_events,
)
