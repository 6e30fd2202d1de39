"""Files that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_PREFIX = ".skatra-tmp-"
_STALE_AFTER = 3600.0


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half-written an hour ago or earlier."""
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _STALE_AFTER:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that they survive a power failure."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    make_folder(path.parent.absolute())
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        _write_synced(temporary, content)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def put_back_on_failure(path: Path) -> Iterator[None]:
    """Leave a small file as it was, or absent, if a block fails.

    The copy is made before the block, so that a disk that fills up in it does not
    stand in the way.
    """
    if not path.exists():
        try:
            yield
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return
    copy = path.with_name(f"{_PREFIX}{path.name}-{os.getpid()}")
    try:
        _write_synced(copy, path.read_bytes())
        copy.chmod(0o644)
        try:
            yield
        except BaseException:
            copy.replace(path)
            _sync_folder(path.parent)
            raise
    finally:
        copy.unlink(missing_ok=True)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files in one step; leave an equal folder as it is.

    Raises
    ------
    FileExistsError
        If the folder exists with other content.
    """
    if path.exists():
        if _holds(path, files):
            return
        msg = f"{path} exists with other content; move it away and run again."
        raise FileExistsError(msg)
    make_folder(path.parent.absolute())
    _sweep(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
    try:
        for name, content in files.items():
            _write_synced(temporary / name, content)
        temporary.chmod(0o755)
        _sync_folder(temporary)
        temporary.rename(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
        if isinstance(error, OSError) and path.exists() and _holds(path, files):
            return  # another process was faster with the same
        raise


def _holds(path: Path, files: Mapping[str, bytes]) -> bool:
    present = {child.name: child.read_bytes() for child in path.iterdir()}
    return present == dict(files)
