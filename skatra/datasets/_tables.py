"""What the tables have in common: symbols, named sets, upserts, ranges."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skatra.datasets._frames import WriteReport, check_symbols
from skatra.exceptions import DatabaseCorruptError, DatabaseError, EmptyDataError

SetKind = Literal["feature", "label"]
ReadSets = Sequence[tuple[SetKind, int]]
_SYMBOLS_SHOWN = 10
_ROWS_AT_ONCE = 100
"""Rows of one statement: SQLite keeps what a statement changes to undo it alone."""


def symbol_id(connection: sqlite3.Connection, symbol: str) -> int:
    """Return the number of a symbol, giving it one when it is new."""
    row = connection.execute(
        "SELECT sid FROM symbols WHERE symbol = ?", (symbol,)
    ).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO symbols (symbol) VALUES (?) RETURNING sid", (symbol,)
        ).fetchone()
    _prove(connection, "symbols", ("sid", row[0]), ("symbol", symbol))
    return int(row[0])


def damaged_table(table: str) -> DatabaseCorruptError:
    """Return the error for a table that says what was never written."""
    return DatabaseCorruptError(
        f"the table {table} was damaged after it was written. Restore a backup; "
        "Database.check() lists all damage."
    )


def stored(values: Any, dtype: Any, table: str) -> NDArray[Any]:
    """Return a column of rows as an array.

    Raises
    ------
    DatabaseCorruptError
        If it holds what the table's types forbid.
    """
    try:
        return np.array(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise damaged_table(table) from error


def from_json(text: Any, table: str) -> Any:
    """Return what a row holds as JSON text.

    Raises
    ------
    DatabaseCorruptError
        If it is none.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise damaged_table(table) from error


def _prove(
    connection: sqlite3.Connection,
    table: str,
    number: tuple[str, Any],
    name: tuple[str, str],
) -> None:
    """Compare what the index of a table said with the table itself."""
    row = connection.execute(
        f"SELECT {name[0]} FROM {table} WHERE {number[0]} = ?",  # noqa: S608
        (number[1],),
    ).fetchone()
    if row is None or row[0] != name[1]:
        raise damaged_table(table)


def all_symbols(connection: sqlite3.Connection) -> dict[str, int]:
    """Return every symbol with its number, sorted by symbol.

    Raises
    ------
    DatabaseCorruptError
        If the table and its index, which holds all of it once more, differ.
    """
    query = "SELECT symbol, sid FROM symbols"
    index = f"{query} INDEXED BY sqlite_autoindex_symbols_1 ORDER BY symbol"
    symbols = dict(connection.execute(index).fetchall())
    table = dict(connection.execute(f"{query} NOT INDEXED").fetchall())
    if symbols != table or list(symbols) != sorted(symbols):
        raise damaged_table(table="symbols")
    return symbols


def known_symbols(
    connection: sqlite3.Connection, wanted: Iterable[str]
) -> dict[str, int]:
    """Return those of some symbols that the database has, with their numbers.

    Raises
    ------
    DatabaseCorruptError
        If the index says of one what the table does not.
    """
    known: dict[str, int] = {}
    for symbol in wanted:
        row = connection.execute(
            "SELECT sid FROM symbols WHERE symbol = ?", (symbol,)
        ).fetchone()
        if row is None:
            every = all_symbols(connection)
            return {name: every[name] for name in wanted if name in every}
        _prove(connection, "symbols", ("sid", row[0]), ("symbol", symbol))
        known[symbol] = row[0]
    return known


def chosen_symbols(
    connection: sqlite3.Connection,
    symbols: str | Sequence[str] | None,
    sets: ReadSets = (),
) -> dict[str, int]:
    """Return the symbols asked for with their numbers, sorted; None is all.

    Parameters
    ----------
    connection : Connection
    symbols : str or sequence of str or None
    sets : sequence of (str, int)
        Kind and number of the sets that are read for these symbols.

    Raises
    ------
    EmptyDataError
        If the database has no such symbol.
    DatabaseCorruptError
        If all are wanted, and a set has chunks of one that is gone.
    """
    if symbols is None:
        known = all_symbols(connection)
        for kind, set_id in sets:
            orphan = connection.execute(
                f"SELECT 1 FROM {kind}_manifests WHERE set_id = ? "  # noqa: S608
                "AND sid NOT IN (SELECT sid FROM symbols) LIMIT 1",
                (set_id,),
            ).fetchone()
            if orphan is not None:
                raise damaged_table(table="symbols")
        return known
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    wanted = sorted(set(check_symbols(wanted, "symbols")))
    known = known_symbols(connection, wanted)
    unknown = [symbol for symbol in wanted if symbol not in known]
    if unknown:
        raise EmptyDataError(
            f"symbols: the database has no {_some(unknown)}; it has "
            f"{_some(list(all_symbols(connection))) or 'none yet'}."
        )
    return known


def _some(names: list[str]) -> str:
    more = len(names) - _SYMBOLS_SHOWN
    text = ", ".join(repr(name) for name in names[:_SYMBOLS_SHOWN])
    return f"{text} and {more} more" if more > 0 else text


def set_names(connection: sqlite3.Connection, kind: SetKind) -> list[str]:
    """Return the names of the feature or label sets, sorted."""
    rows = connection.execute(f"SELECT name FROM {kind}_sets ORDER BY name")  # noqa: S608
    return [row[0] for row in rows.fetchall()]


def find_set(connection: sqlite3.Connection, kind: SetKind, name: str) -> int:
    """Return the number of a set.

    Raises
    ------
    EmptyDataError
        If there is no such set; the message lists those there are.
    """
    row = connection.execute(
        f"SELECT set_id FROM {kind}_sets WHERE name = ?",  # noqa: S608
        (name,),
    ).fetchone()
    if row is None:
        lost = connection.execute(
            f"SELECT 1 FROM {kind}_sets NOT INDEXED WHERE name = ?",  # noqa: S608
            (name,),
        ).fetchone()
        if lost is not None:
            raise damaged_table(f"{kind}_sets")
        names = set_names(connection, kind)
        there = f"it has {names}" if names else f"it has no {kind} set yet"
        raise EmptyDataError(
            f"{kind}_set: the database has no {kind} set {name!r}; {there}. Write it "
            f"with Database.write_{kind}s(frame, {name!r})."
        )
    _prove(connection, f"{kind}_sets", ("set_id", row[0]), ("name", name))
    return int(row[0])


def ensure_set(
    connection: sqlite3.Connection,
    kind: SetKind,
    name: str,
    spec: dict[str, Any] | None,
) -> int:
    """Return the number of a set, making it when it is new.

    Raises
    ------
    DatabaseError
        If the set was made with another spec.
    """
    check_symbols([name], f"{kind}_set")
    text = None if spec is None else to_json(spec, "spec")
    row = connection.execute(
        f"SELECT set_id, spec FROM {kind}_sets WHERE name = ?",  # noqa: S608
        (name,),
    ).fetchone()
    if row is None:
        row = connection.execute(
            f"INSERT INTO {kind}_sets (name, spec) VALUES (?, ?) "  # noqa: S608
            "RETURNING set_id, spec",
            (name, text),
        ).fetchone()
    set_id, known = row
    _prove(connection, f"{kind}_sets", ("set_id", set_id), ("name", name))
    if text is not None and known is None:
        connection.execute(
            f"UPDATE {kind}_sets SET spec = ? WHERE set_id = ?",  # noqa: S608
            (text, set_id),
        )
    elif text is not None and known != text:
        raise DatabaseError(
            f"spec: the {kind} set {name!r} was made with {known}, got {text}. Write "
            "the other version under a name of its own."
        )
    return int(set_id)


_SET_TABLES: dict[SetKind, tuple[str, ...]] = {
    "feature": ("feature_chunks", "feature_manifests", "feature_columns"),
    "label": ("labels", "label_chunks", "label_manifests"),
}


def clear_set(
    connection: sqlite3.Connection,
    kind: SetKind,
    name: str,
    spec: dict[str, Any] | None,
    symbols: Sequence[str],
) -> None:
    """Make room in a set: drop these symbols' rows, or all if the spec is another.

    No spec, given or stored, is no other one. How chunks are packed stays.
    """
    row = connection.execute(
        f"SELECT set_id, spec FROM {kind}_sets WHERE name = ?",  # noqa: S608
        (name,),
    ).fetchone()
    if row is None:
        return
    set_id, known = row
    if spec is not None and known is not None and known != to_json(spec, "spec"):
        for table in _SET_TABLES[kind]:
            connection.execute(f"DELETE FROM {table} WHERE set_id = ?", (set_id,))  # noqa: S608
        connection.execute(
            f"UPDATE {kind}_sets SET spec = NULL WHERE set_id = ?",  # noqa: S608
            (set_id,),
        )
        return
    places = [(set_id, symbol_id(connection, symbol)) for symbol in symbols]
    for table in _SET_TABLES[kind]:
        if table != "feature_columns":
            connection.executemany(
                f"DELETE FROM {table} WHERE set_id = ? AND sid = ?",  # noqa: S608
                places,
            )


def set_columns(
    connection: sqlite3.Connection, set_id: int
) -> dict[str, tuple[int, str]]:
    """Return number and dtype of each column of a feature set, in order."""
    rows = connection.execute(
        "SELECT name, col, dtype FROM feature_columns WHERE set_id = ? ORDER BY col",
        (set_id,),
    ).fetchall()
    if any(dtype not in ("f8", "f4") for *_, dtype in rows):
        raise damaged_table(table="feature_columns")
    return {name: (col, dtype) for name, col, dtype in rows}


def to_json(value: Any, name: str) -> str:
    """Return a dict as JSON text with sorted keys.

    Raises
    ------
    TypeError
        If it is no dict.
    ValueError
        If it holds what JSON cannot say (NaN, arrays, ...).
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, got {type(value).__name__}.")
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold only what JSON can say: {error}. Turn numpy values into "
            "int, float or list, and NaN into None."
        ) from error


def upsert(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    key: Sequence[str],
    rows: Iterable[Sequence[Any]],
    existing: tuple[str, Sequence[Any]],
    stamp: str | None = None,
) -> WriteReport:
    """Insert rows, or replace the values of those whose key is there.

    Parameters
    ----------
    connection : Connection
        In a write transaction.
    table : str
    columns, key : sequence of str
        All columns given, and those of them that name a row.
    rows : iterable of sequences
        No key twice.
    existing : (str, sequence)
        A condition with its parameters that holds for every row with a given key.
    stamp : str, optional
        A column, such as the time of writing, that alone makes no difference.
    """
    values = [column for column in columns if column not in key]
    sets = ", ".join(f"{column} = excluded.{column}" for column in values)
    differs = " OR ".join(
        f"{table}.{column} IS NOT excluded.{column}"
        for column in values
        if column != stamp
    )
    row = f"({', '.join('?' * len(columns))})"
    into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
    on = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets} WHERE {differs}"
    where, parameters = existing
    count = f"SELECT count(*) FROM {table} WHERE {where}"  # noqa: S608
    before = connection.execute(count, parameters).fetchone()[0]
    changes = connection.total_changes
    many = f"{into} {', '.join([row] * _ROWS_AT_ONCE)} {on}"
    given, source = 0, iter(rows)
    while batch := list(islice(source, _ROWS_AT_ONCE)):
        given += len(batch)
        if len(batch) == _ROWS_AT_ONCE:
            connection.execute(many, list(chain.from_iterable(batch))).close()
        else:
            connection.executemany(f"{into} {row} {on}", batch).close()
    changed = connection.total_changes - changes
    inserted = connection.execute(count, parameters).fetchone()[0] - before
    return WriteReport(inserted, changed - inserted, given - changed)
