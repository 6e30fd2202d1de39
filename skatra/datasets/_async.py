"""A connection for coroutines: every call runs in a thread of the block's own."""

import asyncio
import contextvars
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from skatra.datasets._checkout import Checkout
from skatra.datasets._connections import GIVEN_BACK
from skatra.datasets._lending import Lender
from skatra.datasets._slots import outside
from skatra.datasets._watchdog import WATCHDOG

_HURRY_EVERY = 0.05
_Result = TypeVar("_Result")


class AsyncConnection:
    """What ``async with pool.get_connection_async()`` gives.

    Its calls run one after the other in a thread of the block's own; the event loop
    goes on meanwhile. A call that is cancelled is interrupted within SQLite, and the
    block is left only when it has ended.

    Parameters
    ----------
    connection : sqlite3.Connection
        The one that was borrowed.
    thread : ThreadPoolExecutor
        With one worker.

    See Also
    --------
    SQLiteConnectionPool.get_connection_async : Where to get one.

    Examples
    --------
    >>> import asyncio
    >>> from skatra.datasets import SQLiteConnectionPool
    >>> async def main(pool):
    ...     async with pool.get_connection_async() as connection:
    ...         return await connection.execute("SELECT 1 + ?", [1])
    >>> with SQLiteConnectionPool(":memory:") as pool:
    ...     asyncio.run(main(pool))
    [(2,)]
    """

    def __init__(
        self, connection: sqlite3.Connection, thread: ThreadPoolExecutor
    ) -> None:
        self._connection = connection
        self._thread = thread

    async def execute(
        self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()
    ) -> list[Any]:
        """Execute a statement and return all its rows.

        Parameters
        ----------
        sql : str
            One statement, with ``?`` or ``:name`` where parameters go.
        parameters : sequence or dict, default=()
            Values, by place or by name.

        Returns
        -------
        list of tuple
            Empty for a statement that returns none.
        """
        return await self.run(lambda c: c.execute(sql, parameters).fetchall())

    async def executemany(self, sql: str, parameters: Any) -> int:
        """Execute a statement for each of many parameters.

        Parameters
        ----------
        sql : str
            One statement, with ``?`` or ``:name`` where parameters go.
        parameters : iterable of sequence or dict
            Values for each run of the statement.

        Returns
        -------
        int
            Number of rows changed.
        """
        return await self.run(lambda c: int(c.executemany(sql, parameters).rowcount))

    async def run(self, function: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Call a function with the connection, in the block's thread.

        Parameters
        ----------
        function : callable
            Takes a ``sqlite3.Connection``.

        Returns
        -------
        object
            What the function returns.

        Raises
        ------
        DatabaseError
            If the block has ended.
        """
        context = contextvars.copy_context()
        try:
            job = self._thread.submit(context.run, function, self._connection)
        except RuntimeError:
            raise type(GIVEN_BACK)(str(GIVEN_BACK)) from None

        def hurry() -> None:
            if not job.cancel():
                self._connection.interrupt()

        try:
            return await _outcome(job, hurry)
        except GeneratorExit:
            if not job.cancel():
                watch = WATCHDOG.watch(self._connection, 0.0)
                job.add_done_callback(lambda _: WATCHDOG.forget(watch))
            raise


class AsyncCheckout:
    """The context of one use of a connection by a coroutine.

    Parameters
    ----------
    pool : Lender
    readonly, wait, limit, durable
        As of ``Checkout``.
    """

    def __init__(
        self,
        pool: Lender,
        *,
        readonly: bool,
        wait: float | None,
        limit: float | None,
        durable: bool,
    ) -> None:
        self._pool = pool
        self._readonly = readonly
        self._options: dict[str, Any] = {
            "readonly": readonly,
            "wait": wait,
            "limit": limit,
            "durable": durable,
        }

    async def __aenter__(self) -> AsyncConnection:
        pool = self._pool
        thread = ThreadPoolExecutor(1, thread_name_prefix="skatra-async")
        # The place in the queue is taken here, in the order in which coroutines come.
        place = pool.ask(readonly=self._readonly)
        bell = threading.Event()
        caller = outside(sys._getframe(1))  # noqa: SLF001 - the thread shows none

        def hurry() -> None:
            bell.set()
            pool.withdraw(place)

        try:
            checkout = Checkout(
                pool, place=place, bell=bell, caller=caller, **self._options
            )
            job = thread.submit(checkout.__enter__)
        except BaseException:
            pool.give_up(place)
            raise
        self._checkout, self._thread = checkout, thread
        try:
            connection = await _outcome(job, hurry)
        except GeneratorExit as error:
            # Dropped: nothing may be awaited any more, nor hold up the event loop.
            hurry()
            thread.submit(checkout.__exit__, GeneratorExit, error, None)
            thread.shutdown(wait=False)
            raise
        except BaseException as error:
            if job.exception() is None:
                await _outcome(thread.submit(checkout.__exit__, None, error, None))
            thread.shutdown(wait=False)
            raise
        return AsyncConnection(connection, thread)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        job = self._thread.submit(self._checkout.__exit__, exc_type, exc, traceback)
        try:
            if exc_type is not GeneratorExit:
                await _outcome(job)
        finally:
            self._thread.shutdown(wait=False)


async def _outcome(
    job: "Future[_Result]", hurry: Callable[[], object] | None = None
) -> _Result:
    """Wait for a thread's job, also when cancelled meanwhile; then be cancelled.

    ``hurry`` makes the job end soon. Whoever left earlier would leave a thread behind
    that still uses the connection.
    """
    waiting = asyncio.wrap_future(job)
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        again = _HURRY_EVERY if cancelled is not None and hurry is not None else None
        try:
            await asyncio.wait([waiting], timeout=again)
        except asyncio.CancelledError as error:
            cancelled = error
        # One interrupt may come before the statement has begun.
        if cancelled is not None and hurry is not None and not waiting.done():
            hurry()
    if cancelled is not None:
        if not waiting.cancelled():
            waiting.exception()
        raise cancelled
    return waiting.result()
