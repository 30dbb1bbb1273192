"""Connected devices: readings as the MQTT bridge wrote them down, JSON lines by the day they arrived.

Delivery is at least once (QoS 1), and a device's clock may be wrong or late: arrival decides the window.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

READINGS = Stream(
    name="readings",
    kind=Kind.EVENTS,
    request=Files(pattern="readings_{yyyymmdd}.jsonl"),
    id=("reading_id",),
    at=Pick("received_at", "timestamp"),
    feeds=(
        Feed(
            subject="device_events",
            fields={
                "reading_id": Pick("reading_id"),
                "device": Pick("device_id"),
                "login": Pick("account"),
                "event_at": Pick("measured_at", "timestamp"),
                "received_at": Pick("received_at", "timestamp"),
                "metric": Pick("metric"),
                "metric_value": Pick("value", "number"),
            },
        ),
    ),
)

SOURCE = Source(name="devices", title="Connected devices", streams=(READINGS,))
