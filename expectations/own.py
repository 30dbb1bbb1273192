"""The expectations Great Expectations lacks: a whole table's types, a time soon after another, a bounded sum.

Importing this module registers them; `checkpoint` does so. Each is evaluated on pandas batches only.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation, ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnPairMapMetricProvider,
    column_pair_condition_partial,
)

from etl.model import Type
from etl.model.frames import DTYPES


def _pandas_types() -> dict[str, str]:
    """Pandas' name of a type -> ours, as Polars hands the types over."""
    import polars as pl

    empty = pl.DataFrame(schema={kind.value: DTYPES[kind] for kind in Type})
    handed = empty.to_pandas(use_pyarrow_extension_array=True).dtypes
    return {str(dtype): name for name, dtype in handed.items()}


_PAIR = ("batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser", "ignore_row_if")


class ExpectColumnsToHaveTheDeclaredTypes(BatchExpectation):  # type: ignore[misc]  # GX is untyped here
    """Every column of `column_types` that is there has the type it says. Absent columns are another's matter."""

    column_types: dict[str, str]

    metric_dependencies = ("table.column_types",)
    success_keys = ("column_types",)
    args_keys = ("column_types",)
    ours: ClassVar[dict[str, str]] = _pandas_types()

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: Any = None,  # noqa: ARG002  # GX hands it in by name
        execution_engine: Any = None,  # noqa: ARG002  # GX hands it in by name
    ) -> dict[str, Any]:
        found = {
            column["name"]: self.ours.get(str(column["type"]), "other") for column in metrics["table.column_types"]
        }
        wrong = [
            {"column": name, "expected": expected, "found": found[name]}
            for name, expected in self.column_types.items()
            if name in found and found[name] != expected
        ]
        return {"success": not wrong, "result": {"observed_value": len(wrong), "details": {"mismatched": wrong}}}


class ColumnPairValuesAAtMostHoursAfterB(ColumnPairMapMetricProvider):  # type: ignore[misc]  # GX is untyped here
    """True where A - B is at most `hours` hours; A before B is true as well."""

    condition_metric_name = "column_pair_values.a_at_most_hours_after_b"
    condition_domain_keys = _PAIR
    condition_value_keys = ("hours",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: Any, column_B: Any, **kwargs: Any) -> Any:  # noqa: N803, N805  # GX calls it so
        return (column_A - column_B) <= pd.Timedelta(hours=kwargs["hours"])


class ExpectColumnPairValuesAToBeAtMostHoursAfterB(ColumnPairMapExpectation):  # type: ignore[misc]  # GX is untyped here
    """Times in `column_A` are at most `hours` hours after those in `column_B`."""

    hours: float
    ignore_row_if: str = "either_value_is_missing"

    map_metric = "column_pair_values.a_at_most_hours_after_b"
    success_keys = ("column_A", "column_B", "ignore_row_if", "hours", "mostly")
    args_keys = ("column_A", "column_B", "hours")


class ColumnPairValuesSumAtLeast(ColumnPairMapMetricProvider):  # type: ignore[misc]  # GX is untyped here
    """True where A + B is at least `min_value`."""

    condition_metric_name = "column_pair_values.sum_at_least"
    condition_domain_keys = _PAIR
    condition_value_keys = ("min_value",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_A: Any, column_B: Any, **kwargs: Any) -> Any:  # noqa: N803, N805  # GX calls it so
        return (column_A + column_B) >= kwargs["min_value"]


class ExpectColumnPairValuesSumToBeAtLeast(ColumnPairMapExpectation):  # type: ignore[misc]  # GX is untyped here
    """`column_A` and `column_B` add up to at least `min_value`."""

    min_value: float
    ignore_row_if: str = "either_value_is_missing"

    map_metric = "column_pair_values.sum_at_least"
    success_keys = ("column_A", "column_B", "ignore_row_if", "min_value", "mostly")
    args_keys = ("column_A", "column_B", "min_value")


def described(kind: str, kwargs: dict[str, Any]) -> str | None:
    """What an expectation says in Data Docs, with its reason behind it; None: Great Expectations' own words."""
    match kind:
        case "expect_column_pair_values_a_to_be_greater_than_b":
            relation = "at least" if kwargs.get("or_equal") else "more than"
            return f"{kwargs['column_A']} is {relation} {kwargs['column_B']}."
        case "expect_columns_to_have_the_declared_types":
            return "Every column has the type its table declares."
        case "expect_column_pair_values_a_to_be_at_most_hours_after_b":
            return f"{kwargs['column_A']} is at most {kwargs['hours']} hours after {kwargs['column_B']}."
        case "expect_column_pair_values_sum_to_be_at_least":
            return f"{kwargs['column_A']} and {kwargs['column_B']} add up to at least {kwargs['min_value']}."
    return None
