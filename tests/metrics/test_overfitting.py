"""Probability of overfitting against brute force, and the report on searches."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
)

from skatra.metrics import (
    growth_scorer,
    overfitting_report,
    probability_of_backtest_overfitting,
)

NOISE = np.random.default_rng(7).standard_normal((1000, 100))


def _oracle(table, n_blocks, metric):
    """Split, choose and rank as the paper says, split by split."""
    size = len(table) // n_blocks
    blocks = [table[k * size : (k + 1) * size] for k in range(n_blocks)]

    def performance(chosen):
        rows = np.concatenate([blocks[k] for k in chosen])
        if metric == "mean":
            return rows.mean(axis=0)
        return rows.mean(axis=0) / rows.std(axis=0, ddof=1)

    found = []
    for inside in combinations(range(n_blocks), n_blocks // 2):
        outside = [k for k in range(n_blocks) if k not in inside]
        before, after = performance(inside), performance(outside)
        best = before.argmax()
        share = stats.rankdata(after)[best] / (table.shape[1] + 1)
        found.append((best, before[best], after[best], np.log(share / (1 - share))))
    return [np.array(column) for column in zip(*found, strict=True)]


@given(
    st.integers(0, 99),
    st.sampled_from([2, 4, 6, 8]),
    st.integers(2, 6),
    st.sampled_from(["sharpe", "mean"]),
    st.sampled_from([0.0, 10.0]),
)
def test_equals_the_plain_loop(seed, n_blocks, n_trials, metric, level):
    """Every split, in the same order, whatever the level and the left-over rows."""
    rng = np.random.default_rng(seed)
    rows = n_blocks * int(rng.integers(3, 9)) + int(rng.integers(0, n_blocks))
    table = level + rng.standard_normal((rows, n_trials))
    result = probability_of_backtest_overfitting(
        table, n_blocks=n_blocks, metric=metric
    )
    chosen, inside, outside, logits = _oracle(table, n_blocks, metric)

    np.testing.assert_array_equal(result.chosen, chosen)
    np.testing.assert_allclose(result.in_sample, inside, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.out_of_sample, outside, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.logits, logits, atol=1e-12)
    assert result.probability == np.mean(logits <= 0)
    assert result.probability_of_loss == np.mean(outside < 0)


@pytest.mark.parametrize(("n_blocks", "expected"), [(16, 0.374281), (8, 0.285714)])
def test_reference_numbers(n_blocks, expected):
    """Agreed by brute force and by another library."""
    result = probability_of_backtest_overfitting(NOISE, n_blocks=n_blocks)

    assert result.probability == pytest.approx(expected, abs=5e-7)


def test_recentred_noise_is_always_overfitted():
    """Where all trials end equal, who is best in one half is worst in the other.

    The construction of Bailey, Borwein, López de Prado and Zhu (2017) on recentred
    noise; the vignette of the R package pbo prints 1 as well.
    """
    result = probability_of_backtest_overfitting(NOISE - NOISE.mean(axis=0))

    assert result.probability == 1
    assert result.degradation[0] < -0.5


def test_noise_is_a_coin_on_average():
    """Mean .488 and standard deviation .206 over noise tables: one proves nothing."""
    values = [
        probability_of_backtest_overfitting(
            np.random.default_rng(seed).standard_normal((480, 20)), n_blocks=8
        ).probability
        for seed in range(400)
    ]

    assert np.mean(values) == pytest.approx(0.4878, abs=5e-5)
    assert np.std(values) == pytest.approx(0.2065, abs=5e-4)


def test_a_real_edge_is_found():
    """A trial that stands out is chosen in every half, and is best in the other."""
    trials = NOISE[:, :20].copy()
    trials[:, 4] += 0.5
    result = probability_of_backtest_overfitting(trials)

    assert result.probability == 0
    assert set(result.chosen) == {4}
    assert result.logits.min() == pytest.approx(np.log(20))


@given(st.integers(0, 99), st.floats(0.1, 10))
def test_order_and_leverage_of_trials_do_not_matter(seed, scale):
    """Trials in another order or at another size give the same probability."""
    order = np.random.default_rng(seed).permutation(9)
    trials = NOISE[:100, :9]
    expected = probability_of_backtest_overfitting(trials, n_blocks=4)
    actual = probability_of_backtest_overfitting(scale * trials[:, order], n_blocks=4)

    np.testing.assert_array_equal(order[actual.chosen], expected.chosen)
    np.testing.assert_allclose(actual.logits, expected.logits)


def test_trials_that_never_trade_have_ratio_0():
    """A column of zeros is a trial like others, without NaN."""
    trials = np.column_stack([np.zeros(64), NOISE[:64, :3]])
    result = probability_of_backtest_overfitting(trials, n_blocks=4)

    assert np.isfinite(result.in_sample).all()
    assert np.isfinite(result.logits).all()


def test_plot_draws_both_panels_and_is_lazy():
    """Histogram and scatter; importing the metrics does not load matplotlib."""
    left, right = probability_of_backtest_overfitting(NOISE, n_blocks=8).plot()

    assert "0.29" in left.get_title()
    assert len(right.lines) == 3
    code = "import sys, skatra.metrics; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (NOISE[:, :1], {}, "at least 2 trials"),
        (NOISE.T, {}, r"more trials than observations.*trial_returns\.T"),
        (NOISE, {"n_blocks": 7}, "n_blocks must be an even number"),
        (NOISE, {"n_blocks": 40}, "n_blocks must be at most 22.*got 40"),
        (NOISE[:20, :3], {}, "at least 2 rows per block: 32"),
        (NOISE, {"metric": "sortino"}, "metric must be"),
        (np.where(NOISE > 3, np.nan, NOISE), {}, "must be finite"),
        ([["a", "b"]], {}, "must hold numbers"),
    ],
)
def test_misuse_is_named(table, options, message):
    """Each message says what was required, what came, and the way out."""
    with pytest.raises(ValueError, match=message):
        probability_of_backtest_overfitting(table, **options)


class KeptScores(BaseEstimator):
    """What a search leaves behind, from a table of scores."""

    refit = True

    def __init__(self, scores):
        self.best_index_ = int(scores.mean(axis=1).argmax())
        self.cv_results_ = {
            f"split{k}_test_score": column for k, column in enumerate(scores.T)
        } | {"params": [{}] * len(scores)}

    def fit(self):
        """Be an estimator."""


def _search(n_candidates=4, n_splits=6, **options):
    """Return a fitted search among guesses of pure noise."""
    target = np.random.default_rng(0).normal(size=240)
    grid = {"quantile": np.linspace(0.4, 0.6, n_candidates).tolist()}
    search = GridSearchCV(
        DummyRegressor(strategy="quantile"), grid,
        **{"scoring": "r2", "cv": KFold(n_splits), **options},
    )  # fmt: skip
    return search.fit(np.zeros((240, 1)), target)


def test_report_follows_its_formulas():
    """Every figure, computed from the table of scores by scipy."""
    search = _search()
    report = overfitting_report(search, reference=-0.1)
    names = [f"split{k}_test_score" for k in range(6)]
    scores = np.column_stack([search.cv_results_[name] for name in names])
    best = scores[search.best_index_]
    test = stats.ttest_1samp(best, -0.1, alternative="greater")

    assert report.best_score == pytest.approx(search.best_score_)
    assert report.best_params == search.best_params_
    assert (report.n_trials, report.n_splits) == (4, 6)
    assert report.standard_error == pytest.approx(stats.sem(best))
    assert report.probability_of_luck == pytest.approx(1 - (1 - test.pvalue) ** 4)
    reached = stats.t.cdf((report.luck_score + 0.1) / report.standard_error, 5) ** 4
    assert reached == pytest.approx(0.5)
    assert report.deflated_score == pytest.approx(report.best_score - report.luck_score)
    logits = _oracle(scores.T, 6, "mean")[3]
    assert report.probability_of_overfitting == np.mean(logits <= 0)


def test_report_is_one_sentence():
    """How many, how good, how lucky."""
    sentence = str(overfitting_report(_search()))

    assert sentence.startswith("The best of 4 configurations scored ")
    assert "over 6 folds" in sentence
    assert "luck alone would look as good with probability" in sentence
    assert sentence.count(". ") == 0


def test_more_trials_make_luck_likelier():
    """Earlier searches on the same data are counted by n_trials."""
    search = _search()
    search.cv_results_["params"] = [{"quantile": 0.5}] * 4
    few, many = (overfitting_report(search, reference=-1, n_trials=n) for n in (1, 99))

    assert few.probability_of_luck < many.probability_of_luck
    assert few.deflated_score > many.deflated_score


def test_luck_is_uniform_without_skill():
    """Under no edge the probability of luck falls below q in a share q of searches."""
    rng = np.random.default_rng(0)
    for n_trials in (1, 10):
        values = [
            overfitting_report(
                KeptScores(rng.normal(size=(n_trials, 30))), reference=0.0
            )
            for _ in range(400)
        ]
        luck = [value.probability_of_luck for value in values]

        assert stats.kstest(luck, "uniform").pvalue > 0.001
        assert np.mean([v.deflated_score > 0 for v in values]) == pytest.approx(
            0.5, abs=0.08
        )


def test_other_searches_and_metrics():
    """Random, halving and multi-metric searches; each configuration counts once."""
    X, y = NOISE[:200, :3], NOISE[:200, 3]
    random = RandomizedSearchCV(
        Ridge(), {"alpha": [1, 2, 3, 4]}, n_iter=3, cv=KFold(3), random_state=0
    ).fit(X, y)
    halving = HalvingGridSearchCV(
        Ridge(), {"alpha": [1, 2, 3, 4]}, cv=KFold(4), random_state=0
    ).fit(X, y)
    several = _search(
        scoring={"r2": "r2", "error": "neg_mean_absolute_error"}, refit="error"
    )
    unfitted = _search(
        scoring={"r2": "r2", "error": "neg_mean_absolute_error"}, refit=False
    )

    assert overfitting_report(random).n_trials == 3
    assert np.isnan(overfitting_report(random).probability_of_overfitting)
    assert overfitting_report(halving).n_trials == 4
    assert overfitting_report(several, reference=-1).best_score < -0.5
    assert overfitting_report(several, metric="r2").best_score > -0.5
    assert overfitting_report(unfitted, metric="r2").best_score == (
        overfitting_report(several, metric="r2").best_score
    )
    with pytest.raises(ValueError, match=r"metric must be one of .*'error', 'r2'"):
        overfitting_report(unfitted)


def test_ruined_configurations_count_as_tried():
    """Scores of -inf stay among the trials, and out of the ranks."""
    search = _search()
    search.cv_results_["split0_test_score"][0] = -np.inf
    report = overfitting_report(search)

    assert report.n_trials == 4
    assert np.isfinite(report.probability_of_overfitting)


@pytest.mark.parametrize(
    ("search", "options", "message"),
    [
        (GridSearchCV(Ridge(), {"alpha": [1]}), {}, "not fitted yet"),
        (_search(), {"n_trials": 0}, "n_trials must be"),
        (_search(cv=[(np.arange(200), np.arange(200, 240))]), {}, "at least 2 folds"),
    ],
)
def test_unusable_searches_are_named(search, options, message):
    """Unfitted searches, single folds, and counts below one."""
    with pytest.raises(ValueError, match=message):
        overfitting_report(search, **options)


def test_scores_without_spread_are_refused():
    """Equal scores in all folds have no standard error."""
    y = pd.Series([0, 1] * 30)
    search = GridSearchCV(
        DummyClassifier(), {"strategy": ["prior"]}, cv=KFold(3), scoring="roc_auc"
    ).fit(np.zeros((60, 1)), y)

    with pytest.raises(ValueError, match="must be finite and vary over the folds"):
        overfitting_report(search, reference=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": np.nan}, "reference must be a finite score, got nan"),
        ({"reference": "0.5"}, "reference must be a number"),
        ({"n_trials": "3"}, "n_trials must be a number"),
        ({"n_trials": np.nan}, "n_trials must be a finite number"),
    ],
)
def test_numbers_that_are_none_make_no_sentence(options, message):
    """No report says "nan below what luck reaches"."""
    with pytest.raises(ValueError, match=message):
        overfitting_report(_search(), **options)


def test_more_trials_than_dated_periods():
    """A DatetimeIndex says that rows are periods, so nothing can be transposed."""
    trials = np.random.default_rng(0).normal(size=(60, 100))
    dated = pd.DataFrame(trials, pd.date_range("2020-01-31", periods=60, freq="ME"))

    with pytest.raises(ValueError, match=r"trial_returns\.T; .*DatetimeIndex"):
        probability_of_backtest_overfitting(trials, n_blocks=6)
    found = probability_of_backtest_overfitting(dated, n_blocks=6)
    few = probability_of_backtest_overfitting(dated.iloc[:, :60], n_blocks=6)
    assert len(found.logits) == len(few.logits) == 20


def test_absurd_numbers_of_blocks_are_refused_by_name():
    """However large, the message is about n_blocks."""
    for n_blocks in (24, 10**6):
        with pytest.raises(ValueError, match=f"at most 22, .* got {n_blocks}"):
            probability_of_backtest_overfitting(np.eye(100), n_blocks=n_blocks)


def test_the_score_of_no_skill_is_known_or_asked_for():
    """Against 0 any accuracy would look like skill."""
    X, y = NOISE[:200, :3], NOISE[:200, 3] > 0
    for scoring in ("accuracy", None, "neg_log_loss"):
        search = GridSearchCV(
            LogisticRegression(), {"C": [0.1, 1]}, cv=4, scoring=scoring
        ).fit(X, y)
        with pytest.raises(ValueError, match="reference must be given for"):
            overfitting_report(search)
        assert overfitting_report(search, reference=0.4).reference == 0.4

    for scoring, metric in (("roc_auc", None), ({"area": "roc_auc"}, "area")):
        search = GridSearchCV(
            LogisticRegression(), {"C": [0.1, 1]}, cv=4, scoring=scoring,
            refit=metric or True,
        ).fit(X, y)  # fmt: skip
        assert overfitting_report(search).reference == 0.5
        assert overfitting_report(search, metric=metric).reference == 0.5
    assert overfitting_report(_search()).reference == 0
    with pytest.raises(ValueError, match="reference must be given for"):
        overfitting_report(KeptScores(NOISE[:3, :5]))

    class Staked(KeptScores):
        scoring = growth_scorer()

    assert overfitting_report(Staked(NOISE[:3, :5])).reference == 0
