"""Columns as contiguous bytes that prove themselves.

A chunk holds one column of one symbol and calendar year: little-endian values,
one after the other, and a CRC-32 over its place and its bytes. SQLite's own
integrity check does not see a flipped bit inside a value; this does, and it also
sees a chunk that sits in another chunk's place.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skatra.exceptions import DatabaseCorruptError

TIME_COLUMN = 0
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(f"<{name}") for name in ("f8", "f4", "i8")
}


@dataclass(frozen=True, slots=True)
class ChunkKey:
    """The place of a chunk: set, symbol, calendar year (UTC) and column number."""

    set_id: int
    sid: int
    period: int
    col: int

    def checksum(self, dtype: str, n: int, data: bytes) -> int:
        """Return the CRC-32 of the place and the bytes."""
        place = f"{self.set_id}/{self.sid}/{self.period}/{self.col}/{dtype}/{n}/"
        return zlib.crc32(data, zlib.crc32(place.encode()))


def encode(values: NDArray[Any], key: ChunkKey) -> tuple[str, int, int, bytes]:
    """Return dtype, number of values, checksum and bytes of a column.

    Parameters
    ----------
    values : ndarray of shape (n,), float64, float32 or int64
        NaN (with its payload), infinities and -0.0 are kept bit for bit.
    key : ChunkKey
    """
    name = f"{values.dtype.kind}{values.dtype.itemsize}"
    data = values.astype(DTYPES[name], copy=False).tobytes()
    return name, len(values), key.checksum(name, len(values), data), data


def decode(
    stored: tuple[str, int, int, bytes], key: ChunkKey, describe: str
) -> NDArray[Any]:
    """Return a column, a read-only view of its bytes.

    Parameters
    ----------
    stored : tuple
        dtype, number of values, checksum and bytes, as ``encode`` returned them.
    key : ChunkKey
    describe : str
        Set, symbol, year and column in the user's words, for the error message.

    Raises
    ------
    DatabaseCorruptError
        If the bytes are not those that were written.
    """
    name, n, crc, data = stored
    dtype = DTYPES.get(name)
    if (
        dtype is None
        or len(data) != n * dtype.itemsize
        or key.checksum(name, n, data) != crc
    ):
        raise DatabaseCorruptError(
            f"the chunk of {describe} fails its checksum: the file was damaged after "
            "it was written. Write these features again, or restore a backup; "
            "Database.check() lists all damage."
        )
    values: NDArray[Any] = np.frombuffer(data, dtype=dtype)
    return values


def store(connection: sqlite3.Connection, key: ChunkKey, values: NDArray[Any]) -> None:
    """Write or replace one chunk."""
    connection.execute(
        "INSERT INTO feature_chunks (set_id, sid, period, col, dtype, n, crc32, data) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (set_id, sid, period, col) "
        "DO UPDATE SET dtype = excluded.dtype, n = excluded.n, "
        "crc32 = excluded.crc32, data = excluded.data",
        (key.set_id, key.sid, key.period, key.col, *encode(values, key)),
    )


def periods_of(ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the calendar years (UTC) of nanosecond times."""
    years = ts.view("datetime64[ns]").astype("datetime64[Y]").astype(np.int64)
    result: NDArray[np.int64] = years + 1970
    return result


def period_blocks(ts: NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Yield each calendar year of sorted times with its rows."""
    years = periods_of(ts)
    starts = np.flatnonzero(np.diff(years, prepend=years[:1] - 1))
    for start, stop in zip(starts, [*starts[1:], len(ts)], strict=True):
        yield int(years[start]), slice(int(start), int(stop))
