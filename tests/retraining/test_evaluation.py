"""Positions followed bar by bar, and the bound on what they earned."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.exceptions import EmptyDataError
from skatra.retraining._bounds import MIN_BLOCKS
from skatra.retraining._evaluation import backtest_positions, block_bootstrap_bound

TIMES = pd.date_range("2020-01-01", periods=12, freq="D", tz="UTC", unit="us")


def _bars(closes):
    """Return bars of symbols A, B, ... with the given closes."""
    frames = {
        name: pd.DataFrame({"close": values}, index=TIMES[: len(values)])
        for name, values in zip("ABC", closes, strict=False)
    }
    return pd.concat(frames, names=["symbol", "time"])


@st.composite
def books(draw):
    """Draw closes of one to three symbols and bets on them."""
    n_symbols = draw(st.integers(1, 3))
    closes = [
        draw(st.lists(st.floats(50, 150), min_size=12, max_size=12))
        for _ in range(n_symbols)
    ]
    bets = [
        (name, start, draw(st.integers(start, 11)), draw(st.floats(-1, 1)))
        for name in "ABC"[:n_symbols]
        for start in draw(
            st.lists(st.integers(0, 10), min_size=1, max_size=5, unique=True)
        )
    ]
    return closes, bets


@given(books(), st.floats(0, 0.01))
def test_book_equals_a_loop_over_bars(drawn, cost):
    """Each bar earns the average active position of each symbol, after cost."""
    closes, bets = drawn
    index = pd.MultiIndex.from_tuples(
        [(name, TIMES[a]) for name, a, _, _ in bets], names=["symbol", "t0"]
    )
    positions = pd.Series([f for *_, f in bets], index=index)
    label_times = pd.Series(TIMES[[b for _, _, b, _ in bets]], index=index)
    if all(a == b for _, a, b, _ in bets) and len({a for _, a, _, _ in bets}) == 1:
        with pytest.raises(EmptyDataError, match="two bars"):
            backtest_positions(positions, label_times, _bars(closes), cost=cost)
        return
    book = backtest_positions(positions, label_times, _bars(closes), cost=cost)

    names = sorted({name for name, *_ in bets})
    first = min(a for _, a, _, _ in bets)
    last = max(b for _, _, b, _ in bets)
    before = dict.fromkeys(names, 0.0)
    expected = []
    for bar in range(first, last):
        gain = 0.0
        for name in names:
            active = [f for s, a, b, f in bets if s == name and a <= bar < b]
            held = sum(active) / len(active) / len(names) if active else 0.0
            close = closes["ABC".index(name)]
            gain += held * (close[bar + 1] / close[bar] - 1)
            gain -= cost * abs(held - before[name])
            before[name] = held
            if bar == last - 1:
                gain -= cost * abs(held)
        expected.append(math.log1p(max(gain, -1 + 1e-12)))

    np.testing.assert_allclose(book.log_growth.to_numpy(), expected, atol=1e-9)
    assert book.longest == max(b - a for _, a, b, _ in bets)
    if expected:
        equity = np.exp(np.cumsum(expected))
        peak = np.maximum.accumulate(np.concatenate([[1.0], equity]))[1:]
        assert book.summary()["max_drawdown"] == pytest.approx(
            max((1 - equity / peak).max(), 0.0), abs=1e-9
        )


@pytest.mark.parametrize(
    ("times", "year"),
    [
        (pd.bdate_range("2000-01-03", "2009-12-31", tz="UTC"), 260.9),
        (pd.date_range("2000-01-01", "2009-12-31", tz="UTC"), 365.25),
        (pd.date_range("2000-01-01", "2001-12-31", freq="h", tz="UTC"), 8766.0),
        (pd.date_range("2000-01-31", "2009-12-31", freq="ME", tz="UTC"), 12.0),
    ],
)
def test_a_year_is_one_of_the_calendar(times, year):
    """Whatever the bars, growth a year is all growth over the years it took."""
    index = pd.MultiIndex.from_product([["A"], times], names=["symbol", "time"])
    bars = pd.DataFrame({"close": np.exp(1e-4 * np.arange(len(times)))}, index=index)
    label_times = pd.Series(times[[-1]], index=index[[0]])
    book = backtest_positions(pd.Series(1.0, index=index[[0]]), label_times, bars)
    years = (times[-1] - times[0]) / pd.Timedelta("365.25D")

    assert book.bars_per_year == pytest.approx(year, rel=1e-3)
    assert book.summary()["log_growth_per_year"] == pytest.approx(
        np.log(bars["close"].iloc[-1]) / years
    )


def test_a_missing_bar_defers_the_return():
    """What a symbol earns over bars that it lacks is counted when its price is back."""
    bars = _bars([[100.0, 100.0, 110.0], [100.0, 100.0, 100.0]])
    bars = bars.drop(("A", TIMES[1]))
    index = pd.MultiIndex.from_product([["A", "B"], TIMES[:1]])
    book = backtest_positions(
        pd.Series([1.0, 0.0], index=index),
        pd.Series([TIMES[2]] * 2, index=index),
        bars,
    )

    np.testing.assert_allclose(book.log_growth, [0.0, np.log(1.05)])


@given(st.floats(-1, 1), st.integers(1, 50), st.integers(1, 60))
def test_bound_of_a_constant_is_the_constant(value, n, block):
    """Without spread there is nothing to be unsure of."""
    bound = block_bootstrap_bound(np.full(n, value), block=block, confidence=0.95)

    assert bound == pytest.approx(value)


def test_bound_of_independent_values_is_the_normal_one():
    """For independent normals the bound is mean - 1.645 sd / sqrt(n), within 3 %."""
    values = np.random.default_rng(0).normal(0.1, 1.0, 500)
    bound = block_bootstrap_bound(
        values, block=1, confidence=0.95, n_resamples=20_000, seed=1
    )
    expected = values.mean() - 1.6449 * values.std() / np.sqrt(len(values))

    assert bound == pytest.approx(expected, abs=0.03 * abs(values.mean() - expected))


def test_thirty_blocks_keep_the_promised_error():
    """With as many blocks as the gate asks for, no edge passes about as often as said.

    The bound promises 5 %; 400 series of 600 independent values without an edge, in
    blocks of 20, pass 5 to 7 % of the time, and the standard error is 1.2 %.
    """
    passed = [
        block_bootstrap_bound(
            np.random.default_rng(seed).normal(size=20 * MIN_BLOCKS),
            block=20,
            confidence=0.95,
            n_resamples=400,
        )
        > 0
        for seed in range(400)
    ]

    assert 0.02 < np.mean(passed) < 0.1


def test_blocks_widen_the_bound_of_dependent_values():
    """Blocks as long as the dependence see the spread that single draws miss."""
    rng = np.random.default_rng(0)
    dependent = np.repeat(rng.normal(size=500), 20)
    alone = block_bootstrap_bound(dependent, block=1, confidence=0.95)
    blocks = block_bootstrap_bound(dependent, block=20, confidence=0.95)

    assert blocks < alone < dependent.mean()
