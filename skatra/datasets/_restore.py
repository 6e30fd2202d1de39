"""A backup in the place of a database that nobody uses."""

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from skatra.datasets._backup import copy_database, refuse_taken
from skatra.datasets._check import check_all
from skatra.datasets._connections import identity, open_connection, resolve
from skatra.datasets._errors import cannot_write, translate
from skatra.datasets._exclusive import (
    LOGS,
    alone,
    is_open_here,
    refuse_open_here,
    side_file,
)
from skatra.datasets._forks import no_fork
from skatra.datasets._pool import SQLiteConnectionPool
from skatra.datasets._registry import get_db_pool
from skatra.datasets._schema import ensure_schema
from skatra.exceptions import DatabaseCorruptError, DatabaseError, DiskFullError

_PAGE, _PAGES = 16384, 512
_SIDES = (*LOGS, "-shm")
_FORBIDDEN = {errno.EACCES, errno.EBUSY, errno.EPERM}


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
        refuse_open_here(target)
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
        with alone(target):
            _replace(copy, target)
    except DatabaseError:
        raise
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


def _copy(
    source: Path, copy: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Copy one state of the backup; make no file beside it."""
    # Who has it open has made a log, and only SQLite may read what others write.
    if any(side_file(source, suffix).exists() for suffix in LOGS):
        is_open = is_open_here(source)
        try:
            with get_db_pool(source).get_connection() as connection:
                copy_database(connection, copy, progress)
        except DatabaseError as error:
            if not cannot_write(error.__cause__) or is_open:
                raise
        else:
            return
    files = [
        path for suffix in ("", *LOGS) if (path := side_file(source, suffix)).exists()
    ]
    before = [_stamp(path) for path in files]
    _copy_bytes(source, copy, progress)
    for path in files[1:]:
        shutil.copyfile(path, side_file(copy, path.name[len(source.name) :]))
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
    asides = [(side_file(target, end), copy.with_name(f"aside{end}")) for end in _SIDES]
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
