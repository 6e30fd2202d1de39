"""A fixed number of places for connections, given out first come, first served."""

import sys
import threading
import time
from collections import deque
from typing import Any

from skatra.datasets._connections import PooledConnection

_OWN_FRAMES = "skatra.datasets."


class Slot:
    """A place for one connection; who holds it since when."""

    __slots__ = (
        "checked",
        "connection",
        "line",
        "place",
        "readonly",
        "since",
        "thread",
    )

    def __init__(self, *, readonly: bool) -> None:
        self.readonly = readonly
        self.connection: PooledConnection | None = None
        self.thread: threading.Thread | None = None
        self.place = ""
        self.line = 0
        self.since = 0.0
        self.checked = 0.0

    def stamp(self) -> None:
        """Note the calling thread and the nearest frame outside this package."""
        frame: Any = sys._getframe(1)  # noqa: SLF001 - the documented, fast way
        while frame.f_back is not None and frame.f_globals.get(
            "__name__", ""
        ).startswith(_OWN_FRAMES):
            frame = frame.f_back
        self.thread = threading.current_thread()
        self.place = frame.f_code.co_filename
        self.line = frame.f_lineno
        self.since = time.monotonic()

    def clear(self) -> None:
        """Forget the holder."""
        self.thread = None
        self.place = ""

    def describe(self) -> str:
        """Say who holds the slot."""
        kind = "a reader" if self.readonly else "the writer"
        name = self.thread.name if self.thread is not None else "a thread"
        age = time.monotonic() - self.since
        return f"{name} holds {kind} since {age:.1f} s ({self.place}:{self.line})"


class _Waiter:
    """A thread in the queue; a slot is put into its hands, never back on a shelf."""

    __slots__ = ("bell", "cancelled", "slot", "thread")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.bell = threading.Lock()
        self.bell.acquire()
        self.slot: Slot | None = None
        self.cancelled = False


class SlotGroup:
    """Slots of one kind. Every method but ``wait`` is called under the pool's lock.

    Parameters
    ----------
    size : int
        Number of slots, which bounds the connections of this kind.
    readonly : bool
    """

    def __init__(self, size: int, *, readonly: bool) -> None:
        self.slots = [Slot(readonly=readonly) for _ in range(size)]
        self.idle = list(reversed(self.slots))
        self.waiters: deque[_Waiter] = deque()

    def take(self) -> Slot | None:
        """Take the most recently used idle slot unless others wait already."""
        return self.idle.pop() if self.idle and not self.waiters else None

    def queue(self) -> _Waiter:
        """Join the queue."""
        waiter = _Waiter()
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
        while self.idle and self.waiters:
            self.give(self.idle.pop())

    def leave(self, waiter: _Waiter) -> Slot | None:
        """Leave the queue; the slot that arrived in the same moment, if one did."""
        if waiter.slot is None and not waiter.cancelled:
            self.waiters.remove(waiter)
        return waiter.slot

    def cancel(self) -> None:
        """Send everybody in the queue away."""
        while self.waiters:
            waiter = self.waiters.popleft()
            waiter.cancelled = True
            waiter.bell.release()

    def held(self) -> list[Slot]:
        """Return the slots that are in somebody's hands."""
        idle = set(map(id, self.idle))
        return [slot for slot in self.slots if id(slot) not in idle]

    def reset(self) -> None:
        """Start afresh with empty slots and nobody waiting."""
        for slot in self.slots:
            slot.connection = None
            slot.clear()
        self.idle = list(reversed(self.slots))
        self.waiters = deque()
