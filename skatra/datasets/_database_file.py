"""One database file: its pool, its transactions, its upkeep."""

import asyncio
import contextlib
import contextvars
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import pandas as pd

from skatra.datasets import _backup, _check, _query
from skatra.datasets._connections import PooledConnection, identity, resolve
from skatra.datasets._errors import (
    is_no_text,
    primary_code,
    refuse_other_tables,
    translate,
)
from skatra.datasets._pool import MEMORY, SQLiteConnectionPool
from skatra.datasets._registry import get_db_pool
from skatra.datasets._schema import ensure_schema, pragma
from skatra.exceptions import DatabaseError, PoolClosedError
from skatra.utils import HTMLRepr, observation


class _Transaction:
    """An open block of ``transaction``; it is joined by its thread alone."""

    __slots__ = ("connection", "database", "task", "thread")

    def __init__(self, database: "DatabaseFile", connection: PooledConnection) -> None:
        self.database: DatabaseFile | None = database
        self.connection: PooledConnection | None = connection
        self.thread = threading.get_ident()
        self.task = _task()

    def end(self) -> None:
        """Join nothing from now on."""
        self.database = self.connection = self.task = None


def _task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


# A coroutine sees those of its own task; copies of a context may outlive the block.
_transactions: "contextvars.ContextVar[tuple[_Transaction, ...]]" = (
    contextvars.ContextVar("skatra_transactions", default=())
)


class DatabaseFile(HTMLRepr):
    """What every ``Database`` can do whatever its tables are.

    Parameters
    ----------
    path, create, readonly
        See ``Database``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        readonly: bool = False,
    ) -> None:
        if create and readonly:
            raise ValueError(
                "create=True and readonly=True contradict each other; choose one."
            )
        if path == MEMORY:
            create = True
            self._pool: SQLiteConnectionPool | None = get_db_pool(path)
            self.path = self._pool.path
        else:
            self.path = resolve(path)
            if not create:
                identity(self.path)
            self._pool = get_db_pool(self.path, create=create)
        self.readonly = readonly
        ensure_schema(self._pool, create=create, readonly=readonly)

    @property
    def pool(self) -> SQLiteConnectionPool:
        """The file's connection pool."""
        if self._pool is None:
            raise PoolClosedError(
                f"this Database was closed. Open it again: "
                f"Database({str(self.path)!r})."
            )
        return self._pool

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the file throughout."""
        start, is_part = time.perf_counter(), False
        try:
            with self.pool.get_connection(readonly=True) as connection:
                is_part = connection.in_transaction
                if is_part:
                    yield connection
                    return
                connection.execute("BEGIN").close()
                try:
                    yield connection
                except sqlite3.OperationalError as error:
                    refuse_other_tables(self.pool.path, error)
                    if is_no_text(error):
                        raise translate(error, self.path) from error
                    raise
                finally:
                    connection.rollback()
        finally:
            if observation.observer is not None and not is_part:
                seconds = time.perf_counter() - start
                observation.observer.database_used(self.path.name, "read", seconds, 0)

    @contextlib.contextmanager
    def _writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the writer: in a transaction of its own, or a part of an open one."""
        if self.readonly:
            raise DatabaseError(
                f"{self.path} was opened with readonly=True. Open it with "
                "Database(path) to write."
            )
        outer = self._transaction_here(durable=durable)
        if outer is None:
            start, committed = time.perf_counter(), 0
            try:
                with self.pool.get_connection(
                    readonly=False, durable=durable
                ) as connection:
                    before = connection.total_changes
                    yield connection
                    changed = connection.total_changes - before
                committed = changed
            finally:
                if observation.observer is not None:
                    seconds = time.perf_counter() - start
                    observation.observer.database_used(
                        self.path.name, "write", seconds, committed
                    )
            return
        outer.execute("SAVEPOINT part").close()
        try:
            yield outer
        except BaseException:
            if outer.in_transaction:
                outer.execute("ROLLBACK TO part").close()
                outer.execute("RELEASE part").close()
            raise
        outer.execute("RELEASE part").close()
        # How much a commit waits for cannot change once its transaction has begun.
        outer.owes_disk |= durable and not outer.durable

    def _transaction_here(self, *, durable: bool = False) -> PooledConnection | None:
        """Return the connection of the open ``transaction`` that writes are part of."""
        for block in _transactions.get():
            if block.database is self and block.thread == threading.get_ident():
                if durable and block.task not in (None, _task()):
                    raise DatabaseError(
                        "a durable write (trades and signals always are) cannot be "
                        "part of another task's transaction, whose failure would undo "
                        "it. Write in the task that opened the block, when the block "
                        "has ended, or by asyncio.to_thread, which waits for that."
                    )
                return block.connection
        return None

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Make all writes of a block one transaction: all of them are kept, or none.

        Reads of this thread inside the block see what was written so far; other
        threads and processes see it when the block has ended. A write that fails
        inside leaves nothing; if its error is caught, the block goes on. A coroutine
        that writes while another one of its thread is inside such a block is refused.

        A task that is created inside the block (``asyncio.gather``, say) takes part
        until the block ends: what it writes is kept or undone with the block, also
        if the task was told that it succeeded and goes on. A durable write of such a
        task is refused: it belongs after the block, or into ``asyncio.to_thread``,
        where it waits for the block's end.

        Parameters
        ----------
        durable : bool, default=False
            Commit to the disk, so that the block survives a power failure, too. A
            block with ``write_trades`` or ``write_signals`` always does.

        Yields
        ------
        sqlite3.Connection
            For SQL of your own.

        Raises
        ------
        DatabaseError
            Inside another transaction of the same thread.

        Examples
        --------
        >>> from skatra.datasets import Database
        >>> with Database(":memory:") as db:
        ...     with db.transaction():
        ...         _ = db.write_run("first", {})
        ...         _ = db.write_run("second", {})
        ...     len(db.runs())
        2
        """
        if self._transaction_here() is not None:
            raise DatabaseError(
                "a transaction cannot start inside a transaction of the same thread. "
                "Use the outer block; a failed write inside leaves nothing."
            )
        with self._writing(durable=durable) as connection:
            block = _Transaction(self, cast("PooledConnection", connection))
            open_ones = (t for t in _transactions.get() if t.connection is not None)
            _transactions.set((*open_ones, block))
            try:
                yield connection
            finally:
                block.end()

    def read_sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        limit: float | None = None,
    ) -> pd.DataFrame:
        """Return the rows of any query, with exact dtypes; it cannot write.

        Integers stay integers (int64; Int64 where some are NULL), also beyond 2**53;
        REAL is float64 (NULL is NaN), text is str, blobs are objects, and a column
        without a single value has the type that SQLite knows for it. A column that
        mixes integers and reals is float64 if that loses nothing, else objects.

        Parameters
        ----------
        query : str
            One SELECT. Times are int64 nanoseconds UTC.
        params : sequence or dict, default=()
            Values for ``?`` or ``:name``.
        limit : float, default=None
            Seconds after which the query is interrupted.

        Returns
        -------
        DataFrame of shape (n_rows, n_columns)
            The rows in the order of the query.

        Raises
        ------
        sqlite3.Error
            If the query is wrong.
        DatabaseError
            If it would write, also inside a ``transaction``.
        QueryTimeoutError
            If it ran longer than ``limit``.

        Examples
        --------
        >>> from skatra.datasets import Database
        >>> with Database(":memory:") as db:
        ...     frame = db.read_sql("SELECT ? AS n, 0.5 AS x", (2**60 + 1,))
        >>> frame["n"].tolist(), frame.dtypes.astype(str).tolist()
        ([1152921504606846977], ['int64', 'float64'])
        """
        try:
            with self.pool.get_connection(limit=limit) as connection:
                return _query.read_sql(connection, query, params)
        except sqlite3.Error as error:
            # In another block of the thread, which has not named it yet.
            named = translate(error, self.path, is_query=True)
            if primary_code(error) == sqlite3.SQLITE_READONLY or is_no_text(error):
                raise named from error
            raise

    def check(self) -> list[str]:
        """Verify the file, its references, every checksum and skatra's own rules.

        All of it in one state of the file, while writers go on; the write-ahead log
        cannot shrink meanwhile.

        Returns
        -------
        list of str
            One sentence for each problem; empty when the file is sound.
        """
        return _check.check_all(self.pool)

    def info(self) -> dict[str, Any]:
        """Return size, schema version, row counts, time ranges and sets.

        Returns
        -------
        dict
            ``path``, ``schema_version``, ``size_bytes``, ``rows`` (table -> count),
            ``ranges`` (table -> first and last time, or None), ``feature_sets`` and
            ``label_sets``.
        """
        with self._reading() as connection:
            return {"path": self.path, **_check.describe(connection)}

    def backup(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Copy the database to another file while it is in use.

        The copy holds one committed state; readers and writers go on meanwhile. It
        gets its name only when it is complete, so a crash leaves no half of one.

        Parameters
        ----------
        path : path-like
            The new file; must not exist. Its directory must.
        progress : callable, default=None
            Called with pages copied and pages in all.

        Returns
        -------
        Path
            The copy.

        Raises
        ------
        DatabaseError
            If there is a file already, or another copy got the name first.
        DiskFullError
            If it does not fit; nothing is left of it.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from skatra.datasets import Database
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Database(":memory:") as db:
        ...     copy = db.backup(Path(folder.name, "copy.db"))
        >>> with Database(copy) as db:
        ...     db.check()
        []
        >>> folder.cleanup()
        """
        target = resolve(path)
        _backup.refuse_taken(target)
        self._refuse_in_transaction("backup")
        with self.pool.get_connection() as connection:
            return _backup.copy_database(connection, target, progress)

    def vacuum(self) -> int:
        """Give unused space back to the disk; writers wait meanwhile.

        Returns
        -------
        int
            Bytes by which the file shrank.

        Raises
        ------
        DiskFullError
            If there is no room for the copy that SQLite makes; nothing changes.
        """
        self._refuse_in_transaction("vacuum")
        with self._writing() as writer:
            connection = cast("PooledConnection", writer)
            before = pragma(connection, "page_count")
            # The writer's locks stay; only SQLite's transaction pauses.
            connection.execute("COMMIT").close()
            connection.in_block = False
            attached = connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)
            try:
                connection.execute("VACUUM").close()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, attached)
                connection.execute("BEGIN IMMEDIATE").close()
                connection.in_block = True
            after = pragma(connection, "page_count")
            return (before - after) * pragma(connection, "page_size")

    def _refuse_in_transaction(self, what: str) -> None:
        if self._transaction_here() is not None:
            raise DatabaseError(
                f"{what} must not run inside a transaction. Call it after the block."
            )

    def close(self) -> None:
        """Let go of the file. Other Database objects on it go on.

        Its connections close when nobody in the process refers to its pool any more.
        """
        self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "readonly": self.readonly}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path: Path = state["path"]
        self.__init__(path, readonly=state["readonly"])  # type: ignore[misc]

    def _html_rows(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "readonly": self.readonly,
            "closed": self._pool is None,
        }

    def __repr__(self) -> str:
        readonly = ", readonly=True" if self.readonly else ""
        return f"{type(self).__name__}({str(self.path)!r}{readonly})"
