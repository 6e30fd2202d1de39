"""A backup in the place of a database that nobody uses."""

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from skatra.datasets._connections import identity, resolve
from skatra.datasets._database import Database
from skatra.datasets._errors import translate
from skatra.datasets._file_lock import FileLock
from skatra.exceptions import DatabaseCorruptError, DatabaseError
from skatra.utils import observation

if sys.platform != "win32":
    import fcntl

_WAIT = 1.0
# Where every open connection to a file in write-ahead mode holds a shared lock.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510


def restore_backup(
    backup: str | os.PathLike[str],
    database: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Put a copy of a backup in the place of a database that nobody uses.

    The backup is verified and stays as it is. The database is replaced at once, with
    its write-ahead log, which ``cp`` would leave to be played into the copy; it may be
    damaged or missing. What was written to it after the backup is lost.

    Parameters
    ----------
    backup : path-like
        A sound database, such as ``Database.backup`` made.
    database : path-like
        The file to replace. No process may have it open; stop them first.
    progress : callable, default=None
        Called with pages copied and pages in all.

    Returns
    -------
    Path
        The database.

    Raises
    ------
    DatabaseCorruptError
        If the backup is damaged; the message says how.
    DatabaseError
        If somebody has the database open, or both are one file.
    DiskFullError
        If the copy does not fit. The database is as it was, as after all errors.

    See Also
    --------
    Database.backup : Makes the copy while the database is in use.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import Database, restore_backup
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "market.db")
    >>> with Database(path, create=True) as db:
    ...     copy = db.backup(Path(folder.name, "copy.db"))
    >>> _ = path.write_bytes(b"damaged")
    >>> with Database(restore_backup(copy, path)) as db:
    ...     db.check()
    []
    >>> folder.cleanup()
    """
    target = resolve(database)
    if target.exists():
        if identity(target) == identity(resolve(backup)):
            raise DatabaseError(
                f"{target} is the backup itself. Give the database that it replaces."
            )
        _refuse_open_here(target)
    own = f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.restored"
    with (
        Database(backup, readonly=True) as source,
        source.pool.get_connection() as connection,
    ):
        # What is verified is the state that is copied.
        connection.execute("BEGIN").close()
        if problems := source.check():
            raise DatabaseCorruptError(
                f"{source.path} is no sound backup: {problems[0].rstrip('.')}. "
                f"Restore an older one; {target} is as it was."
            )
        copy = source.backup(target.with_name(own), progress=progress)
    try:
        with _alone(target):
            # Before the copy has its name: these would be played into it.
            for suffix in ("-wal", "-shm", "-journal"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            copy.replace(target)
    except OSError as error:
        raise translate(error, target) from error
    finally:
        copy.unlink(missing_ok=True)
    return target


def _refuse_open_here(target: Path) -> None:
    """Raise if this process has the file open.

    Its own locks would not stop it, and would end when it closes the file.
    """
    here = identity(target)
    if any(
        not pool.closed and pool.identity == here for pool in list(observation.pools)
    ):
        raise _in_use(target, "this process")


def _in_use(target: Path, by: str) -> DatabaseError:
    return DatabaseError(
        f"{target} is open in {by}. Close it there, or stop what uses it, and restore "
        "again; nothing was changed."
    )


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep others from opening or writing the file during a block, if nobody does."""
    lock = FileLock(target.with_name(f"{target.name}-lock"))
    file = -1
    try:
        if not lock.acquire(_WAIT, "restoring"):
            raise _in_use(target, lock.owner())
        if target.exists():
            _refuse_open_here(target)
            if sys.platform != "win32":  # where an open file cannot be replaced
                file = os.open(target, os.O_RDWR)
                try:
                    kind = fcntl.LOCK_EX | fcntl.LOCK_NB
                    fcntl.lockf(file, kind, _SHARED_SIZE, _SHARED_FIRST)
                except (BlockingIOError, PermissionError):
                    raise _in_use(target, "another process") from None
        yield
    finally:
        if file >= 0:
            os.close(file)
        lock.close()
