"""Copies of a database that is in use, made by SQLite itself."""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

from skatra.datasets._connections import resolve
from skatra.datasets._errors import translate

_PAGES = 2048


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

    def report(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    try:
        uri = f"{resolve(partial).as_uri()}?mode=rwc"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as copy:
            source.backup(copy, pages=_PAGES, progress=report)
        # A log that a file of this name left behind would be played into the copy.
        for suffix in ("-wal", "-shm", "-journal"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        partial.replace(target)
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
