"""What a scrape learns from a database file, without ever failing because of it."""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

from skatra.monitoring._catalogue import LABELS, OTHER
from skatra.monitoring._instruments import recorder

Rows = dict[str, list[tuple[tuple[str, ...], float]]]

DEADLINE = 0.05
COUNT_EVERY = 60.0
QUERY_LIMIT = 2.0

_TABLES = (
    "bars", "feature_chunks", "label_chunks", "labels", "predictions", "runs",
    "settlements", "signals", "symbols", "trades",
)  # fmt: skip
_NEWEST = {
    "bars": "SELECT max(ts) FROM symbols, bars WHERE bars.sid = symbols.sid AND ts = "
    "(SELECT max(ts) FROM bars AS b WHERE b.sid = symbols.sid)",
    "runs": "SELECT max(created_at) FROM runs",
    "trades": "SELECT max(closed_at) FROM trades",
    "predictions": "SELECT max(t0) FROM predictions",
    "settlements": "SELECT max(t1) FROM settlements",
    "signals": "SELECT max(t0) FROM signals",
}
_OUTCOMES = """
    SELECT p.model, count(*), count(s.ret), coalesce(sum(s.ret * p.position > 0), 0)
    FROM predictions AS p LEFT JOIN settlements AS s USING (model, sid, t0)
    GROUP BY p.model ORDER BY max(p.t0) DESC, p.model
"""

Borrow = Callable[[], contextlib.AbstractContextManager[sqlite3.Connection]]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection of the one SQLite library in the process."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=QUERY_LIMIT
    )
    try:
        yield connection
    finally:
        connection.close()


class DatabaseReader:
    """Reads one file beside the scrapes; they wait for it at most `DEADLINE` seconds.

    Row counts and what became of predictions are counted at most once a minute, in a
    thread of their own: a scrape reports the last counts that are complete. A file
    that is missing, locked or damaged gives ``db_collect_success`` 0 and the
    last numbers that were read of its size.

    Parameters
    ----------
    path : path-like
    borrow : callable, default=None
        Gives the context of a connection, such as a pool's ``get_connection``; None
        opens the file read-only each time.
    """

    def __init__(
        self, path: str | os.PathLike[str], borrow: Borrow | None = None
    ) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._borrow = borrow or (lambda: _opened(self.path))
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(2, thread_name_prefix="skatra-db-metrics")
        self._pending: Future[None] | None = None
        self._counting: Future[None] | None = None
        self._quick: Rows = {}
        self._counted: Rows = {}
        self._counted_at = float("-inf")
        self._seconds = 0.0

    def read(self) -> Rows:
        """Return the newest numbers; never raise, never wait beyond the deadline."""
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending = self._worker.submit(self._refresh)
            if self._is_due():
                self._counting = self._worker.submit(self._recount)
            pending, counting = self._pending, self._counting
        success, deadline = 1.0, time.monotonic() + DEADLINE
        try:
            pending.result(DEADLINE)
            if counting is not None:
                with contextlib.suppress(FutureTimeoutError):
                    counting.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError:
            success = 0.0
        except Exception as error:  # noqa: BLE001 - the scrape must go on
            success = 0.0
            recorder().failed("exporter", error)
        rows = {**self._quick, **self._counted} if success else self._file_rows()
        label = (self.name,)
        rows["db_collect_success"] = [(label, success)]
        rows["db_collect_duration_seconds"] = [(label, self._seconds)]
        return rows

    def close(self) -> None:
        """Let the thread go."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _file_rows(self) -> Rows:
        """Return what the file system knows; nothing for a file that is missing."""
        label = (self.name,)
        rows: Rows = {}
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self.path.parent).free
            rows["db_filesystem_free_bytes"] = [(label, float(free))]
        with contextlib.suppress(OSError):
            status = self.path.stat()
            written, log = status.st_mtime, 0
            with contextlib.suppress(OSError):
                wal = self.path.with_name(f"{self.name}-wal").stat()
                log = wal.st_size
                written = max(written, wal.st_mtime)
            rows["db_size_bytes"] = [(label, float(status.st_size))]
            rows["db_wal_size_bytes"] = [(label, float(log))]
            rows["db_last_write_timestamp_seconds"] = [(label, written)]
        return rows

    def _refresh(self) -> None:
        start = time.perf_counter()
        self.path.stat()
        rows = self._file_rows()
        with self._borrow() as connection:
            free = _one(connection, "PRAGMA freelist_count")
            page = _one(connection, "PRAGMA page_size")
            _one(connection, "SELECT count(*) FROM sqlite_schema")
            rows["db_freelist_bytes"] = [((self.name,), float(free * page))]
            self._quick = rows
            self._seconds = time.perf_counter() - start

    def _is_due(self) -> bool:
        """Tell whether it is time to count, and nobody does."""
        idle = self._counting is None or self._counting.done()
        return idle and time.monotonic() - self._counted_at >= COUNT_EVERY

    def _recount(self) -> None:
        with self._borrow() as connection:
            self._counted = self._count(connection)
        self._counted_at = time.monotonic()

    def _count(self, connection: sqlite3.Connection) -> Rows:
        """Return row counts, newest times and what became of predictions."""
        there = {
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
            ).fetchall()
        }
        rows: Rows = {"db_table_rows": [], "db_latest_event_timestamp_seconds": []}
        for table in _TABLES:
            if table not in there:
                continue
            count = _one(connection, f"SELECT count(*) FROM {table}")  # noqa: S608
            rows["db_table_rows"].append(((self.name, table), float(count)))
            newest = _one(connection, _NEWEST[table]) if table in _NEWEST else None
            if newest is not None:
                rows["db_latest_event_timestamp_seconds"].append(
                    ((self.name, table), newest / 1e9)
                )
        if {"predictions", "settlements"} <= there:
            states = rows["db_predictions"] = []
            found = connection.execute(_OUTCOMES).fetchall()
            for place, (run, n, settled, won) in enumerate(found):
                label = run if place < LABELS["run"].cap else OTHER
                for state, value in (
                    ("open", n - settled),
                    ("won", won),
                    ("lost", settled - won),
                ):
                    _add(states, (self.name, label, state), float(value))
        return rows


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _add(
    rows: list[tuple[tuple[str, ...], float]], labels: tuple[str, ...], value: float
) -> None:
    """Add to the row of these labels, or append one."""
    for place, (found, old) in enumerate(rows):
        if found == labels:
            rows[place] = (labels, old + value)
            return
    rows.append((labels, value))
