"""Exposures of an experiment platform in a table of a database, read over SQL by `received_at`.

Columns: exposure_id, experiment_id, variant, anonymous_id, user_id, exposed_at, received_at (real timestamps, UTC where
the column has no zone). Rows are only ever added: arrival decides the window, so a late exposure is never missed.
"""

from __future__ import annotations

from etl.model import Feed, Kind, Pick, Source, Sql, Stream

EXPOSURES = Stream(
    name="exposures",
    kind=Kind.EVENTS,
    request=Sql(table="exposures", cursor="received_at"),
    id=("exposure_id",),
    at=Pick("received_at", "timestamp"),
    feeds=(
        Feed(
            subject="campaign_interactions",
            fields={
                "interaction_id": Pick("exposure_id"),
                "interaction_type": Pick(const="exposed"),
                "experiment_id": Pick("experiment_id"),
                "variant": Pick("variant"),
                "cookie": Pick("anonymous_id"),
                "login": Pick("user_id"),
                "event_at": Pick("exposed_at", "timestamp"),
            },
        ),
    ),
)

SOURCE = Source(name="experiments_db", title="Experiment database", streams=(EXPOSURES,))
