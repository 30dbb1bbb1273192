"""Airflow's own database: behind a password, on this machine only, below any folder."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from etl.errors import AirflowError
from etl.run.postgres import Postgres
from tests.processes import free_port


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A cluster below a folder only its owner may enter, as a checkout in a home directory is."""
    home = tmp_path / "private"
    home.mkdir(mode=0o700)
    cluster = Postgres(home)
    try:
        yield cluster
    finally:
        cluster.stop()
        if not cluster.folder.is_relative_to(tmp_path):
            shutil.rmtree(cluster.folder.parent)


def test_it_runs_below_a_private_folder_and_survives_a_second_start(postgres: Postgres) -> None:
    port = free_port()
    address = postgres.start(port, "open-sesame")
    pid = postgres.pid

    assert postgres.start(port, "open-sesame") == address
    assert postgres.pid == pid is not None


def test_only_the_password_opens_it(postgres: Postgres) -> None:
    port = free_port()
    postgres.start(port, "open-sesame")
    there = {"host": "127.0.0.1", "port": port, "user": "airflow", "dbname": "airflow"}

    psycopg2.connect(**there, password="open-sesame").close()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(**there, password="guess")


def test_stopped_it_is_gone_and_started_again_it_remembers(postgres: Postgres) -> None:
    port = free_port()
    postgres.start(port, "open-sesame")
    assert postgres.stop() is True

    assert (postgres.is_running, postgres.pid, postgres.stop()) == (False, None, False)
    postgres.start(port, "open-sesame")
    psycopg2.connect(host="127.0.0.1", port=port, user="airflow", dbname="airflow", password="open-sesame").close()


def test_a_port_that_is_taken_is_said_in_one_line(postgres: Postgres) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(AirflowError, match="Airflow's database") as refused:
            postgres.start(other.getsockname()[1], "open-sesame")

    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves the server to another user")
def test_root_leaves_the_server_to_another_user(postgres: Postgres) -> None:
    postgres.start(free_port(), "open-sesame")

    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
