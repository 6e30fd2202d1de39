"""A fair lock between processes: one writer at a time, in order of arrival."""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_OWNER_BYTES = 200


class FileLock:
    """An exclusive lock on a side file, held by one thread of one process.

    SQLite's own busy handler sleeps and polls, so one process can starve another;
    the kernel's queue of ``flock`` does not. The file stays when the lock goes:
    removing it would let two processes lock two files of one name. On Windows the
    lock polls every 10 ms and is not fair.

    Parameters
    ----------
    path : Path
        The side file; created when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, timeout: float, owner: str = "") -> bool:
        """Take the lock; False when ``timeout`` seconds did not suffice."""
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        fd = self._fd
        if not _try_lock(fd):
            try:
                if not _wait_lock(fd, timeout):
                    self._fd = None
                    return False
            except BaseException:
                self._fd = None
                raise
        note = f"process {os.getpid()}, {owner}".encode(errors="replace")
        with contextlib.suppress(OSError):
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, note[:_OWNER_BYTES].ljust(_OWNER_BYTES))
        return True

    def release(self) -> None:
        """Give the lock to whoever waits longest."""
        if self._fd is not None:
            _unlock(self._fd)

    def owner(self) -> str:
        """Return who took the lock last."""
        try:
            return self.path.read_text(errors="replace").strip() or "unknown"
        except OSError:
            return "unknown"

    def close(self) -> None:
        """Close the side file; in a forked child the parent keeps its lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


if sys.platform == "win32":

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _OWNER_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_lock(fd: int, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                time.sleep(0.01)
                if _try_lock(fd):
                    return True
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
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

    def _wait_lock(fd: int, timeout: float) -> bool:
        """Wait in the kernel's queue; on False or an error ``fd`` gets closed.

        flock has no timeout, so a thread of its own waits; when the caller has
        given up, that thread closes the descriptor and passes the lock on.
        """
        state = threading.Lock()
        got = threading.Event()
        abandoned = False

        def wait() -> None:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            with state:
                if abandoned:
                    os.close(fd)
                else:
                    got.set()

        threading.Thread(target=wait, name="skatra-file-lock", daemon=True).start()
        try:
            got.wait(timeout)
        except BaseException:
            with state:
                abandoned = not got.is_set()
            if not abandoned:
                os.close(fd)
            raise
        with state:
            abandoned = not got.is_set()
        return not abandoned

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
