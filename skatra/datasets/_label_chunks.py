"""Labels once more as chunks, so that a dataset loads at the speed of memory.

The rows of the table ``labels`` are the truth. Their chunks are written with them in
one transaction; whoever changes the rows in any other way drops the symbol's chunks
(by triggers), and they are read row by row until the next write.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skatra.datasets._chunks import (
    MOST_ROWS,
    WAY_OUT,
    ChunkKey,
    between,
    bytes_of,
    chunk_head,
    chunk_tail,
    damaged,
    pieces,
    store,
)
from skatra.datasets._frames import Int64Array
from skatra.datasets._manifests import (
    Manifest,
    Manifests,
    listed_places,
    lost,
    table_of,
)
from skatra.datasets._tables import stored
from skatra.exceptions import DatabaseCorruptError

TABLE = "label_chunks"
_DTYPES = ("<i8", "<i8", "<f8", "<i1", "<i1", "<i1", "<f8")
_SIZES = (8, 8, 8, 1, 1, 1, 8)
_WEIGHT = 6
"""The last column, which labels without weights have not."""
_ROWS = (
    "SELECT t0, t1, ret, label, side, touched = 'open', weight FROM labels "
    "WHERE set_id = ? AND sid = ? AND t0 BETWEEN ? AND ? ORDER BY t0"
)
_EVER = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class LabelArrays:
    """Labels of one symbol, sorted by t0, or of one symbol after the other.

    Attributes
    ----------
    t0, t1 : ndarray of shape (n,), int64
        Nanoseconds UTC.
    ret : ndarray of shape (n,), float64
        NaN where a label is open.
    label, side, is_open : ndarray of shape (n,), int8
    weight : ndarray of shape (n,), float64
        NaN where there is none.
    """

    t0: Int64Array
    t1: Int64Array
    ret: NDArray[np.float64]
    label: NDArray[np.int8]
    side: NDArray[np.int8]
    is_open: NDArray[np.int8]
    weight: NDArray[np.float64]

    def columns(self) -> list[NDArray[Any]]:
        """Return the columns in the order in which they are stored."""
        numbers = [self.label, self.side, self.is_open]
        return [self.t0, self.t1, self.ret, *numbers, self.weight]

    def part(self, rows: Any) -> "LabelArrays":
        """Return some rows."""
        return LabelArrays(*(column[rows] for column in self.columns()))


def drop_chunks(
    connection: sqlite3.Connection, set_id: int, symbols: Sequence[int]
) -> None:
    """Drop the chunks of symbols before their rows change, for the triggers' sake."""
    for table in (TABLE, table_of(TABLE)):
        connection.executemany(
            f"DELETE FROM {table} WHERE set_id = ? AND sid = ?",  # noqa: S608
            [(set_id, sid) for sid in symbols],
        ).close()


def write_chunks(
    connection: sqlite3.Connection,
    set_id: int,
    sid: int,
    given: LabelArrays | None = None,
) -> None:
    """Write a symbol's chunks from its rows, or from arrays that equal all of them."""
    listed = store_chunks(connection, set_id, sid, given)
    if listed.starts:
        Manifests(connection, TABLE, set_id).write(sid, listed)


def store_chunks(
    connection: sqlite3.Connection,
    set_id: int,
    sid: int,
    given: LabelArrays | None = None,
) -> Manifest:
    """Write chunks as ``write_chunks`` does, without listing them."""
    labels = _read_rows(connection, set_id, sid, *_EVER) if given is None else given
    columns = labels.columns()
    if np.isnan(labels.weight).all():
        columns.pop()
    parts = list(pieces(len(labels.t0)))
    store(
        connection,
        TABLE,
        (
            (ChunkKey(set_id, sid, int(labels.t0[rows.start]), col), values[rows])
            for rows in parts
            for col, values in enumerate(columns)
        ),
    )
    return Manifest(
        [int(labels.t0[rows.start]) for rows in parts],
        [rows.stop - rows.start for rows in parts],
    )


def _read_rows(
    connection: sqlite3.Connection, set_id: int, sid: int, low: int, high: int
) -> LabelArrays:
    rows = connection.execute(_ROWS, (set_id, sid, low, high)).fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(_DTYPES)
    return LabelArrays(
        *(stored(c, d, "labels") for c, d in zip(columns, _DTYPES, strict=True))
    )


def read_label_arrays(
    connection: sqlite3.Connection,
    label_set: tuple[int, str],
    symbols: dict[str, int],
    bounds: tuple[int, int],
    expected: int = 0,
) -> tuple[LabelArrays, Int64Array]:
    """Return labels whose t0 lies in a range, from chunks or from rows.

    Parameters
    ----------
    connection : Connection
    label_set : (int, str)
        Number and name.
    symbols : dict
        Name -> number.
    bounds : (int, int)
        First and last t0.
    expected : int, default=0
        For so many labels there is room from the start.

    Returns
    -------
    labels : LabelArrays
        Those of one symbol after the other.
    counts : ndarray of shape (n_symbols,), int64
        How many of them each symbol has.

    Raises
    ------
    DatabaseCorruptError
        If a chunk fails its checksum or does not fit the others.
    """
    room = _Room(max(expected, MOST_ROWS))
    counts = np.zeros(len(symbols), dtype=np.int64)
    set_id, name = label_set
    lists = Manifests(connection, TABLE, set_id)
    for k, (symbol, sid) in enumerate(symbols.items()):
        before, what = room.used, f"label set {name!r}, symbol {symbol!r}"
        listed = lists.read(sid, what)
        _append_chunks(connection, listed, (set_id, sid), what, bounds, room)
        if not listed.starts:
            room.append(_read_rows(connection, set_id, sid, *bounds))
        counts[k] = room.used - before
    return room.labels(), counts


class _Room:
    """Room for the labels of many symbols.

    Bytes that are copied here at once use the same memory over and over on their way,
    which is a third of the time.
    """

    def __init__(self, capacity: int) -> None:
        self.used = 0
        self._capacity = capacity
        self._columns: list[NDArray[Any]] = [
            np.empty(capacity, dtype=dtype) for dtype in _DTYPES[:_WEIGHT]
        ]
        self.bytes = [bytes_of(column) for column in self._columns]

    def hold(self, n: int) -> None:
        """See to it that there is room for n more labels."""
        if self.used + n > self._capacity:
            self._capacity = 2 * (self.used + n)
            for k, column in enumerate(self._columns):
                larger = np.empty(self._capacity, dtype=column.dtype)
                if k == _WEIGHT:
                    larger.fill(np.nan)
                larger[: self.used] = column[: self.used]
                self._columns[k] = larger
            self.bytes = [bytes_of(column) for column in self._columns]

    def weigh(self) -> None:
        """Make room for weights, too; those of labels before are missing."""
        if len(self._columns) == _WEIGHT:
            self._columns.append(np.full(self._capacity, np.nan))
            self.bytes.append(bytes_of(self._columns[-1]))

    def append(self, labels: LabelArrays) -> None:
        """Append labels that were read from rows."""
        n = len(labels.t0)
        self.hold(n)
        self.weigh()
        for column, values in zip(self._columns, labels.columns(), strict=True):
            column[self.used : self.used + n] = values
        self.used += n

    def labels(self) -> LabelArrays:
        """Return what was appended; missing weights take no memory."""
        if len(self._columns) == _WEIGHT:
            self._columns.append(np.broadcast_to(np.float64(np.nan), self.used))
        return LabelArrays(*(column[: self.used] for column in self._columns))


def _append_chunks(
    connection: sqlite3.Connection,
    listed: Manifest,
    place: tuple[int, int],
    what: str,
    bounds: tuple[int, int],
    room: _Room,
) -> None:
    """Verify the chunks that a symbol must have, and append what is in range."""
    crc32, low, high = zlib.crc32, *bounds
    near = listed.touching(low, high)
    widths: set[int] = set()
    due = zip(*near, strict=True)
    before, head, width, length, first, stop = None, 0, 0, 0, 0, 0
    for start, col, dtype, n, crc, data in connection.execute(
        f"SELECT t_lo, col, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
        "WHERE set_id = ? AND sid = ? AND t_lo BETWEEN ? AND ? ORDER BY t_lo, col",
        (*place, near.bottom, high),
    ):
        if start != before or not width:
            widths |= {width} if width else set()
            room.used += stop - first
            before, width, first, stop = start, 0, 0, 0
            length = _due(due, start, what)
            head = crc32(chunk_head(*place, start))
        if col != width or col > _WEIGHT or n != length:
            raise _incomplete(what)
        size, tail = _SIZES[col], chunk_tail(col, dtype, n)
        whole = type(data) is bytes and len(data) == n * size
        if not whole or crc32(data, crc32(tail, head)) != crc:
            raise damaged(f"{what}, column {col}", start)
        if col == 0:
            times = np.frombuffer(data, dtype=_DTYPES[0])
            first, stop = between(times, low, high)
            room.hold(stop - first)
        elif col == _WEIGHT:
            room.weigh()
        if stop - first < n:
            data = memoryview(data)[first * size : stop * size]  # noqa: PLW2901
        begin, end = room.used * size, (room.used + stop - first) * size
        room.bytes[col][begin:end] = data
        width += 1
    room.used += stop - first
    _raise_unless_whole(due, widths | ({width} if width else set()), what)


def _due(due: Iterator[tuple[int, int]], start: int, what: str) -> int:
    """Return how many rows the next chunk must have, if it is this one."""
    for expected, n in due:
        if start == expected:
            return n
        break
    raise lost(what)


def _raise_unless_whole(
    due: Iterator[tuple[int, int]], widths: set[int], what: str
) -> None:
    """Refuse chunks that did not come, and columns that some of them lack."""
    if next(due, None) is not None:
        raise lost(what)
    if len(widths) > 1 or any(width < _WEIGHT for width in widths):
        raise _incomplete(what)


def _incomplete(what: str) -> DatabaseCorruptError:
    return DatabaseCorruptError(
        f"{what}: columns are missing or differ in length. {WAY_OUT}."
    )


def check_label_chunks(connection: sqlite3.Connection) -> list[str]:
    """Compare every symbol's chunks with its rows; return what is wrong."""
    problems = []
    for set_id, sid, set_name, symbol in listed_places(connection, TABLE):
        try:
            chunks, _ = read_label_arrays(
                connection, (set_id, set_name), {symbol: sid}, _EVER
            )
        except DatabaseCorruptError as error:
            problems.append(str(error))
            continue
        rows = _read_rows(connection, set_id, sid, *_EVER)
        if any(
            not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(chunks.columns(), rows.columns(), strict=True)
        ):
            problems.append(
                f"label set {set_name!r}, symbol {symbol!r}: chunks and rows differ. "
                f"{WAY_OUT}."
            )
    return problems
