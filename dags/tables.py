"""From bronze to silver and gold: one DAG a table, started when everything it reads is there for the same days.

Made from the catalogue's inputs. A table that fails keeps its old version and stops what depends on it, nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from operator import and_
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, PartitionedAssetTimetable, PartitionedAtRuntime

from dags.assets import asset_of
from dags.manifest import first_moment, manifest
from dags.outcomes import carried_out
from dags.windows import window_of

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=15), "max_active_tis_per_dag": 1}


def build(*, table: str, **context: Any) -> dict[str, Any]:
    """One window of one table, checked before it becomes visible; hands on how many rows went where."""

    def step() -> dict[str, Any]:
        from etl.run import tasks

        counts: dict[str, Any] = tasks.build(table, window_of(context).key, context["run_id"])
        return counts

    return carried_out(step)


def publish(**context: Any) -> dict[str, Any]:
    """The SQL catalogue and the Data Docs, as of now."""

    def step() -> dict[str, Any]:
        from etl.run import tasks

        counts: dict[str, Any] = tasks.publish(context["run_id"])
        return counts

    return carried_out(step)


def dag_of(table: dict[str, Any]) -> DAG:
    """The DAG of one table: its inputs' days are its days."""
    layer, name = table["name"].split(".")
    with DAG(
        dag_id=f"{layer}_{name}",
        description=table["grain"],
        doc_md=_page(table),
        schedule=PartitionedAssetTimetable(assets=reduce(and_, [asset_of(each) for each in table["inputs"]])),
        start_date=first_moment(),
        catchup=False,
        max_active_runs=1,
        tags=[layer, "table"],
        default_args={"owner": table["owner"], "pool": "tables", **RETRIES},
    ) as dag:
        PythonOperator(
            task_id="build",
            python_callable=build,
            op_kwargs={"table": table["name"]},
            outlets=[asset_of(table["name"])],
        )
    return dag


def publish_dag(tables: list[dict[str, Any]]) -> DAG:
    """After every gold table of the same days."""
    gold = [asset_of(table["name"]) for table in tables if table["layer"] == "gold"]
    with DAG(
        dag_id="publish",
        description="The SQL catalogue and the Data Docs",
        doc_md="### publish\n\nWrites the SQL catalogue and the Data Docs, once every gold table has the days.",
        schedule=PartitionedAssetTimetable(assets=reduce(and_, gold)),
        start_date=first_moment(),
        catchup=False,
        max_active_runs=1,
        tags=["serve"],
        default_args={"owner": "data-engineering", "pool": "tables", **RETRIES},
    ) as dag:
        PythonOperator(task_id="publish", python_callable=publish)
    return dag


def rebuild_dag(tables: list[dict[str, Any]]) -> DAG:
    """Every table for the days of its key, in order, from the bronze that is there: after one source came again."""
    with DAG(
        dag_id="rebuild",
        description="Every silver and gold table again, without asking a source",
        doc_md="### rebuild\n\nTrigger with a partition key: a day `2026-01-31`, or days `2026-01-01--2026-01-31`. "
        "Builds every silver and gold table of these days from the bronze that is there, then publishes.",
        schedule=PartitionedAtRuntime(),
        start_date=first_moment(),
        catchup=False,
        max_active_runs=1,
        tags=["silver", "gold", "repair"],
        default_args={"owner": "data-engineering", "pool": "tables", **RETRIES},
    ) as dag:
        published = PythonOperator(task_id="publish", python_callable=publish)
        steps: dict[str, Any] = {}
        for table in tables:
            steps[table["name"]] = PythonOperator(
                task_id=table["name"],
                python_callable=build,
                op_kwargs={"table": table["name"]},
            )
            for each in table["inputs"]:
                if each in steps:
                    steps[each] >> steps[table["name"]]
            steps[table["name"]] >> published
    return dag


def _page(table: dict[str, Any]) -> str:
    inputs = "\n".join(f"- `{each}`" for each in table["inputs"])
    return f"""### {table["name"]}

{table["description"]}

Grain: {table["grain"]}. Columns: {table["columns"]}. Replaced by {table["partition"]}.

Reads

{inputs}
"""


_tables = manifest()["tables"]
for _table in _tables:
    globals()[_table["name"].replace(".", "_")] = dag_of(_table)
if any(table["layer"] == "gold" for table in _tables):
    globals()["publish"], globals()["rebuild"] = publish_dag(_tables), rebuild_dag(_tables)
