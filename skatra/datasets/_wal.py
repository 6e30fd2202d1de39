"""The write-ahead log stays short, even when readers never stop."""

import os
import sqlite3
import time
import warnings
from pathlib import Path
from threading import Lock
from typing import Protocol

from skatra.datasets._slots import Held, PerThread, Slot, SlotGroup

_TRY_EVERY = 1.0
_DRAIN = 0.25


class Lending(Protocol):
    """What of a pool is needed to keep its log short."""

    path: Path
    options: dict[str, float | None]
    lock: Lock
    readers: SlotGroup
    per_thread: PerThread

    def pause(self, why: str) -> None:
        """Stop lending; under the lock."""

    def resume(self, why: str) -> None:
        """Lend again unless there is another reason not to; under the lock."""

    def wait_until_returned(self, wait: float, *, but: Held) -> list[Slot]:
        """Wait, under the lock, for the slots of other threads."""


class LogKeeper:
    """Checkpoints of one pool, all made by its writer under the file's lock.

    SQLite copies the log into the database after commits by itself, but only up to
    the oldest reader. When readers overlap without a pause, or one never ends, the
    log grows. Above ``wal_limit`` the pool stops lending for a moment, which ends the
    overlap; a reader that stays is named in a warning.

    Parameters
    ----------
    path : Path
        The database.
    """

    def __init__(self, path: Path) -> None:
        self._log = f"{os.fspath(path)}-wal"
        self._tried = 0.0
        self.checkpoints = 0

    def size(self) -> int:
        """Return the bytes of the log."""
        try:
            return os.stat(self._log).st_size  # noqa: PTH116 - after every commit
        except OSError:
            return 0

    def keep_short(self, pool: Lending, connection: sqlite3.Connection) -> None:
        """Checkpoint after a commit if the log is long; never fail."""
        size = self.size()
        limit = pool.options["wal_limit"]
        if limit is None or size <= limit:
            return
        now = time.monotonic()
        if now - self._tried < _TRY_EVERY:
            return
        self._tried = now
        try:
            if not self._done(connection) and not self._drained(pool, connection):
                _warn(pool, size)
        except sqlite3.Error as error:
            _tell(
                f"the write-ahead log of {pool.path} ({size:,} bytes) could not "
                f"be shortened: {error}. The commit itself is safe."
            )

    def _done(self, connection: sqlite3.Connection) -> bool:
        """Checkpoint; True when all of the log is in the database."""
        query = "PRAGMA wal_checkpoint"
        busy, frames, copied = connection.execute(query).fetchone()
        self.checkpoints += 1
        return not busy and frames == copied

    def _drained(self, pool: Lending, connection: sqlite3.Connection) -> bool:
        """Checkpoint while nobody of this process reads."""
        with pool.lock:
            pool.pause("checkpoint")
            try:
                pool.wait_until_returned(_DRAIN, but=pool.per_thread.held)
                return self._done(connection)
            finally:
                pool.resume("checkpoint")


def _warn(pool: Lending, size: int) -> None:
    with pool.lock:
        held = pool.readers.held()
    oldest = min(held, key=lambda slot: slot.since, default=None)
    who = "a reader of another process" if oldest is None else oldest.describe()
    _tell(
        f"the write-ahead log of {pool.path} has grown to {size:,} bytes and cannot "
        f"be emptied: {who}. End that block; the log shrinks after it."
    )


def _tell(message: str) -> None:
    """Warn; as an error it would say that the commit failed, so then only show it."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    except RuntimeWarning as error:
        warnings.showwarning(error, RuntimeWarning, __file__, 0)
