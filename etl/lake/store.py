"""The lake as every other room sees it: read, stage, commit, check."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import polars as pl

from etl.errors import C360Error, LakeDamaged, LakeError, SchemaError
from etl.lake import commit as commits
from etl.lake import files, fsck, log
from etl.lake.commit import Commit
from etl.lake.files import DAY, Staged, StagedFile
from etl.lake.fsck import Finding
from etl.lake.gathered import Gathered
from etl.lake.layout import Place, is_lake, open_root, place_of, places, reason_of, storage_at, storage_error
from etl.lake.log import FileEntry
from etl.lake.storage import Folder, Storage
from etl.model import Partition, Table
from etl.model.frames import schema_of

Given = ParamSpec("Given")
Result = TypeVar("Result")

#: Files this process has proved: address -> their mark then.
_proved: dict[str, str] = {}
_proving = threading.Lock()


def _in_one_line(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """A method of the lake whose failures of the storage are a LakeError, wherever in it they come from."""

    @wraps(method)
    def told(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except OSError as problem:
            raise storage_error("the lake", problem) from problem

    return told


class Lake:
    """A folder or bucket of Delta tables with a ledger beside each. Safe in threads and in any number of processes.

    Open it where it is used: never at import, and never before a fork (spawn, or a fork server).
    `fsync=False` is for tests: a killed process still loses nothing, a power cut may.

    Raises: LakeTooNew, LakeDamaged, LakeFull, LakeError when the folder is not a lake this program can use.
    """

    def __init__(self, root: Path | str, *, fsync: bool = True) -> None:
        self.storage: Storage = storage_at(root, fsync=fsync)
        open_root(self.storage)

    def __repr__(self) -> str:
        return f"Lake({self.storage.name!r})"

    def _place(self, table: Table) -> Place:
        return place_of(self.storage, table)

    @property
    def is_there(self) -> bool:
        """True when its files can be seen from here. Raises: OSError."""
        return is_lake(self.storage)

    @property
    def root(self) -> Path:
        """The folder, where the lake is one. Raises: LakeError."""
        if not isinstance(self.storage, Folder):
            raise LakeError(f"{self.storage.name} is no folder of this machine")
        return self.storage.root

    @_in_one_line
    def note(self, key: str) -> str | None:
        """A small text kept beside the tables; None when there is none. Raises: LakeError."""
        try:
            return self.storage.read(key).decode()
        except FileNotFoundError:
            return None

    @_in_one_line
    def keep_note(self, key: str, text: str) -> None:
        """Keep a small text beside the tables, whole or not at all. Raises: LakeError."""
        self.storage.replace(key, text.encode())

    # --- read ---------------------------------------------------------------------------------------------------------

    @_in_one_line
    def exists(self, table: Table) -> bool:
        """True once the table had its first commit, with rows or without."""
        return bool(log.versions(self._place(table)))

    @_in_one_line
    def version(self, table: Table) -> int | None:
        """The version readers see; None before the first. Raises: LakeDamaged, LakeError."""
        now = commits.seen(self._place(table)).version
        return now if now >= 0 else None

    @_in_one_line
    def days(self, table: Table) -> tuple[date, ...]:
        """The days that have rows, ascending; none for a table in one piece. Raises: LakeDamaged, LakeError."""
        found = {log.day_of(file) for file in commits.seen(self._place(table)).files.values() if file.rows}
        return tuple(sorted(day for day in found if day is not None))

    @_in_one_line
    def digests(self, table: Table, *, version: int | None = None) -> dict[date | None, str]:
        """Per day with rows (None for a table in one piece) the digest of its content, volatile columns left out.

        Equal digests are equal rows, whoever wrote them and when. `version` asks an older version.
        Raises: LakeDamaged; LakeError, also for no such version.
        """
        place = self._place(table)
        found: dict[date | None, list[str]] = {}
        for file in (commits.seen(place) if version is None else commits.snapshot(place, version)).files.values():
            if file.rows:
                found.setdefault(log.day_of(file), []).append(file.digest)
        return {day: "+".join(sorted(digests)) for day, digests in found.items()}

    @_in_one_line
    def rows(self, table: Table) -> int:
        """How many rows readers see, without reading them. Raises: LakeDamaged, LakeError."""
        return sum(file.rows for file in commits.seen(self._place(table)).files.values())

    @_in_one_line
    def read(self, table: Table, *, days: Iterable[date] | None = None, version: int | None = None) -> pl.LazyFrame:
        """The table's declared columns, in order and typed; no rows when there is no table.

        `days` limits a table by day to these; `version` asks an older version. Columns declared after a file was
        written are null in it. Every file is proved against the ledger (size and SHA-256) when this process reads
        it first, so a changed bit is an error and never a wrong number. Readers that go past the lake (SQL) do
        not prove; `c360 fsck` proves every file, page checksums included.

        Raises: LakeDamaged when a file is gone or not the one that was written; LakeError for no such version.
        """
        place = self._place(table)
        chosen = set(days) if days is not None else None
        visible = [
            file
            for file in (commits.seen(place) if version is None else commits.snapshot(place, version)).files.values()
            if file.rows and (chosen is None or table.partition is Partition.WHOLE or log.day_of(file) in chosen)
        ]
        for file in visible:
            _prove(place, file)
        if not visible:
            return pl.LazyFrame(schema=schema_of(table.columns))
        by_day: dict[date | None, list[str]] = {}
        for file in sorted(visible, key=lambda file: (file.day or "", file.path)):
            by_day.setdefault(log.day_of(file), []).append(place.storage.address(place.key(file.path)))
        return pl.concat([_scan(table, paths, day) for day, paths in by_day.items()])

    # --- write --------------------------------------------------------------------------------------------------------

    @_in_one_line
    def write_file(
        self, table: Table, frame: pl.DataFrame, day: date | None = None, *, volatile: Sequence[str] = ()
    ) -> StagedFile:
        """Write one file that nobody sees until it is committed. May run in any thread or process.

        `volatile` columns (a run id, the time of reading) do not count when a commit asks whether anything changed.

        Raises: SchemaError before anything is written; LakeFull or LakeError, and then no file is left.
        """
        return files.write(self._place(table), table, frame, day, volatile=_known(table, volatile))

    def gather(self, table: Table, *, by: str, weight: str) -> Gathered:
        """A place for rows of `table` on their way into it, of any number; see `Gathered`."""
        folder = self.storage.root if isinstance(self.storage, Folder) else Path(tempfile.gettempdir())
        return Gathered(schema_of(table.columns), by=by, weight=weight, folder=folder)

    def stage(
        self, table: Table, rows: pl.DataFrame, *, days: Iterable[date] | None = None, volatile: Sequence[str] = ()
    ) -> Staged:
        """Write `rows` as files, one a day where the table is by day. `days` without rows will be emptied.

        Raises: SchemaError when a row is of a day that is not among `days`, or does not fit the table.
        """
        gated = files.gated(table, rows)
        if table.partition is Partition.WHOLE:
            written = (self.write_file(table, gated, volatile=volatile),) if gated.height else ()
            return Staged(table.full_name, written)
        files.check_days(table, gated)
        present = {day: part for (day,), part in gated.partition_by(DAY, as_dict=True).items()}
        replaced = sorted({*present} if days is None else {*days})
        if outside := present.keys() - set(replaced):
            raise SchemaError(
                f"{table.full_name}: expected rows of {len(replaced)} given day(s) only, came rows of "
                f"{len(outside)} other(s), first {min(outside)}; nothing was written"
            )
        staged: list[StagedFile] = []
        try:
            for day in sorted(present):
                staged.append(self.write_file(table, present[day], day, volatile=volatile))
        except BaseException:
            commits.remove(self._place(table), staged)
            raise
        return Staged(table.full_name, tuple(staged), tuple(replaced))

    @_in_one_line
    def commit(
        self,
        table: Table,
        staged: Staged | Iterable[StagedFile],
        *,
        load_id: str,
        replaces: str | None = None,
        days: Iterable[date] = (),
        expected: int | None = None,
        volatile: Sequence[str] | None = None,
    ) -> Commit:
        """Make staged files visible, all in one version, or none of them.

        `replaces`: "days" (the given ones, or those staged; days without rows are emptied), "all" (the whole
        table), or "nothing" (append: a `load_id` already appended is not appended again). None: days for a table
        by day, all for one in one piece. Days that already hold the same content are left alone; when all do,
        nothing is written. Two writers of one day come one after the other; the later one's rows stay.

        `expected` commits only on that version (-1: only as the first), so that rows made from an older one are
        never written over newer ones; `update` does that in a loop. After any error here the staged files are
        gone, unless it is unknown whether they are in.

        Raises: VersionMoved, CommitLost, LakeFull, SchemaError, LakeDamaged, LakeError, NameRefused.
        """
        place = self._place(table)
        if not isinstance(staged, Staged):
            staged = Staged(table.full_name, tuple(staged))
        try:
            if volatile is not None:
                again = [commits.redigested(place, table, file, _known(table, volatile)) for file in staged.files]
                staged = Staged(staged.table, tuple(again), staged.days)
            return commits.commit(
                place,
                table,
                staged,
                replaces=replaces or ("days" if table.partition is Partition.DAY else "all"),
                days=_replaced(staged, days),
                load_id=load_id,
                expected=expected,
            )
        except commits.Unknown:
            raise
        except LakeDamaged:
            raise  # the log cannot be trusted to say which files are needed
        except C360Error:
            commits.remove(place, staged.files)
            raise

    @_in_one_line
    def holds(self, table: Table, staged: Staged, *, replaces: str | None = None, days: Iterable[date] = ()) -> bool:
        """True when a commit of `staged` would write nothing: readers see that content already, and it was audited.

        Arguments as of `commit`. Raises: LakeDamaged, LakeError.
        """
        return commits.holds(
            self._place(table),
            table,
            staged,
            replaces=replaces or ("days" if table.partition is Partition.DAY else "all"),
            days=_replaced(staged, days),
        )

    @_in_one_line
    def update(
        self,
        table: Table,
        build: Callable[[int | None], Staged],
        *,
        load_id: str,
        replaces: str | None = None,
        days: Iterable[date] = (),
    ) -> Commit:
        """Read, change and write so that no other writer's change is lost.

        `build(version)` reads that version (None: there is no table yet), and stages what shall stand instead.
        It is called again whenever another writer came between.

        Raises: CommitLost after all tries; else as `commit`.
        """
        given = tuple(days)

        def commit_on(staged: Staged, seen: int) -> Commit:
            return self.commit(table, staged, load_id=load_id, replaces=replaces, days=given, expected=seen)

        return commits.until_it_holds(
            self._place(table),
            lambda seen: build(seen if seen >= 0 else None),
            commit_on,
            lambda: commits.seen(self._place(table)).version,
        )

    @_in_one_line
    def discard(self, table: Table, staged: Staged | Iterable[StagedFile]) -> None:
        """Remove staged files that were not committed."""
        commits.remove(self._place(table), staged.files if isinstance(staged, Staged) else tuple(staged))

    def read_staged(self, table: Table, staged: Staged) -> list[pl.LazyFrame]:
        """The rows of staged files, as readers would see them; a frame a file."""
        place = self._place(table)
        return [_scan(table, [place.storage.address(place.key(file.path))], file.day) for file in staged.files]

    # --- check --------------------------------------------------------------------------------------------------------

    @_in_one_line
    def fsck(self, tables: Iterable[Table] | None = None) -> list[Finding]:
        """Everything that is not as it was written, and every leftover; empty for a clean lake. See `fsck.check`."""
        chosen = places(self.storage) if tables is None else [self._place(table) for table in tables]
        return [finding for place in chosen for finding in fsck.check(place)]

    @_in_one_line
    def sweep(self, *, older_than: timedelta = timedelta(days=1)) -> list[str]:
        """Remove what killed processes left: data files no commit ever named, and staging files of the log.

        Only what has not changed for `older_than`, since a running process may still commit it. Gives the paths,
        from the lake's root on. Raises: LakeDamaged when a table's commits cannot be read; then nothing of it is
        removed.
        """
        limit = time.time() - older_than.total_seconds()
        gone: list[str] = []
        for place in places(self.storage):
            for entry in fsck.leftovers(place):
                if entry.changed <= limit:
                    self.storage.remove(entry.key)
                    gone.append(entry.key)
        return gone


def _known(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """`names` as columns of the table, in its order. Raises: DeclarationError when it has no such column."""
    chosen = {table.column(name).name for name in names}
    return tuple(name for name in table.column_names if name in chosen)


def _replaced(staged: Staged, days: Iterable[date]) -> tuple[date, ...]:
    """The days a commit replaces: those given, else those staged."""
    given = set(days)
    named = given or {*staged.days, *(file.day for file in staged.files if file.day is not None)}
    return tuple(sorted(named))


def _scan(table: Table, paths: Sequence[str], day: date | None) -> pl.LazyFrame:
    frame = pl.scan_parquet(
        list(paths),
        schema=files.file_schema(table),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        glob=False,
    )
    if table.partition is Partition.DAY:
        frame = frame.with_columns(pl.lit(day, dtype=pl.Date).alias(DAY))
    return frame.select(table.column_names)


def _prove(place: Place, file: FileEntry) -> None:
    """The file is the one its commit wrote. Once per process, unless it changed since."""
    key = place.key(file.path)
    address = place.storage.address(key)
    try:
        mark = place.storage.stat(key).mark
        with _proving:
            known = _proved.get(address)
        if known == mark:
            return
        intact = place.storage.is_intact(key, file.size, file.sha256)
    except OSError as problem:
        raise LakeDamaged(
            f"{place.name}: {key} cannot be read ({reason_of(problem)}); restore it from a backup, "
            "or build its days again"
        ) from problem
    if not intact:
        raise LakeDamaged(
            f"{place.name}: {key} is not the file that was written; restore it from a backup, or build its days again"
        )
    with _proving:
        _proved[address] = mark
