"""Out-of-fold log-odds of a classifier."""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import logit
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from skatra.typing import FloatArray, IntArray
from skatra.utils import take_rows

__all__ = ["accepts", "cross_fitted_log_odds", "log_odds", "proba_or_decision"]

# Keeps the log-odds of a probability of 0 or 1 finite: about +-16.
_CLIP = float(np.finfo(np.float32).eps)


def accepts(method: Any, parameter: str) -> bool:
    """Return whether a method can be called with a parameter by name."""
    parameters = inspect.signature(method).parameters
    return parameter in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def proba_or_decision(estimator: Any) -> str:
    """Return the method that tells how sure a classifier is, probabilities first."""
    for method in ("predict_proba", "decision_function"):
        if hasattr(estimator, method):
            return method
    msg = (
        "estimator must have predict_proba or decision_function, got "
        f"{type(estimator).__name__} with neither."
    )
    raise ValueError(msg)


def log_odds(estimator: Any, X: Any) -> FloatArray:
    """Return the log-odds of class 1 (or what stands for them) of a fitted model."""
    if proba_or_decision(estimator) == "decision_function":
        return np.asarray(estimator.decision_function(X), dtype=np.float64)
    probability = np.asarray(estimator.predict_proba(X), dtype=np.float64)[:, 1]
    odds: FloatArray = logit(np.clip(probability, _CLIP, 1.0 - _CLIP))
    return odds


def cross_fitted_log_odds(
    estimator: Any,
    X: Any,
    y: Any,
    positive: Any,
    cv: Any,
    split_params: dict[str, Any],
    fit_params: dict[str, Any],
    n_jobs: int | None,
) -> tuple[IntArray, FloatArray]:
    """Return the rows tested by ``cv`` and their log-odds, one entry per test.

    A row tested several times has several entries; one never tested has none.
    """
    folds = list(_splits(cv, X, y, split_params))
    n = len(positive)
    weight = fit_params.get("sample_weight")
    for number, (train, test) in enumerate(folds):
        used = train if weight is None else train[np.asarray(weight)[train] > 0]
        for name, rows in (("training", used), ("test", test)):
            if not len(rows):
                msg = f"fold {number} of cv={cv!r} has no {name} rows. Use fewer folds."
                raise ValueError(msg)
        if len(np.unique(positive[used])) < 2:
            msg = (
                f"fold {number} of cv={cv!r} has {len(used)} training rows of one "
                "class only, so the estimator cannot learn there. Use fewer or "
                "longer folds, or calibration=None."
            )
            raise ValueError(msg)
    if not folds:
        msg = f"cv={cv!r} yields no fold, so there is nothing to calibrate on."
        raise ValueError(msg)
    odds = Parallel(n_jobs=n_jobs)(
        delayed(_fold_log_odds)(clone(estimator), X, y, train, test, n, fit_params)
        for train, test in folds
    )
    return np.concatenate([test for _, test in folds]), np.concatenate(odds)


def _splits(
    cv: Any, X: Any, y: Any, split_params: dict[str, Any]
) -> Iterable[tuple[IntArray, IntArray]]:
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    pairs = cv.split(X, y, **split_params) if hasattr(cv, "split") else cv
    for train, test in pairs:
        yield np.arange(n)[train], np.arange(n)[test]


def _fold_log_odds(
    estimator: Any,
    X: Any,
    y: Any,
    train: IntArray,
    test: IntArray,
    n: int,
    fit_params: dict[str, Any],
) -> FloatArray:
    """Fit on the training rows and return the log-odds of the test rows."""
    params = {
        name: take_rows(value, train) if _is_per_row(value, n) else value
        for name, value in fit_params.items()
    }
    estimator.fit(take_rows(X, train), take_rows(y, train), **params)
    return log_odds(estimator, take_rows(X, test))


def _is_per_row(value: Any, n: int) -> bool:
    """Return whether a fit parameter has one entry per sample."""
    if isinstance(value, str | bytes | dict):
        return False
    if hasattr(value, "shape"):
        return bool(value.shape) and value.shape[0] == n
    return hasattr(value, "__len__") and len(value) == n
