"""What to read: one file a system, one `SOURCE` in it. A new system is a new file, nothing else."""

from __future__ import annotations

import importlib
import pkgutil

from etl.model import Source


def _declared() -> tuple[Source, ...]:
    """The `SOURCE` of every module here, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").SOURCE for name in names)


BUILTIN: tuple[Source, ...] = _declared()
