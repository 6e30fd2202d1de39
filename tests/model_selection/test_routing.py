"""What estimators really see inside scikit-learn's searches."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skatra.exceptions import LabelTimesError
from skatra.model_selection import (
    CombinatoriallySymmetricKFold,
    CombinatorialPurgedKFold,
    PurgedGroupKFold,
    PurgedKFold,
    PurgedWalkForward,
)
from tests.model_selection.oracle import Oracle, leaking_pairs

N_ROWS = 120
HOURS = pd.date_range("2026-03-20", periods=N_ROWS, freq="h", tz="Europe/Berlin")
LABEL_TIMES = pd.Series(
    HOURS + pd.to_timedelta(np.arange(N_ROWS) * 7 % 11, unit="h"), index=HOURS
)
Y = np.arange(N_ROWS) % 2
ARRAY = np.arange(N_ROWS, dtype=float)[:, None]
FRAME = pd.DataFrame(ARRAY, index=HOURS, columns=["row"])
GROUPS = np.arange(N_ROWS) % 3
SHUFFLED = np.random.default_rng(0).permutation(N_ROWS)


class Recorder(ClassifierMixin, BaseEstimator):
    """Records which rows each fit and the predictions after it have seen."""

    seen = []  # noqa: RUF012

    def __init__(self, depth=1):
        self.depth = depth

    def fit(self, X, y):
        """Record the training rows."""
        self.classes_ = np.unique(y)
        self.train_ = rows_of(X)
        return self

    def predict(self, X):
        """Record the rows to predict next to those of the last fit."""
        Recorder.seen.append((self.train_, rows_of(X)))
        return np.zeros(len(X), dtype=int)


def rows_of(X):
    """Return the row numbers, which are the only feature."""
    return np.asarray(X)[:, 0].astype(int)


@pytest.fixture(autouse=True)
def _forget():
    Recorder.seen.clear()


def assert_no_leak(label_times=LABEL_TIMES):
    """No fit has seen a label that overlaps one it was tested on."""
    assert Recorder.seen
    for train, test in Recorder.seen:
        assert len(train)
        assert leaking_pairs(label_times, train, test, "both") == []


def search_over(cv, model=None):
    """Return a search that stops at any error."""
    model = Recorder() if model is None else model
    name = "depth" if isinstance(model, Recorder) else "recorder__depth"
    return GridSearchCV(model, {name: [1, 2]}, cv=cv, error_score="raise")


def assert_nested(seen, *, outer, inner):
    """Outer folds test every row once, inner folds every outer training row."""
    per_outer = 2 * inner + 1
    assert len(seen) == outer * per_outer
    tested = []
    for k in range(outer):
        *inside, (train, test) = seen[k * per_outer : (k + 1) * per_outer]
        tested.extend(test)
        inner_tested = np.concatenate([inner_test for _, inner_test in inside])
        assert sorted([*train, *train]) == sorted(inner_tested)
        for inner_train, _ in inside:
            assert set(inner_train) <= set(train)
    assert sorted(tested) == list(range(N_ROWS))


DATA = [
    pytest.param(FRAME, LABEL_TIMES, id="frame"),
    pytest.param(ARRAY, LABEL_TIMES, id="array"),
    pytest.param(ARRAY, LABEL_TIMES.reset_index(), id="array and two columns"),
    pytest.param(
        ARRAY,
        np.column_stack([HOURS.asi8, pd.DatetimeIndex(LABEL_TIMES).asi8]),
        id="arrays",
    ),
    pytest.param(FRAME.iloc[SHUFFLED], LABEL_TIMES.iloc[SHUFFLED], id="shuffled frame"),
    pytest.param(ARRAY[SHUFFLED], LABEL_TIMES.iloc[SHUFFLED], id="shuffled array"),
]


@pytest.mark.parametrize(("X", "label_times"), DATA)
def test_search_passes_label_times_on(X, label_times):
    """GridSearchCV with routing on splits without a leak, and scores every row."""
    with config_context(enable_metadata_routing=True):
        search_over(PurgedKFold(4)).fit(X, Y, label_times=label_times)

    assert_no_leak()
    assert len(Recorder.seen) == 8


@pytest.mark.parametrize(("X", "label_times"), DATA)
def test_nested_search_slices_label_times(X, label_times):
    """Neither inner nor outer folds leak, on frames and on arrays, in any order."""
    with config_context(enable_metadata_routing=True):
        cross_validate(
            search_over(PurgedKFold(3)),
            X,
            Y,
            cv=PurgedKFold(4, embargo=2),
            params={"label_times": label_times},
            error_score="raise",
        )

    assert_no_leak()
    assert_nested(Recorder.seen, outer=4, inner=3)


@pytest.mark.parametrize(
    ("cv", "n_splits"),
    [
        (CombinatorialPurgedKFold(4, 2, embargo=1), 6),
        (CombinatoriallySymmetricKFold(2), 2),
        (PurgedWalkForward(3, max_train_size=30), 3),
        (PurgedGroupKFold(2, n_time_folds=2), 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("X", [FRAME, ARRAY], ids=["frame", "array"])
def test_every_splitter_nests_in_a_search(cv, n_splits, X):
    """Label times, and groups where they are used, reach the inner splits."""
    params = {"label_times": LABEL_TIMES}
    if isinstance(cv, PurgedGroupKFold):
        params["groups"] = GROUPS
    with config_context(enable_metadata_routing=True):
        cross_validate(
            search_over(cv),
            X,
            Y,
            cv=PurgedKFold(2),
            params=params,
            error_score="raise",
        )

    assert_no_leak()
    assert len(Recorder.seen) == 2 * (2 * n_splits + 1)
    if isinstance(cv, PurgedGroupKFold):
        for train, test in Recorder.seen[: 2 * n_splits]:
            assert not set(GROUPS[train]) & set(GROUPS[test])


def test_groups_are_requested_where_they_decide_the_purge():
    """With purge_scope="groups" nobody has to ask for groups."""
    cv = PurgedKFold(3, purge_scope="groups")
    with config_context(enable_metadata_routing=True):
        search_over(cv).fit(FRAME, Y, label_times=LABEL_TIMES, groups=GROUPS)

    oracle = Oracle(LABEL_TIMES, groups=GROUPS)
    for train, test in Recorder.seen:
        assert oracle.train(test.tolist()) == train.tolist()


def test_pipelines_that_drop_the_index_still_get_label_times():
    """A step that returns an array costs nothing: label times carry their t0."""
    model = make_pipeline(FunctionTransformer(np.asarray), Recorder())
    with config_context(enable_metadata_routing=True):
        search_over(PurgedKFold(3), model).fit(FRAME, Y, label_times=LABEL_TIMES)

    assert_no_leak()


def test_an_alias_routes_too():
    """set_split_request renames the metadata."""
    with config_context(enable_metadata_routing=True):
        cv = PurgedKFold(4).set_split_request(label_times="ends")
        search_over(cv).fit(ARRAY, Y, ends=LABEL_TIMES)

    assert_no_leak()


def test_constructor_label_times_nest_on_frames_without_routing():
    """Label times held by the splitter find the rows of every inner fold."""
    cv = PurgedKFold(4, label_times=LABEL_TIMES, embargo="2h")
    inner = PurgedKFold(3, label_times=LABEL_TIMES)
    X = FRAME.iloc[SHUFFLED]
    cross_validate(search_over(inner), X, Y, cv=cv, error_score="raise")

    assert_no_leak()
    assert_nested(Recorder.seen, outer=4, inner=3)


@pytest.mark.parametrize(
    ("X", "gap"), [(FRAME, "10h"), (FRAME, 10), (ARRAY, 10)], ids=str
)
def test_purge_gap_alone_nests_without_routing(X, gap):
    """A horizon needs no label times; it holds in inner folds too."""
    horizon = pd.Series(HOURS + pd.Timedelta("10h"), index=HOURS)
    cv, inner = PurgedKFold(4, purge_gap=gap), PurgedKFold(3, purge_gap=gap)
    cross_validate(search_over(inner), X, Y, cv=cv, error_score="raise")

    assert_no_leak(horizon)
    assert_nested(Recorder.seen, outer=4, inner=3)


def test_predictions_for_every_row():
    """cross_val_predict accepts the folds: they are a partition."""
    with config_context(enable_metadata_routing=True):
        predicted = cross_val_predict(
            Recorder(), ARRAY, Y, cv=PurgedKFold(4), params={"label_times": LABEL_TIMES}
        )

    assert len(predicted) == N_ROWS
    assert_no_leak()


def test_a_list_of_splits_needs_no_routing():
    """list(cv.split(...)) is the way into whatever does not route."""
    splits = list(PurgedKFold(4).split(ARRAY, label_times=LABEL_TIMES))
    search_over(splits).fit(ARRAY, Y)

    assert_no_leak()


@pytest.mark.parametrize("routing", [True, False])
def test_a_search_without_label_times_stops(routing):
    """Nothing falls back to a plain KFold: the error names the three ways.

    It says if routing is off, which makes the first way of no use as things are.
    """
    state = r"=True\); \(2\)" if routing else r"=True\) \(metadata routing is off\)"
    with (
        config_context(enable_metadata_routing=routing),
        pytest.raises(LabelTimesError, match=rf"metadata_routing{state}.*purge_gap"),
    ):
        search_over(PurgedKFold(4)).fit(FRAME, Y)
    assert Recorder.seen == []


def test_constructor_label_times_on_arrays_stop():
    """Without an index there is nothing to align by; the error names the ways out."""
    with pytest.raises(LabelTimesError, match=r"metadata routing.*keep X a DataFrame"):
        search_over(PurgedKFold(4, label_times=LABEL_TIMES)).fit(ARRAY, Y)
    assert Recorder.seen == []
