"""Reading features: one query per symbol, each value copied once, to where it goes."""

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
    checksum,
    damaged,
    decode,
    reach,
    reach_of,
)
from skatra.datasets._features import TABLE, set_columns
from skatra.datasets._frames import Int64Array, key_index
from skatra.datasets._tables import find_set
from skatra.exceptions import DatabaseCorruptError, EmptyDataError

Rows = slice | NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SymbolTimes:
    """The rows of one symbol in a range of times.

    Attributes
    ----------
    symbol : str
    sid : int
    times : ndarray of shape (n,), int64
        Sorted, nanoseconds UTC.
    chunks : dict
        First time of a chunk -> (rows in it, first and last wanted one).
    """

    symbol: str
    sid: int
    times: Int64Array
    chunks: dict[int, tuple[int, int, int]]

    def part(self, first: int, stop: int) -> "SymbolTimes":
        """Return some consecutive rows."""
        chunks, at = {}, 0
        for start, (n, begin, end) in self.chunks.items():
            low, high = max(first - at, 0), min(stop - at, end - begin)
            if high > low:
                chunks[start] = n, begin + low, begin + high
            at += end - begin
        return SymbolTimes(self.symbol, self.sid, self.times[first:stop], chunks)


class FeatureReader:
    """A feature set, some of its columns and a range of times.

    Parameters
    ----------
    connection : Connection
        In a read transaction, so that times and values fit together.
    feature_set : str
    columns : sequence of str or None
        In the wanted order; None means all.
    low, high : int
        First and last time, nanoseconds UTC.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        feature_set: str,
        columns: Sequence[str] | None,
        low: int,
        high: int,
    ) -> None:
        self._connection = connection
        self._set = find_set(connection, "feature", feature_set)
        self._name = feature_set
        self._low, self._high = low, high
        known = set_columns(connection, self._set)
        self.columns = (
            list(known) if columns is None else _chosen(columns, known, feature_set)
        )
        self.dtypes = [
            DTYPES[known[name][1]].newbyteorder("=") for name in self.columns
        ]
        self._stored = [known[name][1] for name in self.columns]
        self._order = {known[name][0]: k for k, name in enumerate(self.columns)}
        wanted = f"IN ({', '.join(map(str, self._order))})"
        self._wanted = f"> {TIME_COLUMN}" if len(known) == len(self.columns) else wanted

    def _query(self, sid: int, condition: str, low: int, high: int) -> Any:
        return self._connection.execute(
            f"SELECT t_lo, col, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
            f"WHERE {reach(TABLE)} AND col {condition} ORDER BY t_lo, col",
            reach_of(self._set, sid, low, high),
        )

    def times(self, symbol: str, sid: int) -> SymbolTimes | None:
        """Return a symbol's rows in the range; None if there are none."""
        parts, chunks = [], {}
        for start, col, *stored in self._query(
            sid, f"= {TIME_COLUMN}", self._low, self._high
        ):
            key = ChunkKey(self._set, sid, start, col)
            times = decode(tuple(stored), key, self._what(symbol, "of times"))
            first = int(np.searchsorted(times, self._low, "left"))
            stop = int(np.searchsorted(times, self._high, "right"))
            if stop > first:
                parts.append(times[first:stop])
                chunks[start] = (len(times), first, stop)
        if not parts:
            return None
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return SymbolTimes(symbol, sid, whole, chunks)

    def fill(self, rows: SymbolTimes, targets: Sequence[NDArray[Any]]) -> None:
        """Copy a symbol's columns into one array each, of as many rows."""
        done = filled = 0
        places: dict[int, tuple[int, int, int, int]] = {}
        for start, (n, first, stop) in rows.chunks.items():
            places[start] = n, first, stop, filled
            filled += stop - first
        set_id, sid, order, stored = self._set, rows.sid, self._order, self._stored
        for start, col, dtype, n, crc, data in self._query(
            sid, self._wanted, int(rows.times[0]), int(rows.times[-1])
        ):
            place = places.get(start)
            if place is None:
                continue
            length, first, stop, at = place
            k = order[col]
            if (
                dtype != stored[k]
                or checksum(set_id, sid, start, col, dtype, n, data) != crc
            ):
                raise damaged(self._what(rows.symbol, repr(self.columns[k])), start)
            values = np.frombuffer(data, DTYPES[dtype])
            if len(values) != length:
                raise DatabaseCorruptError(
                    f"{self._what(rows.symbol, repr(self.columns[k]))} does not fit "
                    "its times. Write it again."
                )
            targets[k][at : at + stop - first] = values[first:stop]
            done += 1
        if done != len(rows.chunks) * len(self.columns):
            raise DatabaseCorruptError(
                f"{self._what(rows.symbol, '')}: columns are missing. Write it again."
            )

    def _what(self, symbol: str, column: str) -> str:
        named = f", column {column}" if column else ""
        return f"feature set {self._name!r}, symbol {symbol!r}{named}"

    def empty(self, n: int) -> list[NDArray[Any]]:
        """Return arrays for n rows of each column, one block if dtypes agree."""
        if len(set(self.dtypes)) == 1:
            return list(np.empty((len(self.columns), n), dtype=self.dtypes[0]))
        return [np.empty(n, dtype=dtype) for dtype in self.dtypes]

    def frame(self, symbols: dict[str, int]) -> pd.DataFrame:
        """Return everything as a frame sorted by (symbol, time)."""
        found = [self.times(symbol, sid) for symbol, sid in symbols.items()]
        parts = [part for part in found if part is not None]
        counts = [len(part.times) for part in parts]
        total = sum(counts)
        one = len(set(self.dtypes)) == 1
        block = np.empty((len(self.columns), total), self.dtypes[0]) if one else None
        targets = list(block) if block is not None else self.empty(total)
        filled = 0
        for part, count in zip(parts, counts, strict=True):
            self.fill(part, [target[filled : filled + count] for target in targets])
            filled += count
        times = [part.times for part in parts] or [np.empty(0, np.int64)]
        index = key_index([part.symbol for part in parts], counts, times)
        if block is not None:
            columns = pd.Index(self.columns)
            return pd.DataFrame(block.T, index=index, columns=columns, copy=False)
        named = dict(zip(self.columns, targets, strict=True))
        return pd.DataFrame(named, index=index, copy=False)


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
