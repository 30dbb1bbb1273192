"""A small company for the benchmark's tests, generated once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.c360_lake import Size
from benchmarks.generate import generated


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a company of a hundred people."""
    return generated(Size.of("2k"), tmp_path_factory.mktemp("company"))
