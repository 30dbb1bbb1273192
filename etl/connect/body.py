"""An answer's body: the records in it, each to the byte, and single values beside them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec


def records_in(body: bytes, path: str) -> list[bytes] | None:
    """The elements of the list at `path` (dotted; empty: the body is the list), never re-written.

    None when the body is not JSON or holds no list there.
    """
    try:
        found = _decoder(path, True).decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    for _ in path.split(".") if path else ():
        if found is None:
            return None
        found = found.value
    return None if found is None else [bytes(record) for record in found]


def value_in(body: bytes, path: str) -> Any:
    """The value at `path`; None when there is none."""
    try:
        found = _decoder(path, False).decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    for _ in path.split("."):
        if found is None:
            return None
        found = found.value
    return found


@lru_cache(maxsize=256)
def _decoder(path: str, is_list: bool) -> msgspec.json.Decoder[Any]:
    """A decoder of what stands at `path` and nothing else: one struct with one member per step."""
    kind: Any = list[msgspec.Raw] | None if is_list else Any
    for name in reversed(path.split(".") if path else []):
        kind = msgspec.defstruct("Step", [("value", kind, None)], rename={"value": name}) | None
    return msgspec.json.Decoder(kind)
