"""Feature sets as column chunks: how they are written, described and checked."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets._chunks import (
    TIME_COLUMN,
    WAY_OUT,
    ChunkKey,
    decode,
    pieces,
    store,
)
from skatra.datasets._frames import Keys, WriteReport, check_symbols, keys_of
from skatra.datasets._manifests import (
    Manifest,
    Manifests,
    listed_places,
    lost,
)
from skatra.datasets._tables import (
    clear_set,
    ensure_set,
    find_set,
    from_json,
    set_columns,
    set_names,
    symbol_id,
)
from skatra.exceptions import DatabaseCorruptError, DatabaseError

TABLE = "feature_chunks"
Chunks = dict[int, list[NDArray[Any]]]
"""First time of a chunk -> its times and columns."""


def _columns_of(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return names and dtypes of the columns, or refuse them."""
    names = list(frame.columns)
    if not names:
        raise ValueError("frame must have at least one feature column, got none.")
    check_symbols(names, "feature names")
    if len(set(names)) < len(names):
        raise ValueError(f"frame must not repeat column names, got {names}.")
    result = []
    for name, dtype in zip(names, frame.dtypes, strict=True):
        if dtype not in (np.dtype("f8"), np.dtype("f4")):
            raise ValueError(
                f"feature column {name!r} must be float64 or float32, got {dtype}. "
                "Convert with .astype('float64')."
            )
        result.append((str(name), f"f{np.dtype(str(dtype)).itemsize}"))
    return result


def write_features(
    connection: sqlite3.Connection,
    frame: pd.DataFrame,
    feature_set: str,
    spec: dict[str, Any] | None,
    *,
    replace: bool = False,
    compression: str | None = None,
) -> WriteReport:
    """Insert or replace rows of a feature set, chunk by chunk."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame must be a DataFrame, got {type(frame).__name__}.")
    if compression not in (None, "none", "zlib"):
        raise ValueError(
            f"compression must be 'zlib', 'none' or None, got {compression!r}. None "
            "keeps what the set has."
        )
    given = _columns_of(frame)
    keys = keys_of(frame.index, "frame")
    if replace:
        symbols = [symbol for symbol, _ in keys.blocks()]
        clear_set(connection, "feature", feature_set, spec, symbols)
    set_id = ensure_set(connection, "feature", feature_set, spec)
    packed = _compression(connection, set_id, compression) == "zlib"
    known = set_columns(connection, set_id)
    if not known:
        connection.executemany(
            "INSERT INTO feature_columns (set_id, col, name, dtype) "
            "VALUES (?, ?, ?, ?)",
            [(set_id, k, *column) for k, column in enumerate(given, start=1)],
        )
        known = set_columns(connection, set_id)
    _same_columns(feature_set, dict(given), known)
    report = WriteReport(0, 0, 0)
    lists = Manifests(connection, TABLE, set_id)
    for symbol, new in _by_symbol(frame, list(known), keys):
        sid = symbol_id(connection, symbol)
        what = f"feature set {feature_set!r}, symbol {symbol!r}"
        listed = lists.read(sid, what)
        place = set_id, sid
        now, change = _merge(connection, place, listed, new, what, packed=packed)
        if now != listed:
            lists.write(sid, now)
        report += change
    return report


def _compression(
    connection: sqlite3.Connection, set_id: int, wanted: str | None
) -> str:
    """Return how chunks of a set are written from now on."""
    if wanted is not None:
        connection.execute(
            "UPDATE feature_sets SET compression = ? WHERE set_id = ?", (wanted, set_id)
        ).close()
        return wanted
    sql = "SELECT compression FROM feature_sets WHERE set_id = ?"
    return str(connection.execute(sql, (set_id,)).fetchone()[0])


def _by_symbol(
    frame: pd.DataFrame, names: list[str], keys: Keys
) -> Iterator[tuple[str, list[NDArray[Any]]]]:
    """Yield each symbol with its times and columns, sorted by time."""
    if list(frame.columns) != names:
        frame = frame[names]
    one = len(set(frame.dtypes)) == 1
    whole = frame.to_numpy() if one else None
    arrays = [] if one else [frame[name].to_numpy() for name in names]
    for symbol, rows in keys.blocks():
        chosen = rows if keys.in_order else keys.order[rows]
        if whole is not None:
            columns = list(np.ascontiguousarray(whole[chosen].T))
        else:
            columns = [array[chosen] for array in arrays]
        yield symbol, [keys.times[rows], *columns]


def _same_columns(
    feature_set: str, given: dict[str, str], known: dict[str, tuple[int, str]]
) -> None:
    problems = []
    if missing := [name for name in known if name not in given]:
        problems.append(f"lacks {missing}")
    if extra := [name for name in given if name not in known]:
        problems.append(f"has the new columns {extra}")
    other = [n for n in given if n in known and known[n][1] != given[n]]
    if other:
        problems.append(
            f"has another dtype than float{8 * int(known[other[0]][1][1])} in {other}"
        )
    if problems:
        raise DatabaseError(
            f"frame {' and '.join(problems)} than the feature set {feature_set!r}. A "
            "set keeps its columns: write another one under a name of its own."
        )


def _merge(
    connection: sqlite3.Connection,
    place: tuple[int, int],
    listed: Manifest,
    new: list[NDArray[Any]],
    what: str,
    *,
    packed: bool,
) -> tuple[Manifest, WriteReport]:
    """Put a symbol's rows into the chunks they belong to; other rows stay."""
    first, last = int(new[0][0]), int(new[0][-1])
    # Rows before the first chunk go into it, however few they are.
    low, high = max(first, listed.bottom), max(last, listed.bottom)
    near = listed.touching(low, high)
    old = _read_chunks(connection, place, near, high, len(new), what)
    merged, change = new, WriteReport(len(new[0]), 0, 0)
    if old:
        before = [np.concatenate(parts) for parts in zip(*old.values(), strict=True)]
        merged, change = merge_rows(before, new)
        if not change.inserted and not change.updated:
            return listed, change
    now = replace_chunks(connection, TABLE, place, old, merged, packed=packed)
    return listed.replaced(near.starts, now), change


def replace_chunks(
    connection: sqlite3.Connection,
    table: str,
    place: tuple[int, int],
    old: Chunks,
    columns: list[NDArray[Any]],
    *,
    packed: bool = False,
) -> Manifest:
    """Write columns in place of some chunks, only what differs; say what is there."""
    now = Manifest([], [])

    def changed() -> Iterator[tuple[ChunkKey, NDArray[Any]]]:
        for rows in pieces(len(columns[0])):
            start = int(columns[0][rows.start])
            now.starts.append(start)
            now.counts.append(rows.stop - rows.start)
            known = old.pop(start, None)
            for col, values in enumerate(columns):
                piece = values[rows]
                if known is None or piece.tobytes() != known[col].tobytes():
                    yield ChunkKey(*place, start, col), piece

    store(connection, table, changed(), packed=packed)
    if old:
        connection.executemany(
            f"DELETE FROM {table} WHERE set_id = ? AND sid = ? AND t_lo = ?",  # noqa: S608
            [(*place, start) for start in old],
        ).close()
    return now


def merge_rows(
    old: list[NDArray[Any]], new: list[NDArray[Any]]
) -> tuple[list[NDArray[Any]], WriteReport]:
    """Return the union of rows, new ones winning; values compare bit for bit."""
    times = np.union1d(old[0], new[0])
    at_old, at_new = np.searchsorted(times, old[0]), np.searchsorted(times, new[0])
    in_old = np.isin(new[0], old[0], assume_unique=True)
    merged = [times]
    differs = np.zeros(len(new[0]), dtype=bool)
    for before, after in zip(old[1:], new[1:], strict=True):
        values = np.empty(len(times), dtype=after.dtype)
        values[at_old] = before
        bits = f"i{after.dtype.itemsize}"
        differs |= values[at_new].view(bits) != np.ascontiguousarray(after).view(bits)
        values[at_new] = after
        merged.append(values)
    updated = int((differs & in_old).sum())
    inserted = int((~in_old).sum())
    return merged, WriteReport(inserted, updated, len(new[0]) - inserted - updated)


def _read_chunks(
    connection: sqlite3.Connection,
    place: tuple[int, int],
    listed: Manifest,
    high: int,
    n_columns: int,
    what: str,
) -> Chunks:
    """Return the chunks of one symbol that are listed up to a time, all columns."""
    rows = connection.execute(
        f"SELECT t_lo, col, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
        "WHERE set_id = ? AND sid = ? AND t_lo BETWEEN ? AND ? ORDER BY t_lo, col",
        (*place, listed.bottom, high),
    ).fetchall()
    chunks: Chunks = {}
    for start, col, *stored in rows:
        columns = chunks.setdefault(start, [])
        if col != len(columns):
            break
        key = ChunkKey(*place, start, col)
        columns.append(decode(tuple(stored), key, f"{what}, column {col}"))
    if any(len(columns) != n_columns for columns in chunks.values()):
        raise DatabaseCorruptError(f"{what}: columns are missing. {WAY_OUT}.")
    counts = [len(columns[TIME_COLUMN]) for columns in chunks.values()]
    if (list(chunks), counts) != listed:
        raise lost(what)
    return chunks


def feature_sets(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Describe every feature set."""
    result = {}
    for name in set_names(connection, "feature"):
        set_id = find_set(connection, "feature", name)
        spec, compression, rows, symbols = connection.execute(
            "SELECT s.spec, s.compression, coalesce(sum(c.n), 0), "
            "count(DISTINCT c.sid) "
            "FROM feature_sets s LEFT JOIN feature_chunks c "
            "ON c.set_id = s.set_id AND c.col = ? WHERE s.set_id = ?",
            (TIME_COLUMN, set_id),
        ).fetchone()
        result[name] = {
            "columns": list(set_columns(connection, set_id)),
            "rows": rows,
            "symbols": symbols,
            "spec": None if spec is None else from_json(spec, "feature_sets"),
            "compression": compression,
        }
    return result


def check_features(connection: sqlite3.Connection) -> list[str]:
    """Verify every chunk and how they fit together; return what is wrong."""
    problems = []
    for set_id, sid, set_name, symbol in listed_places(connection, TABLE):
        what = f"feature set {set_name!r}, symbol {symbol!r}"
        names = ["of times", *set_columns(connection, set_id)]
        lengths: dict[int, dict[int, int]] = {}
        last = None
        for start, col, *stored in connection.execute(
            "SELECT t_lo, col, dtype, n, crc32, data FROM feature_chunks "
            "WHERE set_id = ? AND sid = ? ORDER BY t_lo, col",
            (set_id, sid),
        ):
            if type(start) is not int or type(col) is not int:
                problems.append(str(lost(what)))
                continue
            name = names[col] if 0 <= col < len(names) else f"number {col}"
            key = ChunkKey(set_id, sid, start, col)
            lengths.setdefault(start, {})[col] = stored[1]
            try:
                values = decode(tuple(stored), key, f"{what}, column {name!r}")
            except DatabaseCorruptError as error:
                problems.append(str(error))
                continue
            if col == TIME_COLUMN:
                rising = (np.diff(values) > 0).all() and values[:1] == start
                if not rising or (last is not None and last >= start):
                    problems.append(f"{what}: times do not rise. {WAY_OUT}.")
                last = int(values[-1])
        problems += [
            f"{what}: columns are missing or differ in length. {WAY_OUT}."
            for sizes in lengths.values()
            if list(sizes) != list(range(len(names))) or len(set(sizes.values())) > 1
        ]
        try:
            listed = Manifests(connection, TABLE, set_id).read(sid, what)
            found = {start: sizes.get(TIME_COLUMN) for start, sizes in lengths.items()}
            if dict(zip(*listed, strict=True)) != found:
                raise lost(what)
        except DatabaseCorruptError as error:
            problems.append(str(error))
    return problems
