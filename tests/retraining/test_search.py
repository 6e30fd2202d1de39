"""Laws of the LightGBM search: the results of GridSearchCV, and nothing done twice."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    ParameterSampler,
    cross_validate,
)

from skatra.exceptions import SearchStoppedError
from skatra.model_selection import PurgedKFold
from skatra.retraining import PurgedLGBMSearchCV

RECORD = {
    "params",
    "fold",
    "score",
    "n_train",
    "n_test",
    "seconds",
    "data_hash",
    "fold_hash",
    "code_version",
}


class Ledger(dict):
    """The smallest ledger: a dict that can put."""

    def put(self, key, record):
        """Keep a record that must be new."""
        assert key not in self
        self[key] = record


def make_rows(n=240, classes=2, seed=0):
    """Return a frame with a category and a hole, a target, label times, weights."""
    rng = np.random.default_rng(seed)
    t0 = pd.date_range("2020-01-01", periods=n, freq="h")
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"], index=t0)
    X["kind"] = pd.Categorical(rng.integers(0, 3, n))
    X["step"] = (rng.random(n) < 0.06).astype(float)
    X.loc[X.index[3], "a"] = np.nan
    value = X["b"].to_numpy() + rng.normal(size=n)
    if classes == 0:
        y = value
    else:
        y = np.array(["p", "q", "r"])[
            np.clip((value + 1.0).astype(int), 0, classes - 1)
        ]
    return X, y, pd.Series(t0 + pd.Timedelta("5h"), index=t0), rng.uniform(0.5, 1.0, n)


def model_for(classes, **params):
    """Return a LightGBM that asks for weights."""
    kind = LGBMClassifier if classes else LGBMRegressor
    return kind(
        **{"verbose": -1, "n_jobs": 1, "random_state": 3, "n_estimators": 8, **params}
    ).set_fit_request(sample_weight=True)


def scored(name):
    """Return a scorer that asks for weights."""
    return get_scorer(name).set_score_request(sample_weight=True)


def searched(grid=None, model=None, **options):
    """Return a small search."""
    options = {"cv": PurgedKFold(2), "scoring": scored("accuracy"), **options}
    return PurgedLGBMSearchCV(
        model or model_for(2), grid or {"num_leaves": [3]}, **options
    )


def fit(search, rows):
    """Fit with everything routed."""
    X, y, label_times, weight = rows
    return search.fit(X, y, label_times=label_times, sample_weight=weight)


@pytest.fixture(autouse=True)
def routing():
    """Every test routes metadata."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def assert_equal_searches(expected, actual, X):
    """Equal candidates, scores to 1e-12, choice and predictions."""
    assert actual.cv_results_.keys() == expected.cv_results_.keys()
    assert actual.cv_results_["params"] == expected.cv_results_["params"]
    for name, values in expected.cv_results_.items():
        if "test_" in name and "time" not in name:
            np.testing.assert_allclose(
                actual.cv_results_[name], values, rtol=0, atol=1e-12
            )
    assert actual.best_index_ == expected.best_index_
    assert actual.best_params_ == expected.best_params_
    np.testing.assert_array_equal(actual.predict(X), expected.predict(X))


VALUES = {
    "n_estimators": st.integers(1, 12),
    "num_leaves": st.integers(2, 9),
    "learning_rate": st.sampled_from([0.05, 0.3]),
    "min_child_samples": st.sampled_from([2, 15, 40]),
    "colsample_bytree": st.sampled_from([0.4, 1.0]),
    "reg_lambda": st.sampled_from([0.0, 5.0]),
    "max_bin": st.sampled_from([4, 255]),
    "min_data_in_bin": st.sampled_from([1, 9]),
    "subsample_for_bin": st.sampled_from([50, 200_000]),
    "random_state": st.sampled_from([0, 7]),
    "boosting_type": st.sampled_from(["gbdt", "dart", "rf"]),
    "extra_trees": st.booleans(),
    "linear_tree": st.booleans(),
    "class_weight": st.sampled_from([None, "balanced"]),
}


CLASSES_ONLY = {"class_weight"}


@st.composite
def grids(draw, classes):
    """A grid of two or three parameters with one to three values each."""
    names = draw(
        st.lists(
            st.sampled_from(sorted(set(VALUES) - (set() if classes else CLASSES_ONLY))),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    return {
        name: draw(st.lists(VALUES[name], min_size=1, max_size=3, unique=True))
        for name in names
    }


@settings(max_examples=25)
@given(st.data())
def test_results_are_those_of_grid_search(data):
    """Scores equal GridSearchCV's to 1e-12, whatever the grid, the target, the mode.

    Boosters that cannot be cut (dart), averages (rf), categories, holes, weights,
    parameters of the Dataset, classes and numbers to predict.
    """
    classes = data.draw(st.sampled_from([2, 3, 0]))
    grid = data.draw(grids(classes))
    rows = make_rows(classes=classes, seed=data.draw(st.integers(0, 3)))
    model = model_for(classes, subsample=0.7, subsample_freq=1)
    name = "neg_log_loss" if classes else "neg_mean_squared_error"
    options = {
        "cv": PurgedKFold(2),
        "scoring": scored(name),
    }
    expected = fit(GridSearchCV(model, grid, error_score="raise", **options), rows)
    n_jobs = data.draw(st.sampled_from([1, 2]))
    actual = fit(PurgedLGBMSearchCV(model, grid, n_jobs=n_jobs, **options), rows)

    assert_equal_searches(expected, actual, rows[0])


def test_several_scores_and_lists_of_grids():
    """Several scorers, a list of grids and a chosen refit, as in GridSearchCV."""
    rows = make_rows()
    grid = [{"num_leaves": [3, 5], "n_estimators": [2, 6]}, {"max_bin": [4]}]
    options = {
        "cv": PurgedKFold(2),
        "scoring": {"auc": scored("roc_auc"), "accuracy": scored("accuracy")},
        "refit": "accuracy",
    }
    expected = fit(GridSearchCV(model_for(2), grid, **options), rows)
    actual = fit(PurgedLGBMSearchCV(model_for(2), grid, **options), rows)

    assert actual.multimetric_
    assert_equal_searches(expected, actual, rows[0])


def test_any_sampler_of_candidates_will_do():
    """An iterable of dicts is tried as it is, in its order."""
    sampled = list(ParameterSampler({"num_leaves": range(2, 20)}, 4, random_state=0))
    search = fit(searched(iter(sampled)), make_rows())

    assert search.cv_results_["params"] == sampled


def test_bins_never_see_test_rows():
    """Test rows may hold anything: the boosters stay the same.

    With bins of all rows, monstrous values in the test rows would move them.
    """
    X, y, label_times, weight = make_rows()
    X = X[["a", "b", "c"]]
    split = next(iter(PurgedKFold(2).split(X, y, label_times=label_times)))
    monstrous = X.copy()
    monstrous.iloc[split[1]] *= 1e9
    left_out = np.setdiff1d(np.arange(len(X)), split[0])
    only_train = X.copy()
    only_train.iloc[left_out] = 0.0
    trained = split[0]
    cv = [(trained, trained)]
    search = searched({"num_leaves": [3, 7], "max_bin": [8, 255]}, cv=cv)
    scores = [
        clone(search).fit(data, y, sample_weight=weight).cv_results_["mean_test_score"]
        for data in (X, monstrous, only_train)
    ]

    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_ledger_makes_a_second_search_free():
    """Every (fold, candidate) has one record, and is never computed again."""
    rows = make_rows()
    ledger = Ledger()
    grid = {"num_leaves": [3, 5], "n_estimators": [2, 6]}
    search = searched(grid, cv=PurgedKFold(3), ledger=ledger)
    first = fit(clone(search), rows)
    kept = dict(ledger)
    second = fit(clone(search), rows)

    assert len(kept) == 4 * 3
    assert ledger == kept
    assert (first.n_scores_from_ledger_, second.n_scores_from_ledger_) == (0, 12)
    assert_equal_searches(first, second, rows[0])
    for key, record in kept.items():
        assert len(key) == 64
        assert record.keys() >= RECORD
    assert len({record["fold_hash"] for record in kept.values()}) == 3
    assert len({record["data_hash"] for record in kept.values()}) == 1


def test_a_ledger_knows_what_a_score_depends_on():
    """Other rows, weights, folds, parameters or scoring are other keys.

    The number of threads and what is printed are not.
    """
    X, y, label_times, weight = make_rows()

    def key(model=None, scoring="accuracy", rows=(X, y, label_times, weight), folds=2):
        ledger = Ledger()
        options = {"scoring": scored(scoring), "ledger": ledger, "n_jobs": 1}
        fit(searched(model=model, cv=PurgedKFold(folds), **options), rows)
        return next(iter(ledger))

    same = {key(), key(model_for(2, n_jobs=2)), key(model_for(2, verbose=-2))}
    other = {
        key(model_for(2, reg_alpha=1.0)),
        key(scoring="roc_auc"),
        key(folds=3),
        key(rows=(X, y, label_times, weight[::-1])),
        key(rows=(X.assign(a=X["a"] + 1e-12), y, label_times, weight)),
        key(rows=(X.rename(columns={"a": "z"}), y, label_times, weight)),
        key(rows=(X, y[::-1], label_times, weight)),
    }

    assert len(same) == 1
    assert len(other - same) == 7


def test_a_stopped_search_goes_on_where_it_was():
    """Stopped after any number of tasks, it says how far it got and resumes there."""
    rows = make_rows()
    grid = {"num_leaves": [3, 5, 7], "n_estimators": [2, 6]}

    def search(ledger=None, stop=None):
        return searched(grid, n_jobs=1, ledger=ledger, should_stop=stop)

    expected = fit(search(), rows)
    for tasks in (0, 1, 5):
        ledger = Ledger()
        with pytest.raises(SearchStoppedError, match="same ledger") as caught:
            fit(search(ledger, lambda n=2 * tasks, d=ledger: len(d) >= n), rows)
        assert caught.value.done == len(ledger) == 2 * tasks
        assert caught.value.left == 12 - 2 * tasks
        assert pickle.loads(pickle.dumps(caught.value)).left == caught.value.left  # noqa: S301
        resumed = fit(search(ledger), rows)
        assert resumed.n_scores_from_ledger_ == 2 * tasks
        assert_equal_searches(expected, resumed, rows[0])


def test_failed_fits_score_what_was_asked():
    """An error is raised by default, or becomes a score with a warning."""
    rows = make_rows()
    grid = {"num_leaves": [1, 3]}
    with pytest.raises(Exception, match="num_leaves"):
        fit(searched(grid), rows)
    ledger = Ledger()
    search = searched(grid, error_score=-1.0, ledger=ledger)
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        fit(search, rows)

    assert search.cv_results_["mean_test_score"][0] == -1.0
    assert search.best_params_ == {"num_leaves": 3}
    assert len(ledger) == 2


def test_it_is_a_scikit_learn_search():
    """It can be cloned, pickled, scored, nested, and used without routing."""
    X, y, label_times, weight = make_rows()
    grid = {"n_estimators": [2, 6]}
    search = searched(grid, backend="threads")
    fitted = fit(clone(search), (X, y, label_times, weight))
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301

    np.testing.assert_array_equal(fitted.predict_proba(X), again.predict_proba(X))
    assert fitted.score(X, y) == np.mean(fitted.predict(X) == y)
    assert fitted.classes_.tolist() == ["p", "q"]
    assert fitted.n_features_in_ == 5
    nested = cross_validate(
        search, X, y, cv=PurgedKFold(2),
        params={"label_times": label_times, "sample_weight": weight},
    )  # fmt: skip
    assert np.isfinite(nested["test_score"]).all()
    with sklearn.config_context(enable_metadata_routing=False):
        plain = PurgedLGBMSearchCV(LGBMClassifier(verbose=-1), grid, cv=3).fit(X, y)
    assert plain.n_splits_ == 3


def test_one_thread_per_fit_unless_told_otherwise():
    """The model keeps the user's n_jobs, though the search used one thread."""
    search = fit(searched(model=model_for(2, n_jobs=None)), make_rows())

    assert search.best_estimator_.n_jobs is None


def test_what_cannot_work_is_refused_by_name():
    """Each refusal names the parameter and the way out."""
    rows = make_rows()

    with pytest.raises(TypeError, match="GridSearchCV"):
        fit(searched(model=LogisticRegression()), rows)
    with pytest.raises(TypeError, match="param_grid"):
        fit(searched("num_leaves"), rows)
    with pytest.raises(TypeError, match="param_grid"):
        fit(searched([3]), rows)
    with pytest.raises(ValueError, match="gives 0 candidates"):
        fit(searched(iter([])), rows)
    with pytest.raises(ValueError, match="backend"):
        fit(searched(backend="cluster"), rows)
    search = searched(cv=2)
    with (
        sklearn.config_context(enable_metadata_routing=False),
        pytest.raises(ValueError, match="PurgedEarlyStoppingClassifier"),
    ):
        search.fit(*rows[:2], eval_set=[rows[:2]])
