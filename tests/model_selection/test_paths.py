"""cross_val_paths: what each path holds, who fits on what, and the scores."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    KFold,
    RepeatedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)

from skatra.metrics import growth_scorer
from skatra.model_selection import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    PurgedWalkForward,
    cross_val_paths,
)

N_ROWS = 60
DAYS = pd.date_range("2026-01-05", periods=N_ROWS, freq="D")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("2D"), index=DAYS)
PARAMS = {"label_times": LABEL_TIMES}
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(N_ROWS, 2)), index=DAYS)
Y = pd.Series((X[0] + RNG.normal(size=N_ROWS) > 0).astype(int), index=DAYS)
CPCV = CombinatorialPurgedKFold(5, 2, embargo="1D")


class Tagger(RegressorMixin, BaseEstimator):
    """Predicts the first training row, which tells the splits apart."""

    def fit(self, X, y=None, sample_weight=None):  # noqa: ARG002
        """Remember the first row and the weights."""
        self.first_ = np.asarray(X)[0, 0]
        self.weight_ = None if sample_weight is None else np.sum(sample_weight)
        return self

    def predict(self, X):
        """Return the first training row next to each row."""
        return np.full(len(X), self.first_)

    def weights(self, X):
        """Return the sum of the training weights."""
        return np.full(len(X), self.weight_)


class Position(ClassifierMixin, BaseEstimator):
    """Stakes a tenth of capital, on whichever side the rows say."""

    def fit(self, X, y):  # noqa: ARG002
        """Remember the classes."""
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        """Return positions."""
        return 0.1 * np.sign(np.asarray(X)[:, 0])


class _Odd(LinearRegression):
    def three(self, X):  # noqa: ARG002
        return np.zeros(3)


@given(
    st.integers(2, 7).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.integers(1, n - 1),
            st.sampled_from([0, 14]),
            st.integers(1, 2),
        )
    )
)
def test_each_path_holds_every_row_once_from_a_split_that_tests_it(sizes):
    """The p-th split that tests a row predicts it on path p, and nothing else does."""
    n_folds, n_test_folds, sampled, n_repeats = sizes
    cv = CombinatorialPurgedKFold(
        n_folds,
        n_test_folds,
        max_splits=sampled or None,
        random_state=1,
        n_repeats=n_repeats,
    )
    points = pd.Series(np.arange(20), index=np.arange(20))
    X = np.arange(20.0)[:, None]
    found = cross_val_paths(Tagger(), X, cv=cv, params={"label_times": points})
    splits = list(cv.split(X, label_times=points))

    assert found.paths.shape == found.splits.shape == (cv.n_paths, 20)
    for row in range(20):
        testing = [k for k, (_, test) in enumerate(splits) if row in test]
        assert testing == found.splits[:, row].tolist()
        firsts = [splits[k][0][0] for k in testing]
        assert firsts == found.paths[:, row].tolist()


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_one_path_of_a_kfold_is_cross_val_predict(method):
    """With PurgedKFold the only path is scikit-learn's out-of-fold prediction."""
    model, cv = LinearDiscriminantAnalysis(), PurgedKFold(4)
    ours = cross_val_paths(model, X, Y, cv=cv, method=method, params=PARAMS)
    splits = list(cv.split(X, label_times=LABEL_TIMES))
    theirs = cross_val_predict(model, X, Y, cv=splits, method=method)

    assert ours.n_paths == 1
    np.testing.assert_array_equal(theirs, ours.paths[0])


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_metadata_go_where_scikit_learn_sends_them(routing, n_jobs):
    """Label times reach split; weights reach fit, sliced like the rows."""
    weight = np.arange(N_ROWS)
    with config_context(enable_metadata_routing=routing):
        model = Tagger()
        if routing:
            model.set_fit_request(sample_weight=True)
        found = cross_val_paths(
            model,
            X,
            cv=CPCV,
            method="weights",
            params={"label_times": LABEL_TIMES, "sample_weight": weight},
            n_jobs=n_jobs,
        )
    splits = list(CPCV.split(X, label_times=LABEL_TIMES))
    expected = np.array([weight[train].sum() for train, _ in splits])

    np.testing.assert_array_equal(expected[found.splits], found.paths)


def test_any_joblib_backend_gives_the_same():
    """joblib.parallel_config decides who computes; the result stays."""
    expected = cross_val_paths(
        LinearDiscriminantAnalysis(), X, Y, cv=CPCV, params=PARAMS
    )
    with parallel_config("threading", n_jobs=2):
        found = cross_val_paths(
            LinearDiscriminantAnalysis(), X, Y, cv=CPCV, params=PARAMS
        )

    np.testing.assert_array_equal(expected.paths, found.paths)


def test_unrequested_metadata_are_refused():
    """With routing on, nothing is dropped in silence."""
    params = {"label_times": LABEL_TIMES, "sample_weight": np.ones(N_ROWS)}
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(UnsetMetadataPassedError, match="sample_weight"),
    ):
        cross_val_paths(Tagger(), X, Y, cv=CPCV, params=params)


@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_splitter(routing):
    """As in scikit-learn: by name with routing off, among params with it on."""
    cv = PurgedKFold(3, purge_scope="groups", label_times=LABEL_TIMES)
    groups = np.arange(N_ROWS) % 2
    named = {"params": {"groups": groups}} if routing else {"groups": groups}
    wrong = {"groups": groups}
    with config_context(enable_metadata_routing=routing):
        found = cross_val_paths(LinearRegression(), X, Y, cv=cv, **named)
        if routing:
            with pytest.raises(ValueError, match="groups must be passed in params"):
                cross_val_paths(LinearRegression(), X, Y, cv=cv, **wrong)

    assert found.n_paths == 1


def test_scores_are_those_of_each_path():
    """One row per path, one column per scorer, over all rows of the path."""
    found = cross_val_paths(LinearDiscriminantAnalysis(), X, Y, cv=CPCV, params=PARAMS)
    expected = [accuracy_score(Y, path) for path in found.paths]

    by_name = found.scores("accuracy")
    assert expected == by_name["accuracy"].tolist()
    assert by_name.index.name == "path"
    table = found.scores(["accuracy", "f1"])
    assert table.columns.tolist() == ["accuracy", "f1"]
    own = make_scorer(accuracy_score)
    assert expected == found.scores({"mine": own})["mine"].tolist()
    assert expected == found.scores(own).iloc[:, 0].tolist()
    weight = np.arange(N_ROWS)
    weighted = [accuracy_score(Y, p, sample_weight=weight) for p in found.paths]
    assert (
        weighted == found.scores("accuracy", sample_weight=weight).iloc[:, 0].tolist()
    )


def test_probabilities_score_and_show_by_class():
    """Scorers take probabilities; the frame's columns are (path, class)."""
    found = cross_val_paths(
        LinearDiscriminantAnalysis(),
        X,
        Y,
        cv=CPCV,
        method="predict_proba",
        params=PARAMS,
    )

    assert found.paths.shape == (4, N_ROWS, 2)
    assert (found.scores("neg_log_loss") < 0).all(axis=None)
    assert found.scores("roc_auc").shape == (4, 1)
    frame = found.to_frame()
    assert frame.index.equals(DAYS)
    assert frame.columns.names == ["path", "output"]
    np.testing.assert_array_equal(frame[2][1], found.paths[2, :, 1])
    with pytest.raises(ValueError, match=r"another method than 'predict_proba'"):
        found.scores("accuracy")


def test_positions_are_scored_by_growth():
    """growth_scorer takes the positions of a path and the returns of all rows."""
    returns = pd.Series(RNG.normal(0, 0.01, N_ROWS), index=DAYS)
    found = cross_val_paths(
        Position(), X, Y, cv=CPCV, method="decision_function", params=PARAMS
    )
    expected = np.log1p(0.1 * np.sign(X[0]) * returns).mean()

    scores = found.scores(growth_scorer(), returns=returns)
    np.testing.assert_allclose(expected, scores.to_numpy())


def test_frame_and_repr():
    """Rows are indexed like X, columns are paths; the repr is one line."""
    found = cross_val_paths(LinearRegression(), X, Y, cv=CPCV, params=PARAMS)

    np.testing.assert_array_equal(found.paths.T, found.to_frame())
    assert found.to_frame().columns.name == "path"
    assert repr(found) == (
        "BacktestPaths(n_paths=4, n_samples=60, n_splits=10, method='predict')"
    )
    two = cross_val_paths(
        LinearRegression(), X.to_numpy(), np.c_[Y, Y], cv=CPCV, params=PARAMS
    )
    assert two.paths.shape == (4, N_ROWS, 2)
    assert two.to_frame().shape == (N_ROWS, 8)


def test_a_class_unseen_in_training_has_probability_zero():
    """Columns of all splits are those of the classes in y."""
    y = np.repeat([0, 1, 2], 20)
    found = cross_val_paths(
        DummyClassifier(), X, y, cv=KFold(3), method="predict_proba"
    )

    assert found.paths.shape == (1, N_ROWS, 3)
    np.testing.assert_array_equal(found.paths[0, y == 1][0], [0.5, 0, 0.5])
    with pytest.raises(ValueError, match=r"hold 2 of 3 classes.*predict_proba"):
        cross_val_paths(Position(), X, y, cv=KFold(3), method="decision_function")


def test_any_splitter_that_tests_rows_equally_often_will_do():
    """Repeated folds make as many paths as repetitions; lists of splits work too."""
    cv = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    found = cross_val_paths(LinearRegression(), X, Y, cv=cv)
    listed = cross_val_paths(LinearRegression(), X, Y, cv=list(cv.split(X)))

    assert found.n_paths == 2
    np.testing.assert_array_equal(listed.paths, found.paths)


@pytest.mark.parametrize(
    "cv", [TimeSeriesSplit(3), PurgedWalkForward(3, purge_gap=1), [([0], [1])]]
)
def test_rows_tested_unequally_make_no_paths(cv):
    """What does not test every row equally often is refused before any fit."""
    with pytest.raises(ValueError, match=r"test every row equally often.*0 to 1 times"):
        cross_val_paths(_Odd(), X, Y, cv=cv)


def test_outputs_that_are_no_rows_are_refused():
    """One row of numbers per sample, or an error that says what came."""
    with pytest.raises(ValueError, match=r"'three' must give one row.*shape \(3,\)"):
        cross_val_paths(_Odd(), X, Y, cv=KFold(2), method="three")


def test_progress_goes_to_stderr_only_when_asked(capsys):
    """Long runs show a bar on stderr; the default is silent."""
    cross_val_paths(LinearRegression(), X, Y, cv=CPCV, params=PARAMS)
    silent = capsys.readouterr()
    found = cross_val_paths(
        LinearRegression(), X, Y, cv=CPCV, params=PARAMS, progress=True, n_jobs=2
    )
    shown = capsys.readouterr()

    assert silent == ("", "")
    assert shown.out == ""
    assert "Fitting splits" in shown.err
    assert found.n_paths == 4
