"""Trend-scanning labels against least squares, window by window."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from skatra.datasets import load_index_bars, make_edge_bars
from skatra.labeling import trend_scanning_labels
from tests.laws import assert_no_look_ahead
from tests.strategies import coarse_bars


@pytest.mark.parametrize("windows", [(3, 3), (5, 20), (4, 11)])
def test_equals_least_squares(windows):
    """The t-value of largest size over all windows, by scipy's regression."""
    bars = make_edge_bars(80, seed=3)
    shortest, longest = windows
    labels = trend_scanning_labels(bars, min_window=shortest, max_window=longest)
    close = bars["close"].to_numpy()
    for at in range(len(labels)):
        values = []
        for n in range(shortest, longest + 1):
            line = linregress(np.arange(n), close[at : at + n])
            values.append(line.slope / line.stderr)
        best = values[np.argmax(np.abs(values))]
        row = labels.iloc[at]

        assert row["weight"] == pytest.approx(abs(best), rel=1e-8)
        assert row["label"] == np.sign(best)
        assert row["t1"] == bars.index[at + longest - 1][1]
        assert row["ret"] == pytest.approx(close[at + longest - 1] / close[at] - 1)
    assert len(labels) == 80 - longest + 1


@given(bars=coarse_bars(), row=st.integers(0, 10**6), seed=st.integers(0, 9))
def test_a_label_depends_on_its_own_bars_only(bars, row, seed):
    """Bars before t0 and after t1 may change or go: the same bits."""
    labels = trend_scanning_labels(bars, max_window=6)
    if labels.empty:
        return
    event = labels.iloc[[row % len(labels)]]

    def label(given):
        index = event.index.set_names(["symbol", "time"])
        made = trend_scanning_labels(given, max_window=6, events=index)
        return made.rename_axis(index.names)[["ret", "label", "weight"]]

    assert_no_look_ahead(label, bars, event["t1"].iloc[0], seed)
    times = bars.index.get_level_values("time")
    later = bars[times >= event.index[0][1]]
    pd.testing.assert_frame_equal(label(later), label(bars), check_exact=True)


@given(bars=coarse_bars(), scale=st.sampled_from([0.25, 8.0]))
def test_the_price_unit_does_not_matter(bars, scale):
    """A split of the share changes nothing; a panel is its symbols one by one."""
    labels = trend_scanning_labels(bars, max_window=6)
    scaled = trend_scanning_labels(bars * scale, max_window=6)

    pd.testing.assert_frame_equal(labels, scaled)
    for symbol, own in bars.groupby(level="symbol"):
        alone = trend_scanning_labels(own.droplevel("symbol"), max_window=6)
        expected = labels[labels.index.get_level_values(0) == symbol]
        pd.testing.assert_frame_equal(
            alone, expected.droplevel("symbol"), check_freq=False
        )


def test_perfect_and_absent_trends():
    """A straight line has a large finite t-value, a flat price the label 0."""
    days = pd.date_range("2024-01-01", periods=12)
    rise = pd.DataFrame({"close": np.linspace(100, 111, 12)}, index=days)
    flat = pd.DataFrame({"close": np.full(12, 7.0)}, index=days)
    up = trend_scanning_labels(rise, max_window=6)
    none = trend_scanning_labels(flat, max_window=6)

    assert (up["label"] == 1).all()
    assert np.isfinite(up["weight"]).all()
    assert up["weight"].min() > 1e5
    assert (none[["label", "weight"]] == 0).all(axis=None)


def test_open_events_and_misuse():
    """Events with too few bars ahead are left out or marked; windows are checked."""
    bars = make_edge_bars(30)
    marked = trend_scanning_labels(bars, max_window=20, open_events="mark")

    assert (marked["touched"] == "open").sum() == 19
    assert (
        marked.loc[marked["touched"] == "open", ["ret", "weight"]].isna().all(axis=None)
    )
    assert len(trend_scanning_labels(bars)) == 11
    for options in ({"min_window": 2}, {"min_window": 9, "max_window": 8}):
        with pytest.raises(ValueError, match="3 <= min_window <= max_window"):
            trend_scanning_labels(bars, **options)


def test_on_real_data_the_t_values_say_nothing_by_themselves():
    """Twenty years of a near random walk: most labels are "significant"."""
    weight = trend_scanning_labels(load_index_bars().loc["SP500"])["weight"]

    assert (weight > 2).mean() > 0.9
