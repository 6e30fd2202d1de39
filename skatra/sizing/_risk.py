"""Kelly under a bound of drawdown, and under doubt about the distribution."""

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from skatra.sizing._empirical import _one_series, kelly_from_returns
from skatra.sizing._kelly import _checked
from skatra.typing import FloatArray

__all__ = ["kelly_robust", "risk_constrained_kelly"]

_EPS = float(np.finfo(np.float64).eps)
_MAX_STEPS = 200
# Divergences below this are rounding: the fraction is full Kelly to 1e-8.
_NO_DOUBT = 1e-18


def risk_constrained_kelly(
    returns: Any,
    alpha: float,
    beta: float,
    weights: Any = None,
    *,
    cost: float = 0.0,
    allow_short: bool = False,
) -> float:
    """Return the fraction of best growth whose drawdown risk is bounded.

    Maximises E[log(1 + f r)] under E[(1 + f r)^-lambda] <= 1 with lambda =
    ln beta / ln alpha. Then P(wealth ever falls below alpha times its start) <= beta,
    at any horizon, if returns are drawn independently.

    Parameters
    ----------
    returns : array-like of shape (n,)
        Simple returns per unit invested.
    alpha : float in (0, 1)
        Wealth not to fall below, as a share of the start.
    beta : float in (0, 1)
        Probability of ever doing so that is accepted.
    weights : array-like of shape (n,), default=None
        Non-negative weights or probabilities.
    cost : float >= 0, default=0.0
        Paid per unit invested, on either side.
    allow_short : bool, default=False
        Whether a losing series is shorted.

    Returns
    -------
    float
        Multiple of the capital; full Kelly where that meets the bound already.

    Raises
    ------
    ValueError
        If alpha or beta is out of range, or as :func:`kelly_from_returns`.

    Warns
    -----
    UserWarning
        As :func:`kelly_from_returns`.

    See Also
    --------
    kelly_multiplier_for_drawdown : The rule of continuous time, without tails.
    kelly_portfolio : Takes the same bound for many assets.

    Notes
    -----
    log E[(1 + f r)^-lambda] is convex in f, 0 at f = 0 and falling there. From full
    Kelly, Newton's steps come down to its other root without passing it.

    References
    ----------
    Busseti, Ryu and Boyd (2016), "Risk-Constrained Kelly Gambling", Journal of
    Investing 25(3), equation 8.

    Examples
    --------
    >>> from skatra.sizing import risk_constrained_kelly
    >>> round(risk_constrained_kelly([1.0, -1.0], 0.7, 0.1, [0.6, 0.4]), 6)
    0.054257
    """
    below_one = float(np.nextafter(1.0, 0.0))
    alpha = float(_checked(alpha, "alpha", upper=below_one, positive=True))
    beta = float(_checked(beta, "beta", upper=below_one, positive=True))
    aversion = math.log(beta) / math.log(alpha)
    column, share = _one_series(returns, weights)
    full = kelly_from_returns(column, share, cost=cost, allow_short=allow_short)
    if full == 0.0:
        return 0.0
    net = math.copysign(1.0, full) * column - cost
    fraction = abs(full)
    for _ in range(_MAX_STEPS):
        ratio = net / (1.0 + fraction * net)
        power = -aversion * np.log1p(fraction * net)
        top = power.max()
        tilted = share * np.exp(power - top)
        mass = float(tilted.sum())
        risk = float(top) + math.log(mass)
        if risk <= 0.0:
            break
        step = risk * mass / (-aversion * float(tilted @ ratio))
        # Within rounding the constraint is met: step down once more and stop.
        small = step <= 4 * _EPS * fraction
        fraction -= max(step, 2 * _EPS * fraction)
        if small:
            break
    return math.copysign(fraction, full)


def kelly_robust(
    returns: Any,
    radius: float,
    weights: Any = None,
    *,
    cost: float = 0.0,
    allow_short: bool = False,
) -> float:
    """Return the fraction of best growth under the worst distribution nearby.

    Maximises the least E_Q[log(1 + f r)] over all Q on the returns seen with
    KL(Q || P) <= radius, where P is their weighted distribution. A correction for
    estimation error in its own right: do not shrink its result again.

    Parameters
    ----------
    returns : array-like of shape (n,)
        Simple returns per unit invested.
    radius : float >= 0
        In nats; 0 is full Kelly. For n independent returns, a chi-square quantile
        over 2 n covers the true distribution of that probability.
    weights : array-like of shape (n,), default=None
        Non-negative weights or probabilities.
    cost : float >= 0, default=0.0
        Paid per unit invested, on either side.
    allow_short : bool, default=False
        Whether a losing series is shorted.

    Returns
    -------
    float
        Multiple of the capital; 0 where some distribution nearby has no edge.

    Raises
    ------
    ValueError
        If radius is negative, or as :func:`kelly_from_returns`.

    Warns
    -----
    UserWarning
        As :func:`kelly_from_returns`.

    Notes
    -----
    The worst Q tilts P by (1 + f r)^-s. Its slope E_Q[r / (1 + f r)] falls with f
    (the worst case of concave functions is concave): one root outside for f, one
    inside for s, whose divergence rises with s.

    References
    ----------
    Sun and Boyd (2018), "Distributional Robust Kelly Gambling", arXiv:1812.10371,
    section on divergence balls. With E[z^-lambda] of Busseti, Ryu and Boyd the
    penalty is the same at lambda = 1 / t.

    Examples
    --------
    >>> from skatra.sizing import kelly_robust
    >>> round(kelly_robust([1.0, -1.0], 0.001, [0.6, 0.4]), 6)
    0.156056
    """
    radius = float(_checked(radius, "radius"))
    column, share = _one_series(returns, weights)
    full = float(kelly_from_returns(column, share, cost=cost, allow_short=allow_short))
    if full == 0.0 or radius <= _NO_DOUBT:
        return full
    net = math.copysign(1.0, full) * column - cost

    def slope(fraction: float) -> float:
        worst = _worst_case(np.log1p(fraction * net), share, radius)
        return float(worst @ (net / (1.0 + fraction * net)))

    # At f = 0 all returns tilt alike: the limit tilts by the return itself.
    if float(_worst_case(net, share, radius) @ net) <= 0.0:
        return 0.0
    low, high = 1e-9 * abs(full), abs(full)
    if slope(low) <= 0.0:
        return 0.0
    fraction = brentq(slope, low, high, xtol=1e-15 * high, rtol=4 * _EPS)
    return math.copysign(float(fraction), full)


def _worst_case(value: FloatArray, share: FloatArray, radius: float) -> FloatArray:
    """Return the distribution within the radius that makes E[value] least."""
    depth = value - value.min()
    lowest = depth == 0.0
    if radius >= -math.log(float(share[lowest].sum())):
        corner: FloatArray = np.where(lowest, share, 0.0) / share[lowest].sum()
        return corner
    centred = value - share @ value

    def tilt(log_strength: float) -> tuple[FloatArray, float]:
        power = -math.exp(log_strength) * centred
        if power.max() > 1.0:
            logs = np.log(share) + power
            total = float(logsumexp(logs))
            worst: FloatArray = np.exp(logs - total)
            return worst, float(worst @ power) - total
        # What a small tilt changes, so that nothing large cancels.
        change = share * np.expm1(power)
        extra = float(change.sum())
        divergence = float(change @ power) / (1.0 + extra) - math.log1p(extra)
        return (share + change) / (1.0 + extra), divergence

    # KL is about s^2 Var / 2 for a small tilt.
    spread = float(np.sqrt(share @ np.square(centred)))
    low = high = 0.5 * math.log(2.0 * radius) - math.log(spread)
    for _ in range(_MAX_STEPS):
        if tilt(low)[1] <= radius:
            break
        low -= 0.5
    for _ in range(_MAX_STEPS):
        if tilt(high)[1] >= radius:
            break
        high += 0.5
    root = brentq(lambda t: tilt(t)[1] - radius, low, high, xtol=1e-13, rtol=4 * _EPS)
    return tilt(float(root))[0]
