"""Trade statistics: counted by hand, bounded, and never inf or NaN."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.sizing import calculate_trade_statistics
from tests.strategies import trade_returns


def closed_trades(**columns):
    """Return a frame as Database.trades() gives it."""
    n = len(next(iter(columns.values())))
    days = pd.date_range("2024-01-01", periods=n, tz="UTC")
    return pd.DataFrame(
        {
            "symbol": "SP500",
            "opened_at": days,
            "closed_at": days + pd.Timedelta(days=1),
            "side": 1,
            "quantity": 10.0,
            **columns,
        }
    )


@given(trade_returns())
def test_statistics_are_what_counting_gives(trades):
    """Every figure agrees with a plain loop over the trades."""
    stats = calculate_trade_statistics(trades)
    wins = [r for r in trades if r > 0]
    losses = [-r for r in trades if r < 0]

    assert stats.n_trades == len(trades)
    assert (stats.n_wins, stats.n_losses) == (len(wins), len(losses))
    assert stats.n_breakeven == len(trades) - len(wins) - len(losses)
    if wins and losses:
        assert stats.win_rate == len(wins) / (len(wins) + len(losses))
        ratio = (sum(wins) / len(wins)) / (sum(losses) / len(losses))
        assert stats.avg_win_loss_ratio == pytest.approx(ratio)
        assert stats.profit_factor == pytest.approx(sum(wins) / sum(losses))
        assert stats.largest_loss == max(losses)
    if trades:
        assert stats.expectancy == pytest.approx(sum(trades) / len(trades), abs=1e-12)


@given(trade_returns())
def test_nothing_is_inf_or_nan(trades):
    """What the history cannot tell is None."""
    waiting = [asdict(calculate_trade_statistics(trades))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, tuple):
            waiting += value
        else:
            assert value is None or np.isfinite(value)


@given(trade_returns(), st.integers(0, 20))
def test_break_evens_change_no_win_rate(trades, n):
    """Break-evens are counted apart and do not dilute the win rate."""
    plain = calculate_trade_statistics(trades)
    padded = calculate_trade_statistics(trades + [0.0] * n)

    assert padded.win_rate == plain.win_rate
    assert padded.avg_win_loss_ratio == plain.avg_win_loss_ratio
    assert padded.n_breakeven == plain.n_breakeven + n


@given(trade_returns(min_size=1), st.floats(0.5, 0.99))
def test_the_interval_holds_the_win_rate(trades, confidence):
    """Wilson's interval lies in [0, 1] around the rate and grows with confidence."""
    narrow = calculate_trade_statistics(trades, confidence=confidence)
    wide = calculate_trade_statistics(trades, confidence=(1 + confidence) / 2)

    low, high = narrow.win_rate_interval
    assert 0 <= wide.win_rate_interval[0] <= low + 1e-12
    assert high - 1e-12 <= wide.win_rate_interval[1] <= 1
    if narrow.win_rate is not None:
        assert low - 1e-12 <= narrow.win_rate <= high + 1e-12


def test_published_wilson_interval():
    """Newcombe 1998, Statistics in Medicine 17, table I: 81/263 and 15/148."""
    for wins, n, expected in [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605))]:
        stats = calculate_trade_statistics([1.0] * wins + [-1.0] * (n - wins))
        assert stats.win_rate_interval == pytest.approx(expected, abs=5e-5)


def test_a_frame_of_trades_is_read_as_the_database_gives_it():
    """``ret`` before ``pnl``; open trades do not count; columns can be named."""
    frame = closed_trades(ret=[0.1, -0.05, 0.2], pnl=[-1.0, -2.0, -3.0])
    frame.loc[2, ["closed_at", "ret"]] = [pd.NaT, np.nan]

    stats = calculate_trade_statistics(frame)
    assert (stats.n_trades, stats.n_wins) == (2, 1)
    assert calculate_trade_statistics(frame, column="pnl").n_losses == 2
    assert calculate_trade_statistics(frame.drop(columns="ret")).n_losses == 2


def test_an_array_a_series_and_a_frame_agree():
    """The container does not matter."""
    values = [0.1, -0.05, 0.0]
    expected = calculate_trade_statistics(values)

    assert calculate_trade_statistics(pd.Series(values)) == expected
    assert calculate_trade_statistics(np.array(values)) == expected
    assert calculate_trade_statistics(closed_trades(ret=values)) == expected


@pytest.mark.parametrize(
    ("trades", "options", "message"),
    [
        ([0.1, np.nan], {}, r"trades must be finite; 1 of 2 .* positions \[1\]"),
        (pd.DataFrame({"x": [1]}), {}, "must have a column 'ret' or 'pnl', got"),
        ([0.1], {"column": "ret"}, "needs trades to be a DataFrame"),
        ([0.1], {"confidence": 1.0}, r"confidence must be in \(0, 1\), got 1"),
        ([0.1], {"confidence": "a"}, r"confidence must be numeric, got 'a'"),
        ([[0.1]], {}, "one-dimensional"),
        (["a"], {}, "must hold numbers"),
    ],
)
def test_unusable_trades_are_named(trades, options, message):
    """The message says what is wrong and where."""
    with pytest.raises(ValueError, match=message):
        calculate_trade_statistics(trades, **options)


def test_intervals_cover_as_often_as_they_say():
    """400 histories of 80 skewed trades: 90 % intervals cover 90 %, up to 4 errors.

    Student's and the delta method are asymptotic: 5 % are allowed on top.
    """
    rng = np.random.default_rng(0)
    names = ["avg_win", "avg_loss", "expectancy", "avg_win_loss_ratio"]
    truth = {"avg_win": 0.02, "avg_loss": 0.01, "expectancy": 0.005}
    truth["avg_win_loss_ratio"] = 2.0
    hits = dict.fromkeys([*names, 0.25, 0.5, 0.75], 0)
    cut = {0.25: 0.01 * np.log(0.5), 0.5: 0.0, 0.75: 0.02 * np.log(2.0)}
    for _ in range(400):
        up = rng.uniform(size=80) < 0.5
        trades = np.where(up, rng.exponential(0.02, 80), -rng.exponential(0.01, 80))
        stats = calculate_trade_statistics(trades, confidence=0.9)
        for name in names:
            low, high = getattr(stats, f"{name}_interval")
            hits[name] += low <= truth[name] <= high
        for q, value in cut.items():
            low, high = stats.quantile_intervals[q]
            hits[q] += low <= value <= high

    error = 4 * np.sqrt(0.9 * 0.1 / 400)
    for name in names:
        assert hits[name] / 400 >= 0.9 - 0.05 - error
        assert hits[name] / 400 <= 0.9 + error
    for q in cut:
        assert hits[q] / 400 >= 0.9 - error


@given(trade_returns())
def test_estimates_lie_within_their_intervals(trades):
    """Every interval that exists holds its estimate; quantiles are numpy's."""
    stats = calculate_trade_statistics(trades)

    for name in ("avg_win", "avg_loss", "expectancy", "avg_win_loss_ratio"):
        interval = getattr(stats, f"{name}_interval")
        if interval is not None:
            value, slack = getattr(stats, name), 1e-12
            assert interval[0] - slack <= value <= interval[1] + slack
    for q, value in stats.quantiles.items():
        assert value == np.quantile(trades, q)
        low, high = stats.quantile_intervals[q]
        assert low is None or low <= value
        assert high is None or value <= high
    assert bool(stats.quantiles) == bool(trades)


def test_few_trades_have_no_intervals_they_cannot_have():
    """One win and one loss: no spread, no order statistics, never NaN."""
    stats = calculate_trade_statistics([0.1, -0.1])

    assert stats.avg_win_interval is None
    assert stats.avg_win_loss_ratio_interval is None
    assert stats.quantile_intervals[0.5] == (None, None)
    assert stats.expectancy_interval is not None
