"""The pools that bench_database compares, and what they are put through."""

import contextlib
import importlib.util
import json
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, time
from typing import Any

from skatra.datasets import SQLiteConnectionPool

POINT_READ = "SELECT x FROM point WHERE id = ?"


def say(text: str) -> None:
    """Tell on stderr how far the run is."""
    print(text, file=sys.stderr, flush=True)


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


def pool_cells(path: Path, seconds: float) -> list[dict[str, Any]]:
    """Measure every pool alone and under threads."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE point (id INTEGER PRIMARY KEY, x REAL)")
        rows = [(k, k * 0.5) for k in range(10_000)]
        connection.executemany("INSERT INTO point VALUES (?, ?)", rows)
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")
    cells = []
    for name, take in pools(path, 4).items():
        say(f"  pool: {name}")
        cell: dict[str, Any] = {"pool": name}
        n = 100 if name == "connect per operation" else 2_000
        for key, read in (("microseconds", False), ("with_read", True)):
            best = float("inf")
            for _ in range(40):
                start = perf_counter()
                for k in range(n):
                    with take() as connection:
                        if read:
                            connection.execute(POINT_READ, (k,)).fetchone()
                best = min(best, (perf_counter() - start) / n)
            cell[key] = round(best * 1e6, 2)
        for threads in (1, 2, 8, 32):
            cell[f"threads_{threads}"] = crowd(take, threads, seconds)
        cells.append(cell)
    return cells


def crowd(take: Callable[[], Any], n_threads: int, seconds: float) -> dict[str, Any]:
    """Let threads read points for a while; count, and find the longest wait."""
    start_line = threading.Barrier(n_threads + 1)
    counts, waits, errors = [0] * n_threads, [0.0] * n_threads, [0]
    stop = [False]

    def work(me: int) -> None:
        start_line.wait()
        while not stop[0]:
            asked = perf_counter()
            try:
                with take() as connection:
                    waits[me] = max(waits[me], perf_counter() - asked)
                    connection.execute(POINT_READ, (me,)).fetchone()
            except sqlite3.OperationalError:
                errors[0] += 1
            counts[me] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    start_line.wait()
    begin = perf_counter()
    while perf_counter() - begin < seconds:
        threading.Event().wait(0.05)
    stop[0] = True
    for thread in threads:
        thread.join()
    return {
        "operations_per_second": round(sum(counts) / seconds),
        "longest_wait_ms": round(max(waits) * 1e3, 1),
        "fewest_of_one_thread": min(counts),
        "errors": errors[0],
    }


def mixed(path: Path, n_threads: int, seconds: float) -> dict[str, Any]:
    """Run threads, one operation in ten a read-modify-write, through our pool."""
    say(f"  mix of {n_threads} threads")
    pool = SQLiteConnectionPool(path, max_readers=4)
    stop, errors = [False], [0]
    counts, waits = [0] * n_threads, [0.0] * n_threads

    def work(me: int) -> None:
        turn = 0
        while not stop[0]:
            turn += 1
            write = turn % 10 == 0
            asked = perf_counter()
            try:
                with pool.get_connection(readonly=not write) as connection:
                    waits[me] = max(waits[me], perf_counter() - asked)
                    (x,) = connection.execute(POINT_READ, (me,)).fetchone()
                    if write:
                        sql = "UPDATE point SET x = ? WHERE id = ?"
                        connection.execute(sql, (x + 1, me))
            except sqlite3.OperationalError:
                errors[0] += 1
            counts[me] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    threading.Event().wait(seconds)
    stop[0] = True
    for thread in threads:
        thread.join()
    pool.close()
    return {
        "operations_per_second": round(sum(counts) / seconds),
        "longest_wait_ms": round(max(waits) * 1e3, 1),
        "fewest_of_one_thread": min(counts),
        "lock_errors": errors[0],
    }


WRITER = """
import json, sys, time
sys.path.insert(0, {root!r})
from skatra.datasets import SQLiteConnectionPool
path, me, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
pool = SQLiteConnectionPool(path)
waits, commits, errors = [0.0], 0, 0
print("ready", flush=True)
begin = float(sys.stdin.readline())
time.sleep(max(0.0, begin - time.time()))
while time.time() < begin + seconds:
    asked = time.perf_counter()
    try:
        with pool.get_connection(readonly=False) as connection:
            waits.append(time.perf_counter() - asked)
            sql = "UPDATE point SET x = x + 1 WHERE id = ?"
            connection.execute(sql, (me,))
        commits += 1
    except Exception:
        errors += 1
print(json.dumps([commits, errors, max(waits)]))
"""


def four_processes(path: Path, seconds: float) -> dict[str, Any]:
    """Let four processes write as fast as they can; every commit must be there."""
    code = WRITER.format(root=str(Path(__file__).parents[1]))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE point SET x = 0 WHERE id < 4")
        connection.commit()
    team = [
        subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", code, str(path), str(me), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(4)
    ]
    for one in team:
        assert one.stdout is not None
        one.stdout.readline()
    begin = f"{time() + 0.2}\n"
    for one in team:
        assert one.stdin is not None
        one.stdin.write(begin)
        one.stdin.flush()
    said = [json.loads(one.communicate()[0]) for one in team]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sql = "SELECT x FROM point WHERE id < 4 ORDER BY id"
        kept = [row[0] for row in connection.execute(sql)]
    return {
        "commits": [commits for commits, _, _ in said],
        "errors": sum(errors for _, errors, _ in said),
        "longest_wait_ms": round(max(wait for _, _, wait in said) * 1e3, 1),
        "lost": sum(commits for commits, _, _ in said) - sum(kept),
    }
