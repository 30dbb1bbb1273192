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
from etl.errors import LakeError
from etl.model import Table
from etl.model.frames import empty
from etl.run.house import House
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.increment import Change, Since

#: The unit of a table in one piece.
WHOLE = "whole"

_ROOMS = ("model", "privacy", "kernels", "bronze", "silver", "gold")
#: What of a builder's arguments is a setting: the same in every window.
_SETTLED = ("rules", "currency", "country", "key")
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
    """One unit as it was built: `made_of` what went in, `holds` the digest of what came out.

    `made_by` is the program and the settings alone; `read` the version of each input that existed, None when one of
    them moved on meanwhile.
    """

    made_of: str
    holds: str
    counts: Counts
    made_by: str = ""
    read: Mapping[str, int] | None = None


def unit_of(day: date | None) -> str:
    """A unit's name: the day, or `whole`."""
    return WHOLE if day is None else day.isoformat()


def remembered(house: House, table: Table) -> dict[str, Built]:
    """What is known of earlier builds of `table`, by unit; nothing when there is no memory, or one nobody can read."""
    try:
        units = json.loads(house.lake.note(_note(table)) or "{}")
        return {unit: Built(**{**each, "counts": Counts(**each["counts"])}) for unit, each in units.items()}
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
    asked = _asked(table, given)
    if "previous" in asked:
        asked["previous"] = lake.digests(table)
    shared = [
        made_by(table, given),
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


def made_by(table: Table, given: Mapping[str, Any]) -> str:
    """The fingerprint of what makes a table of its inputs: the program, and the settings its builder asks for."""
    settled = {name: str(value) for name, value in _asked(table, given).items() if name in _SETTLED}
    return _hashed([program(), table.full_name, sorted(settled.items())])


def _asked(table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the builder asks for, of what is given and decides its rows; a key by its fingerprint."""
    assert table.build is not None
    asked = {name: given[name] for name in inspect.signature(table.build).parameters if name in given}
    if "key" in asked:
        asked["key"] = hashlib.sha256(b"fingerprint:" + asked["key"]).hexdigest()
    return asked


# --- what changed -----------------------------------------------------------------------------------------------------


def versions(house: House, table: Table) -> dict[str, int]:
    """The visible version of each input that exists."""
    found = {each.full_name: house.lake.version(each) for each in table.inputs}
    return {name: version for name, version in found.items() if version is not None}


def since(house: House, table: Table, given: Mapping[str, Any]) -> Since | None:
    """What changed since `table` was last built; None where that cannot be told, and all is to be built anew.

    It cannot when there is no memory of that build, when another program or other settings made it, when the table does
    not hold what came out of it, or when what it read is no longer there.
    """
    known = remembered(house, table).get(WHOLE)
    if known is None or known.read is None or known.made_by != made_by(table, given):
        return None
    if house.lake.digests(table).get(None, "") != known.holds:
        return None
    try:
        changes = {each.name: _change(house, each, known.read) for each in table.inputs}
    except LakeError:
        return None
    return Since(house.lake.read(table), {name: change for name, change in changes.items() if change is not None})


def _change(house: House, table: Table, read: Mapping[str, int]) -> Change | None:
    """The days of an input that are not what they were, or its rows where it has no days; None when it is the same."""
    lake, then = house.lake, read.get(table.full_name)
    if then == lake.version(table):
        return None
    was, now = {} if then is None else lake.digests(table, version=then), lake.digests(table)
    days = [day for day in {*was, *now} if was.get(day) != now.get(day)]
    if not days:
        return None
    before = empty(table.columns).lazy() if then is None else lake.read(table, version=then, days=_days(days))
    return Change(before, lake.read(table, days=_days(days)))


def _days(days: Sequence[date | None]) -> list[date] | None:
    return [day for day in days if day is not None] or None


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
