"""Kelly stakes on several outcomes of one event, and on several events at once."""

from typing import Any

import numpy as np
from scipy.stats import binom

from skatra.sizing._kelly import _checked
from skatra.sizing._portfolio import kelly_portfolio
from skatra.typing import FloatArray

__all__ = ["kelly_exclusive", "kelly_simultaneous"]

_MAX_OUTCOMES = 1 << 16


def kelly_exclusive(probabilities: Any, decimal_odds: Any) -> Any:
    """Return the growth-optimal stakes on mutually exclusive outcomes.

    One of the outcomes happens (or none, if the probabilities sum to less than 1).
    A stake on it is paid back times its decimal odds; the others are lost. Outcomes
    without an edge of their own may still be staked: they insure the others.

    Parameters
    ----------
    probabilities : array-like of shape (..., n_outcomes)
        Each in [0, 1], with a sum of at most 1 over the last axis.
    decimal_odds : array-like of float > 0
        Paid per unit staked, the stake included; of the shape of probabilities, or
        broadcast to it.

    Returns
    -------
    ndarray of shape (..., n_outcomes)
        Shares of the capital, not negative, with a sum of at most 1. What remains
        is kept as cash.

    Raises
    ------
    ValueError
        If an input is out of range, or the probabilities sum to more than 1.

    Notes
    -----
    Outcomes enter in the order of p x odds while it exceeds the reserve rate
    R = (1 - sum p) / (1 - sum 1 / odds) of those before; the stake is p - R / odds.

    References
    ----------
    Smoczynski and Tomkins (2010), "An explicit solution to the problem of optimizing
    the allocations of a bettor's wealth when wagering on horse races", Mathematical
    Scientist 35, 10-17. Kelly (1956), section on odds with a track take.

    Examples
    --------
    >>> from skatra.sizing import kelly_exclusive
    >>> kelly_exclusive([0.6, 0.4], [2.0, 2.0]).round(6)
    array([0.2, 0. ])

    With odds that cost nothing, the whole capital is laid out by the probabilities:

    >>> kelly_exclusive([0.6, 0.4], [2.0, 2.2]).round(6)
    array([0.6, 0.4])
    """
    p = np.atleast_1d(_checked(probabilities, "probabilities", upper=1.0))
    odds = _checked(decimal_odds, "decimal_odds", positive=True)
    p, odds = np.broadcast_arrays(p, odds)
    if not p.size:
        return np.zeros(p.shape)
    worst = float(np.max(p.sum(axis=-1), initial=0.0))
    if worst > 1.0 + 1e-9:
        msg = f"probabilities must sum to at most 1, got {worst:g}."
        raise ValueError(msg)
    order = np.argsort(-p * odds, axis=-1, kind="stable")
    ranked, price = (np.take_along_axis(x, order, -1) for x in (p, 1.0 / odds))
    kept = np.maximum(1.0 - np.cumsum(ranked, axis=-1), 0.0)
    free = 1.0 - np.cumsum(price, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        reserve = np.where(free > 0, kept / free, np.inf)
    before = np.concatenate([np.ones_like(reserve[..., :1]), reserve[..., :-1]], -1)
    taken = np.logical_and.accumulate(ranked > before * price, axis=-1)
    n_taken = taken.sum(axis=-1, keepdims=True)
    rates = np.concatenate([np.ones_like(reserve[..., :1]), reserve], axis=-1)
    rate = np.take_along_axis(rates, n_taken, -1)
    ranked_stakes = np.where(taken, np.maximum(ranked - rate * price, 0.0), 0.0)
    stakes = np.empty_like(ranked_stakes)
    np.put_along_axis(stakes, order, ranked_stakes, -1)
    return stakes


def kelly_simultaneous(p: Any, win: Any, loss: Any = 1.0) -> FloatArray:
    """Return the growth-optimal stakes on independent bets placed at once.

    Wealth multiplies once, by 1 + the sum of what the bets pay, so that each stake is
    a little smaller than on its own. Identical bets get identical stakes, which keeps
    the count of distinct outcomes small.

    Parameters
    ----------
    p : array-like of float in (0, 1)
        Probability of winning, per bet.
    win : array-like of float > 0
        Gain per unit invested.
    loss : array-like of float > 0, default=1.0
        Loss per unit invested.

    Returns
    -------
    ndarray of shape (n_bets,)
        Notionals, of the broadcast inputs; 0 where there is no edge.

    Raises
    ------
    ValueError
        If an input is out of range, or there are more than 65536 distinct outcomes
        (16 different bets; thousands of identical ones).

    References
    ----------
    Thorp (2006), Handbook of Asset and Liability Management, chapter 9, section 6,
    on simultaneous bets.

    Examples
    --------
    Two coins at 0.6 and even money: (p - q) / (2 (p^2 + q^2)) each.

    >>> from skatra.sizing import kelly_simultaneous
    >>> kelly_simultaneous([0.6, 0.6], 1.0).round(6)
    array([0.192308, 0.192308])
    """
    below_one = np.nextafter(1.0, 0.0)
    p = _checked(p, "p", upper=below_one, positive=True)
    win = _checked(win, "win", positive=True)
    loss = _checked(loss, "loss", positive=True)
    bets = np.stack(
        [np.atleast_1d(x).ravel() for x in np.broadcast_arrays(p, win, loss)], axis=1
    )
    kinds, kind, counts = np.unique(
        bets, axis=0, return_inverse=True, return_counts=True
    )
    edge = kinds[:, 0] * kinds[:, 1] > (1.0 - kinds[:, 0]) * kinds[:, 2]
    stakes = np.zeros(len(kinds))
    if edge.any():
        returns, weights = _outcomes(kinds[edge], counts[edge])
        # If all bets are lost, stakes of more than 1 / loss in all are ruin.
        limit = 1.0 / float((counts * kinds[:, 2])[edge].min())
        solution = kelly_portfolio(returns, weights, max_leverage=limit)
        stakes[edge] = solution.weights
    return stakes[kind.ravel()]


def _outcomes(kinds: FloatArray, counts: Any) -> tuple[FloatArray, FloatArray]:
    """Return what a unit in every bet of each kind pays, by outcome, and its weight."""
    n_outcomes = float(np.prod(counts + 1.0))
    if n_outcomes > _MAX_OUTCOMES:
        msg = (
            f"p, win and loss describe {len(kinds)} different bets with "
            f"{n_outcomes:.3g} outcomes, more than {_MAX_OUTCOMES}. Size fewer bets at "
            "once, or draw outcomes at random and pass them to kelly_portfolio."
        )
        raise ValueError(msg)
    returns, weights = [], []
    for (p, win, loss), count in zip(kinds, counts, strict=True):
        wins = np.arange(count + 1)
        returns.append(wins * win - (count - wins) * loss)
        weights.append(binom.pmf(wins, count, p))
    grid = np.meshgrid(*returns, indexing="ij")
    shares = np.meshgrid(*weights, indexing="ij")
    return (
        np.stack([axis.ravel() for axis in grid], axis=1),
        np.prod([axis.ravel() for axis in shares], axis=0),
    )
