"""What a scrape learns from a database file, without ever failing because of it."""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

from skatra.monitoring._catalogue import LABELS, OTHER
from skatra.monitoring._instruments import recorder

Rows = dict[str, list[tuple[tuple[str, ...], float]]]

DEADLINE = 0.05
COUNT_EVERY = 60.0
QUERY_LIMIT = 2.0
FRESH = 90.0
"""Seconds for which a reading stands: Prometheus' usual minute, and half of one."""

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
    SELECT p.model, count(*) - count(s.ret),
    coalesce(sum(s.ret IS NOT NULL AND p.position = 0), 0),
    coalesce(sum(s.ret * p.position > 0), 0),
    coalesce(sum(s.ret * p.position <= 0 AND p.position <> 0), 0)
    FROM predictions AS p LEFT JOIN settlements AS s USING (model, sid, t0)
    GROUP BY p.model ORDER BY max(p.t0) DESC, p.model
"""

_STATES = ("open", "no_stake", "won", "lost")

_NO_LOG = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
"""What SQLite says where it may not make the log that it needs to read."""

Borrow = Callable[[], contextlib.AbstractContextManager[sqlite3.Connection]]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection of the one SQLite library in the process.

    A file at rest in a folder where nobody may write is read without locks, and in
    vain if it has changed meanwhile. Behind a link, the log is beside the file itself.
    """
    still, path = None, _resolved(path)
    connection = _connect(path, "mode=ro")
    try:
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").close()
        except sqlite3.OperationalError as error:
            still = _trace(path)
            if error.sqlite_errorcode & 0xFF not in _NO_LOG or still[1] is not None:
                raise
            connection.close()
            connection = _connect(path, "mode=ro&immutable=1")
        yield connection
    finally:
        connection.close()
    if still is not None and _trace(path) != still:
        raise sqlite3.OperationalError(
            "the file changed while it was read without locks."
        )


def _resolved(path: Path) -> Path:
    """Return where the file is that a link names, now: links may be moved."""
    return Path(os.path.realpath(path))


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}", uri=True, timeout=QUERY_LIMIT
    )


def _trace(path: Path) -> list[tuple[int, int] | None]:
    """Return size and time of the file and of its log, None where there is none."""
    found: list[tuple[int, int] | None] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = file.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return found


class DatabaseReader:
    """Reads one file beside the scrapes; they wait for it at most `DEADLINE` seconds.

    Row counts and what became of predictions are counted at most once a minute, in a
    thread of their own: a scrape reports the last counts that are complete. Beside a
    slow disk it reports the last reading, for at most `FRESH` seconds. A file that is
    missing, locked or damaged gives ``db_collect_success`` 0 and the last numbers that
    were read of its size, until a reading, and a count after a count that failed,
    succeed.

    Who reads needs the right to read the file and to enter its folder. While the
    database is in use he needs to read its ``-wal`` and ``-shm``, too, and where one of
    them is missing, to write in the folder.

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
        self._closed = False
        self._pending: Future[None] | None = None
        self._counting: Future[None] | None = None
        self._failed: set[str] = set()
        self._files: Rows = {}
        self._quick: Rows = {}
        self._counted: Rows = {}
        self._read_at = self._counted_at = float("-inf")
        self._started_at = 0.0
        self._seconds = 0.0

    def read(self) -> Rows:
        """Return the newest numbers; never raise, never wait beyond the deadline.

        Only the reader's own threads touch the file: a disk that hangs holds up them,
        and neither scrapes nor the end of the process.
        """
        self.start()
        return self.finish(time.monotonic() + DEADLINE)

    def start(self) -> None:
        """Begin to read, unless a reading is under way."""
        with self._lock:
            if self._closed:
                return
            if self._pending is None or self._pending.done():
                self._started_at = time.monotonic()
                self._pending = self._begin(self._refresh)
            if self._is_due():
                self._counting = self._begin(self._recount, after=self._pending)

    def finish(self, until: float) -> Rows:
        """Return the newest numbers, those of what ends until then included.

        Parameters
        ----------
        until : float
            On the clock of ``time.monotonic``.
        """
        with self._lock:
            under_way = list(filter(None, [self._pending, self._counting]))
        left = wait(under_way, max(0.0, until - time.monotonic())).not_done
        now = time.monotonic()
        success = now - self._read_at < FRESH and not self._failed
        seconds = self._seconds
        if self._pending in left:
            seconds = max(seconds, now - self._started_at)
        rows = {**self._quick, **self._counted} if success else dict(self._files)
        label = (self.name,)
        rows["db_collect_success"] = [(label, float(success))]
        rows["db_collect_duration_seconds"] = [(label, seconds)]
        return rows

    def close(self) -> None:
        """Begin no further reading."""
        self._closed = True

    def _begin(
        self, step: Callable[[], None], after: Future[None] | None = None
    ) -> Future[None]:
        """Take a step in a thread that the end of the process does not wait for.

        What comes ``after`` a reading is left out where that failed: it would fail for
        the same reason, and be a second error.
        """
        ended: Future[None] = Future()

        def run() -> None:
            try:
                if after is not None:
                    wait([after])
                if after is None or self._refresh.__name__ not in self._failed:
                    self._try(step)
            finally:
                ended.set_result(None)

        thread = threading.Thread(target=run, name="skatra-db-metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            self._fail(step, error)
            ended.set_result(None)
        return ended

    def _file_rows(self) -> Rows:
        """Return what the file system knows; nothing for a file that is missing."""
        label, path = (self.name,), _resolved(self.path)
        rows: Rows = {}
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(path.parent).free
            rows["db_filesystem_free_bytes"] = [(label, float(free))]
        with contextlib.suppress(OSError):
            status = path.stat()
            written, log = status.st_mtime, 0
            with contextlib.suppress(OSError):
                wal = path.with_name(f"{path.name}-wal").stat()
                log = wal.st_size
                written = max(written, wal.st_mtime)
            rows["db_size_bytes"] = [(label, float(status.st_size))]
            rows["db_wal_size_bytes"] = [(label, float(log))]
            rows["db_last_write_timestamp_seconds"] = [(label, written)]
        return rows

    def _try(self, step: Callable[[], None]) -> None:
        """Take a step; keep whether it failed, and count the error."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the next scrape tries again
            self._fail(step, error)
        else:
            self._failed.discard(step.__name__)

    def _fail(self, step: Callable[[], None], error: Exception) -> None:
        self._failed.add(step.__name__)
        recorder().failed("exporter", error)

    def _refresh(self) -> None:
        start = time.perf_counter()
        try:
            self._files = rows = self._file_rows()
            self.path.stat()
            with self._borrow() as connection:
                free = _one(connection, "PRAGMA freelist_count")
                page = _one(connection, "PRAGMA page_size")
                _one(connection, "SELECT count(*) FROM sqlite_schema")
            self._quick = dict(rows)
            self._quick["db_freelist_bytes"] = [((self.name,), float(free * page))]
            self._read_at = time.monotonic()
        finally:
            self._seconds = time.perf_counter() - start

    def _is_due(self) -> bool:
        """Tell whether it is time to count, and nobody does."""
        idle = self._counting is None or self._counting.done()
        return idle and time.monotonic() - self._counted_at >= COUNT_EVERY

    def _recount(self) -> None:
        with self._borrow() as connection:
            counted = self._count(connection)
        self._counted = counted
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
            for place, (run, *counts) in enumerate(found):
                label = run if place < LABELS["run"].cap else OTHER
                for state, value in zip(_STATES, counts, strict=True):
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
