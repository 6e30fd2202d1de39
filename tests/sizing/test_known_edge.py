"""End to end on data whose edge is known: the position, and what fractions earn."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skatra.metrics import growth_scorer
from skatra.model_selection import PurgedKFold
from skatra.sizing import (
    KellyClassifier,
    kelly_fraction,
    kelly_growth,
    kelly_notional,
)

WIN, LOSS = 0.3, 0.25


def market(n, seed):
    """Return overlapping labels with P(up) = expit(signal), +30 % up and -25 % down.

    Outcomes are independent of each other although their lives overlap, so the optimum
    of each is known: p / 0.25 - q / 0.3.
    """
    rng = np.random.default_rng(seed)
    t0 = pd.date_range("2000-01-01", periods=n, tz="UTC", name="t0")
    signal = rng.normal(0, 0.5, n)
    up = rng.uniform(size=n) < expit(signal)
    X = pd.DataFrame({"signal": signal, "noise": rng.normal(size=n)}, index=t0)
    returns = pd.Series(np.where(up, WIN, -LOSS), t0)
    life = pd.Series(t0 + pd.Timedelta("3D"), index=t0)
    return X, pd.Series(np.where(up, 1, -1), t0), returns, life


@pytest.mark.parametrize("seed", range(2))
def test_a_search_recovers_the_growth_optimal_position(seed):
    """GridSearchCV with PurgedKFold picks nearly full Kelly, and positions that the
    truth lies within four standard errors of.
    """
    X, y, returns, life = market(4000, seed)
    model = KellyClassifier(
        LogisticRegression(C=100.0), calibration="sigmoid",
        cv=PurgedKFold(3), max_position=50.0,
    )  # fmt: skip
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            model,
            {"kelly_multiplier": [0.25, 1.0], "estimator__C": [1e-4, 100.0]},
            cv=PurgedKFold(4, embargo="2D"),
            scoring=growth_scorer(),
            error_score="raise",
        ).fit(X, y, returns=returns, label_times=life)

    assert search.best_params_ == {"kelly_multiplier": 1.0, "estimator__C": 100.0}
    grid = pd.DataFrame({"signal": np.linspace(-1, 1, 9), "noise": 0.0})
    position = search.decision_function(grid)
    p = expit(grid["signal"].to_numpy())
    full = kelly_notional(p, WIN, LOSS, allow_short=True)
    # Logistic regression and calibration each have this error; f' = 1/a + 1/b.
    best = search.best_estimator_
    odds = best.estimator_.decision_function(grid)
    error = best.calibrator_.standard_error(odds) * (1 / LOSS + 1 / WIN)
    assert np.all(np.abs(position - full) <= 4 * np.sqrt(2) * error)
    assert np.all(np.diff(position) > 0)

    fresh, _, later, _ = market(4000, seed + 100)
    earned = growth_scorer()(search, fresh, returns=later)
    p = expit(fresh["signal"].to_numpy())
    optimum = kelly_notional(p, WIN, LOSS, allow_short=True)
    growths = [
        p * np.log1p(WIN * f) + (1 - p) * np.log1p(-LOSS * f)
        for f in (optimum, search.decision_function(fresh))
    ]
    assert growths[1].mean() <= growths[0].mean()
    assert growths[1].mean() >= 0.9 * growths[0].mean()
    assert earned > 0


def test_fractions_earn_in_the_order_that_estimation_error_dictates():
    """Win rates from 30, 100, 1000 trades, true p 0.55 at even money, 20 000 times.

    Full Kelly loses at 30 trades and wins at 1000; a half loses less; a quarter
    hardly depends on the number of trades. Each multiplier gains with more trades, and
    none beats the growth of the known edge, c (2 - c) of g(f*).
    """
    rng = np.random.default_rng(0)
    p, g = 0.55, kelly_growth(0.1, 0.55, 1.0)
    earned = {}
    for n in (30, 100, 1000):
        full = kelly_fraction(rng.binomial(n, p, 20_000) / n, 1.0, allow_short=True)
        for c in (1.0, 0.5, 0.25):
            stake = np.clip(c * full, -0.999, 0.999)
            growth = p * np.log1p(stake) + (1 - p) * np.log1p(-stake)
            earned[n, c] = growth.mean() / g

    assert earned[30, 1.0] < earned[30, 0.5] < earned[30, 0.25]
    assert earned[30, 1.0] < 0 < earned[30, 0.25]
    assert earned[1000, 1.0] > earned[1000, 0.5] > earned[1000, 0.25] > 0
    for c in (1.0, 0.5, 0.25):
        assert earned[30, c] < earned[100, c] < earned[1000, c]
        assert earned[1000, c] < c * (2 - c) + 0.02
    spread = {c: earned[1000, c] - earned[30, c] for c in (1.0, 0.5, 0.25)}
    assert spread[0.25] < spread[0.5] / 2 < spread[1.0] / 4
