"""How a pool lends its connections: the queue, the transaction, the way back."""

import random
import sqlite3
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from types import CodeType

from skatra.datasets._connections import (
    CLOSED,
    FORKED,
    GIVEN_BACK,
    OUTER_ENDED,
    PooledConnection,
    forked_files,
    identity,
    keep_forever,
    open_connection,
)
from skatra.datasets._errors import (
    breaks_connection,
    file_gone,
    interrupted,
    needs_recovery,
    query_timeout,
    reported,
    translate,
)
from skatra.datasets._file_lock import FileLock
from skatra.datasets._slots import (
    Complaint,
    Dropped,
    Held,
    PerThread,
    Slot,
    SlotGroup,
    Waiter,
    close_idle,
    outside,
    warn_of,
)
from skatra.datasets._wal import LogKeeper
from skatra.datasets._watchdog import WATCHDOG, Watch
from skatra.exceptions import (
    DatabaseError,
    PoolClosedError,
    PoolForkedError,
    PoolTimeoutError,
)
from skatra.utils import observation

CHECK_FILE_EVERY = 1.0
_FIRST_LOOK = 0.02
_LOOK_AROUND_EVERY = 0.25
_JITTER = 0.1


class Lender:
    """What ``SQLiteConnectionPool`` does inside.

    Parameters
    ----------
    path : Path
    options : dict of float
    """

    def __init__(self, path: Path, options: dict[str, float | None]) -> None:
        self.path = path
        self.options = options
        self.lock = threading.Lock()
        self.returned = threading.Condition(self.lock)
        self.per_thread = PerThread()
        self.readers = SlotGroup(int(options["max_readers"] or 1), readonly=True)
        self.writers = SlotGroup(1, readonly=False)
        self.file_lock = FileLock(path.with_name(f"{path.name}-lock"))
        self.dropped = Dropped()
        self.serving = True
        self.is_closed = self._lock_kept = self._prepared = False
        self._pauses: set[str] = set()
        self._unsaid: list[Complaint | None] = []
        self.counts = dict.fromkeys(
            ("waited", "timeouts", "opened", "discarded", "leaked"), 0
        )
        self.longest_wait = 0.0
        self.forked: str | None = None
        self.identity = (0, 0)
        self.schema_version: int | None = None
        self._watches: dict[int, Watch] = {}
        self.log = LogKeeper(path)

    def seconds(self, name: str) -> float:
        """Return an option in seconds, infinity for None."""
        value = self.options[name]
        return float("inf") if value is None else float(value)

    def usable(self) -> None:
        """Raise by name if nothing can be lent."""
        if self.forked is not None:
            raise PoolForkedError(self.forked)
        if self.is_closed:
            raise PoolClosedError(
                f"the pool of {self.path} is closed. Call get_db_pool(path), or open "
                "the Database again."
            )

    def pause(self, why: str) -> None:
        """Stop lending until whoever pauses for the same reason resumes."""
        self._pauses.add(why)
        self.serving = False

    def resume(self, why: str) -> None:
        """Lend again unless there is another reason not to; under the lock."""
        self._pauses.discard(why)
        if not self._pauses:
            self.serving = not (self.is_closed or self.forked is not None)
            self.readers.serve()
            self.writers.serve()

    # --- taking --------------------------------------------------------------------

    def acquire(
        self,
        *,
        readonly: bool,
        timeout: float | None,
        holds: bool,
        limit: float | None,
        durable: bool,
        place: Slot | Waiter | None = None,
        bell: threading.Event | None = None,
        caller: tuple[CodeType, int] | None = None,
    ) -> Slot:
        """Take a slot with an open connection, or wait for one.

        ``bell`` is set by who gives up: it ends the wait for other processes.
        ``caller`` is the line to name where the stack does not show it.
        """
        start = time.monotonic()
        deadline = start + (self.seconds("timeout") if timeout is None else timeout)
        group = self.readers if readonly else self.writers
        if place is None:
            place = self.ask(readonly=readonly, holds=holds)
        slot = place if isinstance(place, Slot) else self._await(group, place, deadline)
        # The documented, fast way to the caller.
        caller = caller or outside(sys._getframe(1))  # noqa: SLF001
        slot.stamp(caller, self.per_thread.held.thread)
        if readonly:
            connection = self.prepare(slot)
        else:
            connection = self._begin(slot, deadline, bell, durable=durable)
        connection.refusal = None
        if limit is not None:
            self._watches[id(slot)] = WATCHDOG.watch(connection, limit)
        if observation.observer is not None:
            waited = time.monotonic() - start
            observation.observer.connection_taken(self.path.name, waited)
        return slot

    def ask(self, *, readonly: bool, holds: bool = False) -> Slot | Waiter:
        """Take an idle slot, or a place in the queue."""
        group = self.readers if readonly else self.writers
        self.reclaim()
        with self.lock:
            self.usable()
            slot = None if self._pauses and not holds else group.take()
            if slot is not None:
                return slot
            waiter = group.queue()
            if not self._pauses:
                # A slot may have come back between the look and the queue.
                group.serve()
            return waiter

    def withdraw(self, place: Slot | Waiter) -> None:
        """Send a waiter away that needs no connection any more."""
        if isinstance(place, Waiter):
            with self.lock:
                for group in (self.readers, self.writers):
                    group.cancel(place)

    def give_up(self, place: Slot | Waiter) -> None:
        """Leave a place for which nobody will wait."""
        self.withdraw(place)
        slot = place if isinstance(place, Slot) else place.slot
        if slot is not None:
            self.release(slot)

    def prepare(self, slot: Slot) -> PooledConnection:
        """Open a slot's connection; give the slot back if that fails."""
        try:
            return self._open(slot)
        except BaseException as error:
            self.release(slot, discard=True)
            if isinstance(error, sqlite3.Error | OSError):
                self._raise_translated(error)
            raise

    def _await(self, group: SlotGroup, waiter: Waiter, deadline: float) -> Slot:
        start, patience = time.monotonic(), _FIRST_LOOK
        try:
            while True:
                left = max(0.0, deadline - time.monotonic())
                if waiter.bell.acquire(timeout=min(left, patience)):
                    break
                if left <= patience:
                    break
                patience = _LOOK_AROUND_EVERY
                self.reclaim()
                self.recover_forsaken()
                self.warn_of_holders(group)
        except BaseException:
            with self.lock:
                slot = group.leave(waiter)
            if slot is not None:
                self.release(slot)
            raise
        with self.lock:
            slot = group.leave(waiter)
            waited = time.monotonic() - start
            self.counts["waited"] += 1
            self.longest_wait = max(self.longest_wait, waited)
            if slot is not None:
                return slot
            self.usable()
            if waiter.cancelled:
                raise CancelledError
            self.counts["timeouts"] += 1
            holders = [held.describe() for held in group.held()]
        kind = "reader" if group is self.readers else "writer"
        error = PoolTimeoutError(
            f"no {kind} of {self.path} came free in {waited:.1f} s: "
            f"{'; '.join(holders) or 'a fork is under way'}. Keep 'with' blocks short, "
            "wait longer (timeout=...)"
            + (" or allow more readers (max_readers=...)." if kind == "reader" else ".")
        )
        if observation.observer is not None:
            observation.observer.connection_timed_out(self.path.name, waited)
        try:
            raise reported(error)
        finally:
            del error  # its traceback refers to this frame, which holds the pool

    def warn_of_holders(self, group: SlotGroup) -> None:
        """Warn of holders whose thread ended, or who hold for too long."""
        now, patience = time.monotonic(), self.seconds("leak_after")
        with self.lock:
            held = group.held()
        complaints = []
        for slot in held:
            thread = slot.thread
            if thread is not None and not thread.is_alive():
                complaints.append(slot.complaint("although its thread has ended"))
            elif now - slot.since > patience:
                why = f"for longer than leak_after={patience:g} s"
                complaints.append(slot.complaint(why))
        warn_of(complaints)

    def reclaim(self) -> None:
        """Take back connections whose block was left without its end, and warn."""
        if self.dropped.notes:
            complaints: list[Complaint | None] = []
            try:
                self._take_back(complaints)
            finally:
                warn_of(complaints)

    def _take_back(self, complaints: "list[Complaint | None]") -> None:
        notes = self.dropped.take()
        try:
            while notes:
                slot, held = notes.pop()
                with self.lock:
                    if slot.connection is not None and slot.connection.sharers:
                        self.dropped.notes.append((slot, held))
                        continue
                    if held.reader is slot:
                        held.reader = None
                    if held.writer is slot:
                        held.writer = None
                    self.counts["leaked"] += 1
                why = "and was dropped without leaving its block; it was taken back"
                complaints.append(slot.complaint(why))
                self.leave(slot, GIVEN_BACK)
        finally:
            self.dropped.notes.extend(notes)

    def recover_forsaken(self) -> None:
        """Take back what a thread was interrupted with on its way to or from it."""
        with self.lock:
            lost = self.readers.forsaken() + self.writers.forsaken()
            self.counts["leaked"] += len(lost)
            if not self._pauses:
                self.readers.serve()
                self.writers.serve()
        for slot in lost:
            watch = self._watches.pop(id(slot), None)
            if watch is not None:
                WATCHDOG.forget(watch)
            self.discard(slot)
            if not slot.readonly:
                self.file_lock.release()
            self.release(slot)

    def _open(self, slot: Slot) -> PooledConnection:
        """Give the slot an open connection to the file that is there now."""
        now = time.monotonic()
        if not slot.readonly or now - slot.checked > CHECK_FILE_EVERY:
            if not self.has_its_file():
                raise file_gone(self.path)
            slot.checked = now
            if slot.connection is not None and now > slot.opened:
                self.discard(slot)
            self._close_unused(now)
        if slot.connection is None:
            try:
                slot.connection = self._connect(readonly=slot.readonly)
            except DatabaseError as error:
                if not (slot.readonly and needs_recovery(error.__cause__)):
                    raise
                self._recover()
                slot.connection = self._connect(readonly=True)
            if not self.has_its_file():  # it may have gone since the look above
                self.discard(slot)
                raise file_gone(self.path)
            share = 1 - _JITTER * random.random()  # noqa: S311 - not all at once
            slot.opened = now + self.seconds("max_life") * share
            with self.lock:
                self.counts["opened"] += 1
        return slot.connection

    def has_its_file(self) -> bool:
        """Return whether the path still means the file that the pool was made for."""
        try:
            return identity(self.path) == self.identity
        except DatabaseError:
            return False

    def _close_unused(self, now: float) -> None:
        """Close readers that nobody needed for a while."""
        with self.lock:
            old = [
                slot
                for slot in self.readers.idle
                if slot.connection is not None
                and now - slot.since > self.seconds("max_idle")
            ]
            for slot in old:
                if self.readers.withdraw(slot):
                    self.discard(slot)
                    self.readers.idle.insert(0, slot)

    def _connect(self, *, readonly: bool) -> PooledConnection:
        wait = self.seconds("busy_timeout")
        return open_connection(self.path, readonly=readonly, busy_timeout=wait)

    def _recover(self) -> None:
        """Undo what a killed process left half-written; only a writer can."""
        lock = FileLock(self.file_lock.path)
        try:
            if lock.acquire(self.seconds("timeout"), "recovering"):
                self._connect(readonly=False).close()
        finally:
            lock.close()

    def take_file_lock(
        self, timeout: float, bell: threading.Event | None = None
    ) -> None:
        """Take the lock between processes, or say who holds it."""
        try:
            if self.file_lock.acquire(timeout, threading.current_thread().name, bell):
                return
        except OSError as error:
            self._raise_translated(error)
            raise
        if bell is not None and bell.is_set():
            raise CancelledError
        raise PoolTimeoutError(
            f"another process keeps writing to {self.path}: after {timeout:.1f} s the "
            f"lock is still held by {self.file_lock.owner()}. Wait longer "
            "(timeout=...) or end that process."
        )

    def _begin(
        self,
        slot: Slot,
        deadline: float,
        bell: threading.Event | None,
        *,
        durable: bool,
    ) -> PooledConnection:
        try:
            self.take_file_lock(max(0.0, deadline - time.monotonic()), bell)
            try:
                connection = self._open(slot)
                connection.begin(self.schema_version, durable=durable)
            except BaseException:
                self.discard(slot)
                raise
        except BaseException as error:
            self.file_lock.release()
            self.release(slot, discard=True)
            if isinstance(error, sqlite3.Error | OSError):
                self._raise_translated(error)
            raise
        return connection

    # --- giving back ---------------------------------------------------------------

    def leave(self, slot: Slot, exc: BaseException | None) -> None:
        """Commit or roll back, clean up, and hand the slot on."""
        if self.forked is not None:
            if exc is None:
                raise type(FORKED)(str(FORKED))
            return
        watch = self._watches.pop(id(slot), None)
        if watch is not None:
            WATCHDOG.forget(watch)
        failure = exc
        try:
            try:
                discard = self._end_use(slot, exc)
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure, discard = error, True
            if discard and not slot.readonly:
                self.discard(slot)
            if not slot.readonly:
                self.file_lock.release()
            self.release(slot, discard=discard)
            if watch is not None and watch.expired and interrupted(failure):
                raise reported(query_timeout(self.path)) from failure
            if isinstance(failure, sqlite3.Error):
                self._raise_translated(failure, is_query=True)
            if failure is not None and failure is not exc:
                raise failure
        finally:
            del failure  # its traceback refers to this frame, which holds the slot

    def _end_use(self, slot: Slot, exc: BaseException | None) -> bool:
        """Close cursors, end the transaction; True if nobody may have the rest."""
        connection = slot.connection
        if connection is None or connection.refusal is CLOSED:
            if exc is None and not slot.readonly:
                raise DatabaseError(
                    "the connection was closed inside its block, which could not "
                    "commit any more: what it wrote is lost unless it was committed "
                    "by hand. Leave closing to the pool."
                )
            return True
        connection.in_block = False
        connection.close_cursors()
        if slot.readonly or exc is not None:
            if connection.in_transaction:
                connection.rollback()
        elif connection.in_transaction:
            connection.commit()
            if connection.owes_disk:
                connection.sync()
            self.log.keep_short(self, connection)
        else:
            raise DatabaseError(
                "the transaction ended before its block did: an error in it was "
                "swallowed, or it was committed by hand. No statement after that "
                "point was run; let the block commit."
            )
        connection.row_factory = None
        connection.text_factory = str
        # A block that goes on inside this one must not meet the next borrower.
        connection.refusal = OUTER_ENDED if connection.sharers else GIVEN_BACK
        unfit = connection.altered or connection.sharers > 0
        return unfit or breaks_connection(exc)

    def _raise_translated(self, error: Exception, *, is_query: bool = False) -> None:
        named = reported(translate(error, self.path, is_query=is_query))
        try:
            if named is not error:
                raise named from error
        finally:
            del named, error  # their traceback refers to this frame

    def discard(self, slot: Slot) -> None:
        """Close a slot's connection."""
        connection, slot.connection = slot.connection, None
        if connection is not None:
            connection.close()

    def release(self, slot: Slot, *, discard: bool = False) -> None:
        """Hand a slot on; after ``close`` its connection ends here."""
        if discard and slot.connection is not None:
            with self.lock:
                self.counts["discarded"] += 1
            self.discard(slot)
        with self.lock:
            closed = self.is_closed
            if not closed:
                self._hand_on(slot)
        if closed:
            self.discard(slot)
            if not slot.readonly:
                self.file_lock.close()
            with self.lock:
                self._hand_on(slot)

    def _hand_on(self, slot: Slot) -> None:
        group = self.readers if slot.readonly else self.writers
        if self._pauses:
            slot.clear()
            group.idle.append(slot)
        else:
            group.give(slot)
        self.returned.notify_all()

    def all_held(self) -> list[Slot]:
        """Return every slot in somebody's hands."""
        return self.readers.held() + self.writers.held()

    def _others_held(self, but: Held) -> list[Slot]:
        mine = {id(but.reader), id(but.writer)}
        return [slot for slot in self.all_held() if id(slot) not in mine]

    def wait_until_returned(self, wait: float, *, but: Held) -> list[Slot]:
        """Wait, under the lock, for the slots of other threads; return what is left."""
        deadline = time.monotonic() + wait
        while others := self._others_held(but):
            left = deadline - time.monotonic()
            if left <= 0 or not self.returned.wait(left):
                break
        return others

    # --- forks -----------------------------------------------------------------

    def before_fork(self) -> None:
        """Close idle connections; keep the pool's lock until the fork is done."""
        wait = self.seconds("fork_wait")
        # A warning may be an error, which must not stop the rest.
        self._take_back(self._unsaid)
        self.recover_forsaken()
        self._lock_kept = self.lock.acquire(timeout=wait)
        if not self._lock_kept:
            return
        self.pause("fork")
        mine, deadline = self.per_thread.held, time.monotonic() + wait
        while True:
            left = max(0.0, deadline - time.monotonic())
            held = self.wait_until_returned(left, but=mine)
            close_idle(self.readers, self.writers, self.file_lock)
            # One that was taken after all, before this pause, comes back unused.
            if held or not (self._others_held(mine) or self._idle_open()):
                self._prepared = True
                return

    def _idle_open(self) -> list[Slot]:
        idle = self.readers.idle + self.writers.idle
        return [slot for slot in idle if slot.connection is not None]

    def after_fork_in_parent(self) -> None:
        """Serve those who waited during the fork."""
        kept, self._lock_kept, self._prepared = self._lock_kept, False, False
        if kept:
            self.resume("fork")
            self.lock.release()

    def warn_after_fork(self) -> None:
        """Warn of what was found before the fork."""
        complaints, self._unsaid = self._unsaid, []
        warn_of(complaints)

    def after_fork_in_child(self) -> None:
        """Start afresh, or refuse if a connection was in use."""
        if self._prepared:
            held = self.all_held() + self._idle_open()
        else:
            held = self.readers.slots
        self._lock_kept = self._prepared = False
        self._unsaid = []
        self.lock = threading.Lock()
        self.returned = threading.Condition(self.lock)
        self.per_thread = PerThread()
        self.dropped = Dropped()
        self._watches = {}
        if held:
            names = "; ".join(slot.describe(after_fork=True) for slot in held)
            self.forked = (
                f"the process was forked while {names}, so commits of this child to "
                f"{self.path} could be lost. Fork when no connection is in use, or "
                "start the child with multiprocessing's 'spawn' or 'forkserver' "
                "method."
            )
            forked_files[self.identity] = self.forked
            for slot in self.readers.slots + self.writers.slots:
                if slot.connection is not None:
                    slot.connection.refusal = FORKED
                keep_forever(slot.connection)
        self.readers.reset()
        self.writers.reset()
        self.file_lock.close()
        self._pauses.clear()  # also that of a thread that is not here
        self.resume("fork")
