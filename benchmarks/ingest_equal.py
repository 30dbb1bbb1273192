"""What a contender landed, read back and held against what was served: the same records, with the same values.

dlt lands in another form: names in snake case, times as moments, nested members as columns or tables of their own.
Each is turned back by the form alone, so that a value that changed on the way is still another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from benchmarks.ingest_source import COLUMNS

#: What stands in a child table of dlt's, from the record on.
_LISTS = ("associations__companies__results", "associations__deals__results")
_CAMEL = {"created_at": "createdAt", "updated_at": "updatedAt"}


class Unequal(Exception):
    """A contender did not land what was served; the message says in counts how far off it was."""


def check(expected: Mapping[str, bytes], landed: Iterable[tuple[str, bytes]]) -> None:
    """Raises: Unequal when a record is missing, too many, twice, or has another value."""
    came: dict[str, bytes] = {}
    count = 0
    for key, mark in landed:
        came[key] = mark
        count += 1
    missing, strange = len(expected.keys() - came.keys()), len(came.keys() - expected.keys())
    other = sum(came[key] != mark for key, mark in expected.items() if key in came)
    if missing or strange or other or count != len(came):
        raise Unequal(
            f"{missing} missing, {strange} never served, {count - len(came)} twice, {other} with other values"
        )


def mark(record: Any) -> bytes:
    """Stands for a record with all its values, whatever the order of its members."""
    return blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).digest()


def contacts_of(name: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """(id, mark) of every contact a contender landed."""
    if name.startswith("c360"):
        for payload in _table(folder / "bronze" / "crm_contacts", ["_payload"])["_payload"]:
            record = json.loads(payload)
            yield record["id"], mark(record)
        return
    lake = folder / "lake" / "bronze"
    lists = {each: _children(lake / f"contacts__{each}") for each in _LISTS}
    for row in _table(lake / "contacts").iter_rows(named=True):
        record = _nested(row, lists)
        yield record["id"], mark(record)


def orders_of(name: str, folder: Path) -> pl.DataFrame:
    """Every order a contender landed, by its number."""
    if name.startswith("c360"):
        payload = _table(folder / "bronze" / "shop_orders", ["_payload"])["_payload"]
        rows = payload.str.json_decode(pl.Struct(ORDERS)).struct.unnest()
    else:
        rows = _table(folder / "lake" / "bronze" / "orders", list(COLUMNS))
    return rows.cast(ORDERS).sort("order_id")  # type: ignore[arg-type]


#: As SQLite keeps them.
ORDERS = dict(
    zip(
        COLUMNS,
        (
            pl.Int64(),
            pl.Int64(),
            pl.String(),
            pl.String(),
            pl.String(),
            pl.Int64(),
            pl.Float64(),
            pl.String(),
            pl.String(),
        ),
        strict=True,
    )
)


def check_orders(expected: pl.DataFrame, landed: pl.DataFrame) -> None:
    """Raises: Unequal."""
    if expected.height != landed.height:
        raise Unequal(f"expected {expected.height} rows, came {landed.height}")
    wrong = [name for name in expected.columns if not expected[name].equals(landed[name], null_equal=True)]
    if wrong:
        raise Unequal(f"other values in {', '.join(wrong)}")


def _table(folder: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """A Delta table whole; nothing where there is none (dlt makes no table for a list that is always empty)."""
    if not folder.exists():
        return pl.DataFrame()
    return pl.DataFrame(DeltaTable(folder.as_uri()).to_pyarrow_table(columns=columns))


def _children(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The elements of a list by the record they are of, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    rows = _table(folder)
    for row in rows.sort("_dlt_list_idx").iter_rows(named=True) if rows.height else ():
        element = {name: value for name, value in row.items() if not name.startswith("_dlt")}
        found.setdefault(row["_dlt_parent_id"], []).append(element)
    return found


def _nested(row: Mapping[str, Any], lists: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """A row of dlt's as the record it was."""
    record: dict[str, Any] = {}
    for name, value in row.items():
        if not name.startswith("_dlt"):
            _put(record, name, _as_served(name, value))
    if "associations" not in record:
        for name, of_record in lists.items():
            _put(record, name, of_record.get(row["_dlt_id"], []))
    return record


def _put(record: dict[str, Any], name: str, value: Any) -> None:
    *way, last = name.split("__")
    for step in way:
        record = record.setdefault(step, {})
    record[_CAMEL.get(last, last)] = value


def _as_served(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    return json.loads(value) if name in {"properties", "associations"} and isinstance(value, str) else value
