"""What a person sees in the terminal: progress while it runs, then a table of tables and a few answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from etl.run.impact import Impact
from etl.run.pipeline import Outcome, State
from etl.run.report import Report

#: Asked of the new catalogue after every run: who matters, where they come from, who may be written to.
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Customers and revenue by country",
        """
        SELECT country, count(*) AS customers, sum(order_count) AS orders, round(sum(revenue_amount), 2) AS revenue
        FROM gold.customer_360
        GROUP BY country
        ORDER BY revenue DESC NULLS LAST, country
        LIMIT 5
        """,
    ),
    (
        "First touch of the customers who bought",
        """
        SELECT first_touch_channel, count(*) AS customers, round(avg(revenue_amount), 2) AS mean_revenue
        FROM gold.customer_360
        WHERE order_count > 0
        GROUP BY first_touch_channel
        ORDER BY customers DESC, first_touch_channel
        LIMIT 5
        """,
    ),
    (
        "Best customers we may write to",
        """
        SELECT customer_id, order_count, revenue_amount, last_order_date, session_count
        FROM gold.customer_360
        WHERE is_email_reachable
        ORDER BY revenue_amount DESC, customer_id
        LIMIT 5
        """,
    ),
)


@contextmanager
def progress_of(console: Console, total: int, title: str) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function given names the step that has just ended."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=total)

        def ended(step: str) -> None:
            bar.update(task, advance=1, description=f"{title}: {step}")

        yield ended
        bar.update(task, description=title)


def summary(outcomes: Sequence[Outcome], *, by_day: frozenset[str]) -> list[Report]:
    """One report per table. Tables laid out by day add up their windows; whole tables show their last build."""
    per_table: dict[str, Report] = {}
    for outcome in outcomes:
        now = outcome.report
        if now is None:
            continue
        before = per_table.get(now.table)
        if before is None:
            per_table[now.table] = now
            continue
        adds = now.table in by_day
        per_table[now.table] = Report(
            table=now.table,
            window=now.window,
            rows_in=now.rows_in + (before.rows_in if adds else 0),
            rows_out=now.rows_out + (before.rows_out if adds else 0),
            quarantined=now.quarantined + (before.quarantined if adds else 0),
            deduplicated=now.deduplicated + (before.deduplicated if adds else 0),
            filtered=now.filtered + (before.filtered if adds else 0),
            derived=now.derived + (before.derived if adds else 0),
            seconds=now.seconds + before.seconds,
            version=now.version,
            written=now.written or before.written,
        )
    return list(per_table.values())


def show_outcomes(console: Console, outcomes: Sequence[Outcome], *, by_day: frozenset[str]) -> None:
    """The table of tables, then every failure in its own line."""
    reports = summary(outcomes, by_day=by_day)
    grid = Grid(title="What was built", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column("table", no_wrap=True)
    for name in ("rows in", "out", "quarantined", "deduplicated", "filtered", "seconds"):
        grid.add_column(name, justify="right")
    grid.add_column("written")
    for report in reports:
        numbers = (report.rows_in, report.rows_out, report.quarantined, report.deduplicated, report.filtered)
        grid.add_row(
            report.table, *(f"{n:,}" for n in numbers), f"{report.seconds:.1f}", "yes" if report.written else "-"
        )
    console.print(grid)
    if reports and not any(report.written for report in reports):
        console.print("Nothing new was written: every table already held these rows.")
    for outcome in outcomes:
        for warning in outcome.report.warnings if outcome.report is not None else ():
            _say(console, f"warning  {warning}", style="yellow")
    for outcome in outcomes:
        if outcome.state is State.FAILED:
            _say(console, f"failed   {outcome.step} {outcome.window}: {outcome.why}", style="red")
    stopped = list(dict.fromkeys(outcome.step for outcome in outcomes if outcome.state is State.STOPPED))
    if stopped:
        _say(console, f"stopped  {', '.join(stopped)}: they wait for what failed", style="yellow")


def _say(console: Console, message: str, *, style: str) -> None:
    """A message is text, not markup, and wraps where the reader's terminal does."""
    console.print(message, style=style, soft_wrap=True, markup=False, highlight=False)


def show_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """An answer as a grid; null as an empty cell."""
    grid = Grid(title=title or None, title_justify="left", box=SIMPLE)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*("" if value is None else str(value) for value in row))
    console.print(grid)


def show_impact(console: Console, told: Impact, *, limit: int = 10) -> None:
    """What a change of identity would do: counts first, then the most of each."""
    counts = told.counts
    console.print(
        f"Merges {counts['merge']:,}, splits {counts['split']:,}, merges that come apart again {counts['undo']:,}; "
        f"customers created {counts['create']:,}, retired {counts['retire']:,}."
    )
    console.print(
        f"People whose id changes: {told.people:,} ({told.moves['records'].sum():,} records, "
        f"{told.moves['nodes'].sum():,} nodes). Revenue that moves: gained {told.revenue_gained:,.2f}, "
        f"lost {told.revenue_lost:,.2f}, of {told.revenue.height:,} customers."
    )
    profiles = ", ".join(f"{name} {count:,}" for name, count in told.profiles.items())
    console.print(f"Profiles in gold.customer_360: {profiles}.")
    most = sorted(told.attributes.items(), key=lambda each: (-each[1], each[0]))
    for title, columns, rows in (
        ("Attributes that change, and of how many", ("attribute", "profiles"), most),
        ("Whose id changes", told.moves.columns, told.moves.rows()),
        ("Revenue that moves", told.revenue.columns, told.revenue.rows()),
    ):
        if rows:
            show_rows(console, [name.replace("_", " ") for name in columns], rows[:limit], title=title)
