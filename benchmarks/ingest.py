"""What landing costs, beside dlt: `python -m benchmarks.ingest [rest|sql] [--rows N] [--repeats N]`.

    rest   200,000 contacts of an API on this machine, in another process, into Delta
    sql    1,000,000 rows of a table in a SQLite file, into Delta

Each run is a process of its own, and the contenders take turns. What a run landed is held against what was served
before its figures count. CPU-seconds are the measure: wall time depends on who else is at work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ingest_equal import ORDERS, Unequal, check, check_orders, contacts_of, mark, orders_of
from benchmarks.ingest_source import contacts, fill_sqlite
from benchmarks.measure import Measured, machine, measured

RESULTS = Path(__file__).parent / "results"
CONTENDERS = {
    "rest": ("c360-rest", "dlt-rest", "dlt-rest-flat", "dlt-rest-arrow"),
    "sql": ("c360-sql", "c360-sqlalchemy", "dlt-sql-connectorx", "dlt-sql-pyarrow"),
}
ROWS = {"rest": 200_000, "sql": 1_000_000}
PACKAGES = ("polars", "pyarrow", "deltalake", "httpx", "msgspec", "connectorx", "sqlalchemy", "dlt", "requests")

Check = Callable[[str, Path], None]


def run(what: str, rows: int, repeats: int, contenders: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Every run's figures as it ends. Raises: Unequal, naming who landed something else; CalledProcessError."""
    with TemporaryDirectory(prefix="c360-bench-") as folder:
        home = Path(folder)
        with _served(what, min(rows, 300), home / "few") as (address, is_equal):
            for name in contenders:  # modules are compiled now, and whoever cannot land is known at once
                _once(name, address, home, is_equal)
        with _served(what, rows, home / "all") as (address, is_equal):
            for repeat in range(repeats):
                for name in contenders[repeat % len(contenders) :] + contenders[: repeat % len(contenders)]:
                    took = _once(name, address, home, is_equal)
                    yield {"contender": name, "repeat": repeat, **took.figures()}


def _once(name: str, address: str, home: Path, is_equal: Check) -> Measured:
    folder = home / "landed"
    shutil.rmtree(folder, ignore_errors=True)
    env = {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(home / "compiled"),
        "HOME": str(home),
    }
    took = measured([sys.executable, "-m", "benchmarks.ingest_runs", name, address, str(folder)], env=env)
    if took.exit_code:
        raise subprocess.CalledProcessError(took.exit_code, name, took.output, took.errors)
    try:
        is_equal(name, folder)
    except Unequal as problem:
        raise Unequal(f"{name} did not land what was served: {problem}") from None
    return took


@contextmanager
def _served(what: str, rows: int, folder: Path) -> Iterator[tuple[str, Check]]:
    """The address of the source, and what tells whether all of it was landed."""
    folder.mkdir()
    if what == "sql":
        path = folder / "shop.sqlite"
        fill_sqlite(path, rows)
        orders = _orders(path)
        yield f"sqlite:///{path}", lambda name, landed: check_orders(orders, orders_of(name, landed))
        return
    expected = {record["id"]: mark(record) for record in contacts(rows)}
    command = [sys.executable, "-m", "benchmarks.ingest_source", "--rows", str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            yield address, lambda name, landed: check(expected, contacts_of(name, landed))
        finally:
            server.terminate()


def _orders(path: Path) -> Any:
    import sqlite3

    import polars as pl

    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM orders ORDER BY order_id").fetchall()
    return pl.DataFrame(rows, schema=ORDERS, orient="row")


# --- telling ----------------------------------------------------------------------------------------------------------


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per contender the median and the least CPU-seconds, the median wall, and the highest peaks."""
    told = {}
    for name in dict.fromkeys(each["contender"] for each in runs):
        mine = [each for each in runs if each["contender"] == name]
        told[name] = {
            "runs": len(mine),
            "cpu_median": round(statistics.median(each["cpu"] for each in mine), 2),
            "cpu_least": round(min(each["cpu"] for each in mine), 2),
            "wall_median": round(statistics.median(each["wall"] for each in mine), 2),
            "peak_rss_mb": round(max(each["peak_rss"] for each in mine) / 2**20),
            "peak_pss_mb": round(max(each["peak_pss"] for each in mine) / 2**20),
        }
    return told


def _line(one: dict[str, Any]) -> str:
    return (
        f"{one['contender']:20} {one['cpu']:7.2f} CPU-s {one['wall']:7.2f} s  RSS {one['peak_rss'] / 2**20:5.0f} MB  "
        f"PSS {one['peak_pss'] / 2**20:5.0f} MB  load {one['load']:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write `benchmarks/results/ingest-<what>.json`."""
    asked = argparse.ArgumentParser(prog="benchmarks.ingest", description=__doc__.split("\n", 1)[0] if __doc__ else "")
    asked.add_argument("what", nargs="?", choices=sorted(CONTENDERS), default="rest")
    asked.add_argument("--rows", type=int)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--only", nargs="*", default=None, help="these contenders")
    asked.add_argument("--results", type=Path, default=RESULTS)
    told = asked.parse_args(arguments)
    rows = told.rows or ROWS[told.what]
    contenders = tuple(name for name in CONTENDERS[told.what] if told.only is None or name in told.only)
    told.results.mkdir(exist_ok=True)
    runs: list[dict[str, Any]] = []
    try:
        for one in run(told.what, rows, told.repeats, contenders):
            print(_line(one), flush=True)
            runs.append(one)
            _keep(told.results / f"ingest-{told.what}.json", told.what, rows, runs)
    except Unequal as problem:
        print(problem, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as problem:
        print(f"{problem.cmd} ended with {problem.returncode}:\n{problem.stderr[-3000:]}", file=sys.stderr)
        return 1
    figures = summary(runs)
    ours = figures[contenders[0]]["cpu_median"]
    print(f"\n{told.what}: {rows:,} records, {told.repeats} repeats, all equal to what was served")
    for name, each in figures.items():
        print(
            f"{name:20} {each['cpu_median']:7.2f} CPU-s (least {each['cpu_least']:.2f})  {each['wall_median']:7.2f} s  "
            f"RSS {each['peak_rss_mb']:4.0f} MB  {each['cpu_median'] / ours:5.1f}x"
        )
    return 0


def _keep(path: Path, what: str, rows: int, runs: list[dict[str, Any]]) -> None:
    """All runs so far, so that a benchmark broken off still tells."""
    result = {
        "what": what,
        "rows": rows,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "machine": machine(*PACKAGES),
        "summary": summary(runs),
        "runs": runs,
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
