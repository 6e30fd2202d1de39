"""Importance on test folds: by hand, under purging, with any scorer."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.inspection import (
    FeatureImportance,
    feature_clusters,
    mean_decrease_importance,
    single_feature_importance,
)
from skatra.metrics import growth_scorer
from skatra.model_selection import PurgedKFold
from skatra.sizing import KellyClassifier

FOLDS = KFold(4)


@pytest.fixture
def market():
    """Return features (a signal, its twin, noise), classes, returns, label times."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=400, name="t0")
    signal = rng.normal(size=400)
    X = pd.DataFrame(
        {
            "signal": signal,
            "noise": rng.normal(size=400),
            "twin": signal + 0.01 * rng.normal(size=400),
        },
        days,
    )
    returns = pd.Series(0.02 * signal + 0.02 * rng.normal(size=400), days)
    label_times = pd.Series(days + pd.Timedelta("3D"), index=days)
    return X, (returns > 0).astype(int), returns, label_times


def test_equals_the_loop_by_hand(market):
    """Fit once per fold, shuffle, score again, average over the same permutations."""
    X, y, _, _ = market
    found = mean_decrease_importance(
        LogisticRegression(), X, y, cv=FOLDS, scoring="accuracy", n_repeats=3,
        random_state=7,
    ).per_fold  # fmt: skip
    for fold, (train, test) in enumerate(FOLDS.split(X)):
        model = LogisticRegression().fit(X.iloc[train], y.iloc[train])
        rng = np.random.default_rng(7)
        orders = [rng.permutation(100) for _ in range(3)]
        for name in X:
            scores = []
            for order in orders:
                rows = X.iloc[test].copy()
                rows[name] = rows[name].to_numpy()[order]
                scores.append(model.score(rows, y.iloc[test]))
            expected = model.score(X.iloc[test], y.iloc[test]) - np.mean(scores)
            assert found.loc[fold, name] == pytest.approx(expected)
    assert list(found.columns) == list(X.columns)


def test_arrays_and_frames_agree(market):
    """Columns by position where they have no names; input stays as it was."""
    X, y, _, _ = market
    values = X.to_numpy()
    kept = values.copy()
    by_name = mean_decrease_importance(LogisticRegression(), X, y, cv=FOLDS)
    by_place = mean_decrease_importance(
        LogisticRegression(), values, y, cv=list(FOLDS.split(values))
    )

    np.testing.assert_allclose(by_name.per_fold, by_place.per_fold)
    assert by_place.per_fold.columns.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(values, kept)


def test_twins_hide_each_other_until_shuffled_together(market):
    """Each twin alone carries half; their cluster carries the whole signal."""
    X, y, _, _ = market
    clusters = feature_clusters(X)
    alone = mean_decrease_importance(LogisticRegression(), X, y, cv=FOLDS)
    joint = mean_decrease_importance(
        LogisticRegression(), X, y, cv=FOLDS, clusters=clusters
    )

    assert clusters == {"cluster_0": ["signal", "twin"], "cluster_1": ["noise"]}
    best = joint.to_frame()
    assert best.index.tolist() == ["cluster_0", "cluster_1"]
    assert best.loc["cluster_0", "mean"] > 1.3 * alone.to_frame()["mean"].max()
    assert abs(best.loc["cluster_1", "mean"]) < 0.02


def test_singletons_are_the_features(market):
    """Clusters of one column each are the importance of the columns."""
    X, y, _, _ = market
    model = LogisticRegression()
    plain = mean_decrease_importance(model, X, y, cv=FOLDS)
    single = mean_decrease_importance(
        model, X, y, cv=FOLDS, clusters={name: [name] for name in X}
    )

    pd.testing.assert_frame_equal(plain.per_fold, single.per_fold)


def test_log_growth_under_purging(market):
    """Label times reach the splitter, returns fit and scorer: by routing, or held."""
    X, y, returns, label_times = market
    model = make_pipeline(StandardScaler(), KellyClassifier(LogisticRegression()))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = [
            measure(
                model, X, y, cv=PurgedKFold(4, embargo="2D"), scoring=growth_scorer(),
                params={"label_times": label_times, "returns": returns},
            )
            for measure in (mean_decrease_importance, single_feature_importance)
        ]  # fmt: skip
        by_hand = []
        for train, test in PurgedKFold(4, embargo="2D").split(
            X, label_times=label_times
        ):
            fitted = sklearn.clone(model).fit(
                X.iloc[train], y.iloc[train], returns=returns.iloc[train],
                label_times=label_times.iloc[train],
            )  # fmt: skip
            by_hand.append(
                growth_scorer(returns=returns)(fitted, X.iloc[test], y.iloc[test])
            )

    decrease, single = routed
    assert decrease.to_frame().index[-1] == "noise"
    assert single.to_frame().index[-1] == "noise"
    assert (single.per_fold["signal"] > 0).all()
    assert np.all(decrease.per_fold["signal"] < by_hand)


def test_single_features_are_scored_alone(market):
    """The scores of cross-validation on one column."""
    X, y, _, _ = market
    found = single_feature_importance(
        LogisticRegression(), X, y, cv=FOLDS, scoring="neg_log_loss"
    )
    for name in X:
        expected = cross_val_score(
            LogisticRegression(), X[[name]], y, cv=FOLDS, scoring="neg_log_loss"
        )
        np.testing.assert_allclose(found.per_fold[name], expected)


def test_plot_and_frame(market):
    """Bars in order of importance; one fold has no error."""
    X, y, _, _ = market
    importance = single_feature_importance(LogisticRegression(), X, y, cv=FOLDS)
    axes = importance.plot()
    labels = [text.get_text() for text in axes.get_yticklabels()]

    assert labels[::-1] == importance.to_frame().index.tolist()
    one = FeatureImportance(pd.DataFrame({"a": [0.1]}))
    assert one.to_frame()["standard_error"].isna().all()
    assert len(one.plot(axes).patches) == 4


SLEEP = pd.DataFrame({"hours": [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]})
"""Student (1908), p. 20: sleep gained by hyoscyamine, left over right, ten patients."""


def test_the_published_interval():
    """R's t.test on Student's ten differences gives 0.7001142 to 2.4598858."""
    found = FeatureImportance(SLEEP).interval()

    np.testing.assert_allclose(found.loc["hours"], [0.7001142, 2.4598858], atol=5e-8)


@given(st.integers(2, 12), st.floats(0.01, 0.99), st.integers(0, 999))
def test_intervals_are_those_of_a_t_test(n_folds, confidence, seed):
    """An oracle of its own: scipy's one-sample t-test; order as in the frame."""
    values = np.random.default_rng(seed).normal(size=(n_folds, 3))
    importance = FeatureImportance(pd.DataFrame(values, columns=list("abc")))
    found = importance.interval(confidence)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)

    assert list(found.index) == list(importance.to_frame().index)
    np.testing.assert_allclose(found.loc[list("abc"), "low"], expected.low, rtol=1e-9)
    np.testing.assert_allclose(found.loc[list("abc"), "high"], expected.high, rtol=1e-9)


def test_few_folds_are_covered():
    """Intervals of five normal folds hold 95 % of 4,000 means; 1.96 errors do not."""
    values = np.random.default_rng(0).normal(size=(5, 4000))
    found = FeatureImportance(pd.DataFrame(values)).interval()
    frame = FeatureImportance(pd.DataFrame(values)).to_frame()
    covered = ((found["low"] < 0) & (found["high"] > 0)).mean()

    assert covered == pytest.approx(0.95, abs=0.011)
    assert (frame["mean"].abs() < 1.96 * frame["standard_error"]).mean() < 0.9


def test_one_fold_has_no_interval_and_bad_levels_are_named():
    """NaN, as the standard error; a level of 95 is refused with what is asked."""
    one = FeatureImportance(pd.DataFrame({"a": [0.1]}))

    assert one.interval().isna().all(axis=None)
    for level in (0.0, 1.0, 95, "0.95"):
        with pytest.raises(ValueError, match="confidence must"):
            one.interval(level)


@given(st.integers(0, 999), st.integers(2, 8), st.integers(0, 3))
def test_clusters_are_a_partition(seed, n_features, n_equal):
    """Every column once; sign, scale and order of columns do not matter."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, n_features))
    values[:, : min(n_equal, n_features)] = values[:, :1]
    X = pd.DataFrame(values, columns=list("abcdefgh"[:n_features]))
    found = feature_clusters(X)
    order = rng.permutation(n_features)
    again = feature_clusters((X * rng.choice([-2.0, 0.5], n_features)).iloc[:, order])

    assert sorted(name for part in found.values() for name in part) == list(X)
    assert {frozenset(part) for part in found.values()} == {
        frozenset(part) for part in again.values()
    }
    if n_equal > 1 and n_features > 2:
        assert any(set("ab") <= set(part) for part in found.values())


def test_given_numbers_of_clusters_and_degenerate_tables():
    """From one cluster to one per column; constants are alone, not an error."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3))
    values[:, 2] = 1.0

    assert feature_clusters(values, n_clusters=1) == {"cluster_0": [0, 1, 2]}
    assert len(feature_clusters(values, n_clusters=3)) == 3
    assert feature_clusters(values[:, :1]) == {"cluster_0": [0]}
    assert len(feature_clusters(values[:, :2])) == 2


def test_misuse_is_named(market):
    """Integers as cv, unknown columns, and counts out of range."""
    X, y, _, _ = market
    for options, message in [
        ({"cv": 5}, "cv must be a splitter.*Pass a PurgedKFold"),
        ({"cv": FOLDS, "n_repeats": 0}, "n_repeats must be"),
        ({"cv": FOLDS, "clusters": {"c": ["z"]}}, r"cluster 'c' names \['z'\]"),
        ({"cv": FOLDS, "clusters": {"c": []}}, "cluster 'c' holds none"),
    ]:
        with pytest.raises(ValueError, match=message):
            mean_decrease_importance(LogisticRegression(), X, y, **options)
    with pytest.raises(ValueError, match="must not repeat"):
        single_feature_importance(LogisticRegression(), X[["noise"] * 2], y, cv=FOLDS)
    with pytest.raises(ValueError, match="DataFrame or a 2-d array"):
        single_feature_importance(LogisticRegression(), [[1]], y, cv=FOLDS)
    for table, options, message in [
        (X, {"n_clusters": 4}, "n_clusters must be between 1 and the 3"),
        (X[:1], {}, "2 rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            feature_clusters(table, **options)


def test_a_fold_without_a_number_is_not_left_out():
    """A mean over the other folds would hide the ruin."""
    table = FeatureImportance(
        pd.DataFrame({"a": [np.nan, 0.4], "b": [0.0, 0.1]})
    ).to_frame()

    assert table.index.tolist() == ["b", "a"]
    assert table.loc["a"].isna().all()


def test_text_is_no_list_of_columns(market):
    """The letters of a name are not its columns."""
    X, y, _, _ = market
    with pytest.raises(ValueError, match=r"text 'noise'. Pass \['noise'\]"):
        mean_decrease_importance(
            LogisticRegression(), X, y, cv=FOLDS, clusters={"c": "noise"}
        )


def test_unrelated_features_are_left_alone():
    """No noise is shuffled together with a signal it says nothing about."""
    joined = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=(300, 6))
        joined += len(feature_clusters(noise)) < 6
    assert joined <= 6  # 5 % by construction

    rng = np.random.default_rng(0)
    table = np.random.default_rng(1).normal(size=(300, 6))
    table[:, 1] = table[:, 0] + 0.1 * rng.normal(size=300)
    table[:, 5] = -table[:, 4] + 0.1 * rng.normal(size=300)
    assert list(feature_clusters(table).values()) == [[0, 1], [2], [3], [4, 5]]
