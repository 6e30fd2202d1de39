"""Reading features: chunk by chunk, every one verified, columns as they are wanted."""

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.datasets._chunks import (
    DTYPES,
    PACKED,
    TIME_COLUMN,
    WAY_OUT,
    ChunkKey,
    chunk_head,
    chunk_tail,
    damaged,
    decode,
    reach,
    reach_of,
    unpack,
)
from skatra.datasets._features import TABLE, set_columns
from skatra.datasets._frames import Int64Array, key_index
from skatra.datasets._tables import find_set
from skatra.exceptions import DatabaseCorruptError, EmptyDataError

Rows = slice | NDArray[np.intp]
_ROOM = 1 << 23
_TOGETHER = 8
"""Symbols whose rows are put in place together: one cache line of numbers."""


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
        self._numbers = [known[name][0] for name in self.columns]
        self._n_known = len(known)

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

    def fill(
        self, parts: Sequence[SymbolTimes], targets: dict[int, NDArray[Any]]
    ) -> None:
        """Copy columns of some symbols, one symbol after the other, into arrays.

        Parameters
        ----------
        parts : sequence of SymbolTimes
        targets : dict
            Position in ``columns`` -> contiguous array of that column's dtype.
        """
        if not parts:
            return
        places = {
            self._numbers[k]: (k, self._stored[k], array.itemsize, _bytes_of(array))
            for k, array in targets.items()
        }
        condition = f"IN ({', '.join(map(str, places))})"
        if len(places) == self._n_known:
            condition = f"> {TIME_COLUMN}"
        begin = 0
        for part in parts:
            self._copy(part, condition, places, begin)
            begin += len(part.times)

    def _copy(
        self,
        rows: SymbolTimes,
        condition: str,
        targets: dict[int, tuple[int, str, int, memoryview]],
        begin: int,
    ) -> None:
        """Verify the chunks of one symbol and copy its rows from ``begin`` on."""
        places: dict[int, tuple[int, int, int, int]] = {}
        for start, (n, first, stop) in rows.chunks.items():
            places[start] = n, first, stop, begin
            begin += stop - first
        crc32, set_id, sid = zlib.crc32, self._set, rows.sid
        done, before, head = 0, None, 0
        place: tuple[int, int, int, int] | None = None
        for start, col, dtype, n, crc, data in self._query(
            sid, condition, int(rows.times[0]), int(rows.times[-1])
        ):
            if start != before:
                before, place = start, places.get(start)
                head = crc32(chunk_head(set_id, sid, start))
            if place is None:
                continue
            k, stored, size, target = targets[col]
            known = dtype.removesuffix(PACKED) == stored
            if not known or crc32(data, crc32(chunk_tail(col, dtype, n), head)) != crc:
                raise damaged(self._what(rows.symbol, repr(self.columns[k])), start)
            length, first, stop, at = place
            if dtype == stored + PACKED:
                data = unpack(data, n, size)  # noqa: PLW2901
            if len(data) != length * size:
                raise DatabaseCorruptError(
                    f"{self._what(rows.symbol, repr(self.columns[k]))} does not fit "
                    f"its times. {WAY_OUT}."
                )
            wanted = data
            if stop - first < length:
                wanted = memoryview(data)[first * size : stop * size]
            target[at * size : (at + stop - first) * size] = wanted
            done += 1
        if done != len(places) * len(targets):
            raise DatabaseCorruptError(
                f"{self._what(rows.symbol, '')}: columns are missing. {WAY_OUT}."
            )

    def in_order(
        self,
        parts: Sequence[SymbolTimes],
        taken: Sequence[Rows],
        places: Sequence[Rows],
        arrays: Sequence[NDArray[Any]],
    ) -> None:
        """Copy every column of some symbols into arrays in an order of its own.

        A few symbols at a time are read one after the other onto a shelf, and taken
        from there to their places while they are still in the processor's cache.

        Parameters
        ----------
        parts : sequence of SymbolTimes
        taken, places : sequence of slice or ndarray
            Which rows of each symbol are wanted, and where they go. If all are
            slices, the symbols take turns.
        arrays : sequence of ndarray of shape (n,)
            One for each column.
        """
        turns = all(isinstance(rows, slice) for rows in [*taken, *places])
        longest = max(len(part.times) for part in parts)
        widest = max(dtype.itemsize for dtype in self.dtypes)
        size = min(_TOGETHER, len(parts)) * longest * widest
        at_once = min(len(arrays), max(1, _ROOM // size))
        shelf = np.empty((at_once, size), dtype=np.uint8)
        for first, k in product(
            range(0, len(parts), _TOGETHER), range(0, len(arrays), at_once)
        ):
            batch = slice(first, first + _TOGETHER)
            some = parts[batch]
            total = sum(len(part.times) for part in some)
            numbers = range(k, min(k + at_once, len(arrays)))
            columns = {
                number: row[: total * self.dtypes[number].itemsize].view(
                    self.dtypes[number]
                )
                for number, row in zip(numbers, shelf, strict=False)
            }
            self.fill(some, columns)
            if turns:
                stop = first + len(some)
                for number, values in columns.items():
                    target = arrays[number].reshape(-1, len(parts))[:, first:stop]
                    target[...] = values.reshape(len(some), -1).T
            else:
                sources, targets = _ends(some, taken[batch], places[batch])
                for number, values in columns.items():
                    arrays[number][targets] = values[sources]

    def room(self, n: int) -> tuple[NDArray[Any] | None, list[NDArray[Any]]]:
        """Return room for n rows: a block if the dtypes agree, and every column."""
        if len(set(self.dtypes)) == 1:
            block = np.empty((len(self.columns), n), dtype=self.dtypes[0])
            return block, list(block)
        return None, [np.empty(n, dtype=dtype) for dtype in self.dtypes]

    def framed(
        self,
        block: NDArray[Any] | None,
        arrays: list[NDArray[Any]],
        index: pd.MultiIndex,
    ) -> pd.DataFrame:
        """Return filled room as a frame, without a copy."""
        if block is not None:
            columns = pd.Index(self.columns)
            return pd.DataFrame(block.T, index=index, columns=columns, copy=False)
        named = dict(zip(self.columns, arrays, strict=True))
        return pd.DataFrame(named, index=index, copy=False)

    def _what(self, symbol: str, column: str) -> str:
        named = f", column {column}" if column else ""
        return f"feature set {self._name!r}, symbol {symbol!r}{named}"

    def frame(self, symbols: dict[str, int]) -> pd.DataFrame:
        """Return everything as a frame sorted by (symbol, time)."""
        found = [self.times(symbol, sid) for symbol, sid in symbols.items()]
        parts = [part for part in found if part is not None]
        counts = [len(part.times) for part in parts]
        block, arrays = self.room(sum(counts))
        self.fill(parts, dict(enumerate(arrays)))
        times = [part.times for part in parts] or [np.empty(0, np.int64)]
        index = key_index([part.symbol for part in parts], counts, times)
        return self.framed(block, arrays, index)


def _ends(
    parts: Sequence[SymbolTimes], taken: Sequence[Rows], places: Sequence[Rows]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which rows of symbols laid end to end are wanted, and where they go."""
    begins = np.cumsum([0, *(len(part.times) for part in parts)])
    sources = [
        np.arange(begin, stop)[rows]
        for begin, stop, rows in zip(begins[:-1], begins[1:], taken, strict=True)
    ]
    targets = [
        np.arange(rows.start, rows.stop)[:: rows.step]
        if isinstance(rows, slice)
        else rows
        for rows in places
    ]
    return np.concatenate(sources), np.concatenate(targets)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return an array's memory, to be written to."""
    contiguous: Any = array
    return memoryview(contiguous).cast("B")


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
