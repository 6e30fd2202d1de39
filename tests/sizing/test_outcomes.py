"""Exclusive outcomes and simultaneous bets against optimisers and closed forms."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from skatra.sizing import (
    kelly_exclusive,
    kelly_fraction,
    kelly_from_returns,
    kelly_portfolio,
    kelly_simultaneous,
)
from tests.strategies import payoffs


@st.composite
def races(draw):
    """Probabilities that sum to at most 1, with prices fair, worse and better."""
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = rng.dirichlet(np.ones(n)) * draw(st.sampled_from([1.0, 0.9]))
    return p, np.exp(rng.normal(0, 0.5, n)) / p


@given(races())
def test_the_greedy_solution_is_the_optimum(race):
    """Smoczynski & Tomkins' stakes are certified by an independent optimiser.

    Each outcome is a scenario; the portfolio solver proves its own gap.
    """
    p, odds = race
    stakes = kelly_exclusive(p, odds)
    outcomes = np.vstack([np.diag(odds) - 1.0, -np.ones(len(p))])
    weights = np.append(p, max(1 - p.sum(), 0.0))

    best = kelly_portfolio(outcomes, weights)

    factor = 1 + outcomes @ stakes
    held = weights > 1e-12
    assert np.all(stakes >= 0)
    assert stakes.sum() <= 1 + 1e-12
    growth = weights[held] @ np.log(np.maximum(factor[held], 1e-300))
    assert growth >= best.growth - 1e-11


def test_an_outcome_without_edge_insures_the_others():
    """Smoczynski & Tomkins' point: p o < 1 may be staked, and raises the growth.

    Three horses at 0.5, 0.3 and 0.2, paid 2.6, 3.0 and 6.0: the second has p o = 0.9.
    """
    p, odds = np.array([0.5, 0.3, 0.2]), np.array([2.6, 3.0, 6.0])
    stakes = kelly_exclusive(p, odds)

    found = minimize(
        lambda f: -p @ np.log(np.maximum(1 - f.sum() + odds * f, 1e-12)),
        [0.1, 0.1, 0.1],
        bounds=[(0, 1)] * 3,
        constraints={"type": "ineq", "fun": lambda f: 1 - f.sum()},
        options={"ftol": 1e-15, "maxiter": 500},
    )

    np.testing.assert_allclose(stakes, found.x, atol=1e-5)
    assert p[1] * odds[1] < 1 < stakes.sum() + 1e-9
    assert stakes[1] > 0.05


@given(st.floats(0.01, 0.99), payoffs())
def test_one_outcome_is_the_binary_formula(p, b):
    """A single outcome is the bet at decimal odds b + 1."""
    stake = kelly_exclusive([p], [b + 1])[0]

    assert stake == pytest.approx(kelly_fraction(p, b), abs=1e-12)


@given(races(), st.randoms(use_true_random=False))
def test_order_is_irrelevant_and_rows_are_independent(race, random):
    """Permuted outcomes give permuted stakes; rows of a table do not mix."""
    p, odds = race
    order = list(range(len(p)))
    random.shuffle(order)

    stakes = kelly_exclusive(np.stack([p, p[order]]), np.stack([odds, odds[order]]))

    np.testing.assert_allclose(stakes[0], kelly_exclusive(p, odds), atol=1e-15)
    np.testing.assert_allclose(stakes[0][order], stakes[1], atol=1e-12)


def test_two_coins_have_the_closed_form():
    """Two even-money coins stake (p - q) / (2 (p^2 + q^2)): 0.192308 at p 0.6."""
    for p in (0.51, 0.6, 0.9):
        stakes = kelly_simultaneous([p, p], 1.0)
        expected = (2 * p - 1) / (2 * (p**2 + (1 - p) ** 2))
        np.testing.assert_allclose(stakes, expected, rtol=1e-6)
    assert kelly_simultaneous([0.6], 1.0)[0] == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("n", [3, 50, 1000])
def test_identical_bets_are_a_binomial(n):
    """sum_k Bin(k) (2k - n) / (1 + f (2k - n)) = 0, for many bets as well."""
    from scipy.stats import binom

    wins = np.arange(n + 1)
    weights = binom.pmf(wins, n, 0.55)
    seen = weights > 0
    # Losing all 1000 bets has a probability that no float holds, and is ruin.
    alone = kelly_from_returns((2 * wins - n)[seen], weights[seen])
    expected = min(alone, 1 / n)

    stakes = kelly_simultaneous(np.full(n, 0.55), 1.0)

    np.testing.assert_allclose(stakes, expected, rtol=1e-5)
    assert n * stakes[0] <= 1


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(0.05, 0.95), st.floats(0.2, 3.0), st.floats(0.2, 1.5)),
        min_size=1,
        max_size=4,
    )
)
def test_stakes_beat_every_other_on_all_outcomes(bets):
    """No stakes drawn at random grow faster on the 2^n outcomes; each is at most
    what the bet deserves alone.
    """
    p, win, loss = np.array(bets).T
    stakes = kelly_simultaneous(p, win, loss)
    results = np.array(list(itertools.product([0, 1], repeat=len(p))))
    returns = np.where(results == 1, win, -loss)
    weights = np.prod(np.where(results == 1, p, 1 - p), axis=1)

    def growth(f):
        factor = 1 + returns @ f
        return weights @ np.log(factor) if factor.min() > 0 else -np.inf

    best = growth(stakes)
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-1):
        for _ in range(20):
            other = np.maximum(stakes + scale * rng.normal(size=len(p)), 0)
            assert growth(other) <= best + 1e-10
    assert np.all(stakes[p * win <= (1 - p) * loss] == 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_exclusive([0.6, 0.6], 2.0), "must sum to at most 1, got 1.2"),
        (lambda: kelly_exclusive([0.6], 0.0), "decimal_odds must be in"),
        (lambda: kelly_simultaneous([1.0], 1.0), "p must be in"),
        (
            lambda: kelly_simultaneous(np.linspace(0.6, 0.7, 17), 1.0),
            "17 different bets .* more than 65536",
        ),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
