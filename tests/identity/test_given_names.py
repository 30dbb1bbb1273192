"""Which given names can be one person's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.silver.given_names import Name, agree, edits, groups, normalised, same_person, sides_agree

STEADY = settings(deadline=None, derandomize=True, database=None)
NAMES = st.sampled_from(
    ["jan", "julia", "j", "maria", "mario", "alex", "alexander", "alexandra", "bob", "robert", "an"]
)


def called(*given: str) -> list[Name]:
    return [Name(each, "") for each in given]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", " anna "),
        ("José", "JOSE"),
        ("Dr. Jürgen", "Juergen"),
        ("J.", "Julia"),
        ("Alex", "Alexander"),
        ("Anna", "Anna-Maria"),
        ("Bob", "Robert"),
        ("Liz", "Elisabeth"),
        ("Michael", "Micheal"),
        ("Katja", "Kataj"),
        ("Katharina", "Kathrina"),
        ("Wolfgang", "Wlofgagng"),
    ],
)
def test_names_of_one_person_agree(one: str, other: str) -> None:
    assert agree(normalised(one), normalised(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jan", "Julia"),
        ("Mario", "Maria"),
        ("Paul", "Paula"),
        ("Daniel", "Daniela"),
        ("Josef", "Josefine"),
        ("Julia", "Julian"),
        ("Tim", "Tom"),
        ("Hanna", "Anna"),
        ("Alexander", "Alexandra"),
        ("Ed", "Eva"),
    ],
)
def test_names_of_two_people_of_one_house_disagree(one: str, other: str) -> None:
    assert not agree(normalised(one), normalised(other))


def test_a_name_without_letters_is_no_name() -> None:
    assert [normalised(name) for name in (None, "", " -- ", "123", "Dr.")] == [""] * 5


def test_an_initial_that_fits_two_people_is_nobodys() -> None:
    assert groups(called("j", "jan", "julia")) == {Name("julia", ""): 0, Name("jan", ""): 1, Name("j", ""): None}


def test_an_initial_that_fits_one_person_is_hers() -> None:
    assert groups(called("j", "julia", "maria")) == {Name("julia", ""): 0, Name("maria", ""): 1, Name("j", ""): 0}


def test_an_initial_lets_no_second_person_in() -> None:
    assert not sides_agree(called("j", "jan"), called("julia"))


def test_a_side_without_names_agrees_with_every_side() -> None:
    assert sides_agree([], called("jan", "maria"))


def test_swapped_given_and_family_names_are_one_persons() -> None:
    assert same_person(Name("johannes", "kuhn"), Name("kuhn", "johannes"))


def test_a_couple_of_one_family_name_is_two_people() -> None:
    assert not same_person(Name("johannes", "kuhn"), Name("maria", "kuhn"))


@STEADY
@given(NAMES, NAMES)
def test_agreement_has_no_direction(one: str, other: str) -> None:
    assert agree(one, other) == agree(other, one)


@STEADY
@given(st.lists(NAMES, max_size=8).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_groups_do_not_depend_on_the_order_of_names(orders: tuple[list[str], list[str]]) -> None:
    assert groups(called(*orders[0])) == groups(called(*orders[1]))


@STEADY
@given(st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_edits_are_a_distance(one: str, other: str) -> None:
    assert edits(one, other) == edits(other, one)
    assert (edits(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))
