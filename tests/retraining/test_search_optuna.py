"""Laws of the search that Optuna proposes for and folds prune."""

import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
from lightgbm import LGBMClassifier
from sklearn.base import clone

from skatra.exceptions import MissingDependencyError
from skatra.model_selection import PurgedKFold
from skatra.retraining import PurgedLGBMSearchCV, PurgedOptunaSearchCV

optuna = pytest.importorskip("optuna", reason="needs skatra[optuna]")
MODEL = LGBMClassifier(n_jobs=1, verbose=-1, n_estimators=10)


class Ledger(dict):
    """The smallest ledger."""

    def put(self, key, record):
        """Keep a record that must be new."""
        assert key not in self
        self[key] = record


@pytest.fixture(autouse=True)
def quiet():
    """Route metadata, and let Optuna say nothing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def rows():
    """Return rows, target and label times."""
    rng = np.random.default_rng(0)
    t0 = pd.date_range("2020-01-01", periods=500, freq="h")
    X = pd.DataFrame(rng.normal(size=(500, 4)), columns=list("abcd"), index=t0)
    y = (X["a"] + rng.normal(size=500) > 0).to_numpy()
    return X, y, pd.Series(t0 + pd.Timedelta("5h"), index=t0)


def searched(rows, **options):
    """Return a fitted search."""
    X, y, label_times = rows
    space = {
        "num_leaves": optuna.distributions.IntDistribution(2, 40),
        "learning_rate": [1e-4, 0.1, 1.0],
    }
    options = {"n_trials": 16, "random_state": 0, "n_jobs": 1, **options}
    return PurgedOptunaSearchCV(
        MODEL, space, cv=PurgedKFold(4), scoring="neg_log_loss", **options
    ).fit(X, y, label_times=label_times)


def test_scores_are_those_of_the_grid_search(rows):
    """What was not pruned scores as PurgedLGBMSearchCV scores it, to the last bit."""
    X, y, label_times = rows
    found = searched(rows)
    grid = PurgedLGBMSearchCV(
        MODEL, found.cv_results_["params"], cv=PurgedKFold(4), scoring="neg_log_loss"
    ).fit(X, y, label_times=label_times)

    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], grid.cv_results_["mean_test_score"]
    )
    assert found.best_params_ == grid.best_params_
    assert found.best_score_ == found.study_.best_value
    np.testing.assert_array_equal(found.predict(X), grid.predict(X))


def test_pruned_candidates_save_folds(rows):
    """Bad candidates see fewer folds, and the study keeps how far they came."""
    ledger = Ledger()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    found = searched(rows, pruner=pruner, ledger=ledger)
    pruned = [t for t in found.study_.trials if t.state.name == "PRUNED"]

    assert found.n_pruned_ == len(pruned) > 0
    assert len(found.cv_results_["params"]) == 16 - len(pruned)
    assert all(1 <= len(trial.intermediate_values) < 4 for trial in pruned)
    assert len(ledger) < 16 * 4


def test_the_same_seed_and_ledger_need_no_fit(rows):
    """A second search proposes the same candidates, and takes every score."""
    ledger = Ledger()
    first = searched(rows, ledger=ledger)
    n_scores = len(ledger)
    second = searched(rows, ledger=ledger)

    assert len(ledger) == n_scores
    assert first.study_.best_params == second.study_.best_params
    assert second.n_scores_from_ledger_ >= n_scores


def test_several_workers_propose_in_rounds(rows):
    """Two workers score two candidates at a time, and repeat themselves."""
    first, second = searched(rows, n_jobs=2), searched(rows, n_jobs=2)

    assert first.cv_results_["params"] == second.cv_results_["params"]
    assert len(first.study_.trials) == 16


def test_what_cannot_work_is_refused_by_name(rows):
    """Each refusal names the parameter."""
    search = PurgedOptunaSearchCV(MODEL, {"num_leaves": [3]}, cv=PurgedKFold(2))
    X, y, label_times = rows
    for name, value, error in (
        ("n_trials", 0, ValueError),
        ("scoring", ["accuracy"], TypeError),
        ("param_distributions", {}, ValueError),
        ("param_distributions", {"num_leaves": 3}, ValueError),
    ):
        with pytest.raises(error, match=name):
            clone(search).set_params(**{name: value}).fit(X, y, label_times=label_times)


def test_without_optuna_the_error_names_the_extra(rows, monkeypatch):
    """A missing extra is said to be missing, and how to get it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    search = PurgedOptunaSearchCV(MODEL, {"num_leaves": [3]}, cv=PurgedKFold(2))
    X, y, label_times = rows
    with pytest.raises(MissingDependencyError, match="skatra\\[optuna\\]"):
        search.fit(X, y, label_times=label_times)
