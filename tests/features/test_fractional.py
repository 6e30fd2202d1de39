"""Fractional differences: the weights' formula, and nothing from the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import binom
from sklearn.utils.estimator_checks import parametrize_with_checks

from skatra.datasets import load_index_bars
from skatra.exceptions import BarsError
from skatra.features import FractionalDifference, fractional_weights
from skatra.features._fractional import _filter, _filter_wide
from tests.laws import (
    assert_no_look_ahead,
    assert_panel_equals_symbols,
    assert_same_bits,
)
from tests.strategies import coarse_bars

# Both checks compute rows alone or in another order; a difference in time is made of
# the rows before it.
IN_TIME = {
    "check_methods_subset_invariance": "a row's value is made of the rows before it",
    "check_methods_sample_order_invariance": "the order of rows is time",
}


@parametrize_with_checks(
    [FractionalDifference(width=3), FractionalDifference()],
    expected_failed_checks=lambda estimator: IN_TIME if estimator.width else {},
)
def test_estimator_checks_of_scikit_learn_pass(estimator, check):
    """All but the two that contradict a series in time."""
    check(estimator)


def test_reference_weights():
    """Weights derived independently, and the alternating binomials they are."""
    expected = [1, -0.4, -0.12, -0.064, -0.0416, -0.029952]
    np.testing.assert_allclose(fractional_weights(0.4, width=6), expected, rtol=1e-12)
    expected = [1, -0.5, -0.125, -0.0625, -0.0390625]
    np.testing.assert_allclose(fractional_weights(0.5, width=5), expected, rtol=1e-12)
    for d in (0.3, 1.7, 3.0):
        k = np.arange(12)
        np.testing.assert_allclose(
            fractional_weights(d, width=12), (-1.0) ** k * binom(d, k), atol=1e-12
        )


def test_whole_orders_are_ordinary_differences():
    """0 keeps the values, 1 and 2 difference once and twice, in the shortest window."""
    values = np.random.default_rng(0).normal(size=(40, 2))
    for d in (0, 1, 2):
        found = FractionalDifference(float(d)).fit_transform(values)

        assert np.isnan(found[:d]).all()
        np.testing.assert_allclose(found[d:], np.diff(values, d, axis=0), atol=1e-12)


@given(st.floats(0.05, 2.5), st.floats(1e-4, 0.1))
def test_tolerance_cuts_the_window(d, tolerance):
    """All kept weights beyond the order are large enough, the next one is not."""
    weights = fractional_weights(d, tolerance=tolerance)
    following = fractional_weights(d, width=len(weights) + 1)
    late = np.arange(len(weights)) >= d

    assert (np.abs(weights[late]) >= tolerance).all()
    assert abs(following[-1]) < tolerance
    np.testing.assert_array_equal(following[:-1], weights)


@given(
    bars=coarse_bars(),
    d=st.floats(0, 1.5),
    width=st.integers(1, 6),
)
def test_equals_the_weighted_sum(bars, d, width):
    """Row by row within each symbol, missing where the window is not full."""
    weights = fractional_weights(d, width=width)
    found = FractionalDifference(d, width=width).fit_transform(bars[["close", "high"]])
    for symbol, own in bars.groupby(level="symbol"):
        rows = found[bars.index.get_level_values(0) == symbol]
        values = own[["close", "high"]].to_numpy()
        for at in range(len(own)):
            if at < width - 1:
                assert np.isnan(rows[at]).all()
            else:
                expected = weights @ values[at::-1][:width]
                np.testing.assert_allclose(rows[at], expected, rtol=1e-9, atol=1e-9)


def _differences(bars):
    """Map bars to a frame, as the laws of features want it."""
    model = FractionalDifference(0.4, width=4).set_output(transform="pandas")
    return model.fit_transform(bars)


@given(bars=coarse_bars(), day=st.integers(0, 60), seed=st.integers(0, 9))
def test_no_look_ahead(bars, day, seed):
    """Altering or removing later bars leaves earlier rows as they are, to the bit."""
    cut = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(day, unit="D")

    assert_no_look_ahead(_differences, bars, cut, seed)
    assert_panel_equals_symbols(_differences, bars)


@pytest.mark.parametrize("width", [300, 5000])
def test_shuffling_the_future_leaves_the_past(width):
    """To the last bit, in windows summed directly and by Fourier transform."""
    rng = np.random.default_rng(0)
    prices = pd.DataFrame({"log": rng.normal(size=9000).cumsum()})
    model = FractionalDifference(0.4, width=width).set_output(transform="pandas")
    expected = model.fit_transform(prices)
    for cut in (5300, 6144, 8999):
        shuffled = prices.copy()
        shuffled.iloc[cut:] = 1e6 * rng.permutation(prices.iloc[cut:])
        removed = prices.iloc[:cut]

        assert_same_bits(expected[:cut], model.fit_transform(shuffled)[:cut])
        assert_same_bits(expected[:cut], model.fit_transform(removed))


@pytest.mark.parametrize(("rows", "width"), [(2000, 1100), (3000, 1500), (6000, 5000)])
def test_blocks_equal_the_direct_sum(rows, width):
    """The Fourier transform by blocks gives what direct summation gives."""
    series = np.random.default_rng(1).normal(size=rows).cumsum()
    weights = fractional_weights(0.3, width=width)
    expected = np.convolve(series, weights, mode="valid")

    np.testing.assert_allclose(
        _filter_wide(series, weights)[width - 1 :], expected, atol=1e-9
    )
    np.testing.assert_allclose(_filter(series, weights), expected, atol=1e-9)


def test_memory_is_kept_and_the_level_is_lost():
    """Between the price and its return: correlated with the first, without trend."""
    log = np.log(load_index_bars().loc["SP500"][["close"]])
    model = FractionalDifference(0.4).fit(log)
    part = pd.Series(model.transform(log)[:, 0], index=log.index).dropna()
    aligned = log["close"][part.index]

    assert len(part) == len(log) - model.width_ + 1
    assert 0.5 < np.corrcoef(part, aligned)[0, 1] < 0.999
    assert part.std() < 0.5 * aligned.std()


def test_misuse_is_named():
    """Orders, tolerances and widths out of range; times that fall."""
    values = np.ones((5, 1))
    for options, message in [
        ({"d": -0.1}, r"d must be a number in \[0, inf\)"),
        ({"tolerance": 0}, r"tolerance must be a number in \(0, 1\)"),
        ({"tolerance": 1e-12}, "more than 1000000 weights at d=0.4"),
        ({"width": 0}, "width, unless None, must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            FractionalDifference(**options).fit(values)
    days = pd.date_range("2024-01-01", periods=5)[::-1]
    with pytest.raises(BarsError, match="times fall"):
        FractionalDifference(width=2).fit_transform(pd.DataFrame(values, days))
    with pytest.raises(ValueError, match="NaN"):
        FractionalDifference().fit([[1.0], [np.nan]])
