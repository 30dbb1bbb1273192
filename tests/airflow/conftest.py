"""Airflow is only ever started in processes of its own: importing it here would leave its logging behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

MANIFEST: dict[str, Any] = {
    "first_day": "2026-01-01",
    "last_day": "2026-01-30",
    "sources": [
        {
            "name": "shop",
            "title": "The shop",
            "owner": "commerce",
            "account": "default",
            "concurrency": 2,
            "streams": [
                {"name": "orders", "kind": "entity", "table": "bronze.shop_orders", "restate_days": 0},
                {"name": "visits", "kind": "events", "table": "bronze.shop_visits", "restate_days": 3},
            ],
        }
    ],
    "tables": [
        {
            "name": name,
            "layer": name.split(".")[0],
            "owner": "commerce",
            "description": "What was bought.",
            "grain": "one row per order",
            "partition": "whole",
            "inputs": inputs,
            "columns": 3,
        }
        for name, inputs in (
            ("silver.orders", ["bronze.shop_orders"]),
            ("silver.visits", ["bronze.shop_visits"]),
            ("gold.funnel", ["silver.orders", "silver.visits"]),
        )
    ],
}


def airflow_environment(home: Path) -> dict[str, str]:
    """An Airflow without a database, reading our DAGs with the manifest in `home`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "C360_HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


@pytest.fixture(scope="session")
def dag_bag(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the DAG files hold, as Airflow reads them: errors, engines loaded on the way, DAGs and tasks."""
    home = tmp_path_factory.mktemp("bag")
    (home / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("describe_dags.py"))],
        env=airflow_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    described: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return described
