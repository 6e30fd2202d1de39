"""A database for one process alone, which others can neither open nor write."""

import contextlib
import gc
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from skatra.datasets._connections import identity
from skatra.datasets._errors import translate
from skatra.datasets._file_lock import FileLock
from skatra.datasets._forks import no_fork
from skatra.exceptions import DatabaseCorruptError, DatabaseError
from skatra.utils import observation

if sys.platform != "win32":
    import fcntl

LOGS = ("-wal", "-journal")
"""What SQLite keeps beside a database until it is in the database."""
_WAIT = 1.0
# Where every open connection to a file in write-ahead mode holds a shared lock.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510


def side_file(path: Path, suffix: str) -> Path:
    """Return the file that SQLite keeps beside a database."""
    return path.with_name(path.name + suffix)


def refuse_open_here(target: Path) -> None:
    """Raise if this process has the file open.

    Its own locks would not stop it, and would end when it closes the file.
    """
    if is_open_here(target):
        gc.collect()  # an error that was caught may keep a pool that nobody has
        if is_open_here(target):
            raise _in_use(target, "this process")


def is_open_here(path: Path) -> bool:
    """Return whether a pool of this process is on the file."""
    here = identity(path)
    pools = list(observation.pools)
    return any(not pool.closed and pool.identity == here for pool in pools)


def _in_use(target: Path, by: str) -> DatabaseError:
    return DatabaseError(
        f"{target} is open in {by}. Close it there, or stop what uses it, and restore "
        "again; nothing was changed."
    )


@contextlib.contextmanager
def alone(target: Path) -> Iterator[None]:
    """Keep others from opening or writing the file during a block, if nobody does."""
    lock = FileLock(target.with_name(f"{target.name}-lock"))
    file = -1
    try:
        if not lock.acquire(_WAIT, "restoring"):
            raise _in_use(target, lock.owner())
        if target.exists():
            refuse_open_here(target)
            file = _lock_out(target)
            if _has_log(target):
                # SQLite's own locks would end this one.
                if file >= 0:
                    os.close(file)
                file = -1
                sound = _play_log(target)
                file = _lock_out(target)
                if sound and _has_log(target):
                    raise _in_use(target, "another process")
        yield
    finally:
        if file >= 0:
            os.close(file)
        lock.close()


def _lock_out(target: Path) -> int:
    """Open the file and lock out every other process, or say that one has it open."""
    if sys.platform == "win32":  # which replaces no file that is open
        return -1
    file = os.open(target, os.O_RDWR)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except (BlockingIOError, PermissionError):
        os.close(file)
        raise _in_use(target, "another process") from None
    except BaseException:
        os.close(file)
        raise
    return file


def _has_log(target: Path) -> bool:
    logs = [side_file(target, suffix) for suffix in LOGS]
    return any(log.exists() and log.stat().st_size > 0 for log in logs)


def _play_log(target: Path) -> bool:
    """Put what a killed process committed into the file itself; False if damaged.

    Else a kill between two renames would leave a file without its log.
    """
    uri = f"{target.as_uri()}?mode=rw"
    try:
        with (
            no_fork(),
            contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None)
            ) as connection,
        ):
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        named = translate(error, target)
        if isinstance(named, DatabaseCorruptError):
            return False
        raise named from error
    if busy:
        raise _in_use(target, "another process")
    return True
