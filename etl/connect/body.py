"""An answer's body: the records in it, each to the byte, and single values beside them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

#: Deeper than any vendor nests, and far from where a reader's stack ends.
DEEPEST = 64

_STRUCTURE = b'"[]{}'
_REST = bytes(set(range(256)) - set(_STRUCTURE))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def is_too_deep(body: bytes) -> bool:
    """True when a JSON body nests lists and objects deeper than `DEEPEST`; never for one that is not JSON.

    Told without parsing: escapes, all but quotes and brackets, and strings are taken out, then the innermost pairs,
    one level at a time.
    """
    if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] not in {b"[", b"{"} or body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Strings without brackets leave two quotes side by side; what is between the quotes that remain is string.
    structure = body.translate(None, _REST).replace(b'""', b"")
    brackets = b"".join(structure.split(b'"')[::2]).translate(_ONE_KIND)
    if brackets.startswith(b"[" * (DEEPEST + 1)):
        return True
    for _ in range(DEEPEST):
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    # What opens and never closes was cut off; it counts as deep as it opened.
    return brackets.count(b"[]") > 0 or brackets.count(b"[") > DEEPEST


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
