"""What a reader is given and what it gives: a `Connection`, and `Page`s of records to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import polars as pl

from etl.model import Window


class Tokens(Protocol):
    """Where the refresh token that a source gave last is kept, so that the next run has it."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else renews meanwhile."""

    def newest(self, configured: str) -> str:
        """The token that counts now; `configured` where none came after it."""

    def keep(self, configured: str, newest: str) -> None:
        """From now on `newest` counts, as long as `configured` stays what it is."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How one source is reached here: an address, a folder or a database URL, and the secret, never shown.

    `allow_private`: its HTTP address may be one of this machine or a private network. `tokens`: without it a refresh
    token that was given anew counts as long as its client lives.
    """

    base_url: str
    secret: str = field(default="", repr=False)
    account: str = "default"
    allow_private: bool = False
    tokens: Tokens | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Note:
    """What makes the answer for a window less than whole, in words without any value."""

    what: str
    of: Window


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer, one batch of a table, one stretch of a file.

    `records` are the payloads as they came: bytes, or (where the format is made into JSON here) a Series of text.
    `rejected` are (bytes, reason) of what could not be read as a record at all. `ordinals` are the records' positions
    in their file; empty where they have none. `day` is the day a file is of, where its name says so. On the way to it
    `skipped` questions met what is gone or not ours to see, and `notes` were made.
    `anew`: the reader has begun again, and what it gave before does not count.
    """

    number: int
    records: Sequence[bytes] | pl.Series
    rejected: Sequence[tuple[bytes, str]] = ()
    ordinals: Sequence[int] = ()
    day: date | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    skipped: int = 0
    notes: Sequence[Note] = ()
    anew: bool = False
