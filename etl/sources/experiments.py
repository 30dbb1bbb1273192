"""The experiment platform: who was shown which arm, JSON lines by the day of arrival."""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

EXPOSURES = Stream(
    name="exposures",
    kind=Kind.EVENTS,
    request=Files(pattern="exposures_{yyyymmdd}.jsonl"),
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

SOURCE = Source(name="experiments", title="Experiment platform", streams=(EXPOSURES,))
