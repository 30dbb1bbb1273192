"""The probabilistic step: what is learnt, how a weight comes about, and that scoring what changed is scoring it all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl.errors import ModelRefused
from etl.serve.identity import waterfall
from etl.silver.identity_edges import members_of
from etl.silver.linkage import (
    COMPARED,
    OTHER,
    PARTS,
    VALUES,
    Level,
    Model,
    _settings,
    _slips,
    differences,
    learn,
    score,
)
from etl.silver.representatives import comparable, representatives
from tests.identity.people import MODEL, compared, register

STEADY = settings(deadline=None, derandomize=True, database=None, max_examples=8)


# --- what is learnt ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt() -> tuple[pl.DataFrame, Model]:
    """A register of six hundred records, half of them copies with a slip, and what it teaches."""
    records = compared(register(300))
    shown = representatives(records)
    model = learn(shown, records)
    assert model is not None
    return shown, model


def test_a_register_with_slips_teaches_that_agreement_weighs_for_and_difference_against(
    learnt: tuple[pl.DataFrame, Model],
) -> None:
    _, model = learnt

    assert model.learnt_from == "em"
    assert all(model.weight(name, "same") > 3 for name in ("given_name", "family_name", "birth_date", "address"))
    assert all(model.weight(name, OTHER) < -1 for name in ("given_name", "family_name", "birth_date", "address"))
    assert 0 < model.prior < 0.01


def test_what_was_never_there_to_compare_weighs_nothing(learnt: tuple[pl.DataFrame, Model]) -> None:
    _, model = learnt

    assert {model.weight("national_id", level) for level in model.learnt["national_id"]} == {0.0}


def test_the_same_records_in_any_order_teach_the_same_model_to_the_byte(learnt: tuple[pl.DataFrame, Model]) -> None:
    _, model = learnt
    records = compared(list(reversed(register(300))))
    again = learn(representatives(records), records)

    assert again is not None
    assert again.to_json() == model.to_json()
    assert Model.from_json(model.to_json()) == model


def test_too_few_records_teach_nothing() -> None:
    records = compared(register(100))

    assert learn(representatives(records), records) is None


def test_no_value_of_a_person_is_in_a_model(learnt: tuple[pl.DataFrame, Model]) -> None:
    shown, model = learnt
    said = model.to_json()
    values = {
        each for name in ("given_name", "family_name", "street", "birth_date") for each in shown[name].drop_nulls()
    }

    assert len(values) > 300
    assert [value for value in values if f'"{value}"' in said] == []


def test_copies_are_found_again(learnt: tuple[pl.DataFrame, Model]) -> None:
    shown, model = learnt
    pairs = score(shown, model, least=0.99)
    right = [left[:5] == other[:5] for left, other in pairs.select("left_node_id", "right_node_id").iter_rows()]

    assert all(right)
    assert len(right) > 250


# --- another comparison set -------------------------------------------------------------------------------------------


def without(name: str) -> dict[str, Any]:
    told = COMPARED.told()
    return {**told, "comparisons": [each for each in told["comparisons"] if each["name"] != name]}


def test_a_model_learnt_for_another_comparison_set_is_refused_with_the_difference() -> None:
    stale = replace(MODEL, compared=without("phone"))

    with pytest.raises(ModelRefused, match=r"phone is new.*c360 identity train") as error:
        stale.fit_for(COMPARED)

    assert "\n" not in str(error.value)


def test_every_difference_of_two_comparison_sets_is_told() -> None:
    first = COMPARED.comparisons[0]
    looser = replace(first, levels=(Level("same", "true"), *first.levels[1:]))
    other = replace(COMPARED, comparisons=(looser, *COMPARED.comparisons[2:]), blocking=COMPARED.blocking[1:])

    told = differences(COMPARED.told(), other.told())

    assert "given_name: same is another" in told
    assert "family_name is gone" in told
    assert "blocking differs" in told
    assert COMPARED.fingerprint != other.fingerprint
    assert differences(COMPARED.told(), COMPARED.told()) == []


# --- scoring ----------------------------------------------------------------------------------------------------------


def test_a_waterfall_adds_up_to_the_weight_splink_gives() -> None:
    pairs = score(representatives(compared(register(12))), MODEL, least=None)
    names = [each.name for each in COMPARED.comparisons]

    assert pairs.height > 5
    for row in pairs.iter_rows(named=True):
        steps = waterfall(MODEL, {name: row[name] for name in names})
        assert steps[-1].total == pytest.approx(row["match_weight"], abs=1e-5)
        assert steps[-1].probability == pytest.approx(row["match_probability"], abs=1e-6)


def by_splink(shown: pl.DataFrame, model: Model, least: float | None) -> pl.DataFrame:
    """What Splink's own inference makes of it, in the form of `score`."""
    from splink import DuckDBAPI, Linker

    said: Any = _settings(COMPARED).create_settings_dict("duckdb")
    said |= {
        "probability_two_random_records_match": model.prior,
        "blocking_rules_to_generate_predictions": [{"blocking_rule": rule} for rule in COMPARED.blocking],
        "retain_matching_columns": True,
    }
    names = {each.name: each.level_names for each in COMPARED.comparisons}
    for each in said["comparisons"]:
        name = each["output_column_name"]
        for level, of in zip(each["comparison_levels"][1:], names[name], strict=True):
            level["m_probability"], level["u_probability"] = model.learnt[name][of]
    api = DuckDBAPI(":memory:")
    linker = Linker(api.register(shown.with_columns(**PARTS).to_arrow()), said, log_level=60, validate_settings=False)
    found = linker.inference.predict(threshold_match_probability=least, warning_mode="never")
    raw = pl.DataFrame(found.as_duckdbpyrelation().to_arrow_table())
    return raw.select(
        pl.col("node_id_l").alias("left_node_id"),
        pl.col("node_id_r").alias("right_node_id"),
        "match_probability",
        "match_weight",
        # Splink numbers the levels downwards to 0, `other`, and -1 where there is nothing to compare.
        *(
            pl.col(f"gamma_{name}")
            .replace_strict({**dict(enumerate(reversed(levels))), -1: None}, return_dtype=pl.String)
            .alias(name)
            for name, levels in names.items()
        ),
    ).sort("left_node_id", "right_node_id")


def _or_nothing(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *values])


#: Few values, so that all rules and levels meet: names swapped, cut short, misspelt, nicknames, gaps everywhere.
ALIKE = st.fixed_dictionaries(
    {
        "given_name": _or_nothing("Johanna", "Johana", "Johan", "J", "William", "Bill", "Brandt"),
        "family_name": _or_nothing("Brandt", "Brand", "Bernadt", "Johanna", "Ost"),
        "birth_date": _or_nothing("1980-05-17", "1980-05-16", "1980-06-27", "1951-12-03"),
        "street": _or_nothing("Lindenweg 4", "Lindenveg 4", "Lindenweg 5", "Ostring"),
        "postal_code": _or_nothing("10115", "10151", "20095"),
        "city": _or_nothing("Berlin", "Berlln", "Hamburg"),
        "national_id": _or_nothing("AB123456", "AB123465", "CD987654"),
        "email": _or_nothing("j.brandt@a.example", "j.brandt@b.example", "j.brandt7@a.example", "k.brandt@a.example"),
        "phone": _or_nothing("+493012345678", "+493012345687", "+494098765432"),
    }
)


def strangers(people: list[dict[str, Any]]) -> pl.DataFrame:
    """Each a representative of its own, with mailbox and telephone believed."""
    keyed = [
        {**person, "record": f"n{at:03d}", "email_key": person["email"], "phone_key": person["phone"]}
        for at, person in enumerate(people)
    ]
    return representatives(compared(keyed))


@given(st.text("ab-", max_size=7), st.text("ab-", max_size=7), st.integers(1, 2))
@settings(STEADY, max_examples=300)
def test_slips_are_counted_as_damerau_and_levenshtein_count_them(one: str, other: str, most: int) -> None:
    query = f"SELECT {_slips('t', most)}, damerau_levenshtein(t_l, t_r) <= {most} FROM (SELECT ? AS t_l, ? AS t_r)"
    row = duckdb.execute(query, [one, other]).fetchone()

    assert row is not None
    assert row[0] == row[1]


@settings(STEADY, max_examples=12, phases=[Phase.generate])
@given(st.lists(ALIKE, min_size=2, max_size=40), st.sampled_from([None, 0.5, 0.99]))
def test_pairs_levels_weights_and_probabilities_are_splinks_own(
    people: list[dict[str, Any]], least: float | None
) -> None:
    shown = strangers(people)

    assert_frame_equal(score(shown, MODEL, least=least), by_splink(shown, MODEL, least), rel_tol=1e-9, abs_tol=1e-6)


@STEADY
@given(st.lists(st.integers(0, 23), min_size=1, max_size=6, unique=True), st.integers(0, 3))
def test_scoring_what_changed_is_scoring_it_all(changed: list[int], seed: int) -> None:
    before = representatives(compared(register(12, seed=seed)))
    after = before.with_columns(
        given_name=pl.when(pl.int_range(pl.len()).is_in(changed)).then(pl.lit("anna")).otherwise("given_name")
    )
    touched = after.filter(pl.int_range(pl.len()).is_in(changed))["node_id"]
    ends = pl.col("left_node_id").is_in(touched.implode()) | pl.col("right_node_id").is_in(touched.implode())

    anew = score(after, MODEL, least=0.01)
    kept = score(before, MODEL, least=0.01).filter(~ends)
    fresh = score(after, MODEL, changed=touched, least=0.01)

    assert pl.concat([kept, fresh]).sort("left_node_id", "right_node_id").equals(anew)


# --- what can be compared at all --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, "", "   ", "\x00\x07", "0000000", "n/a", "unknown", "x" * 200, "9" * 40, "a\u202eb", "12"]
)
def test_what_is_no_identifier_never_matches_anything(value: str | None) -> None:
    people = [{**person, "national_id": value, "email": None, "phone": None} for person in register(3)]

    assert compared(people)["national_id"].null_count() == len(people)


@pytest.mark.parametrize("born", ["1900-01-01", "1970-01-01", None])
def test_a_placeholder_is_no_birth_date(born: str | None) -> None:
    people = [{**person, "birth_date": born} for person in register(2)]

    assert compared(people)["birth_date"].null_count() == len(people)


def test_a_representative_shows_what_most_records_say_then_the_latest() -> None:
    people = [
        {"record": "a1", "given_name": "Jan", "family_name": "Berg", "day": 1},
        {"record": "a2", "given_name": "Jan", "family_name": "Berk", "day": 2},
        {"record": "a3", "given_name": "Jna", "family_name": "Berg-Falk", "day": 3},
    ]
    records = compared(people, component=0)
    (shown,) = representatives(records).iter_rows(named=True)

    assert (shown["given_name"], shown["family_name"]) == ("jan", "bergfalk")
    assert set(shown) == {"node_id", *VALUES}


def test_an_address_is_taken_whole() -> None:
    people = [
        {"record": "a1", "street": "Lindenweg 4", "postal_code": "10115", "city": "Berlin", "day": 1},
        {"record": "a2", "street": None, "postal_code": "20095", "city": "Hamburg", "day": 2},
    ]
    (shown,) = representatives(compared(people, component=0)).iter_rows(named=True)

    assert (shown["street"], shown["house_number"], shown["postal_code"], shown["city"]) == (
        None, None, "20095", "hamburg")  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rosenstraße 50", "ROSENSTR. 50"),
        ("83 Victoria Street", "83 Victoria St"),
        ("ul. Szkolna 42", "Szkolna 42"),
        ("Hauptstrasse 7a", "Hauptstr. 7 A"),
    ],
)
def test_ways_to_write_one_street_are_one(one: str, other: str) -> None:
    told = compared([{"record": "a", "street": one}, {"record": "b", "street": other}]).select("street", "house_number")

    assert told.row(0) == told.row(1)


def test_a_mailbox_a_guard_turned_away_is_not_compared_by() -> None:
    from tests.identity.evidence import Evidence

    evidence = Evidence()
    for number in range(25):
        evidence.record(f"crm:{number}", "Ann", email="info@firm.example")
    edges = evidence.edges()
    records = evidence.frames()["person_records"].with_columns(email=pl.lit("desk@firm.example")).collect()

    assert comparable(records, members_of(edges), edges)["email"].null_count() == 25


def test_the_set_tells_all_its_parts() -> None:
    assert json.loads(json.dumps(COMPARED.told())) == COMPARED.told()
    assert len(COMPARED.fingerprint) == 16


def test_what_identifiers_joined_is_what_is_learnt_from_where_there_is_enough() -> None:
    people = register(1050)
    records = compared(people).with_columns(component=pl.col("node_id").str.slice(0, 5).rank("dense").cast(pl.Int64))
    shown = representatives(compared(people[::2]))

    model = learn(shown, records)

    assert model is not None
    assert model.learnt_from == "known_pairs"
    assert model.learnt["given_name"]["same"][0] == pytest.approx(0.8, abs=0.04)
    assert model.prior == pytest.approx(1 / (1050 * 1049 / 2), rel=0.01)
