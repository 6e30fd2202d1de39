"""What workers read: in memory, or in a memory-mapped file named by its content."""

import contextlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import joblib

from skatra.exceptions import WorkersNotReadyError
from skatra.typing import Split
from skatra.utils import check_method_params, safe_indexing


@dataclass(frozen=True, slots=True)
class SearchRows:
    """All that a fold is cut from; parameters with one entry per row are cut too."""

    X: Any
    y: Any
    fit_params: dict[str, Any]
    score_params: dict[str, Any]
    splits: list[Split]

    def part(self, fold: int, *, test: bool) -> tuple[Any, Any, dict[str, Any]]:
        """Return X, y and the parameters of the training or test rows of a fold."""
        rows = self.splits[fold][1 if test else 0]
        params = self.score_params if test else self.fit_params
        return (
            safe_indexing(self.X, rows),
            safe_indexing(self.y, rows),
            check_method_params(self.X, params, rows),
        )


@dataclass(frozen=True, slots=True)
class InMemory:
    """What every worker shares because it is a thread."""

    content: Any

    def load(self) -> Any:
        """Return it."""
        return self.content


@dataclass(frozen=True, slots=True)
class InFile:
    """What workers map into memory: only this path travels."""

    path: str
    size: int

    def load(self) -> Any:
        """Map the file, once per process."""
        with _MAPPED_LOCK:
            if self.path not in _MAPPED:
                self.check()
                _MAPPED[self.path] = joblib.load(self.path, mmap_mode="r")
                while len(_MAPPED) > _MAX_MAPPED:
                    _MAPPED.popitem(last=False)
            _MAPPED.move_to_end(self.path)
            return _MAPPED[self.path]

    def check(self) -> None:
        """Raise unless this process sees the whole file."""
        path = Path(self.path)
        size = path.stat().st_size if path.exists() else None
        if size == self.size:
            return
        found = "is not there" if size is None else f"has {size} bytes there"
        raise WorkersNotReadyError(
            f"A worker on {os.uname().nodename if hasattr(os, 'uname') else 'a host'} "
            f"cannot read the rows: {path} of {self.size} bytes {found}. Workers map "
            "the rows from a file system that they share with the client: pass "
            "DaskBackend(folder=...) a folder that every machine mounts at this path, "
            "or name it by TMPDIR on the command line."
        )


_MAX_MAPPED = 4
_MAPPED: OrderedDict[str, Any] = OrderedDict()
_MAPPED_LOCK = Lock()


@contextmanager
def in_file(content: Any, digest: str, folder: str | None) -> Iterator[InFile]:
    """Write something to a file that bears its SHA-256, and remove it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="skatra-rows-", dir=folder))
    path = home.resolve() / f"{digest}.joblib"
    try:
        try:
            joblib.dump(content, path)
        except OSError as error:
            msg = f"the rows for the workers cannot be written: {error.strerror}"
            raise OSError(error.errno, msg, str(path)) from error
        yield InFile(str(path), path.stat().st_size)
    finally:
        with _MAPPED_LOCK:
            _MAPPED.pop(str(path), None)
        with contextlib.suppress(OSError):
            shutil.rmtree(home)
