"""Tune, validate, size, judge and publish a LightGBM model."""

from skatra.retraining._config import RetrainConfig
from skatra.retraining._demo import DemoResult, run_demo
from skatra.retraining._figures import require_report_libraries
from skatra.retraining._gate import Check, GateBounds, Verdict
from skatra.retraining._models import (
    list_models,
    promote_model,
    rollback_model,
    show_model,
    verify_models,
)
from skatra.retraining._registry import load_champion, load_model, read_card
from skatra.retraining._report import write_report
from skatra.retraining._result import RetrainResult
from skatra.retraining._retrain import STAGES, retrain
from skatra.retraining._steps import Holdout, OutOfFold, SearchResult

__all__ = [
    "STAGES",
    "Check",
    "DemoResult",
    "GateBounds",
    "Holdout",
    "OutOfFold",
    "RetrainConfig",
    "RetrainResult",
    "SearchResult",
    "Verdict",
    "list_models",
    "load_champion",
    "load_model",
    "promote_model",
    "read_card",
    "require_report_libraries",
    "retrain",
    "rollback_model",
    "run_demo",
    "show_model",
    "verify_models",
    "write_report",
]
