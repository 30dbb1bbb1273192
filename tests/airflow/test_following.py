"""How a step ended, read off Airflow's tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.run.airflow_state import Installation
from etl.run.cascade import Cascade
from etl.run.following import key_of, last_word, outcome_of
from etl.run.pipeline import Outcome, State
from etl.settings import Settings
from tests.airflow.conftest import MANIFEST

KEY = "2026-01-28"
CASCADE = Cascade.of(MANIFEST)
STEPS = {step.table: step for step in CASCADE.steps}


def task(dag_id: str, task_id: str, state: str | None) -> dict[str, Any]:
    return {"dag_id": dag_id, "task_id": task_id, "dag_run_id": "run", "state": state, "try_number": 1}


def outcome(
    home: Path, table: str, tasks: list[dict[str, Any]], ended: dict[str, State], *, is_idle: bool = True
) -> Outcome | None:
    """How `table` ended for the key, told these tasks and these ends before."""
    no_api = httpx.Client(transport=httpx.MockTransport(lambda asked: httpx.Response(500)))
    with no_api:
        return outcome_of(
            no_api,
            Installation(Settings(home=home, lake=home / "lake")),
            STEPS[table],
            KEY,
            {(each["dag_id"], each["task_id"], KEY): each for each in tasks},
            {(KEY, name): state for name, state in ended.items()},
            CASCADE,
            is_idle=is_idle,
        )


def test_a_failed_table_ends_with_its_own_line_its_log_and_its_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "airflow/logs/dag_id=silver_orders/run_id=run/task_id=build/attempt=1.log"
    log.parent.mkdir(parents=True)
    error = {"exc_type": "AirflowFailException", "exc_value": "QualityError: silver.orders: 3 ids are empty"}
    log.write_text(json.dumps({"event": "Task failed", "error_detail": [error]}) + "\n", encoding="utf-8")

    ended = outcome(tmp_path, "silver.orders", [task("silver_orders", "build", "failed")], {})

    why = f"silver.orders: 3 ids are empty; log: {log}"
    assert ended == Outcome("silver.orders", KEY, State.FAILED, why=why, exit_code=1)


def test_what_reads_a_failed_table_ends_as_stopped(tmp_path: Path) -> None:
    ended = outcome(tmp_path, "gold.funnel", [], {"silver.orders": State.FAILED, "silver.visits": State.DONE})

    assert ended == Outcome("gold.funnel", KEY, State.STOPPED, why="waits for silver.orders")


def test_what_reads_a_stopped_table_is_stopped_too(tmp_path: Path) -> None:
    ended = outcome(tmp_path, "gold.funnel", [], {"silver.orders": State.STOPPED})

    assert ended is not None
    assert ended.state is State.STOPPED


def test_nothing_is_called_stopped_while_something_is_still_under_way(tmp_path: Path) -> None:
    assert outcome(tmp_path, "gold.funnel", [], {"silver.orders": State.FAILED}, is_idle=False) is None


@pytest.mark.parametrize("state", [None, "queued", "running", "up_for_retry", "up_for_reschedule"])
def test_a_task_under_way_has_not_ended(tmp_path: Path, state: str | None) -> None:
    assert outcome(tmp_path, "silver.orders", [task("silver_orders", "build", state)], {}) is None


def test_a_table_whose_inputs_all_ended_well_is_waited_for(tmp_path: Path) -> None:
    ended = {"silver.orders": State.DONE, "silver.visits": State.DONE}

    assert outcome(tmp_path, "gold.funnel", [], ended) is None


def test_a_task_killed_from_outside_says_so(tmp_path: Path) -> None:
    log = tmp_path / "attempt=1.log"
    log.write_text('{"event": "Pre Execute"}\n', encoding="utf-8")

    assert last_word(log) == ("it was ended from outside", 70)
    assert last_word(tmp_path / "no.log") == ("it left no log", 70)


@pytest.mark.parametrize(
    ("run", "key"),
    [
        ({"partition_key": KEY, "conf": None}, KEY),
        ({"partition_key": None, "conf": {"from": "2026-01-28", "to": "2026-01-30"}}, "2026-01-28--2026-01-30"),
        ({"partition_key": None, "conf": {"from": "2026-01-28"}}, KEY),
        ({"partition_key": None, "conf": {"from": "soon"}}, None),
        ({"partition_key": None, "conf": {}}, None),
    ],
)
def test_a_run_is_known_by_its_key_or_by_the_days_it_was_told(run: dict[str, Any], key: str | None) -> None:
    assert key_of(run) == key
