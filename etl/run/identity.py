"""Identity asked about: the lake's tables read, records named as people name them, answers as rows to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from etl.errors import NameRefused, SettingsError
from etl.privacy.pseudonyms import KINDS, pseudonym
from etl.run.house import House
from etl.serve import identity
from etl.serve.identity import Link, Score
from etl.silver.identifiers import key_of
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.person_records import PERSON_RECORDS


@dataclass(frozen=True, slots=True)
class Explanation:
    """How two nodes stand to each other: the chain between them, or the nearest one, with what was refused on it.

    `customers` are theirs; `shown` is how each node on the way is written.
    """

    customers: tuple[str, str]
    chain: tuple[Link, ...]
    shown: dict[str, str]

    @property
    def are_one(self) -> bool:
        """True when both are one customer."""
        return self.customers[0] == self.customers[1]


def explain(house: House, one: str, other: str) -> Explanation:
    """Why two records are one customer, or what stands between them. Raises: NameRefused for an unknown one."""
    edges = house.lake.read(IDENTITY_EDGES).collect()
    records = house.lake.read(PERSON_RECORDS).select("node_id", "source", "stream", "record_id").collect()
    now = current(house.lake.read(IDENTITY_MAP)).select("node_id", "customer_id").collect()
    nodes = [_node(house, records, now, name) for name in (one, other)]
    customer = dict(now.filter(pl.col("node_id").is_in(nodes)).iter_rows())
    links = identity.chain(edges, *nodes)
    if links is None:
        links = identity.chain(edges, *nodes, all_states=True)
    way = tuple(links or ())
    shown = identity.names_of_nodes(edges, records, [*nodes, *(link.right for link in way)])
    return Explanation((customer[nodes[0]], customer[nodes[1]]), way, shown)


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


@dataclass(frozen=True, slots=True)
class Audit:
    """What identity refused, the identifiers it refused most, and the largest customers."""

    refused: pl.DataFrame
    busiest: pl.DataFrame
    largest: pl.DataFrame


def audit(house: House, *, limit: int) -> Audit:
    """What the guards turned away, and what the largest customers are held together by."""
    edges = house.lake.read(IDENTITY_EDGES).collect()
    now = current(house.lake.read(IDENTITY_MAP)).collect()
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
    records = house.lake.read(PERSON_RECORDS).select("node_id", "source", "stream", "record_id").collect()
    now = current(house.lake.read(IDENTITY_MAP)).select("node_id", "customer_id").collect()
    pairs = records.join(now, on="node_id").join(labels, on=by).select("customer_id", "person_id")
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
