"""Spooled files: whole when they are in place, by the hour, and nothing lost whatever is killed."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl.connect.mqtt import Message
from etl.errors import SettingsError, SourceError
from etl.run.house import open_house
from etl.run.spool import Spool, spool, spooled_name
from etl.settings import load_settings
from etl.sources import devices, devices_mqtt
from tests.conftest import ROOT

TEN = datetime(2026, 1, 2, 10, tzinfo=UTC)


def message(number: int, at: datetime = TEN) -> Message:
    return Message(b'{"n":%d}' % number, at)


def standing(folder: Path) -> dict[str, list[int]]:
    """The numbers in the files that are in place."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: [json.loads(line)["n"] for line in path.read_text().splitlines()] for path in files}


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def test_a_file_is_in_place_when_its_hour_is_over_and_not_before(tmp_path: Path) -> None:
    with Spool(tmp_path, "readings") as files:
        files.keep([message(1), message(2)])
        files.turn(TEN + timedelta(minutes=59))
        before = standing(tmp_path)
        files.turn(TEN + timedelta(minutes=60))

        assert ({}, {"readings_20260102T10_0001.jsonl": [1, 2]}) == (before, standing(tmp_path))
        assert [] == parts(tmp_path)


def test_the_end_puts_the_last_file_in_place_and_a_new_start_begins_another(tmp_path: Path) -> None:
    for number in (1, 2):
        with Spool(tmp_path, "readings") as files:
            files.keep([message(number)])

    assert {"readings_20260102T10_0001.jsonl": [1], "readings_20260102T10_0002.jsonl": [2]} == standing(tmp_path)


def test_messages_around_the_hour_and_a_clock_set_back_go_to_the_file_of_their_hour(tmp_path: Path) -> None:
    with Spool(tmp_path, "readings") as files:
        files.keep([message(1), message(2, TEN + timedelta(hours=1)), message(3)])

    assert {
        "readings_20260102T10_0001.jsonl": [1],
        "readings_20260102T10_0002.jsonl": [3],
        "readings_20260102T11_0001.jsonl": [2],
    } == standing(tmp_path)


def test_no_file_is_made_of_nothing_and_a_packed_one_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / "readings_20260102T10_0001.jsonl.gz").touch()
    with Spool(tmp_path, "readings") as files:
        files.turn(TEN)
    with Spool(tmp_path, "readings") as files:
        files.keep([message(1)])

    assert (tmp_path / "readings_20260102T10_0002.jsonl").is_file()


def test_what_a_killed_writer_left_is_put_in_place_without_the_line_that_was_cut(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / ".readings_20260101T23_0001.jsonl.part").write_bytes(b'{"n":1}\n{"n":2}\n{"n"')
    (tmp_path / ".readings_20260101T22_0001.jsonl.part").write_bytes(b'{"n"')
    with Spool(tmp_path, "readings", say=said.append):
        pass

    assert {"readings_20260101T23_0001.jsonl": [1, 2]} == standing(tmp_path)
    assert [] == parts(tmp_path)
    assert ["readings_20260101T23_0001.jsonl was left by a writer that was killed and is in place now"] == [
        one.partition(";")[0] for one in said
    ]


def test_two_writers_of_one_folder_are_one_too_many(tmp_path: Path) -> None:
    with Spool(tmp_path, "readings"), pytest.raises(SourceError, match="another process spools readings here"):
        Spool(tmp_path, "readings").__enter__()

    with Spool(tmp_path, "readings") as after:
        after.keep([message(1)])


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SourceError, match=r"file/x cannot be written: Not a directory; what is not on disk"):
        Spool(tmp_path / "file" / "x", "readings").__enter__()


def test_a_disk_that_takes_no_more_leaves_whole_lines_only(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(tmp_path, "readings") as files:
        files.keep([message(1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
        try:
            with pytest.raises(SourceError, match="cannot be written: File too large; what is not on disk"):
                files.keep([message(2), message(3)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        files.keep([message(4)])

    assert {"readings_20260102T10_0001.jsonl": [1, 4]} == standing(tmp_path)


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from etl.connect.mqtt import Message
from etl.run.spool import Spool
with Spool(Path(sys.argv[1]), "readings") as files:
    for number in range(1_000_000):
        files.keep([Message(b'{"n":%d}' % number, datetime(2026, 1, 2, 10, tzinfo=UTC))])
        print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_said_to_be_kept(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    kept = [int(writer.stdout.readline()) for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    kept += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()
    assert {} == standing(tmp_path)
    with Spool(tmp_path, "readings"):
        pass

    (found,) = standing(tmp_path).values()
    assert kept == found[: len(kept)]
    assert len(found) - len(kept) in {0, 1}


def house_of(folder: Path, lines: str):  # type: ignore[no-untyped-def]
    (folder / "lakehouse.toml").write_text(f'[company]\nname = "mine"\nfirst_day = 2026-01-01\n{lines}')
    return open_house(load_settings({}, cwd=folder))


@pytest.mark.parametrize(
    "lines", ['broker = "mqtt://b"\ntopics = ["t"]', 'base_url = "x"\ntopics = ["t"]', 'base_url = "x"\nbroker = "b"']
)
def test_a_source_that_does_not_say_what_to_listen_to_is_refused(lines: str, tmp_path: Path) -> None:
    house = house_of(tmp_path, f"[sources.devices_mqtt]\n{lines}")

    with pytest.raises(SettingsError, match=r"sources\.devices_mqtt: base_url .* broker .* and topics must stand"):
        spool(house, devices_mqtt.SOURCE, say=print)


def test_topics_are_a_list_of_texts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"sources\.devices_mqtt\.topics is 't'; expected a list of texts"):
        house_of(tmp_path, '[sources.devices_mqtt]\ntopics = "t"')


def test_only_a_source_that_reads_files_by_the_hour_can_be_spooled() -> None:
    assert "readings" == spooled_name(devices_mqtt.SOURCE)
    with pytest.raises(SettingsError, match="source devices reads no files by the hour"):
        spooled_name(devices.SOURCE)
