"""Rows gathered in any order, in memory or on the disk, come back as the same portions; each row once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import LakeFull
from etl.lake import Gathered, gathered

DAYS = (date(2026, 1, 2), date(2026, 1, 3))
SCHEMA = {"id": pl.Int64(), "hash": pl.String(), "text": pl.String(), "day": pl.Date()}


def rows_of(ids: list[int]) -> pl.DataFrame:
    """A row per id: its hash, text and day are its own, whatever batch it comes in."""
    texts = [f"record {n}" * (n % 7) for n in ids]
    hashes = [sha256(str(n).encode()).hexdigest() for n in ids]
    return pl.DataFrame([ids, hashes, texts, [DAYS[n % 2] for n in ids]], schema=SCHEMA)


def united(there: pl.DataFrame, came: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([there, came]).unique("id", keep="first", maintain_order=True)


def portions(batches: list[list[int]], there: list[int], folder: Path | None) -> dict[date, list[list[int]]]:
    """Per day the ids of each portion."""
    before = rows_of(there)
    with Gathered(SCHEMA, by="hash", weight="text", folder=folder) as place:
        for batch in batches:
            place.add(rows_of(batch))
        return {
            day: [
                sorted(portion["id"])
                for portion in place.portions(day, before.filter(pl.col("day") == day).lazy(), united)
            ]
            for day in DAYS
        }


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gathered, "FULL", 2_000)
        yield


IDS = st.lists(st.integers(0, 400), max_size=120)


@settings(max_examples=60, deadline=None)
@given(ids=IDS, there=IDS, cut=st.integers(1, 50), seed=st.randoms(use_true_random=False), on_disk=st.booleans())
def test_portions_are_made_of_the_rows_alone(
    ids: list[int], there: list[int], cut: int, seed: object, on_disk: bool
) -> None:
    shuffled = [*ids, *(n for n in there if n % 3)]  # some come again
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    batches = [shuffled[at : at + cut] for at in range(0, len(shuffled), cut)]
    with TemporaryDirectory() as folder:
        found = portions(batches, there, Path(folder) if on_disk else None)
    whole = portions([sorted({*ids, *there})], [], None)

    assert whole == found
    assert sorted({*ids, *there}) == sorted(n for parts in found.values() for part in parts for n in part)


def test_a_portion_ends_where_it_is_full_and_nowhere_within_a_range() -> None:
    found = portions([list(range(1_000))], [], None)
    for day, parts in found.items():
        ranges = [{sha256(str(n).encode()).hexdigest()[:2] for n in part} for part in parts]
        sizes = [sum(len(f"record {n}" * (n % 7)) + gathered.ROW_BYTES for n in part) for part in parts]

        assert 50 < len(parts), day
        assert all(max(one) < min(after) for one, after in pairwise(ranges))
        assert all(gathered.FULL <= size for size in sizes[:-1])
        assert max(sizes) < 2 * gathered.FULL + 2_000


def test_all_rows_come_back_batch_by_batch(tmp_path: Path) -> None:
    with Gathered(SCHEMA, by="hash", weight="text", folder=tmp_path) as place:
        for start in range(0, 300, 30):
            place.add(rows_of(list(range(start, start + 30))))

        assert 10 == len(list(place.frames()))
        assert rows_of(list(range(300))).equals(place.rows().sort("id"))
        assert (300, DAYS) == (place.height, place.days)


def test_a_disk_that_is_full_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gathered.tempfile, "TemporaryFile", full)
    with Gathered(SCHEMA, by="hash", weight="text", folder=tmp_path) as place, pytest.raises(LakeFull):
        place.add(rows_of(list(range(100))))


def test_a_process_killed_while_it_gathers_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from etl.lake import gathered\n"
        "from tests.lake.test_gathered import SCHEMA, rows_of\n"
        "gathered.FULL = 2_000\n"
        "place = gathered.Gathered(SCHEMA, by='hash', weight='text', folder=Path(sys.argv[1]))\n"
        "for start in range(0, 300, 30):\n"
        "    place.add(rows_of(list(range(start, start + 30))))\n"
        "assert os.fstat(place._file.fileno()).st_size > 10_000\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True)

    assert (-9, b"") == (ended.returncode, ended.stderr)
    assert [] == list(tmp_path.iterdir())
