"""The commands about sources: what they list, what they ask, and how they fill what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from etl.__main__ import app
from etl.bronze.tables import INGEST_LOG
from etl.errors import NameRefused
from etl.lake import Lake
from etl.model import Window
from etl.run import overview
from etl.run.house import House
from etl.run.pipeline import Outcome, State
from etl.settings import SourceSettings
from etl.sources import BUILTIN
from tests.conftest import ROOT
from tests.pipeline.conftest import company_at, settings_at

TODAY = date(2026, 2, 1)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
DAYS = Window.parse("2026-01-01--2026-01-08")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with company_at(settings_at(tmp_path_factory.mktemp("overview"), C360_DEMO_PEOPLE="20")) as house:
        yield house


@pytest.fixture
def house(company: House, tmp_path: Path) -> House:
    """The demo company on the line, with an empty lake and a state folder of its own."""
    return replace(
        company, lake=Lake(tmp_path / "lake", fsync=False), settings=replace(company.settings, home=tmp_path)
    )


def fill(house: House, name: str, days: str, *streams: str, **options: object) -> list[Outcome]:
    source, window = house.catalog.source(name), Window.parse(days)
    steps = overview.plan(house, source, streams, window, **options)  # type: ignore[arg-type]
    notes = overview.notes_of(house, source, streams, window, str(options.get("every", "day")))
    return overview.fill(house, source, steps, notes, run_id="test", now=NOW)


def keys(steps: list[overview.Step]) -> list[tuple[str, str]]:
    return [(stream, window.key) for stream, window in steps]


def standing(house: House, source: str, stream: str) -> overview.StreamStanding:
    found = {(each.source, each.stream): each for each in overview.standings(house, today=TODAY)}
    return found[source, stream]


# --- days -------------------------------------------------------------------------------------------------------------


def test_24_hours_are_a_landed_day_and_23_are_none() -> None:
    start = Window.of_day(date(2026, 1, 2)).start
    hours = [Window(start.replace(hour=hour), start.replace(hour=hour + 1)) for hour in range(23)]

    assert [] == overview.landed_days(hours)
    last = Window(start.replace(hour=23), Window.of_day(date(2026, 1, 3)).start)
    assert [date(2026, 1, 2)] == overview.landed_days([last, *hours])


@pytest.mark.parametrize(
    ("every", "cut"),
    [
        ("day", ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02"]),
        ("week", ["2026-01-30--2026-02-01", "2026-02-02"]),
        ("month", ["2026-01-30--2026-01-31", "2026-02-01--2026-02-02"]),
    ],
)
def test_a_backfill_is_cut_at_midnight_mondays_or_months(every: str, cut: list[str]) -> None:
    assert cut == [window.key for window in overview.pieces(Window.parse("2026-01-30--2026-02-02"), every)]


def test_days_are_shown_as_the_stretches_they_lie_in() -> None:
    days = [date(2026, 1, day) for day in (2, 3, 4, 7)]

    assert "4: 2026-01-02--2026-01-04, 2026-01-07" == overview.shown_days(days)


# --- c360 sources -----------------------------------------------------------------------------------------------------


def test_every_declared_stream_is_listed_the_active_ones_first(house: House) -> None:
    only = replace(house, catalog=replace(house.catalog, sources=house.catalog.sources[3:4]))
    found = overview.standings(only, today=TODAY)
    active = [each.is_active for each in found]

    assert {(source.name, stream.name) for source in BUILTIN for stream in source.streams} == {
        (each.source, each.stream) for each in found
    }
    assert active == sorted(active, reverse=True)
    assert any(active)
    assert not all(active)


def test_gaps_lag_and_last_window_come_from_the_ingest_log(house: House) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-05"):
        fill(house, "ga4", day)
    ga4, never = standing(house, "ga4", "events"), standing(house, "klaviyo", "events")

    assert ("2026-01-05", (date(2026, 1, 3), date(2026, 1, 4)), 3) == (ga4.last_window, ga4.gaps, ga4.lag_days)
    assert ("", (), None) == (never.last_window, never.gaps, never.lag_days)
    assert ["2026-01-03", "2026-01-04"] == ga4.told()["gaps"]
    assert json.dumps(ga4.told())


def test_the_quota_is_the_declared_one_and_files_have_none(house: House) -> None:
    limits = house.catalog.source("klaviyo").limits

    assert "" == standing(house, "ga4", "events").quota
    assert f"{limits.requests} per {limits.seconds:g} s, {limits.concurrency} at once" == (
        standing(house, "klaviyo", "events").quota
    )


# --- c360 sources check -----------------------------------------------------------------------------------------------


def test_every_source_of_the_demo_answers_and_nothing_is_written(house: House) -> None:
    said = {
        f"{source.name}.{each.stream}": each
        for source in house.catalog.sources
        for each in overview.check(house, source.name, now=NOW)
    }

    assert [] == [name for name, each in said.items() if not each.is_ok]
    assert "records on the first page of 2026-01-08" in said["ga4.events"].said
    assert None is house.lake.version(INGEST_LOG)
    assert [] == list(house.lake.root.rglob("_delta_log"))


def test_a_wrong_secret_is_said_in_the_vendors_words_and_not_shown(house: House) -> None:
    wrong = replace(house.reached["hubspot"], secret="wrong-secret-0123456789")
    told = list(overview.check(replace(house, reached={**house.reached, "hubspot": wrong}), "hubspot", now=NOW))

    assert {False} == {each.is_ok for each in told}
    assert all("hubspot" in each.said and "\n" not in each.said for each in told)
    assert "wrong-secret" not in repr(told)


def test_a_folder_that_is_not_there_is_said(house: House, tmp_path: Path) -> None:
    lost = SourceSettings(base_url=str(tmp_path / "nowhere"))
    told = list(overview.check(replace(house, reached={**house.reached, "ga4": lost}), "ga4", now=NOW))

    assert [False] * len(told) == [each.is_ok for each in told]


def test_a_source_nobody_activated_is_refused_by_name(house: House) -> None:
    with pytest.raises(NameRefused, match="did you mean hubspot"):
        list(overview.check(house, "hubspott", now=NOW))


# --- c360 backfill ----------------------------------------------------------------------------------------------------


def test_windows_are_filled_day_by_day_with_every_stream_of_the_source(house: House) -> None:
    klaviyo = house.catalog.source("klaviyo")
    names = [stream.name for stream in klaviyo.streams]
    steps = overview.plan(house, klaviyo, (), Window.parse("2026-01-02--2026-01-03"))

    assert [(name, day) for day in ("2026-01-02", "2026-01-03") for name in names] == keys(steps)
    assert keys(steps)[:1] == keys(overview.plan(house, klaviyo, names[:1], Window.parse("2026-01-02")))


def test_an_unknown_stream_or_length_is_refused(house: House) -> None:
    klaviyo = house.catalog.source("klaviyo")

    with pytest.raises(NameRefused, match="has no stream"):
        overview.plan(house, klaviyo, ["evens"], DAYS)
    with pytest.raises(NameRefused, match="day, week, month"):
        overview.plan(house, klaviyo, (), DAYS, every="year")


def test_a_backfill_lands_what_daily_runs_land(house: House, tmp_path: Path) -> None:
    other = replace(house, lake=Lake(tmp_path / "other", fsync=False))
    done = fill(house, "ga4", "2026-01-01--2026-01-08")
    fill(other, "ga4", "2026-01-01--2026-01-08", every="month")
    table = house.catalog.bronze["bronze.ga4_events"][2]
    one, whole = (each.lake.read(table).select("_hash", "day").collect().sort(pl.all()) for each in (house, other))

    assert {State.DONE} == {each.state for each in done}
    assert one.equals(whole)
    assert one.height > 0


def test_only_the_gaps_of_each_stream_are_filled(house: House) -> None:
    fill(house, "ga4", "2026-01-02")
    fill(house, "ga4", "2026-01-05--2026-01-06")
    ga4 = house.catalog.source("ga4")
    lacking = overview.plan(house, ga4, ["events"], DAYS, every="month", only_gaps=True)

    assert ["2026-01-01", "2026-01-03--2026-01-04", "2026-01-07--2026-01-08"] == [w.key for _, w in lacking]
    fill(house, "ga4", DAYS.key, "events", every="month", only_gaps=True)
    assert [] == overview.plan(house, ga4, ["events"], DAYS, only_gaps=True)


def test_a_broken_off_backfill_goes_on_where_it_stopped(house: House) -> None:
    ga4 = house.catalog.source("ga4")
    steps = overview.plan(house, ga4, ["events"], DAYS)
    notes = overview.notes_of(house, ga4, ["events"], DAYS, "day")

    def third(outcome: Outcome) -> None:
        if outcome.window == "2026-01-03":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        overview.fill(house, ga4, steps, notes, run_id="one", now=NOW, progress=third)
    assert 3 == len(notes.read()[1])
    rest = overview.fill(house, ga4, steps, notes, run_id="two", now=NOW)

    assert [f"2026-01-0{day}" for day in (4, 5, 6, 7, 8)] == [each.window for each in rest]
    assert ("", frozenset()) == notes.read()


def test_a_window_that_fails_stops_its_stream_and_is_tried_again_next_time(house: House, tmp_path: Path) -> None:
    lost = {**house.reached, "ga4": SourceSettings(base_url=str(tmp_path / "nowhere"))}
    broken = fill(replace(house, reached=lost), "ga4", "2026-01-01--2026-01-03", "events")
    mended = fill(house, "ga4", "2026-01-01--2026-01-03", "events")

    assert [State.FAILED, State.STOPPED, State.STOPPED] == [each.state for each in broken]
    assert ["waits for 2026-01-01"] * 2 == [each.why for each in broken[1:]]
    assert [State.DONE] * 3 == [each.state for each in mended]


def test_a_window_too_old_is_named_and_the_later_ones_are_filled(house: House) -> None:
    age = (datetime.now(UTC) - datetime(2026, 1, 2, tzinfo=UTC)).days
    source = house.catalog.source("ga4")
    young = tuple(replace(stream, max_age_days=age) for stream in source.streams)
    catalog = replace(house.catalog, sources=(replace(source, streams=young),))
    ended = fill(replace(house, catalog=catalog), "ga4", "2026-01-01--2026-01-04", "events")

    assert [State.FAILED] * 2 + [State.DONE] * 2 == [each.state for each in ended][:4]
    assert "choose a later window" in ended[0].why


# --- the commands -----------------------------------------------------------------------------------------------------


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *arguments],
        cwd=folder,
        env={**environ, "C360_DEMO_PEOPLE": "20", "C360_DEMO_DAYS": "8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_backfill_with_a_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = ("backfill", "ga4", "--from", "2026-01-01", "--to", "2026-01-08", "--no-build")
    broken = started(tmp_path, *command)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("var/backfills/*.json")) and time.monotonic() < until and broken.poll() is None:
        time.sleep(0.005)
    broken.send_signal(signal.SIGINT)
    out, err = broken.communicate(timeout=60)

    assert (130, "") == (broken.returncode, err)
    assert "the same command goes on" in out
    again = started(tmp_path, *command)
    out, err = again.communicate(timeout=60)
    assert (0, "") == (again.returncode, err)
    assert "going on: " in out
    home = {"C360_HOME": str(tmp_path / "var"), "C360_DEMO_DAYS": "8"}
    listed = json.loads(CliRunner().invoke(app, ["sources", "--json"], env=home).stdout)
    streams = {(each["source"], each["stream"]): each for each in listed}
    assert (0, "2026-01-08", []) == tuple(streams["ga4", "events"][name] for name in ("lag_days", "last_day", "gaps"))


def test_check_ends_with_2_when_a_stream_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(
        '[company]\nname = "acme"\nfirst_day = 2026-01-01\n[sources.ga4]\nbase_url = "nowhere"\n'
    )
    asked = started(tmp_path, "sources", "check", "ga4")
    out, err = asked.communicate(timeout=60)

    assert (2, "") == (asked.returncode, err)
    assert out.startswith("ga4.events: ")
    assert 1 == len(out.splitlines())
