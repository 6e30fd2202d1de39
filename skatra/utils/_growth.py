"""The growth of wealth under a sequence of positions."""

import numpy as np

from skatra.typing import FloatArray

__all__ = ["mean_log_growth"]


def mean_log_growth(
    positions: FloatArray,
    returns: FloatArray,
    *,
    cost: float = 0.0,
    sample_weight: FloatArray | None = None,
) -> float:
    """Return the mean of ``log(1 + f r - cost |f|)``, -inf where wealth is lost.

    Parameters
    ----------
    positions, returns : ndarray of shape (n,)
        Signed fractions of capital and simple returns, finite.
    cost : float, default=0.0
        Paid per unit of capital staked.
    sample_weight : ndarray of shape (n,), default=None
        Non-negative weights; a row of weight 0 counts for nothing, ruin included.

    Returns
    -------
    float
        In nats per event.

    Raises
    ------
    ValueError
        If there are no rows, or all weights are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from skatra.utils import mean_log_growth
    >>> round(mean_log_growth(np.array([0.2, 0.2]), np.array([1.0, -0.5])), 6)
    0.038481
    """
    if not len(positions):
        msg = "positions must hold at least one row, got none."
        raise ValueError(msg)
    factors = positions * returns - cost * np.abs(positions)
    if sample_weight is not None:
        held = sample_weight > 0
        if not held.any():
            msg = "sample_weight must be above 0 in some row, got only zeros."
            raise ValueError(msg)
        factors, sample_weight = factors[held], sample_weight[held]
    if np.any(factors <= -1.0):
        return -np.inf
    return float(np.average(np.log1p(factors), weights=sample_weight))
