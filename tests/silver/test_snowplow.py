"""Snowplow's published web events and what Snowplow's own model makes of them (dbt-snowplow-web 0.15.2)."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from etl.silver.sessions import events_left_out
from etl.silver.web_events import WEB_EVENTS, standardise_web_events
from tests.golden import KEY
from tests.silver.real_sources import SNOWPLOW, records_for


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "snowplow_web_0.15.2"


@pytest.fixture(scope="module")
def raw(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "source" / "snowplow_web_events.csv", infer_schema=False)


@pytest.fixture(scope="module")
def events(raw: pl.DataFrame) -> pl.DataFrame:
    records = records_for(WEB_EVENTS, raw, SNOWPLOW)
    return standardise_web_events(records, key=KEY, country="GB").collect()


@pytest.fixture(scope="module")
def out(events: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    view = pl.col("contexts_com_snowplowanalytics_snowplow_web_page_1_0_0").str.extract(r'"id"\s*:\s*"([^"]+)"')
    told = raw.select("event_id", page_view=view).unique("event_id")
    return events.filter(pl.col("_fate") == "out").join(told, on="event_id")


@pytest.fixture(scope="module")
def visited(out: pl.DataFrame) -> pl.DataFrame:
    """The events that visits are made of."""
    return out.join(events_left_out(out.lazy()).collect(), on="event_id", how="anti")


def expected(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / "expected" / f"snowplow_web_{name}_expected.csv", infer_schema=False)


def test_the_events_are_out_repeated_late_or_beyond_their_session(events: pl.DataFrame) -> None:
    fates = dict(events.group_by(pl.concat_str("_fate", "_rule", separator=" ", ignore_nulls=True)).len().iter_rows())

    assert fates == {
        "out": 147,
        "deduplicated repeated": 3,
        "quarantined sent_late": 3,
        "quarantined session_overlong": 7,
    }


def test_page_views_are_those_snowplow_publishes(folder: Path, visited: pl.DataFrame) -> None:
    published = expected(folder, "page_views")

    views = visited.filter((pl.col("event_name") == "page_view") & pl.col("page_view").is_not_null())

    assert published.height == 43
    assert set(views["page_view"]) == set(published["page_view_id"])


def test_sessions_have_the_events_and_the_end_snowplow_publishes(folder: Path, visited: pl.DataFrame) -> None:
    published = expected(folder, "sessions").select(
        session="domain_sessionid",
        events=pl.col("total_events").cast(pl.UInt32),
        end=pl.col("end_tstamp").str.to_datetime(time_unit="us", time_zone="UTC"),
    )

    # A session of Snowplow's is on a page: what a consent banner alone tells makes none.
    on_page = pl.col("event_name").is_in(["page_view", "page_ping"]) & pl.col("page_view").is_not_null()
    viewed = on_page.any().over("source_session_id")
    ours = (
        visited.filter(viewed & pl.col("source_session_id").is_not_null())
        .group_by(session="source_session_id")
        .agg(events=pl.len(), end=pl.col("event_at").max())
    )

    assert published.height == 18
    assert published.sort("session").rows() == ours.sort("session").rows()


def test_an_id_that_comes_back_after_months_makes_no_visit(out: pl.DataFrame, visited: pl.DataFrame) -> None:
    later = out.join(visited, on="event_id", how="anti")

    assert [at.year for at in later["event_at"]] == [2021]


def test_the_overlong_session_is_the_one_snowplow_quarantines(folder: Path, events: pl.DataFrame) -> None:
    published = expected(folder, "base_quarantined_sessions")

    ours = events.filter(pl.col("_rule") == "session_overlong")

    assert set(published["session_id"]) == set(ours["source_session_id"])
