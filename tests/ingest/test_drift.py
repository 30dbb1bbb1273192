"""Schema drift: what is new is told once, what breaks is told loudly, and no value is ever written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.bronze.drift import Known, breaking, changes, fingerprint, folded, open_maps, topmost
from etl.bronze.tables import DEAD_LETTERS, INGEST_LOG, SCHEMA_LOG
from etl.errors import DeclarationError, SourceError
from etl.model import Kind, Pick
from etl.run.contract import MOST, sample
from tests.ingest.conftest import Api, Folder, Landing, stream_of

Make = Callable[..., Landing]


def printed(*records: Any) -> frozenset[tuple[str, str]]:
    return fingerprint([json.dumps(record) for record in records]).pairs


def day_of(folder: Folder, day: int, count: int = 60, **more: Any) -> str:
    """A file of `count` records; the day's key."""
    records = ({"id": f"{day}-{n}", "at": f"2026-01-{day:02d}T10:00:00Z", **more} for n in range(count))
    folder.lines(f"things_202601{day:02d}.jsonl", *records)
    return f"2026-01-{day:02d}"


def log_of(things: Landing, *changes: str) -> list[tuple[str, str, str, str]]:
    log = things.lake.read(SCHEMA_LOG).filter(pl.col("change").is_in(changes or ["new", "type_changed", "vanished"]))
    return log.select("path", "json_type", "change", "severity").collect().sort(pl.all()).rows()


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_path_is_dotted_and_a_list_has_one() -> None:
    record = {
        "id": 1,
        "at": None,
        "a": {"b": True},
        "lines": [{"sku": "x"}, {"sku": 2, "tax": 1.5}, "free"],
        "m": [[1]],
    }

    assert {
        ("id", "number"),
        ("at", "null"),
        ("a", "object"),
        ("a.b", "boolean"),
        ("lines", "array"),
        ("lines[]", "object"),
        ("lines[]", "string"),
        ("lines[].sku", "string"),
        ("lines[].sku", "number"),
        ("lines[].tax", "number"),
        ("m", "array"),
        ("m[]", "array"),
        ("m[][]", "number"),
    } == printed(record)


def test_whole_numbers_and_broken_ones_are_one_type() -> None:
    assert {("amount", "number")} == printed({"amount": 1}, {"amount": 1.5})


@pytest.mark.parametrize(
    ("count", "paths"), [(200, 201), (201, 2)], ids=["200 keys are a record", "201 keys are an open map"]
)
def test_a_map_of_many_keys_is_one_path(count: int, paths: int) -> None:
    assert paths == len(printed({"by_sku": {f"s{n}": 1 for n in range(count)}}))
    assert paths == len(printed(*({"by_sku": {f"s{n}": 1}} for n in range(count))))


def test_what_stands_below_the_keys_of_an_open_map_is_united() -> None:
    found = printed({"m": {f"k{n}": {"a": 1} if n % 2 else {"b": ["x"]} for n in range(300)}})

    assert {
        ("m", "object"),
        ("m.*", "object"),
        ("m.*.a", "number"),
        ("m.*.b", "array"),
        ("m.*.b[]", "string"),
    } == found


@pytest.mark.parametrize(
    "key", ["ann@example.org", "ann%40example.org", "+49 30 1234567", "x" * 65, ""], ids=lambda key: key[:12]
)
def test_a_key_that_is_a_value_is_not_written_down(key: str) -> None:
    assert {("opened", "object"), ("opened.*", "number")} == printed({"opened": {key: 1}})


def test_a_key_with_a_dot_is_no_two_steps() -> None:
    assert {("a%2Eb%5B%5D", "number")} == printed({"a.b[]": 1})


def test_no_value_is_in_a_fingerprint() -> None:
    seen = fingerprint([json.dumps({"email": "canary@example.org", "tags": ["canary"], "n": {"name": "canary"}})])

    assert "canary" not in repr(seen)


def test_a_record_deeper_than_anybody_writes_is_cut_and_not_fatal() -> None:
    deep = fingerprint(['{"a":' * 400 + "1" + "}" * 400])

    assert 1 == deep.records
    assert len(deep.paths) < 40


_KEYS = st.sampled_from(["a", "b", "c", "d.e", "ann@example.org", "bob@example.org"]) | st.text(max_size=3)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_RECORDS = st.lists(st.dictionaries(_KEYS, _JSON, max_size=5), max_size=8)


@settings(deadline=None, derandomize=True)
@given(_RECORDS, st.integers(0, 100))
def test_the_order_of_records_does_not_matter(records: list[dict[str, Any]], seed: int) -> None:
    shuffled = Random(seed).sample(records, len(records))
    one, other = (fingerprint([json.dumps(record) for record in each]) for each in (records, shuffled))

    assert one == other


@settings(deadline=None, derandomize=True)
@given(_RECORDS)
def test_a_fingerprint_is_what_a_plain_walk_finds(records: list[dict[str, Any]]) -> None:
    """The oracle: every value of every record visited, nothing counted by shape."""
    found: set[tuple[str, str]] = set()

    def shown(key: str) -> str:
        one = fingerprint([json.dumps({key: 1})])
        return next(iter(one.paths))

    def walk(value: Any, path: str) -> None:
        names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
        if path:
            found.add((path, names.get(type(value), "number")))
        for key in value if isinstance(value, dict) else ():
            walk(value[key], f"{path}.{shown(key)}" if path else shown(key))
        for each in value if isinstance(value, list) else ():
            walk(each, f"{path}[]")

    for record in records:
        walk(record, "")

    assert found == printed(*records)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sets(st.integers(0, 400), max_size=120), min_size=1, max_size=8), st.integers(0, 100))
def test_when_a_map_opens_does_not_depend_on_the_order(keys: list[set[int]], seed: int) -> None:
    records = [{"m": {f"k{n}": {"v": n} if n % 3 else [n] for n in each}} for each in keys]
    shuffled = Random(seed).sample(records, len(records))

    assert fingerprint(map(json.dumps, records)) == fingerprint(map(json.dumps, shuffled))
    assert (len(set().union(*keys)) > 200) == ("m.*" in fingerprint(map(json.dumps, records)).paths)


# --- what is new ------------------------------------------------------------------------------------------------------


def known_of(*records: Any) -> Known:
    types: dict[str, frozenset[str]] = {}
    for path, each in printed(*records):
        types[path] = types.get(path, frozenset()) | {each}
    return Known(types)


def test_null_is_the_absence_of_a_type() -> None:
    known = known_of({"a": "x", "b": None})
    found = changes(known, fingerprint(['{"a": null, "b": 1}']))

    assert [("b", "number", "new", "info")] == [(c.path, c.json_type, c.change, c.severity) for c in found]


def test_a_map_known_to_be_open_takes_any_key() -> None:
    known = known_of({"m": {f"k{n}": 1 for n in range(300)}})

    assert [] == changes(known, fingerprint(['{"m": {"fresh": 1, "keys": 2}}']))
    assert ["m.*"] == [c.path for c in changes(known, fingerprint(['{"m": {"fresh": "text"}}']))]


def test_keys_that_come_few_a_window_open_their_map_in_the_end() -> None:
    known = known_of({"m": {f"k{n}": 1 for n in range(150)}})
    now = fingerprint([json.dumps({"m": {f"z{n}": 1 for n in range(60)}})])
    opened = open_maps(known.types, now.paths)

    assert frozenset({"m"}) == opened
    assert "m.*" == folded("m.z1", opened)
    assert [] == changes(known, now)


def test_only_the_topmost_of_what_vanished_together_is_told() -> None:
    whole = fingerprint([json.dumps({"id": n, "address": {"city": "x", "geo": {"lat": 1}}}) for n in range(60)])
    found = changes(
        known_of({"id": 1, "address": {"city": "x", "geo": {"lat": 1}}}),
        fingerprint([json.dumps({"id": n}) for n in range(60)]),
        [whole] * 3,
    )

    assert ["address", "address.city", "address.geo", "address.geo.lat"] == [c.path for c in found]
    assert ["address"] == [c.path for c in topmost(found)]


def test_a_rare_path_that_is_missing_by_chance_has_not_vanished() -> None:
    often, rare = {"id": 1}, {"id": 1, "rare": 1}
    before = fingerprint([json.dumps(each) for each in [rare] * 5 + [often] * 95])
    now = [json.dumps(often)]

    assert [] == changes(known_of(rare), fingerprint(now * 100), [before] * 3)
    assert ["rare"] == [c.path for c in changes(known_of(rare), fingerprint(now * 200), [before] * 3)]


def test_records_are_told_apart_one_by_one() -> None:
    known = known_of({"id": 1, "tags": ["x"], "note": None})
    records = [
        {"id": 2},
        {"id": "2"},
        {"id": 3, "more": 1},
        {"id": 4, "tags": [1]},
        {"id": 5, "note": "x"},
        {"id": None},
    ]

    payloads = [json.dumps(each) for each in records]

    assert [False, True, True, True, False, False] == breaking(payloads, known, fingerprint(payloads))


# --- in the lake ------------------------------------------------------------------------------------------------------


def test_the_first_window_is_logged_whole_and_later_ones_only_where_they_differ(
    from_files: Make, folder: Folder
) -> None:
    things = from_files()
    things.run(day_of(folder, 2, name="x"))
    things.run(day_of(folder, 3, name="y"))
    report = things.run(day_of(folder, 4, name="z", colour="red"))

    assert ["at", "id", "name"] == [path for path, *_ in log_of(things, "first")]
    assert [("colour", "string", "new", "info")] == log_of(things)
    assert () == report.warnings


def test_another_type_is_a_warning_that_names_both_windows(from_files: Make, folder: Folder) -> None:
    things = from_files()
    things.run(day_of(folder, 2, amount=1))
    report = things.run(day_of(folder, 3, amount="1.00"))
    again = things.run(day_of(folder, 4, amount="1.00"))

    assert [("amount", "string", "type_changed", "warning")] == log_of(things)
    assert ("files.things 2026-01-03: amount is now string; was number in 2026-01-02",) == report.warnings
    assert () == again.warnings


def test_a_path_gone_after_three_windows_is_a_warning_that_names_both_windows(from_files: Make, folder: Folder) -> None:
    things = from_files()
    for day in (2, 3, 4):
        things.run(day_of(folder, day, name="x"))
    gone = things.run(day_of(folder, 5))
    after = things.run(day_of(folder, 6))
    back = things.run(day_of(folder, 7, name="x"))

    assert ("files.things 2026-01-05: name has vanished; last seen in 2026-01-04",) == gone.warnings
    assert ((), ()) == (after.warnings, back.warnings)
    assert [("name", "string", "new", "info"), ("name", "string", "vanished", "warning")] == log_of(things)


@pytest.mark.parametrize(
    ("days", "count"), [((3, 4), 60), ((2, 3, 4), 49)], ids=["two windows before", "49 records now"]
)
def test_too_little_is_known_to_say_that_a_path_has_vanished(
    days: tuple[int, ...], count: int, from_files: Make, folder: Folder
) -> None:
    things = from_files()
    for day in days:
        things.run(day_of(folder, day, name="x"))

    assert () == things.run(day_of(folder, 5, count=count)).warnings


def test_empty_windows_do_not_count_as_windows_before(from_files: Make, folder: Folder) -> None:
    things = from_files()
    for day in (2, 3, 4):
        things.run(day_of(folder, day, name="x"))
    things.run(day_of(folder, 5, count=0))

    assert 1 == len(things.run(day_of(folder, 6)).warnings)


def test_a_backfill_of_older_days_is_compared_with_the_days_before_them(from_files: Make, folder: Folder) -> None:
    things = from_files()
    for day in (12, 13, 14):
        things.run(day_of(folder, day, name="x"))

    assert () == things.run(day_of(folder, 2)).warnings


@pytest.mark.parametrize("kind", list(Kind))
def test_the_same_window_twice_writes_nothing_new(kind: Kind, from_files: Make, folder: Folder) -> None:
    things = from_files(kind)
    for day in (2, 3, 4):
        things.run(day_of(folder, day, name="x", amount=1))
    day_of(folder, 5, amount="1")
    first, version = things.run("2026-01-05"), things.lake.version(SCHEMA_LOG)
    second = things.run("2026-01-05")

    assert (2, 0) == (len(first.warnings), len(second.warnings))
    assert version == things.lake.version(SCHEMA_LOG)
    things.run(day_of(folder, 6, name="x", amount=1))
    day_of(folder, 5, amount="1")
    version = things.lake.version(SCHEMA_LOG)

    assert () == things.run("2026-01-05").warnings
    assert version == things.lake.version(SCHEMA_LOG)


def test_pages_do_not_matter(from_api: Make, api: Api, tmp_path: Any) -> None:
    from etl.lake import Lake

    records = [{"id": n, "at": "2026-01-02T10:00:00Z", f"x{n % 7}": n, "l": [n] if n % 2 else None} for n in range(40)]
    logs = []
    for size in (1, 7, 40):
        things = from_api()
        things.lake = Lake(tmp_path / str(size), fsync=False)
        api.pages = [records[at : at + size] for at in range(0, 40, size)]
        things.run("2026-01-02")
        logs.append(log_of(things, "first"))
        records.reverse()

    assert logs[0] == logs[1] == logs[2]
    assert 12 == len(logs[0])


def test_a_large_window_is_sampled_from_all_its_pages_alike() -> None:
    rng = Random(7)
    rows = pl.DataFrame(
        {
            "_payload": [f'{{"id": {n}}}' for n in range(500_000)],
            "_hash": [f"{rng.getrandbits(64):016x}" for _ in range(500_000)],
            "_page": [n // 1000 for n in range(500_000)],
        }
    )
    looked_at = sample([rows], rows.height)
    shuffled = sample(rows.sample(fraction=1.0, shuffle=True, seed=1).iter_slices(30_000), rows.height)
    pages = rows.join(looked_at.to_frame(), on="_payload", how="semi")["_page"].n_unique()

    assert looked_at.equals(shuffled)
    assert MOST * 0.95 < len(looked_at) <= MOST
    assert 500 == pages


def test_no_value_reaches_the_log_or_what_is_remembered(from_files: Make, folder: Folder) -> None:
    things = from_files()
    things.run(day_of(folder, 2, email="canary@example.org", opens={"canary@example.org": "canary"}))
    things.run(day_of(folder, 3, email=1, opens={"canary2@example.org": 1}))
    kept = b"".join(file.read_bytes() for file in (things.lake.root / "_schemas").iterdir())

    assert b"canary" not in kept
    assert "canary" not in repr(things.lake.read(SCHEMA_LOG).collect().rows())


def test_a_lost_memory_is_no_failure(from_files: Make, folder: Folder) -> None:
    things = from_files()
    for day in (2, 3, 4):
        things.run(day_of(folder, day, name="x"))
    (things.lake.root / "_schemas" / "files_things.json").write_text("{", encoding="utf-8")

    assert () == things.run(day_of(folder, 5)).warnings
    assert [] == things.lake.fsck()


# --- contracts --------------------------------------------------------------------------------------------------------


def test_quarantine_keeps_out_only_the_records_that_differ(from_files: Make, folder: Folder) -> None:
    things = from_files(contract="quarantine")
    things.run(day_of(folder, 2, name="x"))
    same = [{"id": f"s{n}", "at": "2026-01-03T10:00:00Z", "name": "y"} for n in range(3)]
    other = [{"id": "o1", "at": "2026-01-03T10:00:00Z", "name": 1}, {**same[0], "id": "o2", "extra": 1}]
    folder.lines("things_20260103.jsonl", *same, *other)
    report = things.run("2026-01-03")
    dead = things.lake.read(DEAD_LETTERS).collect()

    assert (5, 3, 2) == (report.rows_in, report.rows_out, report.quarantined)
    assert ["schema_drift"] * 2 == dead["reason"].to_list()
    assert {"o1", "o2"} == {json.loads(raw)["id"] for raw in dead["raw"]}
    assert {"s0", "s1", "s2"} == set(things.ids()) - {f"2-{n}" for n in range(60)}
    assert [("extra", "number", "new", "warning"), ("name", "number", "type_changed", "warning")] == log_of(things)
    assert all("dead letters" in line for line in report.warnings)


def test_what_quarantine_kept_out_stays_out_until_it_is_let_in(from_files: Make, folder: Folder) -> None:
    things = from_files(contract="quarantine")
    things.run(day_of(folder, 2))
    kept_out = [things.run(day_of(folder, day, extra=1)).quarantined for day in (3, 4)]
    open_to_all = from_files()
    open_to_all.runs = 10
    let_in = open_to_all.run("2026-01-04")
    things.runs = 20
    later = things.run(day_of(folder, 5, extra=1))

    assert [60, 60] == kept_out
    assert (60, 0) == (let_in.rows_out, let_in.quarantined)
    assert (60, 0) == (later.rows_out, later.quarantined)


def test_quarantine_looks_at_every_record(from_files: Make, folder: Folder) -> None:
    things = from_files(contract="quarantine")
    things.run(day_of(folder, 2))
    many = [{"id": f"m{n}", "at": "2026-01-03T10:00:00Z", **({"extra": 1} if n == 2777 else {})} for n in range(3000)]
    folder.lines("things_20260103.jsonl", *many)

    assert 1 == things.run("2026-01-03").quarantined


def test_frozen_refuses_the_window_naming_the_paths_and_writes_nothing(from_files: Make, folder: Folder) -> None:
    things = from_files(contract="freeze")
    things.run(day_of(folder, 2, name="x"))
    before = [things.lake.version(table) for table in (SCHEMA_LOG, INGEST_LOG, DEAD_LETTERS)] + [things.version()]

    with pytest.raises(SourceError, match=r"2026-01-03.*extra \(boolean\), name \(number, another type\)"):
        things.run(day_of(folder, 3, name=1, extra=True))
    assert before == [things.lake.version(t) for t in (SCHEMA_LOG, INGEST_LOG, DEAD_LETTERS)] + [things.version()]
    assert 60 == things.run(day_of(folder, 4, name="y")).rows_out


def test_a_contract_nobody_knows_is_refused_at_once() -> None:
    from etl.model import Files

    with pytest.raises(DeclarationError, match="contract 'strict'"):
        stream_of(Kind.EVENTS, Files("x.jsonl"), at=Pick("at", "timestamp"), contract="strict")
