"""The one function that commits: all or nothing, once, and never over a version it has not seen.

It opens the table, computes what to add and remove from that very version, and writes the next version number
through the same handle; if another writer took that number first, the try fails as a whole and starts anew.
So commits are in one order, and no two writers of a day both add. Whatever error comes, the log is asked whether
our commit is in before anything is tried again: an error does not mean that it is not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl

from etl.errors import CommitLost, LakeDamaged, LakeError, LakeFull, NameRefused, SchemaError, VersionMoved
from etl.lake import ledger, log
from etl.lake.files import DAY, Staged, StagedFile, arrow_schema, digest_of, in_order, statistics_columns
from etl.lake.layout import Place, is_full, reason_of, storage_error
from etl.lake.log import CommitEntry, FileEntry
from etl.model import Partition, Table

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake import Schema as DeltaSchema
    from deltalake.transaction import AddAction, CommitProperties, PostCommitHookProperties, RemoveAction

#: Tries against other writers, who each time got further; and tries against errors of any other kind.
TRIES_AGAINST_WRITERS = 400
TRIES_AGAINST_ERRORS = 4

#: Characters of a load id: enough for run ids and windows, too few for an e-mail address.
_LOAD_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:+/=~ ")

#: Reader version of tables without deletion vectors and column mapping, which engines read differently.
_READER_VERSION = 1

_LOGGER = logging.getLogger(__name__)
_CHANCE = SystemRandom()

#: What readers of this process saw last: the table -> the marks of its log and ledger then, and the snapshot.
_remembered: dict[tuple[str, str], tuple[frozenset[tuple[str, str]], Snapshot]] = {}
_remembering = threading.Lock()


class Unknown(CommitLost):
    """Nobody can tell whether the commit is in, because the log cannot be read."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What became of a commit. `version` is the one now visible; `rows` are those handed in.

    `written` is False when the table already held the same content, or the load was already in.
    """

    table: str
    version: int
    rows: int
    written: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version of a table and every commit that led to it. Version -1: there is no table yet."""

    version: int
    commits: tuple[CommitEntry, ...]
    handle: DeltaTable | None

    @property
    def files(self) -> dict[str, FileEntry]:
        """What a reader sees: path -> file."""
        return ledger.active(self.commits)

    def has_load(self, load_id: str) -> bool:
        """True when that append is already in."""
        if self.handle is not None and self.handle.transaction_version(_application(load_id)) is not None:
            return True
        return any(entry.load_id == load_id and entry.replaces == "nothing" for entry in self.commits)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one try adds and removes; files whose day already holds the same are `spare`."""

    adds: tuple[StagedFile, ...]
    removes: tuple[FileEntry, ...]
    spare: tuple[StagedFile, ...]


def seen(place: Place) -> Snapshot:
    """The latest version, for readers: opened again only when a file of the log, or the ledger, is another than then.

    Never to commit through: a commit moves its handle on, and other threads may hold this one. Raises: as `snapshot`.
    """
    marks = _marks(place)  # before the log is read, so that what is remembered can only be newer than its marks
    with _remembering:
        known = _remembered.get(place.identity())
    if known is not None and known[0] == marks:
        return known[1]
    now = snapshot(place)
    with _remembering:
        _remembered[place.identity()] = (marks, now)
    return now


def _marks(place: Place) -> frozenset[tuple[str, str]]:
    """Name and mark of every file that says what the table holds."""
    found = place.storage.files(place.log)
    with suppress(FileNotFoundError):  # no ledger yet
        found.append(place.storage.stat(place.ledger))
    return frozenset((entry.key, entry.mark) for entry in found)


def snapshot(place: Place, version: int | None = None) -> Snapshot:
    """A version of the table (None: the latest), proved against the ledger.

    Raises: LakeDamaged when Delta's log and the ledger do not tell the same files; LakeError when the table uses
    features the lake does not write, or has no such version.
    """
    chain = ledger.read(place)  # before the log, so that the log can only be further on
    there = log.versions(place)
    if not there:
        if chain.version >= 0:
            raise ledger.lost_versions(place, chain.version, -1)
        return Snapshot(-1, (), None)
    handle = _opened(place, version)
    found = handle.version()
    if version is None and found < chain.version:
        raise ledger.lost_versions(place, chain.version, found)
    commits = ledger.commits_up_to(place, found, chain)
    _prove(place, commits, handle)
    return Snapshot(found, commits, handle)


def _opened(place: Place, version: int | None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        handle = DeltaTable(place.uri, version=version)
        protocol = handle.protocol()
    except (DeltaError, OSError, ValueError) as problem:
        latest = log.versions(place)[-1]
        if version is not None and version > latest:
            raise LakeError(f"{place.name}: there is no version {version}; the latest is {latest}") from None
        raise LakeDamaged(
            f"{place.name}: Delta's log cannot be read ({type(problem).__name__}); `c360 fsck` names the file"
        ) from problem
    if protocol.min_reader_version > _READER_VERSION or protocol.reader_features:
        features = ", ".join(protocol.reader_features or ()) or f"reader version {protocol.min_reader_version}"
        raise LakeError(
            f"{place.name}: expected a plain Delta table, came one that needs {features}; engines disagree on these; "
            "rewrite the table without them"
        )
    return handle


def _prove(place: Place, commits: Sequence[CommitEntry], handle: DeltaTable) -> None:
    """Delta's files are the ledger's, in size and day; the last commit's file is the one that was written."""
    if wrong := differing_files(commits, handle):
        raise LakeDamaged(f"{place.name}: log and ledger disagree on {len(wrong)} file(s), first {wrong[0]}; run fsck")
    last = commits[-1]
    shown = log.commit_key(place, last.version)
    if place.storage.sha256(shown) != last.log:
        raise LakeDamaged(f"{place.name}: {shown} is not the file that was written; restore it from a backup")


def differing_files(commits: Sequence[CommitEntry], handle: DeltaTable) -> list[str]:
    """Paths on which Delta's state and the commits' own account differ, in order."""
    ours = {(file.path, file.size, file.day) for file in ledger.active(commits).values()}
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    days = actions[f"partition.{DAY}"].cast(pl.String) if f"partition.{DAY}" in actions.columns else None
    theirs = {
        (path, size, days[row] if days is not None else None)
        for row, (path, size) in enumerate(zip(actions["path"], actions["size_bytes"], strict=True))
    }
    return sorted({path for path, _, _ in ours ^ theirs})


def commit(
    place: Place,
    table: Table,
    staged: Staged,
    *,
    replaces: str,
    days: Sequence[date],
    load_id: str,
    expected: int | None,
) -> Commit:
    """Make `staged` visible in one version: see `Lake.commit`, which checks the arguments' defaults.

    Raises: VersionMoved, CommitLost, LakeFull, SchemaError, LakeDamaged, LakeError.
    """
    _check_request(table, staged, replaces, days, load_id)
    ours = uuid4().hex
    began = -1
    errors = 0
    for attempt in range(TRIES_AGAINST_WRITERS):
        now = snapshot(place)
        if attempt == 0:
            began = now.version
        if expected is not None and now.version != expected:
            raise VersionMoved(
                f"{place.name}: the rows were made from version {expected}, the table is at {now.version}; "
                "read that and build again"
            )
        if replaces == "nothing" and now.has_load(load_id):
            return _settled(place, staged, now.version, staged.files)
        plan = _plan(now.files.values(), staged.files, replaces, days)
        way = _way(place, table, now.handle, replaces)
        if way == "change" and not plan.adds and not plan.removes:
            return _settled(place, staged, now.version, staged.files)
        _refuse_old_files(place, now, plan)
        try:
            _transact(place, table, now, plan, way, _record(ours, load_id, replaces, plan))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as problem:  # noqa: BLE001  a panic of delta-rs is no Exception; and all mean "perhaps"
            if (landed := _landed(place, ours, began, problem)) is None:
                errors += not _is_overtaken(problem)
                _give_up(place, problem, errors)
                time.sleep(_pause(attempt))
                continue
            version = landed
        else:
            version = now.version + 1
            if way == "widen":
                expected = version if expected is not None else None
                continue
        _make_durable(place, version)
        _settled(place, staged, version, plan.spare)
        return Commit(place.name, version, staged.rows, written=True)
    raise CommitLost(
        f"{place.name}: other writers were first {TRIES_AGAINST_WRITERS} times; nothing was changed; "
        "let fewer write this table at once, and run again"
    )


def holds(place: Place, table: Table, staged: Staged, *, replaces: str, days: Sequence[date]) -> bool:
    """True when readers already see exactly this content, so that a commit of it would write nothing."""
    now = seen(place)
    plan = _plan(now.files.values(), staged.files, replaces, days)
    return _way(place, table, now.handle, replaces) == "change" and not plan.adds and not plan.removes


def _check_request(table: Table, staged: Staged, replaces: str, days: Sequence[date], load_id: str) -> None:
    if staged.table != table.full_name:
        raise LakeError(f"{table.full_name}: expected rows of this table, came rows of {staged.table}")
    if replaces not in {"days", "all", "nothing"}:
        raise LakeError(f"{table.full_name}: replaces {replaces!r}; expected days, all or nothing")
    if replaces == "days" and table.partition is Partition.WHOLE:
        raise LakeError(f"{table.full_name}: the table is in one piece; expected replaces all or nothing, came days")
    if not load_id or len(load_id) > 300 or not set(load_id) <= _LOAD_ID:
        raise NameRefused(
            f"{table.full_name}: the load id is written into the log; expected up to 300 letters, digits and "
            "any of _-.:+/=~, came something else"
        )
    outside = sorted({str(file.day) for file in staged.files if file.day not in days}) if replaces == "days" else []
    if outside:
        raise LakeError(f"{table.full_name}: expected files of the days to be replaced, came also {', '.join(outside)}")


def _plan(visible: Any, staged: Sequence[StagedFile], replaces: str, days: Sequence[date]) -> _Plan:
    """What to add and remove so that every day in reach holds what is staged, and the others stay as they are."""
    if replaces == "nothing":
        return _Plan(tuple(file for file in staged if file.rows), (), tuple(file for file in staged if not file.rows))
    wanted: dict[date | None, list[StagedFile]] = {}
    held: dict[date | None, list[FileEntry]] = {}
    for file in staged:
        wanted.setdefault(file.day, []).append(file)
    for entry in visible:
        day = log.day_of(entry)
        if replaces == "all" or day in days:
            held.setdefault(day, []).append(entry)
    changed = {day for day in wanted.keys() | held.keys() if _content(wanted.get(day)) != _content(held.get(day))}
    return _Plan(
        adds=tuple(file for file in staged if file.day in changed and file.rows),
        removes=tuple(entry for day, entries in held.items() if day in changed for entry in entries),
        spare=tuple(file for file in staged if file.day not in changed or not file.rows),
    )


def _content(files: Sequence[StagedFile] | Sequence[FileEntry] | None) -> list[str]:
    return sorted(_labelled(file) for file in files or () if file.rows)


def _labelled(file: StagedFile | FileEntry) -> str:
    """The digest, together with the columns it leaves out: digests over different columns are never equal."""
    return label(file.digest, file.volatile) if isinstance(file, StagedFile) else file.digest


def label(digest: str, volatile: Sequence[str]) -> str:
    """A digest as commits record it."""
    return f"{digest} without {','.join(sorted(volatile))}" if volatile else digest


def _record(ours: str, load_id: str, replaces: str, plan: _Plan) -> dict[str, Any]:
    """What a commit says of itself; from it the ledger is written, whoever comes to write it."""
    files = {file.path: {"sha256": file.sha256, "rows": file.rows, "digest": _labelled(file)} for file in plan.adds}
    return {"commit": ours, "load_id": load_id, "replaces": replaces, "files": files}


def _refuse_old_files(place: Place, now: Snapshot, plan: _Plan) -> None:
    known = {file.path for entry in now.commits for file in entry.added}
    if any(file.path in known for file in plan.adds):
        raise LakeError(f"{place.name}: these files were committed before; expected new ones; stage the rows again")


def _way(place: Place, table: Table, handle: DeltaTable | None, replaces: str) -> str:
    """How the declared columns get into the table as it stands.

    create     there is no table yet
    change     the columns are there: add and remove files
    widen      new columns first, in a commit of their own; older rows read null there
    overwrite  all rows and the columns are replaced together

    Raises: SchemaError when the table cannot hold the declared columns and is not replaced as a whole.
    """
    if handle is None:
        return "create"
    if handle.metadata().partition_columns != _partition_columns(table):
        raise SchemaError(
            f"{place.name}: the declaration says partition {table.partition.value}, the table in the lake has another; "
            "give the table a new name, or remove its folder and its ledger and build it again"
        )
    there = {field.name: field.type for field in handle.schema().fields}
    declared = {field.name: field.type for field in _delta_schema(table).fields}
    if there == declared:
        return "change"
    if replaces == "all":
        return "overwrite"
    changed = sorted(name for name, kind in declared.items() if name in there and there[name] != kind)
    if changed:
        raise SchemaError(
            f"{place.name}: the type of {', '.join(changed)} was changed in the declaration, rows of the old type are "
            "there; build the table whole, or give the column a new name"
        )
    return "widen" if set(declared) - set(there) else "change"


def _partition_columns(table: Table) -> list[str]:
    return [DAY] if table.partition is Partition.DAY else []


def _delta_schema(table: Table) -> DeltaSchema:
    from deltalake import Schema

    return Schema.from_arrow(arrow_schema(table.columns))


def _transact(place: Place, table: Table, now: Snapshot, plan: _Plan, way: str, record: dict[str, Any]) -> None:
    """Write version `now.version + 1`, or fail because it is taken. One atomic step of Delta's log."""
    from deltalake.transaction import create_table_with_add_actions

    adds = [_add_action(file) for file in plan.adds]
    if now.handle is None:
        create_table_with_add_actions(
            place.uri,
            _delta_schema(table),
            adds,
            mode="error",
            partition_by=_partition_columns(table),
            configuration={
                "delta.dataSkippingStatsColumns": ",".join(statistics_columns(table)),
                "delta.enableExpiredLogCleanup": "false",
            },
            commit_properties=_properties(record),
            post_commithook_properties=_no_hooks(),
        )
    elif way == "widen":
        there = {field.name for field in now.handle.schema().fields}
        now.handle.alter.add_columns(
            [field for field in _delta_schema(table).fields if field.name not in there],
            commit_properties=_properties({**record, "commit": uuid4().hex, "replaces": "columns", "files": {}}),
            post_commithook_properties=_no_hooks(),
        )
    else:
        removes = [_remove_action(entry) for entry in plan.removes] if way == "change" else []
        now.handle.create_write_transaction(
            [*adds, *removes],
            "append" if way == "change" else "overwrite",
            _delta_schema(table),
            _partition_columns(table),
            commit_properties=_properties(record),
            post_commithook_properties=_no_hooks(),
        )


def _properties(record: Mapping[str, Any]) -> CommitProperties:
    from deltalake.transaction import CommitProperties, Transaction

    once = [Transaction(_application(record["load_id"]), 1)] if record["replaces"] == "nothing" else None
    return CommitProperties(
        custom_metadata={log.RECORD: dict(record)},
        max_commit_retries=0,  # no merging with what others did meanwhile: we look again ourselves
        app_transactions=once,
    )


def _no_hooks() -> PostCommitHookProperties:
    """Checkpoints are made under the ledger's lock and recorded there; logs are never cleaned up behind our back."""
    from deltalake.transaction import PostCommitHookProperties

    return PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def _application(load_id: str) -> str:
    return f"load:{load_id}"


def _add_action(file: StagedFile) -> AddAction:
    from deltalake.transaction import AddAction

    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={DAY: file.day.isoformat()} if file.day is not None else {},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=file.stats,
    )


def _remove_action(entry: FileEntry) -> RemoveAction:
    from deltalake.transaction import RemoveAction

    return RemoveAction(
        path=entry.path,
        deletion_timestamp=time.time_ns() // 1_000_000,
        data_change=True,
        partition_values={DAY: entry.day} if entry.day is not None else {},
        size=entry.size,
    )


def _is_overtaken(problem: BaseException) -> bool:
    """True when the failure is another writer's success, not a fault."""
    from deltalake.exceptions import CommitFailedError

    return isinstance(problem, CommitFailedError) or "already exists" in str(problem)


def _landed(place: Place, ours: str, began: int, problem: BaseException) -> int | None:
    """The version our commit has, if it is in after all.

    Raises: Unknown when the log cannot be read: then nothing may be removed.
    """
    try:
        for version in log.versions(place):
            if version > began and log.entry_of(place, version).commit == ours:
                return version
    except (OSError, LakeDamaged) as unread:
        raise Unknown(
            f"{place.name}: after an error ({type(problem).__name__}) the log cannot be read, so it is unknown whether "
            "the commit is in; run `c360 fsck`, then run again"
        ) from unread
    return None


def _give_up(place: Place, problem: BaseException, errors: int) -> None:
    """Raise when trying again cannot help."""
    if isinstance(problem, LakeError | SchemaError):
        raise problem
    if is_full(problem):
        raise LakeFull(
            f"{place.name}: no space left on the device; nothing was changed; free some space and run again"
        ) from problem
    if errors >= TRIES_AGAINST_ERRORS:
        if isinstance(problem, OSError):
            raise storage_error(place.name, problem) from problem
        raise CommitLost(
            f"{place.name}: the commit failed {errors} times, last with {type(problem).__name__}; nothing was changed; "
            "run `c360 fsck`, then run again"
        ) from problem


def _pause(attempt: int) -> float:
    """Seconds to wait: longer each time, up to 0.4 s, and never in step with the others."""
    return _CHANCE.uniform(0.0, min(0.4, 0.004 * 2 ** min(attempt, 8)))


def _make_durable(place: Place, version: int) -> None:
    """Sync the commit after its data files were, so that the disk never has a commit without its rows."""
    folders = (place.log, place.folder, place.layer, "") if version == 0 else (place.log,)
    try:
        place.storage.confirm([log.commit_key(place, version)], folders=folders)
    except OSError as problem:
        raise LakeError(
            f"{place.name}: version {version} is in, but the disk did not confirm it ({reason_of(problem)}); "
            "check the disk, then run again"
        ) from problem


def _settled(place: Place, staged: Staged, version: int, spare: Sequence[StagedFile]) -> Commit:
    """Bring the ledger up to the log and remove what was staged and not needed. The commit stands whatever fails."""
    try:
        ledger.catch_up(place)
        remove(place, spare)
    except Exception as problem:  # noqa: BLE001  the next writer, or fsck and sweep, sees to it
        _LOGGER.warning("%s: version %d is in, its ledger is behind: %s", place.name, version, type(problem).__name__)
    return Commit(place.name, version, staged.rows, written=False)


def remove(place: Place, files: Sequence[StagedFile]) -> None:
    """Remove staged files, except those a commit names. Raises: LakeDamaged when that cannot be told."""
    if not files:
        return
    there = log.versions(place)
    commits = ledger.commits_up_to(place, there[-1]) if there else ()
    named = {file.path for entry in commits for file in entry.added}
    for file in files:
        if file.path not in named:
            place.storage.remove(place.key(file.path))


def redigested(place: Place, table: Table, file: StagedFile, volatile: Sequence[str]) -> StagedFile:
    """The same file with its digest over other columns; reads the file once."""
    from dataclasses import replace

    if tuple(volatile) == file.volatile:
        return file
    rows = in_order(
        table, pl.read_parquet(place.storage.address(place.key(file.path)), hive_partitioning=False), volatile
    )
    return replace(file, digest=digest_of(rows, volatile), volatile=tuple(volatile))


def until_it_holds(
    place: Place, build: Callable[[int], Staged], commit_on: Callable[[Staged, int], Commit], version: Callable[[], int]
) -> Commit:
    """Build from the version that is there and commit on exactly that one, again until no other writer came between.

    Raises: CommitLost after all tries.
    """
    for attempt in range(TRIES_AGAINST_WRITERS):
        seen = version()
        staged = build(seen)
        try:
            return commit_on(staged, seen)
        except VersionMoved:
            remove(place, staged.files)
            time.sleep(_pause(attempt))
    raise CommitLost(
        f"{place.name}: other writers were first {TRIES_AGAINST_WRITERS} times; nothing was changed; "
        "let fewer write this table at once, and run again"
    )
