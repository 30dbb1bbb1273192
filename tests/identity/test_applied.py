"""Identity acted on in a house that runs: what was planned is what comes, and what is undone is as if it never was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from etl.__main__ import app
from etl.errors import LakeError, NameRefused, RulingRefused, SettingsError, WindowRefused
from etl.lake import Lake, Overlay
from etl.model import USUAL_RULES, Table
from etl.run.house import House
from etl.run.identity import as_known, ledger
from etl.run.impact import impact, supposed
from etl.run.rulings import link, rule, rulings, undoing, withdrawal
from etl.settings import rules_in
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_events import IDENTITY_EVENTS
from etl.silver.identity_map import IDENTITY_MAP, current
from tests.identity.conftest import EARLIER, HOUSE, LAST, LATER, Company, environ, house_at, ran

FEWER = "[identity.caps]\nemail = 1\nphone = 1\n"


def rows(lake: Lake, table: Table) -> pl.DataFrame:
    frame = lake.read(table).collect()
    return frame.sort(table.key or frame.columns)


def downstream(house: House) -> list[Table]:
    """Everything that depends on identity, the map and its ledger among it."""
    names = {IDENTITY_EDGES.full_name}
    for table in house.catalog.tables:
        if any(each.full_name in names for each in table.inputs) or house.catalog.knows_customers(table):
            names.add(table.full_name)
    return [table for table in house.catalog.tables if table.full_name in names]


def without_ruling_times(frame: pl.DataFrame) -> pl.DataFrame:
    """A plan rules at another moment than the ruling itself: of its own rows, time and id are not compared."""
    if "identity_event" in frame.columns:
        frame = frame.filter(pl.col("identity_event") != "ruling")
    return frame


def assert_as_planned(house: House, then: House) -> None:
    for table in downstream(house):
        planned, came = (without_ruling_times(rows(each.lake, table)) for each in (then, house))
        assert_frame_equal(planned, came, check_exact=True)


def files_of(house: House) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in house.settings.home.rglob("*") if path.is_file()}


def named(house: House, source: str, at: int) -> str:
    people = house.lake.read(house.catalog.table("silver.person_records")).collect()
    return f"{source}:{people.filter(pl.col('source') == source).sort('record_id')['record_id'][at]}"


def test_an_undone_merge_leaves_every_table_as_if_it_had_never_been(
    company: Company, copied: Callable[[], House]
) -> None:
    house, merge = copied(), company.merge
    never = house_at(company.never_merged)
    undo = undoing(house, merge["identity_event_id"][:9])
    before = files_of(house)
    then = supposed(house, rulings=[undo], now=LATER)
    planned = impact(house.lake, then.lake)
    assert files_of(house) == before

    ruling = rule(house, undo, now=LATER)
    ran(house, LAST, only_sources=[])

    assert_as_planned(house, then)
    assert planned.told() == impact(house_at(company.home).lake, house.lake).told()
    assert (planned.counts["undo"], planned.counts["merge"]) == (1, 0)
    for table in downstream(house):
        if table in (IDENTITY_MAP, IDENTITY_EVENTS):
            continue  # what was known when is what differs
        assert_frame_equal(rows(house.lake, table), rows(never.lake, table), check_exact=True)
    now, unmerged = (
        current(each.lake.read(IDENTITY_MAP)).drop("known_from").sort("node_id").collect() for each in (house, never)
    )
    assert now.equals(unmerged)
    then_known = as_known(house, undo.right[0], EARLIER.end)
    assert then_known.customer_id == as_known(house, undo.right[0], LATER).customer_id == merge["other_customer_id"]
    assert as_known(house, undo.right[0], LAST.end).customer_id == merge["customer_id"]

    # It survives a rebuild of everything, is not made twice, and cannot be contradicted.
    shutil.rmtree(house.lake.root / "_builds")
    ran(house, LAST, only_sources=[])
    assert current(house.lake.read(IDENTITY_MAP)).drop("known_from").sort("node_id").collect().equals(unmerged)
    with pytest.raises(RulingRefused, match=ruling):
        rule(house, undoing(house, merge["identity_event_id"]), now=LATER)
    with pytest.raises(RulingRefused, match=f"always contradicts {ruling}"):
        rule(house, replace(undo, kind="always", left=undo.left[:1], right=undo.right[:1], undoes=None), now=LATER)
    shown = rulings(house).row(0, named=True)
    assert (shown["ruling_id"], shown["ruling"]) == (ruling, "undo")
    assert ledger(house, of=merge["customer_id"], event="undo", limit=9)["other"].to_list() == [merge["customer_id"]]


def test_other_rules_do_exactly_what_was_planned_and_ids_come_back_with_the_old_ones(
    company: Company, copied: Callable[[], House], tmp_path: Path
) -> None:
    house = copied()
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(FEWER, encoding="utf-8")
    then = supposed(house, rules=rules_in(fewer), now=LATER)
    planned = impact(house.lake, then.lake)

    (house.settings.home / "lakehouse.toml").write_text(HOUSE + FEWER, encoding="utf-8")
    applied = house_at(house.settings.home)
    ran(applied, LAST, only_sources=[])

    assert_as_planned(applied, then)
    assert planned.told() == impact(house_at(company.home).lake, applied.lake).told()
    assert planned.counts["split"] > 10
    assert planned.people > 10
    assert planned.attributes["record_count"] > 10
    assert planned.revenue_lost >= planned.revenue_gained >= 0
    assert json.loads(json.dumps(planned.told()))["profiles"] == planned.profiles

    back = supposed(applied, rules=USUAL_RULES, now=LATER)
    customers = current(back.lake.read(IDENTITY_MAP)).select("node_id", "customer_id").sort("node_id").collect()
    first = current(house_at(company.home).lake.read(IDENTITY_MAP)).select("node_id", "customer_id").sort("node_id")
    assert customers.equals(first.collect())


def test_a_link_and_its_withdrawal_move_profiles_and_bring_each_back_under_its_id(
    company: Company, copied: Callable[[], House]
) -> None:
    house = copied()
    one, other = named(house, "hubspot", 0), named(house, "crm_db", 3)
    said = link(house, "always", one, other)
    then = supposed(house, rulings=[said], now=LATER)
    planned = impact(house.lake, then.lake)
    ruling = rule(house, said, now=LATER)
    ran(house, LAST, only_sources=[])
    assert planned.told() == impact(house_at(company.home).lake, house.lake).told()
    assert planned.profiles["gone"] == 1
    (merge,) = planned.events.filter(identity_event="merge").to_dicts()
    with pytest.raises(RulingRefused, match=f"undo contradicts {ruling}"):
        rule(house, undoing(house, merge["identity_event_id"]), now=LATER)

    rule(house, withdrawal(house, ruling), now=LATER + timedelta(hours=1))
    ran(house, LAST, only_sources=[])
    for table in downstream(house):
        if table not in (IDENTITY_MAP, IDENTITY_EVENTS):
            assert_frame_equal(rows(house.lake, table), rows(house_at(company.home).lake, table), check_exact=True)


def test_a_plan_of_nothing_is_nothing_and_writes_nothing(company: Company) -> None:
    house = house_at(company.home)
    then = supposed(house, now=LATER)
    planned = impact(house.lake, then.lake)

    assert set(planned.counts.values()) == {0}
    assert planned.moves.is_empty()
    assert planned.attributes == {}
    assert isinstance(then.lake, Overlay)
    with pytest.raises(LakeError, match="nothing is written"):
        then.lake.stage(IDENTITY_MAP, pl.DataFrame())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[identity]\nlink_att = 1\n", "unknown key identity.link_att; did you mean link_at"),
        ("[identity.caps]\nfax = 3\n", "knows no kind 'fax'"),
        ("[company]\nname = 'x'\n", "no \\[identity\\] section"),
        ("[identity]\ncaps = 3\n", "must be a section"),
        ("[identity\n", "is not TOML"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "new.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=says):
        rules_in(path)


def test_rules_in_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        rules_in(tmp_path / "new.toml")


@pytest.mark.parametrize("merge", ["", "nothing", "r_0"])
def test_a_merge_there_is_not_cannot_be_undone(company: Company, merge: str) -> None:
    with pytest.raises(NameRefused, match="ledger --event merge lists them"):
        undoing(house_at(company.home), merge)


def test_the_command_lists_undoes_and_plans(
    company: Company, copied: Callable[[], House], monkeypatch: Any, tmp_path: Path
) -> None:
    house = copied()
    for name, value in environ(house.settings.home).items():
        monkeypatch.setenv(name, value)
    fewer, out = tmp_path / "fewer.toml", tmp_path / "plan.json"
    fewer.write_text(FEWER, encoding="utf-8")

    def said(*words: str) -> str:
        answer = CliRunner().invoke(app, ["identity", *words], env={"COLUMNS": "200"})
        assert answer.exception is None, answer.exception
        return answer.output

    merge = company.merge["identity_event_id"][:14]
    node = undoing(house, merge).right[0]
    assert merge in said("ledger", "--event", "merge")
    assert company.merge["customer_id"] in said("as-of", node, "--known", "2026-01-04")
    assert company.merge["other_customer_id"] in said("as-of", node, "--known", "2026-01-02")
    assert "not known then" in said("as-of", node, "--known", "2025-12-31")
    assert "not known then" in said("as-of", node, "--known", "2026-01-04", "--valid", "2025-12-31")
    assert "merges that come apart again 1" in said("plan", "--undo", merge)
    assert "customers created" in said("plan", "--rules", str(fewer), "--out", str(out))
    assert json.loads(out.read_text(encoding="utf-8"))["events"]["split"] > 10
    one, other = named(house, "hubspot", 0), named(house, "crm_db", 3)
    assert "Merges 1" in said("plan", "--always-link", one, other)
    assert "Merges 0" in said("plan", "--never-link", one, other)
    assert "stands" in said("undo", merge)
    assert "undo" in said("rulings")
    with pytest.raises(WindowRefused):
        CliRunner().invoke(app, ["identity", "as-of", node, "--known", "once"], catch_exceptions=False)
    with pytest.raises(NameRefused, match="it has create, merge"):
        CliRunner().invoke(app, ["identity", "ledger", "--event", "murge"], catch_exceptions=False)
