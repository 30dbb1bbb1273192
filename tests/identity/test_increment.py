"""An increment is the full rebuild: whatever came, went or was corrected, in whatever steps."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model import IdentityRules
from etl.silver.identity_edges import build_identity_edges
from etl.silver.increment import Change, Since
from tests.identity.evidence import Evidence, day, node, record, state

STEADY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
#: So few neighbours that small worlds cross them.
TIGHT = IdentityRules(caps=dict.fromkeys(("card", "login", "email", "phone", "handle"), 3))


def some(kind: str, count: int) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from([f"{kind}{number}" for number in range(count)])


RECORDS = st.fixed_dictionaries(
    {
        "given_name": st.sampled_from([None, "Jan", "J.", "Julia", "Maria"]),
        "email": some("e", 5),
        "phone": some("p", 4),
        "card": some("k", 4),
        "login": some("l", 4),
    }
)
VISITS = st.fixed_dictionaries(
    {"cookie": some("c", 4), "login": some("l", 4), "email": some("e", 5), "device": some("d", 3)}
)
WHO = st.integers(0, 7)
DAYS = st.integers(1, 6)
PEOPLE = st.lists(RECORDS, min_size=6, max_size=8)
VISITED = st.lists(st.tuples(DAYS, VISITS), min_size=4, max_size=10)
#: What happens from one build to the next: a record comes or is corrected, or goes; a day of visits comes, comes late,
#: is restated or taken back; the CRM merges one record into another; somebody rules, or takes a ruling back.
STEPS = st.one_of(
    st.tuples(st.just("record"), WHO, RECORDS),
    st.tuples(st.just("gone"), WHO, st.none()),
    st.tuples(st.just("day"), DAYS, st.lists(VISITS, max_size=2)),
    st.tuples(st.just("visit"), DAYS, VISITS),
    st.tuples(st.just("merged"), WHO, WHO),
    st.tuples(st.sampled_from(["always", "never"]), WHO, WHO),
    st.tuples(st.just("undo"), WHO, st.lists(st.integers(0, 14), min_size=2, max_size=6, unique=True)),
    st.tuples(st.just("withdraw"), st.integers(0, 5), st.none()),
)
#: What a merge that is undone may have had: records, and what they signed in with or were seen on.
HAD = [
    *(record(f"crm:{number}") for number in range(4)),
    *(node("login", f"l{number}") for number in range(4)),
    *(node("cookie", f"c{number}") for number in range(4)),
    *(node("device", f"d{number}") for number in range(3)),
]


def after(step: tuple[str, int, Any], world: Evidence) -> Evidence:
    """The world one step on."""
    what, number, said = step
    world = deepcopy(world)
    people, visits = world.rows["person_records"], world.rows["web_events"]
    if what in ("record", "gone"):
        people[:] = [row for row in people if row["record_id"] != str(number)]
    if what == "record":
        world.record(f"crm:{number}", **said)
    if what == "day":
        visits[:] = [row for row in visits if row["event_at"] != day(number)]
    for visit in {"day": said, "visit": [said]}.get(what, []):
        world.visit(on=number, **visit)
        visits[-1]["source_session_id"] = visit["device"] and node("device", visit["device"])
    if what == "merged":
        for row in people:
            if row["record_id"] == str(number) and number != said:
                row |= {"node_id": record(f"crm:{said}"), "is_deleted": True}
    if what in ("always", "never") and number != said:
        world.ruling(what, record(f"crm:{number}"), record(f"crm:{said}"))
    rulings = world.rows["identity_rulings"]
    if what == "undo":
        half = len(said) // 2
        left, right = ([HAD[at] for at in each] for each in (said[:half], said[half:]))
        number = len(rulings)
        made = {"ruling_id": f"r{number}", "made_at": day(1) + timedelta(minutes=number)}
        rulings.append({**made, "ruling": "undo", "left_node_ids": left, "right_node_ids": right})
    if what == "withdraw" and number < len(rulings):
        world.withdraw(rulings[number]["ruling_id"])
    return world


def frames(world: Evidence) -> dict[str, pl.LazyFrame]:
    """The subjects, visits in any order; a visit's session stands for its device, so that browsers claim devices."""
    told = world.frames()
    visits = told["web_events"].with_columns(device_key="source_session_id").collect()
    told["web_events"] = visits.sample(fraction=1, shuffle=True, seed=len(visits)).lazy()
    return told


def changes(before: Evidence, now: Evidence) -> dict[str, Change]:
    """What the runner tells: of each table that differs both states; of visits only the days that differ."""
    states = [frames(world) for world in (before, now)]
    told = {}
    for name in now.rows:
        rows = [state[name].collect() for state in states]
        if name == "web_events":
            kept = [
                day(number)
                for number in range(1, 7)
                if not same_rows(*(each.filter(event_at=day(number)) for each in rows))
            ]
            rows = [each.filter(pl.col("event_at").is_in(kept)) for each in rows]
        if not same_rows(*rows):
            told[name] = Change(rows[0].lazy(), rows[1].lazy())
    return told


def same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return sorted(map(repr, one.rows())) == sorted(map(repr, other.rows()))


@STEADY
@given(PEOPLE, VISITED, st.lists(STEPS, min_size=1, max_size=4))
def test_an_increment_gives_the_edges_of_the_full_rebuild(
    people: list[dict[str, Any]], visited: list[tuple[int, dict[str, Any]]], steps: list[tuple[str, int, Any]]
) -> None:
    world = Evidence()
    for step in [("record", number, said) for number, said in enumerate(people)]:
        world = after(step, world)
    for on, said in visited:
        world = after(("visit", on, said), world)
    edges = build_identity_edges(**frames(world), rules=TIGHT).collect()
    for step in steps:
        before, world = world, after(step, world)
        edges = build_identity_edges(
            **frames(world), rules=TIGHT, since=Since(edges.lazy(), changes(before, world))
        ).collect()

        assert edges.equals(build_identity_edges(**frames(world), rules=TIGHT).collect())


def world_of(*steps: tuple[str, int, Any]) -> Evidence:
    """The world after these steps; what a record or a visit leaves out is not there."""
    world = Evidence()
    nothing: dict[str, Any] = dict.fromkeys(("given_name", "email", "phone", "card", "login", "cookie", "device"))
    for what, number, said in steps:
        left_out = {name: nothing[name] for name in (RECORD_SAYS if what == "record" else VISIT_SAYS)}
        world = after((what, number, {**left_out, **said} if isinstance(said, dict) else said), world)
    return world


RECORD_SAYS = ("given_name", "email", "phone", "card", "login")
VISIT_SAYS = ("cookie", "login", "email", "device")


def turns(before: Evidence, now: Evidence, left: str, right: str) -> tuple[str, str]:
    """The verdict on an edge before and after, which the increment must see as the full rebuild does."""
    edges = build_identity_edges(**frames(before), rules=TIGHT).collect()
    told = Since(edges.lazy(), changes(before, now))
    anew = build_identity_edges(**frames(now), rules=TIGHT, since=told).collect()
    assert anew.equals(build_identity_edges(**frames(now), rules=TIGHT).collect())
    return state(edges, left, right), state(anew, left, right)


def test_who_stood_beside_an_identifier_that_gets_crowded_is_judged_again() -> None:
    # The e-mail put record 1 with card 1, so the telephone could not join card 2; once it is everybody's, it may.
    base = [
        ("record", 0, {"card": "1", "email": "e"}),
        ("record", 1, {"email": "e", "phone": "p"}),
        ("record", 2, {"phone": "p", "card": "2"}),
        ("record", 3, {"email": "e"}),
    ]
    before, now = world_of(*base), world_of(*base, ("record", 4, {"email": "e"}))

    both = [turns(before, now, record(f"crm:{number}"), node("phone", "p")) for number in (1, 2)]
    assert sorted(both) == [("used", "used"), ("vetoed", "used")]


def test_a_card_taken_away_frees_the_far_end_of_a_chain() -> None:
    base = [("record", 1, {"email": "e", "phone": "p"}), ("record", 2, {"phone": "p", "card": "2"})]
    before = world_of(("record", 0, {"card": "1", "email": "e"}), *base)
    now = world_of(("record", 0, {"email": "e"}), *base)
    both = [turns(before, now, record(f"crm:{number}"), node("phone", "p")) for number in (1, 2)]

    assert sorted(both) == [("used", "used"), ("vetoed", "used")]


def test_who_else_claims_a_browser_is_looked_at_whole() -> None:
    # Two logins of one customer, and a stranger's, which is taken back: then the browser is that customer's.
    base = [
        ("visit", 1, {"login": "one", "email": "e"}),
        ("visit", 1, {"login": "other", "email": "e"}),
        ("visit", 2, {"login": "one", "cookie": "c"}),
        ("visit", 2, {"login": "other", "cookie": "c"}),
    ]
    before, now = world_of(*base, ("visit", 3, {"login": "stranger", "cookie": "c"})), world_of(*base)

    assert turns(before, now, node("login", "one"), node("cookie", "c")) == ("ambiguous", "used")


def test_a_browser_beside_a_changed_one_keeps_its_claim_on_their_device() -> None:
    base = [
        ("visit", 1, {"login": "ann", "cookie": "hers"}),
        ("visit", 1, {"login": "ann", "device": "d"}),
        ("visit", 1, {"cookie": "hers", "device": "d"}),
        ("visit", 2, {"cookie": "new", "device": "d"}),
    ]
    before, now = world_of(*base), world_of(*base, ("visit", 3, {"login": "bob", "cookie": "new"}))

    assert turns(before, now, node("cookie", "hers"), node("device", "d")) == ("used", "used")


def test_a_device_follows_the_browsers_that_claim_it() -> None:
    base = [
        ("visit", 2, {"login": "one", "email": "e"}),
        ("visit", 1, {"login": "one", "cookie": "c"}),
        ("visit", 1, {"login": "other", "cookie": "c"}),
        ("visit", 1, {"login": "one", "cookie": "hers"}),
        ("visit", 1, {"cookie": "c", "device": "d"}),
        ("visit", 1, {"cookie": "hers", "device": "d"}),
    ]
    before, now = world_of(*base, ("record", 0, {"login": "other", "email": "e"})), world_of(*base)

    assert turns(before, now, node("cookie", "c"), node("device", "d")) == ("used", "ambiguous")
