"""Consent strings of a consent management platform: IAB Transparency and Consent Framework 2.2, JSON lines by the day
they were recorded.

`{"id", "login" or "cookie", "tc_string", "recorded_at"}`. One string decides on several of our purposes, so one feed
for each asks it; `etl.silver.tcf` reads it, and says which purposes of the framework each of ours needs. The string's
own time is a whole day since TCF 2.2, so the decision is dated by `recorded_at`.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream


def _asked_for(purpose: str) -> Feed:
    return Feed(
        subject="consents",
        fields={
            "login": Pick("login"),
            "cookie": Pick("cookie"),
            "purpose": Pick(const=purpose),
            "tc_string": Pick("tc_string"),
            "event_at": Pick("recorded_at", "timestamp"),
        },
    )


TCF = Stream(
    name="tcf",
    kind=Kind.EVENTS,
    request=Files(pattern="tcf_{yyyymmdd}.jsonl"),
    id=("id",),
    at=Pick("recorded_at", "timestamp"),
    feeds=tuple(_asked_for(purpose) for purpose in ("ads", "analytics", "personalisation")),
)

SOURCE = Source(name="consent_tcf", title="Consent strings (IAB TCF)", streams=(TCF,))
