"""Bet sizes of AFML chapter 10: the book's formulas, and that they are not Kelly."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from skatra.sizing import (
    afml_bet_size,
    afml_dynamic_bet_size,
    discretize_positions,
    kelly_fraction,
)
from tests.strategies import probabilities


def test_a_coin_flip_stakes_nothing_and_six_in_ten_a_sixth():
    """AFML 10.3: m(0.5) = 0 (RiskLabAI 2.0.1 stakes 0.383) and m(0.6) = 0.161744."""
    assert afml_bet_size(0.5) == 0.0
    assert afml_bet_size(0.6) == pytest.approx(0.161744, abs=5e-7)
    assert afml_bet_size(0.9) == pytest.approx(0.8176, abs=5e-5)
    assert kelly_fraction([0.6, 0.9], 1.0) == pytest.approx([0.2, 0.8])


@given(st.floats(0.001, 0.999), st.sampled_from([-1, 0, 1]), st.integers(2, 6))
def test_the_snippet_as_printed(p, side, n_classes):
    """Snippet 10.1: signal = pred x (2 cdf(z) - 1)."""
    z = (p - 1 / n_classes) / (p * (1 - p)) ** 0.5

    size = afml_bet_size(p, side, n_classes=n_classes)

    assert size == pytest.approx(side * (2 * norm.cdf(z) - 1), abs=1e-12)


@given(probabilities())
def test_sizes_are_odd_and_bounded(p):
    """Mirrored probabilities mirror sizes; 0 and 1 are finite."""
    assert -1 <= afml_bet_size(p) <= 1
    assert afml_bet_size(p) == pytest.approx(-afml_bet_size(1 - p), abs=1e-9)


@given(st.floats(0.01, 0.99), st.floats(0.1, 100), st.floats(-100, 100))
def test_the_width_is_calibrated_as_in_the_book(size, distance, price):
    """AFML 10.6: width = x^2 (m^-2 - 1) gives m at distance x, -m on the other side."""
    width = distance**2 * (size**-2 - 1)

    above = afml_dynamic_bet_size(price + distance, price, width)
    below = afml_dynamic_bet_size(price - distance, price, width)

    assert above == pytest.approx(size, rel=1e-5)
    assert below == pytest.approx(-size, rel=1e-5)
    # The limit price of the book, f - m sqrt(w / (1 - m^2)), is where m is reached.
    limit = price - size * np.sqrt(width / (1 - size**2))
    assert afml_dynamic_bet_size(price, limit, width) == pytest.approx(size, rel=1e-4)


@given(st.lists(st.floats(-1, 1), max_size=20), st.sampled_from([0.05, 0.1, 0.25, 1.0]))
def test_discretised_positions_are_multiples_nearby(positions, step):
    """Whole multiples, at most half a step away, in [-1, 1], and idempotent."""
    rounded = discretize_positions(positions, step)

    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-9)
    assert np.all(np.abs(rounded - positions) <= step / 2 + 1e-12)
    np.testing.assert_array_equal(discretize_positions(rounded, step), rounded)


def test_discretising_keeps_the_index():
    """Series and frames stay what they are."""
    series = pd.Series([0.13, 2.0], index=["a", "b"])

    assert discretize_positions(series, 0.1).to_dict() == pytest.approx(
        {"a": 0.1, "b": 1.0}
    )
    assert discretize_positions(series.to_frame("x"), 0.5)["x"].tolist() == [0.0, 1.0]
    assert discretize_positions(0.3, 0.25) == 0.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: afml_bet_size(1.2), "probability must be in"),
        (lambda: afml_bet_size(0.5, 2), "side must be in"),
        (lambda: afml_bet_size(0.5, n_classes=1), "n_classes must be at least 2"),
        (lambda: afml_bet_size(0.5, clip=0.5), "clip must be in"),
        (lambda: afml_dynamic_bet_size(1.0, 1.0, 0.0), "width must be in"),
        (lambda: discretize_positions([0.1], 0.0), "step must be in"),
        (lambda: discretize_positions([np.nan], 0.1), "positions must be in"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
