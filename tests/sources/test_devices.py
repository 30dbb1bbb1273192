"""Readings of devices, as JSON lines and over MQTT: every path of the feeds, every way a file can be bad."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.connect.mqtt import line_of
from etl.errors import SourceError
from etl.privacy.pseudonyms import pseudonym
from etl.run.spool import Spool
from etl.silver.device_events import DEVICE_EVENTS
from etl.sources import devices, devices_mqtt
from tests.sources.landings import dead, ids, landing, subject

DAY = "2026-01-02"
(FILES,) = devices.SOURCE.streams
(MQTT,) = devices_mqtt.SOURCE.streams


def reading(ident: str, received_at: str = "2026-01-02T10:00:01Z", **change: Any) -> dict[str, Any]:
    """A reading as the bridge writes it down."""
    return {
        "reading_id": ident,
        "device_id": "ABC-1",
        "account": "ann",
        "metric": "weight",
        "value": 74.5,
        "measured_at": "2026-01-02T10:00:00Z",
        "received_at": received_at,
        **change,
    }


def line(*args: Any, **change: Any) -> bytes:
    return json.dumps(reading(*args, **change)).encode() + b"\n"


def read(folder: Path, window: str = DAY) -> Any:
    return landing(devices.SOURCE, FILES, folder, window)


EXPECTED = {
    "reading_id": "r1",
    "device_key": pseudonym("device", "abc-1", key=b"golden"),
    "login_key": pseudonym("login", "ann", key=b"golden"),
    "event_at": datetime(2026, 1, 2, 10, tzinfo=UTC),
    "received_at": datetime(2026, 1, 2, 10, 0, 1, tzinfo=UTC),
    "metric": "weight",
    "metric_value": 74.5,
    "_fate": "out",
}


def spooled(folder: Path, *messages: tuple[dict[str, Any] | bytes, datetime]) -> None:
    """The files a spool makes of payloads received at these times."""
    with Spool(folder, "readings") as files:
        for payload, at in messages:
            raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            made = line_of("d/ABC-1", raw, qos=1, is_retained=False, is_repeat=False, received_at=at)
            files.keep([made])


def payload(ident: str, **change: Any) -> dict[str, Any]:
    told = reading(ident, **change)
    del told["received_at"]
    return told


# --- the feeds --------------------------------------------------------------------------------------------------------


def test_a_line_of_the_bridge_becomes_a_reading(tmp_path: Path) -> None:
    (tmp_path / "readings_20260102.jsonl").write_bytes(line("r1"))
    rows = subject(devices.SOURCE, FILES, DEVICE_EVENTS, read(tmp_path))

    assert EXPECTED.items() <= rows.row(0, named=True).items()


def test_a_spooled_message_becomes_a_reading(tmp_path: Path) -> None:
    spooled(tmp_path, (payload("r1"), datetime(2026, 1, 2, 10, 0, 1, tzinfo=UTC)))
    rows = subject(devices_mqtt.SOURCE, MQTT, DEVICE_EVENTS, landing(devices_mqtt.SOURCE, MQTT, tmp_path, DAY))

    assert EXPECTED.items() <= rows.row(0, named=True).items()


def test_a_message_belongs_to_the_day_it_was_received_on_and_counts_once(tmp_path: Path) -> None:
    spooled(
        tmp_path,
        (payload("r1"), datetime(2026, 1, 2, 23, 59, 59, 999_999, tzinfo=UTC)),
        (payload("r1"), datetime(2026, 1, 3, tzinfo=UTC)),
        (payload("r2", measured_at="2026-01-04T10:00:00Z"), datetime(2026, 1, 3, 1, tzinfo=UTC)),
        (payload("r3", measured_at="2025-12-20T10:00:00Z"), datetime(2026, 1, 3, 1, tzinfo=UTC)),
    )
    days = [landing(devices_mqtt.SOURCE, MQTT, tmp_path, f"2026-01-0{day}") for day in (2, 3, 4)]
    rows = subject(devices_mqtt.SOURCE, MQTT, DEVICE_EVENTS, *days)

    assert [["r1"], ["r1", "r2", "r3"], []] == [ids(day) for day in days]
    assert [
        ("r1", "out", None),
        ("r1", "deduplicated", "repeated"),
        ("r2", "quarantined", "event_at.ahead"),
        ("r3", "quarantined", "event_at.behind"),
    ] == rows.select("reading_id", "_fate", "_rule").rows()


def test_a_message_that_is_no_reading_is_a_dead_letter(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 10, tzinfo=UTC)
    spooled(tmp_path, (payload("r1"), at), (b"online", at), (b"\xff", at), (b"[1]", at), (b"", at))
    landed = landing(devices_mqtt.SOURCE, MQTT, tmp_path, DAY)

    assert ["r1"] == ids(landed)
    assert ["no_id"] * 4 == [reason for reason, _ in dead(landed)]


def test_a_file_that_is_not_in_place_yet_is_not_read(tmp_path: Path) -> None:
    with Spool(tmp_path, "readings") as files:
        at = datetime(2026, 1, 2, 10, tzinfo=UTC)
        files.keep([line_of("d", b"{}", qos=1, is_retained=False, is_repeat=False, received_at=at)])

        assert 0 == landing(devices_mqtt.SOURCE, MQTT, tmp_path, DAY).records


# --- bad files --------------------------------------------------------------------------------------------------------


def test_every_bad_line_is_one_dead_letter_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "readings_20260102.jsonl").write_bytes(
        b"\xef\xbb\xbf"
        + line("first")
        + b"\r\n   \n"
        + line("windows").replace(b"\n", b"\r\n")
        + b'{"reading_id": "\xff"}\n'
        + b"[1, 2]\n"
        + b"\x00\x00\x00\n"
        + line("no_time", received_at=None)  # type: ignore[arg-type]
        + line("tomorrows", "2026-01-03T00:00:00Z")
        + line("")
        + line("last")[:-30]
    )
    landed = read(tmp_path)

    assert ["first", "windows"] == ids(landed)
    assert [
        *("not_utf8", "unreadable_json", "unreadable_json", "no_time", "outside_window", "no_id", "unreadable_json")
    ] == [reason for reason, _ in dead(landed)]


def test_an_endless_line_costs_itself_and_no_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "readings_20260102.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(line("before"))
        for _ in range(40):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + line("after"))
        file.write(b"y" * (16 * 1024 * 1024 + 1))
    landed = read(tmp_path)

    assert ["before", "after"] == ids(landed)
    assert [("oversize", "x", 1024 * 1024), ("oversize", "y", 1024 * 1024)] == [
        (reason, raw[0], len(raw)) for reason, raw in dead(landed)
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"], ids=["empty", "blank", "only_a_mark"])
def test_an_empty_file_has_no_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "readings_20260102.jsonl").write_bytes(content)

    assert ([], []) == (ids(read(tmp_path)), dead(read(tmp_path)))


def test_a_gzip_file_cut_short_stops_the_reading_with_its_name(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(line(f"r{number}") for number in range(1000)))
    (tmp_path / "readings_20260102.jsonl.gz").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(SourceError, match=r"readings_20260102\.jsonl\.gz is not a whole gzip file; fetch it again"):
        read(tmp_path)


def test_a_file_of_tomorrow_is_not_read_today(tmp_path: Path) -> None:
    (tmp_path / "readings_20260103.jsonl").write_bytes(line("r1", "2026-01-03T10:00:01Z"))

    assert [[], ["r1"]] == [ids(read(tmp_path, f"2026-01-0{day}")) for day in (2, 3)]


def test_a_file_that_came_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "readings_20260102.jsonl").write_bytes(line("r1"))
    (tmp_path / "readings_20260102.jsonl.gz").write_bytes(gzip.compress(line("r1")))
    rows = subject(devices.SOURCE, FILES, DEVICE_EVENTS, read(tmp_path))

    assert ["out", "deduplicated"] == rows["_fate"].to_list()


def test_a_file_that_grows_while_it_is_read_is_whole_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "readings_20260102.jsonl"
    whole = line("r1") + line("r2")
    path.write_bytes(whole[:-20])
    first = read(tmp_path)
    path.write_bytes(whole)
    second = read(tmp_path)

    assert (["r1"], ["unreadable_json"]) == (ids(first), [reason for reason, _ in dead(first)])
    assert (["r1", "r2"], []) == (ids(second), dead(second))
