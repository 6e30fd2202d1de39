"""Bet sizes of AFML chapter 10, for comparison: they are not Kelly."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from skatra.sizing._kelly import _checked

__all__ = ["afml_bet_size", "afml_dynamic_bet_size", "discretize_positions"]


def afml_bet_size(
    probability: Any, side: Any = 1, *, n_classes: int = 2, clip: float = 1e-9
) -> Any:
    """Return López de Prado's bet size: side x (2 Phi(z) - 1).

    z = (p - 1/K) / sqrt(p (1 - p)) tests whether the predicted class is likelier than
    chance. The size knows no payoffs and no growth: at p = 0.6 and even money it
    stakes 0.162, where Kelly stakes 0.2; at 0.9, 0.818 against 0.8.

    Parameters
    ----------
    probability : array-like of float in [0, 1]
        Probability of the predicted class.
    side : array-like of int in {-1, 0, 1}, default=1
        The predicted side.
    n_classes : int >= 2, default=2
        Number K of classes.
    clip : float in (0, 0.5), default=1e-9
        Probabilities are kept so far from 0 and 1, where z diverges.

    Returns
    -------
    float or ndarray of float64
        In [-1, 1], broadcast over the inputs; negative for a probability below chance.

    Raises
    ------
    ValueError
        If an input is out of range.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, section 10.3,
    snippet 10.1.

    Examples
    --------
    >>> from skatra.sizing import afml_bet_size
    >>> round(afml_bet_size(0.6), 6), afml_bet_size(0.5)
    (0.161744, 0.0)
    """
    p = _checked(probability, "probability", upper=1.0)
    side = _checked(side, "side", lower=-1.0, upper=1.0)
    if n_classes < 2:
        msg = f"n_classes must be at least 2, got {n_classes!r}."
        raise ValueError(msg)
    if not 0.0 < clip < 0.5:
        msg = f"clip must be in (0, 0.5), got {clip!r}."
        raise ValueError(msg)
    p = np.clip(p, clip, 1.0 - clip)
    z = (p - 1.0 / n_classes) / np.sqrt(p * (1.0 - p))
    size = side * (2.0 * ndtr(z) - 1.0)
    return float(size) if np.ndim(size) == 0 else size


def afml_dynamic_bet_size(forecast: Any, price: Any, width: Any) -> Any:
    """Return López de Prado's dynamic bet size: x / sqrt(width + x^2).

    x = forecast - price: the position grows as the price falls below the forecast.

    Parameters
    ----------
    forecast, price : array-like of float
        Expected and current price.
    width : array-like of float > 0
        How far x must go: a size m is reached at x with width = x^2 (m^-2 - 1).

    Returns
    -------
    float or ndarray of float64
        In (-1, 1), broadcast over the inputs.

    Raises
    ------
    ValueError
        If an input is out of range.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, section 10.6,
    snippet 10.4.

    Examples
    --------
    A size of 0.95 at a distance of 10 gives the width; half way it is less.

    >>> from skatra.sizing import afml_dynamic_bet_size
    >>> width = 10.0**2 * (0.95**-2 - 1)
    >>> size = afml_dynamic_bet_size(110.0, [100.0, 105.0, 110.0], width)
    >>> size.round(4)
    array([0.95  , 0.8356, 0.    ])
    """
    forecast = _checked(forecast, "forecast", lower=-np.inf)
    price = _checked(price, "price", lower=-np.inf)
    width = _checked(width, "width", positive=True)
    distance = forecast - price
    size = distance / np.sqrt(width + np.square(distance))
    return float(size) if np.ndim(size) == 0 else size


def discretize_positions(positions: Any, step: float) -> Any:
    """Round positions to multiples of a step, within [-1, 1].

    Small changes of a position cost turnover and are mostly noise.

    Parameters
    ----------
    positions : array-like of float
        A Series or frame keeps its index.
    step : float in (0, 1]
        Smallest change of a position.

    Returns
    -------
    object of the type of positions (a float or ndarray for the rest)
        The rounded positions, of the same shape.

    Raises
    ------
    ValueError
        If positions are not finite, or step is out of range.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, section 10.5,
    snippet 10.3.

    Examples
    --------
    >>> from skatra.sizing import discretize_positions
    >>> discretize_positions([0.13, -0.42, 1.7], 0.1).round(6)
    array([ 0.1, -0.4,  1. ])
    """
    if not 0.0 < step <= 1.0:
        msg = f"step must be in (0, 1], got {step!r}."
        raise ValueError(msg)
    values = _checked(positions, "positions", lower=-np.inf)
    rounded = np.clip(np.round(values / step) * step, -1.0, 1.0)
    if hasattr(positions, "iloc"):
        result = positions.astype("float64").copy()
        result.iloc[...] = rounded
        return result
    return float(rounded) if rounded.ndim == 0 else rounded
