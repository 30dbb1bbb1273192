"""Data Docs: complete without a network, bounded, exchanged in one step."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from etl.model import Check, Column, Layer, Severity, Table, Type
from etl.model.frames import schema_of
from expectations.checkpoint import validate
from expectations.docs import STATIC, VENDORED, build_docs, offline

CHROMIUM = shutil.which("chromium")
REMOTE = re.compile(
    r"""(?:\ssrc=["']?|@import\s*["']?|url\(["']?)(?:https?:)?//|<link[^>]*\shref=["']?(?:https?:)?//""", re.IGNORECASE
)


def _table(name: str) -> Table:
    return Table(
        Layer.SILVER,
        name,
        "Things.",
        "one row per thing",
        key=("thing_id",),
        columns=(
            Column("thing_id", Type.STRING, "one thing").required,
            Column("pieces", Type.INT, "pieces", minimum=0),
        ),
        checks=(
            Check("expect_table_row_count_to_be_between", {"min_value": 1}, Severity.WARNING, why="something came"),
            Check("expect_column_values_to_match_regex", {"column": "pieces", "regex": "x"}, why="cannot be asked"),
            Check(
                "expect_column_pair_values_sum_to_be_at_least",
                {"column_A": "pieces", "column_B": "pieces", "min_value": 1},
                Severity.WARNING,
                why="twice something",
            ),
        ),
    )


def _validated(docs: Path, name: str, run: str, *pieces: int | None) -> None:
    table = _table(name)
    rows = [(str(n), each) for n, each in enumerate(pieces)]
    frame = pl.DataFrame(rows, schema=schema_of(table.columns), orient="row")
    validate(table, [frame], window="2026-01-28", run_id=run, docs=docs)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built site over verdicts of every kind: passed, failed, errored, without rows."""
    docs = tmp_path_factory.mktemp("docs")
    _validated(docs, "baskets", "a good run", 1, 2)
    _validated(docs, "baskets", "a bad run", -1, None, 2)
    _validated(docs, "visits", "nothing came")
    return build_docs(docs).parent


def test_every_verdict_has_its_page_and_its_row(site: Path) -> None:
    pages = sorted(page.relative_to(site).parts[1:4] for page in site.glob("validations/*/*/*/*/*.html"))

    assert pages == [
        ("silver", "baskets", "a_bad_run"),
        ("silver", "baskets", "a_good_run"),
        ("silver", "visits", "nothing_came"),
    ]
    assert site.joinpath("index.html").read_text().count("2026-01-28") >= 3


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    read = [*site.rglob("*.html"), *site.rglob("*.css")]

    assert len(read) > 5
    assert [path.name for path in read if REMOTE.search(path.read_text())] == []


def test_no_page_counts_its_readers(site: Path) -> None:
    text = "".join(page.read_text() for page in site.rglob("*.html"))

    assert [word for word in ("dataContextId", "amazonaws", "utm_source", "newsletter") if word in text] == []


def test_every_file_a_page_refers_to_is_there(site: Path) -> None:
    missing = [
        f"{page.name}: {target}"
        for page in site.rglob("*.html")
        for target in re.findall(r"""(?:src|href)=["']((?!https?:|#|data:|javascript)[^"']+)["']""", page.read_text())
        if "static/" in target and not (page.parent / target.partition("?")[0]).is_file()
    ]

    # GX itself points one level short for the favourite icon of result pages; nobody misses it.
    assert [each for each in missing if "favicon" not in each] == []


def test_every_vendored_file_is_there_and_noted() -> None:
    copies = {copy for copies in VENDORED.values() for copy in copies}

    assert sorted(path.name for path in (STATIC / "vendor").iterdir()) == sorted(copies)
    assert (STATIC / "NOTICE").is_file()


def test_what_an_expectation_is_for_stands_beside_it(site: Path) -> None:
    text = next(site.glob("validations/silver/baskets/a_bad_run/*/*.html")).read_text()

    assert "pieces and pieces add up to at least 1. (warning: twice something)" in text


def test_a_remote_script_we_do_not_know_is_cut_out() -> None:
    page = '<script src="https://example.org/spy.js" async></script><img src="//example.org/a.gif?d=1"><p>text</p>'

    assert offline(page, "../") == '<img src="../static/images/logo-long.png"><p>text</p>'


def test_only_the_latest_verdicts_of_a_table_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        _validated(tmp_path, "baskets", f"run {number}", 1)

    site = build_docs(tmp_path, keep=2).parent

    assert sorted(path.name for path in site.glob("validations/silver/baskets/*")) == ["run_2", "run_3"]
    assert sorted(path.name for path in tmp_path.glob("results/silver/baskets/*")) == ["run_2", "run_3"]


def test_nothing_but_results_and_site_is_left_behind(tmp_path: Path) -> None:
    _validated(tmp_path, "baskets", "run", 1)
    build_docs(tmp_path)
    build_docs(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "data_docs", "results"]


def test_a_site_without_verdicts_is_built(tmp_path: Path) -> None:
    assert build_docs(tmp_path / "new").is_file()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to look at the pages with")
def test_a_browser_without_network_shows_the_rows(site: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path}",
            *("--virtual-time-budget=5000", "--dump-dom"),
            (site / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    # The table is drawn by a script: without it the page holds one empty table.
    assert "Showing 1 to 3 of 3 rows" in told.stdout
