"""Listening to a broker: what is on disk is acknowledged, nothing else, and never on another connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from etl.connect.mqtt import Broker, Listener, Message, line_of
from etl.errors import SourceError, SourceRefused, SourceUnreachable

NOW = datetime(2026, 1, 2, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Reason:
    """A reason code as paho has it."""

    is_failure: bool


YES, NO = Reason(False), Reason(True)


@dataclass
class Fake:
    """A client as paho has it, and the keeper: both write to one log. Each connection is a list of what `loop` meets:
    messages (numbers) that came, or None, where nothing did; after the last the connection is lost.
    """

    connections: list[list[list[int] | None]]
    log: list[Any] = field(default_factory=list)
    is_session_known: bool = False
    reason: Any = YES
    reasons: Sequence[Any] = (YES,)
    unreachable: bool = False
    fails: bool = False
    paused: list[float] = field(default_factory=list)
    on_connect: Callable[..., None] | None = None
    on_subscribe: Callable[..., None] | None = None
    on_message: Callable[..., None] | None = None

    # --- the client ---

    def connect(self, host: str, port: int, keepalive: int) -> None:
        self.log.append(("connect", host, port))
        if self.unreachable:
            raise ConnectionRefusedError(111, "Connection refused")
        self.now = list(self.connections.pop(0))
        self.is_new = True

    def loop(self, timeout: float) -> int:
        if self.is_new:
            self.is_new = False
            assert self.on_connect is not None
            self.on_connect(self, None, SimpleNamespace(session_present=self.is_session_known), self.reason, None)
            self.is_session_known = True
            return 0
        if not self.now:
            return 7
        for number in self.now.pop(0) or ():
            message = SimpleNamespace(mid=number, qos=1, topic="d/1", payload=b"%d" % number, retain=0, dup=0)
            assert self.on_message is not None
            self.on_message(self, None, message)
        return 0

    def subscribe(self, topics: list[tuple[str, int]]) -> None:
        self.log.append(("subscribe", *topics))
        assert self.on_subscribe is not None
        self.on_subscribe(self, None, 1, self.reasons, None)

    def ack(self, number: int, qos: int) -> None:
        self.log.append(("ack", number))

    def disconnect(self) -> None:
        self.log.append(("disconnect",))

    # --- the keeper ---

    def keep(self, messages: Sequence[Message]) -> None:
        if self.fails:
            raise SourceError("the disk is full")
        self.log.append(("keep", *(json.loads(message.line)["payload"] for message in messages)))

    def turn(self, now: datetime) -> None:
        assert now == NOW


def listened(fake: Fake, *, until: Callable[[], bool] | None = None) -> int:
    """Listen until everything that comes has come (or as said)."""
    return Listener(
        "devices_mqtt",
        Broker.of("mqtt://scale@broker.example", "devices_mqtt"),
        ["devices/+/readings"],
        fake,
        client=fake,
        secret="hunter2",
        now=lambda: NOW,
        is_ended=until or (lambda: not fake.connections and hasattr(fake, "now") and not fake.now),
        sleep=fake.paused.append,
    ).listen()


def only(fake: Fake, *kinds: str) -> list[Any]:
    return [each for each in fake.log if each[0] in kinds]


def test_what_came_is_kept_together_and_acknowledged_after_that() -> None:
    fake = Fake([[[1], [2, 3], None, None, [4], None]])

    assert 4 == listened(fake)
    assert [
        ("connect", "broker.example", 1883),
        ("subscribe", ("devices/+/readings", 1)),
        ("keep", 1, 2, 3),
        ("ack", 1),
        ("ack", 2),
        ("ack", 3),
        ("keep", 4),
        ("ack", 4),
        ("disconnect",),
    ] == fake.log


def test_nothing_is_acknowledged_that_could_not_be_kept() -> None:
    fake = Fake([[[1], None, None]], fails=True)

    with pytest.raises(SourceError, match="the disk is full"):
        listened(fake)
    assert [] == only(fake, "ack")


def test_what_came_before_the_end_is_kept_and_acknowledged() -> None:
    fake = Fake([[[1], [2]]])

    assert 2 == listened(fake)
    assert [("keep", 1, 2), ("ack", 1), ("ack", 2), ("disconnect",)] == fake.log[-4:]


def test_on_a_lost_connection_messages_are_kept_but_not_acknowledged_and_the_session_goes_on() -> None:
    fake = Fake([[[1]], [[1, 2], None, None]])

    assert 3 == listened(fake)
    assert [("keep", 1), ("keep", 1, 2), ("ack", 1), ("ack", 2)] == only(fake, "keep", "ack")
    assert 1 == len(only(fake, "subscribe"))
    assert [0.5, 0.5] == fake.paused


def test_a_broker_that_forgot_the_session_is_asked_again() -> None:
    fake = Fake([[[1]], [[2], None, None]])
    fake.paused = Forgetful(fake)

    listened(fake)

    assert 2 == len(only(fake, "subscribe"))


class Forgetful(list[float]):
    """While we wait, the broker loses our session."""

    def __init__(self, fake: Fake) -> None:
        super().__init__()
        self.fake = fake

    def append(self, seconds: float) -> None:
        self.fake.is_session_known = False


def test_no_broker_at_the_start_is_said_in_one_line() -> None:
    with pytest.raises(SourceUnreachable) as caught:
        listened(Fake([], unreachable=True))

    assert "devices_mqtt: the broker broker.example:1883 does not answer: Connection refused; check broker" == str(
        caught.value
    )


def test_a_broker_that_goes_away_is_tried_again_with_longer_pauses() -> None:
    fake = Fake([[[1], None, None]])
    waits: list[str] = []

    def until() -> bool:
        fake.unreachable = not fake.connections
        return sum(fake.paused) > 30

    Listener(
        "devices_mqtt", Broker.of("mqtt://b", "x"), ["t"], fake, client=fake, now=lambda: NOW, is_ended=until,
        say=waits.append, sleep=fake.paused.append,
    ).listen()  # fmt: skip

    assert ["1 s", "2 s", "4 s", "8 s", "16 s"] == [said.rsplit("in ", 1)[1] for said in waits if "again" in said][:5]


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (Fake([[None]], reason=NO), "devices_mqtt: the broker says no: .*; check the user in broker and its secret"),
        (Fake([[None]], reasons=(NO,)), r"devices_mqtt: the broker refuses devices/\+/readings; check topics"),
    ],
    ids=["user", "topic"],
)
def test_a_broker_that_says_no_is_not_asked_again(fake: Fake, message: str) -> None:
    with pytest.raises(SourceRefused, match=message):
        listened(fake, until=lambda: False)
    assert 1 == len(only(fake, "connect"))


@pytest.mark.parametrize(
    "address",
    ["", "broker.example", "http://broker.example", "mqtt://", "mqtt://b:99999", "mqtt://u:secret@b:1883"],
)
def test_an_address_that_is_none_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(SourceRefused, match="broker is no address of a broker; expected mqtt://") as caught:
        Broker.of(address, "devices_mqtt")
    assert "secret@" not in str(caught.value)


def test_an_address_says_host_port_user_and_whether_it_is_encrypted() -> None:
    assert Broker("b", 1883, False, "") == Broker.of("mqtt://b", "x")
    assert Broker("b", 8883, True, "scale user") == Broker.of("mqtts://scale%20user@b", "x")
    assert Broker("::1", 2883, False, "") == Broker.of("mqtt://[::1]:2883", "x")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"value": 1.10,\n  "at": null}', b'"payload":{"value":1.10,"at":null}}'),
        (b"12345678901234567890123", b'"payload":12345678901234567890123}'),
        (b"on\noff", b'"payload":"on\\noff"}'),
        (b'{"value": NaN}', b'"payload":"{\\"value\\": NaN}"}'),
        (b'{"value": 1', b'"payload":"{\\"value\\": 1"}'),
        (b"[" * 100_000, b'"payload":"' + b"[" * 100_000 + b'"}'),
        (b"", b'"payload":""}'),
        (b"\xff\x00", b'"payload_hex":"ff00"}'),
    ],
    ids=["json", "long_number", "text", "no_json", "cut", "deep", "nothing", "bytes"],
)
def test_a_message_is_one_line_with_its_payload_as_it_was(payload: bytes, expected: bytes) -> None:
    line = line_of("a/b", payload, qos=1, is_retained=True, is_repeat=False, received_at=NOW).line

    assert (
        b'{"topic":"a/b","qos":1,"retain":true,"dup":false,"received_at":"2026-01-02T10:00:00.000000Z",' + expected
        == line
    )
    assert b"\n" not in line
