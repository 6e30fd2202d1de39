"""The sequential bootstrap: the book's numbers, exact probabilities, the ensemble."""

import tracemalloc
from itertools import product

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skatra.exceptions import LabelTimesError
from skatra.model_selection import PurgedKFold
from skatra.sample_weight import (
    SequentialBootstrapBagging,
    average_uniqueness,
    draw_probabilities,
    sequential_bootstrap,
)
from skatra.sample_weight._places import place_labels
from skatra.sample_weight._sequential import _accept_long, _accept_short
from tests.strategies import grouped_label_times

BOOK = [(0, 2), (2, 3), (4, 5)]
BARS = pd.RangeIndex(6)


def test_worked_example():
    """1/3 each; after the second label 5/14, 3/14 and 6/14 (AFML 4.5.3)."""
    first = draw_probabilities(BOOK, times=BARS)
    second = draw_probabilities(BOOK, [1], times=BARS)

    np.testing.assert_allclose(first, np.full(3, 1 / 3))
    np.testing.assert_allclose(second, [5 / 14, 3 / 14, 6 / 14])


def _oracle(times, groups, drawn):
    """Average 1 / (1 + drawn labels alive) over each label's points."""
    values = []
    for (t0, t1), group in zip(times, groups, strict=True):
        points = [p for p in np.unique(times[groups == group]) if t0 <= p <= t1]
        alive = [
            sum(groups[d] == group and times[d][0] <= p <= times[d][1] for d in drawn)
            for p in points
        ]
        values.append(np.mean([1 / (1 + c) for c in alive]))
    return np.array(values)


@given(labels=grouped_label_times(), seed=st.integers(0, 99))
def test_every_draw_is_that_of_the_definition(labels, seed):
    """Proposed by uniqueness as it was, accepted by what is left: the exact chances.

    A proposal's probability, times that of its acceptance, is its uniqueness now;
    this needs uniqueness never to rise.
    """
    times, groups = labels
    rng = np.random.default_rng(seed)
    drawn = []
    while len(drawn) < 8:
        before = _oracle(times, groups, drawn)
        chances = rng.random((2, 2 + len(drawn) // 2))
        for aim, chance in chances.T.tolist():
            reached = np.cumsum(before / before.sum())
            label = min(int(np.searchsorted(reached, aim, "right")), len(times) - 1)
            now = _oracle(times, groups, drawn)

            assert (now <= before + 1e-12).all()
            np.testing.assert_allclose(
                draw_probabilities(times, drawn, groups), now / now.sum(), rtol=1e-10
            )
            if chance < now[label] / before[label]:
                drawn.append(label)
    by_seed = sequential_bootstrap(times, 8, groups, random_state=seed)

    assert drawn[:8] == by_seed.tolist()


@given(labels=grouped_label_times(), seed=st.integers(0, 99))
def test_long_and_short_lives_are_drawn_alike(labels, seed):
    """Arrays and lists accept the same proposals."""
    first, stop, size = place_labels(*labels).lives()
    share = 1.0 / (1.0 + np.random.default_rng(seed).integers(0, 4, size))
    proposals = [
        (row, begin, end, chance * (end - begin))
        for row, (begin, end, chance) in enumerate(
            zip(
                first.tolist(),
                stop.tolist(),
                np.random.default_rng(seed).random(len(first)).tolist(),
                strict=True,
            )
        )
    ]

    assert _accept_short(proposals, share) == _accept_long(proposals, share.copy())


def test_frequencies_of_two_draws():
    """All nine pairs come as often as their probabilities say."""
    pairs = np.array(
        [
            sequential_bootstrap(BOOK, 2, times=BARS, random_state=seed)
            for seed in range(6000)
        ]
    )
    for one, two in product(range(3), repeat=2):
        expected = draw_probabilities(BOOK, [one], times=BARS)[two] / 3
        found = np.mean((pairs[:, 0] == one) & (pairs[:, 1] == two))

        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / 6000))


def test_published_gain_in_uniqueness():
    """Medians .60 for the ordinary and about .68 for the sequential bootstrap.

    10 labels on 100 bars, lengths 1 to 4 bars; AFML 4.5.4, figure 4.2, shows .6 and .7.
    """
    plain, sequential = [], []
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        start = rng.integers(0, 100, 10)
        times = np.column_stack([start, start + rng.integers(1, 5, 10)])
        points = pd.RangeIndex(times.max() + 1)
        for found, rows in (
            (plain, rng.integers(0, 10, 10)),
            (sequential, sequential_bootstrap(times, times=points, random_state=rng)),
        ):
            found.append(average_uniqueness(times[rows], times=points).mean())

    assert np.median(plain) == pytest.approx(0.60, abs=0.02)
    assert np.median(sequential) == pytest.approx(0.68, abs=0.02)


def test_memory_is_linear_in_the_labels():
    """20,000 labels take a few megabytes; their table with the bars takes gigabytes."""
    t0 = np.arange(20_000)
    labels = np.column_stack([t0, t0 + 30])
    tracemalloc.start()
    sequential_bootstrap(labels, 100, random_state=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20e6


def test_draws_and_misuse():
    """Seeds repeat, counts are checked, empty draws are empty."""
    one, two = (sequential_bootstrap(BOOK, 50, random_state=3) for _ in range(2))

    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.intp
    assert len(sequential_bootstrap(BOOK)) == 3
    assert sequential_bootstrap(BOOK, 0).tolist() == []
    for arguments, message in [
        ((BOOK, -1), "n_draws must be a whole number"),
        ((np.empty((0, 2)), 1), "at least one label"),
        (([(3, 1)], 1), "must not end before they start"),
    ]:
        with pytest.raises(ValueError, match=message):
            sequential_bootstrap(*arguments)
    with pytest.raises(LabelTimesError, match="times must hold a point"):
        sequential_bootstrap(BOOK, times=pd.RangeIndex(3))


@pytest.fixture
def market():
    """Return features, classes and label times that overlap."""
    days = pd.date_range("2024-01-01", periods=120, name="t0")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 2)), days, ["a", "b"])
    y = pd.Series(np.where(X["a"] + rng.normal(size=120) > 0, "up", "down"), days)
    return X, y, pd.Series(days + pd.Timedelta("6D"), index=days)


def test_each_model_sees_its_own_draw(market):
    """Rows are those of the bootstrap; probabilities are the mean of the models'."""
    X, y, label_times = market
    model = SequentialBootstrapBagging(
        LogisticRegression(), 4, max_samples=0.5, random_state=1
    ).fit(X, y, label_times=label_times)
    unique = [
        average_uniqueness(label_times.iloc[rows]).mean()
        for rows in model.estimators_samples_
    ]
    rng = np.random.default_rng(0)
    plain = [
        average_uniqueness(label_times.iloc[rng.integers(0, 120, 60)]).mean()
        for _ in range(40)
    ]

    assert [len(rows) for rows in model.estimators_samples_] == [60] * 4
    assert np.mean(unique) > np.mean(plain)
    for rows, fitted in zip(model.estimators_samples_, model.estimators_, strict=True):
        again = LogisticRegression().fit(X.iloc[rows], y.iloc[rows] == "up")
        np.testing.assert_allclose(fitted.coef_, again.coef_)
    np.testing.assert_allclose(
        model.predict_proba(X),
        np.mean([m.predict_proba(X) for m in model.estimators_], axis=0),
    )
    assert model.score(X, y) > 0.6
    assert model.classes_.tolist() == ["down", "up"]


def test_votes_and_means(market):
    """Without probabilities the majority decides; numbers are averaged."""
    X, y, label_times = market
    votes = SequentialBootstrapBagging(LinearSVC(), 3, random_state=0)
    votes.fit(X, y, label_times=label_times)
    number = SequentialBootstrapBagging(Ridge(), 3, random_state=0)
    number.fit(X, X["a"], label_times=label_times, sample_weight=np.ones(120))

    assert not hasattr(votes, "predict_proba")
    expected = np.mean([m.predict(X) for m in votes.estimators_], axis=0) > 0.5
    assert (votes.predict(X) == np.where(expected, "up", "down")).all()
    np.testing.assert_allclose(
        number.predict(X), np.mean([m.predict(X) for m in number.estimators_], axis=0)
    )


def test_label_times_and_weights_are_routed(market):
    """A purged search hands label times and weights to each fold's ensemble."""
    X, y, label_times = market
    with sklearn.config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        search = GridSearchCV(
            make_pipeline(
                StandardScaler().set_fit_request(sample_weight=False),
                SequentialBootstrapBagging(inner, 2, random_state=0),
            ),
            {"sequentialbootstrapbagging__estimator__C": [0.1, 1.0]},
            cv=PurgedKFold(3),
            scoring=make_scorer(accuracy_score).set_score_request(sample_weight=False),
            error_score="raise",
        ).fit(X, y, label_times=label_times, sample_weight=np.ones(120))
    best = search.best_params_["sequentialbootstrapbagging__estimator__C"]
    scaled = StandardScaler().fit_transform(X)
    alone = SequentialBootstrapBagging(LogisticRegression(C=best), 2, random_state=0)
    alone.fit(scaled, y, label_times=label_times)

    np.testing.assert_allclose(search.predict_proba(X), alone.predict_proba(scaled))


def test_bagging_misuse_is_named(market):
    """Parameters, rows that do not match, and no label times."""
    X, y, label_times = market
    for options, message in [
        ({"n_estimators": 0}, "'n_estimators' parameter .* at least 1. Got 0"),
        ({"n_estimators": True}, "'n_estimators' parameter .* an integer"),
        ({"max_samples": 0}, "'max_samples' parameter"),
        ({"max_samples": 1.5}, r"share in \(0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            SequentialBootstrapBagging(**options).fit(X, y, label_times=label_times)
    with pytest.raises(ValueError, match="X and label_times must have the same index"):
        SequentialBootstrapBagging().fit(X, y, label_times=label_times[::-1])
    with pytest.warns(UserWarning, match="ordinary bootstrap. Pass"):
        SequentialBootstrapBagging(n_estimators=1, max_samples=7).fit(X, y)
