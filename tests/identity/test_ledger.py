"""The ledger of identity: merges that are undone, ids that come back to whom they belong, the map as of any time."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from etl.errors import WindowRefused
from etl.model import USUAL_RULES, IdentityRules
from etl.model.window import moment_of
from etl.silver.identity_map import known_at
from tests.identity.evidence import DAY_1, Evidence, customer_of, day, ledger, node, record, resolved, state, together

APART = IdentityRules(caps={**USUAL_RULES.caps, "email": 1})


def merges(settled: pl.DataFrame) -> list[dict[str, Any]]:
    return ledger(settled).filter(pl.col("identity_event") == "merge").to_dicts()


def two_anns() -> Evidence:
    """Two records of which, so far, nothing says that they are one."""
    return Evidence().record("crm:1", "Ann", email="a", phone="p").record("shop:1", "Ann", email="b")


def test_an_undone_merge_gives_both_customers_back_each_under_its_own_id() -> None:
    evidence = two_anns()
    first = resolved(evidence, on=2)
    merged = resolved(evidence.visit(login="ann", email="a").visit(login="ann", email="b"), first, on=3)
    (merge,) = merges(merged)

    undone = resolved(evidence.undo(merge, merged), merged, on=4)
    before, after = customer_of(first), customer_of(undone)
    assert {name: after[name] for name in before} == before
    assert not together(undone, record("crm:1"), record("shop:1"))
    assert resolved(evidence, undone, on=5).equals(undone)


def test_who_was_merged_away_leaves_the_id_however_much_came_since() -> None:
    evidence = two_anns()
    first = resolved(evidence, on=2)
    merged = resolved(evidence.visit(login="ann", email="a").visit(login="ann", email="b"), first, on=3)
    for number in range(9):
        evidence.visit(login=f"ann-{number}", email="b", on=3)
    grown = resolved(evidence, merged, on=4)
    (merge,) = merges(grown)

    after = customer_of(resolved(evidence.undo(merge, grown), grown, on=5))
    assert {name: after[name] for name in customer_of(first)} == customer_of(first)
    assert after[node("login", "ann-0")] == merge["other_customer_id"]


@pytest.mark.parametrize("hub", ["l0", "l1"])
def test_who_comes_out_of_an_undone_merge_is_who_went_into_it_and_no_other_of_that_day(hub: str) -> None:
    logins = [f"l{number}" for number in range(4)]
    evidence = Evidence()
    for login in logins:
        evidence.visit(login=login)
    first = resolved(evidence, on=2)
    for login in logins:
        for each in (hub, login):
            evidence.visit(login=each, email=f"{hub}-{login}", on=2)
    merged = resolved(evidence, first, on=3)
    before, found = customer_of(first), merges(merged)

    assert len(found) == 3
    for merge in found:
        after = customer_of(resolved(_copy(evidence).undo(merge, merged), merged, on=4))
        two = [name for name, had in before.items() if had in (merge["customer_id"], merge["other_customer_id"])]
        assert {name: after[name] for name in two} == {name: before[name] for name in two}


def test_to_undo_what_is_apart_already_renames_nobody() -> None:
    evidence = two_anns()
    first = resolved(evidence, on=2)
    evidence.visit(login="ann", email="a").visit(login="ann", email="b")
    for number in range(9):
        evidence.visit(login=f"ann-{number}", email="b")
    merged = resolved(evidence, first, on=3)
    (merge,) = merges(merged)
    apart = resolved(evidence.ruling("never", record("crm:1"), record("shop:1")), merged, on=4)
    undone = resolved(evidence.undo(merge, merged), apart, on=5)
    before, after = customer_of(apart), customer_of(undone)

    assert before[record("shop:1")] == after[record("shop:1")] == merge["customer_id"]
    assert before[record("crm:1")] == after[record("crm:1")]


def test_of_a_merge_of_three_only_the_two_are_apart_and_the_third_goes_by_the_evidence() -> None:
    evidence = Evidence().record("crm:1", "Ann", email="ann").record("shop:9", "Ann", email="ann", phone="p", on=2)
    first = resolved(evidence, on=3, rules=APART)
    merged = resolved(evidence, first, on=4)
    (merge,) = (each for each in merges(merged) if _was(first, each) == record("crm:1"))
    undone = resolved(evidence.undo(merge, merged), merged, on=5)
    before, after = customer_of(first), customer_of(undone)

    two = (record("crm:1"), record("shop:9"), node("phone", "p"))
    assert {name: after[name] for name in two} == {name: before[name] for name in two}
    assert together(undone, record("crm:1"), node("email", "ann"))


def test_rules_that_are_taken_back_give_every_id_back() -> None:
    evidence = Evidence()
    for number in range(6):
        evidence.record(f"crm:{number}", "Ann", email=f"e{number // 2}", on=number + 1)
    first = resolved(evidence, on=8, rules=APART)
    back = resolved(evidence, resolved(evidence, first, on=9), on=10, rules=APART)

    assert customer_of(back) == customer_of(first)


def test_a_later_merge_undone_leaves_the_earlier_one_and_the_other_way_round() -> None:
    evidence = two_anns().record("pos:1", "Ann", login="l")
    first = resolved(evidence, on=2)
    second = resolved(evidence.visit(login="l", email="b", on=3), first, on=4)
    third = resolved(evidence.visit(login="l", email="a", on=5), second, on=6)
    earlier, later = merges(third)

    later_undone = customer_of(resolved(_copy(evidence).undo(later, third), third, on=7))
    earlier_undone = customer_of(resolved(_copy(evidence).undo(earlier, third), third, on=7))
    assert later_undone == customer_of(second)
    now, once = earlier_undone, customer_of(first)
    assert now[record("shop:1")] != now[record("pos:1")]
    assert {now[record("shop:1")], now[record("pos:1")]} == {
        now[record("crm:1")],
        earlier["other_customer_id"],
    } or now == once


def _copy(evidence: Evidence) -> Evidence:
    return Evidence({name: list(rows) for name, rows in evidence.rows.items()})


def test_an_undone_merge_makes_a_shared_mailbox_the_households_again() -> None:
    evidence = Evidence().record("crm:1", "Sunny", email="s").record("shop:2", "Margarete", email="s", card="7")
    first = resolved(evidence, on=2)
    evidence.rows["person_records"][0]["card_key"] = node("card", "7")
    merged = resolved(evidence, first, on=3)
    assert together(merged, record("crm:1"), record("shop:2"), node("email", "s"))
    (merge,) = (each for each in merges(merged) if each["node_count"] == 1 and _was(first, each) == record("crm:1"))

    undone = resolved(evidence.undo(merge, merged), merged, on=4)
    assert customer_of(undone) == customer_of(first)
    assert state(evidence.edges(), record("crm:1"), node("email", "s")) == "conflict"


def _was(settled: pl.DataFrame, merge: dict[str, Any]) -> str:
    (name,) = [name for name, customer in customer_of(settled).items() if customer == merge["other_customer_id"]]
    return name


def test_an_anonymous_browser_can_be_taken_from_a_customer_again() -> None:
    evidence = Evidence().visit(cookie="c").record("crm:1", "Ann", login="ann").visit(cookie="c2", login="ann")
    first = resolved(evidence, on=2)
    merged = resolved(evidence.visit(cookie="c", login="ann", on=2), first, on=3)
    (merge,) = merges(merged)

    undone = resolved(evidence.undo(merge, merged), merged, on=4)
    assert customer_of(undone) == customer_of(first)
    assert state(evidence.edges(), node("login", "ann"), node("cookie", "c")) == "ruled_out"


def test_a_withdrawn_undo_merges_again_under_the_same_id_and_the_ledger_tells_it_all() -> None:
    evidence = two_anns()
    first = resolved(evidence, on=2)
    merged = resolved(evidence.visit(login="ann", email="a").visit(login="ann", email="b"), first, on=3)
    (merge,) = merges(merged)
    undone = resolved(evidence.undo(merge, merged), merged, on=4)
    again = resolved(evidence.withdraw("r0"), undone, on=5)
    told = ledger(again, rulings=evidence.rulings())
    kept, gone = merge["customer_id"], merge["other_customer_id"]

    assert customer_of(again) == customer_of(merged)
    assert told.filter(pl.col("known_from") == day(4)).select(
        "identity_event", "customer_id", "other_customer_id", "node_count"
    ).sort("identity_event").rows() == [("split", gone, kept, 2), ("undo", gone, kept, 2)]
    assert Counter(told["identity_event"]) == {"create": 2, "merge": 2, "retire": 2, "split": 1, "undo": 1, "ruling": 2}


def test_the_ledger_keeps_what_it_said_and_adds_what_was_ruled_since() -> None:
    evidence = two_anns().ruling("never", record("crm:1"), record("shop:1"))
    settled = resolved(evidence, on=1)
    once = ledger(settled, rulings=evidence.rulings())
    twice = ledger(settled, once, evidence.withdraw("r0").rulings())
    customers = customer_of(settled)

    assert once.filter(identity_event="ruling").select(
        "identity_event_id", "customer_id", "other_customer_id", "node_count"
    ).rows() == [("r0", customers[record("crm:1")], customers[record("shop:1")], 2)]
    assert twice.join(once, on=once.columns, how="semi", nulls_equal=True).height == once.height
    assert twice.height == once.height + 1
    assert ledger(settled, twice, evidence.rulings()).equals(twice)


# --- as of ------------------------------------------------------------------------------------------------------------


def test_the_map_is_asked_as_known_at_any_time_for_any_time_in_the_world() -> None:
    evidence = Evidence().visit(cookie="c", on=3)
    first = resolved(evidence, on=4)
    second = resolved(evidence.visit(cookie="c", login="ann", on=5), first, on=6).lazy()
    cookie, login = node("cookie", "c"), node("login", "ann")

    def there(known: Any, valid: Any = None) -> list[str]:
        return sorted(known_at(second, known, valid_at=valid).collect()["node_id"])

    assert there(day(3)) == []
    assert there(day(4)) == there(day(5)) == [cookie]
    assert there(day(6)) == sorted([cookie, login])
    assert there(day(6), day(4)) == [cookie]
    assert there(day(6), day(2)) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01", DAY_1 + timedelta(days=1)),
        ("2026-01-01T06:00", DAY_1 + timedelta(hours=6)),
        ("2026-01-01T06:00+02:00", DAY_1 + timedelta(hours=4)),
    ],
)
def test_a_day_means_its_end_and_a_time_itself(text: str, moment: Any) -> None:
    assert moment_of(text) == moment


def test_what_is_no_time_is_said_so() -> None:
    with pytest.raises(WindowRefused, match="expected a day like"):
        moment_of("yesterday")


# --- no customer grows through one weak key ---------------------------------------------------------------------------

PEOPLE = ("Jan", "Maria", "Olga", "Tomasz", "Aylin", "Peter")


def _kiosk(evidence: Evidence, person: int) -> None:
    evidence.visit(cookie="kiosk", login=f"l{person}", on=person + 1)


def _shared_device(evidence: Evidence, person: int) -> None:
    evidence.visit(cookie=f"c{person}", login=f"l{person}", device="tablet", on=person + 1)


def _family_mail(evidence: Evidence, person: int) -> None:
    evidence.record(f"mail:{person}", PEOPLE[person % 6] + str(person // 6), email="us", login=f"l{person}")


def _recycled_telephone(evidence: Evidence, person: int) -> None:
    """The number goes on to the next person every year."""
    evidence.record(
        f"phone:{person}", PEOPLE[person % 6] + str(person // 6), phone="p", login=f"l{person}", on=1 + 365 * person
    )


def _info_mailbox(evidence: Evidence, person: int) -> None:
    """Everyone of a firm, under one name or none, with the firm's address."""
    for number in range(4):
        evidence.record(f"info:{person}-{number}", None, email="info", login=f"l{person}")


def _all_noughts(evidence: Evidence, person: int) -> None:
    """A form that wanted a number and got 000000, from people who left no name."""
    for number in range(4):
        evidence.record(f"noughts:{person}-{number}", None, phone="000000", login=f"l{person}")


def _test_card(evidence: Evidence, person: int) -> None:
    """The till's own card, swiped for whoever forgot theirs."""
    for number in range(4):
        evidence.record(f"card:{person}-{number}", PEOPLE[person % 6], card="1", login=f"l{person}")


@pytest.mark.parametrize("people", [2, 6, 40])
@pytest.mark.parametrize(
    "shares", [_kiosk, _shared_device, _family_mail, _recycled_telephone, _info_mailbox, _all_noughts, _test_card]
)
def test_no_customer_grows_through_one_weak_key(shares: Any, people: int) -> None:
    evidence = Evidence()
    for person in range(people):
        evidence.record(f"crm:{person}", PEOPLE[person % 6] + str(person // 6), login=f"l{person}")
        shares(evidence, person)
    customers = customer_of(resolved(evidence))
    strangers = {customers[record(f"crm:{person}")] for person in range(people)}
    needs_many = shares in (_info_mailbox, _all_noughts, _test_card)

    assert len(strangers) == people or (needs_many and people == 2)
