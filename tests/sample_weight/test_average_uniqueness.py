"""average_uniqueness against the definition, point by point."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.exceptions import LabelTimesError
from skatra.sample_weight import average_uniqueness
from tests.strategies import grouped_label_times


def _oracle(times, groups, grid=None):
    """Count the labels of the same group alive at each point of each label."""
    result = []
    for (t0, t1), group in zip(times, groups, strict=True):
        own = times[groups == group]
        points = np.unique(own) if grid is None else grid
        lived = [point for point in points if t0 <= point <= t1]
        alive = [sum(a <= point <= b for a, b in own) for point in lived]
        result.append(np.mean([1 / count for count in alive]))
    return np.array(result)


@given(labels=grouped_label_times(), on_grid=st.booleans())
def test_equals_the_definition(labels, on_grid):
    """Mean inverse concurrency per group, on distinct points or on given times."""
    times, groups = labels
    grid = pd.RangeIndex(30) if on_grid else None
    actual = average_uniqueness(times, groups, times=grid)

    np.testing.assert_allclose(actual, _oracle(times, groups, grid), rtol=1e-12)
    assert ((actual > 0) & (actual <= 1)).all()


@given(labels=grouped_label_times(), seed=st.integers(0, 99))
def test_row_order_does_not_matter(labels, seed):
    """Shuffled rows keep their own uniqueness."""
    times, groups = labels
    order = np.random.default_rng(seed).permutation(len(times))
    expected = average_uniqueness(times, groups)[order]

    np.testing.assert_allclose(
        average_uniqueness(times[order], groups[order]), expected, rtol=1e-12
    )


@given(labels=grouped_label_times(), on_grid=st.booleans())
def test_panel_equals_symbol_by_symbol(labels, on_grid):
    """A MultiIndex's symbol level groups by itself; a Series comes back."""
    times, groups = labels
    start = pd.Timestamp("2024-01-01", tz="UTC")
    t0, t1 = (start + pd.to_timedelta(column, unit="D") for column in times.T)
    index = pd.MultiIndex.from_arrays([groups, t0], names=["symbol", "t0"])
    days = start + pd.to_timedelta(np.arange(30), unit="D")
    grid = pd.MultiIndex.from_product([["Z", "Q", "X", "Y"], days]) if on_grid else None
    whole = average_uniqueness(pd.Series(t1, index=index), times=grid)

    assert whole.index.equals(index)
    for symbol in np.unique(groups):
        own = groups == symbol
        alone = average_uniqueness(
            pd.Series(t1[own], index=t0[own]), times=days if on_grid else None
        )
        np.testing.assert_allclose(whole[own], alone, rtol=1e-12)


@given(labels=grouped_label_times())
def test_every_bar_an_event(labels):
    """With a label at every bar the distinct points are the bars."""
    length = labels[0][:, 1] - labels[0][:, 0]
    starts = np.arange(len(length))
    times = np.column_stack([starts, np.minimum(starts + length, len(length) - 1)])

    np.testing.assert_allclose(
        average_uniqueness(times),
        average_uniqueness(times, times=pd.RangeIndex(len(length))),
        rtol=1e-12,
    )


def test_worked_example():
    """Labels over bars 0-2, 2-3 and 4-5 (AFML 4.5.3, the indicator matrix)."""
    labels = [(0, 2), (2, 3), (4, 5)]

    assert average_uniqueness(labels, times=pd.RangeIndex(6)) == pytest.approx(
        [5 / 6, 3 / 4, 1]
    )
    assert average_uniqueness(labels) == pytest.approx([3 / 4, 3 / 4, 1])


def test_pooling_divides_by_the_number_of_symbols():
    """Two symbols with equal labels are unique each, half as much when pooled."""
    labels = [(0, 2), (0, 2)]

    assert average_uniqueness(labels, ["A", "B"]).tolist() == [1, 1]
    assert average_uniqueness(labels).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": ["A"]}, "groups must have one entry per label: 2, got 1"),
        ({"groups": ["A", None]}, "groups must not be missing; 1 of 2"),
        ({"times": pd.RangeIndex(3)}, r"times must hold a point.*1 of 2.*\[1\]"),
        ({"times": pd.date_range("2024", periods=2)}, "must be of one kind"),
    ],
)
def test_misuse_is_named(arguments, message):
    """Each message says what was required and what came."""
    with pytest.raises(LabelTimesError, match=message):
        average_uniqueness([(0, 2), (4, 5)], **arguments)


def test_time_zones_are_not_mixed():
    """A naive grid does not silently count as UTC."""
    days = pd.date_range("2024-01-01", periods=3, tz="UTC")
    labels = pd.Series(days[1:], index=days[:-1])

    assert len(average_uniqueness(labels, times=days.as_unit("s"))) == 2
    with pytest.raises(LabelTimesError, match="both have a time zone or both none"):
        average_uniqueness(labels, times=days.tz_localize(None))
