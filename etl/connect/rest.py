"""An HTTP stream read page by page for one window, or for its halves where the source says it holds too much."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import httpx

from etl.connect.http import GoneError, HttpClient, Rhythm, TooMuchError, open_client
from etl.connect.page import Connection, Note, Page
from etl.connect.paging import LOWEST, Request, Walk, next_request
from etl.model import Ask, Dlt, Http, Kind, Own, Source, Stream, Told, Window

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
_MARK = 16  # bytes that stand for a record
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
    with open_client(
        connection,
        auth=source.auth,
        limits=source.limits,
        dialect=source.errors,
        where=where,
        headers=dict(request.headers),
        transport=transport,
        rhythm=rhythm,
        files_from=source.files_from,
    ) as client:

        def first(part: Window, above: str = LOWEST) -> Request:
            known = {**placeholders(part, connection.account), "above": above}
            return first_request(request, connection.base_url, known)

        def pages(part: Window) -> Iterator[Sequence[bytes]]:
            walk = Walk(restart=lambda above: first(part, above), where=where)
            asked: Request | None = first(part)
            while asked is not None:
                records, body, headers = client.ask(asked, request.records)
                yield records
                asked = next_request(request.paging, asked, body, headers, records, walk)

        def divided(part: Window) -> tuple[Window, Window] | None:
            """Halves that are asked for otherwise than the whole; where they are not, halving brings all twice."""
            found = None if request.newest_first else halves(part, stream.kind)
            return found if found and first(part) not in [first(half) for half in found] else None

        for number, records in enumerate(joined(pages, window, divided, overlaps=request.trims), start=1):
            yield Page(number, records)


@dataclass(slots=True)
class _Line:
    """The line a protocol of its own asks through: counts what was answered, and what was skipped or noted until it is
    told.
    """

    client: HttpClient
    base_url: str
    account: str
    answered: int = 0
    skipped: int = 0
    notes: list[Note] = field(default_factory=list)
    gone: GoneError | None = None

    def ask(self, question: Ask) -> Told:
        url = question.path if "://" in question.path else self.base_url.rstrip("/") + question.path
        request = Request(question.method, url, question.params, question.json, question.form, question.headers)
        try:
            told = Told(*self.client.ask(request, question.records))
        except GoneError as gone:
            self.gone = gone
            self.skipped += 1
            return Told([], *gone.told, skipped=True)
        self.answered += 1
        return told

    def wait(self, seconds: float) -> None:
        self.client.wait(seconds)

    def note(self, what: str, of: Window) -> None:
        self.notes.append(Note(what, of))

    def page(self, number: int, records: Sequence[bytes]) -> Page:
        """A page of these records, with what was skipped and noted since the one before."""
        skipped, notes = self.skipped, tuple(self.notes)
        self.skipped, self.notes = 0, []
        return Page(number, records, skipped=skipped, notes=notes)


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
    """The pages a source's own protocol gives, each with what was skipped and noted on the way to it.

    Raises: as `read_http`; SourceRefused when all there was to ask for was skipped.
    """
    with open_client(
        connection,
        auth=source.auth,
        limits=source.limits,
        dialect=source.errors,
        where=f"{source.name}.{stream.name}",
        transport=transport,
        rhythm=rhythm,
        files_from=source.files_from,
    ) as client:
        line = _Line(client, connection.base_url, connection.account)
        read = request.read
        assert not isinstance(read, Dlt), "the reader hands those to etl.connect.dlt"
        number = 0
        for records in joined(
            lambda part: read(line, part),
            window,
            lambda part: halves(part, stream.kind),
            overlaps=request.trims,
        ):
            number += 1
            yield line.page(number, records)
        if line.gone and not line.answered:
            raise line.gone
        if line.skipped or line.notes:
            yield line.page(number + 1, [])


# --- a window that holds too much -------------------------------------------------------------------------------------


def joined(
    pages: Callable[[Window], Iterator[Sequence[bytes]]],
    window: Window,
    divided: Callable[[Window], tuple[Window, Window] | None],
    *,
    overlaps: bool,
) -> Iterator[Sequence[bytes]]:
    """The pages of a window, of its halves where it holds too much, and of theirs; every record once.

    What was handed on before the source said "too much" is not handed on again; nor is what two halves both bring,
    where they may overlap. True repeats within one answer stay.

    Raises: TooMuchError when a window that holds too much cannot be halved.
    """
    parts, before = [window], Counter[bytes]()
    while parts:
        part, brought = parts.pop(), bytearray()
        halved = divided(part)
        must_know = halved is not None or overlaps
        try:
            for records in pages(part):
                if not (must_know or before):
                    yield records
                    continue
                marks = [blake2b(record, digest_size=_MARK).digest() for record in records]
                brought += b"".join(marks)
                yield [one for one, mark in zip(records, marks, strict=True) if not _taken(before, mark)]
        except TooMuchError:
            if halved is None:
                raise
            parts += reversed(halved)
            before.update(_marks(brought))
            continue
        if overlaps and parts:
            before.update(_marks(brought))


def _marks(brought: bytearray) -> Iterator[bytes]:
    return (bytes(brought[at : at + _MARK]) for at in range(0, len(brought), _MARK))


def _taken(before: Counter[bytes], mark: bytes) -> bool:
    """True once for each time `mark` came before."""
    left = before.get(mark, 0)
    if left:
        before[mark] = left - 1
    return left > 0


def halves(window: Window, kind: Kind) -> tuple[Window, Window] | None:
    """A window in two, at a midnight where it is days long, else (reports excepted) at a full hour.

    None when it is a day of a report, an hour of anything else, or has no filter at all (snapshots).
    """
    middle = window.start + (window.end - window.start) / 2
    steps = {Kind.REPORT: (DAY,), Kind.SNAPSHOT: ()}.get(kind, (DAY, HOUR))
    for step in steps:
        at = middle - (middle - datetime(1970, 1, 1, tzinfo=UTC)) % step
        if at - window.start >= step and window.end - at >= step:
            return Window(window.start, at), Window(at, window.end)
    return None


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
