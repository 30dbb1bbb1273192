"""Rows of a table as JSON without a row ever being a Python object: connectorx reads, Polars writes the JSON.

To the byte what `etl.connect.sql` makes of the same rows, or not at all. Only tables whose columns all have a type that
is known to come out the same are read so; and of these only the rows whose values are: the database itself tells them
apart, in one condition, and the rows beyond it are left to SQLAlchemy. SQLite keeps values of any type in a column, and
connectorx panics on them; a NaN is no number of JSON; a moment of year 10,000 is none of Python's.

    SQLite      whole numbers, fractions and texts, where the column declares them
    PostgreSQL  whole numbers, double precision, numeric, boolean, text, uuid, enumerations, dates and timestamps
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

ROWS_A_PAGE = 25_000

#: A float of this size or more is written with an exponent, which Polars and msgspec spell differently.
_EXPONENT = 1e16


class FastPathError(Exception):
    """The fast path ended before its end; nothing it gave may count."""


@dataclass(frozen=True, slots=True)
class Member:
    """One column on its way into JSON: what is selected, how Arrow has it, for which values that is true.

    `is_raw`: the text selected is JSON already.
    """

    name: str
    selected: sa.ColumnElement[Any]
    kind: pl.DataType
    holds: sa.ColumnElement[bool] | None = None
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A query in the database's own words, the members of its rows' JSON, and the condition of the rows `left` over."""

    query: str
    members: tuple[Member, ...]
    left: sa.ColumnElement[bool]


def fast_plan(table: sa.Table, wanted: sa.ColumnElement[bool], dialect: sa.Dialect) -> Plan | None:
    """How the wanted rows of a table are read; None without connectorx, or where a column is of another type."""
    of_column = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}.get(dialect.name)
    if of_column is None or importlib.util.find_spec("connectorx") is None:
        return None
    members: list[Member] = []
    for column in table.columns:
        member = of_column(column)
        if member is None:
            return None
        members.append(member)
    holds = sa.and_(sa.true(), *(member.holds for member in members if member.holds is not None))
    query = sa.select(*(member.selected.label(f"c{at}") for at, member in enumerate(members)))
    try:
        text = str(query.where(wanted, holds).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except (sa.exc.CompileError, NotImplementedError):
        return None
    # psycopg's way to write a per cent sign; no driver of that kind reads this query.
    text = text.replace("%%", "%") if dialect.paramstyle in {"format", "pyformat"} else text
    return Plan(text, tuple(members), sa.and_(wanted, sa.not_(sa.func.coalesce(holds, sa.false()))))


def fast_payloads(plan: Plan, address: sa.URL) -> Iterator[pl.Series]:
    """The rows as JSON objects, batch by batch. Raises: FastPathError, for whatever went wrong."""
    connectorx = importlib.import_module("connectorx")
    try:
        reader = connectorx.read_sql(
            _plain_address(address), plan.query, return_type="arrow_stream", batch_size=ROWS_A_PAGE
        )
        for batch in reader:
            frame = pl.DataFrame(pl.from_arrow(batch))
            if frame.dtypes != [member.kind for member in plan.members]:
                raise FastPathError("a column came as another type")
            if frame.height:
                yield payloads_of(frame, plan.members)
    except (KeyboardInterrupt, SystemExit, GeneratorExit, FastPathError):
        raise
    except BaseException as problem:  # noqa: BLE001  a panic of connectorx is no Exception
        raise FastPathError(type(problem).__name__) from None


def _plain_address(address: sa.URL) -> str:
    """The address without the driver SQLAlchemy would use."""
    if address.get_backend_name() == "sqlite":
        return f"sqlite://{quote(str(address.database))}"
    return address.set(drivername="postgresql").render_as_string(hide_password=False)


# --- columns ----------------------------------------------------------------------------------------------------------

_WHOLE, _FRACTION, _TEXT, _TRUTH = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()


def _of_sqlite(column: sa.Column[Any]) -> Member | None:
    """By what the column declares, and only the values that are what it declares.

    connectorx reads a column as its declaration says: a DATETIME as a moment, and so another text than is kept. What is
    not a whole number, a fraction or a text is therefore written as JSON in the query.
    """
    stored = sa.type_coerce(column, sa.types.NullType())
    quoted = sa.func.ifnull(sa.literal('"').op("||")(stored).op("||")('"'), "null")
    match column.type:
        case sa.Integer():
            return Member(str(column.name), stored, _WHOLE, _kept(column, "integer"))
        case sa.Float():
            return Member(str(column.name), stored, _FRACTION, _kept(column, "real"))
        case sa.String():
            return Member(str(column.name), stored, _TEXT, _kept(column, "text"))
        case sa.DateTime() | sa.Date() | sa.Time():
            # Of such letters that none is escaped in JSON.
            is_bare = sa.func.ifnull(sa.not_(stored.op("GLOB")("*[^0-9A-Za-z :.,/+-]*")), sa.true())
            return Member(str(column.name), quoted, _TEXT, sa.and_(_kept(column, "text"), is_bare), is_raw=True)
        case sa.Boolean():
            written = sa.func.ifnull(sa.cast(stored, sa.Text()), "null")
            return Member(str(column.name), written, _TEXT, _kept(column, "integer"), is_raw=True)
        case sa.LargeBinary():
            in_hex = sa.literal('"').op("||")(sa.func.lower(sa.func.hex(stored))).op("||")('"')
            of_blob = sa.case((sa.func.typeof(stored) == "blob", in_hex), else_="null")
            return Member(str(column.name), of_blob, _TEXT, _kept(column, "blob"), is_raw=True)
    return None


def _kept(column: sa.Column[Any], kind: str) -> sa.ColumnElement[bool]:
    return sa.func.typeof(column).in_([kind, "null"])


def _of_postgresql(column: sa.Column[Any]) -> Member | None:
    """Moments, dates and numbers of any scale are written as text by the database, as Python would write them."""
    name = str(column.name)
    match column.type:
        case sa.Integer():
            return Member(name, sa.cast(column, sa.BigInteger()), _WHOLE)
        case sa.REAL():
            # By its text: 0.1 in four bytes is not 0.1 in eight.
            return Member(name, sa.cast(sa.cast(column, sa.Text()), sa.Double()), _FRACTION)
        case sa.Double() | sa.Float():
            return Member(name, column, _FRACTION)
        case sa.Numeric():
            # Smaller ones have an exponent in Python's text; of NaN and infinity the scale is NULL.
            fits = sa.or_(column.is_(None), sa.func.scale(column) <= 6)
            return Member(name, sa.cast(column, sa.Text()), _TEXT, fits, is_raw=True)
        case sa.Boolean():
            return Member(name, column, _TRUTH)
        case sa.Uuid() | postgresql.ENUM() | sa.TEXT() | sa.VARCHAR():
            return Member(name, sa.cast(column, sa.Text()), _TEXT)
        case sa.DateTime(timezone=zoned):
            local = sa.func.timezone("UTC", column) if zoned else column
            text = sa.func.replace(sa.func.to_char(local, 'YYYY-MM-DD"T"HH24:MI:SS.US'), ".000000", "")
            return Member(name, text.op("||")("Z") if zoned else text, _TEXT, _usual(column))
        case sa.Date():
            return Member(name, sa.func.to_char(column, "YYYY-MM-DD"), _TEXT, _usual(column))
    return None


def _usual(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """True for the years Python has, in every zone; false for infinity."""
    return sa.or_(
        column.is_(None),
        sa.and_(column > sa.text("'0001-01-02'"), column < sa.text("'9999-12-30'")),
    )


# --- JSON -------------------------------------------------------------------------------------------------------------


def payloads_of(frame: pl.DataFrame, members: Sequence[Member]) -> pl.Series:
    """Each row as a JSON object with the members in their order, as msgspec writes it."""
    frame = frame.rename(dict(zip(frame.columns, (member.name for member in members), strict=True)))
    parts: list[pl.Expr | None] = []
    plain: list[str] = []
    for member in members:
        token = _token(frame[member.name], member)
        if token is None:
            plain.append(member.name)
            continue
        parts += [_inner(plain), pl.lit(f"{_KEYS.encode(member.name).decode()}:") + pl.lit(token)]
        plain = []
    if not parts:
        return frame.select(pl.struct(plain).struct.json_encode()).to_series()
    whole = pl.concat_str([part for part in (*parts, _inner(plain)) if part is not None], separator=",")
    return frame.select(pl.concat_str(pl.lit("{"), whole, pl.lit("}"))).to_series()


_KEYS = msgspec.json.Encoder()


def _inner(names: Sequence[str]) -> pl.Expr | None:
    """Some members without the braces around them."""
    return pl.struct(names).struct.json_encode().str.slice(1).str.head(-1) if names else None


def _token(values: pl.Series, member: Member) -> pl.Series | None:
    """The values as they stand in JSON, where Polars would write them in another way; else None."""
    if member.is_raw:
        return values.fill_null("null")
    if values.dtype == _FRACTION and not (values.is_finite() & (values.abs() < _EXPONENT)).fill_null(True).all():
        lines = _KEYS.encode_lines(values.to_list()).decode()
        return pl.Series(lines.removesuffix("\n").split("\n"), dtype=pl.String)
    return None
