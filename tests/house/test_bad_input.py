"""What a user may get wrong: one clear line, exit code 2, no traceback, nothing half-written. The real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

OWN = """
[company]
name = "acme"
first_day = 2026-01-01
last_day = 2026-01-02
[sources.hubspot]
base_url = "http://127.0.0.1:9/hubspot"
allow_private = true
"""


def c360(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, in `folder`, with nothing of the machine's environment but PATH."""
    return subprocess.run(
        [sys.executable, "-m", "etl", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(ended: subprocess.CompletedProcess[str], said: str) -> None:
    """Exit code 2, one line on stderr that says `said`, no traceback anywhere."""
    lines = [line for line in ended.stderr.splitlines() if line.strip()]

    assert ended.returncode == 2, ended.stderr + ended.stdout
    assert len(lines) == 1, ended.stderr
    assert said in lines[0]
    assert lines[0].startswith("c360: ")
    assert "Traceback" not in ended.stdout + ended.stderr


def tables_in(folder: Path) -> list[str]:
    """Every Delta table under the folder."""
    return sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("_delta_log"))


def test_an_unknown_source_name(tmp_path: Path) -> None:
    ended = c360(tmp_path, "backfill", "hubspott", "--from", "2026-01-01")

    one_line(ended, "did you mean hubspot")
    assert tables_in(tmp_path) == []


def test_a_malformed_lakehouse_toml(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text("[company\nname = acme")

    one_line(c360(tmp_path, "run"), "lakehouse.toml is not TOML")


def test_a_window_that_ends_before_it_starts(tmp_path: Path) -> None:
    ended = c360(tmp_path, "run", "--from", "2026-01-05", "--to", "2026-01-01")

    one_line(ended, "the last day is before the first")
    assert tables_in(tmp_path) == []


def test_a_day_that_is_none(tmp_path: Path) -> None:
    one_line(c360(tmp_path, "run", "--from", "2026-02-30"), "expected a day like 2026-01-31")


def test_a_lake_written_by_a_newer_version(tmp_path: Path) -> None:
    lake = tmp_path / "var" / "lake"
    lake.mkdir(parents=True)
    (lake / "lake.json").write_text(json.dumps({"format": 999}))

    one_line(c360(tmp_path, "run"), "999")
    assert tables_in(tmp_path) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "gold/../../x", "gold.%2e%2e", "silver.orders;drop"])
def test_a_table_name_with_a_path_in_it(tmp_path: Path, name: str) -> None:
    one_line(c360(tmp_path, "quarantine", name), "a name is lower-case letters")


def test_an_unreachable_source(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(OWN)

    ended = c360(tmp_path, "run", "--from", "2026-01-01", C360_SECRET_HUBSPOT="token")

    assert ended.returncode == 2, ended.stdout + ended.stderr
    failed = [line for line in ended.stdout.splitlines() if line.startswith("failed")]
    assert len(failed) >= 1
    assert all("hubspot" in line for line in failed)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "token" not in ended.stdout + ended.stderr
    assert tables_in(tmp_path / "var" / "lake") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    ended = c360(
        tmp_path,
        "run",
        "--from",
        "2026-01-01",
        C360_LAKE=str(small_disk / "lake"),
        C360_DEMO_PEOPLE="300",
        C360_DEMO_DAYS="5",
    )

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "no space left" in (ended.stdout + ended.stderr).lower()
    assert "Traceback" not in ended.stdout + ended.stderr
    assert [path for path in small_disk.rglob("*.parquet*") if path.stat().st_size == 0] == []


def test_sql_that_is_none(tmp_path: Path) -> None:
    one_line(c360(tmp_path, "sql", "select 1"), "c360 run")


def test_a_secret_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(OWN + 'secret = "abc"\n')

    ended = c360(tmp_path, "run")

    one_line(ended, "C360_SECRET_HUBSPOT")
    assert "abc" not in ended.stderr


def test_help_reads_like_a_tour(tmp_path: Path) -> None:
    ended = c360(tmp_path, "--help")

    assert ended.returncode == 0
    for command in ("run", "backfill", "sql", "tables", "sources", "status", "quarantine", "fsck", "airflow"):
        assert command in ended.stdout
