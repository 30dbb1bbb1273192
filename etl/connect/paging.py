"""How the next page is asked for: a strategy is a function of the request, its answer and the walk so far.

Every walk ends: a cursor, an address or a key that comes twice, a page that repeats, or empty pages without end are
errors and never silence. Where the source says how many records there are, a walk that brought fewer, and a number
that shrinks on the way, are errors too. A record that moves between pages while they are read may come twice; the
landing unites it.
Methods: RFC 8288 (link), and keyset for searches that answer no further than `cap` results: then the walk starts
anew above the last key, which the request template takes as {above}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from typing import Any
from urllib.parse import urljoin

from etl.connect.body import value_in
from etl.errors import SourceError
from etl.model import Paging

#: The key every walk by keys starts above.
LOWEST = "0"
#: Filters leave pages empty on the way; more than this in a row is a walk without end.
EMPTY_PAGES = 100


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `params` None: the address already holds them (a next link). `form` is a body of a form."""

    method: str
    url: str
    params: Mapping[str, str] | None = None
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Walk:
    """What is known on the way: `restart` makes the first request above a key; `seen` what must not come again.

    `walked` counts since the walk started (anew), `empty` the empty pages in a row. `total` is how
    many records there are as far as the source said, `distinct` stands for those that came, `earlier` is how many had
    come when the walk started anew.
    """

    restart: Callable[[str], Request]
    where: str
    walked: int = 0
    above: str = LOWEST
    empty: int = 0
    total: int | None = None
    earlier: int = 0
    distinct: set[bytes] = field(default_factory=set)
    seen: set[bytes] = field(default_factory=set)

    def once(self, what: str, mark: bytes) -> None:
        """Raises: SourceError when `mark` came before on this walk."""
        digest = sha256(what.encode() + b"\0" + mark).digest()
        if digest in self.seen:
            raise self.broken(f"the same {what} came twice, so the pages would never end or a page is missing")
        self.seen.add(digest)

    def take(self, paging: Paging, body: bytes, records: Sequence[bytes]) -> None:
        """Another page. Raises: SourceError when it came before, or the source contradicts itself."""
        self.walked += len(records)
        self.empty = 0 if records else self.empty + 1
        if self.empty > EMPTY_PAGES:
            raise self.broken(f"{self.empty} empty pages came one after the other, and the last names another")
        if records and paging.style != "none":
            self.once("page", b"\n".join(records))
        if paging.total_at:
            self.distinct.update(blake2b(record, digest_size=16).digest() for record in records)
            self._hear_total(paging, body)

    def _hear_total(self, paging: Paging, body: bytes) -> None:
        said = _whole_number(value_in(body, paging.total_at))
        if said is None:
            if self.total is None:
                raise self.broken(f"the first answer has no total at {paging.total_at!r}")
            return
        said += self.earlier
        if self.total is not None and said < self.total:
            raise self.broken(f"the total shrank from {self.total} to {said} while it was read")
        self.total = said

    def start_anew(self, above: str) -> None:
        """Go on above a key. Raises: SourceError when that was done before."""
        self.above, self.walked, self.earlier = above, 0, len(self.distinct)
        self.once("key", above.encode())

    def finish(self) -> None:
        """The last page has come. Raises: SourceError when the source had said there were more records."""
        if self.total is not None and len(self.distinct) < self.total:
            raise self.broken(f"{self.total} records were promised and {len(self.distinct)} different ones came")

    def broken(self, what: str) -> SourceError:
        """The error that says what is wrong with the pages."""
        return SourceError(
            f"{self.where}: {what}; nothing was written; run the window again, and look at the source if it stays"
        )


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def next_request(
    paging: Paging, request: Request, body: bytes, headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    """The request for the next page; None at the end. `headers` are looked up in lower case.

    Raises: SourceError when a cursor, an address, a key or a page repeats, a page is missing, or a total shrinks.
    """
    walk.take(paging, body, records)
    following = STRATEGIES[paging.style](paging, request, body, headers, records, walk)
    if following is None:
        walk.finish()
    return following


_Strategy = Callable[[Paging, Request, bytes, Mapping[str, str], Sequence[bytes], Walk], Request | None]


def _none(
    _paging: Paging,
    _request: Request,
    _body: bytes,
    _headers: Mapping[str, str],
    _records: Sequence[bytes],
    _walk: Walk,
) -> None:
    return None


def _cursor(
    paging: Paging, request: Request, body: bytes, _headers: Mapping[str, str], _records: Sequence[bytes], walk: Walk
) -> Request | None:
    # An empty page that names another is not the last: filters may leave one empty on the way.
    token = value_in(body, paging.next_at)
    if not token:
        return None
    if isinstance(token, dict | list):
        raise walk.broken(f"there is no token at {paging.next_at!r}, but a {type(token).__name__}")
    # Cursors may be offsets, and after a restart above a key they rightly count anew.
    walk.once("cursor", f"{walk.above} {token}".encode())
    return with_param(request, paging.param, str(token))


def _link(
    _paging: Paging, request: Request, _body: bytes, headers: Mapping[str, str], _records: Sequence[bytes], walk: Walk
) -> Request | None:
    url = link_next(headers.get("link", ""))
    return _at(request, url, walk) if url else None


def _next_url(
    paging: Paging, request: Request, body: bytes, _headers: Mapping[str, str], _records: Sequence[bytes], walk: Walk
) -> Request | None:
    url = value_in(body, paging.next_at)
    return _at(request, str(url), walk) if url else None


def _keyset(
    paging: Paging, request: Request, body: bytes, headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    if not value_in(body, paging.next_at):
        return None
    if walk.walked + paging.size <= paging.cap:
        return _cursor(paging, request, body, headers, records, walk)
    found = [value_in(record, paging.key) for record in records]
    keys = ["" if key is None else str(key) for key in found]
    if not all(keys) or not keys or keys[-1] == walk.above:
        raise walk.broken(f"the last record has no {paging.key!r} above {walk.above!r} to go on from")
    if keys != sorted(keys, key=_rank):
        raise walk.broken(
            f"the records are not in the order of {paging.key!r}, so going on above one would lose others"
        )
    walk.start_anew(keys[-1])
    return walk.restart(walk.above)


def _rank(key: str) -> tuple[bool, int, str]:
    """Numbers by size, before all else by its letters."""
    is_number = key.isascii() and key.isdigit()
    return not is_number, int(key) if is_number else 0, key


def _is_last(paging: Paging, records: Sequence[bytes], walk: Walk) -> bool:
    """True when a page that is known by its number alone is the last one."""
    if not records:
        return True
    if walk.total is not None:
        return len(walk.distinct) >= walk.total
    return paging.is_short_last and len(records) < paging.size


def _offset(
    paging: Paging, request: Request, _body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    return None if _is_last(paging, records, walk) else with_param(request, paging.param, str(walk.walked))


def _page(
    paging: Paging, request: Request, _body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    if _is_last(paging, records, walk):
        return None
    asked = (request.params if request.json is None else request.json) or {}
    return with_param(request, paging.param, str(int(asked.get(paging.param, "1")) + 1))


def _starting_after(
    paging: Paging, request: Request, body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    more = value_in(body, paging.more_at)
    if more is False:
        return None
    last = value_in(records[-1], paging.key) if records else None
    if more is not True or last in (None, ""):
        raise walk.broken(
            f"{paging.more_at!r} is {str(more).lower()}, and the last record's {paging.key!r} is {last!r}; "
            "expected true and an id, or false"
        )
    walk.once("id", str(last).encode())
    return with_param(request, paging.param, str(last))


def _token_header(
    paging: Paging, request: Request, _body: bytes, headers: Mapping[str, str], _records: Sequence[bytes], walk: Walk
) -> Request | None:
    token = headers.get(paging.header.lower(), "")
    if token == paging.end:
        return None
    if not token:
        raise walk.broken(f"the answer lacks the header {paging.header}, which says {paging.end!r} at the end")
    walk.once("token", token.encode())
    return with_param(request, paging.param, token)


STRATEGIES: Mapping[str, _Strategy] = {
    "none": _none,
    "cursor": _cursor,
    "link": _link,
    "next_url": _next_url,
    "keyset": _keyset,
    "offset": _offset,
    "page": _page,
    "starting_after": _starting_after,
    "token_header": _token_header,
}


def with_param(request: Request, name: str, value: str) -> Request:
    """The request with one parameter set: in the body where there is one (a number where one stood), else the query."""
    if request.json is not None:
        was_number = isinstance(request.json.get(name), int)
        return replace(request, json={**request.json, name: int(value) if was_number else value})
    return replace(request, params={**(request.params or {}), name: value})


def _at(request: Request, url: str, walk: Walk) -> Request:
    target = urljoin(request.url, url)
    walk.once("address", target.encode())
    return replace(request, url=target, params=None)


_LINK = re.compile(r"<([^>]*)>\s*((?:;\s*[\w*-]+\s*=\s*(?:\"[^\"]*\"|[^\s;,]+)\s*)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]+))", re.IGNORECASE)


def link_next(header: str) -> str | None:
    """The target whose relations hold `next` (RFC 8288)."""
    for target, parameters in _LINK.findall(header):
        rel = _REL.search(parameters)
        if rel and "next" in (rel[1] or rel[2] or "").lower().split():
            return str(target)
    return None
