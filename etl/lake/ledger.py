"""The chain of every commit of a table, in a second place: what must be there, and proof that nobody changed it.

One JSON line per commit (and per checkpoint): the entry, the hash of the line before, and its own hash over both.
Lines are appended under a file lock and synced. A line is made from the commit itself, so a commit whose process
died before its line was written is adopted by whoever comes next. What the chain cannot see is a table rolled
back together with its ledger; keep a copy of the ledgers elsewhere if that matters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etl.errors import LakeDamaged
from etl.lake import log
from etl.lake.layout import Place
from etl.lake.log import CommitEntry, FileEntry

#: A checkpoint is made of every so many versions; delta-rs's own default, but written under our lock and recorded.
CHECKPOINT_EVERY = 10


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as it was written: file name in the log folder -> SHA-256."""

    version: int
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chain:
    """A ledger, read and checked. `tail` is what a dying process left of a last line; `end` the bytes before it."""

    commits: tuple[CommitEntry, ...]
    checkpoints: tuple[Checkpoint, ...]
    last_hash: str
    end: int
    tail: bytes

    @property
    def version(self) -> int:
        """The last version recorded, -1 before the first."""
        return self.commits[-1].version if self.commits else -1


@dataclass(slots=True)
class _Draft:
    """Lines to append, chained on."""

    last_hash: str
    lines: list[bytes] = field(default_factory=list)

    def add(self, kind: str, entry: Mapping[str, Any]) -> None:
        line, self.last_hash = _line(self.last_hash, kind, entry)
        self.lines.append(line)


def read(place: Place) -> Chain:
    """The table's ledger.

    Raises: LakeDamaged when a line is not the one that was written there.
    """
    try:
        return _chain(place, place.storage.read(place.ledger))
    except FileNotFoundError:
        return _chain(place, b"")


def active(entries: Sequence[CommitEntry]) -> dict[str, FileEntry]:
    """The files a reader sees after these commits: path -> file."""
    files: dict[str, FileEntry] = {}
    for entry in entries:
        for path in entry.removed:
            files.pop(path, None)
        files.update((file.path, file) for file in entry.added)
    return files


def commits_up_to(place: Place, version: int, chain: Chain | None = None) -> tuple[CommitEntry, ...]:
    """Every commit from the first to `version`: the ledger's, then what the log has and the ledger not yet.

    Writes nothing. Raises: LakeDamaged.
    """
    recorded = (chain or read(place)).commits
    newer = [log.entry_of(place, number) for number in range(len(recorded), version + 1)]
    return (*recorded[: version + 1], *newer)


def catch_up(place: Place) -> int:
    """Append what the log has and the ledger not yet, a checkpoint when one is due; gives the lines appended.

    Raises: LakeDamaged when the ledger is not intact, or knows a version the log has not; OSError.
    """
    appended = 0

    def continued(written: bytes) -> tuple[int, bytes] | None:
        nonlocal appended
        chain = _chain(place, written)
        there = log.versions(place)
        latest = there[-1] if there else -1
        if latest < chain.version:
            raise lost_versions(place, chain.version, latest)
        draft = _Draft(chain.last_hash)
        for version in range(chain.version + 1, latest + 1):
            draft.add("commit", log.entry_of(place, version).as_json())
        if place.storage.keeps_checkpoints:
            for checkpoint in _due_checkpoints(place, chain, latest):
                draft.add("checkpoint", {"version": checkpoint.version, "files": dict(checkpoint.files)})
        if chain.tail:
            _check_tail(place, chain, latest)
        appended = len(draft.lines)
        return (chain.end, b"".join(draft.lines)) if draft.lines or chain.tail else None

    place.storage.change(place.ledger, continued)
    return appended


def lost_versions(place: Place, recorded: int, found: int) -> LakeDamaged:
    """The error for a log that ends before the ledger does."""
    missing = log.commit_key(place, recorded)
    return LakeDamaged(
        f"{place.name}: the ledger knows version {recorded}, the log ends at {found}; {missing} is lost; "
        "restore it from a backup"
    )


def _chain(place: Place, written: bytes) -> Chain:
    lines = written.split(b"\n")
    tail = lines.pop()
    commits: list[CommitEntry] = []
    checkpoints: list[Checkpoint] = []
    last_hash = _first_hash(place)
    for number, line in enumerate(lines, start=1):
        try:
            kind, entry, own = _parsed(line, last_hash)
            if kind == "commit":
                commits.append(CommitEntry.of_json(entry))
                _expect(commits[-1].version == len(commits) - 1)
            else:
                checkpoints.append(Checkpoint(entry["version"], entry["files"]))
        except (ValueError, KeyError, TypeError):
            raise LakeDamaged(
                f"{place.name}: {place.ledger} line {number} is not the line that was written there; "
                "restore the file from a backup"
            ) from None
        last_hash = own
    return Chain(tuple(commits), tuple(checkpoints), last_hash, len(written) - len(tail), tail)


def _first_hash(place: Place) -> str:
    """The start of the chain carries the table's name, so that one table's ledger never passes for another's."""
    return hashlib.sha256(place.name.encode()).hexdigest()


def _line(previous: str, kind: str, entry: Mapping[str, Any]) -> tuple[bytes, str]:
    body = {"kind": kind, "entry": entry, "previous": previous}
    own = hashlib.sha256(_canonical(body)).hexdigest()
    return _canonical({**body, "hash": own}) + b"\n", own


def _parsed(line: bytes, previous: str) -> tuple[str, dict[str, Any], str]:
    parsed = json.loads(line)
    kind, entry = parsed["kind"], parsed["entry"]
    _expect(kind in {"commit", "checkpoint"})
    again, own = _line(previous, kind, entry)
    # Compared to the byte: a flipped bit that still reads as the same JSON is damage too.
    _expect(again == line + b"\n")
    return kind, entry, own


def _expect(holds: bool) -> None:
    if not holds:
        raise ValueError("not the line that was written")


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check_tail(place: Place, chain: Chain, latest: int) -> None:
    """A torn last line is the beginning of a line that was due there, or it is damage."""
    due: list[tuple[str, Mapping[str, Any]]] = []
    if chain.version < latest:
        due.append(("commit", log.entry_of(place, chain.version + 1).as_json()))
    recorded = {checkpoint.version for checkpoint in chain.checkpoints}
    for version in set(log.checkpoints(place)) - recorded:
        due.append(("checkpoint", {"version": version, "files": checkpoint_files(place, version)}))
    if not any(_line(chain.last_hash, kind, entry)[0].startswith(chain.tail) for kind, entry in due):
        raise LakeDamaged(
            f"{place.name}: {place.ledger} ends in something that is no line of it; restore the file from a backup"
        )


def _due_checkpoints(place: Place, chain: Chain, latest: int) -> Iterator[Checkpoint]:
    """Checkpoints to record: one now due, and any a dying process made and did not record."""
    recorded = {checkpoint.version for checkpoint in chain.checkpoints}
    there = set(log.checkpoints(place))
    last = max(there | recorded, default=0)
    if latest - last >= CHECKPOINT_EVERY:
        _make_checkpoint(place, latest)
        there.add(latest)
    for version in sorted(there - recorded):
        yield Checkpoint(version, checkpoint_files(place, version))


def _make_checkpoint(place: Place, version: int) -> None:
    from deltalake import DeltaTable

    DeltaTable(place.uri, version=version).create_checkpoint()
    place.storage.confirm(_checkpoint_keys(place, version), folders=[place.log])


def checkpoint_files(place: Place, version: int) -> dict[str, str]:
    """The files of a checkpoint and the pointer to it: name -> SHA-256."""
    keys = _checkpoint_keys(place, version)
    return {key.rpartition("/")[2]: place.storage.sha256(key) for key in keys}


def _checkpoint_keys(place: Place, version: int) -> list[str]:
    names = {entry.name for entry in place.storage.files(place.log)}
    parts = sorted(name for name in names if re.fullmatch(rf"{version:020d}\.checkpoint.*\.parquet", name))
    return [f"{place.log}/{name}" for name in (*parts, *({"_last_checkpoint"} & names))]
