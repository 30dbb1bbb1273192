"""The gate: rows on their way to become visible, asked everything their table promises; the answer is a verdict.

Great Expectations runs on pandas batches of the needed columns only, in one ephemeral context per process. A
column of which only presence is asked goes in as presence: its values never reach Great Expectations. What is
stored for Data Docs is rebuilt from counts alone, so no value of a row can stand in it, whatever failed.
"""

from __future__ import annotations

import builtins
import functools
import json
import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import polars as pl

from etl.errors import QualityError
from etl.model import Severity, Table
from etl.model.frames import empty
from expectations.suites import (
    COLUMN_LIST,
    COLUMN_TYPES,
    COMPOUND_UNIQUE,
    NOT_NULL,
    UNIQUE,
    Expectation,
    columns_of,
    suite_for,
)

RESULTS = "results"
"""Folder under `docs` that holds one JSON file per verdict; Data Docs are built from it."""

SLICE_ROWS = 500_000
"""Rows one pandas batch holds at most: GX keeps several copies (1.2 KB a row was measured on wide batches)."""

FEW = 12
"""Expectations asked of one pandas batch; see `_few`."""

# Asked first for yes or no, which costs half; then for counts where the answer is no. No value of a row may come back:
# neither lists of unexpected values nor their index.
YES_OR_NO = {"result_format": "BOOLEAN_ONLY"}
RESULT_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": 0}

SHAPE = frozenset({COLUMN_LIST, COLUMN_TYPES})
KEYS = frozenset({UNIQUE, COMPOUND_UNIQUE})
# Asked of each row by itself, so that batches may be asked apart and their counts added.
ROWWISE = re.compile(
    r"expect_column_values_to_(not_)?(be_null|be_in_set|be_between|match_\w+|be_valid_\w+|be_dateutil_parseable|"
    r"be_json_parseable)|expect_column_values_to_not_be_in_set|expect_column_value_lengths_to_\w+|"
    r"expect_column_pair_values_\w+|expect_select_column_values_to_be_unique_within_record|"
    r"expect_multicolumn_sum_to_equal"
)


class State(Enum):
    """PASSED, WARNED (shown, still published), FAILED (critical, not published), ERRORED (could not be asked)."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    ERRORED = "errored"


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that did not hold, in counts.

    `detail` says what is wrong with the table's shape; `error` is the kind of exception when it could not be asked.
    """

    expectation: str
    column: str
    severity: Severity
    unexpected_count: int
    element_count: int
    detail: str = ""
    error: str | None = None

    def __str__(self) -> str:
        name = f"{self.expectation}({self.column})"
        if self.error is not None:
            return f"{name} could not be evaluated ({self.error})"
        if self.element_count == 0:
            return f"{name} failed" + (f": {self.detail}" if self.detail else "")
        return f"{name} failed for {self.unexpected_count} of {self.element_count} rows"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one table and window at the gate. `evaluated` counts expectations."""

    table: str
    window: str
    state: State
    evaluated: int
    failures: tuple[Failure, ...]
    seconds: float
    docs: Path

    @property
    def stopping(self) -> tuple[Failure, ...]:
        """The failures that stop the version: errors first, since they are no verdict on the data."""
        errors = tuple(failure for failure in self.failures if failure.error is not None)
        return errors or tuple(failure for failure in self.failures if failure.severity is Severity.CRITICAL)

    def raise_if_critical(self) -> None:
        """Raises: QualityError in one line when a critical expectation failed, or any could not be asked."""
        if not self.stopping:
            return
        first, *others = self.stopping
        more = f" (and {len(others)} more)" if others else ""
        raise QualityError(
            f"{self.table} {self.window}: {first}{more}; the old version stays visible; Data Docs: {self.docs}"
        )


def validate(
    table: Table, frames: Sequence[pl.DataFrame | pl.LazyFrame], *, window: str, run_id: str, docs: Path
) -> Verdict:
    """The verdict on `frames`, the parts of one version of `table`; stored under `docs`, Data Docs not yet built.

    The same rows give the same verdict however they are cut into frames: row-wise counts are added, keys are
    compared over all frames, and what concerns the whole (row counts, means) is asked of the whole. Of lazy frames only
    the columns that are asked of, a few expectations at a time, are ever in memory.
    `window` is the window's key, `run_id` the run's; neither may hold a personal value.

    Raises: DeclarationError when the suite names what the table lacks. A verdict is returned, never raised.
    """
    started = time.perf_counter()
    suite = suite_for(table)
    parts = [_Part(frame.lazy()) for frame in frames] or [_Part(empty(table.columns).lazy())]
    with GATE, _hushed():
        answers = _ask(suite, parts)
        failures = tuple(
            _failure(expectation, answer)
            for expectation, answer in zip(suite, answers, strict=True)
            if answer is not None and not answer.success
        )
        site = _store(table, window, run_id, docs, suite, answers)
    return Verdict(
        table=table.full_name,
        window=window,
        state=_state(failures),
        evaluated=sum(answer is not None for answer in answers),
        failures=failures,
        seconds=time.perf_counter() - started,
        docs=site,
    )


def _state(failures: Iterable[Failure]) -> State:
    failures = tuple(failures)
    if any(failure.error is not None for failure in failures):
        return State.ERRORED
    worst = {failure.severity for failure in failures}
    if Severity.CRITICAL in worst:
        return State.FAILED
    return State.WARNED if Severity.WARNING in worst else State.PASSED


@dataclass(frozen=True, slots=True)
class _Answer:
    """One expectation's answer in counts: rows asked, rows without a value, rows against it."""

    success: bool
    elements: int = 0
    missing: int = 0
    unexpected: int = 0
    observed: int | list[str] | None = None
    detail: str = ""
    error: str | None = None


def _failure(expectation: Expectation, answer: _Answer) -> Failure:
    kwargs = expectation["kwargs"]
    asked = [] if expectation["type"] in SHAPE else columns_of(kwargs)
    return Failure(
        expectation=expectation["type"],
        column=", ".join(asked) or "table",
        severity=Severity(expectation["severity"]),
        unexpected_count=answer.unexpected,
        element_count=answer.elements,
        detail=answer.detail,
        error=answer.error,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows of a version, with what is asked of them again and again."""

    rows: pl.LazyFrame
    schema: pl.Schema = field(init=False)
    height: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", self.rows.collect_schema())
        object.__setattr__(self, "height", self.rows.select(pl.len()).collect().item())

    def slices(self) -> Iterator[_Part]:
        """Itself, or in pieces of at most SLICE_ROWS."""
        if self.height <= SLICE_ROWS:
            yield self
        else:
            yield from (_Part(self.rows.slice(at, SLICE_ROWS)) for at in range(0, self.height, SLICE_ROWS))


# --- asking -----------------------------------------------------------------------------------------------------------


def _ask(suite: Sequence[Expectation], frames: Sequence[_Part]) -> list[_Answer | None]:
    """One answer an expectation; None where a column is absent or of another type, which the shape already tells."""
    places = {
        "shape": [place for place, expectation in enumerate(suite) if expectation["type"] in SHAPE],
        "rows": [],
        "keys": [],
        "whole": [],
    }
    sound = _sound_columns(suite, frames)
    for place, expectation in enumerate(suite):
        if expectation["type"] in SHAPE or not sound.issuperset(columns_of(expectation["kwargs"])):
            continue
        kind = expectation["type"]
        places["keys" if kind in KEYS else "rows" if ROWWISE.fullmatch(kind) else "whole"].append(place)

    answers: list[_Answer | None] = [None] * len(suite)
    # Frames of one schema share one answer; there is more than one only when the shape is broken.
    schemas = {tuple(frame.schema.items()): pl.DataFrame(schema=frame.schema) for frame in frames}
    groups = [(places["shape"], [_asked(suite, places["shape"], frame) for frame in schemas.values()])]
    if sum(frame.height for frame in frames) <= SLICE_ROWS:
        together = sorted(places["rows"] + places["keys"] + places["whole"])
        groups += [(some, [_asked(suite, some, _joined(suite, some, frames))]) for some in _few(suite, together)]
    else:
        for some in _few(suite, places["rows"]):
            groups.append((some, [_asked(suite, some, part) for part in _packed(suite, some, frames)]))
        for place in places["keys"]:
            buckets = _buckets(_joined(suite, [place], frames), columns_of(suite[place]["kwargs"]))
            groups.append(([place], [_asked(suite, [place], bucket) for bucket in buckets]))
        for some in _few(suite, places["whole"]):
            groups.append((some, [_asked(suite, some, _joined(suite, some, frames))]))
    for members, per_batch in groups:
        for index, place in enumerate(members):
            answers[place] = _merged(suite[place], [batch[index] for batch in per_batch])
    return answers


def _few(suite: Sequence[Expectation], places: Sequence[int]) -> Iterator[list[int]]:
    """`places` a few at a time: for every condition GX copies its whole batch, so narrow batches cost less.

    What `_asked` asks as one counts as one, and comes first.
    """
    present = [place for place in places if _is_presence(suite[place])]
    others = [place for place in places if place not in present]
    first = max(FEW - bool(present), 0)
    if present or others:
        yield present + others[:first]
    for start in range(first, len(others), FEW):
        yield others[start : start + FEW]


def _is_presence(expectation: Expectation) -> bool:
    return expectation["type"] == NOT_NULL and list(expectation["kwargs"]) == ["column"]


def _sound_columns(suite: Sequence[Expectation], frames: Sequence[_Part]) -> set[str]:
    """The columns every frame has with the declared type: only these can be asked anything."""
    from etl.model import Type
    from etl.model.frames import DTYPES

    declared: dict[str, str] = next(
        (each["kwargs"]["column_types"] for each in suite if each["type"] == COLUMN_TYPES), {}
    )
    return {
        name for name, kind in declared.items() if all(frame.schema.get(name) == DTYPES[Type(kind)] for frame in frames)
    }


def _needed(suite: Sequence[Expectation], places: Sequence[int], schema: pl.Schema) -> list[pl.Expr]:
    """What of each column has to be seen: its values, or (when only presence is asked) True where there is one."""
    valued: set[str] = set()
    present: list[str] = []
    for place in places:
        kwargs = suite[place]["kwargs"]
        named = columns_of(kwargs)
        present.extend(named)
        if suite[place]["type"] != NOT_NULL:
            valued.update(named)
        conditioned = _read_by(suite[place], schema)[len(named) :]
        present.extend(conditioned)
        valued.update(conditioned)
    if not present and schema:
        present = [next(iter(schema))]  # a row count needs rows, whatever is in them
    return [
        _as_values(name, schema[name]) if name in valued else _as_presence(name, schema[name])
        for name in dict.fromkeys(present)
    ]


def _read_by(expectation: Expectation, names: Iterable[str]) -> list[str]:
    """The columns an expectation reads: those its arguments name, then those its condition mentions."""
    named = columns_of(expectation["kwargs"])
    condition = str(expectation["kwargs"].get("row_condition", ""))
    return named + [name for name in names if re.search(rf"\b{re.escape(name)}\b", condition)]


def _as_presence(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)
    return pl.when(column.is_not_null()).then(True).alias(name)


def _as_values(name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_decimal():
        return pl.col(name).cast(pl.Float64)  # Arrow refuses to compare decimals with floats
    if dtype == pl.Date:
        return pl.col(name).cast(pl.Datetime("us"))  # see `_as_pandas`
    if dtype == pl.Datetime:
        return pl.col(name).dt.replace_time_zone(None)  # all are UTC; pandas 3.1 warns when GX reads zoned ones
    return pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)


def _joined(suite: Sequence[Expectation], places: Sequence[int], frames: Sequence[_Part]) -> pl.DataFrame:
    return pl.concat([frame.rows.select(_needed(suite, places, frame.schema)).collect() for frame in frames])


def _packed(suite: Sequence[Expectation], places: Sequence[int], frames: Sequence[_Part]) -> Iterator[pl.DataFrame]:
    """The frames' needed columns in batches of at most SLICE_ROWS: small frames together, large ones cut."""
    waiting: list[_Part] = []
    for frame in frames:
        for piece in frame.slices():
            if waiting and sum(each.height for each in waiting) + piece.height > SLICE_ROWS:
                yield _joined(suite, places, waiting)
                waiting = []
            waiting.append(piece)
    if waiting:
        yield _joined(suite, places, waiting)


def _buckets(keys: pl.DataFrame, columns: list[str]) -> Iterator[pl.DataFrame]:
    """`keys` cut by hash, so that equal keys always meet in one bucket and uniqueness stays exact."""
    count = -(-keys.height // SLICE_ROWS)
    bucket = (keys.select(pl.struct(columns).hash(seed=0) % count)).to_series()
    for number in range(count):
        yield keys.filter(bucket == number)


def _merged(expectation: Expectation, answers: Sequence[_Answer]) -> _Answer:
    """The batches' answers as one: counts added, the share that must hold asked of the sum."""
    if len(answers) == 1:
        return answers[0]
    failed = next((answer for answer in answers if answer.error is not None), None)
    if failed is not None:
        return failed
    elements, missing, unexpected = (
        sum(getattr(answer, count) for answer in answers) for count in ("elements", "missing", "unexpected")
    )
    considered = elements - missing
    if expectation["type"] in SHAPE:
        return next((answer for answer in answers if not answer.success), answers[0])
    if not considered:
        success = all(answer.success for answer in answers)
    else:
        success = (considered - unexpected) / considered >= expectation["kwargs"].get("mostly", 1.0)
    return _Answer(success, elements, missing, unexpected)


# --- Great Expectations -----------------------------------------------------------------------------------------------

GATE = threading.RLock()
"""One validation at a time in a process: GX keeps its current project in a global."""


@functools.cache
def _batch_definition() -> Any:
    """The one batch definition of this process, in an ephemeral context without files, network or progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    import expectations.own  # noqa: F401  # registers our expectations

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("batch")


@functools.lru_cache(maxsize=512)
def _gx_suite(expectations: str) -> Any:
    """The GX suite of these expectations (JSON). Kept: parsing one costs as much as asking it."""
    from great_expectations.core import ExpectationSuite

    return ExpectationSuite(name="gate", expectations=json.loads(expectations))


_EVERY = "every_required_column"
"""A column made for the gate: True in rows that lack nothing they must have."""


def _asked(suite: Sequence[Expectation], places: Sequence[int], batch: pl.DataFrame) -> list[_Answer]:
    """The answers of GX for the expectations at `places`, in that order.

    The columns that must not be null are asked as one first: if no row lacks any of them, none of them is lacking
    anywhere. Only when that fails is each asked by itself.
    """
    if not places:
        return []
    present = [place for place in places if _is_presence(suite[place])]
    if len(present) < 2:
        answers = _answers({place: suite[place] for place in places}, batch)
        return [answers[place] for place in places]
    questions = {place: suite[place] for place in places if place not in present}
    required = [suite[place]["kwargs"]["column"] for place in present]
    used = {name for question in questions.values() for name in _read_by(question, batch.columns)}
    lacks_nothing = pl.when(pl.all_horizontal(pl.col(required).is_not_null())).then(True).alias(_EVERY)
    narrow = batch.select(*(name for name in batch.columns if name in used), lacks_nothing)
    answers = _answers({**questions, -1: {"type": NOT_NULL, "kwargs": {"column": _EVERY}}}, narrow)
    if answers.pop(-1).success:
        answers |= {place: _held(suite[place], batch) for place in present}
    else:
        answers |= _answers({place: suite[place] for place in present}, batch.select(required))
    return [answers[place] for place in places]


def _answers(questions: dict[int, Expectation], batch: pl.DataFrame) -> dict[int, _Answer]:
    """GX's answer to each question: yes or no, and counts where it is no or where they decide."""
    from great_expectations.validator.v1_validator import Validator

    # As `ValidationDefinition.run` does it. `Batch.validate` would load, and fingerprint, the rows twice.
    validator = Validator(_batch_definition(), batch_parameters={"dataframe": _as_pandas(batch)})

    def ask(places: Iterable[int], result_format: dict[str, Any]) -> dict[int, Any]:
        # GX sorts results by column; the place carried in `meta` brings them back in order.
        told = [
            {"type": questions[place]["type"], "kwargs": questions[place]["kwargs"], "meta": {"place": place}}
            for place in places
        ]
        validator.result_format = result_format
        outcomes = validator.validate_expectation_suite(_gx_suite(json.dumps(told))).results if told else []
        return {outcome.expectation_config.meta["place"]: outcome for outcome in outcomes}

    answers: dict[int, _Answer] = {}
    open_places: list[int] = []
    counted = [
        place for place, question in questions.items() if not {"mostly", "row_condition"}.isdisjoint(question["kwargs"])
    ]
    for place, outcome in ask((place for place in questions if place not in counted), YES_OR_NO).items():
        error = _exception_kind(outcome.exception_info)
        if error is not None:
            answers[place] = _Answer(success=False, error=error)
        elif outcome.success:
            answers[place] = _held(questions[place], batch)
        else:
            open_places.append(place)
    return answers | {place: _answer(each) for place, each in ask(open_places + counted, RESULT_FORMAT).items()}


def _held(expectation: Expectation, batch: pl.DataFrame) -> _Answer:
    """The counts of an expectation that holds for every row of `batch`."""
    kind, kwargs = expectation["type"], expectation["kwargs"]
    if kind == COLUMN_LIST:
        return _Answer(success=True, observed=list(kwargs["column_list"]))
    if kind == COLUMN_TYPES:
        return _Answer(success=True, observed=0)
    if kind.startswith("expect_table_row_count"):
        return _Answer(success=True, observed=batch.height)
    if kind not in KEYS and not ROWWISE.fullmatch(kind):
        return _Answer(success=True)
    asks_values = "column" in kwargs and not kind.endswith("_be_null")
    return _Answer(
        success=True, elements=batch.height, missing=batch[kwargs["column"]].null_count() if asks_values else 0
    )


def _as_pandas(batch: pl.DataFrame) -> Any:
    """`batch` as pandas has it, on Arrow's memory; times as NumPy has them: GX fingerprints those 20 times faster."""
    handed = batch.to_pandas(use_pyarrow_extension_array=True)
    for column in batch.iter_columns():
        if column.dtype == pl.Datetime and batch.height:
            handed[column.name] = column.to_pandas()
    return handed


def _answer(outcome: Any) -> _Answer:
    """GX's result, reduced to counts. What an exception says is dropped: it may quote a value."""
    error = _exception_kind(outcome.exception_info)
    if error is not None:
        return _Answer(success=False, error=error)
    kind, kwargs = outcome.expectation_config.type, outcome.expectation_config.kwargs
    counts = outcome.result or {}
    if kind == COLUMN_LIST:
        found, detail = _columns_found(counts["observed_value"], kwargs["column_list"])
        return _Answer(bool(outcome.success), observed=found, detail=detail)
    observed = counts.get("observed_value")
    wrong = counts["details"]["mismatched"] if kind == COLUMN_TYPES else []
    return _Answer(
        success=bool(outcome.success),
        elements=int(counts.get("element_count") or 0),
        missing=int(counts.get("missing_count") or 0),
        unexpected=int(counts.get("unexpected_count") or 0),
        # What is observed of one column (its largest value, say) is a value; of the table it is a count.
        observed=observed if type(observed) is int and "column" not in kwargs else None,
        detail=", ".join(f"{each['column']} is {each['found']}, declared {each['expected']}" for each in wrong),
    )


def _columns_found(found: list[str], declared: list[str]) -> tuple[list[str], str]:
    """The columns that came, undeclared ones unnamed (a name made by pivoting is a value), and what differs."""
    missing = [name for name in declared if name not in found]
    undeclared = sum(name not in declared for name in found)
    told = [f"missing {', '.join(missing)}"] if missing else []
    told += [f"{undeclared} undeclared"] if undeclared else []
    if not told and found != declared:
        told = ["the order is another"]
    return [name if name in declared else "(undeclared)" for name in found], "; ".join(told)


def _exception_kind(exception_info: dict[str, Any] | None) -> str | None:
    """The class of the exception behind a result, or None. GX gives one mapping, or one per failed metric."""
    if not exception_info:
        return None
    infos = [exception_info] if "raised_exception" in exception_info else list(exception_info.values())
    raised = [info for info in infos if info["raised_exception"]]
    if not raised:
        return None
    spoken = re.findall(r"^([\w.]+)(?=:|$)", str(raised[0]["exception_traceback"]), re.MULTILINE)
    known = _exception_names()
    named = [name.rpartition(".")[2] for name in spoken]
    # The first exception of a chain is the cause; GX's own wrapping comes after it.
    return next((name for name in named if name in known), "an exception")


def _exception_names() -> frozenset[str]:
    """The names of all exception classes there are. Only such a name is repeated, never another word of a message."""
    found: set[str] = set()
    waiting: list[type[BaseException]] = [builtins.BaseException]
    while waiting:
        for kind in type.__subclasses__(waiting.pop()):
            if kind.__name__ not in found:
                found.add(kind.__name__)
                waiting.append(kind)
    return frozenset(found)


@contextmanager
def _hushed() -> Iterator[None]:
    """GX logs the exceptions it meets, messages and all; they may quote values, so its logs stay shut here."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


# --- keeping ----------------------------------------------------------------------------------------------------------


def _store(
    table: Table, window: str, run_id: str, docs: Path, suite: Sequence[Expectation], answers: Sequence[_Answer | None]
) -> Path:
    """The result, stored for Data Docs; the path of its page, which `build_docs` makes."""
    import great_expectations
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    told = [
        _gx_result(expectation, answer)
        for expectation, answer in zip(suite, answers, strict=True)
        if answer is not None
    ]
    succeeded = sum(each.success for each in told)
    run = RunIdentifier(run_name=_path_part(run_id), run_time=datetime.now(UTC))
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(table.full_name), run, _path_part(window))
    outcome = ExpectationSuiteValidationResult(
        success=succeeded == len(told),
        results=told,
        suite_name=table.full_name,
        statistics={
            "evaluated_expectations": len(told),
            "successful_expectations": succeeded,
            "unsuccessful_expectations": len(told) - succeeded,
            "success_percent": 100.0 * succeeded / len(told) if told else None,
        },
        meta={
            "great_expectations_version": great_expectations.__version__,
            "run_id": run,
            "batch_spec": {"data_asset_name": table.full_name},
            "batch_parameters": {"window": window},
        },
        batch_id=_path_part(window),
    )
    store = results_store(docs)
    store.set(key, outcome)
    return docs.joinpath("data_docs", "validations", *key.to_tuple()).with_suffix(".html")


def results_store(docs: Path) -> Any:
    """GX's store of validation results in `docs`."""
    from great_expectations.data_context.store import ValidationResultsStore

    backend = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(docs / RESULTS),
        "suppress_store_backend_id": True,
    }
    return ValidationResultsStore(store_backend=backend)


def _path_part(text: str) -> str:
    """`text` as one part of a path: GX refuses slashes, and a file name ends at 255 bytes."""
    return re.sub(r"[^A-Za-z0-9:+_=-]", "_", text)[:120] or "_"


def _gx_result(expectation: Expectation, answer: _Answer) -> Any:
    """GX's own result object, made of counts."""
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    from expectations.own import described

    said = described(expectation["type"], expectation["kwargs"])
    if said is not None:
        said = f"{said} ({expectation['severity']}: {expectation['meta']['why']})"
    return ExpectationValidationResult(
        success=answer.success,
        expectation_config=ExpectationConfiguration(
            type=expectation["type"],
            kwargs=dict(expectation["kwargs"]),
            meta=dict(expectation["meta"]),
            severity=expectation["severity"],
            description=f"{said} Found: {answer.detail}." if said and answer.detail else said,
        ),
        result=_told_counts(answer),
        exception_info={
            "raised_exception": answer.error is not None,
            "exception_message": answer.error,
            "exception_traceback": None if answer.error is None else "left out: it may quote a value",
        },
    )


def _told_counts(answer: _Answer) -> dict[str, Any]:
    if answer.observed is not None:
        return {"observed_value": answer.observed}
    if not answer.elements:
        return {}
    considered = answer.elements - answer.missing
    share = 100.0 * answer.unexpected / considered if considered else None
    return {
        "element_count": answer.elements,
        "missing_count": answer.missing,
        "missing_percent": 100.0 * answer.missing / answer.elements,
        "unexpected_count": answer.unexpected,
        "unexpected_percent": share,
        "unexpected_percent_total": 100.0 * answer.unexpected / answer.elements,
        "unexpected_percent_nonmissing": share,
        "partial_unexpected_list": [],
    }
