"""How the next page is asked for: a strategy is a function of the request, its answer and the walk so far.

Every walk ends: a cursor, an address or a key that comes twice, or a page that repeats, is an error and never silence.
Methods: RFC 8288 (link), and keyset for searches that answer no further than `cap` results: then the walk starts
anew above the last key, which the request template takes as {above}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import urljoin

from etl.connect.body import value_in
from etl.errors import SourceError
from etl.model import Paging

#: The key every walk by keys starts above.
LOWEST = "0"


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
    """What is known on the way: `restart` makes the first request above a key; `seen` what must not come again."""

    restart: Callable[[str], Request]
    where: str
    walked: int = 0
    above: str = LOWEST
    seen: set[bytes] = field(default_factory=set)

    def once(self, what: str, mark: bytes) -> None:
        """Raises: SourceError when `mark` came before on this walk."""
        digest = sha256(what.encode() + b"\0" + mark).digest()
        if digest in self.seen:
            raise SourceError(
                f"{self.where}: the same {what} came twice, so the pages would never end or a page is missing; "
                "nothing was written; run the window again, and look at the source if it stays"
            )
        self.seen.add(digest)


def next_request(
    paging: Paging, request: Request, body: bytes, headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    """The request for the next page; None at the end. `headers` are looked up in lower case.

    Raises: SourceError when a cursor, an address, a key or a page repeats.
    """
    walk.walked += len(records)
    if records and paging.style != "none":
        walk.once("page", b"\n".join(records))
    return STRATEGIES[paging.style](paging, request, body, headers, records, walk)


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
    paging: Paging, request: Request, body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    token = value_in(body, paging.next_at)
    if token in (None, "") or not records:
        return None
    # Cursors may be offsets, and after a restart above a key they rightly count anew.
    walk.once("cursor", f"{walk.above} {token}".encode())
    return with_param(request, paging.param, str(token))


def _link(
    _paging: Paging, request: Request, _body: bytes, headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    url = link_next(headers.get("link", ""))
    return _at(request, url, walk) if url and records else None


def _next_url(
    paging: Paging, request: Request, body: bytes, _headers: Mapping[str, str], _records: Sequence[bytes], walk: Walk
) -> Request | None:
    url = value_in(body, paging.next_at)
    return _at(request, str(url), walk) if url else None


def _keyset(
    paging: Paging, request: Request, body: bytes, headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    token = value_in(body, paging.next_at)
    if token in (None, "") or not records:
        return None
    if walk.walked + paging.size <= paging.cap:
        return _cursor(paging, request, body, headers, records, walk)
    above = value_in(records[-1], paging.key)
    if above is None or str(above) == walk.above:
        raise SourceError(f"{walk.where}: the last record has no {paging.key!r} above {walk.above!r} to go on from")
    walk.above, walk.walked = str(above), 0
    walk.once("key", walk.above.encode())
    return walk.restart(walk.above)


def _offset(
    paging: Paging, request: Request, _body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], walk: Walk
) -> Request | None:
    return None if len(records) < max(1, paging.size) else with_param(request, paging.param, str(walk.walked))


def _page(
    paging: Paging, request: Request, _body: bytes, _headers: Mapping[str, str], records: Sequence[bytes], _walk: Walk
) -> Request | None:
    if len(records) < max(1, paging.size):
        return None
    return with_param(request, paging.param, str(int((request.params or {}).get(paging.param, "1")) + 1))


STRATEGIES: Mapping[str, _Strategy] = {
    "none": _none,
    "cursor": _cursor,
    "link": _link,
    "next_url": _next_url,
    "keyset": _keyset,
    "offset": _offset,
    "page": _page,
}


def with_param(request: Request, name: str, value: str) -> Request:
    """The request with one parameter set: in the body where there is one, else in the query."""
    if request.json is not None:
        return replace(request, json={**request.json, name: value})
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
