"""Kelly fractions of bets with two outcomes: pure formulas over arrays."""

from typing import Any

import numpy as np
import pandas as pd

from skatra.typing import FloatArray
from skatra.utils import check_same_rows

__all__ = ["kelly_fraction", "kelly_growth", "kelly_notional"]

# Elements of one temporary block: inputs and result of it stay in the cache.
_BLOCK = 1 << 14


def kelly_fraction(
    p: Any, b: Any, *, cost: Any = 0.0, allow_short: bool = False
) -> Any:
    """Return the fraction of capital to put at risk: f* = (p b - q) / b.

    The stake is lost when the bet loses and earns ``b`` times itself when it wins.
    With ``b`` the ratio of average win to average loss, f* is the fraction of
    capital *at risk* (the risk fraction), whatever the size of the loss per unit:
    what to invest is :func:`kelly_notional`.

    Parameters
    ----------
    p : array-like of float in [0, 1]
        Probability of winning; q = 1 - p.
    b : array-like of float > 0
        Net odds: gain per unit lost. May be inf.
    cost : array-like of float >= 0, default=0.0
        Paid per unit staked, win or lose. Winning pays b - cost, losing 1 + cost.
    allow_short : bool, default=False
        Whether the other side of the bet can be taken (earn 1 with probability q,
        lose b with probability p). Then a bad bet is a negative stake; otherwise 0.

    Returns
    -------
    float or ndarray of float64
        Full Kelly, broadcast over the inputs; 0 where there is no edge. A long
        fraction is at most 1.

    Raises
    ------
    ValueError
        If p is outside [0, 1], b not positive, cost negative, or two Series do not
        have the same index.

    See Also
    --------
    kelly_notional : The capital to invest when a loss takes only part of it.
    kelly_growth : What a fraction earns.

    References
    ----------
    Kelly (1956), "A New Interpretation of Information Rate", Bell System Technical
    Journal 35, 917-926. Thorp (2006), "The Kelly Criterion in Blackjack, Sports
    Betting and the Stock Market", section 2.

    Examples
    --------
    >>> from skatra.sizing import kelly_fraction
    >>> round(kelly_fraction(0.53, 1.0), 6)
    0.06
    >>> kelly_fraction([0.4, 0.5, 0.6], 2.0).round(6)
    array([0.1 , 0.25, 0.4 ])
    >>> kelly_fraction(0.4, 1.0)
    0.0
    """
    _check_aligned(p=p, b=b, cost=cost)
    odds = _checked(b, "b", positive=True, finite=False)
    return _stake(p, odds, np.float64(1.0), cost, allow_short=allow_short)


def kelly_notional(
    p: Any,
    win: Any,
    loss: Any = 1.0,
    *,
    cost: Any = 0.0,
    allow_short: bool = False,
) -> Any:
    """Return the capital to invest: f* = p / loss - q / win.

    A unit invested gains ``win`` with probability p and loses ``loss`` with
    probability q = 1 - p. The notional may exceed the capital (a tight stop); the
    capital at risk is notional x loss, which equals ``kelly_fraction(p, win/loss)``.

    Parameters
    ----------
    p : array-like of float in [0, 1]
        Probability of winning.
    win : array-like of float > 0
        Gain per unit invested. May be inf.
    loss : array-like of float > 0, default=1.0
        Loss per unit invested, as a positive number; 1 loses it all.
    cost : array-like of float >= 0, default=0.0
        Paid per unit invested, win or lose.
    allow_short : bool, default=False
        Whether the other side can be taken: earn ``loss`` with probability q, lose
        ``win`` with probability p. Then a bad bet is a negative notional.

    Returns
    -------
    float or ndarray of float64
        Multiple of the capital, broadcast over the inputs; 0 where there is no
        edge. Between -1 / (win + cost) and 1 / (loss + cost): never beyond ruin.

    Raises
    ------
    ValueError
        If p is outside [0, 1], win or loss not positive, cost negative, or two Series
        do not have the same index.

    References
    ----------
    Thorp (2006), "The Kelly Criterion in Blackjack, Sports Betting and the Stock
    Market", Handbook of Asset and Liability Management, chapter 9.

    Examples
    --------
    Win 2 % with probability 0.6, lose 1 % otherwise: 40 times the capital is put
    in, and 40 % of the capital is at risk.

    >>> from skatra.sizing import kelly_fraction, kelly_notional
    >>> round(kelly_notional(0.6, 0.02, 0.01), 6)
    40.0
    >>> round(kelly_fraction(0.6, 0.02 / 0.01), 6)
    0.4
    """
    _check_aligned(p=p, win=win, loss=loss, cost=cost)
    win = _checked(win, "win", positive=True, finite=False)
    loss = _checked(loss, "loss", positive=True)
    return _stake(p, win, loss, cost, allow_short=allow_short)


def _stake(p: Any, win: Any, loss: Any, cost: Any, *, allow_short: bool) -> Any:
    """Return the long notional, less the mirrored one where shorts are allowed."""
    p = _checked(p, "p", upper=1.0)
    cost = _checked(cost, "cost")
    stake = _long_notional(p, win, loss, cost)
    if allow_short:
        stake = stake - _long_notional(1.0 - p, loss, win, cost)
    return float(stake) if np.ndim(stake) == 0 else stake


def _long_notional(
    p: FloatArray, win: FloatArray, loss: FloatArray, cost: FloatArray
) -> FloatArray:
    """Return p / (loss + cost) - q / (win - cost), 0 where that is no bet."""
    shape = np.broadcast_shapes(p.shape, win.shape, loss.shape, cost.shape)
    stake = np.empty(shape)
    out = stake.reshape(-1)
    flat = [
        np.broadcast_to(array, shape).reshape(-1) if array.ndim else array
        for array in (p, win, loss, cost)
    ]
    # numpy compares with an array several times faster than with a number.
    zeros = np.zeros(min(_BLOCK, stake.size))
    paid = bool(np.any(cost))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, stake.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            parts = [array[block] if array.ndim else array for array in flat]
            _fill_long_notional(out[block], parts, zeros, paid=paid)
    return stake


def _fill_long_notional(
    out: FloatArray, given: list[FloatArray], zeros: FloatArray, *, paid: bool
) -> None:
    """Write the stakes of one block into ``out``, without other large arrays."""
    p, win, loss, cost = given
    net, at_risk = (win - cost, loss + cost) if paid else (win, loss)
    np.subtract(1.0, p, out=out)
    np.divide(out, net, out=out)
    whole = at_risk.ndim == 0 and at_risk == 1.0
    np.subtract(p if whole else p / at_risk, out, out=out)
    np.fmax(out, zeros[: len(out)], out=out)
    if paid:
        # At p = 1 nothing is lost whatever net is, but a net of 0 earns nothing either.
        np.copyto(out, 0.0, where=net <= 0)


def kelly_growth(
    fraction: Any, p: Any, win: Any, loss: Any = 1.0, *, cost: Any = 0.0
) -> Any:
    """Return the expected log growth g(f) = p ln(1 + win f) + q ln(1 - loss f).

    Parameters
    ----------
    fraction : array-like of float
        Capital invested as a multiple of wealth; negative takes the other side.
    p : array-like of float in [0, 1]
        Probability of winning.
    win : array-like of float > 0
        Gain per unit invested, finite.
    loss : array-like of float > 0, default=1.0
        Loss per unit invested, as a positive number.
    cost : array-like of float >= 0, default=0.0
        Paid per unit invested: both outcomes lose ``cost x |f|``.

    Returns
    -------
    float or ndarray of float64
        In nats per bet, broadcast over the inputs; -inf where an outcome that can
        happen takes all wealth or more. Divide by ln 2 for Kelly's bits.

    Raises
    ------
    ValueError
        If an input is outside its range, or two Series do not have the same index.

    References
    ----------
    Rotando and Thorp (1992), "The Kelly Criterion and the Stock Market", American
    Mathematical Monthly 99, 922-931.

    Examples
    --------
    >>> from skatra.sizing import kelly_growth
    >>> round(kelly_growth(0.06, 0.53, 1.0), 6)
    0.001801
    >>> kelly_growth(1.0, 0.53, 1.0)
    -inf
    """
    _check_aligned(fraction=fraction, p=p, win=win, loss=loss, cost=cost)
    fraction = _checked(fraction, "fraction", lower=-np.inf)
    p = _checked(p, "p", upper=1.0)
    win = _checked(win, "win", positive=True)
    loss = _checked(loss, "loss", positive=True)
    paid = _checked(cost, "cost") * np.abs(fraction)
    growth = _weighted_log(p, win * fraction - paid) + _weighted_log(
        1.0 - p, -loss * fraction - paid
    )
    return float(growth) if growth.ndim == 0 else growth


def _weighted_log(weight: FloatArray, change: FloatArray) -> FloatArray:
    """Return weight x log(1 + change): 0 at weight 0, -inf at ruin."""
    alive = change > -1.0
    with np.errstate(invalid="ignore"):
        value = weight * np.where(
            alive, np.log1p(np.where(alive, change, 0.0)), -np.inf
        )
    result: FloatArray = np.where(weight > 0, value, 0.0)
    return result


def _check_aligned(**values: Any) -> None:
    """Refuse Series of different indexes: values are matched by position."""
    series = {name: x for name, x in values.items() if isinstance(x, pd.Series)}
    if len(series) > 1:
        check_same_rows(**series)


def _checked(
    value: Any,
    name: str,
    *,
    lower: float = 0.0,
    upper: float = np.inf,
    positive: bool = False,
    finite: bool = True,
) -> FloatArray:
    """Return float64, or say which value is out of range."""
    try:
        array: FloatArray = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} must be numeric, got {value!r}."
        raise ValueError(msg) from error
    if array.size:
        # Reductions settle most calls. NaN, which compares false, takes the long way.
        least = array.min()
        most = array.max() if finite or upper < np.inf else least
        limit = least > lower or (least == lower and not positive)
        if limit and most <= upper and not (finite and np.isinf([least, most]).any()):
            return array
    good = (array >= lower) & (array <= upper)
    if positive:
        good &= array > 0
    if finite:
        good &= np.isfinite(array)
    if not np.all(good):
        low = f"({lower:g}" if positive or lower == -np.inf else f"[{lower:g}"
        open_end = (upper == np.inf and finite) or upper == np.nextafter(1.0, 0.0)
        high = f"{upper:g})" if open_end else f"{upper:g}]"
        first = np.atleast_1d(array)[~np.atleast_1d(good)][0]
        msg = f"{name} must be in {low}, {high}, got {first:g}."
        raise ValueError(msg)
    return array
