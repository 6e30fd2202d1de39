"""Averages of concurrent bets against a loop over all bets."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from skatra.exceptions import LabelTimesError
from skatra.sizing import average_active_positions
from tests.strategies import concurrent_bets


def brute_force(position, lives, times):
    """AFML 10.3 as it is told: mean over the bets with t0 <= t < t1, else 0."""
    active = [(lives[:, 0] <= t) & (t < lives[:, 1]) for t in times]
    return [position[on].mean() if on.any() else 0.0 for on in active]


@given(concurrent_bets())
def test_the_average_is_the_mean_of_active_bets(bets):
    """Sorting and running sums give what the definition gives."""
    position, lives, _, times = bets

    averaged = average_active_positions(position, lives, times)

    np.testing.assert_allclose(
        averaged, brute_force(position, lives, times), atol=1e-12
    )
    assert averaged.index.tolist() == times.tolist()


@given(concurrent_bets())
def test_groups_do_not_mix(bets):
    """Each group's column is the average of its own bets."""
    position, lives, groups, times = bets

    table = average_active_positions(position, lives, times, groups)

    assert table.columns.tolist() == sorted(set(groups))
    for group in table:
        mine = groups == group
        np.testing.assert_allclose(
            table[group], brute_force(position[mine], lives[mine], times), atol=1e-12
        )


@given(concurrent_bets())
def test_equal_bets_average_to_themselves(bets):
    """However many identical bets overlap, the stake is one bet's."""
    _, lives, _, times = bets

    averaged = average_active_positions(np.full(len(lives), 0.3), lives, times)

    assert set(averaged.round(12)) <= {0.0, 0.3}


def test_datetimes_of_any_unit_compare_exactly():
    """A bet is on at its t0 and off at its t1, whatever the units."""
    t0 = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], tz="UTC").as_unit("s")
    t1 = pd.DatetimeIndex(["2024-01-04", "2024-01-05"], tz="UTC").as_unit("ns")
    times = pd.date_range("2024-01-01", periods=5, tz="UTC").as_unit("us")

    averaged = average_active_positions([0.2, 0.4], pd.Series(t1, index=t0), times)

    np.testing.assert_allclose(averaged, [0, 0.2, 0.3, 0.4, 0])


def test_symbols_in_the_index_are_bets_of_their_own():
    """A MultiIndex (symbol, t0) is read by its datetime level."""
    day = pd.to_datetime(["2024-01-02", "2024-01-02"])
    index = pd.MultiIndex.from_arrays([["A", "B"], day], names=["symbol", "t0"])
    life = pd.Series(day + pd.Timedelta("1D"), index=index)
    position = pd.Series([0.2, -0.4], index=index)

    table = average_active_positions(
        position, life, day[:1], index.get_level_values("symbol")
    )

    assert table.iloc[0].to_dict() == {"A": 0.2, "B": -0.4}


def test_what_cannot_be_matched_is_refused():
    """Reversed rows, mixed time zones and missing groups are errors."""
    life = pd.Series(pd.to_datetime(["2024-01-03", "2024-01-04"]))
    life.index = pd.to_datetime(["2024-01-01", "2024-01-02"])
    position = pd.Series([0.1, 0.2], index=life.index)

    with pytest.raises(ValueError, match="same index in the same order"):
        average_active_positions(position[::-1], life, life.index)
    with pytest.raises(LabelTimesError, match="time zone"):
        average_active_positions(position, life, life.index.tz_localize("UTC"))
    with pytest.raises(ValueError, match="groups must not be missing"):
        average_active_positions([0.1, 0.2], life, life.index, [None, "A"])
    with pytest.raises(ValueError, match="positions must be finite"):
        average_active_positions([0.1, np.nan], life, life.index)
