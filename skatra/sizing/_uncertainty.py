"""Kelly when the win rate is an estimate: corrections, to be used one at a time."""

from typing import Any, Literal

import numpy as np
from scipy.special import betainc, betaincinv

from skatra.sizing._kelly import _check_aligned, _checked, kelly_fraction

__all__ = ["kelly_from_counts", "kelly_shrinkage"]

_STATISTICS = ("mean", "median", "expected")


def kelly_from_counts(
    n_wins: Any,
    n_losses: Any,
    b: Any,
    *,
    prior: tuple[float, float] = (1.0, 1.0),
    statistic: Literal["mean", "median", "expected"] = "mean",
    allow_short: bool = False,
) -> Any:
    """Return Kelly for a win rate known from counts and a Beta prior.

    The posterior of the win rate is Beta(prior[0] + n_wins, prior[1] + n_losses). Log
    growth is affine in p, so the fraction of best *expected* growth is full Kelly at
    the posterior mean. That is a correction for estimation error in its own right: do
    not apply :func:`kelly_shrinkage` on top.

    Parameters
    ----------
    n_wins, n_losses : array-like of float >= 0
        Decided bets.
    b : array-like of float > 0
        Net odds: gain per unit lost.
    prior : tuple of (float, float) > 0, default=(1.0, 1.0)
        Beta parameters: wins and losses that the prior is worth. (1, 1) is flat; for
        a sceptic, n / (b + 1) wins and n b / (b + 1) losses centre n bets on no edge.
    statistic : {"mean", "median", "expected"}, default="mean"
        "mean" is Kelly at the posterior mean, optimal; "median" at the median;
        "expected" the posterior mean of Kelly itself, which is never 0.
    allow_short : bool, default=False
        Whether the other side can be taken.

    Returns
    -------
    float or ndarray of float64
        Risk fraction, broadcast over the inputs.

    Raises
    ------
    ValueError
        If an input is out of range.

    References
    ----------
    Chu, Wu and Swartz (2018), "Modified Kelly criteria", Journal of Quantitative
    Analysis in Sports 14, 1-11: equation 16 is the median, squared loss "expected".

    Examples
    --------
    >>> from skatra.sizing import kelly_from_counts, kelly_fraction
    >>> round(kelly_fraction(0.6, 0.952), 6)
    0.179832
    >>> round(kelly_from_counts(60, 40, 0.952, prior=(50, 50)), 6)
    0.077311
    """
    if np.ndim(prior) != 1 or len(prior) != 2:
        msg = f"prior must be a pair (wins, losses), got {prior!r}."
        raise ValueError(msg)
    prior_wins, prior_losses = (_checked(x, "prior", positive=True) for x in prior)
    _check_aligned(n_wins=n_wins, n_losses=n_losses, b=b)
    wins = _checked(n_wins, "n_wins") + prior_wins
    losses = _checked(n_losses, "n_losses") + prior_losses
    if statistic not in _STATISTICS:
        msg = f"statistic must be one of {_STATISTICS}, got {statistic!r}."
        raise ValueError(msg)
    if statistic == "expected":
        odds = _checked(b, "b", positive=True)
        stake = _expected(wins, losses, odds)
        if allow_short:
            # The mirrored bet has the odds 1 / b and stakes b times its risk.
            stake = stake - _expected(losses, wins, 1.0 / odds) / odds
        return float(stake) if np.ndim(stake) == 0 else stake
    p = wins / (wins + losses)
    if statistic == "median":
        p = betaincinv(wins, losses, 0.5)
    return kelly_fraction(p, b, allow_short=allow_short)


def _expected(wins: Any, losses: Any, odds: Any) -> Any:
    """Return the mean of max(q - (1 - q) / odds, 0) over q ~ Beta(wins, losses)."""
    no_edge = 1.0 / (1.0 + odds)
    mean = wins / (wins + losses)
    above = 1.0 - betainc(wins + 1.0, losses, no_edge)
    return (1.0 + 1.0 / odds) * mean * above - (
        1.0 - betainc(wins, losses, no_edge)
    ) / odds


def kelly_shrinkage(p: Any, b: Any, sigma: Any) -> Any:
    """Return the factor by which an uncertain probability shrinks the Kelly stake.

    k = e^2 / (e^2 + sigma^2), with e = p - 1 / (b + 1) the distance from break-even
    and sigma the standard error of p: stake k x :func:`kelly_fraction`. The edge is
    overestimated exactly when it looks large, and overbetting costs more than
    underbetting.

    Parameters
    ----------
    p : array-like of float in [0, 1]
        Estimated probability of winning.
    b : array-like of float > 0
        Net odds: gain per unit lost.
    sigma : array-like of float >= 0
        Standard error of p.

    Returns
    -------
    float or ndarray of float64
        In [0, 1], broadcast over the inputs; 1 where sigma is 0, 0 at break-even
        otherwise.

    Raises
    ------
    ValueError
        If an input is out of range.

    References
    ----------
    Baker and McHale (2013), "Optimal Betting Under Parameter Uncertainty: Improving
    the Kelly Criterion", Decision Analysis 10, 189-199: the approximation that their
    section 3 derives, which in these terms does not contain b. Several public
    packages print 1 - sigma^2 / e^2 or 1 - sigma^2 / (p q) instead.

    Examples
    --------
    >>> from skatra.sizing import kelly_shrinkage
    >>> round(kelly_shrinkage(0.55, 1.0, 0.02), 6)
    0.862069
    """
    _check_aligned(p=p, b=b, sigma=sigma)
    p = _checked(p, "p", upper=1.0)
    b = _checked(b, "b", positive=True)
    return _shrinkage(p - 1.0 / (b + 1.0), _checked(sigma, "sigma"))


def _shrinkage(edge: Any, sigma: Any) -> Any:
    """Return e^2 / (e^2 + sigma^2), 1 where both are 0."""
    square, doubt = np.square(edge), np.square(sigma)
    total = square + doubt
    factor = np.where(doubt > 0, square / np.where(total > 0, total, 1.0), 1.0)
    return float(factor) if np.ndim(factor) == 0 else factor
