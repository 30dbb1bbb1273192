"""Where things stand in a lake, and the small file that says which format it is written in.

<root>/lake.json                           {"format": 1}
<root>/<layer>/<table>/_delta_log/         Delta's log
<root>/<layer>/<table>/[day=2026-01-31/]   data files
<root>/_ledger/<layer>.<table>.jsonl       the chain of every commit, in a second place
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from etl import LAKE_FORMAT
from etl.errors import LakeDamaged, LakeError, LakeFull, LakeTooNew, NameRefused
from etl.lake.storage import Folder, Storage
from etl.model import Table
from etl.model.names import checked_name

FORMAT_FILE = "lake.json"
LEDGER_FOLDER = "_ledger"
LOG_FOLDER = "_delta_log"

#: Errors of the system that mean "no space": full device, spent quota.
_FULL = {28, 122}


@dataclass(frozen=True, slots=True)
class Place:
    """The keys of one table. `name` is `layer.name`; every path of a data file is relative to `folder`."""

    storage: Storage
    layer: str
    table: str

    @property
    def name(self) -> str:
        """`layer.name`, as messages spell it."""
        return f"{self.layer}.{self.table}"

    @property
    def folder(self) -> str:
        """The folder of the Delta table."""
        return f"{self.layer}/{self.table}"

    @property
    def log(self) -> str:
        """The folder of Delta's log."""
        return f"{self.folder}/{LOG_FOLDER}"

    @property
    def ledger(self) -> str:
        """The chain of the table's commits."""
        return f"{LEDGER_FOLDER}/{self.name}.jsonl"

    @property
    def uri(self) -> str:
        """The folder as delta-rs wants it."""
        return self.storage.uri(self.folder)

    def key(self, path: str) -> str:
        """The key of a data file."""
        return f"{self.folder}/{path}"

    def identity(self) -> tuple[str, str]:
        """What tells this table from those of other lakes."""
        return self.storage.uri(""), self.name


def place_of(storage: Storage, table: Table) -> Place:
    """Where `table` stands in a lake.

    Raises: NameRefused when the name is no name, or leads out of the lake (a symbolic link, say).
    """
    return checked_place(storage, table.layer.value, table.name)


def checked_place(storage: Storage, layer: str, name: str) -> Place:
    """The place of `layer.name`. Raises: NameRefused."""
    place = Place(storage, checked_name(layer, "layer"), checked_name(name, "table"))
    if not storage.holds(place.folder):
        raise NameRefused(f"{place.name}: its folder leads out of the lake; remove the link that stands in its place")
    return place


def places(storage: Storage) -> list[Place]:
    """Every table that has a log or a ledger, in order of name."""
    tables = [(layer, name) for layer in storage.folders("") for name in storage.folders(layer)]
    logs = {(layer, name) for layer, name in tables if LOG_FOLDER in storage.folders(f"{layer}/{name}")}
    stems = [entry.name.removesuffix(".jsonl").partition(".") for entry in storage.files(LEDGER_FOLDER)]
    return [
        checked_place(storage, layer, name) for layer, name in sorted(logs | {(stem[0], stem[2]) for stem in stems})
    ]


def day_folder(day: date | None) -> str:
    """The folder of a partition, with its slash; nothing for a table in one piece."""
    return f"day={day.isoformat()}/" if day is not None else ""


def storage_at(root: Path | str, *, fsync: bool) -> Storage:
    """The folder, or for `s3://bucket/folder` the bucket, a lake is in."""
    if str(root).startswith("s3://"):
        from etl.lake.bucket import Bucket

        return Bucket(str(root).rstrip("/"))
    return Folder(Path(root).absolute(), fsync)


def open_root(storage: Storage) -> None:
    """Make the lake, or check that it is one this program can read.

    Raises: LakeTooNew, LakeDamaged, LakeFull, LakeError.
    """
    try:
        storage.check()
        try:
            written = storage.read(FORMAT_FILE)
        except FileNotFoundError:
            storage.create(FORMAT_FILE, marker_text(LAKE_FORMAT))  # of two makers the first wins
            written = storage.read(FORMAT_FILE)
    except OSError as problem:
        raise storage_error("the lake", problem) from problem
    _check_marker(written)


def is_lake(storage: Storage) -> bool:
    """True when there is a lake, of whatever format. Raises: OSError."""
    try:
        return storage.stat(FORMAT_FILE).size > 0
    except FileNotFoundError:
        return False


def marker_text(number: int) -> bytes:
    """The bytes of lake.json for a format, to the letter: anything else is damage."""
    return json.dumps({"format": number}).encode() + b"\n"


def _check_marker(written: bytes) -> None:
    try:
        number = json.loads(written)["format"]
    except (ValueError, KeyError, TypeError):
        number = None
    if type(number) is int and number > LAKE_FORMAT:
        raise LakeTooNew(
            f"{FORMAT_FILE}: this program reads lakes up to format {LAKE_FORMAT}, this one is format {number}; "
            "update the program"
        )
    if type(number) is not int or number < 1 or written != marker_text(number):
        raise LakeDamaged(
            f'{FORMAT_FILE}: expected {{"format": {LAKE_FORMAT}}}, came something else; restore that file from a backup'
        )


def is_full(problem: BaseException) -> bool:
    """True when the error says that there is no space left."""
    text = str(problem)
    return getattr(problem, "errno", None) in _FULL or "No space left" in text or "os error 28" in text


def storage_error(where: str, problem: BaseException) -> LakeError:
    """The one line for a failure of the storage. Only the system's own words go in, never data."""
    if is_full(problem):
        return LakeFull(f"{where}: no space left on the device; nothing was changed; free some space and run again")
    reason = reason_of(problem)
    return LakeError(f"{where}: the storage refused: {reason}; nothing was changed; mend that and run again")


def reason_of(problem: BaseException) -> str:
    """Why, in the system's own few words or ours: an error's text may hold a path of the machine."""
    if reason := getattr(problem, "reason", None):
        return str(reason)
    number = getattr(problem, "errno", None)
    return os.strerror(number) if number is not None else type(problem).__name__
