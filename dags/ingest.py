"""From the sources to bronze: one DAG a source, one task a stream, once a day after the UTC day has ended.

Made from the declarations in `etl/sources`. A stream that fails stops only the tables that read it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param

from dags.assets import announce, asset_of
from dags.manifest import first_moment, last_moment, manifest
from dags.outcomes import carried_out
from dags.windows import window_of
from plugins.day_windows import DayWindows


def ingest(*, source: str, stream: str, table: str, **context: Any) -> dict[str, Any]:
    """One window of one stream, landed in bronze; hands on how many rows."""

    def step() -> dict[str, Any]:
        from etl.run import tasks

        window = window_of(context)
        counts = tasks.ingest(source, stream, window.key, context["run_id"])
        announce(context, table, window)
        return counts

    return carried_out(step)


def dag_of(source: dict[str, Any]) -> DAG:
    """The daily DAG of one source."""
    with DAG(
        dag_id=f"ingest_{source['name']}",
        description=f"{source['title']} to bronze",
        doc_md=_page(source),
        schedule=DayWindows("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        start_date=first_moment(),
        end_date=last_moment(),
        catchup=False,  # earlier days are loaded by whoever wants them, not because somebody switched the DAG on
        max_active_runs=1,  # days arrive in order
        tags=["bronze", "ingest", source["name"]],
        params={
            "from": Param(None, type=["null", "string"], format="date", title="First day (without a partition key)"),
            "to": Param(None, type=["null", "string"], format="date", title="Last day, included"),
        },
        default_args={
            "owner": source["owner"],
            "pool": f"source_{source['name']}",
            "retries": 2,
            "retry_delay": timedelta(seconds=20),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=10),
            "max_active_tis_per_dag": 1,  # also in a backfill, which has its own count of runs: one window at a time
        },
    ) as dag:
        for stream in source["streams"]:
            PythonOperator(
                task_id=stream["name"],
                python_callable=ingest,
                op_kwargs={"source": source["name"], "stream": stream["name"], "table": stream["table"]},
                outlets=[asset_of(stream["table"])],
            )
    return dag


def _page(source: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {stream['name']} | {stream['kind']} | `{stream['table']}` | {stream['restate_days'] or ''} |"
        for stream in source["streams"]
    )
    return f"""### {source["title"]}

Account `{source["account"]}`, at most {source["concurrency"]} requests at once (pool `source_{source["name"]}`).

| stream | kind | table | days pulled again |
|---|---|---|---|
{rows}

Load this source's history: *Trigger*, partition key `2026-01-01--2026-01-27`. Its days again: *Backfill*, or
`c360 airflow cli backfill create --dag-id ingest_{source["name"]} --from-date 2026-01-28 --to-date 2026-01-30`.
The tables that read only these streams follow by themselves. Tables that also read other sources wait for the same
days of those: trigger `rebuild` with the same key when only this source came again. For all sources, see `load`.
"""


for _source in manifest()["sources"]:
    globals()[f"ingest_{_source['name']}"] = dag_of(_source)
