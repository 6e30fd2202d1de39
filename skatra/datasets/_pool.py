"""A pool of SQLite connections: several readers, one writer, nobody overtaken."""

import ctypes
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any, Self

from skatra.datasets import _forks
from skatra.datasets._checkout import Checkout, PerThread
from skatra.datasets._connections import (
    PooledConnection,
    forked_files,
    identity,
    open_connection,
    resolve,
)
from skatra.datasets._errors import breaks_connection, needs_recovery, translate
from skatra.datasets._file_lock import FileLock
from skatra.datasets._slots import Slot, SlotGroup
from skatra.exceptions import (
    DatabaseError,
    PoolClosedError,
    PoolForkedError,
    PoolTimeoutError,
)

_CHECK_FILE_EVERY = 1.0
_CLOSE_WAIT = 1.0


class SQLiteConnectionPool:
    """Connections to one SQLite file, shared fairly by all threads of a process.

    A few read-only connections and one writer. Whoever waits is served in order of
    arrival: a returned connection goes straight into the hands of the thread that
    waited longest. Readers see a consistent snapshot and never wait for the writer
    (write-ahead logging); writers of several processes queue at a lock on the side
    file ``<path>-lock``, so none starves.

    Connections are opened when first needed. None stays open across a fork: idle
    ones are closed before it and opened again on both sides. If one is in use at
    that moment, the child's pool refuses, because SQLite would lose its commits.

    Parameters
    ----------
    path : str or path-like
        The file. Any name means the file of that name, also with ``?``, ``%``, ``#``
        or a leading ``file:``. ":memory:" is refused.
    create : bool, default=False
        Create the file when it is missing.
    max_readers : int, default=None
        Most read-only connections; None means the number of cores, at most 4.
    timeout : float, default=30.0
        Seconds to wait for a connection unless ``get_connection`` says otherwise.
    busy_timeout : float, default=5.0
        Seconds to wait for a program that locks the file without using skatra.
    fork_wait : float, default=1.0
        Seconds that a fork waits for other threads to give back connections.

    Attributes
    ----------
    path : Path
        The file, absolute and with links followed.
    options : dict
        ``max_readers``, ``timeout``, ``busy_timeout`` and ``fork_wait``.

    Raises
    ------
    DatabaseNotFoundError
        If the file is missing and ``create`` is False.
    DatabaseError
        If the path is a directory, or the file cannot be opened.

    See Also
    --------
    get_db_pool : The one pool of a file in this process.
    Database : Bars, features, labels and trades in such a file.

    Notes
    -----
    Commits survive the death of the process at any moment
    (``synchronous=NORMAL``); after a power failure the file is intact but the
    last commits may be missing. All commits and checkpoints are made under the side
    file's lock, which also keeps clear of SQLite's WAL-reset bug
    (https://sqlite.org/wal.html).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import SQLiteConnectionPool
    >>> folder = tempfile.TemporaryDirectory()
    >>> with SQLiteConnectionPool(Path(folder.name, "x.db"), create=True) as pool:
    ...     with pool.get_connection(readonly=False) as connection:
    ...         _ = connection.execute("CREATE TABLE prices (price REAL) STRICT")
    ...         _ = connection.execute("INSERT INTO prices VALUES (1.5)")
    ...     with pool.get_connection() as connection:
    ...         connection.execute("SELECT price FROM prices").fetchall()
    [(1.5,)]
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        max_readers: int | None = None,
        timeout: float = 30.0,
        busy_timeout: float = 5.0,
        fork_wait: float = 1.0,
    ) -> None:
        self.path = resolve(path)
        self.options = _options(
            max_readers=max_readers,
            timeout=timeout,
            busy_timeout=busy_timeout,
            fork_wait=fork_wait,
        )
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._per_thread = PerThread()
        self._readers = SlotGroup(int(self.options["max_readers"]), readonly=True)
        self._writers = SlotGroup(1, readonly=False)
        self._file_lock = FileLock(self.path.with_name(f"{self.path.name}-lock"))
        self._closed = self._paused = self._lock_kept = False
        self._counts = dict.fromkeys(
            ("acquired", "waited", "timeouts", "opened", "discarded"), 0
        )
        self._longest_wait = 0.0
        if create and not self.path.exists():
            self._create()
        self._identity = identity(self.path)
        self._forked = forked_files.get(self._identity)
        _forks.guard(self)
        self._finalizer = weakref.finalize(
            self, _close_idle, self._readers, self._writers, self._file_lock
        )

    def get_connection(
        self,
        *,
        readonly: bool = True,
        timeout: float | None = None,
    ) -> Checkout:
        """Borrow a connection for a ``with`` block.

        Parameters
        ----------
        readonly : bool, default=True
            True gives a connection that cannot write. False gives the writer inside
            a transaction (BEGIN IMMEDIATE), committed when the block ends and
            rolled back when it raises.
        timeout : float, default=None
            Seconds to wait; None means the pool's ``timeout``.

        Returns
        -------
        context manager of sqlite3.Connection
            Use the connection in the block only; cursors left open are closed. A
            read inside a block of the same thread gets that block's connection
            (inside a write it sees what was written so far), so one thread
            never waits for itself.

        Raises
        ------
        PoolTimeoutError
            On entering, if no connection came free; the message names the holders.
        PoolClosedError, PoolForkedError
            On entering, if the pool was closed, or its process forked while a
            connection was in use.
        DatabaseError
            On entering, for a write inside a write of the same thread; or when
            the file was moved, deleted or replaced.
        DiskFullError
            On leaving, if the disk is full: nothing of the transaction was kept.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be seconds >= 0 or None, got {timeout!r}.")
        return Checkout(self, readonly=readonly, timeout=timeout)

    def stats(self) -> dict[str, Any]:
        """Return what the pool does and did.

        Returns
        -------
        dict
            ``max_readers``, ``readers_open``, ``readers_in_use``, ``writer_open``,
            ``writer_in_use``, ``waiting_readers``, ``waiting_writers`` now;
            ``acquired``, ``waited``, ``timeouts``, ``opened``, ``discarded`` and
            ``longest_wait`` (seconds) since the start; ``holders``, one line each.
        """
        with self._lock:
            readers, writers = self._readers.held(), self._writers.held()
            return {
                "max_readers": len(self._readers.slots),
                "readers_open": _count_open(self._readers.slots),
                "readers_in_use": len(readers),
                "writer_open": bool(_count_open(self._writers.slots)),
                "writer_in_use": bool(writers),
                "waiting_readers": len(self._readers.waiters),
                "waiting_writers": len(self._writers.waiters),
                **self._counts,
                "longest_wait": self._longest_wait,
                "holders": [slot.describe() for slot in readers + writers],
            }

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self, timeout: float | None = None) -> None:
        """Refuse new uses, wait for the current ones and close every connection.

        Parameters
        ----------
        timeout : float, default=None
            Seconds to wait for the holders; None means the pool's ``timeout``.

        Raises
        ------
        PoolTimeoutError
            If somebody still holds a connection; the message names the holders.
            The pool stays closed and their connections close on return.
        DatabaseError
            If the calling thread itself holds one.
        """
        held = self._per_thread.held
        mine = held.writer or held.reader
        if mine is not None and self._forked is None:
            raise DatabaseError(
                f"a pool cannot be closed by who still uses it: {mine.describe()}. "
                "Close it after the 'with' block."
            )
        wait = self.options["timeout"] if timeout is None else timeout
        deadline = time.monotonic() + wait
        with self._lock:
            self._closed = True
            self._readers.cancel()
            self._writers.cancel()
            while holders := self._readers.held() + self._writers.held():
                left = deadline - time.monotonic()
                if left <= 0 or not self._returned.wait(left):
                    break
            names = "; ".join(slot.describe() for slot in holders)
        self._finalizer()
        if names:
            raise PoolTimeoutError(
                f"the pool of {self.path} was closed, but after {wait:g} s {names}. "
                "Their connections close when they are given back."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a connection pool cannot be pickled: every process opens its own. Send "
            "the path and call get_db_pool(path)."
        )

    # --- taking and giving back ------------------------------------------------

    def _create(self) -> None:
        if not self.path.parent.is_dir():
            raise DatabaseError(
                f"{self.path} cannot be created: its directory does not exist. "
                "Create the directory first."
            )
        with _forks.FORK_LOCK:
            self._lock_file(float(self.options["timeout"]))
            try:
                open_connection(self.path, readonly=False, create=True).close()
            finally:
                self._file_lock.release()

    def _usable(self) -> None:
        if self._forked is not None:
            raise PoolForkedError(self._forked)
        if self._closed:
            raise PoolClosedError(
                f"the pool of {self.path} is closed. Call get_db_pool(path), or open "
                "the Database again."
            )

    def _acquire(self, *, readonly: bool, timeout: float | None, holds: bool) -> Slot:
        deadline = time.monotonic() + (
            self.options["timeout"] if timeout is None else timeout
        )
        group = self._readers if readonly else self._writers
        with self._lock:
            self._usable()
            slot = None if self._paused and not holds else group.take()
            waiter = group.queue() if slot is None else None
        if waiter is not None:
            slot = self._await(group, waiter, deadline)
        assert slot is not None  # noqa: S101
        slot.stamp()
        try:
            if readonly:
                self._open(slot)
            else:
                self._begin(slot, deadline)
        except BaseException as error:
            self._release(slot, discard=True)
            if isinstance(error, sqlite3.Error | OSError):
                self._raise_translated(error)
            raise
        with self._lock:
            self._counts["acquired"] += 1
        return slot

    def _await(self, group: SlotGroup, waiter: Any, deadline: float) -> Slot:
        start = time.monotonic()
        try:
            waiter.bell.acquire(timeout=max(0.0, deadline - start))
        except BaseException:
            with self._lock:
                slot = group.leave(waiter)
            if slot is not None:
                self._release(slot)
            raise
        with self._lock:
            slot = group.leave(waiter)
            waited = time.monotonic() - start
            self._counts["waited"] += 1
            self._longest_wait = max(self._longest_wait, waited)
            if slot is not None:
                return slot
            self._usable()
            self._counts["timeouts"] += 1
            holders = [held.describe() for held in group.held()]
        kind = "reader" if group is self._readers else "writer"
        raise PoolTimeoutError(
            f"no {kind} of {self.path} came free in {waited:.1f} s: "
            f"{'; '.join(holders) or 'a fork is under way'}. Keep 'with' blocks short, "
            "wait longer (timeout=...)"
            + (" or allow more readers (max_readers=...)." if kind == "reader" else ".")
        )

    def _open(self, slot: Slot) -> PooledConnection:
        """Give the slot an open connection to the file that is there now."""
        now = time.monotonic()
        if not slot.readonly or now - slot.checked > _CHECK_FILE_EVERY:
            try:
                same = identity(self.path) == self._identity
            except DatabaseError:
                same = False
            if not same:
                raise DatabaseError(
                    f"{self.path} was moved, deleted or replaced while it was open. "
                    "Open the database again."
                )
            slot.checked = now
        if slot.connection is None:
            try:
                slot.connection = self._connect(readonly=slot.readonly)
            except DatabaseError as error:
                if not (slot.readonly and needs_recovery(error.__cause__)):
                    raise
                self._recover()
                slot.connection = self._connect(readonly=True)
            with self._lock:
                self._counts["opened"] += 1
        slot.connection.in_use = True
        return slot.connection

    def _connect(self, *, readonly: bool) -> PooledConnection:
        busy_timeout = float(self.options["busy_timeout"])
        return open_connection(self.path, readonly=readonly, busy_timeout=busy_timeout)

    def _recover(self) -> None:
        """Undo what a killed process left half-written; only a writer can."""
        lock = FileLock(self._file_lock.path)
        try:
            if lock.acquire(float(self.options["timeout"]), "recovering"):
                self._connect(readonly=False).close()
        finally:
            lock.close()

    def _lock_file(self, timeout: float) -> None:
        try:
            if self._file_lock.acquire(timeout, threading.current_thread().name):
                return
        except OSError as error:
            self._raise_translated(error)
            raise
        raise PoolTimeoutError(
            f"another process keeps writing to {self.path}: after {timeout:.1f} s the "
            f"lock is still held by {self._file_lock.owner()}. Wait longer "
            "(timeout=...) or end that process."
        )

    def _begin(self, slot: Slot, deadline: float) -> None:
        self._lock_file(max(0.0, deadline - time.monotonic()))
        try:
            self._open(slot).execute("BEGIN IMMEDIATE").close()
        except BaseException:
            self._discard(slot)
            self._file_lock.release()
            raise

    def _leave(self, slot: Slot, exc: BaseException | None) -> None:
        """Commit or roll back, clean up, and hand the slot on."""
        connection = slot.connection
        assert connection is not None  # noqa: S101
        failure = exc
        try:
            connection.close_cursors()
            if slot.readonly or exc is not None:
                if connection.in_transaction:
                    connection.rollback()
            elif connection.in_transaction:
                connection.commit()
            else:
                raise DatabaseError(  # noqa: TRY301 - cleaned up below
                    "the transaction ended before its block did: an error in it was "
                    "swallowed, or it was committed by hand. Nothing after that "
                    "point was kept; let the block commit."
                )
            connection.row_factory = None
            connection.text_factory = str
            connection.in_use = False
            discard = breaks_connection(exc)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure, discard = error, True
        if discard and not slot.readonly:
            self._discard(slot)
        if not slot.readonly:
            self._file_lock.release()
        self._release(slot, discard=discard)
        if isinstance(failure, sqlite3.Error):
            self._raise_translated(failure)
        if failure is not None and failure is not exc:
            raise failure

    def _raise_translated(self, error: Exception) -> None:
        named = translate(error, self.path)
        if named is not error:
            raise named from error

    def _discard(self, slot: Slot) -> None:
        connection, slot.connection = slot.connection, None
        if connection is not None:
            connection.close()

    def _release(self, slot: Slot, *, discard: bool = False) -> None:
        if discard and slot.connection is not None:
            with self._lock:
                self._counts["discarded"] += 1
            self._discard(slot)
        if self._closed:
            self._discard(slot)
            if not slot.readonly:
                self._file_lock.close()
        group = self._readers if slot.readonly else self._writers
        with self._lock:
            if self._paused:
                slot.clear()
                group.idle.append(slot)
            else:
                group.give(slot)
            self._returned.notify_all()

    # --- forks -----------------------------------------------------------------

    def before_fork(self) -> None:
        """Close idle connections; keep the pool's lock until the fork is done."""
        wait = float(self.options["fork_wait"])
        self._lock_kept = self._lock.acquire(timeout=wait)
        if not self._lock_kept:
            return
        self._paused = True
        me = threading.current_thread()
        deadline = time.monotonic() + wait
        while any(slot.thread is not me for slot in self._held()):
            left = deadline - time.monotonic()
            if left <= 0 or not self._returned.wait(left):
                break
        _close_idle(self._readers, self._writers, self._file_lock)

    def after_fork_in_parent(self) -> None:
        """Serve those who waited during the fork."""
        self._paused = False
        if self._lock_kept:
            self._readers.serve()
            self._writers.serve()
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh, or refuse if a connection was in use."""
        held = self._held() if self._lock_kept else self._readers.slots
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._per_thread = PerThread()
        self._paused = False
        if held:
            names = "; ".join(slot.describe() for slot in held)
            self._forked = (
                f"the process was forked while {names}, so commits of this child to "
                f"{self.path} could be lost. Fork when no connection is in use, or "
                "start the child with multiprocessing's 'spawn' or 'forkserver' "
                "method."
            )
            forked_files[self._identity] = self._forked
            for slot in self._readers.slots + self._writers.slots:
                _keep_forever(slot.connection)
        self._readers.reset()
        self._writers.reset()
        self._file_lock.close()

    def _held(self) -> list[Slot]:
        return self._readers.held() + self._writers.held()


def _options(**given: Any) -> dict[str, float]:
    readers = given["max_readers"]
    if readers is None:
        readers = min(4, os.cpu_count() or 1)
    if isinstance(readers, bool) or not isinstance(readers, int) or readers < 1:
        raise ValueError(f"max_readers must be an integer >= 1, got {readers!r}.")
    options: dict[str, float] = {"max_readers": readers}
    for name in ("timeout", "busy_timeout", "fork_wait"):
        value = given[name]
        if not isinstance(value, int | float) or not 0 <= value < threading.TIMEOUT_MAX:
            raise ValueError(f"{name} must be seconds >= 0, got {value!r}.")
        options[name] = float(value)
    return options


def _count_open(slots: Iterable[Slot]) -> int:
    return sum(slot.connection is not None for slot in slots)


def _keep_forever(connection: PooledConnection | None) -> None:
    """Never close an inherited connection: that could remove the parent's log."""
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _close_idle(readers: SlotGroup, writers: SlotGroup, lock: FileLock) -> None:
    """Close idle connections, the writer last: it empties the write-ahead log."""
    pid = os.getpid()
    for slot in readers.idle + writers.idle:
        connection, slot.connection = slot.connection, None
        if connection is None or connection.pid != pid:
            continue
        if slot.readonly:
            connection.close()
            continue
        try:
            locked = lock.acquire(_CLOSE_WAIT)
        except OSError:
            locked = False
        connection.close()
        if locked:
            lock.release()
    if writers.idle:
        lock.close()
