"""What the CRM (HubSpot) and the customer database know, and how it changes: updates, merges, deletions."""

from __future__ import annotations

from random import Random
from typing import Any

from etl.demo.people import Person, spelled
from etl.demo.records import DAY_MS, Truth, Version, iso_ms, iso_s

STAGES = ("subscriber", "lead", "marketingqualifiedlead", "opportunity", "customer")


def build_hubspot(rng: Random, people: list[Person], truth: Truth, start: int, end: int) -> list[Version]:
    """Versions of HubSpot contacts. About half the people are there, one in twelve of those twice.

    Six in ten records came in a migration on the first day, some on the very first millisecond.
    """
    versions: list[Version] = []
    serial = 1_000_000
    for person in people:
        if rng.random() >= 0.53:
            continue
        serial += 1 + int(rng.random() * 9)
        first = _contact(rng, person, serial, start, end)
        history = _contact_history(rng, person, first, end)
        versions.extend(history)
        truth.link("hubspot", "contacts", str(serial), person.person_id)
        if rng.random() < 0.08:
            winner = serial
            serial += 1 + int(rng.random() * 9)
            twin = _contact(rng, person, serial, start, end, care=0.5)
            versions.append(twin)
            truth.link("hubspot", "contacts", str(serial), person.person_id)
            last = history[-1]
            merged_at = max(twin.at, last.at) + int(rng.random() * 6 * DAY_MS) + 1000
            if rng.random() < 0.35 and merged_at < end and last.payload and not last.is_archived:
                versions.append(_changed(last, merged_at, {"hs_merged_object_ids": str(serial)}))
                versions.append(Version(str(serial), merged_at, None))
                assert str(winner) == last.id
    return _with_broken_contacts(versions, truth)


def build_crm_rows(rng: Random, people: list[Person], truth: Truth, start: int, end: int) -> list[tuple[Any, ...]]:
    """Rows of the table `customers` as they stand at the end, ordered by number. Two in five people are there."""
    rows: list[tuple[Any, ...]] = []
    serial = 50_000
    for person in people:
        if rng.random() >= 0.40:
            continue
        serial += 1
        rows.append(_crm_row(rng, person, serial, start, end))
        truth.link("crm_db", "customers", f"C{serial}", person.person_id)
        if rng.random() < 0.03:
            serial += 1
            twin = list(_crm_row(rng, person, serial, start, end, care=0.5))
            if rng.random() < 0.5:
                twin[13], twin[14] = "merged", f"C{serial - 1}"
            rows.append(tuple(twin))
            truth.link("crm_db", "customers", f"C{serial}", person.person_id)
    for place, kind in (
        (11, "missing_id"),
        (23, "missing_id"),
        (31, "far_future_created_at"),
        (47, "far_future_created_at"),
    ):
        if place < len(rows):
            row = list(rows[place])
            truth.spoil("crm_db", "customers", kind, "" if kind == "missing_id" else str(row[0]))
            if kind == "missing_id":
                row[0] = None
            else:
                row[15] = "2099-12-31T00:00:00Z"
            rows[place] = tuple(row)
    return rows


def _contact(rng: Random, person: Person, serial: int, start: int, end: int, *, care: float = 1.0) -> Version:
    who = spelled(rng, person, care=care)
    is_migrated = rng.random() < 0.6
    if is_migrated:
        created = start - int(rng.random() * 900 * DAY_MS) - DAY_MS
        at = start if rng.random() < 0.01 else start + int(rng.random() * DAY_MS)
    else:
        created = at = person.joined_at + int(rng.random() * (end - person.joined_at - 1000))
        if rng.random() < 0.01:
            created = at = at - at % DAY_MS  # on the stroke of midnight: in exactly one window
    properties = {
        "email": who.email,
        "firstname": who.given,
        "lastname": who.family,
        "phone": who.phone,
        "mobilephone": who.mobile,
        "address": who.street,
        "zip": who.postal,
        "city": who.city,
        "country": person.land.title,
        "hs_language": person.land.language,
        "date_of_birth": who.born,
        "company": who.firm,
        "lifecyclestage": rng.choice(STAGES),
        "loyalty_card": who.card,
        "shop_customer_id": person.login if rng.random() < 0.4 else "",
        "mastodon_handle": person.handle if rng.random() < 0.7 else "",
        "createdate": iso_ms(created),
        "lastmodifieddate": iso_ms(at),
        "hs_object_id": str(serial),
    }
    return Version(
        str(serial),
        at,
        {
            "id": str(serial),
            "properties": {name: value for name, value in properties.items() if value},
            "createdAt": iso_ms(created),
            "updatedAt": iso_ms(at),
            "archived": False,
        },
    )


def _changed(version: Version, at: int, changes: dict[str, str]) -> Version:
    assert version.payload is not None
    properties = {**version.payload["properties"], **changes, "lastmodifieddate": iso_ms(at)}
    return Version(version.id, at, {**version.payload, "properties": properties, "updatedAt": iso_ms(at)})


def _contact_history(rng: Random, person: Person, first: Version, end: int) -> list[Version]:
    """The contact's versions: a quarter change once or twice, one in fifty is archived."""
    history = [first]
    for _ in range((rng.random() < 0.25) + (rng.random() < 0.06)):
        at = history[-1].at + 1000 + int(rng.random() * (end - history[-1].at))
        if at >= end:
            break
        roll = rng.random()
        if roll < 0.4:
            changes = {"lifecyclestage": "customer"}
        elif roll < 0.7:
            changes = {"address": person.street, "zip": person.postal, "city": person.city}
        elif roll < 0.85:
            changes = {"email": person.email}
        else:
            changes = {"phone": person.mobile}
        history.append(_changed(history[-1], at, changes))
    if rng.random() < 0.02:
        last = history[-1]
        at = last.at + 1000 + int(rng.random() * (end - last.at))
        if at < end and last.payload is not None:
            gone = {**last.payload, "archived": True, "archivedAt": iso_ms(at), "updatedAt": iso_ms(at)}
            history.append(Version(last.id, at, gone, is_archived=True))
    return history


def _with_broken_contacts(versions: list[Version], truth: Truth) -> list[Version]:
    """The same, with three birth dates and three addresses nobody can read, on contacts that never change."""
    counts: dict[str, int] = {}
    for version in versions:
        counts[version.id] = counts.get(version.id, 0) + 1
    spoilt = {"date_of_birth": ("unparsable_birth_date", "31.02.19xx"), "email": ("broken_email", "kein-at-zeichen")}
    left = dict.fromkeys(spoilt, 3)
    for place, version in enumerate(versions):
        name = "date_of_birth" if place % 2 else "email"
        if left[name] and counts[version.id] == 1 and version.payload and name in version.payload["properties"]:
            kind, value = spoilt[name]
            properties = {**version.payload["properties"], name: value}
            versions[place] = Version(version.id, version.at, {**version.payload, "properties": properties})
            truth.spoil("hubspot", "contacts", kind, version.id)
            left[name] -= 1
    return versions


def _crm_row(rng: Random, person: Person, serial: int, start: int, end: int, *, care: float = 1.0) -> tuple[Any, ...]:
    who = spelled(rng, person, care=care)
    created = start - int(rng.random() * 2000 * DAY_MS)
    if rng.random() < 0.5:
        updated = start + int(rng.random() * DAY_MS)
    else:
        updated = start + int(rng.random() * (end - start - 1000))
    if rng.random() < 0.01:
        updated -= updated % DAY_MS
    return (
        f"C{serial}",
        who.given,
        who.family,
        who.email,
        who.phone,
        who.mobile,
        who.street,
        who.postal,
        who.city,
        person.land.code,
        who.born,
        who.card or (person.card if rng.random() < 0.5 else ""),
        who.firm,
        "closed" if person.left_at is not None and updated > person.left_at else "active",
        "",
        iso_s(created),
        iso_s(updated),
    )
