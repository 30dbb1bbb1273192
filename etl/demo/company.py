"""The fictional company: everything that happened in its month, and the truth beside it.

Each part draws from its own generator, seeded by (seed, part), so a change in one leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from etl.demo.commerce import (
    Order,
    Rates,
    Till,
    build_products,
    customer_versions,
    order_versions,
    product_versions,
)
from etl.demo.crm import build_crm_rows, build_hubspot
from etl.demo.marketing import (
    Decision,
    build_ads,
    build_decisions,
    build_insights,
    build_mailings,
    build_rates,
)
from etl.demo.people import Person, build_people
from etl.demo.records import EPOCH, Truth, Version, collector_at_rest, ms_of
from etl.demo.social import build_posts
from etl.demo.traffic import Visit, build_visits


@dataclass(frozen=True, slots=True)
class Company:
    """One month of the company.

    `records`: (source, stream) -> versions of its records, for what is served over HTTP. `insights`: day -> age ->
    rows. `end` is the midnight after the last day; `today` the default moment the server answers as of.
    """

    people_count: int
    days: int
    first_day: date
    seed: int
    people: tuple[Person, ...]
    records: Mapping[tuple[str, str], list[Version]]
    crm_rows: tuple[tuple[Any, ...], ...]
    visits: tuple[Visit, ...]
    orders: tuple[Order, ...]
    decisions: tuple[Decision, ...]
    insights: Mapping[date, list[list[dict[str, Any]]]]
    rates: tuple[tuple[date, str, float], ...]
    truth: Truth

    @property
    def start(self) -> datetime:
        """The first midnight, UTC."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def end(self) -> datetime:
        """The midnight after the last day, UTC."""
        return self.start + timedelta(days=self.days)

    @property
    def today(self) -> datetime:
        """A day after the month ended: what the server takes for now, unless told otherwise."""
        return self.end + timedelta(days=1)

    @property
    def marker(self) -> dict[str, Any]:
        """What tells one company from another."""
        return {
            "form": FORM,
            "seed": self.seed,
            "people": self.people_count,
            "days": self.days,
            "first_day": self.first_day.isoformat(),
        }


FORM = 2  # raised when the same seed gives other bytes than before, so that old files are not reused


def build_company(*, people: int = 5000, days: int = 30, first_day: date = date(2026, 1, 1), seed: int = 42) -> Company:
    """The company of these four values: always the same one. The last one built is kept, so asking twice is cheap."""
    with collector_at_rest():
        return _built(people, days, first_day, seed)


@lru_cache(maxsize=1)
def _built(people: int, days: int, first_day: date, seed: int) -> Company:
    start = ms_of(datetime.combine(first_day, time(), UTC))
    end = start + days * 86_400_000

    def dice(part: str) -> Random:
        return Random(f"{seed}:{part}")

    truth = Truth()
    everybody = build_people(dice("people"), people, start, end)
    _identify(everybody, truth)
    rates = build_rates(dice("rates"), first_day, days)
    products = build_products()
    decisions = build_decisions(dice("consent"), everybody, end)
    mailings = build_mailings(dice("mail"), everybody, decisions, truth, start, end)
    ads = build_ads()
    till = Till(dice("till"), products, Rates(rates), end)
    visits = build_visits(dice("visits"), everybody, mailings.clicks, ads, till, truth, start, end)
    all_days = [first_day + timedelta(days=offset) for offset in range(days)]
    records = {
        ("hubspot", "contacts"): build_hubspot(dice("hubspot"), everybody, truth, start, end),
        ("klaviyo", "profiles"): mailings.profiles,
        ("klaviyo", "events"): mailings.events,
        ("klaviyo", "campaigns"): mailings.campaigns,
        ("shopify", "orders"): order_versions(till.orders, truth, end),
        ("shopify", "products"): product_versions(products, start),
        ("shopify", "customers"): customer_versions(till.orders, truth),
        ("mastodon", "statuses"): build_posts(dice("posts"), everybody, truth, start, end),
    }
    return Company(
        people_count=people,
        days=days,
        first_day=first_day,
        seed=seed,
        people=tuple(everybody),
        records=records,
        crm_rows=tuple(build_crm_rows(dice("crm"), everybody, truth, start, end)),
        visits=tuple(visits),
        orders=tuple(till.orders),
        decisions=tuple(sorted([*decisions, *mailings.withdrawals], key=lambda d: (d.recorded_at, d.person.number))),
        insights=build_insights(dice("ads"), ads, _bought_through_ads(visits), all_days, truth),
        rates=tuple(rates),
        truth=truth,
    )


def _identify(people: list[Person], truth: Truth) -> None:
    for person in people:
        for kind, value in (
            ("email", person.email),
            ("email", person.work_email),
            ("email", person.shared_email),
            ("phone", person.mobile),
            ("phone", person.landline),
            ("card", person.card),
            ("login", person.login),
            ("handle", person.handle),
            ("device", person.device),
        ):
            truth.identify(kind, value, person.person_id)


def _bought_through_ads(visits: list[Visit]) -> dict[tuple[str, str], tuple[int, int]]:
    """(ad, day) -> (orders, euro cents) of visits that came through the ad."""
    bought: dict[tuple[str, str], tuple[int, int]] = {}
    for visit in visits:
        if visit.ad is not None and visit.order is not None:
            day = (EPOCH + timedelta(milliseconds=visit.order.at)).date().isoformat()
            count, cents = bought.get((visit.ad.id, day), (0, 0))
            bought[visit.ad.id, day] = (count + 1, cents + visit.order.eur_gross)
    return bought
