"""An HTTP stream read page by page for one window."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from etl.connect.http import HttpClient, Rhythm, open_client
from etl.connect.page import Connection, Page
from etl.connect.paging import Request, Walk, next_request
from etl.model import Ask, Http, Own, Source, Stream, Told, Window

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def read_http(
    source: Source,
    stream: Stream,
    request: Http,
    connection: Connection,
    window: Window,
    *,
    transport: httpx.BaseTransport | None = None,
    rhythm: Rhythm | None = None,
) -> Generator[Page, None, None]:
    """The stream's pages, in the source's order.

    Raises: SourceUnreachable, SourceRefused, QuotaExhausted, SourceError.
    """
    where = f"{source.name}.{stream.name}"
    known = placeholders(window, connection.account)

    def first(above: str) -> Request:
        return first_request(request, connection.base_url, {**known, "above": above})

    walk = Walk(restart=first, where=where)
    with open_client(
        connection,
        auth=source.auth,
        limits=source.limits,
        dialect=source.errors,
        where=where,
        headers=dict(request.headers),
        transport=transport,
        rhythm=rhythm,
    ) as client:
        asked: Request | None = first(walk.above)
        number = 0
        while asked is not None:
            records, body, headers = client.ask(asked, request.records)
            number += 1
            yield Page(number, records)
            asked = next_request(request.paging, asked, body, headers, records, walk)


@dataclass(frozen=True, slots=True)
class _Line:
    """The line a protocol of its own asks through."""

    client: HttpClient
    base_url: str
    account: str
    #: What every form carries: the secret, where the source takes it there.
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)

    def ask(self, question: Ask) -> Told:
        url = question.path if "://" in question.path else self.base_url.rstrip("/") + question.path
        form = {**question.form, **self.secret} if question.form is not None else None
        request = Request(question.method, url, question.params, question.json, form, question.headers)
        return Told(*self.client.ask(request, question.records))

    def wait(self, seconds: float) -> None:
        self.client.wait(seconds)


def read_own(
    source: Source,
    stream: Stream,
    request: Own,
    connection: Connection,
    window: Window,
    *,
    transport: httpx.BaseTransport | None = None,
    rhythm: Rhythm | None = None,
) -> Generator[Page, None, None]:
    """The pages a source's own protocol gives. Raises: as `read_http`."""
    with open_client(
        connection,
        auth=source.auth,
        limits=source.limits,
        dialect=source.errors,
        where=f"{source.name}.{stream.name}",
        transport=transport,
        rhythm=rhythm,
    ) as client:
        secret = {source.auth.header: connection.secret} if source.auth.scheme == "form" else {}
        line = _Line(client, connection.base_url, connection.account, secret)
        for number, records in enumerate(request.read(line, window), start=1):
            yield Page(number, records)


def first_request(request: Http, base_url: str, known: Mapping[str, str]) -> Request:
    """The request for the first page, every placeholder filled in."""
    params = {name: filled(value, known) for name, value in request.params.items()}
    json = filled(request.json, known)
    paging = request.paging
    if paging.size_param and paging.size:
        if json is not None:
            json = {**json, paging.size_param: paging.size}
        else:
            params[paging.size_param] = str(paging.size)
    return Request(request.method, base_url.rstrip("/") + filled(request.path, known), params, json)


def placeholders(window: Window, account: str) -> dict[str, str]:
    """What a request may say of its window. `before_start_iso` is a second earlier, for filters that only know >."""
    last = (window.end - timedelta(microseconds=1)).date()
    return {
        "start_iso": _iso(window.start),
        "end_iso": _iso(window.end),
        "before_start_iso": _iso(window.start - timedelta(seconds=1)),
        "start_ms": str(_micros(window.start) // 1_000),
        "end_ms": str(_micros(window.end) // 1_000),
        "start_s": str(_micros(window.start) // 1_000_000),
        "end_s": str(_micros(window.end) // 1_000_000),
        "first_date": window.start.date().isoformat(),
        "last_date": last.isoformat(),
        "account": account,
    }


def filled(template: Any, known: Mapping[str, str]) -> Any:
    """`template` with every {placeholder} that is known filled in; other braces stand as they are."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), template)
    if isinstance(template, Mapping):
        return {name: filled(value, known) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, known) for value in template]
    return template


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
