"""PurgedKFold and purged_train_test_split: laws, hostile input, the object."""

import datetime as dt
import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import clone, config_context
from sklearn.model_selection import BaseCrossValidator, KFold

from skatra.exceptions import LabelTimesError
from skatra.model_selection import PurgedKFold, purged_train_test_split
from tests import strategies
from tests.model_selection.oracle import Oracle, leaking_pairs

DAYS = pd.date_range("2026-01-05", periods=30, freq="D")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("3D"), index=DAYS)
X = np.zeros((30, 2))


def take_splits(cv, series):
    """Return the splits up to a fold without training rows, and if there is one."""
    splits = []
    try:
        splits.extend(cv.split(np.zeros(len(series)), label_times=series))
    except ValueError as error:
        if "left without training rows" not in str(error):
            raise
        return splits, False
    return splits, True


def try_splits(cv, series):
    """Return the splits, or None if a fold is left without training rows."""
    splits, complete = take_splits(cv, series)
    return splits if complete else None


@st.composite
def splitters(draw, series):
    """A PurgedKFold whose parameters fit the label times."""
    spans = strategies.spans_for(series)
    n_distinct = series.index.nunique()
    assume(n_distinct >= 2)
    return PurgedKFold(
        draw(st.integers(2, min(6, n_distinct))),
        purge_gap=draw(spans),
        embargo=draw(spans),
        closed=draw(strategies.CLOSED),
    )


@pytest.mark.oracle
@given(st.data())
def test_no_leak_and_not_a_row_lost(data):
    """Training rows are exactly those that no pair and no embargo excludes."""
    series = data.draw(strategies.label_times())
    cv = data.draw(splitters(series))
    for train, test in take_splits(cv, series)[0]:
        oracle = Oracle(series, cv.purge_gap, cv.embargo, cv.closed)

        assert oracle.train(test.tolist()) == train.tolist()
        assert leaking_pairs(series, train, test, cv.closed) == []


@given(st.data())
def test_every_row_is_tested_once_in_one_run_of_time(data):
    """Test folds partition the rows into successive spans of time."""
    series = data.draw(strategies.label_times())
    splits = try_splits(data.draw(splitters(series)), series)
    assume(splits is not None)

    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested.tolist()) == list(range(len(series)))
    t0 = np.asarray(
        series.index.asi8 if hasattr(series.index, "asi8") else series.index
    )
    for (_, earlier), (_, later) in itertools.pairwise(splits):
        assert t0[earlier].max() < t0[later].min()
    for part in (part for split in splits for part in split):
        assert part.dtype == np.intp
        assert (np.diff(part) > 0).all()


@given(st.data())
def test_splitting_twice_gives_the_same(data):
    """A splitter has no state."""
    series = data.draw(strategies.label_times())
    cv = data.draw(splitters(series))
    first, second = try_splits(cv, series), try_splits(clone(cv), series)

    assert str(first) == str(second)


@given(st.data())
def test_rows_may_come_in_any_order(data):
    """Permuting the rows permutes the splits and changes nothing else."""
    series = data.draw(strategies.label_times())
    cv = data.draw(splitters(series))
    order = np.array(data.draw(st.permutations(range(len(series)))))
    splits, permuted = try_splits(cv, series), try_splits(cv, series.iloc[order])
    assume(splits is not None)

    for parts, permuted_parts in zip(splits, permuted, strict=True):
        for part, other in zip(parts, permuted_parts, strict=True):
            assert part.tolist() == sorted(order[other].tolist())


@given(st.data())
def test_shifting_all_times_changes_nothing(data):
    """Splits depend on distances in time only."""
    series = data.draw(strategies.label_times(kinds=("int", "s", "us")))
    cv = data.draw(splitters(series))
    shift = 1_000 if series.index.dtype.kind == "i" else pd.Timedelta("400D")
    shifted = pd.Series((series + shift).array, index=series.index + shift)

    assert str(try_splits(cv, series)) == str(try_splits(cv, shifted))


@given(st.data())
def test_more_embargo_or_gap_or_longer_labels_never_add_training_rows(data):
    """Training sets shrink as anything that excludes rows grows."""
    series = data.draw(strategies.label_times(kinds=("int",)))
    cv = data.draw(splitters(series))
    base = try_splits(cv, series)
    cv_wider, longer = clone(cv), series
    change = data.draw(st.sampled_from(["purge_gap", "embargo", "labels"]))
    if change == "labels":
        extra = data.draw(
            st.lists(st.integers(0, 9), min_size=len(series), max_size=len(series))
        )
        longer = series + extra
    else:
        count = getattr(cv, change)
        grown = count + 2 if isinstance(count, int) else min(count + 0.2, 0.99)
        setattr(cv_wider, change, grown)
    wider = try_splits(cv_wider, longer)

    if base is None:
        assert wider is None
    elif wider is not None:
        for (train, _), (fewer, _) in zip(base, wider, strict=True):
            assert set(fewer.tolist()) <= set(train.tolist())


def test_sorted_distinct_rows_get_the_folds_of_kfold():
    """Test folds are those of scikit-learn's KFold; nothing overlaps, nothing goes."""
    X = np.zeros(23)
    points = pd.Series(np.arange(23), index=np.arange(23))
    ours = PurgedKFold(5).split(X, label_times=points)
    for (train, test), (sk_train, sk_test) in zip(ours, KFold(5).split(X), strict=True):
        assert sk_test.tolist() == test.tolist()
        assert sk_train.tolist() == train.tolist()


def test_a_count_starts_at_the_last_t0_that_a_label_contains():
    """With closed="left" a longer label between two t0 purges what its point does."""
    t0 = np.arange(0, 80, 10)
    for end, first in [(30, 5), (34, 5), (40, 5), (41, 6)]:
        ends = np.where(t0 == 30, end, t0)
        cv = PurgedKFold(2, purge_gap=1, closed="left")
        train, test = next(iter(cv.split(t0, label_times=pd.Series(ends, index=t0))))

        assert test.tolist() == [0, 1, 2, 3]
        assert train.tolist() == list(range(first, 8))


def test_embargo_finer_than_the_unit_is_exact():
    """One millisecond after a label end is later than the end, in whole seconds too."""
    seconds = pd.date_range("2026-01-01", periods=8, freq="s", unit="s")
    series = pd.Series((seconds + pd.Timedelta("1s")).as_unit("s"), index=seconds)

    def first_train(**options):
        cv = PurgedKFold(2, closed="left", **options)
        return next(iter(cv.split(np.zeros(8), label_times=series)))[0].tolist()

    assert first_train() == [4, 5, 6, 7]
    assert first_train(embargo="1ms") == [5, 6, 7]
    assert first_train(purge_gap="1ms") == [5, 6, 7]
    assert first_train(embargo="999ms") == [5, 6, 7]
    assert first_train(embargo="1s") == [6, 7]
    *_, (last_train, _) = PurgedKFold(2, closed="left", purge_gap="1ms").split(
        np.zeros(8), label_times=series
    )
    assert last_train.tolist() == [0, 1, 2]


def test_share_means_what_is_written():
    """0.07 of 100 distinct t0 is 7, although 0.07 * 100 is more than 7 in floats."""
    t0 = np.arange(100)
    points = pd.Series(t0, index=t0)
    by_share = PurgedKFold(2, embargo=0.07).split(t0, label_times=points)
    by_count = PurgedKFold(2, embargo=7).split(t0, label_times=points)

    assert str(list(by_share)) == str(list(by_count))


@pytest.mark.parametrize(
    "span",
    [
        "2D",
        pd.Timedelta("2D"),
        np.timedelta64(48, "h"),
        dt.timedelta(days=2),
        2,
        pd.offsets.Day(2),
        pd.offsets.Hour(48),
        pd.offsets.Nano(172_800 * 10**9),
    ],
)
def test_every_form_of_span_means_the_same_on_daily_rows(span):
    """Text, pandas, numpy, datetime and counts of days agree on daily rows."""
    splits = PurgedKFold(3, purge_gap=span, embargo=span).split(
        X, label_times=LABEL_TIMES
    )
    expected = PurgedKFold(3, purge_gap="2D", embargo="2D").split(
        X, label_times=LABEL_TIMES
    )

    assert str(list(expected)) == str(list(splits))


@pytest.mark.parametrize(
    "container",
    [
        pytest.param(lambda X: X, id="array"),
        pytest.param(lambda X: X.tolist(), id="list"),
        pytest.param(scipy.sparse.csr_array, id="sparse"),
        pytest.param(lambda X: pd.DataFrame(X, index=DAYS), id="frame"),
        pytest.param(pd.DataFrame, id="frame without times"),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda s: s, id="series"),
        pytest.param(lambda s: s.reset_index(), id="two columns"),
        pytest.param(lambda s: s.reset_index().to_numpy(), id="array of datetimes"),
        pytest.param(lambda s: s.tz_localize("UTC").dt.tz_localize("UTC"), id="aware"),
    ],
)
def test_any_container_and_any_form_of_label_times(container, form, request):
    """The form that data comes in changes no split."""
    data, label_times = container(X), form(LABEL_TIMES)
    expected = list(PurgedKFold(3).split(X, label_times=LABEL_TIMES))
    if request.node.callspec.id == "aware-frame":
        data = data.tz_localize("UTC")

    assert str(expected) == str(
        list(PurgedKFold(3).split(data, label_times=label_times))
    )


def test_constructor_label_times_are_aligned_by_label():
    """A subset of rows in another order finds its own label times."""
    rows = np.array([7, 3, 21, 0, 14, 28, 10, 17])
    frame = pd.DataFrame(X[rows], index=DAYS[rows])
    splits = PurgedKFold(2, label_times=LABEL_TIMES).split(frame)
    expected = PurgedKFold(2).split(frame, label_times=LABEL_TIMES.iloc[rows])

    assert str(list(expected)) == str(list(splits))


def test_panels_align_by_symbol_and_time():
    """A MultiIndex with one datetime level gives t0 and aligns label by label."""
    index = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["symbol", "t0"])
    t1 = index.get_level_values("t0") + pd.to_timedelta([1] * 30 + [4] * 30, unit="D")
    series = pd.Series(t1, index=index)
    frame = pd.DataFrame(np.zeros((60, 1)), index=index).sample(frac=1, random_state=0)

    aligned = list(PurgedKFold(4, label_times=series).split(frame))
    passed = PurgedKFold(4).split(frame, label_times=series.loc[frame.index])
    assert str(list(passed)) == str(aligned)
    for _, test in aligned:
        days = frame.index.get_level_values("t0")[test]
        assert set(days.value_counts()) == {2}


def test_a_positive_gap_is_the_horizon_of_point_labels():
    """Without label times, X's own datetimes or row numbers are t0 = t1."""
    frame = pd.DataFrame(X, index=DAYS)
    points = pd.Series(DAYS, index=DAYS)
    expected = str(list(PurgedKFold(3, purge_gap="3D").split(X, label_times=points)))

    assert expected == str(list(PurgedKFold(3, purge_gap="3D").split(frame)))
    assert expected == str(list(PurgedKFold(3, purge_gap=3).split(X)))


NOW = pd.Timestamp("2026-02-01")


@pytest.mark.parametrize(
    ("data", "label_times", "message"),
    [
        (X, None, r"\(1\) split.*\(2\) label_times.*\(3\) a positive purge_gap"),
        (X, LABEL_TIMES[:-1], "29 label times for 30 rows"),
        (X, LABEL_TIMES.where(DAYS[4] != DAYS), r"missing.*positions \[4\]"),
        (X, pd.Series(DAYS[::-1], index=DAYS), "not end before they start.*15: t0="),
        (X, LABEL_TIMES.dt.tz_localize("UTC"), "mixes time zone aware and naive"),
        (X, LABEL_TIMES.astype(str), "convert text|Convert text"),
        (X, LABEL_TIMES.to_numpy(), r"shape \(n, 2\)"),
        (X, pd.Series(range(30), index=DAYS), "must be of one kind"),
        (pd.DataFrame(X, index=DAYS[::-1]), LABEL_TIMES, "differ in 30 of 30 rows"),
        (
            pd.DataFrame(X, index=DAYS.tz_localize("Asia/Tokyo")),
            LABEL_TIMES,
            "both be time zone aware or both naive",
        ),
        (X[:0], LABEL_TIMES[:0], "0 rows"),
        (X, pd.Series([NOW] * 30, index=[NOW] * 30), "number of distinct t0: 1"),
        (X, pd.Series([DAYS[-1]] * 30, index=DAYS), "Fold 0 of n_splits=5 .*embargo=0"),
    ],
)
def test_label_times_that_do_not_fit_are_refused(data, label_times, message):
    """Each error says what was required, what was got and how to mend it."""
    with pytest.raises(ValueError, match=message):
        list(PurgedKFold(5).split(data, label_times=label_times))


@pytest.mark.parametrize(
    ("data", "series", "message"),
    [
        (X, LABEL_TIMES, "ndarray without a pandas index.*split"),
        (pd.DataFrame(X), LABEL_TIMES, "30 of 30 are missing"),
        (
            pd.DataFrame(X, index=DAYS),
            LABEL_TIMES[3:],
            "3 of 30 are missing.*2026-01-05",
        ),
        (
            pd.DataFrame(X, index=DAYS),
            pd.concat([LABEL_TIMES, LABEL_TIMES[:2]]),
            "unique labels.*2 of 32 are repeated.*2026-01-05",
        ),
    ],
)
def test_constructor_label_times_that_cannot_be_aligned_are_refused(
    data, series, message
):
    """Alignment by label never guesses."""
    with pytest.raises(LabelTimesError, match=message):
        list(PurgedKFold(5, label_times=series).split(data))


@pytest.mark.parametrize("zones", [("UTC", None), (None, "Asia/Tokyo")])
@pytest.mark.parametrize("panel", [False, True])
def test_constructor_label_times_of_another_awareness_are_called_so(zones, panel):
    """Where nothing matches for want of a time zone, the error says so."""
    ours, theirs = (DAYS.tz_localize(zone) for zone in zones)
    if panel:
        ours, theirs = (
            pd.MultiIndex.from_product([["A"], index], names=["symbol", "t0"])
            for index in (ours, theirs)
        )
    cv = PurgedKFold(3, label_times=LABEL_TIMES.set_axis(theirs))
    message = (
        "index of label_times has "
        f"{zones[1] or 'no time zone'}, X.index has {zones[0] or 'no time zone'}"
    )
    with pytest.raises(LabelTimesError, match=f"both be time zone aware.*{message}"):
        list(cv.split(pd.DataFrame(X, index=ours)))


def test_rows_indexed_by_arrow_datetimes_are_rows_in_time():
    """Arrow's datetimes in X.index and in label times split as numpy's do."""
    pytest.importorskip("pyarrow", reason="Arrow's dtypes need pyarrow")
    index = DAYS.astype("timestamp[us][pyarrow]")
    frame = pd.DataFrame(X, index=index)
    expected = str(list(PurgedKFold(3).split(X, label_times=LABEL_TIMES)))
    label_times = LABEL_TIMES.set_axis(index).astype(index.dtype)

    assert expected == str(list(PurgedKFold(3).split(frame, label_times=label_times)))
    assert expected == str(list(PurgedKFold(3, purge_gap="3D").split(frame)))
    assert expected == str(list(PurgedKFold(3, label_times=label_times).split(frame)))
    with pytest.raises(LabelTimesError, match="differ in 30 of 30 rows"):
        list(PurgedKFold(3).split(frame[::-1], label_times=label_times))


def test_swapped_symbols_are_refused():
    """Label times of the same t0 but of other symbols are not those of the rows."""
    index = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["symbol", "t0"])
    series = pd.Series(index.get_level_values(1), index=index)
    swapped = series.swaplevel().sort_index().swaplevel()
    other = pd.concat([series["B"], series["A"]], keys=["B", "A"])
    frame = pd.DataFrame(np.zeros((60, 1)), index=index)
    for wrong in (swapped, other):
        with pytest.raises(LabelTimesError, match=r"row order of X.*differ"):
            list(PurgedKFold(3).split(frame, label_times=wrong))


@pytest.mark.parametrize("name", ["purge_gap", "embargo"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        ("-1D", ValueError),
        (pd.Timedelta("-1D"), ValueError),
        (1.0, ValueError),
        (5.5, ValueError),
        (-0.1, ValueError),
        (float("nan"), ValueError),
        ("five days", ValueError),
        ("5", ValueError),
        ("", ValueError),
        (pd.NaT, (TypeError, ValueError)),
        (np.timedelta64("NaT", "ns"), ValueError),
        (np.timedelta64(1, "M"), ValueError),
        (np.timedelta64(1500, "ps"), ValueError),
        (True, TypeError),
        (None, TypeError),
        ([1], TypeError),
        (pd.offsets.Day(-1), ValueError),
        (pd.offsets.MonthEnd(1), TypeError),
        (pd.offsets.BusinessDay(1), TypeError),
    ],
)
def test_spans_that_mean_nothing_are_refused(name, value, error):
    """The constructor refuses at once, naming the parameter and its forms."""
    with pytest.raises(error, match=f"{name} must"):
        PurgedKFold(**{name: value})


def test_time_spans_need_times():
    """A time span on integer t0 is refused and the ways out are named."""
    t0 = np.arange(10)
    with pytest.raises(LabelTimesError, match=r"embargo='5D'.*plain numbers.*int"):
        list(PurgedKFold(2, embargo="5D").split(t0, label_times=pd.Series(t0, t0)))
    with pytest.raises(LabelTimesError, match="purge_gap='5D'"):
        list(PurgedKFold(2, purge_gap="5D").split(t0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_splits": 1}, ValueError, "n_splits=2 or more, got n_splits=1"),
        ({"n_splits": 2.0}, TypeError, "n_splits must be an int"),
        ({"n_splits": True}, TypeError, "n_splits must be an int"),
        ({"closed": "right"}, ValueError, "closed must be 'both' or 'left'"),
        ({"label_times": X}, TypeError, "must be a pandas Series.*ndarray"),
    ],
)
def test_constructor_refuses(options, error, message):
    """Bad parameters never wait for the data."""
    with pytest.raises(error, match=message):
        PurgedKFold(**options)


def test_repr_is_one_line_with_a_million_label_times():
    """The repr shows every parameter, and of label times only their number."""
    series = pd.Series(np.arange(10**6))
    cv = PurgedKFold(3, label_times=series, purge_gap=pd.Timedelta("5D"), embargo="1D")

    assert repr(cv) == (
        "PurgedKFold(n_splits=3, label_times=<Series of 1000000 rows>, "
        "purge_gap=Timedelta('5 days 00:00:00'), embargo='1D', closed='both', "
        "purge_scope='all')"
    )


def test_the_object_is_a_scikit_learn_splitter():
    """It counts splits without data, pickles, clones and keeps its requests."""
    cv = PurgedKFold(3, label_times=LABEL_TIMES, embargo="1D", closed="left")
    frame = pd.DataFrame(X, index=DAYS)
    expected = str(list(cv.split(frame)))

    assert isinstance(cv, BaseCrossValidator)
    assert cv.get_n_splits() == 3
    assert cv.get_n_splits(X, None, groups=None, label_times=LABEL_TIMES) == 3
    assert expected == str(list(pickle.loads(pickle.dumps(cv)).split(frame)))  # noqa: S301
    assert expected == str(list(clone(cv).split(frame)))
    assert cv.get_metadata_routing().split.requests == {"label_times": True}
    with config_context(enable_metadata_routing=True):
        renamed = clone(cv.set_split_request(label_times="t1"))
    assert renamed.get_metadata_routing().split.requests == {"label_times": "t1"}


@pytest.mark.oracle
@given(st.data())
def test_train_test_split_purges_the_last_share(data):
    """The test set is the last share in time; training rows follow the definition."""
    series = data.draw(strategies.label_times())
    assume(series.index.nunique() >= 2)
    spans = strategies.spans_for(series)
    gap, closed = data.draw(spans), data.draw(strategies.CLOSED)
    rows = np.arange(len(series))
    try:
        train, test, train_times, test_times = purged_train_test_split(
            rows, series, label_times=series, purge_gap=gap, closed=closed
        )
    except ValueError as error:
        assert "training set is empty" in str(error)  # noqa: PT017
        return

    assert Oracle(series, gap, 0, closed).train(test.tolist()) == train.tolist()
    assert series.index[test].min() > series.index.delete(test).max()
    pd.testing.assert_series_equal(series.iloc[train], train_times)
    pd.testing.assert_series_equal(series.iloc[test], test_times)


def test_train_test_split_keeps_every_type():
    """Frames, Series, lists and sparse matrices come back as they went in."""
    frame = pd.DataFrame(X, index=DAYS)
    parts = purged_train_test_split(
        frame,
        LABEL_TIMES,
        list(range(30)),
        scipy.sparse.csr_array(X),
        label_times=LABEL_TIMES,
        test_size=6,
    )

    assert isinstance(parts, list)
    assert [len(part) for part in parts[:6]] == [21, 6] * 3
    assert [type(part) for part in parts[::2]] == [type(part) for part in parts[1::2]]
    assert parts[1].index.equals(DAYS[24:])
    assert parts[5] == list(range(24, 30))
    assert parts[7].shape == (6, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"test_size": 0.0}, ValueError, "test_size must be"),
        ({"test_size": 30}, ValueError, "test_size must be"),
        ({"test_size": True}, TypeError, "test_size must be"),
        ({"purge_gap": "40D"}, ValueError, "training set is empty"),
        (
            {"label_times": None},
            LabelTimesError,
            "purged_train_test_split does not .* label_times=.* purge_gap= as[^(]*$",
        ),
        ({"closed": "neither"}, ValueError, "closed must be"),
    ],
)
def test_train_test_split_refuses(options, error, message):
    """Errors name the parameter, the requirement and the value."""
    with pytest.raises(error, match=message):
        purged_train_test_split(X, **{"label_times": LABEL_TIMES, **options})


def test_groups_are_ignored_aloud():
    """As in scikit-learn's KFold, groups that have no effect cause a warning."""
    with pytest.warns(UserWarning, match="groups parameter is ignored by PurgedKFold"):
        next(PurgedKFold(3).split(X, None, np.arange(30), label_times=LABEL_TIMES))


def test_train_test_split_needs_arrays_and_two_times():
    """Nothing to split, or one moment only, is refused."""
    with pytest.raises(ValueError, match="At least one array"):
        purged_train_test_split(label_times=LABEL_TIMES)
    for nothing in (None, 5, np.array(5)):
        with pytest.raises(TypeError, match=r"array at position 1 must be a frame"):
            purged_train_test_split(X, nothing, label_times=LABEL_TIMES)
    one = pd.Series([5, 5], index=[1, 1])
    with pytest.raises(ValueError, match="at least 2 distinct t0"):
        purged_train_test_split([1, 2], label_times=one)


def test_data_must_have_rows():
    """What has no rows to count is named, not left to len()."""
    label_times = pd.Series([1, 2, 3], index=[0, 1, 2])
    with pytest.raises(TypeError, match=r"X must be a frame, .* got None"):
        list(PurgedKFold(2).split(None, label_times=label_times))
