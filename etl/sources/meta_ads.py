"""Meta ads: what each ad cost and brought, day by day, and the campaigns.

API: Marketing API v24.0, https://developers.facebook.com/docs/marketing-api/insights. Numbers are restated for 28 days,
and known for 37 months. An answer at once is tried first; where there is too much data for one (code 1, 100/1487534)
a job is started, looked at and fetched. A job that fails or is skipped is done again in halves of its days, and a day
alone campaign by campaign. Windows of attribution are named, since their default has changed before. The usage Meta
writes into its headers (per cent; minutes in one header, seconds in another) slows reading down before it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from etl.errors import SourceError, SourceRefused
from etl.model import Ask, Auth, Feed, Kind, Limits, Line, Own, Pick, Source, Stream, Told, Window

API = "/v24.0"
SIZE = 500
#: A job looked at every ten seconds is given up after an hour.
LOOK_SECONDS, LOOKS = 10.0, 360
#: From so many per cent of what an account may use on, reading pauses for as many seconds.
PAUSES = ((95.0, 300.0), (85.0, 60.0))

FIELDS = (
    "account_id", "account_currency", "campaign_id", "campaign_name", "ad_id", "ad_name", "impressions", "clicks",
    "spend", "actions", "date_start", "date_stop",
)  # fmt: skip
CAMPAIGN = ("id", "name", "objective", "status", "effective_status", "start_time", "stop_time", "updated_time")
#: Archived and deleted ones are left out unless asked for.
EVERY_STATUS = ("ACTIVE", "PAUSED", "IN_PROCESS", "WITH_ISSUES", "ARCHIVED", "DELETED")


class _TooMuchError(Exception):
    """More than one answer, or one job, can hold; never leaves this module."""


def read_insights(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Every ad and day of the window: at once, else by jobs."""
    first, last = window.start.date(), (window.end - timedelta(microseconds=1)).date()
    account = f"act_{line.account}"
    try:
        pages = _whole(line, f"{API}/{account}/insights", _asked(first, last))
    except _TooMuchError:
        yield from by_jobs(line, account, first, last)
    else:
        yield from pages


def by_jobs(line: Line, owner: str, first: date, last: date) -> Iterator[Sequence[bytes]]:
    """The days from `first` to `last` of an account or a campaign: one job, or as many as it must be split into."""
    try:
        pages = _whole(line, f"{API}/{finished(line, owner, first, last)}/insights", {})
    except _TooMuchError as trouble:
        if first < last:
            middle = first + (last - first) // 2
            yield from by_jobs(line, owner, first, middle)
            yield from by_jobs(line, owner, middle + timedelta(days=1), last)
        elif owner.startswith("act_"):
            for page in read_campaigns(line, None):
                for campaign in page:
                    yield from by_jobs(line, json.loads(campaign)["id"], first, last)
        else:
            raise SourceError(
                f"meta_ads: the job for {first} of one campaign alone failed ({trouble}); nothing was written; "
                "run the window again later"
            ) from None
    else:
        yield from pages


def finished(line: Line, owner: str, first: date, last: date) -> str:
    """The number of a job that is done."""
    told = _ask(line, Ask(f"{API}/{owner}/insights", method="POST", form=_asked(first, last)))
    number = str(json.loads(told.body)["report_run_id"])
    for _ in range(LOOKS):
        job = json.loads(_ask(line, Ask(f"{API}/{number}")).body)
        if job["async_status"] == "Job Completed":
            return number
        if job["async_status"] in {"Job Failed", "Job Skipped"}:
            raise _TooMuchError(f"{job['async_status']}: {job.get('error_message') or 'no reason given'}")
        line.wait(LOOK_SECONDS)
    raise SourceError(f"meta_ads: a job took longer than {LOOKS * LOOK_SECONDS / 60:.0f} minutes; run the window again")


def read_campaigns(line: Line, _window: Window | None) -> Iterator[Sequence[bytes]]:
    """Every campaign as it is now, archived and deleted ones too."""
    asked = {"fields": ",".join(CAMPAIGN), "effective_status": json.dumps(EVERY_STATUS)}
    yield from walked(line, f"{API}/act_{line.account}/campaigns", asked)


def _asked(first: date, last: date) -> dict[str, str]:
    return {
        "level": "ad",
        "time_increment": "1",
        "time_range": f'{{"since":"{first}","until":"{last}"}}',
        "fields": ",".join(FIELDS),
        "action_attribution_windows": '["1d_view","7d_click"]',
    }


def _whole(line: Line, path: str, params: Mapping[str, str]) -> list[Sequence[bytes]]:
    """All pages, or none where there is too much on the way."""
    return list(walked(line, path, params))


def walked(line: Line, path: str, params: Mapping[str, str]) -> Iterator[Sequence[bytes]]:
    """Page after page, until no next one is named."""
    after, seen = "", set[str]()
    while True:
        asked = {**params, "limit": str(SIZE), **({"after": after} if after else {})}
        told = _ask(line, Ask(path, records="data", params=asked))
        yield told.records
        paging = json.loads(told.body).get("paging") or {}
        if not paging.get("next"):
            return
        after = paging["cursors"]["after"]
        if after in seen:
            raise SourceError("meta_ads: the same cursor came twice, so the pages would never end")
        seen.add(after)


def _ask(line: Line, question: Ask) -> Told:
    try:
        told = line.ask(question)
    except SourceError as refusal:
        if "too much data" in str(refusal):
            raise _TooMuchError(str(refusal)) from None
        raise
    if told.skipped:
        why = (json.loads(told.body).get("error") or {}).get("message") or "no reason given"
        raise SourceRefused(
            f"meta_ads: {question.path} is not there for us ({why}); check account and the secret's rights"
        )
    used = max(_shares(told.headers), default=0.0)
    for share, seconds in PAUSES:
        if used >= share:
            line.wait(seconds)
            break
    return told


_PER_CENT = frozenset({"call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct"})


def _shares(headers: Mapping[str, str]) -> Iterator[float]:
    """How much of what may be used is used, in per cent, as each of four headers says it."""
    for name in ("x-app-usage", "x-ad-account-usage", "x-business-use-case-usage", "x-fb-ads-insights-throttle"):
        try:
            yield from _numbers(json.loads(headers.get(name, "{}")))
        except ValueError:
            continue


def _numbers(usage: Any) -> Iterator[float]:
    if isinstance(usage, list):
        for one in usage:
            yield from _numbers(one)
    if isinstance(usage, dict):
        for name, value in usage.items():
            if name in _PER_CENT and isinstance(value, int | float):
                yield float(value)
            else:
                yield from _numbers(value)


INSIGHTS = Stream(
    name="insights",
    kind=Kind.REPORT,
    request=Own(read_insights),
    id=("ad_id", "date_start"),
    at=Pick("date_start", "date"),
    restate_days=28,
    max_age_days=37 * 30,
    feeds=(
        Feed(
            subject="ad_spend",
            fields={
                "ad_date": Pick("date_start", "date"),
                "network": Pick(const="meta"),
                "campaign_id": Pick("campaign_id"),
                "campaign_name": Pick("campaign_name"),
                "ad_id": Pick("ad_id"),
                "impression_count": Pick("impressions", "number"),
                "click_count": Pick("clicks", "number"),
                "lead_count": Pick("actions[action_type=lead].value", "number"),
                "currency": Pick("account_currency"),
                "cost_amount": Pick("spend", "number"),
            },
        ),
    ),
)

CAMPAIGNS = Stream(
    name="campaigns",
    kind=Kind.SNAPSHOT,
    request=Own(read_campaigns),
    id=("id",),
    feeds=(
        Feed(
            subject="campaigns",
            fields={
                "campaign_id": Pick("id"),
                "campaign_name": Pick("name"),
                "campaign_type": Pick("objective"),
                "campaign_channel": Pick(const="ads"),
                "starts_on": Pick("start_time", "date"),
                "ends_on": Pick("stop_time", "date"),
            },
        ),
    ),
)

SOURCE = Source(
    name="meta_ads",
    title="Meta ads",
    base_url="https://graph.facebook.com",
    auth=Auth(scheme="bearer"),
    limits=Limits(requests=60, seconds=60.0, concurrency=1),
    errors="meta",
    streams=(INSIGHTS, CAMPAIGNS),
)
