"""When two given names can be one person's: what the household rule asks before a shared address joins anyone.

A family shares its e-mail address and its telephone, so sharing one proves a household, not a person. Two names agree
when they are equal after normalisation, when one is an initial, a short form or a known nickname of the other, or when
they are a typing error apart. What alters the last letter is no typing error: Mario and Maria are two people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

# Forms of address that some sources keep in the given name.
_TITLES = frozenset({"dr", "prof", "mr", "mrs", "ms", "miss", "mx", "herr", "frau", "mme", "mlle", "sir"})
# What makes a woman's name of a man's (Josef, Josefine): the longer is not the shorter's long form. Neither is a name
# longer by one letter (Paul, Paula; Julia, Julian).
_FEMININE = frozenset({"ia", "ie", "ina", "ine", "in", "ka", "na", "ne", "ella", "elle", "ette", "etta"})
# Nicknames that are no beginning of the name. One line, one name; the well-worn ones of English, German and Polish.
_NICKNAMES = (
    "aleksandra ola",
    "alexander sascha sasha sandro xander",
    "alexandra sascha sasha sandra",
    "andreas andi andy",
    "andrew andy drew",
    "anthony toni tony",
    "antonia toni",
    "barbara bärbel babs babsi",
    "catherine cathy cat",
    "charles charlie chuck",
    "charlotte lotte lottie charlie",
    "christian chris",
    "christina christine christa chris tina",
    "christopher christoph chris kit",
    "david dave davy",
    "deborah debbie deb",
    "dorothea dorothy dora dottie thea",
    "edward ed eddie ned ted teddy",
    "eleanor ellie nell nora",
    "elisabeth elizabeth liz lisa lizzie beth betty elsa elli sissi liesl",
    "franziska franzi sissi",
    "friedrich fritz fred",
    "gabriele gabi gaby",
    "georg george jorge schorsch",
    "hans johannes johann",
    "heinrich heinz henry harry hal",
    "helena helene lena leni",
    "jacob jakob jake",
    "james jim jimmy jamie",
    "johannes hannes",
    "john jack johnny",
    "jonathan jon",
    "josef joseph joe sepp jupp jo",
    "katarzyna kasia",
    "katharina catherine katherine kathy kate katie käthe kati kitty",
    "kathleen kathy",
    "ludwig lutz",
    "magdalena madeleine lena maggie",
    "malgorzata gosia",
    "margarete margaret greta grete gretchen maggie meg peggy rita",
    "mathilde matilda tilly tilda",
    "matthias matze matti",
    "maximilian maxi",
    "michael mike mick",
    "nicholas nikolaus klaus nick nico niko",
    "nicole nicki nicky",
    "patricia pat patty tricia trish",
    "patrick paddy pat rick",
    "rebecca becky becca",
    "richard dick rick ricky",
    "robert bob bobby rob robby bert",
    "rudolf rolf rudi",
    "sebastian basti bastian",
    "stefanie stephanie steffi steffie",
    "steven stephen steve",
    "susanne susan sue susi suzy sanne",
    "theodor theodore theo ted",
    "theresa therese resi terry tess",
    "thomas tom tommy",
    "tomasz tomek",
    "ursula uschi ulla",
    "victoria viktoria vicky vicki",
    "wilhelm willi willy",
    "william bill billy will willy liam",
    "wolfgang wolf wolfi",
)


@lru_cache(maxsize=1 << 16)
def normalised(name: str | None) -> str:
    """Letters only, lower case, without accents and titles: `Dr. José-María` is `josemaria`. Nothing left: ``."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", (name or "").casefold()) if not unicodedata.combining(c))
    words = re.findall(r"[^\W\d_]+", plain)
    return "".join(word for word in words if word not in _TITLES)


_FAMILIES: dict[str, frozenset[int]] = {}
for _line, _names in enumerate(_NICKNAMES):
    for _name in _names.split():
        _FAMILIES[normalised(_name)] = _FAMILIES.get(normalised(_name), frozenset()) | {_line}


def families_of(name: str) -> frozenset[int]:
    """The numbers of the names a normalised one is, or is a nickname of; names that share one can be one person's."""
    return _FAMILIES.get(name, frozenset())


@lru_cache(maxsize=1 << 16)
def agree(one: str, other: str) -> bool:
    """True when two normalised names can be one person's; symmetric, not transitive (J agrees with Jan and Julia)."""
    if one == other:
        return True
    short, long = sorted((one, other), key=lambda name: (len(name), name))
    if _is_short_form(short, long) or _FAMILIES.get(short, frozenset()) & _FAMILIES.get(long, frozenset()):
        return True
    if len(short) < 4 or short[0] != long[0]:
        return False
    if short[-1] != long[-1]:
        # Kataj is Katja with two letters swapped; no two names differ by that alone.
        return sorted(short) == sorted(long) and edits(short, long) == 1
    return edits(short, long) <= (2 if len(short) >= 8 else 1)


def _is_short_form(short: str, long: str) -> bool:
    """An initial, or three letters or more of a name longer by two or more, other than by its feminine ending."""
    rest = long[len(short) :]
    if not short or not rest or not long.startswith(short):
        return False
    return len(short) == 1 or (len(short) >= 3 and len(rest) >= 2 and rest not in _FEMININE)


def edits(one: str, other: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours from `one` to `other`.

    Optimal string alignment (Damerau 1964), by rows.
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


class Name(NamedTuple):
    """A record's name, both parts normalised; `family` may be empty."""

    given: str
    family: str


def same_person(one: Name, other: Name) -> bool:
    """True when two names can be one person's: the given names agree, or someone swapped given and family name."""
    if agree(one.given, other.given):
        return True
    both = bool(one.family and other.family)
    return both and agree(one.given, other.family) and agree(one.family, other.given)


def groups(names: Iterable[Name]) -> dict[Name, int | None]:
    """Which names can be one person's: name -> number of its group.

    Longest given names first; a name joins the one group all of whose names it agrees with. A name that fits several
    groups (`J` beside Jan and Julia) gets None: whose it is cannot be told. Independent of the order given.
    """
    made: list[list[Name]] = []
    group_of: dict[Name, int | None] = {}
    for name in sorted(set(names), key=lambda name: (-len(name.given), name)):
        fitting = [number for number, group in enumerate(made) if all(same_person(name, each) for each in group)]
        if len(fitting) == 1:
            made[fitting[0]].append(name)
            group_of[name] = fitting[0]
        elif fitting:
            group_of[name] = None
        else:
            group_of[name] = len(made)
            made.append([name])
    return group_of


def sides_agree(one: Collection[Name], other: Collection[Name]) -> bool:
    """True when two sets of names can be one person's: every full name of the smaller agrees with one of the larger.

    Initials and short forms are left out where their long form stands beside them, so that J (of Jan) does not let
    Julia in. A side without names agrees with every side.
    """
    fewer, more = sorted((_longest(one), _longest(other)), key=len)
    return all(any(same_person(name, candidate) for candidate in more) for name in fewer)


def _longest(names: Collection[Name]) -> list[Name]:
    return [name for name in names if not any(_is_short_form(name.given, other.given) for other in names)]
