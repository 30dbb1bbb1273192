"""What every test may ask for: a clean environment, and the published data where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.s3 import Store, store_at

# The same cases on every run and machine, and no case failing for want of time.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("C360_") and name != "C360_SHARED":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def s3_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A real S3 store; each test takes a folder of its own in the bucket `lake`."""
    with store_at(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def s3(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, with its clients told where it is."""
    for name, value in s3_store.environ.items():
        monkeypatch.setenv(name, value)
    return s3_store


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published data and API descriptions; skips where it is not at hand."""
    folder = Path(os.environ.get("C360_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the published data is not on this machine (set C360_SHARED to its folder)")
    return folder
