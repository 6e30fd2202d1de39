"""The splitter checks pass good splitters and catch broken ones."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, ShuffleSplit, TimeSeriesSplit

from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedGroupKFold,
    PurgedKFold,
    PurgedWalkForward,
)
from skatra.utils.splitter_checks import (
    check_splitter,
    parametrize_with_splitter_checks,
    splitter_check_names,
)

OURS = [
    PurgedKFold(5),
    PurgedKFold(3, purge_gap="2D", embargo="3D"),
    PurgedKFold(4, embargo=0.02, closed="left"),
    CombinatorialPurgedKFold(5, 2, embargo=2),
    CombinatorialPurgedKFold(8, 2),
    CombinatoriallySymmetricKFold(4),
    PurgedWalkForward(4),
    PurgedGroupKFold(3, n_time_folds=2),
]


@parametrize_with_splitter_checks(OURS)
def test_our_splitters_pass_every_check(splitter, check):
    """No splitter of skatra needs an exception."""
    check(splitter)


def _leaks_across_groups(splitter):
    reason = "labels of other groups overlap by design"
    leaks = (
        "no_leaking_pair",
        "grid_search_sees_no_leak",
        "nested_search_sees_no_leak",
    )
    del splitter
    return {f"check_{name}": reason for name in leaks}


@parametrize_with_splitter_checks(
    [PurgedKFold(4, purge_scope="groups")], expected_failed_checks=_leaks_across_groups
)
def test_purging_by_groups_leaks_across_them_only(splitter, check):
    """Apart from what it is meant to allow, it keeps every law."""
    check(splitter)


class Broken(PurgedKFold):
    """A purged splitter that subclasses break in one way each."""

    def __repr__(self):
        """Return the subclass's name."""
        return f"{type(self).__name__}({self.n_splits})"


class Unpurged(Broken):
    """Takes label times and does nothing with them."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Split as KFold does."""
        del groups, label_times
        yield from KFold(self.n_splits).split(X, y)


class PurgesBeforeOnly(Broken):
    """Forgets that labels of test rows reach into the rows after them."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Add back what was dropped after the block."""
        for train, test in super().split(X, y, groups, label_times):
            after = np.arange(test[-1] + 1, len(X))
            yield np.union1d(train, after).astype(np.intp), test


class LastEndOnly(Broken):
    """Looks at the last test row's end instead of the latest one."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Purge the right side by the end of the last row in time."""
        t0, t1 = np.asarray(label_times.index), label_times.to_numpy()
        for train, test in super().split(X, y, groups, label_times):
            last = test[np.argmax(label_times.index.asi8[test])] if len(test) else 0
            if not isinstance(label_times.index, pd.DatetimeIndex):
                yield train, test
                continue
            extra = np.flatnonzero(t0 > t1[last])
            yield np.union1d(train, extra).astype(np.intp), test


class TrustsRowOrder(Broken):
    """Purges by position, as if rows were sorted in time."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Keep eight rows free on both sides of the block."""
        del groups, label_times
        for _, test in KFold(self.n_splits).split(X, y):
            rows = np.arange(len(X))
            far = (rows < test[0] - 31) | (rows > test[-1] + 31)
            yield rows[far], test


class Lists(Broken):
    """Yields lists."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Turn arrays into lists."""
        for train, test in super().split(X, y, groups, label_times):
            yield train.tolist(), test.tolist()


class Masks(Broken):
    """Yields boolean masks."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Turn row positions into masks."""
        for train, test in super().split(X, y, groups, label_times):
            rows = np.arange(len(X))
            yield np.isin(rows, train), np.isin(rows, test)


class Reversed(Broken):
    """Yields training rows from last to first."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Turn the training rows round."""
        for train, test in super().split(X, y, groups, label_times):
            yield train[::-1], test


class TrainsOnTests(Broken):
    """Trains on one test row."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Add the first test row to the training rows."""
        for train, test in super().split(X, y, groups, label_times):
            yield np.sort(np.append(train, test[0])), test


class OutOfRange(Broken):
    """Counts rows from 1."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Shift all rows by one."""
        for train, test in super().split(X, y, groups, label_times):
            yield train + 1, test + 1


class Random(Broken):
    """Drops other rows each time."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Drop a random training row."""
        rng = np.random.default_rng()
        for train, test in super().split(X, y, groups, label_times):
            yield np.delete(train, rng.integers(len(train))), test


class SharedBuffer(Broken):
    """Writes every split into one array."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Reuse the test array."""
        buffer = None
        for train, test in super().split(X, y, groups, label_times):
            buffer = test.copy() if buffer is None else buffer
            buffer[:] = test[: len(buffer)]
            yield train, buffer


class SortsInput(Broken):
    """Changes the caller's label times."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Write into the Series."""
        label_times.iloc[0] = label_times.iloc[1]
        yield from super().split(X, y, groups, label_times)


class MisCounts(Broken):
    """Says another number of splits."""

    def get_n_splits(self, X=None, y=None, groups=None, label_times=None):
        """Count one too many."""
        return super().get_n_splits(X, y, groups, label_times) + 1


class CountsWithoutTimes(Broken):
    """Refuses label times where scikit-learn passes them on."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """Take no label times."""
        return super().get_n_splits(X, y, groups)


class Unrequested(Broken):
    """Asks metadata routing for nothing."""

    __metadata_request__split = {"label_times": None}  # noqa: RUF012


class FallsBack(Broken):
    """Splits without label times as KFold does."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Leak silently."""
        if label_times is None:
            yield from KFold(self.n_splits).split(X, y)
        else:
            yield from super().split(X, y, groups, label_times)


class SkipsMissing(Broken):
    """Takes a missing end for the start."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Fill missing ends."""
        starts = pd.Series(label_times.index, index=label_times.index)
        filled = label_times.where(label_times.notna(), starts)
        yield from super().split(X, y, groups, filled)


class UnitBlind(Broken):
    """Compares integers of different units."""

    def split(self, X, y=None, groups=None, label_times=None):
        """Read the raw integers."""
        if isinstance(label_times.index, pd.DatetimeIndex):
            t1 = pd.DatetimeIndex(label_times).asi8
            t0 = label_times.index.asi8
            label_times = np.column_stack([t0, np.maximum(t0, t1)])
            X = np.asarray(X)
        yield from super().split(X, y, groups, label_times)


class Unpicklable(Broken):
    """Holds a function without a name."""

    def __init__(self, n_splits=5):
        super().__init__(n_splits)
        self.hook = lambda: None

    def __sklearn_clone__(self):
        """Return a new one."""
        return type(self)(self.n_splits)


class Chatty(Broken):
    """Prints a table."""

    def __repr__(self):
        """Return two lines."""
        return f"{type(self).__name__}(\n)"


class Forgetful(Broken):
    """Loses its settings when cloned."""

    def __sklearn_clone__(self):
        """Return the defaults."""
        return type(self)(self.n_splits + 1)


CAUGHT = {
    Unpurged: "check_no_leaking_pair",
    PurgesBeforeOnly: "check_no_leaking_pair",
    LastEndOnly: "check_no_leaking_pair",
    TrustsRowOrder: "check_no_leaking_pair",
    Lists: "check_splits_are_index_arrays",
    Masks: "check_splits_are_index_arrays",
    Reversed: "check_splits_are_sorted",
    TrainsOnTests: "check_train_and_test_are_disjoint",
    OutOfRange: "check_splits_are_in_range",
    Random: "check_split_is_deterministic",
    SharedBuffer: "check_splits_do_not_share_state",
    SortsInput: "check_inputs_stay_unchanged",
    MisCounts: "check_get_n_splits_agrees",
    CountsWithoutTimes: "check_get_n_splits_agrees",
    Unrequested: "check_grid_search_sees_no_leak",
    FallsBack: "check_missing_label_times_are_refused",
    SkipsMissing: "check_bad_label_times_are_refused",
    UnitBlind: "check_units_do_not_matter",
    Unpicklable: "check_pickle",
    Chatty: "check_repr",
    Forgetful: "check_clone",
}


@cache
def results_of(broken):
    """Return what the checks say of a broken splitter, by check."""
    return {r.check: r for r in check_splitter(broken(5), on_fail=None)}


@pytest.mark.parametrize("broken", CAUGHT, ids=lambda broken: broken.__name__)
def test_broken_splitters_are_caught(broken):
    """Each mistake fails the check that is about it, with a message."""
    result = results_of(broken)[CAUGHT[broken]]

    assert result.status == "failed"
    assert len(result.message) > 20


def test_all_failures_are_raised_at_once():
    """The error names the splitter, how many checks it fails, and each with its why."""
    message = r"(?s)^Unpurged\(5\) fails \d+ of \d+ checks:\n- check_.*overlap"
    with pytest.raises(AssertionError, match=message):
        check_splitter(Unpurged(5))


def test_every_check_catches_something_or_is_about_searches():
    """No check is there for nothing."""
    results = [result for broken in CAUGHT for result in results_of(broken).values()]
    results += check_splitter(ShuffleSplit(2), on_fail=None)
    failed = {result.check for result in results if result.status == "failed"}

    assert failed == set(splitter_check_names())


def test_expected_failures_carry_their_reason():
    """They do not raise; a name that is no check does."""
    cv = TimeSeriesSplit(3, gap=8)
    failed = [r.check for r in check_splitter(cv, on_fail=None) if r.status == "failed"]
    reasons = dict.fromkeys(failed, "a gap of rows knows no label times")
    results = check_splitter(cv, expected_failed_checks=reasons)

    assert {r.message for r in results if r.status == "xfail"} == {*reasons.values()}
    assert "check_no_leaking_pair" in failed
    with pytest.raises(ValueError, match="are no checks"):
        check_splitter(cv, expected_failed_checks={"check_nothing": "why"})


@parametrize_with_splitter_checks(
    [KFold(3)],
    expected_failed_checks=lambda splitter: {
        result.check: "KFold does not purge"
        for result in check_splitter(splitter, on_fail=None)
        if result.status == "failed"
    },
)
def test_pytest_cases_are_marked(splitter, check):
    """Expected failures fail strictly as xfail; skipped checks are skips."""
    check(splitter)


def test_only_instances_can_be_checked():
    """Classes and strangers are told what to do."""
    with pytest.raises(TypeError, match="Construct it first"):
        check_splitter(KFold)
    with pytest.raises(TypeError, match="get_n_splits"):
        check_splitter("KFold")
    with pytest.raises(ValueError, match="closed must be"):
        check_splitter(KFold(3), closed="right")
    with pytest.raises(ValueError, match="on_fail"):
        check_splitter(KFold(3), on_fail="warn")


def test_label_times_may_have_another_name():
    """A splitter's own name for label times is enough."""

    class Named(PurgedKFold):
        __metadata_request__split = {"label_times": None, "ends": True}  # noqa: RUF012

        def split(self, X, y=None, groups=None, ends=None):
            yield from super().split(X, y, groups, ends)

        def get_n_splits(self, X=None, y=None, groups=None, ends=None):
            return super().get_n_splits(X, y, groups, ends)

    results = check_splitter(Named(4), times="ends", on_fail=None)
    assert [r.check for r in results if r.status == "failed"] == ["check_pickle"]
