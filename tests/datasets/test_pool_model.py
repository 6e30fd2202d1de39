"""The pool against a model of a dozen lines, step by step, with several threads."""

import queue
import sqlite3
import tempfile
import threading
import time
import warnings
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from skatra.datasets import SQLiteConnectionPool
from skatra.exceptions import DatabaseError, PoolClosedError, PoolTimeoutError
from tests.datasets.scratch import MEMORY

ENOUGH = 8.0
ACTORS = st.integers(0, 4)


class Actor:
    """A thread that does what it is told, one thing after the other."""

    def __init__(self):
        self.orders = queue.SimpleQueue()
        self.blocks = []
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        while (order := self.orders.get()) is not None:
            function, answer = order
            try:
                answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the test
                answer.set_exception(error)
            del order, function, answer

    def tell(self, function):
        """Give an order and return its answer to come."""
        answer = Future()
        self.orders.put((function, answer))
        return answer

    def enter(self, pool, **options):
        """Enter a block; its connection is the innermost one from then on."""

        def work():
            block = pool.get_connection(**options)
            self.blocks.append((block, block.__enter__()))

        def guarded():
            held = len(self.blocks)
            try:
                work()
            except BaseException:
                del self.blocks[held:]
                raise

        return self.tell(guarded)

    def leave(self, error):
        """Leave the innermost block, perhaps by an error, with a cursor still open."""

        def work():
            block, connection = self.blocks.pop()
            cursor = connection.execute("SELECT x FROM t")
            block.__exit__(None if error is None else type(error), error, None)
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                cursor.fetchone()

        return self.tell(work)

    def drop(self):
        """Forget the innermost block without leaving it."""
        return self.tell(self.blocks.clear)

    def sql(self, *statement):
        """Run SQL on the innermost connection."""
        return self.tell(lambda: self.blocks[-1][1].execute(*statement).fetchall())


class PoolMachine(RuleBasedStateMachine):
    """Threads take, nest, fill, fail, forget and give back; the model says what is."""

    @initialize(readers=st.integers(1, 3))
    def start(self, readers):
        """Open a pool; nobody holds anything."""
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.caught = warnings.catch_warnings(record=True)
        self.messages = self.caught.__enter__()
        warnings.simplefilter("always")
        self.pool = SQLiteConnectionPool(
            Path(self.folder.name, "x.db"),
            create=True,
            max_readers=readers,
            timeout=ENOUGH,
        )
        with self.pool.get_connection(readonly=False) as connection:
            connection.execute("CREATE TABLE t (x INTEGER) STRICT")
        self.actors = [Actor() for _ in range(5)]
        self.size = {"r": readers, "w": 1}
        self.stacks = [[] for _ in self.actors]  # "r", "w" or "n" for nested
        self.queues = {"r": deque(), "w": deque()}
        self.committed, self.pending = [], []
        self.acquired, self.waited, self.timeouts, self.leaked = 1, 0, 0, 0
        self.closed = False
        self.steps = 0

    def teardown(self):
        """Let everybody leave; nothing may be left open, and all commits are there."""
        self.caught.__exit__(None, None, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            while any(self.stacks):
                for who, stack in enumerate(self.stacks):
                    if stack and not self.is_waiting(who):
                        self.leave(who, error=False)
            self.pool.close(ENOUGH)
        for actor in self.actors:
            actor.orders.put(None)
        with (
            SQLiteConnectionPool(self.pool.path) as again,
            again.get_connection() as connection,
        ):
            rows = connection.execute("SELECT x FROM t ORDER BY rowid").fetchall()
        assert [x for (x,) in rows] == self.committed
        self.folder.cleanup()

    # --- the model ---

    def in_use(self, kind):
        """Return who holds slots of a kind."""
        return [who for who, stack in enumerate(self.stacks) if kind in stack]

    def is_waiting(self, who):
        """Tell whether an actor stands in a queue."""
        return any(who in (w for w, _ in line) for line in self.queues.values())

    def able(self, who):
        """Return the actor of that number among those that hold and do not wait."""
        able = [k for k in range(5) if self.stacks[k] and not self.is_waiting(k)]
        return able[who % len(able)]

    def somebody_is_able(self):
        """Tell whether anybody holds a connection without waiting for another."""
        return any(
            stack and not self.is_waiting(who) for who, stack in enumerate(self.stacks)
        )

    def hand_on(self, kind):
        """Give a slot that came back to whoever waits longest."""
        if self.queues[kind] and len(self.in_use(kind)) < self.size[kind]:
            who, answer = self.queues[kind].popleft()
            answer.result(ENOUGH)
            self.waited += 1
            self.took(who, kind)

    def took(self, who, kind):
        """Note that an actor holds a slot now."""
        self.stacks[who].append(kind)
        self.acquired += 1

    def wait_for(self, condition):
        """Wait until another thread got somewhere."""
        deadline = time.monotonic() + ENOUGH
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(1e-4)

    # --- the rules ---

    @rule(
        who=ACTORS, write=st.booleans(), timeout=st.sampled_from([None, None, 0, 0.003])
    )
    def take(self, who, write, timeout):
        """Take a connection: at once, nested, in the queue, or not in time."""
        stack, kind = self.stacks[who], "w" if write else "r"
        if self.is_waiting(who):
            return
        options = {} if timeout is None else {"timeout": timeout}
        answer = self.actors[who].enter(self.pool, readonly=not write, **options)
        if write and "w" in stack:
            with pytest.raises(DatabaseError, match="inside a write"):
                answer.result(ENOUGH)
        elif not write and stack:
            answer.result(ENOUGH)
            stack.append("n")
        elif self.closed:
            with pytest.raises(PoolClosedError):
                answer.result(ENOUGH)
        elif len(self.in_use(kind)) < self.size[kind]:
            answer.result(ENOUGH)
            self.took(who, kind)
        elif timeout is not None:
            with pytest.raises(PoolTimeoutError, match="holds"):
                answer.result(ENOUGH)
            self.waited += 1
            self.timeouts += 1
        else:
            self.queues[kind].append((who, answer))
            key = "waiting_writers" if write else "waiting_readers"
            expected = len(self.queues[kind])
            self.wait_for(lambda: self.pool.stats()[key] == expected)

    @precondition(somebody_is_able)
    @rule(who=ACTORS, error=st.booleans())
    def give_back(self, who, error):
        """Leave the innermost block: kept, or undone; the next one is served."""
        self.leave(self.able(who), error)

    def leave(self, who, error):
        """Have an actor leave its innermost block."""
        stack = self.stacks[who]
        self.actors[who].leave(KeyError() if error else None).result(ENOUGH)
        kind = stack.pop()
        if kind == "w":
            self.committed += [] if error else self.pending
            self.pending = []
        if kind != "n":
            self.hand_on(kind)

    @precondition(somebody_is_able)
    @rule(who=ACTORS, x=st.integers(-5, 5))
    def insert(self, who, x):
        """Write through whatever the actor holds; readers refuse."""
        who = self.able(who)
        stack = self.stacks[who]
        answer = self.actors[who].sql("INSERT INTO t VALUES (?)", (x,))
        if "w" in stack:
            answer.result(ENOUGH)
            self.pending.append(x)
        else:
            with pytest.raises(Exception, match="readonly"):
                answer.result(ENOUGH)

    @precondition(somebody_is_able)
    @rule(who=ACTORS)
    def look(self, who):
        """See what is committed, and what oneself wrote so far."""
        who = self.able(who)
        stack = self.stacks[who]
        rows = self.actors[who].sql("SELECT x FROM t ORDER BY rowid").result(ENOUGH)
        mine = self.pending if "w" in stack else []
        assert [x for (x,) in rows] == self.committed + mine

    @precondition(lambda self: not self.closed and not any(self.queues.values()))
    @rule(who=ACTORS)
    def forget(self, who):
        """Drop a block without leaving it: it is rolled back, warned of and lent on."""
        if len(self.stacks[who]) != 1 or self.is_waiting(who):
            return
        self.actors[who].drop().result(ENOUGH)
        if self.stacks[who].pop() == "w":
            self.pending = []
        self.leaked += 1
        seen = len(self.caught_messages())
        self.pool.reclaim()
        assert len(self.caught_messages()) == seen + 1

    def caught_messages(self):
        """Return warnings of dropped blocks so far."""
        return [w for w in self.messages if "was dropped" in str(w.message)]

    @precondition(lambda self: self.steps > 25 and not self.closed)
    @rule()
    def close(self):
        """Close: who waits is sent away, who holds may finish."""
        holders = self.in_use("r") + self.in_use("w")
        if holders:
            with pytest.raises(PoolTimeoutError, match="holds"):
                self.pool.close(0.001)
        else:
            self.pool.close(0.001)
        self.closed = True
        for line in self.queues.values():
            while line:
                _, answer = line.popleft()
                with pytest.raises(PoolClosedError):
                    answer.result(ENOUGH)
                self.waited += 1

    @invariant()
    def the_statistics_agree(self):
        """Every figure of ``stats`` is the model's."""
        self.steps += 1
        stats = self.pool.stats()
        readers, writers = self.in_use("r"), self.in_use("w")
        assert stats["readers_in_use"] == len(readers) <= self.size["r"]
        assert stats["writer_in_use"] is bool(writers)
        assert stats["waiting_readers"] == len(self.queues["r"])
        assert stats["waiting_writers"] == len(self.queues["w"])
        assert len(readers) <= stats["readers_open"] <= self.size["r"]
        assert len(stats["holders"]) == len(readers) + len(writers)
        for name in ("acquired", "waited", "timeouts", "leaked"):
            assert stats[name] == getattr(self, name), name
        assert self.pool.closed is self.closed


TestPoolAgainstItsModel = PoolMachine.TestCase
TestPoolAgainstItsModel.settings = settings(
    max_examples=settings.default.max_examples, stateful_step_count=60
)
