"""No value of a person may stand in a stored result, a page, a log or a message, whatever fails."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

from etl.errors import QualityError
from etl.model import Check, Column, Layer, Privacy, Severity, Table, Type
from etl.model.frames import schema_of
from expectations.checkpoint import State, Verdict, validate
from expectations.docs import build_docs

CANARY = "canary.7f3a9"
_PERSONAL = Privacy.PERSONAL


class ColumnValuesReadAloud(ColumnMapMetricProvider):
    """Raises with the value in its message, as `float("Anna")` and many a parser do."""

    condition_metric_name = "column_values.read_aloud"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: object) -> pd.Series:  # noqa: N805  # GX calls it so
        raise ValueError(f"could not read {column.iloc[0]!r}")


class ExpectColumnValuesToBeReadAloud(ColumnMapExpectation):
    """The worst an expectation can do."""

    map_metric = "column_values.read_aloud"


TABLE = Table(
    Layer.SILVER,
    "persons",
    "Persons whose every value breaks its promise.",
    "one row per person",
    key=("email",),
    columns=(
        Column("email", Type.STRING, "address", privacy=_PERSONAL).required,
        Column("kind", Type.STRING, "kind", privacy=_PERSONAL, allowed=("a", "b")),
        Column("phone", Type.STRING, "number", privacy=_PERSONAL, pattern=r"^\+\d+$"),
        Column("income_amount", Type.AMOUNT, "income", privacy=Privacy.SENSITIVE, maximum=10),
        Column("born_on", Type.DATE, "birthday", privacy=Privacy.SENSITIVE),
        Column("seen_at", Type.TIMESTAMP, "seen", privacy=Privacy.SENSITIVE),
        Column("tags", Type.STRINGS, "tags", privacy=_PERSONAL).required,
        Column("note", Type.STRING, "free text", privacy=_PERSONAL),
    ),
    checks=(
        Check("expect_column_values_to_be_read_aloud", {"column": "note"}, why="raises with the value"),
        Check("expect_column_values_to_be_between", {"column": "note", "min_value": 5}, why="raises on text"),
        Check("expect_column_mean_to_be_between", {"column": "phone", "min_value": 5}, why="raises on text"),
        Check("expect_column_max_to_be_between", {"column": "income_amount", "max_value": 1}, why="observes a value"),
        Check("expect_column_distinct_values_to_be_in_set", {"column": "kind", "value_set": ["a"]}, why="lists values"),
        Check("expect_column_distinct_values_to_equal_set", {"column": "kind", "value_set": ["a"]}, why="lists values"),
        Check("expect_column_most_common_value_to_be_in_set", {"column": "kind", "value_set": ["a"]}, why="lists them"),
        Check("expect_column_values_to_not_match_regex", {"column": "email", "regex": "."}, why="matches all"),
        Check("expect_column_value_lengths_to_be_between", {"column": "email", "max_value": 1}, why="too long"),
        Check("expect_column_pair_values_to_be_equal", {"column_A": "email", "column_B": "phone"}, why="never are"),
        Check("expect_compound_columns_to_be_unique", {"column_list": ["email", "kind"]}, why="never are"),
        Check(
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "born_on", "column_B": "seen_at"},
            Severity.WARNING,
            why="order",
        ),
    ),
)

PERSON = (
    f"{CANARY}@example.org",
    f"kind {CANARY}",
    f"phone {CANARY}",
    Decimal("98765.4321"),
    date(1931, 7, 19),
    datetime(2031, 7, 19, 3, 17, 43, 123456, tzinfo=UTC),
    [CANARY],
    f"a note on {CANARY}",
)
PLANTED = (CANARY, "98765", "1931-07-19", "2031-07-19", "2031-07-19T03:17:43")


def _broken() -> pl.DataFrame:
    nameless = (None, *PERSON[1:6], None, PERSON[7])
    return pl.DataFrame([PERSON, PERSON, nameless], schema=schema_of(TABLE.columns), orient="row")


def _seen(frame: pl.DataFrame, docs: Path) -> tuple[Verdict, str]:
    verdict = validate(TABLE, [frame], window="2026-01-28", run_id="run", docs=docs)
    build_docs(docs)
    with pytest.raises(QualityError) as refused:
        verdict.raise_if_critical()
    files = [path for path in docs.rglob("*") if path.is_file() and "static" not in path.parts]
    written = "".join(path.read_bytes().decode("utf-8", "replace") + str(path) for path in files)
    assert len(files) >= 3  # the result, its page, the index
    return verdict, written + repr(verdict) + str(refused.value) + repr(refused.value.__context__)


@pytest.mark.parametrize(
    "frame",
    [
        _broken(),
        _broken().with_columns(pl.lit(CANARY).alias(f"pivoted {CANARY}")),
        _broken().with_columns(pl.col("income_amount").cast(pl.String)),
        _broken().drop("email"),
    ],
    ids=["every rule broken", "a value as a column name", "a column of another type", "a column missing"],
)
def test_no_value_of_a_person_is_written_logged_or_raised(
    frame: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    verdict, written = _seen(frame, tmp_path)

    printed = capfd.readouterr()
    seen = written + caplog.text + printed.out + printed.err
    assert len(verdict.failures) > 8
    assert [planted for planted in PLANTED if planted in seen] == []


def test_the_broken_rows_do_break_every_kind_of_expectation(tmp_path: Path) -> None:
    verdict, _ = _seen(_broken(), tmp_path)

    held = verdict.evaluated - len(verdict.failures)
    assert verdict.state == State.ERRORED
    assert held == 2  # the two of the table's shape, which the other frames break
    assert sum(failure.error is not None for failure in verdict.failures) >= 2
