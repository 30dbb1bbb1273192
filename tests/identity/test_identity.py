"""Who is one customer and who is not: the rules of identity as a marketer would check them, and what always holds."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model import USUAL_RULES
from etl.silver.identity_edges import gathered, judged, united
from etl.silver.identity_map import current, known_at
from tests.identity.evidence import (
    Evidence,
    customer_of,
    day,
    ledger,
    node,
    record,
    resolved,
    state,
    together,
)

# --- who is one customer ----------------------------------------------------------------------------------------------


def test_two_records_with_one_email_are_one_customer() -> None:
    settled = resolved(Evidence().record("crm:1", "Ann", email="ann").record("shop:9", "Ann", email="ann"))

    assert together(settled, record("crm:1"), record("shop:9"), node("email", "ann"))


def test_two_emails_of_one_login_share_a_customer() -> None:
    evidence = (
        Evidence().record("crm:1", "Ann", email="ann@work", login="ann").record("shop:9", "Ann", email="ann@home")
    )
    settled = resolved(evidence.visit(login="ann", email="ann@home"))

    assert together(settled, record("crm:1"), record("shop:9"))


def test_a_couple_with_one_telephone_stays_two_customers() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Jan", email="jan", phone="home")
        .record("crm:2", "Maria", email="maria", phone="home")
    )
    settled = resolved(evidence)

    assert not together(settled, record("crm:1"), record("crm:2"))
    assert state(evidence.edges(), record("crm:1"), node("phone", "home")) == "conflict"


def test_a_shared_telephone_still_joins_the_records_of_one_name() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Jan", phone="home")
        .record("crm:2", "Maria", phone="home")
        .record("shop:3", "Maria", phone="home")
    )
    settled = resolved(evidence)

    assert together(settled, record("crm:2"), record("shop:3"))
    assert not together(settled, record("crm:1"), record("crm:2"))


def test_what_a_household_shares_belongs_to_none_of_them_and_says_not_who_it_is() -> None:
    evidence = Evidence().record("crm:1", "Jan", email="us").record("crm:2", "Maria", email="us")
    settled = resolved(evidence)
    customers = customer_of(settled)

    assert len({customers[record("crm:1")], customers[record("crm:2")], customers[node("email", "us")]}) == 3
    assert settled.filter(pl.col("node_id") == node("email", "us"))["is_known"].to_list() == [False]


def test_one_person_written_as_bob_and_robert_is_one_customer() -> None:
    settled = resolved(Evidence().record("crm:1", "Bob", email="r").record("shop:2", "Robert", email="r"))

    assert together(settled, record("crm:1"), record("shop:2"))


def test_a_name_nobody_would_think_alike_is_no_matter_when_the_card_says_so() -> None:
    evidence = (
        Evidence().record("crm:1", "Sunny", email="s", card="7").record("shop:2", "Margarete", email="s", card="7")
    )

    assert together(resolved(evidence), record("crm:1"), record("shop:2"), node("email", "s"))


def test_a_record_without_a_name_joins_the_one_person_of_an_email() -> None:
    settled = resolved(Evidence().record("crm:1", "Ann", email="ann").record("news:1", None, email="ann"))

    assert together(settled, record("crm:1"), record("news:1"))


def test_a_record_without_a_name_joins_nobody_of_a_household() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Jan", email="us")
        .record("crm:2", "Maria", email="us")
        .record("news:1", None, email="us")
    )
    settled = resolved(evidence)

    assert not together(settled, record("news:1"), record("crm:1"))
    assert not together(settled, record("news:1"), record("crm:2"))


def test_a_record_without_a_name_makes_no_bridge_between_two_people() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Jan", email="jan")
        .record("crm:2", "Maria", phone="home")
        .record("news:1", None, email="jan", phone="home")
    )
    settled = resolved(evidence)

    assert together(settled, record("news:1"), record("crm:1"))
    assert not together(settled, record("crm:1"), record("crm:2"))


def test_an_order_with_the_familys_telephone_does_not_make_a_couple_one() -> None:
    evidence = Evidence().record("crm:1", "Jan", phone="home").record("crm:2", "Maria", email="maria")
    evidence.rows["person_records"].append(
        {**evidence.rows["person_records"][0], "node_id": record("x:1"), "record_id": "x", "given_name": None}
        | {"phone_key": node("phone", "home"), "email_key": node("email", "maria")}
    )
    settled = resolved(evidence)

    assert not together(settled, record("crm:1"), record("crm:2"))


def test_two_loyalty_cards_are_never_one_customer() -> None:
    evidence = Evidence().record("crm:1", "Ann", email="ann", card="1").record("crm:2", "Ann", email="ann", card="2")
    settled = resolved(evidence)

    assert not together(settled, node("card", "1"), node("card", "2"))
    assert "vetoed" in evidence.edges()["edge_state"].to_list()


def test_two_cards_are_kept_apart_along_any_chain() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Ann", card="1", phone="a")
        .record("crm:2", "Ann", phone="a", email="b")
        .record("crm:3", "Ann", email="b", login="c")
        .record("crm:4", "Ann", login="c", card="2")
    )

    assert not together(resolved(evidence), node("card", "1"), node("card", "2"))


def test_a_mailbox_of_a_whole_company_joins_nobody() -> None:
    evidence = Evidence()
    for number in range(USUAL_RULES.caps["email"] + 1):
        evidence.record(f"crm:{number}", "Ann", email="info")
    customers = customer_of(resolved(evidence))

    assert len(set(customers.values())) == USUAL_RULES.caps["email"] + 2
    assert state(evidence.edges(), record("crm:0"), node("email", "info")) == "capped"


def test_a_mailbox_just_at_the_cap_still_joins() -> None:
    evidence = Evidence()
    for number in range(USUAL_RULES.caps["email"]):
        evidence.record(f"crm:{number}", "Ann", email="ann")

    assert len(set(customer_of(resolved(evidence)).values())) == 1


def test_an_operator_who_logs_in_for_everyone_joins_nobody() -> None:
    evidence = Evidence()
    for number in range(USUAL_RULES.caps["login"] + 1):
        evidence.record(f"crm:{number}", "Ann", email=f"e{number}").visit(login="callcentre", email=f"e{number}")
    settled = resolved(evidence)

    assert not together(settled, record("crm:0"), record("crm:1"))


def test_anonymous_browsing_becomes_the_customers_once_she_signs_in() -> None:
    evidence = (
        Evidence().visit(cookie="c", on=1).record("crm:1", "Ann", login="ann").visit(cookie="c", login="ann", on=2)
    )
    settled = resolved(evidence)

    assert together(settled, node("cookie", "c"), record("crm:1"))
    assert settled["is_known"].all()


def test_a_browser_nobody_signed_in_on_is_an_anonymous_customer() -> None:
    settled = resolved(Evidence().visit(cookie="c"))

    assert settled.select("node_id", "node_kind", "is_known").rows() == [(node("cookie", "c"), "cookie", False)]


def test_a_browser_two_customers_signed_in_on_is_neithers() -> None:
    evidence = Evidence().visit(cookie="kiosk", login="jan").visit(cookie="kiosk", login="maria")
    settled = resolved(evidence)
    customers = customer_of(settled)

    assert len(set(customers.values())) == 3
    assert state(evidence.edges(), node("login", "jan"), node("cookie", "kiosk")) == "ambiguous"


def test_a_browser_two_logins_of_one_customer_used_is_hers() -> None:
    evidence = Evidence().visit(cookie="c", login="old").visit(cookie="c", login="new")
    evidence.record("crm:1", "Ann", login="old", email="ann").record("crm:2", "Ann", login="new", email="ann")

    assert together(resolved(evidence), node("cookie", "c"), record("crm:1"), record("crm:2"))


def test_a_browser_seen_with_a_household_mailbox_and_one_login_is_the_logins() -> None:
    evidence = (
        Evidence()
        .record("crm:1", "Jan", email="us", login="jan")
        .record("crm:2", "Maria", email="us")
        .visit(cookie="c", email="us")
        .visit(cookie="c", login="jan")
    )

    assert together(resolved(evidence), node("cookie", "c"), record("crm:1"))
    assert state(evidence.edges(), node("email", "us"), node("cookie", "c")) == "conflict"


def test_a_kiosk_never_chains_strangers_through_two_browsers() -> None:
    evidence = Evidence()
    for who in ("jan", "maria", "olga"):
        evidence.visit(cookie=f"own-{who}", login=who).visit(cookie="kiosk", login=who)
    settled = resolved(evidence)

    assert not together(settled, node("login", "jan"), node("login", "maria"))
    assert together(settled, node("login", "jan"), node("cookie", "own-jan"))


def test_every_node_of_every_subject_is_in_the_map() -> None:
    evidence = Evidence().record("crm:1", None).visit(cookie="c").reading("thermostat").visit(login="ann", email="ann")
    settled = resolved(evidence)

    nodes = {
        value for rows in evidence.rows.values() for row in rows for name, value in row.items() if name == "node_id"
    }
    assert nodes <= set(customer_of(settled))
    assert node("email", "ann") in customer_of(settled)


def test_no_evidence_makes_no_customers() -> None:
    assert resolved(Evidence()).height == 0
    assert ledger(resolved(Evidence())).height == 0


# --- ids that last ----------------------------------------------------------------------------------------------------


def test_a_customer_keeps_her_id_when_more_of_her_is_found() -> None:
    evidence = Evidence().visit(cookie="c")
    first = resolved(evidence, on=2)
    second = resolved(evidence.visit(cookie="c", login="ann").record("crm:1", "Ann", login="ann"), first, on=3)

    assert customer_of(first)[node("cookie", "c")] == customer_of(second)[record("crm:1")]


def test_when_two_customers_turn_out_one_the_larger_ones_id_stays() -> None:
    evidence = Evidence().record("crm:1", "Ann", email="a", phone="p").record("shop:1", "Ann", email="b")
    first = resolved(evidence, on=2)
    second = resolved(evidence.visit(login="ann", email="a").visit(login="ann", email="b"), first, on=3)
    large, small = customer_of(first)[record("crm:1")], customer_of(first)[record("shop:1")]

    assert set(customer_of(second).values()) == {large}
    assert ledger(second).filter(known_from=day(3)).select(
        "identity_event", "customer_id", "other_customer_id", "node_count"
    ).sort("identity_event").rows() == [("merge", large, small, 2), ("retire", small, None, 2)]


def test_a_split_leaves_the_id_with_the_larger_part() -> None:
    evidence = Evidence().record("crm:1", "Jan", email="us", login="jan").record("crm:2", None, email="us")
    first = resolved(evidence, on=2)
    evidence.rows["person_records"][1]["given_name"] = "Maria"
    second = resolved(evidence, first, on=3)
    before = customer_of(first)[record("crm:1")]
    now = customer_of(second)

    assert now[record("crm:1")] == before
    assert len({now[record("crm:2")], now[node("email", "us")], before}) == 3
    told = ledger(second).filter(pl.col("known_from") == day(3))
    assert Counter(told["identity_event"]) == {"create": 2, "split": 2}
    assert set(told.filter(identity_event="split")["other_customer_id"]) == {before}


def test_a_customer_of_whom_nothing_is_left_retires_and_her_id_is_never_given_again() -> None:
    evidence = Evidence().visit(cookie="c")
    first = resolved(evidence, on=2)
    gone = resolved(Evidence(), first, on=3)
    back = resolved(evidence, gone, on=4)

    assert customer_of(gone) == {}
    assert customer_of(back)[node("cookie", "c")] != customer_of(first)[node("cookie", "c")]
    assert ledger(back)["identity_event"].to_list() == ["create", "retire", "create"]


def test_unchanged_evidence_rewrites_nothing() -> None:
    evidence = Evidence().record("crm:1", "Ann", email="ann").visit(cookie="c", email="ann").visit(cookie="d")
    first = resolved(evidence, on=2)

    assert resolved(evidence, first, on=3).equals(first)
    assert resolved(evidence, first, on=2).equals(first)


def test_a_second_look_at_one_window_overwrites_no_earlier_answer() -> None:
    evidence = Evidence().visit(cookie="c")
    first = resolved(evidence, on=2)
    second = resolved(evidence.visit(cookie="c", login="ann"), first, on=2)
    third = resolved(evidence.visit(cookie="c", login="bob"), second, on=2)

    assert (
        known_at(third.lazy(), day(2))
        .collect()
        .select("node_id", "customer_id")
        .equals(current(first.lazy()).select("node_id", "customer_id").collect())
    )
    assert third["known_from"].max() == day(2) + timedelta(microseconds=2)


def test_a_late_event_moves_only_the_day_the_customer_was_first_seen() -> None:
    evidence = Evidence().visit(cookie="c", on=5)
    first = resolved(evidence, on=6)
    second = resolved(evidence.visit(cookie="c", on=3), first, on=7)

    assert current(second.lazy()).select("customer_id", "valid_from").collect().rows() == [
        (first["customer_id"].item(), day(3))
    ]
    assert ledger(second)["identity_event"].to_list() == ["create"]


def test_evidence_that_was_deleted_since_makes_nobody_younger() -> None:
    first = resolved(Evidence().visit(cookie="c", on=1).visit(cookie="c", on=5), on=6)

    assert resolved(Evidence().visit(cookie="c", on=5), first, on=7).equals(first)


# --- what always holds ------------------------------------------------------------------------------------------------

#: Each example resolves a small world several times over; the same examples in every run.
STEADY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
NAMES = st.sampled_from([None, "Jan", "J.", "Julia", "Maria", "Mario"])


def some(kind: str, count: int) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from([f"{kind}{number}" for number in range(count)])


RECORDS = st.fixed_dictionaries(
    {"given_name": NAMES, "email": some("e", 4), "phone": some("p", 3), "card": some("k", 3), "login": some("l", 3)}
)
VISITS = st.fixed_dictionaries(
    {"cookie": some("c", 4), "login": some("l", 3), "email": some("e", 4), "device": some("d", 2)}
)


@st.composite
def worlds(draw: st.DrawFn) -> list[tuple[str, dict[str, str | None]]]:
    """A history: records and visits as they came, one a day."""
    people = [("record", each) for each in draw(st.lists(RECORDS, max_size=8))]
    visits = [("visit", each) for each in draw(st.lists(VISITS, max_size=8))]
    return draw(st.permutations(people + visits))


def evidence_of(history: list[tuple[str, dict[str, str | None]]], order: list[int] | None = None) -> Evidence:
    evidence = Evidence()
    for number in order if order is not None else range(len(history)):
        what, said = history[number]
        if what == "record":
            evidence.record(f"crm:{number}", on=number + 1, **said)
        else:
            evidence.visit(on=number + 1, **said)
    return evidence


@STEADY
@given(worlds())
def test_every_node_is_in_exactly_one_customer(history: list[tuple[str, dict[str, str | None]]]) -> None:
    evidence = evidence_of(history)
    settled = current(resolved(evidence).lazy()).collect()
    nodes = {
        value
        for rows in evidence.rows.values()
        for row in rows
        for name, value in row.items()
        if value and (name == "node_id" or name.endswith("_key"))
    }

    assert sorted(settled["node_id"]) == sorted(nodes)


@STEADY
@given(worlds().flatmap(lambda history: st.tuples(st.just(history), st.permutations(range(len(history))))))
def test_the_order_evidence_comes_in_changes_nothing(
    world: tuple[list[tuple[str, dict[str, str | None]]], list[int]],
) -> None:
    history, order = world

    assert resolved(evidence_of(history, order)).equals(resolved(evidence_of(history)))


@STEADY
@given(worlds())
def test_evidence_gathered_in_parts_is_the_evidence_gathered_whole(
    history: list[tuple[str, dict[str, str | None]]],
) -> None:
    evidence = evidence_of(history)
    frames = evidence.frames()
    people, visits = frames["person_records"], frames["web_events"]
    parts = [gathered(people, record=True)]
    parts += [gathered(visits.slice(at, 3)) for at in range(0, len(evidence.rows["web_events"]), 3)]

    names = people.select("node_id", "given_name", "family_name").collect()
    assert judged(united(parts), names).equals(evidence.edges())


@STEADY
@given(worlds())
def test_no_customer_ever_holds_two_cards(history: list[tuple[str, dict[str, str | None]]]) -> None:
    cards = resolved(evidence_of(history)).filter(pl.col("node_kind") == "card")

    assert cards["customer_id"].n_unique() == cards.height


@STEADY
@given(worlds())
def test_edges_in_use_and_customers_say_the_same(history: list[tuple[str, dict[str, str | None]]]) -> None:
    evidence = evidence_of(history)
    edges, customers = evidence.edges(), customer_of(resolved(evidence))

    for left, right, verdict in edges.select("left_node_id", "right_node_id", "edge_state").iter_rows():
        if verdict == "used":
            assert customers[left] == customers[right]
    ambiguous = edges.filter(pl.col("edge_state") == "ambiguous")
    for left, right in ambiguous.select("left_node_id", "right_node_id").iter_rows():
        assert customers[left] != customers[right]


@settings(STEADY, max_examples=15)
@given(worlds())
def test_no_row_of_the_map_is_ever_altered_but_closed_once(history: list[tuple[str, dict[str, str | None]]]) -> None:
    settled, told = resolved(Evidence(), on=1), ledger(resolved(Evidence(), on=1))
    answers: dict[int, pl.DataFrame] = {}
    for number in range(1, len(history) + 1):
        settled = resolved(evidence_of(history[:number]), settled, on=number + 1)
        answers[number + 1] = current(settled.lazy()).collect().drop("known_to")
        grown = ledger(settled, told)
        assert grown.join(told, on=grown.columns, how="semi", nulls_equal=True).height == told.height
        told = grown

    for moment, answer in answers.items():
        assert known_at(settled.lazy(), day(moment)).collect().drop("known_to").equals(answer)
    assert told.equals(ledger(settled))
    _no_overlaps(settled)
    _ids_are_never_used_again(settled)
    alive = current(settled.lazy()).collect()["customer_id"].n_unique()
    counts = Counter(told["identity_event"])
    assert alive == counts["create"] - counts["retire"]


def _no_overlaps(settled: pl.DataFrame) -> None:
    for (_,), rows in settled.group_by("node_id"):
        spans = rows.sort("known_from").select("known_from", "known_to").rows()
        for (_, ended), (began, _) in pairwise(spans):
            assert ended is not None
            assert ended <= began
        assert all(ended is None or began < ended for began, ended in spans)


def _ids_are_never_used_again(settled: pl.DataFrame) -> None:
    """Between its first and its last moment an id is never without a node, and so was never given twice."""
    for (_,), rows in settled.group_by("customer_id"):
        open_until = None
        for began, ended in rows.sort("known_from").select("known_from", "known_to").iter_rows():
            assert open_until is None or open_until == "now" or began <= open_until
            ends = "now" if ended is None else ended
            open_until = "now" if "now" in (ends, open_until) else max(ends, open_until or ends)


@pytest.mark.parametrize("kind", ["email", "phone", "login", "card", "handle"])
def test_every_sure_identifier_makes_a_known_customer(kind: str) -> None:
    settled = resolved(Evidence().record("crm:1", "Ann", **{kind: "x"}).record("crm:2", "Ann", **{kind: "x"}))

    assert settled["customer_id"].n_unique() == 1
    assert settled["is_known"].all()
