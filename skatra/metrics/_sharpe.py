"""Is a Sharpe ratio more than luck: PSR, DSR and the lengths that would show it."""

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from skatra.metrics._record import Convention, TrackRecord, as_record, per_period
from skatra.metrics._trials import ExpectedMaximum, expected_maximum_sharpe
from skatra.utils import as_number

__all__ = [
    "deflated_sharpe_ratio",
    "minimum_backtest_length",
    "minimum_track_record_length",
    "probabilistic_sharpe_ratio",
]


def probabilistic_sharpe_ratio(
    record: TrackRecord | Any,
    benchmark: float = 0.0,
    *,
    convention: Convention = "2012",
    periods_per_year: float | None = None,
) -> float:
    """Return how sure one may be that the true Sharpe ratio exceeds a benchmark.

    Parameters
    ----------
    record : TrackRecord, or array-like of shape (n,)
        A record in numbers, or returns per period above the risk-free rate.
    benchmark : float, default=0.0
        Sharpe ratio to exceed: per period, or per year with ``periods_per_year``.
    convention : {"2012", "2025"}, default="2012"
        "2012": standard error at the observed Sharpe ratio, n - 1 in its
        denominator. "2025": standard error at the benchmark, and n: one minus the
        p-value of the test that the true ratio is the benchmark. They differ: .913
        against .987 for the record below. With negative skewness and a record above
        the benchmark the first is the more careful.
    periods_per_year : float, default=None
        Unit of ``benchmark``: None is per period.

    Returns
    -------
    float
        In [0, 1]: 1 - p of a one-sided test, not a posterior probability.

    Raises
    ------
    ValueError
        If the record cannot be measured, or a parameter is out of range.

    See Also
    --------
    deflated_sharpe_ratio : The same for the best of many trials.
    minimum_track_record_length : Observations until it is sure enough.

    Notes
    -----
    Assumes independent returns of one distribution with four moments. It fails for
    the best of many trials (see :func:`deflated_sharpe_ratio`), and for records
    whose rare loss has not happened yet: their skewness looks harmless.

    "2012" is Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier",
    Journal of Risk 15(2), 2012, eq. (8); "2025" is López de Prado, Lipton and
    Zoonekynd, "How to Use the Sharpe Ratio", 2025.

    Examples
    --------
    >>> from skatra.metrics import TrackRecord, probabilistic_sharpe_ratio
    >>> record = TrackRecord(0.036 / 0.079, 24, skewness=-2.448, kurtosis=10.164)
    >>> round(probabilistic_sharpe_ratio(record), 3)
    0.913
    >>> round(probabilistic_sharpe_ratio(record, convention="2025"), 3)
    0.987
    """
    known = as_record(record)
    floor = per_period(as_number(benchmark, "benchmark"), periods_per_year)
    if not np.isfinite(floor):
        msg = f"benchmark must be a finite Sharpe ratio, got {benchmark!r}."
        raise ValueError(msg)
    distance = known.sharpe_ratio - floor
    error = _error(known, floor, convention)
    if error == 0:
        return float(np.heaviside(distance, 0.5))
    return float(ndtr(distance / error))


def deflated_sharpe_ratio(
    record: TrackRecord | Any,
    n_trials: float,
    sharpe_std: float,
    *,
    convention: Convention = "2012",
    expected_maximum: ExpectedMaximum = "exact",
    periods_per_year: float | None = None,
) -> float:
    """Return how sure one may be that the best of many trials has an edge at all.

    The probabilistic Sharpe ratio against the Sharpe ratio that the best of
    ``n_trials`` worthless trials is expected to show.

    Parameters
    ----------
    record : TrackRecord, or array-like of shape (n,)
        Of the best trial: a record in numbers, or returns per period.
    n_trials : float
        Independent trials, at least 1. Count every one ever made on these data.
    sharpe_std : float
        Standard deviation of the trials' Sharpe ratios: per period, or per year
        with ``periods_per_year``. With all trials counted, the one across trials;
        with a number reduced by :func:`effective_number_of_trials`, the standard
        error of a single trial, ``1 / sqrt(n_observations)`` when none has an edge.
    convention : {"2012", "2025"}, default="2012"
        As in :func:`probabilistic_sharpe_ratio`; the paper uses "2012".
    expected_maximum : {"exact", "approximate"}, default="exact"
        As in :func:`expected_maximum_sharpe`; the paper uses "approximate".
    periods_per_year : float, default=None
        Unit of ``sharpe_std``: None is per period.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the record cannot be measured, or a parameter is out of range.

    See Also
    --------
    overfitting_report : The same question for a scikit-learn search.

    Notes
    -----
    Assumes what :func:`probabilistic_sharpe_ratio` does, and that trials are
    independent. It fails when trials are not counted: forty notebooks later the
    forty-first is one trial only to its author.

    Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio
    Management 40(5), 2014, eq. (2).

    Examples
    --------
    The paper's example: an annual ratio of 2.5 over five years, the best of 100
    trials whose annual ratios have variance 1/2.

    >>> import numpy as np
    >>> from skatra.metrics import TrackRecord, deflated_sharpe_ratio
    >>> record = TrackRecord(2.5 / np.sqrt(250), 1250, skewness=-3, kurtosis=10)
    >>> round(deflated_sharpe_ratio(
    ...     record, 100, np.sqrt(0.5), periods_per_year=250,
    ...     expected_maximum="approximate"), 4)
    0.9004
    """
    floor = expected_maximum_sharpe(
        n_trials,
        per_period(as_number(sharpe_std, "sharpe_std"), periods_per_year),
        expected_maximum=expected_maximum,
    )
    return probabilistic_sharpe_ratio(record, floor, convention=convention)


def minimum_track_record_length(
    record: TrackRecord | Any,
    benchmark: float = 0.0,
    *,
    level: float = 0.95,
    convention: Convention = "2012",
    periods_per_year: float | None = None,
) -> float:
    """Return how many observations make the probabilistic Sharpe ratio reach a level.

    Parameters
    ----------
    record : TrackRecord, or array-like of shape (n,)
        A record in numbers, or returns per period. Its length does not matter.
    benchmark : float, default=0.0
        Sharpe ratio to exceed: per period, or per year with ``periods_per_year``.
    level : float in (0.5, 1), default=0.95
        What the probabilistic Sharpe ratio is to reach.
    convention : {"2012", "2025"}, default="2012"
        As in :func:`probabilistic_sharpe_ratio`.
    periods_per_year : float, default=None
        Unit of ``benchmark``: None is per period.

    Returns
    -------
    float
        In observations, not rounded; inf if the record does not exceed the
        benchmark.

    Raises
    ------
    ValueError
        If the record cannot be measured, or a parameter is out of range.

    See Also
    --------
    minimum_backtest_length : For the best of many trials.

    Notes
    -----
    Bailey and López de Prado (2012), eq. (11); the 2025 form divides by n and takes
    the error at the benchmark. It assumes that the moments seen so far stay.

    Examples
    --------
    >>> from skatra.metrics import TrackRecord, minimum_track_record_length
    >>> record = TrackRecord(0.036 / 0.079, 24, skewness=-2.448, kurtosis=10.164)
    >>> round(minimum_track_record_length(record, convention="2025"), 3)
    13.029
    """
    if not 0.5 < as_number(level, "level") < 1:
        msg = f"level must be a number in (0.5, 1), got {level!r}."
        raise ValueError(msg)
    known = as_record(record)
    floor = per_period(as_number(benchmark, "benchmark"), periods_per_year)
    if not np.isfinite(floor):
        msg = f"benchmark must be a finite Sharpe ratio, got {benchmark!r}."
        raise ValueError(msg)
    distance = known.sharpe_ratio - floor
    error = _error(known, floor, convention)
    if not distance > 0:
        return np.inf
    ddof = int(convention == "2012")
    needed = (ndtri(level) * error / distance) ** 2 * (known.n_observations - ddof)
    return float(needed + ddof)


def minimum_backtest_length(
    n_trials: float,
    sharpe: float = 1.0,
    *,
    periods_per_year: float | None = None,
    expected_maximum: ExpectedMaximum = "exact",
) -> float:
    """Return the length below which the best of worthless trials shows a Sharpe ratio.

    Parameters
    ----------
    n_trials : float
        Independent trials, at least 1.
    sharpe : float, default=1.0
        In-sample Sharpe ratio that luck should not reach: per period, or per year
        with ``periods_per_year``.
    periods_per_year : float, default=None
        Unit of ``sharpe``: None is per period.
    expected_maximum : {"exact", "approximate"}, default="exact"
        As in :func:`expected_maximum_sharpe`; the paper uses "approximate".

    Returns
    -------
    float
        In observations, not rounded. Divide by periods_per_year for years.

    Raises
    ------
    ValueError
        If n_trials < 1 or sharpe is not positive.

    Notes
    -----
    Under no edge a Sharpe ratio over n observations has standard error 1 / sqrt(n),
    so n = (E[max] / sharpe)^2. Bailey, Borwein, López de Prado and Zhu,
    "Pseudo-Mathematics and Financial Charlatanism", Notices of the AMS 61(5), 2014,
    theorem 3.1, where 45 trials on 5 years are enough for an annual ratio of 1.

    Examples
    --------
    >>> from skatra.metrics import minimum_backtest_length
    >>> days = minimum_backtest_length(45, 1.0, periods_per_year=252)
    >>> round(days / 252, 1)
    4.9
    """
    if not 0 < as_number(sharpe, "sharpe") < np.inf:
        msg = f"sharpe must be a positive number, got {sharpe!r}."
        raise ValueError(msg)
    best = expected_maximum_sharpe(n_trials, expected_maximum=expected_maximum)
    return float((best / per_period(sharpe, periods_per_year)) ** 2)


def _error(record: TrackRecord, floor: float, convention: str) -> float:
    """Return the standard error that a convention prescribes."""
    if convention == "2012":
        return record.standard_error(ddof=1)
    if convention == "2025":
        return record.standard_error(floor)
    msg = f"convention must be '2012' or '2025', got {convention!r}."
    raise ValueError(msg)
