"""Dask lifts a function of one piece over all pieces: the one place that says where pieces are computed.

In one process the pieces go one after the other, and each has all cores: Polars and Arrow are parallel inside. Two
pieces at once on threads would be no faster where Python reads payloads, and can lock each other out for good: one
waits in Polars' pool holding the interpreter, the other waits for the interpreter inside that pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import dask

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def over(function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """`function` of every piece, in the order of the pieces. The first exception of a piece ends it all."""
    # pure=False: a piece may write files, so no two are taken for the same call.
    tasks = [dask.delayed(function, pure=False)(piece) for piece in pieces]
    return list(dask.compute(*tasks, scheduler="synchronous"))
