"""Numba's compiler with the house's habits: kept on disk where that can be written, and without Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """`function` as machine code, made when it is first called.

    The code is kept beside the module, or else in the user's cache; where neither can be written (an installation that
    is read only, a user without a home) each process compiles anew.
    """
    try:
        return njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return njit(nogil=True)(function)  # type: ignore[no-any-return]
