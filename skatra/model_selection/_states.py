"""What each row is in a split: trained on, tested, purged, embargoed or unused."""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skatra.model_selection._spans import Reach, check_span, resolve_span
from skatra.typing import IntArray, Split, TimeArray
from skatra.utils import LabelIntervals

_INT64 = np.iinfo(np.int64)
_NOTHING = Reach(positive=False)


class State(IntEnum):
    """What a row is in a split; a row both trained on and tested counts as tested."""

    TRAIN = 0
    TEST = 1
    PURGED = 2
    EMBARGOED = 3
    UNUSED = 4


class SplitReader:
    """Reads splits: the state of each row and the test rows it overlaps.

    Costs O(n log n) once and O(n) per split, whatever splitter made it, and
    O(n log n) per split with an embargo whose test rows lie scattered.

    Parameters
    ----------
    intervals : LabelIntervals
    closed : {"both", "left"}
        Whether labels that only touch leak.
    cv : object
        Its `closed`, `purge_gap` and `embargo`, where it has them, say what
        dropped a row.
    """

    def __init__(self, intervals: LabelIntervals, closed: str, cv: Any = None) -> None:
        self._times = _TimeGrid(intervals)
        self._leaks = _OverlapCounter(self._times, closed, _NOTHING)
        gap = self._known_span(cv, "purge_gap")
        own = getattr(cv, "closed", closed)
        own = own if own in ("both", "left") else closed
        same = own == closed and not gap.positive
        self._purges = self._leaks if same else _OverlapCounter(self._times, own, gap)
        self._embargo = self._known_span(cv, "embargo")

    def _known_span(self, cv: Any, name: str) -> Reach:
        """Return the splitter's span; nothing if it has none in skatra's forms."""
        value = getattr(cv, name, 0)
        try:
            check_span(value, name)
            return resolve_span(
                value,
                name,
                unit=self._times.intervals.unit,
                n_distinct=len(self._times.distinct),
            )
        except (TypeError, ValueError):
            return _NOTHING

    def read(
        self, train: Any, test: Any
    ) -> tuple[NDArray[np.int8], NDArray[np.int64], int]:
        """Return each row's state and test rows it leaks to, and the training rows."""
        n_rows = len(self._times.intervals)
        trained, tested = _as_mask(train, n_rows), _as_mask(test, n_rows)
        counts = self._leaks.count(tested)
        dropped = ~(trained | tested)
        states = np.zeros(n_rows, dtype=np.int8)
        states[tested] = State.TEST
        if dropped.any():
            purges = (
                counts if self._purges is self._leaks else self._purges.count(tested)
            )
            purged = dropped & (purges > 0)
            states[dropped] = State.UNUSED
            if self._embargo.positive:
                rows = np.flatnonzero(dropped & ~purged)
                kept = self._times.embargoed(tested, self._embargo, rows)
                states[rows[kept]] = State.EMBARGOED
            states[purged] = State.PURGED
        counts *= trained
        return states, counts, int(np.count_nonzero(trained))


class _TimeGrid:
    """Label intervals and the distinct t0 they start at."""

    def __init__(self, intervals: LabelIntervals) -> None:
        self.intervals = intervals
        self.order, self.starts = _sorted(intervals.t0)
        rises = np.flatnonzero(self.starts[1:] > self.starts[:-1]) + 1
        self.firsts = np.concatenate(([0], rises))
        self.distinct = self.starts[self.firsts]

    def after(
        self, times: TimeArray, reach: Reach, side: Literal["left", "right"] = "right"
    ) -> TimeArray:
        """Return the times `reach` after others.

        A count starts from the last distinct t0 up to a time, or before it if `side`
        is "left".
        """
        if not reach.positive:
            return times
        if reach.count is None:
            room = _INT64.max - reach.low
            later: TimeArray = np.minimum(times, room) + reach.low
            return later
        last = np.searchsorted(self.distinct, times, side=side) - 1
        return self._at(last + reach.count)

    def before(self, times: TimeArray, reach: Reach) -> TimeArray:
        """Return the times `reach` before t0s."""
        if not reach.positive:
            return times
        if reach.count is None:
            room = _INT64.min + reach.low
            earlier: TimeArray = np.maximum(times, room) - reach.low
            return earlier
        return self._at(np.searchsorted(self.distinct, times) - reach.count)

    def _at(self, ranks: IntArray) -> TimeArray:
        """Return distinct t0 by rank; beyond them, times beyond all times."""
        ends = (
            (_INT64.min, _INT64.max)
            if self.distinct.dtype.kind == "i"
            else (-np.inf, np.inf)
        )
        times = self.distinct[np.clip(ranks, 0, len(self.distinct) - 1)]
        times = np.where(ranks < 0, ends[0], times)
        return np.where(ranks >= len(self.distinct), ends[1], times)

    def embargoed(
        self, tested: NDArray[np.bool_], reach: Reach, rows: IntArray
    ) -> NDArray[np.bool_]:
        """Tell which rows start in the embargo of a run of test rows."""
        in_time = tested if self.order is None else tested[self.order]
        held = np.logical_or.reduceat(in_time, self.firsts)
        begins = np.flatnonzero(held & ~np.concatenate(([False], held[:-1])))
        if len(begins) == 0:
            return np.zeros(len(rows), dtype=np.bool_)
        ends = (
            self.intervals.t1 if self.order is None else self.intervals.t1[self.order]
        )
        places = np.flatnonzero(in_time)
        cuts = np.searchsorted(places, self.firsts[begins])
        last = np.maximum.reduceat(ends[places], cuts)
        until = np.sort(self.after(last, reach))
        last.sort()
        t0 = self.intervals.t0[rows]
        began = np.searchsorted(last, t0, side="right")
        over = np.searchsorted(until, t0, side="left")
        return began > over


class _OverlapCounter:
    """Counts the test rows that each row overlaps, in O(n) after sorting once.

    With closed intervals, the labels that overlap label i are those that start no
    later than t1_i, less those that end before t0_i.
    """

    def __init__(self, times: _TimeGrid, closed: str, gap: Reach) -> None:
        if gap.low != gap.high:
            # A gap finer than the unit: in half units, ends that fall between two
            # times are whole, and no comparison rounds.
            times = _TimeGrid(_in_half_units(times.intervals))
            gap = Reach(gap.positive, None, gap.low + gap.high, gap.low + gap.high)
        t0, t1 = times.intervals.t0, times.intervals.t1
        low, high = times.before(t0, gap), times.after(t1, gap)
        if closed == "left":
            points = t1 == t0
            # A count already ends at the last t0 that the label reaches.
            open_end = times.after(t1, gap, "left") if gap.count else _just_before(high)
            t1 = np.where(points, t1, _just_before(t1))
            high = np.where(points, high, open_end)
        if low is t0:
            self._by_low, lows = times.order, times.starts
        else:
            self._by_low, lows = _sorted(low)
        self._by_high, highs = _sorted(high)
        self._started = np.searchsorted(lows, t1, side="right")
        self._ended = np.searchsorted(highs, t0, side="left")

    def count(self, tested: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many test rows each row overlaps."""
        counts = _running_count(tested, self._by_low)[self._started]
        counts -= _running_count(tested, self._by_high)[self._ended]
        return counts


def _in_half_units(intervals: LabelIntervals) -> LabelIntervals:
    return LabelIntervals(intervals.t0 * 2, intervals.t1 * 2, intervals.unit)


def _just_before(times: TimeArray) -> TimeArray:
    """Return the last representable times before others."""
    if times.dtype.kind == "i":
        return times - 1
    before: TimeArray = np.nextafter(times, -np.inf)
    return before


def _sorted(times: TimeArray) -> tuple[IntArray | None, TimeArray]:
    if (times[1:] >= times[:-1]).all():
        return None, times
    order = np.argsort(times)
    return order, times[order]


def checked_splits(splits: Iterable[Any], n_rows: int) -> Iterator[Split]:
    """Yield the row positions of each split, or say which split has others."""
    number = -1
    for number, split in enumerate(splits):
        if not isinstance(split, (tuple, list)) or len(split) != 2:
            raise ValueError(
                f"cv must give pairs (train, test) of row positions, got "
                f"{type(split).__name__} for split {number}."
            )
        yield (
            _row_positions(split[0], n_rows, f"training rows of split {number}"),
            _row_positions(split[1], n_rows, f"test rows of split {number}"),
        )
    if number < 0:
        raise ValueError("cv must give at least one split, got none.")


def _row_positions(rows: Any, n_rows: int, what: str) -> IntArray:
    """Return positions from positions, a mask, or several test sets as one."""
    if isinstance(rows, (list, tuple)) and any(np.ndim(part) for part in rows[:1]):
        rows = np.concatenate(rows)
    positions = np.asarray(rows)
    if positions.dtype == np.bool_ and positions.shape == (n_rows,):
        return np.flatnonzero(positions)
    if positions.ndim != 1 or (positions.dtype.kind not in "iu" and len(positions)):
        raise ValueError(
            f"cv must give row positions, one-dimensional and of integers: the {what} "
            f"have dtype {positions.dtype} and shape {positions.shape}. Positions "
            "count rows from 0; labels of an index are none."
        )
    if len(positions) and not 0 <= positions.min() <= positions.max() < n_rows:
        outside = positions[(positions < 0) | (positions >= n_rows)]
        raise ValueError(
            f"cv must give row positions in [0, {n_rows}) for X with {n_rows} rows: "
            f"the {what} hold {len(outside)} others, the first is {outside[0]}. Was cv "
            "made for other rows?"
        )
    return positions.astype(np.intp, copy=False)


def _as_mask(rows: Any, n_rows: int) -> NDArray[np.bool_]:
    mask = np.zeros(n_rows, dtype=np.bool_)
    mask[rows] = True
    return mask


def _running_count(
    mask: NDArray[np.bool_], order: IntArray | None
) -> NDArray[np.int64]:
    counts = np.zeros(len(mask) + 1, dtype=np.int64)
    np.cumsum(mask if order is None else mask[order], out=counts[1:])
    return counts
