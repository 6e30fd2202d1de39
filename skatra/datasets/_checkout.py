"""One use of a connection, from taking it to giving it back."""

import sqlite3
import sys
import threading
from time import monotonic
from types import CodeType, TracebackType
from typing import Any

from skatra.datasets._connections import GIVEN_BACK, PooledConnection
from skatra.datasets._lending import CHECK_FILE_EVERY, Lender
from skatra.datasets._slots import OWN_FILES, Slot, Waiter
from skatra.exceptions import DatabaseError
from skatra.utils import observation


class QuickRead:
    """The context of a read for which a connection is idle, without any option.

    This is what happens a million times; all else goes through ``Checkout``. It takes
    no lock: taking from and putting onto the list of idle slots is one step each.
    Whoever stops lending, or joins the queue, says so first and looks at the list
    afterwards; here it is the other way round, so one of the two sees the other.

    Parameters
    ----------
    pool : Lender
    """

    __slots__ = ("_held", "_pool", "_slot", "_slow")

    def __init__(self, pool: Lender) -> None:
        self._pool = pool
        self._slot: Slot | None = None

    def __enter__(self) -> sqlite3.Connection:
        pool = self._pool
        held = pool.per_thread.held
        if held.reader is None and held.writer is None:
            readers = pool.readers
            if pool.serving and not readers.waiters:
                self._slot = readers.pop()
            slot = self._slot
            if slot is not None and not pool.serving:
                self._slot = None
                pool.release(slot)
            elif slot is not None:
                frame = sys._getframe(1)  # noqa: SLF001 - the documented, fast way
                code = frame.f_code
                if code.co_filename in OWN_FILES:
                    slot.note(frame)
                else:
                    slot.code, slot.instruction = code, frame.f_lasti
                slot.thread = held.thread
                slot.since = now = monotonic()
                slot.uses += 1
                connection = slot.connection
                if connection is None or now - slot.checked > CHECK_FILE_EVERY:
                    self._slot = None  # it goes back if this fails
                    connection = pool.prepare(slot)
                    self._slot = slot
                connection.refusal = None
                self._held, held.reader = held, slot
                if observation.observer is not None:
                    observation.observer.connection_taken(pool.path.name, 0.0)
                return connection
        self._slow = Checkout(pool, readonly=True)
        return self._slow.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        slot = self._slot
        if slot is None:
            self._slow.__exit__(exc_type, exc, traceback)
            return
        self._slot = self._held.reader = None
        pool, connection = self._pool, slot.connection
        if (
            exc is not None
            or connection is None
            or connection.refusal is not None
            or connection.sharers
            or connection.altered
            or connection.in_transaction
        ):
            pool.leave(slot, exc)
            return
        if connection.tracked:
            connection.close_cursors()
        connection.row_factory = None
        connection.text_factory = str
        connection.refusal = GIVEN_BACK
        readers = pool.readers
        if pool.serving and not readers.waiters:
            slot.code = None
            slot.warned = False
            readers.idle.append(slot)
            unneeded = pool.serving and not readers.waiters  # type: ignore[redundant-expr]
            if unneeded or not readers.withdraw(slot):
                return
        pool.release(slot)

    def __del__(self) -> None:
        # An interrupt may have come before the slot or its holder had a name.
        slot, held = getattr(self, "_slot", None), getattr(self, "_held", None)
        if slot is not None and held is not None:
            self._pool.dropped.notes.append((slot, held))


class Checkout:
    """The context of one use of a connection.

    Parameters
    ----------
    pool : Lender
    readonly : bool
    wait : float or None
        Seconds to wait for a connection.
    limit : float or None
        Seconds after which queries are interrupted.
    durable : bool
        Commit to the disk, not only to the operating system.
    place : Slot or Waiter or None
        What ``Lender.ask`` gave already.
    bell : Event or None
        Set by who gives up entering.
    caller : tuple or None
        Code and instruction that take the connection, if not those on the stack.
    """

    __slots__ = (
        "_bell",
        "_caller",
        "_connection",
        "_durable",
        "_held",
        "_keep",
        "_limit",
        "_place",
        "_pool",
        "_readonly",
        "_slot",
        "_wait",
    )

    def __init__(
        self,
        pool: Lender,
        *,
        readonly: bool,
        wait: float | None = None,
        limit: float | None = None,
        durable: bool = False,
        place: Slot | Waiter | None = None,
        bell: threading.Event | None = None,
        caller: tuple[CodeType, int] | None = None,
    ) -> None:
        self._pool = pool
        self._bell = bell
        self._caller = caller
        self._place = place
        self._readonly = readonly
        self._wait = wait
        self._limit = limit
        self._durable = durable
        self._slot: Slot | None = None
        self._connection: PooledConnection | None = None

    def __enter__(self) -> sqlite3.Connection:
        pool = self._pool
        self._held = held = pool.per_thread.held
        pool.reclaim()
        with pool.lock:
            outer = held.writer or (held.reader if self._readonly else None)
            nested = outer is not None and pool.forked is None and self._readonly
            if nested:
                assert outer is not None  # noqa: S101
                assert outer.connection is not None  # noqa: S101
                self._connection = outer.connection
                self._connection.sharers += 1
        if outer is not None and pool.forked is None:
            if not nested:
                raise DatabaseError(
                    "a write cannot start inside a write of the same thread: "
                    f"{outer.describe()}. Use that block's connection, or "
                    "Database.transaction()."
                )
            # Whoever holds a connection never waits for another: no deadlock.
            assert self._connection is not None  # noqa: S101
            self._keep: list[Any] = self._connection.open_cursors()
            return self._connection
        place, self._place = self._place, None
        slot = pool.acquire(
            readonly=self._readonly,
            timeout=self._wait,
            holds=held.reader is not None,
            limit=self._limit,
            durable=self._durable,
            place=place,
            bell=self._bell,
            caller=self._caller,
        )
        self._slot, self._connection = slot, slot.connection
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
        connection, slot, pool = self._connection, self._slot, self._pool
        if connection is None:
            return
        if slot is None:
            self._connection = None
            connection.sharers -= 1
            if connection.refusal is None:
                connection.close_cursors(self._keep)
            return
        if self._readonly:
            self._held.reader = None
        else:
            self._held.writer = None
        self._slot = self._connection = None
        pool.leave(slot, exc)

    def __del__(self) -> None:
        # An interrupt may have come before the slot had a name.
        slot = getattr(self, "_slot", None)
        connection = getattr(self, "_connection", None)
        if slot is not None:
            self._pool.dropped.notes.append((slot, self._held))
        elif connection is not None:
            connection.sharers -= 1
