"""Labels once more as chunks, so that a dataset loads at the speed of memory.

The rows of the table ``labels`` are the truth. Their chunks are written with them in
one transaction; whoever changes the rows in any other way drops the symbol's chunks
(by triggers), and they are read row by row until the next write.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skatra.datasets._chunks import (
    WAY_OUT,
    ChunkKey,
    decode,
    pieces,
    reach,
    reach_of,
    store,
)
from skatra.datasets._frames import Int64Array
from skatra.exceptions import DatabaseCorruptError

TABLE = "label_chunks"
_DTYPES = ("i8", "i8", "f8", "i1", "i1", "i1", "f8")
_ROWS = (
    "SELECT t0, t1, ret, label, side, touched = 'open', weight FROM labels "
    "WHERE set_id = ? AND sid = ? AND t0 BETWEEN ? AND ? ORDER BY t0"
)
_EVER = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class LabelArrays:
    """Labels of one symbol, sorted by t0.

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

    def known_by(self, time: int) -> "LabelArrays":
        """Return the labels whose t1 is not after a time."""
        return self.part(self.t1 <= time)


def drop_chunks(
    connection: sqlite3.Connection, set_id: int, symbols: Sequence[int]
) -> None:
    """Drop the chunks of symbols before their rows change, for the triggers' sake."""
    connection.executemany(
        f"DELETE FROM {TABLE} WHERE set_id = ? AND sid = ?",  # noqa: S608
        [(set_id, sid) for sid in symbols],
    ).close()


def write_chunks(
    connection: sqlite3.Connection,
    set_id: int,
    sid: int,
    given: LabelArrays | None = None,
) -> None:
    """Write a symbol's chunks from its rows, or from arrays that equal all of them."""
    labels = _read_rows(connection, set_id, sid, *_EVER) if given is None else given
    columns = labels.columns()
    if np.isnan(labels.weight).all():
        columns.pop()
    store(
        connection,
        TABLE,
        (
            (ChunkKey(set_id, sid, int(labels.t0[rows.start]), col), values[rows])
            for rows in pieces(len(labels.t0))
            for col, values in enumerate(columns)
        ),
    )


def _read_rows(
    connection: sqlite3.Connection, set_id: int, sid: int, low: int, high: int
) -> LabelArrays:
    rows = connection.execute(_ROWS, (set_id, sid, low, high)).fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(_DTYPES)
    return LabelArrays(
        *(np.array(c, dtype=d) for c, d in zip(columns, _DTYPES, strict=True))
    )


def read_label_arrays(
    connection: sqlite3.Connection,
    label_set: tuple[int, str],
    symbol: tuple[int, str],
    low: int,
    high: int,
) -> LabelArrays:
    """Return a symbol's labels whose t0 lies in a range, from chunks or from rows.

    Raises
    ------
    DatabaseCorruptError
        If a chunk fails its checksum or does not fit the others.
    """
    set_id, sid = label_set[0], symbol[0]
    what = f"label set {label_set[1]!r}, symbol {symbol[1]!r}"
    stored = connection.execute(
        f"SELECT t_lo, col, dtype, n, crc32, data FROM {TABLE} "  # noqa: S608
        f"WHERE {reach(TABLE)} ORDER BY t_lo, col",
        reach_of(set_id, sid, low, high),
    ).fetchall()
    if not stored:
        return _read_rows(connection, set_id, sid, low, high)
    parts: list[list[NDArray[Any]]] = [[] for _ in _DTYPES]
    for start, col, *chunk in stored:
        if not 0 <= col < len(parts):
            raise DatabaseCorruptError(f"{what}: unknown column {col}. {WAY_OUT}.")
        key = ChunkKey(set_id, sid, start, col)
        parts[col].append(decode(tuple(chunk), key, f"{what}, column {col}"))
    weighted = bool(parts[-1])
    lengths = [list(map(len, columns)) for columns in parts[: None if weighted else -1]]
    if any(length != lengths[0] for length in lengths):
        raise DatabaseCorruptError(
            f"{what}: columns are missing or differ in length. {WAY_OUT}."
        )
    if not weighted:
        # Labels without weights have no such chunks; this takes no memory either.
        parts[-1] = [np.broadcast_to(np.float64(np.nan), sum(lengths[0]))]
    whole = [c[0] if len(c) == 1 else np.concatenate(c) for c in parts]
    first = int(np.searchsorted(whole[0], low, "left"))
    stop = int(np.searchsorted(whole[0], high, "right"))
    return LabelArrays(*(column[first:stop] for column in whole))


def check_label_chunks(connection: sqlite3.Connection) -> list[str]:
    """Compare every symbol's chunks with its rows; return what is wrong."""
    problems = []
    places = connection.execute(
        "SELECT DISTINCT c.set_id, c.sid, f.name, s.symbol FROM label_chunks c "
        "JOIN label_sets f USING (set_id) JOIN symbols s USING (sid)"
    ).fetchall()
    for set_id, sid, set_name, symbol in places:
        try:
            chunks = read_label_arrays(
                connection, (set_id, set_name), (sid, symbol), *_EVER
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
