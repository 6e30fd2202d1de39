"""Which chunks a symbol has, kept apart from them, so that none is lost unseen.

A chunk proves its own bytes, not that it is there: one flipped bit in a page of the
index hides it. So each set and symbol has one row that lists first time and number of
rows of all its chunks, with a CRC-32 over its place, the set's columns and its bytes,
written in the same transaction as they are. It lies in a table of its own: damage to
one page cannot hide a chunk and change the list to fit.
"""

import json
import sqlite3
import zlib
from bisect import bisect_right
from typing import Any, NamedTuple, Self

import numpy as np

from skatra.datasets._chunks import WAY_OUT
from skatra.datasets._tables import set_columns
from skatra.exceptions import DatabaseCorruptError

_LEAST = -(2**63)
_ENTRY = 16


class Manifest(NamedTuple):
    """First time (ns UTC) and number of rows of each chunk, rising."""

    starts: list[int]
    counts: list[int]

    def touching(self, low: int, high: int) -> Self:
        """Return the chunks that may have rows in a range of times."""
        first = max(bisect_right(self.starts, low) - 1, 0)
        part = slice(first, bisect_right(self.starts, high))
        return type(self)(self.starts[part], self.counts[part])

    def replaced(self, old: list[int], new: Self) -> Self:
        """Return the chunks after some neighbours gave way to others."""
        first = self.starts.index(old[0]) if old else 0
        before, after = slice(first), slice(first + len(old), None)
        return type(self)(
            [*self.starts[before], *new.starts, *self.starts[after]],
            [*self.counts[before], *new.counts, *self.counts[after]],
        )

    @property
    def bottom(self) -> int:
        """The first time, of which the first chunk in the file must be, too."""
        return self.starts[0] if self.starts else _LEAST


class Manifests:
    """What lists the chunks of each symbol of one set.

    Parameters
    ----------
    connection : Connection
    chunks : str
        The table of the chunks.
    set_id : int
    """

    def __init__(
        self, connection: sqlite3.Connection, chunks: str, set_id: int
    ) -> None:
        self._connection = connection
        self._table = table_of(chunks)
        self._set = set_id
        columns = ""
        if chunks == "feature_chunks":
            columns = json.dumps(list(set_columns(connection, set_id).items()))
        self._head = zlib.crc32(f"{self._table}/{set_id}/{columns}/".encode())

    def _checksum(self, sid: int, data: Any) -> int:
        return zlib.crc32(data, zlib.crc32(f"{sid}/".encode(), self._head))

    def read(self, sid: int, what: str) -> Manifest:
        """Return which chunks a symbol must have; none if nothing was written.

        Raises
        ------
        DatabaseCorruptError
            If the list is not the one that was written, or the set's columns are not.
        """
        row = self._connection.execute(
            f"SELECT crc32, chunks FROM {self._table} "  # noqa: S608
            "WHERE set_id = ? AND sid = ?",
            (self._set, sid),
        ).fetchone()
        if row is None:
            return Manifest([], [])
        crc, data = row
        sound = type(data) is bytes and len(data) % _ENTRY == 0
        if not sound or self._checksum(sid, data) != crc:
            raise DatabaseCorruptError(
                f"{what}: the list of its chunks fails its checksum: the file was "
                f"damaged after it was written. {WAY_OUT}; Database.check() lists all "
                "damage."
            )
        numbers: list[int] = np.frombuffer(data, dtype="<i8").tolist()
        half = len(numbers) // 2
        return Manifest(numbers[:half], numbers[half:])

    def prove_columns(self, what: str) -> None:
        """Refuse columns that are not those with which the set was written."""
        sql = f"SELECT sid FROM {self._table} WHERE set_id = ? LIMIT 1"  # noqa: S608
        row = self._connection.execute(sql, (self._set,)).fetchone()
        if row is not None:
            self.read(row[0], what)

    def write(self, sid: int, manifest: Manifest) -> None:
        """Write or replace a list, in the transaction that writes the chunks."""
        data = np.array(manifest, dtype="<i8").tobytes()
        self._connection.execute(
            f"INSERT INTO {self._table} (set_id, sid, crc32, chunks) "  # noqa: S608
            "VALUES (?, ?, ?, ?) ON CONFLICT (set_id, sid) "
            "DO UPDATE SET crc32 = excluded.crc32, chunks = excluded.chunks",
            (self._set, sid, self._checksum(sid, data), data),
        ).close()


def table_of(chunks: str) -> str:
    """Return the table that lists the chunks of a table."""
    return chunks.replace("_chunks", "_manifests")


def lost(what: str) -> DatabaseCorruptError:
    """Return the error for chunks that are missing or more than were written."""
    return DatabaseCorruptError(
        f"{what}: chunks are missing, or there are others than were written. "
        f"{WAY_OUT}; Database.check() lists all damage."
    )


def list_chunks(connection: sqlite3.Connection, chunks: str) -> None:
    """Make the lists of chunks that were written without, each as long as they are."""
    places = connection.execute(
        f"SELECT DISTINCT set_id, sid FROM {chunks}"  # noqa: S608
    ).fetchall()
    for place in places:
        rows = connection.execute(
            f"SELECT t_lo, n FROM {chunks} "  # noqa: S608
            "WHERE set_id = ? AND sid = ? AND col = 0 ORDER BY t_lo",
            place,
        ).fetchall()
        starts, counts = zip(*rows, strict=True) if rows else ((), ())
        lists = Manifests(connection, chunks, place[0])
        lists.write(place[1], Manifest([*starts], [*counts]))


def listed_places(connection: sqlite3.Connection, chunks: str) -> list[tuple[Any, ...]]:
    """Return set and symbol, by number and name, of everything stored or listed."""
    kind = chunks.removesuffix("_chunks")
    return connection.execute(
        f"SELECT p.set_id, p.sid, f.name, s.symbol FROM (SELECT set_id, sid "  # noqa: S608
        f"FROM {chunks} UNION SELECT set_id, sid FROM {table_of(chunks)}) p "
        f"JOIN {kind}_sets f USING (set_id) JOIN symbols s USING (sid)"
    ).fetchall()
