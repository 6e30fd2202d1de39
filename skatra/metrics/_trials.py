"""What the best of many trials reaches by luck."""

from typing import Any, Literal

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

from skatra.typing import FloatArray
from skatra.utils import as_count, as_number

__all__ = [
    "ExpectedMaximum",
    "effective_number_of_trials",
    "expected_maximum_sharpe",
    "trial_table",
]

ExpectedMaximum = Literal["exact", "approximate"]

_MOST_TRIALS = 1e12


def expected_maximum_sharpe(
    n_trials: float,
    sharpe_std: float = 1.0,
    *,
    expected_maximum: ExpectedMaximum = "exact",
) -> float:
    """Return the Sharpe ratio that the best of many worthless trials should show.

    Parameters
    ----------
    n_trials : float
        Number of independent trials, at least 1; see
        :func:`effective_number_of_trials`.
    sharpe_std : float, default=1.0
        Standard deviation of the trials' Sharpe ratios; the result has its unit.
    expected_maximum : {"exact", "approximate"}, default="exact"
        "exact" integrates the distribution of the maximum of normal variables.
        "approximate" is the formula of the papers, 1 % too large at 100 trials and
        2 % at 10, but negative below 1.3; it is not defined for a single trial.

    Returns
    -------
    float
        sharpe_std x E[max of n_trials standard normal variables], 0 for one trial.

    Raises
    ------
    ValueError
        If n_trials < 1 (< 2 where approximate), or sharpe_std is negative.

    See Also
    --------
    deflated_sharpe_ratio : Takes it as the benchmark.

    Notes
    -----
    Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio
    Management 40(5), 2014, eq. (1) for the approximation.

    Examples
    --------
    >>> from skatra.metrics import expected_maximum_sharpe
    >>> round(expected_maximum_sharpe(100), 6)
    2.507594
    >>> round(expected_maximum_sharpe(100, expected_maximum="approximate"), 6)
    2.530603
    """
    if expected_maximum not in ("exact", "approximate"):
        msg = (
            "expected_maximum must be 'exact' or 'approximate', got "
            f"{expected_maximum!r}."
        )
        raise ValueError(msg)
    least = 1 if expected_maximum == "exact" else 2
    if not least <= as_number(n_trials, "n_trials") < np.inf:
        msg = (
            f"n_trials must be a finite number of at least {least}, got {n_trials!r}."
            + " Use expected_maximum='exact'." * (least == 2)
        )
        raise ValueError(msg)
    if not 0 <= as_number(sharpe_std, "sharpe_std") < np.inf:
        msg = f"sharpe_std must be a number in [0, inf), got {sharpe_std!r}."
        raise ValueError(msg)
    if expected_maximum == "approximate":
        share = np.euler_gamma
        high = -ndtri(1 / n_trials)
        higher = -ndtri(np.exp(-1.0) / n_trials)
        return float(sharpe_std * ((1 - share) * high + share * higher))
    return float(sharpe_std * _exact(float(n_trials)))


def _exact(n_trials: float) -> float:
    """Integrate the tails of the maximum: P(max > x) - P(max < -x) over x > 0."""
    if n_trials == 1:
        return 0.0

    def tails(x: float) -> float:
        return float(
            -np.expm1(n_trials * log_ndtr(x)) - np.exp(n_trials * log_ndtr(-x))
        )

    # Beyond 40 nothing is left; the integrand falls within one unit of this point.
    edge = float(-ndtri(min(0.5, 1 / n_trials)))
    below, _ = quad(tails, 0.0, edge, epsabs=1e-12, limit=200)
    above, _ = quad(tails, edge, 40.0, epsabs=1e-12, limit=200)
    return float(below + above)


def effective_number_of_trials(
    trial_returns: Any,
    *,
    method: Literal["simulation", "average_correlation"] = "simulation",
    n_draws: int = 5000,
    random_state: int | np.random.Generator = 0,
) -> float:
    """Return how many independent trials a correlated search amounts to.

    Parameters
    ----------
    trial_returns : array-like of shape (n_observations, n_trials)
        Returns of every trial, one column each, over the same periods.
    method : {"simulation", "average_correlation"}, default="simulation"
        "simulation" applies the definition: the number of independent trials whose
        best is expected to look as good as the best of these, found from draws of
        normal variables with the trials' correlations. "average_correlation" is
        rho + (1 - rho) n_trials with rho the mean correlation, as published; it
        cannot see groups of equal trials and then gives far too many.
    n_draws : int, default=5000
        Draws of the simulation; the relative error of the expected maximum is about
        1 / sqrt(n_draws).
    random_state : int or Generator, default=0
        Of the simulation.

    Returns
    -------
    float
        1 for equal trials, about n_trials for independent ones, more for trials
        that mirror each other.

    Raises
    ------
    ValueError
        If values are not finite, a trial never varies, there are fewer than 3
        observations, or n_draws < 1.

    See Also
    --------
    deflated_sharpe_ratio : Takes the number.

    Notes
    -----
    A number below n_trials belongs with the standard error of a single trial's
    Sharpe ratio as ``sharpe_std``. The standard deviation across correlated trials
    is already smaller by what they share; used together with a reduced number it
    counts the correlation twice, and luck passes for skill.

    With fewer observations than trials, chance correlations make the simulation
    give too few; with as many, the loss is about a tenth.

    The average is eq. (9) of the appendix of Bailey and López de Prado (2014).

    Examples
    --------
    Five ideas, each tried in twenty variants:

    >>> import numpy as np
    >>> from skatra.metrics import effective_number_of_trials
    >>> ideas = np.random.default_rng(0).normal(size=(1000, 5))
    >>> trials = np.repeat(ideas, 20, axis=1)
    >>> round(effective_number_of_trials(trials))
    5
    >>> round(effective_number_of_trials(trials, method="average_correlation"))
    81
    """
    if method not in ("simulation", "average_correlation"):
        msg = f"method must be 'simulation' or 'average_correlation', got {method!r}."
        raise ValueError(msg)
    table = trial_table(trial_returns)
    n_observations, n_trials = table.shape
    if n_observations < 3:
        msg = f"trial_returns must hold at least 3 rows, got {n_observations}."
        raise ValueError(msg)
    moved = table - table.mean(axis=0)
    length = np.sqrt(np.sum(moved**2, axis=0))
    flat = np.flatnonzero(length <= 1e-14 * np.abs(table).max(axis=0))
    if len(flat):
        msg = (
            f"every trial's returns must vary; {len(flat)} of {n_trials} do not, the "
            f"first in columns {flat[:5].tolist()}. Leave those trials out here."
        )
        raise ValueError(msg)
    scores = moved / length
    if method == "average_correlation":
        if n_trials == 1:
            return 1.0
        total = float(np.sum(scores.sum(axis=1) ** 2))
        average = (total - n_trials) / (n_trials * (n_trials - 1))
        return float(average + (1 - average) * n_trials)
    n_draws = as_count(n_draws, "n_draws")
    rng = np.random.default_rng(random_state)
    if rng is not random_state:
        # Returns made from the same seed would meet themselves in the draws.
        (rng,) = rng.spawn(1)
    largest = _mean_maximum(scores, n_draws, rng)
    if largest <= 1e-12:
        return 1.0
    power = brentq(
        lambda power: _exact(float(np.exp(power))) - largest, 0, np.log(_MOST_TRIALS)
    )
    return float(np.exp(power))


def _mean_maximum(scores: FloatArray, n_draws: int, rng: np.random.Generator) -> float:
    """Draw normal variables with the columns' correlations; average their maximum.

    What all columns share moves the maximum but not its mean. It is taken off draw
    by draw, which removes most of the noise.
    """
    if scores.shape[0] > scores.shape[1]:
        # The triangle of as many rows as columns has the same correlations.
        scores = np.asarray(np.linalg.qr(scores, mode="r"))
        scores *= np.where(np.diag(scores) < 0, -1.0, 1.0)[:, None]
    total, done = 0.0, 0
    while done < n_draws:
        size = min(n_draws - done, max(1, 2**22 // max(scores.shape)))
        draws = rng.standard_normal((size, scores.shape[0])) @ scores
        total += float(np.sum(draws.max(axis=1) - draws.mean(axis=1)))
        done += size
    return total / n_draws


def trial_table(
    trial_returns: Any,
    name: str = "trial_returns",
    shape: str = "(n_observations, n_trials)",
) -> FloatArray:
    """Return a finite float64 table of two dimensions, neither of them empty."""
    try:
        table: FloatArray = np.asarray(trial_returns, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} must hold numbers, got {type(trial_returns).__name__}: {error}."
        raise ValueError(msg) from error
    if table.ndim != 2 or 0 in table.shape:
        msg = f"{name} must be of shape {shape}, got {table.shape}."
        raise ValueError(msg)
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        msg = (
            f"{name} must be finite; {len(bad)} values are missing or infinite, the "
            f"first at (row, column) {tuple(bad[0].tolist())}."
        )
        raise ValueError(msg)
    return table
