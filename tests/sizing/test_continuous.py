"""Kelly in continuous time and its drawdown law, in print and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.sizing import (
    drawdown_probability,
    goal_probability,
    kelly_continuous,
    kelly_continuous_growth,
    kelly_from_returns,
    kelly_multiplier_for_drawdown,
)

# Thorp 2006, chapter 9, section 7: S&P 500 with m = 0.11, s = 0.15, r = 0.06.
M, S, R = 0.11, 0.15, 0.06


def test_thorps_index_fund():
    """f* 2.2222, g(f*) 0.115556, g(1) 0.09875, sd of growth 0.3333 (section 7.1)."""
    best = kelly_continuous(M, S, R)

    assert best == pytest.approx(2.2222, abs=5e-5)
    assert kelly_continuous_growth(best, M, S, R) == pytest.approx(0.115556, abs=5e-7)
    assert kelly_continuous_growth(1.0, M, S, R) == pytest.approx(0.09875, abs=1e-9)
    assert best * S == pytest.approx(0.3333, abs=5e-5)


@pytest.mark.parametrize(("share", "exponent"), [(1.0, 2.08), (0.5, 7.32)])
def test_thorps_drawdown_exponents(share, exponent):
    """P(ever <= x) = x^2.08 at full and x^7.32 at half Kelly with 6 % interest."""
    sharpe = (M - R) / S

    chance = drawdown_probability(0.5, share, risk_free=R, sharpe_ratio=sharpe)

    assert np.log(chance) / np.log(0.5) == pytest.approx(exponent, abs=5e-3)


@given(st.floats(0.01, 1.0), st.floats(-0.2, 0.4), st.floats(0.05, 0.6))
def test_fractions_keep_c_times_2_less_c_of_the_growth(share, mean, vol):
    """A share c of Kelly keeps c (2 - c) of the excess growth: 3/4 at a half."""
    best = kelly_continuous(mean, vol, 0.01, allow_short=True)

    def excess(c):
        return kelly_continuous_growth(c * best, mean, vol, 0.01) - 0.01

    assert excess(share) == pytest.approx(share * (2 - share) * excess(1.0), abs=1e-12)
    assert excess(2.0) == pytest.approx(0.0, abs=1e-12)


def test_small_steps_reach_the_limit():
    """Kelly of tiny two-point returns is (mean - r) / s^2."""
    step = 1e-4
    mean, vol = M * step, S * np.sqrt(step)

    best = kelly_from_returns([mean + vol, mean - vol])

    assert best == pytest.approx(kelly_continuous(M, S), rel=1e-3)


@given(st.floats(0.05, 0.95), st.floats(0.001, 0.95))
def test_the_multiplier_meets_the_drawdown_it_was_asked_for(alpha, beta):
    """The two functions are inverse, but for the cap at full Kelly."""
    share = kelly_multiplier_for_drawdown(alpha, beta)

    assert 0 < share <= 1
    chance = drawdown_probability(alpha, share)
    assert chance <= beta * (1 + 1e-9)
    if share < 1:
        assert chance == pytest.approx(beta, rel=1e-9)


def test_drawdowns_happen_as_often_as_the_law_says():
    """Simulated: 20 000 random walks of half Kelly; bound of 4 standard errors.

    Steps are small and a Brownian bridge tells whether a path dipped between them,
    so that nothing but the endless life is lacking: it adds less than 1e-4 here.
    """
    rng = np.random.default_rng(0)
    share, alpha, dt, n = 0.5, 0.8, 0.05, 20_000
    # Unit Sharpe ratio: wealth drifts share - share^2 / 2 with volatility share.
    drift, vol = share - share**2 / 2, share
    level, dipped = np.zeros(n), np.zeros(n, dtype=bool)
    floor = np.log(alpha)
    for _ in range(600):
        after = level + drift * dt + vol * np.sqrt(dt) * rng.standard_normal(n)
        both = np.maximum(level - floor, 0) * np.maximum(after - floor, 0)
        bridge = np.exp(-2 * both / (vol**2 * dt))
        dipped |= rng.uniform(size=n) < bridge
        level = after

    expected = drawdown_probability(alpha, share)
    error = np.sqrt(expected * (1 - expected) / n)
    assert dipped.mean() == pytest.approx(expected, abs=4 * error + 1e-4)


@given(st.floats(1.01, 5.0), st.floats(0.1, 0.9), st.floats(0.05, 1.9))
def test_goals_and_drawdowns_are_one_law(goal, alpha, share):
    """A goal at infinity leaves the drawdown law; no goal is certain."""
    chance = goal_probability(goal, alpha, share)

    assert 0 <= 1 - chance <= drawdown_probability(alpha, share) + 1e-12
    assert goal_probability(1.0, alpha, share) == pytest.approx(1.0)
    far = goal_probability(1e300, alpha, share)
    assert 1 - far == pytest.approx(drawdown_probability(alpha, share), abs=1e-6)


def test_edges():
    """Nothing staked loses nothing; twice Kelly and more reaches any loss."""
    assert drawdown_probability(0.5, 0.0) == 0.0
    assert drawdown_probability([0.5, 1.0], [2.0, 0.1]).tolist() == [1.0, 1.0]
    assert kelly_continuous(0.01, 0.1, 0.02) == 0.0
    assert kelly_continuous([0.01, 0.03], 0.1, 0.02, allow_short=True).shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_continuous(0.1, 0.0), r"volatility must be in \(0, inf\)"),
        (lambda: drawdown_probability(0.0), r"alpha must be in \(0, 1\], got 0"),
        (lambda: drawdown_probability(0.5, risk_free=0.1), "needs the sharpe_ratio"),
        (lambda: kelly_multiplier_for_drawdown(1.0, 0.1), "alpha must be in"),
        (lambda: kelly_multiplier_for_drawdown(0.5, 1.0), "beta must be in"),
        (lambda: goal_probability(0.5, 0.5), "goal must be in"),
        (lambda: goal_probability(2.0, 0.5, 2.0), "kelly_multiplier must be in"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
