"""CUSUM events against the filter written out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import load_index_bars, make_edge_bars
from skatra.exceptions import BarsError
from skatra.labeling import cusum_events, daily_volatility
from tests.strategies import coarse_bars


def _oracle(close, threshold):
    """Restart the sums by hand: scan on from each reset."""
    log = np.log(close.to_numpy())
    events, reset_up, reset_down = [], 0, 0
    for bar in range(1, len(log)):
        up = log[bar] - log[reset_up : bar + 1].min()
        down = log[bar] - log[reset_down : bar + 1].max()
        if down < -threshold:
            reset_down = bar
            events.append(bar)
        elif up > threshold:
            reset_up = bar
            events.append(bar)
    return close.index[events]


@given(bars=coarse_bars(), threshold=st.sampled_from([0.0123, 0.0345, 0.0777]))
def test_equals_the_definition(bars, threshold):
    """Symbol by symbol, a rise or fall of more than the threshold since a reset."""
    events = cusum_events(bars["close"], threshold)

    assert events.equals(bars.index[bars.index.isin(events)])
    for symbol, own in bars["close"].groupby(level="symbol"):
        expected = _oracle(own, threshold)
        assert events[events.get_level_values(0) == symbol].equals(expected)
        alone = cusum_events(own.droplevel("symbol"), threshold)
        assert list(alone) == list(expected.get_level_values(1))


@given(bars=coarse_bars(), cut=st.integers(1, 75))
def test_no_look_ahead(bars, cut):
    """Later bars neither add nor remove earlier events."""
    early = bars["close"].iloc[:cut]
    events = cusum_events(bars["close"], 0.02)

    assert cusum_events(early, 0.02).equals(events[events.isin(early.index)])


@pytest.mark.parametrize(("symbol", "count"), [("SP500", 968), ("NASDAQ", 1356)])
def test_reference_counts(symbol, count):
    """Numbers derived independently from twenty years of daily closes, +-2 %."""
    close = load_index_bars().loc[symbol]["close"]

    assert len(cusum_events(close, 0.02)) == count


def test_both_counters_past_a_falling_threshold():
    """The lower one is reset first, the upper one fires at the next bar."""
    days = pd.date_range("2024-01-01", periods=5)
    close = pd.Series(np.exp([0, 0.03, 0.0, 0.01, 0.01]), index=days)
    bound = pd.Series([1, 1, 1, 0.005, 0.005], index=days)

    assert cusum_events(close, bound).tolist() == [days[3], days[4]]


def test_missing_thresholds_are_no_events_and_do_not_reset():
    """A volatility's first bars are NaN; the counters run on."""
    close = make_edge_bars(200)["close"]
    volatility = daily_volatility(close)
    events = cusum_events(close, 2 * volatility)

    assert len(events) > 5
    assert volatility[events].notna().all()
    days = pd.date_range("2024-01-01", periods=3)
    rising = pd.Series(np.exp([0, 0.02, 0.03]), index=days)
    late = pd.Series([np.nan, np.nan, 0.025], index=days)
    assert cusum_events(rising, late).tolist() == [days[2]]


def test_misuse_is_named():
    """Thresholds out of range, of another index, and prices that are none."""
    close = make_edge_bars(20)["close"]
    for threshold, message in [
        (0.0, "threshold must be positive; 20 of 20"),
        (np.nan, "threshold must be a positive number or a Series, got nan"),
        ([0.1], "threshold, unless a Series, must be a number"),
        (pd.Series(0.1, index=close.index[:5]), "must have the index of close"),
    ]:
        with pytest.raises(ValueError, match=message):
            cusum_events(close, threshold)
    with pytest.raises(BarsError, match="close must be a Series"):
        cusum_events(close.to_numpy(), 0.1)
