"""What makes an answer less than whole reaches whoever looks after the source: the report, the log, `c360 sources`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from etl.bronze.tables import INGEST_LOG
from etl.connect import Note
from etl.lake import Lake
from etl.model import Ask, Kind, Line, Own, Pick, Source, Stream, Window
from etl.run import overview
from etl.run.house import open_house
from etl.run.report import shortfalls
from etl.settings import SourceSettings, load_settings
from tests.ingest.conftest import Api, Landing

DAYS = "2026-01-02--2026-01-03"


def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Three posts, some of them gone, each saying whether it was counted from a sample, on the days of the window."""
    for number in range(3):
        told = line.ask(Ask("/things", records="data", params={"after": str(number)}))
        yield told.records
        for day in window.days if any(json.loads(one).get("sampled") for one in told.records) else ():
            line.note("counted from a sample", Window.of_day(day))


POSTS = Stream("posts", Kind.EVENTS, Own(read), id=("id",), at=Pick("at", "timestamp"))
NETWORK = Source("network", "Network", (POSTS,))


def post(number: int, **more: object) -> dict[str, object]:
    return {"id": number, "at": "2026-01-02T10:00:00Z", **more}


@pytest.fixture
def network(lake: Lake, api: Api) -> Landing:
    """A network whose second post is gone, and whose third was counted from a sample."""
    api.pages = [[post(1)], [post(2)], [post(3, sampled=True)]]
    api.trouble = {1: (410, '{"message": "gone"}')}
    return Landing(lake, NETWORK, api.url)


SKIPPED = "network.posts 2026-01-02--2026-01-03: 1 skipped: what was asked for is gone, or not ours to see"
SAMPLED = "network.posts 2026-01-02--2026-01-03: counted from a sample: 2026-01-02, 2026-01-03"


def test_what_was_skipped_and_what_was_noted_are_a_warning_each(network: Landing) -> None:
    report = network.run(DAYS)

    assert (2, (SKIPPED, SAMPLED)) == (report.rows_out, report.warnings)


def test_a_whole_answer_warns_of_nothing(network: Landing, api: Api) -> None:
    api.trouble, api.pages = {}, [[post(number)] for number in range(3)]

    assert () == network.run(DAYS).warnings


def test_the_ingest_log_keeps_the_number_and_the_warning(network: Landing) -> None:
    network.run(DAYS)
    (line,) = network.lake.read(INGEST_LOG).collect().to_dicts()

    assert (1, f"{SKIPPED}; {SAMPLED}") == (line["skipped_count"], line["warning"])


def test_the_log_hears_when_the_same_rows_come_with_another_warning_and_else_nothing(
    network: Landing, api: Api
) -> None:
    network.run(DAYS)
    network.run(DAYS)
    lines = [network.lake.read(INGEST_LOG).collect().height]
    # What is gone is now empty: no row is another, and nothing was skipped.
    api.trouble = {1: (200, '{"data": []}')}
    for _ in range(2):
        assert not network.run(DAYS).written
        lines.append(network.lake.read(INGEST_LOG).collect().height)

    assert [1, 2, 2] == lines
    assert [1, 0] == network.lake.read(INGEST_LOG).collect().sort("run_id")["skipped_count"].to_list()


def test_the_list_of_sources_says_it_of_the_last_window(network: Landing, tmp_path: Path) -> None:
    network.run("2026-01-01")
    network.run(DAYS)
    opened = open_house(load_settings({"C360_HOME": str(tmp_path)}, cwd=tmp_path), {"network": SourceSettings()})
    house = replace(opened, lake=network.lake, catalog=replace(opened.catalog, sources=(NETWORK,)))
    standing = next(each for each in overview.standings(house, today=date(2026, 1, 4)) if each.source == "network")

    assert f"{SKIPPED}; {SAMPLED}" == standing.warning == standing.told()["warning"]


def test_many_windows_of_one_note_are_counted() -> None:
    notes = [Note("cut off", Window.of_day(date(2026, 1, day))) for day in (9, 2, 3, 4, 5, 2)]

    assert ["ga.traffic: cut off: 2026-01-02, 2026-01-03, 2026-01-04 and 2 more"] == list(
        shortfalls("ga.traffic", 0, notes)
    )
