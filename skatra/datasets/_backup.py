"""Copies of a database that is in use, made by SQLite itself."""

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from skatra.datasets._connections import resolve
from skatra.datasets._errors import translate
from skatra.datasets._file_lock import FileLock
from skatra.exceptions import DatabaseError

_PAGES = 2048
_WAIT = 30.0
_NAMING = threading.Lock()


def copy_database(
    source: sqlite3.Connection,
    target: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Copy one state of a database; the copy has its name only when complete.

    Parameters
    ----------
    source : Connection
        A reader, whose transaction keeps that state while others write.
    target : Path
    progress : callable, default=None
        Called with pages copied and pages in all.
    """
    own = f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.partial"
    partial = target.with_name(own)
    started = not source.in_transaction
    if started:
        source.execute("BEGIN").close()
    # The state is pinned by the first read: else every commit starts the copy anew.
    source.execute("SELECT 1 FROM sqlite_schema").fetchone()

    def report(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    try:
        uri = f"{resolve(partial).as_uri()}?mode=rwc"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as copy:
            source.backup(copy, pages=_PAGES, progress=report)
        _name(partial, target)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise translate(error, target) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        if started and source.in_transaction:
            source.rollback()
    return target


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other processes from making a database of this name during a block."""
    lock = FileLock(target.with_name(f"{target.name}-lock"))
    new = not lock.path.exists()
    try:
        if not lock.acquire(_WAIT, "naming a backup"):
            raise DatabaseError(
                f"the lock of {target} is still held after {_WAIT:g} s by "
                f"{lock.owner()}. End that process, or choose another name."
            )
        yield
        if new:
            with contextlib.suppress(OSError):
                lock.path.unlink()
    finally:
        lock.close()


def refuse_taken(target: Path) -> None:
    """Raise if a copy cannot have its name: no folder, or a file that has it."""
    if not target.parent.is_dir():
        raise DatabaseError(
            f"the directory of {target} does not exist. Make it (mkdir -p), or choose "
            "another."
        )
    if target.exists():
        raise DatabaseError(
            f"{target} exists already. Choose another name, or remove it first."
        )


def _name(partial: Path, target: Path) -> None:
    """Give a complete copy its name, unless another file got it meanwhile."""
    with _NAMING, _locked(target):
        refuse_taken(target)
        # A log that a file of this name left behind would be played into the copy.
        for suffix in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        try:
            os.link(partial, target)
        except FileExistsError:
            refuse_taken(target)
            raise
        except OSError:
            # This file system knows no second names; other processes may race then.
            partial.rename(target)
        else:
            partial.unlink()
