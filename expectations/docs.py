"""Data Docs: the stored verdicts as pages for people, complete without a network.

Great Expectations writes pages that fetch some fifteen files from five hosts and a picture that counts readers;
without them the index shows no rows at all. The pages built here refer to nothing beyond their own folder.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expectations.checkpoint import GATE, RESULTS, results_store

SITE = "data_docs"
"""Folder under `docs` that holds the pages; `index.html` lists them."""

KEEP = 5
"""Verdicts shown per table, the latest. The ledger and the reports of runs keep the rest."""

STATIC = Path(__file__).parent / "static"

# What a page asks of a remote host, by file name -> our copies. What is not named here is not needed for reading:
# vega draws profiling charts, which we make none of, and bootstrap-dark repaints tables unreadably.
VENDORED = {
    "all.min.css": ("fontawesome.min.css", "solid.min.css"),
    "jquery-3.7.1.min.js": ("jquery.min.js",),
    "popper.min.js": ("popper.min.js",),
    "bootstrap.min.js": ("bootstrap.min.js",),
    "bootstrap.min.css": ("bootstrap.min.css",),
    "bootstrap-table.min.js": ("bootstrap-table.min.js",),
    "bootstrap-table.min.css": ("bootstrap-table.min.css",),
    "bootstrap-table-filter-control.min.js": ("bootstrap-table-filter-control.min.js",),
    "bootstrap-table-filter-control.min.css": ("bootstrap-table-filter-control.min.css",),
    "bootstrap-table-filter-control.css": ("bootstrap-table-filter-control.min.css",),
    "bootstrap-datepicker.min.js": ("bootstrap-datepicker.min.js",),
    "bootstrap-datepicker.min.css": ("bootstrap-datepicker.min.css",),
}

_SCRIPT = re.compile(r'<script[^>]*\ssrc="(?P<url>(?:https?:)?//[^"]*)"[^>]*>\s*</script>')
_STYLE = re.compile(r'<link[^>]*\shref="(?P<url>(?:https?:)?//[^"]*)"[^>]*>')
_PICTURE = re.compile(r"""(?P<before>\bsrc=["']|url\(["']?)(?:https?:)?//[^"')]*""")
_FOOTER = re.compile(r"<footer>.*?</footer>", re.DOTALL)


def build_docs(docs: Path, *, keep: int = KEEP) -> Path:
    """The index page of the Data Docs in `docs`, rebuilt from the latest `keep` verdicts of every table.

    Older verdicts are deleted. The pages are built aside and exchanged in one step, so a reader never meets a
    half-built site; builds at the same time wait for each other.
    """
    docs.mkdir(parents=True, exist_ok=True)
    with _alone(docs):
        _forget_old(docs / RESULTS, keep)
        aside = Path(tempfile.mkdtemp(prefix=".building-", dir=docs))
        try:
            _build(docs, aside)
            _make_offline(aside)
            _exchange(aside, docs / SITE)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return docs / SITE / "index.html"


@contextmanager
def _alone(docs: Path) -> Iterator[None]:
    """Only one process builds or deletes at a time; the lock ends with the process, whatever ends it."""
    with (docs / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_old(results: Path, keep: int) -> None:
    """Deletes all but the latest `keep` verdicts of each table. Paths: layer/table/run/time/window.json."""
    for table in results.glob("*/*"):
        verdicts = sorted(table.glob("*/*/*.json"), key=lambda path: path.parent.name, reverse=True)
        for verdict in verdicts[keep:]:
            verdict.unlink(missing_ok=True)
            for folder in (verdict.parent, verdict.parent.parent):
                if not any(folder.iterdir()):
                    folder.rmdir()


def _build(docs: Path, site: Path) -> None:
    """Great Expectations' own site builder, from the results in `docs` into `site`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    import expectations.own  # noqa: F401  # results name our expectations too

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    store = results_store(docs)
    config.stores[config.validation_results_store_name] = {
        "class_name": "ValidationResultsStore",
        "store_backend": store.config["store_backend"],
    }
    config.data_docs_sites = {SITE: _site_config(site)}
    with GATE:
        gx.get_context(mode="ephemeral", project_config=config).build_data_docs()


def _site_config(site: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "site_section_builders": {"expectations": "None", "profiling": "None"},
    }


def _make_offline(site: Path) -> None:
    """Every page of `site` refers to our copies; what remains of remote references is cut out."""
    shutil.copytree(STATIC, site / "static", dirs_exist_ok=True)
    for tutorial in (site / "static" / "images").glob("*.gif"):
        tutorial.unlink()
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(offline(page.read_text(encoding="utf-8"), up), encoding="utf-8")
    for style in (site / "static" / "styles").glob("*.css"):
        style.write_text(offline(style.read_text(encoding="utf-8"), "../../"), encoding="utf-8")


def offline(page: str, up: str) -> str:
    """`page` without a reference to another host, but for links a reader may click. `up` leads to the site's root."""

    def ours(match: re.Match[str], tag: str) -> str:
        name = match["url"].partition("?")[0].rpartition("/")[2]
        return "".join(tag.format(f"{up}static/vendor/{copy}") for copy in VENDORED.get(name, ()))

    page = _FOOTER.sub("", page)
    page = _SCRIPT.sub(lambda match: ours(match, '<script src="{}"></script>'), page)
    page = _STYLE.sub(lambda match: ours(match, '<link rel="stylesheet" href="{}">'), page)
    # The logo is fetched from a host that is told who reads what (`?d=...&dataContextId=...`).
    return _PICTURE.sub(lambda match: f"{match['before']}{up}static/images/logo-long.png", page)


def _exchange(aside: Path, site: Path) -> None:
    """`aside` becomes `site`; the old one goes."""
    aside.chmod(0o755)
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=site.parent))
    try:
        if site.exists():
            site.replace(old / SITE)
        aside.replace(site)
    finally:
        shutil.rmtree(old, ignore_errors=True)
