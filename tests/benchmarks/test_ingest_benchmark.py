"""The benchmark's gate: figures count only when what was landed is what was served."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks import ingest as benchmark
from benchmarks import ingest_equal, ingest_runs
from benchmarks.ingest_equal import Unequal, check, check_orders
from benchmarks.measure import measured


def told(record: dict[str, Any]) -> tuple[str, bytes]:
    return record["id"], ingest_equal.mark(record)


def test_the_gate_sees_a_record_dropped_doubled_changed_or_never_served() -> None:
    served = dict(map(told, [{"id": "1", "a": {"b": 1.0, "c": None}}, {"id": "2"}]))
    check(served, [told({"a": {"c": None, "b": 1.0}, "id": "1"}), told({"id": "2"})])
    wrong: list[tuple[list[dict[str, Any]], str]] = [
        ([{"id": "2"}], "1 missing"),
        ([{"id": "1", "a": {"b": 1.0, "c": None}}, {"id": "2"}, {"id": "2"}], "1 twice"),
        ([{"id": "1", "a": {"b": 1.0}}, {"id": "2"}], "1 with other values"),
        ([{"id": "1", "a": {"b": 1.0, "c": None}}, {"id": "2"}, {"id": "3"}], "1 never served"),
    ]
    for landed, what in wrong:
        with pytest.raises(Unequal, match=what):
            check(served, map(told, landed))


@pytest.mark.parametrize("what", ["rest", "sql"])
def test_what_the_product_lands_passes_and_one_row_less_does_not(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and at a tiny size; the benchmark itself runs each contender in a process of its own."""
    with benchmark._served(what, 250, tmp_path / "source") as (address, is_equal):
        name, folder = f"c360-{what}", tmp_path / "landed"
        ingest_runs.RUNS[name](address, folder)
        is_equal(name, folder)

        table = ingest_equal._table
        monkeypatch.setattr(ingest_equal, "_table", lambda *given: table(*given)[:-1])
        with pytest.raises(Unequal):
            is_equal(name, folder)


def test_rows_with_another_value_are_not_the_same_rows(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        [(1, 2, "a", "paid", "1.50", 1, 0.5, None, "2026-01-02")], schema=ingest_equal.ORDERS, orient="row"
    )
    check_orders(rows, rows.clone())

    with pytest.raises(Unequal, match="amount"):
        check_orders(rows, rows.with_columns(amount=pl.lit("1.51")))
    with pytest.raises(Unequal, match="expected 1 rows, came 0"):
        check_orders(rows, rows.clear())


_BURN = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 0.3: pass"


def test_what_a_command_takes_is_measured_with_the_children_it_did_not_wait_for() -> None:
    burn = "import sys\nsys.stdin.read()\n" + _BURN  # ends after its parent has, as a JVM does
    command = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {burn!r}], stdin=subprocess.PIPE)"
    took = measured([sys.executable, "-c", f"{command}; time.sleep(0.3)"])

    assert 0.3 <= took.cpu


def test_what_a_command_takes_is_measured_with_its_children() -> None:
    burn = _BURN
    command = f"import subprocess, sys; held = bytearray(80_000_000); subprocess.run([sys.executable, '-c', {burn!r}])"
    held = bytearray(os.urandom(1)) * 200_000_000
    took = measured([sys.executable, "-c", f"{command}; print('done')"])
    del held

    assert (0, "done\n") == (took.exit_code, took.output)
    assert 0.3 <= took.cpu
    assert 80_000_000 < took.peak_rss < 160_000_000  # the child's own, whatever this process holds
    assert 3 == measured([sys.executable, "-c", "raise SystemExit(3)"]).exit_code
    with pytest.raises(subprocess.TimeoutExpired):
        measured([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
