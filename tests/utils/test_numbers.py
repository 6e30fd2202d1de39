"""Single numbers: what is none is refused by name, everywhere."""

import numpy as np
import pytest

from skatra.datasets import make_edge_bars
from skatra.exceptions import EmptyDataError
from skatra.features import FractionalDifference
from skatra.labeling import (
    average_true_range,
    cusum_events,
    daily_volatility,
    fixed_horizon_labels,
    trend_scanning_labels,
    triple_barrier_labels,
)
from skatra.metrics import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    sharpe_ratio,
)
from skatra.sample_weight import draw_probabilities, sequential_bootstrap
from skatra.utils import as_count, as_number, format_number

BARS = make_edge_bars(30, edge=0.0).droplevel(0)
RETURNS = np.random.default_rng(0).normal(size=40)
LABELS = [(0, 2), (2, 3)]
COUNTS = {
    "max_holding": lambda v: triple_barrier_labels(BARS, target=0.1, max_holding=v),
    "horizon": lambda v: fixed_horizon_labels(BARS, horizon=v),
    "max_window": lambda v: trend_scanning_labels(BARS, max_window=v),
    "n_draws": lambda v: sequential_bootstrap(LABELS, n_draws=v),
    "width": lambda v: FractionalDifference(0.4, width=v).fit(RETURNS[:, None]),
    "n_blocks": lambda v: probability_of_backtest_overfitting(
        RETURNS.reshape(-1, 2), n_blocks=v
    ),
}
NUMBERS = {
    "span": lambda v: daily_volatility(BARS["close"], span=v),
    "span must": lambda v: average_true_range(BARS, span=v),
    "target": lambda v: triple_barrier_labels(BARS, target=v),
    "stop_loss": lambda v: triple_barrier_labels(BARS, target=0.1, stop_loss=v),
    "threshold": lambda v: cusum_events(BARS["close"], v),
    "d must": lambda v: FractionalDifference(v).fit(RETURNS[:, None]),
    "n_trials": expected_maximum_sharpe,
    "n_trials must": minimum_backtest_length,
    "sharpe_std": lambda v: deflated_sharpe_ratio(RETURNS, 5, v),
    "benchmark": lambda v: probabilistic_sharpe_ratio(RETURNS, v),
    "benchmark must": lambda v: minimum_track_record_length(RETURNS, v),
    "periods_per_year": lambda v: sharpe_ratio(RETURNS, periods_per_year=v),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [2.5, np.nan, "3", True, -1], ids=str)
def test_counts_are_whole_numbers(name, value):
    """Neither a fraction nor text, missing, true or negative counts anything."""
    with pytest.raises(ValueError, match=f"{name}.* must be a whole number"):
        COUNTS[name](value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [np.nan, "1", True, -np.inf], ids=str)
def test_numbers_are_numbers(name, value):
    """Text, truth, NaN and a negative infinity are refused under the user's name."""
    with pytest.raises(ValueError, match=name):
        NUMBERS[name](value)


@pytest.mark.parametrize("rows", [[2], [-1], [0.5], ["a"], [[0]]], ids=str)
def test_drawn_rows_are_positions(rows):
    """Draws so far name labels that there are."""
    with pytest.raises(ValueError, match="row positions from 0 to 1"):
        draw_probabilities(LABELS, rows)


def test_no_bars_are_named():
    """Empty bars are refused as such."""
    with pytest.raises(EmptyDataError, match="bars has no rows"):
        triple_barrier_labels(BARS[:0], target=0.1)
    with pytest.raises(EmptyDataError, match="close has no rows"):
        cusum_events(BARS["close"][:0], 0.1)


def test_numbers_of_numpy_count():
    """Scalars of numpy are numbers like Python's own."""
    assert as_count(np.int8(3), "n") == 3
    assert as_number(np.float32(0.5), "d") == 0.5
    assert as_number(np.int64(2), "d") == 2.0


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (-1e-9, "+.2%", "0.00%"),
        (0.0, "+.5f", "0.00000"),
        (-0.0, ".1f", "0.0"),
        (-0.012, "+.1%", "-1.2%"),
        (0.1, "+.0%", "+10%"),
        (float("-inf"), "+.2f", "-inf"),
        (float("nan"), ".2f", "nan"),
    ],
)
def test_a_zero_has_no_sign(value, spec, text):
    """What rounds to zero is written without a sign, all else as format does."""
    assert format_number(value, spec) == text
