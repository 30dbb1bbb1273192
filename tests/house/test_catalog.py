"""The catalogue: contradictions are refused, tables come in the order the data flows, a change announces itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from etl.catalog import load_catalog
from etl.errors import C360Error, DeclarationError, NameRefused, SettingsError
from etl.serve.dictionary import dictionary
from tests.conftest import ROOT


def test_every_table_comes_after_what_it_is_built_from() -> None:
    catalog = load_catalog()
    seen = set(catalog.bronze)
    for table in catalog.tables:
        assert set(catalog.inputs(table)) <= seen
        seen.add(table.full_name)


def test_a_changed_table_is_announced_by_its_page() -> None:
    """`docs/tables` is the snapshot: `make dictionary` writes it anew, and review sees what changed."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "tables").glob("*.md")}

    assert dictionary(load_catalog().tables) == pages


def test_no_two_columns_of_one_name_differ_in_type() -> None:
    types: dict[str, object] = {}
    for table in load_catalog().tables:
        for column in table.columns:
            assert types.setdefault(column.name, column.type) == column.type, f"{table.full_name}.{column.name}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hubspott", "did you mean hubspot"),
        ("../../etc/passwd", "a name is lower-case letters"),
        ("a%2fb", "a name is lower-case letters"),
        ("_delta_log/x", "a name is lower-case letters"),
    ],
)
def test_an_unknown_source_name_is_refused(name: str, said: str) -> None:
    with pytest.raises(NameRefused, match=said):
        load_catalog([name])


@pytest.mark.parametrize("name", ["gold.customer_36", "../gold/customer_360", "gold/../../x", "gold.a b", ""])
def test_an_unknown_table_name_is_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        load_catalog().table(name)


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(
        "from etl.model import Feed, Files, Kind, Pick, Source, Stream\n"
        "def source(name='mine', stream='things', feeds=()):\n"
        "    return Source(name, 'Mine', (Stream(stream, Kind.SNAPSHOT, Files('x.jsonl'), ('id',), feeds=feeds),))\n"
        + text
    )
    return path


@pytest.mark.parametrize(
    ("text", "said", "kind"),
    [
        ("SOURCES = (source(), source())", "declared twice", DeclarationError),
        ("SOURCES = (source('hubspot'),)", "declared twice", DeclarationError),
        ("SOURCES = 5", "expected SOURCES", SettingsError),
        ("SOURCES = (source(feeds=(Feed('ordrs', {}),)),)", "did you mean orders", DeclarationError),
        (
            "SOURCES = (source(feeds=(Feed('orders', {'ordr_id': Pick('x')}),)),)",
            "did you mean order_id",
            DeclarationError,
        ),
        ("SOURCES = (source('../x'),)", "a name is lower-case", NameRefused),
    ],
)
def test_declarations_that_contradict_are_refused(tmp_path: Path, text: str, said: str, kind: type[C360Error]) -> None:
    with pytest.raises(kind, match=said):
        load_catalog(["mine"], [write(tmp_path, text)])


def test_a_source_of_your_own_needs_no_other_file(tmp_path: Path) -> None:
    path = write(tmp_path, "SOURCES = (source(feeds=(Feed('orders', {'order_id': Pick('id')}),)),)")

    catalog = load_catalog(["mine"], [path])

    assert list(catalog.bronze) == ["bronze.mine_things"]
    assert "bronze.mine_things" in catalog.inputs(catalog.table("silver.orders"))


def test_a_table_without_its_key_column_is_refused() -> None:
    orders = load_catalog().table("silver.orders")

    with pytest.raises(DeclarationError, match="key columns"):
        replace(orders, key=("nothing",))
