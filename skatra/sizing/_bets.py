"""Bets that are active at the same time."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import LabelTimesError
from skatra.typing import FloatArray, LabelTimesLike, TimeArray
from skatra.utils import (
    as_finite_column,
    as_label_intervals,
    check_same_rows,
    common_unit,
    event_times,
    times_to_numbers,
)

__all__ = ["average_active_positions"]


def average_active_positions(
    positions: Any,
    label_times: LabelTimesLike,
    times: Any,
    groups: Any = None,
) -> Any:
    """Average the positions of the bets active at each time.

    Every prediction is a bet that lives until its label ends, so overlapping labels
    are concurrent bets: adding them up would stake several times what each was
    sized for. A bet opened at the close of t0 is active at t0 <= t < t1.

    Parameters
    ----------
    positions : array-like of float of shape (n,)
        Signed positions, one per bet.
    label_times : Series or array-like of shape (n, 2)
        Life of each bet: index t0, values t1.
    times : array-like or Index of shape (m,)
        Times at which the average is wanted, in any order.
    groups : array-like of shape (n,), default=None
        Instrument of each bet; averages are taken within each.

    Returns
    -------
    Series of shape (m,), or DataFrame of shape (m, n_groups)
        Indexed by ``times``; with groups one column per group, sorted. 0 where no
        bet is active.

    Raises
    ------
    ValueError
        If positions are not finite, rows do not match, or times cannot be compared
        with the label times.

    Notes
    -----
    O((n + m) log n): sorted starts and ends, running sums, binary search.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, section 10.3.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.sizing import average_active_positions
    >>> life = pd.Series([3, 4], index=[0, 2])
    >>> average_active_positions([0.2, 0.4], life, [0, 1, 2, 3, 4]).round(6).to_list()
    [0.2, 0.2, 0.3, 0.4, 0.0]
    """
    check_same_rows(positions=positions, label_times=label_times, groups=groups)
    position = as_finite_column(positions, "positions")
    life = as_label_intervals(label_times)
    index = times if isinstance(times, pd.Index) else pd.Index(times)
    at, unit, tz = times_to_numbers(index, "times")
    zoned = _is_zoned(label_times)
    if zoned is not None and zoned != (tz is not None):
        msg = (
            "times and label_times must both have a time zone or both have none; "
            f"times has {tz or 'none'}. Localize one with .tz_localize."
        )
        raise LabelTimesError(msg)
    names = ("label_times", "times")
    t0, _, _ = common_unit((life.t0, life.unit), (at, unit), names)
    t1, at, _ = common_unit((life.t1, life.unit), (at, unit), names)
    if groups is None:
        return pd.Series(_average(position, t0, t1, at), index=index, name="position")
    codes, keys = pd.factorize(np.asarray(groups, dtype=object), sort=True)
    if np.any(codes < 0):
        first = np.flatnonzero(codes < 0)[:5].tolist()
        msg = f"groups must not be missing; the first missing positions are {first}."
        raise ValueError(msg)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(keys)))
    rows = [order[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=False)]
    table = np.empty((len(at), len(keys)))
    for column, row in enumerate(rows):
        table[:, column] = _average(position[row], t0[row], t1[row], at)
    return pd.DataFrame(table, index=index, columns=pd.Index(keys))


def _is_zoned(label_times: Any) -> bool | None:
    """Return whether t0 has a time zone; None if it holds no datetimes."""
    if isinstance(label_times, pd.Series):
        start: Any = event_times(label_times.index)
    elif isinstance(label_times, pd.DataFrame):
        start = event_times(pd.Index(label_times.iloc[:, 0]))
    else:
        start = pd.Index(np.asarray(label_times)[:, 0])
    return start.tz is not None if isinstance(start, pd.DatetimeIndex) else None


def _average(
    position: FloatArray, t0: TimeArray, t1: TimeArray, at: TimeArray
) -> FloatArray:
    """Return the mean position of the bets with t0 <= at < t1, 0 without any."""
    result = np.zeros(len(at))
    if not len(position):
        return result
    by_start, by_end = np.argsort(t0, kind="stable"), np.argsort(t1, kind="stable")
    opened = np.searchsorted(t0[by_start], at, side="right")
    closed = np.searchsorted(t1[by_end], at, side="right")
    opened_sum = np.concatenate([[0.0], np.cumsum(position[by_start])])[opened]
    closed_sum = np.concatenate([[0.0], np.cumsum(position[by_end])])[closed]
    active = opened - closed
    np.divide(opened_sum - closed_sum, active, out=result, where=active > 0)
    # A difference of running sums may end just outside the range of its terms.
    clipped: FloatArray = np.where(
        active > 0, np.clip(result, position.min(), position.max()), 0.0
    )
    return clipped
