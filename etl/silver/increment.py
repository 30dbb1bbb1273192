"""What a change of the subjects can alter in the edges, and the evidence needed to judge just that again.

A node is touched when a row that names it came, went or changed. All evidence of a touched node is gathered anew, so a
deletion, a correction and a late row are no other case than a new day. Then, over node numbers:

  caps    are counted over all pairs; an identifier that gets above its cap, or below, stirs its neighbours
  sides   are components of sure evidence (capped identifiers cut out, rulings drawn in). One that holds a stirred node
          is judged again, whole: no verdict on sure evidence depends on anything outside its side
  claims  on a browser or device are settled again where it, or one of its claimants, may come out otherwise. Their
          other claimants are looked at too, but keep their own edges

Every other row stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.kernels.graph import Flags, Numbers, smallest_of_each
from etl.kernels.numbering import Numbering, order, spelt
from etl.model import IdentityRules
from etl.privacy.pseudonyms import RECORD
from etl.silver.evidence import (
    EDGE_KIND,
    KIND,
    RANK,
    UNKNOWN,
    Evidence,
    above_cap,
    bits_of,
    gathered,
    is_strong,
    named,
    united,
)

#: The subject whose nodes are records, and what identity asks of it beside its keys and times.
RECORDS = "person_records"
_NAMES = ("given_name", "family_name")
_TIMES = ("created_at", "updated_at", "event_at", "ordered_at", "posted_at")
_MEASURES = ("edge_count", "first_at", "last_at", "sources")


class Change(NamedTuple):
    """Rows of one input as they were when its reader was last built, and as they are; of the days that differ."""

    before: pl.LazyFrame
    after: pl.LazyFrame


class Since(NamedTuple):
    """What a table was when it was last built, by this program under these settings, and what changed since.

    `changes` are of the inputs that are not what they were then, by name.
    """

    previous: pl.LazyFrame
    changes: Mapping[str, Change]


@dataclass(frozen=True, slots=True)
class Affected:
    """The part of the evidence to judge again, and what of the outcome is new.

    seen: the evidence. crowded, alone, sides, claimed: (n_nodes,), of its nodes: which are above their cap; which have
    a new row of their own; an edge between surer nodes with an end in `sides`, or a claim on a node in `claimed`, has
    its new verdict. gone: the rows of the edges as they were that hold no longer, by number.
    """

    seen: Evidence
    crowded: Flags
    alone: Flags
    sides: Flags
    claimed: Flags
    gone: pl.Series


def touched(name: str, change: Change) -> pl.Series:
    """The nodes that are named by rows which came, went or changed, each once.

    Rows are counted by their 64-bit hashes: among a million changed rows the chance that one hides another is 10^-7.
    """
    columns = change.after.collect_schema().names()
    keys = [each for each in columns if each == "node_id" or each.endswith("_key")]
    told = [each for each in columns if each in ("source", *_TIMES) or (name == RECORDS and each in _NAMES)]
    sides = [side.filter(pl.col("node_id").is_not_null()).select(*keys, *told) for side in change]
    row = pl.struct(pl.all()).hash()
    counted = [side.select(row=row, sign=pl.lit(sign)) for side, sign in zip(sides, (-1, 1), strict=True)]
    differs = pl.concat(counted).group_by("row").agg(pl.col("sign").sum()).filter(pl.col("sign") != 0)
    rows = differs.collect(engine="streaming")["row"].implode()
    ends = [side.filter(row.is_in(rows)).select(node_id=pl.concat_list(keys)) for side in sides]
    return pl.concat(ends).explode("node_id").drop_nulls().unique().collect()["node_id"]


def affected(
    previous: pl.LazyFrame,
    subjects: Mapping[str, pl.LazyFrame],
    nodes: pl.Series,
    links: pl.DataFrame,
    rules: IdentityRules,
) -> Affected:
    """What can come out otherwise when these nodes are touched.

    previous: the edges as they were, sorted. subjects: all of them by name, as they are. nodes: each once. links:
    left_node_id and right_node_id of nodes that are judged together whatever the evidence.
    """
    was = _Was.of(previous)
    numbers = was.numbering.numbers(nodes)
    anew = _gathered_anew(was, subjects, nodes, _flags(was.numbering.count, numbers))
    code = was.numbering.numbers_of(anew.high, anew.low, np.ones(len(anew.high), dtype=np.bool_))
    count = was.numbering.count
    is_touched = _flags(count, numbers)
    came = is_touched[code]
    kind = np.full(count, RANK[UNKNOWN], dtype=np.uint8)
    kind[: len(was.kind)] = was.kind
    kind[code[came]] = anew.nodes["node_kind"].to_numpy()[came]

    # The pairs as they are: of touched nodes those gathered anew, of all others those that were.
    fresh = anew.pairs.with_columns(
        pl.Series(end, code[anew.pairs[end].to_numpy()], dtype=pl.Int32) for end in ("left", "right")
    )
    fresh = fresh.filter(_touch(is_touched, fresh))
    held = was.pairs.filter(~(was.pairs["is_drawn"] | _touch(is_touched, was.pairs)))
    pairs = pl.concat([held, fresh.select("left", "right", "edge_kind").with_row_index("fresh")], how="diagonal")
    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    strong = is_strong(kind[left], pairs["edge_kind"].to_numpy())
    weak = ~strong

    crowded = above_cap(kind, left[strong], right[strong], rules)
    capped = crowded[left] | crowded[right]
    one, other = was.pairs["left"].to_numpy(), was.pairs["right"].to_numpy()
    is_drawn = was.pairs["is_drawn"].to_numpy()
    was_strong = is_strong(was.kind[one], was.pairs["edge_kind"].to_numpy()) & ~is_drawn
    turned = was_strong & (was.pairs["is_capped"].to_numpy() != (crowded[one] | crowded[other]))
    stirred = is_touched | _flags(count, one[turned]) | _flags(count, other[turned])
    sure = np.flatnonzero(strong & ~capped)
    linked = [was.numbering.known(links[end]) for end in ("left_node_id", "right_node_id")]
    there = (linked[0] >= 0) & (linked[1] >= 0)
    side = smallest_of_each(
        count, np.concatenate([left[sure], linked[0][there]]), np.concatenate([right[sure], linked[1][there]])
    )
    sides = _flags(count, side[stirred])[side]
    claimed = is_touched.copy()
    for _ in range(2):  # browsers, then the devices they claim
        claimed[right[weak & (sides[left] | claimed[left])]] = True

    asked = claimed | _flags(count, left[weak & claimed[right]])
    looked_at = sides | _flags(count, side[left[weak & asked[right]]])[side]
    within = pairs.filter(pl.Series(np.where(strong, looked_at[left] | looked_at[right], asked[right])))
    is_part = _flags(count, within["left"].to_numpy()) | _flags(count, within["right"].to_numpy())
    is_part[code[came]] = True
    part = np.flatnonzero(is_part)
    high, low = was.numbering.met
    part = part[order(high[part], low[part])]

    by_sides = sides[one] | sides[other]
    redone = np.where(was_strong | is_drawn, by_sides, claimed[other] | is_touched[one])
    stays = np.ones(was.row_count, dtype=np.bool_)
    stays[was.alone] = ~is_touched[: len(was.kind)]
    stays[was.pairs["row"].to_numpy()] = ~redone
    return Affected(
        _evidence(previous, was, anew, fresh, code, within, part, kind, is_touched),
        crowded[part],
        is_touched[part],
        sides[part],
        claimed[part],
        pl.Series("row", np.flatnonzero(~stays), dtype=pl.UInt32),
    )


@dataclass(frozen=True, slots=True)
class _Was:
    """The edges as they were, in numbers.

    kind: (n_nodes,). alone: (n_nodes,), the row of each node by itself. pairs: row, left, right, edge_kind, is_drawn
    (by a ruling or the household rule, not seen), is_capped.
    """

    numbering: Numbering
    kind: npt.NDArray[np.uint8]
    alone: npt.NDArray[np.int64]
    pairs: pl.DataFrame
    row_count: int

    @classmethod
    def of(cls, previous: pl.LazyFrame) -> _Was:
        rows = previous.select(
            "left_node_id",
            "right_node_id",
            pl.col("node_kind").cast(KIND).to_physical(),
            pl.col("edge_kind").cast(EDGE_KIND).to_physical(),
            is_capped=pl.col("edge_state") == "capped",
        )
        numbering, row_count = Numbering(), 0
        by_itself, pairs = [_NODES], [_PAIRS]
        # A batch at a time: as text they are several times as large.
        for batch in rows.collect_batches(maintain_order=True):
            told = _numbered(batch, numbering, row_count)
            row_count += batch.height
            by_itself.append(told.filter(pl.col("edge_kind").is_null()).select(_NODES.columns))
            pairs.append(told.filter(pl.col("edge_kind").is_not_null()).select(_PAIRS.columns))
        nodes, both = pl.concat(by_itself), pl.concat(pairs)
        assert nodes.height == numbering.count, "every node stands in the edges by itself, once"
        kind, alone = np.empty(nodes.height, dtype=np.uint8), np.empty(nodes.height, dtype=np.int64)
        kind[nodes["left"].to_numpy()], alone[nodes["left"].to_numpy()] = nodes["node_kind"], nodes["row"]
        is_record = kind == RANK[RECORD]
        between = is_record[both["left"].to_numpy()] & is_record[both["right"].to_numpy()]
        drawn = pl.Series("is_drawn", between | (both["edge_kind"].to_numpy() == EDGE_KIND.categories.len() - 1))
        return cls(numbering, kind, alone, both.with_columns(drawn), row_count)


_NODES = pl.DataFrame(schema={"row": pl.UInt32, "left": pl.Int32, "node_kind": pl.UInt8})
_PAIRS = pl.DataFrame(
    schema={
        "row": pl.UInt32,
        "left": pl.Int32,
        "right": pl.Int32,
        "edge_kind": pl.UInt8,
        "is_capped": pl.Boolean,
    }
)


def _numbered(rows: pl.DataFrame, numbering: Numbering, first: int) -> pl.DataFrame:
    """Rows of the edges with their nodes as numbers, `right` of pairs alone, and `row`, counted on from `first`."""
    # They are sorted by the left node: each stretch of it is looked up once.
    stretch = rows["left_node_id"].rle()
    left = np.repeat(numbering.numbers(stretch.struct.field("value")), stretch.struct.field("len").to_numpy())
    right = rows.select(pl.when(pl.col("edge_kind").is_not_null()).then("right_node_id")).to_series()
    return rows.drop("left_node_id", "right_node_id").with_columns(
        pl.Series("left", left),
        pl.Series("right", numbering.numbers(right)),
        row=pl.int_range(first, first + pl.len(), dtype=pl.UInt32),
    )


def _gathered_anew(was: _Was, subjects: Mapping[str, pl.LazyFrame], nodes: pl.Series, is_touched: Flags) -> Evidence:
    """The evidence of every row that names a touched node: it has one in the middle, or a neighbour of one."""
    beside = np.unique(was.pairs.filter(pl.Series(is_touched[was.pairs["right"].to_numpy()]))["left"].to_numpy())
    high, low = was.numbering.met
    middles = pl.concat([nodes, spelt(high[beside], low[beside])]).unique().implode()
    return united(
        gathered(rows.filter(pl.col("node_id").is_in(middles)), record=name == RECORDS)
        for name, rows in subjects.items()
    )


def _evidence(
    previous: pl.LazyFrame,
    was: _Was,
    anew: Evidence,
    fresh: pl.DataFrame,
    code: Numbers,
    within: pl.DataFrame,
    part: npt.NDArray[np.int64],
    kind: npt.NDArray[np.uint8],
    is_touched: Flags,
) -> Evidence:
    """The evidence of the nodes `part`, sorted, and of the pairs `within`, in numbers of its own."""
    count = was.numbering.count
    old = part[~is_touched[part]]
    rows = pl.concat([within["row"].drop_nulls(), pl.Series("row", was.alone[old], dtype=pl.UInt32)])
    told = (
        previous.select(_MEASURES)
        .with_row_index("row")
        .filter(pl.col("row").is_in(rows.implode()))
        .collect(engine="streaming")
    )
    systems = tuple(sorted({*told["sources"].explode().drop_nulls().unique(), *anew.systems}))
    told = told.drop("sources").with_columns(bits_of(told["sources"], systems))

    def in_bits(gathered_anew: pl.DataFrame) -> pl.DataFrame:
        bits = bits_of(named(gathered_anew, anew.systems), systems)
        return gathered_anew.select(pl.all().exclude("^systems_.*$")).with_columns(bits)

    at = np.full(count, -1, dtype=np.int32)
    at[part] = np.arange(len(part), dtype=np.int32)
    alone_of = pl.DataFrame({"row": was.alone[old], "node": at[old]}, schema={"row": pl.UInt32, "node": pl.Int32})
    came = anew.nodes.with_columns(pl.Series("node", at[code])).filter(pl.Series(is_touched[code]))
    of_old = alone_of.join(told, on="row", how="left").drop("row")
    nodes = pl.concat([of_old, in_bits(came).select(of_old.columns)]).sort("node")
    high, low = was.numbering.met
    kinds = pl.DataFrame({"node_kind": kind[part]})

    seen = within.filter(pl.col("row").is_not_null()).select("row", "left", "right", "edge_kind")
    seen = seen.join(told, on="row", how="left").drop("row")
    new = in_bits(fresh[within["fresh"].drop_nulls()]).select(seen.columns)
    pairs = pl.concat([seen, new])
    pairs = pairs.with_columns(pl.Series(end, at[pairs[end].to_numpy()]) for end in ("left", "right"))
    nodes = pl.concat([kinds, nodes.drop("node")], how="horizontal")
    return Evidence(high[part], low[part], nodes, pairs.sort("left", "right"), systems)


def _flags(count: int, nodes: Numbers | npt.NDArray[np.int64]) -> Flags:
    """(count,), true for these nodes."""
    flags = np.zeros(count, dtype=np.bool_)
    flags[nodes] = True
    return flags


def _touch(flags: Flags, pairs: pl.DataFrame) -> pl.Series:
    """Which pairs have an end that is flagged."""
    return pl.Series(flags[pairs["left"].to_numpy()] | flags[pairs["right"].to_numpy()])
