"""A real broker, mosquitto, and the real spool between it and the lake: what a kill, a restart and a repeat do.

Runs where `mosquitto` is installed (`apt-get install mosquitto`); elsewhere the tests skip, saying so.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.connect.mqtt import listen
from etl.errors import SourceUnreachable
from etl.run.spool import Spool
from etl.sources import devices_mqtt
from tests.conftest import ROOT
from tests.real_servers.processes import free_port, is_open, until
from tests.sources.landings import dead, ids, landing
from tests.sources.test_devices import payload

(MQTT,) = devices_mqtt.SOURCE.streams
pytestmark = pytest.mark.broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """A mosquitto of our own, which keeps as many messages as come; its port."""
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (uv pip install paho-mqtt)")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n")
    with subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL) as running:
        try:
            until(lambda: is_open(port), what="mosquitto")
            yield port
        finally:
            running.terminate()


class Publisher:
    """A device: publishes with QoS 1 and knows what the broker took."""

    def __init__(self, port: int) -> None:
        paho = importlib.import_module("paho.mqtt.client")
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def publish(self, numbers: range, *, retain: bool = False) -> Callable[[], None]:
        """Send them; what is returned waits until the broker has them."""
        waiting = [
            self.client.publish(f"d/{number}/readings", json.dumps(payload(f"r{number}")), qos=1, retain=retain)
            for number in numbers
        ]

        def taken() -> None:
            for one in waiting:
                one.wait_for_publish(20)

        return taken

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Spooler:
    """`c360 mqtt spool devices_mqtt` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / "spool"
        (folder / "lakehouse.toml").write_text(
            f'[company]\nname = "mine"\nfirst_day = 2026-01-01\n[sources.devices_mqtt]\nbase_url = "{self.folder}"\n'
            f'broker = "mqtt://127.0.0.1:{port}"\ntopics = ["d/+/readings"]\n'
        )
        self.heard = folder / "heard"
        heard = self.heard.stat().st_size if self.heard.exists() else 0
        with self.heard.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "etl", "mqtt", "spool", "devices_mqtt"],
                cwd=ROOT,
                env={**os.environ, "C360_CONFIG": str(folder / "lakehouse.toml"), "C360_HOME": str(folder / "var")},
                stdout=out,
                stderr=out,
            )
        until(lambda: b"listening to" in self.heard.read_bytes()[heard:], what="the spool to listen")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every whole line on disk, in place or not."""
        files = [path for path in self.folder.iterdir() if ".jsonl" in path.name]
        lines = [one for path in files for one in path.read_bytes().splitlines(keepends=True)]
        return [json.loads(one) for one in lines if one.endswith(b"\n")]

    @property
    def numbers(self) -> set[int]:
        return {int(one["payload"]["reading_id"][1:]) for one in self.lines}

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@pytest.mark.timeout(120)
def test_a_real_broker_loses_nothing_to_a_kill_and_a_term(tmp_path: Path, broker: int) -> None:
    spooler, device = Spooler(tmp_path, broker), Publisher(broker)
    try:
        taken = device.publish(range(1000))
        until(lambda: len(spooler.numbers) > 20, what="the first messages")
        assert -signal.SIGKILL == spooler.end(signal.SIGKILL)
        taken()
        device.publish(range(1000, 1100))()  # nobody listens: the broker keeps them for the session

        spooler = Spooler(tmp_path, broker)
        until(lambda: spooler.numbers == set(range(1100)), what="all of them")
        assert 0 == spooler.end(signal.SIGTERM)
    finally:
        device.close()
        spooler.process.kill()
        spooler.process.wait()
    in_place = sorted(path.name for path in spooler.folder.iterdir() if not path.name.startswith("."))
    today = datetime.now(UTC)
    landed = landing(devices_mqtt.SOURCE, MQTT, spooler.folder, f"{today:%Y-%m-%d}")

    assert len(in_place) >= 2
    assert not list(spooler.folder.glob("*.part"))
    assert {f"r{number}" for number in range(1100)} == set(ids(landed))
    assert [] == dead(landed)


def heard_by(folder: Path, port: int, enough: int) -> int:
    """Listen, here, until the folder has that many messages more; how many came."""
    end = time.monotonic() + 20
    said: list[str] = []

    def is_enough() -> bool:
        assert time.monotonic() < end, said
        return sum(path.stat().st_size > 0 for path in folder.glob("*.part")) >= enough

    with Spool(folder, "readings") as files:
        return listen(
            "devices_mqtt", f"mqtt://127.0.0.1:{port}", ["d/+/readings"], files, client_id="c360-test", secret="",
            now=lambda: datetime.now(UTC), is_ended=is_enough, say=said.append,
        )  # fmt: skip


def test_a_message_the_real_broker_keeps_comes_again_with_every_start(tmp_path: Path, broker: int) -> None:
    device = Publisher(broker)
    device.publish(range(1), retain=True)()
    device.close()
    came = [heard_by(tmp_path / "spool", broker, 1) for _ in range(2)]
    lines = [json.loads(one) for path in (tmp_path / "spool").glob("*.jsonl") for one in path.read_text().splitlines()]

    assert [1, 1] == came
    assert [(True, 1, "r0"), (True, 1, "r0")] == [
        (one["retain"], one["qos"], one["payload"]["reading_id"]) for one in lines
    ]


def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path, broker: int) -> None:
    nobody = free_port()

    with pytest.raises(
        SourceUnreachable, match=f"broker 127.0.0.1:{nobody} does not answer: Connection refused; check"
    ):
        heard_by(tmp_path / "spool", nobody, 1)


def test_what_is_no_broker_is_one_line(tmp_path: Path, broker: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        hung_up = threading.Thread(target=hang_up)
        hung_up.start()
        with pytest.raises(SourceUnreachable, match="does not answer: it ends the connection without a word of MQTT"):
            heard_by(tmp_path / "spool", server.getsockname()[1], 1)
        hung_up.join()
