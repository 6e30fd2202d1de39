"""Labels by the most significant trend ahead."""

from typing import Literal

import numpy as np
import pandas as pd

from skatra.labeling._barriers import OPEN, TIME
from skatra.labeling._events import locate_events
from skatra.labeling._frame import check_choice, in_blocks, label_frame
from skatra.typing import FloatArray, IntArray
from skatra.utils import as_count, check_bars, column_values, symbol_blocks


def trend_scanning_labels(
    bars: pd.DataFrame,
    *,
    max_window: int = 20,
    min_window: int = 5,
    events: pd.Index | None = None,
    open_events: Literal["drop", "mark"] = "drop",
) -> pd.DataFrame:
    """Label each event by the sign of the most significant trend that starts there.

    A straight line is fitted to the closes from bar t0 on, over every window of
    min_window to max_window bars; the label is the sign of the slope whose t-value
    is largest in size.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Column close. Index: DatetimeIndex (one symbol) or MultiIndex (symbol, time),
        times rising within each symbol.
    max_window, min_window : int, default=20 and 5
        Longest and shortest window in bars, t0 included; 3 <= min <= max.
    events : Index or None, default=None
        The bars to label, a subset of ``bars.index`` in any order. None: each bar.
    open_events : {"drop", "mark"}, default="drop"
        What becomes of events with fewer than max_window - 1 bars ahead, as in
        :func:`triple_barrier_labels`. A shorter scan would not be the same label.

    Returns
    -------
    DataFrame of shape (n_events, 6)
        As of :func:`triple_barrier_labels`: index t0 or (symbol, t0), columns

        - ``t1``: end of the longest window, whichever window won: the choice has
          looked at all of it, and purging must know;
        - ``ret``: float64, simple return of a long position from t0 to t1. Its sign
          may differ from the label: nobody knows at t0 where the trend will end;
        - ``label``: int8, sign of the largest t-value, 0 if no close moves;
        - ``side``: int8, 1; ``touched``: category, "time" or "open";
        - ``weight``: float64, size of that t-value, a sample weight in the book;
          NaN if open.

    Raises
    ------
    BarsError
        If bars cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If an event is no bar or repeats, or a parameter is out of range.

    Notes
    -----
    M. López de Prado, Machine Learning for Asset Managers (2020), section 5.4. The
    t-value is the largest of many and of correlated residuals: a random walk alone
    gives values far beyond 2. Use it to rank, never as a test.

    The sums start at t0, so a label depends on its own bars and nothing else, to the
    last bit. Residuals below 1e-13 of the closes' own variance count as that much: a
    perfect line has a large t-value, not an infinite one.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import trend_scanning_labels
    >>> days = pd.date_range("2024-01-01", periods=6)
    >>> bars = pd.DataFrame({"close": [10.0, 11.0, 12.1, 13.0, 9.0, 8.0]}, index=days)
    >>> labels = trend_scanning_labels(bars, max_window=4, min_window=3)
    >>> labels[["t1", "label", "weight"]].round({"weight": 2})
                       t1  label  weight
    t0
    2024-01-01 2024-01-04      1   38.17
    2024-01-02 2024-01-05      1   17.32
    2024-01-03 2024-01-06     -1    2.57
    """
    max_window = as_count(max_window, "max_window")
    min_window = as_count(min_window, "min_window")
    if not 3 <= min_window <= max_window:
        msg = (
            "windows must satisfy 3 <= min_window <= max_window (a line through fewer "
            f"bars has no error), got min_window={min_window} and "
            f"max_window={max_window}."
        )
        raise ValueError(msg)
    check_choice("open_events", open_events, ("drop", "mark"))
    check_bars(bars, columns=("close",))
    rows = locate_events(bars.index if events is None else events, bars.index)
    blocks = symbol_blocks(bars.index)
    close = blocks.gather(column_values(bars, "close"))
    start, last = in_blocks(rows, blocks)
    reached = start + max_window - 1 <= last
    end = np.where(reached, start + max_window - 1, last)
    strongest = np.full(len(rows), np.nan)
    strongest[reached] = _strongest(close, start[reached], min_window, max_window)
    ret = np.where(reached, close[end] / close[start] - 1, np.nan)
    touched = np.where(reached, TIME, OPEN).astype(np.int8)
    frame = label_frame(
        bars.index, blocks, rows, end, ret, np.sign(strongest), np.ones(len(rows)),
        touched,
    )  # fmt: skip
    frame["weight"] = np.abs(strongest)
    return frame if open_events == "mark" else frame[reached]


def _strongest(
    close: FloatArray, start: IntArray, shortest: int, longest: int
) -> FloatArray:
    """Return the t-value of largest size over all windows of each event."""
    origin = close[start]
    total, product, square, best = (np.zeros(len(start)) for _ in range(4))
    for step in range(1, longest):
        moved = close[start + step] - origin
        total += moved
        product += step * moved
        square += moved * moved
        n = step + 1
        if n < shortest:
            continue
        spread = n * (n * n - 1) / 12.0  # of the times 0 to n - 1 around their mean
        slope = (product - step / 2.0 * total) / spread
        variation = np.maximum(square - total * total / n, 0.0)
        residual = variation - slope * slope * spread
        residual = np.maximum(residual, 1e-13 * variation)
        error = np.sqrt(residual / ((n - 2) * spread))
        value = np.divide(slope, error, out=np.zeros_like(slope), where=error > 0)
        best = np.where(np.abs(value) > np.abs(best), value, best)
    return best
