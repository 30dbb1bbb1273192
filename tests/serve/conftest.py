"""A small lake: who is whom, a day-partitioned table that carries a customer, and two gold tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake

from etl import fields as f
from etl.model import Layer, Partition, Table
from etl.model.frames import schema_of
from etl.serve.catalogue import publish, table_path

ANN, BOB = f"c_{'a' * 24}", f"c_{'b' * 24}"
NODE_OF_ANN, NODE_OF_BOB, NODE_OF_NOBODY = "a" * 32, "b" * 32, "f" * 32

MAP = Table(
    layer=Layer.SILVER,
    name="identity_map",
    description="Which customer every node belongs to.",
    grain="one row per node and stretch of time",
    key=("node_id", "known_from"),
    columns=(
        f.node_id.required,
        f.customer_id.required,
        f.valid_from,
        f.valid_to,
        f.known_from.required,
        f.known_to,
    ),
)
VISITS = Table(
    layer=Layer.SILVER,
    name="visits",
    description="What happened on the site.",
    grain="one row per event",
    key=("event_id",),
    columns=(f.event_id.required, f.node_id, f.event_at.required, f.text, f.day.required),
    partition=Partition.DAY,
    carries_customer=True,
    inputs=(MAP,),
)
PROFILES = Table(
    layer=Layer.GOLD,
    name="profiles",
    description="It's a customer at a glance.",
    grain="one row per customer",
    key=("customer_id",),
    columns=(
        f.customer_id.required,
        f.order_count.required,
        f.total_revenue_amount.required,
        f.last_order_date,
        f.device_types,
    ),
    inputs=(VISITS,),
)
NEVER_BUILT = Table(
    layer=Layer.GOLD,
    name="never_built",
    description="A table nobody has built yet.",
    grain="one row per customer",
    key=("customer_id",),
    columns=(f.customer_id.required,),
)
TABLES = (MAP, VISITS, PROFILES, NEVER_BUILT)


def stored(lake: Path, table: Table, rows: Sequence[Mapping[str, Any]], *, mode: str = "overwrite") -> None:
    """The rows of plain values, committed to the table's place in the lake."""
    schema = schema_of(table.columns)
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    by = ["day"] if table.partition is Partition.DAY else None
    write_deltalake(str(table_path(lake, table)), frame.to_arrow(), mode=mode, partition_by=by)  # type: ignore[call-overload]


def a_lake(folder: Path) -> Path:
    """A lake in a folder whose name would break careless SQL."""
    root = folder / "Ann's lake"
    then, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    stored(
        root,
        MAP,
        [
            {"node_id": NODE_OF_ANN, "customer_id": BOB, "known_from": then, "known_to": now},
            {"node_id": NODE_OF_ANN, "customer_id": ANN, "known_from": now, "valid_from": then},
            {"node_id": NODE_OF_BOB, "customer_id": BOB, "known_from": then},
        ],
    )
    at = datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
    stored(
        root,
        VISITS,
        [
            {"event_id": "e1", "node_id": NODE_OF_ANN, "event_at": at, "text": "hello", "day": date(2026, 1, 1)},
            {"event_id": "e2", "node_id": NODE_OF_BOB, "event_at": at, "text": "12 apples", "day": date(2026, 1, 2)},
            {"event_id": "e3", "node_id": NODE_OF_NOBODY, "event_at": at, "day": date(2026, 1, 2)},
            {"event_id": "e4", "event_at": at, "day": date(2026, 1, 2)},
        ],
    )
    stored(
        root,
        PROFILES,
        [
            {
                "customer_id": ANN,
                "order_count": 2,
                "revenue_amount": Decimal("10.5000"),
                "last_order_date": date(2026, 1, 1),
                "device_types": ["desktop", "mobile"],
            },
            {"customer_id": BOB, "order_count": 0, "revenue_amount": Decimal("0.1")},
        ],
    )
    return root


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that tests only read."""
    return a_lake(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def catalogue(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published catalogue of that lake."""
    target = tmp_path_factory.mktemp("state") / "lakehouse.duckdb"
    publish(lake, TABLES, target)
    return target


@pytest.fixture
def own_lake(tmp_path: Path) -> Path:
    """A lake a test may change."""
    return a_lake(tmp_path)


@pytest.fixture
def own_catalogue(own_lake: Path, tmp_path: Path) -> Path:
    """The published catalogue of that lake."""
    target = tmp_path / "state" / "lakehouse.duckdb"
    publish(own_lake, TABLES, target)
    return target
