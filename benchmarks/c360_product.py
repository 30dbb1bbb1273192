"""The product's own run of the job: every table of it built from bronze by the `build` that `c360 run` uses.

    python -m benchmarks.c360_product HOME [--checks] [--linkage] [--profile FOLDER] [--next-day]

HOME holds a lake with bronze in it. Prints one line of JSON: per table its rows, CPU-seconds and wall seconds. The
peers do not run Great Expectations, so neither does this unless `--checks` asks for it, with Data Docs as ever; nor do
they link records by likeness, which `--linkage` adds. `--profile` leaves a profile of each table in
FOLDER (`python -m pstats FOLDER/silver.orders.prof`): of the thread that builds, which waits in `collect` for Polars.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.c360_lake import bench_house, history, job, next_day
from etl.model import Table, Window
from etl.run.build import Audit, build
from etl.run.house import House
from etl.run.quality import gate


def unchecked(_table: Table, _frames: Sequence[pl.LazyFrame], _window: str) -> None:
    """An audit that lets everything pass."""


def build_job(
    house: House, window: Window, audit: Audit, *, with_linkage: bool = False, profiles: Path | None = None
) -> list[dict[str, Any]]:
    """Every table of the job, in order; what each took."""
    took: list[dict[str, Any]] = []
    for table in job(house, with_linkage=with_linkage):
        wall, cpu = time.perf_counter(), time.process_time()
        with _profiled(profiles and profiles / f"{table.full_name}.prof"):
            report = build(house, table, window, run_id=f"benchmark-{window.key}", audit=audit)
        took.append(
            {
                "table": table.full_name,
                "rows": report.rows_out,
                "cpu": round(time.process_time() - cpu, 3),
                "wall": round(time.perf_counter() - wall, 3),
            }
        )
    return took


@contextmanager
def _profiled(target: Path | None) -> Iterator[None]:
    if target is None:
        yield
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    profile = cProfile.Profile()
    with profile:
        yield
    profile.dump_stats(target)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--checks", action="store_true")
    parser.add_argument("--linkage", action="store_true")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--next-day", action="store_true")
    asked = parser.parse_args()
    house = bench_house(asked.home)
    audit = gate(house.settings.docs_path, run_id="benchmark") if asked.checks else unchecked
    window = next_day() if asked.next_day else history()
    tables = build_job(house, window, audit, with_linkage=asked.linkage, profiles=asked.profile)
    print(json.dumps({"tables": tables}))


if __name__ == "__main__":
    main()
