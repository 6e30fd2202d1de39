"""Log growth, its scorer under scikit-learn's model selection, and drawdown."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.metrics import drawdown, growth_scorer, log_growth, max_drawdown
from tests.strategies import trade_returns

ROUTING = {"enable_metadata_routing": True}


class FixedStake(ClassifierMixin, BaseEstimator):
    """Stake the same share of capital on every row."""

    def __init__(self, stake=0.5):
        self.stake = stake

    def fit(self, X, y):  # noqa: ARG002
        """Learn the classes."""
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        """Return the stake."""
        return np.full(len(X), self.stake)


@pytest.fixture
def market():
    """Return features, labels and returns on a time index."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=120, name="t0")
    returns = pd.Series(rng.normal(0.02, 0.1, 120).clip(-0.4), index=index)
    X = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120)}, index)
    return X, (returns > 0).astype(int), returns


@given(trade_returns(min_size=1), st.floats(-1, 1), st.floats(0, 0.01))
def test_log_growth_is_the_log_of_final_wealth(returns, stake, cost):
    """The growth times n is the log of what one unit becomes."""
    factors = 1 + stake * np.array(returns) - cost * abs(stake)
    growth = log_growth(np.full(len(returns), stake), returns, cost=cost)

    if factors.min() <= 0:
        assert growth == -np.inf
    else:
        assert growth * len(returns) == pytest.approx(
            np.log(np.prod(factors)), abs=1e-9
        )


@given(trade_returns(min_size=1), st.integers(0, 2**16))
def test_a_weight_is_a_repetition(returns, seed):
    """Weight k is the row k times, weight 0 no row."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, len(returns))
    if not counts.any():
        return
    stakes = rng.uniform(-0.3, 1, len(returns))

    assert log_growth(stakes, returns, sample_weight=counts) == pytest.approx(
        log_growth(stakes.repeat(counts), np.repeat(returns, counts))
    )


def test_log_growth_refuses_what_it_cannot_measure(market):
    """Reversed rows, missing returns, negative costs, no rows, no weight."""
    _, _, returns = market
    stakes = pd.Series(0.1, index=returns.index)
    for args, options, message in [
        ((stakes, returns[::-1]), {}, "same index in the same order"),
        ((stakes, returns[:-1]), {}, "inconsistent numbers of samples"),
        (([0.1], [np.nan]), {}, "returns must be finite"),
        (([0.1], [0.1]), {"cost": -0.1}, r"cost must be a number in \[0, inf\)"),
        (([0.1], [0.1]), {"cost": "a"}, r"cost must be a number .*, got 'a'"),
        (([], []), {}, "at least one row"),
        (([0.1], [0.1]), {"sample_weight": [0]}, "above 0 in some row"),
        (([0.1], [0.1]), {"sample_weight": [-1]}, "must not be negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            log_growth(*args, **options)


def test_a_search_scores_each_fold_on_its_own_returns(market):
    """Returns reach the scorer, cut to each test fold, without set_*_request."""
    X, y, returns = market
    search = GridSearchCV(
        make_pipeline(StandardScaler(), FixedStake()),
        {"fixedstake__stake": [0.1, 0.5, 0.9]},
        cv=KFold(3),
        scoring=growth_scorer(cost=0.001),
    )
    with sklearn.config_context(**ROUTING):
        search.fit(X, y, returns=returns)

    for number, (_, test) in enumerate(KFold(3).split(X)):
        scores = search.cv_results_[f"split{number}_test_score"]
        expected = [
            log_growth(np.full(40, f), returns.iloc[test], cost=0.001)
            for f in (0.1, 0.5, 0.9)
        ]
        np.testing.assert_allclose(scores, expected)


def test_nested_search_and_cross_validate_agree_with_held_returns(market):
    """Routed nested, or held and matched by index: the same figures."""
    X, y, returns = market

    def search(scorer):
        return GridSearchCV(
            FixedStake(), {"stake": [0.1, 0.9]}, cv=KFold(3), scoring=scorer
        )

    held = growth_scorer(returns=returns[::-1])
    off = cross_validate(search(held), X, y, cv=KFold(4), scoring=held)
    with sklearn.config_context(**ROUTING):
        on = cross_validate(
            search(growth_scorer()),
            X,
            y,
            cv=KFold(4),
            scoring=growth_scorer(),
            params={"returns": returns},
            error_score="raise",
        )
        several = cross_validate(
            FixedStake(),
            X,
            y,
            cv=KFold(4),
            scoring={"net": growth_scorer(0.01), "gross": growth_scorer()},
            params={"returns": returns},
            error_score="raise",
        )

    np.testing.assert_array_equal(on["test_score"], off["test_score"])
    assert np.all(several["test_net"] < several["test_gross"])


def test_weights_are_scored_when_asked_for(market):
    """sample_weight is declined by default and requested by set_score_request."""
    X, y, returns = market
    weight = np.arange(1, 121)
    with sklearn.config_context(**ROUTING):
        scorer = growth_scorer().set_score_request(sample_weight=True)
        scores = cross_validate(
            FixedStake(),
            X,
            y,
            cv=KFold(2),
            scoring=scorer,
            params={"returns": returns, "sample_weight": weight},
            error_score="raise",
        )["test_score"]

    expected = log_growth(np.full(60, 0.5), returns[:60], sample_weight=weight[:60])
    assert scores[0] == pytest.approx(expected)


def test_a_tool_that_does_not_route_takes_held_returns(market):
    """permutation_importance has no params=; a held Series serves it."""
    X, y, returns = market
    scorer = growth_scorer(returns=returns)

    result = permutation_importance(FixedStake().fit(X, y), X, y, scoring=scorer)

    np.testing.assert_array_equal(result.importances, 0)


@pytest.mark.parametrize(
    ("routed", "way_out"),
    [(False, "routing is off: call sklearn.set_config"), (True, "nothing was passed")],
)
@pytest.mark.parametrize("several", [False, True])
def test_a_search_that_swallows_errors_says_the_way_out(
    market, routed, way_out, several
):
    """scikit-learn's default makes NaN of an error; its warning holds our text."""
    X, y, _ = market
    scoring = {"growth": growth_scorer()} if several else growth_scorer()
    with (
        sklearn.config_context(enable_metadata_routing=routed),
        pytest.warns(UserWarning, match=f"(?s)Scoring failed.*{way_out}.*'raise'"),
    ):
        cross_validate(FixedStake(), X, y, scoring=scoring, cv=KFold(2))


def test_missing_returns_are_an_error_with_the_way_out(market):
    """Routing off and nothing held: the message says both ways out."""
    X, y, returns = market
    model = FixedStake().fit(X, y)

    with pytest.raises(ValueError, match=r"enable_metadata_routing.*returns=series"):
        growth_scorer()(model, X, y)
    with pytest.raises(ValueError, match="needs the returns"):
        cross_validate(
            model, X, y, scoring=growth_scorer(), cv=KFold(2), error_score="raise"
        )
    for scorer, rows, options, message in [
        (growth_scorer(returns=returns[5:]), X, {}, "lacks 5 of 120 rows"),
        (growth_scorer(returns=returns), X.to_numpy(), {}, "matches rows by X.index"),
        (growth_scorer(returns=returns), X, {"returns": returns}, "routed to it as"),
        (growth_scorer(returns=[1.0]), X, {}, "must be a Series"),
        (
            growth_scorer(returns=pd.concat([returns, returns])),
            X,
            {},
            "with repeated labels",
        ),
        (growth_scorer(), X, {"returns": returns[::-1]}, "same index"),
    ]:
        with pytest.raises(ValueError, match=message):
            scorer(model, rows, y, **options)


def test_labels_are_no_positions(market):
    """An estimator without decision_function is refused, not guessed at."""
    X, y, returns = market
    with pytest.raises(ValueError, match="KellyClassifier"):
        growth_scorer()(StandardScaler().fit(X), X, y, returns=returns)
    with pytest.raises(ValueError, match="cost must be"):
        growth_scorer(-1.0)


def test_the_scorer_is_cloned_pickled_and_printed(market):
    """Requests survive clone and pickle; the repr is the call."""
    _, _, returns = market
    scorer = growth_scorer(0.001)

    for copy in (clone(scorer), pickle.loads(pickle.dumps(scorer))):  # noqa: S301
        assert copy.cost == 0.001
        assert copy.get_metadata_routing().score.requests["returns"] is True
    assert repr(scorer) == "GrowthScorer(cost=0.001)"
    assert "GrowthScorer" in repr(growth_scorer(returns=returns))


def test_a_ruinous_candidate_ranks_last(market):
    """-inf is a score that loses, with no error."""
    X, y, returns = market
    search = GridSearchCV(
        FixedStake(), {"stake": [9.0, 0.1]}, cv=KFold(3), scoring=growth_scorer()
    )
    with (
        sklearn.config_context(**ROUTING),
        pytest.warns(UserWarning, match="non-finite"),
        np.errstate(invalid="ignore"),
    ):
        search.fit(X, y, returns=returns)

    assert search.best_params_ == {"stake": 0.1}


def test_log_odds_of_a_plain_classifier_are_scored_as_given(market):
    """The scorer takes decision_function at its word: positions."""
    X, y, returns = market
    model = LogisticRegression().fit(X, y)

    assert growth_scorer()(model, X, y, returns=returns) == log_growth(
        model.decision_function(X), returns
    )


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.floats(0.1, 10))
def test_drawdown_is_the_loss_from_the_peak(equity, scale):
    """As the loop says, in [0, 1), and free of the currency."""
    expected = [1 - w / max(equity[: i + 1]) for i, w in enumerate(equity)]

    np.testing.assert_allclose(drawdown(equity), expected, atol=1e-12)
    assert max_drawdown(np.array(equity) * scale) == pytest.approx(
        max(expected), abs=1e-9
    )


def test_drawdown_keeps_the_index_and_refuses_no_wealth():
    """A Series keeps its index; empty, zero and negative equity are errors."""
    equity = pd.Series([1.0, 0.5, 0.0], index=pd.date_range("2024", periods=3))

    assert drawdown(equity).index.equals(equity.index)
    assert max_drawdown(equity) == 1.0
    for bad in ([], [0.0, 1.0], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="equity must"):
            drawdown(bad)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_default_search_without_returns_does_not_go_unnoticed(market):
    """Scikit-learn scores NaN by default; the warning carries the way out."""
    X, y, _ = market
    search = GridSearchCV(
        FixedStake(), {"stake": [0.1, 0.2]}, cv=KFold(2), scoring=growth_scorer()
    )
    with pytest.warns(UserWarning, match="needs the returns of the scored rows"):
        search.fit(X, y)
