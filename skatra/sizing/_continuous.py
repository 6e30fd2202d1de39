"""Kelly in continuous time: growth, its optimum, and the drawdown of fractions."""

from typing import Any

import numpy as np

from skatra.sizing._kelly import _checked
from skatra.typing import FloatArray

__all__ = [
    "drawdown_probability",
    "goal_probability",
    "kelly_continuous",
    "kelly_continuous_growth",
    "kelly_multiplier_for_drawdown",
]


def kelly_continuous(
    mean: Any, volatility: Any, risk_free: Any = 0.0, *, allow_short: bool = False
) -> Any:
    """Return the growth-optimal leverage of a diffusion: f* = (mean - r) / s^2.

    It knows no jumps: on real returns with fat tails it stakes more than
    :func:`kelly_from_returns`, at times more than the worst of them survives.

    Parameters
    ----------
    mean : array-like of float
        Expected simple return per period.
    volatility : array-like of float > 0
        Standard deviation of the return over the same period.
    risk_free : array-like of float, default=0.0
        Rate of lending and borrowing per period.
    allow_short : bool, default=False
        Whether a mean below the rate gives a negative leverage; otherwise 0.

    Returns
    -------
    float or ndarray of float64
        Multiple of the capital invested, broadcast over the inputs.

    Raises
    ------
    ValueError
        If an input is not finite or volatility not positive.

    References
    ----------
    Thorp (2006), Handbook of Asset and Liability Management, chapter 9, section 7.

    Examples
    --------
    >>> from skatra.sizing import kelly_continuous
    >>> round(kelly_continuous(0.11, 0.15, 0.06), 4)
    2.2222
    """
    mean, volatility, risk_free = _diffusion(mean, volatility, risk_free)
    leverage = (mean - risk_free) / np.square(volatility)
    return _plain(leverage if allow_short else np.maximum(leverage, 0.0))


def kelly_continuous_growth(
    fraction: Any, mean: Any, volatility: Any, risk_free: Any = 0.0
) -> Any:
    """Return the growth rate of a diffusion: r + f (mean - r) - f^2 s^2 / 2.

    Parameters
    ----------
    fraction : array-like of float
        Capital invested as a multiple of wealth.
    mean, volatility : array-like of float
        As in :func:`kelly_continuous`.
    risk_free : array-like of float, default=0.0
        Return of what is not invested.

    Returns
    -------
    float or ndarray of float64
        In nats per period, broadcast over the inputs.

    Raises
    ------
    ValueError
        If an input is not finite or volatility not positive.

    References
    ----------
    Thorp (2006), chapter 9, equation 7.3.

    Examples
    --------
    >>> from skatra.sizing import kelly_continuous_growth
    >>> round(kelly_continuous_growth(1.0, 0.11, 0.15, 0.06), 5)
    0.09875
    """
    fraction = _checked(fraction, "fraction", lower=-np.inf)
    mean, volatility, risk_free = _diffusion(mean, volatility, risk_free)
    excess = fraction * (mean - risk_free)
    return _plain(risk_free + excess - np.square(fraction * volatility) / 2.0)


def drawdown_probability(
    alpha: Any,
    kelly_multiplier: Any = 1.0,
    *,
    risk_free: float = 0.0,
    sharpe_ratio: float | None = None,
) -> Any:
    """Return the probability that wealth ever falls to alpha times its start.

    P = alpha^a with a = 2 g / Var(g); for a share c of full Kelly and no risk-free
    rate a = 2 / c - 1. Measured from the initial wealth, not from the peak; in
    continuous time, over an endless life.

    Parameters
    ----------
    alpha : array-like of float in (0, 1]
        Wealth as a share of the start.
    kelly_multiplier : array-like of float >= 0, default=1.0
        Share c of full Kelly. At 2 or more, growth is not positive and any loss is
        reached for sure.
    risk_free : float >= 0, default=0.0
        Rate per period that wealth earns besides.
    sharpe_ratio : float > 0, default=None
        Of the same period; needed with a risk-free rate.

    Returns
    -------
    float or ndarray of float64
        In [0, 1]; of the shape of the arguments.

    Raises
    ------
    ValueError
        If an input is out of range, or risk_free comes without sharpe_ratio.

    See Also
    --------
    kelly_multiplier_for_drawdown : The way back.

    References
    ----------
    Thorp (2006), Handbook of Asset and Liability Management, chapter 9, equations
    7.10 to 7.13.

    Examples
    --------
    Half the wealth is lost at some time with probability 1/2 at full Kelly, 1/8 at
    half and 1/128 at a quarter of it.

    >>> from skatra.sizing import drawdown_probability
    >>> drawdown_probability(0.5, [1.0, 0.5, 0.25])
    array([0.5      , 0.125    , 0.0078125])
    """
    alpha = _checked(alpha, "alpha", upper=1.0, positive=True)
    exponent = _exponent(kelly_multiplier, risk_free, sharpe_ratio)
    with np.errstate(invalid="ignore"):
        return _plain(np.where(alpha == 1.0, 1.0, alpha**exponent))


def goal_probability(goal: Any, alpha: Any, kelly_multiplier: Any = 1.0) -> Any:
    """Return the probability of multiplying wealth before losing too much of it.

    P(reach goal before alpha) = (1 - alpha^a) / (1 - (alpha / goal)^a) with
    a = 2 / c - 1 for a share c of full Kelly, in continuous time.

    Parameters
    ----------
    goal : array-like of float >= 1
        Wealth to reach, as a multiple of the start.
    alpha : array-like of float in (0, 1)
        Wealth not to fall to, as a share of the start.
    kelly_multiplier : array-like of float in (0, 2), default=1.0
        Share c of full Kelly.

    Returns
    -------
    float or ndarray of float64
        In [0, 1]; of the shape of the arguments.

    Raises
    ------
    ValueError
        If an input is out of range.

    References
    ----------
    Thorp (2006), chapter 9, equation 7.13.

    Examples
    --------
    >>> from skatra.sizing import goal_probability
    >>> round(goal_probability(2.0, 0.5), 6), round(goal_probability(2.0, 0.5, 0.5), 6)
    (0.666667, 0.888889)
    """
    goal = _checked(goal, "goal", lower=1.0)
    alpha = _checked(alpha, "alpha", upper=np.nextafter(1.0, 0.0), positive=True)
    multiplier = _checked(
        kelly_multiplier, "kelly_multiplier", upper=np.nextafter(2.0, 0), positive=True
    )
    exponent = 2.0 / multiplier - 1.0
    return _plain(np.expm1(exponent * np.log(alpha))
                  / np.expm1(exponent * np.log(alpha / goal)))  # fmt: skip


def kelly_multiplier_for_drawdown(alpha: Any, beta: Any) -> Any:
    """Return the share of full Kelly whose drawdown risk is beta.

    c = 2 / (1 + ln beta / ln alpha), at most 1: then P(wealth ever falls to alpha
    times its start) = beta in continuous time. More than full Kelly would only add
    risk to less growth.

    Parameters
    ----------
    alpha : array-like of float in (0, 1)
        Wealth not to fall to, as a share of the start.
    beta : array-like of float in (0, 1)
        Probability of ever falling there that is accepted.

    Returns
    -------
    float or ndarray of float64
        In (0, 1], broadcast over the inputs.

    Raises
    ------
    ValueError
        If an input is out of range.

    See Also
    --------
    risk_constrained_kelly : The same bound for returns with tails, at any horizon.

    References
    ----------
    Thorp (2006), chapter 9, equation 7.10, solved for the fraction.

    Examples
    --------
    >>> from skatra.sizing import kelly_multiplier_for_drawdown
    >>> round(kelly_multiplier_for_drawdown(0.7, 0.1), 6)
    0.268251
    """
    below_one = np.nextafter(1.0, 0.0)
    alpha = _checked(alpha, "alpha", upper=below_one, positive=True)
    beta = _checked(beta, "beta", upper=below_one, positive=True)
    return _plain(np.minimum(2.0 / (1.0 + np.log(beta) / np.log(alpha)), 1.0))


def _exponent(
    kelly_multiplier: Any, risk_free: float, sharpe_ratio: float | None
) -> FloatArray:
    """Return a = 2 g / Var(g), inf where nothing is staked and 0 without growth."""
    multiplier = _checked(kelly_multiplier, "kelly_multiplier")
    rate = float(_checked(risk_free, "risk_free"))
    bonus = 0.0
    if rate > 0:
        if sharpe_ratio is None:
            msg = f"risk_free={rate:g} needs the sharpe_ratio of the same period."
            raise ValueError(msg)
        bonus = (
            2.0
            * rate
            / float(_checked(sharpe_ratio, "sharpe_ratio", positive=True)) ** 2
        )
    with np.errstate(divide="ignore"):
        exponent: FloatArray = 2.0 / multiplier - 1.0
        if bonus > 0:
            exponent = exponent + bonus / np.square(multiplier)
    return np.maximum(exponent, 0.0)


def _diffusion(
    mean: Any, volatility: Any, risk_free: Any
) -> tuple[FloatArray, FloatArray, FloatArray]:
    return (
        _checked(mean, "mean", lower=-np.inf),
        _checked(volatility, "volatility", positive=True),
        _checked(risk_free, "risk_free", lower=-np.inf),
    )


def _plain(value: Any) -> Any:
    """Return a float for a single number."""
    return float(value) if np.ndim(value) == 0 else value
