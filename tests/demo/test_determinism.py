"""The same four values give the same bytes, in any process; other values give another company."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import msgspec

from etl.demo import Company, build_company, prepare
from etl.demo.files import DemoFiles

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.demo.test_determinism import digest_of_everything
print(digest_of_everything(Path({home!r})))
"""


def digest_of_everything(home: Path) -> str:
    """SHA-256 over every file `prepare` writes and every record the server would send."""
    prepare(home, people=150, days=6, seed=11)
    company = build_company(people=150, days=6, seed=11)
    digest = hashlib.sha256()
    for path in sorted((home / "demo").rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(home)).encode() + path.read_bytes())
    for key, versions in sorted(company.records.items()):
        digest.update(repr(key).encode() + msgspec.json.encode(versions))
    digest.update(msgspec.json.encode(sorted((day.isoformat(), rows) for day, rows in company.insights.items())))
    return digest.hexdigest()


def test_two_processes_with_different_hash_seeds_write_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for hash_seed in ("1", "4242"):
        home = tmp_path / hash_seed
        program = PROGRAM.format(root=str(ROOT), home=str(home))
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        digests.append(done.stdout.strip())

    assert digests[0] == digests[1] != ""


def test_another_seed_is_another_company(company: Company) -> None:
    other = build_company(people=40, days=3, seed=8)
    same_size = build_company(people=40, days=3, seed=9)

    assert [p.email for p in other.people] != [p.email for p in same_size.people]


def test_the_first_day_moves_everything(tmp_path: Path) -> None:
    made = prepare(tmp_path, people=40, days=3, seed=8, first_day=date(2026, 2, 27))

    names = sorted(path.name for path in (made.root / "ga4").iterdir())

    assert names == ["events_20260227.jsonl", "events_20260228.jsonl", "events_20260301.jsonl"]


def test_a_second_run_reuses_the_files_and_other_values_replace_them(tmp_path: Path) -> None:
    first = prepare(tmp_path, people=40, days=3, seed=8)
    stamp = (first.root / "crm.sqlite").stat().st_mtime_ns

    again = prepare(tmp_path, people=40, days=3, seed=8)
    unchanged = (again.root / "crm.sqlite").stat().st_mtime_ns
    other = prepare(tmp_path, people=40, days=2, seed=8)

    assert (first.was_there, again.was_there, other.was_there) == (False, True, False)
    assert unchanged == stamp
    assert len(list((other.root / "ga4").iterdir())) == 2


def test_a_run_that_died_half_way_leaves_nothing_that_is_reused(tmp_path: Path) -> None:
    half = tmp_path / "demo" / "files" / "ga4"
    half.mkdir(parents=True)
    (half / "events_20260101.jsonl").write_text("{")

    made = prepare(tmp_path, people=40, days=2, seed=8)

    assert made.was_there is False
    assert len((made.root / "ga4" / "events_20260101.jsonl").read_text()) > 1


def test_no_part_of_the_answer_is_left_beside_the_folder(files: DemoFiles) -> None:
    home = files.root.parent.parent

    assert [path.name for path in home.iterdir()] == ["demo"]
