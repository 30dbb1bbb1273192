"""The SQL catalogue: one small DuckDB file of schemas and views over the Delta tables, replaced whole.

It holds no data. A view reads the newest version of its table at query time, so new rows need no new catalogue; a new
table or column does. Whoever may read the files may query them; who may see `gold.contacts` is decided by the
permissions of its directory, not here.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from etl import fields as f
from etl.errors import LakeError
from etl.lake.layout import Place, place_of, storage_at
from etl.lake.log import versions
from etl.model import Column, Privacy, Table, Type
from etl.serve.extension import install_for_this_user, literal, load_delta, reach_buckets

SQL_TYPES: dict[Type, str] = {
    Type.STRING: "VARCHAR",
    Type.INT: "BIGINT",
    Type.FLOAT: "DOUBLE",
    Type.BOOL: "BOOLEAN",
    Type.DATE: "DATE",
    Type.TIMESTAMP: "TIMESTAMPTZ",
    Type.AMOUNT: "DECIMAL(18, 4)",
    Type.STRINGS: "VARCHAR[]",
}
IDENTITY_MAP = "silver.identity_map"


def publish(lake: Path | str, tables: Sequence[Table], target: Path) -> None:
    """Write the catalogue of every table of `tables` that is there, and put it at `target` in one step.

    Readers that have the old file open keep it until they connect anew; at no moment is there no catalogue.

    Raises: LakeError when the file cannot be written or a table cannot be read; the old catalogue stays.
    """
    there = [table for table in tables if is_there(lake, table)]
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with contextlib.closing(duckdb.connect(str(aside))) as connection:
            load_delta(connection)
            reach_buckets(connection, [table_path(lake, table) for table in there])
            # One transaction: hundreds of comments, each on disk by itself, take seconds.
            connection.begin()
            for statement in statements(connection, lake, there):
                connection.execute(statement)
            for table in there:
                connection.execute(
                    "INSERT INTO catalogue.published VALUES (?, ?, ?, ?, ?)",
                    [
                        table.full_name,
                        table.description,
                        table.grain,
                        ", ".join(table.key),
                        table_path(lake, table),
                    ],
                )
            connection.commit()
        _to_disk(aside)
        aside.replace(target)
        _to_disk(target.parent)
    except (duckdb.Error, OSError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise LakeError(f"the SQL catalogue was not published, the old one stays: {first_line}") from error
    finally:
        for leftover in (aside, aside.with_name(f"{aside.name}.wal")):
            leftover.unlink(missing_ok=True)
    install_for_this_user()


def table_path(lake: Path | str, table: Table) -> str:
    """The directory of a table, as DuckDB is told of it."""
    place = _place(lake, table)
    return place.storage.address(place.folder)


def is_there(lake: Path | str, table: Table) -> bool:
    """True when the table has been committed at least once."""
    return bool(versions(_place(lake, table)))


def _place(lake: Path | str, table: Table) -> Place:
    return place_of(storage_at(lake, fsync=True), table)


def statements(connection: duckdb.DuckDBPyConnection, lake: Path | str, tables: Sequence[Table]) -> Iterator[str]:
    """The DDL of the catalogue: schemas, views, comments, and `catalogue.published`, which says what there is."""
    for schema in sorted({table.layer.value for table in tables}):
        yield f"CREATE SCHEMA {schema}"
    yield "CREATE SCHEMA catalogue"
    yield (
        "CREATE TABLE catalogue.published "
        "(table_name VARCHAR, description VARCHAR, grain VARCHAR, key VARCHAR, path VARCHAR)"
    )
    yield "COMMENT ON TABLE catalogue.published IS 'what this catalogue holds: one row per table'"
    identity_map = next((table for table in tables if table.full_name == IDENTITY_MAP), None)
    for table in tables:
        yield view(connection, lake, table, identity_map)
        yield f"COMMENT ON VIEW {table.full_name} IS {literal(f'{table.description} Grain: {table.grain}.')}"
        for column in shown(table):
            yield f"COMMENT ON COLUMN {table.full_name}.{_quoted(column.name)} IS {literal(comment(column))}"
    if identity_map is not None:
        yield as_known(lake, identity_map)


def shown(table: Table) -> tuple[Column, ...]:
    """The columns of a table's view: its own; before them the customer, where it carries one by its node."""
    if table.carries_customer and f.customer_id.name not in table.column_names:
        return (f.customer_id, *table.columns)
    return table.columns


def comment(column: Column) -> str:
    """What a column's comment says: meaning, unit, and its privacy class when it has one."""
    unit = f" [{column.unit}]" if column.unit else ""
    privacy = f" ({column.privacy.value})" if column.privacy is not Privacy.NONE else ""
    return f"{column.meaning}{unit}{privacy}"


def view(connection: duckdb.DuckDBPyConnection, lake: Path | str, table: Table, identity_map: Table | None) -> str:
    """The view of one table: its declared columns in order, `customer_id` joined as identity stands now.

    A column the stored table does not have yet (it was declared after the last build) is null.
    """
    path = table_path(lake, table)
    stored = {name for name, *_ in connection.execute("DESCRIBE SELECT * FROM delta_scan(?)", [path]).fetchall()}
    columns = [
        f"t.{_quoted(column.name)}"
        if column.name in stored
        else f"CAST(NULL AS {SQL_TYPES[column.type]}) AS {_quoted(column.name)}"
        for column in table.columns
    ]
    source = f"delta_scan({literal(path)}) AS t"
    if len(shown(table)) > len(table.columns):
        if identity_map is None:
            columns.insert(0, "CAST(NULL AS VARCHAR) AS customer_id")
        else:
            columns.insert(0, "m.customer_id")
            nodes = literal(table_path(lake, identity_map))
            # Checked names and escaped literals only, here and below: a view takes no bound parameters.
            source += (
                f" LEFT JOIN (SELECT node_id, customer_id FROM delta_scan({nodes})"  # noqa: S608
                " WHERE known_to IS NULL AND valid_to IS NULL) AS m ON t.node_id = m.node_id"
            )
    return f"CREATE VIEW {table.full_name} AS SELECT {', '.join(columns)} FROM {source}"  # noqa: S608


def as_known(lake: Path | str, identity_map: Table) -> str:
    """`silver.identity_map_at(known, valid)`: the map as it was known at `known`, of what was there at `valid`.

    `known` is system time, `valid` valid time (null or left out: ever); the same answer as `identity_map.known_at`.
    """
    nodes = literal(table_path(lake, identity_map))
    return f"""
        CREATE MACRO silver.identity_map_at(known, valid := NULL) AS TABLE
        SELECT * FROM delta_scan({nodes})
        WHERE known_from <= CAST(known AS TIMESTAMPTZ)
          AND (known_to IS NULL OR known_to > CAST(known AS TIMESTAMPTZ))
          AND (valid IS NULL OR valid_from IS NULL OR valid_from <= CAST(valid AS TIMESTAMPTZ))
          AND (valid IS NULL OR valid_to IS NULL OR valid_to > CAST(valid AS TIMESTAMPTZ))
    """  # noqa: S608


def _quoted(name: str) -> str:
    """A declared name as an SQL identifier; `text` and `key` would pass for keywords otherwise."""
    return f'"{name}"'


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
