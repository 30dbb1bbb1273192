"""What a window's records look like: every path of their JSON with its types; and what is new since earlier windows.

A path is dotted as in a `Pick`; `[]` is any element of a list: `lines[].sku`. A map with more than 200 keys is open,
its keys are data, and all of them are written `*`. So is a key that is itself a value: one that looks like an e-mail
address or a telephone number, or is longer than 64 characters. No value of a record ever stands in a fingerprint, and
neither the order of the records nor the pages they came on changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

#: More children than these under one path, and its keys are data.
MOST_CHILDREN = 200
#: A key longer than this is a value.
LONGEST_KEY = 64
#: Deeper than this, a container counts by its type alone.
DEEPEST = 32
#: A path has vanished when it was in each of this many windows before ...
WINDOWS_BEFORE = 3
#: ... and is in none of at least this many records, of which at least `EXPECTED` should have had it.
LEAST_RECORDS = 50
#: Fewer than these expected, and a rare path is missing by chance (Poisson: e^-10, one in 22,000).
EXPECTED = 10

JSON_TYPES = ("object", "array", "string", "number", "boolean", "null")
CHANGES = ("first", "new", "type_changed", "vanished")

_TYPES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
_CONTAINERS = frozenset({dict, list})
_STEP = re.compile(r"\[\]|[^.\[\]]+")
_VALUE_LIKE = re.compile(r"[^@\s]+(?:@|%40)[^@\s]+|\+?[\d(][\d\s()./-]{6,}")

Paths = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`paths`: path -> type -> how often it was met; `records`: how many records were looked at."""

    records: int
    paths: Paths

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """The set of (path, type)."""
        return frozenset((path, each) for path, types in self.paths.items() for each in types)


@dataclass(frozen=True, slots=True)
class Known:
    """What a stream's windows so far had: `types` of each path ever accepted, and the paths that are `gone`."""

    types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from before. `breaks`: a contract other than `evolve` does not let it in."""

    path: str
    json_type: str
    change: str
    severity: str = "info"
    breaks: bool = False


def fingerprint(payloads: Iterable[str]) -> Fingerprint:
    """The paths and types of these records; what is no JSON object is passed over."""
    root, records = _Node(), 0
    decode = msgspec.json.Decoder().decode
    for payload in payloads:
        try:
            record = decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            continue
        if type(record) is dict:
            records += 1
            root.take_object(record, 0)
    found: dict[str, dict[str, int]] = {}
    _collect([root], "", found)
    return Fingerprint(records, found)


class _Node:
    """One path while records are read. Objects of one shape (keys and their types) are counted, not walked again."""

    __slots__ = ("children", "elements", "is_open", "shapes", "types")

    def __init__(self) -> None:
        self.types: dict[type, int] = {}
        self.children: dict[str, _Node] = {}
        self.elements: _Node | None = None
        self.shapes: dict[tuple[Any, ...], tuple[list[int], list[tuple[str, _Node, bool]]]] = {}
        self.is_open = False

    def take_object(self, record: dict[str, Any], depth: int) -> None:
        if self.is_open:
            star = self.children["*"]
            for value in record.values():
                star.take(value, depth + 1)
            return
        kinds = tuple(map(type, record.values()))
        shape = (*record, *kinds)
        known = self.shapes.get(shape)
        if known is None:
            nested = []
            for key, kind in zip(record, kinds, strict=True):
                child = self.children.get(key)
                if child is None:
                    child = self.children[key] = _Node()
                if kind in _CONTAINERS:
                    nested.append((key, child, kind is dict))
            known = self.shapes[shape] = ([0], nested)
            if len(self.children) > MOST_CHILDREN:
                del self.shapes[shape]
                self.settle()
                self.open()
                self.take_object(record, depth)
                return
        known[0][0] += 1
        if depth < DEEPEST:
            for key, child, is_object in known[1]:
                if is_object:
                    child.take_object(record[key], depth + 1)
                else:
                    child.take_list(record[key], depth + 1)

    def take_list(self, values: list[Any], depth: int) -> None:
        if values:
            elements = self.elements
            if elements is None:
                elements = self.elements = _Node()
            for value in values:
                elements.take(value, depth + 1)

    def take(self, value: Any, depth: int) -> None:
        kind = type(value)
        self.types[kind] = self.types.get(kind, 0) + 1
        if depth > DEEPEST:
            return
        if kind is dict:
            self.take_object(value, depth)
        elif kind is list:
            self.take_list(value, depth)

    def settle(self) -> None:
        """The counted shapes, told to the children they speak of."""
        for shape, (count, _) in self.shapes.items():
            half = len(shape) // 2
            for key, kind in zip(shape[:half], shape[half:], strict=True):
                types = self.children[key].types
                types[kind] = types.get(kind, 0) + count[0]
        self.shapes = {}

    def open(self) -> None:
        """Its keys are data from now on; all children become one."""
        children, self.children, self.is_open = list(self.children.values()), {}, True
        self.children["*"] = star = _Node()
        for child in children:
            star.join(child)

    def join(self, other: _Node) -> None:
        """The other node's records as if they had been read here."""
        self.settle()
        other.settle()
        for kind, count in other.types.items():
            self.types[kind] = self.types.get(kind, 0) + count
        if other.elements is not None:
            if self.elements is None:
                self.elements = _Node()
            self.elements.join(other.elements)
        if other.is_open and not self.is_open:
            self.open()
        for key, child in other.children.items():
            mine = "*" if self.is_open else key
            if mine not in self.children:
                self.children[mine] = _Node()
            self.children[mine].join(child)
        if not self.is_open and len(self.children) > MOST_CHILDREN:
            self.open()


def _collect(nodes: Sequence[_Node], path: str, found: dict[str, dict[str, int]]) -> None:
    """Every path below `path`. Several nodes are one path where keys that are values share a name."""
    below: dict[str, list[_Node]] = {}
    for node in nodes:
        node.settle()
        if path:
            counts = found.setdefault(path, {})
            for kind, count in node.types.items():
                name = _TYPES[kind]
                counts[name] = counts.get(name, 0) + count
        if node.elements is not None:
            below.setdefault(f"{path}[]", []).append(node.elements)
        for key, child in node.children.items():
            name = key if node.is_open else _shown(key)
            below.setdefault(f"{path}.{name}" if path else name, []).append(child)
    for deeper, children in below.items():
        _collect(children, deeper, found)


def _shown(key: str) -> str:
    """A key as it may be written down: `*` when it is a value; what would look like a path is escaped."""
    if not key or len(key) > LONGEST_KEY or _VALUE_LIKE.search(key):
        return "*"
    if "." in key or "[" in key or "]" in key:
        return key.replace(".", "%2E").replace("[", "%5B").replace("]", "%5D")
    return key


# --- what is new ------------------------------------------------------------------------------------------------------


def changes(known: Known, now: Fingerprint, before: Sequence[Fingerprint] = ()) -> list[Change]:
    """What differs between what was known and this window, by path. `before`: the windows before it, nearest last.

    first         nothing was known
    new           a path nobody saw, or one that had gone; or the type of one that had only been null
    type_changed  another type than ever; null is the absence of one
    vanished      in each of the three windows before, and in none of this one's records
    """
    if not now.records:
        return []
    if not known.types:
        return [Change(path, each, "first") for path, each in sorted(now.pairs)]
    opened = open_maps(known.types, now.paths)
    types, gone, paths = _folded_known(known, opened), {folded(each, opened) for each in known.gone}, _fold(now, opened)
    found: list[Change] = []
    for path, counts in sorted(paths.items()):
        told, old = set(counts) - {"null"}, types.get(path, frozenset()) - {"null"}
        if path not in types:
            found += [Change(path, each, "new", breaks=True) for each in sorted(told or {"null"})]
            continue
        if path in gone:
            found += [Change(path, each, "new") for each in sorted((told & old) or {"null"})]
        if not old:
            found += [Change(path, each, "new") for each in sorted(told)]
        else:
            found += [Change(path, each, "type_changed", "warning", breaks=True) for each in sorted(told - old)]
    if len(before) >= WINDOWS_BEFORE and now.records >= LEAST_RECORDS:
        earlier = [(each.records, _fold(each, opened)) for each in before[-WINDOWS_BEFORE:]]
        for path in sorted(types.keys() - paths.keys() - gone):
            shares = [sum(counts.get(path, {}).values()) / records for records, counts in earlier]
            if min(shares) > 0 and min(shares) * now.records >= EXPECTED:
                last = earlier[-1][1][path]
                found.append(Change(path, max(sorted(last), key=lambda each: last[each]), "vanished", "warning"))
    return found


def breaking(payloads: Sequence[str], known: Known, whole: Fingerprint) -> list[bool]:
    """Per record, true when it has a path that is not known, or a known one in another type.

    `whole` is the window's fingerprint: which of its maps are open is told by all records, not by these.
    """
    opened = open_maps(known.types, whole.paths)
    types = _folded_known(known, opened)

    def breaks(payload: str) -> bool:
        for path, counts in _fold(fingerprint((payload,)), opened).items():
            old = types.get(path)
            if old is None or (old - {"null"} and set(counts) - {"null"} - old):
                return True
        return False

    return [breaks(payload) for payload in payloads]


def topmost(found: Iterable[Change]) -> list[Change]:
    """The changes without those that only follow from a change of the same kind above them."""
    listed = list(found)
    places = {(each.change, each.path) for each in listed}
    return [each for each in listed if not any((each.change, above) in places for above in _above(each.path))]


def _above(path: str) -> list[str]:
    return [path[: step.start()].rstrip(".") for step in _STEP.finditer(path) if step.start()]


# --- open maps --------------------------------------------------------------------------------------------------------


def open_maps(known: Iterable[str], now: Iterable[str]) -> frozenset[str]:
    """The paths whose keys are data: more than 200 of them together, or nothing but `*` on one side."""
    found: set[str] = set()
    _find_open([[_tree(known)], [_tree(now)]], "", found)
    return frozenset(found)


def folded(path: str, opened: frozenset[str]) -> str:
    """The path with the keys of open maps written `*`."""
    if not opened:
        return path
    at = ""
    for step in _STEP.findall(path):
        if step == "[]":
            at += step
        else:
            name = "*" if at in opened else step
            at = f"{at}.{name}" if at else name
    return at


def _tree(paths: Iterable[str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for step in _STEP.findall(path):
            node = node.setdefault(step, {})
    return root


def _find_open(sides: Sequence[Sequence[dict[str, Any]]], path: str, found: set[str]) -> None:
    keys = [{key for node in side for key in node if key != "[]"} for side in sides]
    if any(each == {"*"} for each in keys) or len(set().union(*keys)) > MOST_CHILDREN:
        found.add(path)
        under = {"*": [[child for node in side for key, child in node.items() if key != "[]"] for side in sides]}
    else:
        under = {key: [[node[key] for node in side if key in node] for side in sides] for key in set().union(*keys)}
    under["[]"] = [[node["[]"] for node in side if "[]" in node] for side in sides]
    for key, nodes in under.items():
        if any(nodes):
            _find_open(nodes, f"{path}[]" if key == "[]" else f"{path}.{key}" if path else key, found)


def _folded_known(known: Known, opened: frozenset[str]) -> dict[str, frozenset[str]]:
    types: dict[str, frozenset[str]] = {}
    for path, each in known.types.items():
        name = folded(path, opened)
        types[name] = types.get(name, frozenset()) | each
    return types


def _fold(seen: Fingerprint, opened: frozenset[str]) -> dict[str, dict[str, int]]:
    paths: dict[str, dict[str, int]] = {}
    for path, counts in seen.paths.items():
        into = paths.setdefault(folded(path, opened), {})
        for each, count in counts.items():
            into[each] = into.get(each, 0) + count
    return paths
