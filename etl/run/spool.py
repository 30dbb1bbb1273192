"""Messages of devices as files: JSON lines by the hour they were received in, for a stream that reads them by day.

A file is written under a name that begins with a dot and put in place when its hour is over, or at the end: what
stands there is whole, and never changes. `keep` returns when its lines are on the disk, not before. Whatever is killed,
the next start puts in place what was left behind, without a line that was cut (it was never acknowledged).
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from etl.connect.files import folder_of
from etl.connect.mqtt import Message, listen
from etl.errors import SettingsError, SourceError
from etl.model import Files, Source
from etl.run.house import House

_HOURLY = "_{yyyymmdd}T*.jsonl"


class Spool:
    """The files `<name>_<day>T<hour>_<number>.jsonl` of one folder, UTC; one writer at a time. A context manager.

    Raises: SourceError when the folder cannot be written, or another writer has it.
    """

    def __init__(self, folder: Path, name: str, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.name, self.say = folder, name, say
        self._file: int | None = None
        self._part = Path()
        self._hour = ""
        self._size = 0
        self._lock: int | None = None

    def __enter__(self) -> Spool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / f".{self.name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._unlock()
                raise SourceError(f"{self.folder}: another process spools {self.name} here; stop it first") from None
            for part in sorted(self.folder.glob(f".{self.name}_*.jsonl.part")):
                self._take_up(part)
        except OSError as error:
            self._unlock()
            raise self._unwritable(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._put_in_place()
        finally:
            self._unlock()

    def keep(self, messages: Sequence[Message]) -> None:
        """Every message on disk, in the file of its hour.

        Raises: SourceError when the disk does not take them; then the file is what it was.
        """
        at = 0
        while at < len(messages):
            hour = _hour(messages[at].received_at)
            end = at
            while end < len(messages) and _hour(messages[end].received_at) == hour:
                end += 1
            self._append(hour, b"".join(message.line + b"\n" for message in messages[at:end]))
            at = end

    def turn(self, now: datetime) -> None:
        """Put the file in place when its hour is over."""
        if self._file is not None and _hour(now) != self._hour:
            self._put_in_place()

    def _append(self, hour: str, lines: bytes) -> None:
        try:
            if self._file is None or hour != self._hour:
                self._put_in_place()
                self._open(hour)
            assert self._file is not None
            left = memoryview(lines)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
            self._size += len(lines)
        except OSError as error:
            with suppress(OSError):
                if self._file is not None:
                    os.ftruncate(self._file, self._size)
            raise self._unwritable(error) from None

    def _open(self, hour: str) -> None:
        number = 1
        while any(self.folder.glob(f"*{self.name}_{hour}_{number:04d}.jsonl*")):
            number += 1
        self._hour, self._size = hour, 0
        self._part = self.folder / f".{self.name}_{hour}_{number:04d}.jsonl.part"
        self._file = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o640)
        _fsync_folder(self.folder)

    def _put_in_place(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.close(file)
            self._publish(self._part, self._size)
        except OSError as error:
            raise self._unwritable(error) from None

    def _take_up(self, part: Path) -> None:
        """A file a killed writer left: its whole lines are put in place."""
        written = part.read_bytes()
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            with part.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        self._publish(part, whole)
        if whole:
            name = _final(part)
            self.say(
                f"{name} was left by a writer that was killed and is in place now; read its day again if it was read"
            )

    def _publish(self, part: Path, size: int) -> None:
        if size:
            part.rename(self.folder / _final(part))
        else:
            part.unlink()
        _fsync_folder(self.folder)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _unwritable(self, error: OSError) -> SourceError:
        return SourceError(
            f"{self.folder} cannot be written: {error.strerror}; what is not on disk was not acknowledged and comes "
            "again; mend it and start again"
        )


def _hour(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H}"


def _final(part: Path) -> str:
    return part.name.removeprefix(".").removesuffix(".part")


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spool(house: House, source: Source, *, say: Callable[[str], None]) -> int:
    """Spool the source's topics until SIGTERM or SIGINT; how many messages were kept.

    Raises: SettingsError when lakehouse.toml does not say what to listen to and where to, SourceError and its kinds.
    """
    here = house.reached.get(source.name)
    connection = house.connection(source)
    if here is None or not here.broker or not here.topics or not connection.base_url:
        raise SettingsError(
            f"sources.{source.name}: base_url (the folder of the files), broker (mqtt://host:1883) and topics "
            "must stand in lakehouse.toml to spool it"
        )
    ended: list[int] = []
    before = {number: signal.signal(number, lambda got, _: ended.append(got)) for number in _ENDS}
    try:
        with Spool(folder_of(connection.base_url), spooled_name(source), say=say) as files:
            return listen(
                source.name,
                here.broker,
                here.topics,
                files,
                client_id=f"c360-{source.name}-{connection.account}",
                secret=connection.secret,
                now=lambda: datetime.now(UTC),
                is_ended=lambda: bool(ended),
                say=say,
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDS = (signal.SIGTERM, signal.SIGINT)


def spooled_name(source: Source) -> str:
    """What the source's hourly files begin with. Raises: SettingsError when it reads none."""
    for stream in source.streams:
        if isinstance(stream.request, Files) and stream.request.pattern.endswith(_HOURLY):
            return stream.request.pattern.removesuffix(_HOURLY)
    raise SettingsError(f"source {source.name} reads no files by the hour (NAME{_HOURLY}); spool devices_mqtt, say")
