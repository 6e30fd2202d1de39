"""How deep and how long capital stands below its peak."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, as_finite_column

__all__ = [
    "DrawdownStatistics",
    "drawdown",
    "drawdown_statistics",
    "drawdowns",
    "max_drawdown",
]


def drawdown(equity: Any) -> Any:
    """Return how far capital stands below its highest value so far.

    Parameters
    ----------
    equity : array-like of shape (n,)
        Capital over time, not negative, starting above 0.

    Returns
    -------
    ndarray or Series of shape (n,)
        1 - equity / running maximum, in [0, 1]; a Series keeps its index.

    Raises
    ------
    ValueError
        If equity is empty, not finite, negative, or starts at 0.

    See Also
    --------
    max_drawdown : The largest of them.

    Examples
    --------
    >>> from skatra.metrics import drawdown
    >>> drawdown([1.0, 2.0, 1.5, 3.0])
    array([0.  , 0.  , 0.25, 0.  ])
    """
    wealth = as_finite_column(equity, "equity", negative=False)
    if not len(wealth) or wealth[0] == 0:
        msg = "equity must start above 0, got " + (
            "0." if len(wealth) else "no values."
        )
        raise ValueError(msg)
    depth: FloatArray = 1.0 - wealth / np.maximum.accumulate(wealth)
    if isinstance(equity, pd.Series):
        return pd.Series(depth, index=equity.index, name="drawdown")
    return depth


def max_drawdown(equity: Any) -> float:
    """Return the largest drawdown of capital.

    Parameters
    ----------
    equity : array-like of shape (n,)
        Capital over time, not negative, starting above 0.

    Returns
    -------
    float
        In [0, 1]; 1 is ruin.

    Raises
    ------
    ValueError
        As :func:`drawdown`.

    Examples
    --------
    >>> from skatra.metrics import max_drawdown
    >>> max_drawdown([1.0, 2.0, 1.5, 3.0])
    0.25
    """
    return float(np.max(drawdown(equity)))


@dataclass(frozen=True, slots=True)
class DrawdownStatistics(HTMLRepr):
    """Depth and duration of an equity curve's drawdowns.

    Made by :func:`drawdown_statistics`.

    Attributes
    ----------
    max_drawdown : float
        Largest loss from a peak, as a share of it.
    current_drawdown : float
        At the last observation; 0 at a peak.
    mean_drawdown : float
        Mean over all observations, those at a peak counted as 0.
    ulcer_index : float
        Root mean square over all observations: deep ones weigh more.
    n_drawdowns : int
        Number of times under water.
    max_duration : int
        Longest time from a peak back to its level, in observations; of a drawdown
        that has not ended, up to the last observation.
    time_under_water : float
        Share of observations below the peak.

    Examples
    --------
    >>> from skatra.metrics import drawdown_statistics
    >>> drawdown_statistics([1.0, 2.0, 1.5, 1.0, 2.0, 1.9]).max_duration
    3
    """

    max_drawdown: float
    current_drawdown: float
    mean_drawdown: float
    ulcer_index: float
    n_drawdowns: int
    max_duration: int
    time_under_water: float


def drawdown_statistics(equity: Any) -> DrawdownStatistics:
    """Measure the drawdowns of an equity curve.

    Parameters
    ----------
    equity : array-like of shape (n,)
        Capital over time, not negative, starting above 0.

    Returns
    -------
    DrawdownStatistics
        The figures by name.

    Raises
    ------
    ValueError
        If equity is empty, not finite, negative, or starts at 0.

    See Also
    --------
    drawdowns : Each of them, with its times.

    Notes
    -----
    The ulcer index is P. Martin and B. McCann, The Investor's Guide to Fidelity
    Funds (1989). A maximum grows with the length of the record and with its sampling
    frequency: compare curves of equal length only. Between observations capital may
    have stood lower.

    Examples
    --------
    >>> from skatra.metrics import drawdown_statistics
    >>> found = drawdown_statistics([1.0, 2.0, 1.5, 1.0, 2.0, 1.9])
    >>> found.max_drawdown, found.n_drawdowns, found.time_under_water
    (0.5, 2, 0.5)
    """
    depth = np.asarray(drawdown(equity))
    begins, _, ends = _spans(depth)
    return DrawdownStatistics(
        max_drawdown=float(depth.max()),
        current_drawdown=float(depth[-1]),
        mean_drawdown=float(depth.mean()),
        ulcer_index=float(np.sqrt(np.mean(depth**2))),
        n_drawdowns=len(begins),
        max_duration=int(np.max(ends - begins, initial=0)),
        time_under_water=float(np.mean(depth > 0)),
    )


def drawdowns(equity: Any) -> pd.DataFrame:
    """List every drawdown of an equity curve.

    Parameters
    ----------
    equity : array-like of shape (n,)
        Capital over time, not negative, starting above 0.

    Returns
    -------
    DataFrame of shape (n_drawdowns, 5)
        In order of time. Columns: ``peak`` (the last observation at the peak),
        ``bottom`` (the first of the deepest), ``end`` (the first back at the peak's
        level, or the last of all), as index labels of a Series and as positions
        otherwise; ``depth`` (float64, share of the peak) and ``recovered`` (bool).

    Raises
    ------
    ValueError
        If equity is empty, not finite, negative, or starts at 0.

    Examples
    --------
    >>> from skatra.metrics import drawdowns
    >>> drawdowns([1.0, 2.0, 1.5, 1.0, 2.0, 1.9])
       peak  bottom  end  depth  recovered
    0     1       3    4   0.50       True
    1     4       5    5   0.05      False
    """
    depth = np.asarray(drawdown(equity))
    begins, bottoms, ends = _spans(depth)
    index = equity.index if isinstance(equity, pd.Series) else pd.RangeIndex(len(depth))
    return pd.DataFrame(
        {
            "peak": index[begins],
            "bottom": index[bottoms],
            "end": index[ends],
            "depth": depth[bottoms],
            "recovered": depth[ends] == 0,
        }
    )


def _spans(depth: FloatArray) -> tuple[Any, Any, Any]:
    """Return the positions of peak, bottom and end of each drawdown."""
    edges = np.diff(np.concatenate([[False], depth > 0, [False]]).astype(np.int8))
    first, stop = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    bottoms = [
        begin + int(depth[begin:end].argmax())
        for begin, end in zip(first, stop, strict=True)
    ]
    ends = np.minimum(stop, len(depth) - 1)
    return first - 1, np.array(bottoms, dtype=np.intp), ends
