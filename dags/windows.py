"""Which days a run is about. Every kind of run becomes a real window, or is refused.

| kind of run                         | its window                                      |
|-------------------------------------|-------------------------------------------------|
| scheduled, backfill                 | its partition key, a day                        |
| triggered with a partition key      | the key: a day, or days like 2026-01-01--2026-01-27 |
| started by the assets it reads      | the key they came with                          |
| triggered with a data interval      | the interval, when it is made of whole UTC days |
| triggered with `from` and `to`      | those days, both included                       |
| anything else (bare trigger, materialise, a single logical date) | refused             |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from etl.errors import WindowRefused
from etl.model.window import Window


def window_of(context: Mapping[str, Any]) -> Window:
    """The window of the run with this Airflow context, in whole UTC days.

    Never read off the logical date: of a run triggered by hand that is the moment of the click.

    Raises: WindowRefused when the run does not say which days it is about, or says so in no usable way.
    """
    return Window.parse(_told(context).key)


def _told(context: Mapping[str, Any]) -> Window:
    run = context.get("dag_run")
    if key := getattr(run, "partition_key", None):
        return Window.parse(key)

    start, end = getattr(run, "data_interval_start", None), getattr(run, "data_interval_end", None)
    if start is not None and end is not None and start != end:
        return Window(start.astimezone(UTC), end.astimezone(UTC))

    params = context.get("params") or {}
    first, last = params.get("from"), params.get("to")
    if first:
        return Window.parse(f"{first}--{last or first}")

    raise WindowRefused(
        "this run does not say which days it is about; trigger it with a partition key like 2026-01-31 "
        "or 2026-01-01--2026-01-27, or fill in `from` and `to`"
    )
