"""KellyClassifier's drawdown target, shrinkage and overlap budget."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from skatra.sizing import (
    KellyClassifier,
    kelly_from_dict,
    kelly_multiplier_for_drawdown,
    kelly_shrinkage,
    kelly_to_dict,
)
from skatra.sizing._calibration import fit_calibrator
from skatra.sizing._stakes import mean_concurrency
from tests.strategies import label_rows

SHRINKING = {"calibration": "sigmoid", "cv": KFold(4), "shrink_uncertain": True}


def coin_market(n, seed=0):
    """Return a signal whose log-odds it is, outcomes at even money, and returns."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 0.5, n)
    up = rng.uniform(size=n) < expit(signal)
    return signal[:, None], up, np.where(up, 0.02, -0.02)


def test_a_drawdown_target_is_its_multiplier():
    """(alpha, beta) sizes like the share that meets the target."""
    X, y, returns = coin_market(300)
    target = KellyClassifier(LogisticRegression(), kelly_multiplier=(0.7, 0.1))
    share = KellyClassifier(
        LogisticRegression(), kelly_multiplier=kelly_multiplier_for_drawdown(0.7, 0.1)
    )

    np.testing.assert_array_equal(
        target.fit(X, y, returns=returns).decision_function(X),
        share.fit(X, y, returns=returns).decision_function(X),
    )
    assert target.kelly_multiplier_ == share.kelly_multiplier


def test_shrinkage_is_baker_and_mchales_of_every_row():
    """Each stake is k(p, sigma(p)) times the one without; at even money b = 1."""
    X, y, returns = coin_market(400)
    plain = KellyClassifier(
        LogisticRegression(), kelly_multiplier=1.0, calibration="sigmoid",
        cv=KFold(4), max_position=1e3,
    ).fit(X, y, returns=returns)  # fmt: skip
    shrunk = KellyClassifier(
        LogisticRegression(), kelly_multiplier=1.0, max_position=1e3, **SHRINKING
    ).fit(X, y, returns=returns)

    odds = shrunk.estimator_.decision_function(X)
    error = shrunk.calibrator_.standard_error(odds)
    p = shrunk.predict_proba(X)[:, 1]
    np.testing.assert_allclose(
        shrunk.decision_function(X),
        plain.decision_function(X) * kelly_shrinkage(p, 1.0, error),
        rtol=1e-4,
        atol=1e-6,
    )


def test_the_standard_error_is_that_of_many_samples():
    """Refitting the calibration on 400 fresh samples spreads as the error says."""
    rng = np.random.default_rng(0)
    grid = np.array([-1.0, 0.0, 1.5])
    predictions, errors = [], []
    for _ in range(400):
        odds = rng.normal(0, 1.0, 500)
        up = rng.uniform(size=500) < expit(0.7 * odds + 0.2)
        fit = fit_calibrator("sigmoid", odds, up, np.ones(500), up.mean())
        predictions.append(fit.predict(grid))
        errors.append(fit.standard_error(grid))

    # The spread of 400 draws is known to 3.5 %; smoothing shifts it a little.
    np.testing.assert_allclose(
        np.mean(errors, axis=0), np.std(predictions, axis=0), rtol=0.12
    )


def test_doubt_fades_with_data():
    """Shrinkage matters at 100 rows and hardly at 20 000."""
    shares = []
    for n in (100, 20_000):
        X, y, returns = coin_market(n)
        options = {"kelly_multiplier": 1.0, "max_position": 1e3, **SHRINKING}
        model = KellyClassifier(LogisticRegression(), **options)
        model.fit(X, y, returns=returns)
        shrunk = np.abs(model.decision_function(X)).sum()
        full = np.abs(model.payoff_table_.fraction(model.predict_proba(X)[:, 1])).sum()
        shares.append(shrunk / full)

    assert shares[0] < 0.9
    assert shares[1] > 0.98


def test_two_corrections_are_never_stacked_silently():
    """A multiplier below 1 with shrinkage warns; 1 and a drawdown target do not."""
    X, y, returns = coin_market(200)
    with pytest.warns(UserWarning, match=r"kelly_multiplier=0.25 .* both cut"):
        KellyClassifier(LogisticRegression(), **SHRINKING).fit(X, y, returns=returns)
    for multiplier in (1.0, (0.7, 0.1)):
        KellyClassifier(
            LogisticRegression(), kelly_multiplier=multiplier, **SHRINKING
        ).fit(X, y, returns=returns)


@given(label_rows())
def test_concurrency_is_the_count_of_labels_alive(rows):
    """At each start, labels with t0 <= t < t1, at least itself: a loop agrees."""
    starts, ends = rows
    alive = [max(int(np.sum((starts <= t) & (t < ends))), 1) for t in starts]

    found = mean_concurrency(np.column_stack([starts, ends]))

    assert found == pytest.approx(np.mean(alive))


@pytest.mark.parametrize("copies", [1, 4])
def test_identical_bets_at_once_stake_what_one_is_sized_for(copies):
    """M copies of every label: the positions of all copies add up to the single's."""
    X, y, returns = coin_market(300)
    t0 = pd.date_range("2024-01-01", periods=300, tz="UTC")
    life = pd.Series(t0 + pd.Timedelta("1D"), index=t0)
    one = KellyClassifier(LogisticRegression(C=1e6)).fit(X, y, returns=returns)
    many = KellyClassifier(LogisticRegression(C=1e6), overlap_budget=True)
    many.fit(
        np.repeat(X, copies, axis=0),
        np.repeat(y, copies),
        returns=np.repeat(returns, copies),
        label_times=life.repeat(copies),
    )

    assert many.concurrency_ == copies
    np.testing.assert_allclose(
        copies * many.decision_function(X), one.decision_function(X), rtol=1e-2
    )
    assert np.abs(copies * many.decision_function(X)).max() <= 1.0


def test_everything_survives_plain_numbers():
    """JSON keeps the target, the errors and the budget bit for bit."""
    X, y, returns = coin_market(200)
    life = np.column_stack([np.arange(200), np.arange(200) + 3])
    model = KellyClassifier(
        LogisticRegression(), kelly_multiplier=(0.6, 0.2), overlap_budget=True,
        **SHRINKING,
    ).fit(X, y, returns=returns, label_times=life)  # fmt: skip

    state = json.loads(json.dumps(kelly_to_dict(model)))
    again = kelly_from_dict(state, model.estimator_)

    np.testing.assert_array_equal(
        again.decision_function(X), model.decision_function(X)
    )
    assert again.kelly_multiplier == (0.6, 0.2)
    assert model.concurrency_ == pytest.approx(3.0, abs=0.02)


def test_a_state_of_something_else_is_refused():
    """Unfitted models have no state; a state lacks no part."""
    with pytest.raises(NotFittedError):
        kelly_to_dict(KellyClassifier(LogisticRegression()))
    with pytest.raises(ValueError, match="lacks classes, features"):
        kelly_from_dict({"params": {}}, LogisticRegression())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kelly_multiplier": (0.5, 1.0)}, r"drawdown target \(alpha, beta\) in"),
        ({"kelly_multiplier": (0.5,)}, "'kelly_multiplier' .* Got"),
        ({"shrink_uncertain": True}, "'shrink_uncertain' .* calibration='sigmoid'"),
        (
            {"shrink_uncertain": True, "calibration": "isotonic", "cv": KFold(2)},
            "'shrink_uncertain' .* calibration='sigmoid'",
        ),
        ({"overlap_budget": True}, "overlap_budget=True needs label_times, got None"),
    ],
)
def test_impossible_parameters_are_named(options, message):
    """The message says what would do and what was got."""
    X, y, returns = coin_market(50)
    with pytest.raises(ValueError, match=message):
        KellyClassifier(LogisticRegression(), **options).fit(X, y, returns=returns)
