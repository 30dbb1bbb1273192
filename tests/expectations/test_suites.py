"""What a table promises becomes expectations, word for word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from etl import catalog, gold, silver
from etl.errors import DeclarationError
from etl.model import Check, Column, Layer, Severity, Table, Type
from expectations.suites import columns_of, rules_of, suite_for


def _table(*columns: Column, key: tuple[str, ...] = (), checks: tuple[Check, ...] = (), name: str = "things") -> Table:
    return Table(Layer.SILVER, name, "Things.", "one row per thing", key=key, columns=columns, checks=checks)


def _said(table: Table) -> list[tuple[str, dict[str, object]]]:
    return [(each["type"], each["kwargs"]) for each in suite_for(table)[2:]]


def test_the_shape_comes_first_columns_in_order_and_types() -> None:
    table = _table(Column("a", Type.STRING, "a"), Column("b", Type.AMOUNT, "b"))

    first, second = suite_for(table)

    assert (first["type"], first["kwargs"]) == (
        "expect_table_columns_to_match_ordered_list",
        {"column_list": ["a", "b"]},
    )
    assert second["kwargs"] == {"column_types": {"a": "string", "b": "amount"}}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            Column("a", Type.STRING, "a").required,
            [("expect_column_values_to_not_be_null", {"column": "a"})],
        ),
        (
            Column("a", Type.STRING, "a", allowed=("x", "y")),
            [("expect_column_values_to_be_in_set", {"column": "a", "value_set": ["x", "y"]})],
        ),
        (
            Column("a", Type.INT, "a", minimum=0),
            [("expect_column_values_to_be_between", {"column": "a", "min_value": 0})],
        ),
        (
            Column("a", Type.FLOAT, "a", minimum=0.5, maximum=100.0),
            [("expect_column_values_to_be_between", {"column": "a", "min_value": 0.5, "max_value": 100})],
        ),
        (
            Column("a", Type.STRING, "a", pattern="^x$"),
            [("expect_column_values_to_match_regex", {"column": "a", "regex": "^x$"})],
        ),
        (Column("a", Type.STRING, "a"), []),
    ],
    ids=["required", "allowed", "a minimum", "both limits", "a pattern", "nothing promised"],
)
def test_a_columns_promise_becomes_an_expectation(column: Column, expected: list[object]) -> None:
    assert _said(_table(column)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (("a",), [("expect_column_values_to_be_unique", {"column": "a"})]),
        (("a", "b"), [("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]})]),
        ((), []),
    ],
    ids=["one column", "two columns", "no key"],
)
def test_the_key_is_unique(key: tuple[str, ...], expected: list[object]) -> None:
    table = _table(Column("a", Type.STRING, "a"), Column("b", Type.STRING, "b"), key=key)

    assert _said(table) == expected


def test_what_the_declaration_promises_is_critical() -> None:
    table = _table(Column("a", Type.STRING, "a", pattern="x").required, key=("a",))

    assert {each["severity"] for each in suite_for(table)} == {"critical"}


def test_a_check_keeps_its_severity_and_its_reason() -> None:
    check = Check(
        "expect_column_values_to_be_between", {"column": "a", "max_value": 9}, Severity.WARNING, why="ten is odd"
    )
    table = _table(Column("a", Type.INT, "a"), checks=(check,))

    last = suite_for(table)[-1]

    assert (last["severity"], last["meta"]) == ("warning", {"why": "ten is odd"})


def test_what_is_said_twice_stands_once() -> None:
    check = Check("expect_column_values_to_not_be_null", {"column": "a"}, Severity.WARNING, why="again")
    table = _table(Column("a", Type.INT, "a").required, checks=(check,))

    kinds = [each["type"] for each in suite_for(table)]

    assert kinds.count("expect_column_values_to_not_be_null") == 1


def test_a_check_on_a_column_the_table_lacks_is_refused() -> None:
    check = Check("expect_column_values_to_not_be_null", {"column": "nowhere"}, why="a slip of the pen")
    table = _table(Column("a", Type.INT, "a"), checks=(check,))

    with pytest.raises(DeclarationError, match=r"silver\.things: the rule .* names nowhere, which the table does not"):
        suite_for(table)


def test_a_check_without_a_reason_is_refused() -> None:
    check = Check("expect_column_values_to_not_be_null", {"column": "a"})
    table = _table(Column("a", Type.INT, "a"), checks=(check,))

    with pytest.raises(DeclarationError, match="does not say why"):
        suite_for(table)


def test_limits_on_a_list_are_refused() -> None:
    with pytest.raises(DeclarationError, match="this column holds lists"):
        suite_for(_table(Column("a", Type.STRINGS, "a", allowed=("x",))))


def test_a_hand_written_rule_reaches_its_table() -> None:
    table = _table(
        Column("gross_amount", Type.AMOUNT, "charged"),
        Column("refund_amount", Type.AMOUNT, "given back"),
        name="orders",
    )

    assert _said(table)[-1] == (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "gross_amount", "column_B": "refund_amount", "or_equal": True},
    )


def test_a_rule_of_a_layer_binds_only_tables_with_its_columns() -> None:
    def landing(*names: str) -> Table:
        columns = tuple(Column(name, Type.TIMESTAMP, "a time") for name in names)
        return Table(Layer.BRONZE, "some_stream", "Landed.", "one row per record", key=(), columns=columns)

    assert len(rules_of(landing("_event_at", "_extracted_at"))) == 1
    assert rules_of(landing("_event_at")) == ()


DECLARED = {
    table.full_name: table
    for room in (silver, gold)
    for table in catalog._tables_of(room)  # every table there is, whichever sources are active
}


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_every_declared_table_has_a_suite_and_every_rule_a_reason(name: str) -> None:
    table = DECLARED[name]

    suite = suite_for(table)

    assert all(each["meta"]["why"] for each in suite)
    assert all(column in table.column_names for each in suite for column in columns_of(each["kwargs"]))


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_great_expectations_knows_every_expectation_of_every_suite(name: str) -> None:
    from great_expectations.core import ExpectationSuite

    import expectations.own  # noqa: F401

    suite = suite_for(DECLARED[name])

    assert len(ExpectationSuite(name=name, expectations=suite).expectations) == len(suite)


def test_suites_are_read_without_great_expectations() -> None:
    asked = "import sys, expectations.suites; print('great_expectations' in sys.modules, 'pandas' in sys.modules)"

    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["False", "False"]
