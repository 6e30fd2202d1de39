"""A backup in the place of a database that nobody uses."""

import contextlib
import errno
import gc
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from skatra.datasets._backup import copy_database, refuse_taken
from skatra.datasets._check import check_all
from skatra.datasets._connections import identity, open_connection, resolve
from skatra.datasets._errors import cannot_write, translate
from skatra.datasets._file_lock import FileLock
from skatra.datasets._forks import no_fork
from skatra.datasets._pool import SQLiteConnectionPool
from skatra.datasets._registry import get_db_pool
from skatra.datasets._schema import ensure_schema
from skatra.exceptions import DatabaseCorruptError, DatabaseError, DiskFullError
from skatra.utils import observation

if sys.platform != "win32":
    import fcntl

_WAIT = 1.0
_PAGE, _PAGES = 16384, 512
_LOGS = ("-wal", "-journal")
_SIDES = (*_LOGS, "-shm")
_FORBIDDEN = {errno.EACCES, errno.EBUSY, errno.EPERM}
# Where every open connection to a file in write-ahead mode holds a shared lock.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510


def restore_backup(
    backup: str | os.PathLike[str],
    database: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Put a copy of a backup in the place of a database that nobody uses.

    The backup is copied beside the database; the copy is upgraded if an older skatra
    made it, and verified. The backup stays as it is and may be on a read-only disk.
    The database is replaced at once, with its write-ahead log, which ``cp`` would
    leave to be played into the copy; it may be damaged or missing. Its mode stays (its
    owner, too, if root restores). What was written to it after the backup is lost.

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
        If somebody has the database open, both are one file, or it cannot be replaced.
    SchemaVersionError
        If a newer skatra made the backup.
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
    source, target = resolve(backup), resolve(database)
    if target.exists():
        if identity(target) == identity(source):
            raise DatabaseError(
                f"{target} is the backup itself. Give the database that it replaces."
            )
        _refuse_open_here(target)
    else:
        refuse_taken(target)
    identity(source)
    try:
        prefix = f"{target.name}.{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(".restored", prefix, target.parent))
    except OSError as error:
        raise translate(error, target) from error
    copy = folder / target.name
    try:
        with _named(copy, source, target):
            _copy(source, copy, progress)
            _prove(copy, source, target)
        _make_like(copy, target)
        with _alone(target):
            _replace(copy, target)
    except OSError as error:
        raise translate(error, target) from error
    finally:
        # What could not be put back is kept.
        if not (copy.exists() and list(folder.glob("aside-*"))):
            shutil.rmtree(folder, ignore_errors=True)
    return target


@contextlib.contextmanager
def _named(copy: Path, source: Path, target: Path) -> Iterator[None]:
    """Say in errors about the private copy what it is a copy of."""
    try:
        yield
    except DatabaseError as error:
        file = target if isinstance(error, DiskFullError) else source
        text = str(error).replace(str(copy), str(file))
        raise type(error)(text) from error.__cause__ or error


def _side(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _copy(
    source: Path, copy: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Copy one state of the backup; make no file beside it."""
    # Who has it open has made a log, and only SQLite may read what others write.
    if any(_side(source, suffix).exists() for suffix in _LOGS):
        is_open = _is_open_here(source)
        try:
            with get_db_pool(source).get_connection() as connection:
                copy_database(connection, copy, progress)
        except DatabaseError as error:
            if not cannot_write(error.__cause__) or is_open:
                raise
        else:
            return
    files = [
        path for suffix in ("", *_LOGS) if (path := _side(source, suffix)).exists()
    ]
    before = [_stamp(path) for path in files]
    _copy_bytes(source, copy, progress)
    for path in files[1:]:
        shutil.copyfile(path, copy.with_name(path.name.replace(source.name, copy.name)))
    if [_stamp(path) for path in files] != before:
        raise DatabaseError(
            f"{source} was written while it was copied. Stop what writes to it, and "
            "restore again; nothing was changed."
        )


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _copy_bytes(
    source: Path, copy: Path, progress: Callable[[int, int], None] | None
) -> None:
    done, total = 0, -(-source.stat().st_size // _PAGE)
    with source.open("rb") as given, copy.open("xb") as taken:
        while block := given.read(_PAGE * _PAGES):
            taken.write(block)
            done += -(-len(block) // _PAGE)
            if progress is not None:
                progress(done, total)


def _prove(copy: Path, source: Path, target: Path) -> None:
    """Bring the copy to this version of the tables, and verify it."""
    with SQLiteConnectionPool(copy) as pool:
        ensure_schema(pool, create=False, readonly=False, keep_old=False)
        problems = check_all(pool)
    if problems:
        raise DatabaseCorruptError(
            f"{source} is no sound backup: {problems[0].rstrip('.')}. "
            f"Restore an older one; {target} is as it was."
        )
    with no_fork(), contextlib.closing(open_connection(copy, readonly=False)) as last:
        last.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    with copy.open("rb+") as file:
        os.fsync(file.fileno())


def _make_like(copy: Path, target: Path) -> None:
    """Give the copy the mode of the file that it replaces, and its owner if root."""
    if target.exists():
        status = target.stat()
        if sys.platform != "win32" and os.geteuid() == 0:
            os.chown(copy, status.st_uid, status.st_gid)
        copy.chmod(stat.S_IMODE(status.st_mode))


def _replace(copy: Path, target: Path) -> None:
    """Give the copy its name without the old file's log; on errors nothing changes."""
    asides = [(_side(target, end), copy.with_name(f"aside{end}")) for end in _SIDES]
    try:
        for side, aside in asides:
            with contextlib.suppress(FileNotFoundError):
                side.rename(aside)
        copy.replace(target)
    except BaseException as error:
        if copy.exists():  # else the new file has its name
            for side, aside in asides:
                with contextlib.suppress(FileNotFoundError):
                    aside.rename(side)
        if isinstance(error, OSError) and error.errno in _FORBIDDEN:
            raise DatabaseError(
                f"{target} cannot be replaced ({error.strerror}); it is as it was. "
                "Check that this user may rename files in its directory, and that it "
                "is neither a mount point (findmnt) nor immutable (lsattr)."
            ) from error
        raise


def _refuse_open_here(target: Path) -> None:
    """Raise if this process has the file open.

    Its own locks would not stop it, and would end when it closes the file.
    """
    if _is_open_here(target):
        gc.collect()  # an error that was caught may keep a pool that nobody has
        if _is_open_here(target):
            raise _in_use(target, "this process")


def _is_open_here(path: Path) -> bool:
    here = identity(path)
    pools = list(observation.pools)
    return any(not pool.closed and pool.identity == here for pool in pools)


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
            file = _lock_out(target)
            if _has_log(target):
                # SQLite's own locks would end this one.
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
    file = os.open(target, os.O_RDWR)
    if sys.platform != "win32":
        try:
            fcntl.lockf(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST
            )
        except (BlockingIOError, PermissionError):
            os.close(file)
            raise _in_use(target, "another process") from None
        except BaseException:
            os.close(file)
            raise
    return file


def _has_log(target: Path) -> bool:
    logs = [_side(target, suffix) for suffix in _LOGS]
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
