"""Pure interval arithmetic: who may train when these rows are tested.

Everything happens in time order. A test block is a run of rows between two
distinct t0, so a training row starts either before all of a block or after all
of it, and each side needs one comparison only:

- a row after the block overlaps one of its labels iff it starts no later than
  the block's *latest* t1 (plus the gap), whichever row holds that t1;
- a row before the block overlaps one of its labels iff it ends no earlier than
  the block's *first* t0 (minus the gap).

The first side is a binary search. For the second, a running maximum of t1 over
chunks of rows bounds the few rows that have to be compared one by one. Both
together are the three overlap conditions of [1]_ (section 7.4.1), for any number
of blocks, each with its own purge and its own embargo.

.. [1] M. López de Prado, *Advances in Financial Machine Learning*, Wiley 2018,
   chapter 7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skatra.model_selection._spans import Reach
from skatra.typing import IntArray, Split, TimeArray
from skatra.utils import LabelIntervals

_INT64 = np.iinfo(np.int64)

Piece: TypeAlias = tuple[int, int, NDArray[np.bool_] | None]
"""Rows [start, stop) in time order: all of them, or those the mask keeps."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Label intervals in time order.

    Attributes
    ----------
    t0, t1 : ndarray of shape (n,)
        Sorted by t0; the caller's own arrays if they were sorted already.
    order : ndarray of shape (n,) or None
        Row position of each entry; None if the rows were sorted already.
    firsts : ndarray or None
        Entry at which each distinct t0 begins; None if all t0 are distinct.
    latest : ndarray
        Running maximum of t1 at the end of each chunk of entries.
    chunk : int
        Number of entries in a chunk.
    """

    t0: TimeArray
    t1: TimeArray
    order: IntArray | None
    firsts: IntArray | None
    latest: TimeArray
    chunk: int

    @classmethod
    def from_intervals(
        cls, intervals: LabelIntervals, *, chunk: int = 1024
    ) -> "Timeline":
        """Sort the intervals by t0, unless they are sorted."""
        t0, t1 = intervals.t0, intervals.t1
        order: IntArray | None = None
        rises = t0[1:] > t0[:-1]
        if not rises.all() and (t0[1:] < t0[:-1]).any():
            # Ties may fall in any order: no block is cut between equal t0.
            order = np.argsort(t0)
            t0, t1 = t0[order], t1[order]
            rises = t0[1:] > t0[:-1]
        firsts: IntArray | None = None
        if not rises.all():
            firsts = np.concatenate(([0], np.flatnonzero(rises) + 1))
        chunk_starts = np.arange(0, len(t1), chunk)
        latest = np.maximum.accumulate(np.maximum.reduceat(t1, chunk_starts))
        return cls(t0, t1, order, firsts, latest, chunk)

    @property
    def n_rows(self) -> int:
        """Number of labels."""
        return len(self.t0)

    @property
    def n_distinct(self) -> int:
        """Number of distinct t0."""
        return len(self.t0) if self.firsts is None else len(self.firsts)

    def fold_edges(self, n_folds: int) -> list[int]:
        """Cut all rows into folds at the distinct t0 nearest to an even cut."""
        size, rest = divmod(self.n_rows, n_folds)
        k = np.arange(1, n_folds)
        even = k * size + np.minimum(k, rest)
        return [0, *self._cuts(even, n_folds).tolist(), self.n_rows]

    def nearest_cut(self, row: int) -> int:
        """Return the cut between distinct t0 that is nearest to a row."""
        return int(self._cuts(np.array([row]), 2)[0])

    def _cuts(self, wanted: IntArray, n_folds: int) -> IntArray:
        if self.firsts is None:
            return np.clip(wanted, 1, self.n_rows - 1)
        above = np.searchsorted(self.firsts, wanted).clip(1, self.n_distinct - 1)
        nearer_below = wanted - self.firsts[above - 1] <= self.firsts[above] - wanted
        cut = np.maximum(above - nearer_below, 1)
        # Large ties may claim several cuts: keep one distinct t0 for every fold.
        k = np.arange(len(cut))
        cut = np.maximum.accumulate(cut - k)
        return self.firsts[np.minimum(cut, self.n_distinct - n_folds + 1) + k]

    def _distinct(self, rank: int) -> Any:
        if rank < 0:
            return -inf
        if rank >= self.n_distinct:
            return inf
        return self.t0[rank if self.firsts is None else self.firsts[rank]].item()

    def _rank(self, row: int) -> int:
        """Return which distinct t0 a row has."""
        if self.firsts is None:
            return row
        return int(self.firsts.searchsorted(row, side="right")) - 1

    def after(self, time: Any, reach: Reach, *, touching: bool) -> int:
        """Return the first row that starts later than `reach` after a time.

        A row that starts exactly there counts as later unless `touching`.
        """
        if reach.count is None:
            time += reach.low if touching else reach.high
        elif reach.count:
            last = int(self.t0.searchsorted(self.cast(time), side="right")) - 1
            time = self._distinct(self._rank(last) + reach.count)
        if time == inf or (self.t0.dtype.kind == "i" and time > _INT64.max):
            return self.n_rows
        side = "right" if touching else "left"
        return int(np.searchsorted(self.t0, self.cast(time), side=side))  # type: ignore[call-overload]

    def before(self, row: int, reach: Reach) -> tuple[Any, Any]:
        """Return the time `reach` before a row's t0, rounded down and up."""
        time = self.t0[row].item()
        if reach.count is None:
            return time - reach.high, time - reach.low
        if reach.count:
            time = self._distinct(self._rank(row) - reach.count)
        return time, time

    def cast(self, time: Any) -> Any:
        # A scalar of another dtype would make numpy convert the whole array.
        return self.t0.dtype.type(time)


@dataclass(frozen=True, slots=True)
class Purger:
    """The training rows that any test blocks leave on a timeline.

    Attributes
    ----------
    timeline : Timeline
    purge_gap, embargo : Reach
    closed : {"both", "left"}
        Whether labels that only touch overlap.
    """

    timeline: Timeline
    purge_gap: Reach
    embargo: Reach
    closed: str

    def split(self, blocks: Sequence[tuple[int, int]], rows: IntArray) -> Split:
        """Return the row positions of training and test rows, sorted.

        Parameters
        ----------
        blocks : sequence of (start, stop)
            Test blocks in time order, disjoint, cut between distinct t0.
        rows : ndarray of shape (n,)
            ``arange(n)``; results are views of it where they can be.
        """
        tested = [(start, stop, None) for start, stop in blocks]
        order = self.timeline.order
        return _take(self.training(blocks), order, rows), _take(tested, order, rows)

    def training(self, blocks: Sequence[tuple[int, int]]) -> list[Piece]:
        """Return all rows that are not tested, purged or embargoed."""
        pieces: list[Piece] = []
        free = 0
        for start, stop in blocks:
            pieces.extend(self._ending_before(free, start))
            free = max(free, self._first_after(start, stop))
        if free < self.timeline.n_rows:
            pieces.append((free, self.timeline.n_rows, None))
        return pieces

    def _first_after(self, start: int, stop: int) -> int:
        """Return the first row after a block that it neither purges nor embargoes."""
        line = self.timeline
        t1 = line.t1[start:stop]
        last = t1.max().item()
        both = self.closed == "both"
        row = line.after(last, self.purge_gap, touching=both)
        if not both and self.purge_gap.positive:
            # A zero-length label is its point, so it still holds its own end.
            points = np.flatnonzero(line.t0[start:stop] == t1)
            if len(points):
                point = t1[points[-1]].item()
                row = max(row, line.after(point, self.purge_gap, touching=True))
        if self.embargo.positive:
            row = max(row, line.after(last, self.embargo, touching=True))
        return max(row, stop)

    def _ending_before(self, free: int, start: int) -> Iterable[Piece]:
        """Return the rows of [free, start) that the block at start does not purge."""
        if free >= start:
            return []
        line = self.timeline
        down, up = line.before(start, self.purge_gap)
        if down == -inf or (line.t1.dtype.kind == "i" and down < _INT64.min):
            return []
        near = int(line.latest.searchsorted(line.cast(up))) * line.chunk
        near = min(max(near, free), start)
        t1 = line.t1[near:start]
        keep = t1 < up
        if self.closed == "left":
            keep = (t1 <= down) & (keep | (t1 != line.t0[near:start]))
        if keep.all():
            return [(free, start, None)]
        return [(free, near, None), (near, start, keep)]


def _take(pieces: Sequence[Piece], order: IntArray | None, rows: IntArray) -> IntArray:
    """Return the sorted row positions of pieces of the timeline."""
    if order is not None:
        return _take_unsorted(pieces, order)
    parts = [
        rows[start:stop] if keep is None else np.flatnonzero(keep) + start
        for start, stop, keep in pieces
    ]
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else rows[:0]


def _take_unsorted(pieces: Sequence[Piece], order: IntArray) -> IntArray:
    n_kept = sum(
        stop - start if keep is None else np.count_nonzero(keep)
        for start, stop, keep in pieces
    )
    if n_kept * 4 < len(order):
        parts = [
            order[start:stop] if keep is None else order[start:stop][keep]
            for start, stop, keep in pieces
        ]
        return np.sort(np.concatenate(parts)) if parts else order[:0]
    # Most rows stay: strike out the few that go.
    mask = np.ones(len(order), dtype=np.bool_)
    done = 0
    for start, stop, keep in pieces:
        mask[order[done:start]] = False
        if keep is not None:
            mask[order[start:stop][~keep]] = False
        done = stop
    mask[order[done:]] = False
    return np.flatnonzero(mask)
