"""Laws of connections in coroutines: a real event loop, a real file."""

import asyncio
import re
import sqlite3
import threading
import time

import pytest

from skatra.datasets import SQLiteConnectionPool
from skatra.datasets._file_lock import FileLock
from skatra.exceptions import DatabaseError, PoolClosedError, PoolTimeoutError

FOREVER = (
    "WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) "
    "SELECT count(*) FROM n"
)


@pytest.fixture
def pool(tmp_path):
    """A pool with two readers and an empty table."""
    pool = SQLiteConnectionPool(tmp_path / "x.db", create=True, max_readers=2)
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE t (k INTEGER) STRICT")
    yield pool
    pool.close()


def rows(pool):
    """Return what is in the table."""
    with pool.get_connection() as connection:
        return [k for (k,) in connection.execute("SELECT k FROM t ORDER BY rowid")]


def free(pool):
    """Tell whether nobody holds anything or waits."""
    stats = pool.stats()
    busy = ("readers_in_use", "writer_in_use", "waiting_readers", "waiting_writers")
    return not any(stats[name] for name in busy)


async def insert(pool, k):
    """Write one row."""
    async with pool.get_connection_async(readonly=False) as connection:
        await connection.execute("INSERT INTO t VALUES (?)", (k,))


async def until(condition):
    """Let the loop go on until something holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the pool knows no events
            await asyncio.sleep(0.001)


def test_a_block_commits_and_an_exception_rolls_back(pool):
    """What a block wrote is there if and only if it ended well."""

    async def main():
        async with pool.get_connection_async(readonly=False) as connection:
            changed = await connection.executemany(
                "INSERT INTO t VALUES (?)", [(1,), (2,)]
            )
        with pytest.raises(ZeroDivisionError):
            await pool.run_async(insert_and_fail, readonly=False)
        return changed

    def insert_and_fail(connection):
        connection.execute("INSERT INTO t VALUES (3)")
        return 1 / 0

    assert asyncio.run(main()) == 2
    assert rows(pool) == [1, 2]
    assert free(pool)


def test_a_reader_cannot_write_and_a_dead_connection_says_so(pool):
    """The block's connection is read-only by default, and useless after the block."""

    async def main():
        async with pool.get_connection_async() as connection:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(DatabaseError, match="given back"):
            await connection.execute("SELECT 1")

    asyncio.run(main())
    assert free(pool)


def test_coroutines_are_served_in_the_order_in_which_they_came(pool):
    """A queue of forty writers is emptied first come, first served."""

    async def main():
        async with pool.get_connection_async(readonly=False):
            crowd = [asyncio.create_task(insert(pool, k)) for k in range(40)]
            await until(lambda: pool.stats()["waiting_writers"] == 40)
        await asyncio.gather(*crowd)

    asyncio.run(main())
    assert rows(pool) == list(range(40))
    assert free(pool)


def test_a_cancelled_waiter_leaves_the_queue_at_once(pool):
    """It gets no connection, and those behind it keep their order."""

    async def main():
        async with pool.get_connection_async(readonly=False):
            crowd = [asyncio.create_task(insert(pool, k)) for k in range(6)]
            await until(lambda: pool.stats()["waiting_writers"] == 6)
            for k in (1, 4):
                crowd[k].cancel()
            await asyncio.wait([crowd[1], crowd[4]], timeout=20)
            assert crowd[1].cancelled()
            assert crowd[4].cancelled()
            assert pool.stats()["waiting_writers"] == 4
        await asyncio.gather(*crowd, return_exceptions=True)

    asyncio.run(main())
    assert rows(pool) == [0, 2, 3, 5]
    assert free(pool)
    assert pool.stats()["timeouts"] == 0


def test_a_cancelled_query_is_interrupted_and_its_write_rolled_back(pool):
    """An endless query ends with its task, and nothing of the block is kept."""

    async def work():
        async with pool.get_connection_async(readonly=False) as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            await connection.execute(FOREVER)

    async def main():
        task = asyncio.create_task(work())
        await until(lambda: pool.stats()["writer_in_use"])
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert free(pool)
        await insert(pool, 2)

    asyncio.run(main())
    assert rows(pool) == [2]


@pytest.fixture
def another_writer(pool):
    """The lock that another process takes to write, held."""
    lock = FileLock(pool.path.with_name(f"{pool.path.name}-lock"))
    assert lock.acquire(20)
    yield lock
    lock.close()


def test_a_cancelled_writer_does_not_wait_for_other_processes(pool, another_writer):
    """It leaves while they still write; a later one gets its turn after them."""

    async def main():
        waiting = asyncio.create_task(insert(pool, 1))
        await until(lambda: pool.stats()["writer_in_use"])
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=20)
        assert waiting.cancelled()
        assert free(pool)
        later = asyncio.create_task(insert(pool, 2))
        await until(lambda: pool.stats()["writer_in_use"])
        another_writer.release()
        await later

    asyncio.run(main())
    assert rows(pool) == [2]
    assert pool.stats()["timeouts"] == 0


@pytest.mark.parametrize("where", ["lock", "queue", "query", "block"])
def test_a_dropped_coroutine_holds_up_nothing(pool, another_writer, where):
    """Closed at any step, it gives everything back, and the loop goes on meanwhile."""

    async def work():
        async with pool.get_connection_async(readonly=False) as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            if where == "query":
                await connection.execute(FOREVER)
            await asyncio.get_running_loop().create_future()

    async def reach(work):
        """Step a coroutine by hand until it waits where it is to be dropped."""
        future = work.send(None)
        if where == "lock":
            await until(lambda: pool.stats()["writer_in_use"])
        elif where != "queue":
            another_writer.release()
            for _ in range(2):
                await until(future.done)
                future = work.send(None)
        await asyncio.sleep(0.05)

    async def main():
        ahead = asyncio.create_task(insert(pool, 2)) if where == "queue" else None
        await asyncio.sleep(0.05)
        dropped = work()
        await reach(dropped)
        async with asyncio.timeout(5):
            dropped.close()
            if ahead is not None:
                await until(lambda: not pool.stats()["waiting_writers"])
                another_writer.release()
                await ahead
            await until(lambda: free(pool))

    asyncio.run(main())
    assert rows(pool) == ([2] if where == "queue" else [])
    assert pool.stats()["timeouts"] == 0


def test_a_cancelled_call_leaves_its_neighbour_alone(pool):
    """One that waits behind another is withdrawn; one about to start still ends."""

    async def main():
        async with pool.get_connection_async(readonly=False) as connection:
            slow = asyncio.create_task(connection.run(lambda _: time.sleep(0.3)))
            behind = asyncio.create_task(connection.execute("INSERT INTO t VALUES (1)"))
            await asyncio.sleep(0.05)
            behind.cancel()
            await slow
            assert (await asyncio.gather(behind, return_exceptions=True)) != [None]
        for _ in range(20):
            async with pool.get_connection_async() as connection:
                endless = asyncio.create_task(connection.execute(FOREVER))
                await asyncio.sleep(0)
                endless.cancel()
                await asyncio.wait([endless], timeout=20)
                assert endless.cancelled()

    asyncio.run(main())
    assert rows(pool) == []


def test_a_task_cancelled_at_any_moment_writes_all_or_nothing(pool):
    """Wherever a cancellation strikes, a block is kept whole or not at all."""
    done = []

    async def work(k):
        async with pool.get_connection_async(readonly=False) as connection:
            await connection.execute("INSERT INTO t VALUES (?)", (k,))
            await connection.execute("INSERT INTO t VALUES (?)", (k,))
        done.append(k)

    async def main():
        for k in range(60):
            task = asyncio.create_task(work(k))
            for _ in range(k % 12):
                await asyncio.sleep(0)
            if k % 3:
                await asyncio.sleep(k * 2e-5)
            task.cancel()
            await asyncio.wait([task], timeout=20)
            assert task.done()
            assert free(pool)

    asyncio.run(main())
    kept = rows(pool)
    assert all(kept.count(k) == 2 for k in set(kept))
    assert set(done) <= set(kept)


def test_limits_and_closing_are_those_of_threads(pool):
    """Errors have the same names, and the loop is not held up while one waits."""

    async def main():
        async with pool.get_connection_async(readonly=False):
            with pytest.raises(PoolTimeoutError, match="holds the writer"):
                async with pool.get_connection_async(readonly=False, timeout=0.05):
                    pass
        with pytest.raises(DatabaseError, match="limit"):
            async with pool.get_connection_async(limit=0.05) as connection:
                await connection.execute(FOREVER)
        with pytest.raises(ValueError, match="timeout"):
            pool.get_connection_async(timeout=-1)
        assert free(pool)
        await asyncio.to_thread(pool.close)
        with pytest.raises(PoolClosedError):
            async with pool.get_connection_async():
                pass

    asyncio.run(main())


@pytest.mark.parametrize("how", ["block", "run_async"])
def test_holders_are_named_by_the_line_of_the_coroutine(pool, how):
    """Not by one of the thread that works for it."""

    async def hold(entered, release):
        if how == "run_async":
            await pool.run_async(lambda _: (entered.set(), release.wait(20.0)))
        else:
            async with pool.get_connection_async():
                entered.set()
                await asyncio.to_thread(release.wait, 20.0)

    async def main():
        entered, release = threading.Event(), threading.Event()
        task = asyncio.create_task(hold(entered, release))
        await until(entered.is_set)
        holders = pool.stats()["holders"]
        release.set()
        await task
        return holders

    (holder,) = asyncio.run(main())
    assert re.search(r"holds a reader since .*test_async\.py:\d+\)", holder)


def test_queries_of_several_coroutines_run_at_the_same_time(pool):
    """Two readers hold their connections at once; a third waits for one of them."""
    both = []

    async def read():
        async with pool.get_connection_async() as connection:
            both.append(pool.stats()["readers_in_use"])
            await until(lambda: len(both) >= 2)
            await connection.execute("SELECT count(*) FROM t")

    async def main():
        await asyncio.gather(read(), read(), read())

    asyncio.run(main())
    assert len(both) == 3
    assert max(both) == 2
