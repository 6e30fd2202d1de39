"""Labels a fixed number of bars ahead, and labels on top of a side."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from skatra.labeling._barriers import OPEN, TIME
from skatra.labeling._events import (
    default_events,
    first_labels,
    locate_events,
    sides_at,
    values_at,
)
from skatra.labeling._frame import check_choice, in_blocks, label_frame
from skatra.utils import as_count, as_number, check_bars, column_values, symbol_blocks


def fixed_horizon_labels(
    bars: pd.DataFrame,
    *,
    horizon: int,
    threshold: "pd.Series[float] | float" = 0.0,
    events: pd.Index | None = None,
    side: "pd.Series[int] | int | None" = None,
    open_events: Literal["drop", "mark"] = "drop",
) -> pd.DataFrame:
    """Label each event by its return over a fixed number of bars.

    A position opens at the close of bar t0 and ends at the close of bar
    t0 + horizon.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Column close. Index: DatetimeIndex (one symbol) or MultiIndex (symbol, time),
        times rising within each symbol.
    horizon : int
        Bars from t0 to t1, at least 1.
    threshold : Series or float, default=0.0
        Returns of at most this size, up or down, are labelled 0: one number for all
        events, or a Series indexed like the bars or the events. A fixed number
        labels quiet times 0 and wild times not; a multiple of
        :func:`daily_volatility` does not.
    events : Index or None, default=None
        The bars to label, a subset of ``bars.index`` in any order. None: each bar
        whose threshold is not missing.
    side : Series of -1 and 1, int or None, default=None
        Direction of the position. None: long.
    open_events : {"drop", "mark"}, default="drop"
        What becomes of events with fewer than horizon bars ahead. "drop" leaves them
        out. "mark" keeps them with touched "open", t1 the symbol's last bar, ret NaN
        and label 0: leave them out of training.

    Returns
    -------
    DataFrame of shape (n_events, 5)
        As of :func:`triple_barrier_labels`: index t0 or (symbol, t0), columns t1,
        ret (times side), label (int8: the sign of ret, 0 within the threshold),
        side, touched ("time").

    Raises
    ------
    BarsError
        If bars cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If an event is no bar or repeats, a threshold is missing or negative, a side
        is neither -1 nor 1, or a parameter is out of range.

    See Also
    --------
    triple_barrier_labels : Ends a position when its price has moved far enough.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 3.2,
    which names the weakness: what the price does on its way to t1 is not seen, so a
    label may be 1 where any stop would have ended the position at a loss.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import fixed_horizon_labels
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> bars = pd.DataFrame({"close": [100.0, 101.0, 104.0, 101.0]}, index=days)
    >>> fixed_horizon_labels(bars, horizon=2, threshold=0.01)
                       t1   ret  label  side touched
    t0
    2024-01-01 2024-01-03  0.04      1     1    time
    2024-01-02 2024-01-04  0.00      0     1    time
    """
    horizon = as_count(horizon, "horizon")
    check_choice("open_events", open_events, ("drop", "mark"))
    check_bars(bars, columns=("close",))
    if events is None:
        events = default_events(bars.index, threshold, "threshold")
    rows = locate_events(events, bars.index)
    labelled = bars.index[rows]
    floor = values_at(threshold, labelled, "threshold")
    bad = np.flatnonzero(~((floor >= 0) & (floor < np.inf)))
    if len(bad):
        msg = (
            f"threshold must be finite and not negative at each event; {len(bad)} of "
            f"{len(labelled)} are not, the first: {first_labels(labelled, bad)} "
            f"({floor[bad[0]]}). Label the others: "
            "events=threshold.index[threshold >= 0]."
        )
        raise ValueError(msg)
    sides = sides_at(side, labelled)
    blocks = symbol_blocks(bars.index)
    close = blocks.gather(column_values(bars, "close"))
    start, last = in_blocks(rows, blocks)
    reached = start + horizon <= last
    end = np.where(reached, start + horizon, last)
    ret = np.where(reached, sides * (close[end] / close[start] - 1), np.nan)
    label = np.where(np.abs(ret) > floor, np.sign(ret), 0)
    touched = np.where(reached, TIME, OPEN).astype(np.int8)
    frame = label_frame(bars.index, blocks, rows, end, ret, label, sides, touched)
    return frame if open_events == "mark" else frame[reached]


def meta_labels(labels: pd.DataFrame | Any, *, cost: float = 0.0) -> pd.DataFrame:
    """Say for each position of a primary model whether it paid: 1 or 0.

    A second model that learns these labels decides whether to act on the side that
    the first one gives, and how much to stake.

    Parameters
    ----------
    labels : DataFrame of shape (n_events, n_columns)
        From :func:`triple_barrier_labels` or :func:`fixed_horizon_labels` with
        ``side``; columns ret and side at least.
    cost : float, default=0.0
        What a position costs, as a simple return: it pays when ret > cost.

    Returns
    -------
    DataFrame of shape (n_events, n_columns)
        A copy whose ``label`` is 1 where the position paid, else 0 (int8); ``ret``
        stays before costs.

    Raises
    ------
    ValueError
        If columns are missing, cost is negative, or a return is missing (an open
        event).

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), section 3.6.
    It cannot help a primary model without any edge: there is then nothing that
    tells its good positions from its bad ones.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import fixed_horizon_labels, meta_labels
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> bars = pd.DataFrame({"close": [100.0, 101.0, 104.0, 101.0]}, index=days)
    >>> side = pd.Series([1, 1, -1, 1], index=days)
    >>> meta_labels(fixed_horizon_labels(bars, horizon=1, side=side))["label"].tolist()
    [1, 1, 1]
    """
    missing = [
        column
        for column in ("ret", "side")
        if column not in getattr(labels, "columns", ())
    ]
    if missing:
        msg = (
            f"labels must be a frame of labels, it lacks the columns {missing}. Make "
            "one with triple_barrier_labels(bars, side=...)."
        )
        raise ValueError(msg)
    if not 0 <= as_number(cost, "cost") < np.inf:
        msg = f"cost must be a number in [0, inf), got {cost!r}."
        raise ValueError(msg)
    ret = labels["ret"].to_numpy(dtype=np.float64, na_value=np.nan)
    unknown = np.flatnonzero(np.isnan(ret))
    if len(unknown):
        msg = (
            f"labels must hold the return of each position; {len(unknown)} of "
            f"{len(ret)} have none, the first: {first_labels(labels.index, unknown)}. "
            'Leave open events out: labels[labels["touched"] != "open"].'
        )
        raise ValueError(msg)
    return labels.assign(label=(ret > cost).astype(np.int8))
