"""Tune, validate, size, judge and publish a LightGBM model."""

from skatra.retraining._config import RetrainConfig
from skatra.retraining._dask import DaskBackend
from skatra.retraining._demo import DemoResult, run_demo
from skatra.retraining._early_stopping import (
    PurgedEarlyStoppingClassifier,
    PurgedEarlyStoppingRegressor,
)
from skatra.retraining._figures import require_report_libraries
from skatra.retraining._registry import load_model, read_card
from skatra.retraining._report import write_report
from skatra.retraining._result import RetrainResult
from skatra.retraining._retrain import STAGES, retrain
from skatra.retraining._scoring import TrialLedger
from skatra.retraining._search import PurgedLGBMSearchCV
from skatra.retraining._search_optuna import PurgedOptunaSearchCV
from skatra.retraining._steps import Check, Holdout, OutOfFold, SearchResult, Verdict

__all__ = [
    "STAGES",
    "Check",
    "DaskBackend",
    "DemoResult",
    "Holdout",
    "OutOfFold",
    "PurgedEarlyStoppingClassifier",
    "PurgedEarlyStoppingRegressor",
    "PurgedLGBMSearchCV",
    "PurgedOptunaSearchCV",
    "RetrainConfig",
    "RetrainResult",
    "SearchResult",
    "TrialLedger",
    "Verdict",
    "load_model",
    "read_card",
    "require_report_libraries",
    "retrain",
    "run_demo",
    "write_report",
]
