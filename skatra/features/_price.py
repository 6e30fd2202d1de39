"""Features of one symbol's own bars, each known at the bar's close."""

import inspect

import numpy as np
import pandas as pd

from skatra.exceptions import EmptyDataError
from skatra.features._windows import lag, ratio, window, window_mean
from skatra.typing import FloatArray
from skatra.utils import (
    BAR_COLUMNS,
    PRICE_COLUMNS,
    check_bars,
    column_values,
    symbol_blocks,
)

LOOK_BACK = 252
_FLOOR = 0.01

PRICE_FEATURES = {
    "return_1": "last bar's log return / volatility_21",
    "return_2": "log return over 2 bars / (volatility_21 sqrt(2))",
    "return_5": "log return over 5 bars / (volatility_21 sqrt(5))",
    "return_10": "log return over 10 bars / (volatility_21 sqrt(10))",
    "return_21": "log return over 21 bars / (volatility_21 sqrt(21))",
    "return_63": "log return over 63 bars / (volatility_63 sqrt(63))",
    "gap": "log(open / previous close) / volatility_21",
    "volatility_21": "root mean square of the last 21 one-bar log returns",
    "volatility_ratio": "volatility_21 / volatility_63 (same over 63 bars)",
    "range_ratio": (
        "Parkinson volatility over 21 bars, sqrt(mean(log(high / low)^2) / (4 log 2))"
        ", / volatility_21"
    ),
    "average_distance": (
        "(log close - its mean over 21 bars) / (volatility_21 sqrt(21))"
    ),
    "close_in_bar": "(close - low) / (high - low), in [0, 1]",
    "close_in_month": (
        "(close - lowest low) / (highest high - lowest low) over 21 bars, in [0, 1]"
    ),
    "drawdown": "log(close / highest high over 252 bars), at most 0",
    "volume_1": "log(volume / mean volume over 63 bars)",
    "volume_5": "log(mean volume over 5 bars / mean volume over 63 bars)",
}
"""Names of the features of :func:`price_features`, in column order, with formulas."""


def price_features(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the "base" features: returns, volatility, ranges and volume.

    A feature of bar t is known at that bar's close: it depends on bars t - 251 to t
    of the same symbol and on nothing else, to the last bit. So features computed
    from the last 252 bars equal those computed from the whole history, and those of
    a panel equal those of its symbols one by one.

    Parameters
    ----------
    bars : DataFrame of shape (n_bars, n_columns)
        Columns open, high, low, close, and volume if there is one. Index:
        DatetimeIndex (one symbol) or MultiIndex (symbol, time), times rising within
        each symbol.

    Returns
    -------
    DataFrame of shape (n_rows, 16), float64
        The rows of bars with the full look-back, in the order of bars: the first
        251 rows of each symbol are dropped, and a symbol of fewer than 252 bars has
        none. No value is missing. The columns:

        FEATURE_TABLE

    Raises
    ------
    BarsError
        If bars cannot be trusted, see :func:`skatra.utils.check_bars`.
    EmptyDataError
        If no symbol has 252 bars.

    Notes
    -----
    Where a denominator is zero (no price moved) the feature is 0; close_in_bar and
    close_in_month are then 0.5. Volumes below 1 % of their 63-bar mean count as 1 %
    of it. Without a volume column, and while the 63-bar mean is zero, the volume
    features are 0.

    The Parkinson volatility is eq. (4) of M. Parkinson, "The Extreme Value Method
    for Estimating the Variance of the Rate of Return", J. Business 53 (1980).

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skatra.features import price_features
    >>> close = 100 * np.exp(0.01 * np.sin(np.arange(300)).cumsum())
    >>> bars = pd.DataFrame(
    ...     {"open": close, "high": 1.01 * close, "low": 0.99 * close},
    ...     index=pd.date_range("2024-01-01", periods=300),
    ... ).assign(close=close)
    >>> features = price_features(bars)
    >>> features.shape
    (49, 16)
    >>> features[["close_in_bar", "volume_1"]].iloc[-1].round(6).tolist()
    [0.5, 0.0]
    """
    has_volume = "volume" in getattr(bars, "columns", ())
    columns = BAR_COLUMNS if has_volume else PRICE_COLUMNS
    check_bars(bars, columns=columns)
    blocks = symbol_blocks(bars.index)
    values = [blocks.gather(column_values(bars, column)) for column in columns]
    volume = values[4] if has_volume else np.zeros(len(bars))
    table = np.column_stack(
        [*_prices(*values[:4]).values(), *_volumes(volume).values()]
    )
    age = np.arange(len(bars)) - np.repeat(blocks.offsets[:-1], np.diff(blocks.offsets))
    keep = blocks.scatter(age >= LOOK_BACK - 1)
    if not keep.any():
        msg = (
            f"bars must hold at least {LOOK_BACK} bars of one symbol, got at most "
            f"{age.max() + 1}. Give a longer history."
        )
        raise EmptyDataError(msg)
    return pd.DataFrame(
        blocks.scatter(table)[keep],
        index=bars.index[keep],
        columns=list(PRICE_FEATURES),
    )


def _prices(
    opening: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray
) -> dict[str, FloatArray]:
    """Compute the features of prices; rows without full look-back hold no meaning."""
    log_close = np.log(close)
    step = log_close - lag(log_close, 1)
    month, quarter = (np.sqrt(window_mean(step * step, width)) for width in (21, 63))
    features = {}
    for bars in (1, 2, 5, 10, 21, 63):
        move = log_close - lag(log_close, bars)
        unit = quarter if bars == 63 else month
        features[f"return_{bars}"] = ratio(move, unit * np.sqrt(bars))
    features["gap"] = ratio(np.log(opening) - lag(log_close, 1), month)
    features["volatility_21"] = month
    features["volatility_ratio"] = ratio(month, quarter)
    spread = np.log(high) - np.log(low)
    parkinson = np.sqrt(window_mean(spread * spread, 21) / (4 * np.log(2)))
    features["range_ratio"] = ratio(parkinson, month)
    distance = log_close - window_mean(log_close, 21)
    features["average_distance"] = ratio(distance, month * np.sqrt(21))
    features["close_in_bar"] = ratio(close - low, high - low, otherwise=0.5)
    top, bottom = window(high, 21, np.maximum), window(low, 21, np.minimum)
    features["close_in_month"] = ratio(close - bottom, top - bottom, otherwise=0.5)
    features["drawdown"] = log_close - np.log(window(high, LOOK_BACK, np.maximum))
    return features


def _volumes(volume: FloatArray) -> dict[str, FloatArray]:
    """Compute the features of volume."""
    usual = window_mean(volume, 63)
    return {
        f"volume_{width}": np.log(
            np.maximum(ratio(window_mean(volume, width), usual, 1.0), _FLOOR)
        )
        for width in (1, 5)
    }


if price_features.__doc__:  # absent under python -OO
    price_features.__doc__ = inspect.cleandoc(price_features.__doc__).replace(
        "FEATURE_TABLE",
        "\n    ".join(f"- ``{name}``: {text}" for name, text in PRICE_FEATURES.items()),
    )
