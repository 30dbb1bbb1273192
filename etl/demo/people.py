"""The people of the fictional company, and how badly the systems know them.

One `Person` a human being. `spelled` gives one system's idea of a person: nicknames, typos, maiden names, former
addresses, telephone numbers in every notation, placeholders. Times are milliseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from etl.demo.names import FIRM_KINDS, FIRM_WORDS, LANDS, MAIL_HOSTS, NICKNAMES, Land

PLACEHOLDER_PHONES = ("0000000000", "1234567", "+49000000000")
PLACEHOLDER_EMAILS = ("test@test.com", "noreply@nordlicht.example", "none@none.com")
FOLD = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


@dataclass(slots=True)
class Person:
    """One human being. Empty strings: has none. `left_at`: when they stop for good (ms), None if they stay."""

    number: int
    person_id: str
    land: Land
    is_woman: bool
    given: str
    family: str
    maiden: str
    born: str
    email: str
    work_email: str
    shared_email: str  # an address several people read: info@firm, or a couple's
    mobile: str
    landline: str
    street: str
    postal: str
    city: str
    old_street: str
    old_postal: str
    old_city: str
    firm: str
    household: int
    card: str
    login: str
    handle: str
    device: str
    is_buyer: bool
    joined_at: int
    left_at: int | None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one system writes one person down. Empty strings: unknown there."""

    given: str
    family: str
    email: str
    phone: str
    mobile: str
    street: str
    postal: str
    city: str
    born: str
    card: str
    firm: str


def build_people(rng: Random, count: int, start: int, end: int) -> list[Person]:
    """`count` people, every fourth pair a couple under one roof; about one in seven leaves during [start, end)."""
    people: list[Person] = []
    taken: set[str] = set()
    firms = [
        (f"{word} {kind} GmbH", f"info@{word.lower()}-{kind.lower()}.example")
        for word in FIRM_WORDS
        for kind in FIRM_KINDS
    ]
    span = end - start
    for number in range(count):
        partner = people[-1] if number % 4 == 1 and rng.random() < 0.8 else None
        land = partner.land if partner else _land(rng)
        is_woman = not partner.is_woman if partner else rng.random() < 0.5
        given = rng.choice(land.women if is_woman else land.men)
        own_family = rng.choice(land.families)
        family = partner.family if partner and rng.random() < 0.7 else own_family
        maiden = own_family if is_woman and family != own_family else ""
        if is_woman and not maiden and rng.random() < 0.15:
            maiden = rng.choice(land.families)
        year = int(rng.triangular(1940, 2007, 1982))
        email = _address(rng, given, family, year, taken)
        street, postal, city = (partner.street, partner.postal, partner.city) if partner else _home(rng, land)
        old_street, old_postal, old_city = _home(rng, land)
        landline = ""
        if partner and rng.random() < 0.5:
            landline = partner.landline or _landline(land, number)
            partner.landline = landline
        firm = shared = work = ""
        if rng.random() < 0.10:
            firm, mailbox = firms[int(rng.random() ** 2 * len(firms))]
            shared = mailbox if rng.random() < 0.35 else ""
            work = f"{_plain(given)}.{_plain(family)}{number}@{mailbox.split('@')[1]}"
        if partner and not shared and not partner.shared_email and rng.random() < 0.08:
            shared = f"familie.{_plain(family)}{number}@{MAIL_HOSTS[number % 5]}"
            partner.shared_email = shared
        is_buyer = rng.random() < 0.5
        joined = start if rng.random() < 0.7 else start + int(rng.random() * span * 0.6)
        left = joined + int((0.15 + 0.75 * rng.random()) * (end - joined)) if rng.random() < 0.14 else None
        people.append(
            Person(
                number=number,
                person_id=f"p{number:07d}",
                land=land,
                is_woman=is_woman,
                given=given,
                family=family,
                maiden=maiden,
                born=f"{year}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
                email=email,
                work_email=work,
                shared_email=shared,
                mobile=_mobile(land, number),
                landline=landline,
                street=street,
                postal=postal,
                city=city,
                old_street=old_street,
                old_postal=old_postal,
                old_city=old_city,
                firm=firm,
                household=partner.household if partner else number,
                card=f"NL{(number * 7919 + 10007) % 100_000_007:08d}" if rng.random() < 0.55 else "",
                login=str(7_000_000_000_000 + number * 32_771) if rng.random() < (0.6 if is_buyer else 0.08) else "",
                handle=f"{_plain(given)}_{_plain(family)[:6]}{number}@fjord.example" if rng.random() < 0.08 else "",
                device=f"lumen-{(number * 2654435761) % 0xFFFFFFFF:08x}" if rng.random() < 0.07 else "",
                is_buyer=is_buyer,
                joined_at=joined,
                left_at=left,
            )
        )
    return people


def spelled(rng: Random, person: Person, *, care: float = 1.0) -> Spelling:
    """One system's idea of `person`; `care` below 1 makes every blunder likelier."""
    slip = 1.0 / care
    given, family = _spelled_name(rng, person, slip)
    roll = rng.random()
    moved = rng.random() < 0.08 * slip
    street = person.old_street if moved else person.street
    return Spelling(
        given=given,
        family=family,
        email=_spelled_email(rng, person, slip),
        phone=_spelled_phone(rng, person, slip),
        mobile=person.mobile if roll < 0.35 else "",
        street=street.replace("straße", "str.").replace("Street", "St") if rng.random() < 0.2 else street,
        postal=person.old_postal if moved else person.postal,
        city=person.old_city if moved else person.city,
        born=person.born if rng.random() < 0.5 else "",
        card=person.card if person.card and rng.random() < 0.6 else "",
        firm=person.firm if rng.random() < 0.8 else "",
    )


def _spelled_name(rng: Random, person: Person, slip: float) -> tuple[str, str]:
    given, family = person.given, person.family
    roll = rng.random() / slip
    if roll < 0.08:
        given = NICKNAMES.get(given, given)
    elif roll < 0.11:
        given = _typo(rng, given)
    elif roll < 0.13:
        given = given[0] + "."
    roll = rng.random() / slip
    if person.maiden and roll < 0.3:
        family = person.maiden
    elif roll < 0.35:
        family = _typo(rng, family) if roll > 0.31 else family
    elif roll < 0.38:
        family = family.translate(FOLD)
    roll = rng.random() / slip
    if roll < 0.04:
        given, family = given.upper(), family.upper()
    elif roll < 0.08:
        given, family = given.lower(), family.lower()
    elif roll < 0.09:
        given, family = family, given
    elif roll < 0.11:
        given, family = f" {given}", f"{family}  "
    return given, family


def _spelled_email(rng: Random, person: Person, slip: float) -> str:
    roll = rng.random() / slip
    if roll < 0.03:
        return ""
    if roll < 0.04:
        return rng.choice(PLACEHOLDER_EMAILS)
    if roll < 0.055:
        name, host = person.email.split("@")
        return f"{_typo(rng, name)}@{host}"
    address = person.email
    if person.shared_email and roll < 0.35:
        address = person.shared_email
    elif person.work_email and roll < 0.6:
        address = person.work_email
    roll = rng.random() / slip
    if roll < 0.05:
        name, host = address.split("@")
        return f"{name}+{rng.choice(('shop', 'nordlicht', 'news'))}@{host}"
    if roll < 0.10:
        return address.title()
    if roll < 0.12:
        return address.upper()
    return f" {address}" if roll < 0.13 else address


def _spelled_phone(rng: Random, person: Person, slip: float) -> str:
    roll = rng.random() / slip
    if roll < 0.25:
        return ""
    if roll < 0.262:
        return rng.choice(PLACEHOLDER_PHONES)
    number = person.landline if person.landline and roll < 0.5 else person.mobile
    return noted(rng, number, person.land.code)


def noted(rng: Random, number: str, country: str) -> str:
    """An E.164 `number` in one of the notations people use; national ones only at home."""
    prefix = {"DE": "+49", "AT": "+43", "GB": "+44", "PL": "+48", "US": "+1"}[country]
    rest = number[len(prefix) :]
    trunk = "0" if country in ("DE", "AT", "GB") else ""
    roll = rng.random()
    if roll < 0.45:
        return number
    if roll < 0.60:
        return f"{prefix} {rest[:3]} {rest[3:6]} {rest[6:]}"
    if roll < 0.72:
        return f"00{prefix[1:]}{rest}"
    if roll < 0.90:
        return f"{trunk}{rest[:3]}/{rest[3:]}" if country == "DE" else f"{trunk}{rest[:3]} {rest[3:]}"
    return f"{prefix} (0){rest}" if trunk else f"({rest[:3]}) {rest[3:6]}-{rest[6:]}"


def _land(rng: Random) -> Land:
    roll = rng.random()
    for land in LANDS:
        roll -= land.share
        if roll < 0:
            return land
    return LANDS[0]


def _home(rng: Random, land: Land) -> tuple[str, str, str]:
    city, prefix = rng.choice(land.cities)
    house = rng.randint(1, 120)
    name = rng.choice(land.streets)
    street = f"{house} {name}" if land.code in ("GB", "US") else f"{name} {house}"
    if land.code == "GB":
        return street, f"{prefix}{rng.randint(1, 9)}{rng.choice('ABDEFGHJ')}{rng.choice('LNPQRS')}", city
    width = {"DE": 5, "AT": 4, "PL": 6, "US": 5}[land.code] - len(prefix)
    return street, f"{prefix}{rng.randrange(10**width):0{width}d}", city


def _plain(name: str) -> str:
    return name.translate(FOLD).lower().replace(" ", "")


def _address(rng: Random, given: str, family: str, year: int, taken: set[str]) -> str:
    first, last = _plain(given), _plain(family)
    host = rng.choice(MAIL_HOSTS)
    forms = (
        f"{first}.{last}",
        f"{first[0]}.{last}",
        f"{first}{last}{year % 100:02d}",
        f"{last}{year % 100:02d}",
        f"{first}_{last}",
    )
    name = rng.choice(forms)
    address, serial = f"{name}@{host}", 1
    while address in taken:
        serial += 1
        address = f"{name}{serial}@{host}"
    taken.add(address)
    return address


def _mobile(land: Land, number: int) -> str:
    """A mobile (US: any) number in E.164, each person's own. Multiplying by a unit of the modulus never repeats."""
    if land.code == "DE":
        return f"+49151{(number * 7919 + 20_000_000) % 80_000_000 + 10_000_000}"
    if land.code == "AT":
        return f"+43664{(number * 7919 + 1_000_000) % 9_000_000 + 1_000_000}"
    if land.code == "GB":
        return f"+447400{(number * 7919) % 900_000 + 100_000}"
    if land.code == "PL":
        return f"+48512{(number * 7919) % 900_000 + 100_000}"
    return f"+1{(202, 303, 404, 512, 617, 713, 808, 916)[number % 8]}555{(number // 8) % 10_000:04d}"


def _landline(land: Land, number: int) -> str:
    serial = (number * 7919) % 900_000 + 100_000
    return {
        "DE": f"+4930{serial}7",
        "AT": f"+431{serial}7",
        "GB": f"+44207{serial}1",
        "PL": f"+4822{serial}3",
        "US": f"+1212555{number % 10_000:04d}",
    }[land.code]


def _typo(rng: Random, word: str) -> str:
    """`word` with one slip of the finger: two letters swapped, one lost, or one doubled."""
    if len(word) < 4:
        return word
    at = rng.randint(1, len(word) - 2)
    roll = rng.random()
    if roll < 0.4:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if roll < 0.7 else word[:at] + word[at] + word[at:]
