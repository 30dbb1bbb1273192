"""Keyed stand-ins for identifiers: the same value gives the same pseudonym, and only the key's holder can tell whose.

HMAC-SHA256 (RFC 2104) under the tenant's key over `kind:value`, cut to 16 bytes, as 32 hexadecimal digits. The kind is
part of the message, so that a card and a login that happen to look alike never meet. At 10^9 identifiers of a tenant
the chance of one collision among 128-bit pseudonyms is below 10^-20.

Values come normalised (`etl.silver.identifiers`). An e-mail address is hashed once more before: ad platforms give only
the SHA-256 of the lower-cased address, and so the clear and the hashed address get one pseudonym.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import polars as pl

# Identifiers from the surest to the weakest: a row belongs to the first one it has.
KINDS = ("card", "login", "email", "phone", "handle", "cookie", "device")
RECORD = "record"

_BYTES = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")


def pseudonym(kind: str, value: str, *, key: bytes) -> str:
    """The pseudonym of one normalised identifier: 32 hexadecimal digits."""
    if kind == "email" and not _SHA256.fullmatch(value):
        value = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    message = f"{kind}:{value}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256")[:_BYTES].hex()


def pseudonyms(values: pl.Series, kind: str, *, key: bytes) -> pl.Series:
    """The pseudonym of every value, computed once per distinct value; null stays null."""
    distinct = values.drop_nulls().unique()
    made = pl.Series([pseudonym(kind, value, key=key) for value in distinct.to_list()], dtype=pl.String)
    if distinct.is_empty():
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    return values.replace_strict(distinct, made, default=None, return_dtype=pl.String)


def pseudonym_of(column: str, kind: str, *, key: bytes) -> pl.Expr:
    """The same as an expression over the column `column`."""
    return pl.col(column).map_batches(lambda values: pseudonyms(values, kind, key=key), return_dtype=pl.String)


def node_of_record(source: str, stream: str, record_id: str, *, key: bytes) -> str:
    """The identity node of a person record: it stands by itself, whatever identifiers it holds."""
    return pseudonym(RECORD, f"{source}:{stream}:{record_id}", key=key)


def node_of(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `node_id`: the key of the surest identifier present in the row, or null.

    Looks at the `<kind>_key` columns the frame has, in the order of `KINDS`.
    """
    present = set(frame.collect_schema().names())
    keys = [f"{kind}_key" for kind in KINDS if f"{kind}_key" in present]
    surest = pl.coalesce(keys) if keys else pl.lit(None, dtype=pl.String)
    return frame.with_columns(surest.alias("node_id"))
