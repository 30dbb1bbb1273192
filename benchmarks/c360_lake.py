"""The benchmark's lake: how big it is, which sources flow into it, which tables the job builds, in the product's order.

Read by the generator, which lands bronze, by the product's run, and by every peer, which reads that same bronze.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from etl.gold.customer_360 import CUSTOMER_360
from etl.model import Layer, Table, Window
from etl.run.house import House, open_house
from etl.settings import Settings, SourceSettings
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.identity_model import IDENTITY_MODEL

ROOT = Path(__file__).resolve().parent.parent
FIRST_DAY = date(2026, 1, 1)
DAYS = 90
#: One key for all, so that every run and every peer makes the same pseudonyms.
KEY = bytes(range(32)).hex().encode()
CURRENCY = "EUR"
COUNTRY = "DE"

SOURCES = {
    "consent": SourceSettings(),
    "crm_db": SourceSettings(),
    "ecb_rates": SourceSettings(),
    "hubspot": SourceSettings(streams=("contacts", "contacts_archived")),
    "klaviyo": SourceSettings(streams=("events",)),
    "mastodon": SourceSettings(),
    "posthog": SourceSettings(),
    "shopify": SourceSettings(streams=("orders", "products")),
}

#: What compares records that share no identifier; no peer can do it.
LINKAGE = (IDENTITY_MODEL, IDENTITY_MATCHES)

_SIZES = {"XS": 20_000, "S": 2_000_000, "M": 20_000_000}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is generated: `events` of the web in the first 90 days; all else follows from it."""

    name: str
    events: int

    @classmethod
    def of(cls, name: str) -> Size:
        """`XS` (20 thousand events), `S` (2 million), `M` (20 million), or a number of events: `20k`, `0.25m`.

        Raises: ValueError when it is none of these.
        """
        if name in _SIZES:
            return cls(name, _SIZES[name])
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([km])", name)
        if match is None:
            raise ValueError(f"size {name!r}: expected XS, S, M, or a number of events like 20k or 0.25m")
        return cls(name, round(float(match[1]) * {"k": 1_000, "m": 1_000_000}[match[2]]))

    @property
    def people(self) -> int:
        """One person to twenty events."""
        return self.events // 20

    @property
    def folder(self) -> Path:
        """Where what is generated stands; git does not see it."""
        return ROOT / "var" / "bench" / self.name


def history() -> Window:
    """The days every run is about."""
    return Window.of_days(FIRST_DAY, FIRST_DAY + timedelta(days=DAYS - 1))


def next_day() -> Window:
    """The day after: the increment."""
    return Window.of_day(FIRST_DAY + timedelta(days=DAYS))


def as_of() -> datetime:
    """The moment the profiles of the history are of: its end."""
    return history().end


def bench_house(home: Path) -> House:
    """The product, opened on the benchmark's lake in `home`, with the benchmark's sources."""
    return open_house(
        Settings(
            home=home,
            lake=home / "lake",
            is_demo=False,
            company="benchmark",
            reporting_currency=CURRENCY,
            default_country=COUNTRY,
            first_day=FIRST_DAY,
            sources=SOURCES,
            pseudonym_key=KEY,
        )
    )


def job(house: House, *, with_linkage: bool = False) -> list[Table]:
    """The silver and gold tables `gold.customer_360` is made of, and it, in build order.

    Without linkage the company is one whose records are too few to learn from: there is no model and no match, and
    identifiers alone make its customers.
    """
    needed: set[str] = set() if with_linkage else {table.full_name for table in LINKAGE}
    waiting = [CUSTOMER_360]
    while waiting:
        table = waiting.pop()
        if table.layer is not Layer.BRONZE and table.full_name not in needed:
            needed.add(table.full_name)
            waiting.extend(table.inputs)
    left_out = () if with_linkage else LINKAGE
    return [table for table in house.catalog.tables if table.full_name in needed and table not in left_out]


def copy_of(folder: Path, home: Path) -> Path:
    """The generated lake at `home`, as if bronze had just been landed there. Data files are linked, not copied."""

    def put(source: str, target: str) -> None:
        if source.endswith(".parquet"):
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(folder / "lake", home / "lake", copy_function=put)
    return home
