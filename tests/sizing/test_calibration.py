"""Calibration is monotone, weighted, and never turns a ranking round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from skatra.sizing._calibration import fit_calibrator

GRID = np.linspace(-30, 30, 201)


def scored_rows(seed, n=200, slope=0.5, intercept=-0.3):
    """Return log-odds and outcomes drawn from a known sigmoid, with weights."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(scale=2.0, size=n)
    outcome = rng.uniform(size=n) < expit(slope * odds + intercept)
    return odds, outcome, rng.uniform(0.0, 2.0, n)


@settings(max_examples=30)
@given(
    st.integers(0, 2**16), st.floats(-2, 2), st.sampled_from(["sigmoid", "isotonic"])
)
def test_maps_never_decrease_and_stay_inside_zero_one(seed, slope, method):
    """Any data give a non-decreasing map into (0, 1)."""
    odds, outcome, weight = scored_rows(seed, slope=slope)
    base = np.average(outcome, weights=weight)

    p = fit_calibrator(method, odds, outcome, weight, base).predict(GRID)

    assert np.all(np.diff(p) >= 0)
    assert p.min() >= 0
    assert p.max() <= 1
    if method == "isotonic":
        assert p.min() > 0
        assert p.max() < 1


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.floats(0.2, 2))
def test_the_sigmoid_is_the_minimum_of_the_log_loss(seed, slope):
    """scipy.optimize finds no better slope and intercept."""
    odds, outcome, weight = scored_rows(seed, slope=slope)
    share = 4 / (weight.sum() + 4)
    target = (1 - share) * outcome + share * np.average(outcome, weights=weight)

    def loss(point):
        margin = point[0] * odds + point[1]
        return weight @ (np.logaddexp(0, margin) - target * margin) / weight.sum()

    fitted = fit_calibrator("sigmoid", odds, outcome, weight, 0.5)
    best = minimize(
        loss, [0.5, 0], bounds=[(0, None), (None, None)], options={"ftol": 1e-15}
    )

    assert loss([fitted.slope, fitted.intercept]) <= best.fun + 1e-10


def test_the_sigmoid_recovers_a_known_curve():
    """On 20 000 rows slope and intercept are within five standard errors."""
    odds, outcome, _ = scored_rows(0, n=20_000)

    fitted = fit_calibrator("sigmoid", odds, outcome, np.ones(20_000), 0.5)

    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert fitted.intercept == pytest.approx(-0.3, abs=0.08)


def test_a_backward_ranking_becomes_the_base_rate():
    """Where high scores lose, the constrained optimum is slope 0."""
    odds, outcome, weight = scored_rows(1, slope=-1.0)
    base = float(np.average(outcome, weights=weight))

    fitted = fit_calibrator("sigmoid", odds, outcome, weight, base)

    assert fitted.slope == 0.0
    np.testing.assert_allclose(fitted.predict(GRID), base)


def test_constant_scores_become_the_base_rate():
    """A model that says the same everywhere knows the base rate at most."""
    fitted = fit_calibrator(
        "sigmoid", np.full(50, 3.0), np.arange(50) % 2 == 0, np.ones(50), 0.5
    )

    np.testing.assert_allclose(fitted.predict(GRID), 0.5)


def test_separable_scores_give_finite_slopes():
    """Perfect ranking does not run the slope to infinity."""
    odds = np.linspace(-1, 1, 40)

    fitted = fit_calibrator("sigmoid", odds, odds > 0, np.ones(40), 0.5)

    assert 0 < fitted.slope < 1e3
    assert 0 < fitted.predict(odds).min() < fitted.predict(odds).max() < 1


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_weight_is_a_repetition(method):
    """Weight k is the row k times, weight 0 no row."""
    odds, outcome, _ = scored_rows(3)
    counts = np.random.default_rng(0).integers(0, 3, len(odds))

    weighted = fit_calibrator(method, odds, outcome, counts.astype(float), 0.5)
    repeated = fit_calibrator(
        method, odds.repeat(counts), outcome.repeat(counts), np.ones(counts.sum()), 0.5
    )

    np.testing.assert_allclose(weighted.predict(GRID), repeated.predict(GRID))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_keeps_the_base_rate(method):
    """The weighted mean of calibrated probabilities is the weighted base rate."""
    odds, outcome, weight = scored_rows(4)
    base = np.average(outcome, weights=weight)

    fitted = fit_calibrator(method, odds, outcome, weight, base)

    mean = np.average(fitted.predict(odds), weights=weight)
    assert logit(mean) == pytest.approx(logit(base), abs=1e-9)
