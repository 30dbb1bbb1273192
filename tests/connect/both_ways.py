"""The same table read through connectorx and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import polars as pl
import pytest

Read = TypeVar("Read")


def both_ways(
    sql: ModuleType, monkeypatch: pytest.MonkeyPatch, read: Callable[[], Read], *, is_fast: bool = True
) -> tuple[Read, int]:
    """What `read` gives by one of the two ways, and how many rows came by the fast one."""
    payloads, count = sql.fast_payloads, 0

    def counted(*told: Any) -> Iterator[pl.Series]:
        nonlocal count
        for one in payloads(*told):
            count += len(one)
            yield one

    with monkeypatch.context() as patched:
        patched.setattr(sql, "fast_payloads", counted)
        if not is_fast:
            patched.setattr(sql, "fast_plan", lambda *_: None)
        return read(), count


def as_text(record: bytes | str) -> str:
    """A record as text, whichever way it came."""
    return record.decode() if isinstance(record, bytes) else record
