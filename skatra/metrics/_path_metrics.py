"""What every backtest path earned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skatra.metrics._drawdown import max_drawdown
from skatra.metrics._path import position_path
from skatra.metrics._record import Convention, TrackRecord
from skatra.metrics._sharpe import probabilistic_sharpe_ratio
from skatra.metrics._trials import trial_table
from skatra.typing import FloatArray, IntArray, LabelTimesLike
from skatra.utils import (
    HTMLRepr,
    LabelIntervals,
    as_finite_column,
    as_label_intervals,
    as_number,
    check_same_rows,
    require_matplotlib,
)

__all__ = ["PathMetrics", "path_metrics"]

_LIVES = 4  # in a period


@dataclass(frozen=True, slots=True, eq=False)
class PathMetrics(HTMLRepr):
    """Growth, Sharpe ratio and drawdown along each backtest path.

    Made by :func:`path_metrics`.

    Attributes
    ----------
    table : DataFrame of shape (n_paths, 5)
        One row per path. Columns: ``growth`` (log growth from first to last, in nats,
        -inf at ruin), ``sharpe_ratio`` (per period), ``probabilistic_sharpe_ratio``,
        ``max_drawdown`` (in [0, 1]) and ``n_periods``. Both ratios are NaN where
        wealth never moves or is lost, and below 2 periods.
    wealth : DataFrame of shape (n_times, n_paths)
        Capital over time, from 1.

    Examples
    --------
    >>> from skatra.metrics import path_metrics
    >>> print(path_metrics([[1.0, 0.0], [1.0, 0.0], [0.5, 0.0]], [0.1, -0.1, 0.2]))
    2 paths: growth from 0 to 0.08526, median 0.04263; Sharpe ratio per period from 0.29
    to 0.29; largest drawdown 10%. Paths share data: their spread is no standard error.
    """

    table: pd.DataFrame
    wealth: pd.DataFrame

    def __str__(self) -> str:
        """Say it in two sentences."""
        growth, ratio = self.table["growth"], self.table["sharpe_ratio"]
        sharpe = (
            f"from {ratio.min():.2g} to {ratio.max():.2g}"
            if ratio.notna().any()
            else "undefined"
        )
        return (
            f"{len(self.table)} paths: growth from {growth.min():.4g} to "
            f"{growth.max():.4g}, median {growth.median():.4g}; Sharpe ratio per "
            f"period {sharpe}; largest drawdown "
            f"{self.table['max_drawdown'].max():.0%}. Paths share data: their spread "
            "is no standard error."
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw wealth along every path and the distribution of the Sharpe ratios.

        Parameters
        ----------
        axes : pair of matplotlib Axes, default=None
            For the lines and the histogram; None makes a figure.

        Returns
        -------
        pair of matplotlib Axes
            Where it was drawn.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed (``skatra[plot]``).
        """
        require_matplotlib()
        from matplotlib.figure import Figure

        if axes is None:
            axes = Figure(figsize=(9, 3.5), layout="constrained").subplots(1, 2)
        left, right = axes
        left.plot(self.wealth.to_numpy(), linewidth=1)
        left.axhline(1, color="black", linewidth=1)
        left.set(xlabel="period", ylabel="wealth", title=f"{len(self.table)} paths")
        right.hist(self.table["sharpe_ratio"].dropna(), bins=20)
        right.axvline(0, color="black", linewidth=1)
        right.set(xlabel="Sharpe ratio per period", ylabel="paths")
        return left, right


def path_metrics(
    positions: Any,
    returns: Any,
    label_times: "LabelTimesLike | None" = None,
    *,
    groups: Any = None,
    aggregate: str = "mean",
    cost: float = 0.0,
    benchmark: float = 0.0,
    convention: Convention = "2012",
) -> PathMetrics:
    """Measure what positions earned along each of several backtest paths.

    Parameters
    ----------
    positions : DataFrame or array-like of shape (n_rows, n_paths)
        Signed fractions of capital, one column per path, such as
        ``cross_val_paths(..., method="decision_function").to_frame()``.
    returns : array-like of shape (n_rows,)
        Simple return of a long unit position over the life of each row.
    label_times : Series or array-like of shape (n_rows, 2), default=None
        Life of each row's position: index t0, values t1 > t0. Rows that overlap form
        one position, see :func:`position_path`, and a period is four times as long
        as the longest life. None: each row is a period of its own, in row order;
        that is right only for rows that do not overlap.
    groups : array-like of shape (n,), default=None
        Instrument of each bet. None takes the other level of a (symbol, t0) index, or
        one instrument.
    aggregate : {"mean", "sum"}, default="mean"
        How concurrent bets of a group form a position: "mean" stakes what one was sized
        for, "sum" all of them. Groups are added up: they share the capital.
    cost : float >= 0, default=0.0
        Paid per unit of capital bought or sold; without ``label_times``, once per
        unit staked.
    benchmark : float, default=0.0
        Sharpe ratio per period that the probabilistic one is to exceed.
    convention : {"2012", "2025"}, default="2012"
        As in :func:`probabilistic_sharpe_ratio`.

    Returns
    -------
    PathMetrics
        With ``table``, ``wealth`` and ``plot``.

    Raises
    ------
    ValueError
        If rows do not match, values are not finite, or an option is out of range.

    See Also
    --------
    position_path : One path, with exposure and turnover.
    probability_of_backtest_overfitting : For trials instead of paths.

    Notes
    -----
    Returns that accrue evenly over overlapping lives are smoothed, and smoothed
    returns show too large a Sharpe ratio: twice the true one, bar by bar, for lives
    of 3 bars. Over periods of four lives 6 % are left. Where bars are at hand, give
    the position held at each bar (:func:`skatra.sizing.average_active_positions`)
    with the return of the next one, and no ``label_times``: that is exact.

    Every path predicts the same rows, from training sets that largely agree, so
    paths are far from independent: their spread shows how much the result hangs on
    the training rows, not how sure it is. The probabilistic Sharpe ratio of each
    path carries its own error. M. López de Prado, Advances in Financial Machine
    Learning (2018), section 12.4.

    Examples
    --------
    >>> from skatra.metrics import path_metrics
    >>> positions = [[1.0, 0.5], [1.0, -0.5], [0.5, 0.5], [0.0, -0.5]]
    >>> found = path_metrics(positions, [0.1, -0.1, 0.2, 0.1])
    >>> found.table.round(3)
          growth  sharpe_ratio  probabilistic_sharpe_ratio  max_drawdown  n_periods
    path
    0      0.085         0.261                       0.664          0.10          4
    1      0.142         0.596                       0.801          0.05          4
    """
    frame = positions if isinstance(positions, pd.DataFrame) else None
    if frame is not None and isinstance(frame.columns, pd.MultiIndex):
        msg = (
            "positions must have one column per path, got columns "
            f"{list(frame.columns.names)}. Make paths of positions, with "
            "cross_val_paths(..., method='decision_function')."
        )
        raise ValueError(msg)
    table = trial_table(positions, "positions", "(n_rows, n_paths)")
    if len(table) != len(returns) == table.shape[1]:
        msg = (
            "positions must be of shape (n_rows, n_paths) with as many rows as returns "
            f"({len(returns)}), got {table.shape}: they are transposed. Pass "
            "positions.T."
        )
        raise ValueError(msg)
    check_same_rows(
        positions=positions, returns=returns, label_times=label_times, groups=groups
    )
    if label_times is None and groups is not None:
        msg = "groups need label_times: rows that are periods of their own have none."
        raise ValueError(msg)
    if not 0.0 <= as_number(cost, "cost") < np.inf:
        msg = f"cost must be a number in [0, inf), got {cost!r}."
        raise ValueError(msg)
    earned = as_finite_column(returns, "returns")
    columns: pd.Index = pd.RangeIndex(table.shape[1], name="path")
    if frame is not None:
        columns = frame.columns.rename("path")
    wealths, periods = [], None
    if label_times is not None:
        periods = _periods(as_label_intervals(label_times))
    for held in table.T:
        if label_times is None:
            factors = np.maximum(1.0 + held * earned - cost * np.abs(held), 0.0)
            wealths.append(pd.Series(np.cumprod(np.append(1.0, factors))))
        else:
            wealths.append(
                position_path(
                    held,
                    earned,
                    label_times,
                    groups=groups,
                    aggregate=aggregate,
                    cost=cost,
                ).wealth
            )
    # The cost of opening at the first time belongs to the first period.
    wealth = pd.concat(wealths, axis=1, keys=columns)
    wealth.iloc[0] = 1.0
    rows = [
        _measure(wealth.iloc[:, path].to_numpy(), periods, benchmark, convention)
        for path in range(wealth.shape[1])
    ]
    return PathMetrics(pd.DataFrame(rows, index=columns), wealth)


def _periods(life: LabelIntervals) -> IntArray:
    """Return which openings and closings end a period, the first of all included."""
    times = np.unique(np.concatenate([life.t0, life.t1]))
    length = _LIVES * np.max(life.t1 - life.t0)
    ends = times[0] + length * np.arange((times[-1] - times[0]) // length + 1)
    places: IntArray = np.searchsorted(times, ends, side="right") - 1
    return places


def _measure(
    wealth: FloatArray,
    periods: IntArray | None,
    benchmark: float,
    convention: Convention,
) -> Any:
    """Return one path's row of the table."""
    sampled = wealth if periods is None else wealth[periods]
    alive = bool(wealth[-1] > 0)
    ratio = luck = np.nan
    # A few roundings are no movement.
    moves = np.diff(np.log(sampled)) if alive else np.zeros(1)
    if alive and len(moves) > 1 and np.ptp(moves) > 1e-14:
        record = TrackRecord.from_returns(np.expm1(moves))
        ratio = record.sharpe_ratio
        luck = probabilistic_sharpe_ratio(record, benchmark, convention=convention)
    return {
        "growth": float(np.log(wealth[-1])) if alive else -np.inf,
        "sharpe_ratio": ratio,
        "probabilistic_sharpe_ratio": luck,
        "max_drawdown": max_drawdown(wealth),
        "n_periods": len(sampled) - 1,
    }
