"""What people ruled of identity holds against all evidence, in every order, until it is withdrawn."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from etl.bronze.tables import IDENTITY_RULINGS
from etl.errors import NameRefused, RulingRefused
from etl.model.frames import schema_of
from etl.run.house import House
from etl.run.rulings import link, rule, withdrawal
from etl.silver.rulings import contradicted, standing
from tests.golden import frame_of
from tests.identity.conftest import LATER, Company, house_at
from tests.identity.evidence import Evidence, customer_of, node, record, resolved, state, together
from tests.identity.test_identity import evidence_of, worlds

STEADY = settings(deadline=None, derandomize=True, database=None)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ann_and_bob() -> Evidence:
    return Evidence().record("crm:ann", email="ann@x.org").record("shop:bob", email="bob@x.org")


def test_two_ruled_to_be_one_are_one_though_nothing_joins_them() -> None:
    told = ann_and_bob().ruling("always", record("crm:ann"), record("shop:bob"))

    assert together(resolved(told), record("crm:ann"), record("shop:bob"), node("email", "ann@x.org"))
    assert state(told.edges(), record("crm:ann"), record("shop:bob")) == "used"


def test_two_ruled_apart_stay_apart_though_they_share_everything() -> None:
    told = Evidence().record("crm:1", email="a@x.org", login="a").record("shop:2", email="a@x.org", login="a")
    assert together(resolved(told), record("crm:1"), record("shop:2"))

    told.ruling("never", record("shop:2"), record("crm:1"))
    assert not together(resolved(told), record("crm:1"), record("shop:2"))
    assert "ruled_out" in told.edges()["edge_state"].to_list()


def test_a_ruling_is_above_the_guards() -> None:
    told = Evidence().record("crm:1", card="1111").record("shop:2", card="2222")
    told.ruling("always", record("crm:1"), record("shop:2"))

    assert together(resolved(told), record("crm:1"), record("shop:2"), node("card", "1111"), node("card", "2222"))


def test_a_ruling_about_a_record_that_is_gone_says_nothing() -> None:
    told = ann_and_bob()
    before = told.edges()

    assert told.ruling("always", record("crm:ann"), record("crm:gone")).edges().equals(before)


@settings(STEADY, max_examples=40)
@given(worlds(), st.data())
def test_rulings_hold_whatever_the_evidence_and_in_whatever_order(
    history: list[tuple[str, dict[str, str | None]]], data: Any
) -> None:
    people = sorted({row["node_id"] for row in evidence_of(history).rows["person_records"]})
    assume(len(people) > 1)
    pairs = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["always", "never"]), st.sampled_from(people), st.sampled_from(people)).filter(
                lambda each: each[1] < each[2]
            ),
            max_size=4,
        )
    )
    stands = standing(frame_of([], schema_of(IDENTITY_RULINGS.columns)))
    kept = []
    for ruling, left, right in pairs:
        if contradicted(stands, ruling, [left], [right]):
            continue
        kept.append((ruling, left, right))
        row = {"ruling_id": f"r{len(kept)}", "ruling": ruling, "left_node_ids": [left], "right_node_ids": [right]}
        new = frame_of([{**row, "made_at": NOON}], schema_of(IDENTITY_RULINGS.columns))
        stands = pl.concat([stands, standing(new)])
    order = data.draw(st.permutations(range(len(history))))
    maps = []
    for evidence in (evidence_of(history), evidence_of(history, order)):
        for each in kept:
            evidence.ruling(*each)
        maps.append(resolved(evidence))
    customers = customer_of(maps[0])

    assert maps[0].equals(maps[1])
    for ruling, left, right in kept:
        assert (customers[left] == customers[right]) is (ruling == "always")


def logged(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    """A log of rulings: (id, ruling, left or the withdrawn id, right)."""
    return frame_of(
        [
            {
                "ruling_id": name,
                "ruling": ruling,
                "left_node_ids": None if ruling == "withdraw" else [left],
                "right_node_ids": None if ruling == "withdraw" else [right],
                "withdraws": left if ruling == "withdraw" else None,
                "made_at": NOON + timedelta(minutes=number),
            }
            for number, (name, ruling, left, right) in enumerate(rows)
        ],
        schema_of(IDENTITY_RULINGS.columns),
    )


def test_what_is_withdrawn_stands_no_longer_and_what_that_withdrew_stands_again() -> None:
    once = logged(("r1", "always", "a", "b"), ("w1", "withdraw", "r1", ""))
    twice = logged(("r1", "always", "a", "b"), ("w1", "withdraw", "r1", ""), ("w2", "withdraw", "w1", ""))

    assert standing(once)["ruling_id"].to_list() == []
    assert standing(twice)["ruling_id"].to_list() == ["r1"]


def test_a_ruling_that_contradicts_others_names_them() -> None:
    stands = standing(logged(("r1", "always", "a", "b"), ("r2", "always", "b", "c"), ("r3", "never", "c", "d")))

    assert contradicted(stands, "never", ["a"], ["c"]) == ["r1", "r2"]
    assert sorted(contradicted(stands, "always", ["a"], ["d"])) == ["r1", "r2", "r3"]
    assert contradicted(stands, "always", ["a"], ["e"]) == []
    assert contradicted(stands, "never", ["a"], ["d"]) == []


# --- in a house that runs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house(company: Company, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A copy of the small company after its runs."""
    return house_at(Path(shutil.copytree(company.home, tmp_path_factory.mktemp("ruled") / "home")))


def named(house: House, source: str, at: int) -> str:
    people = house.lake.read(house.catalog.table("silver.person_records")).collect()
    return f"{source}:{people.filter(pl.col('source') == source).sort('record_id')['record_id'][at]}"


def test_the_same_ruling_again_is_the_one_that_stands(house: House) -> None:
    one, other = named(house, "hubspot", 1), named(house, "crm_db", 1)
    first = rule(house, link(house, "never", one, other), now=LATER)

    assert rule(house, link(house, "never", other, one), now=LATER + timedelta(days=1)) == first
    with pytest.raises(RulingRefused, match=first):
        rule(house, link(house, "always", one, other), now=LATER)
    rule(house, withdrawal(house, first), now=LATER)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("hubspot:nobody", "crm_db:nobody", "identity knows no such record"),
        ("email:not an address", "crm_db:nobody", "identity knows no such record"),
    ],
)
def test_an_unknown_record_is_said_without_its_name(house: House, one: str, other: str, says: str) -> None:
    with pytest.raises(NameRefused, match=says) as refused:
        rule(house, link(house, "always", one, other), now=LATER)

    assert "nobody" not in str(refused.value)
    assert "address" not in str(refused.value)


def test_a_record_is_not_ruled_about_itself(house: House) -> None:
    with pytest.raises(RulingRefused, match="one and the same"):
        link(house, "never", named(house, "hubspot", 0), named(house, "hubspot", 0))


def test_a_ruling_that_does_not_stand_cannot_be_withdrawn(house: House) -> None:
    with pytest.raises(NameRefused, match="no such ruling"):
        withdrawal(house, "r_none")
