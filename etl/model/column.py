"""A column: name, type, unit, meaning, privacy, and what values it admits. Declared once in `etl.fields`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from etl.model.names import checked_name


class Type(Enum):
    """The types of the house. `etl.model.frames` maps them to Polars."""

    STRING = "string"
    INT = "int64"
    FLOAT = "float64"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"  # UTC, microseconds
    AMOUNT = "amount"  # Decimal(18, 4)
    STRINGS = "strings"  # list of string


class Privacy(Enum):
    """How near a column is to the person.

    NONE       says nothing of one person by itself; only these have statistics in the Delta log
    PSEUDONYM  a keyed stand-in for a person or an identifier (customer_id, email_key)
    PERSONAL   names the person directly (email, name, free text)
    SENSITIVE  special categories and what can hurt (birth date, health, income)
    """

    NONE = "none"
    PSEUDONYM = "pseudonym"
    PERSONAL = "personal"
    SENSITIVE = "sensitive"


@dataclass(frozen=True, slots=True)
class Column:
    """One column as every room knows it. Grain and key belong to the table; nullability too (`required`).

    `allowed`, `minimum`, `maximum` and `pattern` bind the non-null values: rows that break them are
    quarantined in silver, and stop the build in gold. They become expectations word for word.
    """

    name: str
    type: Type
    meaning: str
    unit: str | None = None
    privacy: Privacy = Privacy.NONE
    is_required: bool = False
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        checked_name(self.name, "column")

    @property
    def required(self) -> Column:
        """The same column, never null."""
        return replace(self, is_required=True)

    def named(self, name: str, meaning: str | None = None) -> Column:
        """The same kind of value under another name (`gross_amount` from `amount`)."""
        return replace(self, name=name, meaning=meaning or self.meaning)
