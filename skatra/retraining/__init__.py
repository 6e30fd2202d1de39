"""Tune, validate, size, judge and publish a LightGBM model."""

from skatra.retraining._backtests import Paths
from skatra.retraining._bounds import GateBounds
from skatra.retraining._checks import CHECKS, DataProblem, DataReport, check_data
from skatra.retraining._config import RetrainConfig
from skatra.retraining._dask import DaskBackend
from skatra.retraining._demo import DemoResult, run_demo
from skatra.retraining._early_stopping import (
    PurgedEarlyStoppingClassifier,
    PurgedEarlyStoppingRegressor,
)
from skatra.retraining._figures import require_report_libraries
from skatra.retraining._gate import Check, Verdict
from skatra.retraining._ledger import DatabaseLedger
from skatra.retraining._limits import SignalLimits
from skatra.retraining._lock import RunLock
from skatra.retraining._log import json_log
from skatra.retraining._models import (
    list_models,
    promote_model,
    rollback_model,
    show_model,
    verify_models,
)
from skatra.retraining._plan import Plan, plan_retrain
from skatra.retraining._registry import load_champion, load_model, read_card
from skatra.retraining._report import write_report
from skatra.retraining._result import RetrainResult
from skatra.retraining._retrain import STAGES, UpToDate, retrain
from skatra.retraining._scoring import TrialLedger
from skatra.retraining._search import PurgedLGBMSearchCV
from skatra.retraining._search_optuna import PurgedOptunaSearchCV
from skatra.retraining._settings import Settings, load_settings
from skatra.retraining._signals import SignalsReport, make_signals, watch_signals
from skatra.retraining._steps import Holdout, OutOfFold, SearchResult
from skatra.retraining._stop import stop_on_signals

__all__ = [
    "CHECKS",
    "STAGES",
    "Check",
    "DaskBackend",
    "DataProblem",
    "DataReport",
    "DatabaseLedger",
    "DemoResult",
    "GateBounds",
    "Holdout",
    "OutOfFold",
    "Paths",
    "Plan",
    "PurgedEarlyStoppingClassifier",
    "PurgedEarlyStoppingRegressor",
    "PurgedLGBMSearchCV",
    "PurgedOptunaSearchCV",
    "RetrainConfig",
    "RetrainResult",
    "RunLock",
    "SearchResult",
    "Settings",
    "SignalLimits",
    "SignalsReport",
    "TrialLedger",
    "UpToDate",
    "Verdict",
    "check_data",
    "json_log",
    "list_models",
    "load_champion",
    "load_model",
    "load_settings",
    "make_signals",
    "plan_retrain",
    "promote_model",
    "read_card",
    "require_report_libraries",
    "retrain",
    "rollback_model",
    "run_demo",
    "show_model",
    "stop_on_signals",
    "verify_models",
    "watch_signals",
    "write_report",
]
