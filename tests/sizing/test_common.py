"""KellyClassifier obeys every law that scikit-learn has for classifiers."""

import pytest
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from skatra.sizing import KellyClassifier

SMALL_TREES = {"n_estimators": 20, "n_jobs": 1, "verbose": -1}


@pytest.mark.filterwarnings("ignore:KellyClassifier was fitted without returns")
@parametrize_with_checks(
    [
        KellyClassifier(LogisticRegression()),
        KellyClassifier(LogisticRegression(), side="long", kelly_multiplier=1.0),
        KellyClassifier(LogisticRegression(), calibration="sigmoid", cv=KFold(3)),
        KellyClassifier(LogisticRegression(), calibration="isotonic", cv=KFold(3)),
        KellyClassifier(LGBMClassifier(**SMALL_TREES)),
        KellyClassifier(
            LGBMClassifier(**SMALL_TREES),
            calibration="sigmoid",
            cv=KFold(3, shuffle=True, random_state=0),
        ),
    ]
)
def test_every_estimator_check_of_scikit_learn_passes(estimator, check):
    """No check is expected to fail, for any inner model or calibration."""
    check(estimator)
