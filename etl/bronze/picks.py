"""Picks evaluated: values taken out of raw JSON records as text, then typed, without ever stopping on a bad one.

Two steps, kept apart so that an absent value is never mistaken for a bad one:

    picked_columns   payload text -> one String column per pick; absent and JSON null are null
    typed_columns    text -> the column's type, and `<name>__bad`, true where text was there but did not fit

A record is read once for all its picks, by a decoder made of just the members the picks name. Numbers keep the text
they were written with (`1.10` stays `1.10`), so amounts are exact whatever the source's precision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl

from etl.bronze.moments import usual_moments
from etl.errors import DeclarationError
from etl.model import Column, Pick, Type
from etl.model.frames import dtype

ROW = "_row"
ELEMENT = "_element"
BAD = "__bad"

# One step down a payload: a member's name, (key, value) of a list's element, or an element's position.
Step = str | tuple[str, str] | int
Steps = tuple[Step, ...]

_TOKEN = re.compile(r"(?P<name>[^.\[\]]+)|\[(?P<key>[^\]=]+)=(?P<value>[^\]]*)\]|\[(?P<at>\d+)\]|(?P<dot>\.)")


@lru_cache(maxsize=4096)
def steps_of(path: str) -> Steps:
    """`event_params[key=page_location].value` -> ("event_params", ("key", "page_location"), "value").

    Raises: DeclarationError when the path is not one.
    """
    steps: list[Step] = []
    position, after_dot = 0, True
    while position < len(path):
        token = _TOKEN.match(path, position)
        if token is None or (after_dot and not token["name"]) or (token["name"] and not after_dot):
            break
        if token["name"]:
            steps.append(token["name"])
        elif token["key"]:
            steps.append((token["key"], token["value"]))
        elif token["at"]:
            steps.append(int(token["at"]))
        after_dot = bool(token["dot"])
        position = token.end()
    if position < len(path) or after_dot:
        raise DeclarationError(f"path {path!r}: expected names joined by dots, list elements as [key=value] or [0]")
    return tuple(steps)


# --- the shape of what the picks need, and a decoder for just that ---------------------------------------------------


@dataclass(slots=True)
class _Shape:
    """What a place in the payload must offer: members, elements of a list, or (neither) any value."""

    members: dict[str, _Shape] = field(default_factory=dict)
    elements: _Shape | None = None
    is_value: bool = False
    struct: type[msgspec.Struct] | None = None
    attribute: dict[str, str] = field(default_factory=dict)

    def add(self, steps: Steps) -> None:
        """Make room for the value at `steps`."""
        if not steps:
            self.is_value = True
            return
        first, rest = steps[0], steps[1:]
        if isinstance(first, str):
            self.members.setdefault(first, _Shape()).add(rest)
            return
        if self.elements is None:
            self.elements = _Shape()
        if isinstance(first, tuple):
            self.elements.add((first[0],))
        self.elements.add(rest)

    def decoded_as(self, where: str) -> Any:
        """The msgspec type that reads this shape and skips everything else."""
        if sum((bool(self.members), self.elements is not None, self.is_value)) > 1:
            raise DeclarationError(f"path {where or '(record)'}: picked both as a value and as the way to others")
        if self.elements is not None:
            return list[self.elements.decoded_as(f"{where}[]")] | str | None  # type: ignore[misc]
        if not self.members:
            return Any
        self.attribute = {name: f"m{number}" for number, name in enumerate(self.members)}
        self.struct = msgspec.defstruct(
            "Picked",
            [
                (self.attribute[name], member.decoded_as(f"{where}.{name}" if where else name), None)
                for name, member in self.members.items()
            ],
            rename={attribute: name for name, attribute in self.attribute.items()},
            gc=False,
        )
        # Text may hold JSON itself (a cell of a text file); at the top it is no record.
        return self.struct | str | None if where else self.struct | None

    def lenient(self, value: Any) -> Any:
        """`value`, already decoded, in this shape; what is of another type than the picks expect is absent.

        Text stays, since it may hold JSON: `unfolded` looks into it when a pick goes that way.
        """
        if isinstance(value, str) and (self.elements is not None or self.struct is not None):
            return value
        if self.elements is not None:
            return [self.elements.lenient(one) for one in value] if isinstance(value, list) else None
        if self.struct is None:
            return value
        if not isinstance(value, dict):
            return None
        return self.struct(
            **{
                self.attribute[name]: member.lenient(value[name])
                for name, member in self.members.items()
                if name in value
            }
        )

    def unfolded(self, value: Any) -> Any:
        """`value`, and where it is text that holds JSON, what it holds."""
        if value.__class__ is not str or (self.elements is None and self.struct is None):
            return value
        try:
            held = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            return None
        return None if isinstance(held, str) else self.lenient(held)


class _Picker:
    """Reads payloads in the shape of some paths, and hands out a column of text per path."""

    def __init__(self, paths: Iterable[Steps]) -> None:
        self.shape = _Shape()
        for steps in paths:
            self.shape.add(steps)
        kind = self.shape.decoded_as("")
        # Floats are kept as decimals: their text is the text of the source.
        self.decode: Callable[[str | bytes], Any] = msgspec.json.Decoder(kind, float_hook=Decimal).decode

    def read(self, payload: str | bytes | None) -> Any:
        """One record in the picks' shape.

        Raises: msgspec.DecodeError when it is not JSON.
        """
        if payload is None:
            return None
        try:
            return self.decode(payload)
        except msgspec.ValidationError:
            # A member is of another type than in its siblings: read this one record without expectations.
            text = payload if isinstance(payload, str) else payload.decode()
            record = self.shape.lenient(json.loads(text, parse_float=Decimal))
            return None if isinstance(record, str) else record


def _as_text(value: Any) -> str | None:
    if value is None or value.__class__ is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (int, Decimal)):
        return str(value)
    return _NESTED.encode(value).decode()


_TEXT = frozenset({str, type(None)})
_NESTED = msgspec.json.Encoder(decimal_format="number")


class _Columns:
    """Columns of one batch of records, walked down step by step; a prefix shared by picks is walked once."""

    def __init__(self, shape: _Shape, records: list[Any]) -> None:
        self._walked: dict[Steps, tuple[_Shape, list[Any]]] = {(): (shape, records)}
        self._objects: dict[Steps, list[Any]] = {}
        self._elements: dict[tuple[Steps, str], list[dict[str | None, Any]]] = {}

    def at(self, steps: Steps) -> tuple[_Shape, list[Any]]:
        """The shape and the objects at `steps`, one per record."""
        if steps in self._walked:
            return self._walked[steps]
        shape, parents = self.at(steps[:-1])
        last = steps[-1]
        children: list[Any]
        if isinstance(last, str):
            children = list(map(attrgetter(shape.attribute[last]), self._whole(steps[:-1])))
            found = shape.members[last], children
        else:
            assert shape.elements is not None
            if isinstance(last, int):
                children = [parent[last] if parent is not None and len(parent) > last else None for parent in parents]
            else:
                key, value = last
                children = [by_key.get(value) for by_key in self._by_key(steps[:-1], key)]
            found = shape.elements, children
        below, children = found
        if below.elements is not None or below.struct is not None:
            found = below, [below.unfolded(child) for child in children]
        self._walked[steps] = found
        return found

    def _whole(self, steps: Steps) -> list[Any]:
        """The objects at `steps`; where there is none, one whose members are all absent."""
        if steps not in self._objects:
            shape, found = self.at(steps)
            assert shape.struct is not None
            nothing = shape.struct()
            self._objects[steps] = [nothing if one is None else one for one in found]
        return self._objects[steps]

    def _by_key(self, steps: Steps, key: str) -> list[dict[str | None, Any]]:
        """Per record: the list's elements by their `key`; the first of twins counts."""
        if (steps, key) not in self._elements:
            shape, lists = self.at(steps)
            assert shape.elements is not None
            name = shape.elements.attribute[key]
            self._elements[steps, key] = [
                {}
                if one is None
                else {_as_text(getattr(e, name)): e for e in reversed(one) if isinstance(e, msgspec.Struct)}
                for one in lists
            ]
        return self._elements[steps, key]

    def text(self, steps: Steps) -> pl.Series:
        """The values at `steps` as text."""
        values = self.at(steps)[1]
        # Told before: what Polars makes of numbers among texts depends on the numbers, and of tiny ones it panics.
        is_text = _TEXT.issuperset(map(type, values))
        return pl.Series(values if is_text else list(map(_as_text, values)), dtype=pl.String)


# --- payload -> text -------------------------------------------------------------------------------------------------


def picked_columns(
    payload: pl.LazyFrame | pl.DataFrame | pl.Series, picks: Mapping[str, Pick], explode: str | None = None
) -> pl.DataFrame:
    """The picks of every payload as text: `_row`, `_element` and one String column per pick, in their order.

    `payload` is a frame with a column `_payload`, or that column. One row per record (`_row` counts from 0 and
    points back to it, `_element` is 0); with `explode`, one row per element of the list at that path, paths are then
    relative to the element, and `^path` starts at the record. A record whose list is empty or absent has no row.
    Absent values, JSON null and unreadable records give null; an element that is not an object gives a row of nulls.
    """
    return picked_and_readable(payload, picks, explode)[0]


def picked_and_readable(
    payload: pl.LazyFrame | pl.DataFrame | pl.Series | Sequence[bytes],
    picks: Mapping[str, Pick],
    explode: str | None = None,
) -> tuple[pl.DataFrame, list[bool]]:
    """`picked_columns`, and per record whether it is a JSON object at all. Bytes must be UTF-8."""
    texts = _payloads(payload)
    record_paths, element_paths = _split(picks, explode)
    listed = steps_of(explode) if explode else ()
    picker = _Picker(
        [*record_paths.values(), *((*listed, 0, *steps) for steps in element_paths.values())]
        + ([(*listed, 0)] if explode and not element_paths else [])
    )
    records = [_read_or_none(picker, text) for text in texts]
    columns = _Columns(picker.shape, records)
    rows: list[int] | range
    if explode:
        shape, lists = columns.at(listed)
        rows = [row for row, elements in enumerate(lists) for _ in elements or ()]
        ordinals: Iterable[int] = [at for elements in lists for at, _ in enumerate(elements or ())]
        assert shape.elements is not None
        inner = shape.elements
        below = _Columns(inner, [inner.unfolded(element) for elements in lists for element in elements or ()])
    else:
        rows, ordinals, below = range(len(texts)), [0] * len(texts), columns
    result: dict[str, pl.Series] = {
        ROW: pl.Series(rows, dtype=pl.Int64),
        ELEMENT: pl.Series(ordinals, dtype=pl.Int64),
    }
    for name, pick in picks.items():
        if pick.const is not None:
            column = pl.Series([pick.const], dtype=pl.String).new_from_index(0, len(rows))
        elif name in record_paths:
            column = columns.text(record_paths[name])
            column = column.gather(result[ROW]) if explode else column
        else:
            column = below.text(element_paths[name])
        result[name] = prefixed(renamed(column, pick.values), pick.prefix)
    is_object = [isinstance(record, (msgspec.Struct, dict)) for record in records]
    return pl.DataFrame(result), is_object


def renamed(column: pl.Series, values: Mapping[str, str]) -> pl.Series:
    """The source's words in ours; what is not listed passes unchanged."""
    return column.replace(dict(values)) if values else column


def prefixed(column: pl.Series, prefix: str) -> pl.Series:
    """`prefix` before every value; what is empty stays empty."""
    return (prefix + column).zip_with(column != "", column) if prefix else column


def _payloads(payload: pl.LazyFrame | pl.DataFrame | pl.Series | Sequence[bytes]) -> Sequence[str | bytes | None]:
    if isinstance(payload, pl.LazyFrame):
        payload = payload.select("_payload").collect()
    if isinstance(payload, pl.DataFrame):
        payload = payload.get_column("_payload")
    return payload.to_list() if isinstance(payload, pl.Series) else payload


def _split(picks: Mapping[str, Pick], explode: str | None) -> tuple[dict[str, Steps], dict[str, Steps]]:
    """Paths from the record, and paths from the exploded element."""
    of_record: dict[str, Steps] = {}
    of_element: dict[str, Steps] = {}
    for name, pick in picks.items():
        if pick.const is not None:
            continue
        if not explode or pick.path.startswith("^"):
            of_record[name] = steps_of(pick.path.removeprefix("^"))
        else:
            of_element[name] = steps_of(pick.path)
    return of_record, of_element


def _read_or_none(picker: _Picker, payload: str | bytes | None) -> Any:
    try:
        return picker.read(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


# --- text -> type ----------------------------------------------------------------------------------------------------


def typed_columns(texts: pl.DataFrame, picks: Mapping[str, Pick], columns: Iterable[Column]) -> pl.DataFrame:
    """`texts` with each picked column in its declared type, and `<name>__bad` beside it; others pass through."""
    declared = {column.name: column.type for column in columns}
    expressions: list[pl.Expr] = []
    for name, pick in picks.items():
        if name not in declared:
            continue
        value = typed(pl.col(name), pick.written, zone=pick.zone, as_type=declared[name])
        bad = pl.lit(False) if pick.is_lenient else present(pl.col(name)) & value.is_null()
        expressions += [value.alias(name), bad.alias(name + BAD)]
    return texts.with_columns(expressions)


def present(text: pl.Expr) -> pl.Expr:
    """True where there is text; a blank cell of a text file is no value."""
    return text.is_not_null() & (text.str.strip_chars() != "")


def typed(text: pl.Expr, written: str, *, zone: str | None, as_type: Type) -> pl.Expr:
    """`text`, written as a `Pick` says, in the house's type; null where it does not fit (or is blank).

    Amounts: `number` exactly, `minor` by a hundredth, `micros` by a millionth, rounded half away from zero to four
    places. Timestamps: ISO 8601 with any offset and precision (cut to microseconds); without an offset they are in
    `zone`, or UTC; a local time that occurs twice is the first, one that never occurs does not fit.
    """
    text = pl.when(present(text)).then(text)
    if written in _EPOCHS:
        return _of_moment(_epoch(text, _EPOCHS[written]), as_type, zone)
    if written == "timestamp":
        if as_type is Type.STRING:
            return text
        return _of_moment(_iso_moment(text, zone), as_type, zone)
    if written in {"date", "yyyymmdd"}:
        return _of_date(_iso_date(text) if written == "date" else _compact_date(text), as_type, zone)
    if written == "list" or as_type is Type.STRINGS:
        return text.map_batches(_lists, return_dtype=pl.List(pl.String)) if as_type is Type.STRINGS else text
    return _plain(text, written, as_type, zone)


_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_DIVISORS = {"minor": 100, "micros": 1_000_000}
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


def _plain(text: pl.Expr, written: str, as_type: Type, zone: str | None) -> pl.Expr:
    """Texts, numbers and truths."""
    bare = text.str.strip_chars()
    if as_type is Type.STRING:
        return text
    if as_type is Type.BOOL:
        word = bare.str.to_lowercase()
        return pl.when(word.is_in(_TRUE)).then(True).when(word.is_in(_FALSE)).then(False)
    if as_type is Type.AMOUNT:
        return (
            (_decimal(bare) / _DIVISORS.get(written, 1))
            .round(4, mode="half_away_from_zero")
            .cast(dtype(as_type), strict=False)
        )
    if as_type is Type.FLOAT:
        number = bare.cast(pl.Float64, strict=False) / _DIVISORS.get(written, 1)
        return pl.when(number.is_finite()).then(number)
    if as_type is Type.INT:
        number = _decimal(bare)
        return pl.when(number == number.round(0)).then(number.cast(pl.Int64, strict=False))
    if as_type is Type.DATE:
        return _iso_date(text)
    if as_type is Type.TIMESTAMP:
        return _iso_moment(text, zone)
    raise DeclarationError(f"written as {written!r}: cannot be read as {as_type.value}")


def _decimal(bare: pl.Expr) -> pl.Expr:
    return bare.cast(pl.Decimal(38, 10), strict=False)


def _epoch(text: pl.Expr, factor: int) -> pl.Expr:
    """Microseconds since 1970 as a UTC time; fractions of the unit count, and are cut to microseconds."""
    micros = _decimal(text.str.strip_chars()) * factor
    whole = micros.cast(pl.Int64, strict=False)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


# Of digits only ours: others, which \d knows too, are no numbers to Polars.
_ISO = (
    r"^\s*(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<minute>[0-9]{2}:[0-9]{2})(?P<second>:[0-9]{2})?(?:[.,](?P<fraction>[0-9]+))?)?"
    r"\s*(?:(?P<utc>[Zz]|UTC)|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?)?\s*$"
)


def _iso_moment(text: pl.Expr, zone: str | None) -> pl.Expr:
    """ISO 8601 as a UTC time."""
    return text.map_batches(
        lambda texts: _moments(texts, zone), return_dtype=pl.Datetime("us", "UTC"), is_elementwise=True
    )


def _moments(texts: pl.Series, zone: str | None) -> pl.Series:
    """The same values either way: what nearly every API writes is read off its bytes, any other text by its parts."""
    micros, is_read, is_bare = usual_moments(texts)
    naive = pl.Series("at", micros).cast(pl.Datetime("us"))
    moments = naive.dt.replace_time_zone("UTC")
    if zone and is_bare.any():
        local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        moments = local.dt.convert_time_zone("UTC").zip_with(pl.Series(is_bare), moments)
    unread = ~pl.Series(is_read) & texts.is_not_null()
    if unread.any():
        others = texts.alias("text").to_frame().filter(unread).select(_any_moment(pl.col("text"), zone)).to_series()
        moments = moments.scatter(unread.arg_true(), others)
    return moments.zip_with(texts.is_not_null(), pl.Series([None], dtype=moments.dtype))


def _any_moment(text: pl.Expr, zone: str | None) -> pl.Expr:
    part = text.str.extract_groups(_ISO).struct.field
    written = pl.concat_str(
        part("date"), pl.lit(" "), part("minute").fill_null("00:00"), part("second").fill_null(":00")
    )
    moment = written.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    fraction = part("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    moment = moment + pl.duration(microseconds=fraction, time_unit="us")
    hours = part("hours").cast(pl.Int64)
    ahead = pl.duration(hours=hours, minutes=part("minutes").fill_null("0").cast(pl.Int64), time_unit="us")
    has_offset = part("sign").is_not_null()
    shifted = pl.when(part("sign") == "-").then(moment + ahead).otherwise(moment - ahead)
    local = moment.dt.replace_time_zone(zone or "UTC", ambiguous="earliest", non_existent="null")
    return (
        pl.when(has_offset)
        .then(pl.when(hours <= 18).then(shifted.dt.replace_time_zone("UTC")))
        .when(part("utc").is_not_null())
        .then(moment.dt.replace_time_zone("UTC"))
        .otherwise(local.dt.convert_time_zone("UTC"))
    )


def _iso_date(text: pl.Expr) -> pl.Expr:
    """The date of an ISO date or timestamp, as written there (no zone is applied)."""
    return text.str.extract(r"^\s*([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].*)?\s*$").str.to_date("%Y-%m-%d", strict=False)


def _compact_date(text: pl.Expr) -> pl.Expr:
    return text.str.extract(r"^\s*([0-9]{8})\s*$").str.to_date("%Y%m%d", strict=False)


def _of_moment(moment: pl.Expr, as_type: Type, zone: str | None) -> pl.Expr:
    # 0001-01-02 to 9999-12-30: beyond, not every engine that reads the lake can show the time in every zone.
    micros = moment.dt.timestamp("us")
    moment = pl.when(micros.is_between(-62_135_510_400_000_000, 253_402_214_399_999_999)).then(moment)
    if as_type is Type.TIMESTAMP:
        return moment
    if as_type is Type.DATE:
        return moment.dt.convert_time_zone(zone or "UTC").dt.date()
    if as_type is Type.STRING:
        return moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    raise DeclarationError(f"a time cannot be read as {as_type.value}")


def _of_date(day: pl.Expr, as_type: Type, zone: str | None) -> pl.Expr:
    if as_type is Type.DATE:
        return day
    if as_type is Type.TIMESTAMP:
        midnight = day.cast(pl.Datetime("us"))
        return midnight.dt.replace_time_zone(
            zone or "UTC", ambiguous="earliest", non_existent="null"
        ).dt.convert_time_zone("UTC")
    if as_type is Type.STRING:
        return day.dt.strftime("%Y-%m-%d")
    raise DeclarationError(f"a date cannot be read as {as_type.value}")


def _lists(texts: pl.Series) -> pl.Series:
    """JSON lists as lists of text; anything else does not fit."""
    return pl.Series([_list_of_text(text) for text in texts], dtype=pl.List(pl.String))


def _list_of_text(text: str | None) -> list[str | None] | None:
    if text is None:
        return None
    try:
        values = json.loads(text, parse_float=Decimal)
    except ValueError:
        return None
    return [_as_text(value) for value in values] if isinstance(values, list) else None
