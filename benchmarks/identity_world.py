"""People, their records and their visits, invented from a seed as silver hands them to identity: two days to compare.

Of a million people: 1.6 million records in two systems and 4 million web events, which hold 4.6 million identifiers.
What is hard about them: couples with one telephone, a few with one address; switchboards (`info@`) and one telephone
number that says nothing; kiosks that thirty sign in on; records without a name, with a nickname or a misspelt one;
six of ten visits of browsers nobody knows. `next` is the day after: one record in a hundred is new, altered or gone,
and the day has its share of the visits. The same number of people gives the same rows, whatever the machine.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from etl.model.frames import schema_of
from etl.silver.given_names import _NICKNAMES
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.web_events import WEB_EVENTS

#: A change of what is generated changes this, and everything is generated anew.
VERSION = 1

DAYS = 90
START = datetime(2026, 1, 1, tzinfo=UTC)

Ints = npt.NDArray[np.int64]

_FAMILIES = [f"{one}{two}" for one in ("berg", "feld", "haus", "stein", "wald") for two in ("er", "mann", "huber", "")]


def world(folder: Path, people: int) -> Path:
    """The folder with `records.parquet`, `records_next.parquet` and `events/day=N.parquet`, 0 to 90; 90 is `next`."""
    home = folder / f"identity-{people}"
    done = home / f"generated-{VERSION}"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        (home / "events").mkdir(parents=True)
        _generate(home, people)
        done.touch()
    return home


def _generate(home: Path, people: int) -> None:
    dice = np.random.default_rng(20260101)
    who = np.concatenate([np.arange(people), dice.integers(0, people, people * 6 // 10)])
    records = _records(who, people, dice)
    coming = dice.integers(people, people + people // 200, len(who) // 200)
    later = _records(coming, people, dice, first=len(who))
    altered = np.sort(dice.choice(len(who), len(who) // 250, replace=False))
    gone = np.sort(dice.choice(len(who), len(who) // 1000, replace=False))
    anew = _records(who[altered], people, dice).with_columns(
        pl.Series("record_id", altered).cast(pl.String), node_id=_hex("record", altered)
    )
    kept = np.setdiff1d(np.arange(len(who)), np.union1d(altered, gone))
    records.write_parquet(home / "records.parquet")
    pl.concat([records[kept], anew, later]).write_parquet(home / "records_next.parquet")

    every = people * 4 // DAYS
    for day in range(DAYS + 1):
        _events(day, every, people, dice).write_parquet(home / "events" / f"day={day}.parquet")


def _records(who: Ints, people: int, dice: np.random.Generator, first: int = 0) -> pl.DataFrame:
    """Records of the people `who`, numbered from `first`."""
    many = len(who)
    number = np.arange(first, first + many)
    household = np.where(who % 7 < 2, who - who % 7, who)  # two of seven live together
    info = dice.random(many) < 0.005
    email = np.where(
        info, -1 - who % max(1, people // 10_000), np.where(dice.random(many) < 0.2, who + 2 * people, who)
    )
    email = np.where(~info & (who % 50 < 2), who - who % 50 + 4 * people, email)
    phone = np.where(dice.random(many) < 0.005, -1, household)
    given = np.array([line.split()[0] for line in _NICKNAMES], dtype=object)
    short = np.array([line.split()[-1] for line in _NICKNAMES], dtype=object)
    name = (who * 7919) % len(given)
    how = dice.random(many)
    called = [
        None if luck < 0.05 else nick if luck < 0.1 else full if luck > 0.12 else full[0] + full[2:]
        for luck, nick, full in zip(how.tolist(), short[name].tolist(), given[name].tolist(), strict=True)
    ]
    created = dice.integers(0, DAYS * 86_400, many)
    made = pl.DataFrame(
        {
            "node_id": _hex("record", number),
            "source": pl.Series(np.where(number % 5 < 3, "crm", "shop"), dtype=pl.String),
            "stream": pl.Series(["people"]).new_from_index(0, many),
            "record_id": pl.Series(number).cast(pl.String),
            "email_key": _some(_hex("email", email), dice.random(many) < 0.9),
            "phone_key": _some(_hex("phone", phone), dice.random(many) < 0.8),
            "login_key": _some(_hex("login", who), dice.random(many) < 0.45),
            "card_key": _some(_hex("card", who), dice.random(many) < 0.3),
            "given_name": pl.Series(called, dtype=pl.String),
            "family_name": pl.Series([_FAMILIES[one % len(_FAMILIES)] for one in (household // 3).tolist()]),
            "created_at": _times(START, created),
            "is_deleted": pl.Series([False]).new_from_index(0, many),
        }
    ).with_columns(updated_at="created_at")
    return _typed(made, schema_of(PERSON_RECORDS.columns))


def _events(day: int, many: int, people: int, dice: np.random.Generator) -> pl.DataFrame:
    """One day's visits: a browser is a person's own, or a kiosk; some people sign in."""
    who = dice.integers(0, people, many)
    cookie = np.where(dice.random(many) < 0.85, who, 3 * people + who * 90 + day)
    is_kiosk = dice.random(many) < 0.004
    cookie = np.where(is_kiosk, -1 - who % max(1, people // 2_000), cookie)
    signed = (dice.random(many) < 0.3) | is_kiosk
    by_login = who % 2 == 0
    second = dice.integers(0, 86_400, many)
    at = START + timedelta(days=day)
    login = _some(_hex("login", who), signed & by_login)
    email = _some(_hex("email", who), signed & ~by_login)
    cookies = _hex("cookie", cookie)
    made = pl.DataFrame(
        {
            "source": pl.Series(["web"]).new_from_index(0, many),
            "event_id": pl.Series(np.arange(many) + day * many).cast(pl.String),
            "event_name": pl.Series(["page_view"]).new_from_index(0, many),
            "event_at": _times(at, second),
            "node_id": pl.DataFrame([login.alias("a"), email.alias("b"), cookies.alias("c")])
            .select(pl.coalesce("a", "b", "c"))
            .to_series(),
            "cookie_key": cookies,
            "login_key": login,
            "email_key": email,
            "channel": pl.Series(["direct"]).new_from_index(0, many),
            "is_bot": pl.Series([False]).new_from_index(0, many),
            "day": pl.Series([at.date()]).new_from_index(0, many),
        }
    )
    return _typed(made, schema_of(WEB_EVENTS.columns)).sort("event_at", "event_id")


def _hex(kind: str, number: Ints) -> pl.Series:
    """A pseudonym for each number: 32 hexadecimal digits of a mixer (splitmix64), as unlike each other as HMACs are."""
    salt = np.uint64(sum(ord(letter) << (8 * at) for at, letter in enumerate(kind[:7])))
    halves = [_mixed(number.astype(np.uint64) + salt * np.uint64(2 * turn + 1)) for turn in (1, 2)]
    both = np.stack(halves, axis=1).tobytes()
    digits = both.hex()
    return pl.Series([digits[at : at + 32] for at in range(0, len(digits), 32)], dtype=pl.String)


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _times(since: datetime, seconds: Ints) -> pl.Series:
    return pl.Series(int(since.timestamp() * 1_000_000) + seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))


def _some(values: pl.Series, present: npt.NDArray[np.bool_]) -> pl.Series:
    return (
        pl.DataFrame([values.alias("value"), pl.Series("is", present)]).select(pl.when("is").then("value")).to_series()
    )


def _typed(made: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return made.select(
        (pl.col(name) if name in made.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )
