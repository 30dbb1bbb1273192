"""Compare what is there with what the ledger says was written: every file of a table, every byte.

Read are the ledger (its chain), Delta's log (every commit and checkpoint by SHA-256), Delta's own view of the
latest version, and every visible data file (size, SHA-256, rows, and every page by its checksum).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etl.errors import LakeDamaged, LakeError
from etl.lake import ledger, log
from etl.lake.commit import differing_files
from etl.lake.layout import Place, reason_of
from etl.lake.ledger import Chain
from etl.lake.log import CommitEntry, FileEntry
from etl.lake.storage import Entry

DAMAGE = "damage"
NOTE = "note"

#: What delta-rs calls a file it has not finished: the final name, a hash sign and a number.
_STAGING = re.compile(r"#\d+$")

#: Where Delta notes its latest checkpoint.
_POINTER = "_last_checkpoint"

_RESTORE = "restore it from a backup"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    `severity`: "damage" (readers may get less, more or nothing) or "note" (harmless: a leftover, a ledger line a
    killed process did not write). `file` from the lake's root on.
    """

    table: str
    severity: str
    file: str
    what: str
    way_out: str


def check(place: Place) -> list[Finding]:
    """The findings of one table. Ledger lines that a killed process left out are written now, and noted."""
    chain, findings = _checked_ledger(place)
    findings += _checked_log(place, chain)
    commits, unread = _commits(place, chain)
    findings += unread
    if commits:
        findings += _checked_view(place, commits)
        findings += [found for file in ledger.active(commits).values() for found in _checked_file(place, file)]
    if not any(found.severity == DAMAGE for found in findings):
        findings += [_leftover(place, entry) for entry in leftovers(place)]
    return _each_once(findings)


def _checked_ledger(place: Place) -> tuple[Chain | None, list[Finding]]:
    there = log.versions(place)
    try:
        before = ledger.read(place)
        added = ledger.catch_up(place)
        chain = ledger.read(place)
    except (LakeError, OSError) as problem:
        chain_as_is = _read_or_none(place)
        culprit = _unreadable_commit(place, chain_as_is.version + 1) if chain_as_is is not None else None
        said = _said(place, problem) if isinstance(problem, LakeError) else reason_of(problem)
        return chain_as_is, [_damage(place, culprit or place.ledger, said, _RESTORE)]
    if before.version < 0 and len(there) > ledger.CHECKPOINT_EVERY:
        return chain, [
            _damage(place, place.ledger, f"was gone; {len(there)} commits had no ledger", "compare with a backup of it")
        ]
    missing = len(chain.commits) - len(before.commits)
    if missing or added:
        what = f"{missing} commit(s) and {added - missing} checkpoint(s) of killed processes were not in it; added now"
        return chain, [Finding(place.name, NOTE, place.ledger, what, "nothing to do")]
    return chain, []


def _unreadable_commit(place: Place, first: int) -> str | None:
    """The first commit from `first` on that says nothing; it keeps the ledger from catching up."""
    for version in log.versions(place):
        if version >= first:
            try:
                log.entry_of(place, version)
            except LakeDamaged:
                return log.commit_key(place, version)
    return None


def _read_or_none(place: Place) -> Chain | None:
    try:
        return ledger.read(place)
    except (LakeError, OSError):
        return None


def _checked_log(place: Place, chain: Chain | None) -> list[Finding]:
    """Commits without a gap, each byte for byte the one that was written; checkpoints too."""
    there = set(log.versions(place))
    latest = max(there, default=-1)
    known = chain.version if chain is not None else -1
    findings = [
        _damage(place, log.commit_key(place, version), "is missing", _RESTORE)
        for version in range(max(latest, known) + 1)
        if version not in there
    ]
    if chain is None:
        return findings
    for entry in chain.commits:
        path = log.commit_key(place, entry.version)
        if entry.version in there and place.storage.sha256(path) != entry.log:
            findings.append(_damage(place, path, "is not the commit that was written", _RESTORE))
    return findings + list(_checked_checkpoints(place, chain))


def _checked_checkpoints(place: Place, chain: Chain) -> Iterator[Finding]:
    """Checkpoints are copies of what the commits say: a bad one may be removed.

    Only the last one's pointer is looked at: each checkpoint writes it anew.
    """
    way_out = f"remove it and {_POINTER}: the commits suffice"
    there = {entry.name for entry in place.storage.files(place.log)}
    for number, checkpoint in enumerate(chain.checkpoints, start=1):
        is_last = number == len(chain.checkpoints)
        for name, sha256 in checkpoint.files.items():
            path = f"{place.log}/{name}"
            if name == _POINTER and not is_last:
                continue
            if name not in there:
                if is_last:
                    yield _damage(place, path, "is missing", way_out)
            elif place.storage.sha256(path) != sha256:
                yield _damage(place, path, "is not the checkpoint that was written", way_out)


def _commits(place: Place, chain: Chain | None) -> tuple[Sequence[CommitEntry], list[Finding]]:
    """What the ledger says was written or, where it is damaged, what the log says."""
    if chain is not None and chain.commits:
        return chain.commits, []
    commits: list[CommitEntry] = []
    for version in log.versions(place):
        try:
            commits.append(log.entry_of(place, version))
        except LakeDamaged as problem:
            path = log.commit_key(place, version)
            return (), [_damage(place, path, _said(place, problem), _RESTORE)]
    return commits, []


def _checked_view(place: Place, commits: Sequence[CommitEntry]) -> list[Finding]:
    """Delta itself sees the files the ledger says."""
    from deltalake import DeltaTable

    version = commits[-1].version  # not the latest: a writer may be at work
    try:
        differing = differing_files(commits, DeltaTable(place.uri, version=version))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as problem:  # noqa: BLE001  a panic of delta-rs is no Exception, and is a finding
        return [_damage(place, place.log, f"Delta cannot read it ({type(problem).__name__})", _RESTORE)]
    return [_damage(place, place.key(path), "Delta and the ledger disagree on it", _RESTORE) for path in differing]


def _checked_file(place: Place, file: FileEntry) -> list[Finding]:
    path = place.key(file.path)
    way_out = "restore it from a backup, or build its days again"
    try:
        size = place.storage.stat(path).size
        if size != file.size:
            return [_damage(place, path, f"expected {file.size} bytes, came {size}", way_out)]
        if place.storage.sha256(path) != file.sha256:
            return [_damage(place, path, "is not the file that was written (SHA-256 differs)", way_out)]
        if (rows := _rows_of_pages(place, path)) != file.rows:
            return [_damage(place, path, f"expected {file.rows} rows, came {rows}", way_out)]
    except (OSError, ValueError) as problem:
        return [_damage(place, path, f"cannot be read: {reason_of(problem)}", way_out)]
    return []


def _rows_of_pages(place: Place, key: str) -> int:
    """Rows of a data file, after every page of it was held against its checksum. Raises: OSError, ValueError."""
    import pyarrow.parquet as pq

    with place.storage.open(key) as data, pq.ParquetFile(data, page_checksum_verification=True) as file:
        return sum(batch.num_rows for batch in file.iter_batches())


def leftovers(place: Place) -> list[Entry]:
    """Files no commit ever named: of killed processes, or of a write that is going on. Raises: LakeDamaged."""
    there = log.versions(place)
    commits = ledger.commits_up_to(place, there[-1]) if there else ()
    named = {place.key(file.path) for entry in commits for file in entry.added}
    return sorted(
        (
            entry
            for entry in place.storage.files(place.folder, deep=True)
            if (_STAGING.search(entry.name) if entry.key.startswith(f"{place.log}/") else entry.key not in named)
        ),
        key=lambda entry: entry.key,
    )


def _leftover(place: Place, entry: Entry) -> Finding:
    what = "no commit names it: left by a killed process, or a write that is going on"
    return Finding(place.name, NOTE, entry.key, what, "nothing to do; sweep removes it after a day")


def _damage(place: Place, key: str, what: str, way_out: str) -> Finding:
    return Finding(place.name, DAMAGE, key, what, way_out)


def _said(place: Place, problem: BaseException) -> str:
    """What an error says, without the table's name, which the finding has already."""
    return str(problem).removeprefix(f"{place.name}: ")


def _each_once(findings: Sequence[Finding]) -> list[Finding]:
    """One finding a file, the first: it is the nearest to the cause."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.file, finding)
    return list(first.values())
