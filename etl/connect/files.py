"""Files of a folder, as records to the byte (JSON lines) or as JSON made the same way each time (csv, tsv, parquet)."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import msgspec
import polars as pl
import pyarrow.parquet as pq
from pyarrow import ArrowException

from etl.connect.page import Connection, Page
from etl.connect.webhooks import opened, public_key
from etl.errors import SourceError, SourceUnreachable
from etl.model import Files, Kind, Source, Stream, Window

ROWS_A_PAGE = 50_000
PARQUET_ROWS_A_PAGE = 200_000
#: A cell longer than this is a quote that was never closed.
LONGEST_CELL = 16 * 1024 * 1024
#: A line longer than this is no record; it is never held whole.
LONGEST_LINE = 16 * 1024 * 1024

_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows of a file are near the window, by a column of real times: a day to spare covers every zone."""

    column: str
    window: Window

    @classmethod
    def of(cls, stream: Stream, window: Window) -> Bounds | None:
        """The bounds a stream's time allows; none for snapshots and times that stand deeper in the record."""
        if stream.at is None or stream.kind is Kind.SNAPSHOT or "." in stream.at.path or "[" in stream.at.path:
            return None
        return cls(stream.at.path, window)

    def near(self) -> pl.Expr:
        """True for rows near the window and for those without a time, which are judged later."""
        day = pl.col(self.column).cast(pl.Date)
        spare = timedelta(days=1)
        return day.is_between(self.window.start.date() - spare, self.window.end.date() + spare).fill_null(True)


def read_files(
    source: Source, stream: Stream, request: Files, connection: Connection, window: Window
) -> Generator[Page, None, None]:
    """The records of the files the window picks, page by page, in the order of the files' names.

    A day without its file has no rows; a folder that is not there, or holds no file of an undated pattern, is an
    error: it says nothing about the data.

    Raises: SourceUnreachable, SourceError; SourceRefused when requests are signed and the secret is no key.
    """
    where = f"{source.name}.{stream.name}"
    read = FORMATS[request.format]
    key = public_key(connection.secret, where) if request.is_signed else None
    number = 0
    for path, day in picked_files(request, connection, window, where):
        with _named_errors(where, path):
            for page in read(path, request, Bounds.of(stream, window)):
                number += 1
                records, rejected, ordinals = page.records, page.rejected, page.ordinals
                if key is not None:
                    lines = [line for line in records if isinstance(line, bytes)]
                    records, unsigned = opened(lines, key)
                    rejected, ordinals = [*rejected, *unsigned], ()
                yield Page(number, records, rejected, ordinals, day, {"file": path.name})


def picked_files(request: Files, connection: Connection, window: Window, where: str) -> list[tuple[Path, date | None]]:
    """The files the window picks by name, with their day; or all that match, where names hold no day.

    Raises: SourceUnreachable.
    """
    folder = folder_of(connection.base_url)
    if not folder.is_dir():
        raise SourceUnreachable(f"{where}: there is no folder {folder}; check base_url")
    if is_dated(request):
        return [
            (path, day)
            for day in window.days
            for path in _matching(
                folder, request.pattern.replace("{yyyymmdd}", f"{day:%Y%m%d}").replace("{date}", day.isoformat())
            )
        ]
    found = _matching(folder, request.pattern)
    if not found:
        raise SourceUnreachable(f"{where}: no file {request.pattern} in {folder}; check base_url and the file's name")
    return [(path, None) for path in found]


def is_dated(request: Files) -> bool:
    """True when the files' names hold their day."""
    return "{yyyymmdd}" in request.pattern or "{date}" in request.pattern


def folder_of(base_url: str) -> Path:
    """The folder a base_url names: a path, or a file:// address."""
    parts = urlsplit(base_url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(base_url)


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Plain or gzipped; in the order of names, so that a file's pages are the same each time."""
    return sorted(p for p in {*folder.glob(pattern), *folder.glob(f"{pattern}.gz")} if p.is_file())


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _json_lines(path: Path, _request: Files, _bounds: Bounds | None) -> Iterator[Page]:
    """Each line to the byte, without its line end; blank lines are none, and of an endless one the start is shown."""
    with _opened(path) as file:
        lines = ((at, line.rstrip(b"\r\n"), is_whole) for at, (line, is_whole) in enumerate(_lines(file)))
        filled = (one for one in lines if one[1].strip() or not one[2])
        while batch := list(islice(filled, ROWS_A_PAGE)):
            whole = [(at, line) for at, line, is_whole in batch if is_whole]
            rejected = [(line, "oversize") for _, line, is_whole in batch if not is_whole]
            yield Page(1, [line for _, line in whole], rejected, [at for at, _ in whole])


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Lines with their ends, without a byte order mark; of one that is too long its first MiB, and False."""
    mark = b"\xef\xbb\xbf"
    while line := file.readline(LONGEST_LINE + 2):
        line, mark = line.removeprefix(mark), b""
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            yield line, True
            continue
        while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
            pass
        yield line[: 1024 * 1024], False


def _delimited(path: Path, request: Files, _bounds: Bounds | None) -> Iterator[Page]:
    """Rows of text cells as JSON objects of strings: `00123` stays `00123`. A row of another width is rejected."""
    csv.field_size_limit(LONGEST_CELL)
    with _opened(path) as file:
        # What is not UTF-8 passes through as surrogates, so that one bad byte costs one row and not the file.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rows = _rows(text, request.format)
        header = list(request.columns) or next(rows, ("", [], True))[1]
        if len(set(header)) != len(header):
            raise SourceError(f"file {path.name}: two columns share a name; expected a header of distinct names")
        numbered = ((at, *row) for at, row in enumerate(rows) if row[0].strip("\r\n"))
        while batch := list(islice(numbered, ROWS_A_PAGE)):
            yield _page_of_rows(batch, header)


def _rows(text: Iterable[str], kind: str) -> Iterator[tuple[str, list[str], bool]]:
    """(the row's lines as they stand, its cells, whether it could be read as cells at all).

    A quote that is never closed takes the lines behind it with it: they are that row's, and known by its text.
    """
    lines: list[str] = []

    def kept() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    if kind == "csv":
        reader = csv.reader(kept(), strict=True)
    else:
        reader = csv.reader(kept(), delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    while True:
        lines.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield "".join(lines), [], False
        else:
            yield "".join(lines), cells, True


def _page_of_rows(batch: Sequence[tuple[int, str, list[str], bool]], header: list[str]) -> Page:
    records: list[bytes] = []
    ordinals: list[int] = []
    rejected: list[tuple[bytes, str]] = []
    width = len(header)
    for at, text, cells, is_readable in batch:
        if not is_readable or len(cells) != width:
            rejected.append((_raw(text), "ragged_row"))
            continue
        try:
            records.append(_JSON.encode(dict(zip(header, cells, strict=True))))
            ordinals.append(at)
        except (UnicodeEncodeError, ValueError):
            rejected.append((_raw(text), "not_utf8"))
    return Page(1, records, rejected, ordinals)


def _raw(text: str) -> bytes:
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape")


def _parquet(path: Path, request: Files, bounds: Bounds | None) -> Iterator[Page]:
    """Rows as JSON objects, made column by column; `columns` picks some of them. Rows far from the window are left
    where they are.
    """
    with pq.ParquetFile(path) as file:
        start = 0
        for batch in file.iter_batches(PARQUET_ROWS_A_PAGE, columns=list(request.columns) or None):
            frame = pl.DataFrame(pl.from_arrow(batch))
            ordinals = pl.int_range(start, start + frame.height, eager=True)
            start += frame.height
            if bounds is not None and isinstance(frame.schema.get(bounds.column), pl.Date | pl.Datetime):
                near = frame.select(bounds.near()).to_series()
                frame, ordinals = frame.filter(near), ordinals.filter(near)
            if frame.height:
                yield Page(1, json_of_rows(frame), ordinals=ordinals.to_list())


def json_of_rows(frame: pl.DataFrame) -> pl.Series:
    """Each row as a JSON object, members in column order; times as ISO with offset, decimals as text, bytes as hex."""
    columns = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if isinstance(kind, pl.Datetime):
            in_utc = column.dt.convert_time_zone("UTC") if kind.time_zone else column
            column = in_utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("Z" if kind.time_zone else ""))
        elif kind == pl.Binary:
            column = column.bin.encode("hex")
        elif isinstance(kind, pl.Decimal | pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
        columns.append(column.alias(name))
    return frame.select(pl.struct(columns).struct.json_encode()).to_series()


FORMATS = {"jsonl": _json_lines, "csv": _delimited, "tsv": _delimited, "parquet": _parquet}


@contextmanager
def _named_errors(where: str, path: Path) -> Iterator[None]:
    """Trouble with one file, said in one line that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise SourceError(f"{where}: {path.name} is not a whole gzip file; fetch it again") from None
    except ArrowException:
        raise SourceError(f"{where}: {path.name} cannot be read as parquet; fetch it again, or check format") from None
    except csv.Error as error:
        raise SourceError(f"{where}: {path.name} cannot be read as {path.suffix}: {error}") from None
    except OSError as error:
        raise SourceUnreachable(f"{where}: {path.name} cannot be read: {error.strerror}") from None
