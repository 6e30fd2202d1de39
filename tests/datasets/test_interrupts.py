"""Exceptions raised in a thread from outside, such as Ctrl-C, wherever they strike."""

import ctypes
import random
import threading
import time

import pytest

from skatra.datasets import SQLiteConnectionPool
from tests.datasets.test_pool import ENOUGH, open_files


class InterruptedFromOutside(BaseException):
    """What is raised."""


class Restless:
    """A thread that reads and writes until the end, whatever interrupts it."""

    def __init__(self, pool):
        self.pool, self.stop, self.said, self.x, self.hits = pool, False, [], 0, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        """Work on after every interrupt, also one in the midst of this."""
        while not self.stop:
            try:
                try:
                    self.work()
                except InterruptedFromOutside:
                    self.hits += 1
            except InterruptedFromOutside:
                pass

    def work(self):
        """Read, nest, write, acknowledge."""
        while not self.stop:
            self.x += 1
            with self.pool.get_connection() as outer, self.pool.get_connection() as c:
                assert c is outer
                c.execute("SELECT count(*) FROM t").fetchone()
            with self.pool.get_connection(readonly=False) as connection:
                connection.execute("INSERT INTO t VALUES (?)", (self.x,))
            self.said.append(self.x)

    def interrupt(self):
        """Raise in the thread."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.thread.ident), ctypes.py_object(InterruptedFromOutside)
        )


@pytest.mark.filterwarnings("ignore:.*was dropped.*:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupt_anywhere_costs_nothing(tmp_path):
    """Between taking and giving back: the connection returns, acknowledged rows stay.

    What a thread was interrupted with is taken back as soon as somebody waits for it.
    """
    before = open_files()
    dice = random.Random(3)  # noqa: S311 - no secret
    pool = SQLiteConnectionPool(tmp_path / "x.db", create=True, max_readers=2)
    with pool.get_connection(readonly=False) as connection:
        connection.execute("CREATE TABLE t (x INTEGER) STRICT")
    team = [Restless(pool) for _ in range(3)]
    for _ in range(12):
        for _ in range(20):
            time.sleep(dice.random() * 2e-3)
            dice.choice(team).interrupt()
        with pool.get_connection(readonly=False, timeout=ENOUGH) as connection:
            connection.execute("SELECT 1").fetchone()
    for restless in team:
        restless.stop = True
        restless.thread.join(ENOUGH)
        assert not restless.thread.is_alive()
    meeting = threading.Barrier(2)

    def read():
        with pool.get_connection(timeout=ENOUGH) as connection:
            meeting.wait(ENOUGH)
            connection.execute("SELECT 1").fetchone()

    pair = [threading.Thread(target=read) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(ENOUGH)
    with pool.get_connection() as connection:
        rows = connection.execute("SELECT x FROM t").fetchall()

    assert not meeting.broken
    assert sum(restless.hits for restless in team) > 50
    said = sorted(x for restless in team for x in restless.said)
    kept = sorted(x for (x,) in rows)
    for x in said:
        kept.remove(x)
    assert len(kept) <= sum(restless.hits for restless in team)
    pool.close()
    assert open_files() <= before
