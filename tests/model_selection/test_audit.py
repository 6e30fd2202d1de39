"""The leak audit against all pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from skatra.exceptions import LabelTimesError, LeakageError
from skatra.model_selection import PurgedKFold, audit_splits
from tests import strategies
from tests.model_selection.oracle import Oracle, leaking_pairs

DAYS = pd.date_range("2026-01-05", periods=40, freq="D")
LABEL_TIMES = pd.Series(DAYS + pd.Timedelta("3D"), index=DAYS)
X = np.zeros((40, 2))
Y = np.arange(40) % 2
GROUPS = np.arange(40) // 5
ANY = [
    KFold(4),
    KFold(4, shuffle=True, random_state=0),
    StratifiedKFold(3),
    TimeSeriesSplit(4, gap=2),
    ShuffleSplit(3, random_state=0),
    GroupKFold(4),
    LeaveOneOut(),
    PredefinedSplit(np.arange(40) % 5 - 1),
    PurgedKFold(4, embargo=1),
    4,
    list(KFold(3).split(X)),
]


class Fixed:
    """One split with an embargo, whatever the rows."""

    def __init__(self, train, test, embargo):
        self.rows = [np.array(sorted(rows), dtype=int) for rows in (train, test)]
        self.embargo = embargo

    def split(self, X, y=None, groups=None):
        """Yield the one split."""
        del X, y, groups
        yield tuple(self.rows)

    def get_n_splits(self, X=None, y=None, groups=None):
        """There is one."""
        del X, y, groups
        return 1


@pytest.mark.oracle
@given(st.data())
def test_counts_equal_those_of_all_pairs(data):
    """Leaking pairs and rows of any two sets of rows are those of all pairs."""
    series = data.draw(strategies.label_times(max_rows=25))
    closed = data.draw(strategies.CLOSED)
    rows = st.lists(st.integers(0, len(series) - 1), max_size=30)
    train, test = data.draw(rows), data.draw(rows)
    audit = audit_splits(
        [(np.array(train, dtype=int), np.array(test, dtype=int))],
        np.zeros(len(series)),
        label_times=series,
        closed=closed,
    )

    pairs = leaking_pairs(series, set(train), set(test), closed)
    dropped = set(range(len(series))) - {*train, *test}
    overlapping = {i for i, _ in leaking_pairs(series, dropped, set(test), closed)}
    assert audit.to_frame().loc[0].to_dict() == {
        "train": len(set(train)),
        "test": len(set(test)),
        "purged": len(dropped & overlapping),
        "embargoed": 0,
        "unused": len(dropped - overlapping),
        "leaking_rows": len({i for i, _ in pairs}),
        "leaking_pairs": len(pairs),
        "share_used": pytest.approx(len({*train, *test}) / len(series)),
    }


@pytest.mark.oracle
@given(st.data())
def test_dropped_rows_are_told_apart_as_the_definition_does(data):
    """What a purged split leaves out was purged or embargoed, each by its rule."""
    series = data.draw(strategies.label_times(min_rows=12, max_rows=25))
    options = {
        "purge_gap": data.draw(strategies.spans_for(series)),
        "embargo": data.draw(strategies.spans_for(series)),
        "closed": data.draw(strategies.CLOSED),
    }
    assume(series.index.nunique() >= 3)
    cv, X = PurgedKFold(3, **options), np.zeros(len(series))
    try:
        audit = audit_splits(cv, X, label_times=series)
    except ValueError as error:
        assert "left without training rows" in str(error)  # noqa: PT017
        return
    oracle = Oracle(series, **options)

    frame = audit.to_frame()
    assert (frame["unused"] == 0).all()
    for split, (_, test) in enumerate(cv.split(X, label_times=series)):
        others = set(range(len(series))) - set(test)
        purged = {i for i in others if any(oracle.purges(i, j) for j in test)}
        assert frame.loc[split, "purged"] == len(purged)
        assert frame.loc[split, "embargoed"] == len(
            {
                i
                for i in others - purged
                if any(oracle.embargoes(i, run) for run in oracle.runs(test))
            }
        )


@pytest.mark.oracle
@given(st.data())
def test_scattered_test_rows_embargo_by_run(data):
    """Any set of test rows embargoes what starts after one of its runs in time."""
    series = data.draw(strategies.label_times(max_rows=20))
    rows = st.lists(st.integers(0, len(series) - 1), max_size=20)
    train, test = set(data.draw(rows)), set(data.draw(rows))
    cv = Fixed(train, test, embargo=data.draw(strategies.spans_for(series)))
    audit = audit_splits(cv, np.zeros(len(series)), label_times=series)
    oracle = Oracle(series, embargo=cv.embargo)

    dropped = set(range(len(series))) - train - test
    purged = {i for i in dropped if any(oracle.purges(i, j) for j in test)}
    runs = oracle.runs(sorted(test))
    embargoed = {
        i for i in dropped - purged if any(oracle.embargoes(i, run) for run in runs)
    }
    assert audit.totals["purged"] == len(purged)
    assert audit.totals["embargoed"] == len(embargoed)
    assert audit.totals["unused"] == len(dropped - purged - embargoed)


@pytest.mark.parametrize("cv", ANY, ids=lambda cv: type(cv).__name__)
def test_any_splitter_can_be_audited(cv):
    """Whatever scikit-learn takes as cv is audited over the splits it makes."""
    groups = GROUPS if isinstance(cv, GroupKFold) else None
    audit = audit_splits(cv, X, Y, groups, label_times=LABEL_TIMES)

    frame = audit.to_frame()
    assert audit.n_splits == len(frame)
    assert audit.n_leaking_pairs == frame["leaking_pairs"].sum()
    assert audit.n_leaking_rows == frame["leaking_rows"].sum()
    states = ["train", "test", "purged", "embargoed", "unused"]
    assert (frame[states].sum(axis=1) == 40).all()
    assert frame["share_used"].between(0, 1).all()
    assert audit.share_used == pytest.approx(frame["share_used"].mean())
    assert audit.totals.to_dict() == frame[list(audit.totals.index)].sum().to_dict()
    assert (audit.n_leaking_pairs == 0) == isinstance(cv, PurgedKFold)


@pytest.mark.oracle
@given(st.data())
def test_purged_folds_audit_clean(data):
    """The audit and the splitter agree on what a leak is."""
    series = data.draw(strategies.label_times(min_rows=20))
    closed = data.draw(strategies.CLOSED)
    if series.index.nunique() < 3:
        return
    cv = PurgedKFold(3, closed=closed)
    try:
        audit = audit_splits(
            cv, np.zeros(len(series)), label_times=series, closed=closed
        )
    except ValueError as error:
        assert "left without training rows" in str(error)  # noqa: PT017
        return

    assert audit.n_leaking_pairs == 0
    audit.raise_for_leaks()


def test_text_and_html_show_the_verdict_and_every_split():
    """The first words are the number of leaking pairs."""
    clean = audit_splits(PurgedKFold(4), X, label_times=LABEL_TIMES)
    leaky = audit_splits(KFold(4), X, label_times=LABEL_TIMES)

    assert repr(clean).startswith("0 leaking pairs (0 training rows) in 4 splits of 40")
    assert repr(leaky).startswith("36 leaking pairs (18 training rows)")
    assert repr(leaky).splitlines()[0] == leaky.summary
    assert leaky.summary.endswith("100.0% of rows used")
    assert len(repr(leaky).splitlines()) == 7
    assert "total" in repr(leaky)
    assert leaky._repr_html_().startswith("<p>36 leaking pairs")
    assert "<table" in leaky._repr_html_()
    assert (
        "&lt;Series"
        in audit_splits(
            PurgedKFold(4, label_times=LABEL_TIMES), pd.DataFrame(X, index=DAYS)
        )._repr_html_()
    )


def test_leaks_can_be_raised():
    """raise_for_leaks names the worst split and the way out."""
    audit = audit_splits(KFold(4), X, label_times=LABEL_TIMES)
    with pytest.raises(
        LeakageError, match=r"36 leaking pairs.*split 1 with 12.*PurgedKFold"
    ):
        audit.raise_for_leaks()


def test_label_times_are_needed():
    """Without label times there is nothing to count; the error says what to pass."""
    with pytest.raises(LabelTimesError, match="audit_splits needs label_times"):
        audit_splits(KFold(4), X)
    with pytest.raises(ValueError, match="closed must be"):
        audit_splits(KFold(4), X, label_times=LABEL_TIMES, closed="right")
    with pytest.raises(LabelTimesError, match="39 label times for 40 rows"):
        audit_splits(KFold(4), X, label_times=LABEL_TIMES[1:])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (([0, 1], [40]), r"in \[0, 40\) for X with 40 rows: the test rows of split 1"),
        (([0, 57, 99], [2]), "training rows of split 1 hold 2 others, the first is 57"),
        (([0, -1], [2]), "training rows of split 1 hold 1 others, the first is -1"),
        (([0.0, 1.0], [2]), "dtype float64 and shape"),
        ((["a"], [2]), "Positions count rows from 0"),
        ((np.ones(39, dtype=bool), [2]), "dtype bool"),
        (([0, 1], 2), r"shape \(\)"),
    ],
)
def test_splits_of_other_rows_are_refused(split, message):
    """What is no position of a row of X is refused with the split and the rows."""
    with pytest.raises(ValueError, match=message):
        audit_splits([([0], [1]), split], X, label_times=LABEL_TIMES)


def test_no_splits_are_no_proof():
    """Without a split nothing was audited, so nothing is said to be clean."""
    with pytest.raises(ValueError, match="at least one split, got none"):
        audit_splits([], X, label_times=LABEL_TIMES)


def test_the_default_splitter_is_named():
    """Where scikit-learn chooses the splitter, the audit says which."""
    assert (
        "by KFold(n_splits=5" in audit_splits(None, X, label_times=LABEL_TIMES).summary
    )


def test_splits_that_are_no_pairs_are_refused():
    """A splitter that yields anything but (train, test) is named with the split."""

    class Triples(Fixed):
        def split(self, X, y=None, groups=None):
            yield from (super().split(X, y, groups), [0], [1])

    with pytest.raises(ValueError, match=r"pairs \(train, test\).*for split 0"):
        audit_splits(Triples([0], [1], 0), X, label_times=LABEL_TIMES)


def test_masks_and_lists_of_test_sets_count_as_positions():
    """Masks and several test sets of one split, as skfolio gives them, are read."""
    train, folds = np.arange(20, 40), [np.arange(4), np.arange(9, 12)]
    test = np.concatenate(folds)
    mask = np.zeros(40, dtype=bool)
    mask[test] = True
    expected = audit_splits([(train, test)], X, label_times=LABEL_TIMES).counts

    for other in (mask, folds):
        audit = audit_splits([(train, other)], X, label_times=LABEL_TIMES)
        assert expected.tolist() == audit.counts.tolist()
