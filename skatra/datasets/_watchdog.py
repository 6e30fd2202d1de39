"""One thread of the process that interrupts queries which ran too long."""

import contextlib
import os
import sqlite3
import threading
import time

_AGAIN = 0.05


class Watch:
    """A connection that is interrupted at a deadline, and again until it stops."""

    __slots__ = ("connection", "deadline", "expired")

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.expired = False


class Watchdog:
    """Interrupts connections at their deadlines; its thread ends when it is idle."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._watches: list[Watch] = []
        self._running = False

    def watch(self, connection: sqlite3.Connection, seconds: float) -> Watch:
        """Interrupt a connection after some seconds."""
        entry = Watch(connection, time.monotonic() + seconds)
        with self._changed:
            if not self._running:
                threading.Thread(
                    target=self._run, name="skatra-watchdog", daemon=True
                ).start()
                self._running = True
            self._watches.append(entry)
            self._changed.notify()
        return entry

    def forget(self, entry: Watch) -> None:
        """Leave a connection alone from now on; it may serve somebody else."""
        with self._changed:
            self._watches.remove(entry)
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            try:
                while self._watches:
                    now = time.monotonic()
                    for entry in self._watches:
                        if entry.deadline <= now:
                            self._interrupt(entry)
                            entry.deadline = now + _AGAIN
                    nearest = min(entry.deadline for entry in self._watches)
                    self._changed.wait(max(0.0, nearest - now))
            finally:
                self._running = False

    def _interrupt(self, entry: Watch) -> None:
        entry.expired = True
        # Nothing runs on a connection that its borrower has closed.
        with contextlib.suppress(sqlite3.ProgrammingError):
            entry.connection.interrupt()

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread and connections."""
        self._reset()


WATCHDOG = Watchdog()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHDOG.after_fork_in_child)
