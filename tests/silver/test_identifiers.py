"""Identifiers against what python-email-validator, libphonenumber and GA4's channel rules publish."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from etl.silver import identifiers
from etl.silver.channels import channel_of, with_channel
from etl.silver.countries import country_code
from etl.silver.identifiers import dialled, e164, email, is_denied, mailbox, phone, with_keys
from etl.silver.web_events import device_of, is_robot
from tests.golden import KEY, pseudonym


@pytest.fixture(scope="module")
def addresses(shared: Path) -> dict[str, list[Any]]:
    told = json.loads((shared / "data/email_vectors/email_validator_syntax_cases.json").read_text(encoding="utf-8"))
    return {name: cases["rows"] for name, cases in told.items()}


def told_valid(row: Any) -> tuple[str, str]:
    """(input, normalised) of a published case, which stands there as Python source."""
    if isinstance(row, list):
        return row[0], f"{row[1]}@{row[0].rpartition('@')[2]}"
    written, made = ast.parse(row, mode="eval").body.elts  # type: ignore[attr-defined]
    fields = {word.arg: ast.literal_eval(word.value) for word in made.keywords if word.arg != "display_name"}
    return ast.literal_eval(written), f"{fields['local_part']}@{fields['ascii_domain']}"


def test_valid_addresses_are_read_as_published(addresses: dict[str, list[Any]]) -> None:
    names = ("test_email_valid", "test_email_valid_intl_local_part", "test_email_valid_only_if_quoted_local_part")
    published = [told_valid(row) for name in names for row in addresses[name]]

    wanted = {written: made.casefold() for written, made in published}
    came = {written: email(written) for written in wanted}

    assert len(published) == 35
    assert wanted == came


def test_addresses_that_are_none_are_never_a_key(addresses: dict[str, list[Any]]) -> None:
    rows = [row[0] for row in addresses["test_email_invalid_syntax"] + addresses["test_email_invalid_syntax_strict"]]
    rows += addresses["test_email_invalid_reserved_domain"]
    # Two liberties: white space around an address, and a display name before it, are taken off.
    as_they_are = [row for row in rows if row == row.strip() and not re.fullmatch(r'("[^"]*"|[\w ]*) <[^<>]*>', row)]

    taken = [row for row in as_they_are if email(row) is not None]

    assert (len(rows), taken) == (88, [row for row in taken if row == "<me@example.com>"])


def test_unsafe_characters_make_no_address(addresses: dict[str, list[Any]]) -> None:
    unsafe = [row[0] for row in addresses["test_email_unsafe_character"]]

    # White space is trimmed at an end, so each stands in the middle; a combining mark joins the letter before it.
    taken = [sign for sign in unsafe if sign != "\u0300" and email(f"me{sign}you@example.org") is not None]

    assert (len(unsafe), taken) == (11, [])


def test_isemails_cases_are_judged_as_the_library_judges_them(addresses: dict[str, list[Any]]) -> None:
    rows = addresses["test_pyisemail_tests"]
    valid = [written for written, status in rows if status == "ISEMAIL_VALID"]
    # isemail knows ASCII only (RFC 5322); RFC 6531 admits other letters, in quotes too.
    wrong = [written for written, status in rows if "_ERR_" in status and written == written.strip()]
    wrong = [written for written in wrong if written.isascii()]

    assert len(rows) == 150
    assert [one for one in valid if email(one) is None] == []
    assert [one for one in wrong if email(one) is not None and "<" not in one] == []


@given(st.from_regex(r"[a-zA-Z0-9._+-]{1,12}@[a-zA-Z0-9.-]{1,14}\.(com|de|test|local|co\.uk|x)", fullmatch=True))
def test_the_short_way_for_plain_addresses_agrees_with_the_library(address: str) -> None:
    try:
        valid = validate_email(address.lower(), check_deliverability=False, strict=True)
        wanted = f"{valid.local_part}@{valid.ascii_domain}"
    except EmailNotValidError:
        wanted = None

    assert wanted == email(address)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("ann.lee+shop@gmail.com", "annlee@gmail.com"),
        ("ann.lee@googlemail.com", "annlee@gmail.com"),
        ("ann.lee+shop@example.org", "ann.lee@example.org"),
        ("+only@example.org", "+only@example.org"),
        ('"a+b"@example.org', '"a+b"@example.org'),
    ],
)
def test_the_mailbox_is_the_address_without_tags_and_idle_dots(address: str, reached: str) -> None:
    assert reached == mailbox(address)


def test_composed_and_decomposed_letters_are_one_address() -> None:
    assert email("re\u0301ne\u0301@example.org") == email("R\u00c9N\u00c9@example.org") == "r\u00e9n\u00e9@example.org"


def test_phone_numbers_are_parsed_as_libphonenumber_publishes(shared: Path) -> None:
    published = json.loads((shared / "data/phone_vectors/parse_cases.json").read_text(encoding="utf-8"))

    came = {(case["input"], case["region"]): dialled(case["input"], case["region"]) for case in published}

    assert len(published) == 57
    assert {(case["input"], case["region"]): case["e164"] for case in published} == {
        told: number and e164(number) for told, number in came.items()
    }


def test_a_number_too_short_for_a_person_is_none() -> None:
    assert [phone("12", "DE"), phone("+812345", "JP"), phone("030 1234567", "DE")] == [None, None, "+49301234567"]


def test_a_number_is_at_home_in_its_records_country() -> None:
    frame = pl.LazyFrame({kind: ["x"] for kind in identifiers._NORMALISERS} | {"phone": ["020 7946 0018"]})
    frame = frame.with_columns(country=pl.lit("GB"))

    keyed = with_keys(frame, key=KEY, country="DE", hint="country").collect()

    assert ["+442079460018"] == keyed["phone"].to_list()


@pytest.mark.parametrize(
    ("kind", "value", "denied"),
    [
        ("email", "info@example.org", True),
        ("email", "ann@info.example", False),
        ("phone", "+49000000000", True),
        ("phone", "+12345678901", True),
        ("phone", "+493012121212", False),
        ("login", "guest", True),
        ("device", "00000000-0000-0000-0000-000000000000", True),
        ("card", "0000", True),
        ("card", "100", False),
        ("cookie", "(not set)", True),
    ],
)
def test_identifiers_nobody_owns_are_denied(kind: str, value: str, denied: bool) -> None:
    assert denied is is_denied(kind, value)


def test_a_hashed_address_meets_the_clear_one() -> None:
    hashed = "5a5ba4c1a0ff1a8b7d9e0b6c2e7f5d1e3c4b6a798877665544332211ffeeddcc"

    assert pseudonym("email", hashed, key=KEY) != pseudonym("email", "ann@example.org", key=KEY)
    assert pseudonym("email", _sha256("ann@example.org"), key=KEY) == pseudonym("email", "ann@example.org", key=KEY)


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


# --- channels ---------------------------------------------------------------------------------------------------------

OURS = {
    "Direct": "direct",
    "Cross-network": "unassigned",
    "Paid Shopping": "shopping",
    "Organic Shopping": "shopping",
    "Paid Search": "paid_search",
    "Organic Search": "organic_search",
    "Paid Social": "paid_social",
    "Organic Social": "organic_social",
    "Paid Video": "video",
    "Organic Video": "video",
    "Paid Other": "unassigned",
    "Display": "display",
    "Referral": "referral",
    "Email": "email",
    "Affiliates": "affiliates",
    "Audio": "unassigned",
    "SMS": "sms",
    "Mobile Push Notifications": "unassigned",
    "Unassigned": "unassigned",
}


def test_channels_are_grouped_as_ga4_groups_them(shared: Path) -> None:
    told = (shared / "data/dbt_ga4_vectors/default_channel_grouping_cases.json").read_text(encoding="utf-8")
    cases = json.loads(told)

    wrong = [
        (case, came)
        for case in cases
        if (came := channel_of(case["source"], case["medium"], case["campaign"])) != OURS[case["expected_channel"]]
    ]

    assert (len(cases), wrong) == (30, [])


@pytest.mark.parametrize(
    ("referrer", "channel"),
    [
        (None, "direct"),
        ("www.google.co.uk", "organic_search"),
        ("l.instagram.com", "organic_social"),
        ("t.co", "organic_social"),
        ("m.youtube.com", "video"),
        ("mail.google.com", "email"),
        ("blog.example.org", "referral"),
        ("notgoogle.example", "referral"),
    ],
)
def test_an_untagged_visit_is_told_by_the_host_it_came_from(referrer: str | None, channel: str) -> None:
    assert channel == channel_of(None, None, None, referrer)


def test_channels_over_a_frame_are_those_of_its_rows() -> None:
    rows = [("google", "cpc", None, None, "shop.example"), (None, None, None, "shop.example", "shop.example")] * 2
    names = ["utm_source", "utm_medium", "utm_campaign", "referrer_host", "page_host"]
    events = pl.LazyFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")

    assert ["paid_search", "direct"] * 2 == with_channel(events).collect()["channel"].to_list()


# --- countries, devices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "code"),
    [("de", "DE"), ("DEU", "DE"), ("Deutschland", "DE"), ("Österreich", "AT"), ("UK", "GB"), ("USA", "US"),
     ("United Kingdom", "GB"), ("España", "ES"), ("Namibia", "NA"), ("na", "NA"), ("Atlantis", None), ("", None)],
)  # fmt: skip
def test_countries_are_read_from_codes_and_names(written: str, code: str | None) -> None:
    assert code == country_code(written)


@pytest.mark.parametrize(
    ("agent", "device", "robot"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120 Safari/537.36", "desktop", False),
        ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) Mobile/15E148", "tablet", False),
        ("Mozilla/5.0 (Linux; Android 13; SM-X200) Chrome/120 Safari/537.36", "tablet", False),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19) Chrome/120 Mobile Safari/537.36", "mobile", False),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "other", True),
        ("python-requests/2.31", "other", True),
    ],
)
def test_devices_and_robots_are_told_by_their_description(agent: str, device: str, robot: bool) -> None:
    assert (device, robot) == (device_of(agent), is_robot(agent))
