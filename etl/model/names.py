"""What may be a name: one pattern for tables, sources, streams and columns, so that no name is ever a path."""

from __future__ import annotations

import re

from etl.errors import NameRefused

NAME = re.compile(r"^_?[a-z][a-z0-9_]{0,62}$")


def checked_name(name: str, what: str) -> str:
    """`name`, if it is one.

    Raises: NameRefused when it holds anything but lower-case letters, digits and underscores.
    """
    if not NAME.fullmatch(name):
        raise NameRefused(
            f"{what} {name!r}: a name is lower-case letters, digits and underscores, "
            "starts with a letter and has at most 63 characters"
        )
    return name
