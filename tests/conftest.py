"""What every test may ask for: a clean environment, and the published data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("C360_") and name != "C360_SHARED":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published data and API descriptions; skips where it is not at hand."""
    folder = Path(os.environ.get("C360_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the published data is not on this machine (set C360_SHARED to its folder)")
    return folder
