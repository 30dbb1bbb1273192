"""Consent strings of IAB Europe's Transparency and Consent Framework, and what they decide for our purposes.

Source: IAB Tech Lab, "Consent string and vendor list formats v2" (the format of TCF 2.0 to 2.3; version number 2),
https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework. A string is segments joined by
dots, each base64url without padding, each a row of big-endian bit fields; the core comes first, the others say by their
first three bits what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import polars as pl

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BITS = {ord(letter): f"{value:06b}" for value, letter in enumerate(_ALPHABET)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 2
_PURPOSES = 24
_SPECIAL_FEATURES = 12
_SEGMENTS = {1: "disclosed", 2: "allowed", 3: "publisher"}
#: Every vendor singly, as all sections and restrictions could name them, is far below.
LONGEST = 1024 * 1024


class TcfError(ValueError):
    """A consent string that is none: what was expected, what came, in which segment and at which bit."""


@dataclass(frozen=True, slots=True)
class Vendors:
    """Vendor ids as inclusive ranges, ascending as written; `max_id` is the last one the section speaks of."""

    max_id: int
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, vendor: object) -> bool:
        return isinstance(vendor, int) and any(first <= vendor <= last for first, last in self.ranges)

    def __iter__(self) -> Iterator[int]:
        return (vendor for first, last in self.ranges for vendor in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class PublisherConsent:
    """What the publisher asked for itself: purposes 1 to 24 and purposes of its own, numbered from 1."""

    purposes_consent: frozenset[int]
    purposes_interest: frozenset[int]
    custom_consent: frozenset[int]
    custom_interest: frozenset[int]


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent string. `..._interest`: legitimate interest was told and not objected to. Times are UTC; since
    TCF 2.2 they are whole days.
    """

    created: datetime
    last_updated: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    language: str
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    has_own_texts: bool
    special_features: frozenset[int]
    purposes_consent: frozenset[int]
    purposes_interest: frozenset[int]
    is_purpose_one_untold: bool
    publisher_country: str
    vendor_consent: Vendors
    vendor_interest: Vendors
    disclosed: Vendors | None = None
    allowed: Vendors | None = None
    publisher: PublisherConsent | None = None


# --- reading bits -----------------------------------------------------------------------------------------------------


class _Reader:
    """Bit fields of one segment, in order; `segment` counts from 1, bits from 0."""

    def __init__(self, text: str, segment: int) -> None:
        self.segment, self.at = segment, 0
        for place, letter in enumerate(text, start=1):
            if ord(letter) not in _BITS:
                raise TcfError(f"segment {segment}, character {place}: expected a letter of base64url without padding")
        self.bits = text.translate(_BITS)

    def number(self, width: int, what: str) -> int:
        """The next `width` bits as a number."""
        return int(self._next(width, what) or "0", 2)

    def flag(self, what: str) -> bool:
        """The next bit."""
        return self._next(1, what) == "1"

    def ids(self, width: int, what: str) -> frozenset[int]:
        """The numbers, from 1, of the bits that are set."""
        return frozenset(number for number, bit in enumerate(self._next(width, what), start=1) if bit == "1")

    def letters(self, what: str) -> str:
        """Two letters of six bits each, A = 0."""
        began = self.at
        values = self.number(6, what), self.number(6, what)
        if max(values) > 25:
            raise self.wrong(what, "two letters, each 0 to 25", at=began)
        return "".join(chr(ord("A") + value) for value in values)

    def moment(self, what: str) -> datetime:
        """Tenths of a second since 1970, in 36 bits."""
        return _EPOCH + timedelta(milliseconds=100 * self.number(36, what))

    def end(self) -> None:
        """What is left fills up the last letters, and is nought."""
        if "1" in self.bits[self.at :]:
            raise self.wrong("after the last field", "nothing but noughts", at=self.bits.index("1", self.at))

    def wrong(self, what: str, expected: str, *, at: int) -> TcfError:
        """An error that names the place."""
        return TcfError(f"segment {self.segment}, bit {at}: {what}: expected {expected}")

    def _next(self, width: int, what: str) -> str:
        left = len(self.bits) - self.at
        if left < width:
            raise self.wrong(what, f"{width} bits, and {left} are left", at=self.at)
        self.at += width
        return self.bits[self.at - width : self.at]


def _vendors(reader: _Reader, what: str) -> Vendors:
    """A section of vendors: a bit each, or ranges."""
    max_id = reader.number(16, f"{what}: largest id")
    if reader.flag(f"{what}: encoding"):
        return Vendors(max_id, _ranges(reader, what, max_id))
    return Vendors(max_id, _joined(sorted(reader.ids(max_id, what))))


def _ranges(reader: _Reader, what: str, max_id: int) -> tuple[tuple[int, int], ...]:
    entries = reader.number(12, f"{what}: count of ranges")
    found = []
    for _ in range(entries):
        is_range = reader.flag(what)
        began = reader.at
        first = reader.number(16, what)
        last = reader.number(16, what) if is_range else first
        if not 1 <= first <= last <= max_id:
            raise reader.wrong(what, "an ascending range from 1 to the section's largest id", at=began)
        found.append((first, last))
    return tuple(found)


def _joined(ids: list[int]) -> tuple[tuple[int, int], ...]:
    """Ascending ids as ranges."""
    ranges: list[tuple[int, int]] = []
    for one in ids:
        if ranges and ranges[-1][1] == one - 1:
            ranges[-1] = ranges[-1][0], one
        else:
            ranges.append((one, one))
    return tuple(ranges)


# --- a whole string ---------------------------------------------------------------------------------------------------


def decoded(text: str) -> Consent:
    """The consent a string holds. Publisher restrictions are about other companies and are walked over.

    Raises: TcfError, with the segment and the bit.
    """
    if len(text) > LONGEST:
        raise TcfError(f"expected at most {LONGEST} characters")
    segments = text.split(".")
    reader = _Reader(segments[0], 1)
    version = reader.number(6, "version")
    if version != _VERSION:
        raise reader.wrong("version", f"{_VERSION}, and it is {version}", at=0)
    core = {
        "created": reader.moment("created"),
        "last_updated": reader.moment("last updated"),
        "cmp_id": reader.number(12, "CMP id"),
        "cmp_version": reader.number(12, "CMP version"),
        "consent_screen": reader.number(6, "consent screen"),
        "language": reader.letters("language"),
        "vendor_list_version": reader.number(12, "vendor list version"),
        "policy_version": reader.number(6, "policy version"),
        "is_service_specific": reader.flag("service specific"),
        "has_own_texts": reader.flag("own texts"),
        "special_features": reader.ids(_SPECIAL_FEATURES, "special features"),
        "purposes_consent": reader.ids(_PURPOSES, "purposes by consent"),
        "purposes_interest": reader.ids(_PURPOSES, "purposes by legitimate interest"),
        "is_purpose_one_untold": reader.flag("purpose one treatment"),
        "publisher_country": reader.letters("publisher's country"),
        "vendor_consent": _vendors(reader, "vendors by consent"),
        "vendor_interest": _vendors(reader, "vendors by legitimate interest"),
    }
    for _ in range(reader.number(12, "count of publisher restrictions")):
        reader.number(6 + 2, "publisher restriction")
        _ranges(reader, "restricted vendors", 0xFFFF)
    reader.end()
    return Consent(**core, **_others(segments))  # type: ignore[arg-type]


def _others(segments: list[str]) -> dict[str, Vendors | PublisherConsent]:
    """The segments after the core, which come in any order."""
    found: dict[str, Vendors | PublisherConsent] = {}
    for number, text in enumerate(segments[1:], start=2):
        reader = _Reader(text, number)
        name = _SEGMENTS.get(reader.number(3, "kind of segment"))
        if name is None or name in found:
            raise reader.wrong("kind of segment", f"one of {', '.join(map(str, _SEGMENTS))}, each at most once", at=0)
        found[name] = _publisher(reader) if name == "publisher" else _vendors(reader, f"{name} vendors")
        reader.end()
    return found


def _publisher(reader: _Reader) -> PublisherConsent:
    purposes = reader.ids(_PURPOSES, "publisher's purposes by consent")
    interest = reader.ids(_PURPOSES, "publisher's purposes by legitimate interest")
    own = reader.number(6, "count of own purposes")
    return PublisherConsent(purposes, interest, reader.ids(own, "own purposes"), reader.ids(own, "own purposes"))


# --- our purposes -----------------------------------------------------------------------------------------------------

# Of the framework's purposes those a purpose of ours needs, all of them (policy version 5):
# 1 storage on the device; 3 and 4 profile for and choice of personalised advertising; 5 and 6 the same for content;
# 7 and 8 measuring of advertising and of content.
NEEDED: dict[str, tuple[int, ...]] = {
    "ads": (1, 3, 4),
    "personalisation": (1, 5, 6),
    "analytics": (1, 7, 8),
}
# Storage and, since TCF 2.2, profiles (3 to 6) rest on consent alone.
_BY_INTEREST = frozenset({2, 7, 8, 9, 10, 11})


def decision(consent: Consent, purpose: str) -> tuple[str, str]:
    """(consent_status, lawful_basis) for a purpose of ours.

    Granted when every purpose it needs is consented to, or rests on a legitimate interest where that may be. A site
    under a law that knows no consent for storage says that purpose 1 was not asked; then it is not needed.
    """
    needed = set(NEEDED[purpose])
    if consent.is_purpose_one_untold and consent.is_service_specific:
        needed.discard(1)
    open_ = needed - consent.purposes_consent
    if not open_:
        return "granted", "consent"
    if open_ <= consent.purposes_interest & _BY_INTEREST:
        return "granted", "legitimate_interest"
    return "withdrawn", "consent"


@lru_cache(maxsize=65_536)
def _told(text: str, purpose: str) -> tuple[str | None, str | None, datetime | None, str | None]:
    """(status, basis, last updated, what is wrong)."""
    if purpose not in NEEDED:
        return None, None, None, f"no purpose a consent string tells of; expected one of {', '.join(NEEDED)}"
    try:
        consent = decoded(text)
    except TcfError as error:
        return None, None, None, str(error)
    return *decision(consent, purpose), consent.last_updated, None


def with_tcf_decisions(records: pl.LazyFrame) -> pl.LazyFrame:
    """Records, where one brings a `tc_string`, with what it decides for the record's `purpose`.

    `consent_status` and `lawful_basis` are the string's, `consent_id` gains the purpose: one string decides several.
    A string that is none is quarantined `tc_string.malformed`, with the place; one updated more than a day after it
    was recorded `tc_string.future`.
    """
    frame = records.collect()
    asked = frame.filter(pl.col("tc_string").is_not_null()).select("tc_string", "purpose").unique()
    if asked.is_empty():
        return frame.lazy()
    told = [_told(text, purpose or "") for text, purpose in asked.iter_rows()]
    answers = asked.with_columns(
        pl.Series("_status", [one[0] for one in told], dtype=pl.String),
        pl.Series("_basis", [one[1] for one in told], dtype=pl.String),
        pl.Series("_updated", [one[2] for one in told], dtype=pl.Datetime("us", "UTC")),
        pl.Series("_wrong", [one[3] for one in told], dtype=pl.String),
    )
    is_tcf = pl.col("tc_string").is_not_null()
    is_out = pl.col("_fate") == "out"
    is_wrong = is_out & pl.col("_wrong").is_not_null()
    is_ahead = is_out & ~is_wrong & (pl.col("_updated") > pl.col("event_at") + timedelta(days=1)).fill_null(False)
    return (
        frame.lazy()
        .join(answers.lazy(), on=["tc_string", "purpose"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(
            pl.when(is_tcf).then("_status").otherwise("consent_status").alias("consent_status"),
            pl.when(is_tcf).then("_basis").otherwise("lawful_basis").alias("lawful_basis"),
            pl.when(is_tcf)
            .then(pl.concat_str("consent_id", pl.lit(":"), "purpose", ignore_nulls=True))
            .otherwise("consent_id")
            .alias("consent_id"),
            pl.when(is_wrong | is_ahead).then(pl.lit("quarantined")).otherwise("_fate").alias("_fate"),
            pl.when(is_wrong)
            .then(pl.lit("tc_string.malformed"))
            .when(is_ahead)
            .then(pl.lit("tc_string.future"))
            .otherwise("_rule")
            .alias("_rule"),
            pl.when(is_wrong)
            .then("_wrong")
            .when(is_ahead)
            .then(pl.lit("the string was updated more than a day after it was recorded"))
            .otherwise("_reason")
            .alias("_reason"),
        )
        .drop("_status", "_basis", "_updated", "_wrong")
    )
