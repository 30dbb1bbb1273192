"""What the runs of customer 360 took, told: medians, the product's tables one by one, results file, picture, page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.c360_lake import ROOT
from benchmarks.c360_plot import bars
from benchmarks.measure import Measured, machine

RESULTS = ROOT / "benchmarks" / "results"
#: The page with a place for every size that is told there.
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("polars", "duckdb", "pandas", "dask", "pyspark", "deltalake", "pyarrow", "numpy", "scipy")
START = "start, imports"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one engine; `tables` is what the product says of itself, and after which run it was told."""

    engine: str
    took: Measured
    tables: tuple[dict[str, Any], ...] = ()


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


def by_table(runs: Sequence[Run], engine: str = "product") -> list[dict[str, Any]]:
    """The medians of each table the engine built, in build order, and of what is none: the start and the imports."""
    mine = [run for run in runs if run.engine == engine]
    rows = [
        {
            "table": same[0]["table"],
            "rows": same[0]["rows"],
            "cpu": round(statistics.median(each["cpu"] for each in same), 2),
            "wall": round(statistics.median(each["wall"] for each in same), 2),
        }
        for same in zip(*(run.tables for run in mine), strict=True)
    ]
    if not rows:
        return []
    beside = [
        (run.took.cpu - sum(each["cpu"] for each in run.tables), run.took.wall - sum(e["wall"] for e in run.tables))
        for run in mine
    ]
    cpu, wall = (round(statistics.median(each), 2) for each in zip(*beside, strict=True))
    return [*rows, {"table": START, "rows": None, "cpu": cpu, "wall": wall}]


def show(rows: Sequence[Row], title: str, console: Console) -> None:
    """The table people read."""
    shown = Shown(title=title)
    for name in ("engine", "runs", "CPU-s", "least", "most", "wall s", "PSS MB", "load before"):
        shown.add_column(name, justify="left" if name == "engine" else "right")
    for row in rows:
        loads = " ".join(str(load) for load in row["load"])
        figures = [f"{row[name]:.1f}" for name in ("cpu", "cpu_least", "cpu_most", "wall")]
        shown.add_row(row["engine"], str(row["runs"]), *figures, f"{row['peak_pss'] / 1e6:,.0f}", loads)
    console.print(shown)


def show_tables(rows: Sequence[Row], title: str, console: Console) -> None:
    """Where the product's own time goes."""
    shown = Shown(title=title)
    for name in ("table", "rows", "CPU-s", "share", "wall s"):
        shown.add_column(name, justify="left" if name == "table" else "right")
    for row, share in zip(rows, _shares(rows), strict=True):
        shown.add_row(row["table"], _count(row["rows"]), f"{row['cpu']:.2f}", share, f"{row['wall']:.2f}")
    console.print(shown)


def write(name: str, content: Row) -> Path:
    """A results file, with the machine and the versions it was measured with."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **machine(*PACKAGES), **content}
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return path


def tell(result: Path, page: Path = PAGE) -> list[Path]:
    """The picture beside a results file, and its section in the page, where that has a place for it."""
    told = json.loads(result.read_text(encoding="utf-8"))
    picture = result.with_suffix(".svg")
    picture.write_text(bars(told["summary"], told["tables"]), encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    after = placed(before, told["size"], section(told, picture.name))
    if after != before:
        page.write_text(after, encoding="utf-8")
        return [picture, page]
    return [picture]


def placed(page: str, size: str, text: str) -> str:
    """The page with `text` in the place of that size; as it was where it has none."""
    begin, end = f"<!-- c360 {size} -->\n", f"<!-- /c360 {size} -->\n"
    before, found, rest = page.partition(begin)
    if not found:
        return page
    return f"{before}{begin}{text}{end}{rest.partition(end)[2]}"


def section(told: Row, picture: str) -> str:
    """A results file as Markdown: what was asked, the engines, the product's tables."""
    versions = ", ".join(f"{name} {number}" for name, number in told["packages"].items() if number)
    measured = (
        f"{told['people']:,} people, {told['events']:,} web events: {told['customers']:,} customers, equal in all "
        f"{told['columns']} columns. {told['cores']} cores, Python {told['python']}, {told['measured_at'][:10]}; "
        f"{versions}. Load is the machine's one-minute load just before a run."
    )
    lines = [
        measured,
        "",
        "| | runs | CPU-s | wall s | PSS MB | CPU against ours | load before |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['engine']} | {row['runs']} | {row['cpu']:.1f} | {row['wall']:.1f} | {row['peak_pss'] / 1e6:,.0f} "
            f"| {_against_ours(row, told['summary'])} | {' '.join(map(str, row['load']))} |"
            for row in told["summary"]
        ),
        "",
        f"![CPU-seconds and memory of each engine, and of each table of the product](../benchmarks/results/{picture})",
        "",
        "Where the product's CPU-seconds go:",
        "",
        "| table | rows | CPU-s | share | wall s |",
        "|---|---|---|---|---|",
        *(
            f"| {row['table']} | {_count(row['rows'])} | {row['cpu']:.1f} | {share} | {row['wall']:.1f} |"
            for row, share in zip(told["tables"], _shares(told["tables"]), strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def _against_ours(row: Row, rows: Sequence[Row]) -> str:
    ours = next((each["cpu"] for each in rows if each["engine"] == "product"), None)
    return f"{row['cpu'] / ours:.2f}" if ours else ""


def _shares(rows: Sequence[Row]) -> list[str]:
    whole = sum(row["cpu"] for row in rows) or 1.0
    return [f"{row['cpu'] / whole:.0%}" for row in rows]


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"
