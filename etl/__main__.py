"""The command `c360`. Every subcommand is a few lines that call `etl.run`; errors are one line and an exit code.

Exit codes: 0 all done; 1 a quality gate or the conservation check kept an old version; 2 something only you can
mend (a name, a setting, a window, a source, the disk); 70 a defect of this program.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from etl import __version__
from etl.errors import C360Error, WindowRefused
from etl.model import Window
from etl.model.window import moment_of
from etl.settings import load_settings

if TYPE_CHECKING:
    from etl.run.house import House
    from etl.run.pipeline import Outcome
    from etl.run.rulings import Ruling
    from etl.serve.identity import Score
    from etl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Customer 360 Lakehouse: one customer out of CRM, web, social, email, shop, ads and devices.

Start with [bold]c360 run[/bold]: it takes the demo company (or yours, see lakehouse.toml) from its sources
to a customer 360. Then ask it: [bold]c360 sql "select count(*) from gold.customer_360"[/bold].
With Airflow, schedules and a UI: [bold]c360 airflow run[/bold].""",
)
airflow_app = typer.Typer(no_args_is_help=True, help="Airflow: start it, run through it, stop it.")
app.add_typer(airflow_app, name="airflow", rich_help_panel="Schedule")
identity_app = typer.Typer(no_args_is_help=True, help="Identity: why two records are one customer, and how sure.")
app.add_typer(identity_app, name="identity", rich_help_panel="Ask")
sources_app = typer.Typer(help="The systems that are pulled: what has landed, and whether they answer.")
app.add_typer(sources_app, name="sources", rich_help_panel="Look after")

# Piped output has no width of its own; 120 columns hold every table whole.
_console = Console(width=None if sys.stdout.isatty() else 120)

_From = Annotated[str, typer.Option("--from", metavar="DAY", help="First day, e.g. 2026-01-28.")]
_To = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included. Default: the first day.")]


@app.command(rich_help_panel="Run")
def run(
    first: _From = "",
    last: _To = "",
    source: Annotated[list[str] | None, typer.Option(help="Pull only this source; may be given again.")] = None,
) -> None:
    """Pull every source, build every table, publish the SQL catalogue: the whole day, in this process.

    Without days: the history as one load, then the last three days one by one. Safe to run again.
    """
    settings = load_settings()
    windows = _windows(settings, first, last)
    with _reached(settings) as house:
        _run(house, windows, source)


@app.command(rich_help_panel="Run")
def backfill(
    source: Annotated[str, typer.Argument(help="A source's name; see c360 sources.")],
    first: _From = "",
    last: _To = "",
    streams: Annotated[str, typer.Option(metavar="A,B", help="Only these streams of it.")] = "",
    every: Annotated[str, typer.Option(help="How long one window is: day, week or month.")] = "day",
    gaps: Annotated[bool, typer.Option("--gaps", help="Only days the ingest log lacks.")] = False,
    build: Annotated[bool, typer.Option(help="Then rebuild what depends on it.")] = True,
    anew: Annotated[bool, typer.Option("--anew", help="Do not go on where an interrupted one stopped.")] = False,
) -> None:
    """Pull one source again for some days, window by window, and rebuild what depends on it.

    The same function as every run and DAG. Interrupted, the same command goes on where it stopped.
    With --gaps alone: from the company's first day to the last expected one.
    """
    settings = load_settings()
    days = _backfill_days(settings, first, last, gaps)
    try:
        with _reached(settings) as house:
            _backfill(house, source, [name for name in streams.split(",") if name], days, every, gaps, build, anew)
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on", style="yellow")
        raise typer.Exit(130) from None


@app.command(rich_help_panel="Ask")
def sql(
    query: Annotated[str, typer.Argument(help='E.g. "select * from gold.campaigns limit 5".')],
    limit: Annotated[int, typer.Option(help="Show at most this many rows.")] = 200,
    timeout: Annotated[float, typer.Option(help="Give up after this many seconds.")] = 60.0,
) -> None:
    """Ask the published tables: read-only SQL over silver and gold."""
    from etl.run.show import show_rows
    from etl.serve.query import run_sql

    settings = load_settings()
    columns, rows = run_sql(settings.catalogue_path, query, timeout_s=timeout, max_rows=limit)
    show_rows(_console, columns, rows)


@app.command(rich_help_panel="Ask")
def tables(name: Annotated[str, typer.Argument(help="One table's columns; without, all tables.")] = "") -> None:
    """List the tables in the order they are built, or one table's columns with their meaning."""
    from etl.run.house import open_house
    from etl.run.show import show_rows

    house = open_house(load_settings())
    if name:
        table = house.catalog.table(name)
        _console.print(f"{table.full_name}: {table.description}\n{table.grain}; key {', '.join(table.key)}")
        show_rows(
            _console,
            ("column", "type", "privacy", "meaning"),
            [(c.name, c.type.value, c.privacy.value, c.meaning) for c in table.columns],
        )
        return
    show_rows(
        _console,
        ("table", "grain", "built from"),
        [(t.full_name, t.grain, ", ".join(house.catalog.inputs(t))) for t in house.catalog.tables],
    )


@sources_app.callback(invoke_without_command=True)
def sources(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON, gaps by day.")] = False
) -> None:
    """List every system declared, the active first: what has landed, what lacks, how far behind it is, its quota."""
    if context.invoked_subcommand:
        return
    from etl.run.house import open_house
    from etl.run.overview import shown_days, standings
    from etl.run.show import show_rows

    found = standings(open_house(load_settings()), today=datetime.now(UTC).date())
    if as_json:
        print(json.dumps([each.told() for each in found], indent=1))
        return
    show_rows(
        _console,
        ("source", "stream", "kind", "last window", "gaps (days)", "lag (days)", "quota", "warning"),
        [
            (
                each.source if each.is_active else f"({each.source})",
                each.stream,
                each.kind,
                each.last_window or ("never" if each.is_active else "not active"),
                shown_days(each.gaps),
                each.lag_days,
                each.quota,
                each.warning,
            )
            for each in found
        ],
    )


@sources_app.command("check")
def sources_check(name: Annotated[str, typer.Argument(help="An active source.")]) -> None:
    """Ask each stream of a source for one page, write nothing, and say what is wrong. Exit code 2 when something is."""
    from etl.run.overview import check

    with _reached(load_settings()) as house:
        answers = []
        for each in check(house, name, now=datetime.now(UTC)):
            answers.append(each)
            _say(f"{name}.{each.stream}: {each.said}", style="" if each.is_ok else "red")
    if not all(each.is_ok for each in answers):
        raise typer.Exit(2)


@app.command(rich_help_panel="Look after")
def status() -> None:
    """Show every table's visible version and rows."""
    from etl.run.house import open_house
    from etl.run.show import show_rows
    from etl.run.upkeep import standing

    show_rows(_console, ("table", "version", "rows"), standing(open_house(load_settings())))


@app.command(rich_help_panel="Look after")
def quarantine(
    table: Annotated[str, typer.Argument(help="One table's rows, by rule; without, all tables.")] = "",
) -> None:
    """Count the rows turned away, by table, source and rule; the rows themselves stand in quarantine.<table>."""
    from etl.run.house import open_house
    from etl.run.show import show_rows
    from etl.run.upkeep import turned_away

    house = open_house(load_settings())
    only = house.catalog.table(table) if table else None
    show_rows(
        _console, ("table", "source", "stream", "rule", "rows", "first day", "last day"), turned_away(house, only)
    )


@app.command(rich_help_panel="Look after")
def fsck() -> None:
    """Compare every table with its ledger, byte by byte. Exit code 2 when something is damaged."""
    from etl.errors import LakeDamaged
    from etl.lake import Lake
    from etl.run.show import show_rows

    findings = Lake(load_settings().lake).fsck()
    if findings:
        show_rows(
            _console,
            ("table", "severity", "file", "what", "way out"),
            [(each.table, each.severity, each.file, each.what, each.way_out) for each in findings],
        )
    damaged = [each for each in findings if each.severity == "damage"]
    if damaged:
        raise LakeDamaged(f"{len(damaged)} places of the lake are not what its ledger says; see the list above")
    _console.print("The lake is what its ledger says.")


@app.command(rich_help_panel="Look after")
def dictionary(folder: Annotated[str, typer.Argument(help="Where the pages go.")] = "docs/tables") -> None:
    """Write the data dictionary: one Markdown page per table, from the declarations."""
    from pathlib import Path

    from etl.catalog import load_catalog
    from etl.serve.dictionary import dictionary as pages

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    catalog = load_catalog()
    for name, text in pages(catalog.tables).items():
        (target / f"{name}.md").write_text(text, encoding="utf-8")
    _console.print(f"{len(catalog.tables)} pages in {folder}")


# --- identity ---------------------------------------------------------------------------------------------------------


_Record = Annotated[str, typer.Argument(help="A record, hubspot:1042, or an identifier, email:ann@example.org.")]
_Merge = Annotated[str, typer.Argument(help="The id of a merge, or how it begins; see c360 identity ledger.")]


@identity_app.command("explain")
def identity_explain(one: _Record, other: _Record) -> None:
    """Say why two records are one customer, edge by edge, or what keeps them apart."""
    from etl.run import identity
    from etl.run.house import open_house
    from etl.run.show import show_rows

    told = identity.explain(open_house(load_settings()), one, other)
    _console.print(
        f"One customer: {told.customers[0]}" if told.are_one else f"Two customers: {', '.join(told.customers)}"
    )
    if not told.chain:
        _console.print("They are the same node." if told.are_one else "Nothing was ever seen that joins them.")
        return
    show_rows(
        _console,
        ("from", "to", "by", "verdict", "systems", "seen", "since"),
        [
            (told.shown[link.left], told.shown[link.right], link.kind, link.state, ", ".join(link.sources), link.count,
             link.first_at and f"{link.first_at:%Y-%m-%d}")
            for link in told.chain
        ],
    )  # fmt: skip

    for link in told.chain:
        if steps := told.waterfalls.get(frozenset((link.left, link.right))):
            show_rows(
                _console,
                ("compared", "level", "weight", "sum", "probability"),
                [
                    (
                        step.comparison,
                        step.level,
                        f"{step.weight:+.2f}",
                        f"{step.total:+.2f}",
                        f"{step.probability:.4f}",
                    )
                    for step in steps
                ],
                title=f"What the match weighs, in bits: {told.shown[link.left]} and {told.shown[link.right]}",
            )


@identity_app.command("review")
def identity_review(limit: Annotated[int, typer.Option(help="Show at most this many.")] = 20) -> None:
    """List the cases that wait for you: probably one person, not surely. always-link or never-link closes one."""
    from etl.run import identity
    from etl.run.house import open_house
    from etl.run.show import show_rows

    cases = identity.review(open_house(load_settings()))
    show_rows(_console, tuple(cases.columns), cases.head(limit).rows(), title=f"{cases.height} cases wait for review")


@identity_app.command("train")
def identity_train() -> None:
    """Learn anew how much it weighs that two records agree; the next run compares all of them by it."""
    from etl.run import identity
    from etl.run.house import open_house

    with _console.status("Learning"):
        version, is_new = identity.train(open_house(load_settings()), now=datetime.now(UTC))
    said = "is learnt; the next run compares by it" if is_new else "is what the records teach still; nothing changed"
    _console.print(f"Model {version} {said}.")


@identity_app.command("audit")
def identity_audit(limit: Annotated[int, typer.Option(help="Show this many of each.")] = 10) -> None:
    """List what identity refused to believe, and the largest customers with what holds them together."""
    from etl.run import identity
    from etl.run.house import open_house
    from etl.run.show import show_rows

    told = identity.audit(open_house(load_settings()), limit=limit)
    for title, frame in (
        ("Edges refused, by guard", told.refused),
        ("Identifiers refused most", told.busiest),
        ("Largest customers, and the identifier that holds most of each", told.largest),
    ):
        show_rows(_console, tuple(name.replace("_", " ") for name in frame.columns), frame.rows(), title=title)


@identity_app.command("always-link")
def identity_always_link(one: _Record, other: _Record) -> None:
    """Rule that two are one customer, whatever the evidence; holds from the next run on, until withdrawn."""
    from etl.run import rulings

    _rule(lambda house: rulings.link(house, "always", one, other))


@identity_app.command("never-link")
def identity_never_link(one: _Record, other: _Record) -> None:
    """Rule that two are never one customer, whatever the evidence; holds from the next run on, until withdrawn."""
    from etl.run import rulings

    _rule(lambda house: rulings.link(house, "never", one, other))


@identity_app.command("undo")
def identity_undo(merge: _Merge) -> None:
    """Undo a merge: what the two customers were just before it is apart again, each under its own id.

    Everything that came since goes by the evidence. Holds from the next run on, until withdrawn.
    """
    from etl.run import rulings

    _rule(lambda house: rulings.undoing(house, merge))


@identity_app.command("withdraw")
def identity_withdraw(ruling: Annotated[str, typer.Argument(help="Its id; see c360 identity rulings.")]) -> None:
    """Withdraw a ruling; the next run goes by the evidence again."""
    from etl.run import rulings

    _rule(lambda house: rulings.withdrawal(house, ruling), f"Ruling {ruling} is withdrawn.")


def _rule(said: Callable[[House], Ruling], done: str = "") -> None:
    from etl.run.house import open_house
    from etl.run.rulings import rule

    house = open_house(load_settings())
    made = rule(house, said(house), now=datetime.now(UTC))
    done = done or f"Ruling {made} stands."
    _console.print(f"{done} The next run keeps to it: c360 run, or the DAG rebuild in Airflow.")


@identity_app.command("rulings")
def identity_rulings() -> None:
    """List the rulings that stand."""
    from etl.run import rulings
    from etl.run.house import open_house
    from etl.run.show import show_rows

    told = rulings.rulings(open_house(load_settings()))
    show_rows(_console, tuple(name.replace("_", " ") for name in told.columns), told.rows())


@identity_app.command("ledger")
def identity_ledger(
    of: Annotated[str, typer.Argument(help="Only of this customer: its id, a record or an identifier.")] = "",
    event: Annotated[str, typer.Option(help="Only create, merge, split, undo, retire or ruling.")] = "",
    limit: Annotated[int, typer.Option(help="Show at most this many.")] = 20,
) -> None:
    """List what happened to customers as such, the latest first: who was merged, split, undone, ruled about."""
    from etl.run import identity
    from etl.run.house import open_house
    from etl.run.show import show_rows

    told = identity.ledger(open_house(load_settings()), event=event, of=of, limit=limit)
    show_rows(_console, tuple(name.replace("_", " ") for name in told.columns), told.rows())


@identity_app.command("as-of")
def identity_as_of(
    record: _Record,
    known: Annotated[str, typer.Option(metavar="DAY|TIME", help="As known then (system time); a day: its end.")],
    valid: Annotated[
        str, typer.Option(metavar="DAY|TIME", help="As of then in the world (valid time). Default: ever.")
    ] = "",
) -> None:
    """Say which customer a record belonged to, as it was known at any time. SQL has it as silver.identity_map_at."""
    from etl.run import identity
    from etl.run.house import open_house

    told = identity.as_known(open_house(load_settings()), record, moment_of(known), moment_of(valid) if valid else None)
    if told.customer_id is None or told.known_from is None:
        _say("No customer: it was not known then, or not there yet.")
        return
    until = f"until {told.known_to:%Y-%m-%d %H:%M}" if told.known_to else "to this day"
    kind = "known" if told.is_known else "anonymous"
    _say(f"{told.customer_id} ({kind}), held true from {told.known_from:%Y-%m-%d %H:%M} {until}")


@identity_app.command("plan")
def identity_plan(
    rules: Annotated[str, typer.Option(metavar="FILE", help="A TOML file with the [identity] section to be.")] = "",
    undo: Annotated[str, typer.Option(metavar="MERGE", help="As if this merge were undone.")] = "",
    always_link: Annotated[tuple[str, str] | None, typer.Option(metavar="A B", help="As if so ruled.")] = None,
    never_link: Annotated[tuple[str, str] | None, typer.Option(metavar="A B", help="As if so ruled.")] = None,
    withdraw: Annotated[str, typer.Option(metavar="RULING", help="As if this ruling were withdrawn.")] = "",
    out: Annotated[str, typer.Option(metavar="FILE", help="Write all of it as JSON, too.")] = "",
) -> None:
    """Show what other rules or rulings would do, before anything is applied; without any, what the next run will do.

    Merges, splits, people whose id changes, attributes of gold.customer_360 and revenue that move. Nothing is written.
    """
    from pathlib import Path

    from etl.run import impact, rulings
    from etl.run.house import open_house
    from etl.run.show import show_impact
    from etl.settings import rules_in

    house = open_house(load_settings())
    made = [
        *([rulings.undoing(house, undo)] if undo else []),
        *([rulings.link(house, "always", *always_link)] if always_link else []),
        *([rulings.link(house, "never", *never_link)] if never_link else []),
        *([rulings.withdrawal(house, withdraw)] if withdraw else []),
    ]
    then = impact.supposed(house, rules=rules_in(Path(rules)) if rules else None, rulings=made, now=datetime.now(UTC))
    told = impact.impact(house.lake, then.lake)
    show_impact(_console, told)
    if out:
        Path(out).write_text(json.dumps(told.told(), indent=1), encoding="utf-8")
        _say(f"all of it: {out}")


@identity_app.command("score")
def identity_score(
    truth: Annotated[str, typer.Option(help="CSV or Parquet: source, record_id, person_id (and stream).")],
) -> None:
    """Compare identity with your own labels: pairs, B-cubed, and people whose records are exactly one customer."""
    from pathlib import Path

    from etl.run import identity
    from etl.run.house import open_house

    _console.print(_scored(identity.score(open_house(load_settings()), Path(truth))))


def _scored(score: Score) -> str:
    return (
        f"{score.records} records of {score.people} people in {score.customers} customers. Pairs: precision "
        f"{score.precision:.4f}, recall {score.recall:.4f}, F1 {score.f1:.4f}. B-cubed: precision "
        f"{score.b_cubed_precision:.4f}, recall {score.b_cubed_recall:.4f}. Exactly right: {score.exact:.1%} of people."
    )


# --- Airflow ---------------------------------------------------------------------------------------------------------


@airflow_app.command("run")
def airflow_run(first: _From = "", last: _To = "") -> None:
    """Start Airflow if it is not running, and run the same pipeline through it; leave its UI running."""
    from etl.run import airflow, show
    from etl.run.house import open_house
    from etl.run.manifest import write_manifest

    settings = load_settings()
    windows = _windows(settings, first, last)
    running = _start_airflow(settings)
    house = open_house(settings)
    write_manifest(house)
    total = len(windows) * airflow.steps_per_window(settings) + 1
    with show.progress_of(_console, total, "Running through Airflow") as ended:
        outcomes = airflow.run_through_airflow(settings, windows, progress=lambda outcome: ended(outcome.step))
    _show(settings, outcomes)
    _console.print(f"\nAirflow's UI: {running.url}   user: {running.user}   password: {running.password}")
    _console.print("It keeps running; stop it with: make stop (or c360 airflow stop)")
    _exit(outcomes)


@airflow_app.command("start")
def airflow_start() -> None:
    """Start Airflow (and the demo company's server, if that is your company) in the background."""
    running = _start_airflow(load_settings())
    _console.print(f"Airflow's UI: {running.url}   user: {running.user}   password: {running.password}")


@airflow_app.command("stop")
def airflow_stop() -> None:
    """Stop everything `start` started."""
    from etl.run import airflow

    stopped = airflow.stop(load_settings())
    _console.print("Airflow is stopped." if stopped else "Airflow was not running.")


@airflow_app.command("status")
def airflow_status() -> None:
    """Say what is running, and where."""
    from etl.run import airflow
    from etl.run.show import show_rows

    show_rows(_console, ("component", "state", "pid"), airflow.status(load_settings()))


@airflow_app.command(
    "cli", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def airflow_cli(context: typer.Context) -> None:
    """Airflow's own command with our environment, e.g. c360 airflow cli backfill create --dag-id ingest_ga4 ..."""
    from etl.run import airflow

    raise typer.Exit(airflow.airflow_command(load_settings(), context.args))


# --- shared by the commands ---------------------------------------------------------------------------------------


def _start_airflow(settings: Settings):  # type: ignore[no-untyped-def]
    from etl.run import airflow

    with _console.status("Starting Airflow") as status:
        return airflow.start(settings, progress=status.update)


def _windows(settings: Settings, first: str, last: str) -> tuple[Window, ...]:
    from etl.run.overview import expected_day
    from etl.run.pipeline import history_and_days

    if first:
        return (Window.parse(f"{first}--{last or first}"),)
    if last:
        raise WindowRefused(f"--to {last} without --from; give the first day too")
    return history_and_days(settings.first_day, expected_day(settings, today=datetime.now(UTC).date()))


def _backfill_days(settings: Settings, first: str, last: str, gaps: bool) -> Window:
    from etl.run.overview import expected_day

    if first or last:
        return _windows(settings, first, last)[0]
    if not gaps:
        raise WindowRefused("which days? give --from DAY, and --to DAY for more than one; or --gaps for all that lack")
    return Window.of_days(settings.first_day, expected_day(settings, today=datetime.now(UTC).date()))


@contextmanager
def _reached(settings: Settings) -> Iterator[House]:
    """The house, and every source on the line: the demo company is prepared and served while the block runs."""
    from etl.run.demo import demo_company
    from etl.run.house import open_house

    if not settings.is_demo:
        yield open_house(settings)
        return
    with ExitStack() as served:
        with _console.status("Preparing the demo company"):
            reached = served.enter_context(demo_company(settings))
        yield open_house(settings, reached)


def _run(house: House, windows: tuple[Window, ...], only: list[str] | None) -> None:
    from etl.run import pipeline, show

    for name in only or ():
        house.catalog.source(name)
    total = len(windows) * len(pipeline.steps(house)) + 1
    with show.progress_of(_console, total, "Running") as ended:
        outcomes = pipeline.run(
            house, windows, run_id=_run_id(), only_sources=only, progress=lambda outcome: ended(outcome.step)
        )
    _show(house.settings, outcomes)
    _exit(outcomes)


def _backfill(
    house: House, name: str, streams: list[str], days: Window, every: str, gaps: bool, build: bool, anew: bool
) -> None:
    from etl.run import overview, show

    source = house.catalog.source(name)
    steps = overview.plan(house, source, streams, days, every=every, only_gaps=gaps)
    notes = overview.notes_of(house, source, streams, days, every)
    if anew:
        notes.finish()
    began, done = notes.read()
    left = [step for step in steps if (step[0], step[1].key) not in done]
    if gaps:
        _say(f"{name}: {len(steps)} windows lack in the ingest log")
    if were_done := len(steps) - len(left):
        _say(f"going on: {were_done} of {len(steps)} windows were filled since {began} (--anew fills them again)")
    filled: list[Outcome] = []
    try:
        with show.progress_of(_console, len(left), f"Filling {name}") as ended:

            def one(outcome: Outcome) -> None:
                filled.append(outcome)
                ended(f"{outcome.step} {outcome.window}")

            overview.fill(house, source, steps, notes, run_id=_run_id(), now=datetime.now(UTC), progress=one)
    except KeyboardInterrupt:
        _say(f"interrupted: {len(filled)} of {len(left)} windows were filled; the same command goes on", style="yellow")
        raise typer.Exit(130) from None
    show.show_outcomes(_console, filled, by_day=frozenset(house.catalog.bronze))
    _exit(filled)
    if build and filled:
        _run(house, (days,), [])


def _run_id() -> str:
    return f"c360-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def _say(text: str, *, style: str = "") -> None:
    _console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)


def _show(settings: Settings, outcomes: list[Outcome]) -> None:
    from etl.model import Partition
    from etl.run import identity, show
    from etl.run.house import open_house
    from etl.serve.query import run_sql

    house = open_house(settings)
    catalog = house.catalog
    by_day = {table.full_name for table in catalog.tables if table.partition is Partition.DAY}
    show.show_outcomes(_console, outcomes, by_day=frozenset({*by_day, *catalog.bronze}))
    if not any(outcome.exit_code for outcome in outcomes):
        if settings.is_demo and house.lake.rows(house.catalog.table("silver.person_records")):
            truth = settings.home / "demo" / "truth" / "record_links.parquet"
            _console.print(f"\nIdentity against the demo's truth: {_scored(identity.score(house, truth))}")
        for title, query in show.EXAMPLES:
            show.show_rows(_console, *run_sql(settings.catalogue_path, query, timeout_s=30, max_rows=5), title=title)


def _exit(outcomes: list[Outcome]) -> None:
    worst = max((outcome.exit_code for outcome in outcomes), default=0)
    if worst:
        raise typer.Exit(worst)


@app.command(rich_help_panel="Look after")
def version() -> None:
    """Say which version this is."""
    _console.print(f"c360 {__version__}")


mqtt_app = typer.Typer(no_args_is_help=True, help="Devices over MQTT: their messages as files.")
app.add_typer(mqtt_app, name="mqtt", rich_help_panel="Schedule")


@mqtt_app.command("spool")
def mqtt_spool(
    source: Annotated[str, typer.Argument(help="A source with broker and topics in lakehouse.toml.")],
) -> None:
    """Listen to a source's topics and write what comes to files by the hour, until it is told to end (SIGTERM)."""
    from etl.run.house import open_house
    from etl.run.spool import spool

    house = open_house(load_settings())
    kept = spool(house, house.catalog.source(source), say=lambda text: _console.print(text, markup=False))
    _console.print(f"{kept} messages kept")


def main() -> None:
    """Run the command; an error the user can mend is one line on stderr."""
    # Records are decoded by the hundred thousand and none of them is a cycle: Python's collector, left at its 700
    # objects, spends an eighth of a run looking for one.
    gc.set_threshold(100_000, 50, 100)
    try:
        app()
    except C360Error as error:
        Console(stderr=True).print(f"c360: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
