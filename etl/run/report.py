"""What one step did: rows in, rows out, every named loss, and whether anything was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from etl.connect import Note
from etl.errors import ConservationError
from etl.model import Window


@dataclass(frozen=True, slots=True)
class Report:
    """One table and window.

    rows_in + derived == rows_out + quarantined + deduplicated + filtered, always (`balanced`). For a table whose
    rows stand for several input rows, `rows_out` of the balance is the sum of its weight: `accounted`.
    `version` is the Delta version now visible; `written` is false when that already held the same rows.
    `warnings` are lines for whoever looks after it; names of paths, never values.
    """

    table: str
    window: str
    rows_in: int
    rows_out: int
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0
    derived: int = 0
    seconds: float = 0.0
    version: int | None = None
    written: bool = False
    accounted: int | None = None
    warnings: Sequence[str] = ()

    def balanced(self) -> Report:
        """Itself, when it balances.

        Raises: ConservationError naming the table, the window and the difference.
        """
        out = self.rows_out if self.accounted is None else self.accounted
        losses = self.quarantined + self.deduplicated + self.filtered
        if self.rows_in + self.derived != out + losses:
            raise ConservationError(
                f"{self.table} {self.window}: {self.rows_in} rows in + {self.derived} derived, but {out} out + "
                f"{self.quarantined} quarantined + {self.deduplicated} deduplicated + {self.filtered} filtered; "
                "nothing was written, the old version stays visible"
            )
        return self


#: So many windows are named in a warning; the others are counted.
NAMED = 3


def shortfalls(where: str, skipped: int, notes: Iterable[Note]) -> Iterator[str]:
    """What made an answer less than whole, at most a line of each kind: what was skipped, and what was noted of which
    windows.
    """
    if skipped:
        yield f"{where}: {skipped} skipped: what was asked for is gone, or not ours to see"
    of: dict[str, set[Window]] = {}
    for note in notes:
        of.setdefault(note.what, set()).add(note.of)
    if of:
        yield f"{where}: " + "; ".join(f"{what}: {_listed(windows)}" for what, windows in of.items())


def _listed(windows: Iterable[Window]) -> str:
    names = [window.key for window in sorted(windows)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
