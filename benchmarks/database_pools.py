"""The pools that bench_database compares, each as its users would set it up."""

import contextlib
import importlib.util
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skatra.datasets import SQLiteConnectionPool


def readonly(path: Path) -> sqlite3.Connection:
    """Open a plain connection for reading."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False
    )


class Lifo:
    """The usual pool of twenty lines."""

    def __init__(self, path: Path, size: int):
        self.shelf: queue.LifoQueue = queue.LifoQueue()
        for _ in range(size):
            self.shelf.put(readonly(path))

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection."""
        connection = self.shelf.get(timeout=30)
        try:
            yield connection
        finally:
            connection.rollback()
            self.shelf.put(connection)


def pools(path: Path, size: int) -> dict[str, Callable[[], Any]]:
    """Return, by name, what gives a context manager of a connection."""
    ours = SQLiteConnectionPool(path, max_readers=size)
    lifo = Lifo(path, size)
    local = threading.local()

    @contextlib.contextmanager
    def per_thread() -> Iterator[sqlite3.Connection]:
        if not hasattr(local, "connection"):
            local.connection = readonly(path)
        yield local.connection
        local.connection.rollback()

    result: dict[str, Callable[[], Any]] = {
        "skatra": ours.get_connection,
        "queue.LifoQueue": lifo.connection,
        "connect per operation": lambda: contextlib.closing(readonly(path)),
        "connection per thread": per_thread,
    }
    if importlib.util.find_spec("sqlalchemy"):
        from sqlalchemy.pool import QueuePool

        alchemy = QueuePool(lambda: readonly(path), pool_size=size, max_overflow=0)
        result["SQLAlchemy QueuePool"] = lambda: contextlib.closing(alchemy.connect())
    with contextlib.suppress(ImportError):
        result["psycopg_pool's design"] = psycopg_design(path, size)
    return result


def psycopg_design(path: Path, size: int) -> Callable[[], Any]:
    """Return psycopg_pool itself, with an SQLite connection dressed as psycopg's."""
    import psycopg_pool
    from psycopg.pq import TransactionStatus

    class Status:
        def __init__(self, connection: Any):
            self.connection = connection

        @property
        def transaction_status(self) -> Any:
            if self.connection.closed:
                return TransactionStatus.UNKNOWN
            inside = self.connection.in_transaction
            return TransactionStatus.INTRANS if inside else TransactionStatus.IDLE

    class Dressed(sqlite3.Connection):
        closed = broken = autocommit = False
        prepare_threshold = None

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.pgconn = Status(self)

        @classmethod
        def connect(cls, conninfo: str, **_: Any) -> Any:
            return sqlite3.connect(
                conninfo, uri=True, check_same_thread=False, factory=cls
            )

        def close(self) -> None:
            self.closed = True
            super().close()

    pool = psycopg_pool.ConnectionPool(
        f"{path.as_uri()}?mode=ro",
        connection_class=Dressed,
        min_size=size,
        max_size=size,
        open=True,
    )
    pool.wait()
    return pool.connection
