"""A table, declared once. Schema, order, suite, quarantine, SQL view, docs and DAG are all read off this value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from etl.errors import DeclarationError
from etl.model.column import Column
from etl.model.names import checked_name


class Layer(Enum):
    """Where a table stands in the one-way flow. QUARANTINE holds what silver turned away."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    QUARANTINE = "quarantine"


class Partition(Enum):
    """How a table is laid out, and so what one rebuild replaces.

    DAY     by `day` (UTC day of landing); a window replaces its days and nothing else
    WHOLE   one piece; a build replaces it all, from everything known so far
    """

    DAY = "day"
    WHOLE = "whole"


class Severity(Enum):
    """What a failed check does: CRITICAL stops the version, WARNING is shown, INFO is noted."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Check:
    """An expectation beyond the columns' own: Great Expectations' snake_case name, and its arguments."""

    expectation: str
    kwargs: dict[str, Any]
    severity: Severity = Severity.CRITICAL
    why: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    `build` is a pure function. Its positional parameters are named after its inputs (`orders`, `customers`;
    `records` is what the source feeds bring); its keyword-only parameters are among those the runner
    offers: as_of, window, key, currency, country, rules, previous, since, versions. It gives a frame of exactly
    `columns`, or the same plus `_fate`, `_rule` and `_reason`, which say what became of every input row
    (`out`, `quarantined`, `deduplicated`, `filtered`).

    `accepts` are the columns a source's `Feed` may fill; a table with `accepts` is a subject: its inputs are
    the bronze tables of every stream that feeds it, besides `inputs`.

    `carries_customer` tables hold `node_id`; whoever reads them downstream of identity sees `customer_id`
    beside it, joined from `silver.identity_map` by the runner and by the SQL views: settled once, never stale.

    `conserves` names the input whose rows must be accounted for; `weight` the column that says how many of
    them one output row stands for (None: one). `leaves_out` takes that input and gives the rows of it which the table
    leaves out: they count as filtered. `dedupe_days` is how far back an event's twin may stand.
    """

    layer: Layer
    name: str
    description: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    build: Callable[..., Any] | None = None
    inputs: tuple[Table, ...] = ()
    accepts: tuple[Column, ...] = ()
    partition: Partition = Partition.WHOLE
    carries_customer: bool = False
    conserves: str | None = None
    weight: str | None = None
    leaves_out: Callable[[Any], Any] | None = None
    dedupe_days: int = 0
    checks: tuple[Check, ...] = ()
    owner: str = "data-engineering"
    retention_days: int | None = None
    _names: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        checked_name(self.name, "table")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DeclarationError(f"{self.full_name}: declared twice: {', '.join(twice)}")
        missing = [name for name in self.key if name not in names]
        if missing:
            raise DeclarationError(f"{self.full_name}: key columns not among its columns: {', '.join(missing)}")
        if self.weight is not None and self.weight not in names:
            raise DeclarationError(f"{self.full_name}: weight {self.weight!r} is not among its columns")
        if self.leaves_out is not None and self.conserves is None:
            raise DeclarationError(f"{self.full_name}: leaves_out says what of `conserves` is filtered; name it")
        object.__setattr__(self, "_names", frozenset(names))

    @property
    def full_name(self) -> str:
        """`layer.name`, as SQL and messages spell it."""
        return f"{self.layer.value}.{self.name}"

    @property
    def is_subject(self) -> bool:
        """True when sources feed this table directly."""
        return bool(self.accepts)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column `name`.

        Raises: DeclarationError when there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise DeclarationError(f"{self.full_name} has no column {name!r}")
