"""No connection is open across a fork; a process that broke this is told so.

SQLite keeps its POSIX locks in memory per process. A forked child inherits that
memory but not the locks, so its commits can vanish although SQLite acknowledged
them, even when the inherited connection was idle
(https://sqlite.org/howtocorrupt.html, section 2.6).
"""

import os
import threading
import weakref
from typing import Protocol

__all__ = ["FORK_LOCK", "guard"]

FORK_LOCK = threading.RLock()
"""Held during a fork, and while pools are made or looked up."""


class Forkable(Protocol):
    """What a pool does around a fork."""

    def before_fork(self) -> None:
        """Close idle connections and keep the lock."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Start afresh, or refuse from now on."""


_guarded: "weakref.WeakSet[Forkable]" = weakref.WeakSet()
_forking: list[Forkable] = []


def guard(pool: Forkable) -> None:
    """Have a pool told about every fork of this process while it lives."""
    _guarded.add(pool)


def _before() -> None:
    FORK_LOCK.acquire()
    _forking[:] = list(_guarded)
    for pool in _forking:
        pool.before_fork()


def _after_in_parent() -> None:
    for pool in _forking:
        pool.after_fork_in_parent()
    _forking.clear()
    FORK_LOCK.release()


def _after_in_child() -> None:
    global FORK_LOCK  # noqa: PLW0603 - the old one may belong to a vanished thread
    FORK_LOCK = threading.RLock()
    for pool in _forking:
        pool.after_fork_in_child()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=_after_in_parent,
        after_in_child=_after_in_child,
    )
