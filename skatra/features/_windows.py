"""Trailing windows whose value depends on their content alone, to the last bit.

Running sums carry rounding errors from everything that came before; these windows
are built by doubling (two windows of length k make one of length 2k), so a value
neither remembers older bars nor knows newer ones, whatever surrounds the window.
"""

import numpy as np

from skatra.typing import FloatArray


def lag(values: FloatArray, bars: int) -> FloatArray:
    """Return the values of ``bars`` rows earlier, NaN where there are none."""
    result = np.full_like(values, np.nan)
    result[bars:] = values[: max(len(values) - bars, 0)]
    return result


def window(values: FloatArray, width: int, combine: np.ufunc) -> FloatArray:
    """Combine the last ``width`` values at each row, NaN in the first rows."""
    result = None
    block, size, covered = values, 1, 0
    while True:
        if width & size:
            part = lag(block, covered)
            result = part if result is None else combine(result, part)
            covered += size
        if covered == width:
            return np.asarray(result)
        block = combine(block, lag(block, size))
        size *= 2


def window_mean(values: FloatArray, width: int) -> FloatArray:
    """Return the mean of the last ``width`` values at each row."""
    mean: FloatArray = window(values, width, np.add) / width
    return mean


def ratio(
    numerator: FloatArray, denominator: FloatArray, otherwise: float = 0.0
) -> FloatArray:
    """Divide, with ``otherwise`` where the denominator is zero."""
    result = np.full_like(numerator, otherwise)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)
