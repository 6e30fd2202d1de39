"""Prometheus metrics: what skatra counts, how it serves them, what it writes.

Off until :func:`enable`; until then a report costs less than a tenth of a
microsecond and prometheus_client is not imported.
"""

from typing import TYPE_CHECKING, Any

from skatra.monitoring._catalogue import CATALOGUE, KNOWN_ERRORS, LABELS, Metric
from skatra.monitoring._drift import kolmogorov_smirnov, population_stability_index
from skatra.monitoring._instruments import (
    begin_retraining,
    disable,
    enable,
    expect_rounds,
    is_enabled,
    observe_retraining,
    observe_stage,
    record_error,
    record_features,
    record_fold,
    record_leakage,
    record_model,
    record_outcomes,
    record_positions,
    record_probabilities,
    record_signals,
    set_reference,
    time_signals,
)
from skatra.monitoring._recorder import scope

if TYPE_CHECKING:
    from skatra.monitoring._render import render, write_textfile
    from skatra.monitoring._resume import resume_textfile
    from skatra.monitoring._server import MetricsServer, serve_metrics

__all__ = [
    "CATALOGUE",
    "KNOWN_ERRORS",
    "LABELS",
    "Metric",
    "MetricsServer",
    "begin_retraining",
    "disable",
    "enable",
    "expect_rounds",
    "is_enabled",
    "kolmogorov_smirnov",
    "observe_retraining",
    "observe_stage",
    "population_stability_index",
    "record_error",
    "record_features",
    "record_fold",
    "record_leakage",
    "record_model",
    "record_outcomes",
    "record_positions",
    "record_probabilities",
    "record_signals",
    "render",
    "resume_textfile",
    "scope",
    "serve_metrics",
    "set_reference",
    "time_signals",
    "write_textfile",
]

_LATER = {
    "MetricsServer": "_server",
    "render": "_render",
    "resume_textfile": "_resume",
    "serve_metrics": "_server",
    "write_textfile": "_render",
}


def __getattr__(name: str) -> Any:
    """Import the exporter when it is asked for, and prometheus_client with it."""
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f"skatra.monitoring.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
