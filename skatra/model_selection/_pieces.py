"""Rows as pieces of the timeline, and the row positions that they stand for."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from skatra.typing import IntArray

BoolArray: TypeAlias = NDArray[np.bool_]
Piece: TypeAlias = tuple[int, int, BoolArray | None]
"""Rows [start, stop) in time order: all of them, or those the mask keeps."""


def count_kept(pieces: Sequence[Piece]) -> int:
    """Return how many rows the pieces hold."""
    return sum(
        stop - start if keep is None else int(np.count_nonzero(keep))
        for start, stop, keep in pieces
    )


def clip(pieces: Sequence[Piece], first: int) -> list[Piece]:
    """Return what the pieces hold from a row of the timeline on."""
    clipped: list[Piece] = []
    for start, stop, keep in pieces:
        if start >= first:
            clipped.append((start, stop, keep))
        elif stop > first:
            clipped.append(
                (first, stop, None if keep is None else keep[first - start :])
            )
    return clipped


def nth_last(pieces: Sequence[Piece], n: int) -> int:
    """Return the row of the timeline at which the last n kept rows begin."""
    for start, stop, keep in reversed(pieces):
        size = count_kept([(start, stop, keep)])
        if n <= size:
            if keep is None or n == 0:
                return stop - n
            return start + int(np.flatnonzero(keep)[size - n])
        n -= size
    return 0


class RowTaker:
    """Turns pieces of a timeline into sorted row positions.

    Where the rows are sorted in time, one piece is a read-only view of
    ``arange(n)``, several are one copy. Else few rows are sorted, and many are what
    is left of all after striking out the others.
    """

    def __init__(self, n_rows: int, order: IntArray | None) -> None:
        self._order = order
        self._rows = np.arange(n_rows if order is None else 0, dtype=np.intp)
        # Splits are views of it: nobody may change another fold's rows.
        self._rows.flags.writeable = False
        self._mask = np.empty(0 if order is None else n_rows, dtype=np.bool_)

    def take(self, pieces: Sequence[Piece]) -> IntArray:
        """Return the sorted row positions of pieces in time order."""
        if self._order is not None:
            return self._take_unsorted(pieces, self._order)
        parts = [
            self._rows[start:stop] if keep is None else np.flatnonzero(keep) + start
            for start, stop, keep in _joined(pieces)
        ]
        parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else self._rows[:0]

    def _take_unsorted(self, pieces: Sequence[Piece], order: IntArray) -> IntArray:
        if count_kept(pieces) * 4 < len(order):
            parts = [
                order[start:stop] if keep is None else order[start:stop][keep]
                for start, stop, keep in pieces
            ]
            rows = np.concatenate(parts) if parts else order[:0].copy()
            rows.sort()
            return rows
        mask = self._mask
        mask.fill(True)
        done = 0
        for start, stop, keep in pieces:
            mask[order[done:start]] = False
            if keep is not None:
                mask[order[start:stop][~keep]] = False
            done = stop
        mask[order[done:]] = False
        return np.flatnonzero(mask)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Join whole pieces that touch."""
    joined: list[Piece] = []
    for start, stop, keep in pieces:
        if joined and keep is None and joined[-1][1:] == (start, None):
            joined[-1] = (joined[-1][0], stop, None)
        else:
            joined.append((start, stop, keep))
    return joined
