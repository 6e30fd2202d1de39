"""Log-optimal portfolios: published numbers, optimisers and their certificates."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from skatra.sizing import (
    kelly_from_returns,
    kelly_portfolio,
    risk_constrained_kelly,
)
from tests.strategies import asset_scenarios


def busseti_problem():
    """Return the scenarios of Busseti, Ryu & Boyd 2016, section 7.1."""
    state = np.random.RandomState(0)
    p = state.uniform(size=100)
    r = state.uniform(0.7, 1.3, (20, 100))
    for _ in range(30):
        r[state.randint(20), state.randint(100)] = 0.1
        r[state.randint(20), state.randint(100)] = 2.5
    r[-1] = 1.0
    return r.T - 1.0, p / p.sum()


def growth_of(weights, returns, share):
    """Return the mean log growth, -inf at ruin."""
    factor = 1 + returns @ weights
    return share @ np.log(factor) if factor.min() > 0 else -np.inf


def test_the_paper_of_risk_constrained_kelly():
    """Busseti, Ryu & Boyd 2016, section 7.1, table 1: growth 0.062 and 0.043.

    With all digits 0.06169132 at lambda 0 and 0.04301995 at alpha 0.7, beta 0.1; the
    paper's simulation of 10 000 paths of 100 bets gives P(W_min < 0.7) 0.398, 0.073.
    """
    returns, p = busseti_problem()
    kelly = kelly_portfolio(returns, p)
    bounded = kelly_portfolio(returns, p, drawdown=(0.7, 0.1))

    assert kelly.growth == pytest.approx(0.06169132, abs=5e-9)
    assert bounded.growth == pytest.approx(0.04301995, abs=5e-9)
    assert max(kelly.gap, bounded.gap) < 1e-10
    assert 1 - 1e-12 < bounded.drawdown_bound <= 1
    draws = np.random.RandomState(0).choice(100, size=(10_000, 100), p=p)
    for portfolio, expected in ((kelly, 0.398), (bounded, 0.073)):
        steps = np.log1p(returns @ portfolio.weights)[draws]
        lowest = np.cumsum(steps, axis=1).min(axis=1)
        assert np.mean(lowest < np.log(0.7)) == pytest.approx(expected, abs=0.015)


@settings(max_examples=60)
@given(asset_scenarios(), st.sampled_from([0.5, 1.0, 3.0]), st.booleans())
def test_the_certificate_covers_every_other_portfolio(problem, limit, long_only):
    """No admissible portfolio drawn at random grows faster than growth + gap."""
    returns, share = problem
    best = kelly_portfolio(returns, share, long_only=long_only, max_leverage=limit)
    share = share / share.sum()
    rng = np.random.default_rng(0)
    m = returns.shape[1]

    assert best.gap < 1e-10
    assert best.growth == pytest.approx(growth_of(best.weights, returns, share))
    assert np.abs(best.weights).sum() <= limit * (1 + 1e-9)
    assert not long_only or best.weights.min() >= 0
    for _ in range(30):
        other = limit * rng.dirichlet(np.full(m + 1, 0.5))[:m]
        if not long_only:
            other *= rng.choice([-1, 1], m)
        assert growth_of(other, returns, share) <= best.growth + best.gap + 1e-12


@pytest.mark.parametrize("limit", [1.0, 4.0])
def test_slsqp_finds_no_more(limit):
    """Scipy's SLSQP with gradients ends within its own error, never above the gap."""
    rng = np.random.default_rng(3)
    returns = 0.002 + 0.03 * rng.standard_t(4, (400, 6)) + rng.uniform(-2e-3, 3e-3, 6)
    best = kelly_portfolio(returns, max_leverage=limit)

    found = minimize(
        lambda w: -np.log1p(returns @ w).mean(),
        np.full(6, 0.1),
        jac=lambda w: -(returns / (1 + returns @ w)[:, None]).mean(axis=0),
        bounds=[(0, limit)] * 6,
        constraints={"type": "ineq", "fun": lambda w: limit - w.sum()},
        options={"ftol": 1e-14, "maxiter": 500},
    )

    assert best.growth >= -found.fun - best.gap - 1e-15
    np.testing.assert_allclose(best.weights, found.x, atol=1e-4)


@given(asset_scenarios())
def test_one_asset_is_kelly_from_returns(problem):
    """With a leverage cap beyond the optimum the two solvers agree."""
    returns, share = problem
    column = returns[:, 0]
    if not (column.min() < 0 < column.max()):
        return
    alone = kelly_from_returns(column, share, allow_short=True)

    together = kelly_portfolio(
        column[:, None], share, long_only=False, max_leverage=2 * abs(alone) + 1
    )

    growth = [
        growth_of(np.array([f]), column[:, None], share / share.sum())
        for f in (alone, together.weights[0])
    ]
    assert growth[1] == pytest.approx(growth[0], abs=1e-11)


def test_free_leverage_is_the_stationary_point():
    """Without a limit the gradient is 0, and ruin in sample is out of reach."""
    rng = np.random.default_rng(5)
    returns = 0.001 + 0.02 * rng.standard_t(4, (2000, 8))
    best = kelly_portfolio(returns, long_only=False, max_leverage=None)

    factor = 1 + returns @ best.weights
    assert factor.min() > 0
    np.testing.assert_allclose(returns.T @ (1 / factor) / 2000, 0, atol=1e-9)
    assert 0 <= best.gap < 1e-12
    capped = kelly_portfolio(returns, long_only=False, max_leverage=1e3)
    assert capped.growth == pytest.approx(best.growth, abs=1e-10)


def test_nothing_that_bounds_a_stake_is_said():
    """An asset that only gains has no optimum without a limit, and fills one."""
    returns = [[0.1, 0.2], [0.2, -0.1]]
    with pytest.raises(ValueError, match="nothing bounds its stake"):
        kelly_portfolio(returns, long_only=False, max_leverage=None)

    best = kelly_portfolio(np.array(returns)[:, :1], max_leverage=2.0)
    assert best.weights[0] == pytest.approx(2.0)


def test_no_edge_is_all_cash():
    """Losing assets get exactly nothing."""
    best = kelly_portfolio([[0.1, -0.2], [-0.2, 0.1]])

    assert best.weights.tolist() == [0.0, 0.0]
    assert (best.cash, best.growth) == (1.0, 0.0)


@given(st.floats(-0.02, 0.05))
def test_cash_that_pays_is_subtracted_and_added(rate):
    """Growth is of 1 + r + w'(x - r), as written."""
    rng = np.random.default_rng(0)
    returns = 0.01 + 0.05 * rng.normal(size=(50, 3))
    best = kelly_portfolio(returns, cash_return=rate)

    factor = 1 + rate + (returns - rate) @ best.weights
    assert best.growth == pytest.approx(np.log(factor).mean())
    assert best.cash == pytest.approx(1 - best.weights.sum())
    grid = np.random.default_rng(1).dirichlet(np.ones(4), 100)[:, :3]
    others = np.log(1 + rate + grid @ (returns - rate).T).mean(axis=1)
    assert others.max() <= best.growth + best.gap + 1e-12


@settings(max_examples=20)
@given(asset_scenarios(), st.floats(0.5, 0.9), st.floats(0.01, 0.4))
def test_a_drawdown_bound_holds_and_costs_growth(problem, alpha, beta):
    """E[z^-lambda] <= 1; the certified growth lies between cash and Kelly."""
    returns, share = problem
    kelly = kelly_portfolio(returns, share, max_leverage=2.0)
    bounded = kelly_portfolio(returns, share, max_leverage=2.0, drawdown=(alpha, beta))

    assert bounded.drawdown_bound <= 1.0
    assert -1e-12 <= bounded.growth <= kelly.growth + kelly.gap + 1e-12
    assert bounded.gap < 1e-9
    if returns.shape[1] == 1 and returns.min() < 0 < returns.max():
        single = risk_constrained_kelly(returns[:, 0], alpha, beta, share)
        expected = min(single, 2.0)
        assert bounded.weights[0] == pytest.approx(expected, abs=1e-5)


def test_frames_and_order():
    """A frame names its weights; permuted rows and columns permute the answer."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(rng.normal(0.01, 0.05, (80, 3)), columns=["A", "B", "C"])
    best = kelly_portfolio(frame)

    other = kelly_portfolio(frame.sample(frac=1, random_state=0)[["C", "A", "B"]])

    assert best.weights.index.tolist() == ["A", "B", "C"]
    pd.testing.assert_series_equal(
        best.weights, other.weights[["A", "B", "C"]], atol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_portfolio([0.1, 0.2]), r"of shape \(n_scenarios, n_assets\)"),
        (lambda: kelly_portfolio([[0.1, np.nan]]), "in row 0, column 1"),
        (lambda: kelly_portfolio([["a"]]), "returns must hold numbers"),
        (lambda: kelly_portfolio([[0.1]], [0.0]), "weights must not be zero"),
        (lambda: kelly_portfolio([[0.1]], [1.0, 2.0]), "one row per sample"),
        (lambda: kelly_portfolio([[0.1]], max_leverage=0), "max_leverage must be in"),
        (lambda: kelly_portfolio([[0.1]], max_leverage=None), "long_only=True"),
        (lambda: kelly_portfolio([[0.1]], cash_return=-1), "cash_return must be in"),
        (lambda: kelly_portfolio([[0.1]], drawdown=0.1), "must be a pair"),
        (lambda: kelly_portfolio([[0.1]], drawdown=(0.5, 1)), r"in \(0, 1\)"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(ValueError, match=message):
        call()
