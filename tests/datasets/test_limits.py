"""What the pool does when somebody keeps, drops or overuses a connection."""

import asyncio
import contextlib
import gc
import re
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from skatra.datasets import SQLiteConnectionPool, get_db_pool
from skatra.exceptions import PoolTimeoutError, QueryTimeoutError

ENDLESS = (
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT count(*) FROM c"
)
ENOUGH = 20.0


@contextlib.contextmanager
def opened(tmp_path, **options):
    """Give a pool of two readers on a file with one table."""
    path = tmp_path / "x.db"
    with SQLiteConnectionPool(path, create=True, max_readers=2, **options) as pool:
        with pool.get_connection(readonly=False) as connection:
            connection.execute("CREATE TABLE t (x INTEGER) STRICT")
        yield pool


def in_thread(function):
    """Run a function in a thread of its own and wait for it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(ENOUGH)
    assert not thread.is_alive()


def test_a_dropped_block_gives_its_connection_back(tmp_path):
    """Who forgets to leave a block is named, and others get the connection."""
    with opened(tmp_path) as pool:
        for _ in range(2):
            in_thread(lambda: pool.get_connection().__enter__())
        gc.collect()
        assert pool.stats()["readers_in_use"] == 2
        with (
            pytest.warns(
                RuntimeWarning, match=r"test_limits\.py:\d+\) and was dropped"
            ),
            pool.get_connection(timeout=ENOUGH) as connection,
        ):
            connection.execute("SELECT 1").fetchone()
        assert pool.stats()["leaked"] == 2
        assert pool.stats()["readers_in_use"] == 0


def test_a_dropped_write_is_rolled_back(tmp_path):
    """Nothing of a write whose block never ended is kept, and others may write."""
    with opened(tmp_path) as pool:

        def forget():
            block = pool.get_connection(readonly=False)
            block.__enter__().execute("INSERT INTO t VALUES (1)")

        in_thread(forget)
        with (
            pytest.warns(RuntimeWarning, match="holds the writer"),
            pool.get_connection(readonly=False, timeout=ENOUGH) as connection,
        ):
            count = connection.execute("SELECT count(*) FROM t").fetchone()
        assert count == (0,)


def test_holders_that_ended_or_stay_too_long_are_named(tmp_path):
    """Who waits warns of them, once each, at the line that took the connection."""
    with opened(tmp_path, leak_after=0.0) as pool:
        kept = []

        def keep():
            kept.append(pool.get_connection())
            kept[-1].__enter__()

        in_thread(keep)
        with pool.get_connection(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")

            def wait():
                with contextlib.suppress(PoolTimeoutError):
                    pool.get_connection(timeout=0.8).__enter__()

            in_thread(wait)
        messages = sorted(str(entry.message) for entry in caught)
        assert len(messages) == 2
        assert any("although its thread has ended" in m for m in messages)
        assert any("leak_after=0 s" in m for m in messages)
        assert all(re.search(r"test_limits\.py:\d+\)", m) for m in messages)
        kept[0].__exit__(None, None, None)


def test_an_endless_query_is_interrupted(tmp_path):
    """The limit ends it by name; the connection serves on, without a limit."""
    with opened(tmp_path) as pool:

        def run():
            with pool.get_connection(limit=0.05) as connection:
                connection.execute(ENDLESS).fetchone()

        for _ in range(2):
            with pytest.raises(QueryTimeoutError, match=r"limit=seconds"):
                run()
        with pool.get_connection() as connection:
            count = f"SELECT count(*) FROM ({ENDLESS} LIMIT 1) WHERE 0"
            assert connection.execute(count).fetchone() == (0,)
        with pytest.raises(ValueError, match="limit must be seconds"):
            pool.get_connection(limit=-1)


def test_a_limit_holds_whatever_others_do_with_their_connection(tmp_path):
    """Who closes one inside its block takes the limit from nobody else."""
    with opened(tmp_path) as pool:
        with pool.get_connection(limit=0.01) as connection:
            connection.close()
            time.sleep(0.1)
        finite = ENDLESS.replace("FROM c)", "FROM c LIMIT 30000000)")
        with pytest.raises(QueryTimeoutError), pool.get_connection(limit=0.05) as own:
            own.execute(finite).fetchone()


def test_the_limit_of_a_pool_holds_for_every_block(tmp_path):
    """query_limit is the default limit of reads and writes."""
    with opened(tmp_path, query_limit=0.05) as pool:
        for readonly in (True, False):
            with (
                pytest.raises(QueryTimeoutError),
                pool.get_connection(readonly=readonly) as connection,
            ):
                connection.execute(ENDLESS).fetchone()


def test_connections_age(tmp_path):
    """Beyond max_life they are opened anew; unused ones close after max_idle."""
    with opened(tmp_path, max_life=0.0, max_idle=0.0) as pool:
        meeting = threading.Barrier(2)

        def use():
            with pool.get_connection():
                meeting.wait(ENOUGH)

        thread = threading.Thread(target=use)
        thread.start()
        with pool.get_connection() as first:
            meeting.wait(ENOUGH)
        thread.join(ENOUGH)
        assert pool.stats()["readers_open"] == 2
        time.sleep(1.05)  # the pool looks once a second
        with pool.get_connection() as second:
            assert second is not first
        assert pool.stats()["readers_open"] == 1


def test_the_log_stays_short_although_readers_overlap(tmp_path):
    """Readers that never pause do not make the write-ahead log grow without end."""
    limit = 1 << 18
    with opened(tmp_path, wal_limit=limit) as pool:
        stop = [False]

        def read():
            while not stop[0]:
                with pool.get_connection() as connection:
                    connection.execute("SELECT count(*) FROM t").fetchone()
                    time.sleep(0.002)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 2.5
        rows = [(k,) for k in range(2000)]
        while time.monotonic() < deadline:
            with pool.get_connection(readonly=False) as connection:
                connection.execute("DELETE FROM t")
                connection.executemany("INSERT INTO t VALUES (?)", rows)
        stop[0] = True
        for thread in threads:
            thread.join(ENOUGH)
        assert pool.stats()["checkpoints"] > 0
        assert pool.stats()["wal_bytes"] < 200 * limit


def test_a_reader_that_pins_the_log_is_named(tmp_path):
    """The commit succeeds; a warning says who keeps the log from shrinking."""
    with opened(tmp_path, wal_limit=0) as pool:
        release, entered = threading.Event(), threading.Event()

        def hold():
            with pool.get_connection() as connection:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM t").fetchone()
                entered.set()
                release.wait(ENOUGH)

        thread = threading.Thread(target=hold, name="long reader")
        thread.start()
        entered.wait(ENOUGH)
        time.sleep(1.05)  # at most one attempt in a second
        with (
            pytest.warns(RuntimeWarning, match=r"cannot be emptied: long reader holds"),
            pool.get_connection(readonly=False) as connection,
        ):
            connection.execute("INSERT INTO t VALUES (1)")
        release.set()
        thread.join(ENOUGH)
        with pool.get_connection() as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_a_warning_that_is_an_error_leaves_a_commit_alone(tmp_path):
    """What was kept is not reported as failed; the warning is shown."""
    with opened(tmp_path, wal_limit=0) as pool:
        time.sleep(1.05)  # at most one attempt in a second
        reader = sqlite3.connect(pool.path)
        with contextlib.closing(reader):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM t").fetchone()
            with warnings.catch_warnings(record=True) as shown:
                warnings.simplefilter("error")
                with pool.get_connection(readonly=False) as connection:
                    connection.execute("INSERT INTO t VALUES (1)")
        with pool.get_connection() as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert ["emptied: a reader of another" in str(w.message) for w in shown] == [True]


def test_a_forgotten_pool_refreshes_the_plans_of_queries(tmp_path):
    """As one that is closed: SQLite analyzes the tables that its writer queried."""
    with opened(tmp_path) as pool:
        pass
    pool = get_db_pool(pool.path)
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE u (x INTEGER, y INTEGER) STRICT")
        connection.execute("CREATE INDEX u_x ON u (x)")
        connection.executemany(
            "INSERT INTO u VALUES (?, ?)", [(k % 9, k) for k in range(999)]
        )
        connection.execute("SELECT y FROM u WHERE x = 1").fetchall()
    path = pool.path
    del pool, connection
    gc.collect()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT idx FROM sqlite_stat1").fetchall() == [("u_x",)]


def test_a_durable_commit_waits_for_the_disk(tmp_path):
    """Synchronous is FULL inside such a block and NORMAL in the next one."""
    with opened(tmp_path) as pool:
        levels = []
        for durable in (True, False, True):
            with pool.get_connection(readonly=False, durable=durable) as connection:
                levels += connection.execute("PRAGMA synchronous").fetchone()
        assert levels == [2, 1, 2]


def test_a_database_in_memory_is_shared_and_ends(tmp_path, monkeypatch):
    """All connections see it, other pools do not, and no file stays."""
    monkeypatch.chdir(tmp_path)
    pool = get_db_pool(":memory:")
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE t (x)")
    seen = []

    def look():
        with pool.get_connection() as connection:
            seen.append(connection.execute("SELECT count(*) FROM t").fetchone())

    in_thread(look)
    other = get_db_pool(":memory:")
    with other.get_connection() as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (
            0,
        )
    path = pool.path
    pool.close()
    other.close()

    assert seen == [(0,)]
    assert not path.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_event_loop_goes_on(tmp_path):
    """Queries of coroutines run in threads, at the same time."""
    with opened(tmp_path) as pool:

        async def both():
            def insert(connection):
                connection.execute("INSERT INTO t VALUES (1)")

            def count(connection):
                return connection.execute("SELECT count(*) FROM t").fetchone()[0]

            await pool.run_async(insert, readonly=False)
            return await asyncio.gather(*(pool.run_async(count) for _ in range(5)))

        assert asyncio.run(both()) == [1] * 5


ALL_OF_SKATRA = """
import importlib, pkgutil, re
import skatra
from pathlib import Path
for module in pkgutil.walk_packages(skatra.__path__, "skatra."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from skatra.datasets import Database, load_dataset, load_index_bars
with Database(":memory:") as db:
    db.write_bars(load_index_bars().iloc[:50])
    db.read_sql("SELECT * FROM bars")
    db.check()
for line in Path("/proc/self/maps").read_text().splitlines():
    path = line.split()[-1]
    if path.startswith("/") and b"SQLite format 3" in Path(path).read_bytes():
        print(path)
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_one_sqlite_library_is_loaded():
    """A second copy in the process would cancel the first one's locks.

    Whatever file is mapped that knows how an SQLite file begins is such a copy; all of
    skatra is imported before.
    """
    done = subprocess.run(
        [sys.executable, "-c", ALL_OF_SKATRA],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(set(done.stdout.split())) == 1, done.stdout
