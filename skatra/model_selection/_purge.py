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

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import numpy as np

from skatra.model_selection._pieces import BoolArray, Piece
from skatra.model_selection._spans import Reach
from skatra.typing import IntArray, TimeArray
from skatra.utils import LabelIntervals

_INT64 = np.iinfo(np.int64)


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
    grid : ndarray
        The distinct t0 that counts are counted on.
    latest : ndarray
        Running maximum of t1 at the end of each chunk of entries.
    chunk : int
        Number of entries in a chunk.
    """

    t0: TimeArray
    t1: TimeArray
    order: IntArray | None
    firsts: IntArray | None
    grid: TimeArray
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
            order, t0 = _in_time_order(t0)
            t1 = t1[order]
            rises = t0[1:] > t0[:-1]
        firsts: IntArray | None = None
        if not rises.all():
            firsts = np.concatenate(([0], np.flatnonzero(rises) + 1))
        grid = t0 if firsts is None else t0[firsts]
        return cls(t0, t1, order, firsts, grid, _running_maximum(t1, chunk), chunk)

    def subset(self, entries: IntArray) -> "Timeline":
        """Return some entries, in time order, that count on the same grid."""
        t0, t1 = self.t0[entries], self.t1[entries]
        latest = _running_maximum(t1, self.chunk)
        return Timeline(t0, t1, None, None, self.grid, latest, self.chunk)

    @property
    def n_rows(self) -> int:
        """Number of labels."""
        return len(self.t0)

    @property
    def n_distinct(self) -> int:
        """Number of distinct t0."""
        return len(self.grid)

    def fold_edges(self, n_folds: int) -> list[int]:
        """Cut all rows into folds at the distinct t0 nearest to an even cut."""
        size, rest = divmod(self.n_rows, n_folds)
        k = np.arange(1, n_folds)
        even = k * size + np.minimum(k, rest)
        return [0, *self.cuts(even).tolist(), self.n_rows]

    def shifted_cuts(self, n_folds: int, part: int, parts: int) -> list[int]:
        """Cut nearest to where even folds would begin, part / parts of a fold later."""
        steps = np.arange(n_folds) * parts + part
        even = steps * self.n_rows // (n_folds * parts)
        return [int(cut) for cut in self.cuts(even)]

    def nearest_cut(self, row: int) -> int:
        """Return the cut between distinct t0 that is nearest to a row."""
        return int(self.cuts(np.array([row]))[0])

    def first_of(self, row: int) -> tuple[int, int]:
        """Return where a row's t0 begins and where the next t0 does."""
        if self.firsts is None:
            return row, row + 1
        rank = int(self.firsts.searchsorted(row, side="right"))
        following = self.firsts[rank] if rank < self.n_distinct else self.n_rows
        return int(self.firsts[rank - 1]), int(following)

    def cuts(self, wanted: IntArray) -> IntArray:
        """Return rising cuts between distinct t0, the nearest to the wanted rows."""
        if self.firsts is None:
            return np.clip(wanted, 1, self.n_rows - 1)
        above = np.searchsorted(self.firsts, wanted).clip(1, self.n_distinct - 1)
        nearer_below = wanted - self.firsts[above - 1] <= self.firsts[above] - wanted
        cut = np.maximum(above - nearer_below, 1)
        # Large ties may claim several cuts: keep one distinct t0 for every fold.
        k = np.arange(len(cut))
        cut = np.maximum.accumulate(cut - k)
        return self.firsts[np.minimum(cut, self.n_distinct - len(cut)) + k]

    def _distinct(self, rank: int) -> Any:
        if rank < 0:
            return -inf
        return self.grid[rank].item() if rank < self.n_distinct else inf

    def after(self, time: Any, reach: Reach, *, touching: bool) -> int:
        """Return the first row that starts later than `reach` after a label end.

        A row that starts exactly there counts as later unless `touching`. A count
        starts from the last distinct t0 up to the end, which itself belongs to the
        label only if `touching`.
        """
        side: Literal["left", "right"] = "right" if touching else "left"
        if reach.count is None:
            time += reach.low if touching else reach.high
        elif reach.count:
            held = int(self.grid.searchsorted(self.cast(time), side=side))
            time, side = self._distinct(held - 1 + reach.count), "right"
        return self._position(time, side)

    def first_from(self, time: int | float) -> int:  # noqa: PYI041
        """Return the first row that starts at a time or later."""
        return self._position(time, "left")

    def first_later(self, time: int | float) -> int:  # noqa: PYI041
        """Return the first row that starts later than a time."""
        return self._position(time, "right")

    def before(self, row: int, reach: Reach) -> tuple[Any, Any]:
        """Return the time `reach` before a row's t0, rounded down and up."""
        time = self.t0[row].item()
        if reach.count is None:
            return time - reach.high, time - reach.low
        if reach.count:
            rank = int(self.grid.searchsorted(self.cast(time)))
            time = self._distinct(rank - reach.count)
        return time, time

    def _position(self, time: Any, side: Literal["left", "right"]) -> int:
        integers = self.t0.dtype.kind == "i"
        if time == inf or (integers and time > _INT64.max):
            return self.n_rows
        if time == -inf or (integers and time < _INT64.min):
            return 0
        return int(self.t0.searchsorted(self.cast(time), side=side))

    def cast(self, time: Any) -> Any:
        # A scalar of another dtype would make numpy convert the whole array.
        return self.t0.dtype.type(time)


def _in_time_order(t0: TimeArray) -> tuple[IntArray, TimeArray]:
    """Return what ``argsort`` returns, twice as fast, and the sorted times.

    Times and row numbers are packed into 63 bits and sorted as plain integers. If the
    lowest bits do not fit they are seldom set, and seldom decide.
    """
    low, high = t0.min().item(), t0.max().item()
    if t0.dtype.kind == "i" and high - low <= _INT64.max:
        bits = (len(t0) - 1).bit_length()
        lost = max(0, (high - low).bit_length() + bits - 63)
        keys = t0 - low
        used = int(np.bitwise_or.reduce(keys))
        keys >>= lost
        keys <<= bits
        keys |= np.arange(len(t0))
        keys.sort()
        order = (keys & ((1 << bits) - 1)).astype(np.intp, copy=False)
        if used % (1 << lost) == 0:
            keys >>= bits
            keys <<= lost
            keys += low
            return order, keys
        in_order = t0[order]
        if (in_order[1:] >= in_order[:-1]).all():
            return order, in_order
    order = np.argsort(t0)
    return order, t0[order]


def _running_maximum(t1: TimeArray, chunk: int) -> TimeArray:
    if len(t1) == 0:
        return t1
    ends = np.maximum.reduceat(t1, np.arange(0, len(t1), chunk))
    latest: TimeArray = np.maximum.accumulate(ends)
    return latest


@dataclass(frozen=True, slots=True)
class Purger:
    """The training rows that any test blocks leave on a timeline.

    Attributes
    ----------
    timeline : Timeline
    purge_gap, embargo : Reach
    closed : {"both", "left"}
        Whether labels that only touch overlap.
    unit : {"s", "ms", "us", "ns"} or None
        Unit of the times; None for plain numbers.
    """

    timeline: Timeline
    purge_gap: Reach
    embargo: Reach
    closed: str
    unit: str | None = None
    _afters: dict[tuple[int, int], int] = field(default_factory=dict, repr=False)

    def training(
        self, blocks: Sequence[tuple[int, int]], tested: BoolArray | None = None
    ) -> list[Piece]:
        """Return all rows that are not in a block, purged or embargoed.

        Parameters
        ----------
        blocks : sequence of (start, stop)
            Test blocks in time order, disjoint, cut between distinct t0.
        tested : ndarray of shape (n,), bool
            Which rows of the blocks are tested, at least one of each t0; None for
            all. The others overlap those of their own t0, so that they are purged.
        """
        pieces: list[Piece] = []
        free = 0
        for start, stop in blocks:
            if start < stop:
                pieces.extend(self.ending_before(free, start))
                free = max(free, self._first_after(start, stop, tested))
        if free < self.timeline.n_rows:
            pieces.append((free, self.timeline.n_rows, None))
        return pieces

    def ending_before(self, first: int, start: int) -> list[Piece]:
        """Return the rows of [first, start) that a block at start does not purge."""
        if first >= start:
            return []
        line = self.timeline
        down, up = line.before(start, self.purge_gap)
        if down == -inf or (line.t1.dtype.kind == "i" and down < _INT64.min):
            return []
        near = int(line.latest.searchsorted(line.cast(up))) * line.chunk
        near = min(max(near, first), start)
        t1 = line.t1[near:start]
        keep = t1 < up
        if self.closed == "left":
            keep = (t1 <= down) & (keep | (t1 != line.t0[near:start]))
        if keep.all():
            return [(first, start, None)]
        return [(first, near, None), (near, start, keep)]

    def _first_after(self, start: int, stop: int, tested: BoolArray | None) -> int:
        """Return the first row after a block that it neither purges nor embargoes."""
        if tested is not None:
            rows = tested[start:stop]
            t0, t1 = (
                self.timeline.t0[start:stop][rows],
                self.timeline.t1[start:stop][rows],
            )
            return max(self._reach(t0, t1), stop)
        if (start, stop) not in self._afters:
            t0, t1 = self.timeline.t0[start:stop], self.timeline.t1[start:stop]
            self._afters[start, stop] = max(self._reach(t0, t1), stop)
        return self._afters[start, stop]

    def _reach(self, t0: TimeArray, t1: TimeArray) -> int:
        line = self.timeline
        last = t1.max().item()
        both = self.closed == "both"
        row = line.after(last, self.purge_gap, touching=both)
        if not both and self.purge_gap.positive:
            # A zero-length label is its point, so it still holds its own end.
            points = t1[t0 == t1]
            if len(points):
                point = points.max().item()
                row = max(row, line.after(point, self.purge_gap, touching=True))
        if self.embargo.positive:
            row = max(row, line.after(last, self.embargo, touching=True))
        return row
