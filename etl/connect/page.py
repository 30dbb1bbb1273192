"""What a reader is given and what it gives: a `Connection`, and `Page`s of records to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl


@dataclass(frozen=True, slots=True)
class Connection:
    """How one source is reached here: an address, a folder or a database URL, and the secret, never shown.

    `allow_private`: its HTTP address may be one of this machine or a private network.
    """

    base_url: str
    secret: str = field(default="", repr=False)
    account: str = "default"
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer, one batch of a table, one stretch of a file.

    `records` are the payloads as they came: bytes, or (where the format is made into JSON here) a Series of text.
    `rejected` are (bytes, reason) of what could not be read as a record at all. `ordinals` are the records' positions
    in their file; empty where they have none. `day` is the day a file is of, where its name says so.
    `anew`: the reader has begun again, and what it gave before does not count.
    """

    number: int
    records: Sequence[bytes] | pl.Series
    rejected: Sequence[tuple[bytes, str]] = ()
    ordinals: Sequence[int] = ()
    day: date | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    anew: bool = False
