"""What identity costs: connected components, everything anew, and one day more.

    python -m benchmarks.identity [PEOPLE] [--results FILE]

Every figure comes from a process of its own, and none is told before the answer was checked: that the components are
those of scipy, networkx and DuckDB, and that an increment gives the very edges and the map of the full rebuild.
CPU-seconds are the kernel's account, since other work may share the machine; memory is the most at once (PSS).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.identity_world import DAYS, world
from benchmarks.measure import Measured, machine, measured
from etl.bronze.tables import IDENTITY_RULINGS
from etl.model.frames import empty
from etl.silver.identity_edges import IDENTITY_EDGES, build_identity_edges
from etl.silver.identity_map import IDENTITY_MAP, build_identity_map
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.increment import Change, Since
from etl.silver.resolution import components

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / "var" / "bench"
KEY = bytes(range(32))
BEFORE, AFTER = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)
EDGES, EDGES_OF_PEERS = 10_000_000, 300_000
#: What is asked: CPU-seconds for the components of ten million edges, an increment's share of a full rebuild's, and
#: the most memory a million people may take.
MOST_CPU, MOST_SHARE, MOST_PSS = 1.0, 0.1, 1.5e9

Ends = npt.NDArray[np.int32]


class Unequal(Exception):
    """Two ways did not give the same answer; no figure is told."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The whole comparison, or with `--step` one of its steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=int, nargs="?", default=100_000)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "identity.json")
    parser.add_argument("--step", choices=sorted(STEPS))
    asked = parser.parse_args(arguments)
    if asked.step:
        STEPS[asked.step](ROOT / f"identity-{asked.people}")
        return
    home = world(ROOT, asked.people)
    compile_kernels()
    done = {step: _run(asked.people, step) for step in STEPS}
    for table in ("edges", "map"):
        check_same(home / f"{table}_full.parquet", home / f"{table}_increment.parquet")
    told = figures(done)
    asked.results.write_text(
        json.dumps({"people": asked.people, "machine": machine("polars", "numba", "scipy", "duckdb"), **told}, indent=1)
        + "\n",
        encoding="utf-8",
    )
    print(f"{asked.people:,} people; components as peers find them, the increment as the full rebuild")
    for step, took in told["steps"].items():
        parts = ", ".join(f"{name} {cpu:.2f}" for name, cpu in took["parts"].items())
        used = f"{took['cpu']:7.2f} CPU-s {took['wall']:7.1f} s {took['peak_pss'] / 1e9:5.2f} GB"
        print(f"{step:14} {used}  load {took['load']:.0f}  {parts}")
    for name, (came, most) in told["asked"].items():
        print(f"{name}: {came:.3g}, asked for at most {most:.3g}: {'met' if came <= most else 'NOT met'}")


def figures(done: dict[str, Measured]) -> dict[str, Any]:
    """Every step's figures with its parts, and what is asked beside what came."""
    steps = {step: {**took.figures(), "parts": json.loads(took.output)} for step, took in done.items()}
    full, part = (
        {**steps[f"{step}_edges"]["parts"], **steps[f"{step}_map"]["parts"]} for step in ("full", "increment")
    )
    settled = ("edges", "map")
    return {
        "steps": steps,
        "asked": {
            "components of 10 M edges, CPU-s": (steps["components"]["parts"]["ours"], MOST_CPU),
            "increment / full, settled": (sum(part[n] for n in settled) / sum(full[n] for n in settled), MOST_SHARE),
            "increment / full, with both tables written": (sum(part.values()) / sum(full.values()), MOST_SHARE),
            "the most memory of a step, bytes": (max(each["peak_pss"] for each in steps.values()), MOST_PSS),
        },
    }


def _run(people: int, step: str) -> Measured:
    took = measured([sys.executable, "-m", "benchmarks.identity", str(people), "--step", step], cwd=HERE.parent)
    if took.exit_code:
        raise SystemExit(f"{step}: {took.errors}")
    return took


def compile_kernels() -> None:
    """So that no step pays for what is compiled once and kept."""
    frames = {table.name: empty(table.columns).lazy() for table in IDENTITY_EDGES.inputs}
    _map(build_identity_edges(*frames.values()), empty(IDENTITY_MAP.columns).lazy(), BEFORE).collect()


class Clock:
    """CPU-seconds of this process by part of the work."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        """What was done since the last call was `name`."""
        now = time.process_time()
        self._parts[name] = self._parts.get(name, 0.0) + now - self._last
        self._last = now

    def tell(self) -> None:
        """The parts, as one line of JSON."""
        print(json.dumps(self._parts))


# --- everything, and one day more -------------------------------------------------------------------------------------


def _subjects(home: Path, *, days: int) -> dict[str, pl.LazyFrame]:
    frames = {table.name: empty(table.columns).lazy() for table in IDENTITY_EDGES.inputs}
    frames["person_records"] = pl.scan_parquet(home / ("records.parquet" if days == DAYS else "records_next.parquet"))
    frames["web_events"] = _events(home, range(days))
    return frames


def _events(home: Path, days: range) -> pl.LazyFrame:
    return pl.scan_parquet([home / "events" / f"day={day}.parquet" for day in days], hive_partitioning=False)


def edges(name: str, days: int, *, anew: bool = True) -> Callable[[Path], None]:
    """A step: the edges of these days written whole, anew or from those before and what changed."""

    def step(home: Path) -> None:
        clock = Clock()
        now = _subjects(home, days=days)
        since = None
        if not anew:
            was = _subjects(home, days=DAYS)
            changes = {
                "person_records": Change(was["person_records"], now["person_records"]),
                "web_events": Change(was["web_events"].clear(), _events(home, range(DAYS, DAYS + 1))),
            }
            since = Since(pl.scan_parquet(home / "edges_before.parquet"), changes)
        built = build_identity_edges(*now.values(), since=since)
        clock.lap("edges")
        built.sink_parquet(home / f"edges_{name}.parquet")
        clock.lap("write_edges")
        clock.tell()

    return step


def settled(name: str, as_of: datetime) -> Callable[[Path], None]:
    """A step: the map of the edges `name` written whole, after the map before where there is one."""

    def step(home: Path) -> None:
        clock = Clock()
        before = (
            empty(IDENTITY_MAP.columns).lazy() if name == "before" else pl.scan_parquet(home / "map_before.parquet")
        )
        now = _map(pl.scan_parquet(home / f"edges_{name}.parquet"), before, as_of)
        clock.lap("map")
        now.sink_parquet(home / f"map_{name}.parquet")
        clock.lap("write_map")
        clock.tell()

    return step


def _map(seen: pl.LazyFrame, previous: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The map of these edges, without likely matches and rulings."""
    matches, rulings = (empty(table.columns).lazy() for table in (IDENTITY_MATCHES, IDENTITY_RULINGS))
    return build_identity_map(seen, matches, rulings, previous=previous, as_of=as_of, key=KEY)


def check_same(one: Path, other: Path) -> None:
    """Raises: Unequal when two files do not hold the same rows in the same order."""
    digests = [pl.scan_parquet(path).select(pl.struct(pl.all()).hash()).collect().to_series() for path in (one, other)]
    if len(digests[0]) != len(digests[1]) or not (digests[0] == digests[1]).all():
        raise Unequal(f"{other.name} is not {one.name}; no figure is told")


# --- components -------------------------------------------------------------------------------------------------------


def graph(edge_count: int) -> tuple[int, Ends, Ends]:
    """As many nodes and edges as identity has: components of three nodes or so."""
    dice = np.random.default_rng(1)
    nodes = edge_count * 2 // 3
    left = dice.integers(0, nodes, edge_count, dtype=np.int32)
    return nodes, left, np.minimum(left + dice.integers(0, 3, edge_count, dtype=np.int32), nodes - 1)


def by_scipy(nodes: int, left: Ends, right: Ends) -> npt.NDArray[np.int32]:
    """Components by scipy.sparse.csgraph."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(left), dtype=np.int8)
    label: npt.NDArray[np.int32] = connected_components(coo_array((ones, (left, right)), shape=(nodes, nodes)))[1]
    return label


def by_networkx(nodes: int, left: Ends, right: Ends) -> npt.NDArray[np.int32]:
    """Components by networkx, with the making of its graph."""
    import networkx as nx

    made: nx.Graph[int] = nx.Graph()
    made.add_nodes_from(range(nodes))
    made.add_edges_from(zip(left.tolist(), right.tolist(), strict=True))
    label = np.empty(nodes, dtype=np.int32)
    for number, members in enumerate(nx.connected_components(made)):
        label[list(members)] = number
    return label


def by_duckdb(nodes: int, left: Ends, right: Ends) -> npt.NDArray[np.int32]:
    """Components by SQL: the smallest neighbour's label, then that one's label, until nothing moves."""
    import duckdb

    database = duckdb.connect()
    both = pl.DataFrame({"a": np.concatenate([left, right]), "b": np.concatenate([right, left])})
    database.register("both_arrow", both.to_arrow())
    database.execute("CREATE TABLE edge AS SELECT DISTINCT a, b FROM both_arrow WHERE a <> b")
    database.execute(
        "CREATE TABLE label AS SELECT range::INTEGER AS node, range::INTEGER AS least FROM range(?)", [nodes]
    )
    moved = 1
    while moved:
        database.execute(
            """
            CREATE OR REPLACE TABLE next AS
            WITH near AS (
                SELECT edge.a AS node, min(beside.least) AS least
                FROM edge JOIN label AS beside ON beside.node = edge.b GROUP BY edge.a
            ), told AS (
                SELECT label.node, least(label.least, coalesce(near.least, label.least)) AS least
                FROM label LEFT JOIN near ON near.node = label.node
            )
            SELECT told.node, least(told.least, jump.least) AS least
            FROM told JOIN label AS jump ON jump.node = told.least
            """
        )
        found = database.execute("SELECT count(*) FROM next JOIN label USING (node) WHERE next.least <> label.least")
        moved = (found.fetchone() or (0,))[0]
        database.execute("CREATE OR REPLACE TABLE label AS FROM next")
    label: npt.NDArray[np.int32] = database.execute("SELECT least FROM label ORDER BY node").fetchnumpy()["least"]
    return label


def compared(edge_count: int, *peers: Callable[[int, Ends, Ends], npt.NDArray[np.int32]]) -> Callable[[Path], None]:
    """A step: the components of a graph, ours and each peer's. Raises: Unequal."""

    def step(_: Path) -> None:
        nodes, left, right = graph(edge_count)
        clock = Clock()
        ours = components(nodes, left, right)
        clock.lap("ours")
        for peer in peers:
            theirs = peer(nodes, left, right)
            clock.lap(peer.__name__.removeprefix("by_"))
            both = np.unique(ours.astype(np.int64) << 32 | theirs)
            if not len(both) == len(np.unique(ours)) == len(np.unique(theirs)):
                raise Unequal(f"components are not those of {peer.__name__}; no figure is told")
            clock.lap("check")
        clock.tell()

    return step


STEPS: dict[str, Callable[[Path], None]] = {
    "components": compared(EDGES, by_scipy),
    "peers": compared(EDGES_OF_PEERS, by_scipy, by_networkx, by_duckdb),
    "before_edges": edges("before", DAYS),
    "before_map": settled("before", BEFORE),
    "full_edges": edges("full", DAYS + 1),
    "full_map": settled("full", AFTER),
    "increment_edges": edges("increment", DAYS + 1, anew=False),
    "increment_map": settled("increment", AFTER),
}

if __name__ == "__main__":
    main()
