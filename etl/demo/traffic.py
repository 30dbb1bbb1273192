"""Visits to the shop (GA4) and the magazine (Snowplow): browsers, logins, campaigns, the experiment, purchases.

A browser is anonymous until its owner logs in, and may be shared: a couple's tablet, a kiosk in the store. Visits of
robots and of strangers who never say who they are belong to nobody. Times are milliseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from etl.demo.commerce import Order, Till
from etl.demo.marketing import Ad, Click
from etl.demo.names import ORGANIC
from etl.demo.people import Person
from etl.demo.records import DAY_MS, Truth, moment_between, new_uuid, poisson

EXPERIMENT = "checkout_one_page"
TRUE_LIFT = 0.25
BUY_CHANCE = 0.42


@dataclass(slots=True)
class Browser:
    """One browser: `ga` and `sp` are its cookies at the two sites. `make`: place in names.BROWSERS; below 0 a robot."""

    ga: str
    sp: str
    make: int
    first_at: int
    skew: int  # how far its clock is off, ms
    visits: int = 0


@dataclass(slots=True)
class Visit:
    """One visit. `person` None: a stranger or a robot. `is_known`: logs in. `says_email`: leaves an e-mail hash."""

    site: str  # shop | magazine
    at: int
    browser: Browser
    person: Person | None
    source: str
    medium: str
    campaign: str
    referrer: str
    ad: Ad | None = None
    is_known: bool = False
    says_email: bool = False
    variant: str = ""
    order: Order | None = None
    number: int = 0


def build_visits(
    rng: Random,
    people: list[Person],
    clicks: list[Click],
    ads: tuple[Ad, ...],
    till: Till,
    truth: Truth,
    start: int,
    end: int,
) -> list[Visit]:
    """Every visit of the span, in order of time, with the orders rung up on the way; orders without a visit too.

    Experiment: from a quarter to three quarters of the span, every visit to the shop is exposed to its person's arm;
    in the treatment arm a visit is `TRUE_LIFT` likelier to end in an order.
    """
    browsers = _browsers(rng, people, truth, start)
    kiosks = [_browser(rng, start, 5) for _ in range(3)]
    mailed: dict[int, list[Click]] = {}
    for click in clicks:
        mailed.setdefault(click.person.number, []).append(click)
    exam_start, exam_end = start + (end - start) // 4, start + (end - start) * 3 // 4
    visits: list[Visit] = []
    for person in people:
        own = browsers[person.number]
        stop = person.left_at or end
        span = max(stop - person.joined_at, 1) / (30 * DAY_MS)
        zeal = rng.gammavariate(2.0, 2.0) if person.is_buyer else 0.9
        arm = "treatment" if rng.random() < 0.5 else "control"
        plans: list[tuple[int, Click | None]] = [
            (moment_between(rng, person.joined_at, stop), None) for _ in range(poisson(rng, zeal * span))
        ]
        plans += [(click.at, click) for click in mailed.get(person.number, ()) if click.at < stop]
        for at, through in sorted(plans, key=lambda plan: plan[0]):
            visit = _visit(rng, "shop", at, person, own, ads, through)
            if person.login and rng.random() < 0.012:
                visit.browser, visit.is_known = rng.choice(kiosks), True
                truth.identify("cookie", visit.browser.ga, person.person_id)
            if exam_start <= at < exam_end:
                visit.variant = arm
            chance = (BUY_CHANCE if person.is_buyer else 0.02) * (1 + TRUE_LIFT * (visit.variant == "treatment"))
            if rng.random() < chance and at + 1_800_000 < stop:
                visit.order = till.ring_up(person, at + 600_000, (visit.source, visit.medium, visit.campaign))
                if visit.order.is_guest:
                    visit.is_known, visit.says_email = False, True
            visits.append(visit)
        visits += [
            _visit(rng, "magazine", moment_between(rng, person.joined_at, stop), person, own, ads, None)
            for _ in range(poisson(rng, 1.6 * span))
        ]
        if person.is_buyer:  # by telephone, or behind an ad blocker
            for _ in range(poisson(rng, 0.55 * span)):
                till.ring_up(person, moment_between(rng, person.joined_at, stop), ("", "", ""))
    visits += _strangers(rng, len(people), ads, start, end)
    visits.sort(key=lambda visit: (visit.at, visit.browser.ga))
    for visit in visits:
        visit.browser.visits += 1
        visit.number = visit.browser.visits
    return visits


def _browsers(rng: Random, people: list[Person], truth: Truth, start: int) -> list[list[Browser]]:
    """Each person's browsers; partners share one now and then."""
    browsers: list[list[Browser]] = []
    for person in people:
        own = [
            _browser(rng, start, int(rng.random() * 6)) for _ in range(1 + (rng.random() < 0.5) + (rng.random() < 0.15))
        ]
        if person.household != person.number and rng.random() < 0.3:
            own.append(browsers[person.household][0])
        for browser in own:
            truth.identify("cookie", browser.ga, person.person_id)
            truth.identify("cookie", browser.sp, person.person_id)
        browsers.append(own)
    return browsers


def _browser(rng: Random, start: int, make: int) -> Browser:
    first = start - int(rng.random() * 90 * DAY_MS)
    skew = int(rng.gauss(0, 400)) if rng.random() > 0.02 else int(rng.choice((-1, 1)) * rng.random() * 3 * 3_600_000)
    return Browser(f"{rng.getrandbits(31)}.{first // 1000}", new_uuid(rng), make, first, skew)


def _visit(
    rng: Random, site: str, at: int, person: Person, own: list[Browser], ads: tuple[Ad, ...], click: Click | None
) -> Visit:
    browser = own[0] if len(own) == 1 or rng.random() < 0.6 else rng.choice(own)
    if click is not None:
        visit = Visit(site, at, browser, person, "klaviyo", "email", click.campaign.name, "")
        visit.says_email = True
    else:
        visit = _arrival(rng, site, at, browser, person, ads)
    if person.login and rng.random() < (0.55 if site == "shop" else 0.3):
        visit.is_known = True
    return visit


def _arrival(rng: Random, site: str, at: int, browser: Browser, person: Person | None, ads: tuple[Ad, ...]) -> Visit:
    if rng.random() < 0.13:
        ad = rng.choice(ads)
        visit = Visit(
            site, at, browser, person, "facebook", "paid_social", ad.campaign_name, "https://www.facebook.com/"
        )
        visit.ad = ad
        return visit
    _, source, medium, referrer = rng.choices(ORGANIC, weights=[way[0] for way in ORGANIC])[0]
    return Visit(site, at, browser, person, source, medium, "brand_search" if medium == "cpc" else "", referrer)


def _strangers(rng: Random, people: int, ads: tuple[Ad, ...], start: int, end: int) -> list[Visit]:
    """Visitors who never say who they are, and robots that read the magazine at night."""
    visits = []
    for _ in range(people // 3):
        browser = _browser(rng, start, int(rng.random() * 6))
        for _ in range(1 + (rng.random() < 0.3)):
            site = "shop" if rng.random() < 0.6 else "magazine"
            visits.append(_arrival(rng, site, moment_between(rng, start, end), browser, None, ads))
    for robot in range(4):
        browser = _browser(rng, start, -1 - robot)
        for _ in range(max(people // 100, 2)):
            at = start + int(rng.random() * (end - start))
            visits.append(Visit("magazine", at, browser, None, "(direct)", "(none)", "", ""))
    return visits
