"""Every scikit-learn object that splits: no fold it sees leaks, or it stops."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV, SequentialFeatureSelector
from sklearn.linear_model import (
    LassoCV,
    LogisticRegressionCV,
    RidgeClassifier,
    RidgeCV,
)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, TargetEncoder

from skatra.exceptions import LabelTimesError
from skatra.model_selection import PurgedKFold

pytestmark = [
    # Of scikit-learn's own estimators, not of splitting.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

N_ROWS = 150
HOURS = pd.date_range("2026-03-20", periods=N_ROWS, freq="h", tz="Europe/Berlin")
LABEL_TIMES = pd.Series(
    HOURS + pd.to_timedelta(np.arange(N_ROWS) * 7 % 6, unit="h"), index=HOURS
)
HORIZON = pd.Series(HOURS + pd.Timedelta("6h"), index=HOURS)
Y = np.arange(N_ROWS) * 5 // 3 % 2
# Each column holds the row number after the point, so that selecting columns loses
# none; before the point some hold the class.
ARRAY = np.outer(Y, [0, 1, 2]) + np.arange(N_ROWS)[:, None] / 1000
FRAME = pd.DataFrame(ARRAY, index=HOURS, columns=list("abc"))
GRID = {"alpha": [0.5, 1.0]}


class AuditedKFold(PurgedKFold):
    """Records the rows of every split it makes, and the label times it was given."""

    seen = []  # noqa: RUF012

    def split(self, X, y=None, groups=None, label_times=None):
        """Split, and remember."""
        rows = np.rint(np.asarray(X)[:, 0] % 1 * 1000).astype(int)
        for train, test in super().split(X, y, groups, label_times):
            self.seen.append((rows[train], rows[test]))
            yield train, test


@pytest.fixture(autouse=True)
def _forget():
    AuditedKFold.seen.clear()


def assert_no_leak(label_times=LABEL_TIMES):
    """No training label overlaps a test label in any split that was made."""
    t0, t1 = label_times.index.asi8, pd.DatetimeIndex(label_times).asi8
    assert AuditedKFold.seen
    for train, test in AuditedKFold.seen:
        starts = t0[train][:, None] <= t1[test]
        ends = t1[train][:, None] >= t0[test]
        assert len(train)
        assert not (starts & ends).any()


def fold(**options):
    """Return a fresh splitter."""
    return AuditedKFold(3, **options)


def linear():
    """Return a classifier that has coefficients."""
    return RidgeClassifier()


ESTIMATORS = {
    "GridSearchCV": lambda cv: GridSearchCV(linear(), GRID, cv=cv),
    "RandomizedSearchCV": lambda cv: RandomizedSearchCV(
        linear(), GRID, n_iter=2, cv=cv, random_state=0
    ),
    "HalvingGridSearchCV": lambda cv: HalvingGridSearchCV(
        linear(), GRID, cv=cv, random_state=0, min_resources=40
    ),
    "GridSearchCV of a Pipeline": lambda cv: GridSearchCV(
        make_pipeline(FunctionTransformer(np.asarray), linear()),
        {"ridgeclassifier__alpha": [0.5, 1.0]},
        cv=cv,
    ),
    "Pipeline of a GridSearchCV": lambda cv: make_pipeline(
        FunctionTransformer(), GridSearchCV(linear(), GRID, cv=cv)
    ),
    "RFECV": lambda cv: RFECV(linear(), cv=cv),
    "SequentialFeatureSelector": lambda cv: make_pipeline(
        SequentialFeatureSelector(linear(), n_features_to_select=2, cv=cv),
        linear(),
    ),
    "LogisticRegressionCV": lambda cv: LogisticRegressionCV(
        Cs=2, cv=cv, scoring="accuracy"
    ),
    "RidgeCV": lambda cv: RidgeCV(cv=cv),
    "LassoCV": lambda cv: LassoCV(alphas=[0.1, 1.0], cv=cv),
    "CalibratedClassifierCV": lambda cv: CalibratedClassifierCV(linear(), cv=cv),
    "TunedThresholdClassifierCV": lambda cv: TunedThresholdClassifierCV(
        linear(), cv=cv
    ),
}
FUNCTIONS = {
    "cross_validate": lambda model, X, cv, **params: cross_validate(
        model, X, Y, cv=cv, error_score="raise", **params
    ),
    "cross_val_score": lambda model, X, cv, **params: cross_val_score(
        model, X, Y, cv=cv, error_score="raise", **params
    ),
    "cross_val_predict": lambda model, X, cv, **params: cross_val_predict(
        model, X, Y, cv=cv, **params
    ),
    "learning_curve": lambda model, X, cv, **params: learning_curve(
        model, X, Y, cv=cv, train_sizes=[0.5, 1.0], error_score="raise", **params
    ),
    "validation_curve": lambda model, X, cv, **params: validation_curve(
        model,
        X,
        Y,
        param_name="estimator__alpha" if hasattr(model, "estimator") else "alpha",
        param_range=[0.5, 1.0],
        cv=cv,
        error_score="raise",
        **params,
    ),
    "permutation_test_score": lambda model, X, cv, **params: permutation_test_score(
        model, X, Y, cv=cv, n_permutations=2, **params
    ),
}
X_KINDS = {"frame": FRAME, "array": ARRAY}
# These turn X into an array before they split it.
DROP_THE_INDEX = {
    "RFECV",
    "SequentialFeatureSelector",
    "LogisticRegressionCV",
    "LassoCV",
}
# scikit-learn 1.6 does not route what a selector inside a Pipeline needs: it stops.
STOPS = {"SequentialFeatureSelector"} if sklearn.__version__ < "1.7" else set()
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_function = pytest.mark.parametrize("function", FUNCTIONS)
every_kind = pytest.mark.parametrize("kind", X_KINDS)


@every_kind
@every_estimator
def test_estimators_route_label_times(name, kind):
    """With routing on, fit passes label times to the splitter."""
    model = ESTIMATORS[name](fold())
    with config_context(enable_metadata_routing=True):
        if name in STOPS:
            with pytest.raises(TypeError, match="not routed to any object"):
                model.fit(X_KINDS[kind], Y, label_times=LABEL_TIMES)
            model = model[0]
        model.fit(X_KINDS[kind], Y, label_times=LABEL_TIMES)

    assert_no_leak()


@every_kind
@every_function
def test_functions_route_label_times(function, kind):
    """With routing on, params pass label times to the splitter."""
    with config_context(enable_metadata_routing=True):
        FUNCTIONS[function](
            linear(), X_KINDS[kind], fold(), params={"label_times": LABEL_TIMES}
        )

    assert_no_leak()


@every_kind
@every_estimator
def test_estimators_nest_with_routing(name, kind):
    """Inside cross_validate the inner splitter gets the outer fold's label times."""
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(LabelTimesError) if name in STOPS else nullcontext(),
    ):
        FUNCTIONS["cross_validate"](
            ESTIMATORS[name](fold()),
            X_KINDS[kind],
            AuditedKFold(2, embargo="2h"),
            params={"label_times": LABEL_TIMES},
        )

    assert_no_leak()
    if name in STOPS:
        return
    sizes = {len(train) + len(test) for train, test in AuditedKFold.seen}
    assert min(sizes) < N_ROWS / 2 + 5 < max(sizes)


@every_kind
@every_function
def test_functions_nest_with_routing(function, kind):
    """A search inside any of the functions leaks in neither loop."""
    search = GridSearchCV(linear(), GRID, cv=fold(), error_score="raise")
    with config_context(enable_metadata_routing=True):
        FUNCTIONS[function](
            search, X_KINDS[kind], fold(), params={"label_times": LABEL_TIMES}
        )

    assert_no_leak()


@every_estimator
def test_constructor_label_times_nest_without_routing_or_stop(name):
    """On frames the splitter finds its rows by label; where the index is gone it stops.

    The error names the ways out; nothing falls back.
    """

    def run(X):
        FUNCTIONS["cross_validate"](
            ESTIMATORS[name](fold(label_times=LABEL_TIMES)),
            X,
            AuditedKFold(2, label_times=LABEL_TIMES),
        )

    ways_out = r"without a pandas index.*split\(X, label_times=.*metadata routing"
    with pytest.raises(LabelTimesError, match=ways_out):
        run(ARRAY)
    if name in DROP_THE_INDEX:
        with pytest.raises(LabelTimesError, match=ways_out):
            run(FRAME)
    else:
        run(FRAME)
        assert_no_leak()


@every_function
def test_functions_take_constructor_label_times(function):
    """Without routing, every function splits frames by the constructor's Series."""
    search = GridSearchCV(linear(), GRID, cv=fold(label_times=LABEL_TIMES))
    FUNCTIONS[function](search, FRAME, fold(label_times=LABEL_TIMES))

    assert_no_leak()


@pytest.mark.parametrize(("kind", "gap"), [("frame", "6h"), ("frame", 6), ("array", 6)])
@every_estimator
def test_a_horizon_nests_without_routing(name, kind, gap):
    """purge_gap alone keeps labels of that length apart, in arrays as a count."""
    if name in DROP_THE_INDEX and gap == "6h":
        with pytest.raises(LabelTimesError, match="needs t0 that are datetimes"):
            ESTIMATORS[name](fold(purge_gap=gap)).fit(X_KINDS[kind], Y)
        return
    FUNCTIONS["cross_validate"](
        ESTIMATORS[name](fold(purge_gap=gap)),
        X_KINDS[kind],
        AuditedKFold(2, purge_gap=gap),
    )

    assert_no_leak(HORIZON)


@pytest.mark.parametrize("routing", [True, False])
@every_estimator
def test_nothing_splits_without_label_times(name, routing):
    """No object falls back to splits that leak."""
    with (
        config_context(enable_metadata_routing=routing),
        pytest.raises(LabelTimesError, match="give any one of"),
    ):
        ESTIMATORS[name](fold()).fit(FRAME, Y)
    assert AuditedKFold.seen == []


UNROUTED = {
    "StackingClassifier": lambda cv: StackingClassifier([("one", linear())], cv=cv),
    "CalibratedClassifierCV(ensemble=False)": lambda cv: CalibratedClassifierCV(
        linear(), ensemble=False, cv=cv
    ),
}


@pytest.mark.parametrize("name", UNROUTED)
def test_what_does_not_route_takes_a_list_of_splits(name):
    """These stop with routing on, and take list(cv.split(...)) either way."""
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises((ValueError, TypeError)),
    ):
        UNROUTED[name](fold()).fit(FRAME, Y, label_times=LABEL_TIMES)
    assert AuditedKFold.seen == []

    splits = list(fold().split(FRAME, label_times=LABEL_TIMES))
    UNROUTED[name](splits).fit(FRAME, Y)
    assert_no_leak()


def test_target_encoder_takes_no_label_times():
    """TargetEncoder cannot be given them: it stops, or accepts no splitter at all."""
    X = pd.DataFrame({"symbol": ["a", "b"] * (N_ROWS // 2)}, index=HOURS)
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises((TypeError, ValueError, KeyError)),
    ):
        TargetEncoder(cv=fold()).fit_transform(X, Y, label_times=LABEL_TIMES)
    assert AuditedKFold.seen == []
