"""What becomes of a probable match: who is linked, who waits, and who is nobody else however alike."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl.errors import ModelRefused
from etl.model import USUAL_RULES, IdentityRules
from etl.model.frames import empty, schema_of
from etl.serve.identity import as_edges, chain, waiting
from etl.silver import identity_matches
from etl.silver.identity_edges import build_identity_edges
from etl.silver.identity_matches import IDENTITY_MATCHES, build_identity_matches, with_states
from etl.silver.identity_model import IDENTITY_MODEL, build_identity_model, in_use
from etl.silver.linkage import COMPARED
from tests.identity.evidence import KEY, Evidence, day, record, resolved, together
from tests.identity.people import MODEL, register

STEADY = settings(deadline=None, derandomize=True, database=None, max_examples=6)
EASILY = IdentityRules(link_at=0.5, review_at=0.5)
HOME = {"street": "Lindenweg 4", "postal_code": "10115", "city": "Berlin"}


def model_of(text: str = MODEL.to_json(), version: int = 1) -> pl.DataFrame:
    row = {
        "model_version": version,
        "compared_fingerprint": COMPARED.fingerprint,
        "learnt_from": "em",
        "learnt_at": day(1),
        "learnt_of": "{}",
        "parameters": text,
    }
    return pl.DataFrame([row], schema=schema_of(IDENTITY_MODEL.columns))


#: As the model, but of records of which one pair in twenty is one person's.
SURER = model_of(replace(MODEL, prior=0.05).to_json())


def people(*rows: dict[str, Any]) -> Evidence:
    """Records of people; `name` is `source:id`, identifiers by their kind, anything else an attribute."""
    evidence = Evidence()
    for row in rows:
        kinds = {kind: row[kind] for kind in ("card", "email", "phone") if kind in row}
        evidence.record(row["name"], row.get("given_name"), **kinds)
        evidence.rows["person_records"][-1] |= {
            name: value for name, value in row.items() if name not in {"name", *kinds}
        }
    return evidence


def matched(
    evidence: Evidence,
    previous: pl.DataFrame | None = None,
    *,
    rules: IdentityRules = USUAL_RULES,
    model: pl.DataFrame | None = None,
) -> pl.DataFrame:
    frames = evidence.frames()
    return build_identity_matches(
        frames["person_records"],
        build_identity_edges(**frames, rules=rules),
        (model_of() if model is None else model).lazy(),
        frames["identity_rulings"],
        previous=(empty(IDENTITY_MATCHES.columns) if previous is None else previous).lazy(),
        key=KEY,
        rules=rules,
    ).collect()


def states(matches: pl.DataFrame) -> dict[frozenset[str], str]:
    pairs = matches.filter(pl.col("left_node_id") != pl.col("right_node_id"))
    return {
        frozenset((left, right)): state
        for left, right, state in pairs.select("left_node_id", "right_node_id", "match_state").iter_rows()
    }


def state(matches: pl.DataFrame, one: str, other: str) -> str | None:
    return states(matches).get(frozenset((record(one), record(other))))


ANN = {"given_name": "Ann", "family_name": "Berger", **HOME}


def test_one_name_at_one_address_is_linked_and_the_map_joins_them() -> None:
    evidence = people({"name": "crm:1", **ANN}, {"name": "shop:2", **ANN})
    matches = matched(evidence)

    assert state(matches, "crm:1", "shop:2") == "link"
    assert not together(resolved(evidence), record("crm:1"), record("shop:2"))
    assert together(resolved(evidence, matches=matches), record("crm:1"), record("shop:2"))


@pytest.mark.parametrize("born", [None, date(1990, 5, 4)], ids=["siblings", "twins"])
def test_another_given_name_at_one_address_is_another_person(born: date | None) -> None:
    evidence = people(
        {"name": "crm:1", **ANN, "given_name": "Mario", "birth_date": born},
        {"name": "crm:2", **ANN, "given_name": "Maria", "birth_date": born},
    )

    assert state(matched(evidence, rules=EASILY), "crm:1", "crm:2") == "conflict"


def father_son_and(**more: Any) -> tuple[Evidence, list[str]]:
    return people(
        {"name": "crm:father", **ANN, "birth_date": date(1950, 3, 12)},
        {"name": "crm:son", **ANN, "birth_date": date(1981, 7, 30)},
        {"name": "shop:who", **ANN, **more},
    ), ["crm:father", "crm:son", "shop:who"]


def test_father_and_son_of_one_name_are_two_and_whose_a_third_record_is_waits_for_review() -> None:
    evidence, (father, son, who) = father_son_and()
    matches = matched(evidence)

    assert state(matches, father, son) in {None, "conflict"}
    assert (state(matches, father, who), state(matches, son, who)) == ("ambiguous", "ambiguous")
    assert not together(resolved(evidence, matches=matches), record(father), record(who))


def test_the_third_record_with_the_sons_birth_date_is_the_sons() -> None:
    evidence, (father, son, who) = father_son_and(birth_date=date(1981, 7, 30))
    matches = matched(evidence)

    assert state(matches, son, who) == "link"
    assert state(matches, father, who) in {None, "conflict"}


def test_two_loyalty_cards_are_two_people_however_alike() -> None:
    matches = matched(people({"name": "crm:1", **ANN, "card": "111"}, {"name": "shop:2", **ANN, "card": "222"}))

    assert state(matches, "crm:1", "shop:2") == "vetoed"


def test_two_cards_do_not_meet_over_a_third_record() -> None:
    evidence = people(
        {"name": "crm:1", **ANN, "card": "111"}, {"name": "shop:2", **ANN, "card": "222"}, {"name": "web:3", **ANN}
    )

    assert set(states(matched(evidence)).values()) == {"vetoed", "ambiguous"}


def test_a_national_number_outweighs_a_given_name() -> None:
    rows = [
        {"name": "crm:1", **ANN, "national_id": "AB123456"},
        {"name": "crm:2", **ANN, "given_name": "Gisela", "national_id": "AB123456"},
    ]
    assert state(matched(people(*rows)), "crm:1", "crm:2") == "link"


def test_where_nobody_shares_a_household_an_address_is_a_persons_own() -> None:
    evidence = people({"name": "crm:1", **ANN}, {"name": "crm:2", **ANN, "given_name": "Gisela"})
    strangers = replace(EASILY, household_kinds=())

    assert state(matched(evidence, rules=EASILY, model=SURER), "crm:1", "crm:2") == "conflict"
    assert state(matched(evidence, rules=strangers, model=SURER), "crm:1", "crm:2") == "link"


def test_an_address_alone_never_merges() -> None:
    evidence = people({"name": "crm:1", **HOME}, {"name": "crm:2", **HOME})

    assert states(matched(evidence, rules=EASILY, model=SURER)) == {}


BORN = (date(1950, 3, 12), date(1981, 7, 30))
#: component, given name and birth date of a record
RECORDS = st.tuples(
    st.integers(0, 5), st.sampled_from(["Ann", "Ann", "Bert", "Carl", None]), st.sampled_from([*BORN, None])
)
#: the components of a match, and how likely it is; most are links, so that rivals meet
LIKELIHOODS = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda ends: ends[0] < ends[1]),
    st.sampled_from([0.6, 0.999, 0.999]),
    max_size=5,
)


@settings(STEADY, max_examples=400, phases=[Phase.generate])
@given(st.lists(RECORDS, min_size=4, max_size=12), LIKELIHOODS, st.lists(st.integers(0, 5), max_size=2), st.booleans())
def test_pairs_to_which_no_guard_objects_come_out_as_when_they_are_walked(
    told: list[tuple[int, str | None, date | None]],
    alike: dict[tuple[int, int], float],
    cards: list[int],
    is_ruled: bool,
) -> None:
    shown = {component: f"r{at}" for at, (component, _, _) in enumerate(told)}
    matches = [(*ends, probability) for ends, probability in alike.items() if {*ends} <= {*shown}]
    nodes = [(f"r{at}", "record", component) for at, (component, _, _) in enumerate(told)]
    nodes += [(f"c{at}", "card", component) for at, component in enumerate(cards)]
    apart = [([shown[one]], [shown[other]]) for one, other, _ in matches[:1] if is_ruled]
    rest = (
        pl.DataFrame(nodes, schema=["node_id", "node_kind", "component"], orient="row"),
        pl.DataFrame(
            [(f"r{at}", given, "Berger", born) for at, (_, given, born) in enumerate(told)],
            schema={"node_id": str, "given_name": str, "family_name": str, "birth_date": pl.Date},
            orient="row",
        ),
        pl.DataFrame(
            [("never", left, right) for left, right in apart],
            schema={"ruling": str, "left_node_ids": pl.List(str), "right_node_ids": pl.List(str)},
            orient="row",
        ),
    )
    levels = json.dumps(dict.fromkeys(each.name for each in COMPARED.comparisons))
    pairs = pl.DataFrame(
        [(shown[one], shown[other], probability, 10.0, levels) for one, other, probability in matches],
        schema={
            "left_node_id": str,
            "right_node_id": str,
            "match_probability": float,
            "match_weight": float,
            "compared_levels": str,
        },
        orient="row",
    )
    states = with_states(pairs, *rest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity_matches, "_unopposed", lambda placed, *_: pl.repeat(False, placed.height, eager=True))
        walked = with_states(pairs, *rest)

    assert_frame_equal(states, walked, check_row_order=False)


# --- review and rulings -----------------------------------------------------------------------------------------------

MOVED = {**ANN, "street": "Bergweg 9", "postal_code": "10999"}


def case() -> Evidence:
    """One name in one town at two addresses: likely, not sure."""
    return people({"name": "crm:1", **ANN}, {"name": "shop:2", **MOVED})


LIKELY = IdentityRules(link_at=0.9999, review_at=0.5)


def test_what_is_likely_but_not_sure_waits_with_what_agrees_and_what_differs() -> None:
    evidence = people(
        {"name": "crm:1", **ANN, "national_id": "AB123456"}, {"name": "shop:2", **MOVED, "national_id": "CD987654"}
    )
    matches = matched(evidence, rules=replace(EASILY, link_at=1.0), model=SURER)
    sides = matches.with_columns(left_customer_id="left_node_id", right_customer_id="right_node_id")

    (told,) = waiting(sides, ()).iter_rows(named=True)

    assert told["match_state"] == "review"
    assert told["agrees"] == "given_name same, family_name same, address same town"
    assert told["differs"] == "national_id"
    assert waiting(sides, {frozenset((record("crm:1"), record("shop:2")))}).is_empty()


def test_never_takes_a_case_out_of_the_queue_and_always_makes_one_customer_of_it() -> None:
    never = case().ruling("never", record("crm:1"), record("shop:2"))
    always = case().ruling("always", record("crm:1"), record("shop:2"))

    assert state(matched(case(), rules=LIKELY), "crm:1", "shop:2") == "review"
    assert state(matched(never, rules=LIKELY), "crm:1", "shop:2") == "ruled_out"
    assert state(matched(always, rules=LIKELY), "crm:1", "shop:2") is None
    assert together(resolved(always), record("crm:1"), record("shop:2"))


def test_never_holds_against_records_joined_to_the_ruled_ones() -> None:
    evidence = people(
        {"name": "crm:1", **ANN, "email": "ann@home.example"},
        {"name": "news:3", "given_name": "Ann", "email": "ann@home.example"},
        {"name": "shop:2", **ANN},
    ).ruling("never", record("news:3"), record("shop:2"))

    assert set(states(matched(evidence)).values()) == {"ruled_out"}


def test_a_match_is_a_link_of_the_chain_that_explains() -> None:
    evidence = people({"name": "crm:1", **ANN}, {"name": "shop:2", **ANN})
    edges = pl.concat([evidence.edges(), as_edges(matched(evidence))], how="diagonal_relaxed")

    way = chain(edges, record("crm:1"), record("shop:2"))

    assert way is not None
    assert [(link.kind, link.state) for link in way] == [("match", "used")]


# --- models -----------------------------------------------------------------------------------------------------------


def test_without_a_model_nothing_is_compared() -> None:
    assert matched(case(), model=empty(IDENTITY_MODEL.columns)).is_empty()


def test_a_model_of_another_comparison_set_stops_the_table() -> None:
    said = json.loads(MODEL.to_json())
    said["compared"]["comparisons"].pop()

    with pytest.raises(ModelRefused, match="phone is new"):
        matched(case(), model=model_of(json.dumps(said)))


def test_a_model_stays_until_another_is_asked_for() -> None:
    frames = case().frames()
    kept = build_identity_model(
        frames["person_records"],
        build_identity_edges(**frames),
        previous=model_of(version=4).lazy(),
        as_of=day(9),
        versions={},
    ).collect()

    assert kept.equals(model_of(version=4))
    assert in_use(pl.concat([model_of(version=4), model_of(version=3)])) == (4, MODEL)


# --- what did not change is not compared again ------------------------------------------------------------------------


def described(seed: int, altered: set[int], gone: set[int]) -> Evidence:
    """Eight people twice; the altered ones moved, the gone ones are not there any more."""
    rows = []
    for number, person in enumerate(register(8, seed=seed)):
        moved = {"street": "Neuweg 1", "postal_code": "10115"} if number in altered else {}
        if number not in gone:
            rows.append({"name": f"crm:{person['record']}", **person, **moved, "record_id": person["record"]})
    return people(*({name: value for name, value in row.items() if name != "record"} for row in rows))


NUMBERS = st.sets(st.integers(0, 15), max_size=4)


@STEADY
@given(st.integers(0, 2), NUMBERS, NUMBERS, NUMBERS)
def test_building_on_what_was_there_is_building_anew(
    seed: int, altered: set[int], gone_before: set[int], gone: set[int]
) -> None:
    before = matched(described(seed, set(), gone_before))
    after = described(seed, altered, gone)

    assert matched(after, before).equals(matched(after))


def test_unchanged_records_keep_their_rows_and_another_model_compares_all() -> None:
    evidence = described(0, set(), set())
    before = matched(evidence)
    marked = before.with_columns(pl.when(pl.col("match_state") != "itself").then(0.75).alias("match_probability"))

    kept = matched(evidence, marked)
    anew = matched(evidence, marked, model=model_of(version=2))

    assert set(kept["match_probability"].drop_nulls()) == {0.75}
    assert 0.75 not in set(anew["match_probability"].drop_nulls())
    assert set(anew["model_version"]) == {2}
