"""Both Mastodon sources against a stateful server nobody here wrote: paging, windows, statuses edited and deleted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from etl.bronze.tables import bronze_table
from etl.connect import Connection
from etl.errors import SourceRefused
from etl.lake import Lake
from etl.model import Source, Window
from etl.run.ingest import Landing, ingest, read_landing
from etl.run.report import Report
from etl.silver.social_posts import SOCIAL_POSTS
from etl.sources import mastodon, mastodon_mentions
from tests.processes import free_port, is_open, until
from tests.sources.landings import subject

US, GRACE = "ada_token", "grace_token"  # accounts of the server's demo community


@dataclass(frozen=True)
class Server:
    """The running server, written to as its own clients do."""

    url: str
    client: httpx.Client

    def asked(self, method: str, path: str, token: str, **form: str) -> Any:
        answer = self.client.request(method, self.url + path, data=form, headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
        return answer.json()

    def post(self, text: str, token: str = GRACE) -> dict[str, Any]:
        status: dict[str, Any] = self.asked("POST", "/api/v1/statuses", token, status=text)
        return status

    def read(self, source: Source, window: Window, token: str = US) -> Landing:
        connection = Connection(self.url, token, allow_private=True)
        return read_landing(source, source.streams[0], connection, window, run_id="run", now=datetime.now(UTC))

    def land(self, lake: Lake, source: Source, window: Window) -> Report:
        connection = Connection(self.url, US, allow_private=True)
        now = datetime.now(UTC)
        return ingest(lake, source, source.streams[0], connection, window, run_id=f"run-{now}", now=now)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mastodon")
    port = free_port()
    program = Path(sys.executable).parent / "mastodon_mock"
    log = folder / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [program, "serve", "--in-memory", "--demo", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, stdout=out, stderr=out,
        ) as running,
    ):  # fmt: skip
        try:
            until(lambda: is_open(port), what="mastodon_mock to answer", process=running, log=log)
            with httpx.Client() as client:
                yield Server(f"http://127.0.0.1:{port}", client)
        finally:
            running.terminate()


def moment(status: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(status["created_at"]).astimezone(UTC)


def since(status: dict[str, Any]) -> Window:
    """From the status, itself included, to the end of tomorrow."""
    return Window(moment(status), Window.of_day(datetime.now(UTC).date() + timedelta(days=1)).end)


def ids(rows: pl.DataFrame) -> list[str]:
    return sorted(rows["_id"].to_list())


def test_every_status_of_the_hashtag_is_read_once_over_all_pages(server: Server) -> None:
    tagged = [server.post(f"walk {number} #Nordlicht") for number in range(85)]
    server.post("no hashtag at all")
    landed = server.read(mastodon.SOURCE, since(tagged[0]))

    assert sorted(each["id"] for each in tagged) == ids(landed.rows)
    assert (3, 0) == (landed.pages, landed.dead.height)


def test_what_is_older_than_the_window_is_not_walked(server: Server) -> None:
    """The list is newest first: after the first page that lies wholly before the window nothing more is asked."""
    for number in range(85):
        server.post(f"old {number} #nordlicht")
    new = server.post("new #nordlicht")
    landed = server.read(mastodon.SOURCE, since(new))

    assert [new["id"]] == ids(landed.rows)
    assert 2 == landed.pages


def test_a_status_on_the_edge_of_two_windows_is_in_the_later_alone(server: Server) -> None:
    posted = [server.post(f"edge {number} #nordlicht") for number in range(3)]
    for first, second in pairwise(posted):
        window = Window(moment(first), moment(second))

        assert [first["id"]] == ids(server.read(mastodon.SOURCE, window).rows)


def test_a_reading_again_brings_what_is_new_edited_or_gone_and_a_second_one_writes_nothing(
    server: Server, tmp_path: Path
) -> None:
    lake, table = Lake(tmp_path / "lake"), bronze_table(mastodon.SOURCE, mastodon.STATUSES)
    stays, edited, gone = (server.post(f"{what} #nordlicht") for what in ("stays", "to be edited", "to be gone"))
    window = since(stays)
    server.land(lake, mastodon.SOURCE, window)
    before = lake.read(table).collect()
    server.asked("PUT", f"/api/v1/statuses/{edited['id']}", GRACE, status="edited #nordlicht")
    server.asked("DELETE", f"/api/v1/statuses/{gone['id']}", GRACE)
    new = server.post("new #nordlicht")
    server.land(lake, mastodon.SOURCE, window)
    after = lake.read(table).collect()

    assert ids(before) == sorted(each["id"] for each in (stays, edited, gone))
    assert ids(after) == sorted(each["id"] for each in (stays, edited, new))
    assert {stays["id"]: "stays", edited["id"]: "edited", new["id"]: "new"} == {
        ident: text.removeprefix("<p>").split()[0]
        for ident, text in after.select("_id", pl.col("_payload").str.json_path_match("$.content")).iter_rows()
    }
    assert not server.land(lake, mastodon.SOURCE, window).written


def test_a_window_that_is_not_read_again_keeps_what_it_said(server: Server, tmp_path: Path) -> None:
    """An event is what it was when its day was read; what is deleted later is gone only from what is read later."""
    lake, table = Lake(tmp_path / "lake"), bronze_table(mastodon.SOURCE, mastodon.STATUSES)
    first, second = (server.post(f"{what} #nordlicht") for what in ("first", "second"))
    server.land(lake, mastodon.SOURCE, Window(moment(first), moment(second)))
    server.asked("DELETE", f"/api/v1/statuses/{first['id']}", GRACE)
    server.land(lake, mastodon.SOURCE, since(second))

    assert sorted([first["id"], second["id"]]) == ids(lake.read(table).collect())


def test_every_mention_is_read_once_and_one_with_the_hashtag_is_left_to_its_source(server: Server) -> None:
    mentions = [server.post(f"hello @ada, number {number}") for number in range(45)]
    tagged = server.post("look @ada #nordlicht")
    server.asked("POST", f"/api/v1/statuses/{tagged['id']}/favourite", GRACE)  # a notification that is no mention
    window = since(mentions[0])
    landed = server.read(mastodon_mentions.SOURCE, window)
    posts = subject(mastodon_mentions.SOURCE, mastodon_mentions.MENTIONS, SOCIAL_POSTS, landed)
    of_the_tag = subject(mastodon.SOURCE, mastodon.STATUSES, SOCIAL_POSTS, server.read(mastodon.SOURCE, window))

    assert (46, 2, 0) == (landed.rows.height, landed.pages, landed.dead.height)
    assert sorted(each["id"] for each in mentions) == sorted(posts.filter(pl.col("_fate") == "out")["post_id"])
    assert [tagged["id"]] == of_the_tag.filter(pl.col("_fate") == "out")["post_id"].to_list()


def test_a_token_the_server_does_not_know_is_refused_in_one_line(server: Server) -> None:
    with pytest.raises(SourceRefused, match=r"mastodon_mentions\.mentions.*requires an authenticated user") as error:
        server.read(mastodon_mentions.SOURCE, Window.of_day(datetime.now(UTC).date()), token="of-nobody-at-all")
    assert "of-nobody" not in str(error.value)
