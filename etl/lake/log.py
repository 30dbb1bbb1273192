"""What each commit of a table did, read from Delta's own log: the record our commits carry, checked against it.

Every commit holds a record under `c360`: the commit's own id, the load id, what it replaces and, for each file
it adds, SHA-256, rows and content digest. No personal data is in it. From it the ledger is written, also for a
commit whose process died before it could.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from etl.errors import LakeDamaged
from etl.lake.layout import Place

RECORD = "c360"

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint.*\.parquet$")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A data file as its commit described it. `size` in bytes, `day` None for a table in one piece.

    `sha256` is of the file's bytes; `digest` of its content, whatever the file looks like.
    """

    path: str
    size: int
    sha256: str
    rows: int
    digest: str
    day: str | None


@dataclass(frozen=True, slots=True)
class CommitEntry:
    """One version of a table. `at` is UTC, ISO 8601; `log` is the SHA-256 of the commit's file in Delta's log."""

    version: int
    commit: str
    load_id: str
    replaces: str
    at: str
    added: tuple[FileEntry, ...]
    removed: tuple[str, ...]
    log: str

    def as_json(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)

    @classmethod
    def of_json(cls, entry: Mapping[str, Any]) -> CommitEntry:
        """The inverse of `as_json`. Raises: KeyError or TypeError when it is none."""
        added = tuple(FileEntry(**file) for file in entry["added"])
        return cls(**{**entry, "added": added, "removed": tuple(entry["removed"])})


def commit_file(version: int) -> str:
    """The name of a commit in Delta's log."""
    return f"{version:020d}.json"


def commit_key(place: Place, version: int) -> str:
    """The key of a commit."""
    return f"{place.log}/{commit_file(version)}"


def versions(place: Place) -> list[int]:
    """The versions whose commit files are there, ascending."""
    return _numbered(place, _COMMIT)


def checkpoints(place: Place) -> list[int]:
    """The versions with a checkpoint file, ascending."""
    return sorted(set(_numbered(place, _CHECKPOINT)))


def _numbered(place: Place, pattern: re.Pattern[str]) -> list[int]:
    found = (pattern.match(entry.name) for entry in place.storage.files(place.log))
    return sorted(int(match[1]) for match in found if match)


def entry_of(place: Place, version: int) -> CommitEntry:
    """What the commit `version` did.

    Raises: LakeDamaged when its file is missing, is no commit, or was not made by this program.
    """
    key = commit_key(place, version)
    try:
        written = place.storage.read(key)
    except FileNotFoundError:
        raise LakeDamaged(f"{place.name}: {key} is missing; restore it from a backup") from None
    try:
        return _read(written, version)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LakeDamaged(
            f"{place.name}: {key} is not a commit of this program: empty, torn, altered, or written by "
            "another one; restore it from a backup"
        ) from None


def _read(written: bytes, version: int) -> CommitEntry:
    if not written.endswith(b"}"):
        raise ValueError("a commit ends with its last action")
    actions = [json.loads(line) for line in written.splitlines()]
    (about,) = (action["commitInfo"] for action in actions if "commitInfo" in action)
    adds = {action["add"]["path"]: action["add"] for action in actions if "add" in action}
    record = about[RECORD]
    if set(adds) != set(record["files"]):
        raise ValueError("files added are not the files recorded")
    added = tuple(
        FileEntry(
            path=path,
            size=adds[path]["size"],
            sha256=file["sha256"],
            rows=file["rows"],
            digest=file["digest"],
            day=adds[path]["partitionValues"].get("day"),
        )
        for path, file in sorted(record["files"].items())
    )
    return CommitEntry(
        version=version,
        commit=record["commit"],
        load_id=record["load_id"],
        replaces=record["replaces"],
        at=datetime.fromtimestamp(about["timestamp"] / 1000, UTC).isoformat(),
        added=added,
        removed=tuple(sorted(action["remove"]["path"] for action in actions if "remove" in action)),
        log=hashlib.sha256(written).hexdigest(),
    )


def day_of(file: FileEntry) -> date | None:
    """The day of the file's partition."""
    return date.fromisoformat(file.day) if file.day is not None else None
