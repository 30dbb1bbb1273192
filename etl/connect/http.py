"""A client of one source: let in, spaced with all of its account, passing trouble tried again, bodies bounded."""

from __future__ import annotations

import functools
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import tenacity

from etl.connect.accounts import ACCOUNTS, Account
from etl.connect.addresses import Connections, Guard
from etl.connect.auth import Credentials
from etl.connect.body import DEEPEST, is_too_deep, records_in
from etl.connect.page import Connection
from etl.connect.paging import Request
from etl.connect.verdicts import Answer, Means, Verdict, masked, verdict_of
from etl.errors import DeclarationError, QuotaExhausted, SourceError, SourceRefused, SourceUnreachable
from etl.model import Auth, Limits

TRIES = 6
#: Longer than this, and the slot is given back: QuotaExhausted(until).
LONGEST_WAIT_SECONDS = 300.0
REDIRECTS = 5
#: Above this many bytes, an answer that unpacks to so many times its size is no answer but an attack.
PACKED_BYTES, PACKED_RATIO = 1_000_000, 200
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=30.0)


def utc_now() -> datetime:
    """The time, where no other clock was given."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Rhythm:
    """Time as the clients of an account know it; tests give their own."""

    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


WALL = Rhythm()


class _PassingError(Exception):
    """Trouble that may pass; never leaves this module."""

    def __init__(self, why: str, wait: float | None, *, is_unreachable: bool = False, is_quota: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.is_unreachable = is_unreachable
        self.is_quota = is_quota


class TooMuchError(SourceError):
    """The answer would be too large: whoever knows the window asks for a shorter one, or this is the last word."""


class GoneError(SourceRefused):
    """What was asked for is gone or not ours to see; `told` is the answer. A protocol of its own walks on."""

    def __init__(self, message: str, told: tuple[bytes, dict[str, str]]) -> None:
        super().__init__(message)
        self.told = told


class HttpClient:
    """Asks one source; `where` names it in messages. Make it with `open_client`."""

    def __init__(
        self,
        client: httpx.Client,
        connection: Connection,
        credentials: Credentials,
        account: Account,
        limits: Limits,
        dialect: str,
        where: str,
        rhythm: Rhythm,
        files_from: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._connection = connection
        self._credentials = credentials
        self._limits = limits
        self._dialect = dialect
        self._where = where
        self._rhythm = rhythm
        self._account = account
        self._files_from = frozenset(("https", host, 443) for host in files_from)

    def ask(self, request: Request, records_path: str | None) -> tuple[list[bytes], bytes, dict[str, str]]:
        """The records of the answer, its body and its headers (lower-case names). No path: any good answer will do.

        Raises: SourceUnreachable, SourceRefused, QuotaExhausted (long waits), TooMuchError, GoneError, SourceError.
        """
        tries = 1 if self._account.is_lost(self._rhythm.now()) else TRIES
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_PassingError),
            sleep=self._rhythm.sleep,
            reraise=True,
        )
        try:
            told = retrying(self._ask_once, request, records_path)
        except _PassingError as trouble:
            if trouble.is_quota:
                raise self._quota(request, str(trouble), trouble.wait or 60.0) from None
            if trouble.is_unreachable:
                self._account.lose(self._rhythm.now())
            kind = SourceUnreachable if trouble.is_unreachable else SourceError
            raise kind(
                f"{self._where}: no good answer from {self._host(request.url)} in {tries} "
                f"{'try' if tries == 1 else 'tries'} ({trouble}); nothing was written; look at the source, then run "
                "the window again"
            ) from None
        self._account.find()
        return told

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """As long as the source says, and a little; else doubling from half a second, with full jitter."""
        error = state.outcome.exception() if state.outcome else None
        said = error.wait if isinstance(error, _PassingError) else None
        if said is not None:
            return said + self._rhythm.jitter() * min(1.0, 0.1 + said * 0.1)
        return min(30.0, 0.5 * 2.0 ** (state.attempt_number - 1)) * (0.5 + 0.5 * self._rhythm.jitter())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._rhythm.sleep(seconds)

    def _ask_once(self, request: Request, records_path: str | None) -> tuple[list[bytes], bytes, dict[str, str]]:
        verdict, status, told = self._judged(request, records_path)
        if verdict.means is Means.REAUTH and self._credentials.forget():
            # Tokens are withdrawn before their time; a second no to a new one is meant.
            verdict, status, told = self._judged(request, records_path)
        if verdict.means is Means.OK:
            return told
        if verdict.means is Means.SKIP:
            raise GoneError(
                f"{self._where}: {self._host(request.url)} has no {urlsplit(request.url).path} for us (HTTP {status}: "
                f"{self._plain(verdict.why) or 'no reason given'}); check account and the rights of the secret",
                told[1:],
            )
        raise self._trouble(verdict, status, request)

    def _judged(
        self, request: Request, records_path: str | None
    ) -> tuple[Verdict, int, tuple[list[bytes], bytes, dict[str, str]]]:
        """One exchange and what it means."""
        self._renew()
        with self._account.place(self._rhythm.now, self._rhythm.sleep):
            status, headers, body = self._patiently(lambda: self._send(request))
        if is_too_deep(body):
            raise SourceError(
                f"{self._where}: an answer of {self._host(request.url)} is nested more than {DEEPEST} levels deep; "
                "nothing was written; look at the source"
            )
        records = records_in(body, records_path) if records_path is not None and 200 <= status < 300 else None
        answer = Answer(status, headers, body, None if records_path is None else records is not None)
        verdict = verdict_of(answer, self._dialect, now=self._rhythm.now())
        return verdict, status, (records or [], body, headers)

    def _patiently(self, send: Callable[[], tuple[int, dict[str, str], bytes]]) -> tuple[int, dict[str, str], bytes]:
        """An exchange whose trouble on the way may pass."""
        try:
            return send()
        except httpx.TimeoutException:
            raise _PassingError("it took too long", None, is_unreachable=True) from None
        except httpx.TransportError as error:
            raise _PassingError(self._plain(str(error)) or type(error).__name__, None, is_unreachable=True) from None

    def _renew(self) -> None:
        """An access token that is good for this request, where the source wants one."""
        now = self._rhythm.now()
        if not self._credentials.must_renew(now):
            return
        url = self._credentials.token_url
        if urlsplit(url).scheme not in {"http", "https"}:
            raise SourceRefused(f"{self._where}: no address to ask for access tokens; set token_url")
        with self._credentials.alone():
            grant = self._credentials.grant(now)
            status, headers, body = self._patiently(lambda: self._exchange("POST", url, form=grant))
            verdict = verdict_of(Answer(status, headers, body, None), "standard", now=now)
            if status < 300 and verdict.means is Means.OK:
                self._credentials.renewed(body, now)
                return
        if verdict.means in {Means.RETRY, Means.QUOTA}:
            raise self._trouble(verdict, status, Request("POST", url))
        raise SourceRefused(
            f"{self._where}: {self._host(url)} gives no access token (HTTP {status}: "
            f"{self._plain(verdict.why) or 'no reason given'}); authorise again and set the new secret in "
            "C360_SECRET_<SOURCE> or the Airflow connection"
        )

    def _trouble(self, verdict: Verdict, status: int, request: Request) -> Exception:
        why = self._plain(verdict.why) or "no reason given"
        host = self._host(request.url)
        if verdict.means is Means.REAUTH:
            return SourceRefused(
                f"{self._where}: {host} does not take the secret (HTTP {status}: {why}); "
                "set a valid one in C360_SECRET_<SOURCE> or the Airflow connection"
            )
        if verdict.means is Means.SPLIT:
            return TooMuchError(
                f"{self._where}: {host} has too much data for one answer even in the shortest window (HTTP {status}: "
                f"{why}); nothing was written; ask for fewer fields or a narrower account"
            )
        if verdict.means is Means.FATAL:
            kind = SourceRefused if status in {402, 403, 404, 423} else SourceError
            return kind(
                f"{self._where}: {host} answered HTTP {status}: {why}; expected records at "
                f"{urlsplit(request.url).path}; check base_url, account and the rights of the secret"
            )
        wait = verdict.wait
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return self._quota(request, why, wait)
        return _PassingError(f"HTTP {status}: {why}", wait, is_quota=verdict.means is Means.QUOTA)

    def _quota(self, request: Request, why: str, wait: float) -> QuotaExhausted:
        until = self._rhythm.now() + timedelta(seconds=wait)
        return QuotaExhausted(
            f"{self._where}: the quota of {self._host(request.url)} is spent until {until:%Y-%m-%dT%H:%M:%SZ} ({why}); "
            "nothing was written; run the window again then",
            until=until,
        )

    def _send(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """One exchange, redirects within the host followed, and to files it keeps elsewhere."""
        url, method, params, json, form = request.url, request.method, request.params, request.json, request.form
        if self._credentials.form and not self._is_file(method, url):
            if method != "POST" or json is not None:
                raise DeclarationError(f"{self._where}: the secret goes into a form, so the request must POST one")
            form = {**(form or {}), **self._credentials.form}
        for _ in range(REDIRECTS + 1):
            sent = dict(request.headers)
            if not self._is_file(method, url):
                self._same_origin(url)
                sent |= self._credentials.headers
            status, headers, body = self._exchange(method, url, params=params, json=json, form=form, headers=sent)
            if status not in _REDIRECTED or "location" not in headers:
                return status, headers, body
            url, params = urljoin(url, headers["location"]), None
            if status == 303:
                method, json, form = "GET", None, None
        raise SourceError(f"{self._where}: {self._host(request.url)} redirects in circles; check base_url")

    def _exchange(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        with self._client.stream(
            method,
            url,
            params=dict(params) if params else None,
            json=json,
            data=dict(form) if form is not None else None,
            headers=dict(headers or {}),
        ) as response:
            known = {name.lower(): value for name, value in response.headers.items()}
            return response.status_code, known, self._body(response)

    def _body(self, response: httpx.Response) -> bytes:
        """The body, counted as it unpacks, so that a small answer cannot become a huge one unseen."""
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._limits.max_bytes:
                raise SourceError(
                    f"{self._where}: an answer of {self._host(str(response.url))} is larger than "
                    f"{self._limits.max_bytes} bytes unpacked; ask for smaller pages, or raise limits.max_bytes"
                )
            came = response.num_bytes_downloaded  # 0 where nothing was on a line
            if came and size > PACKED_BYTES and size > PACKED_RATIO * came:
                raise SourceError(
                    f"{self._where}: an answer of {self._host(str(response.url))} unpacks to more than {PACKED_RATIO} "
                    "times its size; nothing was written; look at the source"
                )
            parts.append(part)
        return b"".join(parts)

    def _is_file(self, method: str, url: str) -> bool:
        """True for a file the source keeps on another host, which gets no secret."""
        return method == "GET" and _origin(url) in self._files_from

    def _same_origin(self, url: str) -> None:
        """The secret goes to the host it is for, and nowhere else."""
        if _origin(url) != _origin(self._connection.base_url):
            raise SourceRefused(
                f"{self._where}: {self._host(self._connection.base_url)} sends us on to {self._host(url)}; "
                "only its own host is asked; if it moved, change base_url"
            )

    def _plain(self, text: str) -> str:
        return masked(" ".join(text.split()), *self._credentials.words)[:200]

    def _host(self, url: str) -> str:
        return urlsplit(url).netloc.rpartition("@")[2] or "(no host)"


_Origin = tuple[str, str, int | None]


def _origin(url: str) -> _Origin:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities whose certificates count; read once, for they are many."""
    return httpx.create_ssl_context(trust_env=False)


@contextmanager
def open_client(
    connection: Connection,
    *,
    auth: Auth,
    limits: Limits,
    dialect: str,
    where: str,
    headers: dict[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
    rhythm: Rhythm | None = None,
    files_from: Sequence[str] = (),
) -> Iterator[HttpClient]:
    """A client for one source; `where` is `source.stream`. Clients of one account share its limits and connections.
    Files may stand on the hosts `files_from`, which get no secret.

    `transport` is the seam where tests answer instead of a server. Asking raises SourceRefused where the address is a
    private one and the connection does not allow it.

    Raises: SourceRefused when the address is none, or a secret is needed and missing.
    """
    if urlsplit(connection.base_url).scheme not in {"http", "https"}:
        raise SourceRefused(
            f"{where}: base_url must start with http:// or https://; set it in [sources] of the settings"
        )
    credentials = Credentials(auth, connection, where)
    rhythm = rhythm or WALL
    source, allowed = where.partition(".")[0], connection.allow_private
    account = ACCOUNTS.of(rhythm, limits, source, connection.account, connection.base_url, allowed)
    sent = {"Accept": "application/json", "User-Agent": "customer-360-lakehouse", **(headers or {})}
    with httpx.Client(
        headers=sent,
        transport=_Sealed(
            transport or account.transport(lambda: _connections(source, limits, allowed)),
            credentials,
            _origin(connection.base_url),
        ),
        timeout=TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield HttpClient(client, connection, credentials, account, limits, dialect, where, rhythm, files_from)


def _connections(source: str, limits: Limits, allow_private: bool) -> httpx.BaseTransport:
    kept = httpx.Limits(max_connections=None, max_keepalive_connections=limits.concurrency)
    return Connections(_trusted(), kept, None if allow_private else Guard(source))


class _Sealed(httpx.BaseTransport):
    """Adds a secret that goes into the address below the client, whose log and errors name addresses; at the source's
    own `origin` only.

    The connections are the account's, and stay when the client goes.
    """

    def __init__(self, inner: httpx.BaseTransport, credentials: Credentials, origin: _Origin) -> None:
        self._inner = inner
        self._credentials = credentials
        self._origin = origin

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        query = self._credentials.query
        if query and _origin(str(request.url)) == self._origin:
            request = httpx.Request(
                request.method,
                request.url.copy_merge_params(query),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return self._inner.handle_request(request)


class _Masks(logging.Filter):
    """Addresses in httpx's own log lose what looks like a secret; vendors put tokens into their next links."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(masked(str(arg)) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        return True


logging.getLogger("httpx").addFilter(_Masks())
