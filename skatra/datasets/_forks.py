"""No connection is open across a fork; a process that broke this is told so.

SQLite keeps its POSIX locks in memory per process. A forked child inherits that
memory but not the locks, so its commits can vanish although SQLite acknowledged
them, even when the inherited connection was idle
(https://sqlite.org/howtocorrupt.html, section 2.6).
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["guard", "no_fork"]

_fork_lock = threading.RLock()


class Forkable(Protocol):
    """What a pool does around a fork."""

    def before_fork(self) -> None:
        """Close idle connections and keep the lock."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start afresh, or refuse from now on."""

    def warn_after_fork(self) -> None:
        """Say what could not be said before."""


_guarded: "list[tuple[weakref.ref[Forkable], Callable[[], None]]]" = []
_forking: list[Forkable] = []
_kept: "list[threading.RLock]" = []


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Hold off forks during a block; pools are made, looked up and closed in one."""
    with _fork_lock:
        yield
    _end_forgotten()


def guard(pool: Forkable, end: Callable[[], None]) -> "weakref.finalize[..., Forkable]":
    """Have a pool told about every fork of this process while it lives.

    ``end`` closes what is idle, when the finalizer that this returns is called, when
    the process ends, and when the pool is gone. It may be called again.
    """
    with no_fork():
        _guarded.append((weakref.ref(pool), end))
        return weakref.finalize(pool, _end, end)


def _end(end: Callable[[], None]) -> None:
    # The garbage collector may run this under the lock of another pool, for which a
    # fork waits: whoever is in the way ends what is forgotten, before its fork or
    # after its block.
    if _fork_lock.acquire(blocking=False):
        try:
            end()
        finally:
            _fork_lock.release()
        _end_forgotten()


def _end_forgotten() -> None:
    """Close what pools that are gone left open."""
    while any(pool() is None for pool, _ in list(_guarded)):
        if not _fork_lock.acquire(blocking=False):
            return
        try:
            for entry in list(_guarded):
                if entry[0]() is None:
                    _guarded.remove(entry)
                    entry[1]()
        finally:
            _fork_lock.release()


def _each(pools: list[Forkable], step: Callable[[Forkable], None]) -> None:
    """Take a step with every pool, whatever becomes of the others."""
    failure: BaseException | None = None
    for pool in pools:
        try:
            step(pool)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure = failure or error
    if failure is not None:
        raise failure


def _living() -> list[Forkable]:
    pools = [entry[0]() for entry in list(_guarded)]
    return [pool for pool in pools if pool is not None]


def _before() -> None:
    _fork_lock.acquire()
    _kept.append(_fork_lock)
    _forking[:] = _living()
    _end_forgotten()
    _each(_forking, lambda pool: pool.before_fork())


def _after_in_parent() -> None:
    pools = list(_forking)
    try:
        _each(pools, lambda pool: pool.after_fork_in_parent())
    finally:
        _forking.clear()
        if _kept:
            _kept.pop().release()
    _end_forgotten()
    _each(pools, lambda pool: pool.warn_after_fork())


def _after_in_child() -> None:
    global _fork_lock  # noqa: PLW0603 - the old one may belong to a vanished thread
    _fork_lock = threading.RLock()
    _kept.clear()
    _forking.clear()
    _each(_living(), lambda pool: pool.after_fork_in_child())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=_after_in_parent,
        after_in_child=_after_in_child,
    )
