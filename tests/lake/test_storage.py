"""What a lake does when the storage fails: one clear line, the old state readable, and no harm done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from etl.errors import LakeError, LakeFull
from etl.lake import Lake
from tests.lake.tables import COUNTS, MARKS, VISITS, counts, mark, visits
from tests.lake.writers import run_all


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (it needs root)")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk until `leave` bytes are free."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * max(0, shutil.disk_usage(disk).free - leave))
    return ballast


def refusal(lake: Lake, rows: pl.DataFrame, load_id: str) -> str | None:
    """What a commit of `rows` says when the disk is full; None when it went well."""
    try:
        lake.commit(VISITS, lake.stage(VISITS, rows), load_id=load_id)
    except LakeFull as full:
        return str(full)
    return None


def test_a_full_disk_is_one_line_and_the_old_state_stays(small_disk: Path) -> None:
    lake = Lake(small_disk / "lake")
    lake.commit(VISITS, lake.stage(VISITS, visits(range(20), 1)), load_id="load-0")
    wanted, refused = 20, 0
    for pages in range(16):  # 4 KiB a page: the disk gets full at every step of a commit in turn
        ballast = fill(small_disk, leave=4096 * pages)
        before = sorted(small_disk.rglob("part-*"))
        full = refusal(lake, visits(range(21 + pages), 1), f"load-{pages}")
        if full is None:
            wanted = 21 + pages
        else:
            refused += 1
            assert re.fullmatch(r"silver\.visits: no space left on the device; nothing was changed; .*", full)
            assert sorted(small_disk.rglob("part-*")) == before
        assert Lake(small_disk / "lake").read(VISITS).collect().height == wanted
        ballast.unlink()
        assert [found for found in lake.fsck() if found.severity == "damage"] == []

    last = lake.commit(VISITS, lake.stage(VISITS, visits(range(99), 1)), load_id="last")

    assert refused >= 2  # the data file, and the commit
    assert last.written
    assert lake.read(VISITS).collect().height == 99


def test_a_lake_cannot_be_made_on_a_full_disk_and_says_so(small_disk: Path) -> None:
    fill(small_disk, leave=0)

    with pytest.raises(LakeFull, match="the lake: no space left on the device"):
        Lake(small_disk / "lake")


def read_and_write_as_nobody(root: Path, said: Path) -> None:
    """Run in a process of its own: gives up root's rights first."""
    os.setuid(65534)
    lake = Lake(root)
    rows = lake.read(COUNTS).collect().height
    try:
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=2)), load_id="load-2")
    except LakeError as refused:
        said.write_text(f"{rows} {refused}")


def test_a_lake_one_may_only_read_is_readable_and_refuses_writes_in_one_line() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give up its rights")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        lake = Lake(Path(folder) / "lake")
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=1)), load_id="load-1")
        said = Path(folder) / "said"
        said.touch()
        said.chmod(0o666)

        codes = run_all(read_and_write_as_nobody, [(lake.root, said)])

        assert codes == [0]
        assert said.read_text() == (
            "1 gold.counts: the storage refused: Permission denied; nothing was changed; mend that and run again"
        )


ONE_COMMIT = """
import sys
from pathlib import Path
from etl.lake import Lake
from tests.lake.tables import MARKS, mark
lake = Lake(Path(sys.argv[1]))
for turn in range(2):
    lake.commit(MARKS, lake.stage(MARKS, mark(0, turn, 1)), load_id=f"load-{turn}")
"""


def test_files_are_on_disk_before_their_commit_and_the_commit_before_it_is_acknowledged(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    calls = "openat,fsync,fdatasync,link,linkat,rename,renameat,renameat2,close"
    subprocess.run(
        [
            *("strace", "-f", "-y", "-qq", "-e", f"trace={calls}", "-o", str(trace)),
            *(sys.executable, "-c", ONE_COMMIT, str(tmp_path / "lake")),
        ],
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        timeout=120,
    )
    steps = [
        step
        for line in trace.read_text().splitlines()
        if "lake/silver/marks" in line or "_ledger" in line
        for step in [_step(line)]
        if step
    ]
    of_second = steps[steps.index("commit 1") - 2 :]

    assert steps[: steps.index("commit 0")][-2:] == ["sync data", "sync day"]
    assert of_second == ["sync data", "sync day", "commit 1", "sync commit 1", "sync log", "sync ledger"]


def _step(line: str) -> str | None:
    """What a line of the trace says, in the words of the test."""
    if "sync(" in line:
        ends = {".parquet>": "sync data", "day=2026-01-01>": "sync day", "_delta_log>": "sync log"}
        ends |= {"marks.jsonl>": "sync ledger", "0000.json>": "sync commit 0", "0001.json>": "sync commit 1"}
        return next((said for end, said in ends.items() if end in line), None)
    made = re.search(r"(?:link|linkat|rename\w*)\(.*0000(\d)\.json\"", line)
    return f"commit {made[1]}" if made else None


def test_without_sync_nothing_else_changes(tmp_path: Path) -> None:
    lake = Lake(tmp_path, fsync=False)
    lake.commit(MARKS, lake.stage(MARKS, mark(0, 0, 1)), load_id="load-1")

    assert lake.read(MARKS).collect().height == 1
    assert lake.fsck() == []
