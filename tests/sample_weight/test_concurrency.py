"""Concurrency, return attribution and time decay against their definitions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.exceptions import BarsError, LabelTimesError
from skatra.sample_weight import (
    average_uniqueness,
    concurrency,
    return_attribution,
    time_decay,
)
from tests.strategies import grouped_label_times

START = pd.Timestamp("2024-01-01", tz="UTC")
DAYS = START + pd.to_timedelta(np.arange(30), unit="D")


def _series(times, groups=None):
    """Label times in days as a Series on datetimes."""
    t0, t1 = (START + pd.to_timedelta(column, unit="D") for column in times.T)
    if groups is not None:
        t0 = pd.MultiIndex.from_arrays([groups, t0], names=["symbol", "t0"])
    return pd.Series(t1, index=t0)


@given(labels=grouped_label_times())
def test_concurrency_counts(labels):
    """At each day of each symbol, the labels of that symbol that are alive."""
    times, groups = labels
    counted = concurrency(_series(times, groups), times=DAYS)

    for symbol in np.unique(groups):
        own = times[groups == symbol]
        expected = [sum(a <= day <= b for a, b in own) for day in range(30)]
        assert counted[symbol].tolist() == expected
        assert counted[symbol].index.equals(DAYS)
    assert len(counted) == 30 * len(np.unique(groups))


@given(labels=grouped_label_times(), seed=st.integers(0, 9))
def test_concurrency_keeps_the_order_of_times(labels, seed):
    """Any order of points, row order of labels, or number type: the same counts."""
    times, groups = labels
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([["Q", "X", "Y", "Z"], DAYS])
    index = index[rng.permutation(len(index))]
    rows = rng.permutation(len(times))
    counted = concurrency(_series(times[rows], groups[rows]), times=index)
    plain = concurrency(_series(times, groups), times=DAYS)

    assert counted.index.equals(index[index.get_level_values(0).isin(groups)])
    assert (counted == plain[counted.index]).all()
    numbers = concurrency(times, groups, times=pd.RangeIndex(30))
    assert numbers.tolist() == plain.tolist()


@given(labels=grouped_label_times())
def test_concurrency_at_its_own_times(labels):
    """Without times: every distinct t0 and t1, in the labels' own type."""
    times, _ = labels
    counted = concurrency(_series(times))
    numbers = concurrency(times)

    assert np.unique(times).tolist() == numbers.index.tolist()
    assert counted.tolist() == numbers.tolist()
    assert counted.index.dtype == _series(times).index.dtype
    assert counted.min() >= 1


@st.composite
def _moves(draw):
    """Prices of three symbols on 30 days."""
    seed = draw(st.integers(0, 999))
    steps = np.random.default_rng(seed).normal(0, 0.02, (3, 30))
    index = pd.MultiIndex.from_product([list("XYZ"), DAYS], names=["symbol", "time"])
    close = pd.Series(100 * np.exp(steps.cumsum(axis=1)).ravel(), index=index)
    return close if draw(st.booleans()) else close.sort_index(level=["time", "symbol"])


@given(labels=grouped_label_times(), close=_moves(), closed=st.sampled_from("rb"))
def test_return_attribution_equals_the_definition(labels, close, closed):
    """Each bar's return over the labels alive at it, summed over a label's bars."""
    times, groups = labels
    expected = []
    for (t0, t1), group in zip(times, groups, strict=True):
        own = times[groups == group]
        steps = np.diff(np.log(close[group].to_numpy()), prepend=np.nan)
        steps[0] = 0
        total = 0.0
        for day in range(t0 + (closed == "r"), t1 + 1):
            alive = sum(a + (closed == "r") <= day <= b for a, b in own)
            total += steps[day] / alive
        expected.append(abs(total))
    arguments = _series(times, groups), close
    options = {"closed": {"r": "right", "b": "both"}[closed]}
    if not any(expected):
        with pytest.raises(ValueError, match="must move during at least one label"):
            return_attribution(*arguments, **options)
        return
    weight = return_attribution(*arguments, **options)

    np.testing.assert_allclose(
        weight, np.array(expected) / np.mean(expected), rtol=1e-9, atol=1e-9
    )
    assert weight.mean() == pytest.approx(1)
    assert weight.index.equals(arguments[0].index)


def test_shares_add_up_to_the_returns():
    """With rising prices the shares of all labels are the whole rise they lived."""
    close = pd.Series(np.exp(np.linspace(0, 0.3, 30)), index=DAYS)
    times = np.array([(0, 4), (2, 9), (2, 3), (12, 15)])
    weight = return_attribution(_series(times), close)

    alone = return_attribution(_series(times[[3, 3]]), close)
    assert alone.tolist() == [1, 1]
    assert weight.iloc[3] / weight.sum() == pytest.approx(3 / 12)


def test_unusable_attributions_are_named():
    """Labels that are no bars, of unknown symbols, and prices that are none."""
    close = pd.Series(np.arange(1.0, 31), index=DAYS)
    labels = _series(np.array([(0, 2), (1, 3)]))
    panel = pd.concat({"A": close}, names=["symbol", "time"])

    with pytest.raises(LabelTimesError, match="the t1 of 1 of 2 labels"):
        return_attribution(labels, close.drop(DAYS[2]))
    with pytest.raises(LabelTimesError, match="the t0 of 1 of 2 labels"):
        return_attribution(pd.concat({"A": labels[:1], "B": labels[1:]}), panel)
    with pytest.raises(BarsError, match="close must be a Series"):
        return_attribution(labels, close.to_numpy())
    with pytest.raises(BarsError, match="not positive"):
        return_attribution(labels, close - 1)
    with pytest.raises(ValueError, match="closed must be"):
        return_attribution(labels, close, closed="left")


@given(labels=grouped_label_times(), oldest=st.floats(-0.99, 1))
def test_time_decay_follows_the_book(labels, oldest):
    """Linear in the cumulative uniqueness, 1 at the end; equal where t0 is."""
    times, groups = labels
    unique = np.asarray(average_uniqueness(times, groups))
    weight = time_decay(times, groups=groups, oldest=oldest)
    age = np.array([unique[times[:, 0] <= t0].sum() for t0 in times[:, 0]])
    whole = unique.sum()
    if oldest >= 0:
        expected = oldest + (1 - oldest) * age / whole
    else:
        expected = np.maximum((age - -oldest * whole) / (whole * (1 + oldest)), 0)

    np.testing.assert_allclose(weight, expected, atol=1e-9)
    assert (weight[times[:, 0] == times[:, 0].max()] == 1).all()


@given(labels=grouped_label_times(), seed=st.integers(0, 9))
def test_time_decay_knows_no_row_order(labels, seed):
    """Shuffled rows and shifted time keep their weights; a Series stays one."""
    times, groups = labels
    rows = np.random.default_rng(seed).permutation(len(times))
    expected = time_decay(times, groups=groups, oldest=0.1)

    shuffled = time_decay(times[rows] + 7, groups=groups[rows], oldest=0.1)
    np.testing.assert_allclose(shuffled, expected[rows], atol=1e-12)
    named = time_decay(_series(times, groups), oldest=0.1)
    np.testing.assert_allclose(named, expected)
    assert named.name == "weight"


def test_unusable_decays_are_named():
    """Limits out of range, and uniqueness that is none."""
    labels = [(0, 1), (2, 3)]
    for options, message in [
        ({"oldest": -1}, r"oldest must be a number in \(-1, 1\]"),
        ({"oldest": 1.5}, "oldest must be"),
        ({"uniqueness": [1]}, "inconsistent numbers of samples"),
        ({"uniqueness": [0, 0]}, "positive in at least one row"),
        ({"uniqueness": [1, -1]}, "must not be negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            time_decay(labels, **options)
    assert len(time_decay(np.empty((0, 2)))) == 0


def test_labels_without_symbols_do_not_mix_the_returns_of_a_panel():
    """Of which symbol? Asked, not guessed; with one symbol there is no question."""
    days = pd.date_range("2026-01-01", periods=6)
    close = pd.Series([1.0, 1.1, 1.3, 1.2, 1.4, 1.5], days)
    labels = pd.Series(days[[2, 3, 5]], days[[0, 1, 3]])
    panel = pd.concat({"A": close, "B": close[::-1].set_axis(days)})

    with pytest.raises(LabelTimesError, match="close holds 2, such as 'A' and 'B'"):
        return_attribution(labels, panel)
    expected = return_attribution(labels, close)
    for found in (
        return_attribution(labels, panel, ["A"] * 3),
        return_attribution(labels, panel.loc[["A"]]),
    ):
        pd.testing.assert_series_equal(found, expected)


def test_time_zones_of_frames_are_kept_and_compared():
    """Two columns of times in a zone count like a Series of them."""
    days = pd.date_range("2026-01-01", periods=4, tz="America/New_York")
    series = pd.Series(days[1:], days[:-1])
    frame = pd.DataFrame({"t0": days[:-1], "t1": days[1:]})

    pd.testing.assert_series_equal(concurrency(frame), concurrency(series))
    with pytest.raises(LabelTimesError, match="both have a time zone or both none"):
        concurrency(frame, times=days.tz_localize(None))


def test_groups_and_numbers_of_another_kind_are_named():
    """Tables as groups, text as a number."""
    with pytest.raises(LabelTimesError, match=r"one-dimensional, got shape \(2, 1\)"):
        concurrency([(0, 1), (1, 2)], np.zeros((2, 1)))
    with pytest.raises(ValueError, match="oldest must be a number, got '1'"):
        time_decay([(0, 1)], oldest="1")


def arrow(labels):
    """Return label times whose t0 level and t1 are held by Arrow."""
    pytest.importorskip("pyarrow", reason="Arrow's dtypes need pyarrow")
    kind = f"timestamp[{labels.index.levels[1].unit}, tz=UTC][pyarrow]"
    level = pd.Index(labels.index.levels[1], dtype=kind)
    return pd.Series(
        pd.array(labels, dtype=kind), index=labels.index.set_levels(level, level=1)
    )


def test_levels_of_arrow_are_times():
    """Label times and bars held by Arrow give what numpy's give, symbol by symbol."""
    days = pd.date_range("2026-01-05", periods=30, tz="UTC")
    bars = pd.MultiIndex.from_product([["A", "B"], days], names=["symbol", "t0"])
    labels = pd.Series(days[[3, 4, 9, 5, 9]], index=bars[[0, 2, 5, 31, 34]])
    close = pd.Series(np.arange(100.0, 160.0) ** 1.1, index=bars)
    held = arrow(labels)

    for measure in (
        concurrency,
        average_uniqueness,
        lambda label_times: average_uniqueness(label_times, times=bars),
        lambda label_times: return_attribution(label_times, close),
    ):
        np.testing.assert_array_equal(
            measure(held).to_numpy(), measure(labels).to_numpy()
        )
    assert concurrency(held).index.equals(concurrency(labels).index)
