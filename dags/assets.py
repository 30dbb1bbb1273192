"""The tables of the lake as Airflow knows them: one asset a table, by which runs follow one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset

from etl.model.window import Window


def asset_of(table: str) -> Asset:
    """The asset of a table, named as everybody names the table (`silver.orders`).

    The scheme is nobody's, so that no provider takes the address for one of its own.
    """
    layer, name = table.split(".")
    return Asset(name=table, uri=f"x-c360://lake/{layer}/{name}", group=layer)


def announce(context: Mapping[str, Any], table: str, window: Window) -> None:
    """Tell the readers of `table` for which days it is new, also when the run itself was not given a key."""
    if context["dag_run"].partition_key is None:
        context["outlet_events"][asset_of(table)].add_partitions(window.key)
