"""Consent strings: the specification's own examples, a round trip through an encoder of the tests, and every way one
can be broken.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.silver.tcf import Consent, PublisherConsent, TcfError, Vendors, decision, decoded

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#: The two examples of "Consent string and vendor list formats v2", section "Full TC String passing": the one of
#: TCF 2.3, and the one it had before.
EXAMPLE = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA"
FIRST_EXAMPLE = (
    "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBA"
    "AgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
)


def encoded(consent: Consent, restrictions: list[tuple[int, int, list[tuple[int, int]]]], *, as_ranges: bool) -> str:
    """The string of a consent, its vendors as ranges or a bit each."""

    def number(value: int, width: int) -> str:
        return f"{value:0{width}b}"

    def ids(values: frozenset[int], width: int) -> str:
        return "".join("1" if one in values else "0" for one in range(1, width + 1))

    def letters(text: str) -> str:
        return "".join(number(ord(letter) - ord("A"), 6) for letter in text)

    def moment(at: datetime) -> str:
        return number((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=100), 36)

    def ranges(pairs: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> str:
        entries = (
            "0" + number(first, 16) if first == last else "1" + number(first, 16) + number(last, 16)
            for first, last in pairs
        )
        return number(len(pairs), 12) + "".join(entries)

    def vendors(those: Vendors) -> str:
        head = number(those.max_id, 16)
        return head + ("1" + ranges(those.ranges) if as_ranges else "0" + ids(frozenset(those), those.max_id))

    def segment(bits: str) -> str:
        bits += "0" * (-len(bits) % 24)
        return "".join(LETTERS[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))

    core = (
        number(2, 6)
        + moment(consent.created)
        + moment(consent.last_updated)
        + number(consent.cmp_id, 12)
        + number(consent.cmp_version, 12)
        + number(consent.consent_screen, 6)
        + letters(consent.language)
        + number(consent.vendor_list_version, 12)
        + number(consent.policy_version, 6)
        + number(consent.is_service_specific, 1)
        + number(consent.has_own_texts, 1)
        + ids(consent.special_features, 12)
        + ids(consent.purposes_consent, 24)
        + ids(consent.purposes_interest, 24)
        + number(consent.is_purpose_one_untold, 1)
        + letters(consent.publisher_country)
        + vendors(consent.vendor_consent)
        + vendors(consent.vendor_interest)
        + number(len(restrictions), 12)
        + "".join(number(purpose, 6) + number(kind, 2) + ranges(pairs) for purpose, kind, pairs in restrictions)
    )
    segments = [segment(core)]
    if consent.publisher is not None:
        of = consent.publisher
        own = max(of.custom_consent | of.custom_interest, default=0)
        bits = number(3, 3) + ids(of.purposes_consent, 24) + ids(of.purposes_interest, 24) + number(own, 6)
        segments.append(segment(bits + ids(of.custom_consent, own) + ids(of.custom_interest, own)))
    if consent.allowed is not None:
        segments.append(segment(number(2, 3) + vendors(consent.allowed)))
    if consent.disclosed is not None:
        segments.append(segment(number(1, 3) + vendors(consent.disclosed)))
    return ".".join(segments)


def some_ids(largest: int) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(1, largest))


@st.composite
def some_vendors(draw: st.DrawFn) -> Vendors:
    ids = sorted(draw(st.sets(st.integers(1, 300), max_size=20)))
    pairs: list[tuple[int, int]] = []
    for one in ids:
        if pairs and pairs[-1][1] == one - 1:
            pairs[-1] = pairs[-1][0], one
        else:
            pairs.append((one, one))
    return Vendors(max(ids, default=0) + draw(st.integers(0, 9)), tuple(pairs))


some_moment = st.integers(0, 2**36 - 1).map(
    lambda tenths: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=100 * tenths)
)
some_letters = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
some_consent = st.builds(
    Consent,
    created=some_moment,
    last_updated=some_moment,
    cmp_id=st.integers(0, 4095),
    cmp_version=st.integers(0, 4095),
    consent_screen=st.integers(0, 63),
    language=some_letters,
    vendor_list_version=st.integers(0, 4095),
    policy_version=st.integers(0, 63),
    is_service_specific=st.booleans(),
    has_own_texts=st.booleans(),
    special_features=some_ids(12),
    purposes_consent=some_ids(24),
    purposes_interest=some_ids(24),
    is_purpose_one_untold=st.booleans(),
    publisher_country=some_letters,
    vendor_consent=some_vendors(),
    vendor_interest=some_vendors(),
    disclosed=st.none() | some_vendors(),
    allowed=st.none() | some_vendors(),
    publisher=st.none()
    | st.builds(
        PublisherConsent,
        purposes_consent=some_ids(24),
        purposes_interest=some_ids(24),
        custom_consent=some_ids(63),
        custom_interest=some_ids(63),
    ),
)
some_restrictions = st.lists(
    st.tuples(
        st.integers(1, 24),
        st.integers(0, 2),
        st.lists(st.sampled_from([(1, 1), (7, 9), (65535, 65535), (1, 65535)]), max_size=3),
    ),
    max_size=3,
)

PLAIN = Consent(
    created=datetime(2026, 1, 2, tzinfo=UTC),
    last_updated=datetime(2026, 1, 2, tzinfo=UTC),
    cmp_id=10,
    cmp_version=1,
    consent_screen=1,
    language="DE",
    vendor_list_version=100,
    policy_version=5,
    is_service_specific=True,
    has_own_texts=False,
    special_features=frozenset(),
    purposes_consent=frozenset(),
    purposes_interest=frozenset(),
    is_purpose_one_untold=False,
    publisher_country="DE",
    vendor_consent=Vendors(0, ()),
    vendor_interest=Vendors(0, ()),
)


def test_the_specifications_example_reads_as_it_says() -> None:
    consent = decoded(EXAMPLE)

    assert datetime(2025, 6, 3, tzinfo=UTC) == consent.created == consent.last_updated
    assert (880, 48, 2, "EN", "DE") == (
        consent.cmp_id,
        consent.vendor_list_version,
        consent.policy_version,
        consent.language,
        consent.publisher_country,
    )
    assert [1, 2, 3, 4] == list(consent.vendor_consent)
    assert consent.disclosed is not None
    assert [1, 2, 3, 4, 5, 100, 404] == list(consent.disclosed)
    assert PublisherConsent(frozenset(), frozenset(), frozenset(), frozenset()) == consent.publisher


def test_the_specifications_first_example_reads_as_it_says() -> None:
    consent = decoded(FIRST_EXAMPLE)

    assert (27, 15) == (consent.cmp_id, consent.vendor_list_version)
    assert {1, 2, 3} == consent.purposes_consent
    assert [2, 6, 8] == list(consent.vendor_consent) == list(consent.vendor_interest)
    assert 6 in consent.vendor_consent
    assert 7 not in consent.vendor_consent


@given(some_consent, some_restrictions, st.booleans())
def test_what_is_encoded_is_decoded(
    consent: Consent, restrictions: list[tuple[int, int, list[tuple[int, int]]]], as_ranges: bool
) -> None:
    assert consent == decoded(encoded(consent, restrictions, as_ranges=as_ranges))


@given(some_consent, st.booleans(), st.data())
def test_a_string_cut_short_is_never_read_as_whole(consent: Consent, as_ranges: bool, data: st.DataObject) -> None:
    whole = encoded(replace(consent, disclosed=None, allowed=None, publisher=None), [], as_ranges=as_ranges)
    needed = len(whole.rstrip("A"))
    cut = whole[: data.draw(st.integers(0, max(0, needed - 1)))]

    with pytest.raises(TcfError, match=r"^segment 1, bit \d+: "):
        decoded(cut)


@given(st.text(LETTERS + ".", max_size=80) | st.text(max_size=40))
def test_any_text_is_a_consent_or_an_error_that_names_the_place(text: str) -> None:
    said = "a consent"
    try:
        decoded(text)
    except TcfError as error:
        said = str(error)

    assert said.startswith(("a consent", "segment "))


PLAIN_STRING = encoded(PLAIN, [], as_ranges=False)
RANGED = encoded(replace(PLAIN, vendor_consent=Vendors(9, ((3, 5),))), [], as_ranges=True)


def with_bits(text: str, at: int, bits: str) -> str:
    """The first segment with other bits from `at` on."""
    whole = "".join(f"{LETTERS.index(letter):06b}" for letter in text)
    whole = whole[:at] + bits + whole[at + len(bits) :]
    return "".join(LETTERS[int(whole[one : one + 6], 2)] for one in range(0, len(whole), 6))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "segment 1, bit 0: version: expected 6 bits, and 0 are left"),
        ("B" + PLAIN_STRING[1:], "segment 1, bit 0: version: expected 2, and it is 1"),
        (f"{PLAIN_STRING[:10]}+{PLAIN_STRING[11:]}", "segment 1, character 11: expected a letter of base64url"),
        (f"{PLAIN_STRING}=", "character 45: expected a letter of base64url without padding"),
        (with_bits(PLAIN_STRING, 108, "011010"), "segment 1, bit 108: language: expected two letters"),
        (with_bits(PLAIN_STRING, 213, "1" * 16), "vendors by consent: expected 65535 bits"),
        (with_bits(RANGED, 243, f"{6:016b}{5:016b}"), "bit 243: vendors by consent: expected an ascending range"),
        (with_bits(RANGED, 243, f"{0:016b}{5:016b}"), "bit 243: vendors by consent: expected an ascending range"),
        (with_bits(RANGED, 243, f"{3:016b}{10:016b}"), "bit 243: vendors by consent: expected an ascending range"),
        (f"{PLAIN_STRING[:-1]}B", "after the last field: expected nothing but noughts"),
        (f"{PLAIN_STRING}.", "segment 2, bit 0: kind of segment: expected 3 bits, and 0 are left"),
        (f"{PLAIN_STRING}.AAAA", "segment 2, bit 0: kind of segment: expected one of 1, 2, 3"),
        (f"{EXAMPLE}.YAAAAAAAAAAA", "segment 4, bit 0: kind of segment: expected one of 1, 2, 3, each at most once"),
        (f"{PLAIN_STRING}.IAA", "segment 2, bit 3: disclosed vendors: largest id: expected 16 bits"),
        ("C" * (1024 * 1024 + 1), "expected at most"),
    ],
    ids=[
        *("empty", "version_one", "no_base64", "padded", "no_letter", "too_few_vendors", "backwards", "vendor_nought"),
        *("beyond_the_last", "more_behind", "empty_segment", "unknown_segment", "twice", "cut_segment", "endless"),
    ],
)
def test_a_malformed_string_is_an_error_that_names_the_place(text: str, said: str) -> None:
    with pytest.raises(TcfError) as caught:
        decoded(text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("consented", "interest", "untold", "purpose", "expected"),
    [
        ({1, 3, 4}, set(), False, "ads", ("granted", "consent")),
        ({1, 3}, {4}, False, "ads", ("withdrawn", "consent")),
        ({3, 4}, set(), False, "ads", ("withdrawn", "consent")),
        ({3, 4}, set(), True, "ads", ("granted", "consent")),
        ({1, 5, 6}, set(), False, "personalisation", ("granted", "consent")),
        ({1, 7, 8}, set(), False, "analytics", ("granted", "consent")),
        ({1, 7}, {8}, False, "analytics", ("granted", "legitimate_interest")),
        ({7, 8}, {1}, False, "analytics", ("withdrawn", "consent")),
        (set(), {7, 8}, False, "analytics", ("withdrawn", "consent")),
    ],
)
def test_a_purpose_of_ours_is_granted_when_all_it_needs_is(
    consented: set[int], interest: set[int], untold: bool, purpose: str, expected: tuple[str, str]
) -> None:
    consent = replace(
        PLAIN,
        purposes_consent=frozenset(consented),
        purposes_interest=frozenset(interest),
        is_purpose_one_untold=untold,
    )

    assert expected == decision(consent, purpose)


def test_a_string_for_all_sites_cannot_say_that_storage_was_not_asked() -> None:
    consent = replace(PLAIN, is_service_specific=False, is_purpose_one_untold=True, purposes_consent=frozenset({3, 4}))

    assert ("withdrawn", "consent") == decision(consent, "ads")
