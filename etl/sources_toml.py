"""Sources declared in TOML alone: the sections of a file become the same `Source` values a Python file holds.

    [sources.shop]                      kind = rest | sql | files | dlt, base_url, title, account, auth, limits, ...
    [[sources.shop.streams]]            name, kind = events | report | entity | snapshot, request, id, at, cursor, ...
    [[sources.shop.streams.feeds]]      subject, fields, explode, where, unless

The keys are the fields of `etl.model.source`. A pick is a table (`{ path = "total", written = "number" }`) or just its
path: text in `fields`, a timestamp in `at` and `cursor`, true or false in `deleted`. Folders and SQLite files are
looked for beside the file. A mistake is one line: the file, the place in it, what was expected and what came.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from etl.bronze.picks import steps_of
from etl.connect.files import FORMATS
from etl.connect.paging import STRATEGIES
from etl.connect.verdicts import DIALECTS
from etl.errors import DeclarationError, NameRefused, SettingsError
from etl.model import Auth, Dlt, Feed, Files, Http, Kind, Limits, Own, Paging, Pick, Source, Sql, Stream
from etl.model.source import CONTRACTS
from etl.settings import address, is_declared, refuse_secrets

#: Which columns each subject accepts, and which values each column allows (none named: any).
Subjects = Mapping[str, Mapping[str, Collection[str]]]

_Reader = Callable[[Any, str], Any]
_Noun = TypeVar("_Noun")

#: What a request may say of its window.
_OF_THE_WINDOW = (
    "start_iso", "end_iso", "before_start_iso", "start_ms", "end_ms", "start_s", "end_s", "first_date", "last_date",
)  # fmt: skip
_PLACEHOLDERS = (*_OF_THE_WINDOW, "above", "account")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def sources_in(path: Path, subjects: Subjects) -> list[Source]:
    """The sources the file declares, in its order.

    Raises: SettingsError in one line, with the place in the file, what was expected, what came, and the nearest name.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read as TOML: {error}") from None
    sections = _table(table.get("sources", {}), f"{path.name}: sources")
    found: list[Source] = []
    for name, section in sections.items():
        where = f"{path.name}: sources.{name}"
        if is_declared(_table(section, where)):
            refuse_secrets(section, name, where)
            found.append(_source(name, section, where, path.parent, subjects))
    return found


# --- the nouns --------------------------------------------------------------------------------------------------------


def _source(name: str, section: dict[str, Any], where: str, beside: Path, subjects: Subjects) -> Source:
    keys, requests = dict(section), _requests(beside)
    if "kind" not in keys:
        raise SettingsError(f"{where}: kind is missing; expected one of: {', '.join(requests)}")
    request = requests[_one_of(requests)(keys.pop("kind"), f"{where}.kind")]
    if not keys.get("streams"):
        raise SettingsError(f"{where}: no stream; add a [[sources.{name}.streams]] section for each")
    readers: dict[str, _Reader] = {
        "title": _text,
        "base_url": lambda value, at: address(_text(value, at), beside),
        "account": _text,
        "auth": _made(
            Auth,
            {
                "scheme": _one_of(Auth.SCHEMES),
                **dict.fromkeys(("header", "prefix", "param", "token_url"), _text),
                "scopes": _many(_text),
                "extra_headers": _texts,
            },
        ),
        "limits": _made(Limits, {"requests": _count, "seconds": _seconds, "concurrency": _count, "max_bytes": _count}),
        "errors": _one_of(DIALECTS),
        "owner": _text,
        "streams": _many(lambda value, at: _stream(value, at, request, subjects)),
    }
    keys.pop("allow_private", None)  # how it is reached here is the settings' to read
    keys.setdefault("title", name)
    return _value(Source, keys, where, readers, name=name)


def _stream(value: Any, where: str, request: _Reader, subjects: Subjects) -> Stream:
    readers: dict[str, _Reader] = {
        "name": _text,
        "kind": lambda kind, at: Kind(_one_of([each.value for each in Kind])(kind, at)),
        "request": request,
        "id": _paths,
        "at": _pick("timestamp"),
        "cursor": _pick("timestamp"),
        "deleted": _pick("bool"),
        "feeds": _many(lambda feed, at: _feed(feed, at, subjects)),
        "restate_days": _whole,
        "max_age_days": _count,
        "max_dead_fraction": _fraction,
        "ordinal_id": _flag,
        "speaks_for": _text,
        "contract": _one_of(CONTRACTS),
    }
    stream = _value(Stream, _table(value, where), where, readers)
    _check_window(stream, f"{where}.request")
    return stream


def _feed(value: Any, where: str, subjects: Subjects) -> Feed:
    known = _table(value, where)
    subject = _one_of(subjects)(known.get("subject", ""), f"{where}.subject")

    def fields(each: Any, at: str) -> dict[str, Pick]:
        picks = _table(each, at)
        for name in picks:
            _one_of(sorted(subjects[subject]), "column")(name, at)
        found = {name: _pick("text")(pick, f"{at}.{name}") for name, pick in picks.items()}
        for name, pick in found.items():
            for said in (*pick.values.values(), *([] if pick.const is None else [pick.const])):
                if subjects[subject][name]:
                    _one_of(subjects[subject][name])(said, f"{at}.{name}")
        return found

    return _value(
        Feed, known, where, {"subject": _text, "fields": fields, "explode": _path, "where": _chosen, "unless": _chosen}
    )


def _http(value: Any, where: str) -> Http:
    def paging(each: Any, at: str) -> Paging:
        keys = _table(each, at)
        for needed in Paging.NEEDS.get(keys.get("style", "none"), ()):
            if not keys.get(needed):
                raise SettingsError(f"{at}: {needed} is missing; style {keys['style']!r} needs it")
        texts = ("next_at", "param", "size_param", "key", "more_at", "header", "end", "total_at")
        readers: dict[str, _Reader] = {
            "style": _one_of(STRATEGIES),
            **dict.fromkeys(texts, _text),
            **dict.fromkeys(("size", "cap"), _count),
            "is_short_last": _flag,
        }
        return _value(Paging, keys, at, readers)

    readers: dict[str, _Reader] = {
        "path": _text,
        "records": _text,
        "method": _one_of(("GET", "POST")),
        "params": _texts,
        "json": lambda each, at: _body(_table(each, at), at),
        "headers": _texts,
        "paging": paging,
        "trims": _flag,
        "newest_first": _flag,
    }
    made = _made(Http, readers)(value, where)
    _check_placeholders(where, _PLACEHOLDERS, made.path, made.params, made.json)
    return made


def _check_placeholders(where: str, known: Collection[str], *templates: Any) -> None:
    for name in _placeholders(*templates):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        if name not in known and near:
            raise SettingsError(f"{where}: unknown placeholder {{{name}}}; did you mean {{{near[0]}}}?")


def _check_window(stream: Stream, where: str) -> None:
    """A request that asks the same of every window brings every record every time."""
    if stream.kind is Kind.SNAPSHOT:
        return
    match stream.request:
        case Http() as request:
            if request.trims or request.newest_first:
                return
            asked = _placeholders(request.path, request.params, request.json)
            place, way_out = "path, params or json", "trims = true where the API cannot filter by time"
        case Own(read=Dlt() as resource):
            if resource.cursor:
                return
            asked = _placeholders(resource.arguments)
            place, way_out = "arguments", "cursor, the field that has the time"
        case _:
            return
    if not asked & set(_OF_THE_WINDOW):
        raise SettingsError(
            f"{where}: nothing in it tells the window; expected a placeholder like {{start_iso}} in {place}, or "
            f"{way_out}"
        )


def _sql(value: Any, where: str) -> Sql:
    written = _one_of(("timestamp", "text", "epoch_s", "epoch_ms"))
    return _made(Sql, {"table": _text, "cursor": _text, "written": written, "query": _text})(value, where)


def _files(value: Any, where: str) -> Files:
    readers = {"pattern": _text, "format": _one_of(FORMATS), "columns": _many(_text)}
    return _made(Files, readers)(value, where)


def _dlt(beside: Path) -> _Reader:
    def resource(value: Any, where: str) -> str:
        """A file of Python code is looked for beside the one that names it."""
        module, colon, function = _text(value, where).rpartition(":")
        return f"{(beside / module).resolve() if module.endswith('.py') else module}{colon}{function}"

    readers: dict[str, _Reader] = {
        "resource": resource,
        "arguments": lambda value, where: _body(_table(value, where), where),
        "cursor": _text,
        "written": _one_of(Dlt.WRITTEN),
    }

    def read(value: Any, where: str) -> Own:
        made = _made(Dlt, readers)(value, where)
        _check_placeholders(where, (*_PLACEHOLDERS, "secret", "base_url"), made.arguments)
        return Own(made, trims=True)

    return read


def _requests(beside: Path) -> Mapping[str, _Reader]:
    return {"rest": _http, "sql": _sql, "files": _files, "dlt": _dlt(beside)}


# --- values -----------------------------------------------------------------------------------------------------------


def _made(kind: type[_Noun], readers: Mapping[str, _Reader]) -> Callable[[Any, str], _Noun]:
    return lambda value, where: _value(kind, _table(value, where), where, readers)


def _value(
    kind: type[_Noun], keys: Mapping[str, Any], where: str, readers: Mapping[str, _Reader], **given: Any
) -> _Noun:
    """The dataclass `kind` of a section's keys, each read by its reader."""
    for key in keys:
        if key not in readers:
            raise SettingsError(f"{where}: unknown key {key!r}{_near(key, list(readers))}")
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]  # every noun is a dataclass
        has_default = each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING
        if not has_default and each.name not in keys and each.name not in given:
            raise SettingsError(f"{where}: {each.name} is missing")
    values = {key: readers[key](value, f"{where}.{key}") for key, value in keys.items()}
    try:
        return kind(**values, **given)
    except (DeclarationError, NameRefused) as error:
        raise SettingsError(f"{where}: {error}") from None


def _near(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is {value!r}; expected a section or {{ key = value }}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where} is {value!r}; expected text in quotes")
    return value


def _one_of(known: Collection[str], what: str = "") -> _Reader:
    def read(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in known:
            near = _near(value, known) if isinstance(value, str) else f"; known: {', '.join(known)}"
            raise SettingsError(f"{where}: unknown {what or where.rpartition('.')[2]} {value!r}{near}")
        return value

    return read


def _whole(value: Any, where: str, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{where} is {value!r}; expected a whole number, at least {least}")
    return value


def _count(value: Any, where: str) -> int:
    return _whole(value, where, least=1)


def _seconds(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise SettingsError(f"{where} is {value!r}; expected a number of seconds above 0")
    return float(value)


def _fraction(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise SettingsError(f"{where} is {value!r}; expected a share from 0 to 1")
    return float(value)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{where} is {value!r}; expected true or false, without quotes")
    return value


def _many(read: _Reader) -> _Reader:
    """A list; an element that is a named section is told by its name, any other by its position from 1."""

    def read_all(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise SettingsError(f"{where} is {value!r}; expected a list")
        return tuple(read(each, f"{where}.{_told(each, number)}") for number, each in enumerate(value, start=1))

    return read_all


def _told(element: Any, number: int) -> str:
    name = element.get("name", element.get("subject")) if isinstance(element, dict) else None
    return name if isinstance(name, str) else str(number)


def _path(value: Any, where: str) -> str:
    """A path into a payload. A leading ^ reaches out of an exploded element."""
    try:
        steps_of(_text(value, where).removeprefix("^"))
    except DeclarationError as error:
        raise SettingsError(f"{where}: {error}") from None
    return str(value)


def _paths(value: Any, where: str) -> tuple[str, ...]:
    """One path or a list of them: an id of several parts."""
    return (_path(value, where),) if isinstance(value, str) else _many(_path)(value, where)


def _pick(written: str) -> _Reader:
    """A pick; where only its path is given, it is `written` so."""
    readers: dict[str, _Reader] = {
        "path": _path,
        "written": _one_of(Pick.WRITTEN),
        "const": _text,
        "zone": _zone,
        "values": _texts,
        "prefix": _text,
        "is_lenient": _flag,
    }

    def read(value: Any, where: str) -> Pick:
        if isinstance(value, str):
            return Pick(_path(value, where), written)
        return _made(Pick, readers)({"written": written, **_table(value, where)}, where)

    return read


def _zone(value: Any, where: str) -> str:
    from zoneinfo import available_timezones

    return str(_one_of(sorted(available_timezones()))(value, where))


def _texts(value: Any, where: str) -> dict[str, str]:
    """Names and texts; numbers, true and false as they are written in a query."""
    found: dict[str, str] = {}
    for name, each in _table(value, where).items():
        if isinstance(each, bool):
            found[name] = "true" if each else "false"
        elif isinstance(each, int | float):
            found[name] = str(each)
        else:
            found[name] = _text(each, f"{where}.{name}")
    return found


def _chosen(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Paths, and the values looked for there."""
    return {
        _path(path, where): (each,) if isinstance(each, str) else _many(_text)(each, f"{where}.{path}")
        for path, each in _table(value, where).items()
    }


def _body(value: Any, where: str) -> Any:
    """A body as JSON has it: TOML's dates have no place there."""
    if isinstance(value, dict):
        return {name: _body(each, f"{where}.{name}") for name, each in value.items()}
    if isinstance(value, list):
        return [_body(each, f"{where}.{number}") for number, each in enumerate(value, start=1)]
    if not isinstance(value, str | int | float | bool):
        raise SettingsError(f"{where} is {value}; expected text, a number, true or false; write a date in quotes")
    return value


def _placeholders(*templates: Any) -> set[str]:
    return {name for text in _templates(*templates) for name in _PLACEHOLDER.findall(text)}


def _templates(*values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _templates(*value.values())
        elif isinstance(value, list | tuple):
            yield from _templates(*value)
