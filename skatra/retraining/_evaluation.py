"""What positions earned: per bet, per bar, and how sure that is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skatra.exceptions import EmptyDataError
from skatra.metrics import drawdown
from skatra.sizing import average_active_positions
from skatra.typing import FloatArray

YEAR = pd.Timedelta("365.25D")


def bars_per_year(times: pd.DatetimeIndex) -> float:
    """Return how many bars a year of the calendar has, by the span of some bars.

    Parameters
    ----------
    times : DatetimeIndex of shape (n_bars,)
        Sorted, without duplicates; at least two.

    Returns
    -------
    float
        About 252 for daily bars of an exchange, 365 for those of a market that never
        closes, 8,766 for hourly ones of it.
    """
    return float((len(times) - 1) * (YEAR / (times[-1] - times[0])))


@dataclass(frozen=True, slots=True)
class Backtest:
    """Bar-by-bar growth of a book of positions.

    Attributes
    ----------
    log_growth : Series of shape (n_bars,)
        Log growth of capital earned over the bar ending at the index, after cost.
    exposure : Series of shape (n_bars,)
        Sum over symbols of the absolute position held over that bar.
    turnover : Series of shape (n_bars,)
        Capital traded at the bar's start; the last bar also closes the book.
    longest : int
        Bars that the longest bet is held.
    bars_per_year : float
        Bars in a year of the calendar, from the span of all bars that were given.
    """

    log_growth: "pd.Series[float]"
    exposure: "pd.Series[float]"
    turnover: "pd.Series[float]"
    longest: int
    bars_per_year: float

    @property
    def equity(self) -> "pd.Series[float]":
        """Capital, starting from 1."""
        growth = self.log_growth
        return pd.Series(np.exp(growth.to_numpy().cumsum()), index=growth.index)

    @property
    def drawdown(self) -> "pd.Series[float]":
        """Loss from the running peak, as a share of it (0 at a peak)."""
        return pd.Series(
            drawdown(np.concatenate([[1.0], self.equity]))[1:],
            index=self.log_growth.index,
        )

    def summary(self) -> dict[str, float]:
        """Return the yearly figures of the book."""
        growth, year = self.log_growth.to_numpy(), self.bars_per_year
        return {
            "bars": float(len(growth)),
            "log_growth_per_year": float(growth.mean() * year),
            "volatility_per_year": float(growth.std() * np.sqrt(year)),
            "max_drawdown": float(self.drawdown.max()),
            "mean_exposure": float(self.exposure.mean()),
            "turnover_per_year": float(self.turnover.mean() * year),
        }


def backtest_positions(
    positions: "pd.Series[float]",
    label_times: "pd.Series[Any]",
    bars: pd.DataFrame,
    *,
    cost: float = 0.0,
) -> Backtest:
    """Turn overlapping bets into one book and follow it bar by bar.

    A bet opened at the close of its t0 is held until the close of its t1. Where
    bets of one symbol overlap, the average of their positions is held (AFML
    10.3), and capital is split evenly between symbols, so overlapping labels
    are never counted as independent bets.

    Parameters
    ----------
    positions : Series of shape (n,), index (symbol, t0)
        Signed exposures to the price, as fractions of capital (position x side).
    label_times : Series of shape (n,), same index
        Label end times t1.
    bars : DataFrame, index (symbol, time)
        Must cover every label; the column ``close`` is used. Where a symbol has no
        bar, its last close stands. All of them tell how many bars a year has.
    cost : float, default=0.0
        Cost of turning over one unit of capital.

    Returns
    -------
    Backtest
        From the first t0 to the last t1.

    Raises
    ------
    EmptyDataError
        If the labels span fewer than two bars.
    """
    symbols = positions.index.get_level_values(0)
    close = bars["close"].unstack(level=0)  # noqa: PD010 - one value per cell
    first, last = positions.index.get_level_values(1).min(), label_times.max()
    window = close.loc[first:last, symbols.unique()].sort_index(axis=1)
    if len(window) < 2:
        msg = (
            f"label_times must span at least two bars, got {len(window)} from {first} "
            f"to {last}. Hold out more rows, or load more bars."
        )
        raise EmptyDataError(msg)
    held = (
        average_active_positions(
            positions.to_numpy(), label_times, window.index, groups=symbols
        )
        / window.shape[1]
    )
    returns = window.ffill().pct_change(fill_method=None).shift(-1).iloc[:-1]
    returns = returns.fillna(0.0)
    held = held.iloc[:-1]
    turnover = held.diff().fillna(held).abs().sum(axis=1)
    turnover.iloc[-1:] += held.iloc[-1:].abs().sum(axis=1)
    gain = (held * returns).sum(axis=1) - cost * turnover
    growth = np.log1p(np.maximum(gain, -1.0 + 1e-12))
    ends = window.index[1:]
    return Backtest(
        log_growth=pd.Series(growth.to_numpy(), index=ends, name="log_growth"),
        exposure=pd.Series(held.abs().sum(axis=1).to_numpy(), index=ends),
        turnover=pd.Series(turnover.to_numpy(), index=ends),
        longest=longest_label(label_times, pd.DatetimeIndex(window.index)),
        bars_per_year=bars_per_year(pd.DatetimeIndex(close.index)),
    )


def longest_label(label_times: "pd.Series[Any]", times: pd.DatetimeIndex) -> int:
    """Return how many bars the longest label spans.

    Parameters
    ----------
    label_times : Series of shape (n,), index (symbol, t0)
    times : DatetimeIndex
        Times of bars, sorted.
    """
    start = times.get_indexer(label_times.index.get_level_values(1), "ffill")
    return int(
        np.max(times.get_indexer(pd.DatetimeIndex(label_times), "ffill") - start)
    )


def block_bootstrap_bound(
    values: NDArray[np.float64],
    *,
    block: int,
    confidence: float,
    n_resamples: int = 2000,
    seed: int = 0,
) -> float:
    """Return the one-sided lower confidence bound of a mean of dependent values.

    Circular block bootstrap: blocks of consecutive values are drawn with
    replacement, so that dependence shorter than a block is kept.

    Parameters
    ----------
    values : ndarray of shape (n,)
    block : int
        Length of a block; at least the longest dependence.
    confidence : float
        One-sided confidence, e.g. 0.95.
    n_resamples : int, default=2000
    seed : int, default=0

    Returns
    -------
    float
        The ``1 - confidence`` quantile of the resampled means.

    References
    ----------
    Politis and Romano (1992), "A circular block-resampling procedure for
    stationary data", in Exploring the Limits of Bootstrap, Wiley, pp. 263-270.
    """
    n = len(values)
    block = max(1, min(block, n))
    totals = np.cumsum(np.concatenate([[0.0], values, values[: block - 1]]))
    sums = totals[block:] - totals[:-block]
    draws = np.random.default_rng(seed).integers(0, n, (n_resamples, -(-n // block)))
    means: FloatArray = sums[draws].mean(axis=1) / block
    return float(np.quantile(means, 1.0 - confidence))
