"""Airflow in the background: started, asked, stopped. This room never imports it; it is processes and a REST API.

State stands in `<home>/airflow` (secrets readable by their owner only), the embedded database in `<home>/postgres`.
Whatever is started carries a mark in its environment, so `stop` finds all of it and nothing else.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

import etl
from etl import errors
from etl.errors import AirflowError, C360Error, SettingsError, WindowRefused
from etl.model import Window
from etl.run import processes
from etl.run.cascade import Cascade, Step
from etl.run.house import open_house
from etl.run.manifest import NAME as MANIFEST
from etl.run.manifest import write_manifest
from etl.run.pipeline import DEFECT, Outcome, State
from etl.run.postgres import Postgres
from etl.run.report import Report
from etl.settings import Settings

ROOT = Path(etl.__file__).resolve().parent.parent
USER = "admin"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
DEMO = "demo-sources"
_PATIENCE = 180.0
_POLL = 2.0

# Workers are forked from the scheduler and tasks from workers: what it has imported, no task imports again
# (Great Expectations alone costs 8 s). Import only: no Delta table may be opened before a fork.
_LOCAL_SETTINGS = '''"""Written at every start; see etl/run/airflow.py."""
import sys

if "scheduler" in sys.argv[1:2]:
    import airflow.providers.standard.operators.python
    import airflow.sdk.execution_time.task_runner
    import deltalake
    import great_expectations
    import pandas
    import polars
    import pyarrow

    import etl.run.tasks
'''


@dataclass(frozen=True, slots=True)
class Running:
    """Where Airflow answers, and for whom."""

    url: str
    user: str
    password: str = field(repr=False)
    log_dir: Path


def start(settings: Settings, *, progress: Callable[[str], None] = lambda _: None) -> Running:
    """Airflow for these settings, running and healthy when this returns. Already running: the same one.

    It is started anew when the sources, tables or settings changed meanwhile. With the demo company, the server
    of its sources is started beside it.

    Raises: AirflowError naming the log of what did not come up.
    """
    with _alone(settings):
        write_manifest(open_house(settings))
        return _start(settings, progress)


def _start(settings: Settings, progress: Callable[[str], None]) -> Running:
    state = _State(settings)
    known = state.read()
    if known.get("fingerprint") == _fingerprint(settings) and _all_alive(settings, known) and _is_healthy(known):
        return state.running(known)
    _stop(settings)

    if settings.is_demo:
        progress("Starting the demo company's sources")
        known_demo = settings.home / "demo" / "server.url"
        known_demo.unlink(missing_ok=True)
    since = datetime.now(UTC)
    known = state.fresh()
    state.write(known)
    pids: dict[str, int] = {}

    def launch(name: str, *command: str) -> None:
        pids[name] = processes.launch(
            command, log=state.log(name), environ=_environment(settings, known), mark=state.mark
        )
        known["pids"] = pids
        state.write(known)

    try:
        if settings.is_demo:
            launch(DEMO, sys.executable, "-m", "etl.run.demo")
        _ensure_database(settings, state, known, progress)
        progress("Starting Airflow")
        for name in COMPONENTS:
            extra = ("--skip-serve-logs",) if name in ("scheduler", "triggerer") else ()
            launch(name, sys.executable, "-m", "airflow", name, *extra)
        _wait_until_healthy(settings, state, known, progress)
        with _api(known) as api:
            _ensure_pools(settings, api)
            progress("Reading the DAGs")
            _wait_for_dags(settings, state, api, since)
        known["fingerprint"] = _fingerprint(settings)
        state.write(known)
    except BaseException:
        _stop(settings)
        raise
    return state.running(known)


def stop(settings: Settings) -> bool:
    """End everything `start` started, down to the last child; False when nothing was running."""
    if not (settings.home / "airflow").is_dir():
        return False
    with _alone(settings):
        return _stop(settings)


def _stop(settings: Settings) -> bool:
    state = _State(settings)
    known = state.read()
    ended = processes.end(list(known.get("pids", {}).values()), state.mark)
    stopped = False if settings.airflow_database else Postgres(settings.home, state.log("postgres")).stop()
    if known:
        state.write({key: value for key, value in known.items() if key not in ("pids", "fingerprint")})
    return bool(ended) or stopped


def status(settings: Settings) -> list[tuple[str, str, int | None]]:
    """(component, running or stopped, pid), the database first."""
    state = _State(settings)
    pids = state.read().get("pids", {})
    rows: list[tuple[str, str, int | None]] = []
    if not settings.airflow_database:
        pid = Postgres(settings.home, state.log("postgres")).pid
        rows.append(("postgres", "running" if pid else "stopped", pid))
    for name in (*((DEMO,) if settings.is_demo else ()), *COMPONENTS):
        pid = pids.get(name)
        alive = pid is not None and processes.is_alive(pid, state.mark)
        rows.append((name, "running" if alive else "stopped", pid if alive else None))
    return rows


def airflow_command(settings: Settings, arguments: Sequence[str]) -> int:
    """Airflow's own command line against this installation; gives its exit code.

    Raises: AirflowError when its database does not run.
    """
    state = _State(settings)
    known = state.read()
    if not settings.airflow_database and not Postgres(settings.home, state.log("postgres")).is_running:
        raise AirflowError("Airflow is not running; start it with: c360 airflow start")
    done = subprocess.run([sys.executable, "-m", "airflow", *arguments], env=_environment(settings, known), check=False)
    return done.returncode


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which Airflow's own programs find this installation."""
    return _environment(settings, _State(settings).read())


def steps_per_window(settings: Settings) -> int:
    """How many streams and tables one window has."""
    return len(_cascade(settings).steps)


# --- through Airflow -------------------------------------------------------------------------------------------------


def run_through_airflow(
    settings: Settings, windows: Sequence[Window], *, progress: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Window by window: trigger every source, and follow until what follows by itself has ended.

    One after the other, as days are, so that no table of one window sees what only a later one brings.
    Gives one outcome per window and table, and one for the last publish. Raises what `follow` does.
    """
    outcomes: list[Outcome] = []
    for window in windows:
        since = datetime.now(UTC)
        with _api(_State(settings).read()) as api:
            for dag_id in _cascade(settings).ingest_dags:
                run_id = f"run__{window.key}__{since:%Y%m%dT%H%M%S}"
                body = {"dag_run_id": run_id, "logical_date": None, "partition_key": window.key}
                _answer(api.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body))
        ended = follow(
            settings,
            [window],
            since=since,
            progress=progress if window == windows[-1] else _but_for_publish(progress),
        )
        outcomes += [each for each in ended if each.step != "publish" or window == windows[-1]]
    return outcomes


def _but_for_publish(progress: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
    """`progress`, not told of the publish of a window that others follow."""
    return lambda outcome: progress(outcome) if outcome.step != "publish" else None


def follow(
    settings: Settings,
    windows: Sequence[Window],
    *,
    since: datetime,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Wait until every step of these windows, in runs made after `since`, has ended.

    One outcome per window and table, in the order they ended, and one for the last publish. What waits for a
    failed table ends as stopped. `progress` hears of each.

    Raises: AirflowError when Airflow stops answering, or nothing moves for minutes though something should.
    """
    state = _State(settings)
    known = state.read()
    cascade = _cascade(settings)
    keys = [window.key for window in windows]
    outcomes: list[Outcome] = []
    pending = [(key, step) for key in keys for step in (*cascade.steps, cascade.publish)]
    ended: dict[tuple[str, str], State] = {}
    last_change = time.monotonic()
    with _api(known) as api:
        while pending:
            time.sleep(_POLL)
            _check_alive(state, known)
            tasks, is_idle = _tasks(api, since)
            left = []
            for key, step in pending:
                outcome = _outcome(api, state, step, key, tasks, ended, cascade, is_idle=is_idle)
                if outcome is None:
                    left.append((key, step))
                    continue
                ended[key, step.table] = outcome.state
                if step is not cascade.publish or key == keys[-1]:
                    outcomes.append(outcome)
                    progress(outcome)
            if len(left) < len(pending) or not is_idle:
                last_change = time.monotonic()
            pending = left
            if pending and time.monotonic() - last_change > _PATIENCE:
                key, step = pending[0]
                raise AirflowError(
                    f"{step.table} {key} has not started though everything it reads is there; "
                    f"{len(pending)} steps are left; see {state.log('scheduler')}"
                )
    return outcomes


_FINAL = ("success", "failed", "upstream_failed", "skipped", "removed")


def _tasks(api: httpx.Client, since: datetime) -> tuple[dict[tuple[str, str, str], dict[str, Any]], bool]:
    """(dag, task, key) -> the task of the runs made since; and whether all of these runs have ended."""
    # Not by run_after: of a backfilled run that is the day it is about.
    changed = {"updated_at_gte": since.isoformat()}
    keys: dict[tuple[str, str], str] = {}
    is_idle = True
    for run in _all_pages(api, "/api/v2/dags/~/dagRuns", "dag_runs", changed):
        key = _key(run)
        if key and run["queued_at"] and _moment(run["queued_at"]) >= since:
            keys[run["dag_id"], run["dag_run_id"]] = key
            is_idle = is_idle and run["state"] in ("success", "failed")
    found = {}
    for task in _all_pages(api, "/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances", changed):
        key = keys.get((task["dag_id"], task["dag_run_id"]))
        if key is not None:
            found[task["dag_id"], task["task_id"], key] = task
    return found, is_idle


def _key(run: Mapping[str, Any]) -> str | None:
    """The window key of a run: its partition key, or the days it was told by `load` or in the form."""
    told = run["conf"] or {}
    if run["partition_key"] or not told.get("from"):
        return run["partition_key"] or None
    try:
        return Window.parse(f"{told['from']}--{told.get('to') or told['from']}").key
    except WindowRefused:
        return None


def _all_pages(api: httpx.Client, path: str, name: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = _answer(api.get(path, params={**params, "limit": 100, "offset": offset, "order_by": "id"}))[name]
        yield from page
        offset += len(page)
        if len(page) < 100:
            return


def _outcome(
    api: httpx.Client,
    state: _State,
    step: Step,
    key: str,
    tasks: Mapping[tuple[str, str, str], dict[str, Any]],
    ended: Mapping[tuple[str, str], State],
    cascade: Cascade,
    *,
    is_idle: bool,
) -> Outcome | None:
    """How this step ended for this key; None while it has not."""
    task = tasks.get((step.dag_id, step.task_id, key))
    if task is not None and task["state"] == "success":
        report = _report(api, task) if step is not cascade.publish else None
        return Outcome(step.table, key, State.DONE, report)
    if task is not None and task["state"] in _FINAL:
        log = state.task_log(task)
        why, exit_code = _last_word(log)
        return Outcome(step.table, key, State.FAILED, why=f"{why}; log: {log}", exit_code=exit_code)
    lost = [each for each in step.inputs if ended.get((key, each), State.DONE) is not State.DONE]
    if task is None and lost and is_idle:
        return Outcome(step.table, key, State.STOPPED, why=f"waits for {', '.join(lost)}")
    return None


def _report(api: httpx.Client, task: Mapping[str, Any]) -> Report:
    path = f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
    value = _answer(api.get(f"{path}/xcomEntries/return_value"))["value"]
    return Report(**(json.loads(value) if isinstance(value, str) else value))


def _last_word(log: Path) -> tuple[str, int]:
    """The error in the log of a failed task, its own line, not its traceback; and the exit code it stands for."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    except (OSError, ValueError):
        return "it left no log", DEFECT
    for line in reversed(lines):
        for error in line.get("error_detail") or ():
            kind, said = str(error.get("exc_type")), str(error.get("exc_value"))
            if kind == "AirflowFailException":  # what no retry mends, its own kind in front
                kind, _, said = said.partition(": ")
            known = getattr(errors, kind, None)
            return said, known.exit_code if isinstance(known, type) and issubclass(known, C360Error) else DEFECT
    return "it was ended from outside", DEFECT


def _cascade(settings: Settings) -> Cascade:
    return Cascade.of(json.loads((settings.home / MANIFEST).read_text(encoding="utf-8")))


# --- state -----------------------------------------------------------------------------------------------------------


class _State:
    """What is remembered between commands: ports, secrets, pids. One JSON file, for its owner's eyes only."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home / "airflow"
        self.mark = str(self.folder)
        self._settings = settings
        self._file = self.folder / "state.json"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def task_log(self, task: Mapping[str, Any]) -> Path:
        run = f"dag_id={task['dag_id']}/run_id={task['dag_run_id']}/task_id={task['task_id']}"
        return self.folder / "logs" / run / f"attempt={task['try_number']}.log"

    def read(self) -> dict[str, Any]:
        try:
            read: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return read

    def write(self, known: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        _write_private(self._file, json.dumps(known, indent=1))

    def fresh(self) -> dict[str, Any]:
        """The ports and secrets of before where they still serve, new ones where not."""
        known = self.read()
        wanted = self._settings.airflow_port
        if wanted and not _is_free(wanted):
            raise SettingsError(
                f"airflow.port {wanted} is taken by another program; free it, or set another one (0: any that is free)"
            )
        before = known.get("port", 8080)
        known["port"] = wanted or (before if _is_free(before) else _free_port())
        before = known.get("database_port", 0)
        known["database_port"] = before if before and _is_free(before) else _free_port()
        known.setdefault("password", secrets.token_urlsafe(12))
        known.setdefault("database_password", secrets.token_hex(24))
        known.setdefault("jwt_secret", secrets.token_hex(32))
        known.setdefault("api_secret", secrets.token_hex(32))
        known.setdefault("fernet_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        _write_private_under(self.folder, "passwords.json", json.dumps({USER: known["password"]}))
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        (config / "airflow_local_settings.py").write_text(_LOCAL_SETTINGS, encoding="utf-8")
        return known

    def running(self, known: Mapping[str, Any]) -> Running:
        return Running(_url(known), USER, known["password"], self.folder / "logs")


def _write_private_under(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _write_private(folder / name, text)


def _write_private(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    aside.replace(path)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two commands never start or stop the same Airflow at once."""
    folder = settings.home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(settings: Settings) -> str:
    """Changes with whatever a running Airflow would not notice by itself."""
    seen = hashlib.sha256()
    seen.update((settings.home / MANIFEST).read_bytes())
    if settings.config is not None:
        seen.update(settings.config.read_bytes())
    for name in sorted(os.environ):
        if name.startswith(("C360_", "AIRFLOW__")):
            seen.update(f"{name}={os.environ[name]}\n".encode())
    # The modules tasks are forked with.
    for path in sorted((*ROOT.glob("etl/**/*.py"), *ROOT.glob("expectations/**/*"), *ROOT.glob("plugins/*.py"))):
        if path.is_file() and "__pycache__" not in path.parts:
            seen.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
    return seen.hexdigest()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- starting --------------------------------------------------------------------------------------------------------


def _environment(settings: Settings, known: Mapping[str, Any]) -> dict[str, str]:
    """The environment of every Airflow process: ours over the caller's, except what the caller says of Airflow."""
    folder = settings.home / "airflow"
    ours = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # As many tasks as there are threads, one that waits for the network, and `load`, which only waits.
        "AIRFLOW__CORE__PARALLELISM": str(max(2, settings.threads) + 2),
        "AIRFLOW__CORE__ASSET_MANAGER_CLASS": "plugins.asset_manager.OneAtATime",
        "AIRFLOW__CORE__FERNET_KEY": known["fernet_key"],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{_url(known)}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(known["port"]),
        "AIRFLOW__API__BASE_URL": _url(known),
        "AIRFLOW__API__SECRET_KEY": known["api_secret"],
        "AIRFLOW__API__INSTANCE_NAME": "Customer 360 Lakehouse",
        "AIRFLOW__API_AUTH__JWT_SECRET": known["jwt_secret"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(settings, known),
        # A task ends in a second or two: the scheduler looks that often.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": "50",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
        # The default 5 s is also how long a worker may take to notice that its task has ended.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(folder / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }
    theirs = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__")}
    if settings.airflow_database:
        theirs["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = settings.airflow_database
    return {
        **os.environ,
        **ours,
        **theirs,
        "C360_HOME": str(settings.home),
        **({"C360_CONFIG": str(settings.config)} if settings.config else {}),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
    }


def _database(settings: Settings, known: Mapping[str, Any]) -> str:
    return settings.airflow_database or (
        f"postgresql+psycopg2://airflow:{known['database_password']}@127.0.0.1:{known['database_port']}/airflow"
    )


def _ensure_database(settings: Settings, state: _State, known: dict[str, Any], progress: Callable[[str], None]) -> None:
    """A database that runs and has Airflow's tables; they are made once per version of Airflow."""
    marker = None
    if not settings.airflow_database:
        progress("Starting Airflow's database")
        postgres = Postgres(settings.home, state.log("postgres"))
        if not postgres.is_made:
            known.pop("migrated", None)
        postgres.start(known["database_port"], known["database_password"])
        marker = version("apache-airflow")
        if known.get("migrated") == marker:
            return
    progress("Making Airflow's tables (once)")
    log = state.log("migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=_environment(settings, known),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise AirflowError(f"Airflow could not make its tables (exit code {done.returncode}); see {log}")
    known["migrated"] = marker
    state.write(known)


def _wait_until_healthy(
    settings: Settings, state: _State, known: Mapping[str, Any], progress: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + _PATIENCE
    waiting: list[str] = list(COMPONENTS)
    while time.monotonic() < deadline:
        _check_alive(state, known)
        waiting = _unhealthy(known)
        if settings.is_demo and not (settings.home / "demo" / "server.url").is_file():
            waiting.append(DEMO)
        if not waiting:
            return
        progress(f"Starting Airflow: waiting for {', '.join(waiting)}")
        time.sleep(0.5)
    raise AirflowError(f"{', '.join(waiting)} did not start within {_PATIENCE:.0f} s; see {state.log(waiting[0])}")


def _unhealthy(known: Mapping[str, Any]) -> list[str]:
    """The components that do not report health; all of them while the API does not answer."""
    try:
        health = httpx.get(f"{_url(known)}/api/v2/monitor/health", timeout=5.0).json()
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
    mark = _State(settings).mark
    wanted = (*((DEMO,) if settings.is_demo else ()), *COMPONENTS)
    return all(processes.is_alive(known.get("pids", {}).get(name, 0), mark) for name in wanted)


def _check_alive(state: _State, known: Mapping[str, Any]) -> None:
    for name, pid in known.get("pids", {}).items():
        if not processes.is_alive(pid, state.mark):
            raise AirflowError(f"{name} has ended by itself; see {state.log(name)}")


def _url(known: Mapping[str, Any]) -> str:
    return f"http://127.0.0.1:{known['port']}"


@contextmanager
def _api(known: Mapping[str, Any]) -> Iterator[httpx.Client]:
    """Airflow's REST API, logged in."""
    if not known.get("pids"):
        raise AirflowError("Airflow is not running; start it with: c360 airflow start")
    with httpx.Client(base_url=_url(known), timeout=60.0, trust_env=False) as api:
        login = {"username": USER, "password": known["password"]}
        token = _answer(api.post("/auth/token", json=login))["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        yield api


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise AirflowError(
            f"Airflow answered {response.status_code} to {response.request.method} {response.request.url.path}: "
            f"{response.text[:300]}"
        )
    return response.json()


def _ensure_pools(settings: Settings, api: httpx.Client) -> None:
    """One pool per source, as wide as the source allows, and one for the tables of this machine."""
    manifest = json.loads((settings.home / MANIFEST).read_text(encoding="utf-8"))
    wanted = {f"source_{source['name']}": source["concurrency"] for source in manifest["sources"]}
    wanted |= {"tables": max(2, settings.threads), "load": 1}
    there = {pool["name"]: pool["slots"] for pool in _answer(api.get("/api/v2/pools", params={"limit": 100}))["pools"]}
    for name, slots in wanted.items():
        if name not in there:
            body = {"name": name, "slots": slots, "description": "made by c360"}
            _answer(api.post("/api/v2/pools", json=body))
        elif there[name] != slots:
            _answer(
                api.patch(f"/api/v2/pools/{name}", params={"update_mask": "slots"}, json={"pool": name, "slots": slots})
            )


def _wait_for_dags(settings: Settings, state: _State, api: httpx.Client, since: datetime) -> None:
    """Until every DAG of the manifest was read after `since`: what the database remembers may be older."""
    cascade = _cascade(settings)
    wanted = {step.dag_id for step in (*cascade.steps, cascade.publish)} | {"load", "rebuild"}
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for broken in _answer(api.get("/api/v2/importErrors"))["import_errors"]:
            if _moment(broken["timestamp"]) >= since:
                last = broken["stack_trace"].strip().splitlines()[-1]
                raise AirflowError(
                    f"DAG file {broken['filename']} does not load: {last}; see {state.log('dag-processor')}"
                )
        read = {dag["dag_id"] for dag in _all_dags(api) if _moment(dag["last_parsed_time"]) >= since}
        if wanted <= read:
            return
        time.sleep(0.5)
    raise AirflowError(f"Airflow did not read {len(wanted)} DAGs in time; see {state.log('dag-processor')}")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _all_dags(api: httpx.Client) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = _answer(api.get("/api/v2/dags", params={"limit": 100, "offset": offset}))["dags"]
        yield from page
        offset += len(page)
        if len(page) < 100:
            return
