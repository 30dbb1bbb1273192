"""Every golden case under tests/cases; `tests/golden.py` says how to write one."""

from __future__ import annotations

import pytest

from tests.golden import Case, cases, check


@pytest.mark.parametrize("case", cases(), ids=str)
def test_table_makes_the_rows_written_by_hand(case: Case) -> None:
    check(case)
