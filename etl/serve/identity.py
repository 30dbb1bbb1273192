"""Why records are one customer, or are not; what identity refused to believe; and how right it is.

Pure functions over `silver.identity_edges`, `silver.identity_map` and `silver.person_records`. Nodes are shown as
records (`hubspot:contacts:1042`) or as a kind and its pseudonym: no value of a person is in any answer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from etl.privacy.pseudonyms import KINDS, RECORD
from etl.silver.linkage import OTHER, Model

USED = "used"
_SURENESS = {kind: rank for rank, kind in enumerate((RECORD, *KINDS))}


# --- why --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """One edge on the way: from node to node, by an identifier of `kind`, with what became of it.

    `sources` are the systems that saw the two together, `count` times since `first_at`.
    """

    left: str
    right: str
    kind: str
    state: str
    sources: tuple[str, ...]
    count: int
    first_at: datetime | None


def chain(edges: pl.DataFrame, one: str, other: str, *, all_states: bool = False) -> list[Link] | None:
    """The edges that join two nodes, from `one` to `other`, fewest first; None when nothing does.

    Only edges that are used count; `all_states` also walks those that were refused, as few of them as can be. Of chains
    of one length the surer kinds win, then the older edges. Empty when both are the same node.
    """
    pairs = edges.filter(pl.col("left_node_id") != pl.col("right_node_id"))
    if not all_states:
        pairs = pairs.filter(pl.col("edge_state") == USED)
    rank = pl.col("edge_kind").replace_strict(_SURENESS, default=len(_SURENESS), return_dtype=pl.Int64)
    refused = (pl.col("edge_state") != USED).cast(pl.Int64)
    both = pl.concat(
        [
            pairs.select("*", at="left_node_id", to="right_node_id"),
            pairs.select("*", at="right_node_id", to="left_node_id"),
        ]
    ).with_columns(rank=rank, refused=refused)
    # Breadth first from `one`, a level at a time over the whole frame: a chain is short, and the edges are many.
    reached = pl.DataFrame({"node": [one], "cost": [0]}, schema={"node": pl.String, "cost": pl.Int64})
    came: dict[str, tuple[str, dict[str, object]]] = {}
    frontier = reached
    while frontier.height and not (not all_states and other in came):
        steps = (
            both.join(frontier, left_on="at", right_on="node")
            .with_columns(total=pl.col("cost") + 1 + pl.col("refused") * _DETOUR)
            .join(reached.rename({"cost": "known"}), left_on="to", right_on="node", how="left")
            .filter(pl.col("known").is_null() | (pl.col("total") < pl.col("known")))
            .sort("total", "rank", "first_at", "at", "to", nulls_last=True)
            .unique("to", keep="first", maintain_order=True)
        )
        for step in steps.iter_rows(named=True):
            came[str(step["to"])] = (str(step["at"]), step)
        frontier = steps.select(node="to", cost="total")
        reached = pl.concat([reached.join(frontier, on="node", how="anti"), frontier])
    if one == other:
        return []
    if other not in came:
        return None
    links: list[Link] = []
    node = other
    while node != one:
        node, step = came[node]
        links.append(_link(step))
    return links[::-1]


#: A refused edge counts for as many used ones, so that as few as can be are on the way.
_DETOUR = 1_000


def _link(step: Mapping[str, object]) -> Link:
    first_at = step["first_at"]
    assert first_at is None or isinstance(first_at, datetime)
    sources, count = step["sources"], step["edge_count"]
    assert isinstance(sources, list)
    assert isinstance(count, int)
    return Link(
        left=str(step["at"]),
        right=str(step["to"]),
        kind=str(step["edge_kind"]),
        state=str(step["edge_state"]),
        sources=tuple(sources),
        count=count,
        first_at=first_at,
    )


def names_of_nodes(edges: pl.DataFrame, records: pl.DataFrame, nodes: Iterable[str]) -> dict[str, str]:
    """How nodes are shown: `source:stream:record_id` for records, kind and pseudonym for identifiers."""
    wanted = list(dict.fromkeys(nodes))
    alone = edges.filter(
        (pl.col("left_node_id") == pl.col("right_node_id")) & pl.col("left_node_id").is_in(wanted)
    ).select("left_node_id", "node_kind")
    shown = {node: f"{kind} {node[:12]}" for node, kind in alone.iter_rows()}
    told = records.filter(pl.col("node_id").is_in(wanted)).select("node_id", "source", "stream", "record_id")
    return shown | {node: f"{source}:{stream}:{record}" for node, source, stream, record in told.iter_rows()}


# --- how probable -----------------------------------------------------------------------------------------------------

MATCH = "match"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a waterfall: what was compared, the level that holds, its weight in bits, and the sum so far.

    `probability` is what the sum so far says. The first step is the prior.
    """

    comparison: str
    level: str
    weight: float
    total: float
    probability: float


def waterfall(model: Model, levels: Mapping[str, str | None]) -> tuple[Step, ...]:
    """How a match weight comes about: the prior, then every comparison that had something to compare."""
    total = model.prior_weight
    steps = [Step("prior", "two random customers", total, total, _probability(total))]
    for comparison, level in levels.items():
        if level is not None:
            weight = model.weight(comparison, level)
            total += weight
            steps.append(Step(comparison, level, weight, total, _probability(total)))
    return tuple(steps)


def _probability(weight: float) -> float:
    return float(1 / (1 + 2.0**-weight))


def as_edges(matches: pl.DataFrame) -> pl.DataFrame:
    """Matches as edges between records, of kind `match`: a link is used, any other state stays what it is."""
    return matches.filter(pl.col("left_node_id") != pl.col("right_node_id")).select(
        "left_node_id",
        "right_node_id",
        node_kind=pl.lit(RECORD),
        edge_kind=pl.lit(MATCH),
        edge_count=pl.lit(1, pl.Int64),
        first_at=pl.lit(None, pl.Datetime("us", "UTC")),
        last_at=pl.lit(None, pl.Datetime("us", "UTC")),
        sources=pl.lit([], pl.List(pl.String)),
        edge_state=pl.when(pl.col("match_state") == "link").then(pl.lit(USED)).otherwise("match_state"),
    )


def waiting(matches: pl.DataFrame, ruled: Collection[frozenset[str]]) -> pl.DataFrame:
    """The matches that wait for a person, the likeliest first: those to review, and those between several.

    left_node_id, right_node_id, match_probability, match_weight, match_state, agrees, differs (comparisons and levels).
    matches: with the customers of both sides, left_customer_id and right_customer_id. ruled: pairs of customers that
    somebody ruled about already; their cases are closed.
    """
    cases = matches.filter(pl.col("match_state").is_in(["review", "ambiguous"])).sort(
        "match_weight", "left_node_id", "right_node_id", descending=[True, False, False]
    )
    closed = [frozenset(pair) in ruled for pair in cases.select("left_customer_id", "right_customer_id").iter_rows()]
    told = [json.loads(levels) for levels in cases["compared_levels"]]
    return cases.with_columns(
        pl.Series("agrees", [_told(levels, is_other=False) for levels in told], dtype=pl.String),
        pl.Series("differs", [_told(levels, is_other=True) for levels in told], dtype=pl.String),
    ).filter(~pl.Series(closed, dtype=pl.Boolean))


def _told(levels: Mapping[str, str | None], *, is_other: bool) -> str:
    """`given_name same, address same`: the comparisons that agree in some way, or those that do not."""
    said = {name: level for name, level in levels.items() if level is not None and (level == OTHER) is is_other}
    return ", ".join(name if is_other else f"{name} {level}" for name, level in said.items())


# --- what was not believed --------------------------------------------------------------------------------------------


def refused_edges(edges: pl.DataFrame) -> pl.DataFrame:
    """What each guard turned away: edge_state, edge_kind, edges, identifiers, the most edges of one identifier.

    The most edges first.
    """
    return (
        edges.filter((pl.col("edge_state") != USED) & pl.col("edge_kind").is_not_null())
        .with_columns(pl.len().over("right_node_id", "edge_state").alias("_of_one"))
        .group_by("edge_state", "edge_kind")
        .agg(
            pl.len().alias("edges"),
            pl.col("right_node_id").n_unique().alias("identifiers"),
            pl.col("_of_one").max().alias("most_of_one"),
        )
        .sort("edges", "edge_state", "edge_kind", descending=[True, False, False])
    )


def busiest(edges: pl.DataFrame, *, limit: int) -> pl.DataFrame:
    """The identifiers with the most refused edges: node_id, edge_kind, edge_state, edges, sources; the most first."""
    return (
        edges.filter((pl.col("edge_state") != USED) & pl.col("edge_kind").is_not_null())
        .group_by(pl.col("right_node_id").alias("node_id"), "edge_kind", "edge_state")
        .agg(pl.len().alias("edges"), pl.col("sources").explode().unique().sort().str.join(", "))
        .sort("edges", "node_id", descending=[True, False])
        .head(limit)
    )


def largest(edges: pl.DataFrame, identity_map: pl.DataFrame, *, limit: int) -> pl.DataFrame:
    """The largest customers and what holds them together.

    customer_id, nodes, records, and of the identifier with most used edges in it: kind, node_id and edges.
    identity_map: the map as it stands (node_id, node_kind, customer_id).
    """
    sizes = (
        identity_map.group_by("customer_id")
        .agg(pl.len().alias("nodes"), (pl.col("node_kind") == RECORD).sum().alias("records"))
        .sort("nodes", "customer_id", descending=[True, False])
        .head(limit)
    )
    members = identity_map.join(sizes, on="customer_id", how="semi").select("node_id", "customer_id")
    used = edges.filter((pl.col("edge_state") == USED) & (pl.col("left_node_id") != pl.col("right_node_id")))
    holds = (
        used.join(members, left_on="right_node_id", right_on="node_id")
        .group_by("customer_id", "right_node_id", "edge_kind")
        .agg(pl.len().alias("edges"))
        .sort("edges", "right_node_id", descending=[True, False])
        .unique("customer_id", keep="first", maintain_order=True)
        .rename({"right_node_id": "node_id", "edge_kind": "kind"})
    )
    return sizes.join(holds, on="customer_id", how="left", maintain_order="left").select(
        "customer_id", "nodes", "records", "kind", "node_id", "edges"
    )


# --- how right --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Score:
    """Clusters against a truth, 0..1 each; 1 where there was nothing to find.

    precision, recall  of pairs: of those put together how many belong, of those that belong how many are together
    b_cubed_precision, b_cubed_recall  the same, as the mean over records (Bagga and Baldwin 1998)
    exact  the share of people whose records are one customer, and nobody else's
    """

    records: int
    people: int
    customers: int
    precision: float
    recall: float
    b_cubed_precision: float
    b_cubed_recall: float
    exact: float

    @property
    def f1(self) -> float:
        """The harmonic mean of pairwise precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def scored(pairs: pl.DataFrame) -> Score:
    """The score of `pairs`: one row a record, with its `customer_id` and its true `person_id`.

    Counts pairs from the sizes of the classes, so a million records are no matter (Menestrina et al. 2010, pairwise).
    """
    size = pl.len().cast(pl.Int64)
    met = pairs.group_by("customer_id", "person_id").agg(both=size)
    found, true = pairs.group_by("customer_id").agg(found=size), pairs.group_by("person_id").agg(true=size)
    met = met.join(found, on="customer_id").join(true, on="person_id")

    def count(sizes: pl.Series) -> int:
        return int((sizes * (sizes - 1) // 2).sum())

    both, put_together, belonging = count(met["both"]), count(found["found"]), count(true["true"])
    squared = (pl.col("both") * pl.col("both")).cast(pl.Float64)
    whole = max(pairs.height, 1)
    exact = met.filter((pl.col("both") == pl.col("found")) & (pl.col("both") == pl.col("true"))).height
    return Score(
        records=pairs.height,
        people=true.height,
        customers=found.height,
        precision=both / put_together if put_together else 1.0,
        recall=both / belonging if belonging else 1.0,
        b_cubed_precision=float(met.select((squared / pl.col("found")).sum()).item()) / whole if pairs.height else 1.0,
        b_cubed_recall=float(met.select((squared / pl.col("true")).sum()).item()) / whole if pairs.height else 1.0,
        exact=exact / true.height if true.height else 1.0,
    )
