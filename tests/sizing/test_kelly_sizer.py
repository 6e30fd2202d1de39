"""KellySizer: payoffs given or learned, frames, sides, routing and errors."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skatra.sizing import (
    KellyClassifier,
    KellySizer,
    PayoffTable,
    kelly_multiplier_for_drawdown,
    kelly_notional,
)
from tests.strategies import classed_returns, payoffs, probabilities


@given(
    p=st.lists(probabilities(), min_size=1, max_size=8),
    win=payoffs(),
    loss=payoffs(),
    multiplier=st.floats(0, 1),
    side=st.sampled_from(["both", "long", "short"]),
)
def test_positions_are_the_formula(p, win, loss, multiplier, side):
    """Multiplier x (p / loss - q / win), by side and cap."""
    X = np.array(p)[:, None]
    sizer = KellySizer(
        kelly_multiplier=multiplier, win=win, loss=loss, side=side, max_position=2.0
    )

    positions = sizer.fit(X).transform(X)[:, 0]

    full = kelly_notional(p, win, loss, allow_short=True)
    bounds = {"both": (-2, 2), "long": (0, 2), "short": (-2, 0)}[side]
    np.testing.assert_allclose(
        positions,
        np.clip(multiplier * full, *bounds),
        atol=1e-6 * (1 / win + 1 / loss),
    )


@given(classed_returns(), st.lists(probabilities(), min_size=1, max_size=8))
def test_learned_payoffs_are_the_table_of_the_training_rows(rows, p):
    """Returns and classes give the f*(p) that KellyClassifier stakes."""
    returns, positive = rows
    sizer = KellySizer(kelly_multiplier=1.0, max_position=1e6)
    sizer.fit(np.full((len(returns), 1), 0.5), positive, returns=returns)

    table = PayoffTable.from_returns(returns, positive)
    np.testing.assert_array_equal(
        sizer.transform(np.array(p)[:, None])[:, 0],
        np.clip(table.fraction(p), -1e6, 1e6),
    )


def test_frames_keep_names_and_index():
    """set_output gives a frame of the same columns and rows."""
    X = pd.DataFrame({"A": [0.2, 0.8], "B": [0.5, 0.6]}, index=["x", "y"])
    sizer = KellySizer(win=1.0, loss=1.0).set_output(transform="pandas")

    positions = sizer.fit_transform(X)

    assert positions.columns.tolist() == sizer.get_feature_names_out().tolist()
    assert positions.index.tolist() == ["x", "y"]
    assert positions.loc["y", "A"] == pytest.approx(0.15)


def test_without_payoffs_it_says_so_once():
    """+-1 stands for the payoffs, with one warning; given payoffs are silent."""
    with pytest.warns(UserWarning, match="fitted without returns") as caught:
        sizer = KellySizer(kelly_multiplier=1.0).fit([[0.5]])

    assert len(caught) == 1
    np.testing.assert_allclose(sizer.transform([[0.7]]), 0.4, atol=1e-7)


def test_values_that_are_no_probabilities_are_reported():
    """Out of [0, 1]: the nearer bound, and a warning that counts them."""
    sizer = KellySizer(win=1.0, loss=1.0).fit([[0.5]])
    with pytest.warns(UserWarning, match=r"2 of 3 values are outside \[0, 1\]"):
        positions = sizer.transform([[-3.0], [0.5], [2.0]])

    np.testing.assert_allclose(positions[:, 0], [-0.25, 0, 0.25], atol=1e-6)


@pytest.mark.parametrize("y", [None, [0, 1, 1]])
def test_returns_without_a_loss_stake_nothing(y):
    """0 and a warning, never inf or NaN."""
    sizer = KellySizer()
    with pytest.warns(UserWarning, match="no gain or no loss"):
        sizer.fit([[0.5]] * 3, y, returns=[0.1, 0.2, 0.3])

    assert not sizer.transform([[0.0], [1.0]]).any()


def test_returns_are_routed_through_a_pipeline():
    """A pipeline hands returns on without set_fit_request; the two estimators agree."""
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(200, 1))
    happened = rng.uniform(size=200) < p[:, 0]
    returns = np.where(happened, 0.3, -0.2)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(FunctionTransformer(), KellySizer())
        positions = pipe.fit(p, happened, returns=returns).transform(p)[:, 0]

    from sklearn.linear_model import LogisticRegression

    whole = KellyClassifier(LogisticRegression()).fit(p, happened, returns=returns)
    np.testing.assert_allclose(
        positions, np.clip(0.25 * whole.payoff_table_.fraction(p[:, 0]), -1, 1)
    )


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"kelly_multiplier": 2}, {}, r"'kelly_multiplier' .* in \[0, 1\] or .* Got 2"),
        ({"max_position": 0}, {}, "'max_position' .* positive and finite. Got 0"),
        ({"side": "up"}, {}, "'side' .* one of"),
        ({"win": 1.0}, {}, "both be numbers or both None, got win=1.0"),
        ({"win": -1.0, "loss": 1.0}, {}, "'win' .* positive and finite. Got -1"),
        ({"win": 1.0, "loss": 1.0}, {"returns": [1, -1]}, "and returns as well"),
        ({}, {"returns": [1, np.nan]}, "returns must be finite"),
        ({}, {"returns": [1, -1], "y": [1, 1]}, "two classes with returns, got 1"),
        ({}, {"returns": [1]}, "one row per sample"),
    ],
)
def test_impossible_inputs_are_named(options, fit, message):
    """The message names the parameter, what would do and what was got."""
    with pytest.raises(ValueError, match=message):
        KellySizer(**options).fit([[0.5], [0.6]], **fit)


def test_a_drawdown_target_is_a_multiplier():
    """A pair (alpha, beta) stakes what kelly_multiplier_for_drawdown says."""
    p = [[0.3], [0.7]]
    pair = KellySizer(kelly_multiplier=(0.7, 0.1), win=1.0, loss=1.0).fit(p)
    share = kelly_multiplier_for_drawdown(0.7, 0.1)
    number = KellySizer(kelly_multiplier=share, win=1.0, loss=1.0).fit(p)

    assert pair.kelly_multiplier_ == share
    np.testing.assert_array_equal(pair.transform(p), number.transform(p))
