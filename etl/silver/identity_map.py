"""Which customer every node belongs to, and what we held true before: the bitemporal map identity is read from.

Read by everything downstream, which knows only `customer_id`. The rows with neither `known_to` nor `valid_to` are the
map as it stands; a row is never altered but once, when its `known_to` is set, so any earlier answer can be asked again
(`known_at`). The map is settled anew from all the evidence each time, and says the same for the same evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.model import Layer, Table
from etl.model.frames import schema_of
from etl.privacy.pseudonyms import RECORD
from etl.silver.evidence import STRONG
from etl.silver.identity_edges import IDENTITY_EDGES, ends_of, nodes_of
from etl.silver.identity_matches import IDENTITY_MATCHES, linked
from etl.silver.resolution import components, keep_ids, new_id
from etl.silver.rulings import standing

# What a row of the map says; a change in any of it is a new row.
_SAID = ("customer_id", "is_known", "node_kind", "valid_from")


def build_identity_map(
    identity_edges: pl.LazyFrame,
    identity_matches: pl.LazyFrame,
    identity_rulings: pl.LazyFrame,
    *,
    previous: pl.LazyFrame,
    as_of: datetime,
    key: bytes,
) -> pl.LazyFrame:
    """The map after all evidence known: earlier rows, closed where they no longer hold, and the new ones.

    `previous` is the map as it stood. A component keeps the customer_id of the nodes it had there (`keep_ids`); one
    that comes out of a customer again takes back the id its nodes were merged away from, and of two customers whose
    merge is undone each has its own. What is ruled apart is apart in the edges already. Unchanged evidence gives
    exactly the rows of `previous`. Sorted by node and known_from.
    """
    before = previous.collect()
    edges = pl.concat([identity_edges, linked(identity_matches.collect()).lazy()], how="diagonal")
    undone = standing(identity_rulings.collect()).filter(pl.col("ruling") == "undo")
    settled = settle(edges, before, undone, key=key)
    return revised(before, settled, as_of=as_of).lazy()


def current(identity_map: pl.LazyFrame) -> pl.LazyFrame:
    """The map as it stands: one row per node."""
    return identity_map.filter(pl.col("known_to").is_null() & pl.col("valid_to").is_null())


def known_at(identity_map: pl.LazyFrame, moment: datetime, *, valid_at: datetime | None = None) -> pl.LazyFrame:
    """The map as it was known at `moment`: one row per node known then; with `valid_at` those that were there by then.

    `moment` is system time, `valid_at` valid time. A node of which nobody says since when it is there, always was.
    """
    is_open = pl.col("known_to").is_null() | (pl.col("known_to") > moment)
    known = identity_map.filter((pl.col("known_from") <= moment) & is_open)
    if valid_at is None:
        return known
    has_begun = pl.col("valid_from").is_null() | (pl.col("valid_from") <= valid_at)
    return known.filter(has_begun & (pl.col("valid_to").is_null() | (pl.col("valid_to") > valid_at)))


def settle(
    edges: pl.DataFrame | pl.LazyFrame, before: pl.DataFrame, undone: pl.DataFrame, *, key: bytes
) -> pl.DataFrame:
    """node_id, node_kind, customer_id, is_known, valid_from: one row per node, sorted by node.

    valid_from is when the node was first seen in the world; null when no source says. undone: the merges that stand
    undone: `right_node_ids` of `other_customer_id` went into `customer_id`, which had `left_node_ids`.
    """
    nodes, numbering = nodes_of(edges)
    component = components(nodes.height, *ends_of(edges, numbering, "used"))
    members = nodes.rename({"first_at": "valid_from"}).with_columns(pl.Series("component", component))
    named = _named(members, before, undone, key=key).sort("component")
    crowded = np.zeros(nodes.height, dtype=np.bool_)
    for end in ends_of(edges, numbering, "capped", "conflict"):
        crowded[end] = True
    says_who = members.select(_says_who(pl.lit(pl.Series(crowded)))).to_series().to_numpy()
    is_known = np.bincount(component[says_who], minlength=named.height) > 0
    return members.select(
        "node_id",
        "node_kind",
        named["customer_id"].gather(component),
        pl.Series("is_known", is_known[component], dtype=pl.Boolean),
        "valid_from",
    )


def _says_who(is_crowded: pl.Expr) -> pl.Expr:
    """True for a record, and for an identifier of one person; a mailbox that many share does not say who it is."""
    return (pl.col("node_kind") == RECORD) | (pl.col("node_kind").is_in(STRONG) & ~is_crowded)


def _named(members: pl.DataFrame, before: pl.DataFrame, undone: pl.DataFrame, *, key: bytes) -> pl.DataFrame:
    """component, customer_id: the id its nodes have, or one they had, or a new one made from its earliest node."""
    born = before.group_by("customer_id").agg(pl.col("known_from").min().alias("born_at"))
    former = _merged_away(before)
    has_former = pl.col("node_id").is_in(former["node_id"].unique().implode())
    overlaps = (
        members.join(before.filter(pl.col("known_to").is_null()).select("node_id", "customer_id"), on="node_id")
        .group_by("component", "customer_id")
        .agg(pl.len().alias("shared"), (~has_former).sum().alias("own"))
        .join(born, on="customer_id", how="left")
    )
    gone = _gone_again(members, undone, overlaps)
    kept = keep_ids(overlaps.join(gone, on=["component", "customer_id"], how="anti"))
    unnamed = _without(members, kept)
    kept |= keep_ids(_come_back(unnamed, former, undone).join(born, on="customer_id", how="left"))
    taken = set(born["customer_id"])
    earliest = _earliest(_without(unnamed, kept))
    for component, node in zip(earliest["component"].to_list(), earliest["node_id"].to_list(), strict=True):
        kept[component] = new_id(node, taken, key=key)
        taken.add(kept[component])
    return pl.DataFrame(
        {"component": list(kept), "customer_id": list(kept.values())},
        schema={"component": pl.Int32, "customer_id": pl.String},
    )


def _without(members: pl.DataFrame, named: Mapping[int, str]) -> pl.DataFrame:
    """The members whose component has no name yet."""
    if not named:
        return members
    return members.filter(~pl.col("component").is_in(pl.Series(list(named), dtype=pl.Int32).implode()))


def _earliest(members: pl.DataFrame) -> pl.DataFrame:
    """component and the node of it that was first seen; of several the first in the order of nodes.

    `members` are sorted by node. Sorted by component.
    """
    first = (
        members.select("component", "valid_from", node=pl.int_range(pl.len(), dtype=pl.UInt32))
        .sort("valid_from", "node", nulls_last=True)
        .unique("component", keep="first", maintain_order=True)
        .sort("component")
    )
    return first.select("component", members["node_id"].gather(first["node"]))


def _merged_away(before: pl.DataFrame) -> pl.DataFrame:
    """node_id, customer_id: the nodes a customer had when the last of it went over to others.

    Such an id is nobody's now; it may come back to these nodes, and to no others.
    """
    last = before.group_by("customer_id").agg(
        pl.col("known_to").max(), pl.col("known_to").is_null().any().alias("is_alive")
    )
    ended = before.join(last.filter(~pl.col("is_alive")), on=["customer_id", "known_to"])
    went_over = before.select("node_id", known_to="known_from")
    return ended.join(went_over, on=["node_id", "known_to"], how="semi").select("node_id", "customer_id")


def _come_back(unnamed: pl.DataFrame, former: pl.DataFrame, undone: pl.DataFrame) -> pl.DataFrame:
    """component, customer_id, shared, own: how much of an id that was merged away is together again.

    `shared` is the nodes both have as a share of those either has: who is all of a former customer, and nothing else,
    is that customer. Who came out of an undone merge is first of all who went into it: one more.
    """
    had = former.group_by("customer_id").agg(pl.len().alias("had"))
    has = unnamed.group_by("component").agg(pl.len().alias("has"))
    out = _components_of(unnamed, undone, "right_node_ids", "other_customer_id")
    return (
        unnamed.select("node_id", "component")
        .join(former, on="node_id")
        .group_by("component", "customer_id")
        .agg(pl.len().alias("both"))
        .join(had, on="customer_id")
        .join(has, on="component")
        .join(out.with_columns(first=pl.lit(1)), on=["component", "customer_id"], how="left")
        .select(
            "component",
            "customer_id",
            shared=pl.col("both") / (pl.col("had") + pl.col("has") - pl.col("both")) + pl.col("first").fill_null(0),
            own=pl.lit(0, pl.UInt32),
        )
    )


def _gone_again(members: pl.DataFrame, undone: pl.DataFrame, overlaps: pl.DataFrame) -> pl.DataFrame:
    """component, customer_id: who was merged into a customer and is no more leaves it its id, however large it grew.

    Where the customer it was merged into has nodes of that id still; else nobody claims it.
    """
    stayed = _components_of(members, undone, "left_node_ids", "customer_id")
    claimed = stayed.join(overlaps, on=["component", "customer_id"], how="semi")
    gone = _components_of(members, undone, "right_node_ids", "customer_id")
    return gone.join(claimed, on="customer_id", how="semi")


def _components_of(members: pl.DataFrame, undone: pl.DataFrame, nodes: str, customer_id: str) -> pl.DataFrame:
    """component, customer_id: where the nodes of one side of each undone merge are now, with one of its two ids."""
    side = undone.select(customer_id=customer_id, node_id=nodes).explode("node_id")
    return side.join(members, on="node_id").select("component", "customer_id").unique()


def revised(before: pl.DataFrame, settled: pl.DataFrame, *, as_of: datetime) -> pl.DataFrame:
    """`before` with what no longer holds closed, and what is new opened, both at one instant.

    The instant is `as_of`; when the map already changed then or later (a second look at the same window), the first
    microsecond after, so that no row is known for no time and no earlier answer is overwritten.
    """
    history = before.filter(pl.col("known_to").is_not_null())
    still = before.filter(pl.col("known_to").is_null())
    last = before.select(pl.max_horizontal(pl.col("known_from").max(), pl.col("known_to").max())).item()
    now = as_of if last is None or as_of > last else last + timedelta(microseconds=1)

    told = still.select("node_id", *(pl.col(name).alias(f"{name}_before") for name in _SAID))
    met = settled.join(told, on="node_id", how="left", maintain_order="left")
    # Old evidence may have been deleted since: a node of the same customer is not younger for that.
    stays = pl.col("customer_id") == pl.col("customer_id_before")
    met = met.with_columns(
        pl.when(stays)
        .then(pl.min_horizontal("valid_from", "valid_from_before"))
        .otherwise("valid_from")
        .alias("valid_from")
    )
    same = pl.all_horizontal(*(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in _SAID))
    unchanged = met.filter(same).select("node_id")
    opened = met.filter(~same).with_columns(
        pl.lit(None, pl.Datetime("us", "UTC")).alias("valid_to"),
        pl.lit(now, pl.Datetime("us", "UTC")).alias("known_from"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("known_to"),
    )
    closed = still.join(unchanged, on="node_id", how="anti").with_columns(
        pl.lit(now, pl.Datetime("us", "UTC")).alias("known_to")
    )
    kept = still.join(unchanged, on="node_id", how="semi")
    schema = schema_of(IDENTITY_MAP.columns)
    parts = [part.select(list(schema)).cast(pl.Schema(schema)) for part in (history, closed, kept, opened)]
    return pl.concat(parts).sort("node_id", "known_from")


IDENTITY_MAP = Table(
    layer=Layer.SILVER,
    name="identity_map",
    description="Which customer every node belongs to, and what was held true before. The rows with neither "
    "known_to nor valid_to are the map as it stands.",
    grain="one row per node and stretch of time in which the same was held true of it",
    key=("node_id", "known_from"),
    columns=(
        f.node_id.required,
        f.node_kind.required,
        f.customer_id.required,
        f.is_known.required,
        f.valid_from,
        f.valid_to,
        f.known_from.required,
        f.known_to,
    ),
    inputs=(IDENTITY_EDGES, IDENTITY_MATCHES, IDENTITY_RULINGS),
    build=build_identity_map,
)
