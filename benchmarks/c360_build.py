"""Customer 360 built by the product and by its peers from the same bronze; measured only once the answers are equal.

    python -m benchmarks.c360_build --size S --repeats 3 --engines product polars duckdb pandas dask pyspark
    python -m benchmarks.c360_build --growth 0.25m 0.5m 1m 2m
    python -m benchmarks.c360_build --size S --increment

The engines take turns, every run in a process of its own: its imports, the reading of bronze and the writing of gold
are part of it. No time is printed while any run's answer differs from the product's in any column of any customer. See
benchmarks/README.md for what is and is not compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.c360_gate import differences
from benchmarks.c360_lake import ROOT, Size, bench_house, copy_of
from benchmarks.generate import generated, land_next_day
from benchmarks.measure import Measured, machine, measured
from etl.gold.customer_360 import CUSTOMER_360
from etl.run.identity import score

PEERS = ("polars", "duckdb", "pandas", "dask", "pyspark")
ENGINES = ("product", "product+checks", *PEERS)
RESULTS = ROOT / "benchmarks" / "results"
#: Packages of peers alone, beside the environment.
PACKAGES = ROOT / "var" / "bench" / "packages"
#: Longer than this, and a run is given up.
PATIENCE = 3600.0
_PACKAGES = ("polars", "duckdb", "pandas", "dask", "pyspark", "deltalake", "pyarrow", "numpy", "scipy")


class NotEqual(Exception):
    """A peer's answer is another one than the product's."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one engine; `tables` is what the product says of itself."""

    engine: str
    took: Measured
    tables: tuple[dict[str, Any], ...] = ()


def missing(engine: str) -> str:
    """Why an engine cannot run here; empty when it can. PySpark is nothing this project needs, so it is not locked."""
    if engine != "pyspark" or importlib.util.find_spec("pyspark") or (PACKAGES / "pyspark").is_dir():
        return ""
    return f"it is not installed; pip install --target {PACKAGES.relative_to(ROOT)} pyspark"


def run_once(engine: str, size: Size, work: Path) -> tuple[Run, pl.DataFrame]:
    """One run in a process of its own, and the profiles it wrote."""
    lake = generated(size) / "lake"
    if engine in PEERS:
        out = work / engine
        shutil.rmtree(out, ignore_errors=True)
        took = _measured([f"benchmarks.peers.{engine}_peer", str(lake), str(out)])
        return Run(engine, took), pl.read_delta(str(out))
    home = copy_of(lake.parent, work / "product")
    took = _measured(["benchmarks.c360_product", str(home), *(["--checks"] if engine == "product+checks" else [])])
    tables = json.loads(took.output.splitlines()[-1])["tables"]
    return Run(engine, took, tuple(tables)), bench_house(home).lake.read(CUSTOMER_360).collect()


def _measured(arguments: Sequence[str]) -> Measured:
    path = {"PYTHONPATH": str(PACKAGES)} if "pyspark" in arguments[0] else {}
    took = measured([sys.executable, "-m", *arguments], env=path, cwd=ROOT, timeout=PATIENCE)
    if took.exit_code:
        raise SystemExit(f"{arguments[0]} ended with {took.exit_code}:\n{took.errors[-3000:]}")
    return took


def compare(size: Size, engines: Sequence[str], repeats: int, console: Console) -> list[Run]:
    """Every engine `repeats` times, taking turns. Raises: NotEqual, before any time is told."""
    work = size.folder / "work"
    runs: list[Run] = []
    expected: pl.DataFrame | None = None
    for number in range(1, repeats + 1):
        for engine in engines:
            console.print(f"round {number} of {repeats}: {engine}, load {os.getloadavg()[0]:.1f}", style="dim")
            run, came = run_once(engine, size, work)
            if expected is None:
                expected = came if engine.startswith("product") else run_once("product", size, work)[1]
            if said := differences(expected, came):
                raise NotEqual(f"{engine} at {size.name}: " + "; ".join(said))
            runs.append(run)
    assert expected is not None
    console.print(f"equal in {len(expected.columns)} columns of {expected.height:,} customers", style="green")
    return runs


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Per engine the medians, the spread of CPU-seconds, and the loads it ran under."""
    rows = []
    for engine in dict.fromkeys(run.engine for run in runs):
        took = [run.took for run in runs if run.engine == engine]
        rows.append(
            {
                "engine": engine,
                "runs": len(took),
                "cpu": round(statistics.median(each.cpu for each in took), 2),
                "cpu_least": round(min(each.cpu for each in took), 2),
                "cpu_most": round(max(each.cpu for each in took), 2),
                "wall": round(statistics.median(each.wall for each in took), 2),
                "peak_pss": max(each.peak_pss for each in took),
                "load": [round(each.load, 1) for each in took],
            }
        )
    return rows


def show(rows: Sequence[dict[str, Any]], title: str, console: Console) -> None:
    """The table people read."""
    shown = Shown(title=title)
    for name in ("engine", "runs", "CPU-s", "least", "most", "wall s", "PSS MB", "load before"):
        shown.add_column(name, justify="left" if name == "engine" else "right")
    for row in rows:
        loads = " ".join(str(load) for load in row["load"])
        figures = [f"{row[name]:.1f}" for name in ("cpu", "cpu_least", "cpu_most", "wall")]
        shown.add_row(row["engine"], str(row["runs"]), *figures, f"{row['peak_pss'] / 1e6:,.0f}", loads)
    console.print(shown)


def increment(size: Size, console: Console) -> list[dict[str, Any]]:
    """One more day (one event in ninety) in a lake that is already built: what the product takes, table by table."""
    work = size.folder / "work"
    home = copy_of(generated(size), work / "increment")
    console.print("building the history (not measured)", style="dim")
    _measured(["benchmarks.c360_product", str(home)])
    land_next_day(bench_house(home), generated(size))
    took = _measured(["benchmarks.c360_product", str(home), "--next-day"])
    tables = json.loads(took.output.splitlines()[-1])["tables"]
    return [{"engine": "product, next day", **took.figures(), "tables": tables}]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log(y) over log(x), by least squares: 1 grows in step."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def write(name: str, content: dict[str, Any]) -> Path:
    """A results file, with the machine and the versions it was measured with."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **machine(*_PACKAGES), **content}
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=Size.of, default=Size.of("S"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--growth", nargs="+", type=Size.of, metavar="SIZE")
    parser.add_argument("--increment", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/*.json")
    asked = parser.parse_args()
    console = Console()
    engines = []
    for engine in asked.engines:
        if why := missing(engine):
            console.print(f"{engine} is left out: {why}")
        else:
            engines.append(engine)
    content: dict[str, Any]
    if asked.increment:
        name, content = f"c360_increment_{asked.size.name}", {"runs": increment(asked.size, console)}
        console.print_json(json.dumps(content))
    elif asked.growth:
        name, content = "c360_growth", {"growth": growth(asked.growth, engines, asked.repeats, console)}
    else:
        generated(asked.size, progress=lambda told: console.print(told, style="dim"))
        runs = compare(asked.size, engines, asked.repeats, console)
        rows = summary(runs)
        show(rows, f"customer 360, {asked.size.name}: {asked.size.events:,} web events", console)
        home = asked.size.folder / "work" / "product"
        found = score(bench_house(home), asked.size.folder / "truth.parquet")
        console.print(f"identity against the truth: {found}")
        each = [{"engine": run.engine, **run.took.figures(), "tables": run.tables} for run in runs]
        name, content = f"c360_{asked.size.name}", {"size": asked.size.name, "summary": rows, "runs": each}
    if asked.keep:
        console.print(f"written: {write(name, content).relative_to(ROOT)}")


def growth(sizes: Sequence[Size], engines: Sequence[str], repeats: int, console: Console) -> list[dict[str, Any]]:
    """Every size in turn; per engine the exponents of CPU-seconds and memory over web events."""
    told: list[dict[str, Any]] = []
    for size in sizes:
        generated(size, progress=lambda each: console.print(each, style="dim"))
        rows = summary(compare(size, engines, repeats, console))
        show(rows, f"customer 360, {size.name}: {size.events:,} web events", console)
        told += [{"events": size.events, "people": size.people, **row} for row in rows]
    for engine in engines:
        mine = [row for row in told if row["engine"] == engine]
        if len(mine) > 1:
            for what in ("cpu", "peak_pss"):
                slope = exponent([(row["events"], row[what]) for row in mine])
                console.print(f"{engine}: {what} grows with events to the power {slope:.2f}")
    return told


if __name__ == "__main__":
    main()
