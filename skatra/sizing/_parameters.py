"""Checks of the estimators' parameters: which values do, and what to pass instead."""

import numbers
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from skatra.sizing._cross_fit import proba_or_decision
from skatra.sizing._stakes import is_multiplier

__all__ = ["check_classifier_params", "check_sizer_params"]

_CALIBRATIONS = ("sigmoid", "isotonic")
_SIDES = ("long", "short", "both")


def check_sizer_params(model: Any) -> None:
    """Refuse parameters of a KellySizer that are out of range."""
    _check_multiplier(model)
    _check_limits(model)
    if (model.win is None) != (model.loss is None):
        msg = (
            "win and loss must both be numbers or both None, got "
            f"win={model.win!r} and loss={model.loss!r}."
        )
        raise ValueError(msg)
    if model.win is not None:
        for name in ("win", "loss"):
            _check_number(model, name, "positive and finite", lambda v: 0 < v < np.inf)


def check_classifier_params(model: Any) -> None:
    """Refuse parameters of a KellyClassifier that are out of range."""
    if isinstance(model.estimator, type) or not hasattr(model.estimator, "fit"):
        _refuse(model, "estimator", "a classifier, not its class or anything else")
    _check_multiplier(model)
    for name in ("shrink_uncertain", "overlap_budget"):
        if not isinstance(getattr(model, name), bool | np.bool_):
            _refuse(model, name, "True or False")
    if model.shrink_uncertain:
        _check_shrinkage(model)
    _check_limits(model)
    if not (
        isinstance(model.benchmark_return, str) and model.benchmark_return == "mean"
    ):
        _check_number(
            model, "benchmark_return", "finite, or 'mean'", lambda v: abs(v) < np.inf
        )
    if model.calibration is None:
        return
    if model.calibration not in _CALIBRATIONS:
        _refuse(model, "calibration", f"one of {_CALIBRATIONS}, or None")
    proba_or_decision(model.estimator)
    if isinstance(model.cv, numbers.Number | str) or not (
        hasattr(model.cv, "split") or hasattr(model.cv, "__iter__")
    ):
        _refuse(
            model,
            "cv",
            f"a splitter or an iterable of (train, test) when calibration="
            f"{model.calibration!r}, since shuffled or stratified folds leak on "
            "overlapping labels; pass a PurgedKFold",
        )


def _check_multiplier(model: Any) -> None:
    """Refuse a share of full Kelly that is none."""
    if not is_multiplier(model.kelly_multiplier):
        _refuse(
            model,
            "kelly_multiplier",
            "a number in [0, 1] or a drawdown target (alpha, beta) in (0, 1)",
        )


def _check_limits(model: Any) -> None:
    """Refuse a side or a largest position that is none."""
    _check_number(
        model, "max_position", "positive and finite", lambda v: 0 < v < np.inf
    )
    if not isinstance(model.side, str) or model.side not in _SIDES:
        _refuse(model, "side", f"one of {_SIDES}")


def _check_shrinkage(model: Any) -> None:
    """Refuse shrinkage without an error to shrink by; say what is cut twice."""
    if model.calibration != "sigmoid":
        _refuse(
            model,
            "shrink_uncertain",
            f"False with calibration={model.calibration!r}: only the fit of "
            "calibration='sigmoid' tells how uncertain a probability is",
        )
    multiplier: Any = model.kelly_multiplier
    if not isinstance(multiplier, tuple | list) and multiplier < 1:
        warnings.warn(
            f"kelly_multiplier={multiplier:g} and shrink_uncertain=True "
            "both cut the stakes. Set kelly_multiplier=1.0 to shrink for "
            "uncertainty alone, or to a drawdown target (alpha, beta).",
            UserWarning,
            stacklevel=4,
        )


def _check_number(
    model: Any, name: str, requirement: str, allowed: Callable[[Any], bool]
) -> None:
    value = getattr(model, name)
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and allowed(value)):
        _refuse(model, name, f"a number {requirement}")


def _refuse(model: Any, name: str, requirement: str) -> None:
    msg = (
        f"The {name!r} parameter of {type(model).__name__} must be {requirement}. Got "
        f"{getattr(model, name)!r} instead."
    )
    raise ValueError(msg)
