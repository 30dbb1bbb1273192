"""One client per source account: connections kept, requests spaced, trouble that passes tried again, bodies bounded."""

from __future__ import annotations

import base64
import functools
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import tenacity

from etl.connect.body import records_in
from etl.connect.page import Connection
from etl.connect.paging import Request
from etl.connect.verdicts import Answer, Means, Verdict, masked, verdict_of
from etl.errors import QuotaExhausted, SourceError, SourceRefused, SourceUnreachable
from etl.model import Auth, Limits

TRIES = 6
#: Longer than this, and the slot is given back: QuotaExhausted(until).
LONGEST_WAIT_SECONDS = 300.0
REDIRECTS = 5
TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=30.0)


def utc_now() -> datetime:
    """The time, where no other clock was given."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Time as the client knows it; tests give their own."""

    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class _PassingError(Exception):
    """Trouble that may pass; never leaves this module."""

    def __init__(self, why: str, wait: float | None, *, is_unreachable: bool = False, is_quota: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.is_unreachable = is_unreachable
        self.is_quota = is_quota


class HttpClient:
    """Asks one source; `where` names it in messages. Make it with `open_client`."""

    def __init__(
        self, client: httpx.Client, connection: Connection, limits: Limits, dialect: str, where: str, rhythm: Rhythm
    ) -> None:
        self._client = client
        self._connection = connection
        self._limits = limits
        self._dialect = dialect
        self._where = where
        self._rhythm = rhythm
        self._asked: deque[float] = deque()

    def ask(self, request: Request, records_path: str | None) -> tuple[list[bytes], bytes, dict[str, str]]:
        """The records of the answer, its body and its headers (lower-case names). No path: any good answer will do.

        Raises: SourceUnreachable, SourceRefused, QuotaExhausted (long waits), SourceError.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_PassingError),
            sleep=self._rhythm.sleep,
            reraise=True,
        )
        try:
            return retrying(self._ask_once, request, records_path)
        except _PassingError as trouble:
            if trouble.is_quota:
                raise self._quota(request, str(trouble), trouble.wait or 60.0) from None
            kind = SourceUnreachable if trouble.is_unreachable else SourceError
            raise kind(
                f"{self._where}: no good answer from {self._host(request.url)} in {TRIES} tries ({trouble}); "
                "nothing was written; look at the source, then run the window again"
            ) from None

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
        self._keep_rhythm()
        try:
            status, headers, body = self._send(request)
        except httpx.TimeoutException:
            raise _PassingError("it took too long", None, is_unreachable=True) from None
        except httpx.TransportError as error:
            raise _PassingError(self._plain(str(error)) or type(error).__name__, None, is_unreachable=True) from None
        records = records_in(body, records_path) if records_path is not None and 200 <= status < 300 else None
        answer = Answer(status, headers, body, None if records_path is None else records is not None)
        verdict = verdict_of(answer, self._dialect, now=self._rhythm.now())
        if verdict.means is Means.OK:
            return records or [], body, headers
        raise self._trouble(verdict, status, request)

    def _trouble(self, verdict: Verdict, status: int, request: Request) -> Exception:
        why = self._plain(verdict.why) or "no reason given"
        host = self._host(request.url)
        if verdict.means is Means.REAUTH:
            return SourceRefused(
                f"{self._where}: {host} does not take the secret (HTTP {status}: {why}); "
                "set a valid one in C360_SECRET_<SOURCE> or the Airflow connection"
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
        """One exchange, redirects within the host followed."""
        url, method, params, json, form = request.url, request.method, request.params, request.json, request.form
        for _ in range(REDIRECTS + 1):
            self._same_origin(url)
            with self._client.stream(
                method,
                url,
                params=dict(params) if params else None,
                json=json,
                data=dict(form) if form is not None else None,
                headers=dict(request.headers),
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                if response.is_redirect:
                    url, params = str(response.url.join(headers.get("location", ""))), None
                    if response.status_code == 303:
                        method, json, form = "GET", None, None
                    continue
                return response.status_code, headers, self._body(response)
        raise SourceError(f"{self._where}: {self._host(request.url)} redirects in circles; check base_url")

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
            parts.append(part)
        return b"".join(parts)

    def _same_origin(self, url: str) -> None:
        """The secret goes to the host it is for, and nowhere else."""
        if _origin(url) != _origin(self._connection.base_url):
            raise SourceRefused(
                f"{self._where}: {self._host(self._connection.base_url)} sends us on to {self._host(url)}; "
                "only its own host is asked; if it moved, change base_url"
            )

    def _keep_rhythm(self) -> None:
        """At most `requests` in any `seconds`."""
        now = self._rhythm.now().timestamp()
        while self._asked and self._asked[0] <= now - self._limits.seconds:
            self._asked.popleft()
        if len(self._asked) >= self._limits.requests:
            self._rhythm.sleep(max(0.0, self._asked[0] + self._limits.seconds - now))
            self._asked.popleft()
            now = self._rhythm.now().timestamp()
        self._asked.append(now)

    def _plain(self, text: str) -> str:
        return masked(" ".join(text.split()), self._connection.secret)[:200]

    def _host(self, url: str) -> str:
        return urlsplit(url).netloc.rpartition("@")[2] or "(no host)"


def _origin(url: str) -> tuple[str, str, int | None]:
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
) -> Iterator[HttpClient]:
    """A client for one source; `transport` is the seam where tests answer instead of a server.

    Raises: SourceRefused when the address is none, or a secret is needed and missing.
    """
    if urlsplit(connection.base_url).scheme not in {"http", "https"}:
        raise SourceRefused(
            f"{where}: base_url must start with http:// or https://; set it in [sources] of the settings"
        )
    sent = {"Accept": "application/json", "User-Agent": "customer-360-lakehouse", **(headers or {})}
    sent.update(_authorisation(auth, connection, where))
    with httpx.Client(
        headers=sent,
        timeout=TIMEOUT,
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        verify=_trusted(),
        limits=httpx.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency),
    ) as client:
        yield HttpClient(client, connection, limits, dialect, where, rhythm or Rhythm())


def _authorisation(auth: Auth, connection: Connection, where: str) -> dict[str, str]:
    if auth.scheme == "none":
        return {}
    if not connection.secret:
        raise SourceRefused(f"{where}: no secret; set C360_SECRET_<SOURCE> or the password of its Airflow connection")
    if not connection.secret.isprintable() or not connection.secret.isascii():
        raise SourceRefused(f"{where}: the secret holds characters no header can carry; copy it again")
    if auth.scheme == "form":
        return {}
    if auth.scheme == "basic":
        return {auth.header: "Basic " + base64.b64encode(connection.secret.encode()).decode()}
    prefix = "Bearer " if auth.scheme == "bearer" else auth.prefix
    return {auth.header: prefix + connection.secret}
