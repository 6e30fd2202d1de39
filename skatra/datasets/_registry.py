"""One pool for each file and process."""

import os
import weakref
from typing import Any

from skatra.datasets import _forks
from skatra.datasets._connections import identity, resolve
from skatra.datasets._pool import MEMORY, SQLiteConnectionPool, default_readers
from skatra.exceptions import DatabaseError

_pools: "weakref.WeakValueDictionary[tuple[int, int], SQLiteConnectionPool]" = (
    weakref.WeakValueDictionary()
)


def get_db_pool(path: str | os.PathLike[str], **options: Any) -> SQLiteConnectionPool:
    """Return the one pool of a file in this process.

    Relative paths, links and other spellings of one file give the same pool. It
    lives as long as somebody refers to it.

    Parameters
    ----------
    path : str or path-like
        The file; ":memory:" makes a new database in memory each time.
    **options : dict
        Parameters of ``SQLiteConnectionPool``. Options left out are those of the
        pool that is there, else the defaults; None is a value like any other.

    Returns
    -------
    SQLiteConnectionPool
        The file's pool; the same object for every call.

    Raises
    ------
    DatabaseError
        If the file's pool has other options than those given.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatra.datasets import get_db_pool
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "x.db")
    >>> pool = get_db_pool(path, create=True)
    >>> get_db_pool(f"{folder.name}/./x.db") is pool
    True
    >>> pool.close()
    >>> folder.cleanup()
    """
    if path == MEMORY:
        return SQLiteConnectionPool(path, **options)
    real = resolve(path)
    with _forks.no_fork():
        if not (options.get("create") and not real.exists()):
            pool = _pools.get(identity(real))
            # Another file may have got the inode of one that was removed.
            if pool is not None and not pool.closed and pool.has_its_file():
                _same_options(pool, options)
                return pool
        pool = SQLiteConnectionPool(real, **options)
        _pools[identity(real)] = pool
        return pool


def _same_options(pool: SQLiteConnectionPool, options: dict[str, Any]) -> None:
    known = {**pool.options, "create": None}
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"unknown option {name!r}; there are {sorted(known)}.")
        wanted = default_readers() if (name, value) == ("max_readers", None) else value
        if name != "create" and known[name] != wanted:
            raise DatabaseError(
                f"{pool.path} is already open in this process with {name}="
                f"{known[name]}, got {name}={value}. Close that pool first, or leave "
                "the option out."
            )
