"""Customer 360 built by the product and by its peers from the same bronze; measured only once the answers are equal.

    python -m benchmarks.c360_build --size S --repeats 3 --engines product polars duckdb pandas dask pyspark
    python -m benchmarks.c360_build --growth 0.25m 0.5m 1m 2m
    python -m benchmarks.c360_build --size S --increment
    python -m benchmarks.c360_build --size S --linkage

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import psutil  # type: ignore[import-untyped]
from rich.console import Console

from benchmarks.c360_gate import differences
from benchmarks.c360_lake import ROOT, Size, bench_house, copy_of
from benchmarks.c360_told import Run, by_table, show, show_tables, summary, tell, write
from benchmarks.generate import generated, land_next_day
from benchmarks.measure import Measured, measured
from etl.gold.customer_360 import CUSTOMER_360
from etl.run.identity import score

PEERS = ("polars", "duckdb", "pandas", "dask", "pyspark")
ENGINES = ("product", "product+checks", *PEERS)
#: Packages of peers alone, beside the environment.
PACKAGES = ROOT / "var" / "bench" / "packages"
#: Longer than this, and a run is given up.
PATIENCE = 3600.0
#: Bytes of memory to a web event, of those that hold everything at once.
_HELD = {"pandas": 2_400, "dask": 9_800}


class NotEqual(Exception):
    """A peer's answer is another one than the product's."""


def missing(engine: str, size: Size) -> str:
    """Why an engine cannot run here; empty when it can. PySpark is nothing this project needs, so it is not locked."""
    is_there = importlib.util.find_spec("pyspark") or (PACKAGES / "pyspark").is_dir()
    if engine == "pyspark" and not is_there:
        return f"it is not installed; pip install --target {PACKAGES.relative_to(ROOT)} pyspark"
    needed = _HELD.get(engine, 0) * size.events
    if needed > 0.85 * psutil.virtual_memory().total:
        return f"it would need about {needed / 1e9:.0f} GB of memory"
    return ""


def run_once(engine: str, size: Size, work: Path) -> tuple[Run, pl.DataFrame]:
    """One run in a process of its own, and the profiles it wrote."""
    lake = generated(size) / "lake"
    if engine in PEERS:
        return peer(engine, lake, work / engine)
    home = copy_of(lake.parent, work / "product")
    run = _product(engine, home, *(["--checks"] if engine == "product+checks" else []))
    return run, bench_house(home).lake.read(CUSTOMER_360).collect()


def peer(engine: str, lake: Path, out: Path) -> tuple[Run, pl.DataFrame]:
    """One run of a peer on the bronze in `lake`, and the profiles it wrote to `out`."""
    shutil.rmtree(out, ignore_errors=True)
    took = _measured([f"benchmarks.peers.{engine}_peer", str(lake), str(out)])
    return Run(engine, took), pl.read_delta(str(out))


def _product(engine: str, home: Path, *options: str) -> Run:
    took = _measured(["benchmarks.c360_product", str(home), *options])
    return Run(engine, took, tuple(json.loads(took.output.splitlines()[-1])["tables"]))


def _measured(arguments: Sequence[str]) -> Measured:
    path = {"PYTHONPATH": str(PACKAGES)} if "pyspark" in arguments[0] else {}
    took = measured([sys.executable, "-m", *arguments], env=path, cwd=ROOT, timeout=PATIENCE)
    if took.exit_code:
        raise SystemExit(f"{arguments[0]} ended with {took.exit_code}:\n{took.errors[-3000:]}")
    return took


def compare(
    size: Size,
    engines: Sequence[str],
    repeats: int,
    console: Console,
    keep: Callable[[Sequence[Run]], object] = lambda _: None,
) -> tuple[list[Run], int]:
    """Every engine `repeats` times, taking turns, and how many customers. Raises: NotEqual, before any time is told.

    `keep` is given the runs so far after each that was equal.
    """
    work = size.folder / "work"
    runs: list[Run] = []
    expected: pl.DataFrame | None = None
    for engine in [engine for _ in range(repeats) for engine in engines]:
        about = f"run {len(runs) + 1} of {repeats * len(engines)}: {engine}"
        console.print(f"{about}, load {os.getloadavg()[0]:.1f}", style="dim")
        with console.status(about):
            run, came = run_once(engine, size, work)
            if expected is None:
                expected = came if engine.startswith("product") else run_once("product", size, work)[1]
            if said := differences(expected, came):
                raise NotEqual(f"{engine} at {size.name}: " + "; ".join(said))
        runs.append(run)
        keep(runs)
    assert expected is not None
    console.print(f"equal in {len(expected.columns)} columns of {expected.height:,} customers", style="green")
    return runs, expected.height


def increment(size: Size, console: Console) -> Run:
    """One more day (one event in ninety) in a lake that is already built: what the product takes, table by table."""
    home = copy_of(generated(size), size.folder / "work" / "increment")
    console.print("building the history (not measured)", style="dim")
    _measured(["benchmarks.c360_product", str(home)])
    land_next_day(bench_house(home), generated(size))
    return _product("product, next day", home, "--next-day")


def linkage(size: Size) -> Run:
    """The product with the linkage of records by likeness, which no peer can be held against."""
    home = copy_of(generated(size), size.folder / "work" / "linkage")
    return _product("product, with linkage", home, "--linkage")


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log(y) over log(x), by least squares: 1 grows in step."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def growth(sizes: Sequence[Size], engines: Sequence[str], repeats: int, console: Console) -> list[dict[str, Any]]:
    """Every size in turn; per engine the exponents of CPU-seconds and memory over web events."""
    told: list[dict[str, Any]] = []
    for size in sizes:
        generated(size, progress=lambda each: console.print(each, style="dim"))
        rows = summary(compare(size, engines, repeats, console)[0])
        show(rows, f"customer 360, {size.name}: {size.events:,} web events", console)
        told += [{"events": size.events, "people": size.people, **row} for row in rows]
    for engine in engines:
        mine = [row for row in told if row["engine"] == engine]
        if len(mine) > 1:
            for what in ("cpu", "peak_pss"):
                slope = exponent([(row["events"], row[what]) for row in mine])
                console.print(f"{engine}: {what} grows with events to the power {slope:.2f}")
    return told


def _alone(run: Run, size: Size, console: Console) -> dict[str, Any]:
    """What a run that nothing can be held against took, shown, for a results file."""
    rows, tables = summary([run]), by_table([run], run.engine)
    show(rows, f"{size.name}: {size.events:,} web events", console)
    show_tables(tables, run.engine, console)
    return {"size": size.name, "summary": rows, "tables": tables, "run": run.took.figures()}


def _compared(size: Size, engines: Sequence[str], repeats: int, console: Console) -> dict[str, Any]:
    """The engines at one size, shown, for a results file. Of a benchmark broken off the runs stay in `work`."""
    so_far = size.folder / "work" / "runs.json"
    runs, customers = compare(
        size, engines, repeats, console, lambda runs: so_far.write_text(json.dumps(_figures(runs)), encoding="utf-8")
    )
    rows, tables = summary(runs), by_table(runs)
    show(rows, f"customer 360, {size.name}: {size.events:,} web events", console)
    if tables:
        show_tables(tables, "the product, table by table", console)
        found = score(bench_house(size.folder / "work" / "product"), size.folder / "truth.parquet")
        console.print(f"identity against the truth: precision {found.precision:.4f}, recall {found.recall:.4f}")
    return {
        "size": size.name,
        "people": size.people,
        "events": size.events,
        "customers": customers,
        "columns": len(CUSTOMER_360.columns),
        "summary": rows,
        "tables": tables,
        "runs": _figures(runs),
    }


def _figures(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [{"engine": run.engine, **run.took.figures()} for run in runs]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=Size.of, default=Size.of("S"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--growth", nargs="+", type=Size.of, metavar="SIZE")
    parser.add_argument("--increment", action="store_true")
    parser.add_argument("--linkage", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results and docs/benchmarks.md")
    asked = parser.parse_args()
    sys.path.append(str(PACKAGES))
    console = Console()
    size: Size = asked.size
    generated(size, progress=lambda told: console.print(told, style="dim"))
    engines = []
    for engine in asked.engines:
        if why := missing(engine, max(asked.growth or [size], key=lambda each: each.events)):
            console.print(f"{engine} is left out: {why}")
        else:
            engines.append(engine)
    content: dict[str, Any]
    if asked.increment:
        name, content = f"c360_increment_{size.name}", _alone(increment(size, console), size, console)
    elif asked.linkage:
        name, content = f"c360_linkage_{size.name}", _alone(linkage(size), size, console)
    elif asked.growth:
        name, content = "c360_growth", {"growth": growth(asked.growth, engines, asked.repeats, console)}
    else:
        name, content = f"c360_{size.name}", _compared(size, engines, asked.repeats, console)
    if asked.keep:
        written = [write(name, content)]
        if "customers" in content:
            written += tell(written[0])
        console.print(f"written: {', '.join(str(path.relative_to(ROOT)) for path in written)}")


if __name__ == "__main__":
    main()
