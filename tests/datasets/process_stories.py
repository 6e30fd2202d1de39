"""Stories with real processes, each run by test_processes in an interpreter of its own.

A story asserts by itself and exits with 0, so that forks and kills never touch the
process that runs the tests.
"""

import gc
import os
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

from skatra.datasets import SQLiteConnectionPool, get_db_pool
from skatra.datasets._file_lock import FileLock
from skatra.exceptions import PoolForkedError, PoolTimeoutError

DESCRIPTORS = Path("/proc/self/fd")
CREATE = "CREATE TABLE t (who TEXT, x INTEGER) STRICT"


def forked(function, *args):
    """Run a function in a forked child; its exit status is the result."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function(*args)
        status = 0
    except BaseException:  # noqa: BLE001 - shown by the test that runs the story
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended_well(*pids):
    """Wait for children and see that each came to its end."""
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def insert(pool, who, n, start=0):
    """Commit n rows one by one."""
    for x in range(start, start + n):
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (?, ?)", (who, x))


def count(path):
    """Count rows with a pool of its own."""
    with SQLiteConnectionPool(path) as pool, pool.get_connection() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def not_inherited(*paths):
    """See that this child has no file of a database open."""
    if DESCRIPTORS.is_dir():
        kept = {str(file.resolve()) for file in DESCRIPTORS.iterdir()}
        for path in paths:
            assert not {str(path), f"{path}-wal", f"{path}-shm"} & kept


def made(path):
    """Give a pool on a file with one table."""
    pool = get_db_pool(path, create=True)
    with pool.get_connection(readonly=False) as connection:
        connection.execute(CREATE)
    return pool


def idle_fork(path):
    """Parent idle, child uses the pool, parent closes, child commits 300 rows."""
    pool = made(path)
    insert(pool, "parent", 1)
    with pool.get_connection() as connection:
        connection.execute("SELECT count(*) FROM t").fetchone()
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()

    def child():
        insert(pool, "child", 1)
        os.write(from_child, b"x")
        os.read(to_child, 1)
        insert(pool, "child", 300, start=1)

    pid = forked(child)
    os.read(to_parent, 1)
    pool.close()
    os.write(from_parent, b"x")
    ended_well(pid)
    assert count(path) == 302


def both_go_on(path):
    """After a fork parent and child write at the same time, grandchildren too."""
    pool = made(path)

    def child():
        pid = forked(insert, pool, "grandchild", 50)
        insert(pool, "child", 50)
        ended_well(pid)

    pid = forked(child)
    insert(pool, "parent", 50)
    ended_well(pid)
    assert count(path) == 150


def fork_inside_a_write(path):
    """The child refuses by name on every way to the file; the parent's rows stay."""
    pool = made(path)

    def child(connection):
        for refused in (
            lambda: insert(pool, "child", 1),
            lambda: connection.execute("INSERT INTO t VALUES ('child', 1)"),
            lambda: insert(SQLiteConnectionPool(path), "child", 1),
            lambda: insert(get_db_pool(path), "child", 1),
        ):
            try:
                refused()
            except PoolForkedError:
                continue
            raise AssertionError

    with pool.get_connection(readonly=False) as connection:
        connection.execute("INSERT INTO t VALUES ('parent', 0)")
        ended_well(forked(child, connection))
        connection.execute("INSERT INTO t VALUES ('parent', 1)")
    insert(pool, "parent", 10)
    assert count(path) == 12


def leaving_the_block_in_the_child(path):
    """A child that leaves the parent's block neither commits nor stays silent."""
    pool = made(path)
    try:
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES ('parent', 0)")
            pid = os.fork()
    except PoolForkedError:
        os._exit(0)
    if not pid:
        os._exit(1)
    ended_well(pid)
    assert count(path) == 1


def other_thread_holds(path):
    """A fork waits for other threads; if in vain, the child refuses."""
    pool = made(path)
    brief = threading.Thread(target=insert, args=(pool, "thread", 200))
    brief.start()
    children = [forked(insert, pool, "child", 5) for _ in range(5)]
    brief.join()
    ended_well(*children)
    assert count(path) == 225
    release, entered = threading.Event(), threading.Event()

    def hold():
        with pool.get_connection():
            entered.set()
            release.wait()

    thread = threading.Thread(target=hold, name="reader")
    thread.start()
    entered.wait()

    def child():
        try:
            insert(pool, "child", 1)
        except PoolForkedError as error:
            assert "reader holds a reader" in str(error)  # noqa: PT017
        else:
            raise AssertionError

    pid = forked(child)
    release.set()
    thread.join()
    ended_well(pid)
    insert(pool, "parent", 1)
    assert count(path) == 226


def forks_among_readers(path):
    """Wherever readers are on their way, no descriptor of the file is inherited."""
    sys.setswitchinterval(1e-6)
    pool, stop = made(path), threading.Event()

    def read():
        while not stop.is_set():
            with pool.get_connection() as connection:
                connection.execute("SELECT count(*) FROM t").fetchone()

    def child():
        not_inherited(path)
        insert(pool, "child", 1)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for k in range(60):
        ended_well(forked(child))
        insert(pool, "parent", 1)
        assert pool.stats()["readers_in_use"] <= pool.stats()["max_readers"], k
    stop.set()
    for thread in threads:
        thread.join()
    pool.recover_forsaken()
    stats = pool.stats()
    assert (stats["readers_in_use"], stats["leaked"], stats["timeouts"]) == (0, 0, 0)
    assert count(path) == 120


def a_checkpoint_ends_during_a_fork(path):
    """Nothing is lent before the fork is over, whatever else ends meanwhile."""
    pool = SQLiteConnectionPool(
        path, create=True, wal_limit=0, max_readers=2, fork_wait=20.0
    )
    with pool.get_connection(readonly=False) as connection:
        connection.execute(CREATE)
    entered, release, over = (threading.Event() for _ in range(3))
    taken_in_time = []

    def hold():
        with pool.get_connection() as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM t").fetchone()
            entered.set()
            release.wait()

    def late():
        # The checkpoint gives up on the reader above before the fork does.
        writer.join()
        threading.Timer(0.2, release.set).start()
        with pool.get_connection():
            taken_in_time.append(not over.is_set())
            over.wait(30)

    def child():
        not_inherited(path)
        insert(pool, "child", 1)

    warnings.simplefilter("ignore")
    pool.log._tried = 0.0  # it tries once a second
    writer = threading.Thread(target=insert, args=(pool, "parent", 1))
    threads = [threading.Thread(target=f) for f in (hold, late)]
    threads[0].start()
    entered.wait()
    writer.start()
    threads[1].start()
    while pool.serving:
        time.sleep(0.001)
    pid = forked(child)
    over.set()
    for thread in threads:
        thread.join()
    assert taken_in_time == [False]
    ended_well(pid)
    insert(pool, "parent", 1)
    assert count(path) == 3


def fork_while_a_pool_ends(path):
    """A fork waits for a pool that is closing, or that nobody refers to any more."""

    def child():
        not_inherited(path)
        with SQLiteConnectionPool(path) as own:
            insert(own, "child", 1)

    made(path).close()
    for how in ("closed", "forgotten"):
        pools = [SQLiteConnectionPool(path)]
        insert(pools[0], how, 1)
        writer = pools[0].writers.slots[0]
        end = pools[0].close if how == "closed" else pools.clear
        # The writer waits for this lock before it is closed.
        lock = FileLock(Path(f"{path}-lock"))
        assert lock.acquire(0)
        thread = threading.Thread(target=end)
        del end
        thread.start()
        while writer.connection is not None:
            time.sleep(0.001)
        pid = forked(child)
        lock.close()
        thread.join()
        ended_well(pid)
    assert count(path) == 4


def a_pool_is_made_during_a_fork(path):
    """It opens nothing before the fork is over."""
    pool, other = made(path), f"{path}2"
    made(other).close()
    gc.collect()
    entered, opened = threading.Event(), threading.Event()
    pools = []

    def hold():
        with pool.get_connection():
            entered.set()
            opened.wait(pool.seconds("fork_wait") / 4)

    def make():
        while pool.serving:
            time.sleep(0.001)
        pools.append(SQLiteConnectionPool(other))
        insert(pools[0], "thread", 1)
        opened.set()

    def child():
        not_inherited(path, other)
        insert(get_db_pool(other), "child", 300)

    threads = [threading.Thread(target=f) for f in (hold, make)]
    for thread in threads:
        thread.start()
    entered.wait()
    pid = forked(child)
    for thread in threads:
        thread.join()
    pools[0].close()
    ended_well(pid)
    assert count(other) == 301


def a_pool_fails_before_a_fork(path):
    """Others are prepared all the same, the lock is let go, the error is told."""
    pools = [made(path), made(f"{path}2")]
    told = []
    sys.unraisablehook = lambda event: told.append(str(event.exc_value))

    def child():
        not_inherited(path, f"{path}2")
        for pool in pools:
            insert(pool, "child", 1)

    for dropped in pools:
        for pool in pools:
            insert(pool, "parent", 1)
        dropped.get_connection().__enter__()
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pid = forked(child)
        ended_well(pid)
        thread = threading.Thread(target=get_db_pool, args=(path,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert "dropped without leaving its block" in told.pop()
        for pool in pools:
            insert(pool, "parent", 1)
    assert not told
    assert count(path) == count(f"{path}2") == 6


def four_writers(path):
    """Four processes write at once: no lock error, none starves, nothing lost."""
    made(path).close()
    done_before = []

    def child(number):
        with SQLiteConnectionPool(path) as pool:
            insert(pool, str(number), 100)

    pids = [forked(child, number) for number in range(4)]
    ended_well(*pids)
    assert count(path) == 400
    with SQLiteConnectionPool(path) as pool, pool.get_connection() as connection:
        rows = connection.execute("SELECT who FROM t ORDER BY rowid").fetchall()
    done_before = [who for (who,) in rows]
    assert all(done_before.count(str(k)) == 100 for k in range(4))


def waiting_for_another_process(path):
    """A write that waits too long names the process and thread that hold the lock."""
    pool = made(path)
    locked, entered = os.pipe()
    wait, release = os.pipe()

    def child():
        with pool.get_connection(readonly=False):
            os.write(entered, b"x")
            os.read(wait, 1)

    pid = forked(child)
    os.read(locked, 1)
    try:
        insert_soon = pool.get_connection(readonly=False, timeout=0.05)
        insert_soon.__enter__()
    except PoolTimeoutError as error:
        assert f"process {pid}, MainThread" in str(error)  # noqa: PT017
    else:
        raise AssertionError
    os.write(release, b"x")
    ended_well(pid)
    insert(pool, "parent", 20)
    assert count(path) == 20


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
