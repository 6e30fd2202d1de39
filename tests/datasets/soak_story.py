"""Threads of four processes at once, with failures, kills and forks in between.

For SKATRA_SOAK seconds (4 by default) with SKATRA_THREADS threads in each process (32).
"""

import ctypes
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from skatra.datasets import SQLiteConnectionPool
from skatra.exceptions import PoolForkedError
from tests.datasets.process_stories import count, ended_well, forked, made

SECONDS = float(os.environ.get("SKATRA_SOAK", "4"))
THREADS = int(os.environ.get("SKATRA_THREADS", "32"))
PROCESSES, READERS = 4, 3


class ThreadKilledError(BaseException):
    """Raised in a thread from outside, at any point of what it does."""


class Team:
    """The threads of one process: what they said, what is in doubt, what went wrong.

    Parameters
    ----------
    pool : SQLiteConnectionPool
    log : int
        Descriptor of the file of acknowledged writes, one line each.
    """

    def __init__(self, pool, log):
        self.pool, self.log = pool, log
        self.stop = False
        self.failures, self.in_doubt = [], []
        self.killed = self.overtaken = self.most_open = self.started = 0

    def start(self):
        """Start one more thread."""
        self.started += 1
        name = f"{os.getpid()}/{self.started}"
        thread = threading.Thread(target=self.guarded, args=(name,), name=name)
        thread.start()
        return thread

    def guarded(self, who):
        """Work until the end, a kill or a failure."""
        turn = [0]
        try:
            self.work(who, turn)
        except ThreadKilledError:
            self.in_doubt.append(f"{who} {turn[0]}")
        except BaseException as error:  # noqa: BLE001 - handed on
            self.failures.append(error)

    def work(self, who, turn):
        """Read, write and fail at random; note every acknowledged write."""
        dice = random.Random(who)  # noqa: S311 - no secret
        while not self.stop:
            turn[0] += 1
            if dice.random() < 0.6:
                self.read(who)
            else:
                self.write(who, turn[0], fails=dice.random() < 0.2)

    def read(self, who):
        """Read, and be alone with the connection."""
        with self.pool.get_connection() as connection:
            connection.user = who
            connection.execute("SELECT count(*), max(x) FROM t").fetchone()
            assert connection.user == who

    def write(self, who, x, *, fails):
        """Write one row and say so, or fail in the middle."""
        try:
            with self.pool.get_connection(readonly=False) as connection:
                connection.user = who
                value = -x if fails else x
                connection.execute("INSERT INTO t VALUES (?, ?)", (who, value))
                assert connection.user == who
                _ = 1 / (not fails)
        except ZeroDivisionError:
            return
        os.write(self.log, f"{who} {x}\n".encode())

    def kill(self, thread):
        """Raise an exception in a thread, wherever it is.

        But not while it starts another one: CPython 3.11 would raise in the newborn
        and have its parent wait for it for ever.
        """
        frame = sys._current_frames().get(thread.ident)
        while frame is not None:
            if frame.f_code is threading.Thread.start.__code__:
                return
            frame = frame.f_back
        self.killed += ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(ThreadKilledError)
        )

    def watch(self):
        """See that nobody is overtaken and the bound holds, as long as it lasts."""
        groups = self.pool.readers, self.pool.writers
        before = [[], []]
        while not self.stop:
            with self.pool.lock:
                now = [list(group.waiters) for group in groups]
                opened = [s for s in self.pool.readers.slots if s.connection]
            for earlier, later in zip(before, now, strict=True):
                left = set(map(id, later))
                still = [id(waiter) in left for waiter in earlier]
                for k, waiter in enumerate(earlier):
                    if not still[k] and waiter.slot is not None and any(still[:k]):
                        self.overtaken += 1
            self.most_open = max(self.most_open, len(opened))
            before = now
            time.sleep(0.002)


def soak_process(path, log, doubts):
    """Run threads on one pool, kill some, fork in between, and leave nothing open."""
    threading.excepthook = lambda _: None  # of threads killed at their very end
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    pool = SQLiteConnectionPool(path, max_readers=READERS, wal_limit=1 << 20)
    team, dice = Team(pool, log), random.Random(os.getpid())  # noqa: S311
    threads = [team.start() for _ in range(THREADS)]
    watcher = threading.Thread(target=team.watch)
    watcher.start()
    children, deadline = [], time.monotonic() + SECONDS

    def child(number):
        try:
            team.write(f"child {os.getpid()}", number, fails=False)
        except PoolForkedError:
            os.write(log, b"refused\n")

    while time.monotonic() < deadline:
        for _ in range(10):
            time.sleep(0.02)
            at = dice.randrange(len(threads))
            team.kill(threads[at])
            threads[at].join(0.5)
            if threads[at].is_alive():
                team.kill(threads[at])
            threads[at].join(20)
            if threads[at].is_alive():
                team.failures.append(AssertionError("a killed thread hangs"))
                break
            threads[at] = team.start()
        children.append(forked(child, len(children)))
        if team.failures:
            break
    team.stop = True
    for thread in [*threads, watcher]:
        thread.join(20)
    ended_well(*children)
    os.write(doubts, "".join(f"{doubt}\n" for doubt in team.in_doubt).encode())
    if team.failures:
        raise team.failures[0]
    stats = pool.stats()
    assert team.killed > SECONDS
    assert team.overtaken == 0
    assert team.most_open <= READERS
    assert (stats["waiting_readers"], stats["waiting_writers"]) == (0, 0)
    assert (stats["timeouts"], stats["readers_in_use"]) == (0, 0)
    assert not stats["writer_in_use"]
    pool.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def lines(descriptor):
    """Return the lines of a file."""
    return os.pread(descriptor, 10**9, 0).decode().split("\n")[:-1]


def soak(path):
    """Every acknowledged write is there once, and no write that failed is.

    Whoever was killed between the commit and its word about it may have a row that
    nobody acknowledged, but one at most.
    """
    made(path).close()
    how = os.O_CREAT | os.O_APPEND | os.O_RDWR
    log, doubts = os.open(f"{path}.said", how), os.open(f"{path}.doubts", how)
    ended_well(*(forked(soak_process, path, log, doubts) for _ in range(PROCESSES)))
    said, in_doubt = lines(log), set(lines(doubts))
    refused = said.count("refused")
    kept = Counter()
    with SQLiteConnectionPool(path) as pool, pool.get_connection() as connection:
        kept.update(w for (w,) in connection.execute("SELECT who || ' ' || x FROM t"))
    assert count(path) == sum(kept.values()) == len(kept)
    missing = set(said) - set(kept) - {"refused"}
    assert not missing, missing
    assert set(kept) - set(said) <= in_doubt
    assert len(said) > 10 * SECONDS
    assert refused <= PROCESSES * SECONDS


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
