"""The leak audit against all pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
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
from tests.model_selection.oracle import leaking_pairs

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
    assert audit.to_frame().loc[0].to_dict() == {
        "train": len(set(train)),
        "test": len(set(test)),
        "unused": len(series) - len({*train, *test}),
        "leaking_rows": len({i for i, _ in pairs}),
        "leaking_pairs": len(pairs),
    }


@pytest.mark.parametrize("cv", ANY, ids=lambda cv: type(cv).__name__)
def test_any_splitter_can_be_audited(cv):
    """Whatever scikit-learn takes as cv is audited over the splits it makes."""
    groups = GROUPS if isinstance(cv, GroupKFold) else None
    audit = audit_splits(cv, X, Y, groups, label_times=LABEL_TIMES)

    frame = audit.to_frame()
    assert audit.n_splits == len(frame)
    assert audit.n_leaking_pairs == frame["leaking_pairs"].sum()
    assert audit.n_leaking_rows == frame["leaking_rows"].sum()
    assert (frame["train"] + frame["test"] + frame["unused"] == 40).all()
    assert (audit.n_leaking_pairs == 0) == isinstance(cv, PurgedKFold)


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
