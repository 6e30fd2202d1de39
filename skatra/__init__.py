"""Leak-free financial machine learning for scikit-learn.

Import what you need from the subpackages:

``skatra.model_selection``
    Purged cross-validation splitters and the leak audit.
``skatra.labeling``, ``skatra.features``, ``skatra.sample_weight``
    Labels with label times, features that never look ahead, uniqueness weights.
``skatra.sizing``, ``skatra.metrics``
    Kelly positions and the growth they earn.
``skatra.inspection``
    Feature importance on purged folds.
``skatra.datasets``
    The pooled SQLite database and the dataset loader.
``skatra.retraining``
    Tune, validate, size, judge and publish a LightGBM model.
``skatra.monitoring``
    Metrics for Prometheus.
``skatra.utils``
    Checks for splitters of your own.

A subpackage is loaded when it is first asked for.
"""

from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"

_SUBPACKAGES = frozenset(
    {
        "datasets",
        "exceptions",
        "features",
        "inspection",
        "labeling",
        "metrics",
        "model_selection",
        "monitoring",
        "retraining",
        "sample_weight",
        "sizing",
        "typing",
        "utils",
    }
)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        from importlib import import_module

        return import_module(f"skatra.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
