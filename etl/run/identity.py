"""Identity asked about: the lake's tables read, records named as people name them, answers as rows to show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from etl.bronze.tables import IDENTITY_RULINGS
from etl.errors import ModelRefused, NameRefused, RulingRefused, SettingsError
from etl.lake import Staged
from etl.model.frames import schema_of
from etl.privacy.pseudonyms import KINDS, RECORD, pseudonym
from etl.run.house import House
from etl.serve import identity
from etl.serve.identity import Link, Score, Step
from etl.silver.identifiers import key_of
from etl.silver.identity_edges import IDENTITY_EDGES, STRONG
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.identity_model import IDENTITY_MODEL, next_model
from etl.silver.linkage import ENOUGH_RECORDS, Model
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.rulings import contradicted, standing


@dataclass(frozen=True, slots=True)
class Explanation:
    """How two nodes stand to each other: the chain between them, or the nearest one, with what was refused on it.

    `customers` are theirs; `shown` is how each node on the way is written. `waterfalls`: of every match on the way, by
    its two nodes, how its weight comes about.
    """

    customers: tuple[str, str]
    chain: tuple[Link, ...]
    shown: dict[str, str]
    waterfalls: dict[frozenset[str], tuple[Step, ...]]

    @property
    def are_one(self) -> bool:
        """True when both are one customer."""
        return self.customers[0] == self.customers[1]


def explain(house: House, one: str, other: str) -> Explanation:
    """Why two records are one customer, or what stands between them. Raises: NameRefused for an unknown one."""
    matches = house.lake.read(IDENTITY_MATCHES).collect()
    edges = pl.concat([house.lake.read(IDENTITY_EDGES).collect(), identity.as_edges(matches)], how="diagonal_relaxed")
    records, now = _records(house), _customers(house)
    nodes = [_node(house, records, now, name) for name in (one, other)]
    customer = dict(now.filter(pl.col("node_id").is_in(nodes)).select("node_id", "customer_id").iter_rows())
    links = identity.chain(edges, *nodes)
    if links is None:
        links = identity.chain(edges, *nodes, all_states=True)
    way = tuple(links or ())
    shown = identity.names_of_nodes(edges, records, [*nodes, *(link.right for link in way)])
    return Explanation((customer[nodes[0]], customer[nodes[1]]), way, shown, _waterfalls(house, matches, way))


def _waterfalls(house: House, matches: pl.DataFrame, way: Iterable[Link]) -> dict[frozenset[str], tuple[Step, ...]]:
    """The waterfall of every match on the way, by the model it was scored with."""
    pairs = {frozenset((link.left, link.right)) for link in way if link.kind == identity.MATCH}
    models = dict(house.lake.read(IDENTITY_MODEL).select("model_version", "parameters").collect().iter_rows())
    found = {}
    for left, right, levels, version in matches.select(
        "left_node_id", "right_node_id", "compared_levels", "model_version"
    ).iter_rows():
        if (pair := frozenset((left, right))) in pairs:
            found[pair] = identity.waterfall(Model.from_json(models[version]), json.loads(levels))
    return found


def review(house: House) -> pl.DataFrame:
    """The cases that wait for a person, the likeliest first; those somebody ruled about since are closed.

    one, other, probability, weight, state, agrees, differs: records as they are shown, comparisons and their levels.
    """
    now = dict(_customers(house).select("node_id", "customer_id").iter_rows())
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect()).select("left_node_id", "right_node_id")
    ruled = {frozenset(now.get(node, node) for node in pair) for pair in stands.iter_rows()}
    matches = house.lake.read(IDENTITY_MATCHES).collect()
    sides = {f"{side}_customer_id": pl.col(f"{side}_node_id").replace(now) for side in ("left", "right")}
    cases = identity.waiting(matches.with_columns(**sides), ruled)
    shown = identity.names_of_nodes(
        house.lake.read(IDENTITY_EDGES).collect(),
        _records(house),
        [*cases["left_node_id"].to_list(), *cases["right_node_id"].to_list()],
    )
    return cases.select(
        pl.col("left_node_id").replace(shown).alias("one"),
        pl.col("right_node_id").replace(shown).alias("other"),
        pl.col("match_probability").round(4).alias("probability"),
        pl.col("match_weight").round(2).alias("weight"),
        pl.col("match_state").alias("state"),
        "agrees",
        "differs",
    )


def train(house: House, *, now: datetime) -> tuple[int, bool]:
    """Learn a model of the records as they are; gives its version, and whether it is another than the one in use.

    The next build compares everything by it. Raises: ModelRefused when the records are too few to learn from.
    """
    tables = (PERSON_RECORDS, IDENTITY_EDGES)
    records, edges = (house.lake.read(table).collect() for table in tables)
    versions = {table.full_name: house.lake.version(table) for table in tables}
    learnt: pl.DataFrame | None = None
    is_new = False

    def build(version: int | None) -> Staged:
        nonlocal learnt, is_new
        before = house.lake.read(IDENTITY_MODEL, version=version).collect().sort("model_version")
        learnt = next_model(records, edges, before, as_of=now, versions=versions)
        if learnt.is_empty():
            raise ModelRefused(
                f"{records.height} records are too few to learn from; expected at least {ENOUGH_RECORDS}, "
                "some of which agree"
            )
        is_new = before.is_empty() or before["parameters"][-1] != learnt["parameters"][0]
        if not is_new:
            learnt = before.tail(1)
            return Staged(IDENTITY_MODEL.full_name, ())
        return house.lake.stage(IDENTITY_MODEL, learnt)

    house.lake.update(IDENTITY_MODEL, build, load_id=f"model:{now.isoformat()}", replaces="nothing")
    assert learnt is not None
    return int(learnt["model_version"][0]), is_new


def _records(house: House) -> pl.DataFrame:
    """node_id, source, stream, record_id of every record of a person."""
    return house.lake.read(PERSON_RECORDS).select("node_id", "source", "stream", "record_id").collect()


def _customers(house: House) -> pl.DataFrame:
    """node_id, node_kind, customer_id: the map as it stands."""
    return current(house.lake.read(IDENTITY_MAP)).select("node_id", "node_kind", "customer_id").collect()


def _node(house: House, records: pl.DataFrame, now: pl.DataFrame, name: str) -> str:
    """The node a person means: `source:record_id`, `source:stream:record_id`, `email:ann@example.org`, or a node id."""
    first, _, rest = name.partition(":")
    found = records.filter(
        (pl.col("source") == first)
        & ((pl.col("record_id") == rest) | (pl.concat_str("stream", pl.lit(":"), "record_id") == rest))
    )["node_id"].to_list()
    if not found and first in KINDS and rest:
        value = key_of(first, rest, country=house.settings.default_country)
        found = [pseudonym(first, value, key=house.settings.pseudonym_key)] if value else []
    if not found and not rest:
        found = [first]
    known: list[str] = [node for node in dict.fromkeys(found) if node in set(now["node_id"])]
    if len(known) == 1:
        return known[0]
    if known:
        raise NameRefused(f"{first}: {len(known)} streams have this record; name one as {first}:STREAM:RECORD")
    raise NameRefused(
        f"identity knows no such record in {first!r}; expected SOURCE:RECORD, SOURCE:STREAM:RECORD or KIND:VALUE with "
        f"KIND one of {', '.join(KINDS)}"
    )


def rule(house: House, ruling: str, one: str, other: str, *, now: datetime) -> str:
    """Rule that two are one customer (`always`) or never are (`never`); gives the ruling's id.

    It holds from the next build of identity on, through every rebuild, until it is withdrawn. The same ruling again
    is the one that stands. Raises: NameRefused for an unknown record, RulingRefused when it contradicts others.
    """
    records, known = _records(house), _customers(house)
    left, right = sorted(_node(house, records, known, name) for name in (one, other))
    if left == right:
        raise RulingRefused("both names are one and the same record; name two")
    kinds = known.filter(pl.col("node_id").is_in([left, right]))["node_kind"].to_list()
    if weak := sorted({kind for kind in kinds if kind not in (RECORD, *STRONG)}):
        raise RulingRefused(f"a {weak[0]} is nobody for sure; rule about records, or {', '.join(STRONG)}")
    return _rule(house, ruling, now=now, left=left, right=right)


def withdraw(house: House, ruling_id: str, *, now: datetime) -> str:
    """Withdraw a ruling; gives the id of the withdrawal. Raises: NameRefused when no such ruling stands."""
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect())
    if ruling_id not in stands["ruling_id"].to_list():
        raise NameRefused("no such ruling stands; c360 identity rulings lists those that do")
    return _rule(house, "withdraw", now=now, withdraws=ruling_id)


def _rule(
    house: House,
    ruling: str,
    *,
    now: datetime,
    left: str | None = None,
    right: str | None = None,
    withdraws: str | None = None,
) -> str:
    """The ruling in the log, unless it stands already."""
    said = f"{ruling}:{left}:{right}:{withdraws}:{now.isoformat()}"
    ruling_id = f"r_{hashlib.sha256(said.encode()).hexdigest()[:12]}"

    def build(version: int | None) -> Staged:
        nonlocal ruling_id
        stands = standing(house.lake.read(IDENTITY_RULINGS, version=version).collect())
        if left is not None and right is not None:
            same = stands.filter(
                (pl.col("ruling") == ruling) & (pl.col("left_node_id") == left) & (pl.col("right_node_id") == right)
            )
            if same.height:
                ruling_id = same["ruling_id"][0]
                return Staged(IDENTITY_RULINGS.full_name, ())
            if against := contradicted(stands, ruling, left, right):
                raise RulingRefused(
                    f"{ruling} contradicts {', '.join(against)}; withdraw that first (c360 identity withdraw "
                    f"{against[0]}), or let it stand"
                )
        row = {
            "ruling_id": ruling_id,
            "ruling": ruling,
            "left_node_id": left,
            "right_node_id": right,
            "withdraws": withdraws,
            "made_at": now,
        }
        return house.lake.stage(IDENTITY_RULINGS, pl.DataFrame([row], schema=schema_of(IDENTITY_RULINGS.columns)))

    house.lake.update(IDENTITY_RULINGS, build, load_id=f"ruling:{ruling_id}", replaces="nothing")
    return ruling_id


def rulings(house: House) -> pl.DataFrame:
    """The rulings that stand, with their nodes as they are shown: ruling_id, ruling, one, other, made_at."""
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect())
    nodes = [*stands["left_node_id"].to_list(), *stands["right_node_id"].to_list()]
    shown = identity.names_of_nodes(house.lake.read(IDENTITY_EDGES).collect(), _records(house), nodes)
    named = [
        (ruling_id, ruling, shown.get(left, left), shown.get(right, right), made_at)
        for ruling_id, ruling, left, right, made_at in stands.iter_rows()
    ]
    return pl.DataFrame(named, schema=["ruling_id", "ruling", "one", "other", "made_at"], orient="row")


@dataclass(frozen=True, slots=True)
class Audit:
    """What identity refused, the identifiers it refused most, and the largest customers."""

    refused: pl.DataFrame
    busiest: pl.DataFrame
    largest: pl.DataFrame


def audit(house: House, *, limit: int) -> Audit:
    """What the guards turned away, and what the largest customers are held together by."""
    edges = house.lake.read(IDENTITY_EDGES).collect()
    now = _customers(house)
    return Audit(
        identity.refused_edges(edges),
        identity.busiest(edges, limit=limit),
        identity.largest(edges, now, limit=limit),
    )


def score(house: House, truth: Path) -> Score:
    """Identity against your own labels: a CSV or Parquet file with source, record_id, person_id, and stream if need be.

    Raises: SettingsError when the file is none, or names no record the lake has.
    """
    labels = _labels(truth)
    by = [name for name in ("source", "stream", "record_id") if name in labels.columns]
    pairs = _records(house).join(_customers(house), on="node_id").join(labels, on=by).select("customer_id", "person_id")
    if pairs.is_empty():
        raise SettingsError(
            f"{truth.name}: none of its {labels.height} records is in the lake; check source and record_id"
        )
    return identity.scored(pairs)


def _labels(truth: Path) -> pl.DataFrame:
    try:
        labels = pl.read_parquet(truth) if truth.suffix == ".parquet" else pl.read_csv(truth, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise SettingsError(
            f"{truth.name}: expected a CSV or Parquet file with source, record_id and person_id; it cannot be read "
            f"({type(problem).__name__})"
        ) from None
    missing = [name for name in ("source", "record_id", "person_id") if name not in labels.columns]
    if missing:
        raise SettingsError(
            f"{truth.name}: it has no column {', '.join(missing)}; expected source, record_id, person_id and, where a "
            "source has several streams of people, stream"
        )
    chosen = [name for name in ("source", "stream", "record_id", "person_id") if name in labels.columns]
    return labels.select(pl.col(chosen).cast(pl.String)).unique()
