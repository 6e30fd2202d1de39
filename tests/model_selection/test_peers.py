"""Equality with other packages' splits wherever those follow the definition.

purgedcv takes labels as [t0, t1), so ``closed="left"`` has to give its training sets.
Three differences are ours on purpose, and the rows drawn here avoid them:

- purgedcv takes a label with t1 = t0 for an empty interval, which overlaps nothing,
  so that it stays in training inside a test label; here it is its point;
- purgedcv cuts folds by row, so that rows of one t0 may lie on both sides; here
  they stay together;
- purgedcv refuses unsorted rows; here they are sorted.

timeseriescv, and python-fold after it, take labels as [t0, t1]: a row before a block
stays if t1 < its first t0, a row after it if t0 > its last t1 + embargo. That is
``closed="both"``. Their two errors are not repeated:

- where the last t1 + embargo reaches the last row, they skip that test altogether and
  train on rows inside the test labels;
- timeseriescv 0.2 looks for the last t1 among the wrong rows if it tests more than
  one fold, so only its K-fold is compared, and the rule itself for the rest.
"""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedGroupKFold,
    PurgedKFold,
    PurgedWalkForward,
)

ORIGIN = pd.Timestamp("2026-01-05")
PYTHON_FOLD = json.loads((Path(__file__).parent / "data/python_fold.json").read_text())


@st.composite
def long_labels(draw):
    """Sorted rows of distinct t0, with labels of at least one hour."""
    n_rows = draw(st.integers(12, 40))
    steps = draw(st.lists(st.integers(1, 5), min_size=n_rows, max_size=n_rows))
    longest = draw(st.sampled_from([1, 4, 12]))
    spans = draw(st.lists(st.integers(1, longest), min_size=n_rows, max_size=n_rows))
    t0 = ORIGIN + pd.to_timedelta(np.cumsum(steps), unit="h")
    return pd.Series(t0 + pd.to_timedelta(spans, unit="h"), index=t0)


HOURS = st.integers(0, 6).map(lambda value: pd.Timedelta(hours=value))


def times_of(series):
    """Return label times as purgedcv takes them."""
    return {
        "prediction_times": pd.Series(series.index),
        "evaluation_times": series.reset_index(drop=True),
    }


def as_sets(splits):
    """Return splits as lists, in an order that does not depend on the package's."""
    return sorted((test.tolist(), train.tolist()) for train, test in splits)


def ours_of(cv, series, groups=None):
    """Return our splits, or None if a split is left without training rows."""
    try:
        return as_sets(cv.split(np.zeros(len(series)), None, groups, series))
    except ValueError as error:
        assert "left without training rows" in str(error)  # noqa: PT017
        return None


def theirs_of(cv, n_rows):
    """Return purgedcv's splits, or None if it refuses one."""
    purgedcv = pytest.importorskip("purgedcv", reason="comes with skatra[test]")
    try:
        splits = as_sets(cv.split(np.zeros((n_rows, 1))))
    except (ValueError, purgedcv.TemporalCVError):
        return None
    return None if any(not train for _, train in splits) else splits


@pytest.mark.oracle
@given(long_labels(), HOURS, HOURS, st.sampled_from(["kfold", "cpcv", "cscv", "walk"]))
def test_half_open_labels_are_purged_as_by_purgedcv(series, gap, embargo, kind):
    """closed="left" gives purgedcv's training sets for all its splitters."""
    purgedcv = pytest.importorskip("purgedcv", reason="comes with skatra[test]")
    options = {"purge_gap": gap, "embargo": embargo, "closed": "left"}
    peer = {"purge_horizon": gap, "embargo": embargo, **times_of(series)}
    if kind == "kfold":
        ours, theirs = PurgedKFold(4, **options), purgedcv.PurgedKFold(4, **peer)
    elif kind == "cpcv":
        ours = CombinatorialPurgedKFold(5, 2, **options)
        theirs = purgedcv.CombinatorialPurgedCV(5, 2, **peer)
    elif kind == "cscv":
        ours = CombinatoriallySymmetricKFold(4, **options)
        theirs = purgedcv.CombinatoriallySymmetricCV(4, **peer)
    else:
        del options["embargo"]
        ours = PurgedWalkForward(3, test_size=3, **options)
        theirs = purgedcv.WalkForwardSplit(3, 3, **peer)
    expected = theirs_of(theirs, len(series))
    found = ours_of(ours, series)

    assert found is None or expected is None or expected == found


@pytest.mark.oracle
@given(long_labels(), HOURS, HOURS)
def test_groups_are_held_out_as_by_purgedcv(series, gap, embargo):
    """Equal sessions, one per fold: purgedcv's test and training rows."""
    purgedcv = pytest.importorskip("purgedcv", reason="comes with skatra[test]")
    series = series.iloc[: len(series) // 4 * 4]
    sessions = np.repeat(np.arange(4), len(series) // 4)
    ours = PurgedGroupKFold(4, purge_gap=gap, embargo=embargo, closed="left")
    theirs = purgedcv.PurgedGroupKFold(
        4,
        groups=pd.Series(sessions),
        purge_horizon=gap,
        embargo=embargo,
        **times_of(series),
    )
    expected, found = theirs_of(theirs, len(series)), ours_of(ours, series, sessions)

    assert found is None or expected is None or expected == found


def reaches_the_last_row(series, test, embargo):
    """Does the embargo of a run of test rows reach the last t0?"""
    run_ends = np.split(test, np.flatnonzero(np.diff(test) > 1) + 1)
    return any(series.iloc[run].max() + embargo >= series.index[-1] for run in run_ends)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@given(long_labels(), HOURS.filter(bool))
def test_closed_labels_are_purged_as_by_timeseriescv(series, embargo):
    """closed="both" gives the training sets of timeseriescv's K-fold."""
    peer = pytest.importorskip(
        "timeseriescv.cross_validation", reason="comes with skatra[test]"
    )
    found = ours_of(PurgedKFold(4, embargo=embargo), series)
    theirs = peer.CombPurgedKFoldCV(4, n_test_splits=1, embargo_td=embargo)
    frame = pd.DataFrame({"x": 0.0}, index=series.index)
    times = pd.Series(series.index, index=series.index)
    expected = as_sets(theirs.split(frame, pred_times=times, eval_times=series))

    for ours, other in zip(found or [], expected, strict=False):
        assert other[0] == ours[0]
        if not reaches_the_last_row(series, np.array(ours[0]), embargo):
            assert other == ours


@pytest.mark.oracle
@given(long_labels(), HOURS.filter(bool))
def test_closed_labels_follow_the_rule_of_python_fold(series, embargo):
    """CPCV: t1 < the run's first t0, or t0 > its last t1 + embargo, for every run."""
    found = ours_of(CombinatorialPurgedKFold(5, 2, embargo=embargo), series)
    rows = np.arange(len(series))
    folds = np.array_split(rows, 5)
    t0, t1 = series.index.to_numpy(), series.to_numpy()
    expected = []
    for chosen in combinations(folds, 2):
        test = np.concatenate(chosen)
        keep = np.ones(len(rows), dtype=bool)
        keep[test] = False
        for run in np.split(test, np.flatnonzero(np.diff(test) > 1) + 1):
            before = (rows < run[0]) & (t1 < t0[run[0]])
            after = (rows > run[-1]) & (t0 > t1[run].max() + embargo.to_timedelta64())
            keep &= before | after
        expected.append((test.tolist(), np.flatnonzero(keep).tolist()))

    assert found is None or sorted(expected) == found


@pytest.mark.oracle
@pytest.mark.parametrize(
    "case",
    PYTHON_FOLD["cases"],
    ids=lambda case: f"{case['kind']}-{case['t1'][0]}-{case['embargo']}h",
)
def test_closed_labels_are_purged_as_python_fold_did(case):
    """closed="both" gives the splits that python-fold 0.1.2 was seen to make.

    They were recorded by benchmarks/record_python_fold.py, since python-fold cannot be
    installed beside numpy 2 and pandas 3. One difference is ours on purpose: where the
    last t1 of a run of test rows + embargo reaches the last row, python-fold trains on
    all rows after the run, those inside test labels too; we train on the others only.
    """
    hours = [ORIGIN + pd.to_timedelta(case[name], unit="h") for name in ("t0", "t1")]
    series = pd.Series(hours[1], index=hours[0])
    embargo = pd.Timedelta(hours=case["embargo"])
    cv = {
        "kfold": PurgedKFold(5, embargo=embargo),
        "cpcv": CombinatorialPurgedKFold(5, 2, embargo=embargo),
        "walk": PurgedWalkForward(4, test_size=12),
    }[case["kind"]]
    found = cv.split(np.zeros(len(series)), label_times=series)
    theirs = {tuple(test): train for train, test in case["splits"]}
    ours = {tuple(test.tolist()): train.tolist() for train, test in found}

    assert theirs.keys() == ours.keys()
    for test, train in ours.items():
        if case["kind"] != "walk" and reaches_the_last_row(
            series, np.array(test), embargo
        ):
            assert set(train) <= set(theirs[test])
        else:
            assert theirs[test] == train
