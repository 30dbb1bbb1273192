"""Rows that break their columns' own declaration are held back, each by the first rule it breaks."""

from __future__ import annotations

import polars as pl

from etl.model import Column, Layer, Table, Type
from etl.run.build import hold_back

PRICES = Table(
    layer=Layer.SILVER,
    name="prices",
    description="Prices.",
    grain="one row per item",
    key=("item",),
    columns=(
        Column("item", Type.STRING, "item", is_required=True, pattern=r"^[a-z]+$"),
        Column("colour", Type.STRING, "colour", allowed=("red", "blue")),
        Column("price", Type.FLOAT, "price", minimum=0, maximum=100),
    ),
)


def judged(*rows: tuple[str | None, str | None, float | None, str]) -> list[tuple[str, str | None]]:
    frame = pl.DataFrame(
        [(*row, None, None) for row in rows],
        schema={
            "item": pl.String,
            "colour": pl.String,
            "price": pl.Float64,
            "_fate": pl.String,
            "_rule": pl.String,
            "_reason": pl.String,
        },
        orient="row",
    )
    return hold_back(frame, PRICES).select("_fate", "_rule").rows()


def test_a_row_that_fits_goes_out() -> None:
    assert judged(("pen", "red", 1.0, "out")) == [("out", None)]


def test_each_rule_has_its_name() -> None:
    assert judged(
        (None, "red", 1.0, "out"),
        ("pen", "green", 1.0, "out"),
        ("ink", "red", -1.0, "out"),
        ("cap", "red", 101.0, "out"),
        ("P3N", "red", 1.0, "out"),
    ) == [
        ("quarantined", "item.missing"),
        ("quarantined", "colour.unknown_value"),
        ("quarantined", "price.too_small"),
        ("quarantined", "price.too_large"),
        ("quarantined", "item.malformed"),
    ]


def test_nulls_break_nothing_where_null_is_admitted() -> None:
    assert judged(("pen", None, None, "out")) == [("out", None)]


def test_the_second_of_two_equal_keys_is_held_back_but_not_a_row_already_judged() -> None:
    assert judged(("pen", "red", 1.0, "deduplicated"), ("pen", "red", 2.0, "out"), ("pen", "red", 3.0, "out")) == [
        ("deduplicated", None),
        ("out", None),
        ("quarantined", "key.repeated"),
    ]


def test_a_broken_row_does_not_take_the_key_from_a_good_one() -> None:
    assert judged(("pen", "red", -1.0, "out"), ("pen", "red", 3.0, "out")) == [
        ("quarantined", "price.too_small"),
        ("out", None),
    ]
