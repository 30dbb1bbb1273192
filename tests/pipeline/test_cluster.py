"""The pipeline on a real Dask cluster: three processes, TLS between them, and what dies in the middle.

Pieces are computed by workers, and what is published is what one process would have published, table by table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client

from etl import compute
from etl.compute import over
from etl.errors import ClusterError, SettingsError
from etl.model import Window
from etl.settings import load_settings
from tests.pipeline.conftest import FIRST, HISTORY, Ran, run_at, settings_at
from tests.processes import free_port, until

WORKERS = 2


def certificate(folder: Path) -> Mapping[str, str]:
    """A key and a certificate that signs itself, as Dask's settings name them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cluster.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    roles = {
        f"distributed.comm.tls.{role}.{what}": str(pem)
        for role in ("client", "scheduler", "worker")
        for what in ("key", "cert")
    }
    return {"distributed.comm.tls.ca-file": str(pem), **roles}


@dataclass
class Cluster:
    """A scheduler and workers, each a process of its own; `tls` are Dask's settings for all of them."""

    folder: Path
    tls: Mapping[str, str]
    port: int
    scheduler: subprocess.Popen[bytes] = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tls://127.0.0.1:{self.port}"

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        environ = {
            f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value for name, value in self.tls.items()
        }
        with (self.folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                env={**os.environ, **environ},
                cwd=Path.cwd(),
                stdout=log,
                stderr=log,
            )

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "scheduler", "--host", "tls://127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )

    def start_worker(self) -> None:
        self.workers.append(
            self._start(
                "worker", self.address, "--name", str(len(self.workers)), "--nthreads", "1", "--no-nanny",
                "--no-dashboard",
                "--local-directory", str(self.folder), "--death-timeout", "60",
            )
        )  # fmt: skip

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, certificate(tmp_path), free_port())
    made.start_scheduler()
    for _ in range(WORKERS):
        made.start_worker()
    try:
        with dask.config.set(dict(made.tls)):
            yield made
    finally:
        made.stop()


@contextmanager
def killing(cluster: Cluster, rooms: Sequence[str]) -> Iterator[list[str]]:
    """Once for each room, SIGKILL the worker that is computing a table of it, and start another in its place.

    Gives the names of the tables whose worker died.
    """
    killed: list[str] = []
    over_now = threading.Event()

    def watch() -> None:
        left = list(rooms)
        with Client(cluster.address, set_as_default=False) as client:
            while left and not over_now.wait(0.01):
                for worker, keys in client.processing().items():
                    hit = next((str(key) for key in keys if str(key).startswith(tuple(left))), None)
                    if hit is not None:
                        number = int(client.scheduler_info(n_workers=-1)["workers"][worker]["name"])
                        cluster.workers[number].kill()
                        killed.append(hit)
                        left.remove(next(room for room in left if hit.startswith(room)))
                        cluster.start_worker()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield killed
    finally:
        over_now.set()
        watching.join()


def digests(ran: Ran) -> dict[str, object]:
    """Of every table that is built, the digest of its content, day by day."""
    return {table.full_name: ran.house.lake.digests(table) for table in ran.house.catalog.tables}


def test_a_cluster_makes_the_same_tables_though_workers_die_in_silver_and_in_gold(
    cluster: Cluster, at_once: Ran, tmp_path: Path
) -> None:
    settings = settings_at(tmp_path, C360_DASK_SCHEDULER=cluster.address)

    with killing(cluster, ["silver.web_events", "gold.customer_360"]) as killed:
        here = run_at(settings, [Window.of_days(FIRST, HISTORY[-1].days[-1])])

    assert [name.split("-")[0] for name in killed] == ["silver.web_events", "gold.customer_360"]
    assert [outcome for outcome in here.outcomes if outcome.why] == []
    assert digests(here) == digests(at_once)
    assert b"@" not in (tmp_path / "cluster.log").read_bytes()


def test_a_scheduler_that_restarts_between_tries_changes_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert over(str, [1, 2], scheduler=cluster.address) == ["1", "2"]

    cluster.stop()
    with monkeypatch.context() as patched:
        patched.setattr(compute, "CONNECT_SECONDS", 2)  # nobody will answer, however long one waits
        with pytest.raises(ClusterError, match="no Dask scheduler answers"):
            over(str, [1], scheduler=cluster.address)
    cluster.workers.clear()
    cluster.start_scheduler()
    cluster.start_worker()

    assert over(str, [1, 2], scheduler=cluster.address) == ["1", "2"]


def test_a_piece_that_kills_every_worker_is_one_line(cluster: Cluster) -> None:
    def die(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        cluster.start_worker()

    with pytest.raises(ClusterError, match="workers died each time"):
        over(die, [1], scheduler=cluster.address)


def test_a_worker_of_another_program_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="stands on other ground: expected here, came there"):
        over(str, [1], scheduler=cluster.address, ground=stands(os.getpid()))


def stands(asker: int) -> Callable[[], str]:
    """Ground that is another one in another process."""
    return lambda: "here" if os.getpid() == asker else "there"


def test_an_error_of_a_piece_is_the_error_of_the_whole(cluster: Cluster) -> None:
    def refuse(_: int) -> None:
        raise SettingsError("said by the piece")

    with pytest.raises(SettingsError, match=r"^said by the piece$"):
        over(refuse, [1, 2], scheduler=cluster.address)


def test_what_was_made_here_before_an_error_is_undone() -> None:
    made: list[int] = []
    undone: list[int] = []

    def make_two(piece: int) -> int:
        if len(made) == 2:
            raise SettingsError("said by the piece")
        made.append(piece)
        return piece

    with pytest.raises(SettingsError):
        over(make_two, [1, 2, 3], undo=undone.append)

    assert undone == made
    assert len(undone) == 2


def test_what_workers_made_before_an_error_is_undone(cluster: Cluster, tmp_path: Path) -> None:
    made, undone = tmp_path / "made", []

    def make_the_second(piece: int) -> int:
        if piece == 2:
            made.touch()
            return piece
        until(made.exists, what="the other piece")
        time.sleep(2)  # while the other worker tells the scheduler
        raise SettingsError("said by the piece")

    with pytest.raises(SettingsError):
        over(make_the_second, [1, 2], scheduler=cluster.address, undo=undone.append)

    assert undone == [2]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://10.0.0.7:8786", "in the clear"),
        ("tcp://scheduler.example.com:8786", "in the clear"),
        ("http://127.0.0.1:8786", "expected tls://"),
        ("8786", "expected tls://"),
    ],
)
def test_customers_do_not_cross_a_network_in_the_clear(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings({"C360_DASK_SCHEDULER": address}, cwd=tmp_path)


def test_plain_tcp_is_for_this_machine_or_said_to_be_meant(tmp_path: Path) -> None:
    here = load_settings({"C360_DASK_SCHEDULER": "tcp://127.0.0.1:8786"}, cwd=tmp_path)
    (tmp_path / "lakehouse.toml").write_text('[dask]\nscheduler = "tcp://10.0.0.7:8786"\nallow_plain = true\n')
    there = load_settings({}, cwd=tmp_path)

    assert (here.dask_scheduler, there.dask_scheduler) == ("tcp://127.0.0.1:8786", "tcp://10.0.0.7:8786")
