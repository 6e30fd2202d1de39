"""The laws that splitters are held to."""

import pickle
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, Literal, TypeAlias
from unittest import SkipTest

import numpy as np
import pandas as pd
from sklearn import clone

from skatra.utils._splitter_data import (
    LabelledRows,
    SplitterCase,
    awkward_rows,
    plain_rows,
)

Splits: TypeAlias = list[tuple[Any, Any]]
Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
_UNITS: tuple[tuple[Unit, Unit], ...] = (
    ("s", "s"),
    ("ns", "ns"),
    ("s", "ns"),
    ("us", "ms"),
)
_REFUSALS = (ValueError, TypeError)


def check_splits_are_index_arrays(case: SplitterCase) -> None:
    """Each split is two non-empty one-dimensional arrays of intp."""
    splits = case.split(plain_rows())
    _require(len(splits) > 0, "split() yields no split")
    for number, name, rows in _parts(splits):
        _require(
            isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype == np.intp,
            f"split {number}: the {name} rows must be a one-dimensional array of intp, "
            f"got {_describe(rows)}. Return row positions, e.g. np.flatnonzero(mask)",
        )
        _require(len(rows) > 0, f"split {number} has no {name} rows")


def check_splits_are_sorted(case: SplitterCase) -> None:
    """Row positions rise, so none comes twice."""
    for number, name, rows in _parts(case.split(plain_rows())):
        falls = np.flatnonzero(np.diff(np.asarray(rows)) <= 0)
        _require(
            len(falls) == 0,
            f"split {number}: the {name} rows must rise, but {rows[falls[:1]]} is "
            f"followed by {rows[falls[:1] + 1]}. Return np.sort of distinct rows",
        )


def check_splits_are_in_range(case: SplitterCase) -> None:
    """Row positions lie in [0, n)."""
    for data in _all_rows():
        for number, name, rows in _parts(_try_split(case, data) or []):
            bad = [row for row in np.asarray(rows) if not 0 <= row < len(data.y)]
            _require(
                not bad,
                f"split {number} of {data.name}: {name} rows must lie in "
                f"[0, {len(data.y)}), got {bad[:3]}",
            )


def check_train_and_test_are_disjoint(case: SplitterCase) -> None:
    """No row is both trained on and tested."""
    for data in _all_rows():
        for number, (train, test) in enumerate(_try_split(case, data) or []):
            both = sorted(set(np.asarray(train)) & set(np.asarray(test)))
            _require(
                not both,
                f"split {number} of {data.name}: {len(both)} rows are trained on and "
                f"tested, the first are {both[:3]}",
            )


def check_split_is_deterministic(case: SplitterCase) -> None:
    """Two calls of split give the same splits."""
    data = plain_rows()
    _same(case.split(data), case.split(data), "the second call of split")


def check_splits_do_not_share_state(case: SplitterCase) -> None:
    """No split changes while later ones are made, or when others are overwritten."""
    data = plain_rows()
    kept, copies = [], []
    for train, test in case.splitter.split(data.X, data.y, **case.metadata(data)):
        kept.append((train, test))
        copies.append((np.array(train), np.array(test)))
    _same(copies, kept, "after the last split was made, the first ones")
    for rows in (part for split in kept for part in split):
        if isinstance(rows, np.ndarray) and rows.flags.writeable:
            rows[:] = 0
    _same(copies, case.split(data), "after its results were overwritten, split")


def check_inputs_stay_unchanged(case: SplitterCase) -> None:
    """Neither X, y, groups nor label times are changed by splitting."""
    data, same = plain_rows(), plain_rows()
    case.split(data)
    unchanged = (
        data.X.equals(same.X)
        and data.label_times.equals(same.label_times)
        and data.label_times.index.equals(same.label_times.index)
        and np.array_equal(data.y, same.y)
        and np.array_equal(data.groups, same.groups)
    )
    _require(unchanged, "split() changed X, y, groups or the label times in place")


def check_get_n_splits_agrees(case: SplitterCase) -> None:
    """get_n_splits is the number of splits, with data and, if it can be, without."""
    data = plain_rows()
    n_splits = len(case.split(data))
    try:
        got = case.splitter.get_n_splits(data.X, data.y, **case.metadata(data))
    except TypeError as error:
        raise AssertionError(
            "get_n_splits must take what split takes, as scikit-learn's searches pass "
            f"it on: {error}"
        ) from error
    _require(got == n_splits, f"get_n_splits says {got}, split yields {n_splits}")
    try:
        got = case.splitter.get_n_splits()
    except _REFUSALS:
        return
    _require(got == n_splits, f"get_n_splits() says {got}, split yields {n_splits}")


def check_no_leaking_pair(case: SplitterCase) -> None:
    """No training label overlaps a test label."""
    for data in _all_rows():
        for number, split in enumerate(_try_split(case, data) or []):
            train, test = map(np.asarray, split)
            pairs = np.argwhere(data.overlaps(train, test, case.closed))
            if len(pairs) == 0:
                continue
            i, j = train[pairs[0, 0]], test[pairs[0, 1]]
            raise AssertionError(
                f"split {number} of {data.name} leaks: {len(pairs)} pairs of training "
                f"and test labels overlap (closed={case.closed!r}), the first are "
                f"row {i} {_interval(data, i)} and row {j} {_interval(data, j)}. Drop "
                "training rows with t0_i <= t1_j and t1_i >= t0_j."
            )


def check_longer_labels_add_no_training_rows(case: SplitterCase) -> None:
    """When a label ends later, no row joins a training set with the same test rows."""
    _needs_times(case)
    data = plain_rows()
    longer = LabelledRows.of(data.name, data.label_times + pd.Timedelta("3D"))
    after = _try_split(case, longer)
    if after is None:
        raise SkipTest("the splitter refuses longer labels")
    for number, (old, new) in enumerate(zip(case.split(data), after, strict=False)):
        if not np.array_equal(old[1], new[1]):
            continue
        added = sorted(set(np.asarray(new[0])) - set(np.asarray(old[0])))
        _require(
            not added,
            f"split {number}: with labels that end 3 days later, the rows "
            f"{added[:3]} joined the training set",
        )


def check_row_order_does_not_matter(case: SplitterCase) -> None:
    """Shuffled rows give the same splits of the same rows."""
    data = plain_rows()
    order = np.random.default_rng(1).permutation(len(data.y))
    splits = _try_split(case, data.take(order))
    if splits is None:
        raise SkipTest("the splitter refuses unsorted rows")
    back = [(np.sort(order[train]), np.sort(order[test])) for train, test in splits]
    _same(case.split(data), back, "rows in another order: split")


def check_time_shift_does_not_matter(case: SplitterCase) -> None:
    """Equal labels a year later give the same splits."""
    data = plain_rows()
    later = data.label_times + pd.Timedelta("366D")
    later.index = data.label_times.index + pd.Timedelta("366D")
    shifted = LabelledRows.of(data.name, later)
    _same(case.split(data), case.split(shifted), "labels a year later: split")


def check_units_do_not_matter(case: SplitterCase) -> None:
    """Datetimes of any unit, mixed ones too, give the same splits."""
    data = plain_rows()
    expected = case.split(data)
    t0 = pd.DatetimeIndex(data.label_times.index)
    t1 = pd.DatetimeIndex(data.label_times)
    for unit0, unit1 in _UNITS:
        series = pd.Series(t1.as_unit(unit1), index=t0.as_unit(unit0), name="t1")
        got = _try_split(case, LabelledRows.of(data.name, series))
        if got is not None:
            _same(expected, got, f"t0 in {unit0} and t1 in {unit1}: split")


def check_containers_do_not_matter(case: SplitterCase) -> None:
    """With label times given, X may be a frame, an array or a list."""
    _needs_times(case)
    data = plain_rows()
    expected = case.split(data)
    array = data.X.to_numpy()
    for name, X in (("an array", array), ("a list", array.tolist())):
        _same(expected, case.split(data, X), f"X as {name}: split")


def check_bad_label_times_are_refused(case: SplitterCase) -> None:
    """Label times that end before they start, are missing or too few raise."""
    _needs_times(case)
    data = plain_rows()
    backwards, missing = data.label_times.copy(), data.label_times.copy()
    backwards.iloc[5] = backwards.index[2]
    missing.iloc[5] = pd.NaT
    for flaw, times in (
        ("an end before its start", backwards),
        ("a missing end", missing),
        ("one row too few", data.label_times.iloc[:-1]),
    ):
        given = {**case.metadata(data), case.times: times}
        try:
            list(case.splitter.split(data.X, data.y, **given))
        except ValueError:
            continue
        raise AssertionError(
            f"label times with {flaw} must raise a ValueError, but were split"
        )


def check_missing_label_times_are_refused(case: SplitterCase) -> None:
    """Without label times nothing falls back to splits that leak."""
    _needs_times(case)
    data = plain_rows()
    given = {k: v for k, v in case.metadata(data).items() if k != case.times}
    try:
        splits = list(case.splitter.split(data.X, data.y, **given))
    except _REFUSALS:
        return
    if any(
        data.overlaps(np.asarray(train), np.asarray(test), case.closed).any()
        for train, test in splits
    ) and not getattr(case.splitter, "purge_gap", 0):
        raise AssertionError(
            f"without {case.times} split must raise a ValueError, but made splits that "
            "leak: a search that does not pass them on would not notice"
        )


def check_clone(case: SplitterCase) -> None:
    """sklearn.clone gives a splitter that splits the same."""
    data = plain_rows()
    twin = case.of(clone(case.splitter, safe=False))
    _same(case.split(data), twin.split(data), "the clone's split")


def check_pickle(case: SplitterCase) -> None:
    """Pickle gives the splitter back, as worker processes need it."""
    data = plain_rows()
    try:
        twin = pickle.loads(pickle.dumps(case.splitter))  # noqa: S301 - our own bytes
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"the splitter cannot be pickled: {error}") from error
    _same(case.split(data), case.of(twin).split(data), "the unpickled split")


def check_repr(case: SplitterCase) -> None:
    """One short line with the class name is the repr."""
    text = repr(case.splitter)
    _require(
        type(case.splitter).__name__ in text
        and " object at 0x" not in text
        and "\n" not in text
        and len(text) <= 500,
        "repr must be one line of at most 500 characters with the class name and its "
        f"arguments, got {len(text)} characters: {text[:80]!r}",
    )


LAWS: tuple[Callable[[SplitterCase], None], ...] = (
    check_splits_are_index_arrays,
    check_splits_are_sorted,
    check_splits_are_in_range,
    check_train_and_test_are_disjoint,
    check_split_is_deterministic,
    check_splits_do_not_share_state,
    check_inputs_stay_unchanged,
    check_get_n_splits_agrees,
    check_no_leaking_pair,
    check_longer_labels_add_no_training_rows,
    check_row_order_does_not_matter,
    check_time_shift_does_not_matter,
    check_units_do_not_matter,
    check_containers_do_not_matter,
    check_bad_label_times_are_refused,
    check_missing_label_times_are_refused,
    check_clone,
    check_pickle,
    check_repr,
)


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001 - an assertion
    if not holds:
        raise AssertionError(f"{problem}.")


def _needs_times(case: SplitterCase) -> None:
    if not case.takes_times:
        raise SkipTest(f"split takes no {case.times}, which this law hands it")


def _all_rows() -> Iterable[LabelledRows]:
    yield plain_rows()
    yield from awkward_rows()


def _try_split(case: SplitterCase, data: LabelledRows) -> Splits | None:
    """Return the splits, or None if a splitter refuses rows that it may refuse."""
    if data.required:
        return case.split(data)
    try:
        return case.split(data)
    except _REFUSALS:
        return None


def _parts(splits: Splits) -> Iterable[tuple[int, str, Any]]:
    for number, (train, test) in enumerate(splits):
        yield number, "training", train
        yield number, "test", test


def _same(expected: Splits, got: Splits, what: str) -> None:
    pairs = zip_longest(_parts(expected), _parts(got))
    for first, second in pairs:
        if first is None or second is None:
            raise AssertionError(
                f"{what} gives {len(got)} splits instead of {len(expected)}."
            )
        number, name, rows = first
        _require(
            np.array_equal(rows, second[2]),
            f"{what} gives other {name} rows in split {number}",
        )


def _describe(rows: Any) -> str:
    if isinstance(rows, np.ndarray):
        return f"an array of shape {rows.shape} and dtype {rows.dtype}"
    return f"a {type(rows).__name__}"


def _interval(data: LabelledRows, row: int) -> str:
    return f"[{data.label_times.index[row]}, {data.label_times.iloc[row]}]"
