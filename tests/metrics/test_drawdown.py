"""Drawdown statistics against a walk through the curve."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.metrics import drawdown, drawdown_statistics, drawdowns, max_drawdown

LEVELS = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), max_size=30)


def _walk(equity):
    """Open a drawdown below the peak, close it at its level: one by one."""
    found, peak, at = [], equity[0], 0
    current = None
    for now, value in enumerate(equity):
        if value >= peak:
            if current:
                found.append((*current, now, True))
                current = None
            peak, at = value, now
        elif current is None:
            current = [at, now]
        elif value < equity[current[1]]:
            current[1] = now
    if current:
        found.append((*current, len(equity) - 1, False))
    return found


@given(LEVELS)
def test_equals_the_walk(levels):
    """Peak, bottom, end, depth and recovery of every drawdown, and their summary."""
    equity = np.array([2.0, *levels])
    expected = _walk(equity)
    table = drawdowns(equity)
    found = drawdown_statistics(equity)
    depth = drawdown(equity)

    assert table[["peak", "bottom", "end", "recovered"]].to_numpy().tolist() == [
        list(row) for row in expected
    ]
    np.testing.assert_allclose(
        table["depth"], [1 - equity[b] / equity[p] for p, b, _, _ in expected]
    )
    assert found.n_drawdowns == len(expected)
    assert found.max_duration == max((e - p for p, _, e, _ in expected), default=0)
    assert found.max_drawdown == max_drawdown(equity)
    assert found.current_drawdown == depth[-1]
    assert found.mean_drawdown == pytest.approx(depth.mean())
    assert found.time_under_water == np.mean(depth > 0)
    assert found.mean_drawdown <= found.ulcer_index + 1e-12
    assert found.ulcer_index <= found.max_drawdown + 1e-12


def test_times_come_from_the_index():
    """A Series answers in its own labels; a curve that only rises has none."""
    days = pd.date_range("2024-01-01", periods=4)
    table = drawdowns(pd.Series([1.0, 0.5, 0.25, 2.0], index=days))

    assert table.iloc[0].tolist() == [days[0], days[2], days[3], 0.75, True]
    assert drawdowns([1.0, 2.0, 2.0]).empty
    for bad in ([], [0.0, 1.0], [1.0, -1.0]):
        with pytest.raises(ValueError, match="equity must"):
            drawdown_statistics(bad)
