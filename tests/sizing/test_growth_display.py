"""What the picture of growth holds, on real figures."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.sizing import (
    KellyClassifier,
    KellyGrowthDisplay,
    kelly_break_even,
    kelly_from_returns,
    kelly_growth_from_returns,
)
from tests.strategies import sided_returns

mpl = pytest.importorskip("matplotlib", reason="needs skatra[plot]")
mpl.use("agg")
plt = pytest.importorskip("matplotlib.pyplot", reason="needs skatra[plot]")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def trades(n=2000, seed=0):
    """Return fat-tailed returns with an edge."""
    rng = np.random.default_rng(seed)
    return np.clip(0.003 + 0.03 * rng.standard_t(4, n), -0.5, None)


def marks(ax):
    """Return where the upright lines stand, by name."""
    lines = [line for line in ax.lines if line.get_label()[0] != "_"]
    return {line.get_label(): line.get_xdata()[0] for line in lines}


@given(sided_returns(), st.floats(0.0, 1.0))
def test_marks_are_the_formulas(returns, multiplier):
    """Full, chosen, break-even and ruin stand where the functions say."""
    ax = mpl.figure.Figure().subplots()
    display = KellyGrowthDisplay.from_returns(
        returns, kelly_multiplier=multiplier, ax=ax
    )

    full = kelly_from_returns(returns)
    approx = functools.partial(pytest.approx, rel=1e-9, abs=1e-12)
    assert display.full == approx(full)
    assert display.chosen == approx(multiplier * full)
    assert display.break_even == approx(kelly_break_even(returns))
    assert display.ruin == -1 / returns.min()
    drawn = marks(ax)
    assert drawn["chosen"] == display.chosen
    if display.full:
        assert drawn["full Kelly"] == display.full
        assert drawn["break-even"] == display.break_even


@given(sided_returns(), st.booleans())
def test_the_curve_is_growth_and_never_above_its_top(returns, allow_short):
    """The line drawn is the growth of the fractions, highest at full Kelly."""
    ax = mpl.figure.Figure().subplots()
    display = KellyGrowthDisplay.from_returns(returns, allow_short=allow_short, ax=ax)

    expected = kelly_growth_from_returns(display.fractions, returns)
    np.testing.assert_allclose(display.growth, expected, rtol=1e-9, atol=1e-15)
    top = kelly_growth_from_returns(display.full, returns)
    worse = display.fractions * np.sign(display.full or 1.0) >= 0
    assert display.growth[worse].max() <= top + 1e-12
    x, y = ax.lines[0].get_data()
    np.testing.assert_array_equal(x, display.fractions)
    seen = y > ax.get_ylim()[0]
    np.testing.assert_array_equal(y[seen], display.growth[seen])


def test_published_coin():
    """Rotando & Thorp 1992, example 1: p = .53 at even money, f* .06, f_c .11973."""
    display = KellyGrowthDisplay.from_returns([1.0, -1.0], [0.53, 0.47])

    texts = [text.get_text() for text in display.ax_.texts]
    assert texts == ["chosen 0.015", "full Kelly 0.06", "break-even 0.12"]
    assert "ruin at 1" in display.ax_.get_xlabel()
    assert display.ax_.get_ylim()[1] > 0.001801


def test_labels_do_not_collide():
    """Marks that stand close are named in rows above each other."""
    for fraction in (0.3, 0.9, 1.0, 1.05, 2.0):
        display = KellyGrowthDisplay.from_returns(trades(), fraction=fraction)
        display.figure_.canvas.draw()
        boxes = [text.get_window_extent() for text in display.ax_.texts]
        for k, one in enumerate(boxes):
            assert not any(one.overlaps(other) for other in boxes[:k])


def test_wealth_is_that_of_the_fractions():
    """Bands start at 1, are ordered, and their middle grows as the growth says."""
    returns = trades()
    display = KellyGrowthDisplay.from_returns(
        returns, kind="wealth", n_periods=400, n_paths=3000
    )

    upper, lower = display.ax_
    for name, fraction in (("chosen", display.chosen), ("full", display.full)):
        bands = display.wealth[name]
        assert bands.shape == (401, 3)
        assert (bands[0] == 1).all()
        assert (np.diff(bands, axis=1) >= 0).all()
        change = np.log1p(fraction * returns)
        slack = 4 * change.std() * np.sqrt(400 / 3000) * np.sqrt(np.pi / 2)
        middle = np.log(bands[-1, 1])
        assert abs(middle - 400 * change.mean()) <= slack
        falls = display.drawdowns[name]
        assert ((falls >= 0) & (falls <= 1)).all()
    wealth = {line.get_label().split()[0]: line for line in upper.lines}
    drawn = wealth["chosen"].get_ydata()
    np.testing.assert_array_equal(drawn, display.wealth["chosen"][:, 1])
    assert display.drawdowns["full"][-1, 1] > display.drawdowns["chosen"][-1, 1]
    assert lower.get_ylim() == (1.0, 0.0)
    again = KellyGrowthDisplay.from_returns(
        returns, kind="wealth", n_periods=400, n_paths=3000
    )
    np.testing.assert_array_equal(again.wealth["full"], display.wealth["full"])


def test_ruin_stays_ruin():
    """A history that hits ruin ends at 0 and draws down all of it."""
    display = KellyGrowthDisplay.from_returns(
        [0.6, -0.5], fraction=2.0, kind="wealth", n_periods=60
    )

    assert (display.wealth["chosen"][-1] == 0).all()
    assert (display.drawdowns["chosen"][-1] == 1).all()


def test_a_model_is_scaled():
    """Fractions are multiples of the positions; 1 is the model as it is."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 2))
    returns = 0.01 * X[:, 0] + rng.normal(scale=0.02, size=600)
    model = make_pipeline(
        StandardScaler(), KellyClassifier(LogisticRegression(), max_position=3.0)
    )
    fit = {"kellyclassifier__returns": returns[:300]}
    model.fit(X[:300], returns[:300] > 0, **fit)

    display = KellyGrowthDisplay.from_estimator(
        model, X[300:], returns[300:], cost=1e-4
    )

    positions = model.decision_function(X[300:])
    earned = positions * returns[300:] - 1e-4 * np.abs(positions)
    np.testing.assert_array_equal(display.returns, earned)
    assert display.chosen == 1.0
    assert display.full == pytest.approx(kelly_from_returns(earned), rel=1e-12)
    assert "multiple" in display.ax_.get_xlabel()


@pytest.mark.parametrize("returns", [[-0.1, 0.05], [0.1, 0.2], [0.0, 0.0], [-0.1]])
@pytest.mark.parametrize("kind", ["growth", "wealth"])
def test_histories_without_an_edge_are_drawn(returns, kind):
    """Nothing to stake is a picture too, without a warning."""
    display = KellyGrowthDisplay.from_returns(returns, kind=kind, n_periods=5)
    display.figure_.canvas.draw()

    assert display.full == display.break_even == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "paths"}, "kind must be 'growth' or 'wealth', got 'paths'"),
        ({"kind": "wealth", "n_paths": 0}, "n_paths must be an integer of at least 1"),
        ({"kelly_multiplier": 1.5}, r"kelly_multiplier must be in \[0, 1\], got 1.5"),
        ({"fraction": np.nan}, "fraction must be in"),
        ({"cost": -1}, "cost must be in"),
        ({"ax": 3}, "ax must be one matplotlib Axes, got 3"),
        ({"kind": "wealth", "ax": [1]}, "ax must be 2 matplotlib Axes"),
        ({"weights": [1.0]}, "weights must be of shape"),
    ],
)
def test_impossible_inputs_are_named(options, message):
    """Each refusal names the parameter and what it should be."""
    with pytest.raises(ValueError, match=message):
        KellyGrowthDisplay.from_returns([0.1, -0.05], **options)


def test_models_without_positions_are_refused():
    """A classifier that only predicts labels has nothing to scale."""
    with pytest.raises(ValueError, match="Wrap the classifier in KellyClassifier"):
        KellyGrowthDisplay.from_estimator(StandardScaler(), [[0.0]], [0.1])
