"""Dask lifts a function of one piece over all pieces: on this machine's threads.

The kernels under it (Polars, Arrow) release the GIL, so threads are true parallelism and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import dask

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def over(function: Callable[[Piece], Result], pieces: Sequence[Piece], *, threads: int) -> list[Result]:
    """`function` of every piece, in the order of the pieces; results do not depend on `threads`.

    The first exception of a piece is raised once the running ones have ended.
    """
    if len(pieces) <= 1 or threads == 1:
        return [function(piece) for piece in pieces]
    # pure=False: a piece may write files, so no two are taken for the same call.
    tasks = [dask.delayed(function, pure=False)(piece) for piece in pieces]
    return list(dask.compute(*tasks, scheduler="threads", num_workers=threads))
