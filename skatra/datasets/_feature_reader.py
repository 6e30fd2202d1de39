"""Reading features: chunk by chunk, every one verified, columns as they are wanted."""

import sqlite3
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    between,
    bytes_of,
    chunk_head,
    chunk_tail,
    damaged,
    decode,
    unpack,
)
from skatra.datasets._features import TABLE
from skatra.datasets._frames import Int64Array, key_index
from skatra.datasets._manifests import Manifests, lost
from skatra.datasets._tables import SetKind, find_set, set_columns
from skatra.exceptions import DatabaseCorruptError, EmptyDataError

Rows = slice | NDArray[np.intp]
_ROOM = 1 << 24
_TOGETHER = 128
"""Symbols whose rows are put in place together: a kilobyte of numbers of one time."""

_Piece = tuple[int, int, int, int]
"""Number of the symbol, first time of the chunk, first row of the symbol, rows."""

_Wanted = tuple[str, dict[int, tuple[int, str, int, memoryview]]]
"""Condition for columns; number of each -> place in ``columns``, dtype, size, room."""


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
        self.read_set: tuple[SetKind, int] = ("feature", self._set)
        self._name = feature_set
        self._low, self._high = low, high
        self._lists = Manifests(connection, TABLE, self._set)
        known = set_columns(connection, self._set)
        if columns is not None and not known.keys() >= set(columns):
            # Before the user is blamed.
            self._lists.prove_columns(f"feature set {feature_set!r}")
        self.columns = (
            list(known) if columns is None else _chosen(columns, known, feature_set)
        )
        self.dtypes = [
            DTYPES[known[name][1]].newbyteorder("=") for name in self.columns
        ]
        self._stored = [known[name][1] for name in self.columns]
        self._numbers = [known[name][0] for name in self.columns]

    def times(self, symbol: str, sid: int) -> SymbolTimes | None:
        """Return a symbol's rows in the range; None if there are none."""
        parts, chunks, what = [], {}, self._what(symbol, "of times")
        place = self._set, sid
        listed = self._lists.read(sid, self._what(symbol, ""))
        listed = listed.touching(self._low, self._high)
        found = self._connection.execute(
            f"SELECT t_lo, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
            "WHERE set_id = ? AND sid = ? AND t_lo BETWEEN ? AND ? AND col = ? "
            "ORDER BY t_lo",
            (*place, listed.bottom, self._high, TIME_COLUMN),
        ).fetchall()
        if [row[0] for row in found] != listed.starts:
            raise lost(self._what(symbol, ""))
        for (start, *stored), n in zip(found, listed.counts, strict=True):
            times = decode(tuple(stored), ChunkKey(*place, start, TIME_COLUMN), what)
            if len(times) != n:
                raise lost(self._what(symbol, ""))
            first, stop = between(times, self._low, self._high)
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
        wanted, begin = self._wanted(targets), 0
        for part in parts:
            for start, (_, first, stop) in part.chunks.items():
                self._copy(part, start, wanted, begin)
                begin += stop - first

    def _wanted(self, targets: dict[int, NDArray[Any]]) -> _Wanted:
        """Return where columns go, and the condition for their chunks."""
        places = {
            self._numbers[k]: (k, self._stored[k], array.itemsize, bytes_of(array))
            for k, array in targets.items()
        }
        low, high = min(places), max(places)
        together = high - low == len(places) - 1
        among = f"IN ({', '.join(map(str, places))})"
        return (f"BETWEEN {low} AND {high}" if together else among), places

    def _copy(self, rows: SymbolTimes, start: int, wanted: _Wanted, at: int) -> None:
        """Verify one chunk's columns and copy the rows of it that are in the range."""
        condition, places = wanted
        length, first, stop = rows.chunks[start]
        crc32 = zlib.crc32
        head, done = crc32(chunk_head(self._set, rows.sid, start)), 0
        last = TIME_COLUMN
        for col, dtype, n, crc, data in self._connection.execute(
            f"SELECT col, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
            f"WHERE set_id = ? AND sid = ? AND t_lo = ? AND col {condition} "
            "ORDER BY col",
            (self._set, rows.sid, start),
        ):
            # A damaged index leads to rows of other columns, or to one twice.
            if col not in places or col <= last:
                raise lost(self._what(rows.symbol, ""))
            last = col
            k, stored, size, target = places[col]
            known = dtype in (stored, stored + PACKED) and type(data) is bytes
            if not known or crc32(data, crc32(chunk_tail(col, dtype, n), head)) != crc:
                raise damaged(self._what(rows.symbol, repr(self.columns[k])), start)
            if dtype != stored:
                data = unpack(data, n, size)  # noqa: PLW2901
            if len(data) != length * size:
                raise DatabaseCorruptError(
                    f"{self._what(rows.symbol, repr(self.columns[k]))} does not fit "
                    f"its times. {WAY_OUT}."
                )
            if stop - first < length:
                data = memoryview(data)[first * size : stop * size]  # noqa: PLW2901
            target[at * size : (at + stop - first) * size] = data
            done += 1
        if done != len(places):
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

        The first chunks of many symbols are read side by side onto a shelf, and taken
        from there to their places while they are still in the processor's cache; then
        the second ones, and so on. Rows of one time lie near each other in the order,
        so whole cache lines are written.

        Parameters
        ----------
        parts : sequence of SymbolTimes
        taken, places : sequence of slice or ndarray
            Which rows of each symbol are wanted, rising, and where they go. If all
            are slices, the symbols take turns.
        arrays : sequence of ndarray of shape (n,)
            One for each column.
        """
        turns = all(isinstance(rows, slice) for rows in [*taken, *places])
        widest = max(dtype.itemsize for dtype in self.dtypes)

        def put(
            columns: dict[int, NDArray[Any]], pieces: list[_Piece], batch: slice
        ) -> None:
            _, _, at, n = pieces[0]
            level = {piece[2:] for piece in pieces} == {(at, n)}
            if turns and level and len(pieces) == len(parts[batch]):
                for number, values in columns.items():
                    target = arrays[number].reshape(-1, len(parts))
                    target[at : at + n, batch] = values.reshape(-1, n).T
            else:
                sources, targets = _ends(pieces, taken[batch], places[batch])
                for number, values in columns.items():
                    arrays[number][targets] = values[sources]

        # While one shelf is emptied by a thread, the other one is filled.
        with ThreadPoolExecutor(1) as putting:
            for first in range(0, len(parts), _TOGETHER):
                batch = slice(first, first + _TOGETHER)
                some = parts[batch]
                rounds = _rounds(some)
                size = widest * max(sum(n for *_, n in pieces) for pieces in rounds)
                at_once = min(len(arrays), max(1, _ROOM // size))
                shelves = deque(np.empty((2, at_once, size), dtype=np.uint8))
                puts: deque[Future[None]] = deque()
                for k, pieces in product(range(0, len(arrays), at_once), rounds):
                    if len(puts) == len(shelves):
                        puts.popleft().result()
                    numbers = range(k, min(k + at_once, len(arrays)))
                    room = dict(zip(numbers, shelves[0], strict=False))
                    columns = self._shelved(some, pieces, room)
                    puts.append(putting.submit(put, columns, pieces, batch))
                    shelves.rotate()
                for done in puts:
                    done.result()

    def _shelved(
        self,
        parts: Sequence[SymbolTimes],
        pieces: list[_Piece],
        shelf: dict[int, NDArray[np.uint8]],
    ) -> dict[int, NDArray[Any]]:
        """Copy chunks of several symbols onto a shelf, one after the other."""
        total = sum(n for *_, n in pieces)
        columns = {
            number: row[: total * self.dtypes[number].itemsize].view(
                self.dtypes[number]
            )
            for number, row in shelf.items()
        }
        wanted, begin = self._wanted(columns), 0
        for which, start, _, n in pieces:
            self._copy(parts[which], start, wanted, begin)
            begin += n
        return columns

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


def _rounds(parts: Sequence[SymbolTimes]) -> list[list[_Piece]]:
    """Return the first chunks of all symbols, the second ones, and so on."""
    rounds: list[list[_Piece]] = []
    for which, part in enumerate(parts):
        at = 0
        for turn, (start, (_, first, stop)) in enumerate(part.chunks.items()):
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append((which, start, at, stop - first))
            at += stop - first
    return rounds


def _ends(
    pieces: list[_Piece], taken: Sequence[Rows], places: Sequence[Rows]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which rows of chunks laid end to end are wanted, and where they go."""
    sources, targets, begin = [], [], 0
    for which, _, at, n in pieces:
        rows, place = taken[which], places[which]
        if isinstance(rows, slice):
            found = slice(at, at + n)
            sources.append(np.arange(begin, begin + n))
        else:
            found = slice(*np.searchsorted(rows, [at, at + n]))
            sources.append(rows[found] + (begin - at))
        if isinstance(place, slice):
            steps = range(place.start, place.stop, place.step)[found]
            targets.append(np.arange(steps.start, steps.stop, steps.step))
        else:
            targets.append(place[found])
        begin += n
    return np.concatenate(sources), np.concatenate(targets)


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
