"""Labels and weights know neither the calendar nor the order of symbols."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.labeling import (
    cusum_events,
    fixed_horizon_labels,
    trend_scanning_labels,
    triple_barrier_labels,
)
from skatra.sample_weight import average_uniqueness
from tests.strategies import coarse_bars

LABELERS = [
    lambda bars: triple_barrier_labels(bars, target=0.03, max_holding=4),
    lambda bars: fixed_horizon_labels(bars, horizon=3),
    lambda bars: trend_scanning_labels(bars, max_window=5, min_window=3),
]


@pytest.mark.parametrize("label", LABELERS, ids=["barriers", "horizon", "trend"])
@given(bars=coarse_bars(), hours=st.integers(-500, 500))
def test_time_shift(label, bars, hours):
    """Bars some hours later give the same labels, as many hours later."""
    shift = pd.Timedelta(hours, unit="h")
    later = bars.copy()
    later.index = pd.MultiIndex.from_arrays(
        [
            bars.index.get_level_values("symbol"),
            bars.index.get_level_values("time") + shift,
        ],
        names=bars.index.names,
    )
    expected, actual = label(bars), label(later)

    assert (actual["t1"].to_numpy() == (expected["t1"] + shift).to_numpy()).all()
    for column in ("ret", "label", "side"):
        assert (actual[column].to_numpy() == expected[column].to_numpy()).all()
    assert (
        average_uniqueness(actual["t1"]).to_numpy()
        == average_uniqueness(expected["t1"]).to_numpy()
    ).all()


@pytest.mark.parametrize("label", LABELERS, ids=["barriers", "horizon", "trend"])
@given(bars=coarse_bars())
def test_symbol_order(label, bars):
    """Symbols in the other order give the same row for each event."""
    symbols = bars.index.get_level_values("symbol")
    turned = pd.concat([bars[symbols == s] for s in reversed(symbols.unique())])
    expected, actual = label(bars), label(turned)

    pd.testing.assert_frame_equal(actual.loc[expected.index], expected)
    weights = average_uniqueness(actual["t1"])
    pd.testing.assert_series_equal(
        weights[expected.index], average_uniqueness(expected["t1"])
    )
    events = cusum_events(bars["close"], 0.02)
    assert set(cusum_events(turned["close"], 0.02)) == set(events)
