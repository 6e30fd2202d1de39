"""Any query into a frame whose dtypes are those of its values."""

import contextlib
import sqlite3
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skatra.datasets._connections import statements
from skatra.exceptions import DatabaseError

_BLOCK_ROWS = 4096
_EXACT_IN_FLOAT = 2**53
_NULL = type(None)
_BY_DECLARATION = {"INT": "Int64", "REAL": "float64", "TEXT": "str"}


class _Column:
    """One column on its way from tuples of Python values to an array."""

    def __init__(self) -> None:
        self.kinds: set[type] = set()
        self._blocks: list[Any] = []
        self._texts: dict[str, str] = {}

    def add(self, values: tuple[Any, ...]) -> None:
        """Take the next block of values."""
        kinds = set(map(type, values))
        self.kinds |= kinds
        if kinds == {float}:
            self._blocks.append(np.frombuffer(array("d", values)))
        elif kinds == {int}:
            self._blocks.append(np.frombuffer(array("q", values), np.int64))
        elif kinds == {str} and len(self._texts) < _BLOCK_ROWS:
            # Equal texts share one object: symbols repeat in every row.
            known = self._texts.setdefault
            self._blocks.append([known(value, value) for value in values])
        else:
            self._blocks.append(values)

    def result(self, declared: str | None) -> Any:
        """Return the whole column; ``declared`` is asked for when no value tells."""
        blocks, self._blocks = self._blocks, []
        kinds = self.kinds - {_NULL}
        if not kinds:
            n = sum(map(len, blocks))
            dtype: Any = _BY_DECLARATION.get(declared or "", "object")
            if n == 0 and dtype == "Int64":
                return np.empty(0, dtype=np.int64)
            nothing: list[Any] = [None] * n
            return pd.array(nothing, dtype=dtype)
        if self.kinds in ({float}, {int}):
            return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        values = [value for block in blocks for value in _plain(block)]
        return _mixed(values, kinds)


def _mixed(values: list[Any], kinds: set[type]) -> Any:
    """Return a column with NULLs, texts, blobs or several kinds of values."""
    if kinds == {int}:
        return pd.array(values, dtype="Int64")
    if kinds == {str}:
        return pd.array(values, dtype="str")
    exact = all(type(v) is not int or abs(v) <= _EXACT_IN_FLOAT for v in values)
    if kinds <= {int, float} and exact:
        return np.array(values, dtype=np.float64)
    whole = np.empty(len(values), dtype=object)
    whole[:] = values
    return whole


def _plain(block: Any) -> Iterable[Any]:
    """Return a block as Python values."""
    values: Iterable[Any] = block.tolist() if isinstance(block, np.ndarray) else block
    return values


def read_sql(
    connection: sqlite3.Connection,
    query: str,
    params: Sequence[Any] | Mapping[str, Any] = (),
) -> pd.DataFrame:
    """Run one query and return its rows; also a writer only reads."""
    if not getattr(connection, "in_block", False):
        return _rows(connection, query, params)
    connection.execute("PRAGMA query_only = ON").close()
    try:
        return _rows(connection, query, params)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_READONLY":
            raise DatabaseError(
                f"read_sql only reads, got {query!r}. Use connection.execute of the "
                "block, or a method of Database."
            ) from error
        raise
    finally:
        # Also if the query ended the block, after which the connection refuses.
        sqlite3.Cursor(connection).execute("PRAGMA query_only = OFF").close()


def _rows(
    connection: sqlite3.Connection,
    query: str,
    params: Sequence[Any] | Mapping[str, Any],
) -> pd.DataFrame:
    cursor = connection.execute(query, params)
    if cursor.description is None:
        raise ValueError(
            f"query must return rows, such as a SELECT, got {query!r}. To write, use "
            "db.pool.get_connection(readonly=False)."
        )
    names = [entry[0] for entry in cursor.description]
    columns = [_Column() for _ in names]
    while rows := cursor.fetchmany(_BLOCK_ROWS):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.add(values)
    del rows
    unknown = any(column.kinds <= {_NULL} for column in columns)
    declared = _declared(connection, query, params) if unknown else []
    declared += [None] * (len(names) - len(declared))
    arrays: dict[Any, Any] = {}
    for k in range(len(names)):
        arrays[k] = columns[k].result(declared[k])
    frame = pd.DataFrame(arrays, copy=False)
    frame.columns = pd.Index(names)
    return frame


def _declared(
    connection: sqlite3.Connection,
    query: str,
    params: Sequence[Any] | Mapping[str, Any],
) -> list[str | None]:
    """Ask SQLite which types the query's columns have, on empty tables in memory."""
    schema = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN "
        "('table', 'view') AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    with contextlib.closing(sqlite3.connect(":memory:")) as scratch:
        for (statement,) in schema:
            with contextlib.suppress(sqlite3.Error):
                scratch.execute(statement)
        # Without a limit it might run as long as before, or for ever.
        inner = next(statements(query), query).rstrip().rstrip(";")
        empty = f"SELECT * FROM ({inner}\n) LIMIT 0"  # noqa: S608 - the caller's own
        with contextlib.suppress(sqlite3.Error):
            scratch.execute(f"CREATE TABLE skatra_types AS {empty}", params)
        rows = scratch.execute("PRAGMA table_info(skatra_types)").fetchall()
    return [row[2] for row in rows]
