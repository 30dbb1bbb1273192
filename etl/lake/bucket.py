"""A lake in a bucket of an S3-compatible store.

Credentials, endpoint and region are read where every AWS tool reads them: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and
so on. What makes commits safe are conditional puts: a key that is taken, or whose bytes are no longer those that were
read, refuses the new bytes. A store that ignores these conditions loses commits without a word, so each start asks it.
Checkpoints of Delta's log are not made here: nothing keeps two writers from making them at once.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from etl.errors import LakeError, SettingsError
from etl.lake.storage import Change, Entry

if TYPE_CHECKING:
    from obstore.store import S3Store

#: Tries of a change against others who change the same key.
TRIES = 200


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached, as this process was told. Empty strings where it was not."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    region: str
    endpoint: str


def bucket_access() -> Access:
    """The access the environment names, for engines that do not look there themselves."""
    told = os.environ.get
    return Access(
        key_id=told("AWS_ACCESS_KEY_ID", ""),
        secret=told("AWS_SECRET_ACCESS_KEY", ""),
        token=told("AWS_SESSION_TOKEN", ""),
        region=told("AWS_REGION") or told("AWS_DEFAULT_REGION", "us-east-1"),
        endpoint=told("AWS_ENDPOINT_URL", ""),
    )


@dataclass(frozen=True)
class Bucket:
    """A lake under `url`, `s3://bucket` or `s3://bucket/folder`."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    @property
    def keeps_checkpoints(self) -> bool:
        return False

    @cached_property
    def _store(self) -> S3Store:
        try:
            from obstore.store import S3Store
        except ImportError:
            raise SettingsError(
                "a lake in a bucket needs the extra `s3`: pip install 'customer-360-lakehouse[s3]'"
            ) from None
        return S3Store.from_url(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.url,)

    def check(self) -> None:
        if os.environ.get("AWS_S3_ALLOW_UNSAFE_RENAME"):
            raise LakeError(
                "AWS_S3_ALLOW_UNSAFE_RENAME is set: two writers would overwrite each other's commits; unset it"
            )
        key = f"_probe/{uuid4().hex}"
        with _in_our_words():
            first = self._put(key, b"1", "create")
            try:
                held = not self.create(key, b"2") and self._put(key, b"3", {"e_tag": first}) is not None
                held = held and self._put(key, b"4", {"e_tag": first}) is None
            finally:
                self.remove(key)
        if not held:
            raise LakeError(
                f"{self.name}: the store ignores conditional puts (If-None-Match, If-Match): commits would be lost; "
                "use a store that honours them, or a newer version of this one"
            )

    def holds(self, folder: str) -> bool:  # noqa: ARG002  there are no links in a bucket
        return True

    def read(self, key: str) -> bytes:
        import obstore

        with _in_our_words():
            return bytes(obstore.get(self._store, key).bytes())

    def open(self, key: str) -> BinaryIO:
        return BytesIO(self.read(key))

    def stat(self, key: str) -> Entry:
        import obstore

        with _in_our_words():
            return _entry(obstore.head(self._store, key))

    def sha256(self, key: str) -> str:
        return hashlib.sha256(self.read(key)).hexdigest()

    def is_intact(self, key: str, size: int, sha256: str) -> bool:  # noqa: ARG002
        """By size: the store holds the bytes against its own checksums whenever it gives them out."""
        return self.stat(key).size == size

    def files(self, folder: str, *, deep: bool = False) -> list[Entry]:
        import obstore

        under = f"{folder}/" if folder else None
        with _in_our_words():
            if not deep:
                return [_entry(each) for each in obstore.list_with_delimiter(self._store, under)["objects"]]
            return [_entry(each) for page in obstore.list(self._store, under) for each in page]

    def folders(self, folder: str) -> list[str]:
        import obstore

        with _in_our_words():
            found = obstore.list_with_delimiter(self._store, f"{folder}/" if folder else None)
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])

    def create(self, key: str, data: bytes) -> bool:
        with _in_our_words():
            return self._put(key, data, "create") is not None

    def replace(self, key: str, data: bytes) -> None:
        with _in_our_words():
            self._put(key, data, "overwrite")

    def change(self, key: str, change: Change) -> None:
        """Whole, on the condition that the bytes are still those `change` saw."""
        import obstore
        from obstore.exceptions import NotFoundError

        for _ in range(TRIES):
            with _in_our_words():
                mode: Any = "create"
                before = b""
                with suppress(NotFoundError, FileNotFoundError):
                    found = obstore.get(self._store, key)
                    before, mode = bytes(found.bytes()), {"e_tag": found.meta["e_tag"]}
                changed = change(before)
                if changed is None:
                    return
                keep, added = changed
                if self._put(key, before[:keep] + added, mode) is not None:
                    return
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def remove(self, key: str) -> None:
        import obstore
        from obstore.exceptions import NotFoundError

        with _in_our_words(), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._store, key)

    def write(self, key: str, fill: Callable[[BinaryIO], None]) -> tuple[int, str]:
        filled = BytesIO()
        fill(filled)
        data = filled.getvalue()
        self.replace(key, data)
        return len(data), hashlib.sha256(data).hexdigest()

    def confirm(self, keys: Iterable[str], *, folders: Iterable[str]) -> None:
        """Nothing to do: a store that said yes has it."""

    def address(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}"

    def uri(self, folder: str) -> str:
        return self.address(folder)

    def _put(self, key: str, data: bytes, mode: Any) -> str | None:
        """The new bytes' mark; None when the condition does not hold."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return str(obstore.put(self._store, key, data, mode=mode)["e_tag"])
        except (AlreadyExistsError, PreconditionError):
            return None


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], meta["size"], str(meta["e_tag"]), meta["last_modified"].timestamp())


class StoreTrouble(OSError):
    """The store did not do what was asked; `reason` says why in our words, without what the store quotes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def _in_our_words() -> Iterator[None]:
    """The store's errors with what to look at. Raises: FileNotFoundError, StoreTrouble."""
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except NotFoundError as problem:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from problem
    except (PermissionDeniedError, UnauthenticatedError) as problem:
        raise StoreTrouble(
            "permission denied; check the bucket's name, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from problem
    except BaseError as problem:
        said = str(problem).lower()
        # Without a key it asks the machine's own metadata service, which only a cloud's machines have.
        if "credential" in said or "/latest/" in said:
            raise StoreTrouble("no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from problem
        if "error sending request" in said or "connect" in said:
            raise StoreTrouble("no answer; check AWS_ENDPOINT_URL and AWS_REGION") from problem
        raise StoreTrouble(type(problem).__name__) from problem
