"""The pool: bounded, fair, clean on return, and clear when it cannot serve."""

import contextlib
import functools
import gc
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skatra.datasets import Database, SQLiteConnectionPool, _forks, get_db_pool
from skatra.exceptions import (
    DatabaseError,
    DatabaseNotFoundError,
    PoolClosedError,
    PoolTimeoutError,
)

ENOUGH = 20.0


@pytest.fixture
def pool(tmp_path):
    """Give a pool of two readers on a file with one table."""
    with SQLiteConnectionPool(
        tmp_path / "x.db", create=True, max_readers=2, timeout=ENOUGH
    ) as pool:
        with pool.get_connection(readonly=False) as connection:
            connection.execute("CREATE TABLE t (x INTEGER) STRICT")
        yield pool


def rows(pool):
    """Return all rows of the table."""
    with pool.get_connection() as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY rowid")]


def in_threads(*functions):
    """Run functions in threads of their own and raise what they raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENOUGH)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def wait_until(condition):
    """Wait for another thread to get somewhere."""
    deadline = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def open_files():
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_write_is_kept_or_undone_as_a_whole(pool):
    """Commit when the block ends, roll back when it raises."""
    with pool.get_connection(readonly=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")

    def fail():
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert rows(pool) == [1]


def test_readers_cannot_write(pool):
    """A read-only connection refuses, and cannot be talked out of it."""

    def write():
        with pool.get_connection() as connection:
            connection.execute("PRAGMA query_only = OFF")
            connection.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(DatabaseError):
        write()
    assert rows(pool) == []


def test_connections_come_back_clean(pool):
    """Cursors are closed, transactions ended, factories reset."""
    with pool.get_connection() as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        cursor = connection.execute("SELECT x FROM t")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cursor.fetchone()
    with pytest.raises(DatabaseError, match="given back"):
        connection.execute("SELECT 1")
    with pool.get_connection() as again:
        assert again is connection
        assert not again.in_transaction
        assert again.row_factory is None


def test_a_transaction_that_ended_early_is_no_success(pool):
    """Who commits by hand inside the block is told that the block could not."""

    def commit_by_hand():
        with pool.get_connection(readonly=False) as connection:
            connection.commit()

    with pytest.raises(DatabaseError, match="ended before its block"):
        commit_by_hand()
    with pool.get_connection(readonly=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert rows(pool) == [1]


@pytest.mark.parametrize("how", ["execute", "executemany", "executescript"])
@pytest.mark.parametrize("where", ["connection", "cursor", "earlier", "result"])
def test_nothing_is_kept_by_itself_after_the_transaction_ended(pool, how, where):
    """Once SQLite has undone a block, no later statement of it is kept."""
    insert = {
        "execute": ("INSERT INTO t VALUES (2)",),
        "executemany": ("INSERT INTO t VALUES (?)", [(2,)]),
        "executescript": ("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);",),
    }

    def block():
        with pool.get_connection(readonly=False) as connection:
            places = {"connection": connection, "earlier": connection.cursor()}
            places["result"] = connection.execute("INSERT INTO t VALUES (1)")
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute("INSERT OR ROLLBACK INTO t VALUES (NULL)")
            place = places[where] if where in places else connection.cursor()
            getattr(place, how)(*insert[how])

    with pool.get_connection(readonly=False) as connection:
        connection.execute("DROP TABLE t")
        connection.execute("CREATE TABLE t (x NOT NULL)")
    with pytest.raises(DatabaseError, match="kept by itself"):
        block()
    assert rows(pool) == []


@pytest.mark.parametrize("where", ["connection", "cursor"])
def test_a_script_is_a_part_of_its_block(pool, where):
    """All its statements are kept or undone with the block, as SQLite splits them."""
    script = """
        CREATE TABLE log (text TEXT) STRICT; -- not the end; nor this
        CREATE TRIGGER noted AFTER INSERT ON t BEGIN
            INSERT INTO log VALUES ('a;b' || NEW.x); INSERT INTO log VALUES (';');
        END;
        INSERT INTO t VALUES (1) /* ; */; SELECT x FROM t;
        ; INSERT INTO t VALUES (2)
        -- the last one needs no end;
    """

    def block(*, fails):
        with pool.get_connection(readonly=False) as connection:
            place = connection if where == "connection" else connection.cursor()
            place.executescript(script)
            if fails:
                raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        block(fails=True)
    assert rows(pool) == []
    block(fails=False)
    assert rows(pool) == [1, 2]
    with pool.get_connection() as connection:
        logged = connection.execute("SELECT text FROM log").fetchall()
    assert logged == [("a;b1",), (";",), ("a;b2",), (";",)]


@pytest.mark.parametrize("readonly", [True, False])
def test_no_other_file_is_attached(pool, readonly):
    """It would stay for the next borrower; the refusal says what to do."""

    def block():
        with pool.get_connection(readonly=readonly) as connection:
            connection.execute("ATTACH ':memory:' AS other")

    with pytest.raises(DatabaseError, match=r"must not ATTACH .* Database of its own"):
        block()
    with pool.get_connection(readonly=readonly) as connection:
        names = [row[1] for row in connection.execute("PRAGMA database_list")]
    assert names == ["main"]


STATE = (
    "SELECT (SELECT foreign_keys FROM pragma_foreign_keys), "
    "(SELECT count(*) FROM sqlite_temp_schema), 'a' LIKE 'A', "
    "(SELECT query_only FROM pragma_query_only), "
    "(SELECT ignore_check_constraints FROM pragma_ignore_check_constraints)"
)


LASTING = [
    "PRAGMA case_sensitive_like = ON",
    "pragma case_sensitive_like(1)",
    "/* mine */ Pragma Ignore_Check_Constraints/**/=1",
    "EXPLAIN PRAGMA query_only = 0",
    "CREATE TEMP TABLE t (x)",
    "-- mine\n create table [temp].t (x)",
    "CREATE TEMPORARY VIEW t AS SELECT 1",
]


def run_by_cursor(connection, sql):
    """Run a statement by a cursor."""
    connection.cursor().execute(sql)


def run_by_other_cursor(connection, sql):
    """Run a statement by a cursor of another class."""
    connection.cursor(sqlite3.Cursor).execute(sql)


def run_many(connection, sql):
    """Run a statement for no parameters; SQLite sets things before it refuses."""
    with contextlib.suppress(sqlite3.ProgrammingError):
        connection.executemany(sql, [])


@pytest.mark.parametrize("timeout", [None, ENOUGH])
@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize(
    "run",
    [
        lambda connection, sql: connection.execute(sql),
        lambda connection, sql: connection.executescript(f"SELECT 1; {sql}; SELECT 2"),
        run_by_cursor,
        run_by_other_cursor,
        run_many,
    ],
)
def test_nothing_stays_for_the_next_borrower(pool, readonly, timeout, run):
    """Neither settings nor temporary tables, which hide those of the file."""

    def borrow():
        return pool.get_connection(readonly=readonly, timeout=timeout)

    with borrow() as connection:
        fresh = connection.execute(STATE).fetchone()
    for sql in LASTING:
        with borrow() as connection, contextlib.suppress(sqlite3.Error):
            if readonly and "temp" in sql.lower():
                run(connection, "PRAGMA query_only = OFF")
            run(connection, sql)
        with borrow() as connection:
            assert connection.execute(STATE).fetchone() == fresh, sql
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
        assert rows(pool) == [1]
        with pool.get_connection(readonly=False) as connection:
            connection.execute("DELETE FROM t")


@pytest.mark.parametrize("timeout", [None, ENOUGH])
def test_a_setting_of_an_inner_block_ends_with_the_outer_one(pool, timeout):
    """Also if the outer block runs nothing of its own."""
    with pool.get_connection() as connection:
        fresh = connection.execute(STATE).fetchone()
    with (
        pool.get_connection(),
        pool.get_connection(timeout=timeout) as connection,
    ):
        connection.execute("PRAGMA case_sensitive_like = ON")
        connection.execute("PRAGMA ignore_check_constraints = ON")
    with pool.get_connection() as connection:
        assert connection.execute(STATE).fetchone() == fresh


def test_reading_a_setting_costs_no_connection(pool):
    """Nor does a word in a text or a name; a commit to the disk does not, either."""
    opened = []
    for _ in range(3):
        for readonly in (True, False):
            for durable in (True, False):
                with pool.get_connection(
                    readonly=readonly, durable=durable
                ) as connection:
                    connection.execute("PRAGMA user_version").fetchone()
                    connection.execute("SELECT 'PRAGMA x = 1', 'temp'").fetchone()
                    connection.execute("EXPLAIN SELECT 1").fetchone()
        opened.append(pool.stats()["opened"])
    assert opened[0] == opened[-1]


def test_an_open_blob_holds_nothing_after_its_block(pool):
    """The next reader sees what was written since; the writer is free."""
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE b (x BLOB) STRICT")
        connection.execute("INSERT INTO b VALUES (zeroblob(9))")
    one = SQLiteConnectionPool(pool.path, max_readers=1)
    for readonly in (True, False):
        with one.get_connection(readonly=readonly) as connection:
            blob = connection.blobopen("b", "x", 1, readonly=readonly)
            assert blob.read() == bytes(9)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            blob.read()
        with one.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
        assert rows(one) == rows(pool)
    assert rows(one) == [1, 1]
    one.close()


def test_one_thread_never_waits_for_itself(pool):
    """Nested reads share a connection; reads in a write see it; writes refuse."""
    with pool.get_connection() as outer:
        with pool.get_connection() as inner, pool.get_connection(timeout=0) as third:
            assert outer is inner is third
            leftover = inner.execute("SELECT 1")
        assert outer.execute("SELECT 2").fetchone() == (2,)
        with pytest.raises(sqlite3.ProgrammingError):
            leftover.fetchone()
        with pool.get_connection(readonly=False) as writer:
            writer.execute("INSERT INTO t VALUES (7)")
            assert rows(pool) == [7]
            with pytest.raises(DatabaseError, match=r"inside a write.*test_pool\.py"):
                pool.get_connection(readonly=False).__enter__()
    assert pool.stats()["readers_in_use"] == 0


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("timeout", [None, ENOUGH])
def test_a_block_that_outlives_the_one_around_it_meets_nobody(pool, readonly, timeout):
    """What it shared is gone with that block, which was kept; it is told so."""
    with pool.get_connection(readonly=False) as connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(0,), (1,)])
    outer = pool.get_connection(readonly=readonly)
    connection = outer.__enter__()
    inner = pool.get_connection(timeout=timeout)
    shared = inner.__enter__()
    assert shared is connection
    unread = shared.execute("SELECT x FROM t")
    if not readonly:
        connection.execute("INSERT INTO t VALUES (2)")
    outer.__exit__(None, None, None)

    def others():
        with pool.get_connection() as reader, pool.get_connection(readonly=False) as w:
            assert shared is not reader
            assert shared is not w
            cursor = reader.execute("SELECT x FROM t ORDER BY x")
            w.execute("INSERT INTO t VALUES (9)")
            left.set()
            assert done.wait(ENOUGH)
            assert cursor.fetchone() == (0,)
            raise KeyError

    left, done = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(others)
        assert left.wait(ENOUGH)
        with pytest.raises(DatabaseError, match="shared has ended"):
            shared.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(sqlite3.ProgrammingError):
            unread.fetchone()
        inner.__exit__(None, None, None)
        done.set()
        assert isinstance(other.exception(ENOUGH), KeyError)
    assert rows(pool) == [0, 1] if readonly else [0, 1, 2]
    stats = pool.stats()
    assert (stats["readers_in_use"], stats["writer_in_use"]) == (0, False)


@pytest.mark.parametrize("timeout", [None, ENOUGH])
@pytest.mark.parametrize("fails", [False, True])
def test_who_closes_a_connection_keeps_no_place(pool, timeout, fails):
    """The next borrower gets a new one; only an open transaction is lost, by name."""

    def block(*, readonly):
        with pool.get_connection(readonly=readonly, timeout=timeout) as connection:
            connection.execute("SELECT x FROM t")
            connection.close()
            with pytest.raises(DatabaseError, match="closed inside"):
                connection.execute("SELECT 1")
            with pool.get_connection() as nested:
                assert nested is connection
            if fails:
                raise KeyError

    outcome = pytest.raises(KeyError) if fails else contextlib.nullcontext()
    for _ in range(3):
        with outcome:
            block(readonly=True)
    refusal = DatabaseError, "could not commit any more"
    error, message = (KeyError, None) if fails else refusal
    with pytest.raises(error, match=message):
        block(readonly=False)
    with pool.get_connection(readonly=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert rows(pool) == [1]
    stats = pool.stats()
    assert (stats["readers_in_use"], stats["writer_in_use"]) == (0, False)
    assert (stats["leaked"], stats["timeouts"]) == (0, 0)
    with SQLiteConnectionPool(pool.path) as other:
        assert rows(other) == [1]


def test_a_timeout_names_the_holders(pool):
    """Thread, file, line and age of every holder stand in the message."""
    release = threading.Event()

    def hold():
        with pool.get_connection(readonly=False):
            release.wait(ENOUGH)

    thread = threading.Thread(target=hold, name="slow writer")
    thread.start()
    try:
        wait_until(lambda: pool.stats()["writer_in_use"])
        pattern = (
            r"no writer .*slow writer holds the writer since .* s \(.*test_pool\.py:\d+"
        )
        with pytest.raises(PoolTimeoutError, match=pattern):
            pool.get_connection(readonly=False, timeout=0.01).__enter__()
    finally:
        release.set()
        thread.join()
    assert pool.stats()["timeouts"] == 1
    assert pool.stats()["waiting_writers"] == 0
    with pool.get_connection(readonly=False, timeout=0.5):
        pass


def test_first_come_first_served(pool):
    """Waiting writers get the connection in the order in which they came."""
    order = []

    def write(number):
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            order.append(number)

    threads = []
    with pool.get_connection(readonly=False):
        for number in range(8):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            wait_until(lambda n=number: pool.stats()["waiting_writers"] == n + 1)
    for thread in threads:
        thread.join(ENOUGH)

    assert order == list(range(8))
    assert rows(pool) == order


@settings(max_examples=20)
@given(
    readers=st.integers(1, 3),
    plans=st.lists(
        st.lists(
            st.sampled_from(["read", "write", "fail", "nest", "brief"]),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_threads_keep_the_bound_and_every_acknowledged_write(
    tmp_path_factory, readers, plans
):
    """Never more connections than allowed; what was committed is there, once."""
    path = tmp_path_factory.mktemp("pool") / "x.db"
    before = open_files()
    pool = SQLiteConnectionPool(path, create=True, max_readers=readers, timeout=ENOUGH)
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE t (x INTEGER) STRICT")
    in_use, most, lock, committed = [0], [0], threading.Lock(), []

    def use(step, value):
        if step in ("read", "brief", "nest"):
            with pool.get_connection(timeout=1e-4 if step == "brief" else None) as c:
                with lock:
                    in_use[0] += 1
                    most[0] = max(most[0], in_use[0])
                c.execute("SELECT count(*) FROM t").fetchone()
                if step == "nest":
                    use("write", value)
                with lock:
                    in_use[0] -= 1
        else:
            with pool.get_connection(readonly=False) as connection:
                connection.execute("INSERT INTO t VALUES (?)", (value,))
                if step == "fail":
                    raise KeyError
            committed.append(value)

    def run(number, plan):
        for k, step in enumerate(plan):
            try:
                use(step, 100 * number + k)
            except (KeyError, PoolTimeoutError):
                assert step in ("fail", "brief")

    in_threads(*(lambda n=n, p=p: run(n, p) for n, p in enumerate(plans)))
    stats = pool.stats()

    assert most[0] <= readers
    assert stats["readers_open"] <= readers
    assert (stats["readers_in_use"], stats["writer_in_use"]) == (0, False)
    assert sorted(rows(pool)) == sorted(committed)
    pool.close()
    assert open_files() <= before


def test_readers_do_not_wait_for_the_writer(pool):
    """A reader works while a write is open, and sees the state before it."""
    with pool.get_connection(readonly=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        seen = []
        in_threads(lambda: seen.extend(rows(pool)))
    assert seen == []
    assert rows(pool) == [1]


def test_close_waits_then_names_who_still_holds(pool):
    """New uses are refused at once; the holder may finish."""
    release, entered = threading.Event(), threading.Event()

    def hold():
        with pool.get_connection(readonly=False) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            entered.set()
            release.wait(ENOUGH)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(ENOUGH)
    with pytest.raises(PoolTimeoutError, match=r"holds the writer"):
        pool.close(timeout=0.01)
    with pytest.raises(PoolClosedError, match="closed"):
        pool.get_connection().__enter__()
    release.set()
    thread.join()
    pool.close()
    assert pool.stats()["writer_open"] is False
    with SQLiteConnectionPool(pool.path) as again:
        assert rows(again) == [1]


def test_who_uses_a_pool_cannot_close_it(pool):
    """Waiting for oneself would last for ever."""
    with pool.get_connection(), pytest.raises(DatabaseError, match="still uses it"):
        pool.close()


def test_one_pool_for_each_file(tmp_path, monkeypatch):
    """Links and relative paths are one file; other options are refused."""
    pool = get_db_pool(tmp_path / "x.db", create=True, max_readers=3)
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    os.link(tmp_path / "x.db", tmp_path / "hard.db")
    monkeypatch.chdir(tmp_path)

    assert get_db_pool("x.db") is pool
    assert get_db_pool("link.db", max_readers=3) is pool
    assert get_db_pool(b"./hard.db".decode()) is pool
    with pytest.raises(DatabaseError, match="max_readers=3, got max_readers=4"):
        get_db_pool("x.db", max_readers=4)
    with pytest.raises(TypeError, match="unknown option 'size'"):
        get_db_pool("x.db", size=4)
    for name in ("max_life", "max_idle", "wal_limit"):
        assert get_db_pool("x.db", **{name: pool.options[name]}) is pool
        with pytest.raises(DatabaseError, match=f"{name}=.*got {name}=None"):
            get_db_pool("x.db", **{name: None})
    with pytest.raises(DatabaseError, match="max_readers=3, got max_readers=None"):
        get_db_pool("x.db", max_readers=None)
    pool.close()
    assert get_db_pool("x.db", max_readers=None) is not pool
    assert get_db_pool("x.db", max_readers=None, max_life=3600.0)


def test_a_forgotten_pool_closes_its_connections(tmp_path):
    """Nothing is left open when nobody refers to a pool any more."""
    gc.collect()
    before = open_files()
    pool = get_db_pool(tmp_path / "x.db", create=True)
    with pool.get_connection(), pool.get_connection(readonly=False):
        pass
    assert open_files() > before
    del pool
    gc.collect()

    assert open_files() == before


def test_a_forgotten_pool_waits_for_nobody(tmp_path):
    """Who may hold any lock when the collector comes leaves the end to others."""
    gc.collect()
    before = open_files()
    pools = [get_db_pool(tmp_path / "x.db", create=True)]
    with pools[0].get_connection(), pools[0].get_connection(readonly=False):
        pass
    during = open_files()
    with _forks.no_fork():
        in_threads(pools.clear)
        assert not pools
        assert open_files() == during
    assert open_files() == before


def test_a_file_that_was_renamed_gets_a_pool_of_its_own(tmp_path):
    """A pool is known by its file, unless its path means that file no more."""
    old = get_db_pool(tmp_path / "x.db", create=True)
    old.path.rename(tmp_path / "y.db")
    new = get_db_pool(tmp_path / "y.db")
    assert new.path == tmp_path / "y.db"
    with new.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE t (x INTEGER) STRICT")
    assert rows(new) == []


def test_a_connection_that_comes_back_during_close_is_closed(pool):
    """Whenever that happens, nothing stays open."""
    gate = threading.Barrier(2)

    def read(own):
        with own.get_connection() as connection:
            connection.execute("SELECT 1").fetchone()
            gate.wait(ENOUGH)

    def close(own):
        gate.wait(ENOUGH)
        with contextlib.suppress(PoolTimeoutError):
            own.close(0)

    for _ in range(50):
        own = SQLiteConnectionPool(pool.path)
        in_threads(functools.partial(read, own), functools.partial(close, own))
        assert own.stats()["readers_open"] == 0


def test_a_file_replaced_under_the_pool_is_noticed(pool):
    """Writes into a deleted file would vanish; they are refused."""
    pool.path.unlink()

    with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
        pool.get_connection(readonly=False).__enter__()


@pytest.mark.parametrize("readonly", [True, False])
def test_a_file_replaced_while_it_is_opened_is_noticed(tmp_path, monkeypatch, readonly):
    """Between the look at the path and the opening of what has the name by then."""
    path = tmp_path / "x.db"
    for name in (path, tmp_path / "other.db"):
        Database(name, create=True).close()
    pool = SQLiteConnectionPool(path)
    connect = pool._connect

    def late(**options):
        (tmp_path / "other.db").rename(path)
        return connect(**options)

    monkeypatch.setattr(pool, "_connect", late)
    with pytest.raises(DatabaseError, match="moved, deleted or replaced"):
        pool.get_connection(readonly=readonly).__enter__()
    assert pool.stats()["readers_open"] == 0
    assert not pool.stats()["writer_open"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_readers": 0}, ValueError, "max_readers must be an integer >= 1, got 0"),
        ({"timeout": -1}, ValueError, "timeout must be seconds >= 0, got -1"),
        ({"busy_timeout": "5"}, ValueError, "busy_timeout must be seconds"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, error, message):
    """Parameter, requirement and value stand in the message."""
    with pytest.raises(error, match=message):
        SQLiteConnectionPool(tmp_path / "x.db", create=True, **options)


def test_paths_that_hold_no_database_are_named(tmp_path, pool):
    """Missing files, directories and pickling: each has its way out."""
    with pytest.raises(DatabaseNotFoundError, match="create=True"):
        SQLiteConnectionPool(tmp_path / "no.db")
    with pytest.raises(DatabaseError, match="is a directory"):
        SQLiteConnectionPool(tmp_path)
    with pytest.raises(TypeError, match="get_db_pool"):
        pickle.dumps(pool)


def test_another_program_holding_the_lock_is_named(tmp_path):
    """SQLite's own "database is locked" becomes a timeout with a way out."""
    with SQLiteConnectionPool(
        tmp_path / "x.db", create=True, busy_timeout=0.01
    ) as pool:
        script = "\n".join(
            [
                "import sqlite3, sys",
                f"c = sqlite3.connect({str(pool.path)!r}, isolation_level=None)",
                "c.execute('BEGIN IMMEDIATE')",
                "print('locked', flush=True)",
                "sys.stdin.read()",
            ]
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            other.stdout.readline()
            with pytest.raises(PoolTimeoutError, match="does not use skatra"):
                pool.get_connection(readonly=False).__enter__()
            other.stdin.close()
        with pool.get_connection(readonly=False):
            pass
