"""Airflow's REST API, as far as we ask it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx

from etl.errors import AirflowError
from etl.run.airflow_state import TABLES_AT_ONCE, USER, Installation, url_of
from etl.run.cascade import Cascade
from etl.run.manifest import NAME as MANIFEST
from etl.settings import Settings

PATIENCE = 180.0


@contextmanager
def logged_in(known: Mapping[str, Any]) -> Iterator[httpx.Client]:
    """Airflow's REST API, logged in."""
    if not known.get("pids"):
        raise AirflowError("Airflow is not running; start it with: c360 airflow start")
    with httpx.Client(base_url=url_of(known), timeout=60.0, trust_env=False) as api:
        login = {"username": USER, "password": known["password"]}
        token = answer(api.post("/auth/token", json=login))["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        yield api


def answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise AirflowError(
            f"Airflow answered {response.status_code} to {response.request.method} {response.request.url.path}: "
            f"{response.text[:300]}"
        )
    return response.json()


def all_pages(api: httpx.Client, path: str, name: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = answer(api.get(path, params={**params, "limit": 100, "offset": offset, "order_by": "id"}))[name]
        yield from page
        offset += len(page)
        if len(page) < 100:
            return


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ensure_pools(settings: Settings, api: httpx.Client) -> None:
    """One pool per source, as wide as the source allows, and one for the tables of this machine."""
    manifest = json.loads((settings.home / MANIFEST).read_text(encoding="utf-8"))
    wanted = {f"source_{source['name']}": source["concurrency"] for source in manifest["sources"]}
    wanted |= {"tables": TABLES_AT_ONCE, "load": 1}
    there = {pool["name"]: pool["slots"] for pool in answer(api.get("/api/v2/pools", params={"limit": 100}))["pools"]}
    for name, slots in wanted.items():
        if name not in there:
            body = {"name": name, "slots": slots, "description": "made by c360"}
            answer(api.post("/api/v2/pools", json=body))
        elif there[name] != slots:
            answer(
                api.patch(f"/api/v2/pools/{name}", params={"update_mask": "slots"}, json={"pool": name, "slots": slots})
            )


def wait_for_dags(settings: Settings, installation: Installation, api: httpx.Client, since: datetime) -> None:
    """Until every DAG of the manifest was read after `since`: what the database remembers may be older."""
    cascade = cascade_of(settings)
    wanted = {step.dag_id for step in (*cascade.steps, cascade.publish)} | {"load", "rebuild"}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for broken in answer(api.get("/api/v2/importErrors"))["import_errors"]:
            if moment(broken["timestamp"]) >= since:
                last = broken["stack_trace"].strip().splitlines()[-1]
                raise AirflowError(
                    f"DAG file {broken['filename']} does not load: {last}; see {installation.log('dag-processor')}"
                )
        read = {dag["dag_id"] for dag in _all_dags(api) if moment(dag["last_parsed_time"]) >= since}
        if wanted <= read:
            return
        time.sleep(0.5)
    raise AirflowError(f"Airflow did not read {len(wanted)} DAGs in time; see {installation.log('dag-processor')}")


def _all_dags(api: httpx.Client) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = answer(api.get("/api/v2/dags", params={"limit": 100, "offset": offset}))["dags"]
        yield from page
        offset += len(page)
        if len(page) < 100:
            return


def cascade_of(settings: Settings) -> Cascade:
    return Cascade.of(json.loads((settings.home / MANIFEST).read_text(encoding="utf-8")))
