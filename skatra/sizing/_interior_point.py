"""Newton's methods for the mean log growth of many stakes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skatra.typing import FloatArray

__all__ = ["FAILED", "Optimum", "maximise_growth", "newton_growth"]

FAILED = float("inf")
_GOAL = 1e-13
_MAX_STEPS = 100
_BACKTRACKS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Stakes on the unit simplex, the certified gap of their objective, and steps."""

    stakes: FloatArray
    gap: float
    n_iterations: int


@dataclass(frozen=True, slots=True)
class _Objective:
    """F(u) = E[log z - price x z^-aversion] with z = 1 + legs u: concave."""

    legs: FloatArray
    share: FloatArray
    price: float
    aversion: float

    def gradient(self, factor: FloatArray) -> FloatArray:
        slope = 1.0 / factor
        if self.price:
            slope += self.price * self.aversion * factor ** (-self.aversion - 1.0)
        gradient: FloatArray = (self.share * slope) @ self.legs
        return gradient

    def curvature(self, factor: FloatArray) -> FloatArray:
        """Return minus the Hessian of F."""
        bend = 1.0 / factor
        if self.price:
            extra = self.price * self.aversion * (self.aversion + 1.0)
            bend = np.sqrt(bend**2 + extra * factor ** (-self.aversion - 2.0))
        scaled = self.legs * (np.sqrt(self.share) * bend)[:, None]
        curvature: FloatArray = scaled.T @ scaled
        return curvature

    def gap(self, stakes: FloatArray, gradient: FloatArray) -> float:
        """Return how much more any point of the simplex can have, at most."""
        rise = max(float(gradient.max()), 0.0) - float(gradient @ stakes)
        # For the log alone Jensen's inequality is sharper than the tangent.
        return max(rise if self.price else float(np.log1p(rise)), 0.0)


def maximise_growth(
    legs: FloatArray, share: FloatArray, price: float = 0.0, aversion: float = 0.0
) -> Optimum:
    """Maximise E[log(1 + legs u) - price (1 + legs u)^-aversion], u >= 0, sum u <= 1.

    Primal-dual interior point: multipliers of u >= 0 and of the sum follow Newton's
    method on the optimality conditions while their complementarity shrinks tenfold.
    """
    goal = _Objective(legs, share, price, aversion)
    n = legs.shape[1]
    start = np.full(n, 1.0 / n)
    deepest = float(np.max(-(legs @ start)))
    stakes = start * min(0.5, 0.5 / max(deepest, 1e-300))
    factor, spare = 1.0 + legs @ stakes, 1.0 - float(stakes.sum())
    gradient = goal.gradient(factor)
    roof = max(float(gradient.max()), 0.0) + 1.0
    floor = np.maximum(roof - gradient, 1e-3)
    best = Optimum(stakes, goal.gap(stakes, gradient), 0)
    for step in range(1, _MAX_STEPS + 1):
        pressure = 0.1 * (float(floor @ stakes) + roof * spare) / (n + 1)
        matrix = goal.curvature(factor)
        matrix[np.diag_indices(n)] += floor / stakes
        matrix += roof / spare
        side = gradient - roof + pressure / stakes - (pressure / spare - roof)
        move = _solve(matrix, side)
        total = float(move.sum())
        floor_move = (pressure - floor * move) / stakes - floor
        roof_move = (pressure + roof * total) / spare - roof
        factor_move = legs @ move
        size = min(
            1.0,
            0.995 * _room(stakes, move),
            0.995 * _room(factor, factor_move),
            0.995 * _room(floor, floor_move),
            0.995 * _room(np.array([spare, roof]), np.array([-total, roof_move])),
        )
        before = _residual(gradient, stakes, floor, spare, roof, pressure)
        for _ in range(_BACKTRACKS):
            trial = stakes + size * move
            trial_factor = factor + size * factor_move
            trial_spare = spare - size * total
            trial_floor, trial_roof = floor + size * floor_move, roof + size * roof_move
            trial_gradient = goal.gradient(trial_factor)
            after = _residual(
                trial_gradient, trial, trial_floor, trial_spare, trial_roof, pressure
            )
            if after <= (1.0 - 0.01 * size) * before:
                break
            size /= 2.0
        else:
            break
        stakes, spare, floor, roof = trial, trial_spare, trial_floor, trial_roof
        factor, gradient = 1.0 + legs @ stakes, trial_gradient
        gap = goal.gap(stakes, gradient)
        if gap < best.gap:
            best = Optimum(stakes, gap, step)
        if gap <= _GOAL or pressure < 1e-18:
            break
    return _cleaned(goal, best)


def _cleaned(goal: _Objective, best: Optimum) -> Optimum:
    """Put stakes that only the interior keeps above 0 there, if that costs nothing."""
    for level in (1e-4, 1e-6, 1e-8, 1e-10):
        stakes = np.where(best.stakes > level, best.stakes, 0.0)
        gap = goal.gap(stakes, goal.gradient(1.0 + goal.legs @ stakes))
        if gap <= max(2.0 * best.gap, 10.0 * _GOAL):
            return Optimum(stakes, gap, best.n_iterations)
    return best


def newton_growth(legs: FloatArray, share: FloatArray) -> tuple[FloatArray, float, int]:
    """Maximise E[log(1 + legs u)] over all u; gap FAILED if nothing bounds it.

    Damped Newton steps; F / min(share) is self-concordant, which bounds what is left
    by the decrement (Boyd and Vandenberghe, equation 9.50).
    """
    goal = _Objective(legs, share, 0.0, 0.0)
    rarest = float(share.min())
    stakes: FloatArray = np.zeros(legs.shape[1])
    factor: FloatArray = np.ones(len(legs))
    gap = FAILED
    for step in range(1, _MAX_STEPS + 1):
        gradient = goal.gradient(factor)
        move = _solve(goal.curvature(factor), gradient)
        square = max(float(gradient @ move), 0.0)
        decrement = np.sqrt(square / rarest)
        if decrement < 0.5:
            gap = -rarest * float(decrement + np.log1p(-decrement))
            if gap <= 1e-16:
                return stakes, gap, step
        factor_move = legs @ move
        if not np.any(factor_move < 0) and square > 0 and np.any(factor_move > 1e-12):
            return stakes, FAILED, step
        size = min(1.0, 0.99 * _room(factor, factor_move))
        level = float(share @ np.log(factor))
        for _ in range(_BACKTRACKS):
            trial = factor + size * factor_move
            if share @ np.log(trial) >= level + 0.1 * size * square:
                break
            size /= 2.0
        else:
            return stakes, gap, step
        stakes = stakes + size * move
        factor = 1.0 + legs @ stakes
    return stakes, gap, _MAX_STEPS


def _solve(matrix: FloatArray, side: FloatArray) -> FloatArray:
    """Solve a symmetric system, by least squares where assets repeat each other."""
    try:
        return np.asarray(np.linalg.solve(matrix, side), dtype=np.float64)
    except np.linalg.LinAlgError:
        least = np.linalg.lstsq(matrix, side, rcond=None)[0]
        return np.asarray(least, dtype=np.float64)


def _room(value: FloatArray, move: FloatArray) -> float:
    """Return how far a move can go before a positive value reaches 0."""
    falling = move < 0
    if not falling.any():
        return np.inf
    return float(np.min(-value[falling] / move[falling]))


def _residual(
    gradient: FloatArray, stakes: FloatArray, floor: FloatArray,
    spare: float, roof: float, pressure: float,
) -> Any:  # fmt: skip
    """Return the size of what the optimality conditions still lack."""
    dual = gradient + floor - roof
    middle = floor * stakes - pressure
    return np.sqrt(dual @ dual + middle @ middle + (roof * spare - pressure) ** 2)
