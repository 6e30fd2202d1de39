"""A fair lock between processes: one writer at a time, in order of arrival."""

import contextlib
import os
import sys
import threading
import time
import weakref
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_OWNER_BYTES = 200
_TRIES = 3


class _Descriptor:
    """The open side file; whoever forgets it, even by an interrupt, unlocks it."""

    __slots__ = ("__weakref__", "_pid", "fd")

    def __init__(self, path: Path) -> None:
        self._pid, self.fd = os.getpid(), -1
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _open_ones.add(self)

    def is_at(self, path: Path) -> bool:
        """Return whether the path still means the open file."""
        try:
            return os.path.samestat(os.fstat(self.fd), path.stat())
        except FileNotFoundError:
            return False

    def unlock(self) -> None:
        """Let the lock go; a forked child has none to let go."""
        if self.fd >= 0 and self._pid == os.getpid():
            _unlock(self.fd)

    def close(self) -> None:
        """Close the file; in a forked child the parent keeps its lock."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.unlock()
            self.close()


_open_ones: "weakref.WeakSet[_Descriptor]" = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the parent's files, so that its lock ends with the parent."""
    for descriptor in list(_open_ones):
        descriptor.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


class FileLock:
    """An exclusive lock on a side file, held by one thread of one process.

    SQLite's own busy handler sleeps and polls, so one process can starve another;
    the kernel's queue of ``flock`` does not. The file stays when the lock goes; only
    its holder may remove it. On Windows the lock polls every 10 ms and is not fair.

    Parameters
    ----------
    path : Path
        The side file; created when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: _Descriptor | None = None

    def acquire(
        self, timeout: float, owner: str = "", bell: threading.Event | None = None
    ) -> bool:
        """Take the lock; False when ``timeout`` seconds did not suffice.

        Whoever sets ``bell`` ends the wait, as if its time were over.
        """
        tries, deadline = 0, time.monotonic() + timeout
        while True:
            file = self._file
            if file is None or file.fd < 0:
                file = self._file = _Descriptor(self.path)
            if not _try_lock(file.fd):
                self._file = None  # a wait that fails or is interrupted leaves nothing
                left = max(0.0, deadline - time.monotonic())
                if not _wait_lock(file, left, bell or threading.Event()):
                    return False
                self._file = file
            if file.is_at(self.path):
                break
            self.close()  # who made a backup removed it; all others lock a new one
            tries += 1
            if tries >= _TRIES and time.monotonic() >= deadline:
                return False
            if bell is not None:
                bell.clear()  # the wait has set it; who gives up does so again
        note = f"process {os.getpid()}, {owner}".encode(errors="replace")
        with contextlib.suppress(OSError):
            os.lseek(file.fd, 0, os.SEEK_SET)
            os.write(file.fd, note[:_OWNER_BYTES].ljust(_OWNER_BYTES))
        return True

    def release(self) -> None:
        """Give the lock to whoever waits longest."""
        if self._file is not None:
            self._file.unlock()

    def owner(self) -> str:
        """Return who took the lock last."""
        try:
            return self.path.read_text(errors="replace").strip() or "unknown"
        except OSError:
            return "unknown"

    def close(self) -> None:
        """Close the side file; in a forked child the parent keeps its lock."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


if sys.platform == "win32":

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _OWNER_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(file: _Descriptor, timeout: float, bell: threading.Event) -> bool:
        """Wait for the lock; on False the file gets closed."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not bell.wait(0.01):
            if _try_lock(file.fd):
                return True
        file.close()
        return False

    def _unlock(fd: int) -> None:
        os.lseek(fd, _OWNER_BYTES, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_lock(file: _Descriptor, timeout: float, bell: threading.Event) -> bool:
        """Wait in the kernel's queue; on False or an error the file gets closed.

        flock has no timeout, so a thread of its own waits; when the caller has
        given up, that thread passes the lock on and closes the file.
        """
        state = threading.Lock()
        got = abandoned = False

        def end() -> None:
            with contextlib.suppress(OSError):
                file.unlock()
            file.close()

        def wait() -> None:
            nonlocal got
            with contextlib.suppress(OSError):
                fcntl.flock(file.fd, fcntl.LOCK_EX)
            with state:
                if abandoned:
                    end()
                else:
                    got = True
                    bell.set()

        threading.Thread(target=wait, name="skatra-file-lock", daemon=True).start()
        try:
            bell.wait(timeout)
            with state:
                abandoned = not got
        except BaseException:
            with state:
                abandoned = True
                if got:
                    end()
            raise
        return not abandoned

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
