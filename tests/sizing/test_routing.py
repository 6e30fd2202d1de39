"""Metadata finds its way: searches, pipelines, nested folds, and known edges."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    BaseCrossValidator,
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.metrics import growth_scorer, log_growth
from skatra.sizing import KellyClassifier, PayoffTable

ROUTING = {"enable_metadata_routing": True}


class HullPurgedKFold(BaseCrossValidator):
    """Contiguous folds; training rows that overlap the hull of the test fold go."""

    __metadata_request__split = {"label_times": True}  # noqa: RUF012

    def __init__(self, n_splits):
        self.n_splits = n_splits

    def get_n_splits(self, X=None, y=None, groups=None, label_times=None):  # noqa: ARG002
        """Return the number of folds."""
        return self.n_splits

    def split(self, X, y=None, groups=None, label_times=None):
        """Refuse to run unpurged."""
        if label_times is None:
            msg = "label_times did not arrive"
            raise ValueError(msg)
        assert len(label_times) == X.shape[0]
        t0, t1 = label_times.index, pd.DatetimeIndex(label_times)
        for _, test in KFold(self.n_splits).split(X, y, groups):
            free = (t1 < t0[test].min()) | (t0 > t1[test].max())
            yield np.flatnonzero(free), test


def simulated(n, seed=0, days=3):
    """Return rows whose probability and payoffs are known, with overlapping labels.

    P(up) = 1 / (1 + exp(-signal)); gains are uniform on [0.2, 0.6], losses on
    [0.1, 0.5].
    """
    rng = np.random.default_rng(seed)
    index = pd.date_range("2000-01-01", periods=n, tz="UTC", name="t0")
    signal = rng.normal(size=n)
    up = rng.uniform(size=n) < 1 / (1 + np.exp(-signal))
    size = rng.uniform(0.2, 0.6, n)
    returns = pd.Series(np.where(up, size, 0.1 - size), index)
    X = pd.DataFrame({"signal": 3 + 2 * signal, "noise": rng.normal(size=n)}, index)
    label_times = pd.Series(index + pd.Timedelta(days=days), index)
    return X, pd.Series(np.where(up, 1, -1), index), returns, label_times


def true_fraction(p):
    """Return f*(p) of the simulated payoffs, from their quantiles."""
    size = 0.2 + 0.4 * (np.arange(2000) + 0.5) / 2000
    returns = np.concatenate([size, 0.1 - size])
    return PayoffTable.from_returns(returns, returns > 0).fraction(p)


def test_a_search_over_a_pipeline_routes_everything():
    """Outer and inner folds are purged, returns reach fit and scorer by fold."""
    X, y, returns, label_times = simulated(400)
    pipe = make_pipeline(
        StandardScaler(),
        KellyClassifier(
            LogisticRegression(), calibration="sigmoid", cv=HullPurgedKFold(3)
        ),
    )
    grid = {
        "kellyclassifier__kelly_multiplier": [0.25, 1.0],
        "kellyclassifier__estimator__C": [0.01, 1.0],
    }
    search = GridSearchCV(
        pipe, grid, cv=HullPurgedKFold(3), scoring=growth_scorer(cost=0.001)
    )
    with sklearn.config_context(**ROUTING):
        search.fit(X, y, label_times=label_times, returns=returns)

    folds = list(HullPurgedKFold(3).split(X, label_times=label_times))
    for column, params in enumerate(search.cv_results_["params"]):
        for number, (train, test) in enumerate(folds):
            scaler = StandardScaler().fit(X.iloc[train])
            kelly = KellyClassifier(
                LogisticRegression(C=params["kellyclassifier__estimator__C"]),
                kelly_multiplier=params["kellyclassifier__kelly_multiplier"],
                calibration="sigmoid",
                cv=HullPurgedKFold(3),
            ).fit(
                scaler.transform(X.iloc[train]),
                y.iloc[train],
                returns=returns.iloc[train],
                label_times=label_times.iloc[train],
            )
            position = kelly.decision_function(scaler.transform(X.iloc[test]))
            assert search.cv_results_[f"split{number}_test_score"][
                column
            ] == pytest.approx(log_growth(position, returns.iloc[test], cost=0.001))
    np.testing.assert_array_equal(
        search.decision_function(X), search.best_estimator_.decision_function(X)
    )


def test_nested_cross_validation():
    """A search by the classifier's own score, inside cross_validate, both purged."""
    X, y, returns, label_times = simulated(300)
    search = GridSearchCV(
        KellyClassifier(LogisticRegression()),
        {"kelly_multiplier": [0.1, 0.5]},
        cv=HullPurgedKFold(2),
    )
    with sklearn.config_context(**ROUTING):
        result = cross_validate(
            search,
            X,
            y,
            cv=HullPurgedKFold(3),
            scoring=growth_scorer(),
            params={"label_times": label_times, "returns": returns},
            error_score="raise",
        )
        positions = cross_val_predict(
            search,
            X,
            y,
            cv=HullPurgedKFold(3),
            params={"label_times": label_times, "returns": returns},
            method="decision_function",
        )

    tests = [test for _, test in KFold(3).split(X)]
    with sklearn.config_context(**ROUTING):
        search.fit(X, y, label_times=label_times, returns=returns)
        score = search.score(X, y, returns=returns)
    assert score == pytest.approx(log_growth(search.decision_function(X), returns))
    np.testing.assert_allclose(
        [log_growth(positions[test], returns.iloc[test]) for test in tests],
        result["test_score"],
    )


def test_a_search_inside_is_purged_too():
    """label_times reach an inner estimator that requests them, cut to its folds."""
    X, y, returns, label_times = simulated(300)
    inner = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=HullPurgedKFold(2))
    model = KellyClassifier(inner, calibration="isotonic", cv=HullPurgedKFold(3))
    with sklearn.config_context(**ROUTING):
        model.fit(X, y, returns=returns, label_times=label_times)

    assert model.score(X, y, returns=returns) > 0
    with pytest.raises(ValueError, match="label_times did not arrive"):
        model.fit(X, y, returns=returns)


def test_weights_are_routed_as_scikit_learn_routes_them():
    """An inner classifier that asked for weights gets them; unasked is an error."""
    X, y, returns, _ = simulated(300)
    weight = np.linspace(0, 2, 300)
    expected = KellyClassifier(LogisticRegression()).fit(X, y, weight, returns)
    with sklearn.config_context(**ROUTING):
        asked = KellyClassifier(
            LogisticRegression().set_fit_request(sample_weight=True)
        )
        asked.fit(X, y, sample_weight=weight, returns=returns)
        with pytest.raises(UnsetMetadataPassedError, match="LogisticRegression"):
            clone(expected).fit(X, y, sample_weight=weight, returns=returns)

    np.testing.assert_array_equal(
        asked.decision_function(X), expected.decision_function(X)
    )


def test_fit_parameters_of_the_inner_classifier_are_cut_to_folds():
    """With routing off, extra parameters go to the inner fit, row by row."""

    class Recorder(LogisticRegression):
        """Refuse importances that are not as long as the rows."""

        def fit(self, X, y, importances=None, style=None):
            """Check and fit."""
            assert len(importances) == len(y)
            assert style == "calm"
            return super().fit(X, y, importances)

    X, y, returns, _ = simulated(90)
    model = KellyClassifier(Recorder(), calibration="sigmoid", cv=KFold(3))

    model.fit(X, y, returns=returns, importances=[1.0] * 90, style="calm")
    assert model.score(X, y) > 0.5


def test_the_known_edge_is_recovered():
    """Under a purged search the position is the growth-optimal one.

    Band: four standard errors of the logistic fit (Fisher information), carried
    through f*(p), plus four bootstrap standard errors of the learned payoffs.
    """
    X, y, returns, label_times = simulated(6000)
    search = GridSearchCV(
        make_pipeline(
            StandardScaler(),
            KellyClassifier(LogisticRegression(C=1e4), max_position=10.0),
        ),
        {"kellyclassifier__kelly_multiplier": [0.25, 0.5, 1.0]},
        cv=HullPurgedKFold(4),
        scoring=growth_scorer(),
    )
    with sklearn.config_context(**ROUTING):
        search.fit(X, y, label_times=label_times, returns=returns)
    signal = np.linspace(-2.0, 2.0, 9)
    rows = pd.DataFrame({"signal": 3 + 2 * signal, "noise": 0.0})

    position = search.decision_function(rows)

    p = 1 / (1 + np.exp(-signal))
    design = np.column_stack([np.ones(6000), (X["signal"] - 3) / 2, X["noise"]])
    share = 1 / (1 + np.exp(-design[:, 1]))
    information = design.T @ ((share * (1 - share))[:, None] * design)
    at = np.column_stack([np.ones(9), signal, np.zeros(9)])
    error_p = (
        p
        * (1 - p)
        * np.sqrt(np.einsum("ij,jk,ik->i", at, np.linalg.inv(information), at))
    )
    slope = (true_fraction(p + 1e-4) - true_fraction(p - 1e-4)) / 2e-4
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 6000, 6000) for _ in range(30)]
    error_payoffs = np.std(
        [
            PayoffTable.from_returns(returns.iloc[d], y.iloc[d] == 1).fraction(p)
            for d in draws
        ],
        axis=0,
    )
    band = 4 * (slope * error_p + error_payoffs)
    assert search.best_params_ == {"kellyclassifier__kelly_multiplier": 1.0}
    assert np.all(np.abs(position - true_fraction(p)) < band)
    assert band.max() < 0.5


def test_out_of_sample_growth_of_full_half_and_quarter_kelly():
    """With the edge well estimated the shares of growth are about c (2 - c)."""
    X, y, returns, _ = simulated(4000, seed=1)
    test_X, test_y, test_returns, _ = simulated(60_000, seed=2)

    def growth(multiplier):
        model = KellyClassifier(
            LogisticRegression(), kelly_multiplier=multiplier, max_position=10.0
        ).fit(X, y, returns=returns)
        return model.score(test_X, test_y, returns=test_returns)

    full, half, quarter = growth(1.0), growth(0.5), growth(0.25)
    # Large fractions are not the small-edge limit that c (2 - c) describes.
    assert half / full == pytest.approx(3 / 4, abs=0.1)
    assert quarter / full == pytest.approx(7 / 16, abs=0.1)
