"""What a trade history says: win rate, payoffs and how sure they are."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit
from scipy.stats import binom

from skatra.sizing._empirical import kelly_from_returns
from skatra.sizing._kelly import _checked
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, as_finite_column

__all__ = ["TradeStatistics", "calculate_trade_statistics"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStatistics(HTMLRepr):
    """Statistics of closed trades, in the unit of the trades given.

    What the history cannot tell is None, never inf or NaN: an average without
    trades behind it, a ratio with nothing below the line.

    Attributes
    ----------
    n_trades, n_wins, n_losses, n_breakeven : int
        Trades, of which above, below and exactly 0.
    win_rate : float or None
        n_wins / (n_wins + n_losses). Break-evens are counted apart: they change no
        Kelly fraction, which weighs what is won against what is lost.
    win_rate_interval : tuple of (float, float)
        Wilson's score interval of the win rate; (0, 1) without decided trades.
    confidence : float
        Coverage of each interval.
    avg_win, avg_loss : float or None
        Mean of the winners, and of the losers as a positive number.
    avg_win_loss_ratio : float or None
        avg_win / avg_loss, the odds b of :func:`kelly_fraction`.
    full_kelly : float or None
        Share of the capital to put at risk, counted in average losses, for the best
        mean log growth over the trades themselves: avg_loss x
        :func:`kelly_from_returns`. Never more than :func:`kelly_fraction` of win_rate
        and avg_win_loss_ratio, and far less with fat tails. None without winners or
        losers.
    largest_loss : float or None
        The worst trade as a positive number; None without losers.
    expectancy : float or None
        Mean of all trades, break-evens included.
    profit_factor : float or None
        Sum of the winners / sum of the losers; None without losers.
    avg_win_interval, avg_loss_interval, expectancy_interval : tuple or None
        Student's intervals of the means; None with fewer than two trades behind them.
        Fat tails make them too narrow.
    avg_win_loss_ratio_interval : tuple of (float, float) or None
        Of the ratio, by the delta method on its logarithm.
    quantiles : dict of float to float
        Payoff quantiles of all trades at 0.05, 0.25, 0.5, 0.75 and 0.95; empty
        without trades.
    quantile_intervals : dict of float to tuple
        Order statistics around each quantile that cover it whatever the distribution;
        None instead of a bound that so few trades do not have.
    """

    n_trades: int
    n_wins: int
    n_losses: int
    n_breakeven: int
    win_rate: float | None
    win_rate_interval: tuple[float, float]
    confidence: float
    avg_win: float | None
    avg_loss: float | None
    avg_win_loss_ratio: float | None
    full_kelly: float | None
    largest_loss: float | None
    expectancy: float | None
    profit_factor: float | None
    avg_win_interval: tuple[float, float] | None = None
    avg_loss_interval: tuple[float, float] | None = None
    expectancy_interval: tuple[float, float] | None = None
    avg_win_loss_ratio_interval: tuple[float, float] | None = None
    quantiles: dict[float, float] = field(default_factory=dict)
    quantile_intervals: dict[float, tuple[float | None, float | None]] = field(
        default_factory=dict
    )


def calculate_trade_statistics(
    trades: Any, *, column: str | None = None, confidence: float = 0.95
) -> TradeStatistics:
    """Summarise closed trades for position sizing.

    Parameters
    ----------
    trades : array-like of shape (n_trades,), or DataFrame
        Returns or profits, one per trade; or a frame with a column ``ret`` or
        ``pnl``, as ``Database.trades()`` gives. Rows of a frame whose ``closed_at``
        is missing are open trades and do not count. May be empty.
    column : str, default=None
        Column of a frame to read. By default ``ret`` if there is one (returns
        compare across position sizes), else ``pnl``.
    confidence : float in (0, 1), default=0.95
        Coverage of each interval. Intervals take trades to be independent: overlapping
        ones make them too narrow.

    Returns
    -------
    TradeStatistics
        The figures, with confidence intervals.

    Raises
    ------
    ValueError
        If the column is missing, a closed trade has no finite result, or confidence
        is out of range.

    See Also
    --------
    PositionSizer : Turns the statistics into a position size.

    References
    ----------
    Wilson (1927), "Probable Inference, the Law of Succession, and Statistical
    Inference", Journal of the American Statistical Association 22, 209-212.

    Examples
    --------
    >>> from skatra.sizing import calculate_trade_statistics
    >>> stats = calculate_trade_statistics([0.02, 0.04, -0.01, 0.0, -0.02])
    >>> stats.win_rate, stats.n_breakeven
    (0.5, 1)
    >>> round(stats.avg_win_loss_ratio, 6), round(stats.profit_factor, 6)
    (2.0, 2.0)
    """
    below_one = float(np.nextafter(1.0, 0.0))
    _checked(confidence, "confidence", upper=below_one, positive=True)
    results = _results(trades, column)
    wins, losses = results[results > 0], -results[results < 0]
    n_decided = len(wins) + len(losses)
    avg_win, avg_loss = _mean(wins), _mean(losses)
    ratio = full_kelly = None
    if avg_win is not None and avg_loss is not None:
        ratio = avg_win / avg_loss
        full_kelly = kelly_from_returns(results / avg_loss)
    return TradeStatistics(
        n_trades=len(results),
        n_wins=len(wins),
        n_losses=len(losses),
        n_breakeven=len(results) - n_decided,
        win_rate=len(wins) / n_decided if n_decided else None,
        win_rate_interval=_wilson(len(wins), n_decided, confidence),
        confidence=confidence,
        avg_win=avg_win,
        avg_loss=avg_loss,
        avg_win_loss_ratio=ratio,
        full_kelly=full_kelly,
        largest_loss=float(losses.max()) if len(losses) else None,
        expectancy=_mean(results),
        profit_factor=float(wins.sum() / losses.sum()) if len(losses) else None,
        avg_win_interval=_mean_interval(wins, confidence),
        avg_loss_interval=_mean_interval(losses, confidence),
        expectancy_interval=_mean_interval(results, confidence),
        avg_win_loss_ratio_interval=_ratio_interval(wins, losses, confidence),
        quantiles=_quantiles(results),
        quantile_intervals=_quantile_intervals(results, confidence),
    )


def _results(trades: Any, column: str | None) -> FloatArray:
    """Return one finite result per closed trade."""
    if isinstance(trades, pd.DataFrame):
        wanted = ["ret", "pnl"] if column is None else [column]
        found = [name for name in wanted if name in trades.columns]
        if not found:
            msg = (
                f"trades must have a column {' or '.join(map(repr, wanted))}, got "
                f"columns {list(trades.columns)}. Name another one with column=."
            )
            raise ValueError(msg)
        if "closed_at" in trades.columns:
            trades = trades[trades["closed_at"].notna()]
        return as_finite_column(trades[found[0]], f"trades[{found[0]!r}]")
    if column is not None:
        msg = (
            f"column={column!r} needs trades to be a DataFrame, got "
            f"{type(trades).__name__}."
        )
        raise ValueError(msg)
    return as_finite_column(trades, "trades")


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _standard_error(values: FloatArray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _mean_interval(values: FloatArray, confidence: float) -> tuple[float, float] | None:
    """Return Student's interval of a mean."""
    if len(values) < 2:
        return None
    reach = float(stdtrit(len(values) - 1, 0.5 + confidence / 2.0))
    half, mean = reach * _standard_error(values), float(values.mean())
    return mean - half, mean + half


def _ratio_interval(
    wins: FloatArray, losses: FloatArray, confidence: float
) -> tuple[float, float] | None:
    """Return the interval of mean(wins) / mean(losses), symmetric in its logarithm."""
    if min(len(wins), len(losses)) < 2:
        return None
    errors = [_standard_error(x) / float(x.mean()) for x in (wins, losses)]
    reach = float(ndtri(0.5 + confidence / 2.0)) * float(np.hypot(errors[0], errors[1]))
    ratio = float(wins.mean() / losses.mean())
    return ratio * float(np.exp(-reach)), ratio * float(np.exp(reach))


def _quantiles(results: FloatArray) -> dict[float, float]:
    if not len(results):
        return {}
    return {q: float(np.quantile(results, q)) for q in _QUANTILES}


def _quantile_intervals(
    results: FloatArray, confidence: float
) -> dict[float, tuple[float | None, float | None]]:
    """Return order statistics whose ranks are binomial quantiles, either side."""
    ranked, n = np.sort(results), len(results)
    tail = (1.0 - confidence) / 2.0
    intervals: dict[float, tuple[float | None, float | None]] = {}
    for q in _QUANTILES if n else ():
        # P(lower > quantile) = P(B < rank) <= tail, and likewise above.
        low = int(binom.ppf(tail, n, q)) - 1
        high = int(binom.isf(tail, n, q))
        intervals[q] = (
            float(ranked[low]) if low >= 0 else None,
            float(ranked[high]) if high < n else None,
        )
    return intervals


def _wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion."""
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2.0))
    share = successes / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return (
        max(0.0, float((centre - half) / scale)),
        min(1.0, float((centre + half) / scale)),
    )
