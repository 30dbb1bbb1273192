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

from etl.kernels.numbering import NONE, Flags, Halves, Numbering, Numbers, halves, mixed, order, spelt
from etl.kernels.tally import NO_FIRST, NO_LAST, WORD, Tally
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
_HALF, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)

Ranks = npt.NDArray[np.uint8]
_BATCH_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """All nodes, sorted by pseudonym, and all pairs of them, sorted by both numbers.

    high, low: (n_nodes,), both halves of each node's pseudonym: as text they would be three times as large.
    nodes: node_kind, edge_count, first_at, last_at, systems_0...; a node's number is its row.
    pairs: left, right (node numbers), edge_kind, edge_count, first_at, last_at, systems_0...; left is the surer node.
    systems_0... are bits: of `systems`, in alphabetical order, who said so.
    """

    high: Halves
    low: Halves
    nodes: pl.DataFrame
    pairs: pl.DataFrame
    systems: tuple[str, ...]

    def spelt(self, numbers: npt.NDArray[np.integer]) -> pl.Series:
        """The pseudonyms of these nodes, (len(numbers),)."""
        return spelt(self.high[numbers], self.low[numbers])

    def numbers(self, nodes: pl.Series) -> pl.Series:
        """The number of each node, null where it is not among them."""
        high, low, present = halves(nodes)
        at = np.searchsorted(self.high, high)

        def there(known: Halves, sought: Halves) -> Flags:
            inside: Flags = at < len(known)
            inside[inside] = known[at[inside]] == sought[inside]
            return inside

        # Of two pseudonyms that share a half, which is rare, it may be the next one.
        while (beside := there(self.high, high) & ~there(self.low, low)).any():
            at[beside] += 1
        found = present & there(self.high, high)
        return pl.Series(np.where(found, at, NONE), dtype=pl.Int32).replace(NONE, None)


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
    numbering, of_pairs = Numbering(), Numbering()
    systems: list[str] = []
    alone, pairs = Tally(), Tally()
    for part in parts:
        for stars in part.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=False):
            if stars.height:
                _take_in(stars, systems, (numbering, alone), (of_pairs, pairs))
    high, low = numbering.met
    by_node = order(high, low)
    number = np.empty(len(by_node), dtype=np.int32)
    number[by_node] = np.arange(len(by_node), dtype=np.int32)
    nodes = _told(alone, by_node, "node_kind", systems)
    del alone
    ends = of_pairs.met[0]
    left, right = number[ends >> _HALF], number[ends & _LOWER]
    del of_pairs, ends, number
    by_pair = np.argsort(left.astype(np.int64) << 32 | right)
    both = pl.DataFrame({"left": left[by_pair], "right": right[by_pair]})
    both = pl.concat([both, _told(pairs, by_pair, "edge_kind", systems)], how="horizontal")
    del pairs, left, right, by_pair
    return Evidence(high[by_node], low[by_node], nodes, both, tuple(systems))


def _take_in(
    stars: pl.DataFrame, systems: list[str], alone: tuple[Numbering, Tally], pairs: tuple[Numbering, Tally]
) -> None:
    """The nodes by themselves and the pairs of these stars, added to `alone` and `pairs`."""
    systems.extend(sorted(set(stars["source"].unique()) - set(systems)))
    place = {name: at for at, name in enumerate(systems)}
    system = stars["source"].replace_strict(place, return_dtype=pl.Int32).to_numpy()
    first = stars["first_at"].to_physical().fill_null(NO_FIRST).to_numpy()
    last = stars["last_at"].to_physical().fill_null(NO_LAST).to_numpy()
    numbering, of_nodes = alone
    of_pairs, both = pairs
    node = numbering.numbers(stars["node_id"])
    # A subject that keeps no keys beside its node tells the node, not its kind; another one will.
    kind = np.where(stars["is_record"].to_numpy(), RANK[RECORD], RANK[UNKNOWN]).astype(np.uint8)
    for name, key in zip(KINDS, _KEYS, strict=True):
        if stars[key].null_count() == stars.height:
            continue
        other = numbering.numbers(stars[key])
        kind[other == node] = np.minimum(kind[other == node], RANK[name])
        other[other == node] = NONE
        rank = np.full(len(node), RANK[name], dtype=np.uint8)
        of_nodes.add(other, rank, first, last, system)
        ends = node.astype(np.uint64) << _HALF | other.astype(np.uint64)
        both.add(of_pairs.numbers_of(ends, mixed(ends), other >= 0), rank, first, last, system)
    of_nodes.add(node, kind, first, last, system)


def _told(tally: Tally, order: npt.NDArray[np.int64], kind: str, systems: Sequence[str]) -> pl.DataFrame:
    """What was added up, in this order: `kind`, edge_count, first_at, last_at, systems_0..."""
    words = range(max(1, -(-len(systems) // WORD)))
    return pl.DataFrame(
        {
            kind: tally.kind[order],
            "edge_count": tally.times[order],
            "first_at": tally.first[order],
            "last_at": tally.last[order],
            **{f"systems_{word}": tally.systems[word][order] for word in words if word < len(tally.systems)},
        }
    ).with_columns(
        pl.col("first_at").replace(NO_FIRST, None).cast(TIME), pl.col("last_at").replace(NO_LAST, None).cast(TIME)
    )


# --- systems as bits --------------------------------------------------------------------------------------------------


def named(told: pl.DataFrame, systems: Sequence[str]) -> pl.Series:
    """The systems of each row by name, in alphabetical order, off its bits."""
    words = [name for name in told.columns if name.startswith("systems_")]
    kinds = told.select(words).unique(maintain_order=True)
    names = [
        sorted(name for at, name in enumerate(systems) if row[at // WORD] >> (at % WORD) & 1)
        for row in kinds.iter_rows()
    ]
    spoken = kinds.with_columns(sources=pl.Series(names, dtype=pl.List(pl.String)))
    return told.select(words).join(spoken, on=words, how="left", maintain_order="left", nulls_equal=True)["sources"]


def bits_of(sources: pl.Series, systems: Sequence[str]) -> list[pl.Series]:
    """`systems_0`, ... of lists of names: what `named` makes names of."""
    lists = sources.unique()
    masks = [sum(1 << systems.index(name) for name in names) for names in lists]
    words = range(max(1, -(-len(systems) // WORD)))
    told = pl.DataFrame({"sources": lists}).with_columns(
        pl.Series(f"systems_{word}", [mask >> (WORD * word) & (1 << WORD) - 1 for mask in masks], dtype=pl.UInt64)
        for word in words
    )
    found = sources.alias("sources").to_frame().join(told, on="sources", how="left", maintain_order="left")
    return [found[f"systems_{word}"] for word in words]
