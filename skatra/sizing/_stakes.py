"""How far a stake is cut: by drawdown, by doubt, by bets that overlap."""

import numbers
from typing import Any

import numpy as np

from skatra.sizing._continuous import kelly_multiplier_for_drawdown
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._uncertainty import _shrinkage
from skatra.typing import FloatArray, LabelTimesLike
from skatra.utils import as_label_intervals

__all__ = [
    "break_even_probability",
    "capped",
    "effective_multiplier",
    "is_multiplier",
    "mean_concurrency",
    "shrunk",
]


def is_multiplier(value: Any) -> bool:
    """Return whether a value is a share in [0, 1] or a pair (alpha, beta) in (0, 1)."""
    if isinstance(value, tuple | list):
        return len(value) == 2 and all(_is_real(x) and 0 < x < 1 for x in value)
    return _is_real(value) and 0 <= value <= 1


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def effective_multiplier(value: Any) -> float:
    """Return the share of full Kelly, of a drawdown target too."""
    if isinstance(value, tuple | list):
        return float(kelly_multiplier_for_drawdown(*value))
    return float(value)


def break_even_probability(table: PayoffTable) -> float:
    """Return the probability that stakes nothing, or the end of the table nearest."""
    p, f = table.probabilities, table.fractions
    if f[0] > f[-1]:
        p, f = p[::-1], f[::-1]
    return float(np.interp(0.0, f, p))


def shrunk(
    full: FloatArray, p: FloatArray, error: FloatArray, even: float
) -> FloatArray:
    """Return full Kelly times Baker and McHale's e^2 / (e^2 + sigma^2)."""
    stakes: FloatArray = full * _shrinkage(p - even, error)
    return stakes


def capped(
    full: FloatArray,
    multiplier: float,
    side: str,
    max_position: float,
    concurrency: float = 1.0,
) -> FloatArray:
    """Return the positions: a share of full Kelly by side and cap, over concurrency."""
    low = 0.0 if side == "long" else -max_position
    high = 0.0 if side == "short" else max_position
    positions: FloatArray = np.clip(multiplier * full, low, high)
    return positions / concurrency


def mean_concurrency(label_times: LabelTimesLike) -> float:
    """Return how many labels live at the start of one, itself included, on average.

    A label lives at t0 <= t < t1; one that ends at once counts as itself.
    """
    life = as_label_intervals(label_times)
    opened = np.searchsorted(np.sort(life.t0), life.t0, side="right")
    closed = np.searchsorted(np.sort(life.t1), life.t0, side="right")
    return float(np.mean(np.maximum(opened - closed, 1)))
