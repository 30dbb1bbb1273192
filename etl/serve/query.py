"""Read-only SQL over the published catalogue, for the command, for programs and for BI tools.

`run_sql` is for people: one statement that only reads, a time limit, and errors in one line. `connect` gives a DuckDB
connection that can reach the published tables and nothing else. `engine` gives a SQLAlchemy engine.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from etl.errors import QueryRefused
from etl.serve.extension import install_for_this_user, literal, load_delta, reach_buckets

Rows = list[tuple[Any, ...]]

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+|\([^)]*\)\s*)?", re.IGNORECASE)
#: Errors that tell of the query's own words. The others may quote values of the data, which do not belong in messages.
_OF_THE_QUERY = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException)


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection to the catalogue at `path` that reads the published tables and can touch nothing else.

    Files outside the published tables' directories, other databases, extensions and settings are out of reach, and
    the catalogue is opened read-only. Times are shown in UTC. Close it when done.

    Raises: QueryRefused when there is no catalogue, or the file is none.
    """
    if not path.is_file():
        raise QueryRefused(
            f"there is no SQL catalogue at {path} yet; build and publish the tables first with: c360 run"
        )
    # A database of its own for each connection, which attaches the file: settings of one never reach another, and a
    # program may hold this beside an engine on the same file. Frames of the calling program are no tables.
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
    try:
        load_delta(connection)
        connection.execute(f"ATTACH {literal(str(path.absolute()))} AS lakehouse (READ_ONLY)")
        connection.execute("USE lakehouse")
        directories = _published(connection)
        reach_buckets(connection, directories)
        allowed = ", ".join(literal(f"{directory}/") for directory in directories)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_directories = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise QueryRefused(
            f"{path} is no SQL catalogue that can be read here: {_first_line(error)}; publish it anew with: c360 run"
        ) from None
    return connection


def _published(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The directories of the published tables."""
    connection.execute("SELECT path FROM catalogue.published")  # a cursor of SQLAlchemy gives nothing back here
    return [row[0] for row in connection.fetchall()]


def run_sql(path: Path, sql: str, *, timeout_s: float, max_rows: int) -> tuple[tuple[str, ...], Rows]:
    """The answer to one reading statement: column names, and at most `max_rows` rows.

    Raises: QueryRefused, in one line, when there is no catalogue, the statement is none, does more than read, names
    what is not there, fails, or takes longer than `timeout_s` seconds.
    """
    with contextlib.closing(connect(path)) as connection:
        only_reads(connection, sql)
        with _limit(connection, timeout_s) as expired:
            try:
                answer = connection.execute(sql)
                columns = tuple(column[0] for column in answer.description or ())
                return columns, answer.fetchmany(max_rows)
            except duckdb.Error as error:
                if expired.is_set():
                    raise QueryRefused(
                        f"the query was stopped after {timeout_s:g} seconds; ask for less, or allow more time"
                    ) from None
                raise QueryRefused(f"SQL: {_said(error)}") from None


def only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Passes when `sql` is one statement that only reads.

    Raises: QueryRefused otherwise. Reading directories may be written to by COPY, even inside EXPLAIN ANALYZE, so what
    is explained must itself only read.
    """
    try:
        parsed = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryRefused(f"SQL: {_said(error)}") from None
    if len(parsed) != 1:
        raise QueryRefused(f"SQL: expected one statement, came {len(parsed)}; ask them one by one")
    kind = parsed[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        explain = _EXPLAIN.match(parsed[0].query)
        if explain is None:
            raise QueryRefused("SQL: expected EXPLAIN followed by a SELECT")
        only_reads(connection, parsed[0].query[explain.end() :])
    elif kind != duckdb.StatementType.SELECT:
        raise QueryRefused(
            f"SQL: {kind.name} is refused, the catalogue is for reading; expected SELECT, DESCRIBE, SHOW or EXPLAIN"
        )


def engine(path: Path) -> sa.Engine:
    """A SQLAlchemy engine on the catalogue, read-only. `inspect(engine)` lists views and columns with their comments.

    Raises: QueryRefused when there is no catalogue.
    """
    if not path.is_file():
        raise QueryRefused(
            f"there is no SQL catalogue at {path} yet; build and publish the tables first with: c360 run"
        )
    arguments: dict[str, Any] = {"read_only": True}
    if install_for_this_user():
        arguments["preload_extensions"] = ["delta"]
    made = sa.create_engine(sa.URL.create("duckdb", database=str(path.absolute())), connect_args=arguments)

    @sa.event.listens_for(made, "connect")
    def _load(connection: Any, _: Any) -> None:
        # Also where there is no home directory to install into; loading twice does nothing.
        cursor = connection.cursor()
        load_delta(cursor)
        reach_buckets(cursor, _published(cursor))
        cursor.close()

    return made


@contextlib.contextmanager
def _limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[threading.Event]:
    """Interrupts the connection after `seconds` (DuckDB has no limit of its own); the event says whether it did."""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        connection.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()


def _said(error: duckdb.Error) -> str:
    """The error in one line; quoted values are left out unless they are the query's own words."""
    line = _first_line(error)
    if isinstance(error, _OF_THE_QUERY):
        hint = next((part.strip() for part in str(error).splitlines()[1:] if "Did you mean" in part), "")
        return f"{line} {hint}".strip()
    return re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", line)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
