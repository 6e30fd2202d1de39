"""One run at a time per database or file, one change per models folder."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skatra.exceptions import RunLockedError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 4096
_PATIENCE = 60.0


class RunLock:
    """Hold the lock of a database, or of another file of a run, for a block.

    The lock is the kernel's, on a side file that names its owner: it goes when the
    owner ends, however that ends. The file stays, since removing it would let two
    owners lock two files of one name.

    Parameters
    ----------
    database : Path
        The file; links are followed, so that one file has one lock.

    Raises
    ------
    RunLockedError
        On entering, if another run holds it; the message names its owner.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.retraining import RunLock
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "market.db")
    >>> with RunLock(path):
    ...     pass
    >>> folder.cleanup()
    """

    def __init__(self, database: Path | str) -> None:
        real = Path(database).resolve()
        self.path = real.with_name(f"{real.name}-retrain-lock")
        self._file, self._fd = real.name, -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises
        ------
        RunLockedError
            If another run holds it.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _try_lock(fd):
            os.close(fd)
            raise RunLockedError(
                f"another retrain with {self._file} is running ({self._owner()}). Wait "
                f"for it, or end it; its lock on {self.path} goes with it."
            )
        self._fd = fd
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, json.dumps(note).encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _owner(self) -> str:
        """Say who holds the lock, where and for how long."""
        note: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            note = json.loads(self.path.read_text())
        if not {"pid", "host", "since"} <= note.keys():
            return "its owner has just started"
        age = max(0.0, time.time() - note["since"])
        return f"process {note['pid']} on {note['host']}, for {age:,.0f} s"


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a models folder for a block, once who has it is done.

    Raises
    ------
    RunLockedError
        If it is not free for a minute.
    """
    if sys.platform == "win32":  # cannot open folders
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    else:
        fd = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while not _try_lock(fd):
            if time.monotonic() > end:
                raise RunLockedError(
                    f"another process has been changing which model of {folder} is "
                    f"served for {_PATIENCE:.0f} s. Wait for it, or end it."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


if sys.platform == "win32":

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
