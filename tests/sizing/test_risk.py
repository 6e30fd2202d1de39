"""Kelly under drawdown bounds and doubt: roots, simulation, saddle points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize, minimize_scalar

from skatra.sizing import (
    kelly_fraction,
    kelly_from_returns,
    kelly_growth,
    kelly_multiplier_for_drawdown,
    kelly_robust,
    risk_constrained_kelly,
)
from tests.strategies import sided_returns


@settings(max_examples=60)
@given(sided_returns(), st.floats(0.3, 0.95), st.floats(0.01, 0.5))
def test_the_bound_is_met_with_equality_or_not_needed(returns, alpha, beta):
    """E[(1 + f r)^-lambda] <= 1, with equality below full Kelly; brentq agrees."""
    full = kelly_from_returns(returns, allow_short=True)
    bounded = risk_constrained_kelly(returns, alpha, beta, allow_short=True)
    aversion = np.log(beta) / np.log(alpha)

    def risk(f):
        return np.mean((1 + f * returns) ** -aversion) - 1

    assert abs(bounded) <= abs(full) * (1 + 1e-12)
    assert bounded * full >= 0
    assert risk(bounded) <= 1e-12
    if abs(bounded) < abs(full) * (1 - 1e-9) and abs(full) > 1e-3:
        bracket = sorted([bounded * 0.5, full])
        found = brentq(risk, *bracket, xtol=1e-15, rtol=1e-13)
        assert bounded == pytest.approx(found, rel=1e-6)


def test_wealth_falls_as_seldom_as_promised():
    """Simulated 20 000 paths of 300 fat-tailed trades: at most beta, and 2 errors.

    Full Kelly on the same trades breaks the bound many times over.
    """
    rng = np.random.default_rng(1)
    returns = np.clip(0.01 + 0.05 * rng.standard_t(3, 2000), -0.9, None)
    alpha, beta = 0.8, 0.1
    draws = rng.choice(returns, size=(20_000, 300))

    def share_below(f):
        return np.mean(
            np.cumsum(np.log1p(f * draws), axis=1).min(axis=1) < np.log(alpha)
        )

    bounded = risk_constrained_kelly(returns, alpha, beta)
    assert share_below(bounded) <= beta + 2 * np.sqrt(beta / 20_000)
    assert share_below(kelly_from_returns(returns)) > 3 * beta


def test_small_bets_have_the_multiplier_of_continuous_time():
    """As the edge vanishes, the bound is 2 / (1 + lambda) of full Kelly.

    The expansion of E[(1 + f r)^-lambda] to second order says so.
    """
    returns = np.array([0.001, -0.001])
    weights = [0.505, 0.495]

    share = risk_constrained_kelly(returns, 0.7, 0.1, weights) / kelly_from_returns(
        returns, weights
    )

    assert share == pytest.approx(kelly_multiplier_for_drawdown(0.7, 0.1), rel=1e-3)


def test_the_robust_coin():
    """Sun & Boyd's KL ball of 0.001 on a coin at 0.6: 0.156056, worst growth 0.0122267.

    Kelly at the worst coin of the ball, which an independent root finds.
    """
    fraction = kelly_robust([1.0, -1.0], 0.001, [0.6, 0.4])

    def divergence(q):
        return q * np.log(q / 0.6) + (1 - q) * np.log((1 - q) / 0.4) - 0.001

    worst = brentq(divergence, 0.3, 0.6 - 1e-12)
    assert fraction == pytest.approx(0.156056, abs=5e-7)
    assert fraction == pytest.approx(kelly_fraction(worst, 1.0), abs=1e-9)
    assert kelly_growth(fraction, worst, 1.0) == pytest.approx(0.0122267, abs=5e-8)


@settings(max_examples=25)
@given(sided_returns(max_size=8), st.floats(1e-4, 0.5))
def test_the_saddle_point_is_found_by_the_dual(returns, radius):
    """max_f max_t -t log E[(1 + f r)^(-1/t)] - t radius, by a plain optimiser."""
    if returns.mean() <= 1e-3:
        return

    def worst_growth(f):
        value = np.log1p(f * returns)

        def dual(log_t):
            t = np.exp(log_t)
            power = -value / t
            top = power.max()
            return t * (top + np.log(np.mean(np.exp(power - top)))) + t * radius

        grid = np.linspace(-20, 15, 60)
        start = grid[np.argmin([dual(x) for x in grid])]
        found = minimize_scalar(dual, bounds=(start - 1, start + 1), method="bounded")
        return -found.fun

    fraction = kelly_robust(returns, radius)
    best = minimize_scalar(
        lambda f: -worst_growth(f),
        bounds=(0, kelly_from_returns(returns)),
        method="bounded",
    )

    assert worst_growth(fraction) >= max(-best.fun, 0.0) - 1e-6


@settings(max_examples=25)
@given(sided_returns(), st.lists(st.floats(0, 1), min_size=2, max_size=4).map(sorted))
def test_more_doubt_never_stakes_more(returns, radii):
    """Fractions fall with the radius, from full Kelly at 0, to 0."""
    fractions = [abs(kelly_robust(returns, r, allow_short=True)) for r in radii]

    full = abs(kelly_from_returns(returns, allow_short=True))
    assert abs(kelly_robust(returns, 0.0, allow_short=True)) == pytest.approx(full)
    assert all(a >= b - 1e-9 * full for a, b in zip([full, *fractions], fractions))  # noqa: B905
    # Far enough away lies the distribution that only loses.
    assert kelly_robust(returns, 50.0) == 0.0


# The oracle of older scipy warns when a step leaves the bounds, and clips it.
@pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
def test_the_worst_case_is_a_distribution_in_the_ball():
    """SLSQP over all distributions within the radius finds none that is worse."""
    rng = np.random.default_rng(0)
    returns = 0.02 + 0.1 * rng.normal(size=6)
    p = np.full(6, 1 / 6)
    fraction = kelly_robust(returns, 0.01)
    growth = np.log1p(fraction * returns)

    found = minimize(
        lambda q: q @ growth,
        p,
        bounds=[(1e-9, 1)] * 6,
        constraints=[
            {"type": "eq", "fun": lambda q: q.sum() - 1},
            {"type": "ineq", "fun": lambda q: 0.01 - q @ np.log(q / p)},
        ],
        options={"ftol": 1e-14, "maxiter": 300},
    )

    # At the saddle point the fraction is Kelly for the worst distribution.
    assert kelly_from_returns(returns, found.x) == pytest.approx(fraction, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: risk_constrained_kelly([1, -1], 1.0, 0.1), "alpha must be in"),
        (lambda: risk_constrained_kelly([1, -1], 0.5, 0.0), "beta must be in"),
        (lambda: kelly_robust([1, -1], -0.1), "radius must be in"),
        (lambda: kelly_robust([[1, 2], [-1, 1]], 0.1), "must be one series"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
