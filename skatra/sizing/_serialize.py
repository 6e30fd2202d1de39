"""A fitted KellyClassifier as plain numbers, and back, without pickle."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatra.sizing._calibration import IsotonicCalibrator, SigmoidCalibrator
from skatra.sizing._kelly_classifier import KellyClassifier
from skatra.sizing._payoffs import PayoffTable
from skatra.sizing._stakes import effective_multiplier

__all__ = ["kelly_from_dict", "kelly_to_dict"]

_PARAMS = (
    "kelly_multiplier",
    "calibration",
    "side",
    "benchmark_return",
    "max_position",
    "shrink_uncertain",
    "overlap_budget",
)
_KEYS = (
    "params",
    "classes",
    "features",
    "n_features",
    "benchmark_return",
    "calibrator",
    "payoff_table",
)


def kelly_to_dict(model: KellyClassifier) -> dict[str, Any]:
    """Return what a fitted KellyClassifier learned beyond its inner classifier.

    Parameters
    ----------
    model : KellyClassifier
        Fitted.

    Returns
    -------
    dict
        Plain numbers, strings and lists: JSON keeps every bit of them.

    Raises
    ------
    NotFittedError
        If the model is not fitted.

    See Also
    --------
    kelly_from_dict : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skatra.sizing import KellyClassifier, kelly_to_dict
    >>> X = np.linspace(-1, 1, 40).reshape(-1, 1)
    >>> returns = np.where(np.arange(40) % 3, 0.01, -0.01)
    >>> kelly = KellyClassifier(LogisticRegression(), calibration=None)
    >>> learned = kelly_to_dict(kelly.fit(X, returns > 0, returns=returns))
    >>> isinstance(learned, dict)
    True
    """
    check_is_fitted(model)
    calibrator = model.calibrator_
    if isinstance(calibrator, SigmoidCalibrator):
        curve: dict[str, Any] | None = {
            "method": "sigmoid",
            "slope": calibrator.slope,
            "intercept": calibrator.intercept,
            "variance": list(calibrator.variance),
        }
    elif isinstance(calibrator, IsotonicCalibrator):
        curve = {
            "method": "isotonic",
            "log_odds": calibrator.log_odds.tolist(),
            "probabilities": calibrator.probabilities.tolist(),
        }
    else:
        curve = None
    table = model.payoff_table_
    return {
        "params": {name: getattr(model, name) for name in _PARAMS},
        "classes": model.classes_.tolist(),
        "features": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "n_features": int(model.n_features_in_),
        "benchmark_return": model.benchmark_return_,
        "concurrency": model.concurrency_,
        "calibrator": curve,
        "payoff_table": {
            "probabilities": table.probabilities.tolist(),
            "fractions": table.fractions.tolist(),
            "mean_win": table.mean_win,
            "mean_loss": table.mean_loss,
            "ruin": list(table.ruin),
        },
    }


def kelly_from_dict(state: dict[str, Any], estimator: Any) -> KellyClassifier:
    """Return a fitted KellyClassifier around a fitted inner classifier.

    Parameters
    ----------
    state : dict
        From :func:`kelly_to_dict`.
    estimator : classifier
        Fitted on the columns ``state["features"]``, in that order.

    Returns
    -------
    KellyClassifier
        Predicts bit for bit what the original predicts.

    Raises
    ------
    ValueError
        If the state is not one of :func:`kelly_to_dict`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skatra.sizing import KellyClassifier, kelly_from_dict, kelly_to_dict
    >>> X = np.linspace(-1, 1, 40).reshape(-1, 1)
    >>> returns = np.where(np.arange(40) % 4, X[:, 0], -X[:, 0]) / 50
    >>> model = KellyClassifier(LogisticRegression())
    >>> model = model.fit(X, returns > 0, returns=returns)
    >>> again = kelly_from_dict(kelly_to_dict(model), model.estimator_)
    >>> bool(np.all(again.decision_function(X) == model.decision_function(X)))
    True
    """
    missing = [name for name in _KEYS if name not in (state or {})]
    if missing:
        msg = f"state must come from kelly_to_dict; it lacks {', '.join(missing)}."
        raise ValueError(msg)
    params = dict(state["params"])
    if isinstance(params["kelly_multiplier"], list):
        params["kelly_multiplier"] = tuple(params["kelly_multiplier"])
    model = KellyClassifier(estimator, **params)
    model.kelly_multiplier_ = effective_multiplier(model.kelly_multiplier)
    model.concurrency_ = state.get("concurrency", 1.0)
    model.estimator_ = estimator
    model.classes_ = np.asarray(state["classes"])
    model.n_features_in_ = state["n_features"]
    if state["features"]:
        model.feature_names_in_ = np.asarray(state["features"], dtype=object)
    model.benchmark_return_ = state["benchmark_return"]
    curve = state["calibrator"]
    if curve is None:
        model.calibrator_ = None
    elif curve["method"] == "sigmoid":
        model.calibrator_ = SigmoidCalibrator(
            curve["slope"], curve["intercept"], tuple(curve.get("variance", (0.0,) * 3))
        )
    else:
        model.calibrator_ = IsotonicCalibrator(
            np.asarray(curve["log_odds"]), np.asarray(curve["probabilities"])
        )
    table = state["payoff_table"]
    model.payoff_table_ = PayoffTable(
        np.asarray(table["probabilities"]),
        np.asarray(table["fractions"]),
        table["mean_win"],
        table["mean_loss"],
        tuple(table["ruin"]),
    )
    return model
