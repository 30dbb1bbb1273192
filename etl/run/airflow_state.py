"""What an installation of Airflow remembers between commands, and the environment its programs run in."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import etl
from etl.errors import AirflowError, SettingsError
from etl.run import processes
from etl.run.manifest import NAME as MANIFEST
from etl.settings import Settings

ROOT = Path(etl.__file__).resolve().parent.parent
USER = "admin"
#: Tables built at the same time, each in a process of its own.
TABLES_AT_ONCE = 2

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


class Installation:
    """What is remembered between commands: ports, secrets, pids. One JSON file, for its owner's eyes only."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home / "airflow"
        self.mark = str(self.folder)
        self._settings = settings
        self._file = self.folder / "state.json"

    def log(self, name: str) -> Path:
        """Where the component `name` writes."""
        return self.folder / "logs" / f"{name}.log"

    def task_log(self, task: Mapping[str, Any]) -> Path:
        """Where the last try of a task wrote."""
        run = f"dag_id={task['dag_id']}/run_id={task['dag_run_id']}/task_id={task['task_id']}"
        return self.folder / "logs" / run / f"attempt={task['try_number']}.log"

    def read(self) -> dict[str, Any]:
        """What is remembered; nothing before the first start."""
        try:
            read: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return read

    def write(self, known: Mapping[str, Any]) -> None:
        """Remember `known` instead of what was."""
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
        """What a person is told."""
        return Running(url_of(known), USER, known["password"], self.folder / "logs")


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
def alone(settings: Settings) -> Iterator[None]:
    """Two commands never start or stop the same Airflow at once."""
    folder = settings.home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(settings: Settings) -> str:
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


def environment_of(settings: Settings, known: Mapping[str, Any]) -> dict[str, str]:
    """The environment of every Airflow process: ours over the caller's, except what the caller says of Airflow."""
    folder = settings.home / "airflow"
    ours = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # As many tasks as tables at once, one that waits for the network, and `load`, which only waits.
        "AIRFLOW__CORE__PARALLELISM": str(TABLES_AT_ONCE + 2),
        "AIRFLOW__CORE__ASSET_MANAGER_CLASS": "plugins.asset_manager.OneAtATime",
        "AIRFLOW__CORE__FERNET_KEY": known["fernet_key"],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url_of(known)}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(known["port"]),
        "AIRFLOW__API__BASE_URL": url_of(known),
        "AIRFLOW__API__SECRET_KEY": known["api_secret"],
        "AIRFLOW__API__INSTANCE_NAME": "Customer 360 Lakehouse",
        "AIRFLOW__API_AUTH__JWT_SECRET": known["jwt_secret"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_address(settings, known),
        # A task ends in a second or two: the scheduler looks that often.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # What was queued or running when everything was killed is taken up again soon, not after five minutes.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
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


def database_address(settings: Settings, known: Mapping[str, Any]) -> str:
    return settings.airflow_database or (
        f"postgresql+psycopg2://airflow:{known['database_password']}@127.0.0.1:{known['database_port']}/airflow"
    )


def url_of(known: Mapping[str, Any]) -> str:
    return f"http://127.0.0.1:{known['port']}"


def check_alive(installation: Installation, known: Mapping[str, Any]) -> None:
    for name, pid in known.get("pids", {}).items():
        if not processes.is_alive(pid, installation.mark):
            raise AirflowError(f"{name} has ended by itself; see {installation.log(name)}")


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
