"""Sharpe statistics: the papers' numbers, and the laws between them."""

import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from skatra.datasets import load_index_bars
from skatra.metrics import (
    TrackRecord,
    deflated_sharpe_ratio,
    effective_number_of_trials,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
)
from tests.strategies import track_records

FUND = TrackRecord(0.036 / 0.079, 24, skewness=-2.448, kurtosis=10.164)
CONVENTIONS = st.sampled_from(["2012", "2025"])


@pytest.mark.parametrize(
    ("convention", "against_0", "against_a_tenth", "length"),
    [("2012", 0.912709, 0.855361, 34.7614), ("2025", 0.987207, 0.939148, 13.0288)],
)
def test_published_record(convention, against_0, against_a_tenth, length):
    """One record gives .913 or .987: the two conventions by name.

    "2012": Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, eq. (8) and
    (11). "2025": López de Prado, Lipton and Zoonekynd, How to Use the Sharpe Ratio,
    whose code asserts .987, .939 and 13.029.
    """
    said = {"convention": convention}

    assert probabilistic_sharpe_ratio(FUND, **said) == pytest.approx(
        against_0, abs=5e-7
    )
    assert probabilistic_sharpe_ratio(FUND, 0.1, **said) == pytest.approx(
        against_a_tenth, abs=5e-7
    )
    assert minimum_track_record_length(FUND, **said) == pytest.approx(length, abs=5e-5)


def test_published_standard_errors():
    """.329 with the record's moments, .214 as if its returns were normal."""
    normal = TrackRecord(FUND.sharpe_ratio, 24)

    assert FUND.standard_error() == pytest.approx(0.3286, abs=5e-5)
    assert normal.standard_error() == pytest.approx(0.2145, abs=5e-5)


def test_published_deflated_sharpe_ratio():
    """SR0 = .1132 and DSR = .9004, in annual or in daily units.

    Bailey and López de Prado, The Deflated Sharpe Ratio (2014), the numerical example.
    """
    record = TrackRecord(2.5 / np.sqrt(250), 1250, skewness=-3, kurtosis=10)
    said = {"expected_maximum": "approximate"}
    floor = expected_maximum_sharpe(100, np.sqrt(0.5 / 250), **said)

    assert floor == pytest.approx(0.11317200, abs=5e-9)
    assert deflated_sharpe_ratio(
        record, 100, np.sqrt(0.5 / 250), **said
    ) == pytest.approx(0.90039683, abs=5e-9)
    assert deflated_sharpe_ratio(
        record, 100, np.sqrt(0.5), periods_per_year=250, **said
    ) == pytest.approx(0.90039683, abs=5e-9)


@pytest.mark.parametrize(
    ("n_trials", "exact", "approximate"),
    [(10, 1.538753, 1.574598), (100, 2.507594, 2.530603)],
)
def test_reference_maxima(n_trials, exact, approximate):
    """The expected maximum of normal variables, by integral and by formula."""
    assert expected_maximum_sharpe(n_trials) == pytest.approx(exact, abs=5e-7)
    assert expected_maximum_sharpe(
        n_trials, expected_maximum="approximate"
    ) == pytest.approx(approximate, abs=5e-7)


def test_exact_maximum_in_closed_form():
    """0, 1 / sqrt(pi) and 3 / (2 sqrt(pi)) for one, two and three trials."""
    expected = np.array([0, 1, 1.5]) / np.sqrt(np.pi)
    actual = [expected_maximum_sharpe(n) for n in (1, 2, 3)]

    np.testing.assert_allclose(actual, expected, atol=1e-12)


@given(st.floats(0, 25), st.floats(0.01, 1))
def test_more_trials_reach_more(log_trials, step):
    """The exact maximum grows with the trials, and never beyond sqrt(2 log n)."""
    few, many = np.exp(log_trials), np.exp(log_trials + step)

    assert expected_maximum_sharpe(few) < expected_maximum_sharpe(many)
    assert expected_maximum_sharpe(few) <= np.sqrt(2 * log_trials) + 1e-9


def test_paper_on_45_trials_in_5_years():
    """With five years of data, no more than 45 trials keep luck below 1 a year."""
    years = minimum_backtest_length(45, expected_maximum="approximate")
    days = minimum_backtest_length(
        45, periods_per_year=252, expected_maximum="approximate"
    )

    assert years == pytest.approx(5, abs=0.01)
    assert days == pytest.approx(252 * years)
    assert minimum_backtest_length(1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("symbol", "ratio", "skewness", "kurtosis", "sure"),
    [
        ("SP500", 0.01178401, -0.204611, 11.169196, 0.798005),
        ("NASDAQ", 0.01373034, -0.015352, 8.426675, 0.834828),
    ],
)
def test_real_data(symbol, ratio, skewness, kurtosis, sure):
    """Numbers derived independently from twenty years of daily log returns."""
    returns = np.diff(np.log(load_index_bars().loc[symbol]["close"]))
    record = TrackRecord.from_returns(returns)

    assert record.sharpe_ratio == pytest.approx(ratio, abs=5e-9)
    assert record.skewness == pytest.approx(skewness, abs=5e-7)
    assert record.kurtosis == pytest.approx(kurtosis, abs=5e-7)
    assert probabilistic_sharpe_ratio(returns) == pytest.approx(sure, abs=5e-7)
    assert sharpe_ratio(returns, periods_per_year=252) == pytest.approx(
        ratio * np.sqrt(252), abs=5e-7
    )


@given(
    st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=40),
    st.floats(0.01, 100),
)
def test_moments_are_those_of_scipy_and_have_no_unit(returns, scale):
    """Skewness and kurtosis as scipy has them; a levered record is the same one."""
    column = np.array(returns)
    assume(column.std() > 1e-6)
    record = TrackRecord.from_returns(column)
    levered = TrackRecord.from_returns(scale * column)

    assert record.skewness == pytest.approx(stats.skew(column), abs=1e-6)
    assert record.kurtosis == pytest.approx(
        stats.kurtosis(column, fisher=False), rel=1e-6
    )
    assert record.sharpe_ratio == pytest.approx(column.mean() / column.std(ddof=1))
    assert levered.sharpe_ratio == pytest.approx(record.sharpe_ratio, abs=1e-9)


@given(track_records(), st.floats(-0.5, 0.5), st.floats(0.51, 0.99), CONVENTIONS)
def test_the_minimum_length_reaches_the_level(record, benchmark, level, convention):
    """At exactly the minimum length the probability is the level."""
    assume(record.sharpe_ratio - benchmark > 0.01)
    assume(record.standard_error() > 1e-3)
    assume(record.standard_error(benchmark) > 1e-3)
    needed = minimum_track_record_length(
        record, benchmark, level=level, convention=convention
    )
    # Continue the formula to a length that is no whole number.
    ddof = int(convention == "2012")
    at = None if ddof else benchmark
    error = record.standard_error(at) * np.sqrt(record.n_observations / (needed - ddof))

    assert stats.norm.cdf((record.sharpe_ratio - benchmark) / error) == pytest.approx(
        level, abs=1e-9
    )


@given(track_records(), st.floats(-1, 1), st.floats(0.01, 1), CONVENTIONS)
def test_one_half_at_the_benchmark_less_above(record, benchmark, step, convention):
    """The record exceeds its own ratio with probability 1/2, a higher one with less."""
    said = {"convention": convention}
    own = probabilistic_sharpe_ratio(record, record.sharpe_ratio, **said)
    above = probabilistic_sharpe_ratio(record, record.sharpe_ratio + step, **said)
    moved = probabilistic_sharpe_ratio(
        record, benchmark * 2, periods_per_year=4, **said
    )

    assert own == 0.5
    assert above <= 0.5
    assert moved == probabilistic_sharpe_ratio(record, benchmark, **said)
    assert 0 <= moved <= 1


@given(track_records(), st.floats(1, 1e6), st.floats(0, 1), CONVENTIONS)
def test_trials_only_deflate(record, n_trials, spread, convention):
    """One trial is the probabilistic ratio; more trials never raise it.

    In the 2025 convention this holds as long as the ratio stands above its floor.
    """
    said = {"convention": convention}
    single = deflated_sharpe_ratio(record, 1, spread, **said)
    best = deflated_sharpe_ratio(record, n_trials, spread, **said)

    assert single == pytest.approx(probabilistic_sharpe_ratio(record, **said))
    if convention == "2012":
        assert best <= single + 1e-12


def test_the_error_is_that_of_simulated_records():
    """The standard error is the spread of the ratio over many skewed records."""
    rng = np.random.default_rng(0)
    draws = 0.3 + rng.exponential(size=(4000, 200)) - 1
    ratios = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    truth = TrackRecord(0.3, 200, skewness=2, kurtosis=9)

    assert truth.standard_error() == pytest.approx(ratios.std(), rel=0.05)


def test_the_best_of_worthless_trials_is_deflated_to_a_coin():
    """Over many searches without edge the deflated ratio's median is near 1/2."""
    rng = np.random.default_rng(1)
    values = []
    for _ in range(100):
        trials = rng.normal(size=(250, 20))
        ratios = trials.mean(axis=0) / trials.std(axis=0, ddof=1)
        best = trials[:, ratios.argmax()]
        values.append(deflated_sharpe_ratio(best, 20, ratios.std(ddof=1)))

    assert np.median(values) == pytest.approx(0.5, abs=0.06)


class TestEffectiveNumber:
    """Correlated trials count for as many independent ones as reach as high."""

    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2000, 30))

    def test_equal_trials_are_one(self):
        """Copies, scaled and shifted, add nothing."""
        copies = self.noise[:, [0] * 7] * np.arange(1, 8) + 3

        assert effective_number_of_trials(copies) == pytest.approx(1)
        assert effective_number_of_trials(
            copies, method="average_correlation"
        ) == pytest.approx(1)
        assert effective_number_of_trials(self.noise[:, :1]) == 1

    def test_independent_trials_count_fully(self):
        """Within the noise of the simulation."""
        assert effective_number_of_trials(self.noise, n_draws=8000) == pytest.approx(
            30, rel=0.05
        )
        assert effective_number_of_trials(
            self.noise, method="average_correlation"
        ) == pytest.approx(30, rel=0.05)

    def test_groups_count_once(self):
        """Six ideas in five variants each are six trials; the average says 26."""
        groups = np.repeat(self.noise[:, :6], 5, axis=1)

        assert effective_number_of_trials(groups, n_draws=8000) == pytest.approx(
            6, rel=0.05
        )
        assert effective_number_of_trials(groups, method="average_correlation") > 25

    def test_one_common_factor_in_closed_form(self):
        """Trials of correlation 1/2 reach sqrt(1/2) of what independent ones do."""
        common = self.rng.normal(size=(3000, 1))
        trials = common + self.rng.normal(size=(3000, 30))
        number = effective_number_of_trials(trials, n_draws=8000)

        assert expected_maximum_sharpe(number) == pytest.approx(
            expected_maximum_sharpe(30) * np.sqrt(0.5), rel=0.03
        )

    def test_long_records_are_drawn_in_as_many_dimensions_as_trials(self):
        """Correlations that repeated rows leave as they are make the same number."""
        groups = np.repeat(self.noise[:, :6], 5, axis=1) + 0.3 * self.noise
        few, many = groups[:200], np.tile(groups[:200], (500, 1))
        start = time.perf_counter()
        number = effective_number_of_trials(many)

        assert time.perf_counter() - start < 3
        assert number == pytest.approx(effective_number_of_trials(few), rel=1e-6)

    def test_trials_that_mirror_each_other_are_more_than_two(self):
        """The better of a bet and its opposite is always above 0."""
        one = self.noise[:, :1]
        number = effective_number_of_trials(np.hstack([one, -one]), n_draws=8000)

        assert expected_maximum_sharpe(number) == pytest.approx(
            np.sqrt(2 / np.pi), rel=0.03
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sharpe_ratio([0.1]), "at least 2 values, got 1"),
        (lambda: sharpe_ratio([0.1, 0.1]), "returns must vary"),
        (lambda: sharpe_ratio([0.1, np.nan]), "returns must be finite"),
        (lambda: sharpe_ratio([0.1, 0.2], periods_per_year=0), "periods_per_year"),
        (lambda: TrackRecord(0.1, 1), "n_observations must be at least 2"),
        (lambda: TrackRecord(np.nan, 9), "finite numbers"),
        (lambda: TrackRecord(0.1, np.nan), "finite numbers"),
        (lambda: TrackRecord(0.1, np.inf), "finite numbers"),
        (lambda: TrackRecord("0.1", 9), "sharpe_ratio must be a number, got '0.1'"),
        (lambda: FUND.standard_error("0"), "at must be a number"),
        (lambda: FUND.standard_error(ddof=24), "ddof must be .* below.*24, got 24"),
        (lambda: TrackRecord(0.1, 9, 0.0, 0.0), "not in excess of 3"),
        (lambda: probabilistic_sharpe_ratio(FUND, np.inf), "benchmark must be"),
        (lambda: probabilistic_sharpe_ratio(FUND, convention=2012), "convention must"),
        (lambda: minimum_track_record_length(FUND, level=0.5), r"level.*\(0.5, 1\)"),
        (lambda: minimum_backtest_length(10, 0), "sharpe must be a positive"),
        (lambda: expected_maximum_sharpe(0.5), "n_trials must.*at least 1"),
        (
            lambda: expected_maximum_sharpe(1, expected_maximum="approximate"),
            "at least 2.*'exact'",
        ),
        (lambda: expected_maximum_sharpe(2, -1), "sharpe_std must be"),
        (lambda: expected_maximum_sharpe(2, expected_maximum="x"), "expected_maximum"),
        (lambda: effective_number_of_trials([1, 2, 3]), r"\(n_observations, n_trials"),
        (lambda: effective_number_of_trials(np.eye(2)), "at least 3 rows"),
        (lambda: effective_number_of_trials(np.ones((5, 2))), "must vary; 2 of 2"),
        (lambda: effective_number_of_trials(np.eye(4), method="x"), "method must"),
        (lambda: effective_number_of_trials(np.eye(4), n_draws=0), "n_draws must"),
    ],
)
def test_misuse_is_named(call, message):
    """Each message says what was required and what came."""
    with pytest.raises(ValueError, match=message):
        call()


def test_both_maxima_stay_finite_for_any_number_of_trials():
    """The approximation stays near the exact value where 1 - 1/n rounds to 1."""
    exact, approximate = (
        expected_maximum_sharpe(1e18, expected_maximum=how)
        for how in ("exact", "approximate")
    )

    assert approximate == pytest.approx(exact, rel=2e-3)


def test_a_record_below_the_benchmark_is_never_long_enough():
    """No length proves what is not there."""
    assert minimum_track_record_length(FUND, 1.0) == np.inf
