"""The table of f*(p) against a root finder, and its laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from skatra.sizing import PayoffTable, kelly_notional
from skatra.sizing._lookup import Lookup
from tests.strategies import classed_returns, payoffs


def exact_fraction(p, returns, positive, weight=None):
    """Return f*(p) by bisection of the mixture's first-order condition."""
    weight = np.ones(len(returns)) if weight is None else weight
    share = np.where(
        positive,
        p * weight / weight[positive].sum(),
        (1 - p) * weight / weight[~positive].sum(),
    )

    def slope(f):
        return share @ (returns / (1 + f * returns))

    low, high = -1 / returns.max(), -1 / returns.min()
    low, high = low * (1 - 1e-6), high * (1 - 1e-6)
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    return brentq(slope, low, high, xtol=1e-14 * (high - low), rtol=1e-14)


@settings(max_examples=60)
@given(
    classed_returns(),
    st.lists(st.floats(0, 1) | st.floats(0, 1e-6), min_size=1, max_size=8),
)
def test_the_table_is_the_root_of_the_mixture(rows, p):
    """Interpolated fractions are exact to 2e-8 of the table's width."""
    returns, positive = rows
    table = PayoffTable.from_returns(returns, positive)

    exact = [exact_fraction(q, returns, positive) for q in p]

    width = np.ptp(table.fractions)
    domain = table.ruin[1] - table.ruin[0]
    np.testing.assert_allclose(
        table.fraction(p), exact, rtol=0, atol=2e-8 * width + 1e-9 * domain
    )


@pytest.mark.parametrize("seed", range(3))
def test_fat_tails_agree_with_brentq(seed):
    """Within 1e-6 on 2000 returns of Student's t with 3 degrees of freedom."""
    rng = np.random.default_rng(seed)
    returns = np.clip(0.001 + 0.05 * rng.standard_t(3, 2000), -0.95, None)
    weight = rng.uniform(0.1, 1, 2000)
    positive = returns > 0.002
    table = PayoffTable.from_returns(returns, positive, weight)
    p = np.concatenate([rng.uniform(size=40), [0, 1, 1e-6, 1 - 1e-6, 1e-3, 0.999]])

    exact = [exact_fraction(q, returns, positive, weight) for q in p]

    np.testing.assert_allclose(table.fraction(p), exact, rtol=0, atol=1e-6)


@given(classed_returns())
def test_fractions_are_monotone_and_never_ruinous(rows):
    """f*(p) goes one way, and no return seen takes all wealth."""
    returns, positive = rows
    table = PayoffTable.from_returns(returns, positive)
    steps = np.diff(table.fractions)

    assert np.all(steps >= 0) or np.all(steps <= 0)
    assert np.all(np.diff(table.probabilities) > 0)
    assert np.all(1 + np.outer(table.fractions, returns) > 0)


@given(win=payoffs(), loss=payoffs(), p=st.lists(st.floats(0.001, 0.999), min_size=1))
def test_two_payoffs_are_the_binary_formula(win, loss, p):
    """With one gain and one loss the table is p / loss - q / win."""
    table = PayoffTable.from_returns([win, -loss], [True, False])

    np.testing.assert_allclose(
        table.fraction(p),
        kelly_notional(p, win, loss, allow_short=True),
        rtol=0,
        atol=1e-6 * (1 / loss + 1 / win),
    )


@given(classed_returns(), st.randoms(use_true_random=False))
def test_row_order_is_irrelevant(rows, random):
    """Permuted rows give the same table."""
    returns, positive = rows
    order = list(range(len(returns)))
    random.shuffle(order)

    table = PayoffTable.from_returns(returns, positive)
    other = PayoffTable.from_returns(returns[order], positive[order])

    np.testing.assert_allclose(table.fraction(0.37), other.fraction(0.37), rtol=1e-6)


@given(classed_returns(), st.integers(0, 2**16))
def test_a_weight_is_a_repetition(rows, seed):
    """Weight 2 is the row twice, weight 0 is no row, for ruin neither."""
    returns, positive = rows
    counts = np.random.default_rng(seed).integers(0, 3, len(returns))
    if len(np.unique(positive[counts > 0])) < 2:
        return

    weighted = PayoffTable.from_returns(returns, positive, counts)
    repeated = PayoffTable.from_returns(returns.repeat(counts), positive.repeat(counts))

    grid = np.linspace(0, 1, 7)
    np.testing.assert_allclose(
        weighted.fraction(grid), repeated.fraction(grid), rtol=1e-6, atol=1e-9
    )
    assert weighted.ruin == repeated.ruin


@given(classed_returns(), st.floats(0.1, 1.0))
def test_scaled_returns_scale_fractions_inversely(rows, scale):
    """Halving all returns doubles every fraction."""
    returns, positive = rows
    grid = np.linspace(0.05, 0.95, 5)
    table = PayoffTable.from_returns(returns, positive)
    scaled = PayoffTable.from_returns(scale * returns, positive)

    width = np.ptp(table.fractions) + 1e-6
    np.testing.assert_allclose(
        scale * scaled.fraction(grid), table.fraction(grid), atol=1e-6 * width, rtol=0
    )


def test_break_even_probability_stakes_exactly_nothing():
    """At f = 0 there is a node: the break-even probability gives 0, not rounding."""
    table = PayoffTable.from_returns([1.0, -1.0], [True, False])

    assert table.fraction([0.5]) == 0.0
    assert table.fraction([np.nextafter(0.5, 1)]) > 0.0
    assert table.fraction([np.nextafter(0.5, 0)]) < 0.0


def test_a_class_that_pays_less_is_shorted():
    """Where the positive class is the losing one, f* falls with p."""
    table = PayoffTable.from_returns([-1.0, 1.0], [True, False])

    np.testing.assert_allclose(table.fraction([0.2, 0.8]), [0.6, -0.6], atol=1e-8)


def test_returns_without_a_loss_bound_nothing():
    """No losers: an empty table of zeros, never inf or NaN."""
    table = PayoffTable.from_returns([0.1, 0.2], [True, False])

    assert table.is_empty
    assert table.fraction([0.0, 0.5, 1.0]).tolist() == [0, 0, 0]


def test_one_class_is_refused():
    """Both classes are needed."""
    with pytest.raises(ValueError, match="of the positive class only"):
        PayoffTable.from_returns([0.1, -0.1], [True, True])


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=40, unique=True),
    st.lists(st.floats(-0.5, 1.5) | st.just(np.nan), max_size=20),
    st.integers(1, 6),
    st.integers(0, 2**16),
)
def test_the_lookup_is_numpys_interpolation(nodes, values, power, seed):
    """Crowded nodes, nodes themselves, values beyond the ends and NaN: as np.interp."""
    x = np.unique(np.array(nodes) ** power)
    x = x[np.append(True, np.diff(x) > 1e-12)]
    if len(x) < 2:
        return
    y = np.random.default_rng(seed).normal(size=len(x))
    asked = np.concatenate([values, x, np.nextafter(x, 2), np.nextafter(x, -1)])

    found = Lookup.of(x, y)(asked)

    np.testing.assert_allclose(found, np.interp(asked, x, y), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(Lookup.of(x, y)(x), y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.nan], [1, 0]), "returns must be finite"),
        (([1.0, -1.0, 0.5], [1, 0]), "one row per sample"),
        (([1.0, -1.0], [1, 0], [-1, 1]), "sample_weight"),
    ],
)
def test_impossible_rows_are_named(arguments, message):
    """What cannot be a history is refused by name."""
    with pytest.raises(ValueError, match=message):
        PayoffTable.from_returns(*arguments)
