"""What this house adds to Airflow; see README.md beside it."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from plugins.day_windows import DayWindows, DayWindowsOnDemand


class Customer360Plugin(AirflowPlugin):  # type: ignore[misc]  # Airflow is not followed by mypy
    """Registers the timetables, so that the scheduler can read them back from the database."""

    name = "customer_360"
    timetables: ClassVar[list[type]] = [DayWindows, DayWindowsOnDemand]
