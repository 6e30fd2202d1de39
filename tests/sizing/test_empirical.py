"""Kelly of realised returns against roots, published numbers and its laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.legendre import leggauss
from scipy.optimize import brentq

from skatra.sizing import (
    kelly_break_even,
    kelly_from_returns,
    kelly_growth,
    kelly_growth_from_returns,
    kelly_notional,
)
from tests.strategies import payoffs, sided_returns


def root_of_slope(returns, weights=None):
    """Return the optimum by bisection of the first-order condition."""
    weights = np.ones(len(returns)) if weights is None else weights
    low, high = (-1 / edge * (1 - 1e-12) for edge in (returns.max(), returns.min()))
    return brentq(
        lambda f: weights @ (returns / (1 + f * returns)),
        low, high, xtol=1e-15, rtol=1e-14, maxiter=500,
    )  # fmt: skip


def uniform(low, high):
    """Return nodes and weights of a uniform distribution (Gauss-Legendre, 60)."""
    nodes, weights = leggauss(60)
    return (low + high) / 2 + (high - low) / 2 * nodes, weights / 2


def test_a_uniform_return_has_the_published_optimum():
    """Rotando & Thorp 1992, example 2: U[-0.7, 1] gives f* 0.63, G 0.0472, f_c 1.17.

    With all digits 0.634828, 0.04715798 and 1.173602.
    """
    returns, weights = uniform(-0.7, 1.0)

    best = kelly_from_returns(returns, weights)
    assert best == pytest.approx(0.634828, abs=5e-7)
    growth = kelly_growth_from_returns(best, returns, weights)
    assert growth == pytest.approx(0.04715798, abs=5e-9)
    assert kelly_break_even(returns, weights) == pytest.approx(1.173602, abs=5e-7)


def test_a_coin_has_the_published_break_even():
    """Rotando & Thorp 1992, example 1: p 0.53 at even money breaks even at 0.1197."""
    assert kelly_break_even([1, -1], [0.53, 0.47]) == pytest.approx(0.119712, abs=1e-6)


def test_issue_537_of_quantstats():
    """60 % of +2 % and 40 % of -1 % invest 40 times the capital."""
    assert kelly_from_returns([0.02] * 3 + [-0.01] * 2) == pytest.approx(40.0)


@given(p=st.floats(0.01, 0.99), win=payoffs(), loss=payoffs())
def test_two_outcomes_are_the_binary_formula(p, win, loss):
    """With one gain and one loss it is p / loss - q / win."""
    best = kelly_from_returns([win, -loss], [p, 1 - p], allow_short=True)

    expected = kelly_notional(p, win, loss, allow_short=True)
    assert best == pytest.approx(expected, abs=1e-10 * (1 / win + 1 / loss))


@given(sided_returns(), st.booleans(), st.integers(0, 2**16))
def test_the_root_is_the_root_of_bisection(returns, weighted, seed):
    """Both sides, with and without weights, to 1e-12 of the ruin-free domain."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.01, 1, len(returns)) if weighted else None

    best = kelly_from_returns(returns, weights, allow_short=True)

    width = 1 / returns.max() - 1 / returns.min()
    assert best == pytest.approx(root_of_slope(returns, weights), abs=1e-12 * width)
    long = kelly_from_returns(returns, weights)
    assert long == pytest.approx(max(best, 0.0), abs=1e-12 * width)


@pytest.mark.parametrize("n", [2_000, 40_000, 100_000])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
def test_fat_tails_are_exact(n, seed, weighted):
    """Student's t with 3 degrees of freedom, long rows and short ones: 1e-12."""
    rng = np.random.default_rng(seed)
    returns = np.clip(0.002 + 0.03 * rng.standard_t(3, n), -0.95, None)
    weights = rng.uniform(size=n) if weighted else None

    best = kelly_from_returns(returns, weights)

    assert best == pytest.approx(root_of_slope(returns, weights), abs=1e-12)


def test_long_rows_of_every_shape_start_well():
    """Skewed, discrete and nearly riskless rows take the sampled start as well."""
    rng = np.random.default_rng(0)
    n = 50_000
    for returns in (
        np.where(rng.uniform(size=n) < 0.55, 0.01, -0.01),
        np.where(rng.uniform(size=n) < 1e-3, -0.5, 0.001),
        np.append(np.full(n, 1e-4), -0.9),
        rng.exponential(0.01, n) - 0.009,
        0.05 - rng.pareto(3, n).clip(0, 19) / 20,
    ):
        best = kelly_from_returns(returns, allow_short=True)

        domain = 1 / returns.max() - 1 / returns.min()
        expected = root_of_slope(returns)
        assert best == pytest.approx(expected, abs=1e-12 * domain)


def test_thousands_of_series_are_each_their_own():
    """Columns of any scale, some without edge, one by one and all at once."""
    rng = np.random.default_rng(1)
    scale = 10 ** rng.uniform(-3, -1, 300)
    drift = rng.uniform(-0.3, 0.3, 300)
    table = np.clip(scale * (drift + rng.standard_t(3, (150, 300))), -0.95, None)
    weights = rng.integers(0, 3, table.shape).astype(float)

    for weight in (None, weights[:, 0], weights):
        for short in (False, True):
            together = kelly_from_returns(table, weight, allow_short=short)
            alone = [
                kelly_from_returns(
                    table[:, i],
                    weight if weight is None or weight.ndim == 1 else weight[:, i],
                    allow_short=short,
                )
                for i in range(300)
            ]
            np.testing.assert_allclose(together, alone, rtol=1e-11, atol=1e-12)


@given(sided_returns(), st.floats(0.0, 0.01))
def test_growth_is_nowhere_higher(returns, cost):
    """No fraction on a grid over the ruin-free domain grows faster."""
    best = kelly_from_returns(returns, cost=cost, allow_short=True)
    grid = np.linspace(-1 / returns.max(), -1 / returns.min(), 101)[1:-1]

    growth = kelly_growth_from_returns(grid, returns, cost=cost)

    assert kelly_growth_from_returns(best, returns, cost=cost) >= growth.max() - 1e-12


@given(sided_returns())
def test_never_beyond_ruin(returns):
    """No return seen takes all wealth, on either side."""
    best = kelly_from_returns(returns, allow_short=True)

    assert np.all(1 + best * returns > 0)
    assert best * np.mean(returns) >= 0


@given(sided_returns(), st.floats(0.1, 1.0), st.randoms(use_true_random=False))
def test_order_and_scale(returns, scale, random):
    """Permuted rows change nothing; returns scaled by s scale the fraction by 1/s."""
    order = list(range(len(returns)))
    random.shuffle(order)

    best = kelly_from_returns(returns, allow_short=True)

    width = 1 / returns.max() - 1 / returns.min()
    same = kelly_from_returns(returns[order], allow_short=True)
    assert same == pytest.approx(best, abs=1e-12 * width)
    scaled = kelly_from_returns(scale * returns, allow_short=True)
    assert scale * scaled == pytest.approx(best, abs=1e-12 * width)


@given(sided_returns(), st.floats(0.0, 0.02))
def test_the_short_is_the_mirrored_long(returns, cost):
    """Returns of the other sign give the other side, costs included."""
    best = kelly_from_returns(returns, cost=cost, allow_short=True)
    other = kelly_from_returns(-returns, cost=cost, allow_short=True)

    assert best == -other


@given(sided_returns(), st.integers(0, 2**16))
def test_a_weight_is_a_repetition(returns, seed):
    """Weight 2 is the row twice, weight 0 is no row, for ruin neither."""
    counts = np.random.default_rng(seed).integers(0, 3, len(returns))
    repeated = returns.repeat(counts)
    if not (np.any(repeated > 0) and np.any(repeated < 0)):
        return

    width = 1 / repeated.max() - 1 / repeated.min()
    assert kelly_from_returns(returns, counts) == pytest.approx(
        kelly_from_returns(repeated), abs=1e-12 * width
    )


@given(sided_returns())
def test_growth_is_zero_at_break_even_and_positive_below(returns):
    """The curve crosses 0 once beyond the optimum; or only ruin ends it."""
    best = kelly_from_returns(returns, allow_short=True)
    edge = kelly_break_even(returns, allow_short=True)
    if best == 0.0:
        assert edge == 0.0
        return

    assert abs(edge) > abs(best)
    ruin = -1 / returns.min() if best > 0 else -1 / returns.max()
    assert abs(edge) <= abs(ruin)
    middle = kelly_growth_from_returns((best + edge) / 2, returns)
    assert middle > 0
    if abs(edge) < abs(ruin) * (1 - 1e-9):
        assert kelly_growth_from_returns(edge, returns) == pytest.approx(0, abs=1e-6)


def test_two_numbers_do_not_contain_the_tail():
    """Two-point Kelly on fat-tailed trades is ruined in its own sample; ours is not."""
    rng = np.random.default_rng(7)
    returns = np.clip(0.004 + 0.02 * rng.standard_t(3, 100_000), -0.95, None)
    wins, losses = returns[returns > 0], -returns[returns < 0]

    naive = kelly_notional(len(wins) / len(returns), wins.mean(), losses.mean())

    assert naive > 1 / losses.max() > kelly_from_returns(returns)
    assert kelly_growth_from_returns(naive, returns) == -np.inf


def test_growth_agrees_with_the_binary_curve():
    """The two growth functions are one on two outcomes, costs and ruin included."""
    grid = np.linspace(-1.2, 1.2, 25)

    ours = kelly_growth_from_returns(grid, [0.8, -1.0], [0.6, 0.4], cost=0.01)

    np.testing.assert_allclose(ours, kelly_growth(grid, 0.6, 0.8, 1.0, cost=0.01))


def test_a_history_without_loss_or_gain_is_zero_and_says_so():
    """Never inf or NaN: 0 and a warning that counts the series."""
    with pytest.warns(UserWarning, match="the returns hold no loss or no gain"):
        assert kelly_from_returns([0.1, 0.2]) == 0.0
    with pytest.warns(UserWarning, match="2 series hold"):
        best = kelly_from_returns([[0.1, -0.1, 0.1], [0.2, 0.0, -0.05]])
    assert best[0] == best[1] == 0.0 < best[2]


def test_frames_keep_their_columns():
    """A frame of series gives a Series of fractions."""
    frame = pd.DataFrame({"A": [0.2, -0.1], "B": [-0.2, 0.1]})

    best = kelly_from_returns(frame)

    assert best.to_dict() == {"A": pytest.approx(2.5), "B": 0.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_from_returns([]), "returns must hold at least one row"),
        (lambda: kelly_from_returns([0.1, np.nan]), "returns must be finite"),
        (lambda: kelly_from_returns([[0.1, np.inf]]), "in row 0, column 1. Give"),
        (lambda: kelly_from_returns("x"), "returns must hold numbers"),
        (lambda: kelly_from_returns(np.ones((2, 2, 2))), "one or two dimensions"),
        (lambda: kelly_from_returns([1, -1], [1, -1]), "weights must not be negative"),
        (lambda: kelly_from_returns([1, -1], [0, 0]), "weights must not be zero"),
        (lambda: kelly_from_returns([1, -1], [1]), r"weights must be of shape \(2,\)"),
        (lambda: kelly_from_returns([1, -1], cost=-1), "cost must be in"),
        (lambda: kelly_break_even(np.ones((2, 2)) * [1, -1]), "must be one series"),
    ],
)
@pytest.mark.filterwarnings("ignore:kelly_from_returns is 0")
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(ValueError, match=message):
        call()


def test_long_series_side_by_side_are_each_alone():
    """A return of weight 0 does not bound its own long series, nor another's."""
    rng = np.random.default_rng(0)
    returns = 0.002 + 0.03 * rng.standard_t(4, (40_000, 2)).clip(-20, 20)
    weights = np.ones_like(returns)
    returns[7, 0], weights[7, 0] = -0.99, 0.0

    together = kelly_from_returns(returns, weights)

    held = np.delete(returns[:, 0], 7)
    alone = [kelly_from_returns(held), kelly_from_returns(returns[:, 1])]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_weights_of_other_rows_are_an_error():
    """A reversed index is refused, not multiplied by position."""
    returns = pd.Series([0.1, -0.05, 0.02])
    weights = pd.Series([1.0, 2.0, 3.0])[::-1]

    for call in (
        lambda: kelly_from_returns(returns, weights),
        lambda: kelly_growth_from_returns(0.1, returns, weights),
        lambda: kelly_break_even(returns, weights),
    ):
        with pytest.raises(ValueError, match="same index in the same order"):
            call()
