"""Kelly fractions of realised returns: the exact empirical optimum."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from skatra.sizing._kelly import _checked
from skatra.sizing._one_series import optimum_of_one
from skatra.typing import FloatArray
from skatra.utils import as_finite_column, check_same_rows

__all__ = ["kelly_break_even", "kelly_from_returns", "kelly_growth_from_returns"]

# Elements of one temporary block: it stays in the cache, and BLAS on one thread.
_BLOCK = 1 << 15
_MAX_STEPS = 200
_EPS = float(np.finfo(np.float64).eps)


def kelly_from_returns(
    returns: Any, weights: Any = None, *, cost: float = 0.0, allow_short: bool = False
) -> Any:
    """Return the fraction that maximises the mean log growth over returns.

    Solves sum w r / (1 + f r) = 0 exactly, whatever the distribution: fat tails,
    which the average win and loss do not contain, bound the stake as they should.

    Parameters
    ----------
    returns : array-like of shape (n,) or (n, n_series)
        Simple returns per unit invested, one series per column: 0.02 is 2 %.
    weights : array-like of shape (n,) or (n, n_series), default=None
        Non-negative weights or probabilities; any positive sum. A return of weight
        0 does not exist, for ruin neither.
    cost : float >= 0, default=0.0
        Paid per unit invested, on either side.
    allow_short : bool, default=False
        Whether the other side can be taken: then a losing series has a negative
        fraction; otherwise 0.

    Returns
    -------
    float, ndarray or Series of shape (n_series,)
        Multiples of the capital to invest (a notional), between -1 / max(r) and
        -1 / min(r). A frame gives a Series by its columns.

    Raises
    ------
    ValueError
        If values are not finite, weights are negative, do not match, or are all 0,
        or there are no rows.

    Warns
    -----
    UserWarning
        If a series holds no loss or no gain: nothing bounds its stake, so it is 0.

    See Also
    --------
    kelly_notional : The same for two outcomes.
    kelly_portfolio : Many assets at once.

    Notes
    -----
    The root is sought on h(f) = (1 + f r_min) g'(f) rather than on g'. The factor
    cancels the pole at ruin, and h is convex and falling from f = 0 to its root: its
    terms have the second derivative 2 r^2 (r - r_min) / (1 + f r)^3 >= 0. So Newton's
    steps on h never pass the root, and their size is certain; Halley's correction of
    the same pass over the data makes them cubic: 3 to 8 of them on fat tails, where
    Newton on g' takes 14 to 54.

    References
    ----------
    Breiman (1961), "Optimal Gambling Systems for Favorable Games", Berkeley
    Symposium 4, 65-78. Rotando and Thorp (1992), American Mathematical Monthly 99,
    922-931, example 2.

    Examples
    --------
    >>> from skatra.sizing import kelly_from_returns, kelly_notional
    >>> round(kelly_from_returns([0.02, -0.01], [0.6, 0.4]), 6)
    40.0
    >>> round(kelly_notional(0.6, 0.02, 0.01), 6)
    40.0

    One crash among 100 trades is enough to end the leverage:

    >>> round(kelly_from_returns([0.02] * 59 + [-0.01] * 40 + [-0.5]), 2)
    0.69
    """
    _checked(cost, "cost")
    names = returns.columns if isinstance(returns, pd.DataFrame) else None
    rows, share = _as_series_rows(returns, weights)
    fractions = np.zeros(len(rows))
    # Weights of one row serve all series; they do not thin out ruin by series.
    common = share is not None and len(share) == 1
    for sign in (1.0, -1.0) if allow_short else (1.0,):
        step = max(1, _BLOCK // max(1, rows.shape[1]))
        for top in range(0, len(rows), step):
            block = slice(top, top + step)
            part = share if share is None or common else share[block]
            net = sign * rows[block] - cost if cost or sign < 0 else rows[block]
            fractions[block] += sign * _long_optimum(np.ascontiguousarray(net), part)
    if not np.all(fractions):
        _warn_unbounded(rows, share, "kelly_from_returns")
    if names is not None:
        return pd.Series(fractions, index=names, name="kelly")
    return fractions if np.ndim(returns) == 2 else float(fractions[0])


def _long_optimum(returns: FloatArray, share: FloatArray | None) -> FloatArray:
    """Return the optimum f >= 0 of each row; 0 where nothing is lost or no edge."""
    if len(returns) == 1:
        row, weight = returns[0], None if share is None else share[0]
        if weight is not None and not np.all(weight > 0):
            row, weight = row[weight > 0], weight[weight > 0]
        return np.array([optimum_of_one(row, weight)])
    loss = -_held(returns, share).min(axis=1)
    fraction = np.zeros(len(returns))
    noise = 4 * _EPS
    total = np.full(len(returns), float(returns.shape[1]))
    if share is not None:
        total[:] = share.sum(axis=1)
    shape = (2, len(returns), min(returns.shape[1], _BLOCK))
    buffer = np.empty(shape)
    running = np.arange(len(returns))
    for _ in range(_MAX_STEPS):
        f, worst = fraction[running], loss[running]
        part = share if share is None or len(share) == 1 else share[running]
        slope, square, cube = _slopes(returns, running, f, part, buffer)
        left = 1.0 - f * worst
        # h, -h' and h''/2, up to a common factor.
        value, fall = left * slope, worst * slope + left * square
        bend = worst * square + left * cube
        fall = np.where(fall > 0, fall, np.inf)
        step = value / fall
        halley = fall - step * bend
        step = np.where(2 * halley > fall, value / np.maximum(halley, fall / 2), step)
        rounding = noise * np.sqrt(square * total[running])
        bad = (worst <= 0) | ((f == 0) & (slope <= rounding))
        step = np.clip(step, -f, (1.0 - 4 * _EPS) / np.where(bad, 1.0, worst) - f)
        fraction[running] = np.where(bad, 0.0, f + step)
        # The remaining error is of the cube of the step, or within rounding of g'.
        more = ~bad & (np.abs(slope) > rounding) & (np.abs(step) > 1e-5 * f * left)
        running = running[more]
        if not len(running):
            break
    return fraction


def _held(returns: FloatArray, share: FloatArray | None) -> FloatArray:
    """Return the returns with those of weight 0 put to 0."""
    # A common row of weights has lost its zeros, and the returns with them.
    if share is None or len(share) == 1:
        return returns
    held: FloatArray = np.where(share > 0, returns, 0.0)
    return held


def _slopes(
    returns: FloatArray,
    rows: Any,
    fraction: FloatArray,
    share: FloatArray | None,
    buffer: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sum w q, sum w q^2 and sum w q^3 with q = r / (1 + f r), in blocks."""
    slope, square, cube = np.zeros((3, len(rows)))
    whole = len(rows) == len(returns)
    for left in range(0, returns.shape[1], _BLOCK):
        columns = slice(left, left + _BLOCK)
        part = returns[:, columns] if whole else returns[rows, columns]
        ratio, power = buffer[:, : part.shape[0], : part.shape[1]]
        np.multiply(part, fraction[:, None], out=ratio)
        ratio += 1.0
        np.divide(part, ratio, out=ratio)
        np.square(ratio, out=power)
        # einsum, not a BLAS product: threads cost more than they save at this size.
        if share is None:
            slope += ratio.sum(axis=1)
            square += power.sum(axis=1)
            cube += np.einsum("ij,ij->i", power, ratio)
        else:
            weight = np.broadcast_to(share[:, columns], ratio.shape)
            slope += np.einsum("ij,ij->i", ratio, weight)
            square += np.einsum("ij,ij->i", power, weight)
            power *= ratio
            cube += np.einsum("ij,ij->i", power, weight)
    return slope, square, cube


def _as_series_rows(returns: Any, weights: Any) -> tuple[FloatArray, FloatArray | None]:
    """Return one series per row, and weights of the same shape, one row, or none."""
    rows = _finite_table(returns, "returns")
    if rows.size == 0:
        msg = f"returns must hold at least one row, got shape {np.shape(returns)}."
        raise ValueError(msg)
    if weights is None:
        return rows, None
    share = _finite_table(weights, "weights")
    if share.shape != rows.shape and share.shape != (1, rows.shape[1]):
        msg = (
            f"weights must be of shape ({rows.shape[1]},) or of the shape of returns, "
            f"got {np.shape(weights)} for returns of {np.shape(returns)}."
        )
        raise ValueError(msg)
    check_same_rows(returns=returns, weights=weights)
    if np.any(share < 0):
        msg = f"weights must not be negative, got {share.min():g}."
        raise ValueError(msg)
    if not np.all(share.sum(axis=1) > 0):
        msg = "weights must not be zero in every row of a series."
        raise ValueError(msg)
    if len(share) == 1 and not np.all(share > 0):
        held = share[0] > 0
        rows, share = np.ascontiguousarray(rows[:, held]), share[:, held]
    return rows, share


def _finite_table(values: Any, name: str) -> FloatArray:
    """Return finite float64 of shape (n_series, n), however they came."""
    try:
        table: FloatArray = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} must hold numbers, got {type(values).__name__}: {error}."
        raise ValueError(msg) from error
    if table.ndim == 1:
        return as_finite_column(table, name)[None, :]
    if table.ndim != 2:
        msg = f"{name} must have one or two dimensions, got shape {table.shape}."
        raise ValueError(msg)
    if not np.all(np.isfinite(table)):
        row, column = np.argwhere(~np.isfinite(table))[0]
        msg = (
            f"{name} must be finite, got {table[row, column]:g} in row {row}, column "
            f"{column}. Give a row that a series lacks a weight of 0 and any value."
        )
        raise ValueError(msg)
    return table.T


def _warn_unbounded(rows: FloatArray, share: FloatArray | None, name: str) -> None:
    """Say how many series hold no gain or no loss."""
    held = _held(rows, share)
    bare = int(np.sum((held.min(axis=1) >= 0) | (held.max(axis=1) <= 0)))
    if bare:
        which = "the returns hold" if len(rows) == 1 else f"{bare} series hold"
        warnings.warn(
            f"{name} is 0: {which} no loss or no gain, so nothing bounds a stake.",
            UserWarning,
            stacklevel=3,
        )


def kelly_growth_from_returns(
    fraction: Any, returns: Any, weights: Any = None, *, cost: float = 0.0
) -> Any:
    """Return the mean of log(1 + f r - cost abs(f)), the growth of fractions f.

    Parameters
    ----------
    fraction : array-like of float
        Capital invested as a multiple of wealth; negative is short.
    returns : array-like of shape (n,)
        Simple returns per unit invested.
    weights : array-like of shape (n,), default=None
        Non-negative weights of the mean.
    cost : float >= 0, default=0.0
        Paid per unit invested.

    Returns
    -------
    float or ndarray of float64
        In nats per period, of the shape of ``fraction``; -inf at ruin.

    Raises
    ------
    ValueError
        If values are not finite, or rows do not match.

    Examples
    --------
    >>> from skatra.sizing import kelly_growth_from_returns
    >>> kelly_growth_from_returns([0.06, 1.0], [1.0, -1.0], [0.53, 0.47]).round(6)
    array([0.001801,     -inf])
    """
    fraction = _checked(fraction, "fraction", lower=-np.inf)
    _checked(cost, "cost")
    column, share = _one_series(returns, weights)
    flat = np.atleast_1d(fraction).ravel()
    growth = np.empty(len(flat))
    for place, f in enumerate(flat):
        change = f * column - cost * abs(f)
        ruined = change.min() <= -1.0
        growth[place] = -np.inf if ruined else share @ np.log1p(change)
    growth = growth.reshape(fraction.shape)
    return float(growth) if growth.ndim == 0 else growth


def kelly_break_even(
    returns: Any, weights: Any = None, *, cost: float = 0.0, allow_short: bool = False
) -> float:
    """Return the fraction beyond full Kelly at which growth is back to 0.

    More than that loses money in the long run, however good the edge. It is about
    twice full Kelly, and less with fat tails.

    Parameters
    ----------
    returns : array-like of shape (n,)
        Simple returns per unit invested.
    weights : array-like of shape (n,), default=None
        Non-negative weights or probabilities.
    cost : float >= 0, default=0.0
        Paid per unit invested.
    allow_short : bool, default=False
        Whether a losing series is shorted; then the fraction is negative.

    Returns
    -------
    float
        0 where full Kelly is 0. If growth stays positive up to the closest number
        below ruin, the fraction of ruin itself.

    Raises
    ------
    ValueError
        As :func:`kelly_from_returns`.

    Warns
    -----
    UserWarning
        As :func:`kelly_from_returns`.

    References
    ----------
    Rotando and Thorp (1992), American Mathematical Monthly 99, 922-931: f_c.

    Examples
    --------
    >>> from skatra.sizing import kelly_break_even
    >>> round(kelly_break_even([1.0, -1.0], [0.53, 0.47]), 6)
    0.119712
    """
    column, share = _one_series(returns, weights)
    best = kelly_from_returns(column, share, cost=cost, allow_short=allow_short)
    if best == 0.0:
        return 0.0
    net = np.sign(best) * column - cost
    ruin = -1.0 / float(net.min())
    limit = ruin * (1.0 - 4 * _EPS)

    def growth(fraction: float) -> float:
        return float(share @ np.log1p(fraction * net))

    if growth(limit) >= 0:
        return float(np.sign(best) * ruin)
    found = brentq(growth, abs(best), limit, xtol=1e-15 * ruin, rtol=4 * _EPS)
    return float(np.sign(best) * found)


def _one_series(returns: Any, weights: Any) -> tuple[FloatArray, FloatArray]:
    """Return a column of returns and its weights, which sum to one."""
    rows, share = _as_series_rows(returns, weights)
    if len(rows) != 1:
        msg = f"returns must be one series, got shape {np.shape(returns)}."
        raise ValueError(msg)
    if share is None:
        return rows[0], np.full(rows.shape[1], 1.0 / rows.shape[1])
    return rows[0], share[0] / share[0].sum()
