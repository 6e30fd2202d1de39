"""Log-optimal portfolios with a certificate of how far from optimal they are."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from skatra.sizing._interior_point import FAILED, maximise_growth, newton_growth
from skatra.sizing._kelly import _checked
from skatra.typing import FloatArray
from skatra.utils import HTMLRepr, as_finite_column, check_same_rows

__all__ = ["KellyPortfolio", "kelly_portfolio"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KellyPortfolio(HTMLRepr):
    """A portfolio that maximises the mean log growth, and its certificate.

    Attributes
    ----------
    weights : ndarray or Series of shape (n_assets,)
        Share of the capital in each asset; negative is short.
    cash : float
        1 - sum of weights; negative is borrowed.
    growth : float
        Mean log growth over the scenarios, in nats per period.
    gap : float
        The growth of no admissible portfolio exceeds ``growth + gap``: a bound that
        is computed from the weights alone and needs no trust in how they were found.
    drawdown_bound : float or None
        E[(wealth factor)^-lambda] where a drawdown was bounded: at most 1.
    n_iterations : int
        Newton steps taken.
    """

    weights: Any
    cash: float
    growth: float
    gap: float
    drawdown_bound: float | None
    n_iterations: int


def kelly_portfolio(
    returns: Any,
    weights: Any = None,
    *,
    long_only: bool = True,
    max_leverage: float | None = 1.0,
    cash_return: float = 0.0,
    drawdown: tuple[float, float] | None = None,
) -> KellyPortfolio:
    """Return the portfolio that maximises E[log(1 + r'w)] over scenarios.

    Exact in the scenarios, tails and dependence included; covariances are not
    needed. Cash is always among the assets.

    Parameters
    ----------
    returns : array-like of shape (n_scenarios, n_assets)
        Simple returns per period.
    weights : array-like of shape (n_scenarios,), default=None
        Non-negative weights or probabilities of the scenarios; any positive sum.
    long_only : bool, default=True
        Whether weights must not be negative.
    max_leverage : float > 0 or None, default=1.0
        Largest sum of absolute weights. None, with ``long_only=False``, leaves only
        ruin as the limit.
    cash_return : float > -1, default=0.0
        Return of cash per period, for lending and borrowing alike.
    drawdown : tuple of (alpha, beta), default=None
        Risk-constrained Kelly: P(wealth ever falls below alpha times its start) is at
        most beta, at any horizon, if the scenarios are drawn independently. Needs
        max_leverage.

    Returns
    -------
    KellyPortfolio
        Weights, growth and a bound on what they miss.

    Raises
    ------
    ValueError
        If an input is out of range, a combination is refused above, or nothing bounds
        the stakes (a free portfolio that loses in no scenario).

    See Also
    --------
    kelly_from_returns : One asset, exact and faster.

    Notes
    -----
    Primal-dual interior point. By Jensen's inequality, for any admissible v,
    g(v) - g(w) <= log E[(1 + r'v) / (1 + r'w)], whose maximum over v is at a corner:
    that is ``gap``. Without a limit of leverage the bound is that of a self-concordant
    function at its Newton decrement. The drawdown constraint E[(1 + r'w)^-lambda] <= 1,
    lambda = ln beta / ln alpha, is met by its multiplier, a root in one dimension; its
    Lagrangian gives the gap.

    References
    ----------
    Breiman (1961). Cover (1984), "An Algorithm for Maximizing Expected Log Investment
    Return", IEEE Transactions on Information Theory 30, 369-373, for the certificate.
    Busseti, Ryu and Boyd (2016), "Risk-Constrained Kelly Gambling", equation 10.

    Examples
    --------
    Two independent coins at 0.6 and even money, on which each unit is won or lost:

    >>> from skatra.sizing import kelly_portfolio
    >>> outcomes = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    >>> best = kelly_portfolio(outcomes, [0.36, 0.24, 0.24, 0.16])
    >>> best.weights.round(6), round(best.cash, 6), best.gap < 1e-10
    (array([0.192308, 0.192308]), 0.615385, True)
    """
    names = returns.columns if isinstance(returns, pd.DataFrame) else None
    check_same_rows(returns=returns, weights=weights)
    table, share = _scenarios(returns, weights)
    rate = float(_checked(cash_return, "cash_return", lower=-np.inf))
    if rate <= -1.0:
        msg = f"cash_return must be in (-1, inf), got {rate:g}."
        raise ValueError(msg)
    excess = (table - rate) / (1.0 + rate)
    if max_leverage is None:
        if long_only or drawdown is not None:
            msg = (
                "max_leverage must be a number unless long_only=False and drawdown is "
                f"None, got None with long_only={long_only} and drawdown={drawdown}."
            )
            raise ValueError(msg)
        found = newton_growth(excess, share)
    else:
        limit = float(_checked(max_leverage, "max_leverage", positive=True))
        found = _limited(excess, share, limit, drawdown, long_only=long_only)
    solution, gap, steps = found
    if gap == FAILED:
        msg = (
            "no portfolio is optimal: some combination of the returns loses in no "
            "scenario, so nothing bounds its stake. Set max_leverage."
        )
        raise ValueError(msg)
    factor = 1.0 + excess @ solution
    bound = None
    if drawdown is not None:
        bound = float(share @ factor ** -_risk_aversion(drawdown))
    return KellyPortfolio(
        weights=solution if names is None else pd.Series(solution, names, name="kelly"),
        cash=1.0 - float(solution.sum()),
        growth=float(share @ np.log(factor)) + math.log1p(rate),
        gap=gap,
        drawdown_bound=bound,
        n_iterations=steps,
    )


def _limited(
    excess: FloatArray,
    share: FloatArray,
    limit: float,
    drawdown: tuple[float, float] | None,
    *,
    long_only: bool,
) -> tuple[FloatArray, float, int]:
    """Return weights, gap and steps under a limit of leverage."""
    n = excess.shape[1]
    # Shares of the limit, so that the admissible set is the unit simplex.
    legs = limit * (excess if long_only else np.hstack([excess, -excess]))
    if drawdown is None:
        found = maximise_growth(legs, share)
    else:
        found = _risk_constrained(legs, share, _risk_aversion(drawdown))
    solution = found.stakes if long_only else found.stakes[:n] - found.stakes[n:]
    return limit * solution, found.gap, found.n_iterations


def _risk_constrained(legs: FloatArray, share: FloatArray, aversion: float) -> Any:
    """Return the optimum under E[z^-aversion] <= 1, by the root of its multiplier."""
    found = maximise_growth(legs, share)
    steps = found.n_iterations

    def excess_risk(stakes: FloatArray) -> float:
        with np.errstate(over="ignore"):
            return float(share @ (1.0 + legs @ stakes) ** -aversion) - 1.0

    if excess_risk(found.stakes) <= 0:
        return found

    def solved(log_price: float) -> Any:
        nonlocal steps
        result = maximise_growth(legs, share, math.exp(log_price), aversion)
        steps += result.n_iterations
        return result

    low, high = -8.0, 0.0
    while excess_risk(solved(high).stakes) > 0 and high < 20.0:
        low, high = high, high + 4.0
    root = _root(lambda t: excess_risk(solved(t).stakes), low, high)
    found, price = solved(root), math.exp(root)
    # The constraint is convex along the ray to cash, where it is met with equality.
    shrink = 1.0
    while excess_risk(shrink * found.stakes) > 0:
        shrink = max(1.0 - max(2.0 * (1.0 - shrink), 1e-15), 0.0)
    final = shrink * found.stakes
    growth = [float(share @ np.log1p(legs @ x)) for x in (found.stakes, final)]
    # g(v) <= g(v) - price x risk(v) <= its value at the optimum + gap, where risk <= 0.
    slack = growth[0] - growth[1] - price * excess_risk(found.stakes)
    gap = found.gap + max(slack, 0.0)
    return replace(found, stakes=final, gap=gap, n_iterations=steps)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the root in [low, high] of a falling function, or the end nearer to it."""
    if function(low) <= 0:
        return low
    if function(high) > 0:
        return high
    return float(brentq(function, low, high, xtol=1e-14, rtol=1e-14))


def _risk_aversion(drawdown: tuple[float, float]) -> float:
    """Return lambda = ln beta / ln alpha."""
    try:
        alpha, beta = (float(value) for value in drawdown)
    except (TypeError, ValueError) as error:
        msg = f"drawdown must be a pair (alpha, beta), got {drawdown!r}."
        raise ValueError(msg) from error
    if not (0.0 < alpha < 1.0 and 0.0 < beta < 1.0):
        msg = f"drawdown must hold alpha and beta in (0, 1), got {drawdown!r}."
        raise ValueError(msg)
    return math.log(beta) / math.log(alpha)


def _scenarios(returns: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
    """Return finite scenarios and weights that sum to one, those of 0 dropped."""
    try:
        table: FloatArray = np.asarray(returns, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"returns must hold numbers, got {type(returns).__name__}: {error}."
        raise ValueError(msg) from error
    if table.ndim != 2 or 0 in table.shape:
        msg = (
            "returns must be of shape (n_scenarios, n_assets) and not empty, got "
            f"{table.shape}."
        )
        raise ValueError(msg)
    if not np.all(np.isfinite(table)):
        row, column = np.argwhere(~np.isfinite(table))[0]
        msg = (
            f"returns must be finite, got {table[row, column]:g} in row {row}, column "
            f"{column}. Drop the row, or the asset that lacks it."
        )
        raise ValueError(msg)
    if weights is None:
        return table, np.full(len(table), 1.0 / len(table))
    share = as_finite_column(weights, "weights", negative=False)
    if not share.sum() > 0:
        msg = "weights must not be zero in every scenario."
        raise ValueError(msg)
    held = share > 0
    return table[held], share[held] / share.sum()
