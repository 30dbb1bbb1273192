"""Windows: UTC, half-open, never empty, and the same as their key."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import WindowRefused
from etl.model import Window

DAYS = st.dates(min_value=date(1990, 1, 1), max_value=date(2100, 1, 1))


@given(first=DAYS, length=st.integers(min_value=0, max_value=400))
def test_a_window_of_days_is_its_key_and_back(first: date, length: int) -> None:
    window = Window.of_days(first, first + timedelta(days=length))

    assert window == Window.parse(window.key)
    assert length + 1 == len(window.days)


def test_a_day_is_half_open() -> None:
    window = Window.of_day(date(2026, 1, 31))

    assert datetime(2026, 2, 1, tzinfo=UTC) == window.end
    assert window.days == (date(2026, 1, 31),)


@pytest.mark.parametrize(
    "text", ["", "2026-1-1", "2026-02-30", "yesterday", "2026-01-02--2026-01-01", "2026-01-01/2026-01-02"], ids=repr
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(WindowRefused):
        Window.parse(text)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2026, 1, 1), datetime(2026, 1, 2)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2026, 1, 2, tzinfo=UTC)),
    ],
    ids=["naive", "empty", "backwards", "not UTC"],
)
def test_a_window_that_is_none_is_refused(start: datetime, end: datetime) -> None:
    with pytest.raises(WindowRefused):
        Window(start, end)


def test_an_hour_has_no_key() -> None:
    hour = Window(datetime(2026, 1, 1, 5, tzinfo=UTC), datetime(2026, 1, 1, 6, tzinfo=UTC))

    with pytest.raises(WindowRefused, match="only whole UTC days"):
        _ = hour.key
