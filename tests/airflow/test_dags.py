"""The DAG files, as Airflow reads them: what follows what, and the habits every DAG keeps."""

from __future__ import annotations

from typing import Any

ENGINES = {"pandas", "polars", "dask", "distributed", "deltalake", "great_expectations", "pyarrow", "duckdb", "numpy"}


def test_the_dag_files_load(dag_bag: dict[str, Any]) -> None:
    assert dag_bag["errors"] == {}


def test_reading_the_dag_files_loads_no_engine(dag_bag: dict[str, Any]) -> None:
    assert ENGINES & set(dag_bag["loaded"]) == set()


def test_reading_the_dag_files_enters_no_room_of_the_house_but_the_nouns(dag_bag: dict[str, Any]) -> None:
    rooms = {name for name in dag_bag["etl_rooms"] if not name.startswith("etl.model")}

    assert rooms == {"etl.errors"}


def test_there_is_a_dag_per_source_and_table_and_three_for_the_house(dag_bag: dict[str, Any]) -> None:
    expected = {"ingest_shop", "silver_orders", "silver_visits", "gold_funnel", "publish", "rebuild", "load"}

    assert set(dag_bag["dags"]) == expected


def test_a_source_lands_each_stream_in_a_task_of_its_own(dag_bag: dict[str, Any]) -> None:
    tasks = dag_bag["dags"]["ingest_shop"]["tasks"]
    landed = {name: (task["outlets"], task["upstream"]) for name, task in tasks.items()}

    assert landed == {"orders": (["bronze.shop_orders"], []), "visits": (["bronze.shop_visits"], [])}


def test_a_table_waits_for_everything_it_reads(dag_bag: dict[str, Any]) -> None:
    funnel = dag_bag["dags"]["gold_funnel"]

    assert funnel["assets"] == ["silver.orders", "silver.visits"]
    assert funnel["timetable"].endswith("PartitionedAssetTimetable")
    assert funnel["tasks"]["build"]["outlets"] == ["gold.funnel"]


def test_publish_follows_the_gold_tables(dag_bag: dict[str, Any]) -> None:
    assert dag_bag["dags"]["publish"]["assets"] == ["gold.funnel"]


def test_rebuild_builds_in_the_order_of_the_inputs(dag_bag: dict[str, Any]) -> None:
    tasks = dag_bag["dags"]["rebuild"]["tasks"]
    order = {name: task["upstream"] for name, task in tasks.items()}

    assert order == {
        "silver.orders": [],
        "silver.visits": [],
        "gold.funnel": ["silver.orders", "silver.visits"],
        "publish": ["gold.funnel", "silver.orders", "silver.visits"],
    }


def test_a_source_takes_days_and_ranges_of_days_as_keys_and_refuses_the_rest(dag_bag: dict[str, Any]) -> None:
    expected = {
        "2026-01-28": "2026-01-28T00:00:00+00:00",
        "2026-01-01--2026-01-27": "2026-01-01T00:00:00+00:00",
        "2026-01-27--2026-01-01": "InvalidPartitionKeyError",
        "yesterday": "InvalidPartitionKeyError",
    }

    assert dag_bag["dags"]["ingest_shop"]["keys"] == expected


def test_a_company_whose_history_has_ended_is_not_asked_for_tomorrow(dag_bag: dict[str, Any]) -> None:
    assert dag_bag["dags"]["ingest_shop"]["end_date"].startswith("2026-01-31")


def test_every_task_has_an_owner_and_is_tried_again_after_a_while(dag_bag: dict[str, Any]) -> None:
    careless = [
        f"{dag_id}.{task_id}"
        for dag_id, dag in dag_bag["dags"].items()
        for task_id, task in dag["tasks"].items()
        if task["owner"] in ("", "airflow") or task["retries"] < 2 or task["delay"] < 10
    ]

    assert careless == []


def test_no_two_runs_write_one_table_at_once(dag_bag: dict[str, Any]) -> None:
    crowded = [
        f"{dag_id}.{task_id}"
        for dag_id, dag in dag_bag["dags"].items()
        for task_id, task in dag["tasks"].items()
        if dag["max_active_runs"] != 1 or task["one_at_a_time"] != 1
    ]

    assert crowded == []


def test_a_source_is_asked_only_through_its_own_pool(dag_bag: dict[str, Any]) -> None:
    pools = {dag_id: {task["pool"] for task in dag["tasks"].values()} for dag_id, dag in dag_bag["dags"].items()}

    assert pools.pop("ingest_shop") == {"source_shop"}
    assert pools.pop("load") == {"load"}
    assert set().union(*pools.values()) == {"tables"}


def test_every_dag_says_what_it_is(dag_bag: dict[str, Any]) -> None:
    silent = [dag_id for dag_id, dag in dag_bag["dags"].items() if not dag["tags"] or len(dag["doc"]) < 40]

    assert silent == []


def test_switching_a_dag_on_loads_no_history_by_surprise(dag_bag: dict[str, Any]) -> None:
    assert {dag["catchup"] for dag in dag_bag["dags"].values()} == {False}
