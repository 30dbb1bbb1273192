"""What a lake says when its files are not what was written: always something, and which file it is."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from etl.errors import C360Error, LakeDamaged, LakeError
from etl.lake import Lake
from tests.lake.tables import COUNTS, VISITS, counts, day, visits

TABLES = (VISITS, COUNTS)


def a_lake(root: Path) -> Lake:
    """Two tables with a dozen versions each, so that there are checkpoints too."""
    lake = Lake(root, fsync=False)
    for turn in range(12):
        rows = pl.concat([visits(range(turn, turn + 20), 1), visits(range(100, 110), 2)])
        lake.commit(VISITS, lake.stage(VISITS, rows), load_id=f"load-{turn}")
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=turn, b=2)), load_id=f"load-{turn}")
    return lake


def answers(lake: Lake) -> list[list[tuple[object, ...]]]:
    """Every table as it reads now."""
    return [lake.read(table).collect().sort(table.key[0]).rows() for table in TABLES]


def files_in_use(lake: Lake) -> list[Path]:
    """Every file a flipped bit could matter in: visible data, log, checkpoints, ledger, lake.json."""
    from deltalake import DeltaTable

    visible = [
        Path(uri.removeprefix("file://"))
        for table in TABLES
        for uri in DeltaTable(str(lake.root / table.layer.value / table.name)).file_uris()
    ]
    return sorted(
        [*visible, *lake.root.glob("*/*/_delta_log/*"), *lake.root.glob("_ledger/*"), lake.root / "lake.json"]
    )


@pytest.mark.parametrize(
    ("flips", "seed"),
    [
        pytest.param(200, 1, id="200 flips"),
        pytest.param(20_000, 2, id="20,000 flips", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_a_flipped_bit_is_never_silent(tmp_path: Path, flips: int, seed: int) -> None:
    lake = a_lake(tmp_path)
    expected = answers(lake)
    files = files_in_use(lake)
    chance = random.Random(seed)
    unseen, wrong = [], []
    for flip in range(flips):
        path = files[flip % len(files)]
        whole = path.read_bytes()
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        try:
            again = Lake(tmp_path, fsync=False)
            if answers(again) != expected:
                wrong.append((path.name, at, bit))
        except C360Error:
            pass
        try:
            shown = path.relative_to(tmp_path).as_posix()
            named = [found.file for found in Lake(tmp_path).fsck() if found.severity == "damage"]
            if shown not in named:
                unseen.append((shown, at, bit, named))
        except LakeError as refused:
            if "lake.json" not in str(refused):
                unseen.append((path.name, at, bit, str(refused)))
        path.write_bytes(whole)

    assert wrong == []
    assert unseen == []
    assert lake.fsck() == []


def drop_add_line(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(line for line in lines if b'"add"' not in line))


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "last commit missing": ("silver/visits/_delta_log/00000000000000000011.json", Path.unlink),
    "last commit empty": ("silver/visits/_delta_log/00000000000000000011.json", lambda path: path.write_bytes(b"")),
    "last commit half": (
        "silver/visits/_delta_log/00000000000000000011.json",
        lambda path: path.write_bytes(path.read_bytes()[:400]),
    ),
    "last commit garbage": (
        "silver/visits/_delta_log/00000000000000000011.json",
        lambda path: path.write_bytes(b"\x00garbage" * 9),
    ),
    "add line lost": ("silver/visits/_delta_log/00000000000000000011.json", drop_add_line),
    "middle commit missing": ("silver/visits/_delta_log/00000000000000000005.json", Path.unlink),
    "middle commit of the tail empty": (
        "gold/counts/_delta_log/00000000000000000010.json",
        lambda path: path.write_bytes(b""),
    ),
    "first commit missing": ("silver/visits/_delta_log/00000000000000000000.json", Path.unlink),
    "checkpoint empty": (
        "gold/counts/_delta_log/00000000000000000010.checkpoint.parquet",
        lambda path: path.write_bytes(b""),
    ),
    "checkpoint half": (
        "gold/counts/_delta_log/00000000000000000010.checkpoint.parquet",
        lambda path: path.write_bytes(path.read_bytes()[:900]),
    ),
    "checkpoint missing": ("gold/counts/_delta_log/00000000000000000010.checkpoint.parquet", Path.unlink),
    "pointer to the checkpoint garbage": (
        "gold/counts/_delta_log/_last_checkpoint",
        lambda path: path.write_bytes(b"{garbage"),
    ),
    "ledger line lost": (
        "_ledger/gold.counts.jsonl",
        lambda path: path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5])[:-9]),
    ),
    "ledger line in the middle lost": (
        "_ledger/gold.counts.jsonl",
        lambda path: path.write_bytes(
            b"".join(line for at, line in enumerate(path.read_bytes().splitlines(keepends=True)) if at != 4)
        ),
    ),
    "ledger of another table": (
        "_ledger/gold.counts.jsonl",
        lambda path: shutil.copy(path.with_name("silver.visits.jsonl"), path),
    ),
    "ledger gone": ("_ledger/gold.counts.jsonl", Path.unlink),
    "ledger ends in garbage": ("_ledger/gold.counts.jsonl", lambda path: path.write_bytes(path.read_bytes() + b"{x")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_log_or_ledger_is_named_and_never_read_wrong(tmp_path: Path, fault: str) -> None:
    lake = a_lake(tmp_path)
    expected = answers(lake)
    name, damage = FAULTS[fault]
    damage(tmp_path / name)

    try:
        actual = answers(lake)
    except LakeError:
        actual = expected
    named = {found.file: found for found in lake.fsck()}

    assert expected == actual
    if fault == "ledger line lost":  # cut short on a boundary a crash could leave: mended from the log, and said
        assert named[name].severity in {"note", "damage"}
    else:
        assert named[name].severity == "damage"
    assert named[name].way_out


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(path.read_bytes()[::-1]),
    ],
    ids=["missing", "empty", "truncated", "other bytes"],
)
def test_a_damaged_data_file_is_an_error_in_one_line_and_can_be_built_again(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    lake = a_lake(tmp_path)
    expected = answers(lake)
    (path,) = [path for path in files_in_use(lake) if "day=2026-01-02" in str(path)]
    damage(path)

    with pytest.raises(
        LakeDamaged, match=r"^silver\.visits: silver/visits/day=2026-01-02/part-.*build its days again$"
    ):
        lake.read(VISITS)
    (found,) = lake.fsck()
    other_day = lake.read(VISITS, days=[day(1)]).collect().height
    lake.commit(VISITS, lake.stage(VISITS, visits(range(0), 2), days=[day(2)]), load_id="empty")
    lake.commit(VISITS, lake.stage(VISITS, visits(range(100, 110), 2)), load_id="again")

    assert (found.table, found.severity, found.file) == (
        "silver.visits",
        "damage",
        path.relative_to(tmp_path).as_posix(),
    )
    assert other_day == 20
    assert expected == answers(lake)
    assert lake.fsck() == []


def test_nothing_is_committed_over_a_lost_version(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    (tmp_path / "gold/counts/_delta_log/00000000000000000011.json").unlink()

    with pytest.raises(LakeDamaged, match=r"the ledger knows version 11, the log ends at 10"):
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=99)), load_id="over")


def test_a_commit_whose_ledger_line_was_never_written_is_adopted_and_noted(tmp_path: Path) -> None:
    lake = a_lake(tmp_path)
    ledger = tmp_path / "_ledger/gold.counts.jsonl"
    whole = ledger.read_bytes()
    lines = whole.splitlines(keepends=True)

    for cut, torn in ((1, 0), (1, 40), (2, 7)):
        ledger.write_bytes(b"".join(lines[:-cut]) + lines[-cut][:torn])
        readable = answers(Lake(tmp_path))
        (found,) = lake.fsck()

        assert readable
        assert (found.severity, found.file) == ("note", "_ledger/gold.counts.jsonl")
        assert lake.fsck() == []
        assert ledger.read_bytes().splitlines()[:-2] == whole.splitlines()[:-2]


def test_a_commit_of_another_program_is_refused(tmp_path: Path) -> None:
    from deltalake import DeltaTable, write_deltalake

    lake = a_lake(tmp_path)
    folder = tmp_path / "gold" / "counts"
    write_deltalake(DeltaTable(str(folder)), counts(intruder=1).to_arrow(), mode="append")

    with pytest.raises(LakeDamaged, match="is not a commit of this program"):
        lake.read(COUNTS)
    found = lake.fsck()[0]
    assert (found.severity, found.file) == ("damage", "gold/counts/_delta_log/00000000000000000012.json")


def test_a_table_with_deletion_vectors_is_refused(tmp_path: Path) -> None:
    from deltalake import DeltaTable, TableFeatures

    lake = a_lake(tmp_path)
    table = DeltaTable(str(tmp_path / "gold" / "counts"))
    table.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)

    with pytest.raises(LakeError, match="expected a plain Delta table"):
        lake.read(COUNTS)
