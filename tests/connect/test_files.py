"""Files: which are picked, every line to the byte, every odd row named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from etl.connect import Connection, Page, read_pages
from etl.errors import SourceError, SourceUnreachable
from etl.model import Files, Kind, Pick, Source, Stream, Window

DAYS = Window.parse("2026-01-02--2026-01-03")


def read(folder: Path, request: Files, window: Window = DAYS, kind: Kind = Kind.EVENTS) -> list[Page]:
    stream = Stream(name="things", kind=kind, request=request, id=("id",), at=Pick("at", "timestamp"))
    source = Source(name="files", title="Files", streams=(stream,))
    return list(read_pages(source, stream, Connection(str(folder)), window))


def records(pages: Sequence[Page]) -> list[bytes]:
    return [one if isinstance(one, bytes) else one.encode() for page in pages for one in page.records]


def values(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [json.loads(record) for record in records(pages)]


def rejected(pages: Sequence[Page]) -> list[tuple[bytes, str]]:
    return [one for page in pages for one in page.rejected]


def test_lines_are_handed_on_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 1,  "x":1.10}\r\n\n  \n{"id":2}\n\xff\n{"id":3}')
    pages = read(tmp_path, Files("a.jsonl"))

    assert [b'{"id": 1,  "x":1.10}', b'{"id":2}', b"\xff", b'{"id":3}'] == records(pages)
    assert [0, 3, 4, 5] == list(pages[0].ordinals)


def test_the_window_picks_files_by_their_day_gzipped_or_not(tmp_path: Path) -> None:
    for day in ("20260101", "20260102", "20260104"):
        (tmp_path / f"e_{day}.jsonl").write_text(f'{{"id":{day}}}\n')
    (tmp_path / "e_20260103.jsonl.gz").write_bytes(gzip.compress(b'{"id":20260103}\n'))
    pages = read(tmp_path, Files("e_{yyyymmdd}.jsonl"))

    assert [b'{"id":20260102}', b'{"id":20260103}'] == records(pages)
    assert [(1, date(2026, 1, 2)), (2, date(2026, 1, 3))] == [(page.number, page.day) for page in pages]


def test_iso_days_may_stand_in_a_name_too(tmp_path: Path) -> None:
    (tmp_path / "2026-01-03.jsonl").write_text('{"id":1}\n')

    assert [b'{"id":1}'] == records(read(tmp_path, Files("{date}.jsonl")))


def test_an_address_may_be_a_file_url(tmp_path: Path) -> None:
    (tmp_path / "a b.jsonl").write_text('{"id":1}\n')
    stream = Stream(name="things", kind=Kind.SNAPSHOT, request=Files("a b.jsonl"), id=("id",))
    source = Source(name="files", title="Files", streams=(stream,))

    assert [b'{"id":1}'] == records(list(read_pages(source, stream, Connection(tmp_path.as_uri()), DAYS)))


def test_a_missing_undated_file_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"no file things\*\.csv"):
        read(tmp_path, Files("things*.csv", "csv"))


def test_cells_stay_text_and_rows_of_another_width_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'id,zip,note\r\n1,00123,"a ""b"", c\nd"\r\n2,1\r\n3,2,3,4\r\n4,,\r\n5,\xff\xfe,x\r\n6,7,\xc3\xa9\r\n'
    )
    pages = read(tmp_path, Files("a.csv", "csv"))

    assert [
        {"id": "1", "zip": "00123", "note": 'a "b", c\nd'},
        {"id": "4", "zip": "", "note": ""},
        {"id": "6", "zip": "7", "note": "é"},
    ] == values(pages)
    assert [(b"2,1", "ragged_row"), (b"3,2,3,4", "ragged_row"), (b"5,\xff\xfe,x", "not_utf8")] == rejected(pages)
    assert [0, 3, 5] == list(pages[0].ordinals)


def test_tab_separated_files_have_no_quotes_and_may_have_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('1\tsay "hi\n2\t\n')

    assert [{"id": "1", "note": 'say "hi'}, {"id": "2", "note": ""}] == values(
        read(tmp_path, Files("a.tsv", "tsv", columns=("id", "note")))
    )


def test_a_quote_that_is_never_closed_is_one_bad_row_with_all_it_swallowed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,note\n1,x\n2,"a"b\n3,y\n4,"open\n5,z\n')
    pages = read(tmp_path, Files("a.csv", "csv"))

    assert [{"id": "1", "note": "x"}, {"id": "3", "note": "y"}] == values(pages)
    assert [(b'2,"a"b', "ragged_row"), (b'4,"open\n5,z', "ragged_row")] == rejected(pages)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,id\n1,2\n")

    with pytest.raises(SourceError, match="two columns share a name"):
        read(tmp_path, Files("a.csv", "csv"))


def test_rows_of_parquet_become_the_same_json_each_time(tmp_path: Path) -> None:
    berlin = timezone(timedelta(hours=1))
    pl.DataFrame(
        {
            "id": [1, None],
            "at": [datetime(2026, 1, 2, 3, 4, 5, 6), None],
            "zoned": [datetime(2026, 1, 2, 3, tzinfo=berlin), datetime(2026, 1, 2, tzinfo=UTC)],
            "day": [date(2026, 1, 2), None],
            "price": [Decimal("1.50"), None],
            "ratio": [0.1, float("nan")],
            "raw": [b"\x00\xff", None],
            "tags": [["a", "b"], None],
        }
    ).write_parquet(tmp_path / "a.parquet")

    first, second = records(read(tmp_path, Files("a.parquet", "parquet")))

    assert first == (
        b'{"id":1,"at":"2026-01-02T03:04:05.000006","zoned":"2026-01-02T02:00:00.000000Z","day":"2026-01-02",'
        b'"price":"1.50","ratio":0.1,"raw":"00ff","tags":["a","b"]}'
    )
    assert second == (
        b'{"id":null,"at":null,"zoned":"2026-01-02T00:00:00.000000Z","day":null,"price":null,"ratio":null,"raw":null,'
        b'"tags":null}'
    )


def test_parquet_rows_far_from_the_window_are_left_where_they_are(tmp_path: Path) -> None:
    times = [None, *(datetime(2026, 1, day) for day in range(1, 31))]
    pl.DataFrame({"id": range(31), "at": times}).write_parquet(tmp_path / "a.parquet")
    pages = read(tmp_path, Files("a.parquet", "parquet"))

    assert [0, 1, 2, 3, 4, 5] == [value["id"] for value in values(pages)]
    assert [0, 1, 2, 3, 4, 5] == list(pages[0].ordinals)


@pytest.mark.parametrize(
    ("name", "content", "request_", "message"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"id":1}\n' * 9999)[:-20], Files("a.jsonl"), "not a whole gzip file"),
        ("a.jsonl.gz", b'{"id":1}\n', Files("a.jsonl"), "not a whole gzip file"),
        ("a.parquet", b"PAR1 no more", Files("a.parquet", "parquet"), "cannot be read as parquet"),
    ],
)
def test_a_file_that_came_in_part_is_named(
    name: str, content: bytes, request_: Files, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=rf"files\.things: {name}.*{message}"):
        read(tmp_path, request_)
