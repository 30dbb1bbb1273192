"""Daily partitions, where a key may also be several days."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.trigger import CronPartitionTimetable

from etl.errors import WindowRefused
from etl.model.window import Window


class DayWindows(CronPartitionTimetable):  # type: ignore[misc]  # Airflow is not followed by mypy
    """One run a day after its UTC day has ended, with the day as key: `2026-01-31`.

    A run somebody triggers may name several days, both included: `2026-01-01--2026-01-27`. Its partition date is
    the first of them. A key that is no window is refused by the trigger itself, before a run exists.
    """

    description = "Daily, after the UTC day has ended"

    def _decode_partition_date(self, partition_key: str) -> datetime:
        try:
            return Window.parse(partition_key).start
        except WindowRefused as refused:
            raise InvalidPartitionKeyError(str(refused)) from None


class DayWindowsOnDemand(DayWindows):
    """The same days and keys, none of them on a schedule: for runs somebody triggers, and for backfills."""

    description = "Days, when asked for"

    def next_dagrun_info_v2(self, *, last_dagrun_info: Any, restriction: Any) -> None:  # noqa: ARG002
        return None
