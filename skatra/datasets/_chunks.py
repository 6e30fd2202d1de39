"""Columns as contiguous bytes that prove themselves.

A chunk holds one column of one symbol from one time to the next chunk's: up to 2,000
little-endian values, one after the other, and a CRC-32 over its place and its bytes.
That is eight years of daily bars or a week of minutes, and fits on one page of the
file; a chunk that fills up is split in two. SQLite's own
integrity check does not see a flipped bit inside a value; this does, and it also
sees a chunk that sits in another chunk's place.

A packed chunk holds first bytes of all values, then second bytes and so on (numbers
of one column share their first bytes), as a zlib stream; its dtype ends in "z", and
the checksum is over the stream. A chunk that would not become smaller is not packed.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skatra.exceptions import DatabaseCorruptError

TIME_COLUMN = 0
PACKED = "z"
_LEVEL = 1
MOST_ROWS = 2000
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(f"<{name}") for name in ("f8", "f4", "i8", "i1")
}

WAY_OUT = (
    "Write all rows of the symbol again with replace=True, or restore a backup "
    "(skatra db restore BACKUP DATABASE)"
)

Stored = tuple[str, int, int, bytes]
"""dtype, number of values, checksum and bytes of a column."""


class ChunkKey(NamedTuple):
    """The place of a chunk: set, symbol, first time (ns UTC) and column number."""

    set_id: int
    sid: int
    start: int
    col: int

    def checksum(self, dtype: str, n: int, data: Any) -> int:
        """Return the CRC-32 of the place and the bytes."""
        return checksum(self.set_id, self.sid, self.start, self.col, dtype, n, data)


def checksum(
    set_id: int, sid: int, start: int, col: int, dtype: str, n: int, data: Any
) -> int:
    """Return the CRC-32 of a place and the bytes in it."""
    head = zlib.crc32(chunk_head(set_id, sid, start))
    return zlib.crc32(data, zlib.crc32(chunk_tail(col, dtype, n), head))


def chunk_head(set_id: int, sid: int, start: int) -> bytes:
    """Return the part of a place that the columns of a chunk share."""
    return f"{set_id}/{sid}/{start}/".encode()


@lru_cache(maxsize=4096)
def chunk_tail(col: int, dtype: str, n: int) -> bytes:
    """Return the part of a place that the chunks of a column share."""
    return f"{col}/{dtype}/{n}/".encode()


def encode(
    values: NDArray[Any], key: ChunkKey, *, packed: bool = False
) -> tuple[str, int, int, Any]:
    """Return dtype, number of values, checksum and bytes of a column.

    Parameters
    ----------
    values : ndarray of shape (n,), float64, float32, int64 or int8
        NaN (with its payload), infinities and -0.0 are kept bit for bit.
    key : ChunkKey
    packed : bool, default=False
        Make it small if it can be.
    """
    name = f"{values.dtype.kind}{values.dtype.itemsize}"
    contiguous = np.ascontiguousarray(values, dtype=DTYPES[name])
    data: Any = bytes_of(contiguous)
    if packed:
        shuffled = (
            contiguous.view(np.uint8)
            .reshape(len(values), contiguous.itemsize)
            .T.tobytes()
        )
        small = zlib.compress(shuffled, _LEVEL)
        if len(small) < len(data):
            name, data = name + PACKED, small
    return name, len(values), key.checksum(name, len(values), data), data


def decode(stored: Stored, key: ChunkKey, describe: str) -> NDArray[Any]:
    """Return a column, a read-only view of its bytes.

    Parameters
    ----------
    stored : tuple
        dtype, number of values, checksum and bytes, as ``encode`` returned them.
    key : ChunkKey
    describe : str
        Set, symbol and column in the user's words, for the error message.

    Raises
    ------
    DatabaseCorruptError
        If the bytes are not those that were written.
    """
    name, n, crc, data = stored
    whole = type(name) is str and type(data) is bytes
    dtype = DTYPES.get(name.removesuffix(PACKED)) if whole else None
    if dtype is None or key.checksum(name, n, data) != crc:
        raise damaged(describe, key.start)
    plain = unpack(data, n, dtype.itemsize) if name.endswith(PACKED) else data
    if len(plain) != n * dtype.itemsize:
        raise damaged(describe, key.start)
    values: NDArray[Any] = np.frombuffer(plain, dtype=dtype)
    return values


def unpack(data: bytes, n: int, itemsize: int) -> bytes:
    """Return the bytes of a column from its packed ones, whose checksum was right."""
    try:
        shuffled = np.frombuffer(zlib.decompress(data), dtype=np.uint8)
        return shuffled.reshape(itemsize, n).T.tobytes()
    except (zlib.error, ValueError):
        return b""


def damaged(describe: str, start: int) -> DatabaseCorruptError:
    """Return the error for a chunk whose bytes are not those that were written."""
    return DatabaseCorruptError(
        f"the chunk of {describe}, from {show_time(start)}, fails its checksum: the "
        f"file was damaged after it was written. {WAY_OUT}; Database.check() lists "
        "all damage."
    )


def show_time(ns: int) -> str:
    """Return a time in nanoseconds as text."""
    if type(ns) is not int:
        return repr(ns)
    return str(np.datetime64(ns, "ns")).replace("T", " ").removesuffix(".000000000")


def between(times: NDArray[np.int64], low: int, high: int) -> tuple[int, int]:
    """Return which rows of a chunk lie in a range: the first, and the one after."""
    if len(times) and low <= times[0] and times[-1] <= high:
        return 0, len(times)
    first, stop = times.searchsorted(low, "left"), times.searchsorted(high, "right")
    return int(first), int(stop)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the memory of a contiguous array."""
    contiguous: Any = array
    return memoryview(contiguous).cast("B")


def store(
    connection: sqlite3.Connection,
    table: str,
    chunks: Iterable[tuple[ChunkKey, NDArray[Any]]],
    *,
    packed: bool = False,
) -> None:
    """Write or replace chunks."""
    connection.executemany(
        f"INSERT INTO {table} (set_id, sid, t_lo, col, dtype, n, crc32, data) "  # noqa: S608
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (set_id, sid, t_lo, col) "
        "DO UPDATE SET dtype = excluded.dtype, n = excluded.n, "
        "crc32 = excluded.crc32, data = excluded.data",
        (
            (
                key.set_id,
                key.sid,
                key.start,
                key.col,
                *encode(values, key, packed=packed),
            )
            for key, values in chunks
        ),
    ).close()


def pieces(n: int) -> Iterator[slice]:
    """Yield the rows of each chunk when n rows are spread evenly."""
    count = -(-n // MOST_ROWS)
    for k in range(count):
        yield slice(k * n // count, (k + 1) * n // count)
