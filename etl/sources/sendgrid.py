"""SendGrid: the addresses it no longer sends to, and why: bounces, blocks, spam reports, unsubscribes.

API: v3 suppressions, https://www.twilio.com/docs/sendgrid/api-reference. `start_time` and `end_time` are seconds of the
epoch and both belong to what is given, so what is of the window's end is set aside. Pages go by offset. The list of
those who left a group (a topic of mail) knows neither window nor pages: all of it comes, and what is not of the window
is set aside. An address may be taken off a list again, which no answer tells: what was captured once is kept.

Whoever left, complained or bounced for good does not want, or does not get, mail: consent to it is withdrawn. Leaving
one group counts as well, since our purposes know no topics: it is safer to write too little. A block passes, and says
nothing of what somebody wants. A suppression has no id but its address and second: it is known by its content, so that
no address stands in an id.

Not verified against the live API.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream


def _withdrawal(at: Pick) -> Feed:
    """No more mail, from that moment on."""
    return Feed(
        subject="consents",
        fields={
            "email": Pick("email"),
            "purpose": Pick(const="email_marketing"),
            "consent_status": Pick(const="withdrawn"),
            "event_at": at,
        },
    )


def suppressions(name: str, *, withdraws: bool = True) -> Stream:
    """One list, a record per address and second it was put there."""
    at = Pick("created", "epoch_s")
    return Stream(
        name=name,
        kind=Kind.ENTITY,
        request=Http(
            path=f"/v3/suppression/{name}",
            records="",
            params={"start_time": "{start_s}", "end_time": "{end_s}"},
            paging=Paging(style="offset", param="offset", size_param="limit", size=500),
        ),
        id=(),
        at=at,
        cursor=at,
        feeds=(_withdrawal(at),) if withdraws else (),
    )


BOUNCES = suppressions("bounces")
BLOCKS = suppressions("blocks", withdraws=False)
SPAM_REPORTS = suppressions("spam_reports")
UNSUBSCRIBES = suppressions("unsubscribes")
GROUP_UNSUBSCRIBES = Stream(
    name="group_unsubscribes",
    kind=Kind.ENTITY,
    request=Http(path="/v3/asm/suppressions", records="", trims=True),
    id=(),
    at=Pick("created_at", "epoch_s"),
    cursor=Pick("created_at", "epoch_s"),
    feeds=(_withdrawal(Pick("created_at", "epoch_s")),),
)

SOURCE = Source(
    name="sendgrid",
    title="SendGrid",
    base_url="https://api.sendgrid.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=100, seconds=10.0, concurrency=1),
    streams=(BOUNCES, BLOCKS, SPAM_REPORTS, UNSUBSCRIBES, GROUP_UNSUBSCRIBES),
)
