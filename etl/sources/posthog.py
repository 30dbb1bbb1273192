"""PostHog: events of sites and apps.

API: /api/projects/{project}/events, https://posthog.com/docs/api/events; the account is the project's number, the
secret a personal API key with the scope `event:read`. Quirks:

- `after` leaves its moment out, so a second more is asked for; newest first, pages by a whole `next` address. That
  address goes on before the last event's time: what shares its very microsecond may be left out.
- `distinct_id` is a browser until somebody logs in, then a person, and persons are merged later. What never changes is
  what the event itself says: `$device_id` is the browser, `$user_id` the person; these two are picked.
- PostHog calls this list deprecated and made for small amounts: for millions of events a day use its batch export.
- EU projects answer at https://eu.posthog.com: set base_url.

Not verified against the live API.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Http(
        path="/api/projects/{account}/events/",
        records="results",
        params={"after": "{before_start_iso}", "before": "{end_iso}"},
        paging=Paging(style="next_url", next_at="next", size_param="limit", size=100),
        trims=True,
    ),
    id=("id",),
    at=Pick("timestamp", "timestamp"),
    feeds=(
        Feed(
            subject="web_events",
            fields={
                "event_id": Pick("id"),
                "event_name": Pick("event", values={"$pageview": "page_view", "$screen": "screen_view"}),
                "event_at": Pick("timestamp", "timestamp"),
                "cookie": Pick("properties.$device_id"),
                "login": Pick("properties.$user_id"),
                "source_session_id": Pick("properties.$session_id"),
                "page_view_id": Pick("properties.$pageview_id"),
                "page_url": Pick("properties.$current_url"),
                "referrer_url": Pick("properties.$referrer"),
                "utm_source": Pick("properties.utm_source"),
                "utm_medium": Pick("properties.utm_medium"),
                "utm_campaign": Pick("properties.utm_campaign"),
                "device_type": Pick("properties.$device_type"),
                "country": Pick("properties.$geoip_country_code"),
                "user_agent": Pick("properties.$raw_user_agent"),
            },
        ),
    ),
)

SOURCE = Source(
    name="posthog",
    title="PostHog",
    base_url="https://us.posthog.com",
    auth=Auth(scheme="bearer"),
    # 240 requests a minute for one team.
    limits=Limits(requests=240, seconds=60.0, concurrency=1),
    streams=(EVENTS,),
)
