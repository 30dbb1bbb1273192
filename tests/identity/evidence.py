"""Small worlds for the tests of identity: person records and visits said in words, resolved as the pipeline does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from etl.bronze.tables import IDENTITY_RULINGS
from etl.model import USUAL_RULES, IdentityRules, Table
from etl.model.frames import empty, schema_of
from etl.privacy.pseudonyms import KINDS, node_of_record, pseudonym
from etl.silver.identity_edges import IDENTITY_EDGES, build_identity_edges
from etl.silver.identity_events import IDENTITY_EVENTS, before_merge, build_identity_events
from etl.silver.identity_map import IDENTITY_MAP, build_identity_map, current
from etl.silver.identity_matches import IDENTITY_MATCHES
from tests.golden import frame_of

KEY = b"golden"
DAY_1 = datetime(2026, 1, 1, tzinfo=UTC)
INPUTS = {table.name: table for table in IDENTITY_EDGES.inputs}


def day(number: int) -> datetime:
    """The start of the n-th day of the company."""
    return DAY_1 + timedelta(days=number - 1)


@dataclass
class Evidence:
    """Rows of the subjects, as silver hands them to identity."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in INPUTS})

    def record(self, name: str, given_name: str | None = None, *, on: int = 1, **identifiers: str | None) -> Evidence:
        """A record of a source; `name` is `source:id`."""
        source, record_id = name.split(":")
        self.rows["person_records"].append(
            {
                "node_id": record(name),
                "source": source,
                "stream": "people",
                "record_id": record_id,
                "given_name": given_name,
                "created_at": day(on),
                "updated_at": day(on),
                "is_deleted": False,
                **_keys(identifiers),
            }
        )
        return self

    def visit(self, *, on: float = 1, **identifiers: str | None) -> Evidence:
        """A web event; of what it names, the surest is its node."""
        keys = _keys(identifiers)
        number = len(self.rows["web_events"])
        surest = next((keys[f"{kind}_key"] for kind in KINDS if keys.get(f"{kind}_key")), None)
        self.rows["web_events"].append(
            {
                "source": "web",
                "event_id": f"e{number}",
                "event_name": "page_view",
                "event_at": DAY_1 + timedelta(days=on - 1),
                "node_id": surest,
                "channel": "direct",
                "is_bot": False,
                **{name: value for name, value in keys.items() if name in schema_of(INPUTS["web_events"].columns)},
            }
        )
        return self

    def reading(self, device: str, *, on: float = 1) -> Evidence:
        """A reading of a device that says nothing but its number."""
        self.rows["device_events"].append(
            {
                "source": "devices",
                "reading_id": f"d{len(self.rows['device_events'])}",
                "event_at": DAY_1 + timedelta(days=on - 1),
                "node_id": pseudonym("device", device, key=KEY),
                "device_key": pseudonym("device", device, key=KEY),
            }
        )
        return self

    def ruling(self, ruling: str, left: str, right: str) -> Evidence:
        """What somebody ruled about two nodes."""
        return self._ruled(ruling=ruling, left_node_ids=[left], right_node_ids=[right])

    def undo(self, merge: Mapping[str, Any], identity_map: pl.DataFrame) -> Evidence:
        """A merge of the ledger is undone: its customers as the map had them just before are apart."""
        left, right = before_merge(identity_map.lazy(), merge)
        return self._ruled(
            ruling="undo",
            left_node_ids=left,
            right_node_ids=right,
            undoes=merge["identity_event_id"],
            customer_id=merge["customer_id"],
            other_customer_id=merge["other_customer_id"],
        )

    def withdraw(self, ruling_id: str) -> Evidence:
        """A ruling stands no longer."""
        return self._ruled(ruling="withdraw", withdraws=ruling_id)

    def _ruled(self, **said: Any) -> Evidence:
        number = len(self.rows["identity_rulings"])
        self.rows["identity_rulings"].append(
            {"ruling_id": f"r{number}", "made_at": day(1) + timedelta(minutes=number), **said}
        )
        return self

    def rulings(self) -> pl.DataFrame:
        """The log of rulings."""
        return frame(IDENTITY_RULINGS, self.rows["identity_rulings"])

    def frames(self) -> dict[str, pl.LazyFrame]:
        return {name: frame(INPUTS[name], rows).lazy() for name, rows in self.rows.items()}

    def edges(self, *, rules: IdentityRules = USUAL_RULES) -> pl.DataFrame:
        return build_identity_edges(**self.frames(), rules=rules).collect()


def frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return frame_of(rows, schema_of(table.columns))


def record(name: str) -> str:
    """The node of the record `source:id`."""
    source, record_id = name.split(":")
    return node_of_record(source, "people", record_id, key=KEY)


def node(kind: str, value: str) -> str:
    """The node of an identifier."""
    return pseudonym(kind, value, key=KEY)


def resolved(
    evidence: Evidence | pl.DataFrame,
    previous: pl.DataFrame | None = None,
    *,
    on: int = 2,
    rules: IdentityRules = USUAL_RULES,
    rulings: pl.DataFrame | None = None,
    matches: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The map after `evidence`, as of the end of the day before `on`."""
    edges = evidence.edges(rules=rules) if isinstance(evidence, Evidence) else evidence
    if rulings is None:
        rulings = evidence.rulings() if isinstance(evidence, Evidence) else empty(IDENTITY_RULINGS.columns)
    found = empty(IDENTITY_MATCHES.columns) if matches is None else matches
    before = empty(IDENTITY_MAP.columns) if previous is None else previous
    return build_identity_map(
        edges.lazy(), found.lazy(), rulings.lazy(), previous=before.lazy(), as_of=day(on), key=KEY
    ).collect()


def ledger(
    identity_map: pl.DataFrame, previous: pl.DataFrame | None = None, rulings: pl.DataFrame | None = None
) -> pl.DataFrame:
    before = empty(IDENTITY_EVENTS.columns) if previous is None else previous
    ruled = empty(IDENTITY_RULINGS.columns) if rulings is None else rulings
    return build_identity_events(identity_map.lazy(), ruled.lazy(), previous=before.lazy()).collect()


def customer_of(identity_map: pl.DataFrame) -> dict[str, str]:
    """node -> customer, as the map stands."""
    return dict(current(identity_map.lazy()).select("node_id", "customer_id").collect().iter_rows())


def together(identity_map: pl.DataFrame, *nodes: str) -> bool:
    """True when all nodes are one customer."""
    customers = customer_of(identity_map)
    return len({customers[one] for one in nodes}) == 1


def state(edges: pl.DataFrame, left: str, right: str) -> str:
    """The verdict on the edge."""
    ends = {left, right}
    (found,) = [
        row["edge_state"]
        for row in edges.iter_rows(named=True)
        if {row["left_node_id"], row["right_node_id"]} == ends and (left == right or len(ends) == 2)
    ]
    return str(found)


def _keys(identifiers: dict[str, str | None]) -> dict[str, str]:
    return {f"{kind}_key": node(kind, value) for kind, value in identifiers.items() if value is not None}
