"""Two tables that become new at the same moment must not each start half a run of what reads both."""

from __future__ import annotations

from typing import Any

from airflow.assets.manager import AssetManager
from sqlalchemy import text

# Any number, the same in every process; it is the name of the lock.
_LOCK = 360_2026


class OneAtATime(AssetManager):  # type: ignore[misc]  # Airflow is not followed by mypy
    """Airflow's asset manager, where notes about one waiting run are taken one after the other.

    Airflow 3.3.2 notes which inputs of a partition have come in a row per reading DAG and key, and looks for that
    row under a lock on the *producing* asset. Two inputs that finish in the same instant hold different locks, find no
    row, write one each, and neither is ever complete: the run does not start (apache/airflow#71070, open).
    Seen here about once in 300 runs.
    """

    @classmethod
    def _get_or_create_apdr(cls, *, session: Any, **names: Any) -> Any:
        if session.get_bind().dialect.name == "postgresql":
            # Held until the transaction ends, so whoever comes next sees the row.
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        return super()._get_or_create_apdr(session=session, **names)
