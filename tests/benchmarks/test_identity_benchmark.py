"""The benchmark of identity takes the product's own steps, at a small size, and tells no figure of a wrong answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import identity
from benchmarks.identity_world import world


def test_an_increment_of_its_world_is_the_full_rebuild(tmp_path: Path) -> None:
    home = world(tmp_path, 300)
    for step in ("before_edges", "before_map", "full_edges", "full_map", "increment_edges", "increment_map"):
        identity.STEPS[step](home)
    for table in ("edges", "map"):
        identity.check_same(home / f"{table}_full.parquet", home / f"{table}_increment.parquet")

    with pytest.raises(identity.Unequal):
        identity.check_same(home / "edges_before.parquet", home / "edges_full.parquet")
    assert pl.read_parquet(home / "map_full.parquet")["customer_id"].n_unique() > 300


def test_every_peer_finds_the_same_components_or_no_figure_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    peers = (identity.by_scipy, identity.by_networkx, identity.by_duckdb)
    identity.compared(600, *peers)(Path())
    assert '"duckdb"' in capsys.readouterr().out

    def by_chance(nodes: int, left: identity.Ends, right: identity.Ends) -> identity.Ends:
        return np.zeros(nodes, dtype=np.int32)

    with pytest.raises(identity.Unequal, match="by_chance"):
        identity.compared(600, by_chance)(Path())
