"""The models that say how much it weighs that two records agree: a log, of which the last one is in use.

Read by `identity_matches`. A model is learnt once, as soon as there are records enough, and stays: what it says of two
records changes only when somebody has a new one learnt (`c360 identity train`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import polars as pl

from etl import fields as f
from etl.model import Layer, Table
from etl.model.frames import schema_of
from etl.silver.identity_edges import IDENTITY_EDGES, members_of
from etl.silver.linkage import COMPARED, Model, learn
from etl.silver.person_records import PERSON_RECORDS
from etl.silver.representatives import READ, comparable, representatives


def build_identity_model(
    person_records: pl.LazyFrame,
    identity_edges: pl.LazyFrame,
    *,
    previous: pl.LazyFrame,
    as_of: datetime,
    versions: Mapping[str, int | None],
) -> pl.LazyFrame:
    """The models there are; where there is none, the first one, if the records are enough to learn from."""
    before = previous.collect()
    if before.height:
        return before.lazy()
    records, edges = person_records.select(READ).collect(), identity_edges.collect()
    return pl.concat([before, next_model(records, edges, before, as_of=as_of, versions=versions)]).lazy()


def next_model(
    person_records: pl.DataFrame,
    identity_edges: pl.DataFrame,
    before: pl.DataFrame,
    *,
    as_of: datetime,
    versions: Mapping[str, int | None],
) -> pl.DataFrame:
    """One row, a model learnt of what is known now; none where that is too little.

    person_records: `READ` of them, or more. versions: table -> its version.
    """
    records = comparable(person_records, members_of(identity_edges), identity_edges)
    model = learn(representatives(records), records)
    row = [] if model is None else [
        {
            "model_version": 1 + max(before["model_version"].to_list(), default=0),
            "compared_fingerprint": COMPARED.fingerprint,
            "learnt_from": model.learnt_from,
            "learnt_at": as_of,
            "learnt_of": json.dumps(dict(versions), sort_keys=True),
            "parameters": model.to_json(),
        }
    ]  # fmt: skip
    return pl.DataFrame(row, schema=schema_of(IDENTITY_MODEL.columns))


def in_use(identity_model: pl.DataFrame) -> tuple[int, Model] | None:
    """The last model and its version; None when there is none.

    Raises: ModelRefused when it was learnt for another comparison set.
    """
    if identity_model.is_empty():
        return None
    last = identity_model.sort("model_version").row(-1, named=True)
    return last["model_version"], Model.from_json(last["parameters"]).fit_for(COMPARED)


IDENTITY_MODEL = Table(
    layer=Layer.SILVER,
    name="identity_model",
    description="How much it weighs that two records agree, learnt from the records themselves; no value of a person.",
    grain="one row per model; the one with the highest version is in use",
    key=("model_version",),
    columns=(
        f.model_version.required,
        f.compared_fingerprint.required,
        f.learnt_from.required,
        f.learnt_at.required,
        f.learnt_of.required,
        f.parameters.required,
    ),
    inputs=(PERSON_RECORDS, IDENTITY_EDGES),
    build=build_identity_model,
)
