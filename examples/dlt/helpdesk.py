"""Callers of the helpdesk, as a resource of dlt: what changed since one time, up to before another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests


@dlt.resource
def callers(
    base_url: str,
    token: str,
    changed: dlt.sources.incremental[str] = dlt.sources.incremental("changed_at"),  # noqa: B008 - as dlt has it
) -> Iterator[list[dict[str, Any]]]:
    answer = requests.get(
        f"{base_url}/callers",
        params={"since": changed.last_value, "until": changed.end_value},
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.raise_for_status()
    yield answer.json()
