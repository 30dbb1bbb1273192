"""Consent, e-mail campaigns and their echo, ads and their restated numbers, exchange rates. Times in ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from etl.demo.people import Person, spelled
from etl.demo.records import DAY_MS, Truth, Version, compact_day, iso_offset, new_ulid, new_uuid

PURPOSES = ("email_marketing", "sms_marketing", "analytics", "personalisation", "ads")
METRICS = {
    "sent": ("SentEm", "Sent Email"),
    "delivered": ("RecvEm", "Received Email"),
    "opened": ("OpenEm", "Opened Email"),
    "clicked": ("ClckEm", "Clicked Email"),
    "bounced": ("BncdEm", "Bounced Email"),
    "unsubscribed": ("UnsbEm", "Unsubscribed from Email Marketing"),
    "complained": ("SpamEm", "Marked Email as Spam"),
}
KLAVIYO = "https://a.klaviyo.com/api"
META_ACCOUNT = "1002003004"
RESTATED_DAYS = 3
THEMES = (
    "Winterruhe",
    "Neujahr",
    "Polarlicht",
    "Schneetage",
    "Hygge",
    "Aufbruch",
    "Frostfrei",
    "Waldluft",
    "Feuerstelle",
    "Vorfrühling",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One consent decision of a person: for `purpose`, `status` from `at` on, recorded at `recorded_at`."""

    person: Person
    purpose: str
    status: str
    at: int
    recorded_at: int
    channel: str


@dataclass(frozen=True, slots=True)
class EmailCampaign:
    """One mailing, sent at `at` to everyone who then consents."""

    id: str
    name: str
    subject: str
    at: int


@dataclass(frozen=True, slots=True)
class Click:
    """Someone followed a link in a mailing; a visit follows."""

    person: Person
    campaign: EmailCampaign
    at: int


@dataclass(frozen=True, slots=True)
class Ad:
    """One ad; `daily_cents` is what it spends on an ordinary day."""

    id: str
    name: str
    adset_id: str
    adset_name: str
    campaign_id: str
    campaign_name: str
    daily_cents: int
    appeal: float


@dataclass(frozen=True, slots=True)
class Mailings:
    """Everything Klaviyo knows, and the clicks that bring visits."""

    profiles: list[Version]
    events: list[Version]
    campaigns: list[Version]
    clicks: list[Click]
    withdrawals: list[Decision]
    mailings: tuple[EmailCampaign, ...]


def build_decisions(rng: Random, people: list[Person], end: int) -> list[Decision]:
    """Consent as people give it: on the first day or when they join; some withdraw, a few grant again."""
    decisions: list[Decision] = []
    for person in people:
        if not person.login and not person.card and rng.random() < 0.5:
            continue
        first = person.joined_at + int(rng.random() * min(DAY_MS, end - person.joined_at - 1))
        for purpose in PURPOSES[: 2 + int(rng.random() * 4)]:
            chance = {"email_marketing": 0.82, "sms_marketing": 0.3, "analytics": 0.7}.get(purpose, 0.55)
            status = "granted" if rng.random() < chance else "withdrawn"
            decisions.append(_decision(rng, person, purpose, status, first))
            at = first
            while rng.random() < 0.08:
                at += 60_000 + int(rng.random() * (end - at))
                if at >= end:
                    break
                status = "withdrawn" if status == "granted" else "granted"
                decisions.append(_decision(rng, person, purpose, status, at))
    return decisions


def build_mailings(
    rng: Random, people: list[Person], decisions: list[Decision], truth: Truth, start: int, end: int
) -> Mailings:
    """Profiles, mailings every fourth day, and what became of every message."""
    mailings = _email_campaigns(rng, start, end)
    consents: dict[int, list[Decision]] = {}
    for decision in decisions:
        if decision.purpose == "email_marketing":
            consents.setdefault(decision.person.number, []).append(decision)
    profiles: list[Version] = []
    events: list[Version] = []
    clicks: list[Click] = []
    withdrawals: list[Decision] = []
    for person in people:
        if rng.random() >= 0.46:
            continue
        profile = _profile(rng, person, start, end)
        truth.link("klaviyo", "profiles", profile.id, person.person_id)
        profiles.append(profile)
        address = profile.payload["attributes"]["email"] if profile.payload else ""
        agreed = consents.get(person.number, [])
        left = False
        for mailing in mailings:
            if left or mailing.at < person.joined_at or not address or not _consents(agreed, mailing.at):
                continue
            echo = _echo(rng, person, mailing, end)
            events.extend(_event(rng, kind, at, profile.id, address, mailing) for kind, at in echo)
            for kind, at in echo:
                if kind == "clicked":
                    clicks.append(Click(person, mailing, at))
                elif kind == "unsubscribed":
                    left = True
                    withdrawals.append(Decision(person, "email_marketing", "withdrawn", at, at, "email"))
                    profiles.append(_updated_profile(profile, at))
    for event in events[:21:7]:
        attributes = (
            {**event.payload["attributes"], "event_properties": {"Campaign Name": "?"}} if event.payload else {}
        )
        stray = {**(event.payload or {}), "id": f"{event.id[:-1]}~", "attributes": attributes}
        stray["relationships"] = {
            **stray["relationships"],
            "metric": _related("metric", "Unkn0w", "events", stray["id"]),
        }
        events.append(Version(stray["id"], event.at, stray))
        truth.spoil("klaviyo", "events", "unknown_metric", stray["id"])
    return Mailings(profiles, events, _campaign_records(mailings), clicks, withdrawals, mailings)


def build_ads() -> tuple[Ad, ...]:
    """Twenty ads in four campaigns of two ad sets."""
    ads = []
    for number in range(20):
        campaign, adset = number // 5, number // 5 * 2 + (number % 5 > 2)
        theme = ("prospecting_de", "prospecting_en", "retargeting", "lookalike")[campaign]
        ads.append(
            Ad(
                id=str(120_210_000_000_000 + number * 17),
                name=f"{theme}_creative_{number % 5 + 1}",
                adset_id=str(120_209_000_000_000 + adset * 13),
                adset_name=f"{theme}_set_{adset % 2 + 1}",
                campaign_id=str(120_208_000_000_000 + campaign * 11),
                campaign_name=f"nordlicht_{theme}",
                daily_cents=2500 + 900 * ((number * 7) % 11),
                appeal=0.008 + 0.0012 * ((number * 5) % 9),
            )
        )
    return tuple(ads)


def build_insights(
    rng: Random,
    ads: tuple[Ad, ...],
    purchases: Mapping[tuple[str, str], tuple[int, int]],
    days: list[date],
    truth: Truth,
) -> dict[date, list[list[dict[str, Any]]]]:
    """Insight rows: day -> age -> rows. Age k is what the network says k days after the day ended, final at age 3.

    `purchases`: (ad id, ISO day) -> (number, cents) that truly followed the ad. Late attribution makes numbers grow,
    found invalid clicks make spend shrink.
    """
    insights: dict[date, list[list[dict[str, Any]]]] = {}
    for day in days:
        by_age: list[list[dict[str, Any]]] = [[] for _ in range(RESTATED_DAYS + 1)]
        for ad in ads:
            cents = int(ad.daily_cents * (0.7 + 0.6 * rng.random()))
            impressions = int(cents * (0.9 + 0.4 * rng.random()))
            clicks = int(impressions * ad.appeal * (0.8 + 0.4 * rng.random()))
            leads = int(clicks * 0.06 * rng.random() * 2)
            bought, value = purchases.get((ad.id, day.isoformat()), (0, 0))
            for age in range(RESTATED_DAYS + 1):
                known = (0.80, 0.92, 0.97, 1.0)[age]
                spend = int(cents * (1.03, 1.015, 1.005, 1.0)[age])
                by_age[age].append(_insight(ad, day, impressions, int(clicks * known), spend, int(leads * known),
                                            int(bought * known), int(value * known)))  # fmt: skip
        insights[day] = by_age
    for place, (name, wrong, kind) in enumerate(
        (("spend", "n/a", "unparsable_amount"), ("impressions", "-5", "negative_count"))
    ):
        day = days[min(3 + place, len(days) - 1)]
        for rows in insights[day]:
            rows[place] = {**rows[place], name: wrong}
        truth.spoil("meta_ads", "insights", kind, f"{insights[day][0][place]['ad_id']}:{day.isoformat()}")
    return insights


def build_rates(rng: Random, first_day: date, days: int) -> list[tuple[date, str, float]]:
    """Euro reference rates on working days from a fortnight before the first day; New Year's Day has none."""
    level = {"USD": 1.0850, "GBP": 0.8420, "PLN": 4.2850, "CHF": 0.9380, "SEK": 11.250}
    rates: list[tuple[date, str, float]] = []
    for offset in range(-14, days):
        day = first_day + timedelta(days=offset)
        for currency in level:
            level[currency] *= 1 + rng.gauss(0, 0.003)
        if day.weekday() < 5 and (day.month, day.day) != (1, 1):
            rates.extend((day, currency, round(rate, 4)) for currency, rate in level.items())
    return rates


def _decision(rng: Random, person: Person, purpose: str, status: str, at: int) -> Decision:
    late = int(rng.random() * 2 * DAY_MS) if rng.random() < 0.02 else int(rng.random() * 4000)
    return Decision(person, purpose, status, at, at + late, rng.choice(("web", "app", "store", "phone")))


def _consents(decisions: list[Decision], at: int) -> bool:
    """The last decision before `at` was yes. Nobody decided: an old customer relationship, yes (existing customers)."""
    made = [(decision.at, decision.status) for decision in decisions if decision.at < at]
    return not made or max(made)[1] == "granted"


def _email_campaigns(rng: Random, start: int, end: int) -> tuple[EmailCampaign, ...]:
    campaigns = []
    at, number = start + 9 * 3_600_000, 0
    while at < end:
        theme = THEMES[number % len(THEMES)]
        name = f"newsletter_{compact_day(at)}_{theme.lower().replace('ü', 'ue')}"
        campaigns.append(EmailCampaign(new_ulid(rng, at - DAY_MS), name, f"{theme}: Neues aus dem Norden", at))
        at += 4 * DAY_MS
        number += 1
    return tuple(campaigns)


def _campaign_records(mailings: tuple[EmailCampaign, ...]) -> list[Version]:
    records = []
    for mailing in mailings:
        attributes = {
            "name": mailing.name,
            "status": "Sent",
            "archived": False,
            "audiences": {"included": ["NewsLt"], "excluded": []},
            "send_options": {"use_smart_sending": True},
            "tracking_options": {"add_tracking_params": True, "is_tracking_clicks": True, "is_tracking_opens": True},
            "send_strategy": {"method": "immediate"},
            "created_at": iso_offset(mailing.at - DAY_MS),
            "scheduled_at": iso_offset(mailing.at - DAY_MS // 2),
            "updated_at": iso_offset(mailing.at),
            "send_time": iso_offset(mailing.at),
        }
        payload = {
            "type": "campaign",
            "id": mailing.id,
            "attributes": attributes,
            "links": {"self": f"{KLAVIYO}/campaigns/{mailing.id}/"},
        }
        records.append(Version(mailing.id, mailing.at, payload))
    return records


def _profile(rng: Random, person: Person, start: int, end: int) -> Version:
    who = spelled(rng, person)
    if rng.random() < 0.6:
        created, at = start - int(rng.random() * 700 * DAY_MS), start + int(rng.random() * DAY_MS)
    else:
        created = at = person.joined_at + int(rng.random() * (end - person.joined_at - 1000))
    at -= at % 1000
    ident = new_ulid(rng, created)
    mobile = person.mobile if who.mobile else None  # Klaviyo takes E.164 only
    attributes = {
        "email": who.email.strip().lower() or None,
        "phone_number": mobile,
        "external_id": person.login if person.login and rng.random() < 0.5 else None,
        "first_name": who.given or None,
        "last_name": who.family or None,
        "organization": who.firm or None,
        "locale": {"de": "de-DE", "en": "en-GB", "pl": "pl-PL"}[person.land.language],
        "title": None,
        "image": None,
        "created": iso_offset(created),
        "updated": iso_offset(at),
        "last_event_date": None,
        "location": {
            "address1": who.street or None,
            "address2": None,
            "city": who.city or None,
            "country": person.land.title,
            "region": None,
            "zip": who.postal or None,
            "timezone": None,
        },
        "properties": {"loyalty_card": who.card} if who.card else {},
    }
    payload = {
        "type": "profile",
        "id": ident,
        "attributes": attributes,
        "links": {"self": f"{KLAVIYO}/profiles/{ident}/"},
    }
    return Version(ident, at, payload)


def _updated_profile(profile: Version, at: int) -> Version:
    assert profile.payload is not None
    at = max(at, profile.at + 1000) // 1000 * 1000
    attributes = {**profile.payload["attributes"], "updated": iso_offset(at), "last_event_date": iso_offset(at)}
    return Version(profile.id, at, {**profile.payload, "attributes": attributes})


def _echo(rng: Random, person: Person, mailing: EmailCampaign, end: int) -> list[tuple[str, int]]:
    """What became of one message: (kind, when), oldest first, nothing at or after `end`."""
    at = mailing.at + int(rng.random() * 1_800_000)
    echo = [("sent", at)]
    at += 1000 + int(rng.random() * 20_000)
    if rng.random() < 0.018:
        return [*echo, ("bounced", at)]
    echo.append(("delivered", at))
    is_gone = person.left_at is not None and mailing.at > person.left_at
    if is_gone or rng.random() > 0.40:
        return echo
    opened = at + int(rng.expovariate(1 / 14_400_000)) + 5000
    echo.append(("opened", opened))
    if rng.random() < 0.2:
        echo.append(("opened", opened + 3_600_000))
    if rng.random() < (0.22 if person.is_buyer else 0.08):
        echo.append(("clicked", opened + 2000 + int(rng.random() * 120_000)))
    roll = rng.random()
    if roll < 0.008:
        echo.append(("unsubscribed", opened + 60_000))
    elif roll < 0.0095:
        echo.append(("complained", opened + 30_000))
    stop = person.left_at or end
    return [(kind, when) for kind, when in echo if when < (end if kind in ("sent", "delivered") else stop)]


def _related(kind: str, ident: str, owner: str, owner_id: str) -> dict[str, Any]:
    return {
        "data": {"type": kind, "id": ident},
        "links": {
            "self": f"{KLAVIYO}/{owner}/{owner_id}/relationships/{kind}/",
            "related": f"{KLAVIYO}/{owner}/{owner_id}/{kind}/",
        },
    }


def _event(rng: Random, kind: str, at: int, profile_id: str, address: str, mailing: EmailCampaign) -> Version:
    ident = f"4{rng.getrandbits(60):015x}"
    at -= at % 1000  # Klaviyo's times are whole seconds
    payload = {
        "type": "event",
        "id": ident,
        "attributes": {
            "timestamp": at // 1000,
            "event_properties": {
                "Recipient Email Address": address,
                "Email Domain": address.rpartition("@")[2],
                "Campaign Name": mailing.name,
                "Subject": mailing.subject,
                "$message": mailing.id,
                "$event_id": f"{mailing.id}:{at // 1000}",
            },
            "datetime": iso_offset(at),
            "uuid": new_uuid(rng),
        },
        "relationships": {
            "profile": _related("profile", profile_id, "events", ident),
            "metric": _related("metric", METRICS[kind][0], "events", ident),
        },
        "links": {"self": f"{KLAVIYO}/events/{ident}/"},
    }
    return Version(ident, at, payload)


def _insight(
    ad: Ad, day: date, impressions: int, clicks: int, cents: int, leads: int, bought: int, value: int
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "account_id": META_ACCOUNT,
        "account_name": "Nordlicht",
        "account_currency": "EUR",
        "campaign_id": ad.campaign_id,
        "campaign_name": ad.campaign_name,
        "adset_id": ad.adset_id,
        "adset_name": ad.adset_name,
        "ad_id": ad.id,
        "ad_name": ad.name,
        "objective": "OUTCOME_SALES",
        "impressions": str(impressions),
        "reach": str(int(impressions * 0.8)),
        "clicks": str(clicks),
        "inline_link_clicks": str(int(clicks * 0.9)),
        "spend": f"{cents / 100:.2f}",
    }
    actions = [{"action_type": "link_click", "value": str(int(clicks * 0.9))}]
    if leads:
        actions.append({"action_type": "lead", "value": str(leads)})
    if bought:
        actions.append({"action_type": "purchase", "value": str(bought)})
        row["action_values"] = [{"action_type": "purchase", "value": f"{value / 100:.2f}"}]
    row["actions"] = actions
    row["date_start"] = row["date_stop"] = day.isoformat()
    return row
