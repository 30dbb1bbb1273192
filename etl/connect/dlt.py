"""A resource of dlt, iterated for one window: extraction only. Our window, our writer, and no file of dlt's anywhere.

dlt is imported where it is used: only who names a resource needs it (the extra `dlt`). Before that its telemetry is
turned off, its log (which may quote a record), and its look into Airflow's variables (which makes a database at home).

The window is handed over as an explicit interval, never as dlt's own state: reading a window again asks the same again.
As with SQL, text times are asked for with a day to spare, for `2026-01-01T00:00:00.5Z` is less than
`2026-01-01T00:00:00Z` to whoever compares them as text; what lies outside is set aside in bronze.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from etl.connect.page import Connection, Page
from etl.connect.rest import filled, placeholders
from etl.connect.sql import ROWS_A_PAGE, encoded_rows
from etl.connect.verdicts import masked
from etl.errors import SourceError, SourceRefused, SourceUnreachable
from etl.model import Dlt, Source, Stream, Window

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENVIRONMENT = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
}


def read_dlt(
    source: Source, stream: Stream, request: Dlt, connection: Connection, window: Window
) -> Generator[Page, None, None]:
    """What the resource yields for the window, and some around it, in pages.

    Raises: SourceRefused when dlt or a secret of the resource's is missing, or it is told 401 or 403;
    SourceUnreachable when it cannot reach what it reads; SourceError when there is no such resource, or it fails.
    """
    where = f"{source.name}.{stream.name}"
    dlt = _imported(where)
    with _named_errors(where, connection):
        resource = _resource(dlt, request, stream, connection, window, where)
        if request.cursor:
            start, end = interval(request, window)
            resource.apply_hints(
                incremental=dlt.sources.incremental(
                    request.cursor,
                    initial_value=start,
                    end_value=end,
                    # A record without a time is a dead letter.
                    on_cursor_value_missing="include",
                    allow_external_schedulers=False,
                )
            )
        with closing(iter(resource)) as yielded:
            records = _records(yielded, where)
            number = 0
            while page := [_encoded(record, where) for record in islice(records, ROWS_A_PAGE)]:
                number += 1
                yield Page(number, page)


def interval(request: Dlt, window: Window) -> tuple[Any, Any]:
    """The window as the resource writes its cursor: from the first value, up to before the second."""
    start, end = window.start, window.end
    match request.written:
        case "timestamp":
            return start, end
        case "epoch_s" | "epoch_ms":
            unit = timedelta(seconds=1) if request.written == "epoch_s" else timedelta(milliseconds=1)
            # Up to before an end between two numbers is up to the next one.
            return (start - _EPOCH) // unit, -((_EPOCH - end) // unit)
        case "date":
            return (start - _DAY).date(), (end + 2 * _DAY).date()
    return f"{start - _DAY:%Y-%m-%dT%H:%M:%SZ}", f"{end + _DAY:%Y-%m-%dT%H:%M:%SZ}"


# --- the resource -----------------------------------------------------------------------------------------------------


def _imported(where: str) -> Any:
    os.environ.update(_ENVIRONMENT)
    try:
        return importlib.import_module("dlt")
    except ImportError:
        raise SourceRefused(
            f"{where}: dlt is not installed; install it: pip install 'customer-360-lakehouse[dlt]'"
        ) from None


def _resource(dlt: Any, request: Dlt, stream: Stream, connection: Connection, window: Window, where: str) -> Any:
    """The resource of this window: what the function gives, of a source the one that is named, else what it yields."""
    module, _, path = request.resource.rpartition(":")
    name, _, chosen = path.partition(".")
    known = {
        **placeholders(window, connection.account),
        "secret": connection.secret,
        "base_url": connection.base_url.rstrip("/"),
    }
    function = getattr(_module(module, where), name, None)
    if not callable(function):
        raise SourceError(f"{where}: there is no function {name!r} in {_shown(module)}; check request.resource")
    try:
        made = function(**filled(dict(request.arguments), known))
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise
        # Not from within the function, but at its door.
        raise SourceError(f"{where}: {_shown(module)}: {error}; check request.arguments") from None
    if isinstance(made, dlt.extract.DltSource):
        if chosen not in made.resources:
            raise SourceError(
                f"{where}: {name} has no resource {chosen!r}; it has: {', '.join(sorted(made.resources))}; "
                f"name one: {_shown(module)}:{name}.RESOURCE"
            )
        return made.resources[chosen]
    return made if isinstance(made, dlt.extract.DltResource) else dlt.resource(made, name=stream.name)


def _module(name: str, where: str) -> ModuleType:
    """A module that can be imported, or a file of Python code, which is then one too (dlt looks for it there)."""
    path = Path(name)
    try:
        if path.suffix != ".py":
            return importlib.import_module(name)
        known = f"c360_dlt_{path.stem}_{sha256(name.encode()).hexdigest()[:8]}"
        if known not in sys.modules:
            spec = importlib.util.spec_from_file_location(known, path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[known] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(sys.modules[known])
            except BaseException:
                del sys.modules[known]
                raise
        return sys.modules[known]
    except (ImportError, FileNotFoundError) as error:
        missing = error.name if isinstance(error, ImportError) else path.name
        raise SourceError(
            f"{where}: {_shown(name)} cannot be imported: there is no {missing}; check request.resource, or install it"
        ) from None


def _shown(module: str) -> str:
    return Path(module).name if module.endswith(".py") else module


# --- what it yields ---------------------------------------------------------------------------------------------------


def _records(yielded: Iterator[Any], where: str) -> Iterator[Mapping[str, Any]]:
    """Single records, whatever they came in: alone, in lists, in tables of Arrow."""
    for item in yielded:
        rows: Iterable[Any] = [item]
        if isinstance(item, list):
            rows = item
        elif hasattr(item, "to_pylist"):
            rows = item.to_pylist()
        for row in rows:
            if not isinstance(row, Mapping):
                raise SourceError(
                    f"{where}: the resource yields {type(row).__name__}; expected dicts, or tables of Arrow"
                )
            yield row


def _encoded(record: Mapping[str, Any], where: str) -> bytes:
    try:
        return encoded_rows(list(record), [list(record.values())])[0]
    except (TypeError, ValueError, RecursionError):
        raise SourceError(f"{where}: the resource yields a record that cannot be written as JSON") from None


@contextmanager
def _named_errors(where: str, connection: Connection) -> Iterator[None]:
    try:
        yield
    except (SourceError, GeneratorExit):
        raise
    except Exception as error:  # noqa: BLE001 - the resource is foreign code, and may fail in any way
        raise _named(_cause(error), where, connection) from None


def _cause(error: BaseException) -> BaseException:
    """What the resource itself raised: dlt wraps it, as often as it likes."""
    while error.__cause__ is not None and type(error).__module__.startswith("dlt."):
        error = error.__cause__
    return error


def _named(error: BaseException, where: str, connection: Connection) -> SourceError:
    """An error of the resource in one line. The words of one that is neither the network's nor dlt's are not told:
    they may quote a record.
    """
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is not None:
        kind = SourceRefused if status in {401, 403} else SourceError
        return kind(f"{where}: the resource was answered {status}; check its address, secret and arguments")
    words = masked(" ".join(str(error).split()), connection.secret)[:200]
    # Errors of requests are the system's; httpx has a family of its own.
    if isinstance(error, OSError) or type(error).__module__ == "httpx":
        return SourceUnreachable(f"{where}: the resource cannot reach what it reads: {words}; check its address")
    if type(error).__module__.startswith("dlt."):
        return SourceRefused(f"{where}: dlt says no: {words}; check the resource's arguments and secrets")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__] or frames
    place = f"{Path(theirs[-1].filename).name}:{theirs[-1].lineno}"
    return SourceError(f"{where}: the resource failed: {type(error).__name__} at {place}")
