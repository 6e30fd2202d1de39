"""How much of a label's life it shares with others."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import LabelTimesError
from skatra.typing import FloatArray, IntArray, LabelTimesLike, TimeArray
from skatra.utils import (
    as_label_intervals,
    common_unit,
    event_times,
    times_to_numbers,
)


def average_uniqueness(
    label_times: LabelTimesLike,
    groups: Any = None,
    *,
    times: pd.Index | None = None,
) -> "pd.Series[float] | FloatArray":
    """Return each label's mean inverse concurrency over its life.

    At a point in time c labels of a symbol are alive; each can claim 1/c of what the
    point tells. A label's uniqueness is the mean of 1/c over the points in its
    interval [t0, t1]: 1 for a label that shares nothing. As a sample weight it keeps
    overlapping labels from counting the same prices many times.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
        A Series with index t0 and values t1, or two columns (t0, t1), in any order.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label; concurrency is counted within a symbol. None: the
        other level of a MultiIndex (symbol, t0), else all labels are one symbol.
    times : Index or None, default=None
        The points to average over, each label's interval holding at least one. Pass
        the bars' index for the average over bars of the book: a DatetimeIndex (the
        same points for all symbols) or a MultiIndex (symbol, time). None: the
        distinct t0 and t1 of the symbol's labels, which are all its bars when every
        bar is an event.

    Returns
    -------
    Series or ndarray of shape (n,), float64
        In (0, 1], in row order; a Series named "uniqueness" with the index of
        label_times if that is a Series.

    Raises
    ------
    LabelTimesError
        If label times are missing or end before they start, groups have another
        length or are missing, or a label's interval holds none of the times.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), sections 4.2
    and 4.3. Cost O(n log n).

    Examples
    --------
    Labels over bars 0-2, 2-3 and 4-5:

    >>> import pandas as pd
    >>> from skatra.sample_weight import average_uniqueness
    >>> label_times = pd.Series([2, 3, 5], index=[0, 2, 4])
    >>> average_uniqueness(label_times, times=pd.RangeIndex(6)).round(3).tolist()
    [0.833, 0.75, 1.0]
    """
    labels = as_label_intervals(label_times)
    n = len(labels)
    index = label_times.index if isinstance(label_times, pd.Series) else None
    codes, names = _group_codes(groups, index, n)
    if times is None:
        t0, t1 = labels.t0, labels.t1
        grid_codes, grid = np.tile(codes, 2), np.concatenate([t0, t1])
    else:
        numbers, unit, zone = times_to_numbers(event_times(times, "times"), "times")
        _check_zone(index, zone)
        both, grid, _ = common_unit(
            (np.concatenate([labels.t0, labels.t1]), labels.unit),
            (numbers, unit),
            ("label_times", "times"),
        )
        t0, t1 = both[:n], both[n:]
        grid_codes, grid = _spread(times, grid, names)
    first, stop, size = _spans(codes, t0, t1, grid_codes, grid)
    empty = np.flatnonzero(first >= stop)
    if len(empty):
        msg = (
            f"times must hold a point in each label's interval [t0, t1]; {len(empty)} "
            f"of {n} labels have none, the first at rows {empty[:3].tolist()}. Pass "
            "the index of the bars that the labels were made from."
        )
        raise LabelTimesError(msg)
    alive = np.cumsum(
        np.bincount(first, minlength=size + 1) - np.bincount(stop, minlength=size + 1)
    )[:size]
    share = np.divide(1.0, alive, out=np.zeros(size), where=alive > 0)
    total = np.concatenate([[0.0], np.cumsum(share)])
    uniqueness: FloatArray = np.minimum(
        (total[stop] - total[first]) / (stop - first), 1.0
    )
    if index is None:
        return uniqueness
    return pd.Series(uniqueness, index=index, name="uniqueness")


def _check_zone(index: pd.Index | None, zone: str | None) -> None:
    """Refuse to compare naive times with times in a time zone."""
    if index is None:
        return
    _, _, own = times_to_numbers(event_times(index), "label_times")
    if (own is None) != (zone is None):
        msg = (
            "label_times and times must both have a time zone or both none, got "
            f"{own or 'none'} and {zone or 'none'}. Localize one with .tz_localize."
        )
        raise LabelTimesError(msg)


def _group_codes(
    groups: Any, index: pd.Index | None, n: int
) -> tuple[NDArray[np.int64], pd.Index]:
    """Return each label's symbol as a number, and the symbols by number."""
    if groups is None and isinstance(index, pd.MultiIndex):
        others = [
            level
            for level in range(index.nlevels)
            if not isinstance(index.levels[level], pd.DatetimeIndex)
        ]
        if len(others) != 1:
            msg = (
                "label_times must have one level beside its datetime level, got the "
                f"levels {list(index.names)}. Pass groups."
            )
            raise LabelTimesError(msg)
        groups = index.get_level_values(others[0])
    if groups is None:
        return np.zeros(n, dtype=np.int64), pd.Index([])
    codes, names = pd.factorize(pd.Index(groups))
    if len(codes) != n:
        msg = f"groups must have one entry per label: {n}, got {len(codes)}."
        raise LabelTimesError(msg)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        msg = (
            f"groups must not be missing; {len(missing)} of {n} are, the first at "
            f"rows {missing[:3].tolist()}."
        )
        raise LabelTimesError(msg)
    return codes.astype(np.int64), pd.Index(names)


def _spread(
    times: pd.Index, grid: TimeArray, names: pd.Index
) -> tuple[NDArray[np.int64], TimeArray]:
    """Say for each point of the grid to which symbol it belongs."""
    if isinstance(times, pd.MultiIndex) and len(names):
        symbols = times.get_level_values(
            int(isinstance(times.levels[0], pd.DatetimeIndex))
        )
        codes = names.get_indexer(symbols).astype(np.int64)
        return codes[codes >= 0], grid[codes >= 0]
    count = max(len(names), 1)
    return np.repeat(np.arange(count), len(grid)), np.concatenate([grid] * count)


def _spans(
    codes: NDArray[np.int64],
    t0: TimeArray,
    t1: TimeArray,
    grid_codes: NDArray[np.int64],
    grid: TimeArray,
) -> tuple[IntArray, IntArray, int]:
    """Locate each label on the distinct points (symbol, time), symbol by symbol."""
    if codes.any() or grid_codes.any():
        moments = _distinct(np.concatenate([grid, t0, t1]))

        def key(of: NDArray[np.int64], values: TimeArray) -> NDArray[np.int64]:
            return of * len(moments) + np.searchsorted(moments, values)

        grid, t0, t1 = key(grid_codes, grid), key(codes, t0), key(codes, t1)
    points = _distinct(grid)
    first = np.searchsorted(points, t0, side="left")
    stop = np.searchsorted(points, t1, side="right")
    return first, stop, len(points)


def _distinct(values: Any) -> Any:
    """Sort and drop repeats (np.unique hashes first, which costs three times more)."""
    ordered = np.sort(values)
    fresh = np.ones(len(ordered), dtype=bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return ordered[fresh]
