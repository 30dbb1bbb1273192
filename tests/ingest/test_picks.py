"""Picks: what stands where in a payload, and what it is there; absent told from bad."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.bronze import picks as evaluated
from etl.bronze.picks import picked_columns, steps_of, typed, typed_columns
from etl.errors import DeclarationError
from etl.model import Column, Pick, Type
from etl.model.frames import dtype

RECORD = """{
 "a": {"b": 1.10, "big": 12345678901234567890123, "t": true, "n": null, "$m": "x y", "Campaign Name": "\\u00e9"},
 "params": [{"key": "page", "value": {"s": "/a"}}, {"key": "n", "value": {"i": 3}},
            {"key": "page", "value": {"s": "/b"}}],
 "cell": "[{\\"id\\": \\"v1\\"}]", "items": [{"sku": "p"}, {"sku": "q"}], "cur": "EUR", "nothing": []}"""


def one(path: str, record: str = RECORD, explode: str | None = None, **pick: Any) -> list[str | None]:
    texts = picked_columns(pl.Series([record]), {"value": Pick(path, **pick)}, explode)
    return texts["value"].to_list()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.b", "1.10"),
        ("a.big", "12345678901234567890123"),
        ("a.t", "true"),
        ("a.n", None),
        ("a.$m", "x y"),
        ("a.Campaign Name", "é"),
        ("a.gone.deeper", None),
        ("cur.deeper", None),
        ("params[key=page].value.s", "/a"),
        ("params[key=n].value.i", "3"),
        ("params[key=gone].value.s", None),
        ("params[1].value.i", "3"),
        ("items[0].sku", "p"),
        ("items[9].sku", None),
        ("nothing[0].sku", None),
        ("cell[0].id", "v1"),
        ("items", '[{"sku":"p"},{"sku":"q"}]'),
    ],
)
def test_a_path_leads_to_the_text_that_stands_there(path: str, text: str | None) -> None:
    assert [text] == one(path)


def test_an_exploded_list_gives_a_row_an_element_and_the_record_beside_it() -> None:
    picks = {"sku": Pick("sku"), "currency": Pick("^cur"), "kind": Pick(const="line")}
    rows = picked_columns(pl.Series(['{"items": []}', RECORD, '{"cur": "USD"}']), picks, "items")

    assert [(1, 0, "p", "EUR", "line"), (1, 1, "q", "EUR", "line")] == rows.rows()


def test_one_odd_record_does_not_change_its_neighbours() -> None:
    odd = ['{"a": "text"}', '{"a": [1]}', "5", "null", "[]", '"a"', "{", ""]
    texts = picked_columns(pl.Series([RECORD, *odd, RECORD]), {"b": Pick("a.b")})["b"].to_list()

    assert ["1.10", *[None] * len(odd), "1.10"] == texts


def test_the_sources_words_become_ours_and_others_pass() -> None:
    renamed = {"values": {"EUR": "euro"}}

    assert ["euro"] == one("cur", **renamed)
    assert ["/a"] == one("params[key=page].value.s", **renamed)


def test_a_prefix_stands_before_what_is_there_and_makes_nothing_of_what_is_not() -> None:
    payloads = pl.Series(['{"n": 5}', '{"n": 0}', "{}"], dtype=pl.String)

    texts = picked_columns(payloads, {"login": Pick("n", values={"0": ""}, prefix="shop:")})

    assert texts["login"].to_list() == ["shop:5", "", None]


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a.", "a[", "a[k=v", "a[0]b", "[0]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(DeclarationError, match="expected names joined by dots"):
        steps_of(path)


def test_a_value_cannot_also_be_the_way_to_others() -> None:
    with pytest.raises(DeclarationError, match="both as a value and as the way"):
        picked_columns(pl.Series([RECORD]), {"a": Pick("a"), "b": Pick("a.b")})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abck"), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=6))
@example([{"k": 1e-196}])
def test_any_json_at_all_gives_one_row_a_record(values: list[Any]) -> None:
    """Oracle: the plain walk through what json.loads gives."""
    payloads = pl.Series([json.dumps(value) for value in values], dtype=pl.String)
    texts = picked_columns(payloads, {"x": Pick("a.b"), "y": Pick("c[0].a"), "z": Pick("k")})

    def text(value: Any) -> str | None:
        return value if value is None or isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    def member(value: Any, name: str) -> Any:
        return value.get(name) if isinstance(value, dict) else None

    plain = [text(member(value, "k")) for value in values]
    simple = [p is None or isinstance(member(v, "k"), str | bool | int) for p, v in zip(plain, values, strict=True)]
    got = texts["z"].to_list()

    assert len(values) == texts.height
    assert [p for p, s in zip(plain, simple, strict=True) if s] == [g for g, s in zip(got, simple, strict=True) if s]


# --- types ------------------------------------------------------------------------------------------------------------


def read(text: str | None, written: str, as_type: Type, zone: str | None = None) -> Any:
    column = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    value = column.select(typed(pl.col("text"), written, zone=zone, as_type=as_type)).to_series()
    assert dtype(as_type) == value.dtype
    return value.to_list()[0]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-01-02T03:04:05Z", None, utc(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02 03:04:05", None, utc(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05.123456789+02:00", None, utc(2026, 1, 2, 1, 4, 5, 123456)),
        ("2026-01-02T03:04:05-0830", None, utc(2026, 1, 2, 11, 34, 5)),
        ("2026-01-02T03:04", None, utc(2026, 1, 2, 3, 4)),
        ("2026-01-02", "Europe/Berlin", utc(2026, 1, 1, 23)),
        ("2026-07-02T00:00:00", "Europe/Berlin", utc(2026, 7, 1, 22)),
        ("2026-07-02T00:00:00Z", "Europe/Berlin", utc(2026, 7, 2)),
        ("2026-10-25T02:30:00", "Europe/Berlin", utc(2026, 10, 25, 0, 30)),
        ("2026-03-29T02:30:00", "Europe/Berlin", None),
        (" 2026-01-02T03:04:05 UTC", None, utc(2026, 1, 2, 3, 4, 5)),
        ("2026-02-30T00:00:00Z", None, None),
        ("2026-01-02T25:00:00Z", None, None),
        ("0000-01-01T00:00:00Z", None, None),
        ("2026-01-02T03:04:05+23:00", None, None),
        ("02.01.2026", None, None),
        ("2026-01-02T03:04:05.\u0663", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_iso_times_of_every_form_are_one_moment_in_utc(text: str | None, zone: str | None, moment: datetime) -> None:
    assert moment == read(text, "timestamp", Type.TIMESTAMP, zone)


moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1))
offsets = st.sampled_from(["", "Z", "+00:00", "+05:30", "-08:00", "+18:00"])


texts = st.builds(
    lambda moment, between, digits, offset: (
        moment.strftime(f"%Y-%m-%d{between}%H:%M:%S")
        + (f".{moment.microsecond:06d}00"[: digits + 1] if digits else "")
        + offset
    ),
    moments,
    st.sampled_from(["T", " "]),
    st.integers(0, 8),
    offsets,
)
#: One sign of it another: what is nearly a time.
slips = st.builds(
    lambda text, at, sign: text[: at % len(text)] + sign + text[at % len(text) + 1 :],
    texts,
    st.integers(0, 40),
    st.sampled_from("0123456789-:.TZ+ x\u0663"),
)


@given(st.lists(texts | slips | st.none(), max_size=8), st.sampled_from([None, "UTC", "America/New_York"]))
def test_the_quick_way_and_the_thorough_way_read_the_same_time(written: list[str | None], zone: str | None) -> None:
    column = pl.Series("text", written, dtype=pl.String)
    thorough = column.to_frame().select(evaluated._any_moment(pl.col("text"), zone)).to_series()

    read = evaluated._moments(column, zone)

    assert thorough.dtype == read.dtype
    assert thorough.to_physical().to_list() == read.to_physical().to_list()
    # A part of a column is read by its own offset.
    assert thorough[1:].to_physical().to_list() == evaluated._moments(column[1:], zone).to_physical().to_list()


@pytest.mark.parametrize(
    ("text", "written", "moment"),
    [
        ("1767312000", "epoch_s", utc(2026, 1, 2)),
        ("1767312000.5", "epoch_s", utc(2026, 1, 2, 0, 0, 0, 500_000)),
        ("1767312000123", "epoch_ms", utc(2026, 1, 2, 0, 0, 0, 123_000)),
        ("1767312000123456", "epoch_us", utc(2026, 1, 2, 0, 0, 0, 123_456)),
        ("-1", "epoch_s", utc(1969, 12, 31, 23, 59, 59)),
        ("1767312000123456", "epoch_s", None),
        ("soon", "epoch_ms", None),
        ("20260102", "yyyymmdd", utc(2026, 1, 2)),
        ("20260230", "yyyymmdd", None),
    ],
)
def test_epochs_and_compact_dates(text: str, written: str, moment: datetime | None) -> None:
    assert moment == read(text, written, Type.TIMESTAMP)


@pytest.mark.parametrize(
    ("text", "written", "amount"),
    [
        ("19.99", "number", "19.99"),
        ("0.1", "number", "0.1"),
        ("99999999999999.9999", "number", "99999999999999.9999"),
        ("1e3", "number", "1000"),
        ("1.00005", "number", "1.0001"),
        ("-1.00005", "number", "-1.0001"),
        ("1999", "minor", "19.99"),
        ("-1", "minor", "-0.01"),
        ("1234567", "micros", "1.2346"),
        ("12,50", "number", None),
        ("12,O0", "number", None),
        ("NaN", "number", None),
        ("100000000000000", "number", None),
    ],
)
def test_amounts_are_exact(text: str, written: str, amount: str | None) -> None:
    assert (Decimal(amount) if amount else None) == read(text, written, Type.AMOUNT)


@given(st.decimals(min_value=-(10**13), max_value=10**13, places=4))
def test_no_amount_of_four_places_changes_on_its_way(amount: Decimal) -> None:
    payload = pl.Series([f'{{"price": {amount:f}}}'])
    texts = picked_columns(payload, {"price": Pick("price", "number")})

    assert amount == read(texts["price"][0], "number", Type.AMOUNT)


@pytest.mark.parametrize(
    ("text", "as_type", "value"),
    [
        ("7", Type.INT, 7),
        ("7.0", Type.INT, 7),
        ("7.5", Type.INT, None),
        ("9223372036854775808", Type.INT, None),
        ("0.5", Type.FLOAT, 0.5),
        ("inf", Type.FLOAT, None),
        ("TRUE", Type.BOOL, True),
        ("no", Type.BOOL, False),
        ("maybe", Type.BOOL, None),
        ("2026-01-02T23:59:59-08:00", Type.DATE, date(2026, 1, 2)),
        ("31.02.19xx", Type.DATE, None),
        ('["a", 1, 2.50, null]', Type.STRINGS, ["a", "1", "2.50", None]),
        ('{"a": 1}', Type.STRINGS, None),
        ("007", Type.STRING, "007"),
    ],
)
def test_plain_values(text: str, as_type: Type, value: Any) -> None:
    assert value == read(text, "text", as_type)


def test_a_bad_value_is_told_from_an_absent_one() -> None:
    payloads = pl.Series(['{"n": 1}', '{"n": "one"}', "{}", '{"n": null}', '{"n": ""}'])
    picks = {"n": Pick("n", "number")}
    values = typed_columns(picked_columns(payloads, picks), picks, [Column("n", Type.INT, "a number")])

    assert [1, None, None, None, None] == values["n"].to_list()
    assert [False, True, False, False, False] == values["n__bad"].to_list()
