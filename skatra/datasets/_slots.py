"""A fixed number of places for connections, given out first come, first served."""

import contextlib
import os
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from skatra.datasets._connections import PooledConnection
from skatra.datasets._file_lock import FileLock

CLOSE_WAIT = 1.0
OWN_FILES = {
    *(str(path) for path in Path(__file__).parent.glob("*.py")),
    contextlib.__file__,
}


_NO_COUNTS = (
    not hasattr(sys, "getrefcount")
    or not getattr(sys, "_is_gil_enabled", lambda: True)()
)


def _referrers(things: Iterable[Any]) -> list[int]:
    """Return how many references to each thing there are."""
    return [sys.getrefcount(thing) for thing in things]


def outside(frame: Any) -> tuple[CodeType, int]:
    """Return code and instruction of the nearest frame outside this package."""
    while frame.f_code.co_filename in OWN_FILES and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


class Slot:
    """A place for one connection; who holds it since when."""

    __slots__ = (
        "checked",
        "code",
        "connection",
        "instruction",
        "opened",
        "readonly",
        "since",
        "thread",
        "uses",
        "warned",
    )

    def __init__(self, *, readonly: bool) -> None:
        self.readonly = readonly
        self.connection: PooledConnection | None = None
        self.thread: threading.Thread | None = None
        self.code: CodeType | None = None
        self.instruction = 0
        self.since = 0.0
        self.checked = 0.0
        self.opened = 0.0
        self.uses = 0
        self.warned = False

    def stamp(self, place: tuple[CodeType, int], thread: threading.Thread) -> None:
        """Note the thread, the time and the line that took the slot."""
        self.code, self.instruction = place
        self.thread = thread
        self.since = time.monotonic()
        self.uses += 1

    def note(self, frame: Any) -> None:
        """Note the nearest frame outside this package."""
        self.code, self.instruction = outside(frame)

    def clear(self) -> None:
        """Forget the holder."""
        self.code = None
        self.warned = False

    @property
    def place(self) -> tuple[str, int]:
        """File and line where the slot was taken; the line is worked out only now."""
        if self.code is None:
            return "on its way", 0
        line = self.code.co_firstlineno
        for begin, end, number in self.code.co_lines():
            if begin <= self.instruction < end and number is not None:
                line = number
        return self.code.co_filename, line

    def describe(self, *, after_fork: bool = False) -> str:
        """Say who holds the slot."""
        kind = "a reader" if self.readonly else "the writer"
        name = self.thread.name if self.thread is not None else "a thread"
        if self.thread is not None and not (after_fork or self.thread.is_alive()):
            name += " (ended)"
        age = time.monotonic() - self.since
        return (
            f"{name} holds {kind} since {age:.1f} s ({':'.join(map(str, self.place))})"
        )

    def complaint(self, why: str) -> "Complaint | None":
        """Return what to warn of once about this use."""
        if self.warned or self.thread is None:
            return None
        self.warned = True
        message = f"{self.describe()} {why}. Keep 'with' blocks short."
        return Complaint(message, *self.place)


class Complaint(NamedTuple):
    """A warning at the line that took a connection."""

    message: str
    file: str
    line: int

    def warn(self) -> None:
        """Warn now."""
        warnings.warn_explicit(self.message, RuntimeWarning, self.file, self.line)


def warn_of(complaints: "list[Complaint | None]") -> None:
    """Warn of all, also where the first is an error."""
    failure: Warning | None = None
    for complaint in complaints:
        try:
            if complaint is not None:
                complaint.warn()
        except Warning as error:
            failure = failure or error
    if failure is not None:
        raise failure


class Waiter:
    """A thread in the queue; a slot is put into its hands, never back on a shelf."""

    __slots__ = ("bell", "cancelled", "slot", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.bell = threading.Lock()
        self.bell.acquire()
        self.slot: Slot | None = None
        self.cancelled = False


class Held:
    """What one thread holds of one pool."""

    __slots__ = ("reader", "thread", "writer")

    def __init__(self) -> None:
        self.reader: Slot | None = None
        self.writer: Slot | None = None
        self.thread = threading.current_thread()


class PerThread(threading.local):
    """One ``Held`` for each thread."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Held()


class SlotGroup:
    """Slots of one kind. Most methods are called under the pool's lock.

    ``QuickRead`` takes and gives idle slots without that lock, at any moment, by
    ``pop``, ``withdraw`` and ``idle.append``.

    Parameters
    ----------
    size : int
        Number of slots, which bounds the connections of this kind.
    readonly : bool
    """

    def __init__(self, size: int, *, readonly: bool) -> None:
        self.slots = [Slot(readonly=readonly) for _ in range(size)]
        self.idle = list(reversed(self.slots))
        self.waiters: deque[Waiter] = deque()

    def take(self) -> Slot | None:
        """Take the most recently used idle slot unless others wait already."""
        return None if self.waiters else self.pop()

    def pop(self) -> Slot | None:
        """Take the most recently used idle slot, whoever waits."""
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def withdraw(self, slot: Slot) -> bool:
        """Take a certain slot unless somebody else took it; then False."""
        try:
            self.idle.remove(slot)
        except ValueError:
            return False
        return True

    def queue(self) -> Waiter:
        """Join the queue."""
        waiter = Waiter()
        self.waiters.append(waiter)
        return waiter

    def give(self, slot: Slot) -> None:
        """Hand a slot to whoever waits longest, else keep it idle."""
        slot.clear()
        if self.waiters:
            waiter = self.waiters.popleft()
            slot.thread, slot.since = waiter.thread, time.monotonic()
            waiter.slot = slot
            waiter.bell.release()
        else:
            self.idle.append(slot)

    def serve(self) -> None:
        """Hand idle slots to those who wait."""
        while self.waiters and (slot := self.pop()) is not None:
            self.give(slot)

    def leave(self, waiter: Waiter) -> Slot | None:
        """Leave the queue; the slot that arrived in the same moment, if one did."""
        if waiter.slot is None and not waiter.cancelled:
            self.waiters.remove(waiter)
        return waiter.slot

    def cancel(self, *waiters: Waiter) -> None:
        """Send those of some waiters away that are still in the queue."""
        for waiter in waiters:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
                waiter.cancelled = True
                waiter.bell.release()

    def held(self) -> list[Slot]:
        """Return the slots that are in somebody's hands."""
        idle = set(map(id, self.idle))
        return [slot for slot in self.slots if id(slot) not in idle]

    def forsaken(self) -> list[Slot]:
        """Return held slots that nobody can give back; forget waiters that are gone.

        An exception raised in a thread from outside (Ctrl-C, say) may strike between
        taking a slot and noting it. Nothing refers to such a slot but this group.
        """
        if _NO_COUNTS:
            return []
        idle = set(map(id, self.idle))
        alone = _referrers([Slot(readonly=True)])[0]
        slots = zip(self.slots, _referrers(self.slots), strict=True)
        lost = [s for s, n in slots if n <= alone and id(s) not in idle]
        counts = _referrers(self.waiters)
        if min(counts, default=alone + 1) <= alone:
            known = zip(list(self.waiters), counts, strict=True)
            self.waiters = deque(waiter for waiter, n in known if n > alone)
        return lost

    def reset(self) -> None:
        """Start afresh with empty slots and nobody waiting."""
        for slot in self.slots:
            slot.connection = None
            slot.clear()
        self.idle = list(reversed(self.slots))
        self.waiters = deque()


class Dropped:
    """Checkouts that were forgotten inside their block, to be given back.

    The garbage collector may run anywhere, also under the pool's lock, so it only
    leaves a note here.
    """

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: deque[tuple[Slot, Any]] = deque()

    def take(self) -> "list[tuple[Slot, Any]]":
        """Return the notes so far."""
        notes = []
        while self.notes:
            notes.append(self.notes.popleft())
        return notes


def close_idle(
    readers: SlotGroup, writers: SlotGroup, lock: FileLock, *, optimize: bool = False
) -> None:
    """Close idle connections, the writer last: it empties the write-ahead log.

    Before the last close SQLite may refresh what its query planner knows.
    """
    pid = os.getpid()
    for slot in readers.idle + writers.idle:
        connection, slot.connection = slot.connection, None
        if connection is None or connection.pid != pid:
            continue
        if slot.readonly:
            connection.close()
            continue
        try:
            locked = lock.acquire(CLOSE_WAIT)
        except OSError:
            locked = False
        if locked and optimize:
            connection.optimize()
        connection.close()
        if locked:
            lock.release()
    if writers.idle:
        lock.close()
