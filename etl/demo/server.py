"""The company's systems over real HTTP on 127.0.0.1: HubSpot, Klaviyo, Mastodon, Shopify and Meta, each in its shape.

What "now" is. The server answers as of a moment: records changed at or after it are not known yet, and Meta's numbers
of a day are `RESTATED_DAYS` restatements old at most. By default the moment is fixed, a day after the company's month
ended (`Company.today`), so a window asked for again, in any order, from any process, gets the same final numbers.
Set `DemoServer.as_of`, or send the header `X-Demo-As-Of: 2026-01-05T00:00:00Z` with a request, to see the world
earlier: then restatements, later updates and deletions show.

Faults. `DemoServer.faults` is a script for tests: each `Fault` strikes the n-th request (from 1) whose path starts with
its prefix. Without faults every answer is clean.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from etl.demo.bulk import OBJECTS
from etl.demo.company import Company
from etl.demo.files import sources_config, token_of
from etl.demo.marketing import KLAVIYO, META_ACCOUNT, METRICS, RESTATED_DAYS
from etl.demo.records import Answerable, answerable, ms_of
from etl.demo.social import HASHTAG

__all__ = ["AS_OF_HEADER", "Answer", "Asked", "DemoServer", "Fault", "Vendors", "serve", "sources_config"]

AS_OF_HEADER = "X-Demo-As-Of"
_FOREVER = 1 << 62
_HUBSPOT_CAP = 10_000
_HUBSPOT_ROUTE = re.compile(
    r"/crm/(?:v3/objects|objects/2026-09)/(?P<kind>contacts|companies|deals|0-3)(?P<action>/search)?"
    r"|/crm/(?:v4/associations|associations/2026-09)/[\w-]+/[\w-]+(?P<batch>/batch/read)"
)
_HUBSPOT_DEFAULTS = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
_HUBSPOT_ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response: status, JSON body as bytes, extra headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json;charset=utf-8"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the vendors see it. `origin` is scheme and host, `prefix` the part that names the vendor."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str
    prefix: str
    as_of: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Instead of its answer, the `nth` request under `prefix` gets this.

    kind: status (an error `status` in the vendor's shape, with `retry_after` seconds if given) | truncated (half the
    right body, under its full length) | ok_with_error (200 and an error body) | closed (the connection drops)
    """

    nth: int
    kind: str = "status"
    status: int = 500
    retry_after: str = ""
    prefix: str = "/"


class Refusal(Exception):
    """A request answered with an error in the vendor's shape."""

    def __init__(self, status: int, body: Any, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status)
        self.answer = Answer(status, msgspec.json.encode(body), headers)


@dataclass(slots=True)
class DemoServer:
    """A running server. `base_url` has no trailing slash; `requests` counts what came. Stop it, or use it in `with`."""

    base_url: str
    company: Company
    as_of: datetime
    faults: tuple[Fault, ...] = ()
    requests: int = 0
    _http: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None
    _seen: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """Close the socket and wait for the serving thread."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        if self._thread is not None:
            self._thread.join(timeout=10)

    def __enter__(self) -> DemoServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def struck_by(self, path: str) -> Fault | None:
        """Count this request; the fault it meets, if any."""
        with self._lock:
            self.requests += 1
            struck = None
            for place, fault in enumerate(self.faults):
                if path.startswith(fault.prefix):
                    self._seen[place] = self._seen.get(place, 0) + 1
                    if self._seen[place] == fault.nth:
                        struck = struck or fault
        return struck


def serve(
    company: Company, port: int = 0, *, faults: Iterable[Fault] = (), as_of: datetime | None = None
) -> DemoServer:
    """Answer as all HTTP sources of `company` on 127.0.0.1; `port` 0 takes a free one. Returns at once."""
    server = DemoServer(base_url="", company=company, as_of=as_of or company.today, faults=tuple(faults))
    vendors = Vendors(company)

    class Handler(_Handler):
        demo = server
        systems = vendors

    http = _Listener(("127.0.0.1", port), Handler)
    server._http = http
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}"
    server._thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    server._thread.start()
    return server


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is its own affair; nothing is printed, no address or payload is logged."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    demo: DemoServer
    systems: Vendors

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Silent: queries hold identifiers."""

    def _respond(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        url = urlsplit(self.path)
        prefix, _, path = url.path.lstrip("/").partition("/")
        fault = self.demo.struck_by(url.path)
        if fault is not None and fault.kind == "closed":
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = headers.get(AS_OF_HEADER.lower())
        try:
            as_of = datetime.fromisoformat(told) if told else self.demo.as_of
        except ValueError:
            self._send(Answer(400, b'{"error":"X-Demo-As-Of: expected an ISO 8601 time"}'))
            return
        asked = Asked(
            method=method,
            path="/" + path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers=headers,
            body=body,
            origin=f"http://{headers.get('host', '127.0.0.1')}",
            prefix="/" + prefix,
            as_of=ms_of(as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)),
        )
        if fault is not None and fault.kind in ("status", "ok_with_error"):
            answer = _faulty(fault, prefix)
        else:
            answer = self.systems.answer(asked)
        self._send(answer, is_cut=fault is not None and fault.kind == "truncated")

    def _send(self, answer: Answer, *, is_cut: bool = False) -> None:
        """Write the response; cut: only half its body under its full length, then the connection closes."""
        sent = answer.body[: len(answer.body) // 2] if is_cut else answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.close_connection = self.close_connection or is_cut
        self.end_headers()
        self.wfile.write(sent)


def _faulty(fault: Fault, vendor: str) -> Answer:
    """An error body in the vendor's shape, under the fault's status or under 200."""
    status = 200 if fault.kind == "ok_with_error" else fault.status
    limited = fault.status == 429 or fault.kind == "ok_with_error"
    if vendor == "hubspot":
        body: Any = {
            "status": "error",
            "message": "You have reached your secondly limit." if limited else "internal error",
            "category": "RATE_LIMITS" if limited else "INTERNAL_ERROR",
            "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
        }
    elif vendor == "klaviyo":
        body = _klaviyo_error(fault.status, "throttled" if limited else "server_error", "Request was throttled.")
    elif vendor == "shopify":
        body = {"errors": "Exceeded 2 calls per second for api client." if limited else "Internal Server Error"}
    elif vendor == "meta":
        code = (17, "User request limit reached") if limited else (2, "An unexpected error has occurred.")
        body = _meta_error(code[0], code[1], "OAuthException")
    else:
        body = {"error": "Too many requests" if limited else "Internal Server Error"}
    headers = (("Retry-After", fault.retry_after),) if fault.retry_after else ()
    return Answer(status, msgspec.json.encode(body), headers)


class Vendors:
    """All systems of one company. Answers are pure functions of the request; lists as of a moment are kept."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._lock = threading.Lock()
        self._lists: dict[tuple[str, str, int, bool], Answerable] = {}
        self._systems: dict[str, Callable[[Asked], Answer]] = {
            "/hubspot": self._hubspot,
            "/klaviyo": self._klaviyo,
            "/shopify": self._shopify,
            "/mastodon": self._mastodon,
            "/meta": self._meta,
        }

    def answer(self, asked: Asked) -> Answer:
        """The vendor's answer, errors included; never raises."""
        system = self._systems.get(asked.prefix)
        if system is None:
            return Answer(404, b'{"error":"no such system; expected /hubspot, /klaviyo, /mastodon, /meta, /shopify"}')
        try:
            return system(asked)
        except Refusal as refusal:
            return refusal.answer

    def listed(self, source: str, stream: str, as_of: int, *, archived: bool = False) -> Answerable:
        """The stream's records as of a moment; the last few lists are kept."""
        versions = self._company.records[source, stream]
        last = self._last_change(source, stream)
        key = (source, stream, min(as_of, last + 1), archived)
        with self._lock:
            if key not in self._lists:
                if len(self._lists) > 64:
                    self._lists.pop(next(iter(self._lists)))
                self._lists[key] = answerable(versions, as_of, archived=archived)
            return self._lists[key]

    @lru_cache(maxsize=64)  # noqa: B019 - one Vendors a server, gone with it
    def _last_change(self, source: str, stream: str) -> int:
        return max((version.at for version in self._company.records[source, stream]), default=0)

    # --- HubSpot ------------------------------------------------------------------------------------------------------

    def _hubspot(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {token_of('hubspot')}":
            raise _hubspot_refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        found = _HUBSPOT_ROUTE.fullmatch(asked.path.rstrip("/"))
        if found is None or (asked.method == "GET") != (found["action"] is None and found["batch"] is None):
            raise _hubspot_refusal(404, "OBJECT_NOT_FOUND", "resource not found")
        if found["batch"]:
            return Answer(200, b'{"status":"COMPLETE","results":[]}')
        if found["action"]:
            return self._hubspot_search(asked, found["kind"])
        return self._hubspot_list(asked, found["kind"])

    def _hubspot_known(self, kind: str, as_of: int, *, archived: bool = False) -> Answerable:
        """Of contacts what is there; companies and deals the company keeps none."""
        if kind != "contacts":
            return Answerable((), (), (), ())
        return self.listed("hubspot", "contacts", as_of, archived=archived)

    def _hubspot_search(self, asked: Asked, kind: str) -> Answer:
        try:
            request = msgspec.json.decode(asked.body, type=_Search)
        except msgspec.ValidationError as error:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", f"Invalid input JSON: {error}") from None
        except msgspec.DecodeError:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "Invalid input JSON") from None
        if not 0 < request.limit <= 200:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "limit must be between 1 and 200")
        if request.after and not request.after.isdigit():
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "after must be a number")
        first = int(request.after or 0)
        if first + request.limit > _HUBSPOT_CAP:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "The maximum number of results is 10000.")
        held = self._hubspot_known(kind, asked.as_of)
        found = _hubspot_matches(held, request)
        page = found[first : first + request.limit]
        results = [_with_properties(held.payloads[place], request.properties) for place in page]
        body: dict[str, Any] = {"total": len(found), "results": results}
        if first + request.limit < len(found):
            body["paging"] = {"next": {"after": str(first + request.limit)}}
        return Answer(200, msgspec.json.encode(body))

    def _hubspot_list(self, asked: Asked, kind: str) -> Answer:
        query = asked.query
        limit = query.get("limit", "10")
        if not limit.isdigit() or not 0 < int(limit) <= 100:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "limit must be between 1 and 100")
        archived = query.get("archived", "false")
        if archived not in ("true", "false"):
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "archived must be true or false")
        after = query.get("after", "0")
        if not after.isdigit():
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "after must be a number")
        held = self._hubspot_known(kind, asked.as_of, archived=archived == "true")
        order = sorted(range(len(held.ids)), key=lambda place: int(held.ids[place]))
        rest = [place for place in order if int(held.ids[place]) > int(after)]
        page = rest[: int(limit)]
        wanted = [name for name in query.get("properties", "").split(",") if name]
        body: dict[str, Any] = {"results": [_with_properties(held.payloads[place], wanted) for place in page]}
        if len(rest) > len(page):
            last = held.ids[page[-1]]
            link = f"https://api.hubapi.com{asked.path}?{urlencode({**query, 'after': last})}"
            body["paging"] = {"next": {"after": last, "link": link}}
        return Answer(200, msgspec.json.encode(body))

    # --- Klaviyo ------------------------------------------------------------------------------------------------------

    def _klaviyo(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Klaviyo-API-Key {token_of('klaviyo')}":
            raise Refusal(401, _klaviyo_error(401, "not_authenticated", "Missing or invalid private key."))
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(\.\w+)?", asked.headers.get("revision", "")):
            raise Refusal(400, _klaviyo_error(400, "invalid", "A valid revision header is required."))
        route = asked.path.rstrip("/")
        if asked.method != "GET" or route not in ("/api/events", "/api/profiles", "/api/campaigns", "/api/metrics"):
            raise Refusal(404, _klaviyo_error(404, "not_found", "A resource was not found."))
        if route == "/api/metrics":
            return Answer(200, msgspec.json.encode(_klaviyo_metrics()), content_type="application/vnd.api+json")
        return self._klaviyo_page(asked, route.rpartition("/")[2])

    def _klaviyo_page(self, asked: Asked, stream: str) -> Answer:
        sizes = {"events": (200, 1000), "profiles": (20, 100), "campaigns": (100, 100)}
        default, most = sizes[stream]
        size = asked.query.get("page[size]", str(default))
        if not size.isdigit() or not 1 <= int(size) <= most:
            raise Refusal(400, _klaviyo_error(400, "invalid", f"Page size must be an integer between 1 and {most}."))
        field_name = {"events": ("datetime", "timestamp"), "profiles": ("updated",), "campaigns": ("updated_at",)}[
            stream
        ]
        start, end = _klaviyo_bounds(asked.query.get("filter", ""), stream, field_name)
        held = self.listed("klaviyo", stream, asked.as_of)
        places: Iterable[int] = held.between(start, end)
        ordered = list(places)
        if asked.query.get("sort", "").startswith("-") or ("sort" not in asked.query and stream == "events"):
            ordered.reverse()  # events come newest first unless asked otherwise
        try:
            first = int(base64.urlsafe_b64decode(asked.query.get("page[cursor]", "") or "MA==").decode())
        except ValueError:
            raise Refusal(400, _klaviyo_error(400, "invalid", "The cursor is invalid.")) from None
        page = ordered[first : first + int(size)]
        here = f"{asked.origin}{asked.prefix}{asked.path}"
        links: dict[str, str | None] = {"self": f"{here}?{urlencode(asked.query)}"}
        if first + int(size) < len(ordered):
            cursor = base64.urlsafe_b64encode(str(first + int(size)).encode()).decode()
            links["next"] = f"{here}?{urlencode({**asked.query, 'page[cursor]': cursor})}"
        body = (
            b'{"data":[' + b",".join(held.encoded[place] for place in page) + b'],"links":' + json.dumps(links).encode()
        )
        if "metric" in asked.query.get("include", "").split(","):
            body += b',"included":' + msgspec.json.encode(_klaviyo_metrics()["data"])
        return Answer(200, body + b"}", content_type="application/vnd.api+json")

    # --- Shopify ------------------------------------------------------------------------------------------------------

    def _shopify(self, asked: Asked) -> Answer:
        if asked.method == "GET" and (file := re.fullmatch(r"/bulk/(\d+)\.jsonl", asked.path)):
            # The address alone opens it, as a signed one does.
            return Answer(200, b"".join(self._bulk(file[1])), content_type="application/jsonl")
        if asked.headers.get("x-shopify-access-token") != token_of("shopify"):
            raise Refusal(
                401, {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
            )
        if asked.method == "POST" and re.fullmatch(r"/admin/api/\d{4}-\d\d/graphql\.json", asked.path):
            return self._shopify_graphql(asked)
        found = re.fullmatch(r"/admin/api/\d{4}-\d\d/(orders|products|customers|events)\.json", asked.path)
        if asked.method != "GET" or found is None:
            raise Refusal(404, {"errors": "Not Found"})
        stream = found[1]
        if stream == "events":
            return Answer(200, b'{"events":[]}')  # this shop destroys nothing
        query = dict(asked.query)
        token = query.pop("page_info", None)
        if token is not None:
            if set(query) - {"limit", "fields"}:
                raise Refusal(
                    400, {"errors": {"page_info": "Invalid value. Only limit and fields may stand beside it."}}
                )
            try:
                start, end, first, status = json.loads(base64.urlsafe_b64decode(token))
            except ValueError:
                raise Refusal(400, {"errors": {"page_info": "Invalid value."}}) from None
        else:
            start, end = _shopify_time(query, "updated_at_min", 0), _shopify_time(query, "updated_at_max", _FOREVER)
            first, status = 0, query.get("status", "open")
        limit = query.get("limit", "50")
        if not limit.isdigit() or not 1 <= int(limit) <= 250:
            raise Refusal(400, {"errors": {"limit": "must be between 1 and 250"}})
        held = self.listed("shopify", stream, asked.as_of)
        places = held.between(start, end + 1)  # both ends count: the vendor compares with >= and <=
        ordered = list(places)
        if stream == "orders" and status != "any":  # without status=any the vendor hides what is closed or cancelled
            wanted = {"open": False, "cancelled": True}.get(status)
            ordered = [place for place in ordered if (held.payloads[place]["cancelled_at"] is not None) is wanted]
        size = int(limit)
        page = ordered[first : first + size]
        body = f'{{"{stream}":['.encode() + b",".join(held.encoded[place] for place in page) + b"]}"
        links = []
        for name, at in (("previous", first - size), ("next", first + size)):
            if (name == "next" and at < len(ordered)) or (name == "previous" and first > 0):
                info = base64.urlsafe_b64encode(json.dumps([start, end, max(at, 0), status]).encode()).decode()
                there = f"{asked.origin}{asked.prefix}{asked.path}?limit={size}&page_info={info}"
                links.append(f'<{there}>; rel="{name}"')
        headers = [("X-Shopify-Shop-Api-Call-Limit", "1/40"), ("X-Shopify-API-Version", asked.path.split("/")[3])]
        if links:
            headers.append(("Link", ", ".join(links)))
        return Answer(200, body, tuple(headers))

    def _shopify_graphql(self, asked: Asked) -> Answer:
        """A bulk operation is run and, pure function that it is, complete when it is first looked at."""
        try:
            request = msgspec.json.decode(asked.body, type=_GraphQL)
        except msgspec.DecodeError:
            raise Refusal(400, {"errors": {"query": "Required parameter missing or invalid"}}) from None
        if "bulkOperationRunQuery" in request.query:
            told: dict[str, Any] = {"bulkOperationRunQuery": self._shopify_run(asked, request.variables["query"])}
        else:
            told = {"node": self._shopify_operation(asked, request.variables["id"])}
        return Answer(200, msgspec.json.encode({"data": told}))

    def _shopify_run(self, asked: Asked, query: str) -> dict[str, Any]:
        found = _BULK.match(query)
        if found is None:
            error = {"field": ["query"], "message": "Invalid bulk query.", "code": "INVALID"}
            return {"bulkOperation": None, "userErrors": [error]}
        start, end = (ms_of(_aware(found[name])) for name in ("start", "end"))
        number = int.from_bytes(f"{found['things']},{start},{end},{asked.as_of}".encode())
        return {"bulkOperation": {"id": f"{_OPERATION}{number}", "status": "CREATED"}, "userErrors": []}

    def _shopify_operation(self, asked: Asked, ident: str) -> dict[str, Any] | None:
        number = ident.removeprefix(_OPERATION)
        if not number.isdigit():
            return None
        lines = self._bulk(number)
        url = f"{asked.origin}{asked.prefix}/bulk/{number}.jsonl" if lines else None
        size = str(sum(map(len, lines))) if lines else None
        return {"id": ident, "status": "COMPLETED", "errorCode": None, "objectCount": str(len(lines)),
                "fileSize": size, "url": url, "partialDataUrl": None}  # fmt: skip

    @lru_cache(maxsize=4)  # noqa: B019 - one Vendors a server, gone with it
    def _bulk(self, number: str) -> tuple[bytes, ...]:
        """The lines of an operation's file: its number says what was asked for."""
        digits = int(number)
        try:
            things, start, end, as_of = digits.to_bytes((digits.bit_length() + 7) // 8).decode().split(",")
            held = self.listed("shopify", things, int(as_of))
            places = held.between(int(start), int(end))
        except (ValueError, KeyError):
            raise Refusal(404, {"errors": "Not Found"}) from None
        return tuple(
            msgspec.json.encode(one) + b"\n" for place in places for one in OBJECTS[things](held.payloads[place])
        )

    # --- Mastodon -----------------------------------------------------------------------------------------------------

    def _mastodon(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {token_of('mastodon')}":
            raise Refusal(401, {"error": "The access token is invalid"})
        found = re.fullmatch(r"/api/v1/timelines/tag/(\w+)", asked.path)
        if asked.method != "GET" or found is None:
            raise Refusal(404, {"error": "Record not found"})
        limits = (("X-RateLimit-Limit", "300"), ("X-RateLimit-Remaining", "299"),
                  ("X-RateLimit-Reset", "2099-01-01T00:00:00.000000Z"))  # fmt: skip
        asked_for = asked.query.get("limit", "20")
        size = min(int(asked_for), 40) if asked_for.isdigit() and int(asked_for) else 20
        held = self.listed("mastodon", "statuses", asked.as_of)
        if found[1].lower() != HASHTAG or asked.query.get("local") in ("true", "1"):
            return Answer(200, b"[]", limits)  # an unknown tag is empty, and nobody here is local
        low, high = 0, len(held.ids)
        if asked.query.get("max_id", "").isdigit():
            high = _first_at_or_above(held.ids, int(asked.query["max_id"]))
        for name in ("since_id", "min_id"):
            if asked.query.get(name, "").isdigit():
                low = max(low, _first_at_or_above(held.ids, int(asked.query[name]) + 1))
        low, high = (low, min(high, low + size)) if "min_id" in asked.query else (max(low, high - size), high)
        page = range(high - 1, low - 1, -1)
        body = b"[" + b",".join(held.encoded[place] for place in page) + b"]"
        if not page:
            return Answer(200, body, limits)
        here = f"{asked.origin}{asked.prefix}{asked.path}"
        kept = {name: value for name, value in asked.query.items() if name not in ("max_id", "min_id", "since_id")}
        older = f'<{here}?{urlencode({**kept, "max_id": held.ids[page[-1]]})}>; rel="next"'
        newer = f'<{here}?{urlencode({**kept, "min_id": held.ids[page[0]]})}>; rel="prev"'
        # A page that is not full is the last: the server then leaves `next` out.
        link = f"{older}, {newer}" if len(page) == size else newer
        return Answer(200, body, (*limits, ("Link", link)))

    # --- Meta ---------------------------------------------------------------------------------------------------------

    def _meta(self, asked: Asked) -> Answer:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ") or asked.query.get("access_token", "")
        if token != token_of("meta_ads"):
            error = _meta_error(190, "Invalid OAuth access token - Cannot parse access token", "OAuthException")
            raise Refusal(401, error, (("WWW-Authenticate", 'OAuth "Facebook Platform" "invalid_token"'),))
        found = re.fullmatch(r"/v\d+\.\d/act_(\w+)/(insights|campaigns)", asked.path)
        if asked.method != "GET" or found is None or found[1] != META_ACCOUNT:
            message = "Unsupported get request. Object does not exist or cannot be loaded due to missing permissions."
            raise Refusal(400, _meta_error(100, message, "GraphMethodException"))
        if found[2] == "campaigns":
            return Answer(200, msgspec.json.encode({"data": self._meta_campaigns()}))
        since, until = _meta_range(asked.query.get("time_range", ""))
        for name, wanted in (("level", "ad"), ("time_increment", "1")):
            if asked.query.get(name) != wanted:
                raise Refusal(400, _meta_error(100, f"(#100) Param {name} must be {wanted} here", "OAuthException"))
        limit = asked.query.get("limit", "25")
        if not limit.isdigit() or not int(limit):
            raise Refusal(400, _meta_error(100, "(#100) Param limit must be a positive integer", "OAuthException"))
        rows = self._insights(since, until, asked.as_of)
        fields = [name for name in asked.query.get("fields", "impressions,spend").split(",") if name]
        try:
            first = int(base64.urlsafe_b64decode(asked.query.get("after", "") or "MA==").decode())
        except ValueError:
            raise Refusal(400, _meta_error(100, "(#100) Invalid cursor", "OAuthException")) from None
        last = first + int(limit)
        kept = (*fields, "date_start", "date_stop")
        body: dict[str, Any] = {"data": [{name: row[name] for name in kept if name in row} for row in rows[first:last]]}
        if body["data"]:
            cursors = {"before": _cursor(first), "after": _cursor(min(last, len(rows)))}
            body["paging"] = {"cursors": cursors}
            if last < len(rows):
                query = {**asked.query, "after": cursors["after"]}
                body["paging"]["next"] = f"{asked.origin}{asked.prefix}{asked.path}?{urlencode(query)}"
        usage = json.dumps({"acc_id_util_pct": 1.0, "reset_time_duration": 0, "ads_api_access_tier": "standard_access"})
        return Answer(200, msgspec.json.encode(body), (("X-Ad-Account-Usage", usage),))

    def _meta_campaigns(self) -> list[dict[str, Any]]:
        """The campaigns the insights name, in one page: they are few."""
        runs: dict[str, dict[str, Any]] = {}
        for day in sorted(self._company.insights):
            for row in self._company.insights[day][-1]:
                campaign = runs.setdefault(
                    row["campaign_id"],
                    {
                        "id": row["campaign_id"],
                        "name": row["campaign_name"],
                        "objective": "OUTCOME_SALES",
                        "status": "ACTIVE",
                        "effective_status": "ACTIVE",
                        "start_time": f"{day}T00:00:00+0000",
                    },
                )
                campaign["stop_time"] = f"{day}T23:59:59+0000"
        return [runs[number] for number in sorted(runs)]

    def _insights(self, since: date, until: date, as_of: int) -> list[dict[str, Any]]:
        """Rows of the days, each at the age it has at `as_of`; a day not begun has none."""
        rows: list[dict[str, Any]] = []
        now = datetime.fromtimestamp(as_of / 1000, UTC).date()
        for day in sorted(self._company.insights):
            if since <= day <= until and day < now:
                age = min((now - day - timedelta(days=1)).days, RESTATED_DAYS)
                rows.extend(self._company.insights[day][age])
        return rows


_OPERATION = "gid://shopify/BulkOperation/"
_BULK = re.compile(
    r"""\{ (?P<things>orders|customers|products)\(query: "updated_at:>='(?P<start>[^']+)' AND """
    r"""updated_at:<'(?P<end>[^']+)'"\) \{ edges \{ node \{"""
)


class _GraphQL(msgspec.Struct):
    query: str
    variables: dict[str, str]


class _Filter(msgspec.Struct):
    propertyName: str  # noqa: N815 - HubSpot's spelling
    operator: str
    value: str = ""


class _FilterGroup(msgspec.Struct):
    filters: list[_Filter]


class _Search(msgspec.Struct):
    filterGroups: list[_FilterGroup]  # noqa: N815 - HubSpot's spelling
    properties: list[str] = []
    sorts: list[Any] = []
    limit: int = 10
    after: str = ""


_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "GT": lambda left, right: left > right,
    "GTE": lambda left, right: left >= right,
    "LT": lambda left, right: left < right,
    "LTE": lambda left, right: left <= right,
    "EQ": lambda left, right: left == right,
    "NEQ": lambda left, right: left != right,
}


def _hubspot_matches(held: Answerable, request: _Search) -> list[int]:
    """Positions that meet any group of filters, sorted as asked: by id or by the time of change."""
    if len(request.filterGroups) > 5:
        raise _hubspot_refusal(400, "VALIDATION_ERROR", "too many filterGroups")
    groups = [[_hubspot_test(one) for one in group.filters] for group in request.filterGroups]
    found = [
        place
        for place in range(len(held.ids))
        if not groups or any(all(test(held, place) for test in tests) for tests in groups)
    ]
    for sort in request.sorts[:1]:
        name, descending = (
            (sort, False) if isinstance(sort, str) else (sort["propertyName"], sort.get("direction") == "DESCENDING")
        )
        name, descending = (name[1:], True) if name.startswith("-") else (name, descending)
        if name == "hs_object_id":
            found.sort(key=lambda place: int(held.ids[place]), reverse=descending)
        elif name in ("lastmodifieddate", "hs_lastmodifieddate"):
            found.sort(key=lambda place: held.times[place], reverse=descending)
        else:
            raise _hubspot_refusal(400, "VALIDATION_ERROR", "cannot sort by that property here")
    return found


def _hubspot_test(one: _Filter) -> Callable[[Answerable, int], bool]:
    """The test of a record at its place. Values are epoch milliseconds, ISO times, or ids."""
    if one.operator == "HAS_PROPERTY":
        return lambda held, place: bool(held.payloads[place]["properties"].get(one.propertyName))
    compare = _OPERATORS.get(one.operator)
    if compare is None or one.propertyName not in ("lastmodifieddate", "hs_lastmodifieddate", "hs_object_id"):
        raise _hubspot_refusal(400, "VALIDATION_ERROR", f"There was a problem with the request: {one.operator}")
    try:
        wanted = int(one.value) if one.value.isdigit() else ms_of(datetime.fromisoformat(one.value))
    except (ValueError, TypeError):
        raise _hubspot_refusal(
            400, "VALIDATION_ERROR", "the filter's value is neither milliseconds nor a time"
        ) from None
    if one.propertyName == "hs_object_id":
        return lambda held, place: compare(int(held.ids[place]), wanted)
    return lambda held, place: compare(held.times[place], wanted)


def _with_properties(payload: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """The record with only the asked-for properties, those always sent, and nothing for what is empty."""
    names = {*(wanted or _HUBSPOT_DEFAULTS), *_HUBSPOT_ALWAYS}
    return {**payload, "properties": {name: value for name, value in payload["properties"].items() if name in names}}


def _hubspot_refusal(status: int, category: str, message: str) -> Refusal:
    return Refusal(
        status,
        {
            "status": "error",
            "message": message,
            "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
            "category": category,
        },
    )


def _klaviyo_error(status: int, code: str, detail: str) -> dict[str, Any]:
    error = {
        "id": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
        "status": status,
        "code": code,
        "title": detail,
        "detail": detail,
    }
    return {"errors": [{**error, "source": {"pointer": "/data/", "parameter": ""}, "meta": {}, "links": {}}]}


def _klaviyo_metrics() -> dict[str, Any]:
    data = [
        {
            "type": "metric",
            "id": ident,
            "attributes": {
                "name": name,
                "created": "2024-01-01T00:00:00+00:00",
                "updated": "2024-01-01T00:00:00+00:00",
                "integration": {"object": "integration", "name": "Klaviyo", "category": "Internal"},
            },
            "links": {"self": f"{KLAVIYO}/metrics/{ident}/"},
        }
        for ident, name in METRICS.values()
    ]
    return {"data": data, "links": {"self": f"{KLAVIYO}/metrics/"}}


_TERM = re.compile(r"([a-z-]+)\(([a-z_.]+),([^)]*)\)")


def _klaviyo_bounds(text: str, stream: str, fields: tuple[str, ...]) -> tuple[int, int]:
    """[start, end) in ms from Klaviyo's filter syntax, with only the operators each endpoint knows."""
    start, end = 0, _FOREVER
    if stream == "campaigns" and "messages.channel" not in text:
        raise Refusal(400, _klaviyo_error(400, "invalid", "A channel filter is required to list campaigns."))
    rest = text
    for operator, name, value in _TERM.findall(text):
        rest = rest.replace(f"{operator}({name},{value})", "", 1)
        if name == "messages.channel" and operator == "equals":
            if value.strip("'\"") != "email":
                end = 0
            continue
        exclusive, inclusive = ("greater-than", "less-than"), ("greater-or-equal", "less-or-equal")
        known = exclusive if stream == "profiles" else exclusive + inclusive
        if name not in fields or operator not in known:
            raise Refusal(
                400, _klaviyo_error(400, "invalid_filter", f"'{operator}' is not an allowed operator for '{name}'.")
            )
        try:
            moment = int(value) * 1000 if name == "timestamp" else ms_of(_aware(value))
        except ValueError:
            raise Refusal(400, _klaviyo_error(400, "invalid_filter", "The filter's value is not a time.")) from None
        # Times here are whole seconds or milliseconds: one millisecond makes an exclusive end inclusive.
        if operator in ("greater-or-equal", "greater-than"):
            start = max(start, moment + (operator == "greater-than"))
        else:
            end = min(end, moment + (operator == "less-or-equal"))
    if not re.fullmatch(r"(and\([, ]*\))?[, ]*", rest):
        raise Refusal(400, _klaviyo_error(400, "invalid_filter", "The filter could not be parsed."))
    return start, end


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip("'\"").replace(" ", "+"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shopify_time(query: Mapping[str, str], name: str, default: int) -> int:
    if name not in query:
        return default
    try:
        return ms_of(_aware(query[name]))
    except ValueError:
        raise Refusal(400, {"errors": {name: "expected a date"}}) from None


def _first_at_or_above(ids: tuple[str, ...], wanted: int) -> int:
    """Position of the first id >= wanted; ids are snowflakes in rising order."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if int(ids[middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _meta_error(code: int, message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "fbtrace_id": "A0demo00000000000000000"}}


def _meta_range(text: str) -> tuple[date, date]:
    try:
        asked = json.loads(text)
        return date.fromisoformat(asked["since"]), date.fromisoformat(asked["until"])
    except (ValueError, KeyError, TypeError):
        message = '(#100) Param time_range must be {"since":"YYYY-MM-DD","until":"YYYY-MM-DD"}'
        raise Refusal(400, _meta_error(100, message, "OAuthException")) from None


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode()
