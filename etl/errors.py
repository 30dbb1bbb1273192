"""What can go wrong, said in one line: what was expected, what came, where, and the way out.

C360Error                  exit 2   the user's to mend; printed without a traceback
|-- SettingsError          lakehouse.toml or the environment says something we cannot use
|-- NameRefused            a table, source or stream name that is unknown or not a name
|-- RulingRefused          a ruling about identity that contradicts another, or is about nobody
|-- ModelRefused           a model learnt for another comparison set than this program's
|-- WindowRefused          a window that is empty, backwards, or not to be told from the run
|-- DeclarationError       two declarations contradict each other (raised at import)
|-- SourceError            a source did not answer, or not with what it promises
|   |-- SourceUnreachable  no connection at all
|   |-- SourceRefused      wrong credentials, missing scope, unknown account
|   `-- QuotaExhausted     not before `until`; give the slot back and come again
|-- ClusterError           the Dask cluster does not answer, gave up, or is not of this installation
|-- AirflowError           Airflow or its database does not run as it should; names the log
|-- SchemaError            rows that do not fit their table; nothing was written
|-- QualityError  (exit 1) a critical expectation failed; the old version stays visible
|-- QueryRefused           SQL that does more than read, or that the catalogue cannot answer
|-- ConservationError (1)  rows in are not rows out plus every named loss
`-- LakeError              the storage itself
    |-- LakeTooNew         written by a newer version of this program
    |-- LakeFull           no space left; nothing half-written
    |-- CommitLost         a commit could not be made after all its tries
    |   `-- VersionMoved   the table is no longer at the version the rows were made from
    `-- LakeDamaged        ledger and table disagree; `c360 fsck` names the file
"""

from __future__ import annotations

from datetime import datetime


class C360Error(Exception):
    """Anything the command answers with one line and exit code 2."""

    exit_code = 2


class SettingsError(C360Error):
    """lakehouse.toml or the environment says something we cannot use."""


class NameRefused(C360Error):
    """A name that is unknown, or that is no name at all (a path, say)."""


class RulingRefused(C360Error):
    """A ruling about identity that contradicts another, or is about nobody."""


class ModelRefused(C360Error):
    """A model that was learnt for another comparison set than the one it would be used with."""


class WindowRefused(C360Error):
    """A window that is empty, backwards, or cannot be told from the run."""


class DeclarationError(C360Error):
    """Two declarations contradict each other; raised at import, before anything runs."""


class SourceError(C360Error):
    """A source did not answer, or not with what it promises."""


class SourceUnreachable(SourceError):
    """No connection to the source at all."""


class SourceRefused(SourceError):
    """The source answered no: wrong credentials, missing scope, unknown account."""


class QuotaExhausted(SourceError):
    """The source's quota is spent until `until` (UTC); catch it to reschedule, not to retry."""

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class ClusterError(C360Error):
    """The Dask cluster does not answer, gave up, or is not of this installation; nothing was published."""


class AirflowError(C360Error):
    """Airflow or its database did not start, or does not answer; names the log."""


class SchemaError(C360Error):
    """Rows that do not fit their table's declaration; nothing was written."""


class QualityError(C360Error):
    """A critical expectation failed; the version readers see is still the old one."""

    exit_code = 1


class QueryRefused(C360Error):
    """SQL that does more than read, or that the published catalogue cannot answer."""


class ConservationError(C360Error):
    """Rows in are not rows out plus every named loss; names the step that does not balance."""

    exit_code = 1


class LakeError(C360Error):
    """The storage refused or failed."""


class LakeTooNew(LakeError):
    """The lake was written by a newer version of this program."""


class LakeFull(LakeError):
    """No space left on the device; the old version is untouched."""


class CommitLost(LakeError):
    """A commit could not be made after all its tries; nothing of it is visible."""


class VersionMoved(CommitLost):
    """The table is no longer at the version the rows were made from; catch it to read again and build again."""


class LakeDamaged(LakeError):
    """Ledger and table disagree; `c360 fsck` names the file."""
