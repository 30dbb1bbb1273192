"""The only room that touches Delta: read, stage, commit, check. Its doorway is `Lake`.

storage  where the bytes are: a folder, or (bucket) an S3-compatible store
layout   where things stand, and lake.json
files    the strict gate, and data files with checksums
gathered rows on their way, of any number, in bounded memory
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
from etl.lake.gathered import Gathered
from etl.lake.overlay import Overlay
from etl.lake.store import Lake

__all__ = ["Commit", "Finding", "Gathered", "Lake", "Overlay", "Staged", "StagedFile"]
