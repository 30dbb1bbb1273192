"""The consent tool: every decision of a person, JSON lines by the day it was recorded."""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

CONSENTS = Stream(
    name="consents",
    kind=Kind.EVENTS,
    request=Files(pattern="consents_{yyyymmdd}.jsonl"),
    id=("consent_id",),
    at=Pick("recorded_at", "timestamp"),
    feeds=(
        Feed(
            subject="consents",
            fields={
                "consent_id": Pick("consent_id"),
                "email": Pick("email"),
                "login": Pick("login"),
                "card": Pick("card"),
                "purpose": Pick("purpose"),
                "consent_status": Pick("status"),
                "lawful_basis": Pick("lawful_basis"),
                "event_at": Pick("decided_at", "timestamp"),
            },
        ),
    ),
)

SOURCE = Source(name="consent", title="Consent tool", streams=(CONSENTS,))
