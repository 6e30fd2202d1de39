"""What the picture of calibration holds, on real figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatra.sizing import KellyCalibrationDisplay, KellyClassifier, PayoffTable

mpl = pytest.importorskip("matplotlib", reason="needs skatra[plot]")
mpl.use("agg")
plt = pytest.importorskip("matplotlib.pyplot", reason="needs skatra[plot]")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def overconfident(n=3000, seed=0):
    """Return labels, probabilities that are too far from 1/2, and the true ones."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.35, 0.65, n)
    return rng.uniform(size=n) < p, 0.5 + 2 * (p - 0.5), p


@given(
    st.integers(1, 12),
    st.sampled_from(["quantile", "uniform"]),
    st.integers(0, 2**16),
)
def test_bins_are_those_of_scikit_learn(n_bins, strategy, seed):
    """Share and mean of every bin agree with calibration_curve."""
    happened, p, _ = overconfident(300, seed)
    display = KellyCalibrationDisplay.from_predictions(
        happened, p, n_bins=n_bins, strategy=strategy,
        ax=mpl.figure.Figure().subplots(2),
    )  # fmt: skip

    share, mean = calibration_curve(happened, p, n_bins=n_bins, strategy=strategy)
    np.testing.assert_allclose(display.prob_true, share)
    np.testing.assert_allclose(display.prob_pred, mean)
    assert display.counts.sum() == 300


def test_intervals_are_wilsons():
    """The bars agree with scipy's interval of a binomial share."""
    happened, p, _ = overconfident()
    display = KellyCalibrationDisplay.from_predictions(happened, p)

    for share, count, low, high in zip(
        display.prob_true, display.counts, display.low, display.high, strict=True
    ):
        test = binomtest(round(share * count), int(count))
        expected = test.proportion_ci(method="wilson")
        np.testing.assert_allclose([low, high], [expected.low, expected.high])


def test_overconfidence_is_staked_too_much():
    """Twice the distance from 1/2 is twice the stake deserved, at even money."""
    happened, p, truth = overconfident(200_000)
    display = KellyCalibrationDisplay.from_predictions(
        happened, p, kelly_multiplier=0.5, n_bins=4
    )

    np.testing.assert_allclose(display.stakes, display.prob_pred - 0.5, atol=1e-7)
    np.testing.assert_allclose(display.deserved, display.prob_true - 0.5, atol=1e-7)
    np.testing.assert_allclose(display.stakes, 2 * display.deserved, atol=0.01)
    right = KellyCalibrationDisplay.from_predictions(
        happened, truth, kelly_multiplier=0.5, n_bins=4
    )
    np.testing.assert_allclose(right.stakes, right.deserved, atol=0.01)


@pytest.mark.parametrize("side", ["both", "long", "short"])
@pytest.mark.parametrize("piped", [False, True])
def test_stakes_of_a_model_are_its_positions(side, piped):
    """Every bin's stake is the mean decision; the curve is the model's own rule."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3))
    returns = 0.01 * X[:, 0] + 0.02 * rng.standard_t(5, 800)
    model = KellyClassifier(GaussianNB(), side=side, max_position=1.5)
    params = {"returns": returns}
    if piped:
        model = make_pipeline(StandardScaler(), model)
        params = {"kellyclassifier__returns": returns}
    model.fit(X, returns > 0, **params)

    display = KellyCalibrationDisplay.from_estimator(model, X, returns > 0, n_bins=5)

    p, position = model.predict_proba(X)[:, 1], model.decision_function(X)
    np.testing.assert_allclose(np.interp(p, *display.curve), position, atol=2e-2)
    weighted = display.counts @ display.stakes / 800
    np.testing.assert_allclose(weighted, position.mean())
    upper, lower = display.ax_
    drawn = {line.get_label(): line for line in lower.lines}
    np.testing.assert_array_equal(drawn["stake of the bin"].get_ydata(), display.stakes)
    np.testing.assert_array_equal(
        drawn["stake the share seen deserves"].get_ydata(), display.deserved
    )
    assert upper.get_xlim() == lower.get_xlim()


@pytest.mark.parametrize("p", [[0.5] * 4, [0.0, 1.0, 1.0, 0.0], [0.3, 0.3, 0.9, 0.9]])
def test_few_distinct_probabilities_are_few_bins(p):
    """Equal probabilities are one bin, and are drawn."""
    display = KellyCalibrationDisplay.from_predictions([0, 1, 1, 0], p)
    display.figure_.canvas.draw()

    assert len(display.counts) == len(set(p))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, 2], [0.1, 0.2]), {}, "y_true must hold 0 and 1"),
        (([0, 1], [0.1, 1.2]), {}, r"y_prob must be in \[0, 1\], got 1.2"),
        (([0, 1], [0.1, np.nan]), {}, "y_prob"),
        (([0, 1], [0.1]), {}, "y_prob"),
        (([], []), {}, "at least one row is needed"),
        (([0, 1], [0.1, 0.2]), {"n_bins": 0}, "n_bins must be an integer"),
        (([0, 1], [0.1, 0.2]), {"strategy": "kmeans"}, "strategy must be one of"),
        (([0, 1], [0.1, 0.2]), {"side": "up"}, "side must be"),
        (([0, 1], [0.1, 0.2]), {"ax": 1}, "ax must be 2 matplotlib Axes"),
    ],
)
def test_impossible_inputs_are_named(arguments, options, message):
    """Each refusal names the parameter and what it should be."""
    with pytest.raises(ValueError, match=message):
        KellyCalibrationDisplay.from_predictions(*arguments, **options)


def test_other_estimators_are_sent_to_from_predictions():
    """Without a sizing rule there is no stake to draw."""
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="Use from_predictions"):
        KellyCalibrationDisplay.from_estimator(model, [[0.0]], [0])
    sized = KellyClassifier(LogisticRegression())
    sized.fit([[0.0], [1.0]] * 5, ["a", "b"] * 5, returns=[-0.1, 0.1] * 5)
    with pytest.raises(ValueError, match="y must hold the classes"):
        KellyCalibrationDisplay.from_estimator(sized, [[0.0]], ["c"])


def test_payoffs_of_a_table_are_used():
    """Twice the odds at p = 1/2 stake a quarter at full Kelly."""
    table = PayoffTable.from_returns([2.0, -1.0], [True, False])
    display = KellyCalibrationDisplay.from_predictions(
        [0, 1], [0.5, 0.5], payoff_table=table, kelly_multiplier=1.0
    )

    np.testing.assert_allclose(display.stakes, [0.25], atol=1e-6)
