"""Where a lake's bytes are: a folder of this machine, or a bucket. What the other modules need of either, and no more.

A key is a path from the lake's root on, with slashes: `silver/orders/_delta_log/00000000000000000000.json`. What is
created, replaced or changed is there whole or not at all, for every reader and after every kill.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from etl.errors import LakeError


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file. `mark` differs when its bytes do; `changed` is seconds since 1970."""

    key: str
    size: int
    mark: str
    changed: float

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


#: From the bytes that are there: how many of them stay, and what follows; None changes nothing.
Change = Callable[[bytes], tuple[int, bytes] | None]


class Storage(Protocol):
    """What a lake needs of the place where its bytes are. Every method raises OSError when the place fails, and
    FileNotFoundError for a key that is not there.
    """

    @property
    def name(self) -> str:
        """What messages call it: no path of the machine."""

    @property
    def keeps_checkpoints(self) -> bool:
        """True where two writers can be kept from making checkpoints at once."""

    def check(self) -> None:
        """Raises: LakeError when a lake here could lose data, and how that is mended."""

    def holds(self, folder: str) -> bool:
        """False when a folder of that name would be somewhere else (a symbolic link, say)."""

    def read(self, key: str) -> bytes:
        """The bytes under `key`."""

    def open(self, key: str) -> BinaryIO:
        """The bytes under `key`, to be read piece by piece; close it when done."""

    def stat(self, key: str) -> Entry:
        """What is known of `key` without reading it."""

    def sha256(self, key: str) -> str:
        """SHA-256 of the bytes under `key`, as hex."""

    def is_intact(self, key: str, size: int, sha256: str) -> bool:
        """True when the bytes are those that were written, as far as this place lets them change unseen."""

    def files(self, folder: str, *, deep: bool = False) -> list[Entry]:
        """The files in a folder, with those below it when `deep`; none when there is no such folder."""

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder."""

    def create(self, key: str, data: bytes) -> bool:
        """Store `data` under a key that is free. False when it is not; then nothing was changed."""

    def replace(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whatever was there."""

    def change(self, key: str, change: Change) -> None:
        """Cut and continue the bytes there (b"" where there are none) as `change` says. No two changes of one key
        overlap; where another one came first, `change` is called again.
        """

    def remove(self, key: str) -> None:
        """Remove `key`; nothing happens when it is not there."""

    def write(self, key: str, fill: Callable[[BinaryIO], None]) -> tuple[int, str]:
        """Store what `fill` writes, durably, and give its size and SHA-256; on any error nothing is left."""

    def confirm(self, keys: Iterable[str], *, folders: Iterable[str]) -> None:
        """Return when these files, which something else wrote, and their names in these folders would outlive a power
        cut.
        """

    def address(self, key: str) -> str:
        """The file as engines that read Parquet are told of it."""

    def uri(self, folder: str) -> str:
        """The folder as delta-rs is told of it."""


@dataclass(frozen=True)
class Folder:
    """A lake in a folder of this machine. `fsync=False` is for tests: a kill loses nothing, a power cut may."""

    root: Path
    fsync: bool = True

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def keeps_checkpoints(self) -> bool:
        return True

    def check(self) -> None:
        if "%" in str(self.root):
            raise LakeError(
                f"lake folder {self.root.name!r}: a per cent sign in the path is read as an escape; choose another"
            )

    def holds(self, folder: str) -> bool:
        return (self.root / folder).resolve().is_relative_to(self.root.resolve())

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def open(self, key: str) -> BinaryIO:
        return (self.root / key).open("rb")

    def stat(self, key: str) -> Entry:
        return _entry(key, (self.root / key).stat())

    def sha256(self, key: str) -> str:
        with (self.root / key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_intact(self, key: str, size: int, sha256: str) -> bool:
        return self.stat(key).size == size and self.sha256(key) == sha256

    def files(self, folder: str, *, deep: bool = False) -> list[Entry]:
        found: list[Entry] = []
        try:
            with os.scandir(self.root / folder) as entries:
                for each in entries:
                    key = f"{folder}/{each.name}" if folder else each.name
                    if each.is_dir():
                        found += self.files(key, deep=True) if deep else []
                    else:
                        with suppress(FileNotFoundError):  # a staging file that was put in place
                            found.append(_entry(key, each.stat()))
        except FileNotFoundError:
            return found
        return found

    def folders(self, folder: str) -> list[str]:
        try:
            return sorted(each.name for each in (self.root / folder).iterdir() if each.is_dir())
        except FileNotFoundError:
            return []

    def create(self, key: str, data: bytes) -> bool:
        with self._written_aside(key, data) as draft:
            try:
                os.link(draft, self.root / key)
            except FileExistsError:
                return False
        return True

    def replace(self, key: str, data: bytes) -> None:
        with self._written_aside(key, data) as draft:
            draft.replace(self.root / key)

    @contextmanager
    def _written_aside(self, key: str, data: bytes) -> Iterator[Path]:
        """A file beside `key` that holds `data`, to be put in its place within the block."""
        target = self.root / key
        draft = target.with_name(f".{target.name}.{uuid4().hex}")
        self._make_folder(target.parent)
        try:
            draft.write_bytes(data)
            self._sync(draft)
            yield draft
            self._sync(target.parent)
        finally:
            draft.unlink(missing_ok=True)

    def change(self, key: str, change: Change) -> None:
        """Under a lock on the file itself, which the system lets go when a process dies. What stays is not written
        again, so a kill in the middle leaves it, and perhaps the beginning of what was to follow.
        """
        target = self.root / key
        is_new = not target.exists()
        self._make_folder(target.parent)
        handle = os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(handle, fcntl.LOCK_EX)
            changed = change(file.read())
            if changed is not None:
                _rewrite(file, *changed)
                if self.fsync:
                    os.fsync(handle)
        if is_new:
            self._sync(target.parent)

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def write(self, key: str, fill: Callable[[BinaryIO], None]) -> tuple[int, str]:
        target = self.root / key
        self._make_folder(target.parent)
        try:
            with target.open("xb") as file:
                fill(file)
            self._sync(target)
            self._sync(target.parent)
            return target.stat().st_size, self.sha256(key)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def confirm(self, keys: Iterable[str], *, folders: Iterable[str]) -> None:
        for key in (*keys, *folders):
            self._sync(self.root / key)

    def address(self, key: str) -> str:
        return str(self.root / key)

    def uri(self, folder: str) -> str:
        return (self.root / folder).as_uri()

    def _make_folder(self, folder: Path) -> None:
        missing = [each for each in (folder, *folder.parents) if each != self.root.parent and not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in missing:
            self._sync(each.parent)

    def _sync(self, path: Path) -> None:
        """Have the system put a file's bytes, or a folder's entries, on the disk before we go on."""
        if not self.fsync:
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _entry(key: str, state: os.stat_result) -> Entry:
    return Entry(key, state.st_size, f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}", state.st_mtime)


def _rewrite(file: BinaryIO, keep: int, added: bytes) -> None:
    """Leave the first `keep` bytes and let `added` follow; on an error they alone stay."""
    file.seek(keep)
    file.truncate()
    rest = added
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(keep)
        raise
