"""Exposures, from files and from a table: the same rows, each once, each in the window it was received in."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from etl.privacy.pseudonyms import pseudonym
from etl.silver.campaign_interactions import CAMPAIGN_INTERACTIONS
from etl.sources import experiments, experiments_db
from tests.sources.landings import dead, ids, landing, subject

COLUMNS = ("exposure_id", "experiment_id", "variant", "anonymous_id", "user_id", "exposed_at", "received_at")
EXPOSURES = [
    ("x1", "checkout", "b", "abc.1", "ann", "2026-01-02T10:00:00Z", "2026-01-02T10:00:01Z"),
    ("x1", "checkout", "b", "abc.1", "ann", "2026-01-02T10:00:00Z", "2026-01-03T00:00:00Z"),  # again, the day after
    ("x2", "checkout", "a", "abc.2", None, "2026-01-01T10:00:00Z", "2026-01-02T23:59:59.999Z"),  # a day late
]


def files(folder: Path) -> str:
    for exposure in EXPOSURES:
        with (folder / f"exposures_{exposure[-1][:10].replace('-', '')}.jsonl").open("a") as file:
            file.write(json.dumps(dict(zip(COLUMNS, exposure, strict=True))) + "\n")
    return str(folder)


def database(folder: Path) -> str:
    path = folder / "experiments.db"
    with sqlite3.connect(path) as opened:
        opened.execute(f"create table exposures ({', '.join(COLUMNS)})")
        opened.executemany(f"insert into exposures values ({', '.join('?' * 7)})", EXPOSURES)
    opened.close()
    return f"sqlite:///{path}"


def test_a_table_tells_what_files_tell(tmp_path: Path) -> None:
    told = []
    for source, url in ((experiments.SOURCE, files(tmp_path)), (experiments_db.SOURCE, database(tmp_path))):
        (stream,) = source.streams
        second, third = (landing(source, stream, url, day) for day in ("2026-01-02", "2026-01-03"))
        assert ([], []) == (dead(second), dead(third))
        assert (["x1", "x2"], ["x1"]) == (ids(second), ids(third))
        rows = subject(source, stream, CAMPAIGN_INTERACTIONS, second, third)
        told.append(rows.drop("source", "_source", "_hash"))

    assert told[0].equals(told[1])
    assert {
        "interaction_id": "x1",
        "interaction_type": "exposed",
        "experiment_id": "checkout",
        "variant": "b",
        "cookie_key": pseudonym("cookie", "abc.1", key=b"golden"),
        "login_key": pseudonym("login", "ann", key=b"golden"),
        "event_at": datetime(2026, 1, 2, 10, tzinfo=UTC),
        "_fate": "out",
    }.items() <= told[0].row(0, named=True).items()
    assert ["out", "out", "deduplicated"] == told[0].sort("day", "interaction_id")["_fate"].to_list()
