"""Resources of dlt as streams: its rest_api and a resource of our own against a server, generators, and every error."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from etl.bronze.tables import bronze_table
from etl.connect import Connection
from etl.connect.dlt import interval
from etl.errors import DeclarationError, SourceError, SourceRefused, SourceUnreachable
from etl.lake import Lake
from etl.model import Dlt, Kind, Own, Pick, Source, Stream, Window
from etl.run.house import House, open_house
from etl.run.ingest import Landing, ingest, read_landing
from etl.settings import load_settings
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.web_events import WEB_EVENTS
from tests.conftest import ROOT
from tests.sources.landings import NOW, dead, ids, subject

# Not imported here: what is done before the first import is a part of what is tested.
pytestmark = [
    pytest.mark.skipif(find_spec("dlt") is None, reason="dlt is not installed (the extra `dlt`)"),
    # dlt's client raises on a refusal before it has read the answer, whose socket is then left to the collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
DAY = Window.parse("2026-01-02")


@pytest.fixture(autouse=True)
def _collected_here() -> Iterator[None]:
    """Collected in this module, where it is awaited, and not while some later test runs."""
    yield
    gc.collect()


# --- the example, against a server ------------------------------------------------------------------------------------


@dataclass
class Systems:
    """Both systems of the example: what they know, and what they were asked."""

    callers: list[dict[str, Any]] = field(default_factory=list)
    visits: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, asked: dict[str, str], token: str) -> tuple[int, Any]:
        self.asked.append((path, asked))
        if token != "Bearer open-sesame":
            return 401, {"error": f"no such token: {token}"}
        if path == "/callers":
            return 200, [one for one in self.callers if asked["since"] <= one["changed_at"] < asked["until"]]
        found = [one for one in self.visits if int(asked["from"]) <= one["at_s"] < int(asked["to"])]
        first = int(asked.get("first", 0))
        size = int(asked["limit"])
        rest = f"{self.url}/visits?from={asked['from']}&to={asked['to']}&limit={size}&first={first + size}"
        return 200, {"visits": found[first : first + size], **({"next": rest} if first + size < len(found) else {})}


@pytest.fixture
def systems() -> Iterator[Systems]:
    known = Systems()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, body = known.answer(parts.path, asked, self.headers["Authorization"])
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Example:
    """The example's company, its two systems at `url`."""

    house: House

    def source(self, name: str) -> Source:
        return self.house.catalog.source(name)

    def read(self, name: str, window: Window = DAY) -> Landing:
        source = self.source(name)
        return read_landing(source, source.streams[0], self.house.connection(source), window, run_id="r", now=NOW)

    def land(self, name: str, run: int, window: Window = DAY) -> bool:
        source = self.source(name)
        connection = self.house.connection(source)
        return ingest(
            self.house.lake, source, source.streams[0], connection, window, run_id=f"run-{run}", now=NOW
        ).written

    def landed(self, name: str) -> list[str]:
        source = self.source(name)
        return sorted(self.house.lake.read(bronze_table(source, source.streams[0])).collect()["_id"])


def example(folder: Path, url: str, secret: str = "open-sesame") -> Example:
    for file in ("lakehouse.toml", "helpdesk.py"):
        shutil.copy(ROOT / "examples/dlt" / file, folder)
    text = (folder / "lakehouse.toml").read_text()
    for name in ("helpdesk", "club"):
        assert f"https://{name}.example.com" in text
        text = text.replace(f"https://{name}.example.com", url)
    (folder / "lakehouse.toml").write_text(text)
    return Example(open_house(load_settings({"C360_SECRET_HELPDESK": secret, "C360_SECRET_CLUB": secret}, cwd=folder)))


def visit(number: int, at: str) -> dict[str, Any]:
    at_s = int(datetime.fromisoformat(at).timestamp())
    return {
        "id": f"v{number}",
        "at_s": at_s,
        "page": "https://club.example.com/",
        "member": {"email": "ann@example.com"},
    }


def caller(number: int, changed_at: str) -> dict[str, Any]:
    return {"id": number, "name": "Ann Amsel", "email": "ann@example.com", "phone": None, "changed_at": changed_at}


EDGES = ("2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z", "2026-01-02T23:59:59Z",
         "2026-01-03T00:00:00Z")  # fmt: skip


def test_the_rest_api_of_dlt_is_read_over_all_its_pages(tmp_path: Path, systems: Systems) -> None:
    systems.visits = [visit(number, at) for number, at in enumerate(EDGES)]
    ours = example(tmp_path, systems.url)
    landed = ours.read("club")
    (events,) = [subject(ours.source("club"), ours.source("club").streams[0], WEB_EVENTS, landed)]

    assert ["v1", "v2", "v3"] == ids(landed)
    assert 2 == len(systems.asked)
    assert [("v1", "page_view", datetime(2026, 1, 2, tzinfo=UTC))] == events.select(
        "event_id", "event_name", "event_at"
    ).rows()[:1]
    assert json.dumps(systems.visits[1], separators=(",", ":")) == landed.rows["_payload"][0]


def test_a_resource_of_ours_is_given_the_window_and_what_lies_around_it_is_set_aside(
    tmp_path: Path, systems: Systems
) -> None:
    systems.callers = [caller(number, at) for number, at in enumerate(EDGES)]
    ours = example(tmp_path, systems.url)
    landed = ours.read("helpdesk")
    persons = subject(ours.source("helpdesk"), ours.source("helpdesk").streams[0], PERSON_RECORDS, landed)

    assert [("/callers", {"since": "2026-01-01T00:00:00Z", "until": "2026-01-04T00:00:00Z"})] == systems.asked
    assert (["1", "2", "3"], 2, []) == (ids(landed), landed.aside, dead(landed))
    assert ["Amsel"] == persons["family_name"].unique().to_list()


def test_a_second_reading_writes_nothing_and_an_empty_one_empties_events_and_keeps_entities(
    tmp_path: Path, systems: Systems
) -> None:
    systems.visits = [visit(number, at) for number, at in enumerate(EDGES)]
    systems.callers = [caller(number, at) for number, at in enumerate(EDGES)]
    ours = example(tmp_path, systems.url)
    written = [(ours.land("club", run), ours.land("helpdesk", run)) for run in (1, 2)]
    before = ours.landed("club"), ours.landed("helpdesk")
    systems.visits, systems.callers = [], []
    for name in ("club", "helpdesk"):
        ours.land(name, 3)

    assert [(True, True), (False, False)] == written
    assert (["v1", "v2", "v3"], ["1", "2", "3"]) == before
    assert ([], ["1", "2", "3"]) == (ours.landed("club"), ours.landed("helpdesk"))


@pytest.mark.parametrize("name", ["club", "helpdesk"])
def test_a_secret_that_is_not_taken_is_one_line_without_it(name: str, tmp_path: Path, systems: Systems) -> None:
    ours = example(tmp_path, systems.url, secret="wrong-sesame")

    with pytest.raises(SourceRefused, match=rf"^{name}\.\w+: the resource was answered 401; check its") as error:
        ours.read(name)
    assert "wrong-sesame" not in str(error.value)


# --- generators -------------------------------------------------------------------------------------------------------


def stream_of(request: Dlt, written: str = "timestamp") -> Source:
    stream = Stream(
        "things", Kind.EVENTS, Own(request, trims=True), ("id",), Pick("at", written), max_dead_fraction=1.0
    )
    return Source("made", "Made", (stream,))


def read(
    folder: Path, code: str, window: Window = DAY, *, secret: str = "", at: str = "timestamp", **request: Any
) -> Landing:
    """What a resource `things` of this code gives for a day."""
    file = folder / "made.py"
    file.write_text(f"import dlt\nfrom datetime import UTC, date, datetime\n{code}\n")
    source = stream_of(Dlt(f"{file}:things", **request), at)
    connection = Connection("https://made.example.com", secret)
    return read_landing(source, source.streams[0], connection, window, run_id="r", now=NOW)


VALUES = {
    "text": [
        '"2026-01-01T23:59:59.9Z"', '"2026-01-02T00:00:00.5Z"', '"2026-01-02"', '"2026-01-02T23:30:00-08:00"',
        '"2026-01-03T00:30:00+01:00"', '"2026-01-03T00:00:00Z"',
    ],
    "timestamp": [
        "datetime(2026, 1, 1, 23, 59, 59, 999999, UTC)", "datetime(2026, 1, 2, tzinfo=UTC)",
        "datetime.fromisoformat('2026-01-03T01:30:00+02:00')", "datetime(2026, 1, 3, tzinfo=UTC)",
        "datetime(2026, 1, 2, 23, 59, 59, 999999, UTC)", "datetime.fromisoformat('2026-01-02T23:00:00-01:00')",
    ],
    "timestamp without a zone": [
        "datetime(2026, 1, 1, 23, 59, 59, 999999)", "datetime(2026, 1, 2)", "datetime(2026, 1, 2, 0, 0, 0, 1)",
        "datetime(2026, 1, 3)", "datetime(2026, 1, 2, 23, 59, 59, 999999)", "datetime(2026, 1, 3, 0, 0, 1)",
    ],
    "date": [
        "date(2026, 1, 1)", "date(2026, 1, 2)", "date(2026, 1, 2)", "date(2026, 1, 3)", "date(2026, 1, 2)",
        "date(2026, 1, 3)",
    ],
    "epoch_s": ["1767311999", "1767312000", "1767312001", "1767398400", "1767398399", "1767398401"],
    "epoch_ms": ["1767311999999", "1767312000000", "1767312000001", "1767398400000", "1767398399999", "1767398400001"],
}  # fmt: skip


@pytest.mark.parametrize("how", VALUES)
def test_the_record_on_the_edge_is_in_one_window_however_its_time_is_written(how: str, tmp_path: Path) -> None:
    code = "@dlt.resource\ndef things():\n" + "".join(
        f"    yield {{'id': 'r{number}', 'at': {value}}}\n" for number, value in enumerate(VALUES[how])
    )
    written = how.partition(" ")[0]
    at = written if written.startswith("epoch") else "timestamp"
    days = [
        ids(read(tmp_path, code, Window.parse(f"2026-01-0{day}"), cursor="at", written=written, at=at))
        for day in (1, 2, 3)
    ]

    assert ["r0"] == days[0]
    assert ["r1", "r2", "r4"] == days[1]
    assert ["r3", "r5"] == days[2]


def test_the_edge_of_a_window_between_two_seconds_is_asked_for_whole(tmp_path: Path) -> None:
    window = Window(datetime(2026, 1, 2, 0, 0, 0, 500_000, UTC), datetime(2026, 1, 2, 0, 0, 1, 500_000, UTC))

    assert (1767312000, 1767312002) == interval(Dlt("m:f", written="epoch_s"), window)
    assert (1767312000500, 1767312001500) == interval(Dlt("m:f", written="epoch_ms"), window)
    assert (window.start, window.end) == interval(Dlt("m:f", written="timestamp"), window)


def test_what_it_yields_lands_as_sql_rows_do(tmp_path: Path) -> None:
    """No name is changed, no table split off, no column of dlt's added."""
    code = """
import pendulum
from decimal import Decimal
from uuid import UUID
def things():
    at = pendulum.datetime(2026, 1, 2, 3, tz="Europe/Berlin")
    yield [{"id": 1, "at": at, "e-Mail": "ä", "day": date(2026, 1, 2), "amount": Decimal("12.50"), "raw": b"\\xff",
            "nan": float("nan"), "uid": UUID(int=1), "nested": [{"price": Decimal("1.10"), "at": at}], "none": None}]
"""

    assert (
        '{"id":1,"at":"2026-01-02T02:00:00Z","e-Mail":"ä","day":"2026-01-02","amount":12.50,"raw":"ff","nan":null,'
        '"uid":"00000000-0000-0000-0000-000000000001","nested":[{"price":1.10,"at":"2026-01-02T02:00:00Z"}],"none":null}'
    ) == read(tmp_path, code, cursor="at", written="timestamp").rows["_payload"].item()


def test_tables_of_arrow_are_records(tmp_path: Path) -> None:
    code = """
import pyarrow as pa
@dlt.resource
def things():
    yield pa.table({"id": [1, 2], "at": ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]})
    yield pa.record_batch({"id": [3], "at": ["2026-01-02T00:00:00Z"]})
"""

    assert (["1", "3"], 1) == (ids(read(tmp_path, code)), read(tmp_path, code).aside)
    assert (["1", "3"], 1) == (ids(read(tmp_path, code, cursor="at")), read(tmp_path, code, cursor="at").aside)
    assert '{"id":3,"at":"2026-01-02T00:00:00Z"}' == read(tmp_path, code, cursor="at").rows["_payload"][-1]


def test_a_record_without_a_time_is_a_dead_letter_and_two_of_one_time_are_two(tmp_path: Path) -> None:
    """Whatever dlt is told of a key: what is a repeat is decided later."""
    code = """
@dlt.resource(primary_key="no_such_field")
def things():
    for ident, at in ((1, "2026-01-02T00:00:00Z"), (2, "2026-01-02T00:00:00Z"), (3, None)):
        yield {"id": ident, "at": at}
    yield {"id": 4}
"""
    landed = read(tmp_path, code, cursor="at")

    assert ["1", "2"] == ids(landed)
    assert ["no_time", "no_time"] == [reason for reason, _ in dead(landed)]


def test_arguments_may_tell_the_window(tmp_path: Path) -> None:
    code = """
def things(since, numbers, key):
    yield {"id": since, "at": "2026-01-02T00:00:00Z", "numbers": numbers, "is_key": key == "Key open-sesame"}
"""
    asked = {"since": "{first_date}", "numbers": [1, True], "key": "Key {secret}"}
    (payload,) = read(tmp_path, code, secret="open-sesame", arguments=asked).rows["_payload"]

    assert '{"id":"2026-01-02","at":"2026-01-02T00:00:00Z","numbers":[1,true],"is_key":true}' == payload


# --- errors -----------------------------------------------------------------------------------------------------------


SOURCE_OF_A = "@dlt.source\ndef things(): return dlt.resource([1], name='a')"
RAISES_A_NAME = "@dlt.resource\ndef things():\n    raise KeyError('Ann Amsel')"


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("def others(): ...", SourceError, r"there is no function 'things' in made\.py; check request\.resource"),
        ("import no_such_thing", SourceError, r"made\.py cannot be imported: there is no no_such_thing; check"),
        ("def things(): yield 'ann@example.com'", SourceError, "the resource yields str; expected dicts, or tables"),
        ("def things(): yield {'id': '\\ud800'}", SourceError, "yields a record that cannot be written as JSON$"),
        (SOURCE_OF_A, SourceError, r"things has no resource ''; it has: a; name one: made\.py:things\.RESOURCE$"),
        ("def things(): yield [][1]", SourceError, r"made\.things: the resource failed: IndexError at made\.py:3$"),
        (RAISES_A_NAME, SourceError, r"made\.things: the resource failed: KeyError at made\.py:5$"),
        ("def things(a): ...", SourceError, r"made\.py: things\(\) missing 1 .*: 'a'; check request\.arguments$"),
        ("@dlt.resource\ndef things(key=dlt.secrets.value): yield {}", SourceRefused, "dlt says no: .*key"),
        (
            "def things(): raise ConnectionError('no way to open-sesame@host?api_key=1234')",
            SourceUnreachable,
            r"cannot reach what it reads: no way to \*\*\*@host\?api_key=\*\*\*; check its address$",
        ),
        ("import httpx\ndef things(): yield httpx.get('http://127.0.0.1:1')", SourceUnreachable, "refused; check its"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line_without_a_secret_or_a_record(
    code: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message) as error:
        read(tmp_path, code, secret="open-sesame")

    told = str(error.value)
    assert "\n" not in told
    assert not any(word in told for word in ("open-sesame", "Ann", "ann@", "1234"))
    assert kind is type(error.value)


def test_a_resource_that_fails_after_a_page_lands_nothing(tmp_path: Path) -> None:
    code = (
        "def things():\n    for n in range(30_000): yield {'id': n, 'at': '2026-01-02T00:00:00Z'}\n    raise KeyError"
    )
    file = tmp_path / "made.py"
    file.write_text(code)
    source, lake = stream_of(Dlt(f"{file}:things")), Lake(tmp_path / "lake")

    with pytest.raises(SourceError, match="the resource failed: KeyError"):
        ingest(lake, source, source.streams[0], Connection(""), DAY, run_id="r", now=NOW)
    assert lake.version(bronze_table(source, source.streams[0])) is None


def test_a_missing_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlt", None)

    with pytest.raises(SourceRefused, match=r"made\.things: dlt is not installed; install it: pip install 'customer-"):
        read(tmp_path, "def things(): ...")


@pytest.mark.parametrize("resource", ["", "module", ":function", "module:"])
def test_a_resource_is_a_module_and_a_function(resource: str) -> None:
    with pytest.raises(DeclarationError, match=r"expected module:function, e\.g\. my_shop:orders"):
        Dlt(resource)


LEAVES_NOTHING = """
import json, sys
from pathlib import Path
from tests.connect.test_dlt import DAY, NOW, stream_of
from etl.connect import Connection
from etl.model import Dlt
from etl.run.ingest import read_landing
source = stream_of(Dlt(sys.argv[1] + ":things", cursor="at"))
landed = read_landing(source, source.streams[0], Connection(""), DAY, run_id="r", now=NOW)
from dlt.common.runtime import anon_tracker
print(json.dumps([landed.rows.height, anon_tracker._ANON_TRACKER_ENDPOINT, "airflow" in sys.modules]))
"""


def test_no_file_is_left_anywhere_and_nobody_is_told(tmp_path: Path) -> None:
    """Telemetry would start with the first use; Airflow, once imported, makes a folder at home."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    made = tmp_path / "made.py"
    made.write_text("import dlt\n@dlt.resource\ndef things(): yield {'id': 1, 'at': '2026-01-02T00:00:00Z'}")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "AIRFLOW", "DLT"))}
    environ |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-c", LEAVES_NOTHING, made],
        cwd=here, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "" == told.stderr
    assert [1, None, False] == json.loads(told.stdout)
    assert [] == [*home.rglob("*"), *here.rglob("*")]
