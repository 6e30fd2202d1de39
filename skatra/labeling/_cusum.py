"""Events where a price has moved far enough."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import BarsError
from skatra.labeling._events import first_labels
from skatra.typing import FloatArray
from skatra.utils import as_number, check_bars, column_values, symbol_blocks


def cusum_events(
    close: "pd.Series[Any] | Any", threshold: "pd.Series[float] | float"
) -> pd.Index:
    """Return the bars at which a price has run up or down by more than a threshold.

    Two counters add up the one-bar log returns, one kept at 0 or above, one at 0 or
    below. A bar at which one of them passes the threshold is an event, and that
    counter starts again from 0. Labels that start at events rather than at every bar
    overlap less, and start when something happens.

    Parameters
    ----------
    close : Series of shape (n_bars,)
        Positive prices. Index: DatetimeIndex (one symbol) or MultiIndex
        (symbol, time), times rising within each symbol.
    threshold : Series or float
        Log return to pass, positive: one number, or a Series indexed like close such
        as ``daily_volatility(close)``. Bars whose threshold is missing are no
        events; the counters run on.

    Returns
    -------
    Index of shape (n_events,)
        A subset of ``close.index`` in its order, to pass as ``events``. Whether a
        bar is an event is known at its close.

    Raises
    ------
    BarsError
        If close cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If a threshold is not positive, or has another index than close.

    See Also
    --------
    triple_barrier_labels : Labels the events.

    Notes
    -----
    M. López de Prado, Advances in Financial Machine Learning (2018), snippet 2.4,
    with log returns in place of price differences; when both counters have passed,
    the lower one is reset and the upper one fires at the next bar, as there.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.labeling import cusum_events
    >>> days = pd.date_range("2024-01-01", periods=6)
    >>> close = pd.Series([100.0, 101, 102, 103, 102, 100], index=days)
    >>> cusum_events(close, 0.015).strftime("%d").tolist()
    ['03', '06']
    """
    if not isinstance(close, pd.Series):
        msg = (
            f"close must be a Series of prices, got {type(close).__name__}. Pass "
            'bars["close"].'
        )
        raise BarsError(msg)
    frame = close.to_frame("close")
    check_bars(frame, "close", columns=("close",))
    blocks = symbol_blocks(close.index)
    prices = np.log(blocks.gather(column_values(frame, "close")))
    bounds = blocks.gather(_thresholds(threshold, close.index))
    found = np.zeros(len(prices), dtype=bool)
    for begin, end in zip(blocks.offsets[:-1], blocks.offsets[1:], strict=True):
        steps = np.diff(prices[begin:end])
        found[begin + 1 : end] = _passes(steps.tolist(), bounds[begin + 1 : end])
    return close.index[blocks.scatter(found)]


def _passes(steps: list[float], bounds: FloatArray) -> list[bool]:
    """Run the two counters over one symbol's returns."""
    up = down = 0.0
    passed = []
    for step, bound in zip(steps, bounds.tolist(), strict=True):
        up, down = max(0.0, up + step), min(0.0, down + step)
        fires = True
        if down < -bound:
            down = 0.0
        elif up > bound:
            up = 0.0
        else:
            fires = False
        passed.append(fires)
    return passed


def _thresholds(threshold: Any, index: pd.Index) -> FloatArray:
    """Return each bar's threshold, NaN where there is none."""
    if isinstance(threshold, pd.Series):
        if not threshold.index.equals(index):
            msg = (
                "threshold must have the index of close, got another one. Align it "
                "with threshold.reindex(close.index)."
            )
            raise ValueError(msg)
        values = threshold.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        bound = as_number(threshold, "threshold, unless a Series,")
        if np.isnan(bound):
            msg = (
                "threshold must be a positive number or a Series, got nan. Drop "
                "missing values before you average."
            )
            raise ValueError(msg)
        values = np.full(len(index), bound)
    bad = np.flatnonzero(values <= 0)
    if len(bad):
        msg = (
            f"threshold must be positive; {len(bad)} of {len(values)} are not, the "
            f"first: {first_labels(index, bad)} ({values[bad[0]]})."
        )
        raise ValueError(msg)
    return values
