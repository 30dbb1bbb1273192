"""The small company through a real Airflow on its own database: the same tables, whoever says when.

One Airflow is started for this file: the history comes as one run per source, the days after it through
`airflow backfill create`. What it leaves is compared with the same days in one process.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal

from etl.bronze.tables import VOLATILE
from etl.errors import AirflowError
from etl.model import Table, Window
from etl.run import airflow, pipeline, processes
from etl.run.airflow_state import Installation
from etl.run.demo import demo_company
from etl.run.following import key_of, last_word
from etl.run.house import House, open_house
from etl.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(1500)

HISTORY = Window.of_days(date(2026, 1, 1), date(2026, 1, 2))
DAYS = (Window.of_day(date(2026, 1, 3)), Window.of_day(date(2026, 1, 4)))
KEY = "0123456789abcdef" * 4


def settings_at(home: Path) -> Settings:
    """A company of 200 people and four days whose settings stand in a file, so that every process reads the same."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "lakehouse.toml"
    config.write_text('[lakehouse]\nhome = "."\n[demo]\npeople = 200\ndays = 4\n', encoding="utf-8")
    (home / "keys").mkdir(exist_ok=True)
    (home / "keys" / "pseudonym.key").write_text(KEY, encoding="utf-8")
    return load_settings({"C360_CONFIG": str(config)}, cwd=home)


@dataclass(frozen=True)
class Story:
    """What was run, where it runs, and how every step ended."""

    settings: Settings
    running: airflow.Running
    loaded: list[pipeline.Outcome]
    backfilled: list[pipeline.Outcome]

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """Airflow's REST API, logged in as the user the command prints."""
        with httpx.Client(base_url=self.running.url, timeout=30.0, trust_env=False) as client:
            login = {"username": self.running.user, "password": self.running.password}
            token = client.post("/auth/token", json=login).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Airflow started, a history loaded, two days backfilled; stopped again whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="c360-airflow-"))
    home.chmod(0o755)  # as a checkout is; below a private folder the database would move to /var/lib
    settings = settings_at(home)
    try:
        running = airflow.start(settings)
        loaded = airflow.run_through_airflow(settings, [HISTORY])
        since = datetime.now(UTC)
        backfill(settings, "2026-01-03", "2026-01-04")
        backfilled = airflow.follow(settings, DAYS, since=since)
        yield Story(settings, running, loaded, backfilled)
    finally:
        airflow.stop(settings)
        left = processes.marked(str(settings.home / "airflow"))
        shutil.rmtree(home)
        assert left == []


def backfill(settings: Settings, first: str, last: str) -> None:
    """The two days again, by Airflow's own command line."""
    days = ["--from-date", first, "--to-date", last, "--max-active-runs", "1"]
    assert airflow.airflow_command(settings, ["backfill", "create", "--dag-id", "load", *days]) == 0


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The same windows, in this process."""
    settings = settings_at(tmp_path_factory.mktemp("in-process"))
    with demo_company(settings) as reached:
        house = open_house(settings, reached)
        outcomes = pipeline.run(house, [HISTORY, *DAYS], run_id="test")
        assert {each.state for each in outcomes} == {pipeline.State.DONE}, [o for o in outcomes if o.why]
        return house


def rows_of(house: House, table: Table) -> pl.DataFrame:
    """A table's rows in one order, without what says when and by which run they came."""
    rows = house.lake.read(table).collect().drop(VOLATILE, strict=False)
    return rows.sort(rows.columns, nulls_last=True)


def test_every_step_of_the_history_ends_well(story: Story) -> None:
    assert [(each.step, each.why) for each in story.loaded if each.state is not pipeline.State.DONE] == []
    assert len(story.loaded) == airflow.steps_per_window(story.settings) + 1


def test_every_step_of_the_backfill_ends_well(story: Story) -> None:
    assert [(each.step, each.why) for each in story.backfilled if each.state is not pipeline.State.DONE] == []
    assert len(story.backfilled) == 2 * airflow.steps_per_window(story.settings) + 1


def test_history_and_backfill_through_airflow_give_the_tables_of_daily_runs_in_one_process(
    story: Story, in_process: House
) -> None:
    through_airflow = open_house(story.settings)
    different = []
    for table in (*(table for _, _, table in in_process.catalog.bronze.values()), *in_process.catalog.tables):
        try:
            assert_frame_equal(rows_of(in_process, table), rows_of(through_airflow, table))
        except AssertionError as difference:
            different.append(f"{table.full_name}: {str(difference).splitlines()[0]}")

    assert different == []


def test_every_report_comes_back_from_its_task(story: Story) -> None:
    bare = [each.step for each in story.loaded if each.report is None and each.step != "publish"]

    assert bare == []


def test_one_run_per_window_and_table_and_no_other(story: Story) -> None:
    with story.api() as api:
        runs = [
            run
            for dag_id in ("ingest_ga4", "gold_customer_360")
            for run in api.get(f"/api/v2/dags/{dag_id}/dagRuns").json()["dag_runs"]
        ]
    keys = sorted((run["dag_id"], key_of(run)) for run in runs)
    expected = [HISTORY.key, *(day.key for day in DAYS)]

    assert keys == [(dag_id, key) for dag_id in ("gold_customer_360", "ingest_ga4") for key in expected]


def test_starting_what_runs_gives_the_same_one_at_once(story: Story) -> None:
    before = airflow.status(story.settings)

    assert airflow.start(story.settings) == story.running
    assert airflow.status(story.settings) == before


def test_everything_listens_on_this_machine_only(story: Story) -> None:
    listening = set()
    for process in processes.marked(str(story.settings.home / "airflow")):
        with suppress(psutil.Error):  # a process that ended meanwhile listens on nothing
            connections = process.net_connections(kind="inet")
            listening |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}

    assert listening <= {"127.0.0.1"}
    assert listening


def test_without_a_login_nothing_is_told(story: Story) -> None:
    assert httpx.get(f"{story.running.url}/api/v2/dags", trust_env=False).status_code == 401


def test_secrets_are_for_their_owner_only(story: Story) -> None:
    folder = story.settings.home / "airflow"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.glob("*.json"))}

    assert modes == {"airflow": 0o700, "state.json": 0o600, "passwords.json": 0o600}


def test_no_task_log_holds_a_secret(story: Story) -> None:
    known = Installation(story.settings).read()
    secrets = [known[name] for name in ("password", "database_password", "jwt_secret", "api_secret", "fernet_key")]
    logs = list((story.settings.home / "airflow" / "logs").rglob("*.log"))
    telling = [path.name for path in logs for secret in secrets if secret in path.read_text(errors="replace")]

    assert logs
    assert telling == []


def trigger(api: httpx.Client, dag_id: str, body: dict[str, Any]) -> httpx.Response:
    """A run by hand, as the UI's button makes it."""
    return api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})


def ended(api: httpx.Client, dag_id: str, run_id: str) -> dict[str, Any]:
    """The run once it has ended, with its tasks."""
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
    api.get(f"{path}/wait", params={"interval": 1})
    run: dict[str, Any] = api.get(path).json()
    run["tasks"] = api.get(f"{path}/taskInstances").json()["task_instances"]
    return run


@pytest.mark.parametrize(
    "body",
    [{}, {"logical_date": "2026-01-03T10:00:00Z"}],
    ids=["a bare trigger", "a logical date and nothing else"],
)
def test_a_run_that_does_not_say_its_days_fails_at_once_and_says_why(story: Story, body: dict[str, Any]) -> None:
    with story.api() as api:
        run = ended(api, "ingest_ga4", trigger(api, "ingest_ga4", body).json()["dag_run_id"])
        (task,) = run["tasks"]
        why, exit_code = last_word(Installation(story.settings).task_log(task))

    assert (run["state"], task["try_number"], exit_code) == ("failed", 1, 2)
    assert why.startswith("this run does not say which days it is about")


def test_materialise_in_the_ui_is_refused_too(story: Story) -> None:
    with story.api() as api:
        assets = api.get("/api/v2/assets", params={"name_pattern": "bronze.ga4_events"}).json()["assets"]
        made = api.post(f"/api/v2/assets/{assets[0]['id']}/materialize", json={})
        run = ended(api, "ingest_ga4", made.json()["dag_run_id"])

    assert (run["state"], [task["try_number"] for task in run["tasks"]]) == ("failed", [1])


def test_a_key_that_is_no_window_is_refused_before_a_run_exists(story: Story) -> None:
    with story.api() as api:
        answers = [
            trigger(api, "ingest_ga4", {"partition_key": key}).status_code
            for key in ("yesterday", "2026-01-09--2026-01-01", "../../etc")
        ]

    assert all(400 <= status < 500 for status in answers), answers


@pytest.mark.parametrize(
    "body",
    [
        {"conf": {"from": "2026-01-03", "to": "2026-01-04"}},
        {
            "logical_date": "2026-01-05T00:00:00Z",
            "data_interval_start": "2026-01-03T00:00:00Z",
            "data_interval_end": "2026-01-05T00:00:00Z",
        },
    ],
    ids=["the form", "a data interval"],
)
def test_days_told_without_a_key_reach_the_tables_that_follow(story: Story, body: dict[str, Any]) -> None:
    key = "2026-01-03--2026-01-04"
    since = datetime.now(UTC)
    with story.api() as api:
        landed = ended(api, "ingest_ecb_rates", trigger(api, "ingest_ecb_rates", body).json()["dag_run_id"])
        deadline = datetime.now(UTC).timestamp() + 120
        following: list[dict[str, Any]] = []
        while not following and datetime.now(UTC).timestamp() < deadline:
            found = api.get("/api/v2/dags/silver_exchange_rates/dagRuns", params={"run_after_gte": since.isoformat()})
            following = found.json()["dag_runs"]
        followed = ended(api, "silver_exchange_rates", following[0]["dag_run_id"])

    assert landed["state"] == "success"
    assert (followed["partition_key"], followed["state"]) == (key, "success")


def test_a_failure_stops_what_reads_it_and_nothing_else_and_names_its_log(story: Story) -> None:
    ledger = Path(story.settings.lake) / "_ledger" / "silver.ad_spend.jsonl"
    intact = ledger.read_bytes()
    ledger.write_bytes(b"{" + intact)
    try:
        outcomes = airflow.run_through_airflow(story.settings, [DAYS[1]])
    finally:
        ledger.write_bytes(intact)
    by_state = {state: {each.step: each for each in outcomes if each.state is state} for state in pipeline.State}
    failed = by_state[pipeline.State.FAILED]["silver.ad_spend"]
    why, _, log = failed.why.rpartition("; log: ")

    assert set(by_state[pipeline.State.FAILED]) == {"silver.ad_spend"}
    assert set(by_state[pipeline.State.STOPPED]) == {"silver.campaigns", "gold.campaigns", "publish"}
    assert len(by_state[pipeline.State.DONE]) == airflow.steps_per_window(story.settings) - 3
    assert "silver.ad_spend" in why
    assert "ledger" in why
    assert failed.exit_code == 2
    assert "ad_spend" in Path(log).read_text(encoding="utf-8")


def test_another_program_on_the_wanted_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = tmp_path / "lakehouse.toml"
        config.write_text(f'[lakehouse]\nhome = "."\n[airflow]\nport = {other.getsockname()[1]}\n', encoding="utf-8")
        settings = load_settings({"C360_CONFIG": str(config)}, cwd=tmp_path)

        with pytest.raises(Exception, match="is taken by another program"):
            airflow.start(settings)


def test_asking_airflow_when_it_is_stopped_says_how_to_start_it(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)

    with pytest.raises(AirflowError, match="c360 airflow start"):
        airflow.airflow_command(settings, ["version"])


def test_stopping_what_never_ran_is_no_error(tmp_path: Path) -> None:
    assert airflow.stop(settings_at(tmp_path)) is False


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_ui_lets_the_printed_user_in_and_lists_the_dags(story: Story, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    shots = Path(os.environ.get("SCREENSHOTS", tmp_path))
    elsewhere: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("request", lambda asked: elsewhere.append(asked.url) if story.running.url not in asked.url else None)
        page.goto(story.running.url)
        page.get_by_label("Username").fill(story.running.user)
        page.get_by_label("Password").fill(story.running.password)
        page.screenshot(path=shots / "login.png")
        page.get_by_role("button", name="Sign in").click()
        # The login sends us on by itself: until it has, it would cut off whatever page we asked for.
        page.wait_for_url(lambda url: "/auth/" not in url, timeout=60_000)
        page.get_by_role("link", name="Home").first.wait_for(timeout=60_000)
        page.goto(f"{story.running.url}/dags?limit=50")
        page.get_by_text("gold_customer_360").first.wait_for(timeout=60_000)
        page.screenshot(path=shots / "dags.png")
        page.goto(f"{story.running.url}/dags/gold_customer_360")
        page.get_by_text("build").first.wait_for(timeout=60_000)
        page.screenshot(path=shots / "dag.png")
        browser.close()

    assert [url for url in elsewhere if url.startswith("http")] == []
