"""Airflow in the background: started, asked, stopped. This room never imports it; it is processes and a REST API.

State stands in `<home>/airflow` (secrets readable by their owner only), the embedded database in `<home>/postgres`.
Whatever is started carries a mark in its environment, so `stop` finds all of it and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import httpx

from etl.errors import AirflowError
from etl.run import processes
from etl.run.airflow_api import PATIENCE, ensure_pools, logged_in, wait_for_dags
from etl.run.airflow_state import Installation, Running, alone, check_alive, environment_of, fingerprint, url_of
from etl.run.demo import PORT_FILE
from etl.run.following import follow, run_through_airflow, steps_per_window
from etl.run.house import open_house
from etl.run.manifest import write_manifest
from etl.run.postgres import Postgres
from etl.settings import Settings

__all__ = [
    "Running",
    "airflow_command",
    "environment",
    "follow",
    "run_through_airflow",
    "start",
    "status",
    "steps_per_window",
    "stop",
]

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
DEMO = "demo-sources"


def start(settings: Settings, *, progress: Callable[[str], None] = lambda _: None) -> Running:
    """Airflow for these settings, running and healthy when this returns. Already running: the same one.

    It is started anew when the sources, tables or settings changed meanwhile. With the demo company, the server
    of its sources is started beside it.

    Raises: AirflowError naming the log of what did not come up.
    """
    with alone(settings):
        write_manifest(open_house(settings))
        return _start(settings, progress)


def _start(settings: Settings, progress: Callable[[str], None]) -> Running:
    installation = Installation(settings)
    known = installation.read()
    if known.get("fingerprint") == fingerprint(settings) and _all_alive(settings, known) and _is_healthy(known):
        return installation.running(known)
    _stop(settings)

    if settings.is_demo:
        progress("Starting the demo company's sources")
        (settings.home / PORT_FILE).unlink(missing_ok=True)
    since = datetime.now(UTC)
    known = installation.fresh()
    installation.write(known)
    pids: dict[str, int] = {}

    def launch(name: str, *command: str) -> None:
        pids[name] = processes.launch(
            command, log=installation.log(name), environ=environment_of(settings, known), mark=installation.mark
        )
        known["pids"] = pids
        installation.write(known)

    try:
        if settings.is_demo:
            launch(DEMO, sys.executable, "-m", "etl.run.demo")
        _ensure_database(settings, installation, known, progress)
        progress("Starting Airflow")
        for name in COMPONENTS:
            extra = ("--skip-serve-logs",) if name in ("scheduler", "triggerer") else ()
            launch(name, sys.executable, "-m", "airflow", name, *extra)
        _wait_until_healthy(settings, installation, known, progress)
        with logged_in(known) as api:
            ensure_pools(settings, api)
            progress("Reading the DAGs")
            wait_for_dags(settings, installation, api, since)
        known["fingerprint"] = fingerprint(settings)
        installation.write(known)
    except BaseException:
        _stop(settings)
        raise
    return installation.running(known)


def stop(settings: Settings) -> bool:
    """End everything `start` started, down to the last child; False when nothing was running."""
    if not (settings.home / "airflow").is_dir():
        return False
    with alone(settings):
        return _stop(settings)


def _stop(settings: Settings) -> bool:
    installation = Installation(settings)
    known = installation.read()
    ended = processes.end(list(known.get("pids", {}).values()), installation.mark)
    stopped = False if settings.airflow_database else Postgres(settings.home).stop()
    if known:
        installation.write({key: value for key, value in known.items() if key not in ("pids", "fingerprint")})
    return bool(ended) or stopped


def status(settings: Settings) -> list[tuple[str, str, int | None]]:
    """(component, running or stopped, pid), the database first."""
    installation = Installation(settings)
    pids = installation.read().get("pids", {})
    rows: list[tuple[str, str, int | None]] = []
    if not settings.airflow_database:
        pid = Postgres(settings.home).pid
        rows.append(("postgres", "running" if pid else "stopped", pid))
    for name in (*((DEMO,) if settings.is_demo else ()), *COMPONENTS):
        pid = pids.get(name)
        alive = pid is not None and processes.is_alive(pid, installation.mark)
        rows.append((name, "running" if alive else "stopped", pid if alive else None))
    return rows


def airflow_command(settings: Settings, arguments: Sequence[str]) -> int:
    """Airflow's own command line against this installation; gives its exit code.

    Raises: AirflowError when its database does not run.
    """
    installation = Installation(settings)
    known = installation.read()
    if not settings.airflow_database and not Postgres(settings.home).is_running:
        raise AirflowError("Airflow is not running; start it with: c360 airflow start")
    done = subprocess.run(
        [sys.executable, "-m", "airflow", *arguments], env=environment_of(settings, known), check=False
    )
    return done.returncode


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which Airflow's own programs find this installation."""
    return environment_of(settings, Installation(settings).read())


def _ensure_database(
    settings: Settings, installation: Installation, known: dict[str, Any], progress: Callable[[str], None]
) -> None:
    """A database that runs and has Airflow's tables; they are made once per version of Airflow."""
    marker = None
    if not settings.airflow_database:
        progress("Starting Airflow's database")
        postgres = Postgres(settings.home)
        if not postgres.is_made:
            known.pop("migrated", None)
        postgres.start(known["database_port"], known["database_password"])
        marker = version("apache-airflow")
        if known.get("migrated") == marker:
            return
    progress("Making Airflow's tables (once)")
    log = installation.log("migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=environment_of(settings, known),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise AirflowError(f"Airflow could not make its tables (exit code {done.returncode}); see {log}")
    known["migrated"] = marker
    installation.write(known)


def _wait_until_healthy(
    settings: Settings, installation: Installation, known: Mapping[str, Any], progress: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + PATIENCE
    waiting: list[str] = list(COMPONENTS)
    while time.monotonic() < deadline:
        check_alive(installation, known)
        waiting = _unhealthy(known)
        if settings.is_demo and not (settings.home / PORT_FILE).is_file():
            waiting.append(DEMO)
        if not waiting:
            return
        progress(f"Starting Airflow: waiting for {', '.join(waiting)}")
        time.sleep(0.5)
    raise AirflowError(
        f"{', '.join(waiting)} did not start within {PATIENCE:.0f} s; see {installation.log(waiting[0])}"
    )


def _unhealthy(known: Mapping[str, Any]) -> list[str]:
    """The components that do not report health; all of them while the API does not answer."""
    try:
        health = httpx.get(f"{url_of(known)}/api/v2/monitor/health", timeout=5.0).json()
    except (httpx.HTTPError, ValueError):
        return list(COMPONENTS)
    return [
        name
        for name in COMPONENTS
        if name != "api-server" and health.get(name.replace("-", "_"), {}).get("status") != "healthy"
    ]


def _is_healthy(known: Mapping[str, Any]) -> bool:
    return not _unhealthy(known)


def _all_alive(settings: Settings, known: Mapping[str, Any]) -> bool:
    mark = Installation(settings).mark
    wanted = (*((DEMO,) if settings.is_demo else ()), *COMPONENTS)
    return all(processes.is_alive(known.get("pids", {}).get(name, 0), mark) for name in wanted)
