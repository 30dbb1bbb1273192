"""What a lake promises one writer: what goes in comes out, typed; what does not fit is refused; nothing twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from etl.errors import LakeDamaged, LakeError, LakeTooNew, NameRefused, SchemaError, VersionMoved
from etl.lake import Lake, StagedFile
from etl.model import Column, Type
from tests.lake.tables import COUNTS, MARKS, VISITS, counts, day, mark, visits


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def landed(lake: Lake, rows: pl.DataFrame, load_id: str = "load-1", **how: object) -> object:
    return lake.commit(VISITS, lake.stage(VISITS, rows), load_id=load_id, **how)


def test_what_was_committed_is_read_back_in_every_type(lake: Lake) -> None:
    rows = pl.concat([visits(range(50), 1), visits(range(50, 80), 2)])

    landed(lake, rows)
    actual = lake.read(VISITS).collect().sort("visit_id")

    assert_frame_equal(actual, rows)


def test_a_table_nobody_wrote_reads_as_empty_and_typed(lake: Lake) -> None:
    actual = lake.read(VISITS)

    assert not lake.exists(VISITS)
    assert lake.version(VISITS) is None
    assert_frame_equal(actual.collect(), visits(range(0), 1))


def test_duckdb_polars_and_deltalake_read_the_same_rows(lake: Lake) -> None:
    import duckdb
    from deltalake import DeltaTable

    landed(lake, pl.concat([visits(range(50), 1), visits(range(50, 80), 2)]))
    landed(lake, visits(range(100, 120), 2), load_id="load-2")
    folder = lake.root / "silver" / "visits"
    expected = lake.read(VISITS).collect().sort("visit_id")

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    import duckdb_extensions

    duckdb_extensions.import_extension("delta", con=connection)
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    query = f"select * from delta_scan('{folder.as_uri()}') where visited_at >= '2026-01-01 00:00:00+00'"
    from_duckdb = pl.DataFrame(connection.execute(query).to_arrow_table()).select(expected.columns)
    from_polars = pl.scan_delta(str(folder)).collect().select(expected.columns)
    from_deltalake = pl.DataFrame(DeltaTable(str(folder)).to_pyarrow_table()).select(expected.columns)

    for actual in (from_duckdb, from_polars, from_deltalake):
        assert_frame_equal(actual.sort("visit_id"), expected)


@pytest.mark.parametrize(
    "condition", ["visit_id = 3", "page_path = '/p3'", "seconds > 16", "visited_at > '2026-01-01 20:00:00+00'"]
)
def test_statistics_in_the_log_never_hide_a_row_from_sql(lake: Lake, condition: str) -> None:
    import duckdb
    import duckdb_extensions

    rows = visits(range(50), 1)
    landed(lake, rows)
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    duckdb_extensions.import_extension("delta", con=connection)
    connection.execute("LOAD delta; SET TimeZone = 'UTC'")
    connection.register("plain", rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
    folder = (lake.root / "silver" / "visits").as_uri()
    expected = connection.execute(f"select visit_id from plain where {condition} order by 1").fetchall()
    actual = connection.execute(f"select visit_id from delta_scan('{folder}') where {condition} order by 1").fetchall()

    assert expected
    assert expected == actual


def test_a_window_replaces_its_days_and_nothing_else(lake: Lake) -> None:
    landed(lake, pl.concat([visits(range(10), 1), visits(range(10, 20), 2), visits(range(20, 30), 3)]))

    staged = lake.stage(VISITS, visits(range(100, 103), 2), days=[day(1), day(2)])
    commit = lake.commit(VISITS, staged, load_id="load-2")

    assert commit.written
    assert lake.days(VISITS) == (day(2), day(3))
    assert sorted(lake.read(VISITS).collect()["visit_id"]) == [*range(20, 30), *range(100, 103)]
    assert lake.read(VISITS, days=[day(2)]).collect()["visit_id"].to_list() == [100, 101, 102]
    assert lake.rows(VISITS) == 13


def test_an_empty_answer_empties_its_day(lake: Lake) -> None:
    landed(lake, visits(range(10), 1))

    commit = lake.commit(VISITS, lake.stage(VISITS, visits(range(0), 1), days=[day(1)]), load_id="load-2")

    assert commit.written
    assert lake.read(VISITS).collect().height == 0
    assert lake.days(VISITS) == ()


def test_the_same_rows_twice_write_nothing_in_any_order(lake: Lake) -> None:
    rows = pl.concat([visits(range(10), 1), visits(range(10, 20), 2)])
    first = landed(lake, rows)
    files = sorted((lake.root / "silver").rglob("*"))

    again = landed(lake, rows.reverse(), load_id="load-2")

    assert (first.written, again.written) == (True, False)
    assert (first.version, again.version) == (0, 0)
    assert sorted((lake.root / "silver").rglob("*")) == files


def test_only_the_days_that_changed_are_written(lake: Lake) -> None:
    landed(lake, pl.concat([visits(range(10), 1), visits(range(10, 20), 2)]))
    before = set((lake.root / "silver" / "visits" / "day=2026-01-01").iterdir())

    commit = landed(lake, pl.concat([visits(range(10), 1), visits(range(10, 21), 2)]), load_id="load-2")

    assert (commit.written, commit.rows) == (True, 21)
    assert set((lake.root / "silver" / "visits" / "day=2026-01-01").iterdir()) == before


def test_a_volatile_column_alone_is_no_change(lake: Lake) -> None:
    rows = visits(range(10), 1)
    lake.commit(VISITS, lake.stage(VISITS, rows, volatile=["run_id"]), load_id="load-1")

    other_run = visits(range(10), 1, run_id="run-2")
    staged = lake.stage(VISITS, other_run, volatile=["run_id"])
    again = lake.commit(VISITS, staged, load_id="load-2")
    said_late = lake.commit(VISITS, lake.stage(VISITS, other_run), load_id="load-3", volatile=["run_id"])
    counted = lake.commit(VISITS, lake.stage(VISITS, other_run), load_id="load-4")

    assert [again.written, said_late.written, counted.written] == [False, False, True]


@pytest.mark.parametrize(
    "changed",
    [
        {"email": None},
        {"tags": [""]},
        {"tags": []},
        {"seconds": 0.5},
        {"cost_amount": None},
        {"is_bot": None},
        {"birth_date": None},
        {"visited_at": None},
        {"page_path": ""},
    ],
    ids=lambda changed: next(iter(changed)) + "=" + str(next(iter(changed.values()))),
)
def test_any_changed_value_is_a_change(lake: Lake, changed: dict[str, object]) -> None:
    landed(lake, visits(range(1, 9), 1))
    odd = pl.concat([visits(range(1, 8), 1), visits(range(8, 9), 1, **changed)])

    assert landed(lake, odd, load_id="load-2").written


def test_null_and_empty_are_different_content(lake: Lake) -> None:
    landed(lake, visits(range(3), 1, page_path=None, tags=None))

    assert landed(lake, visits(range(3), 1, page_path="", tags=None), load_id="load-2").written
    assert landed(lake, visits(range(3), 1, page_path="", tags=[]), load_id="load-3").written
    assert landed(lake, visits(range(3), 1, page_path="", tags=[None]), load_id="load-4").written


def test_an_append_lands_once_whoever_repeats_it(lake: Lake) -> None:
    for _ in range(3):
        lake.commit(VISITS, lake.stage(VISITS, visits(range(5), 1)), replaces="nothing", load_id="load-1")
    other = lake.commit(VISITS, lake.stage(VISITS, visits(range(5, 8), 1)), replaces="nothing", load_id="load-2")

    assert other == type(other)("silver.visits", 1, 3, written=True)
    assert sorted(lake.read(VISITS).collect()["visit_id"]) == list(range(8))
    assert lake.fsck() == []


def test_a_table_in_one_piece_is_replaced_whole(lake: Lake) -> None:
    lake.commit(COUNTS, lake.stage(COUNTS, counts(a=1, b=2)), load_id="load-1")
    lake.commit(COUNTS, lake.stage(COUNTS, counts(c=3)), load_id="load-2")
    emptied = lake.commit(COUNTS, lake.stage(COUNTS, counts()), load_id="load-3")

    assert (emptied.version, emptied.written) == (2, True)
    assert lake.read(COUNTS).collect().height == 0
    assert lake.exists(COUNTS)
    assert lake.read(COUNTS, version=0).collect().sort("name").rows() == [("a", 1), ("b", 2)]


def test_an_empty_first_commit_makes_the_table(lake: Lake) -> None:
    first = lake.commit(COUNTS, lake.stage(COUNTS, counts()), load_id="load-1")
    again = lake.commit(COUNTS, lake.stage(COUNTS, counts()), load_id="load-2")

    assert (first.written, again.written) == (True, False)
    assert lake.exists(COUNTS)


def test_files_written_in_threads_are_committed_in_one_version(lake: Lake) -> None:
    with ThreadPoolExecutor(4) as threads:
        files = list(
            threads.map(
                lambda number: lake.write_file(MARKS, mark(number, 1, 1 + number % 3, rows=100), day(1 + number % 3)),
                range(12),
            )
        )

    commit = lake.commit(MARKS, files, load_id="load-1")

    assert (commit.version, commit.rows) == (0, 1200)
    assert lake.read(MARKS).collect().height == 1200
    assert lake.fsck() == []


def test_staged_rows_are_invisible_until_committed_and_can_be_discarded(lake: Lake) -> None:
    landed(lake, visits(range(10), 1))
    staged = lake.stage(VISITS, visits(range(10, 20), 2))

    invisible = lake.read(VISITS).collect().height
    lake.discard(VISITS, staged)

    assert invisible == 10
    assert lake.fsck() == []


def test_visible_files_are_never_discarded(lake: Lake) -> None:
    staged = lake.stage(VISITS, visits(range(10), 1))
    lake.commit(VISITS, staged, load_id="load-1")

    lake.discard(VISITS, staged)
    again = lake.commit(VISITS, staged, load_id="load-1")

    assert not again.written
    assert lake.read(VISITS).collect().height == 10
    with pytest.raises(LakeError, match="were committed before"):
        lake.commit(VISITS, staged, replaces="nothing", load_id="load-2")
    assert lake.read(VISITS).collect().height == 10


# --- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda rows: rows.with_columns(visit_id=pl.lit(1.5)), "column visit_id: expected Int64, came Float64"),
        (lambda rows: rows.with_columns(visit_id=pl.lit("7")), "column visit_id: expected Int64, came String"),
        (lambda rows: rows.with_columns(page_path=pl.lit(12)), "column page_path: expected String, came Int32"),
        (lambda rows: rows.drop("email"), "column email: declared, but missing"),
        (lambda rows: rows.with_columns(person1=pl.lit(1)), r"1 column\(s\) that are not declared"),
        (
            lambda rows: rows.with_columns(visit_id=pl.lit(None, dtype=pl.Int64)),
            "column visit_id: expected a value in every row, came 5 nulls in 5 rows",
        ),
        (lambda rows: rows.with_columns(visited_at=pl.col("visited_at").dt.replace_time_zone(None)), "visited_at"),
        (lambda rows: rows.with_columns(cost_amount=pl.col("cost_amount").cast(pl.Decimal(20, 2))), "cost_amount"),
        (lambda rows: rows.with_columns(seconds=pl.lit(None)), "column seconds: expected Float64, came Null"),
    ],
    ids=["1.5 into int", "'7' into int", "12 into text", "missing", "extra", "null", "naive time", "scale", "no type"],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_written(lake: Lake, broken: object, said: str) -> None:
    with pytest.raises(SchemaError, match=said) as refused:
        lake.stage(VISITS, broken(visits(range(5), 1)))

    assert str(refused.value).startswith("silver.visits: ")
    assert "canary" not in str(refused.value)
    assert not (lake.root / "silver").exists()


def test_a_row_of_another_day_is_refused(lake: Lake) -> None:
    with pytest.raises(SchemaError, match=r"first 2026-01-02; nothing was written"):
        lake.stage(VISITS, visits(range(5), 2), days=[day(1)])
    with pytest.raises(SchemaError, match=r"expected rows of 2026-01-01 only, came 5 of other days"):
        lake.write_file(VISITS, visits(range(5), 2), day(1))

    assert not (lake.root / "silver").exists()


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "_delta_log/x", "...", "a%2fb", "A", "", "x" * 64])
def test_a_name_that_is_a_path_is_refused(lake: Lake, name: str) -> None:
    class Named:
        layer, full_name = VISITS.layer, "silver.x"
        columns, partition = VISITS.columns, VISITS.partition

    Named.name = name
    with pytest.raises(NameRefused):
        lake.read(Named)  # type: ignore[arg-type]


def test_a_folder_that_leads_out_of_the_lake_is_refused(lake: Lake, tmp_path: Path) -> None:
    (lake.root / "silver").mkdir()
    (lake.root / "silver" / "visits").symlink_to(tmp_path)

    with pytest.raises(NameRefused, match="leads out of the lake"):
        lake.stage(VISITS, visits(range(1), 1))


@pytest.mark.parametrize("load_id", ["", "person@canary.example", "a\nb", "x" * 301])
def test_a_load_id_that_could_hold_personal_data_is_refused(lake: Lake, load_id: str) -> None:
    with pytest.raises(NameRefused) as refused:
        landed(lake, visits(range(1), 1), load_id=load_id)

    assert "canary" not in str(refused.value)
    assert lake.fsck() == []


# --- versions ---------------------------------------------------------------------------------------------------------


def test_rows_made_from_an_older_version_are_not_written_over_newer_ones(lake: Lake) -> None:
    lake.commit(COUNTS, lake.stage(COUNTS, counts(a=1)), load_id="load-1", expected=-1)
    lake.commit(COUNTS, lake.stage(COUNTS, counts(a=2)), load_id="load-2", expected=0)

    with pytest.raises(VersionMoved, match="made from version 0, the table is at 1"):
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=3)), load_id="load-3", expected=0)

    assert lake.read(COUNTS).collect().rows() == [("a", 2)]
    assert lake.fsck() == []


def test_an_update_is_built_again_when_another_writer_came_between(lake: Lake) -> None:
    lake.commit(COUNTS, lake.stage(COUNTS, counts(a=1)), load_id="load-1")
    seen = []

    def add_one(version: int | None) -> object:
        seen.append(version)
        now = lake.read(COUNTS, version=version).collect()
        if len(seen) == 1:
            lake.commit(COUNTS, lake.stage(COUNTS, counts(a=10)), load_id="between")
        return lake.stage(COUNTS, now.with_columns(pl.col("count") + 1))

    commit = lake.update(COUNTS, add_one, load_id="load-2")

    assert (seen, commit.version) == ([0, 1], 2)
    assert lake.read(COUNTS).collect().rows() == [("a", 11)]
    assert lake.fsck() == []


def test_a_version_that_is_not_there_is_said_in_one_line(lake: Lake) -> None:
    landed(lake, visits(range(1), 1))

    with pytest.raises(LakeError, match=r"silver.visits: there is no version 7; the latest is 0"):
        lake.read(VISITS, version=7)


def test_a_column_declared_later_is_null_in_older_rows(lake: Lake) -> None:
    landed(lake, visits(range(3), 1))
    wider = replace(VISITS, columns=(*VISITS.columns, Column("visit_count", Type.INT, "how many")))
    rows = visits(range(3, 5), 2).with_columns(visit_count=pl.lit(1, dtype=pl.Int64))

    before = lake.read(wider).collect()
    lake.commit(wider, lake.stage(wider, rows), load_id="load-2", expected=0)
    after = lake.read(wider).collect().sort("visit_id")

    assert before["visit_count"].to_list() == [None] * 3
    assert after["visit_count"].to_list() == [None, None, None, 1, 1]
    assert pl.scan_delta(str(lake.root / "silver" / "visits")).collect()["visit_count"].sum() == 2
    assert lake.fsck() == []


def test_a_changed_type_needs_the_table_built_whole(lake: Lake) -> None:
    lake.commit(COUNTS, lake.stage(COUNTS, counts(a=1)), load_id="load-1")
    other = replace(COUNTS, columns=(COUNTS.columns[0], Column("count", Type.STRING, "how many")))
    rows = pl.DataFrame({"name": ["a"], "count": ["one"]})

    with pytest.raises(SchemaError, match="the type of count was changed"):
        lake.commit(other, lake.stage(other, rows), replaces="nothing", load_id="load-2")
    lake.commit(other, lake.stage(other, rows), load_id="load-3")

    assert lake.read(other).collect().rows() == [("a", "one")]
    assert pl.scan_delta(str(lake.root / "gold" / "counts")).collect().rows() == [("a", "one")]
    assert lake.fsck() == []


def test_many_versions_are_checkpointed_and_stay_readable(lake: Lake) -> None:
    for turn in range(25):
        lake.commit(COUNTS, lake.stage(COUNTS, counts(a=turn)), load_id=f"load-{turn}")

    log = lake.root / "gold" / "counts" / "_delta_log"

    assert sorted(path.name[:20].lstrip("0") for path in log.glob("*.checkpoint.parquet")) == ["10", "20"]
    assert [lake.read(COUNTS, version=turn).collect().item(0, "count") for turn in (0, 10, 24)] == [0, 10, 24]
    assert lake.fsck() == []


# --- the lake itself --------------------------------------------------------------------------------------------------


def test_a_lake_of_a_newer_format_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "lake.json").write_text(json.dumps({"format": 2}))

    with pytest.raises(LakeTooNew) as refused:
        Lake(tmp_path)

    assert str(refused.value) == (
        "lake.json: this program reads lakes up to format 1, this one is format 2; update the program"
    )


@pytest.mark.parametrize("written", ["", "{", "[]", '{"format": "1"}', '{"format": 0}', '{"format": true}', "{}"])
def test_a_damaged_format_file_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "lake.json").write_text(written)

    with pytest.raises(LakeDamaged, match=r"lake\.json: expected"):
        Lake(tmp_path)


def test_a_lake_may_stand_in_a_folder_with_a_space_and_letters_of_any_script(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "our läke")

    landed(lake, visits(range(3), 1))

    assert lake.read(VISITS).collect().height == 3
    assert lake.fsck() == []


def test_a_per_cent_sign_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="a per cent sign"):
        Lake(tmp_path / "100%")


def test_no_personal_value_is_in_log_ledger_or_statistics(lake: Lake) -> None:
    for turn in range(12):
        landed(lake, visits(range(turn, turn + 20), 1), load_id=f"load-{turn}")
    canaries = (b"canary", b"c_00000", b"1970-01")
    outside_data = [path for path in lake.root.rglob("*") if path.is_file() and not path.name.startswith("part-")]
    checkpoint = next(lake.root.rglob("*.checkpoint.parquet"))
    said = pl.read_parquet(checkpoint).write_json().encode()

    footers = b""
    for part in lake.root.rglob("part-*.parquet"):
        groups = pq.ParquetFile(part).metadata.to_dict()["row_groups"]
        columns = {column["path_in_schema"]: column for column in groups[0]["columns"]}
        footers += json.dumps([column["statistics"] for column in columns.values()], default=str).encode()
        assert columns["visit_id"]["statistics"]["min"] is not None
        assert [columns[name]["statistics"] for name in ("email", "customer_id", "birth_date")] == [None] * 3

    assert [path for path in outside_data for canary in canaries if canary in path.read_bytes()] == []
    assert [canary for canary in canaries if canary in said or canary in footers] == []


def test_every_page_of_a_data_file_has_a_checksum(lake: Lake) -> None:
    landed(lake, visits(range(500), 1))
    (part,) = lake.root.rglob("part-*.parquet")
    whole = part.read_bytes()
    at = pq.ParquetFile(part).metadata.row_group(0).column(0).data_page_offset
    broken = bytearray(whole)
    broken[at + 200] ^= 1
    part.write_bytes(broken)

    with pytest.raises(OSError, match="could not verify page integrity"):
        pq.ParquetFile(part, page_checksum_verification=True).read()
    part.write_bytes(whole)
    assert pq.ParquetFile(part, page_checksum_verification=True).read().num_rows == 500


def test_only_columns_whose_values_repeat_have_a_dictionary(lake: Lake) -> None:
    landed(lake, visits(range(5_000), 1))
    (part,) = lake.root.rglob("part-*.parquet")
    columns = pq.ParquetFile(part).metadata.row_group(0).to_dict()["columns"]
    has = {each["path_in_schema"].partition(".")[0]: each["has_dictionary_page"] for each in columns}
    same, different = ("run_id", "tags"), ("visit_id", "email")

    assert [has[name] for name in (*same, *different)] == [True, True, False, False]
    assert lake.read(VISITS).collect().height == 5_000


def test_leftovers_of_killed_processes_are_noted_and_swept_when_old(lake: Lake) -> None:
    landed(lake, visits(range(5), 1))
    orphan = lake.write_file(VISITS, visits(range(5, 9), 1), day(1))
    staging = lake.root / "silver" / "visits" / "_delta_log" / "00000000000000000001.json#1"
    staging.write_text("{}")

    noted = lake.fsck()
    young = lake.sweep()
    old = lake.sweep(older_than=timedelta())

    assert isinstance(orphan, StagedFile)
    assert {finding.severity for finding in noted} == {"note"}
    assert len(noted) == 2
    assert young == []
    assert sorted(old) == sorted(
        ["silver/visits/_delta_log/00000000000000000001.json#1", f"silver/visits/{orphan.path}"]
    )
    assert lake.read(VISITS).collect().height == 5
    assert lake.fsck() == []
