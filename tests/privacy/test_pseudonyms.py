"""Pseudonyms: keyed, stable, apart by kind, and the same one by one and over a frame."""

from __future__ import annotations

import hashlib
import hmac

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from etl.privacy.pseudonyms import KINDS, node_of, node_of_record, pseudonym, pseudonyms

KEY = b"key"
TEXTS = st.lists(st.none() | st.text(), max_size=20)


@given(TEXTS, st.sampled_from(KINDS))
def test_a_column_holds_what_each_value_gives_alone(values: list[str | None], kind: str) -> None:
    wanted = [value if value is None else pseudonym(kind, value, key=KEY) for value in values]

    assert wanted == pseudonyms(pl.Series(values, dtype=pl.String), kind, key=KEY).to_list()


def test_it_is_the_hmac_of_kind_and_value() -> None:
    # RFC 2104 by hand: the plain construction, cut to half.
    wanted = hmac.new(KEY, b"login:ann", hashlib.sha256).hexdigest()[:32]

    assert wanted == pseudonym("login", "ann", key=KEY)


def test_kinds_and_keys_stand_apart() -> None:
    made = {pseudonym(kind, "1", key=key) for kind in KINDS for key in (b"one", b"other")}

    assert 2 * len(KINDS) == len(made)


def test_a_row_is_the_surest_identifiers() -> None:
    rows = pl.LazyFrame(
        {"cookie_key": ["c", "c", None, None], "email_key": [None, "e", "e", None], "card_key": [None, None, "k", None]}
    )

    assert ["c", "e", "k", None] == node_of(rows).collect()["node_id"].to_list()


def test_a_record_is_a_node_of_its_own() -> None:
    assert node_of_record("crm", "contacts", "7", key=KEY) == pseudonym("record", "crm:contacts:7", key=KEY)
