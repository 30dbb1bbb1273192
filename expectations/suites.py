"""What every table must hold, as plain values: from its declaration, its checks and the hand-written rules.

Nothing here imports Great Expectations, so that DAGs, docs and tests may read a suite in milliseconds.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from typing import Any

from etl.errors import DeclarationError
from etl.model import Check, Column, Partition, Severity, Table, Type

Expectation = dict[str, Any]
"""One expectation: `type`, `kwargs`, `severity`, `meta` ({"why": ...}); what `ExpectationSuite` takes as it is."""

COLUMN_LIST = "expect_table_columns_to_match_ordered_list"
COLUMN_TYPES = "expect_columns_to_have_the_declared_types"
NOT_NULL = "expect_column_values_to_not_be_null"
IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"
REGEX = "expect_column_values_to_match_regex"
UNIQUE = "expect_column_values_to_be_unique"
COMPOUND_UNIQUE = "expect_compound_columns_to_be_unique"


def suite_for(table: Table) -> list[Expectation]:
    """The suite of `table`: shape first, then its columns in order, its key, its checks, the written rules.

    An expectation said twice (by the declaration and by a rule) stands once, as it was said first.

    Raises: DeclarationError when a check or rule names a column the table does not have, gives no reason, or
    when a column's limits are of a kind that has no expectation.
    """
    checks = (*of_declaration(table), *_sound(table, table.checks), *_sound(table, rules_of(table)))
    suite: list[Expectation] = []
    for check in checks:
        said = {"type": check.expectation, "kwargs": check.kwargs}
        if not any(said == {"type": known["type"], "kwargs": known["kwargs"]} for known in suite):
            suite.append(said | {"severity": check.severity.value, "meta": {"why": check.why}})
    return suite


def of_declaration(table: Table) -> Iterator[Check]:
    """What the columns, their limits and the key promise; all of it critical."""
    names = list(table.column_names)
    yield Check(COLUMN_LIST, {"column_list": names}, why="readers count on these columns, in this order")
    types = {column.name: column.type.value for column in table.columns}
    yield Check(COLUMN_TYPES, {"column_types": types}, why="a silent cast would change values")
    for column in table.columns:
        yield from _of_column(table, column)
    # In a table by day a key is unique within its day: a twin further back than `dedupe_days` is a row of its own.
    key = (
        list(dict.fromkeys((*table.key, "day"))) if table.key and table.partition is Partition.DAY else list(table.key)
    )
    if len(key) == 1:
        yield Check(UNIQUE, {"column": key[0]}, why=f"the key: {table.grain}")
    elif key:
        yield Check(COMPOUND_UNIQUE, {"column_list": key}, why=f"the key: {table.grain}")


def _of_column(table: Table, column: Column) -> Iterator[Check]:
    if column.is_required:
        yield Check(NOT_NULL, {"column": column.name}, why="declared as required")
    if column.type is Type.STRINGS and (column.allowed or column.pattern):
        raise DeclarationError(
            f"{table.full_name}.{column.name}: `allowed` and `pattern` bind single strings, this column holds lists; "
            "split it into rows or drop the limit"
        )
    if column.allowed:
        yield Check(IN_SET, {"column": column.name, "value_set": list(column.allowed)}, why="the declared values")
    limits = {"min_value": column.minimum, "max_value": column.maximum}
    told = {name: _plain(limit) for name, limit in limits.items() if limit is not None}
    if told:
        yield Check(BETWEEN, {"column": column.name, **told}, why="the declared limits")
    if column.pattern:
        yield Check(REGEX, {"column": column.name, "regex": column.pattern}, why="the declared pattern")


def _plain(limit: float) -> float | int:
    """0 for 0.0: a limit reads in Data Docs as it was meant."""
    return int(limit) if float(limit).is_integer() else limit


def rules_of(table: Table) -> tuple[Check, ...]:
    """The hand-written rules: its layer's, where it has the columns they name, then its own."""
    of_layer = [rule for rule in _written(table.layer.value) if not _unknown(table, rule)]
    return (*of_layer, *_written(f"{table.layer.value}_{table.name}"))


def _written(module: str) -> tuple[Check, ...]:
    name = f"expectations.rules.{module}"
    if importlib.util.find_spec(name) is None:
        return ()
    rules: tuple[Check, ...] = importlib.import_module(name).RULES
    return rules


def _unknown(table: Table, check: Check) -> list[str]:
    return [name for name in columns_of(check.kwargs) if name not in table.column_names]


def _sound(table: Table, checks: Iterable[Check]) -> Iterator[Check]:
    """`checks`, each naming declared columns only and saying why."""
    for check in checks:
        unknown = _unknown(table, check)
        if unknown:
            raise DeclarationError(
                f"{table.full_name}: the rule {check.expectation} names {', '.join(unknown)}, which the table does not "
                f"declare; mend expectations/rules/{table.layer.value}_{table.name}.py or the table's checks"
            )
        if check.severity is not Severity.INFO and not check.why:
            raise DeclarationError(f"{table.full_name}: the rule {check.expectation} does not say why; give it a `why`")
        yield check


def columns_of(kwargs: dict[str, Any]) -> list[str]:
    """The columns an expectation reads, as its arguments name them."""
    named: list[str] = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    for key in ("column_list", "column_set", "column_types"):
        named.extend(kwargs.get(key) or ())
    return list(dict.fromkeys(named))
