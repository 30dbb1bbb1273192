"""Who was seen with which identifier, and what the guards made of it: the evidence identity is settled from.

Read by `identity_map` (the `used` edges) and by whoever asks why two records are, or are not, one customer.

What people ruled (`bronze.identity_rulings`) comes before all else. Then the guards, surest first:
  capped     an identifier with more neighbours than any person has (info@, 000000) joins nobody
  conflict   a household shares its e-mail and telephone: they join only records whose given names agree
  vetoed     a person has one loyalty card: what would put two cards into one customer joins nothing
  ambiguous  a browser or device that several customers claim belongs to none of them
An address makes no edge at all, so living together never merges anyone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.kernels.graph import SOLE, Flags, settle_claims
from etl.kernels.numbering import Numbering, Numbers
from etl.model import USUAL_RULES, IdentityRules, Layer, Table
from etl.model.frames import empty, schema_of
from etl.privacy.pseudonyms import RECORD
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.silver.consents import CONSENTS
from etl.silver.device_events import DEVICE_EVENTS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.evidence import (
    EDGE_KIND,
    RANK,
    RULING,
    STRONG,
    WEAK,
    Evidence,
    above_cap,
    gathered,
    is_strong,
    named,
    united,
)
from etl.silver.given_names import Name, groups, normalised
from etl.silver.increment import RECORDS, Since, affected, touched
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.resolution import Codes, Rulings, are_apart, components, guarded, joinable, suspects
from etl.silver.rulings import APART, ruled_apart, standing
from etl.silver.social_posts import SOCIAL_POSTS
from etl.silver.web_events import WEB_EVENTS

UNIQUE = "card"
STATES = pl.Enum(["used", "ambiguous", "conflict", "capped", "vetoed", "ruled_out"])
_STATE = {name: np.uint8(at) for at, name in enumerate(STATES.categories)}

_RECORD, _UNIQUE = RANK[RECORD], RANK[UNIQUE]
_STRONG, _WEAK = [RANK[kind] for kind in STRONG], [RANK[kind] for kind in WEAK]
_RULING = np.uint8(EDGE_KIND.categories.len() - 1)
_BATCH_ROWS = 250_000


def build_identity_edges(
    person_records: pl.LazyFrame,
    web_events: pl.LazyFrame,
    orders: pl.LazyFrame,
    order_lines: pl.LazyFrame,
    email_events: pl.LazyFrame,
    social_posts: pl.LazyFrame,
    consents: pl.LazyFrame,
    campaign_interactions: pl.LazyFrame,
    device_events: pl.LazyFrame,
    identity_rulings: pl.LazyFrame,
    *,
    rules: IdentityRules = USUAL_RULES,
    since: Since | None = None,
) -> pl.LazyFrame:
    """Every pair of nodes seen together with its verdict, and every node by itself.

    Sorted by left and right node. The verdicts depend on all the evidence and on nothing else: `since` only saves
    judging what changes cannot alter. Without it everything is judged.
    """
    subjects = {
        RECORDS: person_records,
        "web_events": web_events,
        "orders": orders,
        "order_lines": order_lines,
        "email_events": email_events,
        "social_posts": social_posts,
        "consents": consents,
        "campaign_interactions": campaign_interactions,
        "device_events": device_events,
    }
    names = person_records.select("node_id", "given_name", "family_name")
    if since is None:
        seen = united(gathered(rows, record=name == RECORDS) for name, rows in subjects.items())
        return spelt_out(seen, weighed(seen, names, standing(identity_rulings.collect()), rules=rules))
    return spliced(since.previous, judged_again(since, subjects, names, identity_rulings.collect(), rules))


# --- an increment -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Redone:
    """What a change made of the edges: the rows that go, by their numbers, and those that come."""

    gone: pl.Series
    came: pl.DataFrame


def judged_again(
    since: Since,
    subjects: Mapping[str, pl.LazyFrame],
    names: pl.LazyFrame,
    rulings: pl.DataFrame,
    rules: IdentityRules,
) -> Redone:
    """The edges after the subjects or rulings changed.

    subjects, names (of the records), rulings: all of them, as they are now.
    """
    stand, changes = standing(rulings), since.changes
    # A node somebody ruled about is always looked at again: they are few, and a ruling may reach far.
    logs = [rulings, *(side.collect() for side in changes.get(IDENTITY_RULINGS.name, ()))]
    ruled = [log[end].explode() for log in logs for end in ("left_node_ids", "right_node_ids")]
    told = [touched(name, change) for name, change in changes.items() if name in subjects]
    nodes = pl.concat([*told, *ruled]).drop_nulls().unique()
    always = stand.filter(pl.col("ruling") == "always").select(
        pl.col("left_node_ids", "right_node_ids").list.first().name.map(lambda name: name.removesuffix("s"))
    )
    part = affected(since.previous, subjects, nodes, always, rules)
    records = part.seen.spelt(np.flatnonzero(part.seen.nodes["node_kind"].to_numpy() == _RECORD))
    called = names.filter(pl.col("node_id").is_in(records.implode())).collect()
    pairs = weighed(part.seen, called, stand, rules=rules, crowded=part.crowded)
    left, right = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    kind, edge_kind = part.seen.nodes["node_kind"].to_numpy(), pairs["edge_kind"].to_numpy()
    drawn = (edge_kind == _RULING) | (kind[right] == _RECORD)
    sure = drawn | is_strong(kind[left], edge_kind)
    new = np.where(sure, part.sides[left] | part.sides[right], part.claimed[right])
    return Redone(part.gone, spelt_out(part.seen, pairs.filter(pl.Series(new)), alone=part.alone).collect())


def spliced(previous: pl.LazyFrame, redone: Redone) -> pl.LazyFrame:
    """`previous`, which is sorted, with the rows that stay and those that came; sorted."""
    stays = previous.with_row_index("row").filter(~pl.col("row").is_in(redone.gone.implode())).drop("row")
    # Rows of one left node are put in order together; between them the two are only merged.
    moved = redone.came["left_node_id"].unique().implode()
    beside = stays.filter(pl.col("left_node_id").is_in(moved)).collect()
    came = pl.concat([redone.came, beside]).sort("left_node_id", "right_node_id")
    return stays.filter(~pl.col("left_node_id").is_in(moved)).merge_sorted(came.lazy(), "left_node_id")


# --- verdicts ---------------------------------------------------------------------------------------------------------


def judged(
    seen: Evidence,
    names: pl.DataFrame,
    rulings: pl.DataFrame | None = None,
    *,
    rules: IdentityRules = USUAL_RULES,
) -> pl.DataFrame:
    """The evidence with `edge_state`, and the edges that rulings and the household rule draw between records.

    names: node_id, given_name and family_name of the records. rulings: those that stand (`etl.silver.rulings`); of
    nodes that are no longer in the evidence they say nothing. Sorted by left and right node.
    """
    return spelt_out(seen, weighed(seen, names, rulings, rules=rules)).collect()


def weighed(
    seen: Evidence,
    names: pl.DataFrame | pl.LazyFrame,
    rulings: pl.DataFrame | None = None,
    *,
    rules: IdentityRules = USUAL_RULES,
    crowded: Flags | None = None,
) -> pl.DataFrame:
    """The pairs of `judged` in numbers: left, right, left_kind, edge_kind, edge_count, times, systems_0..., edge_state.

    In no order, and without the nodes by themselves. crowded: (n_nodes,), which nodes are above their cap, where `seen`
    is a part of the evidence that does not tell.
    """
    kind = seen.nodes["node_kind"].to_numpy()
    called = _Called.of(seen, names.lazy().collect())
    pairs = seen.pairs.with_columns(pl.Series("left_kind", kind[seen.pairs["left"].to_numpy()]))
    sure = pl.Series(is_strong(pairs["left_kind"].to_numpy(), pairs["edge_kind"].to_numpy()))
    strong, weak = pairs.filter(sure), pairs.filter(~sure)
    if crowded is None:
        crowded = above_cap(kind, strong["left"].to_numpy(), strong["right"].to_numpy(), rules)

    stands = standing(empty(IDENTITY_RULINGS.columns)) if rulings is None else rulings
    always = _ruled_one(seen, stands).select(*strong.columns, pl.lit("used", STATES).alias("edge_state"))
    ruled = Rulings(list(always.select("left", "right").iter_rows()), _ruled_apart(seen, stands))
    strong = strong.pipe(_with_caps, crowded).pipe(_with_households, called, ruled, rules).pipe(_without_pairs, always)
    strong = pl.concat([always, _with_guards(strong, called, ruled, rules)])
    return pl.concat([strong, _with_claims(weak, strong, ruled, seen.nodes.height)])


def spelt_out(seen: Evidence, pairs: pl.DataFrame, *, alone: Flags | None = None) -> pl.LazyFrame:
    """Nodes by themselves and judged pairs as the table has them, sorted. alone: (n_nodes,), which nodes; None for all.

    A batch at a time: as text they are several times as large.
    """
    schema = schema_of(IDENTITY_EDGES.columns)
    itself = np.arange(seen.nodes.height, dtype=np.int64)
    order = np.argsort(np.concatenate([(itself << 32) | itself, _pair_key(pairs)]))
    if alone is not None:
        order = order[np.concatenate([alone, np.ones(pairs.height, dtype=np.bool_)])[order]]

    def batches(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        size = batch_rows or _BATCH_ROWS
        end = len(order) if rows is None else min(rows, len(order))
        for at in range(0, max(end, 1), size):
            batch = _spelt(seen, pairs, order[at : min(at + size, end)]).select(columns or list(schema))
            yield batch if predicate is None else batch.filter(predicate)

    return pl.io.plugins.register_io_source(batches, schema=schema, is_pure=True)


def _spelt(seen: Evidence, pairs: pl.DataFrame, rows: Codes) -> pl.DataFrame:
    """The rows of the table at these places: the nodes by themselves first, then the pairs."""
    alone, paired = rows[rows < seen.nodes.height], rows[rows >= seen.nodes.height] - seen.nodes.height
    itself = seen.nodes[alone].with_columns(
        pl.Series("left", alone, dtype=pl.Int32),
        pl.Series("right", alone, dtype=pl.Int32),
        left_kind="node_kind",
        edge_kind=pl.lit(None, pl.UInt8),
        edge_state=pl.lit("used", STATES),
    )
    found = pl.concat([itself.select(pairs.columns), pairs[paired]])
    found = found[np.argsort(_pair_key(found))]
    return pl.DataFrame(
        {
            "left_node_id": seen.spelt(found["left"].to_numpy()),
            "node_kind": found["left_kind"].cat.to(EDGE_KIND).cast(pl.String),
            "right_node_id": seen.spelt(found["right"].to_numpy()),
            "edge_kind": found["edge_kind"].cat.to(EDGE_KIND).cast(pl.String),
            "edge_count": found["edge_count"],
            "first_at": found["first_at"],
            "last_at": found["last_at"],
            "sources": named(found, seen.systems),
            "edge_state": found["edge_state"].cast(pl.String),
        }
    ).with_columns(
        pl.when(pl.col("edge_kind") == RULING)
        .then(pl.lit([RULING], pl.List(pl.String)))
        .otherwise("sources")
        .alias("sources")
    )


def _pair_key(pairs: pl.DataFrame) -> Codes:
    """Both ends as one number, in the order of (left, right)."""
    key: Codes = (pairs["left"].to_numpy().astype(np.int64) << 32) | pairs["right"].to_numpy()
    return key


@dataclass(frozen=True, slots=True)
class _Called:
    """What the records are called: for each node which of `names` it has, and which given name that is; -1 for none.

    Only a record with a given name has one. `given` is of each node, `given_of` of each name.
    """

    name: npt.NDArray[np.int32]
    given: npt.NDArray[np.int32]
    names: list[Name]

    @classmethod
    def of(cls, seen: Evidence, names: pl.DataFrame) -> _Called:
        there = names.select("given_name", "family_name", number=seen.numbers(names["node_id"]))
        told = there.filter(pl.col("number").is_not_null() & pl.col("given_name").is_not_null())
        plain = told.select(
            "number", given=_normalised(told["given_name"]), family=_normalised(told["family_name"].fill_null(""))
        ).filter(pl.col("given") != "")
        distinct = plain.select("given", "family").unique().sort("given", "family")
        coded = distinct.with_columns(code=pl.int_range(pl.len(), dtype=pl.Int32), first=pl.col("given").rle_id())
        found = plain.join(coded, on=["given", "family"], how="left", maintain_order="left")
        of_node = [np.full(seen.nodes.height, -1, dtype=np.int32) for _ in range(2)]
        for column, of_each in zip(("code", "first"), of_node, strict=True):
            of_each[found["number"].to_numpy()] = found[column].to_numpy()
        return cls(of_node[0], of_node[1], [Name(*row) for row in distinct.iter_rows()])


def _normalised(texts: pl.Series) -> pl.Series:
    """The normalised names, each distinct text looked at once."""
    distinct = texts.unique()
    plain = pl.Series([normalised(text) for text in distinct], dtype=pl.String)
    return texts.replace_strict(distinct, plain, return_dtype=pl.String) if len(distinct) else texts


def _ruled_one(seen: Evidence, stands: pl.DataFrame) -> pl.DataFrame:
    """What is ruled one customer, of nodes that are there, as edges: the smaller node to the left, one row a pair."""
    always = stands.filter(pl.col("ruling") == "always")
    systems = [name for name in seen.pairs.columns if name.startswith("systems_")]
    ends = pl.col("left"), pl.col("right")
    there = (
        always.with_columns(
            left=seen.numbers(always["left_node_ids"].list.first()),
            right=seen.numbers(always["right_node_ids"].list.first()),
        )
        .drop_nulls(["left", "right"])
        .with_columns(left=pl.min_horizontal(*ends), right=pl.max_horizontal(*ends))
        .sort("made_at", "ruling_id")
        .unique(["left", "right"], keep="first", maintain_order=True)
    )
    return there.with_columns(
        seen.nodes["node_kind"].gather(there["left"]).alias("left_kind"),
        pl.lit(_RULING, pl.UInt8).alias("edge_kind"),
        pl.lit(1, pl.Int64).alias("edge_count"),
        pl.col("made_at").alias("first_at"),
        pl.col("made_at").alias("last_at"),
        *(pl.lit(0, pl.UInt64).alias(name) for name in systems),
    )


def _ruled_apart(seen: Evidence, stands: pl.DataFrame) -> list[tuple[list[int], list[int]]]:
    """The sides that may not meet, as node numbers, of nodes that are there."""
    apart = stands.filter(pl.col("ruling").is_in(APART))
    named = pl.concat([apart["left_node_ids"].explode(), apart["right_node_ids"].explode()]).drop_nulls().unique()
    number_of = {node: n for node, n in zip(named, seen.numbers(named), strict=True) if n is not None}
    return [
        ([number_of[node] for node in left], [number_of[node] for node in right])
        for left, right in ruled_apart(apart, number_of)
    ]


def _without_pairs(strong: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """`strong` without edges between the two nodes of a pair: the ruling says it all."""
    if not pairs.height:
        return strong
    both = pl.concat([pairs.select("left", "right"), pairs.select(left="right", right="left")])
    return strong.join(both, on=["left", "right"], how="anti", maintain_order="left")


def _with_caps(strong: pl.DataFrame, crowded: Flags) -> pl.DataFrame:
    """`edge_state`: capped where one end is an identifier with more strong neighbours than its cap, else null."""
    capped = pl.Series(crowded[strong["left"].to_numpy()] | crowded[strong["right"].to_numpy()])
    return strong.with_columns(pl.when(capped).then(pl.lit("capped", STATES)).alias("edge_state"))


def _with_households(strong: pl.DataFrame, called: _Called, rulings: Rulings, rules: IdentityRules) -> pl.DataFrame:
    """A shared e-mail or phone under more than one given name is the household's: it joins nobody by itself.

    Unless surer kinds say that all who claim it are one, and nobody ruled otherwise. Its edges become `conflict`;
    instead, records of one name that share it are joined directly, by an edge between the records. Records without a
    given name, or with one that fits several people, stay unjoined.
    """
    shared = _shared(strong, called, rulings, rules)
    crowded: list[int] = []
    ones: list[int] = []
    others: list[int] = []
    claims = zip(shared["right"].to_list(), enumerate(shared["name"].to_list()), strict=True)
    for identifier, claimants in groupby(claims, key=itemgetter(0)):
        named_rows = [(row, called.names[name]) for _, (row, name) in claimants if name >= 0]
        group_of = groups(name for _, name in named_rows)
        if len(set(group_of.values())) < 2:
            continue
        crowded.append(identifier)
        first_of: dict[int, int] = {}
        for row, name in named_rows:
            group = group_of[name]
            if group is not None and first_of.setdefault(group, row) != row:
                ones.append(first_of[group])
                others.append(row)
    is_crowded = np.zeros(len(called.given), dtype=np.bool_)
    is_crowded[crowded] = True
    touches = pl.Series(is_crowded[strong["left"].to_numpy()] | is_crowded[strong["right"].to_numpy()])
    conflict = (
        pl.when(pl.col("edge_state").is_null() & touches).then(pl.lit("conflict", STATES)).otherwise("edge_state")
    )
    between = _between(shared[ones], shared[others]).select(strong.columns)
    return pl.concat([strong.with_columns(conflict.alias("edge_state")), between])


def _shared(strong: pl.DataFrame, called: _Called, rulings: Rulings, rules: IdentityRules) -> pl.DataFrame:
    """The open edges from records to what a household may share: where several names use it, and nothing surer says
    that they are one. Sorted by right and left."""
    kinds = _shared_kinds(rules)
    is_open = pl.col("edge_state").is_null()
    surely = _sure_components(strong.filter(is_open & ~pl.col("edge_kind").is_in(kinds)), rulings, len(called.given))
    claims = strong.filter(is_open & (pl.col("left_kind") == _RECORD) & pl.col("edge_kind").is_in(kinds))
    record = claims["left"].to_numpy()
    told = claims.with_columns(
        pl.Series("name", called.name[record]),
        pl.Series("given", called.given[record]).replace(-1, None),
        pl.Series("surely", surely[record]),
    )
    by_several = (
        told.group_by("right")
        .agg((pl.col(each).min() != pl.col(each).max()).alias(each) for each in ("given", "surely"))
        .filter(pl.col("given") & pl.col("surely"))
    )
    return told.join(by_several.select("right"), on="right", how="semi").sort("right", "left")


def _shared_kinds(rules: IdentityRules) -> list[int]:
    """The ranks of the kinds a household shares; an address, which is among them, makes no edge."""
    return [RANK[kind] for kind in rules.household_kinds if kind in RANK]


def _sure_components(sure: pl.DataFrame, rulings: Rulings, node_count: int) -> Numbers:
    """The component of each node, (node_count,), by these edges as far as nobody ruled their sides apart."""
    believed = _surest_first(sure) if rulings.never else sure
    left, right = believed["left"].to_numpy(), believed["right"].to_numpy()
    fine = joinable(node_count, left, right, Rulings(never=rulings.never))
    return components(node_count, left[fine], right[fine])


def _surest_first(edges: pl.DataFrame) -> pl.DataFrame:
    """The edges in the order they are believed in."""
    return edges.sort("edge_kind", pl.col("left_kind") != _RECORD, "first_at", "left", "right", nulls_last=True)


def _between(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Edges from record to record, row by row: known since both were seen with what they share."""
    there = other.rename({name: f"{name}_other" for name in other.columns})
    systems = [name for name in one.columns if name.startswith("systems_")]
    drawn = pl.concat([one, there], how="horizontal").with_columns(
        pl.col("left_other").alias("right"),
        pl.min_horizontal("edge_count", "edge_count_other").alias("edge_count"),
        pl.max_horizontal("first_at", "first_at_other").alias("first_at"),
        pl.max_horizontal("last_at", "last_at_other").alias("last_at"),
        *((pl.col(name) | pl.col(f"{name}_other")).alias(name) for name in systems),
    )
    # Two records may share an e-mail and a phone: one edge, of the surer kind.
    return drawn.sort("edge_kind", "first_at", "right_other").unique(
        ["left", "right"], keep="first", maintain_order=True
    )


def _with_guards(strong: pl.DataFrame, called: _Called, rulings: Rulings, rules: IdentityRules) -> pl.DataFrame:
    """The edges still open get their verdict: rulings, veto and names, the surest and oldest evidence first."""
    node_count = len(called.name)
    is_open = strong["edge_state"].is_null().to_numpy()
    left, right = strong["left"].to_numpy(), strong["right"].to_numpy()
    joined = np.array(rulings.always, dtype=np.int32).reshape(-1, 2)
    component = components(
        node_count, np.concatenate([left[is_open], joined[:, 0]]), np.concatenate([right[is_open], joined[:, 1]])
    )
    is_card = np.zeros(node_count, dtype=np.bool_)
    is_card[right[strong["edge_kind"].to_numpy() == _UNIQUE]] = True
    is_card[left[strong["left_kind"].to_numpy() == _UNIQUE]] = True
    cards = np.flatnonzero(is_card)
    doubtful = suspects(component, cards, called.given, called.name, called.names, rulings.nodes)[component]

    edges = np.flatnonzero(is_open & doubtful[left])
    walked = _surest_first(strong[edges].with_columns(pl.Series("edge", edges)))
    asks_names = pl.col("edge_kind").is_in(_shared_kinds(rules))
    asked = walked.select("left", "right", asks_names.alias("asks")).iter_rows()
    name_of = {node: called.names[called.name[node]] for node in np.flatnonzero(doubtful & (called.name >= 0)).tolist()}
    verdicts = guarded(asked, set(np.flatnonzero(doubtful & is_card).tolist()), name_of, rulings)
    state = strong["edge_state"].to_physical().fill_null(_STATE["used"]).to_numpy().copy()
    state[walked["edge"].to_numpy()] = [_STATE[verdict.value] for verdict in verdicts]
    return strong.with_columns(pl.Series("edge_state", state).cat.to(STATES))


def _with_claims(weak: pl.DataFrame, strong: pl.DataFrame, rulings: Rulings, node_count: int) -> pl.DataFrame:
    """A browser or device belongs to the one customer that claims it, else to nobody.

    Claims are made by surer nodes: records and strong identifiers first; a device that none of them claims may
    belong with the one anonymous browser seen on it. Identifiers that are capped, or shared by a household, are
    nobody's and so claim nothing: the edge takes their state. A claim somebody ruled out is none.
    """
    used = strong.filter(pl.col("edge_state") == "used")
    left, right = used["left"].to_numpy(), used["right"].to_numpy()
    owner = components(node_count, left, right)
    attached = np.zeros(node_count, dtype=np.bool_)
    attached[left] = attached[right] = True
    nobodys = np.where(attached, _STATE["used"], _turned_away(strong, node_count))

    weak = weak.sort("edge_kind", "right", "left")
    claimant, claimed = weak["left"].to_numpy(), weak["right"].to_numpy()
    kind, edge_kind = weak["left_kind"].to_numpy(), weak["edge_kind"].to_numpy()
    verdict = np.where(kind == _RECORD, _STATE["used"], nobodys[claimant])
    is_sure = np.isin(kind, [_RECORD, *_STRONG])
    # Of what nobody knows the kind, what it was seen with says nothing either.
    verdict[(verdict == _STATE["used"]) & ~np.isin(edge_kind, _WEAK)] = _STATE["ambiguous"]
    apart = _Apart(rulings, owner)
    # Browsers first: who they belong to is asked when they are seen on a device.
    for each in _WEAK:
        claims = np.flatnonzero((edge_kind == each) & (verdict == _STATE["used"]))
        refused = apart.refused(claimant[claims], claimed[claims], is_sure[claims])
        verdict[claims[refused]] = _STATE["ruled_out"]
        claims = claims[~refused]
        come_to = settle_claims(claimant[claims], claimed[claims], is_sure[claims], owner)
        verdict[claims[come_to != SOLE]] = _STATE["ambiguous"]
    return weak.with_columns(pl.Series("edge_state", verdict).cat.to(STATES))


class _Apart:
    """Customers under way, and the sides of rulings each stands on. owner: (n_nodes,), the customer of each node.

    Few rulings speak of a browser or device, and only claims on those can be refused: they are gone through one by one.
    """

    def __init__(self, rulings: Rulings, owner: Numbers) -> None:
        self._owner = owner
        self._sides: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
        for node, ends in rulings.ends.items():
            self._sides[int(owner[node])] |= ends

    def refused(self, claimant: Numbers, claimed: Numbers, is_sure: Flags) -> Flags:
        """Which claims are ruled out, (n_claims,); the claims on one node stand together.

        What has one claimant left stands from then on where that one stands, and what it is ruled apart from with it.
        """
        found = np.zeros(len(claimed), dtype=np.bool_)
        standing_somewhere = np.isin(self._owner[claimed], [at for at, sides in self._sides.items() if sides])
        ruled_about = np.flatnonzero(standing_somewhere).tolist()
        for _, several in groupby(ruled_about, key=lambda claim: int(claimed[claim])):
            claims = list(several)
            itself = self._sides[int(self._owner[claimed[claims[0]]])]
            owners = {claim: int(self._owner[claimant[claim]]) for claim in claims}
            found[claims] = [are_apart(self._sides[owners[claim]], itself) for claim in claims]
            left = [claim for claim in claims if not found[claim]]
            claiming = {owners[claim] for claim in left if is_sure[claim]} or {owners[claim] for claim in left}
            if len(claiming) == 1:
                self._sides[claiming.pop()] |= itself
        return found


def _turned_away(strong: pl.DataFrame, node_count: int) -> npt.NDArray[np.uint8]:
    """For each node what it was refused for, if anything: as an identifier of others first, then in its own right."""
    refused = np.full(node_count, _STATE["used"], dtype=np.uint8)
    states = strong["edge_state"].to_physical().to_numpy()
    for end in ("left", "right"):
        for state in (_STATE["conflict"], _STATE["capped"]):
            refused[strong[end].to_numpy()[states == state]] = state
    return refused


def members_of(edges: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """node_id, node_kind, component of every node in the evidence, by the edges that are used; sorted by node."""
    nodes, numbering = nodes_of(edges)
    component = components(nodes.height, *ends_of(edges, numbering, "used"))
    return nodes.select("node_id", "node_kind", pl.Series("component", component, dtype=pl.Int64))


def nodes_of(edges: pl.DataFrame | pl.LazyFrame, *told: str) -> tuple[pl.DataFrame, Numbering]:
    """node_id, node_kind and what else is `told` of every node in the evidence, sorted by node; and their numbers,
    which are rows.
    """
    is_alone = pl.col("left_node_id") == pl.col("right_node_id")
    nodes = edges.lazy().filter(is_alone).select("node_kind", *told, node_id="left_node_id").collect()
    nodes = nodes if nodes["node_id"].is_sorted() else nodes.sort("node_id")
    numbering = Numbering()
    numbering.numbers(nodes["node_id"])
    assert numbering.count == nodes.height, "every node stands in the evidence by itself, once"
    return nodes, numbering


def ends_of(edges: pl.DataFrame | pl.LazyFrame, numbering: Numbering, *states: str) -> tuple[Numbers, Numbers]:
    """Both ends of the edges in these states as numbers, read a batch at a time: as text they would fill the memory."""
    is_pair = pl.col("left_node_id") != pl.col("right_node_id")
    found = edges.lazy().filter(is_pair & pl.col("edge_state").is_in(states)).select("left_node_id", "right_node_id")
    ends: tuple[list[Numbers], list[Numbers]] = ([], [])
    for batch in found.collect_batches(maintain_order=False):
        for numbers, end in zip(ends, batch.columns, strict=True):
            numbers.append(numbering.known(batch[end]))
    none = [np.empty(0, dtype=np.int32)]
    left, right = (np.concatenate(none + found) for found in ends)
    assert min(left.min(initial=0), right.min(initial=0)) == 0, "both ends stand in the evidence by themselves"
    return left, right


IDENTITY_EDGES = Table(
    layer=Layer.SILVER,
    name="identity_edges",
    description="Who was seen with which identifier, how often, since when, and whether it joins them: the evidence.",
    grain="one row per two nodes seen together, and one per node by itself (the same node on both sides)",
    key=("left_node_id", "right_node_id"),
    columns=(
        f.left_node_id.required,
        f.node_kind.required,
        f.right_node_id.required,
        f.edge_kind,
        f.edge_count.required,
        f.first_at,
        f.last_at,
        f.sources.required,
        f.edge_state.required,
    ),
    inputs=(
        PERSON_RECORDS,
        WEB_EVENTS,
        ORDERS,
        ORDER_LINES,
        EMAIL_EVENTS,
        SOCIAL_POSTS,
        CONSENTS,
        CAMPAIGN_INTERACTIONS,
        DEVICE_EVENTS,
        IDENTITY_RULINGS,
    ),
    build=build_identity_edges,
)
