"""Errors raised by skatra.

Each subclasses the builtin that users already catch::

    SkatraError
    ├── LabelTimesError      (ValueError)         label times that cannot be used
    ├── LeakageError         (ValueError)         an audit found leaking rows
    ├── BarsError            (ValueError)         bars that cannot be trusted
    ├── EmptyDataError       (ValueError)         nothing to work on
    ├── DataCheckError       (ValueError)         data failed checks not waived
    ├── MissingDependencyError (ImportError)      an optional extra is not installed
    ├── ModelError           (RuntimeError)       a published model cannot be used
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   └── ModelCorruptError
    ├── StaleError           (RuntimeError)       too old to act on
    │   ├── StaleDataError
    │   └── StaleModelError
    ├── RunLockedError       (RuntimeError)       another run holds the lock
    ├── RunStoppedError      (RuntimeError)       a run was asked to stop; resumable
    ├── TrainingError        (RuntimeError)       training failed or was cut off
    ├── PublishError         (OSError)            a model could not be published
    ├── SearchStoppedError   (RuntimeError)       asked to stop; what is done is kept
    ├── WorkersNotReadyError (RuntimeError)       a cluster's workers cannot do the work
    └── DatabaseError        (RuntimeError)
        ├── DatabaseNotFoundError (FileNotFoundError)
        ├── DatabaseCorruptError
        ├── SchemaVersionError
        ├── DiskFullError    (OSError)
        ├── PoolTimeoutError (TimeoutError)
        ├── QueryTimeoutError (TimeoutError)
        ├── PoolClosedError
        └── PoolForkedError
"""

from typing import Any

__all__ = [
    "BarsError",
    "DataCheckError",
    "DatabaseCorruptError",
    "DatabaseError",
    "DatabaseNotFoundError",
    "DiskFullError",
    "EmptyDataError",
    "LabelTimesError",
    "LeakageError",
    "MissingDependencyError",
    "ModelCorruptError",
    "ModelError",
    "ModelNotFoundError",
    "PoolClosedError",
    "PoolForkedError",
    "PoolTimeoutError",
    "PublishError",
    "QueryTimeoutError",
    "RunLockedError",
    "RunStoppedError",
    "SchemaVersionError",
    "SearchStoppedError",
    "SkatraError",
    "StaleDataError",
    "StaleError",
    "StaleModelError",
    "TrainingError",
    "WorkersNotReadyError",
]


class SkatraError(Exception):
    """Base class of every error that skatra raises on purpose."""


class LabelTimesError(SkatraError, ValueError):
    """Label times are missing, malformed or do not fit the data."""


class LeakageError(SkatraError, ValueError):
    """Training rows carry labels that overlap test labels."""


class BarsError(SkatraError, ValueError):
    """Bars are unsorted, duplicated, inconsistent or not finite."""


class EmptyDataError(SkatraError, ValueError):
    """There are no rows to work on."""


class DataCheckError(SkatraError, ValueError):
    """Data failed checks that were not waived; ``report`` lists all of them.

    Parameters
    ----------
    message : str
        What to tell the user.
    report : DataReport, default=None
        What the checks found.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class RunLockedError(SkatraError, RuntimeError):
    """Another run holds the lock of the database; the message names its owner."""


class RunStoppedError(SkatraError, RuntimeError):
    """A run was asked to stop; what it finished is kept, and a rerun resumes."""


class TrainingError(SkatraError, RuntimeError):
    """Training failed or was cut off; what it finished is kept, and a rerun resumes."""


class PublishError(SkatraError, OSError):
    """A model or its report could not be written or verified; the served one stands."""


class MissingDependencyError(SkatraError, ImportError):
    """An optional extra is needed and not installed."""


class SearchStoppedError(SkatraError, RuntimeError):
    """A search was asked to stop; what was finished is in its ledger.

    Parameters
    ----------
    message : str
        What to tell the user.

    Attributes
    ----------
    done, left : int
        Pairs of fold and candidate that have a score, and that have none.
    """

    def __init__(self, message: str, done: int = 0, left: int = 0) -> None:
        super().__init__(message, done, left)
        self.done = done
        self.left = left

    def __str__(self) -> str:
        return str(self.args[0])


class WorkersNotReadyError(SkatraError, RuntimeError):
    """Workers of a cluster lack the package, its version, or the shared files."""


class ModelError(SkatraError, RuntimeError):
    """A published model cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model at the path, or none is promoted."""


class ModelCorruptError(ModelError):
    """A model's files are incomplete or do not match their checksums."""


class StaleError(SkatraError, RuntimeError):
    """Something is too old to act on."""


class StaleDataError(StaleError):
    """The newest bars are too old to act on."""


class StaleModelError(StaleError):
    """The served model learned too long ago."""


class DatabaseError(SkatraError, RuntimeError):
    """The database cannot do what was asked."""


class DatabaseNotFoundError(DatabaseError, FileNotFoundError):
    """There is no database file at the path."""


class DatabaseCorruptError(DatabaseError):
    """The file is no database, or its content fails a checksum."""


class SchemaVersionError(DatabaseError):
    """The database was written by a newer skatra."""


class DiskFullError(DatabaseError, OSError):
    """The disk is full; nothing of the write was kept."""


class PoolTimeoutError(DatabaseError, TimeoutError):
    """No connection came free in time; the message names the holders."""


class QueryTimeoutError(DatabaseError, TimeoutError):
    """A query ran longer than its time limit and was interrupted."""


class PoolClosedError(DatabaseError):
    """The pool was closed."""


class PoolForkedError(DatabaseError):
    """The process was forked while a connection was in use."""
