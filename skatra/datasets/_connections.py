"""One SQLite connection, opened so that a name means the file of that name."""

import contextlib
import ctypes
import os
import re
import sqlite3
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from skatra.datasets._errors import translate
from skatra.exceptions import (
    DatabaseError,
    DatabaseNotFoundError,
    PoolForkedError,
    SchemaVersionError,
)
from skatra.utils import observation

_PAGE_SIZE = 16384
_PRUNE_AT = 256
_PASSING = frozenset("SIUDWRBVAsiudwrbva")  # statements that begin with one of these
_LASTING = re.compile(r"\bpragma\b[^=(]*[=(]|\btemp(orary)?\b", re.IGNORECASE)
_new_cursor = sqlite3.Connection.cursor
_execute = sqlite3.Cursor.execute
_reference = weakref.ref

GIVEN_BACK = DatabaseError(
    "this connection was given back to its pool. Use it inside its 'with' block only."
)
CLOSED = DatabaseError(
    "this connection was closed inside its 'with' block. Leave that to the pool."
)
OUTER_ENDED = DatabaseError(
    "the block whose connection this one shared has ended. Blocks of one thread share "
    "a connection and end in reverse order; where coroutines or generators take turns, "
    "use get_connection_async, or read all rows before the block yields."
)
FORKED = PoolForkedError(
    "this connection was opened before the process forked; what it wrote would be "
    "lost. Take a connection from a pool opened in this process."
)

forked_files: dict[tuple[int, int], str] = {}
"""Files (device, inode) in use when this process was forked, and what to say."""

_COMMON = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
)


class PooledConnection(sqlite3.Connection):
    """A connection that knows its open cursors and when it must not be used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pid = os.getpid()
        self.refusal: DatabaseError | None = None
        self.durable = False
        self.owes_disk = False
        self.in_block = False
        self.altered = False
        self.sharers = 0
        self.database: str | None = None
        self.tracked: list[weakref.ref[sqlite3.Cursor | sqlite3.Blob]] = []

    def close(self) -> None:
        """Close; whoever still has the connection is told so by name."""
        super().close()
        self.in_block = False
        if self.refusal is None:
            self.refusal = CLOSED

    def check_use(self) -> None:
        """Raise by name if no statement may run now."""
        if self.refusal is not None:
            raise type(self.refusal)(str(self.refusal))
        if self.in_block and not self.in_transaction:
            raise DatabaseError(
                "the transaction of this block has ended: an error in it was caught, "
                "after which SQLite had undone it, or it was committed by hand. Leave "
                "the block; a statement here would be kept by itself."
            )

    def cursor(self, factory: Any = None) -> Any:
        """Open a cursor that is closed when the connection goes back."""
        self.check_use()
        self.altered |= factory is not None  # what such a cursor runs goes unseen
        cursor = _new_cursor(self, PooledCursor if factory is None else factory)
        self._track(cursor)
        return cursor

    def blobopen(self, *args: Any, **kwargs: Any) -> sqlite3.Blob:
        """Open a blob that is closed when the connection goes back."""
        self.check_use()
        blob = super().blobopen(*args, **kwargs)
        self._track(blob)
        return blob

    def _track(self, opened: Any) -> None:
        tracked = self.tracked
        if len(tracked) >= _PRUNE_AT:
            tracked[:] = [ref for ref in tracked if ref() is not None]
        tracked.append(_reference(opened))

    def notice(self, sql: str) -> None:
        """Note whether SQL makes what would stay for the next borrower.

        That is a setting, which may switch off checks or references, or something in
        the temporary schema, which hides a table of the same name.
        """
        if _LASTING.search(sql):
            self.altered = True

    def execute(self, sql: str, /, *args: Any) -> Any:
        """Execute through a tracked cursor (C would bypass ``cursor``)."""
        if observation.observer is not None and self.database is not None:
            observation.observer.statement_run(self.database, "execute")
        ended = self.in_block and not self.in_transaction
        if self.refusal is not None or ended or len(self.tracked) >= _PRUNE_AT:
            return self.cursor().execute(sql, *args)
        if sql[:1] not in _PASSING:
            self.notice(sql)
        cursor = _new_cursor(self, PooledCursor)
        self.tracked.append(_reference(cursor))
        return _execute(cursor, sql, *args)

    def executemany(self, *args: Any) -> Any:
        """Execute many through a tracked cursor."""
        if observation.observer is not None and self.database is not None:
            observation.observer.statement_run(self.database, "executemany")
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """Execute a script through a tracked cursor."""
        if observation.observer is not None and self.database is not None:
            observation.observer.statement_run(self.database, "script")
        return self.cursor().executescript(*args)

    def begin(self, version: int | None, *, durable: bool) -> None:
        """Begin a write; refuse tables of another version than that given.

        Another process may have upgraded them since this one looked.
        """
        self.refusal = None
        self.make_durable(durable=durable)
        self.execute("BEGIN IMMEDIATE").close()
        if version is not None:
            # Without what the user's statements need: this is part of every write.
            (found,) = _execute(_new_cursor(self), "PRAGMA user_version").fetchone()
            if found != version:
                raise SchemaVersionError(
                    f"the tables of {self.database} have version {found} now, and "
                    f"version {version} when this process opened them: another skatra "
                    "upgraded or replaced them. Nothing was written. Start this "
                    "process again, with the skatra that did it."
                )
        self.owes_disk = False
        self.in_block = True

    def make_durable(self, *, durable: bool) -> None:
        """Choose whether a commit waits for the disk (synchronous FULL or NORMAL)."""
        if durable != self.durable:
            self._set("synchronous", "FULL" if durable else "NORMAL")
            self.durable = durable

    def _set(self, name: str, value: object) -> None:
        """Set what the pool itself looks after."""
        cursor = _new_cursor(self, PooledCursor)
        _execute(cursor, f"PRAGMA {name} = {value}").close()

    def sync(self) -> None:
        """Have the disk keep what was committed without waiting for it."""
        try:
            self.make_durable(durable=True)
            # A durable commit syncs the whole log; this one changes nothing.
            version = self.execute("PRAGMA user_version").fetchone()[0]
            self._set("user_version", version)
        except sqlite3.Error as error:
            raise DatabaseError(
                f"the transaction was committed, but the disk did not confirm it "
                f"({error}): it may not survive a power failure. Mend the disk, then "
                "write the same rows once more."
            ) from error

    def optimize(self) -> None:
        """Let SQLite refresh what its query planner knows, as it advises on close."""
        # The collector may come here while an observer holds a lock of its own.
        self.refusal = self.database = None
        with contextlib.suppress(sqlite3.Error):
            self.execute("PRAGMA analysis_limit = 400").close()
            self.execute("PRAGMA optimize").close()

    def close_cursors(self, keep: Sequence[Any] = ()) -> None:
        """Close every cursor and blob opened since ``keep`` was taken."""
        kept = set(map(id, keep))
        for reference in self.tracked:
            opened = reference()
            if opened is not None and id(reference) not in kept:
                opened.close()
        self.tracked[:] = keep

    def open_cursors(self) -> list[Any]:
        """Return the cursors open now, to be kept by ``close_cursors``."""
        return list(self.tracked)


class PooledCursor(sqlite3.Cursor):
    """A cursor that outlives neither its block nor the block's transaction."""

    __slots__ = ()
    connection: PooledConnection

    def execute(self, sql: str, /, *args: Any) -> Any:
        """Execute if a statement may run now."""
        self.connection.check_use()
        if sql[:1] not in _PASSING:
            self.connection.notice(sql)
        return _execute(self, sql, *args)

    def executemany(self, sql: str, /, *args: Any) -> Any:
        """Execute many times if a statement may run now."""
        self.connection.check_use()
        self.connection.notice(sql)
        return super().executemany(sql, *args)

    def executescript(self, script: str) -> Any:
        """Execute a script; in a block as a part of its transaction.

        sqlite3 would commit first, and the block could not be rolled back.
        """
        self.connection.check_use()
        if not self.connection.in_block:
            self.connection.notice(script)
            return super().executescript(script)
        for statement in statements(script):
            self.execute(statement).fetchall()
        return self


def statements(script: str) -> Iterator[str]:
    """Split a script where SQLite sees the end of a statement."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip(";\n\t\r "):
        yield statement.removesuffix(";")


def identity(path: Path) -> tuple[int, int]:
    """Return device and inode, which is what a file is whatever its name.

    Raises
    ------
    DatabaseNotFoundError
        If there is no file.
    DatabaseError
        If it is no regular file or cannot be looked at.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DatabaseNotFoundError(
            f"there is no database at {path}. Check the path, or create it: "
            "Database(path, create=True), or skatra ingest."
        ) from None
    except OSError as error:
        raise DatabaseError(
            f"{path} cannot be looked at ({error.strerror}). Check the permissions of "
            "its directory."
        ) from error
    if path.is_dir():
        raise DatabaseError(
            f"{path} is a directory. Give the path of a file, such as "
            f"{path / 'market.db'}."
        )
    return status.st_dev, status.st_ino


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of the file that a name means, links followed.

    Raises
    ------
    TypeError
        If it is no path at all.
    DatabaseError
        If the name is empty or holds a null character.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        msg = f"path must be the name of a file, text or path-like, got {path!r}."
        raise TypeError(msg) from None
    if not text or "\0" in text:
        raise DatabaseError(f"path must be the name of a file, got {text!r}.")
    return Path(os.path.realpath(text))


def open_connection(
    path: Path,
    *,
    readonly: bool,
    create: bool = False,
    busy_timeout: float = 5.0,
) -> PooledConnection:
    """Open a connection with skatra's settings.

    A reader is opened with ``mode=ro``, which SQL text cannot switch off. A writer
    puts the file into write-ahead mode.
    """
    if forked_files and path.exists() and identity(path) in forked_files:
        raise PoolForkedError(forked_files[identity(path)])
    mode = "ro" if readonly else ("rwc" if create else "rw")
    connection: PooledConnection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
            factory=PooledConnection,
        )
        _configure(connection, readonly=readonly, create=create)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):
            raise translate(error, path) from error
        raise
    connection.database = path.name
    connection.altered = False
    return connection


def _configure(connection: PooledConnection, *, readonly: bool, create: bool) -> None:
    for pragma in _COMMON:
        connection.execute(pragma).close()
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DQS_DML, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DQS_DDL, False)
    # Another file would stay attached for the next borrower.
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # A reader's pages stay in the processor's cache while it goes through a table;
    # the system caches the file. The writer keeps what it has changed.
    kilobytes = 4096 if readonly else 16384
    connection.execute(f"PRAGMA cache_size = -{kilobytes}").close()
    if readonly:
        connection.execute("PRAGMA query_only = ON").close()
        connection.execute("PRAGMA schema_version").fetchone()
        return
    if create:
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}").close()
    connection.execute("PRAGMA synchronous = NORMAL").close()
    connection.execute("PRAGMA wal_autocheckpoint = 1000").close()
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise DatabaseError(
            "the file system cannot hold SQLite's write-ahead log (journal_mode "
            f"stayed {mode!r}). Put the database on a local disk."
        )


def keep_forever(connection: PooledConnection | None) -> None:
    """Never close an inherited connection: that could remove the parent's log."""
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
