"""How far a price usually moves: the unit of barriers."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.exceptions import BarsError
from skatra.utils import as_number, check_bars, column_values, symbol_blocks


def daily_volatility(
    close: "pd.Series[Any] | Any", span: float = 100
) -> "pd.Series[float]":
    """Return the exponentially weighted standard deviation of one-bar log returns.

    The value at a bar is known at that bar's close. On daily bars it is a daily
    volatility; multiply by ``sqrt(h)`` for a barrier meant to last h bars.

    Parameters
    ----------
    close : Series of shape (n_bars,)
        Positive prices. Index: DatetimeIndex (one symbol) or MultiIndex
        (symbol, time), times rising within each symbol.
    span : float, default=100
        Weights fall by the factor 1 - 2 / (span + 1) per bar; at least 1.

    Returns
    -------
    Series of shape (n_bars,), float64
        Named "volatility", indexed like close. The first two bars of each symbol
        are NaN: one return has no deviation.

    Raises
    ------
    BarsError
        If close cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If span is not a finite number of at least 1.

    See Also
    --------
    triple_barrier_labels : Takes the result as ``target``.

    Notes
    -----
    After M. López de Prado, Advances in Financial Machine Learning (2018), snippet
    3.1, with log returns in place of simple ones and bars in place of days.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import daily_volatility
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> daily_volatility(pd.Series([100.0, 101.0, 99.0, 100.0], index=days)).round(4)
    2024-01-01       NaN
    2024-01-02       NaN
    2024-01-03    0.0212
    2024-01-04    0.0173
    Freq: D, Name: volatility, dtype: float64
    """
    span = _as_span(span)
    if not isinstance(close, pd.Series):
        msg = (
            f"close must be a Series of prices, got {type(close).__name__}. Pass "
            'bars["close"].'
        )
        raise BarsError(msg)
    frame = close.to_frame("close")
    check_bars(frame, "close", columns=("close",))
    blocks = symbol_blocks(close.index)
    prices = blocks.gather(column_values(frame, "close"))
    steps = np.diff(np.log(prices), prepend=np.nan)
    steps[blocks.offsets[:-1]] = np.nan
    result = np.empty_like(steps)
    for begin, end in zip(blocks.offsets[:-1], blocks.offsets[1:], strict=True):
        result[begin:end] = pd.Series(steps[begin:end]).ewm(span=span).std()
    return pd.Series(blocks.scatter(result), index=close.index, name="volatility")


def average_true_range(bars: pd.DataFrame, span: float = 100) -> "pd.Series[float]":
    """Return the exponentially weighted mean of the true range, relative to the close.

    The true range of a bar reaches from the lower to the higher of its high, its low
    and the previous close. The value at a bar is known at that bar's close.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Columns high, low and close. Index: DatetimeIndex (one symbol) or MultiIndex
        (symbol, time), times rising within each symbol.
    span : float, default=100
        Weights fall by the factor 1 - 2 / (span + 1) per bar; at least 1.

    Returns
    -------
    Series of shape (n_bars,), float64
        Named "true_range", indexed like bars, as a share of the close: a target for
        barriers that are looked for in highs and lows. The first bar of each symbol
        is NaN: it has no previous close.

    Raises
    ------
    BarsError
        If bars cannot be trusted, see :func:`skatra.utils.check_bars`.
    ValueError
        If span is not a finite number of at least 1.

    See Also
    --------
    daily_volatility : From closes alone.

    Notes
    -----
    J. W. Wilder, New Concepts in Technical Trading Systems (1978), relative to the
    close of each bar. Wilder's smoothing over n bars is a span of 2 n - 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from skatra.labeling import average_true_range
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> bars = pd.DataFrame({"high": [101.0, 104, 104], "low": [99.0, 101, 100],
    ...                      "close": [100.0, 103, 102]}, index=days)
    >>> average_true_range(bars).round(4).tolist()
    [nan, 0.0388, 0.039]
    """
    span = _as_span(span)
    check_bars(bars, columns=("high", "low", "close"))
    blocks = symbol_blocks(bars.index)
    high, low, close = (
        blocks.gather(column_values(bars, column))
        for column in ("high", "low", "close")
    )
    before = np.concatenate([[np.nan], close[:-1]])
    before[blocks.offsets[:-1]] = np.nan
    share = (np.maximum(high, before) - np.minimum(low, before)) / close
    result = np.empty_like(share)
    for begin, end in zip(blocks.offsets[:-1], blocks.offsets[1:], strict=True):
        result[begin:end] = pd.Series(share[begin:end]).ewm(span=span).mean()
    return pd.Series(blocks.scatter(result), index=bars.index, name="true_range")


def _as_span(span: float) -> float:
    """Refuse what is no length of a memory."""
    length = as_number(span, "span")
    if not 1 <= length < np.inf:
        msg = f"span must be a finite number of at least 1, got {span!r}."
        raise ValueError(msg)
    return length
