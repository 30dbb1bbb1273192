"""What a build was made of: so that a day, or a whole table, whose inputs have not changed is not built again.

Beside the lake's ledger, one small file per table remembers for each unit (a day, or the whole) the fingerprint of
everything that went into it, the digest of what came out, and its counts. A unit is fresh when the fingerprint is the
same and the table still holds that content. The file is a memory, not a truth: without it everything is built again,
to the same rows.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import etl
from etl.model import Table
from etl.run.house import House
from etl.silver.identity_map import IDENTITY_MAP

#: The unit of a table in one piece.
WHOLE = "whole"

_ROOMS = ("model", "privacy", "kernels", "bronze", "silver", "gold")
_FILES = ("fields.py", "run/build.py")


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one unit: in, out, and every named loss or gain; `accounted` as in `Report`."""

    rows_in: int
    rows_out: int
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0
    derived: int = 0
    accounted: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """One unit as it was built: `made_of` what went in, `holds` the digest of what came out."""

    made_of: str
    holds: str
    counts: Counts


def unit_of(day: date | None) -> str:
    """A unit's name: the day, or `whole`."""
    return WHOLE if day is None else day.isoformat()


def remembered(house: House, table: Table) -> dict[str, Built]:
    """What is known of earlier builds of `table`, by unit; nothing when there is no memory, or one nobody can read."""
    try:
        units = json.loads(house.lake.note(_note(table)) or "{}")
        return {unit: Built(each["made_of"], each["holds"], Counts(**each["counts"])) for unit, each in units.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def remember(house: House, table: Table, built: Mapping[str, Built]) -> None:
    """Keep what was built, beside what was known before."""
    known = {**remembered(house, table), **built}
    house.lake.keep_note(_note(table), json.dumps({unit: asdict(each) for unit, each in sorted(known.items())}))


def is_fresh(known: Built | None, made_of: str, holds: str | None) -> bool:
    """True when the unit was built of the same, and the table still holds what came out."""
    return known is not None and known.made_of == made_of and known.holds == (holds or "")


def fingerprints(house: House, table: Table, days: Sequence[date] | None, given: Mapping[str, Any]) -> dict[str, str]:
    """Per unit, the fingerprint of everything that decides its rows: program, declarations, settings, inputs' content.

    `given` is what the runner offers; of it only what the builder asks for counts.
    """
    assert table.build is not None
    lake, feds = house.lake, house.catalog.feeds.get(table.full_name, ())
    read = [*table.inputs, *([IDENTITY_MAP] if house.catalog.knows_customers(table) else [])]
    asked = {name: given[name] for name in inspect.signature(table.build).parameters if name in given}
    if "previous" in asked:
        asked["previous"] = lake.digests(table)
    if "key" in asked:
        asked["key"] = hashlib.sha256(b"fingerprint:" + house.settings.pseudonym_key).hexdigest()
    shared = [
        program(),
        table.full_name,
        sorted((name, str(value)) for name, value in asked.items()),
        [(each.full_name, sorted(_told(lake.digests(each)))) for each in read],
        [(repr(fed.stream), repr(fed.feed)) for fed in feds],
    ]
    landed = [lake.digests(fed.bronze) for fed in feds]
    if days is None:
        return {WHOLE: _hashed([*shared, [sorted(_told(digests)) for digests in landed]])}
    reach = range(table.dedupe_days + 1)
    return {
        unit_of(day): _hashed(
            [*shared, [[digests.get(day - timedelta(days=back)) for back in reach] for digests in landed]]
        )
        for day in days
    }


@lru_cache(maxsize=1)
def program() -> str:
    """The fingerprint of the code that makes rows: another version of it builds everything again."""
    root = Path(etl.__file__).parent
    files = [root / name for name in _FILES] + [path for room in _ROOMS for path in sorted((root / room).rglob("*.py"))]
    return _hashed([(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in files])


def _told(digests: Mapping[date | None, str]) -> list[tuple[str, str]]:
    return [(unit_of(day), digest) for day, digest in digests.items()]


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _note(table: Table) -> str:
    return f"_builds/{table.full_name}.json"
