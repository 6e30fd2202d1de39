"""Position sizes of single trades: plain, Kelly, capped, and zero with a reason."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import Database
from skatra.sizing import (
    PositionSizer,
    calculate_trade_statistics,
    kelly_fraction,
    kelly_from_returns,
)
from tests.strategies import trade_returns

HISTORY = [0.02, 0.03, -0.01, 0.02, -0.02, 0.01, 0.02, -0.01]


def test_default_is_fixed_fractional():
    """Risk 1 % of 10 000 with 2 lost per unit: 50 units, as ever."""
    size = PositionSizer().calculate_position_size(10_000, 50.0, 48.0)

    assert (size.size, size.notional, size.risk_fraction) == (50.0, 2500.0, 0.01)
    assert (size.side, size.full_kelly, size.capped_by, size.reason) == (1,) + (
        None,
    ) * 3


def test_without_a_stop_the_whole_price_is_at_risk():
    """The notional is the risk."""
    size = PositionSizer().calculate_position_size(10_000, 50.0)

    assert size.notional == pytest.approx(100.0)


def test_a_stop_above_the_entry_is_a_short():
    """Sizes are positive; the side tells the direction."""
    size = PositionSizer().calculate_position_size(10_000, 50.0, 52.0)

    assert (size.size, size.side) == (50.0, -1)


def test_kelly_is_off_unless_asked_for():
    """Kelly inputs without use_kelly are an error, not ignored."""
    with pytest.raises(ValueError, match="win_rate need use_kelly=True"):
        PositionSizer().calculate_position_size(1000, 10.0, 9.0, win_rate=0.6)


def test_use_kelly_calls_the_kelly_method():
    """The switch changes the rule and nothing else."""
    sizer = PositionSizer()
    inputs = {"win_rate": 0.6, "avg_win_loss_ratio": 2.0}

    one = sizer.calculate_position_size(1000, 10.0, 8.0, use_kelly=True, **inputs)
    two = sizer.calculate_kelly_position_size(1000, 10.0, 8.0, **inputs)

    assert one == two
    assert one.full_kelly == pytest.approx(0.4)
    assert one.risk_fraction == pytest.approx(0.1)
    assert one.size == pytest.approx(0.1 * 1000 / 2.0)


def test_trades_give_win_rate_and_odds():
    """A history sizes like its own statistics: with one size of win and one of loss
    by the formula of two outcomes, else a little below it.
    """
    sizer = PositionSizer(max_position=100.0)
    stats = calculate_trade_statistics(HISTORY)

    size = sizer.calculate_kelly_position_size(1000, 10.0, 9.0, trades=HISTORY)

    two_point = kelly_fraction(stats.win_rate, stats.avg_win_loss_ratio)
    full = stats.avg_loss * kelly_from_returns(HISTORY)
    assert size.full_kelly == pytest.approx(full)
    assert 0.8 * two_point < full < two_point
    assert size.risk_fraction == pytest.approx(0.25 * full)
    plain = calculate_trade_statistics([0.02, 0.02, 0.02, -0.01, -0.01])
    assert plain.full_kelly == pytest.approx(kelly_fraction(0.6, 2.0))
    assert size == sizer.calculate_kelly_position_size(1000, 10.0, 9.0, trades=stats)


@pytest.mark.parametrize(
    ("trades", "reason"),
    [
        ([], "no win and no loss"),
        ([0.0, 0.0], "no win and no loss"),
        ([0.1, 0.2], "no losing trade among 2"),
        ([-0.1, -0.2], "no winning trade among 2"),
        ([0.1, 0.1, -0.1], "3 decided trades, fewer than min_trades=10"),
    ],
)
def test_a_history_that_defines_no_kelly_gives_nothing_and_says_so(trades, reason):
    """0, a reason and a warning; never inf or NaN."""
    sizer = PositionSizer(min_trades=10)
    with pytest.warns(UserWarning, match=reason):
        size = sizer.calculate_position_size(
            1000, 10.0, 9.0, use_kelly=True, trades=trades
        )

    assert (size.size, size.notional, size.risk_fraction) == (0.0, 0.0, 0.0)
    assert reason in size.reason


def test_no_edge_is_zero_with_a_reason_and_no_warning():
    """A known lack of edge is an answer, not a doubt."""
    size = PositionSizer().calculate_kelly_position_size(
        1000, 10.0, win_rate=0.4, avg_win_loss_ratio=1.0
    )

    assert (size.size, size.full_kelly) == (0.0, 0.0)
    assert "no edge" in size.reason


@given(trades=trade_returns())
def test_a_history_never_stakes_more_than_its_averages_or_its_optimum(trades):
    """Below the formula of two outcomes, below ruin, the same in any currency."""
    stats = calculate_trade_statistics(trades)
    if stats.full_kelly is None:
        return
    two_point = kelly_fraction(stats.win_rate, stats.avg_win_loss_ratio)

    assert stats.full_kelly <= two_point * (1 + 1e-9) + 1e-12
    assert stats.full_kelly * stats.largest_loss < stats.avg_loss * (1 + 1e-12)
    again = calculate_trade_statistics(1e4 * np.asarray(trades, dtype=float))
    assert again.full_kelly == pytest.approx(stats.full_kelly, rel=1e-6, abs=1e-9)


def test_the_worst_loss_of_the_history_bounds_the_stake():
    """One crash among small losses: the growth of the history is best at the stake,
    which averages put beyond ruin.
    """
    trades = [0.02] * 90 + [-0.001] * 9 + [-0.9]
    sizer = PositionSizer(kelly_multiplier=1.0, max_position=1e6)
    stats = calculate_trade_statistics(trades)

    size = sizer.calculate_kelly_position_size(1000, 10.0, 9.99, trades=trades)

    notional = size.risk_fraction / stats.avg_loss
    assert notional == pytest.approx(kelly_from_returns(trades), rel=1e-9)
    two_point = kelly_fraction(stats.win_rate, stats.avg_win_loss_ratio)
    assert two_point / stats.avg_loss * stats.largest_loss > 1.0
    assert size.capped_by is None


@given(
    trades=trade_returns(),
    capital=st.floats(1.0, 1e7),
    entry=st.floats(0.01, 1e4),
    stop=st.none() | st.floats(0.0, 1e4),
    max_position=st.floats(0.01, 5.0),
    max_risk=st.floats(0.001, 1.0),
    lot=st.none() | st.floats(0.01, 10.0),
    use_kelly=st.booleans(),
)
def test_sizes_keep_every_cap(
    trades, capital, entry, stop, max_position, max_risk, lot, use_kelly
):
    """Finite, not negative, below both caps, in whole lots; 0 only with a reason."""
    if stop == entry:
        return
    sizer = PositionSizer(max_position=max_position, max_risk=max_risk, lot_size=lot)
    history = {"trades": trades, "use_kelly": True} if use_kelly else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = sizer.calculate_position_size(capital, entry, stop, **history)

    assert math.isfinite(size.size)
    assert size.notional <= max_position * capital * (1 + 1e-9)
    assert size.risk_fraction <= max_risk * (1 + 1e-9)
    assert (size.size == 0) == (size.reason is not None)
    if lot is not None:
        assert size.size / lot == pytest.approx(round(size.size / lot), abs=1e-6)


def test_the_binding_cap_is_named():
    """The result says which cap bound."""
    sizer = PositionSizer(risk_per_trade=0.05, max_risk=0.02, max_position=0.5)

    assert sizer.calculate_position_size(1000, 10, 5).capped_by == "max_risk"
    assert sizer.calculate_position_size(1000, 10, 9.9).capped_by == "max_position"


def test_lots_round_down():
    """A whole number of lots stays; a part of one is 0 with a reason."""
    sizer = PositionSizer(risk_per_trade=0.03, lot_size=0.1)

    assert sizer.calculate_position_size(1000, 10, 9).size == pytest.approx(30.0)
    small = PositionSizer(lot_size=100.0).calculate_position_size(1000, 10, 9)
    assert "less than one lot" in small.reason


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.calculate_position_size(0, 10), r"capital must be .* \(0, inf\)"),
        (lambda s: s.calculate_position_size(1, float("nan")), "entry_price must be"),
        (lambda s: s.calculate_position_size(1, 10, -1), "stop_loss_price must be"),
        (lambda s: s.calculate_position_size(1, 10, 10), "must differ from entry"),
        (lambda s: s.calculate_position_size(1, 10, use_kelly=True), "needs either"),
        (
            lambda s: s.calculate_kelly_position_size(1, 10, win_rate=0.5),
            "needs either trades, or win_rate and",
        ),
        (
            lambda s: s.calculate_kelly_position_size(
                1, 10, win_rate=0.5, avg_win_loss_ratio=1, trades=HISTORY
            ),
            "a trade history",
        ),
        (
            lambda s: s.calculate_kelly_position_size(
                1, 10, trades=HISTORY, kelly_multiplier=2
            ),
            r"kelly_multiplier must be a number in \[0, 1\], got 2",
        ),
        (
            lambda s: s.calculate_kelly_position_size(
                1, 10, win_rate=1.6, avg_win_loss_ratio=1
            ),
            r"win_rate must be a number in \[0, 1\], got 1.6",
        ),
        (
            lambda s: s.calculate_kelly_position_size(
                1, 10, win_rate=[0.6], avg_win_loss_ratio=1
            ),
            r"win_rate must be a number in \[0, 1\], got \[0.6\]",
        ),
        (
            lambda s: s.calculate_kelly_position_size(
                1, 10, win_rate=0.6, avg_win_loss_ratio=0
            ),
            r"avg_win_loss_ratio must be a number in \(0, inf\), got 0",
        ),
        (lambda _: PositionSizer(risk_per_trade=1.0), r"risk_per_trade .* \(0, 1\)"),
        (lambda _: PositionSizer(max_risk=0), r"max_risk .* \(0, 1\], got 0"),
        (lambda _: PositionSizer(lot_size=-1), "lot_size must be"),
        (lambda _: PositionSizer(kelly_multiplier="x"), "kelly_multiplier must be"),
    ],
)
def test_impossible_inputs_are_named(call, message):
    """The message names the parameter, its range and the value."""
    with pytest.raises(ValueError, match=message):
        call(PositionSizer())


@given(
    entry=st.floats(1.0, 1e4),
    stop=st.floats(0.0, 1e4),
    tick=st.sampled_from([0.01, 0.05, 0.25, 1.0]),
)
def test_ticks_never_understate_the_risk(entry, stop, tick):
    """On ticks, with the stop nearer by half a tick of the entry at most."""
    if stop == entry:
        return
    plain = PositionSizer(max_position=1e9).calculate_position_size(1e4, entry, stop)
    size = PositionSizer(max_position=1e9, tick_size=tick).calculate_position_size(
        1e4, entry, stop
    )

    price = size.notional / size.size
    distance = size.risk_fraction * 1e4 / size.size
    assert price / tick == pytest.approx(round(price / tick), abs=1e-4)
    assert distance / tick == pytest.approx(round(distance / tick), abs=1e-3)
    assert distance >= min(abs(entry - stop) - tick / 2, price) * (1 - 1e-6)
    assert size.side == plain.side


def test_prices_on_ticks_stay():
    """A stop that is on a tick, up to rounding, is not moved by one."""
    sizer = PositionSizer(tick_size=0.01)

    assert sizer.calculate_position_size(1e4, 50.0, 48.0).size == pytest.approx(50.0)
    assert sizer.calculate_position_size(1e4, 0.3, 0.1).risk_fraction == 0.01
    moved = sizer.calculate_position_size(1e4, 50.0, 48.004)
    assert moved.size == pytest.approx(50.0)


def test_exposure_is_capped_over_all_open_positions():
    """What is held leaves room, or none with a reason; Kelly keeps it as well."""
    sizer = PositionSizer(max_exposure=1.5, risk_per_trade=0.1, max_position=1.0)

    free = sizer.calculate_position_size(1000, 10.0, 9.0, open_notional=0.0)
    tight = sizer.calculate_position_size(1000, 10.0, 9.0, open_notional=900.0)
    none = sizer.calculate_position_size(1000, 10.0, 9.0, open_notional=1500.0)
    kelly = sizer.calculate_position_size(
        1000, 10.0, 9.0, use_kelly=True, win_rate=0.6, avg_win_loss_ratio=2.0,
        open_notional=1400.0,
    )  # fmt: skip

    assert (free.notional, free.capped_by) == (1000.0, None)
    assert (tight.notional, tight.capped_by) == (600.0, "max_exposure")
    assert (none.size, none.capped_by) == (0.0, "max_exposure")
    assert "leave no room under max_exposure=1.5" in none.reason
    assert (kelly.notional, kelly.capped_by) == (100.0, "max_exposure")


def test_trades_come_straight_from_the_database(tmp_path):
    """Database.trades() is a history as it is; open trades do not count."""
    day = pd.date_range("2024-01-01", periods=len(HISTORY), tz="UTC")
    trades = pd.DataFrame(
        {
            "symbol": "A",
            "opened_at": day,
            "closed_at": day + pd.Timedelta("1D"),
            "side": np.ones(len(HISTORY), dtype="int8"),
            "quantity": 1.0,
            "entry_price": 100.0,
            "exit_price": 100.0 * (1 + np.array(HISTORY)),
            "pnl": 100.0 * np.array(HISTORY),
            "ret": HISTORY,
        }
    )
    sizer = PositionSizer()
    with Database(tmp_path / "market.db", create=True) as db:
        db.write_trades(trades)
        size = sizer.calculate_kelly_position_size(1000, 10.0, 9.0, trades=db.trades())

    assert size == sizer.calculate_kelly_position_size(1000, 10.0, 9.0, trades=HISTORY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PositionSizer(tick_size=0), "tick_size must be"),
        (lambda: PositionSizer(max_exposure=-1), "max_exposure must be"),
        (
            lambda: PositionSizer().calculate_position_size(1, 1, open_notional=-1),
            "open_notional must be",
        ),
        (
            lambda: PositionSizer(tick_size=10.0).calculate_position_size(1, 1),
            "at least half a tick of 10",
        ),
    ],
)
def test_impossible_caps_are_named(call, message):
    """The message names the parameter, its range and the value."""
    with pytest.raises(ValueError, match=message):
        call()
