"""Feature sets as column chunks: one per symbol, calendar year and column."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets._chunks import (
    DTYPES,
    TIME_COLUMN,
    ChunkKey,
    decode,
    period_blocks,
    periods_of,
    store,
)
from skatra.datasets._frames import (
    Int64Array,
    Keys,
    WriteReport,
    bounds_ns,
    check_symbols,
    key_index,
    keys_of,
)
from skatra.datasets._tables import (
    chosen_symbols,
    clear_set,
    ensure_set,
    find_set,
    set_names,
    symbol_id,
)
from skatra.exceptions import DatabaseCorruptError, DatabaseError, EmptyDataError


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """Features as arrays, rows sorted by (symbol, time).

    Attributes
    ----------
    symbols : list of str
    counts : list of int
        Rows of each symbol.
    times : ndarray of shape (n,), int64
        Nanoseconds UTC.
    columns : list of str
    values : ndarray of shape (n_columns, n) or list of ndarray of shape (n,)
        One array when all columns have one dtype.
    """

    symbols: list[str]
    counts: list[int]
    times: Int64Array
    columns: list[str]
    values: NDArray[Any] | list[NDArray[Any]]

    def frame(self, index: pd.Index, rows: NDArray[np.intp] | None = None) -> Any:
        """Return the (chosen) rows as a frame, without a copy where there is none."""
        if isinstance(self.values, np.ndarray):
            values = self.values if rows is None else self.values.take(rows, axis=1)
            return pd.DataFrame(
                values.T, index=index, columns=pd.Index(self.columns), copy=False
            )
        arrays = [v if rows is None else v[rows] for v in self.values]
        return pd.DataFrame(
            dict(zip(self.columns, arrays, strict=True)), index=index, copy=False
        )


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


def set_columns(
    connection: sqlite3.Connection, set_id: int
) -> dict[str, tuple[int, str]]:
    """Return number and dtype of each column of a feature set, in order."""
    rows = connection.execute(
        "SELECT name, col, dtype FROM feature_columns WHERE set_id = ? ORDER BY col",
        (set_id,),
    )
    return {name: (col, dtype) for name, col, dtype in rows.fetchall()}


def write_features(
    connection: sqlite3.Connection,
    frame: pd.DataFrame,
    feature_set: str,
    spec: dict[str, Any] | None,
    *,
    replace: bool = False,
) -> WriteReport:
    """Insert or replace rows of a feature set, chunk by chunk."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame must be a DataFrame, got {type(frame).__name__}.")
    given = _columns_of(frame)
    keys = keys_of(frame.index, "frame")
    if replace:
        symbols = [symbol for symbol, _ in keys.blocks()]
        clear_set(connection, "feature", feature_set, spec, symbols)
    set_id = ensure_set(connection, "feature", feature_set, spec)
    known = set_columns(connection, set_id)
    if not known:
        connection.executemany(
            "INSERT INTO feature_columns (set_id, col, name, dtype) "
            "VALUES (?, ?, ?, ?)",
            [(set_id, k, *column) for k, column in enumerate(given, start=1)],
        )
        known = set_columns(connection, set_id)
    _same_columns(feature_set, dict(given), known)
    arrays = [frame[name].to_numpy()[keys.order] for name in known]
    return _merge(connection, set_id, feature_set, keys, arrays)


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
    set_id: int,
    feature_set: str,
    keys: Keys,
    arrays: list[NDArray[Any]],
) -> WriteReport:
    """Put rows into the chunks they belong to; other rows of a chunk stay."""
    report = WriteReport(0, 0, 0)
    for symbol, rows in keys.blocks():
        sid = symbol_id(connection, symbol)
        for period, part in period_blocks(keys.times[rows]):
            new = [keys.times[rows][part], *(array[rows][part] for array in arrays)]
            place = (set_id, sid, period)
            what = f"feature set {feature_set!r}, symbol {symbol!r}, year {period}"
            old = _period(connection, place, len(arrays), what)
            merged, change = (new, WriteReport(len(new[0]), 0, 0))
            if old is not None:
                merged, change = _merge_rows(old, new)
            report += change
            if not change.inserted and not change.updated:
                continue
            for col, values in enumerate(merged):
                if old is None or values.tobytes() != old[col].tobytes():
                    store(connection, ChunkKey(*place, col), values)
    return report


def _merge_rows(
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


def _period(
    connection: sqlite3.Connection,
    place: tuple[int, int, int],
    n_columns: int,
    what: str,
) -> list[NDArray[Any]] | None:
    """Return times and all columns of one symbol and year; None if none are there."""
    rows = connection.execute(
        "SELECT col, dtype, n, crc32, data FROM feature_chunks "
        "WHERE set_id = ? AND sid = ? AND period = ? ORDER BY col",
        place,
    ).fetchall()
    if not rows:
        return None
    if [row[0] for row in rows] != list(range(n_columns + 1)):
        raise DatabaseCorruptError(f"{what}: columns are missing. Write it again.")
    return [
        decode(row[1:], ChunkKey(*place, row[0]), f"{what}, column {row[0]}")
        for row in rows
    ]


def read_features(
    connection: sqlite3.Connection,
    feature_set: str,
    columns: Sequence[str] | None = None,
    symbols: str | Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
) -> FeatureBlock:
    """Read chosen columns, symbols and times; other chunks are not touched."""
    low, high = bounds_ns(start, end)
    set_id = find_set(connection, "feature", feature_set)
    known = set_columns(connection, set_id)
    names = list(known) if columns is None else _chosen(columns, known, feature_set)
    parts = _time_parts(
        connection,
        (set_id, feature_set),
        chosen_symbols(connection, symbols),
        low,
        high,
    )
    total = sum(len(part.times) for part in parts)
    dtypes = [DTYPES[known[name][1]] for name in names]
    values: NDArray[Any] | list[NDArray[Any]]
    if len(set(dtypes)) == 1:
        values = np.empty((len(names), total), dtype=dtypes[0].newbyteorder("="))
    else:
        values = [np.empty(total, dtype=d.newbyteorder("=")) for d in dtypes]
    filled = 0
    for part in parts:
        to = slice(filled, filled + len(part.times))
        for name, target in zip(names, values, strict=True):
            target[to] = _column(connection, part, name, known[name][0])[part.rows]
        filled = to.stop
    found = list(dict.fromkeys(part.symbol for part in parts))
    counts = dict.fromkeys(found, 0)
    for part in parts:
        counts[part.symbol] += len(part.times)
    times = np.concatenate([part.times for part in parts] or [np.empty(0, np.int64)])
    return FeatureBlock(found, list(counts.values()), times, names, values)


def _chosen(
    columns: Sequence[str], known: dict[str, tuple[int, str]], feature_set: str
) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        raise EmptyDataError(
            f"columns must name features of the set {feature_set!r}, each once, got "
            f"{names}; it has {list(known)}."
        )
    return names


@dataclass(frozen=True, slots=True)
class _Part:
    """The wanted rows of one symbol and year."""

    place: tuple[int, int, int]
    symbol: str
    what: str
    times: Int64Array
    rows: slice
    n: int


def _time_parts(
    connection: sqlite3.Connection,
    feature_set: tuple[int, str],
    symbols: dict[str, int],
    low: int,
    high: int,
) -> list[_Part]:
    """Read the time chunks in reach and cut them to the range."""
    set_id, set_name = feature_set
    first, last = periods_of(np.array([low, high])).tolist()
    parts = []
    for symbol, sid in symbols.items():
        rows = connection.execute(
            "SELECT period, dtype, n, crc32, data FROM feature_chunks WHERE "
            "set_id = ? AND sid = ? AND period BETWEEN ? AND ? AND col = ? "
            "ORDER BY period",
            (set_id, sid, first, last, TIME_COLUMN),
        )
        for period, *stored in rows.fetchall():
            place = (set_id, sid, period)
            what = f"feature set {set_name!r}, symbol {symbol!r}, year {period}"
            key = ChunkKey(*place, TIME_COLUMN)
            times = decode(tuple(stored), key, f"{what}, column of times")
            cut = slice(
                int(np.searchsorted(times, low, "left")),
                int(np.searchsorted(times, high, "right")),
            )
            if cut.stop > cut.start:
                parts.append(_Part(place, symbol, what, times[cut], cut, len(times)))
    return parts


def _column(
    connection: sqlite3.Connection, part: _Part, name: str, col: int
) -> NDArray[Any]:
    row = connection.execute(
        "SELECT dtype, n, crc32, data FROM feature_chunks "
        "WHERE set_id = ? AND sid = ? AND period = ? AND col = ?",
        (*part.place, col),
    ).fetchone()
    if row is None or row[1] != part.n:
        raise DatabaseCorruptError(
            f"{part.what}: column {name!r} does not fit its times. Write it again."
        )
    return decode(row, ChunkKey(*part.place, col), f"{part.what}, column {name!r}")


def feature_frame(block: FeatureBlock) -> pd.DataFrame:
    """Return features as a frame indexed by (symbol, time)."""
    frame: pd.DataFrame = block.frame(
        key_index(block.symbols, block.counts, block.times)
    )
    return frame


def feature_sets(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Describe every feature set."""
    result = {}
    for name in set_names(connection, "feature"):
        set_id = find_set(connection, "feature", name)
        spec, rows, symbols = connection.execute(
            "SELECT s.spec, coalesce(sum(c.n), 0), count(DISTINCT c.sid) "
            "FROM feature_sets s LEFT JOIN feature_chunks c "
            "ON c.set_id = s.set_id AND c.col = ? WHERE s.set_id = ?",
            (TIME_COLUMN, set_id),
        ).fetchone()
        result[name] = {
            "columns": list(set_columns(connection, set_id)),
            "rows": rows,
            "symbols": symbols,
            "spec": None if spec is None else json.loads(spec),
        }
    return result


def check_features(connection: sqlite3.Connection) -> list[str]:
    """Verify every chunk and how they fit together; return what is wrong."""
    problems = []
    places = connection.execute(
        "SELECT DISTINCT c.set_id, c.sid, c.period, f.name, s.symbol FROM "
        "feature_chunks c JOIN feature_sets f USING (set_id) JOIN symbols s USING (sid)"
    ).fetchall()
    for set_id, sid, period, set_name, symbol in places:
        what = f"feature set {set_name!r}, symbol {symbol!r}, year {period}"
        names = ["of times", *set_columns(connection, set_id)]
        lengths = {}
        for col, *stored in connection.execute(
            "SELECT col, dtype, n, crc32, data FROM feature_chunks "
            "WHERE set_id = ? AND sid = ? AND period = ? ORDER BY col",
            (set_id, sid, period),
        ):
            name = names[col] if 0 <= col < len(names) else f"number {col}"
            key = ChunkKey(set_id, sid, period, col)
            lengths[col] = stored[1]
            try:
                values = decode(tuple(stored), key, f"{what}, column {name}")
            except DatabaseCorruptError as error:
                problems.append(str(error))
                continue
            if col == TIME_COLUMN and (
                (np.diff(values) <= 0).any() or (periods_of(values) != period).any()
            ):
                problems.append(f"{what}: times do not rise, or lie outside the year.")
        if list(lengths) != list(range(len(names))) or len(set(lengths.values())) > 1:
            problems.append(f"{what}: columns are missing or differ in length.")
    return problems
