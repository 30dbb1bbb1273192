"""MQTT 3.1.1 as a subscriber that loses nothing: QoS 1, a session the broker keeps, and an acknowledgement only for
what is on disk.

One thread: messages are taken as they come, kept together, and acknowledged after that. So one flush serves as many
messages as the broker has under way, and a message whose connection was lost in between comes again (QoS 1).
paho-mqtt is imported where it is used: only who listens needs it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from etl.connect.verdicts import masked
from etl.errors import SourceError, SourceRefused, SourceUnreachable

#: At most this many messages, or bytes, wait for one flush.
MOST_AT_ONCE = 1000
MOST_BYTES = 8 * 1024 * 1024
_KEEPALIVE_S = 60
_LONGEST_PAUSE_S = 60.0

_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is: mqtt://user@host:1883, or mqtts:// for TLS (port 8883)."""

    host: str
    port: int
    is_encrypted: bool
    user: str

    @classmethod
    def of(cls, address: str, where: str) -> Broker:
        """Raises: SourceRefused when the address is none."""
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0 or parts.password is not None:
            raise SourceRefused(
                f"{where}: broker is no address of a broker; expected mqtt://user@host:1883 or mqtts://user@host:8883, "
                "without a password"
            )
        is_encrypted = parts.scheme == "mqtts"
        return cls(
            parts.hostname, port or (8883 if is_encrypted else 1883), is_encrypted, unquote(parts.username or "")
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was received: a line of JSON without its line end, and when."""

    line: bytes
    received_at: datetime


class Keeper(Protocol):
    """Where messages go. `keep` returns when they are on disk, and raises where they are not."""

    def keep(self, messages: Sequence[Message]) -> None:
        """Put all of them on disk."""

    def turn(self, now: datetime) -> None:
        """Hear what time it is."""


def line_of(
    topic: str, payload: bytes, *, qos: int, is_retained: bool, is_repeat: bool, received_at: datetime
) -> Message:
    """`{topic, qos, retain, dup, received_at, payload}`. A JSON payload stands as it is, without line breaks; other
    text as text; other bytes as hexadecimal digits in `payload_hex` instead.
    """
    told: dict[str, Any] = {
        "topic": topic,
        "qos": qos,
        "retain": is_retained,
        "dup": is_repeat,
        "received_at": f"{received_at:%Y-%m-%dT%H:%M:%S.%f}Z",
    }
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return Message(_JSON.encode({**told, "payload_hex": payload.hex()}), received_at)
    try:
        msgspec.json.decode(payload)
        value: Any = msgspec.Raw(msgspec.json.format(payload, indent=-1))
    except (msgspec.DecodeError, RecursionError):
        value = text
    return Message(_JSON.encode({**told, "payload": value}), received_at)


def paho_client(client_id: str, broker: Broker, secret: str) -> Any:
    """A client of paho-mqtt for a session that is kept. Raises: SourceRefused when the library is missing."""
    try:
        paho = importlib.import_module("paho.mqtt.client")
    except ImportError:
        raise SourceRefused(
            "MQTT needs paho-mqtt, which is not installed; install it: uv pip install paho-mqtt"
        ) from None
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id, clean_session=False, protocol=paho.MQTTv311, manual_ack=True
    )
    if broker.user:
        client.username_pw_set(broker.user, secret or None)
    if broker.is_encrypted:
        client.tls_set()
    return client


class Listener:
    """One subscription to one broker, listened to until `is_ended`; see `listen`."""

    def __init__(
        self,
        where: str,
        broker: Broker,
        topics: Sequence[str],
        keeper: Keeper,
        *,
        client: Any,
        secret: str = "",
        now: Callable[[], datetime],
        is_ended: Callable[[], bool],
        say: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.where, self.broker, self.topics, self.keeper, self.secret = where, broker, topics, keeper, secret
        self.client, self.now, self.is_ended, self.say, self.sleep = client, now, is_ended, say, sleep
        self.kept = 0
        self._waiting: list[tuple[Message, int, int]] = []
        self._bytes = 0
        self._is_connected = self._was_connected = False
        self._refused = ""
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._received

    def listen(self) -> int:
        """How many messages were kept until the end. A lost connection is made again, for as long as it takes.

        Raises: SourceUnreachable when there is no broker at the start, SourceRefused when it says no, and what the
        keeper raises; then nothing that is not on disk was acknowledged.
        """
        pause = 1.0
        while not self.is_ended():
            try:
                self.client.connect(self.broker.host, self.broker.port, _KEEPALIVE_S)
                self._attend()
            except OSError as error:
                self._lost(str(error.strerror or error))
            if self._was_connected and self._is_connected:
                pause = 1.0
            self._is_connected = False
            if self._refused:
                raise SourceRefused(f"{self.where}: {masked(self._refused, self.secret)}")
            if not self._was_connected and not self.is_ended():
                self._lost("it ends the connection without a word of MQTT")
            if not self.is_ended():
                self.say(f"{self.where}: the broker is away; trying again in {pause:.0f} s")
                self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        return self.kept

    def _attend(self) -> None:
        """Take messages until the connection is lost or the end has come; what was taken is kept in any case."""
        is_up = True
        while is_up and not self.is_ended() and not self._refused:
            before = len(self._waiting)
            # While something waits, only what has already come is waited for.
            is_up = self.client.loop(timeout=0.0 if before else 0.5) == 0
            is_quiet = len(self._waiting) == before
            if before and (is_quiet or not is_up or before >= MOST_AT_ONCE or self._bytes >= MOST_BYTES):
                self._keep(acknowledge=is_up)
            self.keeper.turn(self.now())
        self._keep(acknowledge=is_up)
        if is_up:
            self.client.disconnect()

    def _keep(self, *, acknowledge: bool) -> None:
        """On disk first, then acknowledged; on another connection the broker would take it for another message."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        self.keeper.keep([message for message, _, _ in waiting])
        self.kept += len(waiting)
        for _, number, qos in waiting:
            if acknowledge and qos:
                self.client.ack(number, qos)

    def _lost(self, why: str) -> None:
        """A broker that was there will be again; one that never was is a wrong address."""
        if not self._was_connected:
            broker = f"{self.broker.host}:{self.broker.port}"
            raise SourceUnreachable(f"{self.where}: the broker {broker} does not answer: {why}; check broker") from None

    def _rest(self, seconds: float) -> None:
        while seconds > 0 and not self.is_ended():
            self.keeper.turn(self.now())
            self.sleep(min(seconds, 0.5))
            seconds -= 0.5

    # --- called by the client ---

    def _connected(self, client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker says no: {reason}; check the user in broker and its secret"
            return
        if not (self._was_connected and flags.session_present):
            client.subscribe([(topic, 1) for topic in self.topics])
        self._was_connected = self._is_connected = True
        self.say(f"{self.where}: listening to {', '.join(self.topics)}")

    def _subscribed(self, _client: Any, _data: Any, _number: Any, reasons: Any, _properties: Any) -> None:
        refused = [topic for topic, reason in zip(self.topics, reasons, strict=False) if reason.is_failure]
        if refused:
            self._refused = f"the broker refuses {', '.join(refused)}; check topics and what the user may read"

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # A topic must be UTF-8; a broker that lets another through must not stop the rest.
            topic = "(not UTF-8)"
        kept = line_of(
            topic,
            message.payload,
            qos=message.qos,
            is_retained=bool(message.retain),
            is_repeat=bool(message.dup),
            received_at=self.now(),
        )
        self._waiting.append((kept, message.mid, message.qos))
        self._bytes += len(kept.line)


def listen(
    where: str,
    address: str,
    topics: Sequence[str],
    keeper: Keeper,
    *,
    client_id: str,
    secret: str,
    now: Callable[[], datetime],
    is_ended: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """Listen to the topics until the end, and hand every message to `keeper` before it is acknowledged; see `Listener`.

    Raises: SourceError when there are no topics, and as `Listener.listen`.
    """
    if not topics:
        raise SourceError(f"{where}: no topics; name them in lakehouse.toml, e.g. topics = ['devices/+/readings']")
    broker = Broker.of(address, where)
    client = paho_client(client_id, broker, secret)
    return Listener(
        where, broker, topics, keeper, client=client, secret=secret, now=now, is_ended=is_ended, say=say
    ).listen()
