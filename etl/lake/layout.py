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
from uuid import uuid4

from etl import LAKE_FORMAT
from etl.errors import LakeDamaged, LakeError, LakeFull, LakeTooNew, NameRefused
from etl.model import Table
from etl.model.names import checked_name

FORMAT_FILE = "lake.json"
LEDGER_FOLDER = "_ledger"
LOG_FOLDER = "_delta_log"

#: Errors of the system that mean "no space": full device, spent quota.
_FULL = {28, 122}


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one table. `name` is `layer.name`; every path of a file is relative to `folder`."""

    root: Path
    layer: str
    table: str

    @property
    def name(self) -> str:
        """`layer.name`, as messages spell it."""
        return f"{self.layer}.{self.table}"

    @property
    def folder(self) -> Path:
        """The folder of the Delta table."""
        return self.root / self.layer / self.table

    @property
    def log(self) -> Path:
        """The folder of Delta's log."""
        return self.folder / LOG_FOLDER

    @property
    def ledger(self) -> Path:
        """The chain of the table's commits."""
        return self.root / LEDGER_FOLDER / f"{self.name}.jsonl"

    @property
    def uri(self) -> str:
        """The folder as delta-rs wants it."""
        return self.folder.as_uri()

    def shown(self, path: Path) -> str:
        """A path as messages show it: from the lake's root on."""
        return path.relative_to(self.root).as_posix()


def place_of(root: Path, table: Table) -> Place:
    """Where `table` stands under `root`.

    Raises: NameRefused when the name is no name, or leads out of the root (a symbolic link, say).
    """
    return checked_place(root, table.layer.value, table.name)


def checked_place(root: Path, layer: str, name: str) -> Place:
    """The place of `layer.name`. Raises: NameRefused."""
    place = Place(root, checked_name(layer, "layer"), checked_name(name, "table"))
    if not place.folder.resolve().is_relative_to(root.resolve()):
        raise NameRefused(f"{place.name}: its folder leads out of the lake; remove the link that stands in its place")
    return place


def places(root: Path) -> list[Place]:
    """Every table that has a log or a ledger, in order of name."""
    logs = {(log.parent.parent.name, log.parent.name) for log in root.glob(f"*/*/{LOG_FOLDER}")}
    stems = [ledger.stem.partition(".") for ledger in (root / LEDGER_FOLDER).glob("*.jsonl")]
    return [checked_place(root, layer, name) for layer, name in sorted(logs | {(stem[0], stem[2]) for stem in stems})]


def day_folder(day: date | None) -> str:
    """The folder of a partition, with its slash; nothing for a table in one piece."""
    return f"day={day.isoformat()}/" if day is not None else ""


def open_root(root: Path, *, fsync: bool) -> None:
    """Make the lake, or check that it is one this program can read.

    Raises: LakeTooNew, LakeDamaged, LakeFull, LakeError.
    """
    marker = root / FORMAT_FILE
    if "%" in str(root):
        raise LakeError(f"lake folder {root.name!r}: a per cent sign in the path is read as an escape; choose another")
    try:
        (root / LEDGER_FOLDER).mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            _write_marker(root, fsync=fsync)
        written = marker.read_bytes()
    except OSError as problem:
        raise storage_error("the lake", problem) from problem
    _check_marker(written)


def is_lake(root: Path) -> bool:
    """True when there is a lake at `root`, of whatever format."""
    return (root / FORMAT_FILE).is_file()


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


def _write_marker(root: Path, *, fsync: bool) -> None:
    """Put lake.json there whole or not at all; of two makers the first wins."""
    draft = root / f".{FORMAT_FILE}.{uuid4().hex}"
    try:
        draft.write_bytes(marker_text(LAKE_FORMAT))
        if fsync:
            sync(draft)
        try:
            os.link(draft, root / FORMAT_FILE)
        except FileExistsError:
            return
        if fsync:
            sync(root)
    finally:
        draft.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the system put a file's bytes, or a folder's entries, on the disk before we go on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    """Why, in the system's own few words: an error's text may hold a path of the machine."""
    number = getattr(problem, "errno", None)
    return os.strerror(number) if number is not None else type(problem).__name__
