"""The probabilistic step over a million representatives: what it costs to compare, judge and join them.

    python -m benchmarks.identity_linkage [--rows 1000000] [--results FILE]

A register is made of seeded numbers: seven people in ten once, the others twice, the copy with slips, gaps and moves.
No figure is told before the answer was checked: precision and recall against the truth, and that comparing only what
changed gives, to the row, what comparing all gives. Learning and scoring run in processes of their own, whose
CPU-seconds are the kernel's account; a process that only imports is measured too, and taken off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.measure import Measured, machine, measured

#: What one million may cost, scoring, guards and clusters together, import apart (CPU-seconds).
MOST_CPU = 12.0
#: What the table of one million may have in memory as it is built, imports and all (bytes).
MOST_MEMORY = 1500 << 20
LEAST_PRECISION, LEAST_RECALL = 0.99, 0.90
SEED = 7

_SYLLABLES = ("ba", "bel", "cor", "da", "dri", "el", "fa", "gar", "hol", "in", "jo", "ka", "lin", "mar", "nor", "os",
              "pe", "quin", "ro", "sa", "tor", "ul", "ven", "wil", "yor", "zan")  # fmt: skip


def words(rng: np.random.Generator, count: int, syllables: int) -> npt.NDArray[np.str_]:
    """`count` distinct words, (count,)."""
    made: set[str] = set()
    while len(made) < count:
        made.add("".join(rng.choice(_SYLLABLES, syllables)))
    return np.array(sorted(made))


def drawn(rng: np.random.Generator, of: npt.NDArray[np.str_], size: int) -> npt.NDArray[np.str_]:
    """`size` of them, some far more often than others, as names are (Zipf)."""
    weight = 1.0 / np.arange(10, len(of) + 10)
    return rng.choice(rng.permutation(of), size, p=weight / weight.sum())


def register(rows: int) -> pl.DataFrame:
    """Person records as silver has them, with `person`, the truth: one row a record, each a component of its own."""
    rng = np.random.default_rng(SEED)
    people = round(rows / 1.3)
    person = pl.DataFrame(
        {
            "person": np.arange(people),
            "given_name": drawn(rng, words(rng, 4_000, 2 + 1), people),
            "family_name": drawn(rng, words(rng, 60_000, 4), people),
            "birth_date": (np.datetime64("1935-01-02") + rng.integers(0, 26_000, people)).astype("datetime64[D]"),
            "street": drawn(rng, words(rng, 9_000, 3), people),
            "number": rng.integers(1, 200, people).astype(str),
            "postal_code": rng.integers(10_000, 40_000, people).astype(str),
        }
    ).with_columns(
        street=pl.col("street") + "weg " + pl.col("number"),
        city=pl.lit("town") + pl.col("postal_code").str.slice(0, 3).replace_strict(_TOWNS),
        email=pl.col("given_name") + "." + pl.col("family_name") + pl.col("number") + "@mail.example",
    )
    copies = _with_slips(person.sample(rows - people, seed=SEED), rng)
    both = pl.concat([_with_gaps(person, rng), _with_gaps(copies, rng)]).with_row_index("at")
    told = pl.col("at").cast(pl.String)
    return both.select(
        "person",
        "given_name",
        "family_name",
        "birth_date",
        "street",
        "postal_code",
        "city",
        "email",
        node_id=(pl.lit("n") + told).hash(SEED).map_elements(lambda value: f"{value:032x}", return_dtype=pl.String),
        updated_at=pl.lit(None, pl.Datetime("us", "UTC")),
        national_id=pl.lit(None, pl.String),
        phone=pl.lit(None, pl.String),
        email_key=told,
        phone_key=pl.lit(None, pl.String),
    ).sort("node_id")


_TOWNS = {
    f"{number}": word for number, word in zip(range(100, 400), words(np.random.default_rng(1), 300, 3), strict=True)
}


def _with_slips(copies: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The same people as another system has them: one in five with a typing error, one in twelve at another address."""
    size = copies.height
    slip = pl.Series(rng.random(size) < 0.2)
    moved = pl.Series(rng.random(size) < 0.08)
    name = pl.col("family_name")
    return copies.with_columns(
        family_name=pl.when(slip).then(name.str.slice(0, 3) + name.str.slice(4)).otherwise(name),
        street=pl.when(moved).then(pl.col("street").shuffle(SEED)).otherwise("street"),
        postal_code=pl.when(moved).then(pl.col("postal_code").shuffle(SEED)).otherwise("postal_code"),
        city=pl.when(moved).then(pl.col("city").shuffle(SEED)).otherwise("city"),
        email=pl.col("given_name") + pl.col("number") + "@post.example",
    )


def _with_gaps(records: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Not every system asks for everything: four birth dates in ten are missing, and three mailboxes in ten."""
    return records.with_columns(
        birth_date=pl.when(pl.Series(rng.random(records.height) < 0.6)).then("birth_date"),
        email=pl.when(pl.Series(rng.random(records.height) < 0.7)).then("email"),
    )


# --- in processes of their own ----------------------------------------------------------------------------------------


def _prepare(folder: Path, rows: int) -> None:
    from etl.silver.representatives import comparable, representatives

    records = register(rows)
    members = records.select("node_id", component=pl.int_range(pl.len(), dtype=pl.Int64))
    nothing = pl.DataFrame(schema=dict.fromkeys(("left_node_id", "right_node_id", "edge_state"), pl.String()))
    shown = representatives(comparable(records, members, nothing))
    records.write_parquet(folder / "people.parquet")
    shown.write_parquet(folder / "representatives.parquet")


def _learn(folder: Path) -> None:
    from etl.silver.linkage import learn

    shown = pl.read_parquet(folder / "representatives.parquet")
    model = learn(shown, shown.select("node_id", component=pl.int_range(pl.len(), dtype=pl.Int64)))
    assert model is not None, "a million records teach something"
    (folder / "model.json").write_text(model.to_json(), encoding="utf-8")


def _link(folder: Path) -> None:
    """The measured part: representatives to customers."""
    from etl.bronze.tables import IDENTITY_RULINGS
    from etl.model import LEAST_LIKELY, USUAL_RULES
    from etl.model.frames import empty
    from etl.silver.identity_matches import linked, with_states
    from etl.silver.linkage import COMPARED, Model, score
    from etl.silver.resolution import components
    from etl.silver.rulings import standing

    shown = pl.read_parquet(folder / "representatives.parquet")
    told = ["node_id", "person", "given_name", "family_name", "birth_date"]
    people = pl.read_parquet(folder / "people.parquet", columns=told)
    model = Model.from_json((folder / "model.json").read_text(encoding="utf-8"))
    levels = pl.struct(each.name for each in COMPARED.comparisons).struct.json_encode()
    pairs = score(shown, model, least=LEAST_LIKELY).with_columns(compared_levels=levels)
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    members = people.select("node_id", node_kind=pl.lit("record"), component=number)
    no_rulings = standing(empty(IDENTITY_RULINGS.columns))
    judged = with_states(pairs, members, people, no_rulings, rules=USUAL_RULES)
    links = linked(judged).join(members.select(left_node_id="node_id", left="component"), on="left_node_id")
    links = links.join(members.select(right_node_id="node_id", right="component"), on="right_node_id")
    customer = components(people.height, links["left"].to_numpy(), links["right"].to_numpy())
    people.select("node_id", "person").with_columns(pl.Series("customer_id", customer)).write_parquet(
        folder / "customers.parquet"
    )
    print(
        json.dumps(
            {
                "pairs": pairs.height,
                "states": dict(judged.group_by("match_state").len().sort("match_state").iter_rows()),
            }
        )
    )


def _build(folder: Path) -> None:
    """The table as the pipeline builds it, from records and evidence: what making the representatives takes besides."""
    from etl.bronze.tables import IDENTITY_RULINGS
    from etl.model.frames import empty, schema_of
    from etl.silver.identity_matches import IDENTITY_MATCHES, build_identity_matches
    from etl.silver.identity_model import IDENTITY_MODEL

    people = pl.scan_parquet(folder / "people.parquet")
    by_itself = people.select(
        left_node_id="node_id", node_kind=pl.lit("record"), right_node_id="node_id", edge_state=pl.lit("used")
    )
    model = {"model_version": 1, "parameters": (folder / "model.json").read_text(encoding="utf-8")}
    matches = build_identity_matches(
        people,
        by_itself,
        pl.LazyFrame([model], schema_overrides=schema_of(IDENTITY_MODEL.columns)),
        empty(IDENTITY_RULINGS.columns).lazy(),
        previous=empty(IDENTITY_MATCHES.columns).lazy(),
        key=b"benchmark",
    )
    pairs = matches.filter(pl.col("match_state") != "itself").collect()
    print(
        json.dumps(
            {"pairs": pairs.height, "states": dict(pairs.group_by("match_state").len().sort("match_state").iter_rows())}
        )
    )


def _check_changed(folder: Path) -> None:
    """Comparing only what changed is comparing all; on the first fiftieth of the register."""
    from etl.silver.linkage import Model, score

    shown = pl.read_parquet(folder / "representatives.parquet").head(20_000)
    model = Model.from_json((folder / "model.json").read_text(encoding="utf-8"))
    moved = pl.int_range(pl.len()) % 97 == 0
    after = shown.with_columns(postal_code=pl.when(moved).then(pl.lit("10000")).otherwise("postal_code"))
    touched = after.filter(moved)["node_id"].implode()
    ends = pl.col("left_node_id").is_in(touched) | pl.col("right_node_id").is_in(touched)
    kept = score(shown, model, least=0.5).filter(~ends)
    fresh = score(after, model, changed=after.filter(moved)["node_id"], least=0.5)
    anew = score(after, model, least=0.5)
    assert pl.concat([kept, fresh]).sort("left_node_id", "right_node_id").equals(anew), "changed is not all"


def _imports(_: Path) -> None:
    import splink
    import splink.comparison_library

    import etl.silver.identity_matches

    assert splink
    assert etl.silver.identity_matches


_STEPS = {"learn": _learn, "link": _link, "build": _build, "check": _check_changed, "imports": _imports}


def _step(name: str, folder: Path) -> Measured:
    took = measured([sys.executable, "-m", "benchmarks.identity_linkage", "--step", name, "--folder", str(folder)])
    if took.exit_code:
        raise SystemExit(f"{name}: exit code {took.exit_code}\n{took.errors[-2000:]}")
    return took


def main() -> None:
    """Prepare, check, measure, tell. Exit code 1 when the answer is wrong or too dear."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--results", type=Path)
    asked.add_argument("--step", choices=_STEPS, help=argparse.SUPPRESS)
    asked.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.step:
        _STEPS[given.step](given.folder)
        return
    from etl.serve.identity import scored

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, given.rows)
        learnt = _step("learn", folder)
        _step("check", folder)
        linked = _step("link", folder)
        built = _step("build", folder)
        customers = pl.read_parquet(folder / "customers.parquet")
    imports = _step("imports", Path())
    score = scored(customers.select("customer_id", person_id="person"))
    cpu = linked.cpu - imports.cpu
    told = {
        "rows": given.rows,
        **json.loads(linked.output),
        "precision": round(score.precision, 5),
        "recall": round(score.recall, 5),
        "cpu": {
            "link": round(cpu, 2),
            "build": round(built.cpu - imports.cpu, 2),
            "learn": round(learnt.cpu - imports.cpu, 2),
            "imports": round(imports.cpu, 2),
        },
        "link": linked.figures(),
        "build": built.figures(),
        "learn": learnt.figures(),
        "machine": machine("splink", "duckdb", "polars", "numpy"),
    }
    print(json.dumps(told, indent=1))
    if given.results:
        given.results.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if score.precision < LEAST_PRECISION or score.recall < LEAST_RECALL:
        raise SystemExit(f"expected precision {LEAST_PRECISION} and recall {LEAST_RECALL} at the least; nothing counts")
    if built.output != linked.output:
        raise SystemExit("expected the table to hold what was linked; it has other pairs or states")
    if built.peak_rss > MOST_MEMORY * max(given.rows / 1_000_000, 0.5):
        raise SystemExit(f"expected {MOST_MEMORY >> 20} MB a million at the most; it took {built.peak_rss >> 20}")
    if cpu > MOST_CPU * given.rows / 1_000_000:
        raise SystemExit(f"expected {MOST_CPU} CPU-seconds a million at the most; it took {cpu:.1f}")


if __name__ == "__main__":
    main()
