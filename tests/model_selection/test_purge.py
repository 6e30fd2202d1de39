"""The interval kernel against all pairs."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.model_selection import PurgedKFold
from skatra.model_selection._pieces import RowTaker
from skatra.model_selection._purge import Purger, Timeline
from skatra.model_selection._spans import resolve_span
from skatra.utils import LabelIntervals, as_label_intervals
from tests import strategies
from tests.model_selection.oracle import Oracle, brute_force_train


def purger_for(series, purge_gap=0, embargo=0, closed="both", chunk=1024):
    """Return the kernel for label times and spans as users give them."""
    intervals = as_label_intervals(series)
    line = Timeline.from_intervals(intervals, chunk=chunk)
    scale = {"unit": intervals.unit, "n_distinct": line.n_distinct}
    return Purger(
        line,
        resolve_span(purge_gap, "purge_gap", **scale),
        resolve_span(embargo, "embargo", **scale),
        closed,
    )


def split(purger, blocks):
    """Return training and test rows of test blocks."""
    line = purger.timeline
    taker = RowTaker(line.n_rows, line.order)
    tested = [(start, stop, None) for start, stop in blocks]
    return taker.take(purger.training(blocks)), taker.take(tested)


@pytest.mark.oracle
@given(st.data())
def test_any_blocks_leave_exactly_the_rows_that_neither_overlap_nor_follow(data):
    """Several test blocks, each with its own purge and embargo: no leak, maximal."""
    series = data.draw(strategies.label_times())
    spans = strategies.spans_for(series)
    gap, embargo = data.draw(spans), data.draw(spans)
    closed = data.draw(strategies.CLOSED)
    purger = purger_for(
        series, gap, embargo, closed, data.draw(st.sampled_from([1, 2, 5, 1024]))
    )
    line = purger.timeline
    n_folds = data.draw(st.integers(1, min(6, line.n_distinct)))
    edges = line.fold_edges(n_folds)
    folds = list(pairwise(edges))
    tested = data.draw(st.sets(st.sampled_from(range(n_folds)), min_size=1))
    blocks = [folds[k] for k in sorted(tested)]

    train, test = split(purger, blocks)

    order = np.arange(line.n_rows) if line.order is None else line.order
    expected_test = sorted(row for start, stop in blocks for row in order[start:stop])
    assert expected_test == test.tolist()
    assert Oracle(series, gap, embargo, closed).train(expected_test) == train.tolist()


@given(st.data())
def test_folds_are_cut_between_distinct_t0_nearest_to_an_even_cut(data):
    """No t0 is cut in two, no fold is empty, and cuts are as even as ties allow."""
    starts, ends = data.draw(strategies.label_rows())
    line = Timeline.from_intervals(LabelIntervals(starts, ends, None))
    n_folds = data.draw(st.integers(1, min(7, line.n_distinct)))

    edges = line.fold_edges(n_folds)

    assert edges[0] == 0
    assert edges[-1] == len(starts)
    assert all(start < stop for start, stop in pairwise(edges))
    cuts = [0, *(np.flatnonzero(np.diff(np.sort(starts))) + 1).tolist(), len(starts)]
    assert set(edges) <= set(cuts)
    even = np.cumsum([len(part) for part in np.array_split(starts, n_folds)])[:-1]
    nearest = [min(cuts[1:-1], key=lambda cut: (abs(cut - k), cut)) for k in even]
    if len(set(nearest)) == len(nearest):
        assert nearest == edges[1:-1]


@pytest.mark.parametrize("order", ["sorted", "shuffled", "stacked"])
def test_five_thousand_rows_agree_with_all_pairs(order):
    """Beyond one chunk of the running maximum the result is still exact."""
    rng = np.random.default_rng(0)
    t0 = np.sort(rng.integers(0, 20_000, 5_000))
    if order == "shuffled":
        rng.shuffle(t0)
    elif order == "stacked":
        t0 = np.concatenate([t0[::2], t0[1::2]])
    t1 = t0 + rng.integers(0, 200, 5_000)
    t1[rng.integers(0, 5_000, 3)] += 9_000
    label_times = pd.Series(t1, index=t0)

    for train, test in PurgedKFold(4).split(t0, label_times=label_times):
        assert brute_force_train(t0, t1, test).tolist() == train.tolist()


def test_a_long_label_reaches_past_a_later_block():
    """Rows after the second block stay purged by a long label of the first."""
    ends = np.arange(40)
    ends[5] = 30
    purger = purger_for(pd.Series(ends, index=np.arange(40)))

    train, _ = split(purger, [(4, 8), (20, 22)])

    assert [*range(4), *range(31, 40)] == train.tolist()


def test_rows_between_two_blocks_stay():
    """The purge is never the hull of disjoint test blocks."""
    series = pd.Series(np.arange(100) + 2, index=np.arange(100))
    purger = purger_for(series, embargo=3)

    train, _ = split(purger, [(10, 20), (60, 70)])

    # The last test label of the first block ends at 21; the embargo reaches 24.
    assert [*range(8), *range(25, 58), *range(75, 100)] == train.tolist()


@pytest.mark.parametrize("spread", [1, 10**3, 2**40, 2**62 // 100, 2**63 // 100])
@pytest.mark.parametrize("step", [1, 2, 100])
def test_any_distance_of_times_sorts_exactly(spread, step):
    """Times come in order even where they are too far apart to be packed with rows."""
    rng = np.random.default_rng(0)
    t0 = rng.integers(-100, 100, 5_000) // step * step * (spread // 2 + 1)
    t0 = np.concatenate([t0, t0 + 1])
    rng.shuffle(t0)
    line = Timeline.from_intervals(LabelIntervals(t0, t0, None))

    assert line.t0.tolist() == sorted(t0.tolist())
    assert t0[line.order].tolist() == line.t0.tolist()
    assert sorted(line.order.tolist()) == list(range(10_000))


def test_sorted_input_is_neither_sorted_nor_copied():
    """The timeline of sorted rows is the caller's own memory."""
    t0 = np.arange(3_000)
    line = Timeline.from_intervals(LabelIntervals(t0, t0 + 5, None))

    assert line.order is None
    assert np.shares_memory(line.t0, t0)


def test_one_block_of_training_rows_is_a_view():
    """First and last folds, and all test folds, are views of one array."""
    t0 = np.arange(3_000)
    splits = list(PurgedKFold(3).split(t0, label_times=pd.Series(t0 + 5, index=t0)))

    (first, test), (middle, _), (last, _) = splits
    assert first.base is not None
    assert test.base is first.base
    assert middle.base is None
    assert last.tolist() == list(range(1_995))
    assert not test.flags.writeable


@pytest.mark.parametrize("n_test", [1, 2])
def test_int64_extremes_do_not_overflow(n_test):
    """Times at the ends of int64 compare as the integers they are."""
    info = np.iinfo(np.int64)
    # int64's minimum itself is NaT.
    times = np.array([info.min + 1, info.min + 2, 0, 1, info.max - 1, info.max])
    series = pd.Series(pd.DatetimeIndex(times), index=pd.DatetimeIndex(times))
    purger = purger_for(series, purge_gap="4ns", embargo="3ns", closed="left")

    assert purger.timeline.t0.tolist() == times.tolist()
    for blocks in combinations([(k, k + 1) for k in range(6)], n_test):
        train, test = split(purger, blocks)
        expected = Oracle(series, "4ns", "3ns", "left").train(test.tolist())
        assert expected == train.tolist()
