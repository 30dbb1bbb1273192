"""Consent decisions in a table of a database, read over SQL: one row per decision, found by `recorded_at`.

Columns: consent_id, email, login, card, purpose, status, lawful_basis, decided_at, recorded_at (real timestamps, UTC
where the column has no zone). Rows are only ever added; a table whose rows are changed is an entity, and needs
a declaration of its own.
"""

from __future__ import annotations

from etl.model import Feed, Kind, Pick, Source, Sql, Stream

CONSENTS = Stream(
    name="consents",
    kind=Kind.EVENTS,
    request=Sql(table="consent_events", cursor="recorded_at"),
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

SOURCE = Source(name="consent_db", title="Consent database", streams=(CONSENTS,))
