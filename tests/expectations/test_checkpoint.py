"""The verdict on rows on their way to become visible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import expectations.checkpoint as checkpoint
from etl.errors import QualityError
from etl.model import Check, Column, Layer, Severity, Table, Type
from etl.model.frames import empty, schema_of
from expectations.checkpoint import State, Verdict, validate

ID = Column("thing_id", Type.STRING, "one thing")
KIND = Column("kind", Type.STRING, "kind of thing", allowed=("a", "b"))
PIECES = Column("pieces", Type.INT, "pieces", minimum=0)


def _table(*columns: Column, key: tuple[str, ...] = (), checks: tuple[Check, ...] = ()) -> Table:
    return Table(Layer.GOLD, "things", "Things.", "one row per thing", key=key, columns=columns, checks=checks)


THINGS = _table(ID.required, KIND, PIECES, key=("thing_id",))


def _rows(table: Table, *rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema_of(table.columns), orient="row")


def _verdict(table: Table, docs: Path, *frames: pl.DataFrame) -> Verdict:
    return validate(table, frames, window="2026-01-28", run_id="run 1", docs=docs)


def test_rows_that_keep_every_promise_pass(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 0), ("2", None, None)))

    assert (verdict.state, verdict.failures, verdict.evaluated) == (State.PASSED, (), 6)
    verdict.raise_if_critical()


def test_no_rows_pass(tmp_path: Path) -> None:
    assert _verdict(THINGS, tmp_path).state == State.PASSED
    assert _verdict(THINGS, tmp_path, empty(THINGS.columns)).state == State.PASSED


def test_a_repeated_key_fails_and_says_how_many_rows(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1), ("1", "b", 2), ("2", "b", 2)))

    with pytest.raises(QualityError) as refused:
        verdict.raise_if_critical()

    assert verdict.state == State.FAILED
    assert str(refused.value).startswith(
        "gold.things 2026-01-28: expect_column_values_to_be_unique(thing_id) failed for 2 of 3 rows; "
        "the old version stays visible; Data Docs: "
    )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((None, "a", 1), "expect_column_values_to_not_be_null(thing_id) failed for 1 of 2 rows"),
        (("2", "c", 1), "expect_column_values_to_be_in_set(kind) failed for 1 of 2 rows"),
        (("2", "a", -1), "expect_column_values_to_be_between(pieces) failed for 1 of 2 rows"),
    ],
    ids=["a missing id", "a kind that is not allowed", "less than nothing"],
)
def test_each_broken_promise_is_counted(tmp_path: Path, row: tuple[object, ...], expected: str) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1), row))

    assert [str(failure) for failure in verdict.failures] == [expected]


def test_a_failed_warning_is_shown_and_published(tmp_path: Path) -> None:
    check = Check(
        "expect_column_values_to_be_between", {"column": "pieces", "max_value": 5}, Severity.WARNING, why="few"
    )
    table = _table(ID, PIECES, checks=(check,))

    verdict = _verdict(table, tmp_path, _rows(table, ("1", 6)))

    assert (verdict.state, [failure.severity for failure in verdict.failures]) == (State.WARNED, [Severity.WARNING])
    verdict.raise_if_critical()


def test_a_failed_note_leaves_the_verdict_passed(tmp_path: Path) -> None:
    check = Check("expect_column_values_to_be_between", {"column": "pieces", "max_value": 5}, Severity.INFO)
    table = _table(ID, PIECES, checks=(check,))

    verdict = _verdict(table, tmp_path, _rows(table, ("1", 6)))

    assert (verdict.state, len(verdict.failures)) == (State.PASSED, 1)


def test_what_cannot_be_asked_is_an_error_and_no_verdict_on_the_data(tmp_path: Path) -> None:
    check = Check("expect_column_values_to_be_between", {"column": "kind", "max_value": 5}, Severity.WARNING, why="?")
    table = _table(ID, Column("kind", Type.STRING, "text"), checks=(check,))

    verdict = _verdict(table, tmp_path, _rows(table, ("1", "a word of someone")))

    assert verdict.state == State.ERRORED
    with pytest.raises(
        QualityError, match=r"expect_column_values_to_be_between\(kind\) could not be evaluated \(\w+\)"
    ):
        verdict.raise_if_critical()
    assert "word" not in str(verdict)


def test_an_error_outranks_a_failure(tmp_path: Path) -> None:
    check = Check("expect_column_values_to_be_between", {"column": "kind", "max_value": 5}, why="?")
    table = _table(ID.required, Column("kind", Type.STRING, "text"), checks=(check,))

    verdict = _verdict(table, tmp_path, _rows(table, (None, "a")))

    assert verdict.state == State.ERRORED
    assert [failure.error is not None for failure in verdict.stopping] == [True]


def test_a_missing_column_fails_once_and_is_not_asked_further(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1)).drop("kind"))

    assert [str(failure) for failure in verdict.failures] == [
        "expect_table_columns_to_match_ordered_list(table) failed: missing kind"
    ]


def test_a_column_of_another_type_fails_once_and_is_not_asked_further(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1)).with_columns(pl.col("pieces").cast(pl.String)))

    assert [str(failure) for failure in verdict.failures] == [
        "expect_columns_to_have_the_declared_types(table) failed: pieces is string, declared int64"
    ]


def test_columns_in_another_order_fail(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1)).select("kind", "thing_id", "pieces"))

    assert [failure.detail for failure in verdict.failures] == ["the order is another"]


def test_an_undeclared_column_is_counted_and_not_named(tmp_path: Path) -> None:
    frame = _rows(THINGS, ("1", "a", 1)).with_columns(pl.lit(1).alias("anna@example.org"))

    verdict = _verdict(THINGS, tmp_path, frame)

    assert [failure.detail for failure in verdict.failures] == ["1 undeclared"]


def test_one_frame_of_another_shape_among_many_fails(tmp_path: Path) -> None:
    verdict = _verdict(THINGS, tmp_path, _rows(THINGS, ("1", "a", 1)), _rows(THINGS, ("2", "a", 1)).drop("pieces"))

    assert [failure.detail for failure in verdict.failures] == ["missing pieces"]


def test_every_type_of_the_house_can_be_required_and_bounded(tmp_path: Path) -> None:
    table = _table(
        *(Column(f"a_{kind.value}", kind, "a value").required for kind in Type if kind is not Type.AMOUNT),
        Column("amount", Type.AMOUNT, "money", minimum=0, maximum=10).required,
    )
    values = {
        Type.STRING: "x",
        Type.INT: 1,
        Type.FLOAT: 1.5,
        Type.BOOL: False,
        Type.DATE: datetime(2026, 1, 1).date(),
        Type.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
        Type.STRINGS: ["x"],
    }
    whole = (*(values[kind] for kind in Type if kind is not Type.AMOUNT), Decimal("9.9999"))
    broken = (*(None for kind in Type if kind is not Type.AMOUNT), Decimal("10.0001"))

    assert _verdict(table, tmp_path, _rows(table, whole)).state == State.PASSED
    assert len(_verdict(table, tmp_path, _rows(table, whole, broken)).failures) == len(Type)


def test_not_a_number_is_no_value(tmp_path: Path) -> None:
    table = _table(Column("rate", Type.FLOAT, "a rate").required)

    verdict = _verdict(table, tmp_path, _rows(table, (float("nan"),), (1.0,)))

    assert [str(failure) for failure in verdict.failures] == [
        "expect_column_values_to_not_be_null(rate) failed for 1 of 2 rows"
    ]


def test_dates_are_compared_and_missing_ones_left_out(tmp_path: Path) -> None:
    check = Check(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "ends_on", "column_B": "starts_on", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        why="order",
    )
    table = _table(Column("starts_on", Type.DATE, "first"), Column("ends_on", Type.DATE, "last"), checks=(check,))
    day = datetime(2026, 1, 1).date()
    good = _rows(table, (day, day), (None, day), (day, None))

    assert _verdict(table, tmp_path, good).state == State.PASSED
    backwards = _rows(table, (day, day - timedelta(days=1)))
    assert _verdict(table, tmp_path, pl.concat([good, backwards])).failures[0].unexpected_count == 1


@pytest.mark.parametrize(("hours", "expected"), [(24, State.PASSED), (25, State.FAILED)])
def test_a_time_may_be_so_many_hours_after_another(tmp_path: Path, hours: int, expected: State) -> None:
    check = Check(
        "expect_column_pair_values_a_to_be_at_most_hours_after_b",
        {"column_A": "happened_at", "column_B": "received_at", "hours": 24},
        why="clocks",
    )
    times = (Column("happened_at", Type.TIMESTAMP, "then"), Column("received_at", Type.TIMESTAMP, "later"))
    table = _table(*times, checks=(check,))
    received = datetime(2026, 1, 1, tzinfo=UTC)
    rows = _rows(table, (received + timedelta(hours=hours), received), (None, received), (received, None))

    assert _verdict(table, tmp_path, rows).state == expected


@pytest.mark.parametrize(("revenue", "expected"), [("-5.00", State.PASSED), ("-5.02", State.FAILED)])
def test_two_amounts_add_up_to_at_least_a_bound(tmp_path: Path, revenue: str, expected: State) -> None:
    check = Check(
        "expect_column_pair_values_sum_to_be_at_least",
        {"column_A": "revenue_amount", "column_B": "refund_amount", "min_value": -0.01},
        why="refunds",
    )
    amounts = (Column("revenue_amount", Type.AMOUNT, "kept"), Column("refund_amount", Type.AMOUNT, "given back"))
    table = _table(*amounts, checks=(check,))

    assert _verdict(table, tmp_path, _rows(table, (Decimal(revenue), Decimal(5)))).state == expected


CHECKED = _table(
    ID.required,
    KIND,
    PIECES,
    key=("thing_id", "kind"),
    checks=(
        Check("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": 6}, why="a handful"),
        Check("expect_column_mean_to_be_between", {"column": "pieces", "max_value": 3}, Severity.WARNING, why="few"),
        Check(
            "expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["a"], "mostly": 0.5}, why="mostly a"
        ),
    ),
)
THING = st.tuples(
    st.sampled_from(["1", "2", "3", None]), st.sampled_from(["a", "b", "c", None]), st.none() | st.integers(-2, 9)
)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows a batch, so that a handful of rows is large."""
    monkeypatch.setattr(checkpoint, "SLICE_ROWS", 3)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(rows=st.lists(THING, max_size=9), cuts=st.lists(st.integers(0, 9), max_size=3))
def test_the_verdict_does_not_depend_on_how_rows_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[object, ...]], cuts: list[int]
) -> None:
    whole = _rows(CHECKED, *rows)
    edges = [0, *sorted(min(cut, whole.height) for cut in cuts), whole.height]
    parts = [whole[start:end] for start, end in pairwise(edges)]

    at_once = _verdict(CHECKED, tmp_path, whole)
    with monkeypatch.context() as small:
        small.setattr(checkpoint, "SLICE_ROWS", 2)
        in_parts = _verdict(CHECKED, tmp_path, *parts)

    assert (in_parts.state, in_parts.failures) == (at_once.state, at_once.failures)


@pytest.mark.usefixtures("small_slices")
def test_a_key_repeated_far_apart_is_found_over_all_frames(tmp_path: Path) -> None:
    frames = [_rows(THINGS, *((str(n), "a", n) for n in range(start, start + 4))) for start in (0, 4, 0)]

    verdict = _verdict(THINGS, tmp_path, *frames)

    assert [str(failure) for failure in verdict.failures] == [
        "expect_column_values_to_be_unique(thing_id) failed for 8 of 12 rows"
    ]


def test_verdicts_from_several_threads_are_their_own(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    frames = [_rows(THINGS, *((str(n), "a", -1) for n in range(bad)), ("x", "a", 1)) for bad in range(6)]

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda frame: _verdict(THINGS, tmp_path, frame), frames))

    counts = [sum(failure.unexpected_count for failure in verdict.failures) for verdict in verdicts]
    assert counts == [0, 1, 2, 3, 4, 5]


def test_a_run_name_with_slashes_stays_inside_the_docs(tmp_path: Path) -> None:
    docs = tmp_path / "docs"

    validate(THINGS, [], window="2026-01-28", run_id="../../manual__2026-01-28T00:00:00+00:00", docs=docs)

    assert [path.name for path in tmp_path.iterdir()] == ["docs"]
    assert len(list(docs.rglob("*.json"))) == 1
