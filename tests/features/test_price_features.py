"""price_features: knows the past only, and means what its formulas say."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets._samples import load_index_bars, make_edge_bars
from skatra.exceptions import BarsError, EmptyDataError
from skatra.features import LOOK_BACK, PRICE_FEATURES, price_features
from tests.laws import (
    assert_no_look_ahead,
    assert_panel_equals_symbols,
    assert_same_bits,
)
from tests.strategies import long_bars


@given(bars=long_bars(), late=st.integers(0, 90), seed=st.integers(0, 9))
def test_no_look_ahead(bars, late, seed):
    """Altering or removing later bars leaves earlier features as they are."""
    times = bars.index.get_level_values("time").unique().sort_values()
    cut = times[max(-1 - late, -len(times))]

    assert_no_look_ahead(price_features, bars, cut, seed)


@given(bars=long_bars())
def test_panel_equals_symbol_by_symbol(bars):
    """Symbols do not touch each other."""
    assert_panel_equals_symbols(price_features, bars)


@given(bars=long_bars(max_symbols=1), seed=st.integers(0, 9))
def test_memory_is_bounded(bars, seed):
    """A feature needs 252 bars and forgets all before, to the last bit."""
    if len(bars) < LOOK_BACK:
        return
    end = np.random.default_rng(seed).integers(LOOK_BACK, len(bars) + 1)
    window = bars.iloc[end - LOOK_BACK : end]
    features = price_features(bars)

    assert_same_bits(features.loc[window.index[-1:]], price_features(window))


@given(bars=long_bars())
def test_rows_are_the_bars_with_full_look_back(bars):
    """Each symbol loses its first 251 bars, nothing else; no value is missing."""
    try:
        features = price_features(bars)
    except EmptyDataError:
        assert bars.groupby(level="symbol").size().max() < LOOK_BACK
        return
    age = bars.groupby(level="symbol").cumcount().to_numpy()

    assert bars.index[age >= LOOK_BACK - 1].equals(features.index)
    assert list(PRICE_FEATURES) == list(features.columns)
    assert (features.dtypes == np.float64).all()
    assert np.isfinite(features.to_numpy()).all()
    assert features["close_in_bar"].between(0, 1).all()
    assert features["close_in_month"].between(0, 1).all()
    assert (features["drawdown"] <= 0).all()


def _by_hand(window):
    """Compute the features of the last bar from its 252 bars, by the formulas."""
    opening, high, low, close, volume = (window[c].to_numpy() for c in window)
    log = np.log(close)
    step = np.diff(log)
    month = np.sqrt(np.mean(step[-21:] ** 2))
    quarter = np.sqrt(np.mean(step[-63:] ** 2))
    moves = {h: log[-1] - log[-1 - h] for h in (1, 2, 5, 10, 21, 63)}
    ranges = np.log(high / low)[-21:]
    bottom, top = low[-21:].min(), high[-21:].max()
    return {
        **{f"return_{h}": m / (month * np.sqrt(h)) for h, m in moves.items()},
        "return_63": moves[63] / (quarter * np.sqrt(63)),
        "gap": np.log(opening[-1] / close[-2]) / month,
        "volatility_21": month,
        "volatility_ratio": month / quarter,
        "range_ratio": np.sqrt(np.mean(ranges**2) / (4 * np.log(2))) / month,
        "average_distance": (log[-1] - log[-21:].mean()) / (month * np.sqrt(21)),
        "close_in_bar": (close[-1] - low[-1]) / (high[-1] - low[-1]),
        "close_in_month": (close[-1] - bottom) / (top - bottom),
        "drawdown": np.log(close[-1] / high.max()),
        "volume_1": np.log(volume[-1] / volume[-63:].mean()),
        "volume_5": np.log(volume[-5:].mean() / volume[-63:].mean()),
    }


@pytest.mark.parametrize("seed", range(3))
def test_values_follow_the_formulas(seed):
    """Each feature equals its formula, written out for one bar."""
    bars = make_edge_bars(260, seed=seed)
    expected = pd.Series(_by_hand(bars.iloc[-LOOK_BACK:]))
    actual = price_features(bars).iloc[-1]

    pd.testing.assert_series_equal(
        actual, expected[actual.index], check_names=False, rtol=1e-9
    )


def test_price_level_and_volume_unit_do_not_matter():
    """Prices in cents and volumes in thousands give the same features."""
    bars = make_edge_bars(300)
    scaled = bars * [100, 100, 100, 100, 1e-3]

    np.testing.assert_allclose(
        price_features(scaled), price_features(bars), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("absent", [True, False])
def test_without_volume_its_features_are_zero(absent):
    """Absent and all-zero volume mean the same."""
    bars = make_edge_bars(300)
    quiet = bars.drop(columns="volume") if absent else bars.assign(volume=0.0)
    features = price_features(quiet)

    assert (features[["volume_1", "volume_5"]] == 0).all(axis=None)


def test_prices_that_never_move():
    """A flat market has features 0, and its closes in the middle of no range."""
    bars = make_edge_bars(260).assign(open=7.0, high=7.0, low=7.0, close=7.0)
    features = price_features(bars).drop(columns=["volume_1", "volume_5"])
    middle = features.columns.isin(["close_in_bar", "close_in_month"])

    assert (features.loc[:, middle] == 0.5).all(axis=None)
    assert (features.loc[:, ~middle] == 0).all(axis=None)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_bad_prices_are_refused(value):
    """A price that is none stops everything."""
    bars = make_edge_bars(260)
    bars.iloc[100, bars.columns.get_loc("close")] = value

    with pytest.raises(BarsError, match="close"):
        price_features(bars)


def test_too_few_bars_are_refused():
    """Fewer bars than the look-back are named as such."""
    with pytest.raises(EmptyDataError, match=r"at least 252 bars.*at most 251"):
        price_features(make_edge_bars(251))


def test_real_data():
    """The bundled bars give two symbols' features, the docstring lists each."""
    features = price_features(load_index_bars())

    assert features.shape == (2 * (5031 - 251), len(PRICE_FEATURES))
    assert all(f"``{name}``" in price_features.__doc__ for name in PRICE_FEATURES)
