"""Drift and calibration in Python: what the PromQL rules compute, to compare with."""

from typing import Any

import numpy as np

CLAMP = 1e-4
"""Shares are at least this, so that an empty bin does not make drift infinite."""


def population_stability_index(counts: Any, reference: Any) -> float:
    """Return the population stability index of binned counts.

    The sum over bins of (p - r) log(p / r), where p and r are the shares of the live
    and the reference counts, both clamped at 1e-4 from below. Above 0.25 is commonly
    read as a shift that matters.

    Parameters
    ----------
    counts, reference : array-like of float of shape (n_bins,)
        Not all zero.

    Returns
    -------
    float
        At least 0, in nats.

    References
    ----------
    Siddiqi (2006), *Credit Risk Scorecards*, Wiley, chapter 7.

    Examples
    --------
    >>> from skatra.monitoring import population_stability_index
    >>> round(population_stability_index([10, 30], [20, 20]), 6)
    0.274653
    """
    live, base = (np.asarray(part, dtype=np.float64) for part in (counts, reference))
    p = np.maximum(live / live.sum(), CLAMP)
    r = np.maximum(base / base.sum(), CLAMP)
    return float(np.sum((p - r) * np.log(p / r)))


def kolmogorov_smirnov(counts: Any, reference: Any) -> float:
    """Return the largest distance of two cumulated distributions on equal bins.

    Parameters
    ----------
    counts, reference : array-like of float of shape (n_bins,)
        Not all zero.

    Returns
    -------
    float
        In [0, 1]; at most the statistic of the unbinned samples.

    References
    ----------
    Smirnov (1948), Annals of Mathematical Statistics 19, 279-281.

    Examples
    --------
    >>> from skatra.monitoring import kolmogorov_smirnov
    >>> kolmogorov_smirnov([10, 30], [20, 20])
    0.25
    """
    live, base = (
        np.cumsum(np.asarray(part, dtype=np.float64)) for part in (counts, reference)
    )
    return float(np.max(np.abs(live / live[-1] - base / base[-1])))
