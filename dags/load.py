"""Days for the whole company, one after the other: every source, then wait until the tables that follow have them.

Days that arrive one by one need no `load`: the ingest DAGs have their own schedule. It is for loading a history and
for backfills, where one day's tables must not see what only the next day brings, or customers would get other ids
than they got day by day.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun

from dags.manifest import first_moment, last_moment, manifest
from dags.outcomes import carried_out
from dags.windows import window_of
from etl.model.window import Window
from plugins.day_windows import DayWindowsOnDemand

UNDER_WAY = ["queued", "running"]
SECONDS_BETWEEN_LOOKS = 2.0


def load(*, sources: list[str], tables: list[str], **context: Any) -> dict[str, Any]:
    """One run per source for this run's window; ends when all of them and all that follows have ended."""

    def step() -> dict[str, Any]:
        window, run_id, runs = window_of(context), context["run_id"], context["ti"]
        published = runs.get_dr_count("publish", states=["success"])
        for dag_id in sources:
            _trigger(dag_id, run_id, window)
        landed = [_end_of(runs, dag_id, run_id) for dag_id in sources]
        _settled(runs, tables)
        if "failed" in landed or runs.get_dr_count("publish", states=["success"]) <= published:
            raise AirflowFailException(f"not every table has {window.key}; see the failed runs of these days")
        return {"sources": len(landed)}

    return carried_out(step)


def _trigger(dag_id: str, run_id: str, window: Window) -> None:
    # As Airflow's own TriggerDagRunOperator does, many at once. Neither can hand on a partition key (3.3.2), so the
    # days go as if filled into the form; the source's tasks give what they land the right key.
    days = {"from": window.days[0].isoformat(), "to": window.days[-1].isoformat()}
    answer = task_runner.SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=days))
    if isinstance(answer, ErrorResponse) and answer.error is not ErrorType.DAGRUN_ALREADY_EXISTS:
        raise AirflowFailException(f"{dag_id} could not be triggered for {window.key}: {answer.error}")


def _end_of(runs: Any, dag_id: str, run_id: str) -> str:
    """The state a run ends in, once it has."""
    while (state := runs.get_dagrun_state(dag_id, run_id)) in UNDER_WAY:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return str(state)


def _settled(runs: Any, tables: list[str]) -> None:
    """Come back when nothing that follows is under way. Twice in a row: between two runs there is a moment of none."""
    quiet = 0
    while quiet < 2:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        is_quiet = all(runs.get_dr_count(dag_id, states=UNDER_WAY) == 0 for dag_id in tables)
        quiet = quiet + 1 if is_quiet else 0


def load_dag(sources: list[str], tables: list[str]) -> DAG:
    """The DAG over these ingest DAGs and what follows them."""
    with DAG(
        dag_id="load",
        description="A history, or days again: every source and every table, day after day",
        doc_md=f"### load\n\n{__doc__}\n"
        "Load a history: *Trigger*, partition key `2026-01-01--2026-01-27`.\n\n"
        "Days again: *Backfill* with one active run at a time, or\n"
        "`c360 airflow cli backfill create --dag-id load --from-date 2026-01-28 --to-date 2026-01-30 "
        "--max-active-runs 1`.\n",
        schedule=DayWindowsOnDemand("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        start_date=first_moment(),
        end_date=last_moment(),
        catchup=False,
        max_active_runs=1,
        tags=["load", "repair"],
        default_args={
            "owner": "data-engineering",
            "retries": 2,
            "retry_delay": timedelta(seconds=20),
            "max_active_tis_per_dag": 1,
            "pool": "load",
        },
    ) as dag:
        PythonOperator(task_id="load", python_callable=load, op_kwargs={"sources": sources, "tables": tables})
    return dag


_told = manifest()
if _told["sources"]:
    globals()["load_dag_of_the_house"] = load_dag(
        [f"ingest_{source['name']}" for source in _told["sources"]],
        [*(table["name"].replace(".", "_") for table in _told["tables"]), "publish"],
    )
