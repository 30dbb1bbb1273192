"""What a change of identity would do, before anything is applied: other rules, rulings, or simply the next build.

The builders of the house run on the lake as it would be (`Overlay`), so what is told is what a build gives: the same
functions, the same rows, the same ids. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from etl.bronze.tables import IDENTITY_RULINGS, INGEST_LOG
from etl.errors import SettingsError
from etl.gold.customer_360 import CUSTOMER_360
from etl.lake import Lake, Overlay
from etl.model import IdentityRules, Table, Window
from etl.privacy.pseudonyms import RECORD
from etl.run.build import derived
from etl.run.house import House
from etl.run.rulings import Ruling, admitted
from etl.silver.identity_events import IDENTITY_EVENTS, RULING
from etl.silver.identity_map import IDENTITY_MAP, current

_REVENUE = "revenue_amount"


@dataclass(frozen=True, slots=True)
class Impact:
    """What is different in the lake `after` from the lake before; ids and counts, nothing that says who somebody is.

    events      new rows of the ledger but rulings: created, merged, split, come out of a merge again, retired
    moves       whose nodes are under another id: from, to, is_known (before), nodes, records; most records first
    profiles    customers with a profile only before (`gone`), only after (`new`), in both but different (`changed`)
    attributes  column of gold.customer_360 -> in how many profiles that are in both it is different; 0 left out
    revenue     customers whose revenue is different: customer_id, before, after; the largest difference first
    """

    events: pl.DataFrame
    moves: pl.DataFrame
    profiles: dict[str, int]
    attributes: dict[str, int]
    revenue: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Every kind of event, and how often it happens."""
        told = dict(self.events.group_by("identity_event").len().iter_rows())
        return {kind: told.get(kind, 0) for kind in ("create", "merge", "split", "undo", "retire")}

    @property
    def people(self) -> int:
        """Known customers of whom something would be under another id, once for each id it goes to."""
        return self.moves.filter("is_known").height

    @property
    def revenue_gained(self) -> Decimal:
        """What customers with a profile gain; more than others lose where it was nobody's who has one."""
        return self._gained("after", "before")

    @property
    def revenue_lost(self) -> Decimal:
        """What customers with a profile lose; more than others gain where it is nobody's who has one."""
        return self._gained("before", "after")

    def _gained(self, more: str, less: str) -> Decimal:
        gained: Decimal = self.revenue.select((pl.col(more) - pl.col(less)).clip(lower_bound=0).sum()).item()
        return gained

    def told(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "events": self.counts,
            **{
                kind: self.events.filter(pl.col("identity_event") == kind)
                .select("customer_id", "other_customer_id", "node_count")
                .to_dicts()
                for kind in ("merge", "split", "undo")
            },
            "people_whose_id_changes": self.people,
            "moves": self.moves.to_dicts(),
            "profiles": self.profiles,
            "attributes": self.attributes,
            "revenue_gained": str(self.revenue_gained),
            "revenue_lost": str(self.revenue_lost),
            "revenue": self.revenue.cast({"before": pl.String, "after": pl.String}).to_dicts(),
        }


def supposed(
    house: House, *, rules: IdentityRules | None = None, rulings: Sequence[Ruling] = (), now: datetime
) -> House:
    """The house as it would be after the next build, by `rules` (None: those that hold) and with `rulings` made.

    Every table that is made from tables and depends on identity is built in memory, in the catalogue's order, from
    what has landed. Raises: RulingRefused; SettingsError when nothing has landed.
    """
    landed = house.lake.read(INGEST_LOG).select(pl.col("window_end").max()).collect().item()
    if landed is None:
        raise SettingsError("nothing has landed yet, so there is nothing to plan with; run c360 run first")
    window = Window.of_day((landed - timedelta(microseconds=1)).date())
    laid = Overlay(house.lake)
    log = house.lake.read(IDENTITY_RULINGS).collect()
    for number, ruling in enumerate(rulings):
        if admitted(ruling, log) is None:
            log = pl.concat([log, ruling.row(now + timedelta(microseconds=number))])
    laid.lay(IDENTITY_RULINGS, log)
    settings = house.settings if rules is None else replace(house.settings, identity=rules)
    imagined = replace(house, settings=settings, lake=laid)
    for table in house.catalog.tables:
        if any(laid.is_laid(each) for each in _read_by(house, table)):
            laid.lay(table, derived(imagined, table, window))
    return imagined


def _read_by(house: House, table: Table) -> tuple[Table, ...]:
    """What a build of the table reads, the map where its inputs carry their customer."""
    return (*table.inputs, *([IDENTITY_MAP] if house.catalog.knows_customers(table) else []))


def impact(before: Lake, after: Lake) -> Impact:
    """What is different in `after`."""
    events = after.read(IDENTITY_EVENTS).filter(pl.col("identity_event") != RULING).collect()
    known = before.read(IDENTITY_EVENTS).select("identity_event_id").collect()
    was, now = before.read(CUSTOMER_360).collect(), after.read(CUSTOMER_360).collect()
    both = was.join(now, on="customer_id", suffix="_after")
    differs = both.select(
        pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in was.columns if name != "customer_id"
    )
    changes = differs.sum().row(0, named=True) if both.height else {}
    return Impact(
        events=events.join(known, on="identity_event_id", how="anti").sort("identity_event", "identity_event_id"),
        moves=_moves(before, after),
        profiles={
            "gone": was.height - both.height,
            "new": now.height - both.height,
            "changed": differs.select(pl.any_horizontal(pl.all()).sum()).item() if both.height else 0,
        },
        attributes={name: count for name, count in changes.items() if count},
        revenue=_revenue(was, now),
    )


def _moves(before: Lake, after: Lake) -> pl.DataFrame:
    """from, to, is_known, nodes, records: nodes that were one customer's and are another's."""
    was, now = (
        current(lake.read(IDENTITY_MAP)).select("node_id", "node_kind", "customer_id", "is_known")
        for lake in (before, after)
    )
    return (
        was.join(now.select("node_id", to="customer_id"), on="node_id")
        .filter(pl.col("customer_id") != pl.col("to"))
        .group_by(pl.col("customer_id").alias("from"), "to")
        .agg(
            pl.col("is_known").any(),
            pl.len().cast(pl.Int64).alias("nodes"),
            (pl.col("node_kind") == RECORD).sum().cast(pl.Int64).alias("records"),
        )
        .sort("records", "nodes", "from", "to", descending=[True, True, False, False])
        .collect()
    )


def _revenue(was: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """customer_id, before, after: whose revenue is different; who has no profile has none."""
    return (
        was.select("customer_id", before=_REVENUE)
        .join(now.select("customer_id", after=_REVENUE), on="customer_id", how="full", coalesce=True)
        .with_columns(pl.col("before", "after").fill_null(0))
        .filter(pl.col("before") != pl.col("after"))
        .sort((pl.col("after") - pl.col("before")).abs(), "customer_id", descending=[True, False])
    )
