"""A pool of SQLite connections: several readers, one writer, nobody overtaken."""

import functools
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from skatra.datasets import _forks
from skatra.datasets._async import AsyncCheckout
from skatra.datasets._checkout import Checkout, QuickRead
from skatra.datasets._connections import (
    forked_files,
    identity,
    open_connection,
    resolve,
)
from skatra.datasets._lending import Lender
from skatra.datasets._slots import close_idle
from skatra.exceptions import DatabaseError, PoolTimeoutError
from skatra.utils import HTMLRepr, observation

MEMORY = ":memory:"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
_Result = TypeVar("_Result")


class SQLiteConnectionPool(HTMLRepr, Lender):
    """Connections to one SQLite file, shared fairly by all threads of a process.

    A few read-only connections and one writer. Whoever waits is served in order of
    arrival: a returned connection goes straight into the hands of the thread that
    waited longest. Each statement of a reader sees one state of the file and never
    waits for the writer (write-ahead logging); ``BEGIN`` in the block holds that
    state for all that follow. Writers of several processes queue at a lock on the
    side file ``<path>-lock``, so none starves.

    Connections are opened when first needed. None stays open across a fork: idle
    ones are closed before it and opened again on both sides. If one is in use at
    that moment, the child's pool refuses, because SQLite would lose its commits.

    Parameters
    ----------
    path : str or path-like
        The file. Any name means the file of that name, also with ``?``, ``%``, ``#``
        or a leading ``file:``. ":memory:" makes a database that all connections of
        this pool share and that ends with it (a private file, in memory where the
        system has ``/dev/shm``).
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
    max_life : float, default=3600.0
        Seconds after which a connection is opened anew (up to a tenth sooner, so
        that not all are at once); None means never.
    max_idle : float, default=600.0
        Seconds after which an unused reader is closed, looked at whenever others
        are used; None means never.
    leak_after : float, default=None
        Seconds after which a connection that others wait for is reported, with the
        line that took it, by a RuntimeWarning; None means never. One whose thread
        ended, or whose block was dropped, always is.
    query_limit : float, default=None
        Seconds that queries of one ``with`` block may take; see ``get_connection``.
    wal_limit : int, default=67108864
        Bytes of write-ahead log above which a commit makes room: readers that
        overlap without end are held off for a moment (at most a quarter of a
        second); one that stays is named in a RuntimeWarning. None means no limit.

    Attributes
    ----------
    path : Path
        The file, absolute and with links followed.
    options : dict
        Every option above.

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
    last commits may be missing, unless they were made with ``durable=True``. All
    commits and checkpoints are made under the side file's lock, which also keeps
    clear of SQLite's WAL-reset bug (https://sqlite.org/wal.html).

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
        max_life: float | None = 3600.0,
        max_idle: float | None = 600.0,
        leak_after: float | None = None,
        query_limit: float | None = None,
        wal_limit: int | None = 1 << 26,
    ) -> None:
        options = _options(
            {"timeout": timeout, "busy_timeout": busy_timeout, "fork_wait": fork_wait},
            {
                "max_life": max_life,
                "max_idle": max_idle,
                "leak_after": leak_after,
                "query_limit": query_limit,
                "wal_limit": wal_limit,
            },
            max_readers,
        )
        folder = _private_folder() if path == MEMORY else None
        real = resolve(path) if folder is None else folder / "memory.db"
        super().__init__(real, options)
        if (create or folder is not None) and not self.path.exists():
            self._create()
        self.identity = identity(self.path)
        self.forked = forked_files.get(self.identity)
        self.serving = self.forked is None
        self._query_limit = options["query_limit"]
        observation.pools.add(self)
        parts = self.readers, self.writers, self.file_lock, folder, os.getpid()
        self._finalizer = _forks.guard(self, functools.partial(_end, *parts))

    def get_connection(
        self,
        *,
        readonly: bool = True,
        timeout: float | None = None,
        limit: float | None = None,
        durable: bool = False,
    ) -> Checkout | QuickRead:
        """Borrow a connection for a ``with`` block.

        Parameters
        ----------
        readonly : bool, default=True
            True gives a connection that cannot write. False gives the writer inside
            a transaction (BEGIN IMMEDIATE), committed when the block ends and
            rolled back when it raises.
        timeout : float, default=None
            Seconds to wait; None means the pool's ``timeout``.
        limit : float, default=None
            Seconds after which queries of the block are interrupted; None means
            the pool's ``query_limit``. A read inside a block of the same thread
            keeps that block's limit.
        durable : bool, default=False
            Commit to the disk (``synchronous=FULL``), so that the transaction
            survives a power failure, too; costs a sync.

        Returns
        -------
        context manager of sqlite3.Connection
            Use the connection in the block only; cursors and blobs left open are
            closed (make no ``sqlite3.Cursor(connection)``: the pool cannot know of
            it, and what it has not read to the end stays open). A read inside a block
            of the same thread gets that block's connection (inside a write it sees
            what was written so far), so one thread never waits for itself; it is
            refused once that block has ended. Settings (PRAGMA) and temporary tables
            end with the block.

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
        QueryTimeoutError
            On leaving, if a query was interrupted at its limit.
        """
        if limit is None:
            limit = self._query_limit
        if readonly and timeout is None and limit is None:
            return QuickRead(self)
        if timeout is not None or limit is not None:
            _check_seconds("timeout", timeout)
            _check_seconds("limit", limit)
        return Checkout(
            self, readonly=readonly, wait=timeout, limit=limit, durable=durable
        )

    def get_connection_async(
        self,
        *,
        readonly: bool = True,
        timeout: float | None = None,
        limit: float | None = None,
        durable: bool = False,
    ) -> AsyncCheckout:
        """Borrow a connection for an ``async with`` block.

        Coroutines stand in the same queue as threads, in the order in which they
        come. A cancelled one leaves it at once, or interrupts its query; what it
        wrote is rolled back unless the commit had begun (then all or nothing was
        kept), and the connection is back when the block is left.
        Every block takes a connection of its own, also one inside another.

        Parameters
        ----------
        readonly : bool, default=True
            True gives a connection that cannot write; False the writer, in a
            transaction.
        timeout : float, default=None
            Seconds to wait; None means the pool's ``timeout``.
        limit : float, default=None
            Seconds after which queries of the block are interrupted; None means
            the pool's ``query_limit``.
        durable : bool, default=False
            Commit to the disk, so that it survives a power failure, too.

        Returns
        -------
        async context manager of AsyncConnection
            With ``execute``, ``executemany`` and ``run``.

        Raises
        ------
        PoolTimeoutError, PoolClosedError, PoolForkedError, DatabaseError
            On entering, as of ``get_connection``.
        DiskFullError, QueryTimeoutError
            On leaving, as of ``get_connection``.

        Examples
        --------
        >>> import asyncio
        >>> from skatra.datasets import SQLiteConnectionPool
        >>> async def main(pool):
        ...     async with pool.get_connection_async(readonly=False) as connection:
        ...         await connection.execute("CREATE TABLE prices (price REAL) STRICT")
        ...         await connection.execute("INSERT INTO prices VALUES (?)", [1.5])
        ...     async with pool.get_connection_async() as connection:
        ...         return await connection.execute("SELECT price FROM prices")
        >>> with SQLiteConnectionPool(":memory:") as pool:
        ...     asyncio.run(main(pool))
        [(1.5,)]
        """
        if limit is None:
            limit = self._query_limit
        _check_seconds("timeout", timeout)
        _check_seconds("limit", limit)
        return AsyncCheckout(
            self, readonly=readonly, wait=timeout, limit=limit, durable=durable
        )

    async def run_async(
        self,
        function: Callable[[sqlite3.Connection], _Result],
        *,
        readonly: bool = True,
        **options: Any,
    ) -> _Result:
        """Run a function with a connection in a thread; the event loop goes on.

        Parameters
        ----------
        function : callable
            Takes the connection. It commits when it returns and is rolled back when
            it raises, as a ``with`` block of ``get_connection``.
        readonly : bool, default=True
            False gives the writer, in a transaction.
        **options : dict
            ``timeout``, ``limit`` and ``durable``, as of ``get_connection``.

        Returns
        -------
        object
            What the function returns.

        Examples
        --------
        >>> import asyncio
        >>> from skatra.datasets import SQLiteConnectionPool
        >>> with SQLiteConnectionPool(":memory:") as pool:
        ...     asyncio.run(pool.run_async(
        ...         lambda connection: connection.execute("SELECT 1").fetchone()))
        (1,)
        """
        async with self.get_connection_async(
            readonly=readonly, **options
        ) as connection:
            return await connection.run(function)

    def stats(self) -> dict[str, Any]:
        """Return what the pool does and did.

        Returns
        -------
        dict
            ``max_readers``, ``readers_open``, ``readers_in_use``, ``writer_open``,
            ``writer_in_use``, ``waiting_readers``, ``waiting_writers`` and
            ``wal_bytes`` now; ``acquired``, ``waited``, ``timeouts``, ``opened``,
            ``discarded``, ``leaked``, ``checkpoints`` (beside SQLite's own) and
            ``longest_wait`` (seconds) since the start; ``holders``, one line each.
            ``leaked`` counts blocks that were dropped or interrupted on their way.
        """
        with self.lock:
            readers, writers = self.readers.held(), self.writers.held()
            slots = self.readers.slots + self.writers.slots
            is_open = [slot.connection is not None for slot in slots]
            return {
                "max_readers": len(self.readers.slots),
                "readers_open": sum(is_open[:-1]),
                "readers_in_use": len(readers),
                "writer_open": is_open[-1],
                "writer_in_use": bool(writers),
                "waiting_readers": len(self.readers.waiters),
                "waiting_writers": len(self.writers.waiters),
                "wal_bytes": self.log.size(),
                "acquired": sum(slot.uses for slot in slots),
                **self.counts,
                "checkpoints": self.log.checkpoints,
                "longest_wait": self.longest_wait,
                "holders": [slot.describe() for slot in readers + writers],
            }

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self.is_closed

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
        held = self.per_thread.held
        mine = held.writer or held.reader
        if mine is not None and self.forked is None:
            raise DatabaseError(
                f"a pool cannot be closed by who still uses it: {mine.describe()}. "
                "Close it after the 'with' block."
            )
        wait = self.seconds("timeout") if timeout is None else timeout
        self.reclaim()
        self.recover_forsaken()
        with self.lock:
            self.is_closed = True
            self.serving = False
            for group in (self.readers, self.writers):
                group.cancel(*group.waiters)
            holders = self.wait_until_returned(wait, but=held)
            names = "; ".join(slot.describe() for slot in holders)
        with _forks.no_fork():
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

    def _html_rows(self) -> dict[str, Any]:
        return {"path": str(self.path)} | self.stats()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a connection pool cannot be pickled: every process opens its own. Send "
            "the path and call get_db_pool(path)."
        )

    def _create(self) -> None:
        if not self.path.parent.is_dir():
            raise DatabaseError(
                f"{self.path} cannot be created: its directory does not exist. "
                "Create the directory first."
            )
        with _forks.no_fork():
            self.take_file_lock(self.seconds("timeout"))
            try:
                open_connection(self.path, readonly=False, create=True).close()
            finally:
                self.file_lock.release()


def default_readers() -> int:
    """Return how many readers a pool has that was not told."""
    return min(4, os.cpu_count() or 1)


def _options(
    required: dict[str, Any], optional: dict[str, Any], readers: Any
) -> dict[str, float | None]:
    if readers is None:
        readers = default_readers()
    if isinstance(readers, bool) or not isinstance(readers, int) or readers < 1:
        raise ValueError(f"max_readers must be an integer >= 1, got {readers!r}.")
    for name, value in required.items():
        if value is None:
            raise ValueError(f"{name} must be seconds >= 0, got None.")
        _check_seconds(name, value)
    for name, value in optional.items():
        _check_seconds(name, value)
    return {"max_readers": readers, **required, **optional}


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or not 0 <= value < threading.TIMEOUT_MAX:
        what = "a number of bytes" if name == "wal_limit" else "seconds"
        raise ValueError(f"{name} must be {what} >= 0, got {value!r}.")


def _private_folder() -> Path:
    """Make a folder for a database that lives in memory."""
    memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="skatra-", dir=memory))


def _end(*parts: Any) -> None:
    """Close what is idle; remove a database in memory, but not in a forked child."""
    readers, writers, lock, folder, pid = parts
    close_idle(readers, writers, lock, optimize=True)
    if folder is not None and os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
