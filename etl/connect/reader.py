"""The one way in: a stream and a window, read by whichever protocol its request is written in."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta

from etl.connect.page import Connection, Page
from etl.errors import WindowRefused
from etl.model import Dlt, Files, Http, Own, Source, Sql, Stream, Window


def read_pages(source: Source, stream: Stream, connection: Connection, window: Window) -> Generator[Page, None, None]:
    """The pages of a window, one after the other, as the source gives them.

    Raises: SourceUnreachable, SourceRefused, QuotaExhausted, SourceError.
    """
    match stream.request:
        case Http() as request:
            from etl.connect.rest import read_http

            return read_http(source, stream, request, connection, window)
        case Own(read=Dlt() as resource):
            from etl.connect.dlt import read_dlt

            return read_dlt(source, stream, resource, connection, window)
        case Own() as request:
            from etl.connect.rest import read_own

            return read_own(source, stream, request, connection, window)
        case Sql() as request:
            from etl.connect.sql import read_sql

            return read_sql(source, stream, request, connection, window)
        case Files() as request:
            from etl.connect.files import read_files

            return read_files(source, stream, request, connection, window)


def refuse_too_old(source: Source, stream: Stream, window: Window, *, now: datetime) -> None:
    """Raises: WindowRefused when the source no longer knows the start of the window."""
    if stream.max_age_days is None:
        return
    oldest = now - timedelta(days=stream.max_age_days)
    if window.start < oldest:
        raise WindowRefused(
            f"{source.name}.{stream.name}: {window} starts before {oldest:%Y-%m-%d}; "
            f"{source.title} keeps {stream.max_age_days} days; choose a later window"
        )
