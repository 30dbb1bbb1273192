"""Identifiers as they can be compared: e-mail, phone, login, card, cookie, device, handle; and those nobody owns.

Everything here is computed once per distinct value and mapped back. A value that is no such identifier becomes null:
it is never used to join anybody. Placeholders and shared addresses (info@, 0000000000) keep their row but get no key.

E-mail syntax follows RFC 5321/5322/6531 as python-email-validator reads them; phones follow Google's libphonenumber.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import phonenumbers
import polars as pl
from email_validator import SPECIAL_USE_DOMAIN_NAMES as SPECIAL_DOMAINS
from email_validator import EmailNotValidError, validate_email

from etl.privacy.pseudonyms import KINDS, node_of, pseudonym_of

# --- e-mail -----------------------------------------------------------------------------------------------------------

# What is plainly an address already needs no parser; `tests/silver` hold the two ways against each other.
_PLAIN = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,24}",
)
_SPECIAL_ENDINGS = tuple(f".{name}" for name in SPECIAL_DOMAINS)

# Providers for whom dots in the local part mean nothing, with the name they all stand for.
# https://support.google.com/mail/answer/7436150
_DOTLESS = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}


def email(value: str) -> str | None:
    """The address as mail reaches it: trimmed, NFC, lower case, domain in punycode; None when it is no address.

    A display name (`Ann <ann@example.org>`) is taken off. Quoted local parts stay. Address literals, special-use
    domains (RFC 6761) and domains without a dot are no addresses of customers.
    """
    trimmed = value.strip().lower()
    if len(trimmed) <= 64 and _PLAIN.fullmatch(trimmed) and not f".{trimmed.split('@')[1]}".endswith(_SPECIAL_ENDINGS):
        return trimmed
    try:
        valid = validate_email(
            trimmed, check_deliverability=False, allow_quoted_local=True, allow_display_name=True, strict=True
        )
    except (EmailNotValidError, UnicodeError):
        return None
    local = unicodedata.normalize("NFC", valid.local_part).casefold()
    return f"{local}@{valid.ascii_domain.casefold()}"


def mailbox(address: str) -> str:
    """The mailbox a normalised address ends in: without `+tag`, and without dots where the provider ignores them.

    It is what two addresses are compared by, never what mail is sent to.
    """
    local, _, domain = address.rpartition("@")
    if not local.startswith('"'):
        local = local.split("+", 1)[0] or local
        if domain in _DOTLESS:
            local, domain = local.replace(".", "") or local, _DOTLESS[domain]
    return f"{local}@{domain}"


def email_sha256(value: str) -> str | None:
    """A SHA-256 in lower-case hexadecimal, or None."""
    hashed = value.strip().lower()
    return hashed if re.fullmatch(r"[0-9a-f]{64}", hashed) else None


# --- the others -------------------------------------------------------------------------------------------------------


def phone(value: str, country: str | None) -> str | None:
    """The number in E.164 (`+493012345678`), read as one dialled in `country`; None when it cannot be a number.

    An extension is dropped: it is not part of E.164. A number too short or too long for its country is none.
    """
    number = dialled(value, country)
    if number is None or not phonenumbers.is_possible_number(number):
        return None
    # libphonenumber also admits what is dialled within a town (`12` in Germany); that is nobody's own number.
    written = e164(number)
    return written if len(written) >= _SHORTEST_PHONE else None


_SHORTEST_PHONE = len("+6834000")  # Niue: a country code of three digits and four more


def dialled(value: str, country: str | None) -> phonenumbers.PhoneNumber | None:
    """What libphonenumber reads in `value`, dialled in `country`, whether or not such a number can exist."""
    try:
        return phonenumbers.parse(value, country)
    except phonenumbers.NumberParseException:
        return None


def e164(number: phonenumbers.PhoneNumber) -> str:
    """The number as `+` and at most fifteen digits."""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def login(value: str) -> str | None:
    """An account name, trimmed and NFC. Its case stays: user ids may differ by it alone."""
    return unicodedata.normalize("NFC", value.strip()) or None


def card(value: str) -> str | None:
    """A card number without the spaces and hyphens people write into it, upper case."""
    return re.sub(r"[\s-]", "", unicodedata.normalize("NFC", value)).upper() or None


def cookie(value: str) -> str | None:
    """A browser id, trimmed."""
    return value.strip() or None


def device(value: str) -> str | None:
    """A device id, trimmed, lower case: advertising ids are written in both cases."""
    return value.strip().lower() or None


def handle(value: str) -> str | None:
    """A social account, `user@host`, without the leading @, case folded."""
    return unicodedata.normalize("NFC", value.strip().removeprefix("@")).casefold() or None


_NORMALISERS: dict[str, Callable[[str], str | None]] = {
    "email": email,
    "email_sha256": email_sha256,
    "login": login,
    "card": card,
    "cookie": cookie,
    "device": device,
    "handle": handle,
}


# --- identifiers nobody owns ------------------------------------------------------------------------------------------

# Function mailboxes (RFC 2142 and what is customary) and what people type to get past a form.
_SHARED_MAILBOXES_TEXT = (
    "abuse accounting admin administrator asdf asdfasdf billing careers contact customerservice "
    "donotreply dummy enquiries example fake foo foobar hello help helpdesk hostmaster hr info jobs "
    "kontakt mailer-daemon marketing n/a na nobody nomail none noemail noreply no-reply do-not-reply null "
    "office orders postmaster privacy reception root sales service shop spam staff support team test "
    "tester testing unknown user webmaster xxx "
)
_SHARED_MAILBOXES = frozenset(_SHARED_MAILBOXES_TEXT.split())
_ONE_DIGIT = re.compile(r"\d{1,3}?(\d)\1{4,}")
_PLACEHOLDERS_TEXT = (
    "- -1 (none) (notset) 0 anonymous deleted dummy false guest n/a na nan nil none null test undefined "
    "unknown user true xxx "
)
_PLACEHOLDERS = frozenset(_PLACEHOLDERS_TEXT.split()) | {"(not set)", "not set"}


def is_denied(kind: str, value: str) -> bool:
    """True for a normalised identifier that says nothing of whose it is: shared, or typed to fill a field."""
    if kind == "email":
        local, _, _domain = value.rpartition("@")
        return local in _SHARED_MAILBOXES
    if kind == "phone":
        digits = value.removeprefix("+")
        # 000 000 0000, 555 5555555: the last seven alike, or all after the country's code; the keypad up or down.
        alike = len(set(digits[-7:])) == 1 or _ONE_DIGIT.fullmatch(digits) is not None
        return alike or any(walk in digits for walk in ("12345678", "98765432"))
    bare = value.casefold()
    return bare in _PLACEHOLDERS or not bare.strip("0-:. ")


def key_of(kind: str, value: str, *, country: str) -> str | None:
    """What the pseudonym of one identifier is made of, as `with_keys` makes it; None when nobody owns the value."""
    found = phone(value, country) if kind == "phone" else _NORMALISERS[kind](value)
    if found is None or is_denied(kind, found):
        return None
    return mailbox(found) if kind == "email" else found


# --- over frames ------------------------------------------------------------------------------------------------------


def _over_distinct(values: pl.Series, make: Callable[[str], str | None]) -> pl.Series:
    distinct = values.drop_nulls().unique()
    if distinct.is_empty():
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    made = pl.Series([make(value) for value in distinct.to_list()], dtype=pl.String)
    return values.replace_strict(distinct, made, default=None, return_dtype=pl.String)


def normalised(kind: str) -> pl.Expr:
    """The column `kind` in its comparable form."""
    return pl.col(kind).map_batches(lambda values: _over_distinct(values, _NORMALISERS[kind]), return_dtype=pl.String)


def normalised_phone(country: str, *, hint: str | None = None) -> pl.Expr:
    """The column `phone` in E.164; numbers without a country code are dialled in the country of column `hint`, else
    in `country`.
    """
    region = pl.coalesce(hint, pl.lit(country)) if hint else pl.lit(country)
    # One string per (region, number), so that each pair is parsed once; no region holds a tab.
    pairs = pl.when(pl.col("phone").is_not_null()).then(pl.concat_str([region, pl.lit("\t"), pl.col("phone")]))
    return pairs.map_batches(lambda values: _over_distinct(values, _phone_of_pair), return_dtype=pl.String).alias(
        "phone"
    )


def _phone_of_pair(pair: str) -> str | None:
    region, _, number = pair.partition("\t")
    return phone(number, region)


def comparable(kind: str) -> pl.Expr:
    """What the key of `kind` is made of: the normalised column, null where nobody owns the value."""

    def own(value: str) -> str | None:
        return None if is_denied(kind, value) else mailbox(value) if kind == "email" else value

    return pl.col(kind).map_batches(lambda values: _over_distinct(values, own), return_dtype=pl.String)


def with_keys(records: pl.LazyFrame, *, key: bytes, country: str, hint: str | None = None) -> pl.LazyFrame:
    """Records with every identifier normalised, its `<kind>_key` beside it, and `node_id`, the surest of them.

    An address known only by its SHA-256 gets the key the clear address would have. `hint` names a column of
    ISO 3166-1 codes that says where a phone number is at home; else it is at home in `country`.
    """
    return (
        records.with_columns(
            *(normalised(kind) for kind in _NORMALISERS),
            normalised_phone(country, hint=hint),
        )
        .with_columns(comparable(kind).alias(f"{kind}_key") for kind in KINDS)
        .with_columns(
            # A hash of a shared mailbox cannot be told from any other; identity caps what it would join.
            pl.when(pl.col("email").is_null()).then("email_sha256").otherwise("email_key").alias("email_key")
        )
        .with_columns(pseudonym_of(f"{kind}_key", kind, key=key) for kind in KINDS)
        .pipe(node_of)
    )
