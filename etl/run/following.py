"""A window through Airflow: triggered, and followed until everything that comes after it has ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from etl import errors
from etl.errors import AirflowError, C360Error, WindowRefused
from etl.model import Window
from etl.run.airflow_api import PATIENCE, all_pages, answer, cascade_of, logged_in, moment
from etl.run.airflow_state import Installation, check_alive
from etl.run.cascade import Cascade, Step
from etl.run.pipeline import DEFECT, Outcome, State
from etl.run.report import Report
from etl.settings import Settings

_POLL = 2.0
_FINAL = ("success", "failed", "upstream_failed", "skipped", "removed")


def steps_per_window(settings: Settings) -> int:
    """How many streams and tables one window has."""
    return len(cascade_of(settings).steps)


def run_through_airflow(
    settings: Settings, windows: Sequence[Window], *, progress: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Window by window: trigger every source, and follow until what follows by itself has ended.

    One after the other, as days are, so that no table of one window sees what only a later one brings.
    Gives one outcome per window and table, and one for the last publish. Raises what `follow` does.
    """
    outcomes: list[Outcome] = []
    for window in windows:
        since = datetime.now(UTC)
        with logged_in(Installation(settings).read()) as api:
            for dag_id in cascade_of(settings).ingest_dags:
                run_id = f"run__{window.key}__{since:%Y%m%dT%H%M%S}"
                body = {"dag_run_id": run_id, "logical_date": None, "partition_key": window.key}
                answer(api.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body))
        ended = follow(
            settings,
            [window],
            since=since,
            progress=progress if window == windows[-1] else _but_for_publish(progress),
        )
        outcomes += [each for each in ended if each.step != "publish" or window == windows[-1]]
    return outcomes


def _but_for_publish(progress: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
    """`progress`, not told of the publish of a window that others follow."""
    return lambda outcome: progress(outcome) if outcome.step != "publish" else None


def follow(
    settings: Settings,
    windows: Sequence[Window],
    *,
    since: datetime,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Wait until every step of these windows, in runs made after `since`, has ended.

    One outcome per window and table, in the order they ended, and one for the last publish. What waits for a
    failed table ends as stopped. `progress` hears of each.

    Raises: AirflowError when Airflow stops answering, or nothing moves for minutes though something should.
    """
    installation = Installation(settings)
    known = installation.read()
    cascade = cascade_of(settings)
    keys = [window.key for window in windows]
    outcomes: list[Outcome] = []
    pending = [(key, step) for key in keys for step in (*cascade.steps, cascade.publish)]
    ended: dict[tuple[str, str], State] = {}
    last_change = time.monotonic()
    with logged_in(known) as api:
        while pending:
            time.sleep(_POLL)
            check_alive(installation, known)
            tasks, is_idle = _tasks(api, since)
            left = []
            for key, step in pending:
                outcome = outcome_of(api, installation, step, key, tasks, ended, cascade, is_idle=is_idle)
                if outcome is None:
                    left.append((key, step))
                    continue
                ended[key, step.table] = outcome.state
                if step is not cascade.publish or key == keys[-1]:
                    outcomes.append(outcome)
                    progress(outcome)
            if len(left) < len(pending) or not is_idle:
                last_change = time.monotonic()
            pending = left
            if pending and time.monotonic() - last_change > PATIENCE:
                key, step = pending[0]
                raise AirflowError(
                    f"{step.table} {key} has not started though everything it reads is there; "
                    f"{len(pending)} steps are left; see {installation.log('scheduler')}"
                )
    return outcomes


def _tasks(api: httpx.Client, since: datetime) -> tuple[dict[tuple[str, str, str], dict[str, Any]], bool]:
    """(dag, task, key) -> the task of the runs made since; and whether all of these runs have ended."""
    # Not by run_after: of a backfilled run that is the day it is about.
    changed = {"updated_at_gte": since.isoformat()}
    keys: dict[tuple[str, str], str] = {}
    is_idle = True
    for run in all_pages(api, "/api/v2/dags/~/dagRuns", "dag_runs", changed):
        key = key_of(run)
        if key and run["queued_at"] and moment(run["queued_at"]) >= since:
            keys[run["dag_id"], run["dag_run_id"]] = key
            is_idle = is_idle and run["state"] in ("success", "failed")
    found = {}
    for task in all_pages(api, "/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances", changed):
        key = keys.get((task["dag_id"], task["dag_run_id"]))
        if key is not None:
            found[task["dag_id"], task["task_id"], key] = task
    return found, is_idle


def key_of(run: Mapping[str, Any]) -> str | None:
    """The window key of a run: its partition key, or the days it was told by `load` or in the form."""
    told = run["conf"] or {}
    if run["partition_key"] or not told.get("from"):
        return run["partition_key"] or None
    try:
        return Window.parse(f"{told['from']}--{told.get('to') or told['from']}").key
    except WindowRefused:
        return None


def outcome_of(
    api: httpx.Client,
    installation: Installation,
    step: Step,
    key: str,
    tasks: Mapping[tuple[str, str, str], dict[str, Any]],
    ended: Mapping[tuple[str, str], State],
    cascade: Cascade,
    *,
    is_idle: bool,
) -> Outcome | None:
    """How this step ended for this key; None while it has not."""
    task = tasks.get((step.dag_id, step.task_id, key))
    if task is not None and task["state"] == "success":
        report = _report(api, task) if step is not cascade.publish else None
        return Outcome(step.table, key, State.DONE, report)
    if task is not None and task["state"] in _FINAL:
        log = installation.task_log(task)
        why, exit_code = last_word(log)
        return Outcome(step.table, key, State.FAILED, why=f"{why}; log: {log}", exit_code=exit_code)
    lost = [each for each in step.inputs if ended.get((key, each), State.DONE) is not State.DONE]
    if task is None and lost and is_idle:
        return Outcome(step.table, key, State.STOPPED, why=f"waits for {', '.join(lost)}")
    return None


def _report(api: httpx.Client, task: Mapping[str, Any]) -> Report:
    path = f"/api/v2/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
    value = answer(api.get(f"{path}/xcomEntries/return_value"))["value"]
    return Report(**(json.loads(value) if isinstance(value, str) else value))


def last_word(log: Path) -> tuple[str, int]:
    """The error in the log of a failed task, its own line, not its traceback; and the exit code it stands for."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    except (OSError, ValueError):
        return "it left no log", DEFECT
    for line in reversed(lines):
        for error in line.get("error_detail") or ():
            kind, said = str(error.get("exc_type")), str(error.get("exc_value"))
            if kind == "AirflowFailException":  # what no retry mends, its own kind in front
                kind, _, said = said.partition(": ")
            known = getattr(errors, kind, None)
            return said, known.exit_code if isinstance(known, type) and issubclass(known, C360Error) else DEFECT
    return "it was ended from outside", DEFECT
