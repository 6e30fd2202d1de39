"""The growth-optimal fraction of one series of returns, in few passes over it."""

import numpy as np

from skatra.typing import FloatArray

__all__ = ["optimum_of_one"]

# BLAS keeps a dot product of so few on one thread.
_BLOCK = 1 << 13
_LONG = 1 << 15
_SAMPLING = 32
_MAX_STEPS = 200
_EPS = float(np.finfo(np.float64).eps)


def optimum_of_one(
    returns: FloatArray, share: FloatArray | None, tolerance: float = 1e-5
) -> float:
    """Return the optimum f >= 0; 0 where nothing is lost or there is no edge.

    Halley's steps on (1 + f r_min) g'(f), see `kelly_from_returns`. No return may
    have a share of 0, which would not keep it from ruin.
    """
    loss = -float(returns.min())
    if loss <= 0.0:
        return 0.0
    long = len(returns) >= _LONG
    f = _start_from_sample(returns, share) if long else 0.0
    total = float(len(returns)) if share is None else float(share.sum())
    highest = (1.0 - 4 * _EPS) / loss
    buffer = np.empty((2, min(len(returns), _BLOCK)))
    for _ in range(_MAX_STEPS):
        slope, square, cube = _sums(returns, f, share, buffer)
        rounding = 4 * _EPS * (square * total) ** 0.5
        if f == 0.0 and slope <= rounding:
            return 0.0
        left = 1.0 - f * loss
        # h, -h' and h''/2, up to a common factor.
        value, fall = left * slope, loss * slope + left * square
        bend = loss * square + left * cube
        if fall > 0:
            halley = fall - value / fall * bend
            step = value / (halley if 2 * halley > fall else fall)
        else:
            # Right of the root, where only a rough start may lie, h can turn upwards.
            step = -f
        last, f = f, min(max(f + step, 0.0), highest)
        # The remaining error is of the cube of the step, or within rounding of g'.
        if abs(slope) <= rounding or abs(f - last) <= tolerance * last * left:
            break
    return f


def _sums(
    returns: FloatArray, f: float, share: FloatArray | None, buffer: FloatArray
) -> tuple[float, float, float]:
    """Return sum w q, sum w q^2 and sum w q^3 with q = r / (1 + f r), in blocks."""
    slope = square = cube = 0.0
    for start in range(0, len(returns), _BLOCK):
        part = returns[start : start + _BLOCK]
        ratio, power = buffer[:, : len(part)]
        np.multiply(part, f, out=ratio)
        np.add(ratio, 1.0, out=ratio)
        np.divide(part, ratio, out=ratio)
        if share is None:
            slope += float(np.add.reduce(ratio))
            square += float(np.dot(ratio, ratio))
            np.multiply(ratio, ratio, out=power)
            cube += float(np.dot(power, ratio))
        else:
            np.multiply(ratio, share[start : start + _BLOCK], out=power)
            slope += float(np.add.reduce(power))
            square += float(np.dot(power, ratio))
            np.multiply(power, ratio, out=power)
            cube += float(np.dot(power, ratio))
    return slope, square, cube


def _start_from_sample(returns: FloatArray, share: FloatArray | None) -> float:
    """Return the optimum of a sample, usually within 1 %.

    All large returns, and every 32nd of the others, moved to the mean of them all.
    """
    core = returns[::_SAMPLING]
    bound = 3.0 * float(np.sqrt(np.dot(core, core) / len(core)))
    near = np.abs(core) <= bound
    core = core[near]
    far = np.flatnonzero(np.abs(returns) > bound)
    if share is None:
        lever, heavy = np.ones(len(core)), np.ones(len(far))
        total, mean = float(len(returns)), float(returns.sum())
    else:
        lever, heavy = share[::_SAMPLING][near], share[far]
        total, mean = float(share.sum()), float(np.einsum("i,i->", returns, share))
    held = float(lever.sum())
    if not len(far) or not held > 0:
        return 0.0
    lever = lever * ((total - float(heavy.sum())) / held)
    tails = returns[far]
    core = core + (mean - float(heavy @ tails) - float(lever @ core)) / lever.sum()
    sample = np.concatenate([core, tails])
    return optimum_of_one(sample, np.concatenate([lever, heavy]), 0.03)
