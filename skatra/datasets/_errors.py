"""SQLite's errors in the words of skatra, each with its way out."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from skatra.exceptions import (
    DatabaseCorruptError,
    DatabaseError,
    DatabaseNotFoundError,
    DiskFullError,
    PoolTimeoutError,
    QueryTimeoutError,
)
from skatra.utils import observation

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_Error = TypeVar("_Error", bound=BaseException)
_NEARLY_NOTHING = 1 << 20
_BROKEN = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
}


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's primary result code of an error, 0 if it has none."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return int(code) & 0xFF


def breaks_connection(error: BaseException | None) -> bool:
    """Tell whether a connection that raised this must not be used again."""
    return error is not None and primary_code(error) in _BROKEN


def interrupted(error: BaseException | None) -> bool:
    """Tell whether a statement was interrupted."""
    return error is not None and primary_code(error) == sqlite3.SQLITE_INTERRUPT


def cannot_write(error: BaseException | None) -> bool:
    """Tell whether a file could not be read because nothing can be made beside it."""
    codes = sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY
    return isinstance(error, OSError) or primary_code(error) in codes


def needs_recovery(error: BaseException | None) -> bool:
    """Tell whether a reader met what a killed process left for a writer to undo."""
    return getattr(error, "sqlite_errorname", "") in {
        "SQLITE_READONLY_CANTINIT",
        "SQLITE_READONLY_RECOVERY",
        "SQLITE_READONLY_ROLLBACK",
    }


def file_gone(path: Path) -> DatabaseError:
    """Return the error for a path that does not mean the opened file any more."""
    return DatabaseError(
        f"{path} was moved, deleted or replaced while it was open. Open the database "
        "again."
    )


def disk_full(path: Path, cause: object) -> DiskFullError:
    """Return the error for a full disk."""
    return DiskFullError(
        f"disk full while writing {path} ({cause}); nothing of this write was kept, "
        "everything written before is safe. Free space and run again."
    )


def query_timeout(path: Path) -> QueryTimeoutError:
    """Return the error for a query that the watchdog interrupted."""
    return QueryTimeoutError(
        f"a query on {path} ran longer than its time limit and was interrupted. Ask "
        "for less, add an index, or allow more: get_connection(limit=seconds)."
    )


def _has_no_space(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NEARLY_NOTHING
    except OSError:
        return False


def _may_write(path: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK, effective_ids=effective)


def _cannot_open(path: Path, error: BaseException) -> DatabaseError:
    if not path.exists():
        return DatabaseNotFoundError(
            f"there is no database at {path}. Check the path, or create it: "
            "Database(path, create=True), or skatra ingest."
        )
    if os.access(path, os.R_OK) and not _may_write(path.parent):
        return _read_only(path, error)
    return DatabaseError(
        f"{path} cannot be opened. Check that it is a file which this user may read "
        "(ls -l), in a directory which this user may enter."
    )


def _read_only(path: Path, error: BaseException) -> DatabaseError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_READONLY_DBMOVED":
        return file_gone(path)
    if name == "SQLITE_READONLY_DIRECTORY" or not _may_write(path.parent):
        return DatabaseError(
            f"the directory of {path} is read-only for this user, and SQLite keeps its "
            "write-ahead log beside the file. Make the directory writable, or copy "
            "the file to a directory that is."
        )
    if _may_write(path):
        return DatabaseError(
            f"this connection to {path} only reads. Write through "
            "get_connection(readonly=False) or a method of Database."
        )
    return DatabaseError(
        f"{path} is read-only for this user. Make it writable (chmod u+w), write to "
        "a copy, or only read: Database(path, readonly=True)."
    )


def _io_error(path: Path, error: BaseException) -> DatabaseError:
    if _has_no_space(path):
        return disk_full(path, error)
    return DatabaseError(
        f"input or output error on {path} "
        f"({getattr(error, 'sqlite_errorname', error)}); nothing of this write was "
        "kept. Check the disk, then run Database.check()."
    )


def _not_a_database(path: Path, _: BaseException) -> DatabaseError:
    return DatabaseCorruptError(
        f"{path} is not an SQLite database, or its first page is damaged. Check the "
        f"path, or restore a backup: skatra db restore BACKUP {path}"
    )


def _damaged(path: Path, error: BaseException) -> DatabaseError:
    return DatabaseCorruptError(
        f"{path} is damaged ({error}). Run Database.check() to see what is, and "
        f"restore a backup: skatra db restore BACKUP {path}"
    )


def refuse_other_tables(path: Path, error: sqlite3.Error) -> None:
    """Say what it means that skatra's own SQL does not fit the tables."""
    if primary_code(error) == sqlite3.SQLITE_ERROR:
        raise DatabaseCorruptError(
            f"the tables of {path} are not those that skatra made ({error}): the file "
            "was damaged, or another program changed them. Restore a backup."
        ) from error


def _locked(path: Path, error: BaseException) -> DatabaseError:
    return PoolTimeoutError(
        f"{path} stayed locked by a program that does not use skatra ({error}). Close "
        "that program's transaction, or wait longer: busy_timeout=..."
    )


_NOT_TEXT = "Could not decode to UTF-8"
_UNREADABLE = (_NOT_TEXT, "unsupported file format")
_NO_SCHEMA = b"malformed database schema"
_ATTACHED = "too many attached databases"
_BY_CODE: dict[int, Callable[[Path, BaseException], DatabaseError]] = {
    sqlite3.SQLITE_BUSY: _locked,
    sqlite3.SQLITE_CANTOPEN: _cannot_open,
    sqlite3.SQLITE_CORRUPT: _damaged,
    sqlite3.SQLITE_FULL: disk_full,
    sqlite3.SQLITE_IOERR: _io_error,
    sqlite3.SQLITE_LOCKED: _locked,
    sqlite3.SQLITE_NOTADB: _not_a_database,
    sqlite3.SQLITE_PERM: _cannot_open,
    sqlite3.SQLITE_READONLY: _read_only,
}


def _shows_damage(error: Exception) -> bool:
    """Tell whether an error has no code of SQLite's that says so, but means damage."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.startswith(_NO_SCHEMA)
    return isinstance(error, sqlite3.Error) and str(error).startswith(_UNREADABLE)


def is_no_text(error: Exception) -> bool:
    """Tell whether a query gave text in the wrong encoding."""
    return str(error).startswith(_NOT_TEXT)


def translate(error: Exception, path: Path, *, is_query: bool = False) -> Exception:
    """Return what the user should see instead of ``error``.

    Mistakes in SQL or in values (a missing table, a broken constraint) stay the
    ``sqlite3`` errors they are; what happened to the file gets a name. A query of the
    user's own may make text that is not UTF-8; in skatra's tables that is damage.
    """
    if is_query and is_no_text(error):
        return DatabaseError(
            f"a query on {path} gave text that is not UTF-8 ({error}). Cast it to "
            "BLOB; Database.check() tells whether the file is damaged."
        )
    if isinstance(error, OSError) and not isinstance(error, DatabaseError):
        if error.errno in _NO_SPACE:
            return disk_full(path, error.strerror)
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return _read_only(path, error)
    if isinstance(error, sqlite3.Error) and str(error).startswith(_ATTACHED):
        return DatabaseError(
            f"a connection to {path} must not ATTACH another file, which would stay "
            "for its next borrower. Open that file as a Database of its own."
        )
    if _shows_damage(error):
        return _damaged(path, error)
    named = isinstance(error, sqlite3.Error) and _BY_CODE.get(primary_code(error))
    return named(path, error) if named else error


def reported(error: _Error) -> _Error:
    """Tell who listens about an error that reaches the user."""
    if observation.observer is not None:
        observation.observer.failed("datasets", error)
    return error
