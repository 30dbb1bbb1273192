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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.connect.mqtt import Keeper, Message, listen
from etl.errors import SourceUnreachable
from etl.run.ingest import Landing
from etl.run.spool import Spool
from etl.silver.device_events import DEVICE_EVENTS
from etl.sources import devices_mqtt
from tests.conftest import ROOT
from tests.processes import free_port, is_open, until
from tests.sources.landings import dead, ids, landing, subject
from tests.sources.test_devices import payload

(MQTT,) = devices_mqtt.SOURCE.streams
pytestmark = pytest.mark.broker


@dataclass
class Mosquitto:
    """A broker of our own, which keeps as many messages as come, in memory."""

    program: str
    port: int
    config: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([self.program, "-c", self.config], stderr=subprocess.DEVNULL)
        until(lambda: is_open(self.port), what="mosquitto", process=self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    port, config = free_port(), tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n")
    running = Mosquitto(program, port, config)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def broker(mosquitto: Mosquitto) -> int:
    """Its port."""
    return mosquitto.port


class Publisher:
    """A device: publishes with QoS 1 and knows what the broker took."""

    def __init__(self, port: int) -> None:
        paho = importlib.import_module("paho.mqtt.client")
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def publish(self, numbers: range, *, retain: bool = False, **change: Any) -> Callable[[], None]:
        """Send them; what is returned waits until the broker has them."""
        told = {f"d/{number}/readings": json.dumps(payload(f"r{number}", **change)) for number in numbers}
        waiting = [self.client.publish(topic, text, qos=1, retain=retain) for topic, text in told.items()]

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
    landed = landed_since_yesterday(spooler.folder)

    assert len(in_place) >= 2
    assert not list(spooler.folder.glob("*.part"))
    assert {f"r{number}" for number in range(1100)} == set(ids(landed))
    assert [] == dead(landed)


def landed_since_yesterday(folder: Path) -> Landing:
    today = datetime.now(UTC).date()
    return landing(devices_mqtt.SOURCE, MQTT, folder, f"{today - timedelta(days=1)}--{today}")


def fates(folder: Path) -> list[tuple[str, str, str | None]]:
    """Reading, fate and rule of everything that was received until now."""
    rows = subject(devices_mqtt.SOURCE, MQTT, DEVICE_EVENTS, landed_since_yesterday(folder))
    return sorted(rows.select("reading_id", "_fate", "_rule").rows(), key=str)


def heard(folder: Path) -> list[tuple[str, bool, bool]]:
    """Reading, retained and repeated, of every line on disk, by when it was received."""
    lines = [json.loads(one) for path in folder.glob("*.jsonl") for one in path.read_text().splitlines()]
    lines.sort(key=lambda one: one["received_at"])
    return [(one["payload"]["reading_id"], one["retain"], one["dup"]) for one in lines]


def listening(
    port: int,
    keeper: Keeper,
    is_enough: Callable[[], bool] = lambda: False,
    *,
    said: list[str] | None = None,
    until_subscribed: bool = False,
) -> int:
    """Listen, here, until it is enough, or until the broker knows our session; how many messages came."""
    end, told = time.monotonic() + 60, [] if said is None else said

    def is_ended() -> bool:
        assert time.monotonic() < end, told
        return is_enough() or (until_subscribed and any("listening" in one for one in told))

    return listen(
        "devices_mqtt", f"mqtt://127.0.0.1:{port}", ["d/+/readings"], keeper, client_id="c360-test", secret="",
        now=lambda: datetime.now(UTC), is_ended=is_ended, say=told.append,
    )  # fmt: skip


def heard_by(folder: Path, port: int, enough: int) -> int:
    """Listen, here, until that many messages more are on disk; how many came."""
    with Spool(folder, "readings") as files:
        return listening(port, files, lambda: len(waiting_lines(folder)) >= enough)


def waiting_lines(folder: Path) -> list[bytes]:
    """Whole lines in files that are not in place yet."""
    lines = [one for path in folder.glob(".*.part") for one in path.read_bytes().splitlines(keepends=True)]
    return [one for one in lines if one.endswith(b"\n")]


def test_a_message_the_real_broker_keeps_comes_again_with_every_start_and_counts_once(
    tmp_path: Path, broker: int
) -> None:
    device = Publisher(broker)
    device.publish(range(1), retain=True, measured_at=f"{datetime.now(UTC):%FT%TZ}")()
    device.close()
    came = [heard_by(tmp_path / "spool", broker, 1) for _ in range(2)]

    assert [1, 1] == came
    assert [("r0", True, False)] * 2 == heard(tmp_path / "spool")
    assert [("r0", "deduplicated", "repeated"), ("r0", "out", None)] == fates(tmp_path / "spool")


class DiesAfterKeeping:
    """A spool whose process ends between the disk and the acknowledgement."""

    def __init__(self, files: Spool) -> None:
        self.files = files

    def keep(self, messages: Sequence[Message]) -> None:
        self.files.keep(messages)
        raise RuntimeError("ended here")

    def turn(self, now: datetime) -> None:
        self.files.turn(now)


def test_a_message_that_was_kept_and_not_acknowledged_comes_again_and_counts_once(tmp_path: Path, broker: int) -> None:
    """At least once, as QoS 1 has it: never lost, and seen twice at worst."""
    folder = tmp_path / "spool"
    with Spool(folder, "readings") as files:
        listening(broker, files, until_subscribed=True)
        device = Publisher(broker)
        device.publish(range(1), measured_at=f"{datetime.now(UTC):%FT%TZ}")()
        device.close()
        with pytest.raises(RuntimeError, match="ended here"):
            listening(broker, DiesAfterKeeping(files))
    heard_by(folder, broker, 1)

    assert [("r0", False, False), ("r0", False, True)] == heard(folder)
    assert [("r0", "deduplicated", "repeated"), ("r0", "out", None)] == fates(folder)


def test_a_device_whose_clock_is_wrong_is_landed_by_our_clock_and_quarantined(tmp_path: Path, broker: int) -> None:
    now = datetime.now(UTC)
    device, folder = Publisher(broker), tmp_path / "spool"
    for number, days in enumerate((0, 3, -30)):
        device.publish(range(number, number + 1), retain=True, measured_at=f"{now + timedelta(days=days):%FT%TZ}")()
    device.close()

    assert 3 == heard_by(folder, broker, 3)
    assert [
        ("r0", "out", None), ("r1", "quarantined", "event_at.future"), ("r2", "quarantined", "event_at.behind"),
    ] == fates(folder)  # fmt: skip
    assert [] == dead(landed_since_yesterday(folder))


def test_a_broker_that_was_killed_and_forgot_us_is_listened_to_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    said: list[str] = []
    folder, port = tmp_path / "spool", mosquitto.port

    def is_enough() -> bool:
        """Between two looks at the network the broker dies, and comes back with nothing of us in its memory."""
        lines = len(waiting_lines(folder))
        if lines == 1 and len(said) == 1:
            mosquitto.kill()
            said.append("killed")
        if "the broker is away" in said[-1]:
            mosquitto.start()
            said.append("started")
            publish(1)
        return lines == 2

    def publish(number: int) -> None:
        device = Publisher(port)
        device.publish(range(number, number + 1), retain=True)()
        device.close()

    publish(0)
    with Spool(folder, "readings") as files:
        assert 2 == listening(port, files, lambda: bool(said) and is_enough(), said=said)

    assert ["r0", "r1"] == [ident for ident, *_ in heard(folder)]
    assert ["killed", "started"] == [one for one in said if "devices_mqtt" not in one]


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
