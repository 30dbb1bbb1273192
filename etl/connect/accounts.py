"""What one account allows, shared by all clients of this process: its rhythm, its places, its kept connections."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import httpx

from etl.model import Limits

#: How long an account that could not be reached counts as lost.
LOST_FOR = timedelta(minutes=2)


class Account:
    """One account of one source. Safe to use from threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(max(1, limits.concurrency))
        self._asked: deque[float] = deque(maxlen=max(1, limits.requests))
        self._transport: httpx.BaseTransport | None = None
        self._lost: datetime | None = None

    @contextmanager
    def place(self, now: Callable[[], datetime], sleep: Callable[[float], None]) -> Iterator[None]:
        """A place among `concurrency`, taken when at most `requests` have been asked in any `seconds`."""
        with self._places:
            wait = self._wait(now().timestamp())
            if wait > 0:
                sleep(wait)
            yield

    def _wait(self, now: float) -> float:
        """Seconds until the next request may go; it is counted as asked then."""
        with self._lock:
            full = len(self._asked) == self._asked.maxlen
            at = max(now, self._asked[0] + self._limits.seconds) if full else now
            self._asked.append(at)
            return at - now

    def is_lost(self, now: datetime) -> bool:
        """True when nothing answered a moment ago: the next stream tries once, not through every pause again."""
        with self._lock:
            return self._lost is not None and now - self._lost < LOST_FOR

    def lose(self, now: datetime) -> None:
        """Nothing answered, however often it was asked."""
        with self._lock:
            self._lost = now

    def find(self) -> None:
        """It answered."""
        with self._lock:
            self._lost = None

    def transport(self, make: Callable[[], httpx.BaseTransport]) -> httpx.BaseTransport:
        """The connections to this account, made once and kept while the process lives."""
        with self._lock:
            self._transport = self._transport or make()
            return self._transport

    def close(self) -> None:
        """Let the kept connections go."""
        with self._lock:
            kept, self._transport = self._transport, None
        if kept:
            kept.close()


class Accounts:
    """The accounts this process knows, by whose time they keep: tests bring a time, and so accounts, of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[object, dict[tuple[object, ...], Account]] = WeakKeyDictionary()

    def of(self, rhythm: object, limits: Limits, *key: object) -> Account:
        """The account of this key."""
        with self._lock:
            return self._known.setdefault(rhythm, {}).setdefault((limits, *key), Account(limits))

    def close(self) -> None:
        """Let all kept connections go."""
        with self._lock:
            for account in [account for known in self._known.values() for account in known.values()]:
                account.close()


ACCOUNTS = Accounts()
atexit.register(ACCOUNTS.close)
