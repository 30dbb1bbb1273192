"""Connected devices over MQTT 3.1.1: the messages `c360 mqtt spool devices_mqtt` wrote down, by the hour of receipt.

A line is `{topic, qos, retain, dup, received_at, payload}`; a payload of ours is a JSON object `{reading_id, device_id,
account, metric, value, measured_at}`. Delivery is at least once (QoS 1), the last message of a topic may be kept by the
broker and come again with every new subscription (retained), and a device's clock may be wrong: receipt decides the
window, and `silver.device_events` lets a reading count once. What is no such object is a dead letter.

Devices must publish with QoS 1, or nobody holds a message while the spool is away; and the broker must hold enough of
them (mosquitto: max_queued_messages, 1000 by default, then it drops).

A file is in place within seconds of the end of its hour: read a day some minutes after it is over.

lakehouse.toml, [sources.devices_mqtt]: base_url is the folder of the files; broker (mqtt://user@host:1883, or mqtts://)
and topics say where they come from. The password is C360_SECRET_DEVICES_MQTT.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

READINGS = Stream(
    name="readings",
    kind=Kind.EVENTS,
    request=Files(pattern="readings_{yyyymmdd}T*.jsonl"),
    id=("payload.reading_id",),
    at=Pick("received_at", "timestamp"),
    feeds=(
        Feed(
            subject="device_events",
            fields={
                "reading_id": Pick("payload.reading_id"),
                "device": Pick("payload.device_id"),
                "login": Pick("payload.account"),
                "event_at": Pick("payload.measured_at", "timestamp"),
                "received_at": Pick("received_at", "timestamp"),
                "metric": Pick("payload.metric"),
                "metric_value": Pick("payload.value", "number"),
            },
        ),
    ),
)

SOURCE = Source(name="devices_mqtt", title="Connected devices (MQTT)", streams=(READINGS,))
