"""Registers of invented people for the tests of linkage: seeded, with slips of the finger, and a model to score by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from random import Random
from typing import Any

import polars as pl

from etl.model.frames import schema_of
from etl.silver.linkage import COMPARED, OTHER, Model
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.representatives import comparable
from tests.golden import frame_of
from tests.identity.evidence import day

_GIVEN = (
    "anna bruno clara david elena felix greta hanno irma jonas karla lukas marta nils olga paul rosa sven tilda udo"
)
_FAMILY = (
    "abel brand conrad dorn ebner fuchs graf huber imhof jung kranz lorenz moser noll otten pohl ries seidel thiel"
)
_STREETS = "Lindenweg Bergstraße Marktplatz Gartenweg Feldstraße Uferweg Kirchgasse Mühlenweg Rosenstraße Talstraße"


def _name(rng: Random, words: str) -> str:
    """A name of a list with two letters of its own, so that there are many."""
    return rng.choice(words.split()) + rng.choice("bdfgklmnprst") + rng.choice("aeiou")


def register(people: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Two records of each of `people` people, the second with one slip; `record` is p0000a and p0000b."""
    rng = Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(people):
        person = {
            "given_name": _name(rng, _GIVEN),
            "family_name": _name(rng, _FAMILY),
            "birth_date": date(1940, 1, 2) + timedelta(days=rng.randrange(22_000)),
            "street": f"{rng.choice(_STREETS.split())} {rng.randint(1, 80)}",
            "postal_code": f"{rng.randint(10_000, 10_400)}",
            "city": rng.choice(("Berlin", "Potsdam", "Bernau")),
        }
        slip = rng.choice(("given_name", "family_name", "birth_date", "street", "none"))
        copy = dict(person)
        if slip == "birth_date":
            copy[slip] = None
        elif slip != "none":
            at = rng.randint(1, 3)
            text = str(person[slip])
            copy[slip] = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        rows += [{"record": f"p{number:04d}a", **person}, {"record": f"p{number:04d}b", **copy}]
    return rows


def records_of(people: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Person records; `record` is their node, `day` when they were last changed."""
    rows = [
        {
            "node_id": person["record"],
            "source": "register",
            "stream": "people",
            "record_id": person["record"],
            "is_deleted": False,
            "updated_at": day(person.get("day", 1)),
            **{
                name: date.fromisoformat(value) if name == "birth_date" and isinstance(value, str) else value
                for name, value in person.items()
                if name not in {"record", "day"}
            },
        }
        for person in people
    ]
    return frame_of(rows, schema_of(PERSON_RECORDS.columns))


def compared(people: Iterable[Mapping[str, Any]], *, component: int | None = None) -> pl.DataFrame:
    """The records in the form they are compared in: each a component of its own, or all of them one."""
    records = records_of(people)
    each = pl.int_range(pl.len(), dtype=pl.Int64) if component is None else pl.lit(component, pl.Int64)
    members = records.select("node_id", component=each)
    nothing = pl.DataFrame(schema=dict.fromkeys(("left_node_id", "right_node_id", "edge_state"), pl.String()))
    return comparable(records, members, nothing)


def _levels() -> dict[str, dict[str, tuple[float, float]]]:
    """Weights as a register of strangers would teach them: the better a level, the more it weighs."""
    learnt = {}
    for each in COMPARED.comparisons:
        count = len(each.levels)
        learnt[each.name] = {level.name: (0.6 / count, 0.0005 * (at + 1)) for at, level in enumerate(each.levels)}
        learnt[each.name][OTHER] = (1.0, 1.0) if each.other_says_nothing else (0.05, 0.95)
    return learnt


MODEL = Model(prior=1e-4, learnt=_levels(), compared=COMPARED.told(), learnt_from="em")
