"""The queue of cases, asked and answered over a lake: a register of invented people, from its file to its review."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from etl.errors import ModelRefused
from etl.run import identity, rulings
from etl.run.house import House
from etl.run.steps import ingest_stream
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.identity_model import IDENTITY_MODEL
from tests.identity.people import register as people
from tests.identity.registers import DAY, register, settled

NOW = datetime(2026, 1, 3, tzinfo=UTC)
FIELDS = """
[sources.register.streams.feeds.fields]
given_name = "given_name"
family_name = "family_name"
birth_date = { path = "birth_date", written = "date" }
street = "street"
postal_code = "postal_code"
city = "city"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Three hundred people twice; whoever owns the register wants to see nearly every match before it counts."""
    home: Path = tmp_path_factory.mktemp("register")
    pl.DataFrame(people(300)).write_csv(home / "people.csv")
    made = register(home, home, "people.csv", "record", FIELDS, "link_at = 1.0\nreview_at = 0.9")
    ingest_stream(made, "register", "people", DAY, run_id="t")
    settled(made)
    return made


def test_the_same_records_teach_the_same_model(house: House) -> None:
    before = house.lake.read(IDENTITY_MODEL).collect()

    assert identity.train(house, now=NOW) == (1, False)
    assert house.lake.read(IDENTITY_MODEL).collect().equals(before)
    assert json.loads(before["learnt_of"][0]) == {"silver.identity_edges": 0, "silver.person_records": 0}


def test_a_case_tells_records_and_levels_and_no_value(house: House) -> None:
    cases = identity.review(house)
    told = json.dumps(cases.rows())
    names = {value for person in people(300) for value in (person["family_name"], person["street"])}

    assert cases.height > 200
    assert cases["weight"].is_sorted(descending=True)
    assert "register:people:p0000a" in cases["one"].to_list() + cases["other"].to_list()
    assert [name for name in names if name in told] == []


def test_a_match_is_explained_by_a_waterfall_that_adds_up(house: House) -> None:
    one, other, probability = identity.review(house).select("one", "other", "probability").row(0)

    told = identity.explain(house, one, other)
    (steps,) = told.waterfalls.values()

    assert not told.are_one
    assert [(link.kind, link.state) for link in told.chain] == [("match", "review")]
    assert steps[0].comparison == "prior"
    assert steps[-1].total == pytest.approx(sum(step.weight for step in steps))
    assert steps[-1].probability == pytest.approx(probability, abs=1e-4)


def test_a_ruling_closes_its_case_at_once_and_for_good(house: House) -> None:
    cases = identity.review(house)
    (no, not_she), (yes, she) = cases.select("one", "other").rows()[:2]
    rulings.rule(house, rulings.link(house, "never", no, not_she), now=NOW)
    rulings.rule(house, rulings.link(house, "always", yes, she), now=NOW + timedelta(minutes=1))

    assert identity.review(house).height == cases.height - 2

    settled(house)

    assert identity.review(house).height == cases.height - 2
    assert not identity.explain(house, no, not_she).are_one
    assert identity.explain(house, yes, she).are_one


def test_a_model_of_another_set_stops_the_build_and_training_mends_it(house: House) -> None:
    row = house.lake.read(IDENTITY_MODEL).collect().row(0, named=True)
    said = json.loads(row["parameters"])
    said["compared"]["comparisons"][0]["levels"].pop()
    stale = pl.DataFrame([{**row, "model_version": 2, "parameters": json.dumps(said)}], schema=dict(_schema(house)))
    house.lake.update(
        IDENTITY_MODEL, lambda _: house.lake.stage(IDENTITY_MODEL, stale), load_id="stale", replaces="nothing"
    )
    seen = house.lake.version(IDENTITY_MATCHES)

    with pytest.raises(ModelRefused, match="given_name: remotely similar is new"):
        settled(house)
    assert house.lake.version(IDENTITY_MATCHES) == seen

    assert identity.train(house, now=NOW) == (3, True)
    settled(house)
    assert set(house.lake.read(IDENTITY_MATCHES).collect()["model_version"]) == {3}


def _schema(house: House) -> pl.Schema:
    return house.lake.read(IDENTITY_MODEL).collect_schema()
