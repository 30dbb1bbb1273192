"""Golden cases: the fewest rows that show a rule, with the expected rows written by hand.

A case is a folder `tests/cases/<layer>.<table>/<case_in_words>/` holding `case.yaml`:

    why: One sentence a marketer understands.
    inputs:                      # one list of rows per parameter of the table's build function
      web_events:
        - {customer_id: c_1, event_at: 2026-01-01T10:00:00Z, event_name: page_view}
    arguments:                   # keyword-only arguments; what is left out gets the defaults below
      as_of: 2026-01-31T00:00:00Z
      window: 2026-01-01--2026-01-30
    expected:                    # rows in any order; only the columns named here are compared
      - {customer_id: c_1, event_count: 1}
    order: false                 # true: the rows must also come in this order

Inputs. Columns that a row does not name are null; an input that a case does not name is empty. Inputs have the
declared types (of the input table, plus `customer_id` and `_fate` columns where rows name them). A subject's input
is called `records`: its rows may name what the table accepts and any envelope column. Of the envelope, what is left
out is filled in: `_source: shop`, `_account: default`, `_stream: stream`, `_id` and `_row` the row's number (from 1),
`_op: upsert`, `_hash` the sha256 of what the row says, `_extracted_at` the end of its day, `day` the day of
`_event_at` or 2026-01-01, `_fate: out`. `previous` has the table's own columns.

Defaults of arguments: as_of 2026-02-01T00:00Z, window 2026-01-01--2026-01-31, key b"golden", currency EUR, country DE.

Pseudonyms are written `!key {email: ann@example.org}`: what `etl.privacy.pseudonyms` makes of the normalised value
under the golden key. `!record shop:stream:1` is the node of a person record.

YAML anchors (`&ann`, `<<: *ann`) keep rows down to what differs. The case's folder name is the test's name:
`pytest tests/test_golden.py -k silver.sessions`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from etl import fields as f
from etl.model import USUAL_RULES, Column, Table, Type, Window
from etl.model.frames import dtype, schema_of
from etl.privacy.pseudonyms import node_of_record, pseudonym

CASES = Path(__file__).resolve().parent / "cases"
KEY = b"golden"
ARGUMENTS: dict[str, Any] = {
    "as_of": datetime(2026, 2, 1, tzinfo=UTC),
    "window": Window.parse("2026-01-01--2026-01-31"),
    "key": KEY,
    "currency": "EUR",
    "country": "DE",
    "rules": USUAL_RULES,
    "since": None,
}
ENVELOPE: dict[str, pl.DataType] = {
    "_source": pl.String(),
    "_account": pl.String(),
    "_stream": pl.String(),
    "_id": pl.String(),
    "_op": pl.String(),
    "_cursor": dtype(Type.TIMESTAMP),
    "_event_at": dtype(Type.TIMESTAMP),
    "_hash": pl.String(),
    "_extracted_at": dtype(Type.TIMESTAMP),
    "_run_id": pl.String(),
    "_page": pl.Int64(),
    "day": pl.Date(),
    "_row": pl.Int64(),
}
FATES: dict[str, pl.DataType] = {"_fate": pl.String(), "_rule": pl.String(), "_reason": pl.String()}


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case: where it stands, what goes in, what must come out."""

    table: str
    name: str
    why: str
    inputs: Mapping[str, list[dict[str, Any]]]
    arguments: Mapping[str, Any]
    expected: list[dict[str, Any]]
    ordered: bool

    def __str__(self) -> str:
        return f"{self.table}-{self.name}"


class Loader(yaml.SafeLoader):
    """YAML with `!key` and `!record`."""


def _key(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    ((kind, value),) = loader.construct_mapping(node).items()
    return pseudonym(str(kind), str(value), key=KEY)


def _record(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    source, stream, record_id = str(loader.construct_scalar(node)).split(":", 2)
    return node_of_record(source, stream, record_id, key=KEY)


Loader.add_constructor("!key", _key)
Loader.add_constructor("!record", _record)


def cases(*tables: str) -> list[Case]:
    """Every case under tests/cases, of all tables or of those named `layer.table`; sorted."""
    found = sorted(CASES.glob("*/*/case.yaml"))
    return [read_case(path) for path in found if not tables or path.parent.parent.name in tables]


def read_case(path: Path) -> Case:
    """The case of one file; says what is missing or misspelt in it."""
    said = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    unknown = set(said) - {"why", "inputs", "arguments", "expected", "order", "anchors"}
    assert not unknown, f"{path.parent.name}: unknown words {sorted(unknown)}"
    arguments = dict(said.get("arguments") or {})
    if "window" in arguments:
        arguments["window"] = Window.parse(str(arguments["window"]))
    for name, value in arguments.items():
        arguments[name] = _typed(value, f.event_at) if name == "as_of" else value
    return Case(
        table=path.parent.parent.name,
        name=path.parent.name,
        why=said["why"],
        inputs=said.get("inputs") or {},
        arguments=arguments,
        expected=said["expected"] or [],
        ordered=bool(said.get("order", False)),
    )


def table_named(full_name: str) -> Table:
    """The declared table `layer.name`, wherever in its layer's room it is declared."""
    layer, name = full_name.split(".")
    room = importlib.import_module(f"etl.{layer}")
    modules = sorted((module.name for module in pkgutil.iter_modules(room.__path__)), key=lambda one: one != name)
    for module in modules:
        for value in vars(importlib.import_module(f"etl.{layer}.{module}")).values():
            if isinstance(value, Table) and value.full_name == full_name:
                return value
    raise AssertionError(f"tests/cases/{full_name}: no such table is declared")


def built(table: Table, inputs: Mapping[str, list[dict[str, Any]]], **arguments: Any) -> pl.DataFrame:
    """What the table's build function makes of rows given as plain values; see the module's text."""
    assert table.build is not None
    parameters = inspect.signature(table.build).parameters.values()
    known = {"records"} | {one.name for one in parameters}
    assert set(inputs) <= known, f"{table.full_name} takes {sorted(known)}, not {sorted(set(inputs) - known)}"
    positional, keywords = [], {}
    for parameter in parameters:
        if parameter.name == "previous":
            frame = frame_of(inputs.get("previous", []), schema_of(table.columns)).lazy()
            keywords["previous"] = frame
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = {**ARGUMENTS, **arguments}[parameter.name]
        elif parameter.name == "records" and table.is_subject:
            positional.append(records_of(table, inputs.get("records", [])).lazy())
        else:
            positional.append(_input(table, parameter.name, inputs.get(parameter.name, [])).lazy())
    made = table.build(*positional, **keywords)
    return made.collect() if isinstance(made, pl.LazyFrame) else made


def check(case: Case) -> None:
    """Asserts that the case's table makes the expected rows of its inputs."""
    made = built(table_named(case.table), case.inputs, **case.arguments)
    names = list(dict.fromkeys(name for row in case.expected for name in row))
    missing = [name for name in names if name not in made.columns]
    assert not missing, f"{case}: the table has no columns {missing}"
    came = [_plain(row) for row in made.select(names).iter_rows(named=True)] if names else [{}] * made.height
    wanted = [_plain({name: _as(made.schema[name], row.get(name)) for name in names}) for row in case.expected]
    if not case.ordered:
        came, wanted = sorted(came, key=repr), sorted(wanted, key=repr)

    missing_rows = [row for row in wanted if row not in came]
    strange_rows = [row for row in came if row not in wanted]
    told = "\n".join(
        [case.why, *(f"  expected {row}" for row in missing_rows), *(f"  came     {row}" for row in strange_rows)]
    )
    assert wanted == came, told


def records_of(table: Table, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Records of a subject as `etl.silver.standardise.picked` would hand them over."""
    filled = []
    for number, row in enumerate(rows, start=1):
        event_at = _typed(row.get("_event_at"), f.event_at)
        day = _typed(row.get("day"), f.day) or (event_at.date() if event_at else date(2026, 1, 1))
        said = json.dumps(row, default=str, sort_keys=True)
        filled.append(
            {
                "_source": "shop",
                "_account": "default",
                "_stream": "stream",
                "_id": str(number),
                "_op": "upsert",
                "_hash": hashlib.sha256(said.encode()).hexdigest(),
                "_extracted_at": datetime.combine(day, time(), UTC) + timedelta(days=1),
                "_run_id": "run",
                "_page": 1,
                "day": day,
                "_row": number,
                "_fate": "out",
                **row,
            }
        )
    return frame_of(filled, {**ENVELOPE, **schema_of(table.accepts), **FATES})


def frame_of(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows of plain values as a frame of exactly `schema`; a column that is not in it is a mistake in the case."""
    rows = list(rows)
    strangers = sorted({name for row in rows for name in row} - set(schema))
    assert not strangers, f"unknown columns {strangers}; there are {sorted(schema)}"
    columns = {name: [_as(kind, row.get(name)) for row in rows] for name, kind in schema.items()}
    return pl.DataFrame(columns, schema=dict(schema))


def _input(table: Table, name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    for one in table.inputs:
        if one.name == name:
            schema = schema_of(one.columns)
            if one.carries_customer and "customer_id" not in schema:
                schema["customer_id"] = pl.String()
            return frame_of(rows, schema)
    raise AssertionError(f"{table.full_name}: its build wants {name!r}, which is not among its inputs")


def _typed(value: Any, column: Column) -> Any:
    return _as(dtype(column.type), value)


def _as(kind: pl.DataType, value: Any) -> Any:
    """A YAML value as the value of a column of type `kind`."""
    if value is None:
        return None
    if kind == pl.Date():
        return value if isinstance(value, date) and not isinstance(value, datetime) else date.fromisoformat(str(value))
    if isinstance(kind, pl.Datetime):
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif not isinstance(value, datetime):
            value = datetime.combine(value, time())
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(kind, pl.Decimal):
        return Decimal(str(value))
    if kind.is_float():
        return float(value)
    if kind == pl.String():
        return str(value)
    return value


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with numbers made comparable: floats to nine digits, decimals without their trailing zeros."""
    return {
        name: round(value, 9)
        if isinstance(value, float)
        else (value.normalize() + 0 if isinstance(value, Decimal) else value)
        for name, value in row.items()
    }
