"""Every kind of run becomes a real window, or is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from dags.windows import window_of
from etl.errors import WindowRefused


def run(
    key: str | None = None,
    interval: tuple[datetime, datetime] | None = None,
    params: dict[str, Any] | None = None,
    logical_date: datetime | None = None,
) -> dict[str, Any]:
    """The context of a run, as far as a window is read off it."""
    start, end = interval or (None, None)
    return {
        "dag_run": SimpleNamespace(
            partition_key=key,
            data_interval_start=start,
            data_interval_end=end,
            logical_date=logical_date,
            run_after=datetime(2026, 2, 1, tzinfo=UTC),
        ),
        "params": params or {},
    }


def test_a_scheduled_or_backfilled_run_is_about_its_day() -> None:
    assert window_of(run(key="2026-01-28")).key == "2026-01-28"


def test_a_run_triggered_with_a_range_of_days_is_about_all_of_them() -> None:
    assert window_of(run(key="2026-01-01--2026-01-27")).key == "2026-01-01--2026-01-27"


def test_a_run_started_by_its_inputs_is_about_the_days_they_came_with() -> None:
    started = run(key="2026-01-28", params={"from": None, "to": None})

    assert window_of(started).key == "2026-01-28"


def test_a_data_interval_of_whole_days_is_a_window() -> None:
    interval = (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC))

    assert window_of(run(interval=interval)).key == "2026-01-05--2026-01-07"


def test_a_data_interval_in_another_zone_is_told_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    interval = (datetime(2026, 1, 5, 1, tzinfo=berlin), datetime(2026, 1, 6, 1, tzinfo=berlin))

    assert window_of(run(interval=interval)).key == "2026-01-05"


def test_days_filled_into_the_form_are_a_window() -> None:
    assert window_of(run(params={"from": "2026-01-05", "to": "2026-01-07"})).key == "2026-01-05--2026-01-07"


def test_one_day_filled_into_the_form_is_that_day() -> None:
    assert window_of(run(params={"from": "2026-01-05", "to": None})).key == "2026-01-05"


def test_the_key_counts_before_interval_and_form() -> None:
    interval = (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC))

    assert window_of(run(key="2026-01-28", interval=interval, params={"from": "2026-01-01"})).key == "2026-01-28"


MOMENT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        ("triggered with nothing", run()),
        ("materialise", run(params={"from": None, "to": None})),
        ("a logical date alone", run(logical_date=MOMENT)),
        ("cron's empty interval", run(interval=(MOMENT, MOMENT), logical_date=MOMENT)),
        ("part of a day", run(interval=(MOMENT, MOMENT + timedelta(hours=6)))),
        ("a key that is no day", run(key="latest")),
        ("days the wrong way round", run(key="2026-01-27--2026-01-01")),
        ("a form with only a last day", run(params={"to": "2026-01-07"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_does_not_say_its_days_is_refused(kind: str, context: dict[str, Any]) -> None:
    with pytest.raises(WindowRefused):
        window_of(context)


def test_the_refusal_says_the_way_out() -> None:
    with pytest.raises(WindowRefused, match=r"partition key like 2026-01-31"):
        window_of(run())
