"""Laws of the purged splitters beyond PurgedKFold, and the objects."""

import pickle
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import clone, config_context
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    TimeSeriesSplit,
)

from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedGroupKFold,
    PurgedKFold,
    PurgedWalkForward,
)
from tests import strategies
from tests.model_selection.oracle import Oracle, leaking_pairs

DAYS = pd.date_range("2026-01-05", periods=60, freq="D")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("1D"), index=DAYS)
X = np.zeros((60, 2))
SYMBOLS = np.array(["A", "B", "C"] * 20)
SPLITTERS = [
    PurgedKFold(3),
    PurgedKFold(3, purge_scope="groups"),
    PurgedGroupKFold(3, n_time_folds=2),
    CombinatorialPurgedKFold(5, 2),
    CombinatorialPurgedKFold(8, 3, max_splits=20, random_state=0),
    CombinatorialPurgedKFold(5, 2, n_repeats=2),
    CombinatoriallySymmetricKFold(4),
    PurgedWalkForward(3, test_size="5D", max_train_size=20),
]
NAMES = [type(cv).__name__ for cv in SPLITTERS]
REFUSALS = ("left without training rows", "Too many splits", "must leave rows before")


def groups_of(cv):
    """Return groups for splitters that use them, None for others."""
    return SYMBOLS if cv._uses_groups() else None


def take_splits(cv, series, groups=None):
    """Return the splits before a refusal, and if there was none."""
    splits = []
    try:
        splits.extend(cv.split(np.zeros(len(series)), None, groups, series))
    except ValueError as error:
        if not any(words in str(error) for words in REFUSALS):
            raise
        return splits, False
    return splits, True


def assert_plain(splits):
    """Both parts are sorted intp arrays without repetition, and disjoint."""
    for train, test in splits:
        assert len(train)
        assert len(test)
        for part in (train, test):
            assert part.dtype == np.intp
            assert (np.diff(part) > 0).all()
        assert not set(train.tolist()) & set(test.tolist())


@pytest.mark.oracle
@given(st.data())
def test_folds_of_time_never_leak_and_lose_no_row(data):
    """Every K-fold trains on exactly what no pair and no embargo excludes.

    For groups that purge only themselves, pairs of other groups exclude nothing.
    """
    series = data.draw(strategies.label_times(max_rows=25))
    cv = data.draw(strategies.kfolds(series))
    groups = None
    if cv.purge_scope == "groups":
        groups = data.draw(strategies.groups_for(series))
    splits, _ = take_splits(cv, series, groups)

    assert_plain(splits)
    oracle = Oracle(series, cv.purge_gap, cv.embargo, cv.closed, groups)
    for train, test in splits[:8]:
        assert oracle.train(test.tolist()) == train.tolist()
        if groups is None:
            assert leaking_pairs(series, train, test, cv.closed) == []


@given(st.data())
def test_combinations_test_every_row_equally_often(data):
    """Splits are distinct combinations of whole folds; each fold is in k/N of them.

    The folds are those of PurgedKFold, shifted in every repeat but the first; all
    C(N, k) combinations come unless sampled.
    """
    series = data.draw(strategies.label_times(kinds=("int",), min_rows=12))
    cv = data.draw(strategies.kfolds(series))
    assume(not isinstance(cv, PurgedKFold))
    cv.purge_gap = cv.embargo = 0
    cv.purge_scope = "all"
    splits, complete = take_splits(cv, series)
    assume(complete)

    assert len(splits) == cv.get_n_splits()
    tested = np.zeros(len(series), dtype=int)
    for _, test in splits:
        tested[test] += 1
    assert set(tested.tolist()) == {cv.n_paths}
    n_test_folds = getattr(cv, "n_test_folds", cv.n_folds // 2)
    assert cv.n_paths * cv.n_folds == len(splits) * n_test_folds
    n_each = len(splits) // cv.n_repeats
    folds, whole = take_splits(PurgedKFold(cv.n_folds), series)
    if whole and n_each == comb(cv.n_folds, n_test_folds):
        expected = [
            sorted(np.concatenate([folds[k][1] for k in chosen]).tolist())
            for chosen in combinations(range(cv.n_folds), n_test_folds)
        ]
        assert expected == [test.tolist() for _, test in splits[:n_each]]
    for first in range(0, len(splits), n_each):
        tests = [test.tobytes() for _, test in splits[first : first + n_each]]
        assert len(set(tests)) == n_each


def test_repeats_shift_all_borders_by_a_part_of_a_fold():
    """Three repeats of folds of 12 rows: borders 4 rows later, the cut fold wraps."""
    cv = CombinatorialPurgedKFold(5, 1, n_repeats=3)
    tests = [test.tolist() for _, test in cv.split(X, label_times=LABEL_TIMES)]

    rows = np.arange(60)
    expected = [
        sorted(np.roll(rows, -4 * repeat)[12 * fold : 12 * fold + 12].tolist())
        for repeat in range(3)
        for fold in ([4, 0, 1, 2, 3] if repeat else range(5))
    ]
    assert (cv.get_n_splits(), cv.n_paths) == (15, 3)
    assert expected == tests


def test_a_fold_that_wraps_purges_on_both_ends():
    """First and last rows tested together: the rows between them stay."""
    cv = CombinatorialPurgedKFold(5, 1, n_repeats=2, embargo="1D")
    splits = list(cv.split(X, label_times=LABEL_TIMES))
    train, test = splits[5]

    assert [*range(6), *range(54, 60)] == test.tolist()
    assert [*range(8, 53)] == train.tolist()


def test_samples_of_repeats_differ():
    """Repeats draw on from one random state; the first is the sample without them."""
    options = {"max_splits": 8, "random_state": 0}
    chosen = list(
        CombinatorialPurgedKFold(8, 3, n_repeats=2, **options)._combinations()
    )

    assert len(chosen) == 16
    assert list(CombinatorialPurgedKFold(8, 3, **options)._combinations()) == chosen[:8]
    assert chosen[:8] != chosen[8:]


@pytest.mark.parametrize(
    ("n_folds", "n_test_folds", "n_splits", "n_paths"),
    [(6, 2, 15, 5), (10, 2, 45, 9), (6, 1, 6, 1), (7, 3, 35, 15), (16, 8, 12870, 6435)],
)
def test_counts_of_the_book(n_folds, n_test_folds, n_splits, n_paths):
    """C(N, k) splits and phi = k/N C(N, k) paths (AFML 12.4); known without data."""
    cv = CombinatorialPurgedKFold(n_folds, n_test_folds)

    assert (cv.get_n_splits(), cv.n_paths) == (n_splits, n_paths)
    assert Fraction(n_test_folds, n_folds) * n_splits == n_paths
    assert comb(n_folds - 1, n_test_folds - 1) == n_paths


@pytest.mark.parametrize("n_test_folds", [2, 3, 4])
@pytest.mark.parametrize("n_paths", [1, 5, 9, 20])
def test_from_n_paths_gives_enough_paths_with_fewest_folds(n_paths, n_test_folds):
    """One fold less would give too few paths; with two test folds it is exact."""
    cv = CombinatorialPurgedKFold.from_n_paths(
        n_paths, n_test_folds=n_test_folds, embargo="1D"
    )

    assert cv.embargo == "1D"
    assert cv.n_paths >= n_paths
    if n_test_folds == 2 and n_paths > 1:
        assert cv.n_paths == n_paths
    if cv.n_folds > n_test_folds + 1:
        assert comb(cv.n_folds - 2, n_test_folds - 1) < n_paths


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(1, n - 1), st.integers(n, 2 * n**2))
    ),
    st.integers(0, 9),
)
def test_samples_are_balanced_seeded_and_as_large_as_they_can_be(sizes, seed):
    """A sample is a multiple of N, tests folds equally often, never repeats."""
    n_folds, n_test_folds, max_splits = sizes
    cv = CombinatorialPurgedKFold(
        n_folds, n_test_folds, max_splits=max_splits, random_state=seed
    )
    chosen = list(cv._combinations())

    assert chosen == sorted(set(chosen))
    assert chosen == list(clone(cv)._combinations())
    assert len(chosen) == cv.get_n_splits() <= max_splits
    if max_splits < comb(n_folds, n_test_folds):
        assert len(chosen) % n_folds == 0
        assert len(chosen) > 0
    times = np.bincount(np.ravel(chosen), minlength=n_folds)
    assert set(times.tolist()) == {cv.n_paths}


def test_clones_draw_the_same_sample():
    """A clone has a random state of its own, in the state it was cloned in."""
    random_state = np.random.RandomState(0)
    cv = CombinatorialPurgedKFold(12, 3, max_splits=24, random_state=random_state)
    twin = clone(cv)
    first = list(cv._combinations())

    assert first == list(twin._combinations())
    assert first != list(cv._combinations())


def test_symmetric_halves_are_complements():
    """Split i and the i-th from the end test complementary halves (CSCV)."""
    points = pd.Series(DAYS, index=DAYS)
    splits = list(CombinatoriallySymmetricKFold(6).split(X, label_times=points))

    assert len(splits) == 20
    for (train, test), (train_too, test_too) in zip(
        splits, reversed(splits), strict=True
    ):
        assert train.tolist() == test_too.tolist()
        assert test.tolist() == train_too.tolist()


def test_one_test_fold_is_purged_kfold():
    """CPCV with k = 1 and groups purged alone in one group are PurgedKFold."""
    options = {"embargo": "2D", "purge_gap": 1}
    expected = str(list(PurgedKFold(5, **options).split(X, label_times=LABEL_TIMES)))

    one = CombinatorialPurgedKFold(5, 1, **options)
    assert expected == str(list(one.split(X, label_times=LABEL_TIMES)))
    alone = PurgedKFold(5, **options, purge_scope="groups")
    zeros = np.zeros(60)
    assert expected == str(list(alone.split(X, None, zeros, LABEL_TIMES)))


def deal_out(groups, n_folds):
    """Return the rows of each fold: the largest group first, to the smallest fold."""
    folds = [set() for _ in range(n_folds)]
    rows = [np.flatnonzero(groups == name).tolist() for name in sorted(set(groups))]
    for own in reversed(sorted(rows, key=len)):  # noqa: C413 - keeps ties as they are
        min(folds, key=len).update(own)
    return folds


@pytest.mark.oracle
@given(st.data())
def test_no_group_and_no_overlapping_label_on_both_sides(data):
    """Tested are the groups of one fold in one fold of time; out of training go their
    rows at any time, and what pairs and embargoes exclude, nothing else.
    """
    series = data.draw(strategies.label_times(max_rows=25))
    groups = data.draw(strategies.groups_for(series))
    n_groups = len(set(groups.tolist()))
    n_time_folds = data.draw(st.sampled_from([1, 2, 3]))
    assume(n_groups >= 2)
    assume(series.index.nunique() >= n_time_folds)
    cv = PurgedGroupKFold(
        data.draw(st.integers(2, n_groups)),
        n_time_folds=n_time_folds,
        **data.draw(strategies.purge_options(series)),
    )
    try:
        splits, complete = take_splits(cv, series, groups)
    except ValueError as error:
        assert "in one of n_time_folds" in str(error)  # noqa: PT017
        return

    assert_plain(splits)
    held_out = deal_out(groups, cv.n_group_folds)
    oracle = Oracle(series, cv.purge_gap, cv.embargo, cv.closed)
    for number, (train, test) in enumerate(splits):
        away = held_out[number % cv.n_group_folds]
        assert set(test.tolist()) <= away
        expected = [row for row in oracle.train(test.tolist()) if row not in away]
        assert expected == train.tolist()
        assert not set(groups[train]) & set(groups[test])
        assert leaking_pairs(series, train, test, cv.closed) == []
    if complete:
        assert len(splits) == cv.get_n_splits()
        tested = np.concatenate([test for _, test in splits])
        assert sorted(tested.tolist()) == list(range(len(series)))


@pytest.mark.oracle
@given(st.data())
def test_walk_forward_trains_on_the_whole_purged_past(data):
    """Training rows are all earlier ones that no pair excludes, within the window."""
    series = data.draw(strategies.label_times(max_rows=30))
    cv = data.draw(strategies.walk_forwards(series))
    splits, complete = take_splits(cv, series)

    assert_plain(splits)
    assert not complete or len(splits) == cv.get_n_splits()
    oracle = Oracle(series, cv.purge_gap, 0, cv.closed)
    t0 = oracle.t0
    for train, test in splits:
        start = min(t0[j] for j in test)
        past = [i for i in oracle.train(test.tolist()) if t0[i] < start]
        size = cv.max_train_size
        if isinstance(size, int):
            latest = sorted({t0[i] for i in past}, reverse=True)
            windows = [[i for i in past if t0[i] >= since] for since in latest]
            past = max((w for w in windows if len(w) <= size), key=len, default=[])
        elif size is not None:
            past = [i for i in past if t0[i] >= start - pd.Timedelta(size).value]
        assert past == train.tolist()


@given(st.data())
def test_walk_forward_tests_the_end_of_time_once(data):
    """Test blocks follow one another to the last row, each as long as asked for."""
    series = data.draw(strategies.label_times(max_rows=30))
    cv = data.draw(strategies.walk_forwards(series))
    cv.max_train_size, cv.purge_gap = None, 0
    splits, complete = take_splits(cv, series)
    assume(complete)

    t0 = np.array(Oracle(series).t0, dtype=object)
    first = min(t0[splits[0][1]])
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested.tolist()) == np.flatnonzero(t0 >= first).tolist()
    for k, (_, test) in enumerate(splits):
        if isinstance(cv.test_size, (str, pd.Timedelta)):
            span = pd.Timedelta(cv.test_size).value
            back = cv.n_splits - k
            inside = (t0 > max(t0) - back * span) & (t0 <= max(t0) - (back - 1) * span)
            assert test.tolist() == np.flatnonzero(inside).tolist()


@pytest.mark.parametrize("test_size", [None, 3, 7])
@pytest.mark.parametrize("max_train_size", [None, 10])
def test_walk_forward_on_points_is_time_series_split(test_size, max_train_size):
    """Where labels are points, nothing is purged and TimeSeriesSplit comes out."""
    options = {"test_size": test_size, "max_train_size": max_train_size}
    ours = PurgedWalkForward(4, **options).split(
        X, label_times=pd.Series(DAYS, index=DAYS)
    )

    assert str(list(TimeSeriesSplit(4, **options).split(X))) == str(list(ours))


@given(st.data())
def test_rows_may_come_in_any_order(data):
    """Permuting the rows permutes every splitter's splits and changes nothing else."""
    series = data.draw(strategies.label_times())
    groups = data.draw(strategies.groups_for(series))
    cv = data.draw(strategies.kfolds(series) | strategies.walk_forwards(series))
    if getattr(cv, "purge_scope", "all") == "all":
        groups = None
    order = np.array(data.draw(st.permutations(range(len(series)))))
    splits, _ = take_splits(cv, series, groups)
    permuted, _ = take_splits(
        cv, series.iloc[order], None if groups is None else groups[order]
    )

    for parts, permuted_parts in zip(splits, permuted, strict=True):
        for part, other in zip(parts, permuted_parts, strict=True):
            assert part.tolist() == sorted(order[other].tolist())


@given(st.data())
def test_longer_labels_gaps_and_embargoes_never_add_training_rows(data):
    """Training sets of all K-folds shrink as anything that excludes rows grows."""
    series = data.draw(strategies.label_times(kinds=("int",)))
    cv = data.draw(strategies.kfolds(series))
    groups = None
    if cv.purge_scope == "groups":
        groups = data.draw(strategies.groups_for(series))
    base, _ = take_splits(cv, series, groups)
    extra = data.draw(
        st.lists(st.integers(0, 9), min_size=len(series), max_size=len(series))
    )
    wider = clone(cv)
    for name in ("purge_gap", "embargo"):
        count = getattr(cv, name)
        more = data.draw(st.integers(0, 2)) if count else 0
        grown = min(count + more / 10, 0.99) if isinstance(count, float) else None
        setattr(wider, name, count + more if grown is None else grown)
    fewer, _ = take_splits(wider, series + extra, groups)

    assert len(fewer) <= len(base)
    for (train, _), (train_too, _) in zip(base, fewer, strict=False):
        assert set(train_too.tolist()) <= set(train.tolist())


@pytest.mark.parametrize("cv", SPLITTERS, ids=NAMES)
def test_the_object_is_a_scikit_learn_splitter(cv):
    """It counts splits without data, pickles, clones, prints itself, and routes."""
    groups = groups_of(cv)
    splits = list(cv.split(X, None, groups, LABEL_TIMES))
    expected = str(splits)

    assert isinstance(cv, BaseCrossValidator)
    assert cv.get_n_splits() == len(splits)
    assert cv.get_n_splits(X, None, groups, LABEL_TIMES) == len(splits)
    for twin in (clone(cv), pickle.loads(pickle.dumps(cv)), eval(repr(cv))):  # noqa: S301, S307
        assert expected == str(list(twin.split(X, None, groups, LABEL_TIMES)))
    requests = {"label_times": True} | ({"groups": True} if groups is not None else {})
    assert cv.get_metadata_routing().split.requests == requests
    with config_context(enable_metadata_routing=True):
        renamed = clone(clone(cv).set_split_request(label_times="t1"))
    assert renamed.get_metadata_routing().split.requests["label_times"] == "t1"


@pytest.mark.parametrize("cv", SPLITTERS, ids=NAMES)
def test_repr_is_one_line_and_label_times_may_be_held(cv):
    """Held label times are aligned by label, shared by clones, and never printed."""
    held = clone(cv)
    held.label_times = LABEL_TIMES
    frame = pd.DataFrame(X, index=DAYS)
    expected = str(list(cv.split(X, None, groups_of(cv), LABEL_TIMES)))

    assert expected == str(list(held.split(frame, None, groups_of(cv))))
    assert "label_times=<Series of 60 rows>" in repr(held)
    assert "\n" not in repr(held)
    assert clone(held).label_times is LABEL_TIMES


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PurgedGroupKFold(1), ValueError, "n_group_folds=2 or more"),
        (lambda: PurgedGroupKFold(2, n_time_folds=0), ValueError, "n_time_folds must"),
        (lambda: PurgedGroupKFold(2, closed="no"), ValueError, "closed must be"),
        (lambda: PurgedKFold(purge_scope="asset"), ValueError, "purge_scope must be"),
        (lambda: CombinatorialPurgedKFold(1), ValueError, "n_folds=2 or more"),
        (lambda: CombinatorialPurgedKFold(4, 0), ValueError, "n_test_folds must be"),
        (lambda: CombinatorialPurgedKFold(4, 4), ValueError, "less than n_folds=4"),
        (lambda: CombinatorialPurgedKFold(4, 2.0), TypeError, "n_test_folds must be"),
        (
            lambda: CombinatorialPurgedKFold(40, 20),
            ValueError,
            r"C\(40, 20\) = 137,846,528,820 splits; at most 100,000.*780.*max_splits",
        ),
        (
            lambda: CombinatorialPurgedKFold(40, 20, max_splits=10**6),
            ValueError,
            "max_splits=1000000; at most 100,000",
        ),
        (
            lambda: CombinatorialPurgedKFold(9, max_splits=8),
            ValueError,
            "max_splits must be an int of at least 9, got 8",
        ),
        (
            lambda: CombinatorialPurgedKFold(10, 5, n_repeats=400),
            ValueError,
            "252 splits, n_repeats=400; at most 100,000",
        ),
        (lambda: CombinatorialPurgedKFold(n_repeats=0), ValueError, "n_repeats must"),
        (
            lambda: CombinatorialPurgedKFold.from_n_paths(5, n_test_folds=1),
            ValueError,
            "one test fold at a time makes one path",
        ),
        (
            lambda: CombinatorialPurgedKFold.from_n_paths(5, n_folds=4),
            TypeError,
            "finds n_folds itself.*got n_folds=4",
        ),
        (
            lambda: CombinatorialPurgedKFold(random_state="x"),
            ValueError,
            "random_state must be None, an int .* or a numpy RandomState, got 'x'",
        ),
        (lambda: CombinatorialPurgedKFold.from_n_paths(0), ValueError, "n_paths must"),
        (lambda: CombinatoriallySymmetricKFold(5), ValueError, "even.*Use 4 or 6"),
        (
            lambda: CombinatoriallySymmetricKFold(20),
            ValueError,
            r"C\(20, 10\) = 184,756 splits",
        ),
        (lambda: PurgedWalkForward(1), ValueError, "n_splits=2 or more"),
        (lambda: PurgedWalkForward(test_size=0), ValueError, "test_size must be a pos"),
        (lambda: PurgedWalkForward(test_size=0.2), TypeError, "test_size must be a"),
        (
            lambda: PurgedWalkForward(test_size="abc"),
            ValueError,
            "number of rows.*'abc', which is no time span",
        ),
        (lambda: PurgedWalkForward(max_train_size="0D"), ValueError, "max_train_size"),
        (
            lambda: PurgedWalkForward(label_times=X),
            TypeError,
            "must be a pandas Series",
        ),
    ],
)
def test_constructors_refuse(make, error, message):
    """Bad parameters never wait for the data, and the way out is named."""
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("cv", "groups", "message"),
    [
        (PurgedGroupKFold(2), None, "PurgedGroupKFold needs the groups parameter"),
        (PurgedKFold(purge_scope="groups"), None, "needs the groups parameter"),
        (PurgedGroupKFold(4), SYMBOLS, "number of groups: 3"),
        (PurgedGroupKFold(3), SYMBOLS, "left without training.*n_time_folds of 2"),
        (PurgedGroupKFold(2, n_time_folds=2), np.arange(60) // 30, "no rows in one of"),
        (PurgedGroupKFold(2), np.zeros((60, 2)), r"one-dimensional.*\(60, 2\)"),
        (PurgedGroupKFold(2), [None, *SYMBOLS[1:]], r"missing values; 1 of 60.*\[0\]"),
        (CombinatorialPurgedKFold(61, 1), None, "n_folds=61 greater"),
        (
            CombinatorialPurgedKFold(10, n_repeats=7),
            None,
            "n_repeats=7 must be at most .* 60 distinct t0 make 10 folds of 6",
        ),
        (PurgedWalkForward(5, test_size=12), None, "Too many splits: n_splits=5"),
        (PurgedWalkForward(5, test_size="12D"), None, "must leave rows before n_spl"),
        (PurgedWalkForward(5, test_size="12h"), None, "in each of them"),
        (
            PurgedWalkForward(5, max_train_size=3, purge_gap="40D"),
            None,
            "Split 0 of PurgedWalkForward.*left without training rows.*max_train_size",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(cv, groups, message):
    """Each error names what was required and how to mend it."""
    with pytest.raises(ValueError, match=message):
        list(cv.split(X, None, groups, LABEL_TIMES))


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            {"purge_gap": "70D"},
            r"by their labels and purge_gap='70D'\. Shorten the lab",
        ),
        ({"max_train_size": 1}, r"labels, or max_train_size=1 holds.*raise max_train"),
        ({"max_train_size": "1h"}, "labels, or max_train_size='1h' holds"),
        ({}, r"by their labels\. Shorten the labels, lower test_size"),
    ],
)
def test_walk_forward_names_only_causes_that_it_has(options, cause):
    """A window or a gap is named if there is one; an embargo never."""
    days = DAYS.repeat(2)
    ends = days + pd.Timedelta("1D" if options else "90D")
    cv = PurgedWalkForward(3, **options)
    with pytest.raises(ValueError, match=rf"test rows purge all.* {cause}") as caught:
        list(cv.split(np.zeros(120), label_times=pd.Series(ends, index=days)))
    assert "embargo" not in str(caught.value)


def test_group_folds_of_sessions_are_those_of_group_kfold():
    """With one fold of time, test sets are scikit-learn's GroupKFold's."""
    sessions = np.sqrt(np.arange(60)).astype(int)
    ours = PurgedGroupKFold(3).split(X, groups=sessions, label_times=LABEL_TIMES)
    theirs = GroupKFold(3).split(X, groups=sessions)

    for (_, test), (_, expected) in zip(ours, theirs, strict=True):
        assert expected.tolist() == test.tolist()


def test_adjacent_test_folds_are_one_view():
    """Test rows of one block of time are a view; nothing is copied."""
    cv = CombinatorialPurgedKFold(4, 2)
    splits = list(cv.split(X, label_times=LABEL_TIMES))

    assert splits[0][1].base is not None
    assert splits[0][1].tolist() == list(range(30))
    assert splits[1][1].base is None
