"""Run as a program: parses the DAG files as Airflow does, and prints what it found as one line of JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
loaded = {name.split(".")[0] for name in sys.modules}
etl_rooms = sorted({name for name in sys.modules if name.startswith("etl.")})


def asset_names(encoded: object) -> set[str]:
    """The names of all assets in an encoded timetable."""
    if isinstance(encoded, dict):
        own = {encoded["name"]} if {"name", "uri"} <= set(encoded) else set()
        return own.union(*(asset_names(value) for value in encoded.values()))
    if isinstance(encoded, (list, tuple)):
        return set().union(*(asset_names(value) for value in encoded))
    return set()


def keys_tried(timetable: object) -> dict[str, str]:
    """What the timetable says to some partition keys."""
    answers = {}
    for key in ("2026-01-28", "2026-01-01--2026-01-27", "2026-01-27--2026-01-01", "yesterday"):
        try:
            answers[key] = timetable.resolve_partition_date(key).isoformat()  # type: ignore[attr-defined]
        except ValueError as refused:
            answers[key] = type(refused).__name__
    return answers


from airflow.serialization.encoders import encode_timetable  # noqa: E402  (after the modules were counted)

from etl.errors import C360Error, QuotaExhausted  # noqa: E402


def outcome_of(error: Exception) -> list[str]:
    """What Airflow is told when a step raises `error`: the exception's kind and message."""
    from dags.outcomes import carried_out

    def step() -> dict[str, int]:
        raise error

    try:
        carried_out(step)
    except Exception as told:
        return [type(told).__name__, str(told)]
    return ["nothing", ""]


def kinds(of: type[C360Error]) -> dict[str, type[C360Error]]:
    """Every error of the house by name."""
    return {of.__name__: of} | {name: kind for below in of.__subclasses__() for name, kind in kinds(below).items()}


planted = {
    name: kind("said", until=datetime(2026, 1, 1, tzinfo=UTC)) if kind is QuotaExhausted else kind("said")
    for name, kind in kinds(C360Error).items()
    if kind.__module__ == "etl.errors"
}
strangers = {"KeyError": KeyError("mara@example.org"), "full disk": OSError(errno.ENOSPC, "No space left on device")}

print(
    json.dumps(
        {
            "outcomes": {name: outcome_of(error) for name, error in {**planted, **strangers}.items()},
            "errors": dict(bag.import_errors),
            "loaded": sorted(loaded),
            "etl_rooms": etl_rooms,
            "dags": {
                dag.dag_id: {
                    "timetable": encode_timetable(dag.timetable)["__type"],
                    "assets": sorted(asset_names(encode_timetable(dag.timetable))),
                    "keys": keys_tried(dag.timetable) if dag.dag_id.startswith("ingest") else {},
                    "tags": sorted(dag.tags),
                    "doc": dag.doc_md or "",
                    "catchup": dag.catchup,
                    "max_active_runs": dag.max_active_runs,
                    "end_date": str(dag.end_date),
                    "tasks": {
                        task.task_id: {
                            "owner": task.owner,
                            "retries": task.retries,
                            "delay": task.retry_delay.total_seconds(),
                            "pool": task.pool,
                            "outlets": [outlet.name for outlet in task.outlets],
                            "upstream": sorted(task.upstream_task_ids),
                            "one_at_a_time": task.max_active_tis_per_dag,
                        }
                        for task in dag.tasks
                    },
                }
                for dag in bag.dags.values()
            },
        }
    )
)
