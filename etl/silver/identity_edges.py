"""Who was seen with which identifier, and what the guards made of it: the evidence identity is settled from.

Read by `identity_map` (the `used` edges) and by whoever asks why two records are, or are not, one customer.

A row of a subject is a star: its surest identifier (or the record itself) in the middle, its other identifiers around
it. Stars of any two parts of the evidence add up, so days can be gathered apart and united.

What people ruled (`bronze.identity_rulings`) comes before all else. Then the guards, surest first:
  capped     an identifier with more neighbours than any person has (info@, 000000) joins nobody
  conflict   a household shares its e-mail and telephone: they join only records whose given names agree
  vetoed     a person has one loyalty card: what would put two cards into one customer joins nothing
  ambiguous  a browser or device that several customers claim belongs to none of them
An address makes no edge at all, so living together never merges anyone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from etl import fields as f
from etl.bronze.tables import IDENTITY_RULINGS
from etl.model import USUAL_RULES, IdentityRules, Layer, Table
from etl.model.frames import empty
from etl.privacy.pseudonyms import KINDS, RECORD
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.silver.consents import CONSENTS
from etl.silver.device_events import DEVICE_EVENTS
from etl.silver.email_events import EMAIL_EVENTS
from etl.silver.given_names import Name, groups, normalised
from etl.silver.order_lines import ORDER_LINES
from etl.silver.orders import ORDERS
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.resolution import Codes, Rulings, Verdict, are_apart, components, guarded, joinable, numbered, suspects
from etl.silver.rulings import Sides, ruled_apart, standing
from etl.silver.social_posts import SOCIAL_POSTS
from etl.silver.web_events import WEB_EVENTS

STRONG = ("card", "login", "email", "phone", "handle")
WEAK = ("cookie", "device")
UNIQUE = "card"
UNKNOWN = "unknown"
RULING = "ruling"

_SURENESS = {kind: rank for rank, kind in enumerate((RECORD, *KINDS, UNKNOWN))}
_TIMES = ("event_at", "ordered_at", "posted_at")


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
) -> pl.LazyFrame:
    """Every pair of nodes seen together with its verdict, and every node by itself.

    Sorted by left and right node. The verdicts depend on all the evidence and on nothing else.
    """
    events = (
        web_events,
        orders,
        order_lines,
        email_events,
        social_posts,
        consents,
        campaign_interactions,
        device_events,
    )
    seen = united([gathered(person_records, record=True), *(gathered(each) for each in events)])
    names = person_records.select("node_id", "given_name", "family_name").collect()
    return judged(seen, names, standing(identity_rulings.collect()), rules=rules).lazy()


# --- evidence ---------------------------------------------------------------------------------------------------------


def gathered(subject: pl.LazyFrame, *, record: bool = False) -> pl.LazyFrame:
    """The evidence of one subject, or of any part of it: pairs, and nodes by themselves.

    One row per (left, right); `united` adds parts up. `record`: the subject's node is a record, not an identifier.
    """
    present = subject.collect_schema().names()
    kinds = [kind for kind in KINDS if f"{kind}_key" in present]
    keys = [f"{kind}_key" for kind in kinds]
    if record:
        times = pl.min_horizontal("created_at", "updated_at"), pl.max_horizontal("created_at", "updated_at")
        kind_of_node: pl.Expr = pl.lit(RECORD)
    else:
        time = next(name for name in _TIMES if name in present)
        times = pl.col(time), pl.col(time)
        # A subject that keeps no keys beside its node tells the node, not its kind; another one will.
        kind_of_node = pl.coalesce(
            *(pl.when(pl.col("node_id") == pl.col(f"{kind}_key")).then(pl.lit(kind)) for kind in kinds),
            pl.lit(UNKNOWN),
        )
    # Events repeat the same few identifiers: count the combinations first, then look at each pair once.
    stars = (
        subject.filter(pl.col("node_id").is_not_null())
        .group_by("source", "node_id", *keys)
        .agg(
            pl.len().cast(pl.Int64).alias("edge_count"),
            times[0].min().alias("first_at"),
            times[1].max().alias("last_at"),
        )
        .with_columns(kind_of_node.alias("node_kind"))
    )
    measured = ("edge_count", "first_at", "last_at", "source")
    pairs = [
        stars.filter(pl.col(key).is_not_null() & (pl.col(key) != pl.col("node_id"))).select(
            pl.col("node_id").alias("left_node_id"),
            "node_kind",
            pl.col(key).alias("right_node_id"),
            pl.lit(kind).alias("edge_kind"),
            *measured,
        )
        for kind, key in zip(kinds, keys, strict=True)
    ]
    alone = [stars.select("node_id", "node_kind", *measured)] + [
        pair.select(pl.col("right_node_id").alias("node_id"), pl.col("edge_kind").alias("node_kind"), *measured)
        for pair in pairs
    ]
    itself = pl.concat(alone).select(
        pl.col("node_id").alias("left_node_id"),
        "node_kind",
        pl.col("node_id").alias("right_node_id"),
        pl.lit(None, pl.String).alias("edge_kind"),
        *measured,
    )
    return _added_up(pl.concat([itself, *pairs]).with_columns(pl.concat_list("source").alias("sources")))


def united(parts: Sequence[pl.LazyFrame]) -> pl.DataFrame:
    """Parts of the evidence as one: counts added, first and last times and systems united."""
    return _added_up(pl.concat(parts)).sort("left_node_id", "right_node_id").collect()


def _added_up(parts: pl.LazyFrame) -> pl.LazyFrame:
    """One row per pair. Of the kinds a node was seen as the surest is its own: `unknown` yields to any other."""
    rank = pl.col("node_kind").replace_strict(_SURENESS, return_dtype=pl.Int64)
    return parts.group_by("left_node_id", "right_node_id").agg(
        pl.col("node_kind").sort_by(rank).first(),
        pl.col("edge_kind").min(),
        pl.col("edge_count").sum(),
        pl.col("first_at").min(),
        pl.col("last_at").max(),
        pl.col("sources").explode().unique().sort(),
    )


# --- verdicts ---------------------------------------------------------------------------------------------------------


def judged(
    seen: pl.DataFrame,
    names: pl.DataFrame,
    rulings: pl.DataFrame | None = None,
    *,
    rules: IdentityRules = USUAL_RULES,
) -> pl.DataFrame:
    """The evidence with `edge_state`, and the edges that rulings and the household rule draw between records.

    names: node_id, given_name and family_name of the records. rulings: those that stand (`etl.silver.rulings`); of
    nodes that are no longer in the evidence they say nothing.
    """
    alone = pl.col("left_node_id") == pl.col("right_node_id")
    nodes = seen.filter(alone)
    kind_of = nodes.select("left_node_id", pl.col("node_kind").alias("left_kind"))
    pairs = seen.filter(~alone).join(kind_of, on="left_node_id", how="left")
    is_strong = pl.col("edge_kind").is_in(STRONG) & pl.col("left_kind").is_in([RECORD, *STRONG])
    strong, weak = pairs.filter(is_strong), pairs.filter(~is_strong)

    called = {
        node: Name(name, normalised(family))
        for node, given, family in names.select("node_id", "given_name", "family_name").sort("node_id").iter_rows()
        if (name := normalised(given))
    }
    stands = standing(empty(IDENTITY_RULINGS.columns)) if rulings is None else rulings
    always = _ruled_one(nodes, stands).select(*strong.columns, edge_state=pl.lit("used"))
    apart = ruled_apart(stands, nodes["left_node_id"].to_list()) if stands.height else []
    strong = strong.pipe(_with_caps, rules).pipe(_with_households, called, apart, rules).pipe(_without_pairs, always)
    strong = pl.concat([always, _with_guards(strong, called, always, apart, rules)])
    weak = _with_claims(weak, strong, nodes, apart)

    columns = IDENTITY_EDGES.column_names
    return pl.concat(
        [
            nodes.with_columns(pl.lit("used").alias("edge_state")).select(columns),
            strong.with_columns(pl.col("left_kind").alias("node_kind")).select(columns),
            weak.with_columns(pl.col("left_kind").alias("node_kind")).select(columns),
        ]
    ).sort("left_node_id", "right_node_id")


def _ruled_one(nodes: pl.DataFrame, stands: pl.DataFrame) -> pl.DataFrame:
    """What is ruled one customer, of nodes that are there, as edges: the smaller node to the left, one row a pair."""
    ends = pl.col("left_node_ids").list.first(), pl.col("right_node_ids").list.first()
    there = nodes.select(node="left_node_id", left_kind="node_kind")
    return (
        stands.filter(pl.col("ruling") == "always")
        .with_columns(left_node_id=pl.min_horizontal(*ends), right_node_id=pl.max_horizontal(*ends))
        .join(there, left_on="left_node_id", right_on="node")
        .join(there.select("node"), left_on="right_node_id", right_on="node")
        .sort("made_at", "ruling_id")
        .unique(["left_node_id", "right_node_id"], keep="first", maintain_order=True)
        .with_columns(
            pl.col("left_kind").alias("node_kind"),
            pl.lit(RULING).alias("edge_kind"),
            pl.lit(1, pl.Int64).alias("edge_count"),
            pl.col("made_at").alias("first_at"),
            pl.col("made_at").alias("last_at"),
            pl.lit([RULING], pl.List(pl.String)).alias("sources"),
        )
    )


def _without_pairs(strong: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """`strong` without edges between the two nodes of a pair: the ruling says it all."""
    turned = pairs.select(left_node_id="right_node_id", right_node_id="left_node_id")
    both = pl.concat([pairs.select("left_node_id", "right_node_id"), turned])
    return strong.join(both, on=["left_node_id", "right_node_id"], how="anti", maintain_order="left")


def _with_caps(strong: pl.DataFrame, rules: IdentityRules) -> pl.DataFrame:
    """`edge_state`: capped where one end is an identifier with more strong neighbours than its cap, else null."""
    ends = pl.concat(
        [
            strong.select(node="right_node_id", kind="edge_kind"),
            strong.select(node="left_node_id", kind="left_kind").filter(pl.col("kind") != RECORD),
        ]
    )
    cap = pl.col("kind").replace_strict(rules.caps, return_dtype=pl.Int64)
    crowded = ends.group_by("node", "kind").len().filter(pl.col("len") > cap)["node"].implode()
    is_capped = pl.col("left_node_id").is_in(crowded) | pl.col("right_node_id").is_in(crowded)
    return strong.with_columns(pl.when(is_capped).then(pl.lit("capped")).alias("edge_state"))


def _with_households(
    strong: pl.DataFrame, called: dict[str, Name], apart: Sequence[Sides], rules: IdentityRules
) -> pl.DataFrame:
    """A shared e-mail or phone under more than one given name is the household's: it joins nobody by itself.

    Unless surer kinds say that all who claim it are one, and nobody ruled otherwise. Its edges become `conflict`;
    instead, records of one name that share it are joined directly, by an edge between the records. Records without a
    given name, or with one that fits several people, stay unjoined.
    """
    given = {node: name.given for node, name in called.items()}
    claims = strong.filter(
        pl.col("edge_state").is_null()
        & (pl.col("left_kind") == RECORD)
        & pl.col("edge_kind").is_in(rules.household_kinds)
    ).with_columns(
        name=pl.col("left_node_id").replace_strict(given, default=None, return_dtype=pl.String),
        surely=pl.col("left_node_id").replace_strict(
            _sure_components(strong, apart, rules), default=None, return_dtype=pl.Int64
        ),
    )
    of_several = (pl.col("name").n_unique().over("right_node_id") > 1) & (
        pl.coalesce("surely", -1 - pl.int_range(pl.len())).n_unique().over("right_node_id") > 1
    )
    shared = claims.filter(of_several).sort("right_node_id", "left_node_id")
    crowded: list[str] = []
    ones: list[int] = []
    others: list[int] = []
    claimed_by: defaultdict[str, list[tuple[int, Name]]] = defaultdict(list)
    for row, (identifier, record) in enumerate(shared.select("right_node_id", "left_node_id").iter_rows()):
        if record in called:
            claimed_by[identifier].append((row, called[record]))
    for identifier, claimants in claimed_by.items():
        group_of = groups(name for _, name in claimants)
        if len(set(group_of.values())) < 2:
            continue
        crowded.append(identifier)
        first_of: dict[int, int] = {}
        for row, name in claimants:
            group = group_of[name]
            if group is not None and first_of.setdefault(group, row) != row:
                ones.append(first_of[group])
                others.append(row)
    is_crowded = pl.col("left_node_id").is_in(crowded) | pl.col("right_node_id").is_in(crowded)
    state = pl.when(pl.col("edge_state").is_null() & is_crowded).then(pl.lit("conflict")).otherwise("edge_state")
    between = _between(shared[ones], shared[others]).select(strong.columns)
    return pl.concat([strong.with_columns(state.alias("edge_state")), between])


def _sure_components(strong: pl.DataFrame, apart: Sequence[Sides], rules: IdentityRules) -> dict[str, int]:
    """record or identifier -> its component by the kinds no household shares, so far as they are open."""
    sure = strong.filter(pl.col("edge_state").is_null() & ~pl.col("edge_kind").is_in(rules.household_kinds))
    numbers = numbered(pl.concat([sure["left_node_id"], sure["right_node_id"]]))
    coded = _surest_first(sure, numbers)
    left, right = coded["left"].to_numpy(), coded["right"].to_numpy()
    fine = joinable(numbers.height, left, right, Rulings(never=_numbered_sides(apart, numbers)))
    component = components(numbers.height, left[fine], right[fine])
    return dict(zip(numbers["node_id"], component.tolist(), strict=True))


def _surest_first(edges: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """The edges in the order they are believed in, with their `edge` number as they came and codes `left`, `right`."""
    rank = pl.col("edge_kind").replace_strict(_SURENESS, return_dtype=pl.Int64)
    return (
        edges.with_row_index("edge")
        .with_columns(
            pl.Series("left", _codes(edges["left_node_id"], numbers)),
            pl.Series("right", _codes(edges["right_node_id"], numbers)),
        )
        .sort(rank, pl.col("left_kind") != RECORD, "first_at", "left", "right", nulls_last=True)
    )


def _codes(nodes: pl.Series, numbers: pl.DataFrame) -> Codes:
    """The number of each node, (len(nodes),), int64."""
    joined = nodes.alias("node_id").to_frame().join(numbers, on="node_id", how="left", maintain_order="left")
    return joined["node"].to_numpy()


def _between(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Edges from record to record, row by row: known since both were seen with what they share."""
    drawn = one.with_columns(
        pl.Series("right_node_id", other["left_node_id"]),
        pl.Series("edge_count", pl.DataFrame({"a": one["edge_count"], "b": other["edge_count"]}).min_horizontal()),
        pl.Series("first_at", pl.DataFrame({"a": one["first_at"], "b": other["first_at"]}).max_horizontal()),
        pl.Series("last_at", pl.DataFrame({"a": one["last_at"], "b": other["last_at"]}).max_horizontal()),
        pl.Series("sources", one["sources"].list.set_union(other["sources"]).list.sort()),
    )
    # Two records may share an e-mail and a phone: one edge, of the surer kind.
    rank = pl.col("edge_kind").replace_strict(_SURENESS, return_dtype=pl.Int64)
    return drawn.sort(rank, "first_at").unique(["left_node_id", "right_node_id"], keep="first", maintain_order=True)


def _with_guards(
    strong: pl.DataFrame, called: dict[str, Name], always: pl.DataFrame, apart: Sequence[Sides], rules: IdentityRules
) -> pl.DataFrame:
    """The edges still open get their verdict: rulings, veto and names, the surest and oldest evidence first."""
    numbers = numbered(
        pl.concat([frame[end] for frame in (strong, always) for end in ("left_node_id", "right_node_id")])
    )
    rulings = Rulings(_pairs_of(always, numbers), _numbered_sides(apart, numbers))
    coded = _surest_first(strong, numbers)
    open_edges = coded.filter(pl.col("edge_state").is_null())
    left, right = open_edges["left"].to_numpy(), open_edges["right"].to_numpy()
    joined = np.array(rulings.always, dtype=np.int64).reshape(-1, 2)
    component = components(numbers.height, np.concatenate([left, joined[:, 0]]), np.concatenate([right, joined[:, 1]]))
    cards = {
        *coded.filter(pl.col("edge_kind") == UNIQUE)["right"].to_list(),
        *coded.filter(pl.col("left_kind") == UNIQUE)["left"].to_list(),
    }
    number_of = dict(numbers.select("node_id", "node").iter_rows())
    name_of = {number_of[node]: name for node, name in called.items() if node in number_of}
    doubtful = suspects(component, sorted(cards), name_of, rulings.nodes)
    walked = open_edges.filter(pl.Series(component[left]).is_in(list(doubtful)))
    asks_names = pl.col("edge_kind").is_in(rules.household_kinds)
    asked = walked.select("left", "right", asks_names.alias("asks")).iter_rows()
    verdicts = guarded(asked, cards, name_of, rulings)
    refused = {
        edge: verdict.value
        for edge, verdict in zip(walked["edge"], verdicts, strict=True)
        if verdict is not Verdict.USED
    }
    state = pl.coalesce(
        "edge_state",
        pl.col("edge").replace_strict(refused, default="used", return_dtype=pl.String) if refused else pl.lit("used"),
    )
    return coded.with_columns(state.alias("edge_state")).sort("edge").select(strong.columns)


def _pairs_of(edges: pl.DataFrame, numbers: pl.DataFrame) -> list[tuple[int, int]]:
    """The edges as pairs of node numbers."""
    left, right = (_codes(edges[end], numbers) for end in ("left_node_id", "right_node_id"))
    return list(zip(left.tolist(), right.tolist(), strict=True))


def _numbered_sides(apart: Sequence[Sides], numbers: pl.DataFrame) -> list[tuple[list[int], list[int]]]:
    """The sides as node numbers, of nodes that have one."""
    if not apart:
        return []
    number_of = dict(numbers.select("node_id", "node").iter_rows())
    return [
        (
            [number_of[node] for node in left if node in number_of],
            [number_of[node] for node in right if node in number_of],
        )
        for left, right in apart
    ]


def _with_claims(weak: pl.DataFrame, strong: pl.DataFrame, nodes: pl.DataFrame, apart: Sequence[Sides]) -> pl.DataFrame:
    """A browser or device belongs to the one customer that claims it, else to nobody.

    Claims are made by surer nodes: records and strong identifiers first; a device that none of them claims may
    belong with the one anonymous browser seen on it. Identifiers that are capped, or shared by a household, are
    nobody's and so claim nothing: the edge takes their state. A claim somebody ruled out is none.
    """
    used = strong.filter(pl.col("edge_state") == "used")
    numbers = numbered(nodes["left_node_id"])
    code = dict(numbers.select("node_id", "node").iter_rows())
    owner = components(
        numbers.height,
        _codes(used["left_node_id"], numbers),
        _codes(used["right_node_id"], numbers),
    )
    turned_away = strong.filter(pl.col("edge_state").is_in(["capped", "conflict"])).sort("edge_state", descending=True)
    nobodys = dict(
        [
            *turned_away.select("left_node_id", "edge_state").iter_rows(),
            *turned_away.select("right_node_id", "edge_state").iter_rows(),
        ]
    )
    attached = {*used["left_node_id"].to_list(), *used["right_node_id"].to_list()}
    # customer under way -> the sides of rulings it stands on
    ruled: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    for node, ends in Rulings(never=_numbered_sides(apart, numbers)).ends.items():
        ruled[int(owner[node])] |= ends
    state_of: dict[tuple[str, str], str] = {}
    for kind in WEAK:
        claims: defaultdict[str, list[tuple[str, bool]]] = defaultdict(list)
        for left, right, left_kind in (
            weak.filter(pl.col("edge_kind") == kind)
            .select("left_node_id", "right_node_id", "left_kind")
            .sort("right_node_id", "left_node_id")
            .iter_rows()
        ):
            if left_kind != RECORD and left in nobodys and left not in attached:
                state_of[left, right] = nobodys[left]
            else:
                claims[right].append((left, left_kind not in (*WEAK, UNKNOWN)))
        for right, everyone in claims.items():
            itself = int(owner[code[right]])
            claimants = []
            for left, is_strong in everyone:
                if ruled and are_apart(ruled[int(owner[code[left]])], ruled[itself]):
                    state_of[left, right] = Verdict.RULED_OUT.value
                else:
                    claimants.append((left, is_strong))
            known = {int(owner[code[left]]) for left, is_strong in claimants if is_strong}
            claiming = known or {int(owner[code[left]]) for left, _ in claimants}
            for left, _ in claimants:
                is_sole = len(claiming) == 1 and int(owner[code[left]]) in claiming
                state_of[left, right] = "used" if is_sole else "ambiguous"
            if len(claiming) == 1:
                owner[code[right]] = claiming.pop()
                if ruled:
                    ruled[int(owner[code[right]])] |= ruled[itself]
    states = [state_of[pair] for pair in weak.select("left_node_id", "right_node_id").iter_rows()]
    return weak.with_columns(pl.Series("edge_state", states, dtype=pl.String))


def members_of(edges: pl.DataFrame) -> pl.DataFrame:
    """node_id, node_kind, component of every node in the evidence, by the edges that are used; sorted by node."""
    alone = pl.col("left_node_id") == pl.col("right_node_id")
    nodes = edges.filter(alone).select("node_kind", node_id="left_node_id")
    numbers = numbered(nodes["node_id"])
    assert numbers.height == nodes.height, "every node stands in the evidence by itself, once"
    used = edges.filter(~alone & (pl.col("edge_state") == "used"))
    component = components(
        numbers.height, _codes(used["left_node_id"], numbers), _codes(used["right_node_id"], numbers)
    )
    return (
        numbers.select("node_id", pl.Series("component", component, dtype=pl.Int64))
        .join(nodes, on="node_id", how="left", maintain_order="left")
        .select("node_id", "node_kind", "component")
    )


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
