"""Reading is all SQL can do here, and what goes wrong is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa

from etl.errors import QueryRefused
from etl.serve.query import connect, engine, run_sql
from tests.serve.conftest import ANN, BOB


def refusal(catalogue: Path, sql: str) -> str:
    """The one line a refused statement answers with."""
    with pytest.raises(QueryRefused) as raised:
        run_sql(catalogue, sql, timeout_s=30, max_rows=10)
    said = str(raised.value)
    assert 1 == len(said.splitlines())
    return said


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 as one",
        "from gold.profiles",
        "with few as (select * from gold.profiles) select count(*) from few",
        "describe gold.profiles",
        "show all tables",
        "summarize gold.profiles",
        "explain select * from gold.profiles",
        "EXPLAIN ANALYZE select * from gold.profiles",
        "values (1), (2)",
        "select 1;",
        "-- a comment\nselect 1",
    ],
)
def test_reading_statements_are_answered(catalogue: Path, sql: str) -> None:
    columns, rows = run_sql(catalogue, sql, timeout_s=30, max_rows=100)

    assert columns
    assert rows


@pytest.mark.parametrize(
    "sql",
    [
        "insert into gold.profiles select * from gold.profiles",
        "update gold.profiles set order_count = 1",
        "delete from catalogue.published",
        "create table gold.mine (a int)",
        "create temp table mine as select 1",
        "create table memory.main.mine as select 1",
        "create or replace view gold.profiles as select 1",
        "drop view gold.profiles",
        "alter view gold.profiles rename to other",
        "copy gold.profiles to '{lake}/gold/profiles/stolen.parquet'",
        "explain analyze copy gold.profiles to '{lake}/gold/profiles/stolen.parquet'",
        "explain (analyze, format json) copy gold.profiles to '{lake}/gold/profiles/stolen.parquet'",
        "explain analyze create table memory.main.mine as select 1",
        "export database '{lake}/gold/profiles/stolen'",
        "attach '/tmp/other.duckdb'",
        "detach lakehouse",
        "install httpfs",
        "load httpfs",
        "set lock_configuration = false",
        "reset all",
        "pragma database_list; select 1",
        "select 1; select 2",
        "call enable_logging()",
        "checkpoint",
        "vacuum",
        "begin",
        "",
        "   ",
    ],
)
def test_whatever_does_more_than_read_is_refused(catalogue: Path, lake: Path, sql: str) -> None:
    before = sorted(lake.rglob("*"))

    said = refusal(catalogue, sql.replace("{lake}", str(lake).replace("'", "''")))

    assert said.startswith("SQL: ")
    assert before == sorted(lake.rglob("*"))


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from read_blob('{lake}/secret.txt')",
        "select * from read_blob('{lake}/gold/profiles/../../secret.txt')",
        "select * from read_text('https://example.org/')",
    ],
)
def test_files_outside_the_published_tables_are_out_of_reach(catalogue: Path, lake: Path, sql: str) -> None:
    (lake / "secret.txt").write_text("not published")
    said = refusal(catalogue, sql.replace("{lake}", str(lake).replace("'", "''")))

    assert "not published" not in said


def test_frames_of_the_program_are_no_tables(catalogue: Path) -> None:
    mine = pd.DataFrame({"a": [1]})

    assert "mine" in refusal(catalogue, "select * from mine")
    assert 1 == len(mine)


def test_a_missing_catalogue_says_what_to_run(tmp_path: Path) -> None:
    assert "c360 run" in refusal(tmp_path / "lakehouse.duckdb", "select 1")
    with pytest.raises(QueryRefused):
        engine(tmp_path / "lakehouse.duckdb")


def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "lakehouse.duckdb"
    other.write_text("just text")

    assert "no SQL catalogue" in refusal(other, "select 1")


def test_an_unknown_table_names_the_nearest(catalogue: Path) -> None:
    assert "profiles" in refusal(catalogue, "select * from gold.profile").partition("Did you mean")[2]


def test_a_misspelt_statement_says_where(catalogue: Path) -> None:
    assert 'syntax error at or near "selec"' in refusal(catalogue, "selec 1")


def test_an_unknown_column_is_named(catalogue: Path) -> None:
    assert "no_such_column" in refusal(catalogue, "select no_such_column from gold.profiles")


def test_values_of_the_data_do_not_reach_the_message(catalogue: Path) -> None:
    said = refusal(catalogue, "select text::integer from silver.visits where text like '1%'")

    assert "apples" not in said
    assert "Conversion Error" in said


def test_no_more_rows_than_asked_for_come_back(catalogue: Path) -> None:
    columns, rows = run_sql(catalogue, "select * from range(100000)", timeout_s=30, max_rows=3)

    assert ("range",) == columns
    assert [(0,), (1,), (2,)] == rows


def test_a_query_that_takes_too_long_is_stopped(catalogue: Path) -> None:
    began = time.monotonic()

    with pytest.raises(QueryRefused, match=r"stopped after 0\.2 seconds"):
        run_sql(catalogue, "select count(*) from range(1000000000) a, range(1000000) b", timeout_s=0.2, max_rows=1)

    assert time.monotonic() - began < 10


def test_a_connection_cannot_write_to_the_catalogue_or_loosen_its_own_bounds(catalogue: Path) -> None:
    with connect(catalogue) as connection:
        for sql in (
            "create table gold.mine (a int)",
            "create or replace view gold.profiles as select 1",
            "insert into catalogue.published values ('a', 'b', 'c', 'd', 'e')",
            "set enable_external_access = true",
            "set allowed_directories = ['/']",
            "attach '/tmp/other.duckdb'",
            "copy gold.profiles to '/tmp/stolen.parquet'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


def test_sqlalchemy_lists_views_and_their_columns_with_comments(catalogue: Path) -> None:
    inspected = sa.inspect(engine(catalogue))

    assert ["profiles"] == inspected.get_view_names(schema="gold")
    columns = {column["name"]: column for column in inspected.get_columns("profiles", schema="gold")}
    assert ["customer_id", "order_count", "revenue_amount", "last_order_date", "device_types"] == list(columns)
    assert "paid orders, later refunded ones included [orders]" == columns["order_count"]["comment"]
    assert isinstance(columns["revenue_amount"]["type"], sa.Numeric)
    assert (
        "It's a customer at a glance. Grain: one row per customer."
        == (inspected.get_table_comment("profiles", schema="gold")["text"])
    )


def test_sqlalchemy_reflects_a_view_as_a_table(catalogue: Path) -> None:
    on = engine(catalogue)
    profiles = sa.Table("profiles", sa.MetaData(), schema="gold", autoload_with=on)

    with on.connect() as connection:
        rows = connection.execute(
            sa.select(profiles.c.customer_id).where(profiles.c.customer_id.in_([ANN, BOB])).order_by("customer_id")
        ).all()

    assert [(ANN,), (BOB,)] == rows


def test_pandas_reads_through_sqlalchemy_with_bound_parameters(catalogue: Path) -> None:
    frame = pd.read_sql(
        sa.text("select customer_id, order_count from gold.profiles where order_count > :least"),
        engine(catalogue),
        params={"least": 1},
    )

    assert [(ANN, 2)] == list(frame.itertuples(index=False, name=None))


def test_sqlalchemy_cannot_write(catalogue: Path) -> None:
    with engine(catalogue).connect() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.execute(sa.text("create table gold.mine (a int)"))


def test_an_engine_and_a_query_share_the_file_in_one_program(catalogue: Path) -> None:
    with engine(catalogue).connect() as connection:
        rows = run_sql(catalogue, "select count(*) from gold.profiles", timeout_s=30, max_rows=1)[1]

        assert rows == connection.execute(sa.text("select count(*) from gold.profiles")).all()


PLAIN = """
import sqlalchemy as sa, sys
engine = sa.create_engine("duckdb:///" + sys.argv[1], connect_args={"read_only": True})
with engine.connect() as connection:
    print(connection.execute(sa.text("select count(*) from gold.profiles")).scalar())
"""
PUBLISH_AND_ASK = """
import sys
from pathlib import Path
from etl.serve.catalogue import publish
from etl.serve.query import run_sql
from tests.serve.conftest import PROFILES
publish(Path(sys.argv[2]), [PROFILES], Path(sys.argv[1]))
print(run_sql(Path(sys.argv[1]), "select count(*) from gold.profiles", timeout_s=30, max_rows=1)[1][0][0])
"""


def in_a_process_of_its_own(program: str, home: Path, *arguments: Path) -> str:
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_an_empty_home_is_enough_and_a_plain_url_works_after_publishing(lake: Path, tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "lakehouse.duckdb"
    home.mkdir()

    assert "2" == in_a_process_of_its_own(PUBLISH_AND_ASK, home, target, lake)
    assert "2" == in_a_process_of_its_own(PLAIN, home, target)


def test_publishing_and_asking_need_no_home_at_all(lake: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("a file, no directory")

    assert "2" == in_a_process_of_its_own(PUBLISH_AND_ASK, nowhere, tmp_path / "lakehouse.duckdb", lake)
