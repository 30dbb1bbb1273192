"""The gate between a build and its readers: run the table's suite, remember the verdict, stop on a critical one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from etl.model import Table
from expectations.checkpoint import Verdict, validate


def gate(
    docs: Path, *, run_id: str, note: Callable[[Verdict], None] = lambda _: None
) -> Callable[[Table, Sequence[pl.DataFrame | pl.LazyFrame], str], None]:
    """An audit for `etl.run.build`: validates, stores the result for Data Docs, tells `note`, stops on critical.

    The audit raises QualityError when a critical expectation failed or could not be evaluated.
    """

    def audit(table: Table, frames: Sequence[pl.DataFrame | pl.LazyFrame], window: str) -> None:
        verdict = validate(table, frames, window=window, run_id=run_id, docs=docs)
        note(verdict)
        verdict.raise_if_critical()

    return audit
