"""Landing a window: whatever is run again, in pieces, or broken off, the table says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from etl.bronze.tables import DEAD_LETTERS, INGEST_LOG, bronze_table
from etl.connect import Connection
from etl.errors import QualityError, SourceError, SourceRefused, SourceUnreachable, WindowRefused
from etl.lake import Gathered, Lake, gathered
from etl.model import Files, Kind, Pick, Source, Stream, Table, Window
from etl.run import ingest as ingesting
from etl.run.ingest import ingest
from tests.ingest.conftest import NOW, Api, Folder, Landing

Make = Callable[..., Landing]


def thing(number: int, at: str, **more: Any) -> dict[str, Any]:
    return {"id": f"t{number:03d}", "at": at, **more}


def bronze_of(landing: Landing) -> Table:
    return bronze_table(landing.source, landing.stream)


def hours_of(day: date) -> list[Window]:
    start = Window.of_day(day).start
    return [Window(start + timedelta(hours=h), start + timedelta(hours=h + 1)) for h in range(24)]


def a_day(day: str) -> list[dict[str, Any]]:
    """A record every 37 minutes, and one on every full hour: each on the boundary of two windows."""
    moments = sorted({*range(0, 1440, 37), *range(0, 1440, 60)})
    return [thing(m, f"{day}T{m // 60:02d}:{m % 60:02d}:00Z") for m in moments]


# --- pieces and wholes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.EVENTS, Kind.ENTITY])
@pytest.mark.parametrize("pattern", ["things_{yyyymmdd}.jsonl", "things_*.jsonl"], ids=["file a day", "all files"])
def test_24_hourly_windows_make_one_day(
    kind: Kind, pattern: str, from_files: Make, folder: Folder, tmp_path: Any
) -> None:
    folder.lines("things_20260102.jsonl", *a_day("2026-01-02"))
    daily, hourly = from_files(kind, pattern=pattern), from_files(kind, pattern=pattern)
    hourly.lake = Lake(tmp_path / "hourly", fsync=False)
    daily.run("2026-01-02")
    for window in reversed(hours_of(date(2026, 1, 2))):
        hourly.run(window)

    assert daily.rows().equals(hourly.rows())
    assert len(a_day("2026-01-02")) == daily.rows().height


def test_a_row_on_the_boundary_is_in_exactly_one_window(from_files: Make, folder: Folder) -> None:
    moments = ("2026-01-02T00:00:00Z", "2026-01-02 23:59:59.999999", "2026-01-03T00:00:00.000Z")
    folder.lines("all.jsonl", *(thing(number, at) for number, at in enumerate(moments, start=1)))
    things = from_files(pattern="all.jsonl")
    per_day = {day: things.run(day).rows_out for day in ("2026-01-01", "2026-01-02", "2026-01-03")}

    assert {"2026-01-01": 0, "2026-01-02": 2, "2026-01-03": 1} == per_day
    assert ["t001", "t002", "t003"] == things.ids()


def test_days_one_by_one_backwards_equal_one_long_window(from_files: Make, folder: Folder, tmp_path: Any) -> None:
    days = ["2026-01-02", "2026-01-03", "2026-01-04"]
    for day in days:
        folder.lines(f"things_{day.replace('-', '')}.jsonl", *a_day(day), "{broken")
    long, short = from_files(), from_files()
    short.lake = Lake(tmp_path / "short", fsync=False)
    long.run("2026-01-02--2026-01-04")
    for day in reversed(days):
        short.run(day)

    def dead(landing: Landing) -> list[tuple[Any, ...]]:
        return landing.lake.read(DEAD_LETTERS).select("hash", "reason", "day").collect().sort("day").rows()

    assert long.rows().equals(short.rows())
    assert dead(long) == dead(short)
    assert 3 == len(dead(long))


# --- more than memory is to hold --------------------------------------------------------------------------------------


@pytest.fixture
def small_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are many: they stand on the disk, and in files of a few rows."""
    monkeypatch.setattr(gathered, "FULL", 1_000)
    monkeypatch.setattr(ingesting, "BATCH_RECORDS", 5)


def many(numbers: Iterable[int], **more: Any) -> list[dict[str, Any]]:
    return [thing(n, f"2026-01-0{2 + n % 2}T{n % 24:02d}:00:00Z", **more) for n in numbers]


@pytest.mark.usefixtures("small_places")
@pytest.mark.parametrize("kind", list(Kind))
def test_a_window_of_many_files_is_the_same_whatever_order_it_comes_in(kind: Kind, from_api: Make, api: Api) -> None:
    things, window = from_api(kind, **({"at": None} if kind is Kind.SNAPSHOT else {})), "2026-01-02--2026-01-03"
    api.pages = [many(range(start, start + 3)) for start in range(0, 60, 3)]
    first = things.run(window)
    files = list((things.lake.root / "bronze" / "api_things").rglob("*.parquet"))
    api.pages = [list(reversed(page)) for page in reversed(api.pages)]
    second = things.run(window)

    assert (True, False) == (first.written, second.written)
    assert sorted(f"t{n:03d}" for n in range(60)) == things.ids()
    assert 10 < len(files)
    assert [] == things.lake.fsck()


@pytest.mark.usefixtures("small_places")
def test_states_of_entities_unite_over_many_files_as_over_one(from_api: Make, api: Api) -> None:
    things, window = from_api(Kind.ENTITY), "2026-01-02--2026-01-03"
    answers = [many(range(40)), many(range(30, 70)), many(range(10, 20), stage="lead") + many(range(5))]
    reports = []
    for answer in answers:
        api.pages = [answer[at : at + 4] for at in range(0, len(answer), 4)]
        reports.append(things.run(window))
    whole = from_api(Kind.ENTITY)
    whole.lake = Lake(things.lake.root.parent / "whole", fsync=False)
    api.pages = [many(range(70)) + many(range(10, 20), stage="lead")]
    whole.run(window)

    assert [(40, 0), (30, 10), (10, 5)] == [(report.rows_out, report.deduplicated) for report in reports]
    assert whole.rows().equals(things.rows())
    assert whole.lake.digests(bronze_of(whole)) == things.lake.digests(bronze_of(things))


@pytest.mark.usefixtures("small_places")
def test_an_hour_of_a_day_in_many_files_is_replaced_and_an_audit_sees_all_of_it(from_api: Make, api: Api) -> None:
    things = from_api(request={"trims": True})
    api.pages = [[thing(n, f"2026-01-02T{n % 24:02d}:30:00Z") for n in range(48)]]
    things.run("2026-01-02")
    api.pages = [[thing(n, "2026-01-02T10:31:00Z") for n in range(100, 110)]]
    seen: list[str] = []
    things.run(hours_of(date(2026, 1, 2))[10], audit=lambda _, frames: seen.extend(pl.concat(frames).collect()["_id"]))
    expected = [f"t{n:03d}" for n in [*range(48), *range(100, 110)] if n not in (10, 34)]

    assert expected == things.ids() == sorted(seen)


def test_a_place_for_rows_has_no_name_that_a_kill_could_leave(
    small_places: None, from_api: Make, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = from_api()
    api.pages = [many(range(start, start + 3)) for start in range(0, 60, 3)]
    put_down, found = Gathered._put_down, []

    def looked(self: Gathered) -> None:
        put_down(self)
        found.append([path for path in things.lake.root.rglob("*") if path.is_file() and path.name != "lake.json"])

    monkeypatch.setattr(Gathered, "_put_down", looked)
    things.run("2026-01-02--2026-01-03")

    assert 5 < len(found)
    assert [[]] * len(found) == found


# --- again ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
def test_the_same_window_again_writes_nothing(kind: Kind, from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z"), "{broken")
    things = from_files(kind)
    first = things.run("2026-01-02")
    before = {table.name: things.lake.version(table) for table in (DEAD_LETTERS, INGEST_LOG)}
    second = things.run("2026-01-02")

    assert (True, False) == (first.written, second.written)
    assert first.version == second.version
    assert before == {table.name: things.lake.version(table) for table in (DEAD_LETTERS, INGEST_LOG)}


@pytest.mark.parametrize(
    ("kind", "left"), [(Kind.EVENTS, []), (Kind.REPORT, []), (Kind.SNAPSHOT, []), (Kind.ENTITY, ["t001"])]
)
def test_an_empty_answer_empties_what_is_replaced_and_keeps_the_history_of_entities(
    kind: Kind, left: list[str], from_files: Make, folder: Folder
) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z"))
    things = from_files(kind)
    things.run("2026-01-02")
    folder.lines("things_20260102.jsonl")
    things.run("2026-01-02")

    assert left == things.ids()


def test_an_entity_keeps_every_state_it_was_seen_in(from_files: Make, folder: Folder) -> None:
    things = from_files(Kind.ENTITY, cursor=Pick("at", "timestamp"))
    for stage in ("lead", "customer", "lead"):
        folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z", stage=stage))
        things.run("2026-01-02")

    assert 2 == things.rows().height


def test_a_restated_day_is_replaced_when_the_next_day_runs(from_files: Make, folder: Folder) -> None:
    things = from_files(Kind.REPORT, restate_days=2)
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02", clicks=5))
    things.run("2026-01-02")
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02", clicks=7))
    folder.lines("things_20260104.jsonl", thing(2, "2026-01-04", clicks=1))
    things.run("2026-01-04")

    assert ['{"id": "t001", "at": "2026-01-02", "clicks": 7}', '{"id": "t002", "at": "2026-01-04", "clicks": 1}'] == (
        things.rows()["_payload"].to_list()
    )


def test_a_report_has_no_hours(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02"))
    things = from_files(Kind.REPORT)
    for window in hours_of(date(2026, 1, 2)):
        things.run(window)

    assert ["t001"] == things.ids()


def test_a_snapshot_is_of_the_last_day(from_files: Make, folder: Folder) -> None:
    folder.lines("all.jsonl", {"id": 1}, {"id": 2})
    things = from_files(Kind.SNAPSHOT, pattern="all.jsonl", at=None)
    things.run("2026-01-02--2026-01-05")

    assert [date(2026, 1, 5)] * 2 == things.rows()["day"].to_list()


def test_what_lies_in_an_hour_is_replaced_and_the_rest_of_the_day_stays(from_files: Make, folder: Folder) -> None:
    things = from_files()
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:30:00Z"), thing(2, "2026-01-02T11:30:00Z"))
    things.run("2026-01-02")
    folder.lines("things_20260102.jsonl", thing(3, "2026-01-02T10:31:00Z"))
    things.run(hours_of(date(2026, 1, 2))[10])

    assert ["t002", "t003"] == things.ids()


# --- broken off -------------------------------------------------------------------------------------------------------


def test_a_page_that_fails_leaves_the_old_version(from_api: Make, api: Api) -> None:
    things = from_api()
    api.pages = [[thing(n, "2026-01-02T10:00:00Z")] for n in range(5)]
    things.run("2026-01-02")
    api.pages = [[thing(n, "2026-01-02T10:00:00Z")] for n in range(10, 15)]
    api.trouble = {3: (400, '{"message": "no such page"}')}

    with pytest.raises(SourceError, match="no such page"):
        things.run("2026-01-02")
    assert [f"t{n:03d}" for n in range(5)] == things.ids()
    assert 1 == things.lake.read(INGEST_LOG).collect().height
    assert [] == [finding for finding in things.lake.fsck() if finding]


def test_a_page_cut_short_on_its_way_is_asked_for_again(from_api: Make, api: Api) -> None:
    things = from_api()
    api.pages = [[thing(0, "2026-01-02T10:00:00Z")]]
    answers = iter([(200, '{"data": [{"id'), (500, "")])
    whole = api.answer
    api.answer = lambda number: next(answers, None) or whole(number)  # type: ignore[method-assign]
    things.run("2026-01-02")

    assert ["t000"] == things.ids()


def test_an_audit_that_says_no_leaves_the_old_version(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z"))
    things = from_files()
    things.run("2026-01-02")
    folder.lines("things_20260102.jsonl", thing(2, "2026-01-02T10:00:00Z"))

    def no(_table: Table, frames: Sequence[pl.LazyFrame]) -> None:
        assert ["t002"] == pl.concat(frames).collect()["_id"].to_list()
        raise QualityError("not like this")

    with pytest.raises(QualityError):
        things.run("2026-01-02", audit=no)
    assert ["t001"] == things.ids()
    assert [] == things.lake.fsck()


def test_newest_first_answers_are_read_until_they_are_too_old(from_api: Make, api: Api) -> None:
    things = from_api(request={"trims": True, "newest_first": True})
    api.pages = [[thing(n, f"2026-01-{n:02d}T10:00:00Z")] for n in range(9, 0, -1)]
    report = things.run("2026-01-06--2026-01-07")

    assert ["t006", "t007"] == things.ids()
    assert [0, 1, 2, 3, 4] == api.asked
    assert (5, 2, 3) == (report.rows_in, report.rows_out, report.filtered)


def test_an_entity_that_changed_while_it_was_read_waits_for_its_own_window(from_api: Make, api: Api) -> None:
    things = from_api(Kind.ENTITY)
    api.pages = [[thing(1, "2026-01-02T10:00:00Z"), thing(2, "2026-01-03T00:00:01Z")]]
    report = things.run("2026-01-02")

    assert (["t001"], 1, 0) == (things.ids(), report.filtered, report.quarantined)


def test_true_repeats_in_a_file_keep_ids_of_their_own(from_files: Make, folder: Folder) -> None:
    line = thing(1, "2026-01-02T10:00:00Z")
    folder.lines("all.jsonl", line, line, thing(2, "2026-01-01T10:00:00Z"), line)
    things = from_files(pattern="all.jsonl", ordinal_id=True)
    things.run("2026-01-02")

    assert ["t001:0", "t001:1", "t001:3"] == things.ids()


def test_an_id_of_several_parts_cannot_be_taken_for_another(from_files: Make, folder: Folder) -> None:
    at = "2026-01-02T10:00:00Z"
    folder.lines("all.jsonl", {"a": "x:y", "b": "z", "at": at}, {"a": "x", "b": "y:z", "at": at}, {"a": "x", "at": at})
    things = from_files(pattern="all.jsonl", id=("a", "b"))
    report = things.run("2026-01-02")

    assert ["x%3Ay:z", "x:y%3Az"] == things.ids()
    assert 1 == report.quarantined


def test_a_record_without_an_id_of_its_own_is_known_by_its_content(from_files: Make, folder: Folder) -> None:
    folder.lines("all.jsonl", thing(1, "2026-01-02T10:00:00Z"))
    things = from_files(pattern="all.jsonl", id=())
    things.run("2026-01-02")

    assert things.rows()["_hash"].to_list() == things.ids()


def test_a_list_of_deletes_speaks_for_the_stream_it_deletes_from(lake: Lake, folder: Folder) -> None:
    folder.lines("gone.jsonl", {"id": "t001", "at": "2026-01-02T10:00:00Z", "archived": True})
    gone = Stream(
        name="things_gone", kind=Kind.ENTITY, request=Files("gone.jsonl"), id=("id",), at=Pick("at", "timestamp"),
        deleted=Pick("archived", "bool"), speaks_for="things",
    )  # fmt: skip
    things = Stream(name="things", kind=Kind.ENTITY, request=Files("x"), id=("id",), at=Pick("at", "timestamp"))
    source = Source(name="files", title="Files", streams=(gone, things))
    landing = Landing(lake, source, str(folder.path))
    landing.run("2026-01-02")

    assert [("things", "delete")] == landing.rows().select("_stream", "_op").rows()


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_every_record_that_cannot_be_landed_is_a_dead_letter_with_its_reason(from_api: Make, api: Api) -> None:
    things = from_api()
    api.pages = [
        [
            thing(1, "2026-01-02T10:00:00Z"),
            {"at": "2026-01-02T10:00:00Z"},
            {"id": " ", "at": "2026-01-02T11:00:00Z"},
            {"id": "t004"},
            {"id": "t005", "at": "yesterday"},
            thing(6, "2026-01-01T23:59:59Z"),
            ["no", "object"],
            "text",
        ]
    ]
    report = things.run("2026-01-02")
    dead = things.lake.read(DEAD_LETTERS).collect().sort("raw")

    assert {
        '["no", "object"]': "unreadable_json",
        '"text"': "unreadable_json",
        '{"at": "2026-01-02T10:00:00Z"}': "no_id",
        '{"id": " ", "at": "2026-01-02T11:00:00Z"}': "no_id",
        '{"id": "t004"}': "no_time",
        '{"id": "t005", "at": "yesterday"}': "no_time",
        '{"id": "t006", "at": "2026-01-01T23:59:59Z"}': "outside_window",
    } == dict(dead.select("raw", "reason").rows())
    assert {("api", "things", date(2026, 1, 2), 1)} == set(dead.select("source", "stream", "day", "page").rows())
    assert (8, 1, 7) == (report.rows_in, report.rows_out, report.quarantined)


def test_a_file_of_a_day_holds_that_day(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z"))
    folder.lines("things_20260103.jsonl", thing(2, "2026-01-02T23:00:00Z"))
    things = from_files()
    things.run("2026-01-02--2026-01-03")

    assert ["t001"] == things.ids()
    assert ["outside_window"] == things.lake.read(DEAD_LETTERS).collect()["reason"].to_list()


def test_too_many_dead_letters_stop_the_landing(from_files: Make, folder: Folder) -> None:
    good = [thing(n, "2026-01-02T10:00:00Z") for n in range(100)]
    folder.lines("things_20260102.jsonl", *good, *[f"{{broken {n}" for n in range(21)])
    things = from_files()

    with pytest.raises(SourceError, match=r"21 of 121 records cannot be landed, mostly unreadable_json \(21\)"):
        things.run("2026-01-02")
    assert things.version() is None
    assert not things.lake.exists(DEAD_LETTERS)


def test_no_payload_stands_in_a_message(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", *[f"{{canary-{n}@example.org" for n in range(30)])

    with pytest.raises(SourceError) as caught:
        from_files().run("2026-01-02")
    assert "canary" not in str(caught.value)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_window_the_source_no_longer_knows_is_refused(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl")
    things = from_files(max_age_days=10)

    with pytest.raises(WindowRefused, match="keeps 10 days"):
        things.run("2026-01-02")
    assert 0 == things.run("2026-01-30").rows_in


def test_a_day_without_its_file_has_no_rows_but_a_missing_folder_is_no_answer(from_files: Make, folder: Folder) -> None:
    with pytest.raises(SourceUnreachable, match="there is no folder"):
        from_files().run("2026-01-02")
    folder.lines("things_20260101.jsonl")

    assert 0 == from_files().run("2026-01-02").rows_in


def test_an_http_source_without_a_secret_is_refused_before_it_is_asked(from_api: Make, api: Api) -> None:
    things = from_api()
    window = Window.parse("2026-01-02")

    with pytest.raises(SourceRefused, match="no secret"):
        ingest(things.lake, things.source, things.stream, Connection(api.url), window, run_id="r", now=NOW)
    assert [] == api.asked


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_log_has_a_line_for_every_window_that_landed_even_an_empty_one(from_files: Make, folder: Folder) -> None:
    folder.lines("things_20260102.jsonl", thing(1, "2026-01-02T10:00:00Z"), "{broken")
    things = from_files()
    for day in ("2026-01-02", "2026-01-03", "2026-01-03"):
        things.run(day)
    log = things.lake.read(INGEST_LOG).collect().sort("window_start")

    assert [
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC), 1, 1, 1, "run-1"),
        (datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC), 0, 0, 0, "run-2"),
    ] == log.select("window_start", "window_end", "row_count", "dead_count", "page_count", "run_id").rows()


def test_progress_is_told_as_pages_come_in(from_api: Make, api: Api) -> None:
    things = from_api()
    api.pages = [[thing(n, "2026-01-02T10:00:00Z")] for n in range(3)]
    heard: list[int] = []
    things.run("2026-01-02", progress=heard.append)

    assert [1, 2, 3] == heard
