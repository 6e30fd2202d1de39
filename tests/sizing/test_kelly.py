"""Kelly fractions against published numbers, an optimiser and their laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from skatra.sizing import (
    kelly_fraction,
    kelly_from_counts,
    kelly_growth,
    kelly_notional,
    kelly_shrinkage,
)
from tests.strategies import payoffs, probabilities


@pytest.mark.parametrize(
    ("p", "b", "expected"),
    [
        # Rotando & Thorp 1992, Amer. Math. Monthly 99, example 1.
        (0.53, 1.0, 0.06),
        # Jacot & Mochkovitch 2023, JQAS, table 2(b): 20 % at p = 0.6, even money.
        (0.6, 1.0, 0.2),
        # quantstats issue 537: 0.6, +2 % / -1 %: the risk fraction.
        (0.6, 2.0, 0.4),
    ],
)
def test_published_risk_fractions(p, b, expected):
    """(p b - q) / b gives the stakes that are in print."""
    assert kelly_fraction(p, b) == pytest.approx(expected, abs=1e-12)


def test_published_growth():
    """Growth at the optimum is what is in print.

    Rotando & Thorp 1992 ex. 1: the formula gives 0.001801 (the text's 0.016566 is a
    misprint) and breaks even at 0.1197; Jacot & Mochkovitch 2023 table 2(b): 0.0201,
    three quarters of which are kept from a stake of 10.1 %.
    """
    assert kelly_growth(0.06, 0.53, 1.0) == pytest.approx(0.001801, abs=5e-7)
    even = brentq(lambda f: kelly_growth(f, 0.53, 1.0), 0.07, 0.5)
    assert even == pytest.approx(0.119712, abs=1e-6)
    best = kelly_growth(0.2, 0.6, 1.0)
    assert best == pytest.approx(0.0201, abs=5e-5)
    kept = brentq(lambda f: kelly_growth(f, 0.6, 1.0) - 0.75 * best, 0.01, 0.2)
    assert kept == pytest.approx(0.101, abs=5e-4)


def test_growth_at_even_money_is_kellys_capacity():
    """Kelly 1956: g(f*) = ln 2 + p ln p + q ln q nats, one bit less the entropy."""
    p = np.linspace(0.5, 1.0, 11)[:-1]

    growth = kelly_growth(kelly_fraction(p, 1.0), p, 1.0)

    np.testing.assert_allclose(
        np.log(2) + p * np.log(p) + (1 - p) * np.log(1 - p), growth, atol=1e-15
    )


def test_notional_and_risk_fraction_are_two_numbers():
    """From quantstats issue 537: +2 % / -1 % at 0.6 invests 40 and risks 0.4."""
    assert kelly_notional(0.6, 0.02, 0.01) == pytest.approx(40.0)
    assert kelly_fraction(0.6, 0.02 / 0.01) == pytest.approx(0.4)


def test_cost_per_unit_staked():
    """The stake is p / (1 + c) - q / (b - c): 0.080032 at p 0.55, b 1, cost 0.02."""
    assert kelly_fraction(0.55, 1.0, cost=0.02) == pytest.approx(0.080032, abs=5e-7)
    assert kelly_fraction(1.0, 0.02, cost=0.02) == 0.0


@pytest.mark.parametrize(
    ("p", "b", "expected"),
    [(0.0, 2.0, 0.0), (1.0, 2.0, 1.0), (0.3, np.inf, 0.3), (0.5, 1.0, 0.0)],
)
def test_edge_cases_are_numbers(p, b, expected):
    """Certain loss stakes 0, certain win all, endless odds p, no edge 0."""
    assert kelly_fraction(p, b) == expected


@given(p=probabilities(), a=payoffs(), b=payoffs())
def test_no_edge_no_stake_and_never_beyond_ruin(p, a, b):
    """0 without edge, positive with it, at most 1 / loss."""
    edge = p * b - (1 - p) * a
    stake = kelly_notional(p, b, a)

    assert 0.0 <= stake <= 1.0 / a
    if edge < -1e-9:
        assert stake == 0.0
    if edge > 1e-9:
        assert stake > 0.0


@given(p=probabilities(), a=payoffs(), b=payoffs())
def test_risk_fraction_is_notional_times_loss(p, a, b):
    """The two names differ by the loss per unit and nothing else."""
    assert kelly_fraction(p, b / a) == pytest.approx(
        kelly_notional(p, b, a) * a, rel=1e-9, abs=1e-12
    )


@given(
    p=st.tuples(probabilities(), probabilities()).map(sorted),
    b=st.tuples(payoffs(), payoffs()).map(sorted),
    short=st.booleans(),
)
def test_monotone_in_p_and_in_b(p, b, short):
    """Surer or better paid bets never get a smaller stake."""
    low, high = kelly_fraction(p, b[0], allow_short=short)
    assert low <= high
    low, high = kelly_fraction(p[0], b, allow_short=short)
    assert low <= high + 1e-12


@given(p=probabilities(), a=payoffs(), b=payoffs(), cost=st.floats(0.0, 0.05))
def test_the_short_is_the_mirrored_long(p, a, b, cost):
    """Swapping p with q and win with loss changes the sign and nothing else."""
    long = kelly_notional(p, b, a, cost=cost, allow_short=True)
    mirrored = kelly_notional(1 - p, a, b, cost=cost, allow_short=True)

    assert long == pytest.approx(-mirrored, rel=1e-9, abs=1e-12)


@given(p=st.floats(0.01, 0.99), a=payoffs(), b=payoffs(), cost=st.floats(0.0, 0.05))
def test_growth_is_nowhere_higher(p, a, b, cost):
    """No fraction on a grid over the ruin-free domain grows faster."""
    best = kelly_notional(p, b, a, cost=cost, allow_short=True)
    grid = np.linspace(-1 / (b + cost), 1 / (a + cost), 201)[1:-1]

    growth = kelly_growth(grid, p, b, a, cost=cost)

    assert kelly_growth(best, p, b, a, cost=cost) >= growth.max() - 1e-12


@given(p=st.floats(0.05, 0.95), a=payoffs(), b=payoffs())
def test_an_optimiser_finds_the_same(p, a, b):
    """scipy.optimize on the growth curve agrees with the closed form."""
    found = minimize_scalar(
        lambda f: -kelly_growth(f, p, b, a),
        bounds=(-1 / b, 1 / a),
        method="bounded",
        options={"xatol": 1e-10 * (1 / a + 1 / b)},
    )

    width = 1 / a + 1 / b
    assert kelly_notional(p, b, a, allow_short=True) == pytest.approx(
        found.x, abs=1e-5 * width
    )


@given(p=st.floats(0.01, 0.99), a=payoffs(), b=payoffs(), scale=st.floats(0.1, 10))
def test_scaling_payoffs_scales_the_notional_inversely(p, a, b, scale):
    """Returns twice as large halve the notional; the risk fraction stays."""
    assert kelly_notional(p, b * scale, a * scale) * scale == pytest.approx(
        kelly_notional(p, b, a), rel=1e-9, abs=1e-9
    )


def test_growth_at_ruin_is_minus_infinity():
    """An outcome that can happen and takes everything is -inf; else it is not."""
    assert kelly_growth(1.0, 0.9, 1.0) == -np.inf
    assert kelly_growth(1.5, 0.9, 1.0) == -np.inf
    assert kelly_growth(1.0, 1.0, 1.0) == pytest.approx(np.log(2))
    assert kelly_growth(-1.0, 0.5, 2.0) == -np.inf


def test_inputs_broadcast():
    """Arrays broadcast; numbers give a float."""
    grid = kelly_fraction(np.array([[0.6], [0.7]]), np.array([1.0, 2.0, np.inf]))

    assert grid.shape == (2, 3)
    assert grid[1, 1] == kelly_fraction(0.7, 2.0)
    assert isinstance(kelly_fraction(0.6, 1.0), float)
    assert kelly_growth([0.1, 0.2], 0.6, 1.0).shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_fraction(1.1, 1.0), r"p must be in \[0, 1\], got 1.1"),
        (lambda: kelly_fraction([0.5, np.nan], 1.0), r"p must be .* got nan"),
        (lambda: kelly_fraction(0.5, 0.0), r"b must be in \(0, inf\], got 0"),
        (lambda: kelly_fraction(0.5, 1.0, cost=-1), r"cost must be in \[0, inf\)"),
        (lambda: kelly_notional(0.5, 1.0, -1.0), r"loss must be in \(0, inf\)"),
        (lambda: kelly_notional(0.5, 1.0, np.inf), r"loss must be in \(0, inf\)"),
        (lambda: kelly_fraction("x", 1.0), "p must be numeric"),
        (lambda: kelly_growth(np.inf, 0.5, 1.0), r"fraction must be in \(-inf, inf\)"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()


@given(p=probabilities(), b=payoffs(), cost=st.floats(0, 1))
def test_costs_never_raise_a_stake(p, b, cost):
    """A bet that costs is never worth a larger stake."""
    assume(cost > 0)
    assert kelly_fraction(p, b, cost=cost) <= kelly_fraction(p, b) + 1e-12


@pytest.mark.parametrize(
    "call",
    [
        kelly_fraction,
        kelly_notional,
        lambda p, b: kelly_growth(0.1, p, b),
        lambda p, b: kelly_shrinkage(p, b, 0.1),
        lambda p, b: kelly_from_counts(p, 1.0, b),
    ],
)
def test_series_of_different_indexes_are_refused(call):
    """A reversed index is an error, not a number; equal ones and numbers serve."""
    p, b = pd.Series([0.6, 0.9], index=["x", "y"]), pd.Series([1.0, 2.0], ["x", "y"])

    np.testing.assert_array_equal(call(p, b), call(p.to_numpy(), b.to_numpy()))
    assert np.shape(call(p, 2.0)) == (2,)
    with pytest.raises(ValueError, match="must have the same index"):
        call(p, b[::-1])
