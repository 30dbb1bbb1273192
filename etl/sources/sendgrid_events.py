"""SendGrid's event webhook: what became of every message, from the requests it sent.

Files of lines {received_at, timestamp, signature, body}, a request each:
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event. The secret is the webhook's verification
key; a request that is not signed with it is a dead letter. One event comes up to dozens of times: the first counts.
An event that comes late is of the day it happened, so three days are read again. Not verified against the live API.
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

#: SendGrid's words in ours; the others (deferred, dropped and the like) are steps on the way and land in bronze only.
EVENTS_TOLD = {
    "processed": "sent",
    "delivered": "delivered",
    "open": "opened",
    "click": "clicked",
    "bounce": "bounced",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "spamreport": "complained",
}

EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Files(pattern="*.jsonl", is_signed=True),
    id=("sg_event_id",),
    at=Pick("timestamp", "epoch_s"),
    restate_days=3,
    feeds=(
        Feed(
            subject="email_events",
            fields={
                "event_id": Pick("sg_event_id"),
                "email": Pick("email"),
                "campaign_id": Pick("marketing_campaign_id"),
                "campaign_name": Pick("marketing_campaign_name"),
                "email_event": Pick("event", values=EVENTS_TOLD),
                "event_at": Pick("timestamp", "epoch_s"),
            },
            where={"event": tuple(EVENTS_TOLD)},
        ),
    ),
)

SOURCE = Source(name="sendgrid_events", title="SendGrid (event webhook)", streams=(EVENTS,))
