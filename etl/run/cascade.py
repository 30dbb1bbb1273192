"""What follows what in Airflow: read off the manifest, the same way the DAGs are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One task of the cascade: the table it makes and the tables it waits for."""

    table: str
    dag_id: str
    task_id: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cascade:
    """Every step of one window, inputs first; `publish` comes after the gold tables."""

    steps: tuple[Step, ...]
    publish: Step

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Cascade:
        """The cascade of a manifest."""
        landing = [
            Step(stream["table"], f"ingest_{source['name']}", stream["name"], ())
            for source in manifest["sources"]
            for stream in source["streams"]
        ]
        building = [
            Step(table["name"], table["name"].replace(".", "_"), "build", tuple(table["inputs"]))
            for table in manifest["tables"]
        ]
        gold = tuple(table["name"] for table in manifest["tables"] if table["layer"] == "gold")
        return cls((*landing, *building), Step("publish", "publish", "publish", gold))

    @property
    def ingest_dags(self) -> tuple[str, ...]:
        """The DAGs a window is triggered with, one per source."""
        return tuple(dict.fromkeys(step.dag_id for step in self.steps if step.dag_id.startswith("ingest_")))
