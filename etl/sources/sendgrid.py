"""SendGrid: the addresses it no longer sends to, and why: bounces, blocks, spam reports, unsubscribes.

API: v3 suppressions, https://www.twilio.com/docs/sendgrid/api-reference. `start_time` and `end_time` are seconds of the
epoch and both belong to what is given, so what is of the window's end is set aside. Pages go by offset. An address
may be taken off a list again, which no answer tells: what was captured once is kept.

No stream feeds a subject: a suppression has no id but its address and second, and the address must not stand in an
event's id. Not verified against the live API.
"""

from __future__ import annotations

from etl.model import Auth, Http, Kind, Limits, Paging, Pick, Source, Stream


def suppressions(name: str) -> Stream:
    """One list, a record per address and second it was put there."""
    return Stream(
        name=name,
        kind=Kind.ENTITY,
        request=Http(
            path=f"/v3/suppression/{name}",
            records="",
            params={"start_time": "{start_s}", "end_time": "{end_s}"},
            paging=Paging(style="offset", param="offset", size_param="limit", size=500),
        ),
        id=("email", "created"),
        at=Pick("created", "epoch_s"),
        cursor=Pick("created", "epoch_s"),
    )


BOUNCES = suppressions("bounces")
BLOCKS = suppressions("blocks")
SPAM_REPORTS = suppressions("spam_reports")
UNSUBSCRIBES = suppressions("unsubscribes")

SOURCE = Source(
    name="sendgrid",
    title="SendGrid",
    base_url="https://api.sendgrid.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=100, seconds=10.0, concurrency=1),
    streams=(BOUNCES, BLOCKS, SPAM_REPORTS, UNSUBSCRIBES),
)
