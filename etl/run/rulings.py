"""What people rule of identity: two are one customer, or never are; a merge is undone; a ruling is withdrawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from etl.bronze.tables import IDENTITY_RULINGS
from etl.errors import NameRefused, RulingRefused
from etl.lake import Staged
from etl.model.frames import schema_of
from etl.privacy.pseudonyms import RECORD
from etl.run.house import House
from etl.run.identity import SHORT, customers_of, node_named, records_of
from etl.serve import identity
from etl.silver.evidence import STRONG
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_events import IDENTITY_EVENTS, before_merge
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.rulings import contradicted, standing


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to be ruled: the nodes of two sides; the merge that is undone, and into whom; or what is withdrawn."""

    kind: str
    left: Sequence[str] = ()
    right: Sequence[str] = ()
    undoes: str | None = None
    customer_id: str | None = None
    other_customer_id: str | None = None
    withdraws: str | None = None

    def row(self, now: datetime) -> pl.DataFrame:
        """The ruling as a row of the log, made at `now`; its id is made of all it says."""
        said = repr((self.kind, self.left, self.right, self.undoes, self.withdraws, now.isoformat()))
        row = {
            "ruling_id": f"r_{hashlib.sha256(said.encode()).hexdigest()[:12]}",
            "ruling": self.kind,
            "left_node_ids": list(self.left) or None,
            "right_node_ids": list(self.right) or None,
            "undoes": self.undoes,
            "customer_id": self.customer_id,
            "other_customer_id": self.other_customer_id,
            "withdraws": self.withdraws,
            "made_at": now,
        }
        return pl.DataFrame([row], schema=schema_of(IDENTITY_RULINGS.columns))


def link(house: House, kind: str, one: str, other: str) -> Ruling:
    """That two are one customer (`always`) or never are (`never`).

    Raises: NameRefused for an unknown record, RulingRefused when there is nothing to rule about.
    """
    records, known = records_of(house), customers_of(house)
    left, right = sorted(node_named(house, records, known, name) for name in (one, other))
    if left == right:
        raise RulingRefused("both names are one and the same record; name two")
    kinds = known.filter(pl.col("node_id").is_in([left, right]))["node_kind"].to_list()
    if weak := sorted({kind for kind in kinds if kind not in (RECORD, *STRONG)}):
        raise RulingRefused(f"a {weak[0]} is nobody for sure; rule about records, or {', '.join(STRONG)}")
    return Ruling(kind, [left], [right])


def undoing(house: House, merge: str) -> Ruling:
    """That a merge is undone: what its two customers were just before it is apart. `merge`: its id, or how it begins.

    Raises: NameRefused when there is no such merge, or several.
    """
    merges = house.lake.read(IDENTITY_EVENTS).filter(pl.col("identity_event") == "merge").collect()
    found = merges.filter(pl.col("identity_event_id").str.starts_with(merge)).to_dicts() if merge else []
    if len(found) != 1:
        raise NameRefused(
            f"{len(found) or 'no'} merges have ids that begin so; c360 identity ledger --event merge lists them"
        )
    left, right = before_merge(house.lake.read(IDENTITY_MAP), found[0])
    merged = {name: found[0][name] for name in ("customer_id", "other_customer_id")}
    return Ruling("undo", left, right, undoes=found[0]["identity_event_id"], **merged)


def withdrawal(house: House, ruling_id: str) -> Ruling:
    """That a ruling stands no longer. Raises: NameRefused when no such ruling stands."""
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect())
    if ruling_id not in stands["ruling_id"].to_list():
        raise NameRefused("no such ruling stands; c360 identity rulings lists those that do")
    return Ruling("withdraw", withdraws=ruling_id)


def rule(house: House, ruling: Ruling, *, now: datetime) -> str:
    """Make the ruling; gives its id.

    It holds from the next build of identity on, through every rebuild, until it is withdrawn. The same link again is
    the ruling that stands. Raises: RulingRefused when it contradicts others, or undoes a merge that is undone.
    """
    made = ruling.row(now)
    ruling_id: str = made["ruling_id"].item()

    def build(version: int | None) -> Staged:
        nonlocal ruling_id
        standing_id = admitted(ruling, house.lake.read(IDENTITY_RULINGS, version=version).collect())
        if standing_id is not None:
            ruling_id = standing_id
            return Staged(IDENTITY_RULINGS.full_name, ())
        return house.lake.stage(IDENTITY_RULINGS, made)

    house.lake.update(IDENTITY_RULINGS, build, load_id=f"ruling:{ruling_id}", replaces="nothing")
    return ruling_id


def admitted(ruling: Ruling, log: pl.DataFrame) -> str | None:
    """The id of the ruling that says the same already, else None. Raises: RulingRefused when it does not fit others."""
    if ruling.kind == "withdraw":
        return None
    stands = standing(log)
    if ruling.undoes is not None:
        undone = stands.filter(pl.col("undoes") == ruling.undoes)["ruling_id"].to_list()
        if undone:
            raise RulingRefused(
                f"merge {ruling.undoes[:SHORT]} is undone already, by {undone[0]}; to take that back: c360 identity "
                f"withdraw {undone[0]}"
            )
    for each in stands.filter(pl.col("ruling") == ruling.kind).iter_rows(named=True):
        if (each["left_node_ids"], each["right_node_ids"]) == (list(ruling.left), list(ruling.right)):
            return str(each["ruling_id"])
    if against := contradicted(stands, ruling.kind, ruling.left, ruling.right):
        raise RulingRefused(
            f"{ruling.kind} contradicts {', '.join(against)}; withdraw that first (c360 identity withdraw "
            f"{against[0]}), or let it stand"
        )
    return None


def rulings(house: House) -> pl.DataFrame:
    """The rulings that stand, with their nodes as they are shown: ruling_id, ruling, one, other, made_at.

    A side of several nodes shows the first and how many more there are.
    """
    stands = standing(house.lake.read(IDENTITY_RULINGS).collect())
    firsts = stands.select(pl.concat([pl.col(name).list.first() for name in ("left_node_ids", "right_node_ids")]))
    nodes = firsts.to_series().to_list()
    shown = identity.names_of_nodes(house.lake.read(IDENTITY_EDGES).collect(), records_of(house), nodes)

    def side(of: list[str]) -> str:
        return shown.get(of[0], of[0]) + (f" and {len(of) - 1} more" if len(of) > 1 else "")

    named = [
        (each["ruling_id"], each["ruling"], side(each["left_node_ids"]), side(each["right_node_ids"]), each["made_at"])
        for each in stands.iter_rows(named=True)
    ]
    return pl.DataFrame(named, schema=["ruling_id", "ruling", "one", "other", "made_at"], orient="row")
