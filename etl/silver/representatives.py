"""One row for each component of records: its values in the form in which `linkage` compares them.

A component is what identifiers joined; of each attribute it shows the value most of its records have, then the latest.
Values that say nothing of whose they are (a placeholder date, a mailbox that many share, an overlong or unreadable
text) are null, and so never match anything.
"""

from __future__ import annotations

import hmac

import polars as pl

from etl.silver.given_names import families_of
from etl.silver.identifiers import is_denied
from etl.silver.linkage import VALUES

#: Attributes chosen together, from one record, so that no address is half of one and half of another.
_TOGETHER = (
    ("given_name",),
    ("family_name",),
    ("birth_date",),
    ("postal_code", "street", "house_number", "city"),
    ("national_id",),
    ("email",),
    ("phone",),
)
#: No name, street or town is longer; what is longer was typed to break something.
_LONGEST = 80
#: What systems write for a date nobody told.
_PLACEHOLDER_DATES = ("1900-01-01", "1901-01-01", "1970-01-01", "1999-12-31", "2000-01-01")
_TITLES = r"^(?:dr|prof|mr|mrs|ms|miss|mx|herr|frau|mme|mlle|sir)\.?\s+"
#: The ways a street's kind is written, and the one it is compared in.
_STREET_WORDS = {
    r"stra(?:ss|ß)e\b|str\b": "str",
    r"\bstreet\b": "st",
    r"\bavenue\b": "ave",
    r"\broad\b": "rd",
    r"\blane\b": "ln",
    r"\bdrive\b": "dr",
    r"\bboulevard\b": "blvd",
    r"\bul(?:ica)?\b": "",
}


#: The columns of a person record that `comparable` reads.
READ = ("node_id", "updated_at", "given_name", "family_name", "birth_date", "street", "postal_code", "city",
        "national_id", "email", "email_key", "phone", "phone_key")  # fmt: skip


def comparable(person_records: pl.DataFrame, members: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """node_id, component, updated_at and `VALUES` of every record: what of it can be compared, normalised.

    person_records: `READ`. members: node_id, component. edges: left_node_id, right_node_id, edge_state.
    E-mail and telephone only where identity believes they are a person's own: no guard turned them away.
    """
    turned_away = edges.filter(pl.col("edge_state").is_in(["capped", "conflict"]))
    shared = pl.concat([turned_away["left_node_id"], turned_away["right_node_id"]]).unique().implode()

    def own(kind: str) -> pl.Expr:
        key = pl.col(f"{kind}_key")
        return pl.when(key.is_not_null() & ~key.is_in(shared)).then(kind)

    street = _folded("street")
    for written, compared in _STREET_WORDS.items():
        street = street.str.replace_all(written, compared)
    number = _folded("street").str.extract(r"(?:^|\s)(\d+\s?[a-z]?)(?:\s|$)").str.replace_all(" ", "")
    born = pl.col("birth_date").dt.to_string("%Y-%m-%d")
    return (
        person_records.join(members.select("node_id", "component"), on="node_id")
        .select(
            "node_id",
            "component",
            "updated_at",
            given_name=_letters("given_name"),
            family_name=_letters("family_name"),
            birth_date=pl.when(~born.is_in(list(_PLACEHOLDER_DATES))).then(born),
            street=_bounded(street.str.replace_all(r"\d+\s?[a-z]?\b|[^\p{L}]+", "")),
            house_number=_bounded(number),
            postal_code=_bounded(pl.col("postal_code").str.to_lowercase().str.replace_all(r"[^\p{L}\d]", "")),
            city=_letters("city"),
            national_id=_own_number("national_id"),
            email=_bounded(own("email")),
            phone=own("phone"),
        )
        .with_columns(nicknames=_nicknames("given_name"))
        .select("node_id", "component", "updated_at", *VALUES)
    )


def representatives(records: pl.DataFrame) -> pl.DataFrame:
    """node_id and `VALUES`, one row a component: its smallest record's node, the value most records have of each.

    Of values as many records have, the latest updated, then the smallest. Sorted by node.
    """
    is_alone = records["component"].is_unique()
    alone, several = records.filter(is_alone), records.filter(~is_alone)
    kept = several.group_by("component").agg(pl.col("node_id").min())
    for chosen in _TOGETHER:
        beside = ["nicknames"] if "given_name" in chosen else []
        best = (
            several.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in chosen))
            .group_by("component", *chosen)
            .agg(pl.len().alias("_count"), pl.col("updated_at").max(), *(pl.col(name).first() for name in beside))
            .sort("_count", "updated_at", *chosen, descending=[True, True, *(False for _ in chosen)], nulls_last=True)
            .unique("component", keep="first", maintain_order=True)
            .select("component", *chosen, *beside)
        )
        kept = kept.join(best, on="component", how="left")
    columns = ["node_id", *VALUES]
    return pl.concat([alone.select(columns), kept.select(columns)]).sort("node_id")


def digests(shown: pl.DataFrame, *, key: bytes) -> pl.Series:
    """A keyed digest of each representative's values, (n,): another value, another digest; it tells no value.

    HMAC-SHA256 under the tenant's key, 16 hexadecimal digits.
    """
    told = shown.select(pl.struct(*VALUES).struct.json_encode()).to_series()
    made = [hmac.digest(key, f"representative:{each}".encode(), "sha256").hex()[:16] for each in told]
    return pl.Series("representative_digest", made, dtype=pl.String)


def _folded(name: str) -> pl.Expr:
    """Lower case, without accents; punctuation as blanks."""
    plain = pl.col(name).str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    return plain.str.replace_all(r"[^\p{L}\d]+", " ").str.strip_chars()


def _letters(name: str) -> pl.Expr:
    """Its letters alone, lower case, without accents and forms of address."""
    return _bounded(_folded(name).str.replace(_TITLES, "").str.replace_all(r"[^\p{L}]", ""))


def _bounded(text: pl.Expr) -> pl.Expr:
    return pl.when((text != "") & (text.str.len_chars() <= _LONGEST)).then(text)


def _own_number(name: str) -> pl.Expr:
    """A number a register gave: letters and digits, upper case; null when it is no such length, or a placeholder."""
    bare = pl.col(name).str.to_uppercase().str.replace_all(r"[\s./-]", "")
    fits = bare.str.contains(r"^[\p{L}\d]{5,32}$") & bare.str.contains(r"\d")
    denied = bare.map_batches(
        lambda values: pl.Series([value is not None and is_denied("card", value) for value in values.to_list()]),
        return_dtype=pl.Boolean,
    )
    return pl.when(fits & ~denied).then(bare)


def _nicknames(name: str) -> pl.Expr:
    """The numbers of the names each can stand for; null for a name without any."""

    def found(values: pl.Series) -> pl.Series:
        distinct = values.drop_nulls().unique()
        known = {value: sorted(families) for value in distinct.to_list() if (families := families_of(value))}
        told = [known.get(value) if value is not None else None for value in values.to_list()]
        return pl.Series(values.name, told, dtype=pl.List(pl.Int64))

    return pl.col(name).map_batches(found, return_dtype=pl.List(pl.Int64))
