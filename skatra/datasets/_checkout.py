"""One use of a connection, from taking it to giving it back."""

import os
import sqlite3
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from skatra.datasets._connections import PooledConnection
from skatra.datasets._slots import Slot
from skatra.exceptions import DatabaseError

if TYPE_CHECKING:
    from skatra.datasets._pool import SQLiteConnectionPool


class Held:
    """What one thread holds of one pool."""

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader: Slot | None = None
        self.writer: Slot | None = None


class PerThread(threading.local):
    """One ``Held`` for each thread."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()


class Checkout:
    """The context of one use of a connection."""

    __slots__ = (
        "_connection",
        "_held",
        "_keep",
        "_pool",
        "_readonly",
        "_slot",
        "_wait",
    )

    def __init__(
        self, pool: "SQLiteConnectionPool", *, readonly: bool, timeout: float | None
    ) -> None:
        self._pool = pool
        self._readonly = readonly
        self._wait = timeout
        self._slot: Slot | None = None
        self._connection: PooledConnection | None = None
        self._keep: list[Any] = []

    def __enter__(self) -> sqlite3.Connection:
        pool = self._pool
        held = pool._per_thread.held  # noqa: SLF001 - one unit
        outer = held.writer or (held.reader if self._readonly else None)
        if outer is not None and pool._forked is None:  # noqa: SLF001
            if not self._readonly:
                raise DatabaseError(
                    "a write cannot start inside a write of the same thread: "
                    f"{outer.describe()}. Use that block's connection."
                )
            # Whoever holds a connection never waits for another: no deadlock.
            assert outer.connection is not None  # noqa: S101
            self._connection = outer.connection
            self._keep = outer.connection.open_cursors()
            return outer.connection
        slot = pool._acquire(  # noqa: SLF001
            readonly=self._readonly, timeout=self._wait, holds=held.reader is not None
        )
        self._slot, self._connection, self._held = slot, slot.connection, held
        if self._readonly:
            held.reader = slot
        else:
            held.writer = slot
        assert slot.connection is not None  # noqa: S101
        return slot.connection

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection, slot = self._connection, self._slot
        if connection is None:
            return
        if connection.pid != os.getpid():
            if exc is None:
                connection.cursor()  # raises by name
            return
        if slot is None:
            connection.close_cursors(self._keep)
            return
        if self._readonly:
            self._held.reader = None
        else:
            self._held.writer = None
        self._slot = self._connection = None
        self._pool._leave(slot, exc)  # noqa: SLF001
