"""Small state files: whole or not there, whoever is killed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, is_secret: bool = False) -> None:
    """`text` as the file `path`: written aside, by this process alone, and put in place in one step.

    `is_secret`: it is for its owner's eyes only, and on disk before it is in place, since nobody can tell it again.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if is_secret else 0o777)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    mode = 0o600 if is_secret else 0o666
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
        file.write(text)
        if is_secret:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
