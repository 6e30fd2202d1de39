"""How many labels live at a time, and how much of its life a label shares."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.sample_weight._places import as_weights, distinct, place_labels, starts_of
from skatra.typing import FloatArray, LabelTimesLike
from skatra.utils import as_label_intervals


def concurrency(
    label_times: LabelTimesLike,
    groups: Any = None,
    *,
    times: pd.Index | None = None,
) -> "pd.Series[int]":
    """Return how many labels are alive at each point in time, symbol by symbol.

    Parameters
    ----------
    label_times : Series, DataFrame or array-like of shape (n,)
        A Series with index t0 and values t1, or two columns (t0, t1), in any order.
    groups : array-like of shape (n,) or None, default=None
        The symbol of each label. None: the other level of a MultiIndex (symbol, t0),
        else all labels are one symbol.
    times : Index or None, default=None
        The points to count at, such as the bars' index: a DatetimeIndex (the same
        points for every symbol) or a MultiIndex (symbol, time). None: the distinct
        t0 and t1 of all labels, for every symbol.

    Returns
    -------
    Series of shape (n_points,), int64
        Named "concurrency", in the order of ``times``. With symbols its index has
        the levels (symbol, time); points of symbols without labels are left out.

    Raises
    ------
    LabelTimesError
        If label times are missing or end before they start, or groups have another
        length or are missing.

    See Also
    --------
    average_uniqueness : The mean inverse over each label's life.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), snippet 4.1.
    Cost O((n + n_points) log n).

    Examples
    --------
    Labels over bars 0-2, 2-3 and 4-5:

    >>> import pandas as pd
    >>> from skatra.sample_weight import concurrency
    >>> label_times = pd.Series([2, 3, 5], index=[0, 2, 4])
    >>> concurrency(label_times, times=pd.RangeIndex(6)).tolist()
    [1, 1, 2, 1, 1, 1]
    """
    if times is None:
        times = _all_moments(label_times)
    places = place_labels(label_times, groups, times)
    begun = np.searchsorted(np.sort(places.start), places.points, side="right")
    over = np.searchsorted(np.sort(places.end), places.points, side="left")
    return pd.Series(
        (begun - over).astype(np.int64), index=places.index, name="concurrency"
    )


def _all_moments(label_times: LabelTimesLike) -> pd.Index:
    """Return the distinct t0 and t1 of all labels."""
    labels = as_label_intervals(label_times)
    moments = distinct(np.concatenate([labels.t0, labels.t1]))
    if labels.unit is None:
        numbers: pd.Index = pd.Index(moments, name="time")
        return numbers
    stamps: pd.Index = pd.DatetimeIndex(moments.view(f"M8[{labels.unit}]"), name="time")
    zone: Any = getattr(starts_of(label_times), "tz", None)
    if zone is None:
        return stamps
    aware: pd.Index = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(zone)
    return aware


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
    first, stop, size = place_labels(label_times, groups, times).lives()
    alive = np.cumsum(
        np.bincount(first, minlength=size + 1) - np.bincount(stop, minlength=size + 1)
    )[:size]
    share = np.divide(1.0, alive, out=np.zeros(size), where=alive > 0)
    total = np.concatenate([[0.0], np.cumsum(share)])
    uniqueness: FloatArray = np.minimum(
        (total[stop] - total[first]) / (stop - first), 1.0
    )
    result: pd.Series[float] | FloatArray = as_weights(
        uniqueness, label_times, "uniqueness"
    )
    return result
