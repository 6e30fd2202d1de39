"""Corrections for an estimated win rate: published values, quadrature, laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import beta as beta_distribution

from skatra.sizing import kelly_fraction, kelly_from_counts, kelly_shrinkage
from tests.strategies import payoffs

COUNTS = st.integers(0, 200)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("mean", 0.077311), ("median", 0.077653), ("expected", 0.082581)],
)
def test_the_modified_criteria_of_chu_wu_and_swartz(statistic, expected):
    """Chu, Wu & Swartz 2018, eq. 16 and its alternatives: prior Beta(50, 50), decimal
    odds 1.952, 60 of 100 won (raw Kelly 0.179832).
    """
    stake = kelly_from_counts(60, 40, 0.952, prior=(50, 50), statistic=statistic)

    assert stake == pytest.approx(expected, abs=5e-7)
    assert kelly_fraction(0.6, 0.952) == pytest.approx(0.179832, abs=5e-7)


@settings(max_examples=30)
@given(COUNTS, COUNTS, payoffs(), st.floats(1, 50), st.floats(1, 50))
def test_expected_kelly_is_its_integral(wins, losses, b, one, two):
    """E[Kelly+] over the posterior, by adaptive quadrature."""
    stake = kelly_from_counts(wins, losses, b, prior=(one, two), statistic="expected")

    posterior = beta_distribution(one + wins, two + losses)
    centre, spread = posterior.mean(), posterior.std()
    low, high = max(1 / (1 + b), centre - 12 * spread), min(1.0, centre + 12 * spread)
    integral = 0.0
    if low < high:
        integral = quad(
            lambda q: (q - (1 - q) / b) * posterior.pdf(q), low, high, limit=200
        )[0]
    assert stake == pytest.approx(integral, abs=1e-6 * (1 + 1 / b))


@given(COUNTS, COUNTS, payoffs())
def test_the_posterior_mean_has_the_best_expected_growth(wins, losses, b):
    """No stake has a higher expected growth over the posterior."""
    stake = kelly_from_counts(wins, losses, b)
    mean = (1 + wins) / (2 + wins + losses)
    grid = np.linspace(0, 0.999, 200)

    def growth(f):
        return mean * np.log1p(b * f) + (1 - mean) * np.log1p(-f)

    assert growth(stake) >= growth(grid).max() - 1e-12


@given(COUNTS, COUNTS, payoffs(), st.floats(1, 100))
def test_a_sceptical_prior_never_stakes_more(wins, losses, b, worth):
    """A prior of no edge pulls towards 0 as it grows, and data overcome it."""
    prior = worth / (b + 1), worth * b / (b + 1)
    raw = kelly_from_counts(wins, losses, b, prior=(1e-9, 1e-9)) if wins + losses else 0
    stake = kelly_from_counts(wins, losses, b, prior=prior)

    assert stake <= raw + 1e-6
    many = kelly_from_counts(1e9 * wins, 1e9 * losses, b, prior=prior)
    if wins + losses:
        assert many == pytest.approx(raw, abs=1e-4 * (1 + 1 / b))


@given(COUNTS, COUNTS, payoffs(), st.sampled_from(["mean", "median", "expected"]))
def test_the_short_is_the_mirrored_long(wins, losses, b, statistic):
    """Losses for wins and 1 / b for b give the other side, in units of its own risk."""
    long = kelly_from_counts(wins, losses, b, statistic=statistic, allow_short=True)
    short = kelly_from_counts(
        losses, wins, 1 / b, statistic=statistic, allow_short=True
    )

    assert long == pytest.approx(-short / b, rel=1e-6, abs=1e-9)


def test_baker_and_mchale_at_their_example():
    """e^2 / (e^2 + sigma^2) is 0.862069 at p 0.55, sigma 0.02; exactly it is 0.861157.

    The exact factor maximises E[p log(1 + k s(q) b) + (1 - p) log(1 - k s(q))] over
    the estimate q ~ Beta with mean 0.55 and that deviation, s(q) its Kelly stake.
    """
    p, sigma = 0.55, 0.02
    worth = p * (1 - p) / sigma**2 - 1
    estimate = beta_distribution(p * worth, (1 - p) * worth)

    def growth(k):
        def integrand(q):
            stake = k * max(2 * q - 1, 0)
            return estimate.pdf(q) * (p * np.log1p(stake) + (1 - p) * np.log1p(-stake))

        return quad(integrand, 0.5, 0.75, limit=200)[0]

    exact = minimize_scalar(lambda k: -growth(k), bounds=(0.5, 1), method="bounded").x
    assert exact == pytest.approx(0.861157, abs=1e-4)
    assert kelly_shrinkage(p, 1.0, sigma) == pytest.approx(0.862069, abs=5e-7)
    assert kelly_shrinkage(p, 1.0, sigma) == pytest.approx(exact, abs=2e-3)


@given(st.floats(0, 1), payoffs(), st.floats(0, 0.3), st.floats(0, 0.3))
def test_shrinkage_is_a_share_that_falls_with_doubt(p, b, one, two):
    """In [0, 1], 1 without doubt, falling in sigma, and about e only."""
    low, high = sorted([one, two])

    factors = kelly_shrinkage(p, b, [0.0, low, high])

    assert factors[0] == 1.0
    assert np.all((factors >= 0) & (factors <= 1))
    assert factors[1] >= factors[2]
    edge = p - 1 / (b + 1)
    even = kelly_shrinkage(min(max(0.5 + edge / 2, 0), 1), 1.0, high / 2)
    if high > 1e-6 and abs(edge) > 1e-6:
        assert even == pytest.approx(factors[2], rel=1e-6)


def test_corrections_save_what_plugging_in_loses():
    """Win rates from 30 trades, true p 0.55: raw full Kelly loses growth on average;
    a sceptical prior does not, and 1000 trades keep most of what there is.

    20 000 histories; standard errors are below 2 % of the best growth.
    """
    rng = np.random.default_rng(0)
    p, best = 0.55, 0.55 * np.log(1.1) + 0.45 * np.log(0.9)

    def mean_growth(n, stake_of):
        wins = rng.binomial(n, p, 20_000)
        stake = np.minimum(stake_of(wins, n - wins), 0.999)
        return np.mean(p * np.log1p(stake) + (1 - p) * np.log1p(-stake)) / best

    def raw(wins, losses):
        return kelly_fraction(wins / (wins + losses), 1.0)

    def sceptic(wins, losses):
        return kelly_from_counts(wins, losses, 1.0, prior=(50, 50))

    assert mean_growth(30, raw) < 0
    assert mean_growth(1000, raw) > 0.8
    for n in (30, 100, 1000):
        assert mean_growth(n, sceptic) > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kelly_from_counts(-1, 2, 1.0), "n_wins must be in"),
        (lambda: kelly_from_counts(1, 2, 1.0, prior=(0, 1)), "prior must be in"),
        (lambda: kelly_from_counts(1, 2, 1.0, statistic="mode"), "statistic must be"),
        (lambda: kelly_shrinkage(0.5, 1.0, -0.1), "sigma must be in"),
        (lambda: kelly_shrinkage(1.5, 1.0, 0.1), "p must be in"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, the range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
