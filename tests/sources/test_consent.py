"""Consent from a table of a database, and from consent strings: windows exact, every path of every feed."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from etl.privacy.pseudonyms import pseudonym
from etl.silver.consents import CONSENTS
from etl.sources import consent_db, consent_tcf
from tests.sources.landings import dead, ids, landing, subject

#: Consent to 1, 2, 3, 4 and 7, legitimate interest in 7 and 8; written on 2026-01-02 (see tests/silver/test_tcf.py).
STRING = "CQdZmkAQdZmkAAKABBDEBkFgAPIAAAMAAAYgAAAAAAAA"


def database(folder: Path, *rows: tuple[str | None, ...]) -> str:
    path = folder / "consent.db"
    with sqlite3.connect(path) as opened:
        opened.execute(
            "create table consent_events (consent_id text, email text, login text, card text, purpose text,"
            " status text, lawful_basis text, decided_at timestamp, recorded_at timestamp)"
        )
        opened.executemany(f"insert into consent_events values ({', '.join('?' * 9)})", rows)
    opened.close()
    return f"sqlite:///{path}"


def test_a_decision_in_the_table_becomes_a_row_of_consents(tmp_path: Path) -> None:
    url = database(
        tmp_path,
        *[("c1", "Ann@Example.org", "ann", "C-1", "email_marketing", "granted", "consent",
           "2026-01-02 08:00:00", "2026-01-02 09:00:00")],
        ("c2", None, "bob", None, "telepathy", "granted", "consent", "2026-01-02 08:00:00", "2026-01-02 09:00:00"),
    )  # fmt: skip
    (stream,) = consent_db.SOURCE.streams

    rows = subject(consent_db.SOURCE, stream, CONSENTS, landing(consent_db.SOURCE, stream, url, "2026-01-02"))

    assert {
        "source": "consent_db",
        "consent_id": "c1",
        "email_key": pseudonym("email", "ann@example.org", key=b"golden"),
        "login_key": pseudonym("login", "ann", key=b"golden"),
        "card_key": pseudonym("card", "C1", key=b"golden"),
        "purpose": "email_marketing",
        "consent_status": "granted",
        "lawful_basis": "consent",
        "event_at": datetime(2026, 1, 2, 8, tzinfo=UTC),
        "_fate": "out",
    }.items() <= rows.row(0, named=True).items()
    assert "c2" == rows["consent_id"][1]


def test_a_decision_belongs_to_the_day_it_was_recorded_on_and_to_no_other(tmp_path: Path) -> None:
    at = ("2026-01-01 23:59:59.999999", "2026-01-02 00:00:00", "2026-01-02T23:59:59.999Z", "2026-01-03 00:00:00")
    url = database(
        tmp_path, *((f"c{n}", None, "ann", None, "ads", "granted", None, one, one) for n, one in enumerate(at))
    )
    (stream,) = consent_db.SOURCE.streams
    days = [landing(consent_db.SOURCE, stream, url, f"2026-01-0{day}") for day in (1, 2, 3)]

    assert [["c0"], ["c1", "c2"], ["c3"]] == [ids(day) for day in days]
    assert ids(landing(consent_db.SOURCE, stream, url, "2026-01-01--2026-01-03")) == [f"c{n}" for n in range(4)]
    assert all(not dead(day) for day in days)


def test_one_string_makes_a_row_for_each_of_our_purposes(tmp_path: Path) -> None:
    lines = [
        {"id": "t1", "login": "ann", "cookie": "abc.1", "tc_string": STRING, "recorded_at": "2026-01-02T10:00:00Z"},
        {"id": "t2", "cookie": "abc.2", "tc_string": STRING[:30], "recorded_at": "2026-01-02T11:00:00Z"},
        {"id": "t3", "cookie": "abc.3", "recorded_at": "2026-01-02T12:00:00Z"},
    ]
    (tmp_path / "tcf_20260102.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (stream,) = consent_tcf.SOURCE.streams
    rows = subject(consent_tcf.SOURCE, stream, CONSENTS, landing(consent_tcf.SOURCE, stream, tmp_path, "2026-01-02"))
    told = set(rows.select("consent_id", "consent_status", "lawful_basis", "_fate", "_rule").iter_rows())

    assert {
        ("t1:ads", "granted", "consent", "out", None),
        ("t1:analytics", "granted", "legitimate_interest", "out", None),
        ("t1:personalisation", "withdrawn", "consent", "out", None),
        ("t2:ads", None, None, "quarantined", "tc_string.malformed"),
        ("t2:analytics", None, None, "quarantined", "tc_string.malformed"),
        ("t2:personalisation", None, None, "quarantined", "tc_string.malformed"),
        ("t3", None, None, "quarantined", "consent_status.missing"),
    } == told
    assert 9 == rows.height
    first = rows.filter(consent_id="t1:ads").row(0, named=True)
    assert pseudonym("login", "ann", key=b"golden") == first["node_id"] == first["login_key"]
    assert datetime(2026, 1, 2, 10, tzinfo=UTC) == first["event_at"]
    second = rows.filter(consent_id="t2:ads").row(0, named=True)
    assert pseudonym("cookie", "abc.2", key=b"golden") == second["node_id"]
