"""daily_volatility: the textbook recursion, per symbol, from the past only."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.exceptions import BarsError
from skatra.labeling import daily_volatility
from tests.laws import assert_no_look_ahead, assert_panel_equals_symbols
from tests.strategies import coarse_bars, long_bars


def _from_bars(bars):
    return daily_volatility(bars["close"], span=20)


@given(bars=long_bars(), late=st.integers(0, 90), seed=st.integers(0, 9))
def test_no_look_ahead(bars, late, seed):
    """Altering or removing later bars leaves earlier volatilities as they are."""
    times = bars.index.get_level_values("time").unique().sort_values()
    cut = times[max(-1 - late, -len(times))]

    assert_no_look_ahead(_from_bars, bars, cut, seed)


@given(bars=long_bars())
def test_panel_equals_symbol_by_symbol(bars):
    """Symbols do not touch each other."""
    assert_panel_equals_symbols(_from_bars, bars)


@given(bars=coarse_bars(max_symbols=1), span=st.sampled_from([1, 3.5, 20]))
def test_weighted_deviation_by_hand(bars, span):
    """Weights (1 - a)^k, a = 2 / (span + 1), with the unbiased correction."""
    actual = daily_volatility(bars["close"], span=span).to_numpy()
    steps = np.diff(np.log(bars["close"].to_numpy()))

    assert np.isnan(actual[:2]).all()
    for bar in range(2, len(bars)):
        known = steps[:bar]
        weights = (1 - 2 / (span + 1)) ** np.arange(bar)[::-1]
        total = weights.sum()
        mean = weights @ known / total
        correction = total**2 - (weights**2).sum()
        if correction <= 1e-12 * total**2:
            continue
        variance = weights @ (known - mean) ** 2 / total * total**2 / correction
        assert actual[bar] == pytest.approx(np.sqrt(variance), abs=1e-9)


def test_parameters_and_prices_are_checked():
    """A span below 1 and a negative price are refused by name."""
    close = pd.Series([1.0, -1.0], index=pd.date_range("2024-01-01", periods=2))
    with pytest.raises(BarsError, match="close is not positive in 1 of 2 rows"):
        daily_volatility(close)
    with pytest.raises(BarsError, match="close must be a Series of prices, got Data"):
        daily_volatility(close.to_frame())
    with pytest.raises(
        ValueError, match="span must be a finite number of at least 1, got 0"
    ):
        daily_volatility(close.abs(), span=0)
