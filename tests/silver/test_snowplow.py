"""Snowplow's published web events and what Snowplow's own model makes of them (dbt-snowplow-web 0.15.2)."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from etl.silver.web_events import WEB_EVENTS, standardise_web_events
from tests.golden import KEY
from tests.silver.real_sources import SNOWPLOW, records_for

# A browser showed this session id again after eight months. Snowplow drops the later event, for its session began more
# than three days before; we look back four days, so that a day built alone and a year built at once judge alike, and
# leave it to `silver.sessions`, which ends a session after thirty quiet minutes.
CAME_BACK_AFTER_MONTHS = "Unexpired session"


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
    told = raw.select("event_id", page_view=view, case="user_id").unique("event_id")
    return events.filter(pl.col("_fate") == "out").join(told, on="event_id")


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


def test_page_views_are_those_snowplow_publishes(folder: Path, out: pl.DataFrame) -> None:
    published = expected(folder, "page_views")

    views = out.filter((pl.col("event_name") == "page_view") & pl.col("page_view").is_not_null())
    beyond = views.filter((pl.col("case") == CAME_BACK_AFTER_MONTHS) & (pl.col("event_at").dt.year() == 2021))

    assert published.height == 43
    assert beyond.height == 1
    assert set(views["page_view"]) - set(beyond["page_view"]) == set(published["page_view_id"])


def test_sessions_have_the_events_and_the_end_snowplow_publishes(folder: Path, out: pl.DataFrame) -> None:
    published = expected(folder, "sessions").select(
        session="domain_sessionid",
        events=pl.col("total_events").cast(pl.UInt32),
        end=pl.col("end_tstamp").str.to_datetime(time_unit="us", time_zone="UTC"),
    )

    in_sight = out.filter((pl.col("case") != CAME_BACK_AFTER_MONTHS) | (pl.col("event_at").dt.year() == 2020))
    ours = in_sight.group_by(session="source_session_id").agg(events=pl.len(), end=pl.col("event_at").max())
    ours = ours.join(published, on="session", how="semi")

    assert published.height == 18
    assert published.sort("session").rows() == ours.sort("session").rows()


def test_the_overlong_session_is_the_one_snowplow_quarantines(folder: Path, events: pl.DataFrame) -> None:
    published = expected(folder, "base_quarantined_sessions")

    ours = events.filter(pl.col("_rule") == "session_overlong")

    assert set(published["session_id"]) == set(ours["source_session_id"])
