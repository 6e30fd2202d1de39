"""Monotone maps from log-odds to probabilities, fitted out of fold."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from skatra.typing import FloatArray

__all__ = ["Calibrator", "fit_calibrator"]

_MAX_STEPS = 100


class Calibrator(Protocol):
    """A non-decreasing map from log-odds to the probability of class 1."""

    def predict(self, log_odds: FloatArray) -> FloatArray:
        """Return calibrated probabilities."""


@dataclass(frozen=True, slots=True)
class SigmoidCalibrator:
    """p = 1 / (1 + exp(-(slope x log_odds + intercept))), slope >= 0."""

    slope: float
    intercept: float
    variance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the slope, of both, of the intercept: from the information of the fit."""

    def standard_error(self, log_odds: FloatArray) -> FloatArray:
        """Return the standard error of the probabilities, to first order."""
        slope, both, intercept = self.variance
        probability = self.predict(log_odds)
        margin = slope * log_odds**2 + 2.0 * both * log_odds + intercept
        error: FloatArray = (
            probability * (1.0 - probability) * np.sqrt(np.maximum(margin, 0.0))
        )
        return error

    def predict(self, log_odds: FloatArray) -> FloatArray:
        """Return calibrated probabilities."""
        probability: FloatArray = expit(self.slope * log_odds + self.intercept)
        return probability


@dataclass(frozen=True, slots=True, eq=False)
class IsotonicCalibrator:
    """Linear interpolation between non-decreasing points."""

    log_odds: FloatArray
    probabilities: FloatArray

    def predict(self, log_odds: FloatArray) -> FloatArray:
        """Return calibrated probabilities."""
        probability: FloatArray = np.interp(log_odds, self.log_odds, self.probabilities)
        return probability


def fit_calibrator(
    method: str, log_odds: FloatArray, positive: Any, weight: FloatArray, base: float
) -> Calibrator:
    """Fit "sigmoid" or "isotonic" on out-of-fold log-odds.

    ``base`` is the base rate of class 1, the map of scores that do not rank.
    """
    held = weight > 0
    log_odds, weight = log_odds[held], weight[held]
    target = _smoothed(np.asarray(positive, dtype=np.float64)[held], weight)
    if method == "isotonic":
        return _isotonic(log_odds, target, weight)
    return _sigmoid(log_odds, target, weight, base)


def _smoothed(outcome: FloatArray, weight: FloatArray) -> FloatArray:
    """Shrink 0/1 to their mean, as far as Platt's targets do for balanced classes.

    The mean stays what it was, so a constant map is the base rate exactly.
    """
    share = 4.0 / (weight.sum() + 4.0)
    smoothed: FloatArray = (1.0 - share) * outcome + share * np.average(
        outcome, weights=weight
    )
    return smoothed


def _isotonic(
    log_odds: FloatArray, target: FloatArray, weight: FloatArray
) -> IsotonicCalibrator:
    model = IsotonicRegression(increasing=True, out_of_bounds="clip")
    model.fit(log_odds, target, sample_weight=weight)
    return IsotonicCalibrator(
        np.asarray(model.X_thresholds_, dtype=np.float64),
        np.asarray(model.y_thresholds_, dtype=np.float64),
    )


def _sigmoid(
    log_odds: FloatArray, target: FloatArray, weight: FloatArray, base: float
) -> SigmoidCalibrator:
    """Minimise the log loss over slope >= 0 and intercept, by Newton's steps."""
    total = float(weight.sum())
    weight = weight / total
    centre = float(weight @ log_odds)
    spread = float(np.sqrt(weight @ (log_odds - centre) ** 2))
    doubt = 1.0 / (total * base * (1.0 - base))
    flat = SigmoidCalibrator(0.0, float(logit(base)), (0.0, 0.0, doubt))
    covariance = float(weight @ ((log_odds - centre) * target))
    # The loss is convex and its slope at 0 is -covariance: no gain, no ranking.
    if spread <= 1e-12 * max(1.0, abs(centre)) or covariance <= 0:
        return flat
    score = (log_odds - centre) / spread
    point = np.array([0.0, float(logit(weight @ target))])
    loss = _log_loss(score * point[0] + point[1], target, weight)
    for _ in range(_MAX_STEPS):
        probability = expit(score * point[0] + point[1])
        miss = weight * (probability - target)
        gradient = np.array([_dot(miss, score), miss.sum()])
        curvature = weight * probability * (1.0 - probability)
        hessian = _information(score, curvature) + 1e-14 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while True:
            trial = point - size * step
            trial_loss = _log_loss(score * trial[0] + trial[1], target, weight)
            if trial_loss <= loss or size < 1e-10:
                break
            size /= 2.0
        point, loss = trial, trial_loss
        if np.max(np.abs(size * step)) <= 1e-12 * max(1.0, np.max(np.abs(point))):
            break
    slope = float(point[0]) / spread
    probability = expit(score * point[0] + point[1])
    curvature = total * weight * probability * (1.0 - probability)
    inverse = np.linalg.pinv(_information(log_odds, curvature), hermitian=True)
    variance = float(inverse[0, 0]), float(inverse[0, 1]), float(inverse[1, 1])
    return SigmoidCalibrator(slope, float(point[1]) - slope * centre, variance)


def _dot(first: FloatArray, second: FloatArray) -> float:
    """Return a dot product on one thread: more cost more than they save here."""
    return float(np.einsum("i,i->", first, second))


def _information(score: FloatArray, curvature: FloatArray) -> FloatArray:
    """Return the information of slope and intercept."""
    bent = curvature * score
    cross = float(bent.sum())
    return np.array([[_dot(bent, score), cross], [cross, float(curvature.sum())]])


def _log_loss(margin: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    return _dot(weight, np.logaddexp(0.0, margin) - target * margin)
