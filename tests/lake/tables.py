"""Tables the lake's tests write: one by day with a column of every type and privacy class, one in one piece."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from etl.model import Column, Layer, Partition, Privacy, Table, Type
from etl.model.frames import schema_of

DAY = Column("day", Type.DATE, "UTC day of landing")

VISITS = Table(
    layer=Layer.SILVER,
    name="visits",
    description="Visits, for tests.",
    grain="one row per visit",
    key=("visit_id",),
    columns=(
        Column("visit_id", Type.INT, "one visit").required,
        Column("page_path", Type.STRING, "page"),
        Column("email", Type.STRING, "who", privacy=Privacy.PERSONAL),
        Column("customer_id", Type.STRING, "who, by pseudonym", privacy=Privacy.PSEUDONYM),
        Column("birth_date", Type.DATE, "when born", privacy=Privacy.SENSITIVE),
        Column("tags", Type.STRINGS, "tags"),
        Column("seconds", Type.FLOAT, "how long", unit="s"),
        Column("cost_amount", Type.AMOUNT, "what it cost"),
        Column("is_bot", Type.BOOL, "robot"),
        Column("visited_at", Type.TIMESTAMP, "when"),
        Column("run_id", Type.STRING, "which run wrote it"),
        DAY.required,
    ),
    partition=Partition.DAY,
)

COUNTS = Table(
    layer=Layer.GOLD,
    name="counts",
    description="Counts, for tests.",
    grain="one row per name",
    key=("name",),
    columns=(Column("name", Type.STRING, "what").required, Column("count", Type.INT, "how many").required),
)

MARKS = Table(
    layer=Layer.SILVER,
    name="marks",
    description="Who wrote what, for tests with many writers.",
    grain="one row per writer and turn",
    key=("writer", "turn"),
    columns=(
        Column("writer", Type.INT, "which process").required,
        Column("turn", Type.INT, "its how many-th write").required,
        DAY.required,
    ),
    partition=Partition.DAY,
)


def day(number: int) -> date:
    """The `number`-th of January 2026."""
    return date(2026, 1, number)


def visits(numbers: range, on: int, **values: object) -> pl.DataFrame:
    """One visit per number on one day, every column filled; `values` replace columns whole."""
    rows = [
        {
            "visit_id": number,
            "page_path": f"/p{number % 7}",
            "email": f"person{number}@canary.example",
            "customer_id": f"c_{number:024x}",
            "birth_date": date(1970, 1, 1 + number % 28),
            "tags": [f"t{number % 3}"] * (number % 3) if number % 5 else None,
            "seconds": number / 3,
            "cost_amount": Decimal(number) / 8,
            "is_bot": bool(number % 2),
            "visited_at": datetime(2026, 1, on, number % 24, tzinfo=UTC),
            "run_id": "run-1",
            "day": day(on),
            **values,
        }
        for number in numbers
    ]
    return pl.DataFrame(rows, schema=schema_of(VISITS.columns))


def counts(**numbers: int) -> pl.DataFrame:
    """name -> count as rows."""
    return pl.DataFrame({"name": list(numbers), "count": list(numbers.values())}, schema=schema_of(COUNTS.columns))


def mark(writer: int, turn: int, on: int, rows: int = 1) -> pl.DataFrame:
    """`rows` rows of one writer's turn on one day."""
    return pl.DataFrame({"writer": writer, "turn": turn, "day": [day(on)] * rows}, schema=schema_of(MARKS.columns))
