"""Records without a common identifier that are probably one person's, with what became of each such match.

Read by `identity_map` (the matches in state `link`), and by whoever reviews the others. Identifiers come first: what is
compared here are the representatives of what they joined. The guards, surest first:
  ruled_out  somebody ruled that two records on either side are not one person
  vetoed     either side has a loyalty card, and not the same
  conflict   given names that are no one person's, or birth dates a generation apart: a family at one address agrees in
             nearly everything else. Only what no household shares (a national number) outweighs it
  ambiguous  it matches two that cannot be one person, and which of them it is cannot be told
What is probable but not sure, or ambiguous, waits for a person: `c360 identity review`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.model import LEAST_LIKELY, USUAL_RULES, IdentityRules, Layer, Table
from etl.model.frames import empty
from etl.silver.given_names import Name, edits, normalised, sides_agree
from etl.silver.identity_edges import IDENTITY_EDGES, UNIQUE, members_of
from etl.silver.identity_model import IDENTITY_MODEL, in_use
from etl.silver.linkage import COMPARED, OTHER, score
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.representatives import READ, comparable, digests, representatives
from etl.silver.rulings import ruled_apart, standing

#: Birth dates with more slips than this are another person's.
_SLIPS = 2
#: A match that is more likely than its rival by this much (bits: 99 to 1) has no rival.
_CLEARLY = 6.63


def build_identity_matches(
    person_records: pl.LazyFrame,
    identity_edges: pl.LazyFrame,
    identity_model: pl.LazyFrame,
    identity_rulings: pl.LazyFrame,
    *,
    previous: pl.LazyFrame,
    key: bytes,
    rules: IdentityRules = USUAL_RULES,
) -> pl.LazyFrame:
    """Every representative by itself, and every pair of them that is probably one person, with its state.

    Representatives that are as they were in `previous`, under the same model, are not compared with each other again.
    Sorted by left and right node. Empty while there is no model.

    Raises: ModelRefused when the model in use was learnt for another comparison set than this program's.
    """
    model = in_use(identity_model.collect())
    if model is None:
        return empty(IDENTITY_MATCHES.columns).lazy()
    # Read twice, and no more of it than each wants: side by side, all of it is the most that identity has in memory.
    edges = identity_edges.select("left_node_id", "node_kind", "right_node_id", "edge_state").collect()
    members = members_of(edges)
    shown = representatives(comparable(person_records.select(READ).collect(), members, edges))
    del edges
    itself = shown.select(
        left_node_id="node_id",
        right_node_id="node_id",
        model_version=pl.lit(model[0], pl.Int64),
        representative_digest=digests(shown, key=key),
        match_state=pl.lit("itself"),
    )
    before = previous.collect().filter(pl.col("model_version") == model[0])
    same = itself.join(before, on=["left_node_id", "right_node_id", "representative_digest"], how="semi")
    changed = itself.join(same, on="left_node_id", how="anti")["left_node_id"]
    still = same.select("left_node_id")
    kept = (
        before.filter(pl.col("match_state") != "itself")
        .join(still, on="left_node_id", how="semi")
        .join(still, left_on="right_node_id", right_on="left_node_id", how="semi")
    )
    scored = score(shown, model[1], changed=changed if still.height else None, least=LEAST_LIKELY)
    levels = pl.struct(each.name for each in COMPARED.comparisons).struct.json_encode()
    fresh = scored.with_columns(compared_levels=levels, model_version=pl.lit(model[0], pl.Int64))
    pairs = pl.concat([kept, fresh], how="diagonal_relaxed").select(
        fresh.drop(each.name for each in COMPARED.comparisons).columns
    )
    records = person_records.select("node_id", "given_name", "family_name", "birth_date").collect()
    judged = with_states(pairs, members, records, standing(identity_rulings.collect()), rules=rules)
    return (
        pl.concat([itself, judged], how="diagonal_relaxed")
        .select(IDENTITY_MATCHES.column_names)
        .sort("left_node_id", "right_node_id")
        .lazy()
    )


def linked(identity_matches: pl.DataFrame) -> pl.DataFrame:
    """The matches that join, as used edges between records: left_node_id, right_node_id, edge_state."""
    links = identity_matches.filter(pl.col("match_state") == "link")
    return links.select("left_node_id", "right_node_id", edge_state=pl.lit("used"))


# --- guards -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Side:
    """What the guards need to know of a component, or of several that were joined."""

    cards: frozenset[str] = frozenset()
    names: frozenset[Name] = frozenset()
    births: frozenset[str] = frozenset()
    ruled: frozenset[tuple[int, int]] = frozenset()

    def add(self, other: _Side) -> None:
        self.cards |= other.cards
        self.names |= other.names
        self.births |= other.births
        self.ruled |= other.ruled


def objection(one: _Side, other: _Side, *, is_personal: bool) -> str | None:
    """The state a guard gives a match between two sides; None when none objects.

    is_personal: the two agree in something that no household shares.
    """
    if any((number, 1 - end) in other.ruled for number, end in one.ruled):
        return "ruled_out"
    if len(one.cards | other.cards) > 1:
        return "vetoed"
    if is_personal or (one.names == other.names and one.births == other.births):
        return None
    agree = sides_agree(one.names, other.names) and _births_agree(one.births, other.births)
    return None if agree else "conflict"


def _births_agree(one: Iterable[str], other: Iterable[str]) -> bool:
    """True when two sets of birth dates can be one person's: two of them at most two slips apart, or one set empty."""
    ones, others = set(one), set(other)
    if not ones or not others or ones & others:
        return True
    return any(edits(a, b) <= _SLIPS for a in ones for b in others)


def with_states(
    pairs: pl.DataFrame,
    members: pl.DataFrame,
    records: pl.DataFrame,
    rulings: pl.DataFrame,
    *,
    rules: IdentityRules = USUAL_RULES,
) -> pl.DataFrame:
    """`pairs` with `match_state`. They depend on all the pairs and on nothing else: the likeliest is taken first.

    pairs: left_node_id, right_node_id (records), match_probability, match_weight, compared_levels.
    members: node_id, node_kind, component. records: node_id, given_name, family_name, birth_date of person records.
    rulings: those that stand.
    """
    ordered = pairs.sort("match_weight", "left_node_id", "right_node_id", descending=[True, False, False])
    component = members.select("node_id", "component")
    likely = pl.when(pl.col("match_probability") >= rules.link_at).then(pl.lit("link"))
    placed = ordered.with_columns(
        *(
            ordered.select(node_id=f"{end}_node_id")
            .join(component, on="node_id", how="left", maintain_order="left")["component"]
            .alias(f"_{end}")
            for end in ("left", "right")
        ),
        likely.when(pl.col("match_probability") >= rules.review_at)
        .then(pl.lit("review"))
        .otherwise(pl.lit("weak"))
        .alias("match_state"),
    )
    unopposed = _unopposed(placed, members, records, rulings)
    alone, contested = placed.filter(unopposed), placed.filter(~unopposed)
    states = pl.Series("match_state", _walked(contested, members, records, rulings, rules), dtype=pl.String)
    return pl.concat([alone, contested.with_columns(states)]).drop("_left", "_right")


def _unopposed(placed: pl.DataFrame, members: pl.DataFrame, records: pl.DataFrame, rulings: pl.DataFrame) -> pl.Series:
    """True for the pairs, most of them, to which no guard can object, (placed.height,): the others are walked.

    Neither side has another match, a card or a ruling; each says one given name and one birth date, and the same as the
    other or none.
    """
    ends = pl.concat([placed["_left"], placed["_right"]]).rename("component")
    there = members.join(ends.filter(ends.is_unique()).to_frame(), on="component", how="semi")
    ruled = pl.concat([rulings["left_node_ids"].explode(), rulings["right_node_ids"].explode()]).implode()
    barred = there.filter((pl.col("node_kind") == UNIQUE) | pl.col("node_id").is_in(ruled))
    told = (
        there.join(records.select("node_id", "given_name", "birth_date"), on="node_id")
        .select(pl.exclude("node_id", "node_kind"))
        .unique()
    )
    of_one = told.filter(pl.col("component").is_unique()).join(barred, on="component", how="anti")
    left, right = (
        placed.select(component=end).join(
            of_one.with_columns(is_told=True), on="component", how="left", maintain_order="left"
        )
        for end in ("_left", "_right")
    )
    is_told = (left["is_told"] & right["is_told"]).fill_null(False)
    agree = [(left[name] == right[name]).fill_null(True) for name in ("given_name", "birth_date")]
    return is_told & agree[0] & agree[1]


def _walked(
    placed: pl.DataFrame, members: pl.DataFrame, records: pl.DataFrame, rulings: pl.DataFrame, rules: IdentityRules
) -> list[str | None]:
    """The state of each pair, (placed.height,), one after the other; placed: the likeliest first."""
    sides = _sides({*placed["_left"], *placed["_right"]}, members, records, rulings)
    matches = [
        _Match(*each)
        for each in zip(
            placed["_left"],
            placed["_right"],
            placed["match_weight"],
            placed["match_state"],
            _is_personal(placed["compared_levels"], rules),
            strict=True,
        )
    ]
    states: list[str | None] = [
        objection(sides[each.left], sides[each.right], is_personal=each.is_personal)
        or (None if each.likely == "link" else each.likely)
        for each in matches
    ]
    for at in _rivals(matches, states, sides):
        states[at] = "ambiguous"
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for at, each in enumerate(matches):
        if states[at] is None:
            one, other = root(each.left), root(each.right)
            if one != other:
                states[at] = objection(sides[one], sides[other], is_personal=each.is_personal)
                if states[at] is None:
                    parent[other] = one
                    sides[one].add(sides[other])
            states[at] = states[at] or "link"
    return states


class _Match(NamedTuple):
    """One pair, by components."""

    left: int
    right: int
    weight: float
    likely: str
    is_personal: bool


def _rivals(matches: list[_Match], states: list[str | None], sides: Mapping[int, _Side]) -> set[int]:
    """The links (state None) of a component to two others that are not linked and cannot be one person.

    The likelier of them stays where it is clearly so.
    """
    links: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for at, each in enumerate(matches):
        if states[at] is None:
            links[each.left].append((at, each.right))
            links[each.right].append((at, each.left))
    linked = {frozenset((each.left, each.right)) for at, each in enumerate(matches) if states[at] is None}
    found: set[int] = set()
    for several in links.values():
        for (one, left), (other, right) in combinations(several, 2):
            is_personal = matches[one].is_personal and matches[other].is_personal
            if frozenset((left, right)) in linked or not objection(sides[left], sides[right], is_personal=is_personal):
                continue
            likelier, rival = sorted((one, other), key=lambda at: -matches[at].weight)
            found.add(rival)
            if matches[likelier].weight - matches[rival].weight < _CLEARLY:
                found.add(likelier)
    return found


def _is_personal(levels: pl.Series, rules: IdentityRules) -> pl.Series:
    """True where they agree in what no household shares; `household_kinds` says what a household does."""
    shared = {*rules.household_kinds, "given_name", *(each.name for each in COMPARED.comparisons if each.is_shared)}
    names = [each.name for each in COMPARED.comparisons]
    told = levels.str.json_decode(pl.Struct(dict.fromkeys(names, pl.String()))).struct.unnest()
    agrees = (pl.col(name).is_not_null() & (pl.col(name) != OTHER) for name in names if name not in shared)
    return told.select(personal=pl.any_horizontal(agrees))["personal"]


def _sides(wanted: set[int], members: pl.DataFrame, records: pl.DataFrame, rulings: pl.DataFrame) -> dict[int, _Side]:
    """component -> what its nodes say."""
    sides = {component: _Side() for component in wanted}
    there = members.filter(pl.col("component").is_in(list(wanted)))
    for node, component in there.filter(pl.col("node_kind") == UNIQUE).select("node_id", "component").iter_rows():
        sides[component].cards |= {node}
    told = records.select("node_id", "given_name", "family_name", pl.col("birth_date").dt.to_string("%Y-%m-%d"))
    written = there.join(told, on="node_id").select("component", "given_name", "family_name", "birth_date")
    plain = {name: normalised(name) for each in ("given_name", "family_name") for name in written[each].unique()}
    for component, given, family, born in written.iter_rows():
        if name := plain[given]:
            sides[component].names |= {Name(name, plain[family])}
        if born:
            sides[component].births |= {born}
    component_of = dict(there.select("node_id", "component").iter_rows())
    for number, ends in enumerate(ruled_apart(rulings, component_of)):
        for end, nodes in enumerate(ends):
            for node in nodes:
                sides[component_of[node]].ruled |= {(number, end)}
    return sides


IDENTITY_MATCHES = Table(
    layer=Layer.SILVER,
    name="identity_matches",
    description="Records without a common identifier that are probably one person's, how probably, and what became "
    "of it.",
    grain="one row per two representatives that are more likely one person than two, and one per representative by "
    "itself (the same node on both sides)",
    key=("left_node_id", "right_node_id"),
    columns=(
        f.node_id.named("left_node_id", "a component's representative: its smallest record").required,
        f.node_id.named("right_node_id", "the other's; the same where the row is the representative alone").required,
        f.match_state.required,
        f.match_probability,
        f.match_weight,
        f.compared_levels,
        f.model_version.required,
        f.representative_digest,
    ),
    inputs=(PERSON_RECORDS, IDENTITY_EDGES, IDENTITY_MODEL, IDENTITY_RULINGS),
    build=build_identity_matches,
)
