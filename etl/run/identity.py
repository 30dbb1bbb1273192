"""Identity asked about: the lake's tables read, records named as people name them, answers as rows to show."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path

import polars as pl

from etl.bronze.tables import IDENTITY_RULINGS
from etl.errors import ModelRefused, NameRefused, SettingsError
from etl.lake import Staged
from etl.privacy.pseudonyms import KINDS, pseudonym
from etl.run.house import House
from etl.serve import identity
from etl.serve.identity import Link, Score, Step
from etl.silver import identity_map
from etl.silver.identifiers import key_of
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_events import IDENTITY_EVENTS
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.identity_model import IDENTITY_MODEL, next_model
from etl.silver.linkage import ENOUGH_RECORDS, Model
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.rulings import standing

#: How much of an event's id is shown, and enough to name it; a ruling's is no longer.
SHORT = 14


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
    records, now = records_of(house), customers_of(house)
    nodes = [node_named(house, records, now, name) for name in (one, other)]
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
    now = dict(customers_of(house).select("node_id", "customer_id").iter_rows())
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect()).select("left_node_ids", "right_node_ids")
    ruled = {
        frozenset((now.get(one, one), now.get(other, other)))
        for sides in stands.iter_rows()
        for one, other in product(*sides)
    }
    matches = house.lake.read(IDENTITY_MATCHES).collect()
    sides = {f"{side}_customer_id": pl.col(f"{side}_node_id").replace(now) for side in ("left", "right")}
    cases = identity.waiting(matches.with_columns(**sides), ruled)
    shown = identity.names_of_nodes(
        house.lake.read(IDENTITY_EDGES).collect(),
        records_of(house),
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


def records_of(house: House) -> pl.DataFrame:
    """node_id, source, stream, record_id of every record of a person."""
    return house.lake.read(PERSON_RECORDS).select("node_id", "source", "stream", "record_id").collect()


def customers_of(house: House) -> pl.DataFrame:
    """node_id, node_kind, customer_id: the map as it stands."""
    return current(house.lake.read(IDENTITY_MAP)).select("node_id", "node_kind", "customer_id").collect()


def node_named(house: House, records: pl.DataFrame, now: pl.DataFrame, name: str) -> str:
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


def ledger(house: House, *, event: str = "", of: str = "", limit: int) -> pl.DataFrame:
    """What happened to customers, the latest first: known_from, id (short), event, customer, other, nodes.

    Only one kind of `event`, or only what concerns one customer, given by its id, a record or an identifier.

    Raises: NameRefused for a kind of event, a record or a customer there is not.
    """
    told = house.lake.read(IDENTITY_EVENTS).collect()
    kinds = IDENTITY_EVENTS.column("identity_event").allowed
    if event:
        if event not in kinds:
            raise NameRefused(f"the ledger of identity has no {event!r}; it has {', '.join(kinds)}")
        told = told.filter(pl.col("identity_event") == event)
    if of:
        customer = of if _is_customer(told, of) else _customer(house, of)
        told = told.filter(pl.any_horizontal(pl.col("customer_id", "other_customer_id") == customer))
    return (
        told.sort("known_from", "node_count", "identity_event_id", descending=[True, True, False])
        .head(limit)
        .select(
            "known_from",
            pl.col("identity_event_id").str.slice(0, SHORT).alias("id"),
            pl.col("identity_event").alias("event"),
            pl.col("customer_id").alias("customer"),
            pl.col("other_customer_id").alias("other"),
            pl.col("node_count").alias("nodes"),
        )
    )


def _is_customer(events: pl.DataFrame, name: str) -> bool:
    return name in events["customer_id"] or name in events["other_customer_id"]


def _customer(house: House, name: str) -> str:
    now = customers_of(house)
    node = node_named(house, records_of(house), now, name)
    return str(now.filter(pl.col("node_id") == node)["customer_id"].item())


@dataclass(frozen=True, slots=True)
class Then:
    """What the map answered once: the customer of a record (None: it was not known, or not there), since when."""

    customer_id: str | None
    is_known: bool | None
    known_from: datetime | None
    known_to: datetime | None


def as_known(house: House, record: str, known_at: datetime, valid_at: datetime | None = None) -> Then:
    """Which customer a record belonged to, by what was known at `known_at`, as of `valid_at` in the world.

    `known_at` is system time: the end of the window that was built last; `valid_at` valid time. Records that are gone
    since are asked for by their node.

    Raises: NameRefused for a record that was never known.
    """
    history = house.lake.read(IDENTITY_MAP)
    node = node_named(house, records_of(house), history.select("node_id").unique().collect(), record)
    rows = identity_map.known_at(history.filter(pl.col("node_id") == node), known_at, valid_at=valid_at)
    for row in rows.select("customer_id", "is_known", "known_from", "known_to").collect().iter_rows():
        return Then(*row)
    return Then(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Audit:
    """What identity refused, the identifiers it refused most, and the largest customers."""

    refused: pl.DataFrame
    busiest: pl.DataFrame
    largest: pl.DataFrame


def audit(house: House, *, limit: int) -> Audit:
    """What the guards turned away, and what the largest customers are held together by."""
    edges = house.lake.read(IDENTITY_EDGES).collect()
    now = customers_of(house)
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
    pairs = (
        records_of(house).join(customers_of(house), on="node_id").join(labels, on=by).select("customer_id", "person_id")
    )
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
