"""KellyClassifier: payoffs, calibration, sides, rows and errors."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, RepeatedKFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from skatra.metrics import log_growth
from skatra.sizing import KellyClassifier, PayoffTable
from skatra.sizing._calibration import fit_calibrator
from skatra.sizing._cross_fit import log_odds


@pytest.fixture
def market():
    """Return features, labels and returns with an edge, on a time index."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=300, tz="UTC", name="t0")
    signal = rng.normal(size=300)
    returns = pd.Series(
        np.clip(0.03 * signal + rng.normal(0.005, 0.05, 300), -0.5, None), index=index
    )
    X = pd.DataFrame({"signal": signal, "noise": rng.normal(size=300)}, index)
    return X, pd.Series(np.where(returns > 0, 1, -1), index), returns


def test_position_is_multiplier_times_fraction_of_the_probability(market):
    """decision_function is c f*(p) of the inner probabilities and learned payoffs."""
    X, y, returns = market
    model = KellyClassifier(LogisticRegression(), max_position=100.0)
    model.fit(X, y, returns=returns)
    inner = LogisticRegression().fit(X, y)
    table = PayoffTable.from_returns(returns, y == 1)

    p = inner.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), p)
    np.testing.assert_array_equal(model.predict(X), inner.predict(X))
    np.testing.assert_allclose(
        model.decision_function(X), 0.25 * table.fraction(p[:, 1])
    )
    assert model.payoff_table_.mean_win == pytest.approx(returns[y == 1].mean())
    assert model.feature_names_in_.tolist() == ["signal", "noise"]


def test_sides_and_caps_clip_the_position(market):
    """Long and short are the two halves of both; the cap holds on either side."""
    X, y, returns = market

    def position(**options):
        model = KellyClassifier(LogisticRegression(), **options)
        return model.fit(X, y, returns=returns).decision_function(X)

    both = position(max_position=0.5)
    assert (both.min(), both.max()) == (-0.5, 0.5)
    np.testing.assert_array_equal(
        position(max_position=0.5, side="long"), both.clip(0, None)
    )
    np.testing.assert_array_equal(
        position(max_position=0.5, side="short"), both.clip(None, 0)
    )
    np.testing.assert_array_equal(position(kelly_multiplier=0), 0 * both)


def test_without_returns_payoffs_are_symmetric_and_one_warning_says_so(market):
    """Full Kelly is 2p - 1; one fit warns once, folds included."""
    X, y, _ = market
    model = KellyClassifier(
        LogisticRegression(), kelly_multiplier=1.0, calibration="sigmoid", cv=KFold(3)
    )
    with pytest.warns(UserWarning, match="without returns") as caught:
        model.fit(X, y)

    assert len(caught) == 1
    np.testing.assert_allclose(
        model.decision_function(X), 2 * model.predict_proba(X)[:, 1] - 1, atol=1e-7
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_drift_is_not_edge_with_benchmark_mean(market, weighted):
    """A model that knows the base rate only stakes exactly nothing."""
    X, _, returns = market
    rising = returns + 0.02
    weight = np.linspace(0.1, 2, 300) if weighted else None
    labels = rising > 0

    drift = KellyClassifier(DummyClassifier(strategy="prior"))
    drift.fit(X, labels, sample_weight=weight, returns=rising)
    edge = clone(drift).set_params(benchmark_return="mean")
    edge.fit(X, labels, sample_weight=weight, returns=rising)

    assert drift.decision_function(X).min() > 0.1
    np.testing.assert_allclose(edge.decision_function(X), 0, atol=1e-9)
    assert edge.benchmark_return_ == pytest.approx(np.average(rising, weights=weight))


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
@pytest.mark.parametrize(
    "cv",
    [
        KFold(4),
        TimeSeriesSplit(4),
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        list(KFold(3).split(np.zeros(300))),
        [(np.arange(300) < 200, np.arange(300) >= 200)],
    ],
    ids=["partition", "walk-forward", "repeated", "list", "masks"],
)
def test_calibration_sees_out_of_fold_predictions_only(market, calibration, cv):
    """The map is fitted on tested rows, each counted once however often tested."""
    X, y, returns = market
    weight = np.linspace(0.5, 1.5, 300)
    model = KellyClassifier(GaussianNB(), calibration=calibration, cv=cv)
    model.fit(X, y, sample_weight=weight, returns=returns)

    rows, odds = [], []
    for train, test in cv.split(X) if hasattr(cv, "split") else cv:
        inner = GaussianNB().fit(X.iloc[train], y.iloc[train], weight[train])
        rows.append(np.arange(300)[test])
        odds.append(log_odds(inner, X.iloc[test]))
    rows = np.concatenate(rows)
    positive = (y == 1).to_numpy()
    expected = fit_calibrator(
        calibration,
        np.concatenate(odds),
        positive[rows],
        weight[rows] / np.bincount(rows, minlength=300)[rows],
        np.average(positive, weights=weight),
    )

    inner = GaussianNB().fit(X, y, weight)
    np.testing.assert_allclose(
        model.predict_proba(X)[:, 1], expected.predict(log_odds(inner, X)), rtol=1e-9
    )
    best = np.argmax(model.predict_proba(X), axis=1)
    np.testing.assert_array_equal(model.predict(X), model.classes_[best])


def test_a_model_that_ranks_backwards_gets_no_stake(market):
    """Out of fold upside down: the base rate, hence 0 above the mean return."""
    X, _, returns = market
    regime = np.arange(300) < 150
    labels = np.where(regime, X["signal"] > 0, X["signal"] < 0)
    model = KellyClassifier(
        LogisticRegression(),
        calibration="sigmoid",
        cv=KFold(2),
        benchmark_return="mean",
    ).fit(X, labels, returns=returns)

    assert model.calibrator_.slope == 0.0
    np.testing.assert_allclose(model.decision_function(X), 0, atol=1e-9)


def test_jobs_change_nothing(market):
    """Two processes give the figures of one."""
    X, y, returns = market
    one = KellyClassifier(LogisticRegression(), calibration="isotonic", cv=KFold(3))
    two = clone(one).set_params(n_jobs=2)

    np.testing.assert_array_equal(
        one.fit(X, y, returns=returns).decision_function(X),
        two.fit(X, y, returns=returns).decision_function(X),
    )


def test_scores_need_no_probabilities_when_calibrated(market):
    """A margin classifier is calibrated from its decision function."""
    X, y, returns = market
    model = KellyClassifier(LinearSVC(), calibration="sigmoid", cv=KFold(3))

    assert model.fit(X, y, returns=returns).score(X, y, returns=returns) > 0
    with pytest.raises(ValueError, match="predict_proba when calibration is None"):
        KellyClassifier(LinearSVC()).fit(X, y, returns=returns)


def test_score_is_log_growth_or_accuracy(market):
    """Returns given: mean log growth, benchmark included; else accuracy."""
    X, y, returns = market
    model = KellyClassifier(LogisticRegression(), benchmark_return=0.001)
    model.fit(X, y, returns=returns)
    weight = np.arange(1, 301)

    assert model.score(X, y, returns=returns, sample_weight=weight) == pytest.approx(
        log_growth(model.decision_function(X), returns, sample_weight=weight)
    )
    assert model.score(X, y) == np.mean(model.predict(X) == y)


@pytest.mark.parametrize("rows", ["y", "returns", "label_times", "sample_weight"])
def test_reversed_rows_are_an_error(market, rows):
    """Rows are matched by index where both have one, in fit and in score."""
    X, y, returns = market
    given = {
        "y": y,
        "returns": returns,
        "label_times": pd.Series(X.index, index=X.index),
        "sample_weight": pd.Series(1.0, index=X.index),
    }
    model = KellyClassifier(LogisticRegression())
    model.fit(X, **given)
    given[rows] = given[rows][::-1]

    with pytest.raises(ValueError, match=f"X and {rows} must have the same index"):
        model.fit(X, **given)
    del given["label_times"]
    if rows in given:
        with pytest.raises(ValueError, match=f"X and {rows} must have the same index"):
            model.score(X, **given)


def test_containers_change_nothing(market):
    """Frames, arrays, lists and sparse matrices give the same positions."""
    X, y, returns = market
    model = KellyClassifier(LogisticRegression(), calibration="sigmoid", cv=KFold(3))
    expected = model.fit(X, y, returns=returns).decision_function(X)

    for rows in (X.to_numpy(), X.to_numpy().tolist(), sparse.coo_array(X.to_numpy())):
        model.fit(rows, y.tolist(), returns=returns.tolist())
        np.testing.assert_allclose(model.decision_function(rows), expected, rtol=1e-6)


def test_returns_without_a_loss_stake_nothing_and_say_so(market):
    """No losers in the training returns: 0 and a warning, never inf or NaN."""
    X, y, returns = market
    model = KellyClassifier(LogisticRegression())
    with pytest.warns(UserWarning, match="no gain or no loss"):
        model.fit(X, y, returns=returns.abs() + 0.01)

    assert not model.decision_function(X).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kelly_multiplier": 1.5},
            r"'kelly_multiplier' parameter of KellyCl.* \[0, 1",
        ),
        ({"kelly_multiplier": "all"}, "must be a number in .* Got 'all' instead"),
        ({"kelly_multiplier": True}, "Got True"),
        ({"max_position": 0}, "'max_position' .* positive and finite. Got 0"),
        ({"benchmark_return": "median"}, "'benchmark_return' .* finite, or 'mean'"),
        ({"benchmark_return": np.nan}, "Got nan"),
        ({"side": "up"}, "'side' .* one of .*'long', 'short', 'both'"),
        ({"calibration": "platt", "cv": KFold()}, "'calibration' .* 'isotonic'"),
        ({"calibration": "sigmoid"}, "'cv' .* leak on overlapping .* Got None"),
        ({"calibration": "sigmoid", "cv": 5}, "'cv' .* pass a PurgedKFold. Got 5"),
        ({"calibration": "sigmoid", "cv": []}, "yields no fold"),
        (
            {"calibration": "sigmoid", "cv": [([], [0])]},
            r"fold 0 of cv=.* has no training rows",
        ),
    ],
)
def test_impossible_parameters_are_named(market, options, message):
    """The message says what would do and what was got."""
    X, y, returns = market
    with pytest.raises(ValueError, match=message):
        KellyClassifier(LogisticRegression(), **options).fit(X, y, returns=returns)


def test_impossible_data_are_named(market):
    """Missing returns, one-class folds, three classes, weights nobody takes."""
    X, y, returns = market
    model = KellyClassifier(LogisticRegression())
    gaps = returns.where(returns.index != returns.index[3])
    with pytest.raises(ValueError, match=r"returns must be finite; .* positions \[3\]"):
        model.fit(X, y, returns=gaps)
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        model.fit(X, np.arange(300) % 3, returns=returns)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        model.fit(X, y, sample_weight=-np.ones(300))
    with pytest.raises(
        ValueError, match=r"fold 1 of .* 150 training rows of one class"
    ):
        clone(model).set_params(calibration="sigmoid", cv=KFold(2)).fit(
            X, np.arange(300) < 160, returns=returns
        )
    with pytest.raises(TypeError, match="KNeighborsClassifier"):
        KellyClassifier(KNeighborsClassifier()).fit(X, y, np.ones(300), returns)
    with pytest.raises(ValueError, match="neither"):
        KellyClassifier(LinearSVR(), calibration="sigmoid", cv=KFold(2)).fit(X, y)


def test_pipelines_inside_and_pickles(market):
    """A pipeline is a fine inner classifier; the fitted model survives a pickle."""
    X, y, returns = market
    model = KellyClassifier(
        make_pipeline(StandardScaler(), LogisticRegression()),
        calibration="isotonic",
        cv=KFold(3),
    ).fit(X, y, returns=returns)

    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(
        again.decision_function(X), model.decision_function(X)
    )


def test_ruin_is_out_of_reach_at_full_kelly(market):
    """Even a model certain of itself never stakes what a seen loss would take."""
    X, y, returns = market
    model = KellyClassifier(
        LogisticRegression(C=1e6), kelly_multiplier=1.0, max_position=1e9
    ).fit(100 * X, y, returns=returns)

    position = model.decision_function(1e6 * X)
    assert np.all(1 + np.outer(position, returns) > 0)


def test_fit_warns_about_nothing_when_given_everything(market):
    """Returns given: silence."""
    X, y, returns = market
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KellyClassifier(LogisticRegression()).fit(X, y, returns=returns)


@pytest.mark.parametrize("estimator", [LogisticRegression, None, "logistic"])
def test_what_is_no_classifier_is_named(estimator):
    """A class, None or a name cannot be fitted."""
    with pytest.raises(ValueError, match="'estimator' parameter of KellyClassifier"):
        KellyClassifier(estimator).fit([[0.0], [1.0]], [0, 1], returns=[-0.1, 0.1])


def test_returns_are_checked_before_anything_is_fitted():
    """A missing return does not cost a fit first."""
    model = KellyClassifier(LogisticRegression(C=-1.0))
    with pytest.raises(ValueError, match="returns must be finite"):
        model.fit([[0.0], [1.0]], [0, 1], returns=[np.nan, 0.1])
