"""A table of a database, or what a query answers, read through SQLAlchemy for one window; a row becomes a JSON object,
the same each time.

The window is a filter the database can answer from an index, and never tighter than the truth: text times are
compared by whole days with a day to spare, because `2026-01-01 00:00:00` and `2026-01-01T00:00:00.000Z` are one
moment and two texts. What lies outside the window is set aside where the times are understood, in bronze.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.types import NullType

from etl.connect.page import Connection, Page
from etl.connect.sql_fast import FastPathError, fast_payloads, fast_plan
from etl.connect.verdicts import masked
from etl.errors import SourceError, SourceRefused, SourceUnreachable
from etl.model import Source, Sql, Stream, Window

ROWS_A_PAGE = 20_000

_JSON = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def read_sql(
    source: Source, stream: Stream, request: Sql, connection: Connection, window: Window
) -> Generator[Page, None, None]:
    """The rows of the window, and some around it, in pages.

    Raises: SourceUnreachable when the database does not answer, SourceRefused when it says no,
    SourceError when the table or its cursor column is not there, or the query is none.
    """
    where = f"{source.name}.{stream.name}"
    with _engine(connection, where) as engine, _named_errors(where, connection):
        table = _asked(engine, request, where, connection)
        wanted = _in_window(table, request, window, is_sqlite=engine.dialect.name == "sqlite")
        number = 0
        # A query's columns have no types before it is asked.
        fast = fast_plan(table, wanted, engine.dialect) if isinstance(table, sa.Table) else None
        if fast is not None:
            try:
                for payloads in fast_payloads(fast, _address(connection)):
                    number += 1
                    yield Page(number, payloads)
                wanted = fast.left
            except FastPathError:
                # Whatever it was, SQLAlchemy tells it in words; or reads what the other could not.
                if number:
                    yield Page(number, [], anew=True)
                number = 0
        for rows in _partitions(engine, table, wanted):
            number += 1
            yield Page(number, encoded_rows([str(column.name) for column in table.columns], rows))


def _partitions(
    engine: sa.Engine, table: sa.FromClause, wanted: sa.ColumnElement[bool]
) -> Iterator[Sequence[Sequence[Any]]]:
    # SQLite keeps what it was given, whatever the column says: take it as it is stored.
    is_sqlite = engine.dialect.name == "sqlite"
    columns = [sa.type_coerce(c, NullType()).label(c.name) if is_sqlite else c for c in table.columns]
    with engine.connect().execution_options(stream_results=True, yield_per=ROWS_A_PAGE) as answering:
        yield from answering.execute(sa.select(*columns).where(wanted)).partitions()


def encoded_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """Each row as a JSON object, members in the table's order; decimals as they are written, never as floats."""
    if not rows:
        return []
    # Told by column, not by value: most columns hold nothing but what JSON has.
    columns = list(zip(*rows, strict=True))
    odd = [at for at, column in enumerate(columns) if not _AS_THEY_ARE.issuperset(map(type, column))]
    if odd:
        for at in odd:
            columns[at] = tuple(map(_plain, columns[at]))
        rows = list(zip(*columns, strict=True))
    row_of = _row_of(tuple(names))
    lines = _JSON.encode_lines([row_of(*row) for row in rows])
    return lines.removesuffix(b"\n").split(b"\n")


@lru_cache(maxsize=64)
def _row_of(names: tuple[str, ...]) -> Callable[..., Any]:
    """Makes of values what is written as an object: a third of a dictionary's work, to the same bytes."""
    if any(_ESCAPED.search(name) for name in names):
        return lambda *values: dict(zip(names, values, strict=True))
    places = [f"c{at}" for at in range(len(names))]
    return msgspec.defstruct("Row", places, rename=dict(zip(places, names, strict=True)), gc=False)


#: Characters that JSON escapes; msgspec takes no struct with them.
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
_AS_THEY_ARE = frozenset({str, int, float, bool, date, type(None)})


def _plain(value: Any) -> Any:
    """The value as the encoder writes it; what is no number (NaN, infinity) is null, of a float by itself."""
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, datetime):
        # Drivers tell a moment in the session's zone, and a session's zone is nobody's promise; some in a class of
        # their own.
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment if type(moment) is datetime else datetime.fromisoformat(moment.isoformat())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _in_window(table: sa.FromClause, request: Sql, window: Window, *, is_sqlite: bool) -> sa.ColumnElement[bool]:
    """What the database filters on. A row without a time is in every window: it is a dead letter, never silence."""
    bounds = _bounds(table, request, window, is_sqlite=is_sqlite)
    return sa.or_(sa.and_(*bounds), table.columns[request.cursor].is_(None)) if bounds else sa.true()


def _bounds(table: sa.FromClause, request: Sql, window: Window, *, is_sqlite: bool) -> list[sa.ColumnElement[bool]]:
    """What the database filters on: exact for numbers and real timestamps, generous for text."""
    if not request.cursor:
        return []
    column = table.columns[request.cursor]
    start, end = window.start, window.end
    if request.written in {"epoch_s", "epoch_ms"}:
        factor = 1 if request.written == "epoch_s" else 1000
        return [column >= _epoch(start) * factor, column < -(-_epoch_micros(end) * factor // 1_000_000)]
    if request.written == "text" or is_sqlite:
        stored = sa.type_coerce(column, sa.String())
        first, last = (start - timedelta(days=1)).date(), (end + timedelta(days=2)).date()
        return [stored >= first.isoformat(), stored < last.isoformat()]
    if not getattr(column.type, "timezone", False):
        start, end = start.replace(tzinfo=None), end.replace(tzinfo=None)
        # A local time may be up to 14 hours away from UTC; its zone is the stream's business.
        return [column >= start - timedelta(hours=14), column < end + timedelta(hours=14)]
    return [column >= start, column < end]


def _epoch(moment: datetime) -> int:
    return _epoch_micros(moment) // 1_000_000


def _epoch_micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _asked(engine: sa.Engine, request: Sql, where: str, connection: Connection) -> sa.FromClause:
    """What is read from: the table as the database describes it, or the query with the columns it answers."""
    what = f"table {request.table}" if request.table else "the query's answer"
    asked = _table(engine, request, where) if request.table else _query(engine, request, where, connection)
    if request.cursor and request.cursor not in asked.columns:
        raise SourceError(f"{where}: {what} has no column {request.cursor!r}, which its window needs")
    return asked


def _table(engine: sa.Engine, request: Sql, where: str) -> sa.FromClause:
    schema, _, name = request.table.rpartition(".")
    try:
        return sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=engine)
    except sa.exc.NoSuchTableError:
        raise SourceError(
            f"{where}: there is no table {request.table!r} in the database; check base_url and the user's rights"
        ) from None


def _query(engine: sa.Engine, request: Sql, where: str, connection: Connection) -> sa.FromClause:
    """The query as a table to choose from: a part of a SELECT, where no statement that changes data is allowed.

    Its columns' types are not known before it is asked, so its window is the generous one.
    """
    # A colon is the query's own, not a parameter of ours; and a last line may be a comment.
    text = sa.text(request.query.strip().rstrip(";").replace(":", r"\:") + "\n")
    nothing: sa.Select[Any] = (
        sa.select(sa.literal_column("*")).select_from(text.columns().subquery("asked")).where(sa.false())
    )
    with engine.connect() as answering:
        try:
            names = list(answering.execute(nothing).keys())
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            why = _why(error, connection)
            raise SourceError(f"{where}: the database cannot answer the query: {why}; check request.query") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"{where}: the query answers {twice[0]!r} twice; name the columns apart with AS")
    return text.columns(*[sa.column(name) for name in names]).subquery("asked")


@contextmanager
def _engine(connection: Connection, where: str) -> Iterator[sa.Engine]:
    try:
        url = _address(connection)
    except sa.exc.ArgumentError:
        raise SourceRefused(
            f"{where}: base_url is no database address; expected one like postgresql+psycopg://user@host/database"
        ) from None
    try:
        engine = _sqlite(url, where) if url.get_backend_name() == "sqlite" else sa.create_engine(url)
    except (sa.exc.NoSuchModuleError, ImportError):
        raise SourceRefused(
            f"{where}: no driver for {url.drivername!r} is installed; install it, or choose another address"
        ) from None
    try:
        yield engine
    finally:
        engine.dispose()


def _address(connection: Connection) -> sa.URL:
    """The database's address, with the secret as its password. Raises: ArgumentError."""
    url = sa.make_url(connection.base_url)
    return url.set(password=connection.secret) if connection.secret and url.password is None else url


def _sqlite(url: sa.URL, where: str) -> sa.Engine:
    """A SQLite file opened for reading only; SQLite would otherwise make an empty one where none is."""
    path = Path(url.database or "")
    if not path.is_file():
        raise SourceUnreachable(f"{where}: there is no database file {path}; check base_url")

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)

    return sa.create_engine("sqlite://", creator=opened, poolclass=sa.pool.NullPool)


@contextmanager
def _named_errors(where: str, connection: Connection) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        why = _why(error, connection)
        refused = any(word in why.lower() for word in ("password", "authentication", "permission", "denied"))
        if isinstance(error, sa.exc.OperationalError) and not refused:
            raise SourceUnreachable(f"{where}: the database does not answer: {why}; check base_url") from None
        kind = SourceRefused if refused else SourceError
        raise kind(f"{where}: the database says no: {why}; check the user, its secret and rights") from None


def _why(error: sa.exc.DBAPIError, connection: Connection) -> str:
    """The driver's own words, their first line."""
    lines = str(error.orig).strip().splitlines() or [type(error).__name__]
    return masked(lines[0], connection.secret)[:200]
