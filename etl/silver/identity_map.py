"""Which customer every node belongs to, and what we held true before: the bitemporal map identity is read from.

Read by everything downstream, which knows only `customer_id`. The rows with neither `known_to` nor `valid_to` are the
map as it stands; a row is never altered but once, when its `known_to` is set, so any earlier answer can be asked again
(`known_at`). The map is settled anew from all the evidence each time, and says the same for the same evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.kernels.numbering import Flags, Numbering, Numbers, spelt
from etl.model import Layer, Table
from etl.privacy.pseudonyms import RECORD
from etl.silver.evidence import KIND, RANK, STRONG
from etl.silver.identity_edges import IDENTITY_EDGES, ends_of, nodes_of
from etl.silver.identity_matches import IDENTITY_MATCHES, linked
from etl.silver.resolution import Codes, components, keep_ids, new_id
from etl.silver.rulings import standing


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
    edges = pl.concat([identity_edges, linked(identity_matches.collect()).lazy()], how="diagonal")
    undone = standing(identity_rulings.collect()).filter(pl.col("ruling") == "undo")
    members = Members.of(edges)
    before = Before.of(previous, members)
    customer = named(members, before, previous, undone, key=key)
    return revised(previous, members, before, customer, as_of=as_of)


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


# --- in numbers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Members:
    """Every node of the evidence and the component it is in, by the edges that are used.

    nodes: node_kind, valid_from (when it was first seen in the world, null when no source says), sorted by node; a
    node's number is its row. component: (n_nodes,). is_known: (n_components,), whether a node says who it is.
    """

    nodes: pl.DataFrame
    numbering: Numbering
    component: Numbers
    is_known: Flags

    @classmethod
    def of(cls, edges: pl.LazyFrame) -> Members:
        nodes, numbering = nodes_of(edges, "first_at")
        nodes = nodes.select(pl.col("node_kind").cast(KIND), valid_from="first_at")
        component = components(nodes.height, *ends_of(edges, numbering, "used"))
        kind = nodes["node_kind"].to_physical().to_numpy()
        says_who = np.isin(kind, [RANK[name] for name in STRONG])
        # A mailbox that many share does not say who it is.
        for end in ends_of(edges, numbering, "capped", "conflict"):
            says_who[end] = False
        says_who |= kind == RANK[RECORD]
        count = int(component.max(initial=-1)) + 1
        return cls(nodes, numbering, component, np.bincount(component[says_who], minlength=count) > 0)

    def rows(self, those: Flags) -> pl.DataFrame:
        """node_id, node_kind, component, valid_from of these nodes, sorted by node. those: (n_nodes,)."""
        at = np.flatnonzero(those)
        return self.nodes[at].select(
            self.spelt(at),
            pl.col("node_kind").cast(pl.String),
            pl.Series("component", self.component[at]),
            "valid_from",
        )

    def spelt(self, numbers: Numbers | Codes) -> pl.Series:
        """The node_ids of these numbers: as text they are kept nowhere."""
        high, low = self.numbering.met
        return spelt(high[numbers], low[numbers]).alias("node_id")


@dataclass(frozen=True, slots=True)
class Before:
    """The rows of the map as it stood, without their texts; (n_rows,) each.

    ids: an empty series; the numbers of customers live as long as one of its type. node: the node's number, -1 when it
    is no longer in the evidence. customer: which customer, in numbers of `ids`. is_open: the row held until now.
    said: node_kind, is_known, valid_from. last: the latest time any row says something of.
    """

    ids: pl.Series
    node: Numbers
    customer: Numbers
    is_open: Flags
    said: pl.DataFrame
    last: datetime | None

    @classmethod
    def of(cls, previous: pl.LazyFrame, members: Members) -> Before:
        ids = pl.Series(dtype=pl.Categorical(pl.Categories.random()))
        parts = [_WITHOUT_TEXTS]
        for batch in previous.select(*_READ).collect_batches(maintain_order=True):
            parts.append(
                batch.select(
                    pl.Series("node", members.numbering.known(batch["node_id"])),
                    pl.Series("customer", batch["customer_id"].cast(ids.dtype).to_physical()).cast(pl.Int32),
                    pl.col("node_kind").cast(KIND),
                    "is_known",
                    "valid_from",
                    "known_from",
                    "known_to",
                )
            )
        rows = pl.concat(parts)
        last = rows.select(pl.max_horizontal(pl.col("known_from").max(), pl.col("known_to").max())).item()
        return cls(
            ids,
            rows["node"].to_numpy(),
            rows["customer"].to_numpy(),
            rows["known_to"].is_null().to_numpy(),
            rows.select("node_kind", "is_known", "valid_from"),
            last,
        )

    @property
    def count(self) -> int:
        """How many customers there ever were."""
        return int(self.customer.max(initial=-1)) + 1

    def numbers(self, customers: pl.Series) -> Numbers:
        """The numbers of these customer_ids, new ones numbered on."""
        numbers: Numbers = customers.cast(self.ids.dtype).to_physical().cast(pl.Int32).to_numpy()
        return numbers

    def spelt(self, customers: Numbers) -> pl.Series:
        """The customer_ids of these numbers."""
        return pl.Series("customer_id", customers.astype(np.uint32)).cat.to(self.ids.dtype).cast(pl.String)


_BATCH_ROWS = 250_000
_READ = ("node_id", "customer_id", "node_kind", "is_known", "valid_from", "known_from", "known_to")
_WITHOUT_TEXTS = pl.DataFrame(
    schema={
        "node": pl.Int32,
        "customer": pl.Int32,
        "node_kind": KIND,
        "is_known": pl.Boolean,
        **dict.fromkeys(("valid_from", "known_from", "known_to"), pl.Datetime("us", "UTC")),
    }
)


def named(members: Members, before: Before, previous: pl.LazyFrame, undone: pl.DataFrame, *, key: bytes) -> Numbers:
    """The customer of each component, (n_components,), in numbers of `before`.

    undone: the merges that stand undone: `right_node_ids` of `other_customer_id` went into `customer_id`, which had
    `left_node_ids`. Most customers are one component and all of it, as they were: only the others are looked at.
    """
    customer, is_settled = _as_they_were(members, before, undone)
    asked = ~is_settled
    if asked.any():
        found = _named(
            members.rows(asked[members.component]),
            _those(previous, _told_of(members, before, asked)),
            undone,
            before,
            key=key,
        )
        customer[found["component"].to_numpy()] = before.numbers(found["customer_id"])
    return customer


def _as_they_were(members: Members, before: Before, undone: pl.DataFrame) -> tuple[Numbers, Flags]:
    """The customer each component had, (n_components,), and whether it is settled that it has it still.

    It is where all known nodes of the component were one customer's, and that had no others; but for those of undone
    merges.
    """
    is_there = before.is_open & (before.node >= 0)
    had, at = before.customer[is_there], members.component[before.node[is_there]]
    one_of = np.full(len(members.is_known), -1, dtype=np.int32)
    one_of[at] = had
    settled = one_of >= 0
    settled[at[one_of[at] != had]] = False
    customers = before.count
    home = np.full(customers, -1, dtype=np.int32)
    home[had] = at
    is_split = _flags(customers, had[home[had] != at])
    told = pl.concat([undone["customer_id"], undone["other_customer_id"]]).drop_nulls().unique()
    ruled = before.numbers(told)
    is_split[ruled[ruled < customers]] = True
    settled[settled] = ~is_split[one_of[settled]]
    return one_of, settled


def _those(rows: pl.LazyFrame, flags: Flags) -> pl.DataFrame:
    """The rows that are flagged, (n_rows,); read a batch at a time."""
    found, at = [rows.clear().collect()], 0
    for batch in rows.collect_batches(maintain_order=True):
        found.append(batch.filter(pl.Series(flags[at : at + batch.height])))
        at += batch.height
    return pl.concat(found)


def _told_of(members: Members, before: Before, asked: Flags) -> Flags:
    """The rows of the map that tell what the components `asked` may be called, and what customers had that are gone."""
    customers = before.count
    is_alive = _flags(customers, before.customer[before.is_open])
    has_node = before.node >= 0
    among = np.zeros(len(before.node), dtype=np.bool_)
    among[has_node] = asked[members.component[before.node[has_node]]]
    told = among | ~is_alive[before.customer]
    # Where the nodes of those that are gone went to; and of every customer so far all it had.
    count = len(members.component)
    is_near = _flags(count, before.node[told & has_node])
    told[has_node] |= is_near[before.node[has_node]]
    told |= ~has_node
    return _flags(customers, before.customer[told])[before.customer]


def _flags(count: int, numbers: Numbers) -> Flags:
    """(count,), true for these."""
    flags = np.zeros(count, dtype=np.bool_)
    flags[numbers] = True
    return flags


# --- names ------------------------------------------------------------------------------------------------------------


def _named(
    members: pl.DataFrame, before: pl.DataFrame, undone: pl.DataFrame, ever: Before, *, key: bytes
) -> pl.DataFrame:
    """component, customer_id: the id its nodes have, or one they had, or a new one made from its earliest node.

    members, before: all that bears on these components; ever: the whole map, whose ids are never given anew.
    """
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
    earliest = _earliest(_without(unnamed, kept))
    told = pl.DataFrame(
        {"component": list(kept), "customer_id": list(kept.values())},
        schema={"component": pl.Int32, "customer_id": pl.String},
    )
    return pl.concat([told, earliest.select("component", _new_ids(earliest["node_id"], ever, key=key))])


def _new_ids(nodes: pl.Series, ever: Before, *, key: bytes) -> pl.Series:
    """customer_id for each of the nodes, of which none was ever given."""
    ids = pl.Series("customer_id", dtype=pl.String)
    for some in nodes.to_frame().iter_slices(_BATCH_ROWS):
        ids.append(pl.Series([new_id(node, frozenset(), key=key) for node in some.to_series()], dtype=pl.String))
    if ids.n_unique() == len(ids) and (ever.numbers(ids) >= ever.count).all():
        return ids
    # A part that was split off has the earliest node of an id that lives on: rare enough to spell out all there were.
    taken = set(ever.spelt(np.arange(ever.count, dtype=np.int32)))
    given = []
    for node in nodes:
        given.append(new_id(node, taken, key=key))
        taken.add(given[-1])
    return pl.Series("customer_id", given, dtype=pl.String)


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


# --- rows -------------------------------------------------------------------------------------------------------------


def revised(
    previous: pl.LazyFrame, members: Members, before: Before, customer: Numbers, *, as_of: datetime
) -> pl.LazyFrame:
    """`previous` with what no longer holds closed, and what is new opened, both at one instant.

    customer: (n_components,), as `named` gives it. The instant is `as_of`; when the map already changed then or later
    (a second look at the same window), the first microsecond after, so that no row is known for no time and no earlier
    answer is overwritten.
    """
    now = as_of if before.last is None or as_of > before.last else before.last + timedelta(microseconds=1)
    opened, closed = _changes(members, before, customer)
    came = opened.select(
        members.spelt(opened["node"].to_numpy()),
        pl.col("node_kind").cast(pl.String),
        before.spelt(opened["customer"].to_numpy()),
        "is_known",
        "valid_from",
        pl.lit(None, pl.Datetime("us", "UTC")).alias("valid_to"),
        pl.lit(now, pl.Datetime("us", "UTC")).alias("known_from"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("known_to"),
    )
    if not len(before.node):
        return came.lazy()
    is_closed = pl.col("row").is_in(pl.Series(closed, dtype=pl.UInt32).implode())
    ends = pl.when(is_closed).then(pl.lit(now, pl.Datetime("us", "UTC"))).otherwise("known_to")
    told = previous.with_row_index("row").with_columns(ends.alias("known_to")).drop("row")
    moved = pl.col("node_id").is_in(came["node_id"].implode())
    came = pl.concat([told.filter(moved).collect(engine="streaming"), came]).sort("node_id", "known_from")
    return told.filter(~moved).merge_sorted(came.lazy(), "node_id")


def _changes(members: Members, before: Before, customer: Numbers) -> tuple[pl.DataFrame, Codes]:
    """What is to be opened (node, node_kind, customer, is_known, valid_from), and the rows of `before` to close."""
    still = np.flatnonzero(before.is_open)
    row = np.full(len(members.component), -1, dtype=np.int64)
    has_node = before.node[still] >= 0
    row[before.node[still][has_node]] = still[has_node]
    was = before.said.with_columns(pl.Series("customer", before.customer))[np.maximum(row, 0)] if len(still) else None
    now = members.nodes.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("node"),
        pl.Series("customer", customer[members.component], dtype=pl.Int32),
        pl.Series("is_known", members.is_known[members.component]),
    )
    if was is None:
        return now, still
    is_new = pl.Series(row < 0)
    told = was.select(pl.all().name.suffix("_before"))
    met = pl.concat([now, told], how="horizontal")
    # Old evidence may have been deleted since: a node of the same customer is not younger for that.
    stays = ~pl.lit(is_new) & (pl.col("customer") == pl.col("customer_before"))
    met = met.with_columns(
        pl.when(stays)
        .then(pl.min_horizontal("valid_from", "valid_from_before"))
        .otherwise("valid_from")
        .alias("valid_from")
    )
    same = pl.all_horizontal(*(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in was.columns))
    is_same = met.select(~pl.lit(is_new) & same).to_series()
    kept = np.zeros(len(before.node), dtype=np.bool_)
    kept[row[is_same.to_numpy()]] = True
    return met.filter(~is_same).select(now.columns), np.flatnonzero(before.is_open & ~kept)


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
