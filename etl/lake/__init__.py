"""The only room that touches Delta: read, stage, commit, check. Its doorway is `Lake`.

layout   where things stand, and lake.json
files    the strict gate, and data files with checksums
log      what each commit did, from Delta's log
ledger   the chain of every commit, in a second place
commit   the one function that commits
fsck     everything that is not as it was written
store    `Lake`, which joins them
overlay  the lake as it would be, for plans
"""

from etl.lake.commit import Commit
from etl.lake.files import Staged, StagedFile
from etl.lake.fsck import Finding
from etl.lake.overlay import Overlay
from etl.lake.store import Lake

__all__ = ["Commit", "Finding", "Lake", "Overlay", "Staged", "StagedFile"]
