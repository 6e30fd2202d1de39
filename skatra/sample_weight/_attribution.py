"""Weights by what happened during a label, and by its age."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from skatra.exceptions import BarsError, LabelTimesError
from skatra.sample_weight._places import as_weights, place_labels
from skatra.sample_weight._uniqueness import average_uniqueness
from skatra.typing import FloatArray, IntArray, LabelTimesLike, TimeArray
from skatra.utils import (
    as_finite_column,
    as_label_intervals,
    as_number,
    check_bars,
    check_same_rows,
    column_values,
    symbol_blocks,
)


def return_attribution(
    label_times: LabelTimesLike,
    close: "pd.Series[Any] | Any",
    groups: Any = None,
    *,
    closed: Literal["right", "both"] = "right",
) -> "pd.Series[float] | FloatArray":
    """Return sample weights by the absolute return that is a label's own.

    The log return of a bar is shared equally among the labels alive at it; a
    label's weight is the absolute sum of its shares. Labels of quiet times, and
    labels that share their moves with many others, weigh little.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
        A Series with index t0 and values t1, or two columns (t0, t1), in any order;
        all of them times of bars.
    close : Series of shape (n_bars,)
        Positive prices. Index: DatetimeIndex (one symbol) or MultiIndex
        (symbol, time), times rising within each symbol.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label, among those of close. None: the other level of a
        MultiIndex (symbol, t0), else all labels are one symbol.
    closed : {"right", "both"}, default="right"
        Bars of a label's life. "right": those after t0 up to t1, the ones that a
        position opened at the close of t0 lives through; the shares of all labels
        then add up to the returns of all bars alive. "both": t0 as well, as in the
        book, although the return into t0 is known when the label starts.

    Returns
    -------
    Series or ndarray of shape (n,), float64
        Not negative, with mean 1, in row order; a Series named "weight" with the
        index of label_times if that is a Series.

    Raises
    ------
    LabelTimesError
        If label times are missing, end before they start, are no bars, or do not say
        to which of several symbols they belong.
    BarsError
        If close cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If no label has any return of its own.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 4.6.
    It fails as a weight when large returns are noise: it then trains the model on
    the noisiest rows. Compute it on training rows only; it is made of their returns.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.sample_weight import return_attribution
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> close = pd.Series(np.exp([0.0, 0.02, 0.04, 0.03]), index=days)
    >>> label_times = pd.Series(days[[2, 2, 3]], index=days[[0, 1, 2]])
    >>> return_attribution(label_times, close).round(2).tolist()
    [1.8, 0.6, 0.6]
    """
    if closed not in ("right", "both"):
        msg = f"closed must be 'right' or 'both', got {closed!r}."
        raise ValueError(msg)
    if not isinstance(close, pd.Series):
        msg = (
            f"close must be a Series of prices, got {type(close).__name__}. Pass "
            'bars["close"].'
        )
        raise BarsError(msg)
    steps: Any = _log_returns(close)
    places = place_labels(label_times, groups, close.index)
    if places.index is not close.index:
        steps = pd.Series(steps, index=close.index).reindex(places.index).to_numpy()
    elif isinstance(close.index, pd.MultiIndex):
        _check_one_symbol(close.index)
    order = np.argsort(places.points, kind="stable")
    points = places.points[order]
    start = _bars_of(points, places.start, "t0")
    stop = _bars_of(points, places.end, "t1") + 1
    first = start + (closed == "right")
    size = len(points)
    alive = np.cumsum(
        np.bincount(first, minlength=size + 1) - np.bincount(stop, minlength=size + 1)
    )[:size]
    share = np.divide(steps[order], alive, out=np.zeros(size), where=alive > 0)
    total = np.concatenate([[0.0], np.cumsum(share)])
    weight = np.abs(total[stop] - total[first])
    if not weight.any():
        msg = (
            "close must move during at least one label; every label's return is 0, "
            "so that no weights can be made of them. Check that close covers the "
            "labels."
        )
        raise ValueError(msg)
    result: pd.Series[float] | FloatArray = as_weights(
        weight / weight.mean(), label_times, "weight"
    )
    return result


def time_decay(
    label_times: LabelTimesLike,
    uniqueness: Any = None,
    groups: Any = None,
    *,
    oldest: float = 0.5,
) -> "pd.Series[float] | FloatArray":
    """Return sample weights that fall linearly with age.

    Age is counted in unique labels rather than in days: in a time full of
    overlapping labels weights fall no faster than elsewhere.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
        A Series with index t0 and values t1, or two columns (t0, t1), in any order.
    uniqueness : array-like of shape (n,) or None, default=None
        How much each label counts. None: :func:`average_uniqueness`.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label, for the default uniqueness.
    oldest : float in (-1, 1], default=0.5
        The weight towards which the oldest labels fall: 1 for no decay. Below 0,
        the share ``-oldest`` of the history has weight 0.

    Returns
    -------
    Series or ndarray of shape (n,), float64
        In [0, 1], 1 for the newest, equal where t0 is; a Series named "weight" with
        the index of label_times if that is a Series.

    Raises
    ------
    LabelTimesError
        If label times are missing or end before they start.
    ValueError
        If oldest is out of range, or uniqueness does not match or is negative.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 4.7.
    Labels of one t0 (a panel) share one weight, so that the order of symbols does
    not matter. Multiply with other weights.

    Examples
    --------
    >>> from skatra.sample_weight import time_decay
    >>> labels = [(0, 0), (1, 1), (2, 2), (3, 3)]
    >>> time_decay(labels, oldest=0.2).round(3).tolist()
    [0.4, 0.6, 0.8, 1.0]
    >>> time_decay(labels, oldest=-0.5).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    if not -1 < as_number(oldest, "oldest") <= 1:
        msg = f"oldest must be a number in (-1, 1], got {oldest!r}."
        raise ValueError(msg)
    labels = as_label_intervals(label_times)
    if uniqueness is None:
        uniqueness = average_uniqueness(label_times, groups)
    check_same_rows(label_times=label_times, uniqueness=uniqueness)
    counts = as_finite_column(uniqueness, "uniqueness", negative=False)
    order = np.argsort(labels.t0, kind="stable")
    starts = labels.t0[order]
    newest_of_its_time = np.searchsorted(starts, starts, side="right") - 1
    age = np.cumsum(counts[order])[newest_of_its_time]
    span = age[-1] if len(age) else 0.0
    if len(age) and not span > 0:
        msg = "uniqueness must be positive in at least one row."
        raise ValueError(msg)
    slope = (1 - oldest if oldest >= 0 else 1 / (1 + oldest)) / (span or 1.0)
    weight = np.empty(len(age))
    weight[order] = np.maximum(1 - slope * (span - age), 0.0)
    result: pd.Series[float] | FloatArray = as_weights(weight, label_times, "weight")
    return result


def _log_returns(close: "pd.Series[Any]") -> FloatArray:
    """Return one-bar log returns in row order, 0 in each symbol's first bar."""
    frame = close.to_frame("close")
    check_bars(frame, "close", columns=("close",))
    blocks = symbol_blocks(close.index)
    prices = np.log(blocks.gather(column_values(frame, "close")))
    steps = np.diff(prices, prepend=prices[:1])
    steps[blocks.offsets[:-1]] = 0.0
    return np.asarray(blocks.scatter(steps))


def _check_one_symbol(index: pd.MultiIndex) -> None:
    """Refuse bars of several symbols for labels without any."""
    symbols = index.get_level_values(
        int(isinstance(index.levels[0], pd.DatetimeIndex))
    ).unique()
    if len(symbols) > 1:
        msg = (
            f"label_times must say of which symbol each label is: close holds "
            f"{len(symbols)}, such as {symbols[0]!r} and {symbols[1]!r}. Pass groups, "
            "or label_times with the index (symbol, t0)."
        )
        raise LabelTimesError(msg)


def _bars_of(points: TimeArray, times: TimeArray, name: str) -> IntArray:
    """Return the place of each time among the points, all of which must exist."""
    at = np.searchsorted(points, times)
    known = at < len(points)
    known[known] = points[at[known]] == times[known]
    strangers = np.flatnonzero(~known)
    if len(strangers):
        msg = (
            f"label_times must be times of bars of the same symbol; the {name} of "
            f"{len(strangers)} of {len(times)} labels are not in close, the first at "
            f"rows {strangers[:3].tolist()}. Pass the bars that the labels were made "
            "from."
        )
        raise LabelTimesError(msg)
    return at
