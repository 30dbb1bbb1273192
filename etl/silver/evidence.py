"""Who was seen with which identifier, gathered from the subjects and added up: what identity is judged by.

A row of a subject is a star: its surest identifier (or the record itself) in the middle, its other identifiers around
it. Stars of any parts of the subjects add up, so days can be gathered apart and united.

A million people are eleven million rows of evidence. Held as text these would not fit where a laptop has room, so a
node is a number here, in the order of the pseudonyms, and a kind its rank: the surest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.kernels.numbering import Flags, Numbering, Numbers, order, spelt
from etl.model import IdentityRules
from etl.privacy.pseudonyms import KINDS, RECORD

STRONG = ("card", "login", "email", "phone", "handle")
WEAK = ("cookie", "device")
UNKNOWN = "unknown"
RULING = "ruling"
#: The kinds of nodes, the surest first; a kind's place is its rank.
SURENESS = (RECORD, *KINDS, UNKNOWN)
RANK = {kind: rank for rank, kind in enumerate(SURENESS)}
KIND = pl.Enum(SURENESS)
#: An edge is of the kind of its right end, or a ruling.
EDGE_KIND = pl.Enum([*SURENESS, RULING])

_SURE = [RANK[kind] for kind in STRONG]

TIME = pl.Datetime("us", "UTC")
_TIMES = ("event_at", "ordered_at", "posted_at")
_KEYS = tuple(f"{kind}_key" for kind in KINDS)
_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "kind": pl.UInt8,
    "edge_count": pl.Int64,
    "first_at": TIME,
    "last_at": TIME,
    "systems_0": pl.UInt64,
}
_WORD = 64

Ranks = npt.NDArray[np.uint8]
_BATCH_ROWS = 200_000
_LEAST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """All nodes, sorted by pseudonym, and all pairs of them, sorted by both numbers.

    nodes: node_id, node_kind, edge_count, first_at, last_at, systems_0...; a node's number is its row.
    pairs: left, right (node numbers), edge_kind, edge_count, first_at, last_at, systems_0...; left is the surer node.
    systems_0... are bits: of `systems`, in alphabetical order, who said so.
    """

    nodes: pl.DataFrame
    pairs: pl.DataFrame
    systems: tuple[str, ...]

    def numbers(self, nodes: pl.Series) -> pl.Series:
        """The number of each node, null where it is not among them."""
        return (
            nodes.alias("node_id")
            .to_frame()
            .join(
                self.nodes.select("node_id").with_row_index("number").cast({"number": pl.Int32}),
                on="node_id",
                how="left",
                maintain_order="left",
            )["number"]
        )


def is_strong(left_kind: Ranks, edge_kind: Ranks) -> Flags:
    """Which pairs are sure evidence, by the ranks of their ends: a record or sure identifier with a sure identifier."""
    sure: Flags = np.isin(edge_kind, _SURE) & np.isin(left_kind, [RANK[RECORD], *_SURE])
    return sure


def above_cap(kind: Ranks, left: Numbers, right: Numbers, rules: IdentityRules) -> Flags:
    """Which identifiers have more sure neighbours than their cap, (n_nodes,).

    kind: (n_nodes,), ranks. left, right: (n_pairs,), the ends of the sure pairs.
    """
    neighbours = np.bincount(left, minlength=len(kind)) + np.bincount(right, minlength=len(kind))
    cap = np.full(len(SURENESS), np.iinfo(np.int64).max)
    cap[_SURE] = [rules.caps[name] for name in STRONG]
    above: Flags = neighbours > cap[kind]
    return above


def gathered(subject: pl.LazyFrame, *, record: bool = False) -> pl.LazyFrame:
    """The stars of one subject, or of any part of it: source, node, whether it is a record, keys and times.

    One row per row of the subject that names a node. `record`: the node is a record, not an identifier.
    """
    present = subject.collect_schema().names()
    if record:
        times = pl.min_horizontal("created_at", "updated_at"), pl.max_horizontal("created_at", "updated_at")
    else:
        time = next(name for name in _TIMES if name in present)
        times = pl.col(time), pl.col(time)
    return subject.filter(pl.col("node_id").is_not_null()).select(
        "source",
        "node_id",
        pl.lit(record, pl.Boolean).alias("is_record"),
        *(pl.col(key) if key in present else pl.lit(None, pl.String).alias(key) for key in _KEYS),
        times[0].cast(TIME).alias("first_at"),
        times[1].cast(TIME).alias("last_at"),
    )


def united(parts: Iterable[pl.LazyFrame]) -> Evidence:
    """Parts of the evidence as one: counts added, first and last times and systems united.

    Of the kinds a node was seen as the surest is its own: `unknown` yields to any other. Parts are read one by one, and
    a batch of rows at a time: in memory is what they add up to.
    """
    numbering = Numbering()
    systems: list[str] = []
    alone, pairs = _Sum(("left",)), _Sum(("left", "right"))
    for part in parts:
        for stars in part.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=False):
            if stars.height:
                _take_in(stars, numbering, systems, alone, pairs)
    high, low = numbering.met
    by_node = order(high, low)
    number = np.empty(len(by_node), dtype=np.int32)
    number[by_node] = np.arange(len(by_node), dtype=np.int32)
    both = _renumbered(_renumbered(pairs.total(), number, "left"), number, "right").sort("left", "right")
    return Evidence(
        _renumbered(alone.total(), number, "left")
        .sort("left")
        .select(spelt(high[by_node], low[by_node]).alias("node_id"), *_told("node_kind")),
        both.select("left", "right", *_told("edge_kind")),
        tuple(systems),
    )


def _take_in(stars: pl.DataFrame, numbering: Numbering, systems: list[str], alone: _Sum, pairs: _Sum) -> None:
    """The nodes by themselves and the pairs of these stars, added to `alone` and `pairs`."""
    systems.extend(sorted(set(stars["source"].unique()) - set(systems)))
    measured: list[pl.Expr | pl.Series] = [pl.lit(1, pl.Int64).alias("edge_count"), stars["first_at"], stars["last_at"]]
    measured.extend(_bits(stars["source"], systems))
    node = numbering.numbers(stars["node_id"])
    # A subject that keeps no keys beside its node tells the node, not its kind; another one will.
    kind = np.where(stars["is_record"].to_numpy(), RANK[RECORD], RANK[UNKNOWN]).astype(np.uint8)
    for name, key in zip(KINDS, _KEYS, strict=True):
        if stars[key].null_count() == stars.height:
            continue
        other = numbering.numbers(stars[key])
        kind[other == node] = np.minimum(kind[other == node], RANK[name])
        pair = pl.DataFrame({"left": node, "right": other}).with_columns(*measured, kind=pl.lit(RANK[name], pl.UInt8))
        pair = pair.filter((pl.col("right") >= 0) & (pl.col("right") != pl.col("left")))
        pairs.add(pair)
        alone.add(pair.drop("left").rename({"right": "left"}))
    alone.add(pl.DataFrame({"left": node, "kind": kind}).with_columns(*measured))


class _Sum:
    """Rows of evidence added up as they come: one per node (`left`), or per pair of nodes."""

    def __init__(self, ends: tuple[str, ...]) -> None:
        self._ends = list(ends)
        numbers: dict[str, type[pl.DataType] | pl.DataType] = {}
        numbers.update(dict.fromkeys(ends, pl.Int32))
        self._added = pl.DataFrame(schema={**numbers, **_SCHEMA})
        self._more: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame) -> None:
        """More rows: `ends`, kind, edge_count, times, systems_0..."""
        self._more.append(rows)
        if sum(each.height for each in self._more) > max(_LEAST_ROWS, self._added.height):
            self.total()

    def total(self) -> pl.DataFrame:
        """All that came so far, added up; in no order."""
        self._added = (
            pl.concat([self._added, *self._more], how="diagonal")
            .lazy()
            .group_by(self._ends)
            .agg(
                pl.col("kind").min(),
                pl.col("edge_count").sum(),
                pl.col("first_at").min(),
                pl.col("last_at").max(),
                pl.col("^systems_.*$").fill_null(0).bitwise_or(),
            )
            .collect(engine="streaming")
        )
        self._more = []
        return self._added


def _told(kind: str) -> list[pl.Expr]:
    return [pl.col("kind").alias(kind), pl.all().exclude("left", "right", "kind")]


def _renumbered(told: pl.DataFrame, number: npt.NDArray[np.int32], end: str) -> pl.DataFrame:
    return told.with_columns(pl.Series(end, number[told[end].to_numpy()]))


# --- systems as bits --------------------------------------------------------------------------------------------------


def _bits(source: pl.Series, systems: Sequence[str]) -> list[pl.Series]:
    """`systems_0`, ...: the bit of each row's source, 64 to a column."""
    place = source.replace_strict({name: at for at, name in enumerate(systems)}, return_dtype=pl.Int64).to_numpy()
    bit = np.left_shift(np.uint64(1), (place % _WORD).astype(np.uint64))
    words = range(-(-len(systems) // _WORD))
    return [pl.Series(f"systems_{word}", np.where(place // _WORD == word, bit, np.uint64(0))) for word in words]


def named(told: pl.DataFrame, systems: Sequence[str]) -> pl.Series:
    """The systems of each row by name, in alphabetical order, off its bits."""
    words = [name for name in told.columns if name.startswith("systems_")]
    kinds = told.select(words).unique(maintain_order=True)
    names = [
        sorted(name for at, name in enumerate(systems) if row[at // _WORD] >> (at % _WORD) & 1)
        for row in kinds.iter_rows()
    ]
    spoken = kinds.with_columns(sources=pl.Series(names, dtype=pl.List(pl.String)))
    return told.select(words).join(spoken, on=words, how="left", maintain_order="left", nulls_equal=True)["sources"]


def bits_of(sources: pl.Series, systems: Sequence[str]) -> list[pl.Series]:
    """`systems_0`, ... of lists of names: what `named` makes names of."""
    lists = sources.unique()
    masks = [sum(1 << systems.index(name) for name in names) for names in lists]
    words = range(max(1, -(-len(systems) // _WORD)))
    told = pl.DataFrame({"sources": lists}).with_columns(
        pl.Series(f"systems_{word}", [mask >> (_WORD * word) & (1 << _WORD) - 1 for mask in masks], dtype=pl.UInt64)
        for word in words
    )
    found = sources.alias("sources").to_frame().join(told, on="sources", how="left", maintain_order="left")
    return [found[f"systems_{word}"] for word in words]
