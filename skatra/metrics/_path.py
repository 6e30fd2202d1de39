"""The path of capital under positions that overlap in time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import LabelTimesError
from skatra.metrics._drawdown import drawdown
from skatra.typing import FloatArray, LabelTimesLike
from skatra.utils import (
    HTMLRepr,
    as_finite_column,
    as_label_intervals,
    check_same_rows,
    holds_times,
)

__all__ = ["PositionPath", "position_path"]

_AGGREGATES = ("mean", "sum")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PositionPath(HTMLRepr):
    """Capital over time, and what it cost.

    Attributes
    ----------
    wealth : Series of shape (n_times,)
        Capital at each time, 1 at first; 0 from ruin on. Indexed by the times at which
        a position opens or closes (UTC datetimes, or numbers).
    exposure : Series of shape (n_times,)
        Sum over groups of the absolute position held from each time on.
    growth : float
        Log growth from first to last, in nats; -inf at ruin.
    growth_per_time : float
        growth / elapsed time, idle times included, per unit of time.
    turnover_per_time : float
        Capital bought and sold per unit of time, as a multiple of wealth.
    cost : float
        Sum of what was paid, each as a share of the wealth then.
    max_drawdown : float
        Largest fall of wealth from a peak, in [0, 1].
    """

    wealth: "pd.Series[Any]"
    exposure: "pd.Series[Any]"
    growth: float
    growth_per_time: float
    turnover_per_time: float
    cost: float
    max_drawdown: float


def position_path(
    positions: Any,
    returns: Any,
    label_times: LabelTimesLike,
    *,
    groups: Any = None,
    aggregate: str = "mean",
    cost: float = 0.0,
    unit: str = "1D",
) -> PositionPath:
    """Follow capital under bets that overlap, by time instead of by row.

    Overlapping labels are concurrent bets on one price: a mean of log growth over rows
    counts the same move several times. Here the bets of a group that live at the same
    time form one position, the return of each accrues evenly over its life
    [t0, t1), and wealth compounds from one opening or closing to the next.

    Parameters
    ----------
    positions : array-like of shape (n,)
        Signed fractions of capital, one per bet.
    returns : array-like of shape (n,)
        Simple return of a long unit position over the whole life of each bet.
    label_times : Series or array-like of shape (n, 2)
        Life of each bet: index t0, values t1 > t0.
    groups : array-like of shape (n,), default=None
        Instrument of each bet. None takes the other level of a (symbol, t0) index,
        or one instrument.
    aggregate : {"mean", "sum"}, default="mean"
        How concurrent bets of a group form a position: "mean" stakes what one was
        sized for, "sum" all of them. Groups are added up: they share the capital.
    cost : float >= 0, default=0.0
        Paid per unit of capital bought or sold, opening and closing included.
    unit : str, default="1D"
        Unit of time for datetimes; numbers count in ones.

    Returns
    -------
    PositionPath
        The book over time, and its figures.

    Raises
    ------
    ValueError
        If rows do not match, values are not finite, a bet has no length, or an option
        is out of range.

    See Also
    --------
    log_growth : The mean over rows.

    Notes
    -----
    O(n log n): sorted starts and ends, running sums.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, section 10.3, on
    averaging active bets; sections 14.3 and 14.5 on turnover and drawdown.

    Examples
    --------
    Two bets on the same two days, of 10 % each, are one bet:

    >>> from skatra.metrics import position_path
    >>> path = position_path([0.5, 0.5], [0.1, 0.1], [[0, 2], [0, 2]], cost=0.001)
    >>> round(float(path.wealth.iloc[-1]), 6), path.turnover_per_time
    (1.04895, 0.5)
    """
    check_same_rows(
        positions=positions, returns=returns, label_times=label_times, groups=groups
    )
    if not 0.0 <= cost < np.inf:
        msg = f"cost must be a number in [0, inf), got {cost!r}."
        raise ValueError(msg)
    if aggregate not in _AGGREGATES:
        msg = f"aggregate must be one of {_AGGREGATES}, got {aggregate!r}."
        raise ValueError(msg)
    position = as_finite_column(positions, "positions")
    profit = position * as_finite_column(returns, "returns")
    life = as_label_intervals(label_times)
    if not len(life):
        msg = "positions must hold at least one row, got none."
        raise ValueError(msg)
    length = (life.t1 - life.t0).astype(np.float64)
    if np.any(length <= 0):
        first = np.flatnonzero(length <= 0)[:5].tolist()
        msg = (
            "label_times must have t1 > t0: a bet without length earns at no time; "
            f"the first such positions are {first}."
        )
        raise LabelTimesError(msg)
    group = _group_codes(label_times, groups, len(position))
    times = np.unique(np.concatenate([life.t0, life.t1]))
    start, end = np.searchsorted(times, life.t0), np.searchsorted(times, life.t1)
    change = np.zeros(len(times))
    turnover, exposure = np.zeros(len(times)), np.zeros(len(times))
    step = np.diff(times).astype(np.float64)
    for code in range(int(group.max()) + 1):
        mine = group == code
        held, rate = (
            _running(values[mine], start[mine], end[mine], len(times))
            for values in (position, profit / length)
        )
        if aggregate == "mean":
            count = _running(np.ones(mine.sum()), start[mine], end[mine], len(times))
            count = np.maximum(np.round(count), 1.0)
            held, rate = held / count, rate / count
        change[1:] += rate[:-1] * step
        turnover += np.abs(np.diff(held, prepend=0.0))
        exposure += np.abs(held)
    # What is paid at a time comes out of the capital that then earns.
    logs = _log(-cost * turnover)
    logs[1:] += _log(change[1:])
    wealth = np.exp(np.cumsum(logs))
    wealth_start = np.append(1.0, wealth)
    index = _index(times, life.unit)
    elapsed = float(times[-1] - times[0])
    if life.unit is not None:
        second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[life.unit]
        elapsed /= second * pd.Timedelta(unit).total_seconds()
    growth = float(logs.sum())
    return PositionPath(
        wealth=pd.Series(wealth, index, name="wealth"),
        exposure=pd.Series(exposure, index, name="exposure"),
        growth=growth,
        growth_per_time=growth / elapsed,
        turnover_per_time=float(turnover.sum()) / elapsed,
        cost=float(cost * turnover.sum()),
        max_drawdown=float(np.max(drawdown(wealth_start))),
    )


def _running(values: FloatArray, start: Any, end: Any, n: int) -> FloatArray:
    """Return the sum of the values alive from each time on; exactly 0 where none is."""
    total = np.cumsum(
        np.bincount(start, values, n) - np.bincount(end, values, n), dtype=np.float64
    )
    alive = np.cumsum(np.bincount(start, minlength=n) - np.bincount(end, minlength=n))
    sums: FloatArray = np.where(alive > 0, total, 0.0)
    return sums


def _log(change: FloatArray) -> FloatArray:
    """Return log(1 + change), -inf at ruin."""
    alive = change > -1.0
    logs: FloatArray = np.where(alive, np.log1p(np.where(alive, change, 0.0)), -np.inf)
    return logs


def _group_codes(label_times: Any, groups: Any, n: int) -> Any:
    """Return one code per bet: of its group, or of the other level of its index."""
    if groups is None and isinstance(label_times, pd.Series):
        index = label_times.index
        if isinstance(index, pd.MultiIndex) and index.nlevels == 2:
            timed = [holds_times(level) for level in index.levels]
            groups = index.get_level_values(timed.index(False))
    if groups is None:
        return np.zeros(n, dtype=np.intp)
    codes, _ = pd.factorize(np.asarray(groups, dtype=object))
    if np.any(codes < 0):
        first = np.flatnonzero(codes < 0)[:5].tolist()
        msg = f"groups must not be missing; the first missing positions are {first}."
        raise ValueError(msg)
    return codes


def _index(times: Any, unit: str | None) -> Any:
    if unit is None:
        return pd.Index(times, name="time")
    return pd.DatetimeIndex(times.view(f"M8[{unit}]"), tz="UTC", name="time")
