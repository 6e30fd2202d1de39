"""Laws of early stopping without leaks."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skatra.exceptions import EmptyDataError, LabelTimesError
from skatra.model_selection import PurgedKFold
from skatra.retraining import (
    PurgedEarlyStoppingClassifier,
    PurgedEarlyStoppingRegressor,
)

SMALL = {"n_estimators": 30, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}


MOVES = "twice the rows move the border between training and validation rows"


def moved_border(_):
    """Name the checks that repeat rows, which stand later in time then."""
    return {
        "check_sample_weight_equivalence_on_dense_data": MOVES,
        "check_sample_weight_equivalence_on_sparse_data": MOVES,
    }


@parametrize_with_checks(
    [
        PurgedEarlyStoppingClassifier(LGBMClassifier(**SMALL), purge_gap=1),
        PurgedEarlyStoppingRegressor(LGBMRegressor(**SMALL), purge_gap=1),
    ],
    expected_failed_checks=moved_border,
)
def test_estimator_checks_of_scikit_learn_pass(estimator, check):
    """Both are proper scikit-learn estimators."""
    check(estimator)


def make_rows(n=900, horizon=7, seed=0):
    """Return rows whose first column is their number, with labels of some hours."""
    rng = np.random.default_rng(seed)
    t0 = pd.date_range("2020-01-01", periods=n, freq="h")
    t1 = t0 + pd.to_timedelta(rng.integers(1, horizon, n), unit="h")
    X = pd.DataFrame(
        {"row": np.arange(n, dtype=float), "signal": rng.normal(size=n)}, index=t0
    )
    y = (X["signal"] + rng.normal(size=n) > 0).astype(int).to_numpy()
    return X, y, pd.Series(t1, index=t0)


SEEN = []
"""Training and validation rows of every fit of a RecordingClassifier."""


class RecordingClassifier(LGBMClassifier):
    """A LightGBM that tells which rows it was shown."""

    def fit(self, X, y, sample_weight=None, *, eval_X=None, eval_y=None, **options):
        """Record the numbers of the rows and fit."""
        watched = None if eval_X is None else eval_X["row"].to_numpy(int)
        SEEN.append((X["row"].to_numpy(int), watched))
        if eval_X is not None:
            options |= {"eval_X": eval_X, "eval_y": eval_y}
        return super().fit(X, y, sample_weight=sample_weight, **options)


def overlaps(label_times, rows, others):
    """Return how many pairs of the two sets of rows have labels that overlap."""
    t0, t1 = label_times.index.to_numpy(), label_times.to_numpy()
    return int(
        np.sum((t0[rows][:, None] <= t1[others]) & (t1[rows][:, None] >= t0[others]))
    )


def recording(**options):
    """Return a stopper around the recording classifier."""
    return PurgedEarlyStoppingClassifier(RecordingClassifier(**SMALL), **options)


def test_no_fit_sees_a_row_that_leaks():
    """In a purged grid search no fit sees a label of its test or validation rows.

    Every row that every fit saw is recorded: those of the trees against those that
    stop them, and both against the test rows of their fold.
    """
    X, y, label_times = make_rows()
    cv = PurgedKFold(4, embargo="6h")
    tested = [test for _, test in cv.split(X, y, label_times=label_times)]
    SEEN.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        GridSearchCV(
            recording(), {"estimator__num_leaves": [3, 7]}, cv=cv, error_score="raise"
        ).fit(X, y, label_times=label_times)

    assert len(SEEN) == 2 * (2 * 4 + 1)
    for number, (stopping, refitted) in enumerate(
        zip(SEEN[::2], SEEN[1::2], strict=True)
    ):
        trained, watched = stopping
        assert overlaps(label_times, trained, watched) == 0
        assert label_times.index[trained].max() < label_times.index[watched].min()
        assert refitted[1] is None
        assert {*trained, *watched} <= {*refitted[0]}
        if number < 8:
            test = tested[number % 4]
            assert overlaps(label_times, refitted[0], test) == 0


def test_training_keeps_every_row_that_does_not_leak():
    """Exactly the rows that overlap the validation labels are dropped."""
    X, y, label_times = make_rows()
    SEEN.clear()
    model = recording(validation_fraction=0.2).fit(X, y, label_times=label_times)
    trained, watched = SEEN[0]
    dropped = np.setdiff1d(np.arange(len(X)), [*trained, *watched])

    assert len(watched) == model.n_validation_ == 180
    assert len(trained) == model.n_train_
    assert all(overlaps(label_times, [row], watched) for row in dropped)


def test_the_model_is_lightgbm_with_the_trees_found():
    """Predictions are those of plain LightGBM on all rows with that many trees."""
    X, y, label_times = make_rows()
    weight = np.random.default_rng(1).uniform(0.5, 1, len(X))
    model = PurgedEarlyStoppingClassifier(
        LGBMClassifier(n_estimators=300, n_jobs=1, verbose=-1), n_iter_no_change=5
    ).fit(X, y, sample_weight=weight, label_times=label_times)
    plain = LGBMClassifier(n_estimators=model.n_iter_, n_jobs=1, verbose=-1)

    assert 1 <= model.n_iter_ < 100
    expected = plain.fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_noise_stops_at_once_and_signal_does_not():
    """Labels made of noise want fewer trees than labels with a signal."""
    X, y, label_times = make_rows(3000)
    noise = np.random.default_rng(3).integers(0, 2, len(y))
    model = PurgedEarlyStoppingClassifier(
        LGBMClassifier(n_estimators=300, learning_rate=0.05, n_jobs=1, verbose=-1)
    )
    found = model.fit(X, y, label_times=label_times).n_iter_

    assert model.fit(X, noise, label_times=label_times).n_iter_ < found


def test_it_works_in_a_pipeline_under_cross_validation():
    """Label times reach it by routing, with no request set by the user."""
    X, y, label_times = make_rows()
    pipe = make_pipeline(
        StandardScaler(), PurgedEarlyStoppingClassifier(LGBMClassifier(**SMALL))
    )
    with sklearn.config_context(enable_metadata_routing=True):
        done = cross_validate(
            pipe, X, y, cv=PurgedKFold(3), params={"label_times": label_times}
        )

    assert np.isfinite(done["test_score"]).all()


@pytest.mark.parametrize("names", [(-1, 1), ("down", "up"), (False, True)])
def test_the_names_of_the_classes_do_not_matter(names):
    """LightGBM itself would compare probabilities with labels of -1 and 1."""
    X, y, label_times = make_rows()
    model = PurgedEarlyStoppingClassifier(LGBMClassifier(**SMALL))
    expected = model.fit(X, y, label_times=label_times)
    trees, score = expected.n_iter_, expected.validation_score_
    renamed = model.fit(X, np.asarray(names)[y], label_times=label_times)

    assert (renamed.n_iter_, renamed.validation_score_) == (trees, score)
    assert renamed.classes_.tolist() == list(names)
    assert set(renamed.predict(X)) == set(names)


def test_what_cannot_work_is_refused_by_name():
    """Each refusal names the parameter and the way out."""
    X, y, label_times = make_rows()
    model = PurgedEarlyStoppingClassifier
    with pytest.raises(LabelTimesError, match="purge_gap"):
        model().fit(X.to_numpy(), y)
    with pytest.raises(TypeError, match="LGBMClassifier"):
        model(LogisticRegression()).fit(X, y, label_times=label_times)
    with pytest.raises(ValueError, match="n_iter_no_change"):
        model(n_iter_no_change=0).fit(X, y, label_times=label_times)
    with pytest.raises(ValueError, match="tol"):
        model(tol=-1.0).fit(X, y, label_times=label_times)
    late = np.repeat([0, 1], [800, 100])
    with pytest.raises(EmptyDataError, match="validation_fraction"):
        model(validation_fraction=100).fit(X, late, label_times=label_times)
