"""The containers run what this house is: its commands, its files, its settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def _has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _has_compose(), reason="no docker client with compose on this machine")
def test_compose_accepts_the_file() -> None:
    command = ["docker", "compose", "--profile", "dask", "-f", str(COMPOSE), "config", "--quiet"]

    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (told.returncode, told.stderr) == (0, "")


def test_the_services_are_airflow_its_database_and_dask_on_request(services: dict[str, Any]) -> None:
    always = [name for name, service in services.items() if "profiles" not in service]

    assert always == ["postgres", "airflow"]
    assert sorted(set(services) - set(always)) == ["dask-scheduler", "dask-worker"]


def test_every_c360_command_named_here_exists() -> None:
    from typer.main import get_command

    from etl.__main__ import app

    top = get_command(app)
    text = COMPOSE.read_text() + (DOCKER / "airflow.sh").read_text()
    named = re.findall(r"\bc360 ((?:airflow )?[a-z]+)\b", text)
    known = set(top.commands) | {f"airflow {name}" for name in top.commands["airflow"].commands}

    assert len(named) >= 5
    assert [name for name in named if name not in known] == []


def test_every_setting_named_here_is_read() -> None:
    read = (ROOT / "etl" / "settings.py").read_text()
    text = "".join(path.read_text() for path in DOCKER.iterdir())
    # The password of PostgreSQL is compose's own; it reaches us inside C360_AIRFLOW_DATABASE.
    named = set(re.findall(r"C360_[A-Z_]+[A-Z]", text)) - {"C360_POSTGRES_PASSWORD", "C360_SECRET"}

    assert named == {"C360_HOME", "C360_CONFIG", "C360_AIRFLOW_PORT", "C360_AIRFLOW_DATABASE"}
    assert sorted(name for name in named if name not in read) == []


def test_every_file_the_image_copies_is_there_and_let_through() -> None:
    copied = [
        name
        for line in (DOCKER / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for name in line.split()[2:-1]
    ]
    let_through = [
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    ]

    assert sorted(copied) == sorted(let_through)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_airflow_is_published_on_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert ports == ["127.0.0.1:8080:8080"]


def test_the_image_installs_by_the_rule_of_make() -> None:
    assert "RUN make .venv/.installed" in (DOCKER / "Dockerfile").read_text()
    assert "INSTALLED := $(VENV)/.installed" in (ROOT / "Makefile").read_text()


def test_the_script_is_a_sound_one_and_may_be_run() -> None:
    script = DOCKER / "airflow.sh"

    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(script)], check=True)
