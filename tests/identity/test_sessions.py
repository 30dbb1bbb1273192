"""Visits against the plain way of counting them, one event after the other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model import Column, Type
from etl.model.frames import schema_of
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.sessions import SESSIONS, build_sessions, events_left_out
from etl.silver.web_events import WEB_EVENTS
from tests.golden import frame_of
from tests.identity.evidence import DAY_1

STEADY = settings(deadline=None, derandomize=True, database=None)
EVENT_COLUMNS = {**schema_of(WEB_EVENTS.columns), **schema_of((Column("customer_id", Type.STRING, ""),))}

#: Minutes since the start of 1 January: close ones, ones about half an hour apart, around midnight, and three days on.
MINUTES = st.sampled_from(
    [0, 1, 29, 30, 31, 59, 60, 61, 90, 91, 1425, 1439, 1440, 1441, 1470, 1471, 4320, 4321, 350_000]
)
EVENTS = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["c_ann", "c_bob", None]),
        "minute": MINUTES,
        "cookie_key": st.sampled_from(["phone", "laptop", None]),
        "source_session_id": st.sampled_from([None, None, "s1", "s2"]),
        "event_name": st.sampled_from(["page_view", "scroll", "screen_view"]),
        "channel": st.sampled_from(["direct", "direct", "email", "paid_search"]),
        "utm_campaign": st.sampled_from([None, "winter"]),
        "page_path": st.sampled_from([None, "/", "/tent"]),
        "device_type": st.sampled_from([None, "mobile", "desktop"]),
        "is_bot": st.sampled_from([False, False, False, True]),
    }
)


def rows_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **{name: value for name, value in event.items() if name != "minute"},
            "event_at": DAY_1 + timedelta(minutes=event["minute"]),
            "source": "web",
            "event_id": f"e{number:03}",
        }
        for number, event in enumerate(events)
    ]


def sessions_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    identity = [
        {"node_id": customer, "customer_id": customer, "is_known": True, "known_from": DAY_1} for customer in ("c_ann",)
    ]
    events = frame_of(rows, EVENT_COLUMNS).lazy()
    return build_sessions(events, frame_of(identity, schema_of(IDENTITY_MAP.columns)).lazy()).collect()


def without_left_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events but robots', and but those more than three days after the first of their source's session."""
    began: dict[str, Any] = {}
    for row in rows:
        session = row["source_session_id"]
        began[session] = min(began.get(session, row["event_at"]), row["event_at"])
    return [
        row
        for row in rows
        if not row["is_bot"]
        and (row["source_session_id"] is None or row["event_at"] - began[row["source_session_id"]] <= timedelta(days=3))
    ]


def one_by_one(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sessions, kept in a list by hand."""
    rows = without_left_out(rows)
    made: list[list[dict[str, Any]]] = []
    latest: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["event_at"], row["event_id"])):
        who = row["customer_id"] or row["event_id"]
        session = latest.get(who)
        if session is None or row["event_at"] - session[-1]["event_at"] > timedelta(minutes=30):
            session = latest[who] = []
            made.append(session)
        session.append(row)
    told = []
    for session in made:
        paid = next((row for row in session if row["channel"] != "direct"), {"channel": "direct", "utm_campaign": None})
        told.append(
            {
                "customer_id": session[0]["customer_id"],
                "is_known": session[0]["customer_id"] == "c_ann",
                "started_at": session[0]["event_at"],
                "ended_at": session[-1]["event_at"],
                "event_count": len(session),
                "page_view_count": sum(row["event_name"] in ("page_view", "screen_view") for row in session),
                "browser_count": len({row["cookie_key"] for row in session} - {None}),
                "channel": paid["channel"],
                "utm_campaign": paid["utm_campaign"],
                "landing_page_path": next((row["page_path"] for row in session if row["page_path"]), None),
                "device_type": next((row["device_type"] for row in session if row["device_type"]), None),
            }
        )
    return sorted(told, key=repr)


@STEADY
@given(st.lists(EVENTS, max_size=25))
def test_sessions_are_those_counted_one_by_one(events: list[dict[str, Any]]) -> None:
    rows = rows_of(events)
    came = sessions_of(rows).drop("session_id", "utm_source", "utm_medium").to_dicts()

    assert one_by_one(rows) == sorted(came, key=repr)


@STEADY
@given(st.lists(EVENTS, max_size=25).flatmap(lambda events: st.tuples(st.just(events), st.randoms())))
def test_no_event_is_lost_or_counted_twice_in_any_order(world: tuple[list[dict[str, Any]], Any]) -> None:
    events, shuffler = world
    rows = rows_of(events)
    first = sessions_of(rows)
    shuffler.shuffle(rows)

    assert first["event_count"].sum() == len(without_left_out(rows))
    assert first["session_id"].is_unique().all()
    assert sessions_of(rows).equals(first)


@STEADY
@given(st.lists(EVENTS, max_size=25))
def test_what_is_left_out_and_what_sessions_stand_for_are_all_events(events: list[dict[str, Any]]) -> None:
    rows = rows_of(events)
    left_out = events_left_out(frame_of(rows, EVENT_COLUMNS).lazy()).collect()

    assert (SESSIONS.conserves, SESSIONS.weight, SESSIONS.leaves_out) == ("web_events", "event_count", events_left_out)
    assert left_out.height + sessions_of(rows)["event_count"].sum() == len(rows)
